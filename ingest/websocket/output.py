"""Events of one batch while they are made, and those that wait for the venue's first time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tickloom.events import (
    DELTA_DTYPE,
    GAP_DTYPE,
    QUOTE_DTYPE,
    STATUS_DTYPE,
    TRADE_DTYPE,
    EventBlock,
    GapReason,
    Records,
    StatusCode,
    SymbolTable,
)
from tickloom.rows import joined

# state of the feed
CLOCK, FIRST_CLOCK = 0, 1
# positions in the output
TRADES_OUT, QUOTES_OUT, DELTAS_OUT = 0, 1, 2

UNTIMED_MAX = 1_000  # events before the first venue time; beyond it all of them take the receive time


class Output:
    """Columns that the compiled pass fills (trades, quotes, deltas), and lists of what is rare.

    Nothing leaves before the feed has shown a venue time: a gap put out at once would have a higher seq than
    a quote that still waits, and a sink that resumes behind the gap would skip the quote.
    """

    def __init__(self, venue: str, session: str, symbols: SymbolTable) -> None:
        self._venue, self._session, self._symbols = venue, session, symbols
        self._untimed = EventBlock(venue, session, symbols)
        self._overflowed = False
        self._nothing_waits = False  # true for good once the feed has a clock
        self.filled: NDArray[np.int64] = np.zeros(3, dtype=np.int64)

    def begin(self, trades: int, quotes: int, deltas: int, first_seq: int) -> None:
        """Make room for what a batch can give at most, of each kind that a compiled pass fills."""
        self.trades: Records = np.zeros(trades, dtype=TRADE_DTYPE)
        self.quotes: Records = np.zeros(quotes, dtype=QUOTE_DTYPE)
        self.deltas: Records = np.zeros(deltas, dtype=DELTA_DTYPE)
        self.filled[:] = 0
        self._delta_parts: list[Records] = []
        self._deltas_taken = 0
        self._statuses: list[tuple[int, int, int, int, int, bytes]] = []
        self._gaps: list[tuple[int, int, int, int, int, int, int]] = []
        self.at(0, first_seq, 0)

    def at(self, ts_recv: int, seq: int, clock_ns: int) -> None:
        """The record that what is put next comes from."""
        self._ts_recv, self._seq, self._clock_ns = ts_recv, seq, clock_ns

    def clock(self, clock_ns: int) -> None:
        """What is put next has this time."""
        self._clock_ns = clock_ns

    def put_status(self, symbol: int, status: StatusCode) -> None:
        self._statuses.append((self._clock_ns, self._ts_recv, self._seq, symbol, int(status), b""))

    def put_gap(self, symbol: int, first: int, last: int, reason: GapReason) -> None:
        self._gaps.append((self._clock_ns, self._ts_recv, self._seq, symbol, first, last, int(reason)))

    def put_deltas(
        self,
        symbol: int,
        sides: NDArray[np.int8],
        prices: NDArray[np.int64],
        sizes: NDArray[np.int64],
        venue_id: int,
    ) -> None:
        """Level changes of a rebuilt book, behind what the pass has put out so far."""
        self._take_deltas()
        part = np.zeros(len(sides), dtype=DELTA_DTYPE)
        part["ts_event"], part["ts_recv"], part["seq"] = self._clock_ns, self._ts_recv, self._seq
        part["symbol"], part["venue_id"] = symbol, venue_id
        part["side"], part["price"], part["size"] = sides, prices, sizes
        self._delta_parts.append(part)

    def finish(self, feed: NDArray[np.int64], ended: bool) -> tuple[EventBlock, int]:
        """The batch's events, and the lowest seq that still waits for a time (0: none)."""
        self._take_deltas()
        deltas = self._delta_parts
        block = EventBlock(
            self._venue,
            self._session,
            self._symbols,
            self.trades[: self.filled[TRADES_OUT]],
            self.quotes[: self.filled[QUOTES_OUT]],
            joined(deltas, DELTA_DTYPE),
            np.array(self._statuses, dtype=STATUS_DTYPE),
            np.array(self._gaps, dtype=GAP_DTYPE),
        )
        if self._nothing_waits and feed[CLOCK]:
            return block, 0
        return self._timed(block, feed, ended)

    def _take_deltas(self) -> None:
        filled = int(self.filled[DELTAS_OUT])
        if filled > self._deltas_taken:
            self._delta_parts.append(self.deltas[self._deltas_taken : filled])
            self._deltas_taken = filled

    def _timed(self, block: EventBlock, feed: NDArray[np.int64], ended: bool) -> tuple[EventBlock, int]:
        kinds = ("quotes", "deltas", "statuses", "gaps")
        bare = any((getattr(block, kind)["ts_event"] == 0).any() for kind in kinds)
        if feed[CLOCK] and not bare and not len(self._untimed):
            self._nothing_waits = True
            return block, 0
        for kind in kinds:
            records = getattr(block, kind)
            setattr(block, kind, joined([getattr(self._untimed, kind), records], records.dtype))
        # deltas are not counted: those without a time are of snapshots, which the books' room bounds
        counted = [kind for kind in kinds if kind != "deltas"]
        untimed = sum(int((getattr(block, kind)["ts_event"] == 0).sum()) for kind in counted)
        self._overflowed = self._overflowed or untimed > UNTIMED_MAX
        if feed[CLOCK] == 0 and not self._overflowed and not ended:
            self._untimed = block
            lowest = [int(getattr(block, kind)["seq"][0]) for kind in kinds if len(getattr(block, kind))]
            return EventBlock(self._venue, self._session, self._symbols), min(lowest, default=0)
        for kind in kinds:
            records = getattr(block, kind)
            bare = records["ts_event"] == 0
            use_receive = self._overflowed or feed[CLOCK] == 0
            records["ts_event"][bare] = records["ts_recv"][bare] if use_receive else feed[FIRST_CLOCK]
        self._untimed = EventBlock(self._venue, self._session, self._symbols)
        self._nothing_waits = bool(feed[CLOCK])
        return block, 0
