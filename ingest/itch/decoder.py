"""A capture of MoldUDP64 packets in, normalised events out: the ITCH 5.0 decoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ingest.capture import CaptureBatch, RecordKind
from ingest.feeds import session_date
from ingest.itch import state as st
from ingest.itch.book import Books
from ingest.itch.controls import awaits_snapshot, gap_from
from ingest.itch.glimpse import Snapshot
from ingest.itch.holes import Holes
from ingest.itch.kernel import TIMESTAMP_MAX, run
from ingest.itch.messages import LAYOUTS, LENGTH_BYTES
from ingest.itch.moldudp64 import END_OF_SESSION, HEAD_BYTES, NEVER, Gap, Sequencer, parse
from ingest.itch.recovery import (
    FAMILIES,
    LOST_REASON,
    SYNCED_REASON,
    Recovery,
    delta_rows,
    levels_of,
    quote_rows,
    status_rows,
)
from ingest.itch.runs import mold_name
from ingest.trust import Hole
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
    StatusCode,
    SymbolTable,
    seq_base,
)
from tickloom.instruments import Registry
from tickloom.rows import copied, joined

#: What waits behind a gap: receive time and packet.
Waiting = tuple[int, bytes]
_KINDS = (TRADE_DTYPE, QUOTE_DTYPE, DELTA_DTYPE, STATUS_DTYPE, GAP_DTYPE)


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
        non_printable, empty_cross, crossed, locked. Books: withheld (quotes and levels kept out while
        books are lost), snapshots (that made them whole), stale_snapshot (that could not). A message
        that could not be understood also makes a gap event with reason MALFORMED; a replacement of an order
        that is not known, one with reason BOOK.
    books : Books
        The order books; :meth:`locate` gives a symbol's index into them.
    """

    builds_books = True

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
        self._holes = Holes(self._seq_base)
        self._rare: Counter[str] = Counter()
        self._symbol_of = np.zeros(65_536, dtype=np.int32)
        self._parts: list[list[Records]] = []
        self._recovery: Recovery | None = None
        self._telling = 0  # what a snapshot said, and is to be told still: steps left
        self._told: dict[tuple[int, int], int] = {}  # (symbol, family) to the last status
        self._news: dict[tuple[int, int], int] = {}

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

    @property
    def holes(self) -> list[Hole]:
        """Missing messages that may still come, or have come, in the batch that was decoded last."""
        return self._holes.found

    def decode(self, batch: CaptureBatch) -> EventBlock:
        self._parts = [[] for _ in _KINDS]
        self._holes.found = []
        start = 0
        while start < len(batch):
            if self._recovery is not None:
                start = self._run_lost(batch, start)
                continue
            controls = np.flatnonzero(batch.kinds[start:])  # a gap may lose the books, from there on
            stop = start + int(controls[0]) + 1 if controls.size else len(batch)
            self._run(batch.slice(start, stop) if stop - start < len(batch) else batch)
            start = stop
        self._drain_output()
        latest = int(self._state.shared[st.LATEST])
        if latest:
            self.watermark_ns = max(self.watermark_ns, self._midnight_ns + latest - self._lateness_ns)
        self.ended = self._sequencer.end <= self.expected
        return EventBlock(
            self.venue,
            self.session,
            self.symbols,
            *(joined(parts, dtype) for parts, dtype in zip(self._parts, _KINDS, strict=True)),
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
                self._look_for_holes(int(batch.ts_recv[place[st.RECORD] - 1]))
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
        name = mold_name(self.session)
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
        self._look_for_holes(ts_recv)

    def _control(self, batch: CaptureBatch, index: int) -> None:
        if batch.kinds[index] == RecordKind.CLOCK:
            return
        payload = batch.payload(index)
        if batch.kinds[index] == RecordKind.SNAPSHOT:
            if self._recovery is not None:
                self._recovery.take(payload)
            return
        gap = gap_from(payload) if batch.kinds[index] == RecordKind.CONTROL else None
        if gap is None:
            self._rare["unknown_control"] += 1
            return
        self._sync()
        lost = awaits_snapshot(payload)
        given_up = self._sequencer.give_up(gap.last)
        self._go_on(given_up, int(batch.ts_recv[index]), lost)
        self._look_for_holes(int(batch.ts_recv[index]))
        if lost and not given_up:  # it was before, because too much waited behind it
            self._drain_output()
            self._lose(gap, int(batch.ts_recv[index]), self.expected - 1)

    def _look_for_holes(self, ts_recv: int) -> None:
        """See what became of them; the kernel stops where the open one is over."""
        self._sync()
        self._holes.look(self._sequencer, ts_recv)
        self._state.shared[st.PENDING_FIRST] = min(self._sequencer.first_pending, self._holes.stop)

    def _go_on(self, items: Sequence[Waiting | Gap], ts_recv: int = 0, lost: bool = False) -> None:
        """Decode what has become due, gaps in their place. ``lost``: the books are, at a gap."""
        shared = self._state.shared
        shared[st.PENDING_FIRST] = NEVER  # what is released here must not stop at itself
        waiting: list[tuple[int, int, bytes]] = []
        for number, item in enumerate(items):
            if isinstance(item, Gap):
                self._drain_output()
                self._gap(item, ts_recv, items[number + 1 :])
                shared[st.EXPECTED] = item.last + 1
                if lost or self._recovery is not None:
                    self._lose(item, ts_recv, item.first)
            else:
                waiting.append((RecordKind.DATA, *item))
        if waiting:
            due = CaptureBatch.of(waiting)
            if self._recovery is not None:
                self._recovery.hold(due)
            self._run(due)
        shared[st.PENDING_FIRST] = self._sequencer.first_pending

    def _gap(self, gap: Gap, ts_recv: int, behind: Sequence[Waiting | Gap]) -> None:
        self._rare["sequence_gaps"] += 1
        self._holes.gave_up(gap)
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
        if self._recovery is not None:
            self._rare["withheld"] += int(used[st.QUOTES] + used[st.DELTAS])
            used[st.QUOTES] = used[st.DELTAS] = 0
            told = out.gaps[: used[st.GAPS]]  # of a book that is lost, nothing more is
            told = told[told["reason"] != GapReason.BOOK]
            out.gaps[: len(told)] = told
            used[st.GAPS] = len(told)
        for locate in out.new_locates[: used[st.LOCATES_NEW]]:
            self._symbol_of[locate] = self.symbols.index(self._canonical(int(self._state.stocks[locate])))
        columns = (out.trades, out.quotes, out.deltas, out.statuses, out.gaps)
        for kind, rows in enumerate(columns):
            if used[kind]:
                taken = copied(rows[: used[kind]])
                taken["symbol"] = self._symbol_of[taken["symbol"]]
                self._parts[kind].append(taken.view(_KINDS[kind]))
                if kind == st.STATUSES:
                    self._note(taken)
        used[:] = 0
        self._state.shared[st.IN_OUTPUT] = 0

    def _note(self, statuses: Records) -> None:
        """Remember the last status of each kind, to know what a snapshot says that is new."""
        for symbol, status in zip(statuses["symbol"].tolist(), statuses["status"].tolist(), strict=True):
            for family, members in enumerate(FAMILIES):
                if status in members:
                    self._told[symbol, family] = status
                    self._news.pop((symbol, family), None)

    def _run_lost(self, batch: CaptureBatch, start: int) -> int:
        """Record by record, until the books are whole; the index of the first record that was not run."""
        for index in range(start, len(batch)):
            recovery = self._recovery
            if recovery is None:
                return index
            one = batch.slice(index, index + 1)
            if self._advances(one):
                if recovery.snapshot is not None and recovery.snapshot.next_number <= self.expected:
                    self._rebuild(recovery, recovery.snapshot)
                if self._telling:
                    self._tell(recovery, int(one.ts_recv[0]))
            if self._recovery is not None:
                self._recovery.hold(one)
            self._run(one)
            self._drain_output()
        return len(batch)

    def _advances(self, one: CaptureBatch) -> bool:
        """Whether the next message is in this record: what is told before it has its number."""
        packet = parse(one.payload(0)) if one.kinds[0] == RecordKind.DATA else None
        if packet is None or packet.session != self._state.session.tobytes():
            return False
        return packet.sequence <= self.expected < packet.next_sequence

    def _lose(self, gap: Gap, ts_recv: int, number: int) -> None:
        """From here on books are not what they were shown as; trades and statuses go on."""
        self._telling = 0
        if self._recovery is not None:
            self._recovery.lose(gap.last)
            return
        self._recovery = Recovery(gap.last, levels_of(self.books))
        self._put(3, status_rows(self._known(), StatusCode.BOOK_LOST, LOST_REASON), ts_recv, number)

    def _rebuild(self, recovery: Recovery, snapshot: Snapshot) -> None:
        """The books of a decoder that has the snapshot and all that came behind it."""
        recovery.snapshot = None
        fresh = ItchDecoder(self.venue, self.session, self._registry)
        blocks = [fresh.decode(CaptureBatch.of([(RecordKind.DATA, 0, part) for part in snapshot.parts]))]
        fresh._state.shared[st.EXPECTED] = snapshot.next_number
        fresh._sequencer = Sequencer(snapshot.next_number)
        blocks.append(fresh.decode(recovery.held()))
        if fresh.expected != self.expected:  # more was held back than there was room for
            self._rare["stale_snapshot"] += 1
            return
        self._rare["snapshots"] += 1
        self.books = fresh.books
        named = np.flatnonzero(fresh._state.stocks)
        self._state.stocks[named] = fresh._state.stocks[named]
        for locate in named.tolist():
            self._symbol_of[locate] = self.symbols.index(fresh.symbols.names[fresh._symbol_of[locate]])
        shared = self._state.shared
        shared[st.LATEST] = max(int(shared[st.LATEST]), int(fresh._state.shared[st.LATEST]))
        self._news = {}
        for (symbol, family), status in fresh._told.items():
            key = self.symbols.index(fresh.symbols.names[symbol]), family
            if self._told.get(key) != status:
                self._news[key] = status
        self._telling = len(FAMILIES) + 1

    def _tell(self, recovery: Recovery, ts_recv: int) -> None:
        """One kind of what the snapshot said, with the number of the next message, which has one status of a
        symbol at most: short sales, then trading states, and last the books, which are whole from here on."""
        family = len(FAMILIES) + 1 - self._telling
        self._telling -= 1
        if family < len(FAMILIES):
            for status in sorted(FAMILIES[family]):
                found = [key[0] for key, news in self._news.items() if key[1] == family and news == status]
                rows = status_rows(np.array(sorted(found), dtype=np.int32), status, SYNCED_REASON)
                self._note(rows)
                self._put(3, rows, ts_recv, self.expected)
            return
        now = levels_of(self.books)
        self._put(
            3, status_rows(self._known(), StatusCode.BOOK_SYNCED, SYNCED_REASON), ts_recv, self.expected
        )
        self._put(2, delta_rows(recovery.shown, now, self._symbol_of), ts_recv, self.expected)
        self._put(1, quote_rows(recovery.shown, now, self._symbol_of), ts_recv, self.expected)
        self._recovery = None

    def _known(self) -> NDArray[np.int32]:
        """Symbols that the session has named."""
        known: NDArray[np.int32] = np.unique(self._symbol_of[np.flatnonzero(self._state.stocks)])
        return known

    def _put(self, kind: int, rows: Records, ts_recv: int, number: int) -> None:
        rows["ts_event"] = self._midnight_ns + int(self._state.shared[st.LATEST])
        rows["ts_recv"], rows["seq"] = ts_recv, self._seq_base + number
        self._parts[kind].append(rows)

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
