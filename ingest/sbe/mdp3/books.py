"""What happens to books and instruments besides plain updates: lost, rebuilt, reset, defined, halted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.sbe.mdp3 import state as st
from ingest.sbe.mdp3 import templates as t
from ingest.sbe.mdp3.definitions import definition_of, status_of
from ingest.sbe.mdp3.entries import end_event, touch
from ingest.sbe.mdp3.instruments import Instruments, Levels, difference, snapshot_levels
from ingest.sbe.mdp3.kernel import CLOCK_SKEW_NS
from ingest.sbe.mdp3.output import Output
from ingest.sbe.mdp3.schema import mdp3_schema, root_layout
from ingest.sbe.objects import Decoded, ObjectDecoder
from tickloom.errors import DecodeError, UnknownTemplate
from tickloom.events import GapReason, StatusCode, SymbolTable
from tickloom.instruments import Registry

_EMPTY: Levels = [[], []]
_SNAPSHOTS = (t.SNAPSHOT, t.SNAPSHOT_LONG)
_SNAPSHOT_SECURITY = root_layout(t.SNAPSHOT).offsets["SecurityID"]
_HEAD = 8  # of an SBE message


class Books:
    """Instruments, their books and the events that both make.

    Attributes
    ----------
    ts_recv : int
        Receive time of the record that is looked at.
    symbols : SymbolTable
    output : Output
    """

    def __init__(
        self, venue: str, session: str, registry: Registry, seq_base: int, counters: Counter[str]
    ) -> None:
        self.symbols = SymbolTable()
        self.output = Output(venue, session, self.symbols, seq_base)
        self.ts_recv = 0
        self.instruments = Instruments()
        self._venue, self._registry, self._counters = venue, registry, counters
        self._decoder = ObjectDecoder(mdp3_schema())

    @property
    def state(self) -> st.State:
        return self.instruments.state

    @property
    def _shared(self) -> NDArray[np.int64]:
        return self.instruments.state.shared

    def levels(self, security: int) -> Levels:
        """Both sides of a book; KeyError where the instrument was never seen."""
        which = self.instruments.find(security)
        if which < 0:
            raise KeyError(security)
        return self.instruments.levels(which)

    def is_synced(self, security: int) -> bool:
        which = self.instruments.find(security)
        return which >= 0 and bool(self.state.instruments[which, st.SYNCED])

    def rpt_seq(self, security: int) -> int:
        which = self.instruments.find(security)
        return int(self.state.instruments[which, st.RPT_SEQ]) if which >= 0 else -1

    # events

    def status(
        self, status: StatusCode, which: NDArray[np.int64] | int | None = None, reason: bytes = b""
    ) -> None:
        """A status of instruments, or of the venue."""
        symbols = [0]
        if which is not None:
            symbols = np.atleast_1d(self.state.instruments[which, st.SYMBOL]).tolist()
        self.output.put_statuses(self._shared, self.ts_recv, symbols, status, reason)

    def gap(self, first: int, last: int, reason: GapReason, which: int = -1) -> None:
        symbol = int(self.state.instruments[which, st.SYMBOL]) if which >= 0 else 0
        self.output.put_gap(self._shared, self.ts_recv, symbol, first, last, reason)

    def _deltas(self, which: int, old: Levels) -> None:
        """Put out what is new in a book."""
        row = self.state.instruments[which]
        changes = difference(old, self.instruments.levels(which))
        self.output.put_deltas(
            self._shared, self.ts_recv, int(row[st.SYMBOL]), changes, max(0, int(row[st.RPT_SEQ]))
        )

    def _end_event(self) -> None:
        self._shared[st.EVENT_OPEN] = 0
        times = self.output.times(self._shared, self.ts_recv)
        while not end_event(self.state, self.output.columns, times):
            self.output.drain()

    def _move_clock(self, time_ns: int) -> None:
        self._shared[st.LATEST] = max(int(self._shared[st.LATEST]), time_ns)

    # what the kernel stopped at

    def stopped(self, code: int, place: NDArray[np.int64]) -> None:
        """See to an instrument that the kernel could not go on with."""
        which, rpt_seq = int(self._shared[st.AT_INSTRUMENT]), int(self._shared[st.AT_RPT_SEQ])
        packet = int(place[st.PACKET])
        if code == st.NEW:
            self._add(int(self._shared[st.AT_SECURITY]))
        elif code == st.FIRST:
            self._begin(which)
        elif code == st.PENDING_FULL:
            self._counters["pending_dropped"] += self.instruments.forget_older_half()
        elif code == st.RPT_GAP:
            self._counters["rpt_seq_gaps"] += 1
            first = int(self.state.instruments[which, st.RPT_SEQ]) + 1
            self.gap(first, rpt_seq - 1, GapReason.SEQUENCE, which)
            self._lose(np.array([which]), packet)
        elif code == st.CONTRADICTED:
            self._counters["contradicted"] += 1
            self.gap(packet, packet, GapReason.BOOK, which)
            self._lose(np.array([which]), packet)
        elif code == st.REFUSED:
            self._counters["refused_price"] += 1
            self.gap(packet, packet, GapReason.MALFORMED, which)
            self._lose(np.array([which]), packet)
            place[st.ENTRY] += 1
        else:
            raise AssertionError(code)

    def _add(self, security: int) -> int:
        if security not in self.instruments.definitions:
            self._counters["undefined_instrument"] += 1
        return self.instruments.add(security, self._symbol(security))

    def _symbol(self, security: int) -> int:
        definition = self.instruments.definitions.get(security)
        name = definition.symbol if definition and definition.symbol else str(security)
        known = self._registry.by_venue_symbol(self._venue, name)
        known = known or self._registry.by_venue_symbol(self._venue, str(security))
        return self.symbols.index(known.symbol if known else name)

    def _begin(self, which: int) -> None:
        """RptSeq 1: nothing came before it, and the book is empty."""
        old = self.instruments.levels(which)
        self.instruments.begin(which)
        self.instruments.forget(which)
        self._deltas(which, old)
        self._counters["books_synced"] += 1
        self.status(StatusCode.BOOK_SYNCED, which)

    def _lose(self, which: NDArray[np.int64], packet: int) -> None:
        lost = which[self.state.instruments[which, st.SYNCED] != 0]
        self.instruments.lose(which, packet)
        if lost.size:
            self._counters["books_lost"] += int(lost.size)
            self.status(StatusCode.BOOK_LOST, lost)

    def lose_all(self, packet: int) -> None:
        """Packets up to this one are missing, and nobody knows what was in them."""
        state = self.state
        self._lose(self.instruments.synced(), packet)
        state.instruments[:, st.LOST_AT] = packet
        state.instruments[:, st.DIRTY] = 0
        self._shared[st.DIRTY_COUNT] = self._shared[st.EVENT_OPEN] = 0
        self._shared[st.LOST_TO] = packet

    def restart(self, sequence: int) -> None:
        """The channel's numbers begin anew at this one, and so do all RptSeq."""
        self.lose_all(sequence - 1)
        self.instruments.forget()
        self.state.instruments[:, st.RPT_SEQ] = 0

    # messages that are rare

    def message(self, raw: bytes, sent_ns: int, in_sequence: bool) -> None:
        """A definition, a status, a reset or a snapshot; what is none of them is counted.

        A status or a reset means something at its place in the incremental feed only (``in_sequence``).

        Raises
        ------
        DecodeError
            It is none of its template.
        """
        template = int.from_bytes(raw[2:4], "little")
        if template in _SNAPSHOTS and self._unneeded(raw):
            return
        try:
            message = self._decoder.decode(raw)
        except UnknownTemplate as error:
            foreign = error.schema_id != t.SCHEMA_ID
            self._counters["foreign_schema" if foreign else "unknown_template"] += 1
            return
        if message.short:
            raise DecodeError(self._venue, f"{message.name}: a block is shorter than its fields")
        time_ns = int(message.values.get("TransactTime") or 0)
        if time_ns > sent_ns + CLOCK_SKEW_NS:
            raise DecodeError(self._venue, f"{message.name} of {time_ns} was sent at {sent_ns}")
        self._counters["decoded"] += 1
        self.state.templates[template] += 1
        if template in _SNAPSHOTS:
            self._snapshot(message)
        elif template in (t.CHANNEL_RESET, t.SECURITY_STATUS) and not in_sequence:
            self._counters["misplaced"] += 1
        elif template in (t.CHANNEL_RESET, t.SECURITY_STATUS):
            self._move_clock(time_ns)
            if template == t.CHANNEL_RESET:
                self._reset()
            else:
                self._security_status(message.values)
            self._close(message)
        elif template in (t.FUTURE, t.OPTION, t.SPREAD):
            self._define(message)
        elif template == t.SNAPSHOT_ORDER_BOOK:
            self._counters["order_entries"] += len(message.values["NoMDEntries"])
        elif template == t.HEARTBEAT:
            self._counters["heartbeat"] += 1

    def _close(self, message: Decoded) -> None:
        if "EndOfEvent" in message.values["MatchEventIndicator"]:
            self._end_event()
        else:
            self._shared[st.EVENT_OPEN] = 1

    def _define(self, message: Decoded) -> None:
        self._counters["definitions"] += 1
        definition = definition_of(message)
        self.instruments.definitions[definition.security_id] = definition
        which = self.instruments.find(definition.security_id)
        if self.instruments.define(definition, self._symbol(definition.security_id)):
            self._lose(np.array([which]), max(0, int(self._shared[st.EXPECTED]) - 1))

    def _security_status(self, values: dict[str, Any]) -> None:
        """Of one instrument, or of all known ones of its group."""
        said = status_of(values, "SecurityTradingStatus")
        if said is None:
            return
        security = values["SecurityID"]
        if security is not None:
            which = self.instruments.find(security)
            found = [which if which >= 0 else self._add(security)]
        else:
            group, asset = values["SecurityGroup"].strip(), values["Asset"].strip()
            found = [
                self.instruments.find(key)
                for key, item in self.instruments.definitions.items()
                if item.group == group and asset in ("", item.asset)
            ]
        if found:
            self.status(said[0], np.array(found), said[1])
        else:
            self._counters["status_unknown_group"] += 1

    def _reset(self) -> None:
        """Every book is empty, which is known, so every one is trusted; RptSeq begins at 1."""
        self._counters["channel_resets"] += 1
        lost = []
        for which in range(self.instruments.count):
            old = self.instruments.levels(which)
            if not self.state.instruments[which, st.SYNCED]:
                lost.append(which)
            self.instruments.begin(which)
            self._deltas(which, old)
            touch(self.state, which)
        self.instruments.forget()
        if lost:
            self._counters["books_synced"] += len(lost)
            self.status(StatusCode.BOOK_SYNCED, np.array(lost))

    # snapshots

    def _unneeded(self, raw: bytes) -> bool:
        """Whether the snapshot is of a book that is trusted: most are, since the feed repeats them all."""
        at = _HEAD + _SNAPSHOT_SECURITY
        if not self.is_synced(int.from_bytes(raw[at : at + 4], "little", signed=True)):
            return False
        self._counters["snapshots_unneeded"] += 1
        return True

    def _snapshot(self, message: Decoded) -> None:
        """Rebuild a book from a snapshot and the entries behind it, where they join."""
        self._counters["snapshots"] += 1
        values = message.values
        security, rpt_seq = values["SecurityID"], values["RptSeq"]
        which = self.instruments.find(security)
        if which < 0:
            which = self._add(security)
        row = self.state.instruments[which]
        levels = snapshot_levels(values["NoMDEntries"], int(row[st.DEPTH]))
        if levels is None:
            self._counters["snapshots_bad"] += 1
            return
        rows = self.instruments.waiting(which)
        rows = rows[rows[:, st.P_RPT_SEQ] > rpt_seq].copy()
        due = np.arange(rpt_seq + 1, rpt_seq + 1 + len(rows))
        joined = np.array_equal(rows[:, st.P_RPT_SEQ], due) if len(rows) else False
        if not joined and (len(rows) or values["LastMsgSeqNumProcessed"] < row[st.LOST_AT]):
            self._counters["snapshots_stale"] += 1
            return
        old = self.instruments.levels(which)
        if not self.instruments.rebuild(which, levels, rows):
            self._counters["snapshots_bad"] += 1
            return
        row[st.RPT_SEQ], row[st.SYNCED] = rpt_seq + len(rows), 1
        st.forget_quote(row)
        self.instruments.forget(which)
        if not self._shared[st.LATEST]:
            self._move_clock(values["TransactTime"])
        self._deltas(which, old)
        self._counters["books_synced"] += 1
        self.status(StatusCode.BOOK_SYNCED, which)
        said = status_of(values, "MDSecurityTradingStatus")
        if said is not None:
            self.status(said[0], which, said[1])
        touch(self.state, which)
        if not self._shared[st.EVENT_OPEN]:
            self._end_event()
