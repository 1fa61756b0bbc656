"""Rules compiled before they are needed: a rule that is submitted must not wait for a compiler.

Machine code is kept on disk (``streaming.compiled.modules``), so this takes its time once a rule's text.
"""

from __future__ import annotations

import numpy as np

from streaming import engines
from streaming.compiled.lane import NOTHING
from streaming.compiled.matcher import Matcher
from streaming.rules import Rule
from tickloom.clock import NS_PER_DAY
from tickloom.events import EventBlock, SymbolTable


def warm_up(rule: Rule) -> None:
    """Run a rule's matcher over one event of each kind.

    Raises
    ------
    RuleError
        The rule is outside what the compiled engine takes.
    """
    matcher = engines.make_matcher(rule)
    block = EventBlock(rule.venue, "20000103", SymbolTable(["A"]))
    for kind in block.every_kind():
        if kind == "book_deltas":
            continue
        setattr(block, kind, np.zeros(1, getattr(block, kind).dtype))
    matcher.push(block, 0)
    matcher.push(block, NS_PER_DAY)
    matcher.finish()
    if isinstance(matcher, Matcher):
        matcher.records(NOTHING, rule.venue, 0)
