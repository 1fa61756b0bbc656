"""Seeds in, the rules and tapes of a run out: the same ones for the same seed.

Of what the strategies give, a rule that matches nothing on the group's tapes is mostly left out, as the
naive engine tells: silence on both sides is an agreement about little.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar, TypeVar

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, PrimitiveProvider
from hypothesis.strategies import SearchStrategy

from streaming.tape import START_NS
from tests.differential import naive
from tests.differential.cases import RuleCase
from tests.differential.strategies import LENGTHS, Group, groups, rule_cases
from tickloom.clock import NS_PER_MS
from tickloom.events import EventBlock, SymbolTable

T = TypeVar("T")
ATTEMPTS_MAX = 25  # to find a rule that matches something


class _Drawn(PrimitiveProvider):
    """Hypothesis draws with this where a seed must always give the same: its own way of drawing looks for
    constants in whatever modules are loaded."""

    seed: ClassVar[int] = 0

    def __init__(self, data: Any, /) -> None:
        super().__init__(data)
        self._random = random.Random(self.seed)

    def draw_boolean(self, p: float = 0.5) -> bool:
        return self._random.random() < p

    def draw_integer(
        self, min_value: int | None = None, max_value: int | None = None, **constraints: Any
    ) -> int:
        low = -1_000 if min_value is None else min_value
        return self._random.randint(low, low + 2_000 if max_value is None else max_value)

    def draw_float(self, *, min_value: float = 0.0, max_value: float = 1.0, **constraints: Any) -> float:
        return self._random.uniform(min_value, max_value)

    def draw_string(self, *arguments: Any, **constraints: Any) -> str:
        raise NotImplementedError("nothing here draws texts")

    def draw_bytes(self, *arguments: Any, **constraints: Any) -> bytes:
        raise NotImplementedError("nothing here draws bytes")


AVAILABLE_PROVIDERS["seeded"] = _Drawn
_ONE = settings(
    max_examples=2,  # the first may be the simplest there is; the last is drawn with the seed
    backend="seeded",
    database=None,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def draw_one(strategy: SearchStrategy[T], seed: int) -> T:
    """What ``strategy`` gives for a seed."""
    found: list[T] = []
    _Drawn.seed = seed

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
    blocks = [in_time(tape) for tape in tapes_of(group)]
    return [
        _matching(
            seed * 1_000_003 + place * ATTEMPTS_MAX,
            rule_cases((LENGTHS[place % len(LENGTHS)],), group.view),
            blocks,
        )
        for place in range(count)
    ]


def _matching(seed: int, cases: SearchStrategy[RuleCase], blocks: list[EventBlock]) -> RuleCase:
    """The first of some rules that matches something; the last, if none does."""
    for attempt in range(ATTEMPTS_MAX):
        case = draw_one(cases, seed + attempt)
        if any(naive.run(case, block) for block in blocks):
            break
    return case


Batches = list[tuple[EventBlock, int]]


def tapes_of(group: Group) -> list[Batches]:
    """Each tape in batches, with the watermark (ns) behind each. No two tapes have a symbol in common: the
    first has its own ones, the others' have a number behind."""
    found = []
    for index, tape in enumerate(group.tapes):
        block = tape.tape(suffix=f".{index}" if index else "").block()
        ends = [START_NS + at_ms * NS_PER_MS for at_ms in group.watermarks_ms]
        found.append([(_part(block, place, len(ends)), end) for place, end in enumerate(ends)])
    return found


def together(tapes: list[Batches]) -> Batches:
    """All tapes at once, as Flink gets them."""
    return [(_joined([block for block, _ in parts]), parts[0][1]) for parts in zip(*tapes, strict=True)]


def in_time(batches: Batches) -> EventBlock:
    """The events of a tape that are not behind a watermark which had passed when they came."""
    kept = []
    passed_ms = -(1 << 62)
    for block, watermark_ns in batches:
        kinds = {
            name: records["ts_event"] // NS_PER_MS >= passed_ms for name, records in block.kinds().items()
        }
        kept.append(block.select(kinds))
        passed_ms = max(passed_ms, watermark_ns // NS_PER_MS)
    return _joined(kept)


def _part(block: EventBlock, index: int, count: int) -> EventBlock:
    """One of ``count`` consecutive parts."""
    seqs = np.sort(np.concatenate([block.trades["seq"], block.quotes["seq"]]))
    low, high = (index * len(seqs)) // count, ((index + 1) * len(seqs)) // count
    chosen = seqs[low:high]
    return block.select({name: np.isin(records["seq"], chosen) for name, records in block.kinds().items()})


def _joined(blocks: list[EventBlock]) -> EventBlock:
    symbols = SymbolTable()
    trades, quotes = [], []
    for block in blocks:
        places = np.array([symbols.index(name) for name in block.symbols.names], dtype=np.int32)
        for kind, joined in (("trades", trades), ("quotes", quotes)):
            records = block.kinds()[kind].copy()
            records["symbol"] = places[records["symbol"]]
            joined.append(records)
    first = blocks[0]
    return EventBlock(
        first.venue,
        first.session,
        symbols,
        trades=np.concatenate(trades),
        quotes=np.concatenate(quotes),
    )
