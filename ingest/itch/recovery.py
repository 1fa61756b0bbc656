"""What a decoder keeps between the loss of its books and the snapshot that makes them whole. Pure.

From a gap that nobody could fill until the snapshot, trades and statuses go on, and quotes and levels are
kept out: they would be wrong. The records since the gap are held. A snapshot that was taken behind the gap,
and whose number has been reached, is decoded by a decoder of its own, and the records behind it on top: so
its books are those of a decoder that missed nothing. Then what differs from what was shown goes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.capture_batch import CaptureBatch
from ingest.capture_format import RecordKind
from ingest.itch.book import Books
from ingest.itch.glimpse import Assembler, Snapshot
from ingest.itch.handlers import PRICE_NANOS, SHARE_NANOS
from tickloom.events import DELTA_DTYPE, QUOTE_DTYPE, STATUS_DTYPE, Records, Side, StatusCode
from tickloom.prices import NO_PRICE

HELD_BYTES_MAX = 256 * 1024 * 1024  # of records since the gap; beyond it a later snapshot is needed
LOST_REASON, SYNCED_REASON = b"GAP", b"GLIMPSE"
#: Statuses that replace each other: what a snapshot says of them is told, short sales first, then trading.
FAMILIES = (
    frozenset({StatusCode.SHORT_SALE_RESTRICTED, StatusCode.SHORT_SALE_FREE}),
    frozenset({StatusCode.TRADING, StatusCode.HALTED, StatusCode.PAUSED, StatusCode.QUOTATION_ONLY}),
)
Levels = dict[int, int]  # price(4), negative of an ask: higher is better; to total


@dataclass
class Recovery:
    """Books are lost. last_lost: the last number that nobody has; shown: the levels that went out."""

    last_lost: int
    shown: dict[int, Levels]
    snapshot: Snapshot | None = None
    _held: list[CaptureBatch] = field(default_factory=list)
    _bytes: int = 0
    _assembler: Assembler = field(default_factory=Assembler)

    def lose(self, last: int) -> None:
        """More is lost: a snapshot from before it is of no use."""
        self.last_lost = max(self.last_lost, last)
        if self.snapshot is not None and self.snapshot.next_number <= self.last_lost:
            self.snapshot = None

    def hold(self, batch: CaptureBatch) -> None:
        """Keep a record that the snapshot may have to be brought up to date with."""
        if self._bytes > HELD_BYTES_MAX:
            self._held.clear()
            self._bytes = 0
        if batch.kinds.size and batch.kinds[0] == RecordKind.DATA:
            self._held.append(batch)
            self._bytes += batch.data.size

    def take(self, payload: bytes) -> None:
        """A SNAPSHOT record."""
        found = self._assembler.take(payload)
        if found is not None and found.next_number > self.last_lost:
            self.snapshot = found

    def held(self) -> CaptureBatch:
        """All that is held, in the order in which it was decoded."""
        return CaptureBatch.of([(r.kind, r.ts_recv, r.payload) for batch in self._held for r in batch])


def levels_of(books: Books) -> dict[int, Levels]:
    """Levels of every side that has any: side to key to total."""
    return {
        side: {-price if side & 1 else price: total for price, total in reversed(levels)}
        for side, levels in books.all_levels()
    }


def differences(shown: dict[int, Levels], now: dict[int, Levels]) -> Iterator[tuple[int, int, int]]:
    """(side, key, new total) of each level that is not as it was shown; total 0: it is gone."""
    for side in sorted(shown.keys() | now.keys()):
        before, after = shown.get(side, {}), now.get(side, {})
        for key in sorted(before.keys() | after.keys()):
            total = after.get(key, 0)
            if total != before.get(key, 0):
                yield side, key, total


def delta_rows(shown: dict[int, Levels], now: dict[int, Levels], symbol_of: NDArray[np.int32]) -> Records:
    """What differs as book deltas, without times and numbers."""
    found = list(differences(shown, now))
    rows = np.zeros(len(found), dtype=DELTA_DTYPE)
    if found:
        side, key, total = (np.array(column, dtype=np.int64) for column in zip(*found, strict=True))
        rows["symbol"] = symbol_of[side >> 1]
        rows["price"] = np.where(side & 1, -key, key) * PRICE_NANOS
        rows["size"] = total * SHARE_NANOS
        rows["side"] = np.where(side & 1, Side.SELL, Side.BUY)
    return rows


def quote_rows(shown: dict[int, Levels], now: dict[int, Levels], symbol_of: NDArray[np.int32]) -> Records:
    """Best quotes of all books that have levels, or were shown with some, without times and numbers."""
    locates = sorted({side >> 1 for side in shown.keys() | now.keys()})
    rows = np.zeros(len(locates), dtype=QUOTE_DTYPE)
    rows["symbol"] = symbol_of[locates]
    for name, ask in (("bid", 0), ("ask", 1)):
        best = [max(now.get(2 * locate + ask, {}).items(), default=None) for locate in locates]
        sign = -PRICE_NANOS if ask else PRICE_NANOS
        rows[f"{name}_price"] = [NO_PRICE if level is None else sign * level[0] for level in best]
        rows[f"{name}_size"] = [0 if level is None else level[1] * SHARE_NANOS for level in best]
    return rows


def status_rows(symbols: NDArray[np.int32], status: StatusCode, reason: bytes) -> Records:
    """The same status of several symbols, without times and numbers."""
    rows = np.zeros(len(symbols), dtype=STATUS_DTYPE)
    rows["symbol"], rows["status"], rows["reason"] = symbols, status, reason
    return rows
