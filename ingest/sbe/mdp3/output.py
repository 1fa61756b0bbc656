"""Events of one batch while they are made: the kernel's columns, and rows of what is rare."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ingest.sbe.mdp3 import state as st
from ingest.sbe.mdp3.entries import Times
from tickloom.events import (
    DELTA_DTYPE,
    GAP_DTYPE,
    QUOTE_DTYPE,
    STATUS_DTYPE,
    TRADE_DTYPE,
    EventBlock,
    GapReason,
    Records,
    Side,
    StatusCode,
    SymbolTable,
)
from tickloom.rows import copied, joined

_KERNEL_KINDS = (TRADE_DTYPE, QUOTE_DTYPE, DELTA_DTYPE)


class Output:
    """Numbers what the shell puts out, in one row of numbers with what the kernel puts out."""

    def __init__(self, venue: str, session: str, symbols: SymbolTable, base: int) -> None:
        self.columns = st.Output.empty()
        self._venue, self._session, self._symbols, self._base = venue, session, symbols, base
        self._begin()

    def _begin(self) -> None:
        self._parts: list[list[Records]] = [[], [], []]
        self._statuses: list[tuple[int, int, int, int, int, bytes]] = []
        self._gaps: list[tuple[int, int, int, int, int, int, int]] = []

    def times(self, shared: NDArray[np.int64], ts_recv: int) -> Times:
        """What an event that is put now carries: the latest event time, since what is rare has none."""
        return Times(int(shared[st.LATEST]), ts_recv, self._base)

    def _number(self, shared: NDArray[np.int64]) -> int:
        shared[st.NUMBERED] += 1
        return self._base + int(shared[st.NUMBERED])

    def put_statuses(
        self,
        shared: NDArray[np.int64],
        ts_recv: int,
        symbols: Iterable[int],
        status: StatusCode,
        reason: bytes = b"",
    ) -> None:
        """One status of several symbols, under one number."""
        seq, clock = self._number(shared), int(shared[st.LATEST])
        self._statuses += [(clock, ts_recv, seq, symbol, int(status), reason) for symbol in symbols]

    def put_gap(
        self,
        shared: NDArray[np.int64],
        ts_recv: int,
        symbol: int,
        first: int,
        last: int,
        reason: GapReason,
    ) -> None:
        seq = self._number(shared)
        self._gaps.append((int(shared[st.LATEST]), ts_recv, seq, symbol, first, last, int(reason)))

    def put_deltas(
        self,
        shared: NDArray[np.int64],
        ts_recv: int,
        symbol: int,
        changes: list[tuple[Side, int, int]],
        rpt_seq: int,
    ) -> None:
        """Level changes of a book that was rebuilt, behind what the kernel has put out so far."""
        if not changes:
            return
        self.drain()
        rows = np.zeros(len(changes), dtype=DELTA_DTYPE)
        rows["ts_event"], rows["ts_recv"], rows["seq"] = shared[st.LATEST], ts_recv, self._number(shared)
        rows["symbol"], rows["venue_id"] = symbol, rpt_seq
        rows["side"], rows["price"], rows["size"] = zip(*changes, strict=True)
        self._parts[st.DELTAS].append(rows)

    def drain(self) -> None:
        """Take over what the kernel has written."""
        used = self.columns.used
        for kind, rows in enumerate((self.columns.trades, self.columns.quotes, self.columns.deltas)):
            if used[kind]:
                self._parts[kind].append(copied(rows[: used[kind]]))
        used[:] = 0

    def finish(self) -> EventBlock:
        """The batch's events."""
        self.drain()
        trades, quotes, deltas = (
            joined(parts, dtype) for parts, dtype in zip(self._parts, _KERNEL_KINDS, strict=True)
        )
        block = EventBlock(
            self._venue,
            self._session,
            self._symbols,
            trades,
            quotes,
            deltas,
            np.array(self._statuses, dtype=STATUS_DTYPE),
            np.array(self._gaps, dtype=GAP_DTYPE),
        )
        self._begin()
        return block
