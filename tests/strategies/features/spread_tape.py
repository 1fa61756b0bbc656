"""Sets of pairs and tapes of their legs, written by hand, and the spreads of such tapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from strategies.features.spreads import over
from strategies.pairs.frozen import PairCalibration, PairSet
from tickloom.clock import NS_PER_MS
from tickloom.events import (
    GAP_DTYPE,
    QUOTE_DTYPE,
    SPREAD_DTYPE,
    SPREAD_STATE_TEXTS,
    STATUS_DTYPE,
    EventBlock,
    Records,
    StatusCode,
    SymbolTable,
)
from tickloom.prices import nanos_of

START_NS = 1_732_199_400_000_000_000
STALE_MS, HALF_LIFE_MS = 50, 20
LEGS = ("A", "B", "C", "D")


def calibrated(
    symbol: str, ratio: float = 1.0, mean: float = 10.0, deviation: float = 1.0
) -> PairCalibration:
    leg_a, leg_b = symbol.split("~")
    return PairCalibration(symbol, leg_a, leg_b, ratio, mean, deviation)


def pair_set(*pairs: PairCalibration, stale_ms: int = STALE_MS, half_life_ms: int = HALF_LIFE_MS) -> PairSet:
    valid_from = datetime(2024, 1, 1, tzinfo=UTC)
    return PairSet("XNAS", pairs, stale_ms, half_life_ms, valid_from)


@dataclass
class Tape:
    """Events by hand: times in ms behind the start, mids in dollars with a cent to each side."""

    symbols: SymbolTable = field(default_factory=lambda: SymbolTable([*LEGS, "Z"]))
    quotes: list[tuple[Any, ...]] = field(default_factory=list)
    statuses: list[tuple[Any, ...]] = field(default_factory=list)
    gaps: list[tuple[Any, ...]] = field(default_factory=list)
    seq: int = 0

    def quote(self, leg: str, at_ms: float, mid: float, *, seq: int = 0, half: float = 0.01) -> int:
        head = self._head(leg, at_ms, seq)
        sides = (nanos_of(mid - half), nanos_of(1), nanos_of(mid + half), nanos_of(1))
        self.quotes.append((*head, *sides, 0))
        return int(head[2])

    def status(self, leg: str, at_ms: float, code: StatusCode) -> None:
        self.statuses.append((*self._head(leg, at_ms, 0), code, b""))

    def gap(self, leg: str, at_ms: float) -> None:
        self.gaps.append((*self._head(leg, at_ms, 0), 0, 0, 0))

    def block(self) -> EventBlock:
        return EventBlock(
            "XNAS",
            "20241121",
            self.symbols,
            quotes=np.array(self.quotes, dtype=QUOTE_DTYPE),
            statuses=np.array(self.statuses, dtype=STATUS_DTYPE),
            gaps=np.array(self.gaps, dtype=GAP_DTYPE),
        )

    def _head(self, leg: str, at_ms: float, seq: int) -> tuple[int, int, int, int]:
        self.seq = seq or self.seq + 1
        ts = START_NS + round(at_ms * NS_PER_MS)
        return ts, ts + 1_000, self.seq, self.symbols.index(leg)


def spreads_of(block: EventBlock, pairs: PairSet) -> Records:
    found = [part.spreads for part in over([block], pairs)]
    return np.concatenate(found) if found else np.empty(0, dtype=SPREAD_DTYPE)


def rows(records: Records, *names: str) -> list[tuple[Any, ...]]:
    """Fields of each record; times in ms behind the start, state as text."""
    texts = {
        "state": lambda code: SPREAD_STATE_TEXTS[code],
        "ts_event": lambda ts: (ts - START_NS) / NS_PER_MS,
    }
    return [
        tuple(texts.get(name, lambda value: value)(row[name].item()) for name in names) for row in records
    ]
