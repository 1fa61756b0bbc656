"""Signals of two runs over the same day in, what differs between them out, with the cause of each. Pure.

One run is the reference: what was raised live, or an engine over stored events. The other is a replay.
A signal is *identical* (same id, same values), *missing* (only the replay has it), *extra* (only the
reference has it), or *shifted*: both have a match there, of another identity or with other values.
Causes are found by :mod:`streaming.stored.causes` in the stored events around each difference.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from msgspec import structs

from tickloom.events import Signal

# Functions such as LN and POWER differ in their last bit between Java's library and C's.
TOLERANCE = 1e-12  # of strength and ref_price, relative
LIVE = "live"


class Outcome(StrEnum):
    """Of a signal in one run, or of the two that belong together."""

    IDENTICAL = "identical"
    MISSING = "missing"
    EXTRA = "extra"
    SHIFTED = "shifted"


class Cause(StrEnum):
    """Why a signal differs."""

    OTHER_VERSION = "other version"
    OTHER_PARAMETERS = "other parameters"
    NOT_RUNNING = "not running"  # the rule was not submitted yet, or was stopped
    NOT_STORED = "not stored"  # a row of the match is not among the stored events
    LATE_TICK = "late tick"
    GAP = "gap"
    TIE = "tie in a millisecond"
    UNEXPLAINED = "unexplained"


@dataclass(slots=True)
class Difference:
    """A signal that is not identical. evidence: what the cause was seen by."""

    outcome: Outcome
    reference: Signal | None
    replay: Signal | None
    cause: Cause = Cause.UNEXPLAINED
    evidence: str = ""

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The one or the two that there are."""
        return tuple(one for one in (self.reference, self.replay) if one is not None)

    @property
    def symbol(self) -> str:
        return self.signals[0].symbol

    @property
    def ts_event(self) -> int:
        """ns, of the earlier of the two."""
        return min(one.ts_event for one in self.signals)


@dataclass(slots=True)
class Report:
    """A day of a rule, held against its replay.

    Attributes
    ----------
    reference, replay : str
        "live", or an engine. live_engine: what raised the live signals; "" where nothing was live.
    events : int
        That were replayed.
    """

    rule: str
    version: str
    venue: str
    date: str
    reference: str
    replay: str
    live_engine: str = ""
    events: int = 0
    identical: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether all signals are identical; also where there are none."""
        return not self.differences

    @property
    def raised_none(self) -> bool:
        """Whether the reference has no signal at all."""
        return not self.identical and all(one.reference is None for one in self.differences)

    @property
    def outcomes(self) -> dict[str, int]:
        """Number of signals, or pairs of them, of each outcome."""
        found = Counter(one.outcome.value for one in self.differences)
        return {Outcome.IDENTICAL.value: self.identical} | {
            one.value: found[one.value] for one in Outcome if one is not Outcome.IDENTICAL
        }

    @property
    def causes(self) -> dict[str, int]:
        """Number of differences of each cause that there is."""
        return dict(Counter(one.cause.value for one in self.differences).most_common())

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "rule": self.rule,
            "version": self.version,
            "venue": self.venue,
            "date": self.date,
            "reference": self.reference,
            "replay": self.replay,
            "live_engine": self.live_engine,
            "events": self.events,
            "agrees": self.agrees,
            **self.outcomes,
            "causes": self.causes,
            "differences": [
                {
                    "outcome": one.outcome.value,
                    "cause": one.cause.value,
                    "evidence": one.evidence,
                    "symbol": one.symbol,
                    "reference": structs.asdict(one.reference) if one.reference else None,
                    "replay": structs.asdict(one.replay) if one.replay else None,
                }
                for one in self.differences
            ],
        }


def compare(reference: Iterable[Signal], replay: Iterable[Signal]) -> tuple[int, list[Difference]]:
    """Number of identical signals, and the differences in the order of time.

    What has no identical signal on the other side belongs to the one there that is nearest: first by the
    same id, then by the same rows (of another version), the same last row, the same first row, and at
    last rows that overlap. Each signal belongs to one other at most.
    """
    left, right = list(reference), list(replay)
    identical, pairs = 0, []
    for key in _KEYS:
        matched, left, right = _join(left, right, key)
        for one, other in matched:
            if one.signal_id == other.signal_id and same_values(one, other):
                identical += 1
            else:
                pairs.append((one, other))
    matched, left, right = _overlapping(left, right)
    pairs += matched
    differences = [
        *(Difference(Outcome.SHIFTED, one, other) for one, other in pairs),
        *(Difference(Outcome.EXTRA, one, None) for one in left),
        *(Difference(Outcome.MISSING, None, other) for other in right),
    ]
    return identical, sorted(differences, key=lambda one: (one.ts_event, one.symbol))


def same_values(one: Signal, other: Signal) -> bool:
    """Whether two signals of the same id say the same."""
    return (one.side, one.venue, one.ts_event) == (other.side, other.venue, other.ts_event) and all(
        math.isclose(a, b, rel_tol=TOLERANCE) or (math.isnan(a) and math.isnan(b))
        for a, b in ((one.strength, other.strength), (one.ref_price, other.ref_price))
    )


_Key = Callable[[Signal], Hashable]
_Pairs = list[tuple[Signal, Signal]]
_KEYS: tuple[_Key, ...] = (
    lambda one: (one.signal_id, one.ts_event, one.side),  # a copy with other values must not take its place
    lambda one: one.signal_id,
    lambda one: (one.symbol, one.first_seq, one.last_seq),
    lambda one: (one.symbol, one.last_seq),
    lambda one: (one.symbol, one.first_seq),
)


def _join(
    left: Sequence[Signal], right: Sequence[Signal], key: _Key
) -> tuple[_Pairs, list[Signal], list[Signal]]:
    """Pairs of the same key, one to one in order, and what is left of both."""
    waiting: dict[Hashable, list[Signal]] = defaultdict(list)
    for other in reversed(right):
        waiting[key(other)].append(other)
    pairs, alone = [], []
    for one in left:
        found = waiting.get(key(one))
        if found:
            pairs.append((one, found.pop()))
        else:
            alone.append(one)
    kept = {id(other) for others in waiting.values() for other in others}
    return pairs, alone, [other for other in right if id(other) in kept]


def _overlapping(left: list[Signal], right: list[Signal]) -> tuple[_Pairs, list[Signal], list[Signal]]:
    """Pairs of a symbol whose spans of rows overlap, in order."""
    waiting: dict[str, list[Signal]] = defaultdict(list)
    for other in sorted(right, key=lambda one: one.first_seq):
        waiting[other.symbol].append(other)
    pairs, alone = [], []
    for one in sorted(left, key=lambda one: one.first_seq):
        candidates = waiting[one.symbol]
        found = next(
            (
                other
                for other in candidates
                if other.first_seq <= one.last_seq and one.first_seq <= other.last_seq
            ),
            None,
        )
        if found is None:
            alone.append(one)
        else:
            candidates.remove(found)
            pairs.append((one, found))
    return pairs, alone, [other for others in waiting.values() for other in others]
