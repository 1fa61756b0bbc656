"""A capture of MDP 3.0 datagrams in, normalised events out: the decoder's shell around the kernel."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ingest.capture import CaptureBatch, RecordKind
from ingest.feeds import session_date
from ingest.sbe.mdp3 import state as st
from ingest.sbe.mdp3.books import Books
from ingest.sbe.mdp3.kernel import Batch, Limits, run
from ingest.sbe.mdp3.packets import FRAME_BYTES_MIN, NEVER, SIZE_BYTES, le16, parse
from ingest.sbe.mdp3.sequencer import Gap, Sequencer, Waiting
from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.errors import DecodeError
from tickloom.events import EventBlock, GapReason, Side, StatusCode, seq_base
from tickloom.instruments import Registry

SESSION_DAYS = 8  # a channel's numbers go on for a trading week, Sunday to Friday
_BEFORE_NS = NS_PER_DAY  # Chicago's evening of a Sunday, and clocks


class Mdp3Decoder:
    """Decodes one channel. See :class:`ingest.decoder.Decoder` for what all decoders offer.

    Datagrams of the incremental feed, both lines, are DATA records; those of the market recovery and
    instrument replay feeds are SNAPSHOT records (a snapshot among DATA is taken as well). The first packet
    that comes begins the sequence; the books of a channel that is joined in mid week wait for snapshots.

    Parameters
    ----------
    venue, session : str
        ``session`` begins with the day on which the channel's week began, or on which it was joined.
    registry : Registry, optional
        Canonical names by the venue's symbol, or by its security id. What it does not know keeps the venue's
        symbol, and its security id as long as it is not defined.
    lateness_ns : int
        How far the watermark stays behind the latest event; an event that is later takes this time.

    Attributes
    ----------
    counters : Counter[str]
        Packets: packets, duplicate, early, malformed (no packet, or a time that is none of this session),
        truncated_packet, implausible (sent before packets of lower numbers), recovery_packets, restarts,
        sequence_gaps, gap_packets, unknown_control. Messages: decoded, heartbeat, unknown_template,
        foreign_schema, malformed_messages, definitions, channel_resets, misplaced (not in the incremental
        feed). Content: undefined_instrument (named by its number, its depth assumed), rpt_seq_gaps,
        contradicted (an entry that does not fit its book), refused_price, already_in_snapshot, books_lost,
        books_synced, snapshots, snapshots_unneeded, snapshots_stale, snapshots_bad, pending_dropped,
        order_entries, implied, other_entry, bad_field, status_unknown_group, time_backwards, crossed, locked.

    Notes
    -----
    ``seq`` counts the entries and quotes of the session, since one packet has many. A gap of the channel has
    numbers of packets (MsgSeqNum), one of an instrument those of its updates (RptSeq).
    """

    tells_books = True

    def __init__(
        self, venue: str, session: str, registry: Registry | None = None, lateness_ns: int = 0
    ) -> None:
        day = session_date(session)
        start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_S
        high = start + SESSION_DAYS * NS_PER_DAY
        self.venue, self.session = venue, session
        self.watermark_ns = 0
        self.ended = False
        self._rare: Counter[str] = Counter()
        self._seq_base = seq_base(day)
        self._limits = Limits(self._seq_base, start - _BEFORE_NS, high, lateness_ns)
        self._lateness_ns = lateness_ns
        self._sequencer = Sequencer()
        self.books = Books(venue, session, registry or Registry.load(), self._seq_base, self._rare)
        self.symbols = self.books.symbols

    @property
    def end_ns(self) -> int:
        """UTC midnight behind the last event: a channel's week has several days."""
        return (self.watermark_ns // NS_PER_DAY + 1) * NS_PER_DAY

    @property
    def counters(self) -> Counter[str]:
        counts = zip(st.COUNTERS, self.books.state.counts.tolist(), strict=True)
        return Counter({name: count for name, count in counts if count}) + self._rare

    @property
    def message_types(self) -> dict[int, int]:
        """Messages decoded, by template id."""
        found = self.books.state.templates
        return {int(template): int(found[template]) for template in np.flatnonzero(found)}

    @property
    def expected(self) -> int:
        """MsgSeqNum of the packet that is due; 0 before the first."""
        return int(self._shared[st.EXPECTED])

    @property
    def missing(self) -> Gap | None:
        """The first hole in the numbers of packets, which another line may still fill."""
        self._sync()
        return self._sequencer.missing

    @property
    def horizon(self) -> int:
        """The number behind that of the latest packet."""
        self._sync()
        return self._sequencer.horizon

    @property
    def lost_books(self) -> int:
        """How many books a snapshot may make whole."""
        return self.books.instruments.lacking()

    @property
    def lost_to(self) -> int:
        """The last packet that is missing; before the first one that was heard all are."""
        return int(self._shared[st.LOST_TO])

    @property
    def undefined_instruments(self) -> int:
        """How many instruments were heard of that nothing has defined."""
        return self.books.instruments.count - len(self.books.instruments.definitions)

    @property
    def last_seq(self) -> int:
        numbered = int(self._shared[st.NUMBERED])
        return self._seq_base + numbered if numbered else 0

    @property
    def _shared(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        return self.books.state.shared

    def book_levels(self, security_id: int, side: Side) -> list[tuple[int, int]]:
        """Price and size of each level of a side, best first; nanos. KeyError where it was never seen."""
        return self.books.levels(security_id)[int(side) - 1]

    def is_synced(self, security_id: int) -> bool:
        """Whether the book of an instrument is trusted."""
        return self.books.is_synced(security_id)

    def rpt_seq(self, security_id: int) -> int:
        """RptSeq of the last update that the book of an instrument has; -1 where it was lost."""
        return self.books.rpt_seq(security_id)

    def decode(self, batch: CaptureBatch) -> EventBlock:
        """Events of the next records, each kind in seq order."""
        self._run(batch)
        latest = int(self._shared[st.LATEST])
        if latest:
            self.watermark_ns = max(self.watermark_ns, latest - self._lateness_ns)
        return self.books.output.finish()

    def _run(self, batch: CaptureBatch) -> None:
        place = np.zeros(st.PLACE, dtype=np.int64)
        taken = Batch(batch.data, batch.offsets, batch.kinds, batch.ts_recv)
        while True:
            code = run(self.books.state, self.books.output.columns, taken, place, self._limits)
            if code == st.DONE:
                return
            if code == st.FULL:
                self.books.output.drain()
                continue
            record = int(place[st.RECORD])
            self.books.ts_recv = int(batch.ts_recv[min(record, len(batch) - 1)])
            if code == st.DUE:
                self._take_due()
            elif code == st.GIVE_UP:
                self._give_up()
            elif code == st.RESTART:
                self._restart(int(place[st.PACKET]))
            elif code == st.RARE:
                self._message(batch, place)
            elif code == st.MALFORMED:
                self._malformed(batch, place)
            elif code in (st.OTHER_KIND, st.RECOVERY, st.EARLY):
                place[st.RECORD] += 1
                self._record(code, batch, record, place)
            else:
                self.books.stopped(code, place)

    def _record(
        self, code: int, batch: CaptureBatch, record: int, place: np.ndarray[Any, np.dtype[np.int64]]
    ) -> None:
        """A whole record that is not for the kernel, or not yet."""
        payload = batch.payload(record)
        if code == st.EARLY:
            self._sync()
            sequence, sent_ns = int(place[st.PACKET]), int(place[st.SENT])
            known = not self._sequencer.add(sequence, int(batch.ts_recv[record]), payload, sent_ns)
            self._rare["duplicate" if known else "early"] += 1
            if self._sequencer.full:
                self._give_up()
            self._remember()
        elif code == st.RECOVERY or batch.kinds[record] == RecordKind.SNAPSHOT:
            self._recovery(payload)
        elif batch.kinds[record] != RecordKind.CLOCK:
            self._control(payload)

    # the sequence of packets

    def _sync(self) -> None:
        """The kernel moved on by itself: tell the sequencer."""
        self._sequencer.expected = self.expected

    def _remember(self) -> None:
        """Tell the kernel what waits, and for how long."""
        self._shared[st.PENDING_FIRST] = self._sequencer.first_pending
        self._shared[st.DEADLINE] = self._sequencer.deadline

    def _take_due(self) -> None:
        self._sync()
        self._go_on(self._sequencer.release())

    def _give_up(self) -> None:
        self._sync()
        self._drop_implausible()
        gap = self._sequencer.give_up(self.books.ts_recv)
        if gap is not None:
            self._gap(gap)
        self._go_on(self._sequencer.release())

    def _drop_implausible(self) -> int:
        """Drop what waits with a number that cannot be; how many packets that were."""
        sent_ns = int(min(self._shared[st.SENDING], self._shared[st.SENT_BEFORE]))
        dropped = self._sequencer.drop_implausible(sent_ns)
        if dropped:
            self._rare["implausible"] += dropped
        return dropped

    def _go_on(self, waiting: list[Waiting]) -> None:
        """Decode what has become due."""
        self._shared[st.PENDING_FIRST] = self._shared[st.DEADLINE] = NEVER
        if waiting:
            ts_recv = self.books.ts_recv
            records = [(int(RecordKind.DATA), item.ts_recv, item.payload) for item in waiting]
            self._run(CaptureBatch.of(records))
            self.books.ts_recv = ts_recv
        self._remember()

    def _gap(self, gap: Gap) -> None:
        self._rare["sequence_gaps"] += 1
        self._rare["gap_packets"] += gap.last - gap.first + 1
        self.books.gap(gap.first, gap.last, GapReason.SEQUENCE)
        self.books.lose_all(gap.last)
        self._shared[st.EXPECTED] = gap.last + 1

    def _restart(self, sequence: int) -> None:
        """The channel's numbers began anew, as they do every week: no book is the old one."""
        self._rare["restarts"] += 1
        self._sequencer.clear()
        self._remember()
        self.books.restart(sequence)
        self._shared[st.EXPECTED] = sequence
        if sequence > 1:
            self._gap(Gap(1, sequence - 1))

    # what is rare

    def _message(self, batch: CaptureBatch, place: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """A message that the kernel leaves to Python, and on to the next one."""
        at = int(place[st.AT])
        size = int(le16(batch.data, at))
        raw = batch.data[at + SIZE_BYTES : at + size].tobytes()
        try:
            self.books.message(raw, int(place[st.SENT]), in_sequence=True)
        except DecodeError:
            self._malformed(batch, place)
            return
        place[st.AT], place[st.ENTRY] = at + size, 0

    def _malformed(self, batch: CaptureBatch, place: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """A message that is none is as good as lost; so is all behind it where its size is none either."""
        sequence, at = int(place[st.PACKET]), int(place[st.AT])
        if sequence < 0:
            self._rare["malformed"] += 1
            place[st.RECORD] += 1
            return
        stop = int(batch.offsets[int(place[st.RECORD]) + 1])
        size = int(le16(batch.data, at)) if at + FRAME_BYTES_MIN <= stop else 0
        framed = FRAME_BYTES_MIN <= size <= stop - at
        self._rare["malformed_messages" if framed else "truncated_packet"] += 1
        self.books.gap(sequence, sequence, GapReason.MALFORMED)
        self.books.lose_all(sequence)
        # the kernel closes the packet: it goes on behind the message, or at the packet's end
        place[st.AT], place[st.ENTRY] = at + size if framed else stop, 0

    def _recovery(self, payload: bytes) -> None:
        """A datagram of the market recovery or instrument replay feed, whose numbers are its own."""
        packet = parse(payload)
        if packet is None or not packet.whole:
            self._rare["malformed" if packet is None else "truncated_packet"] += 1
        if packet is None:
            return
        self._rare["recovery_packets"] += 1
        for start, stop in packet.frames:
            try:
                self.books.message(payload[start:stop], packet.sending_time, in_sequence=False)
            except DecodeError:
                self._rare["malformed_messages"] += 1

    def _given_up(self, last: int) -> None:
        """A live session waits no longer for packets up to ``last``: unless nothing was behind them but a
        number that cannot be."""
        self._sync()
        spoiled = self._drop_implausible() and self._sequencer.first_pending != last + 1
        if last >= self.expected > 0 and not spoiled:
            self._gap(Gap(self.expected, last))
            self._sync()
            self._go_on(self._sequencer.release())
        self._remember()

    def _control(self, payload: bytes) -> None:
        try:
            control: dict[str, Any] = json.loads(payload)
            if control.get("type") == "gap":
                self._given_up(int(control["last"]))
                return
            if control.get("event") == "end":
                if not self.ended:
                    self.books.status(StatusCode.SESSION_END)
                self.ended = True
                return
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        self._rare["unknown_control"] += 1
