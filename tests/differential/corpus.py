"""Seeds in, the rules and tapes of a run out: the same ones for the same seed.

Of what the strategies give, a rule that matches nothing on the group's tapes is mostly left out (the naive
engine tells): four of five rules kept have something to agree upon.
"""

from __future__ import annotations

import random
from typing import TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.strategies import SearchStrategy

from tests.differential import naive
from tests.differential.cases import RuleCase
from tests.differential.strategies import Group, groups, rule_cases
from tickloom.clock import NS_PER_MS
from tickloom.events import EventBlock, SymbolTable

T = TypeVar("T")
_SILENT_KEPT = 0.1  # of the rules without a match
_ONE = settings(
    max_examples=2,  # the first is always the simplest there is; the second is drawn with the seed
    database=None,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def draw_one(strategy: SearchStrategy[T], seed: int) -> T:
    """What ``strategy`` gives for a seed."""
    found: list[T] = []

    @hypothesis.seed(seed)
    @_ONE
    @hypothesis.given(strategy)
    def collect(one: T) -> None:
        found.append(one)

    collect()
    return found[-1]


def group_of(seed: int, tapes: int) -> Group:
    """The tapes of a job."""
    return draw_one(groups(tapes), seed)


def rules_of(seed: int, group: Group, count: int) -> list[RuleCase]:
    """``count`` rules for a group."""
    blocks = [block for _, block in tape_blocks(group)]
    chance = random.Random(seed)
    kept: list[RuleCase] = []
    for attempt in range(1_000_000):
        if len(kept) == count:
            break
        case = draw_one(rule_cases(), seed * 1_000_003 + attempt)
        if any(naive.run(case, block) for block in blocks) or chance.random() < _SILENT_KEPT:
            kept.append(case)
    return kept


def suffix(index: int) -> str:
    """What is added to the symbols of a group's tape, so that tapes share none. The first keeps its own."""
    return f".{index}" if index else ""


def tape_blocks(group: Group) -> list[tuple[str, EventBlock]]:
    """Suffix of the symbols, and all events of each tape; what is late is among them."""
    return [
        (suffix(index), tape.tape(suffix=suffix(index)).block()) for index, tape in enumerate(group.tapes)
    ]


def batches(group: Group) -> list[tuple[EventBlock, int]]:
    """All tapes together as Flink gets them: batch by batch, with the watermark (ns) behind each."""
    blocks = [block for _, block in tape_blocks(group)]
    count = len(group.watermarks_ms)
    parts = [[part(block, index, count) for block in blocks] for index in range(count)]
    ends = watermarks_ns(group)
    return [(_together(part_of_all), end) for part_of_all, end in zip(parts, ends, strict=True)]


def watermarks_ns(group: Group) -> list[int]:
    """Behind each batch. A group of one batch has one that makes nothing late."""
    from streaming.tape import START_NS

    return [START_NS + at_ms * NS_PER_MS for at_ms in group.watermarks_ms]


def part(block: EventBlock, index: int, count: int) -> EventBlock:
    """One of ``count`` consecutive parts of a tape."""
    kinds = {}
    seqs = sorted({int(seq) for records in (block.trades, block.quotes) for seq in records["seq"]})
    low, high = (index * len(seqs)) // count, ((index + 1) * len(seqs)) // count
    if low == high:
        return block.select({})
    for name, records in block.kinds().items():
        kinds[name] = (records["seq"] >= seqs[low]) & (records["seq"] <= seqs[high - 1])
    return block.select(kinds)


def _together(blocks: list[EventBlock]) -> EventBlock:
    import numpy as np

    symbols = SymbolTable()
    trades, quotes = [], []
    for block in blocks:
        places = np.array([symbols.index(name) for name in block.symbols.names], dtype=np.int32)
        for kind, all_of_kind in (("trades", trades), ("quotes", quotes)):
            records = block.kinds()[kind].copy()
            records["symbol"] = places[records["symbol"]]
            all_of_kind.append(records)
    first = blocks[0]
    return EventBlock(
        first.venue,
        first.session,
        symbols,
        trades=np.concatenate(trades),
        quotes=np.concatenate(quotes),
    )
