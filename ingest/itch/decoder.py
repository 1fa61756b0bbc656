"""A capture of MoldUDP64 packets in, normalised events out: the ITCH 5.0 decoder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ingest.capture import CaptureBatch, RecordKind
from ingest.feeds import session_date
from ingest.itch import state as st
from ingest.itch.book import Books
from ingest.itch.kernel import TIMESTAMP_MAX, run
from ingest.itch.messages import LAYOUTS, LENGTH_BYTES
from ingest.itch.moldudp64 import END_OF_SESSION, HEAD_BYTES, NEVER, Gap, Sequencer, parse
from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.events import (
    DELTA_DTYPE,
    GAP_DTYPE,
    QUOTE_DTYPE,
    STATUS_DTYPE,
    TRADE_DTYPE,
    EventBlock,
    GapReason,
    Records,
    SymbolTable,
    seq_base,
)
from tickloom.instruments import Registry

#: What waits behind a gap: receive time and packet.
Waiting = tuple[int, bytes]
_KINDS = (TRADE_DTYPE, QUOTE_DTYPE, DELTA_DTYPE, STATUS_DTYPE, GAP_DTYPE)


def gap_record(gap: Gap) -> bytes:
    """The CONTROL record that says: messages ``first`` to ``last`` were asked for and did not come."""
    return json.dumps({"type": "gap", "first": gap.first, "last": gap.last}).encode()


def gap_from(payload: bytes) -> Gap | None:
    """What :func:`gap_record` wrote; None where it is something else."""
    try:
        control: dict[str, Any] = json.loads(payload)
        return Gap(int(control["first"]), int(control["last"])) if control["type"] == "gap" else None
    except (ValueError, KeyError, TypeError):
        return None


class ItchDecoder:
    """Decodes one session. See :class:`ingest.decoder.Decoder` for what all decoders offer.

    Parameters
    ----------
    venue, session : str
        ``session`` is ``YYYYMMDD.MOLDSESSION``, or ``YYYYMMDD`` to take the first session that comes.
    registry : Registry, optional
        Time zone of the venue, canonical names of its symbols.
    lateness_ns : int
        How far the watermark stays behind the latest event (ITCH is in order of time: 0).

    Attributes
    ----------
    counters : Counter[str]
        Packets: heartbeat, malformed (no MoldUDP64 packet), foreign_session, truncated_packet,
        trailing_bytes, early (out of order), unknown_control. Messages: decoded, duplicate,
        gap_messages, unknown_type, wrong_length, bad_timestamp, bad_field, time_backwards. Content:
        unknown_locate (no directory entry before it; a name in the message is taken),
        locate_mismatch, unknown_order, duplicate_order, overfill, zero_size, refused_size,
        non_printable, empty_cross, crossed, locked. A message that could not be understood also
        makes a gap event with reason MALFORMED.
    books : Books
        The order books; :meth:`locate` gives a symbol's index into them.
    """

    def __init__(
        self, venue: str, session: str, registry: Registry | None = None, lateness_ns: int = 0
    ) -> None:
        day = session_date(session)
        registry = registry or Registry.load()
        known = registry.venues.get(venue)
        zone = ZoneInfo(known.timezone if known else "America/New_York")
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
        self.venue, self.session = venue, session
        self.watermark_ns = 0
        self.ended = False
        self.books = Books()
        self.symbols = SymbolTable()
        self._midnight_ns = int(midnight.timestamp()) * NS_PER_S
        self.end_ns = self._midnight_ns + NS_PER_DAY
        self._seq_base = seq_base(day)
        self._registry = registry
        self._lateness_ns = lateness_ns
        self._state = st.State.fresh()
        self._output = st.Output.empty()
        self._sequencer: Sequencer[Waiting] = Sequencer()
        self._rare: Counter[str] = Counter()
        self._symbol_of = np.zeros(65_536, dtype=np.int32)
        self._parts: list[list[Records]] = []

    @property
    def counters(self) -> Counter[str]:
        counts = {name: int(n) for name, n in zip(st.COUNTERS, self._state.counts, strict=True) if n}
        return Counter(counts) + self._rare

    @property
    def message_types(self) -> dict[str, int]:
        """Messages decoded, by type letter."""
        return {chr(kind): int(self._state.types[kind]) for kind in np.flatnonzero(self._state.types)}

    @property
    def expected(self) -> int:
        """The source's number of the message that is due."""
        return int(self._state.shared[st.EXPECTED])

    @property
    def last_seq(self) -> int:
        return self._seq_base + self.expected - 1 if self.expected > 1 else 0

    def locate(self, symbol: str) -> int:
        """Stock locate of a symbol in this session.

        Raises
        ------
        KeyError
            The session has not named it.
        """
        found = np.flatnonzero(self._symbol_of == self.symbols.index(symbol))
        if not symbol or not found.size:
            raise KeyError(symbol)
        return int(found[0])

    def decode(self, batch: CaptureBatch) -> EventBlock:
        self._parts = [[] for _ in _KINDS]
        self._run(batch)
        self._drain_output()
        latest = int(self._state.shared[st.LATEST])
        if latest:
            self.watermark_ns = max(self.watermark_ns, self._midnight_ns + latest - self._lateness_ns)
        self.ended = self._sequencer.end <= self.expected
        return EventBlock(
            self.venue,
            self.session,
            self.symbols,
            *(_join(parts, dtype) for parts, dtype in zip(self._parts, _KINDS, strict=True)),
        )

    def _run(self, batch: CaptureBatch) -> None:
        place = np.zeros(4, dtype=np.int64)
        while True:
            code = run(
                self._state,
                self.books.arrays,
                self._output,
                batch.data,
                batch.offsets,
                batch.kinds,
                batch.ts_recv,
                place,
                self._midnight_ns,
                self._seq_base,
            )
            if code == st.DONE:
                return
            if code == st.FULL:
                self._drain_output()
            elif code == st.GROW_ORDERS:
                self.books.grow_orders()
            elif code == st.GROW_LEVELS:
                self.books.grow_levels()
            elif code == st.DUE:
                self._sync()
                self._go_on(self._sequencer.release())
            else:
                index = int(place[st.RECORD])
                if code == st.FOREIGN and self._adopt(batch.payload(index)):
                    continue
                place[st.RECORD] += 1
                if code == st.OTHER_KIND:
                    self._control(batch, index)
                elif code == st.EARLY:
                    self._early(int(batch.ts_recv[index]), batch.payload(index))
                else:
                    self._rare["foreign_session"] += 1

    def _sync(self) -> None:
        """The kernel moved on by itself: tell the sequencer."""
        self._sequencer.expected = max(self._sequencer.expected, self.expected)

    def _adopt(self, raw: bytes) -> bool:
        """Whether this is the session's first packet: its ten bytes are then what others must have."""
        packet = parse(raw)
        if packet is None or self._state.session.any():
            return False
        name = self.session.partition(".")[2]
        text = packet.session.decode("ascii", "replace").strip(" \x00")
        if name not in ("", text):
            return False
        self._state.session[:] = np.frombuffer(packet.session, dtype=np.uint8)
        return bool(self._state.session.any())

    def _early(self, ts_recv: int, raw: bytes) -> None:
        packet = parse(raw)
        if packet is None:  # the kernel has checked what parse checks
            return
        self._sync()
        self._rare["heartbeat" if packet.count in (0, END_OF_SESSION) else "early"] += 1
        self._go_on(self._sequencer.accept(packet, (ts_recv, raw)), ts_recv)

    def _control(self, batch: CaptureBatch, index: int) -> None:
        gap = gap_from(batch.payload(index)) if batch.kinds[index] == RecordKind.CONTROL else None
        if gap is None:
            self._rare["unknown_control"] += 1
            return
        self._sync()
        self._go_on(self._sequencer.give_up(gap.last), int(batch.ts_recv[index]))

    def _go_on(self, items: Sequence[Waiting | Gap], ts_recv: int = 0) -> None:
        """Decode what has become due, gaps in their place."""
        shared = self._state.shared
        shared[st.PENDING_FIRST] = NEVER  # what is released here must not stop at itself
        waiting: list[tuple[int, int, bytes]] = []
        for number, item in enumerate(items):
            if isinstance(item, Gap):
                self._drain_output()
                self._gap(item, ts_recv, items[number + 1 :])
                shared[st.EXPECTED] = item.last + 1
            else:
                waiting.append((RecordKind.DATA, *item))
        if waiting:
            self._run(CaptureBatch.of(waiting))
        shared[st.PENDING_FIRST] = self._sequencer.first_pending

    def _gap(self, gap: Gap, ts_recv: int, behind: Sequence[Waiting | Gap]) -> None:
        self._rare["sequence_gaps"] += 1
        self._rare["gap_messages"] += gap.last - gap.first + 1
        latest = int(self._state.shared[st.LATEST]) or _first_timestamp(behind)
        row = np.zeros(1, dtype=GAP_DTYPE)
        row["ts_event"] = self._midnight_ns + latest
        row["ts_recv"] = ts_recv
        row["seq"] = self._seq_base + gap.first
        row["first_missing"], row["last_missing"] = gap.first, gap.last
        row["reason"] = GapReason.SEQUENCE
        self._parts[4].append(row)

    def _drain_output(self) -> None:
        """Take the kernel's rows over, locates turned into symbols."""
        out, used = self._output, self._output.used
        for locate in out.new_locates[: used[st.LOCATES_NEW]]:
            self._symbol_of[locate] = self.symbols.index(self._canonical(int(self._state.stocks[locate])))
        columns = (out.trades, out.quotes, out.deltas, out.statuses, out.gaps)
        for kind, rows in enumerate(columns):
            if used[kind]:
                taken = rows[: used[kind]].copy()
                taken["symbol"] = self._symbol_of[taken["symbol"]]
                self._parts[kind].append(taken.view(_KINDS[kind]))
        used[:] = 0
        self._state.shared[st.IN_OUTPUT] = 0

    def _canonical(self, stock: int) -> str:
        text = stock.to_bytes(8, "big").decode("ascii", "replace").strip(" \x00")
        known = self._registry.by_venue_symbol(self.venue, text)
        return known.symbol if known else text


def _first_timestamp(items: Sequence[Waiting | Gap]) -> int:
    """Time of the first message in ``items``, for a gap that nothing came before; 0 if there is none."""
    for item in items:
        if not isinstance(item, Gap):
            at = HEAD_BYTES + LENGTH_BYTES + LAYOUTS["S"].offsets["timestamp"]
            timestamp = int.from_bytes(item[1][at : at + 6], "big")
            return timestamp if timestamp < TIMESTAMP_MAX else 0
    return 0


def _join(parts: list[NDArray[np.void]], dtype: np.dtype[np.void]) -> Records:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
