"""A small rule that is in order, for tests to spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streaming import rules
from streaming.rules import Rule

PROBE = """\
-- rule: probe
-- version: 1
-- venue: XNAS
-- about: a trade is dearer than the one before by more than `rise`
-- parameter: rise double 0.1 dollars

SELECT symbol, 'buy' AS side, rise AS strength, price AS ref_price, first_seq, last_seq
FROM trades MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq
  MEASURES A.seq AS first_seq, B.seq AS last_seq, B.price AS price, B.price - A.price AS rise
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B)
  DEFINE A AS A.price > 0, B AS B.price > A.price + :rise
)
"""


@pytest.fixture
def probe_text() -> str:
    """The text of a rule that the linter has nothing to say about."""
    return PROBE


@pytest.fixture
def probe(tmp_path: Path) -> Callable[[str], Rule]:
    """``probe(text)``: the rule of that text."""

    def make(text: str = PROBE) -> Rule:
        path = tmp_path / "probe.sql"
        path.write_text(text)
        return rules.load(path)

    return make
