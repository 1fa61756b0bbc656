"""A capture of DBN records in, normalised events out: the decoder's shell around the kernel."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np

from ingest.capture import CaptureBatch, RecordKind
from ingest.dbn import records as r
from ingest.dbn import state as st
from ingest.dbn.kernel import Batch, run, slot_of, sound_time
from ingest.dbn.metadata import FOREVER_NS, Head
from ingest.dbn.orders import grow_orders
from ingest.feeds import session_date
from ingest.levels import LENGTH, START
from tickloom.clock import NS_PER_DAY
from tickloom.errors import DecodeError
from tickloom.events import (
    STATUS_DTYPE,
    EventBlock,
    GapReason,
    Records,
    Side,
    StatusCode,
    SymbolTable,
    seq_base,
)
from tickloom.instruments import Registry
from tickloom.rows import copied, joined

_GENERATION_MASK = 0xFFFFFFFF
#: Status of an instrument by StatusMsg.action, where its letters do not say more; others are OTHER.
_ACTIONS = {
    1: StatusCode.QUOTATION_ONLY,  # pre-open
    2: StatusCode.QUOTATION_ONLY,  # pre-cross
    3: StatusCode.QUOTATION_ONLY,
    4: StatusCode.TRADING,  # cross
    5: StatusCode.QUOTATION_ONLY,  # rotation
    6: StatusCode.QUOTATION_ONLY,  # new price indication
    7: StatusCode.TRADING,
    8: StatusCode.HALTED,
    9: StatusCode.PAUSED,
    10: StatusCode.HALTED,  # suspended
    12: StatusCode.MARKET_CLOSE,
    13: StatusCode.MARKET_CLOSE,  # post-close
    15: StatusCode.HALTED,  # not available
}
_SHORT_SALE = {b"Y": StatusCode.SHORT_SALE_RESTRICTED, b"N": StatusCode.SHORT_SALE_FREE}
_SSR_CHANGE = 14
_REASON_BYTES = STATUS_DTYPE["reason"].itemsize
#: Bytes of a symbol-mapping record in version 1, and later: where the symbol is that the id stands for.
_MAPPING_V1, _MAPPING = (80, 38, 22), (176, 89, 71)
#: Where a definition has its raw symbol, by version: length of the record, place, bytes.
_DEFINITIONS = {1: (360, 200, 22), 2: (400, 200, 71), 3: (520, 238, 71)}


def end_record() -> bytes:
    """Payload of the CONTROL record that tells that no more comes of this file."""
    return json.dumps({"type": "end"}).encode()


def open_record(lost: bool) -> bytes:
    """Payload of the CONTROL record of a live connection. lost: what came since the last one is not had."""
    return json.dumps({"type": "open", "lost": lost}).encode()


class DbnDecoder:
    """Decodes one file or stream. See :class:`ingest.decoder.Decoder` for what all decoders offer.

    Parameters
    ----------
    venue, session : str
        ``session`` is ``YYYYMMDD.DBN.<SCHEMA>.<id>``.
    registry : Registry, optional
        Canonical names by the symbol that the metadata, a mapping or a definition gives; others keep it. An
        id that nothing names is its number.
    lateness_ns : int
        How far the watermark stays behind the latest event: records are in the order in which they were
        received.

    Attributes
    ----------
    counters : Counter[str]
        Records: decoded, malformed (a length that cannot be; the rest of its piece is lost), wrong_length,
        foreign_publisher, bad_timestamp (neither time), no_event_time, no_receive_time (the other was taken),
        late (behind the watermark), definitions, mappings, unnamed (instruments that are their number),
        bad_metadata, disconnects, unplaced_<type>. Each record is in one of decoded, malformed, wrong_length,
        foreign_publisher, bad_timestamp, definitions, mappings and unplaced. Content: undefined_price,
        refused_price, refused_size, zero_size, bad_field, other_action, fills, unbooked, aggregated (levels
        among orders), unknown_order, duplicate_order, overfill, maybe_bad_book, crossed, locked. A record
        that could not be understood also makes a gap event with reason MALFORMED, whose numbers are those of
        the file's records.
    """

    def __init__(
        self, venue: str, session: str, registry: Registry | None = None, lateness_ns: int = 0
    ) -> None:
        self.venue, self.session = venue, session
        self.watermark_ns = 0
        self.ended = False
        self.symbols = SymbolTable()
        self.head: Head | None = None
        self._registry = registry or Registry.load()
        self._lateness_ns = lateness_ns
        self._seq_base = seq_base(session_date(session))
        self._state = st.State.fresh()
        self._output = st.Output.empty()
        self._rare: Counter[str] = Counter()
        self._names: dict[int, str] = {}  # by definitions and mapping records
        self._count = 0
        self._parts: list[list[Records]] = [[] for _ in self._output.kinds()]

    @property
    def end_ns(self) -> int:
        """UTC midnight behind the last event: a file may have many days."""
        return (int(self._state.shared[st.LATEST]) // NS_PER_DAY + 1) * NS_PER_DAY

    @property
    def counters(self) -> Counter[str]:
        counts = {name: int(n) for name, n in zip(st.COUNTERS, self._state.counts, strict=True) if n}
        for kind in np.flatnonzero((self._state.types > 0) & (r.LENGTHS == r.NO_PLACE)):
            name = r.NAMES.get(int(kind), f"rtype_{kind}")
            counts[f"unplaced_{name}"] = int(self._state.types[kind])
        return Counter(counts) + self._rare

    @property
    def message_types(self) -> dict[str, int]:
        """Records by type, those without a place among events too."""
        kinds = np.flatnonzero(self._state.types)
        return {r.NAMES.get(int(kind), f"rtype_{kind}"): int(self._state.types[kind]) for kind in kinds}

    @property
    def last_seq(self) -> int:
        numbered = int(self._state.shared[st.NUMBERED])
        return self._seq_base + numbered if numbered else 0

    def side_levels(self, instrument_id: int, side: Side) -> list[tuple[int, int]]:
        """Levels of an instrument's full book (mbo), best first: price in nanos, size in whole units.

        Raises
        ------
        KeyError
            It was never seen.
        """
        which = int(self._state.slots[slot_of(self._state.slots, instrument_id), 1])
        if which < 0:
            raise KeyError(instrument_id)
        ask = side == Side.SELL
        span = self._state.book.sides[2 * which + ask]
        rows = self._state.book.levels[span[START] : span[START] + span[LENGTH]][::-1]
        return [(-int(key) if ask else int(key), int(total)) for key, total in rows]

    def decode(self, batch: CaptureBatch) -> EventBlock:
        """Events of the next records, each kind in seq order."""
        place = np.zeros(2, dtype=np.int64)
        taken = Batch(batch.data, batch.offsets, batch.kinds, batch.ts_recv)
        while True:
            code = run(self._state, self._output, taken, place, self._seq_base, self._lateness_ns)
            if code == st.DONE:
                break
            if code == st.FULL:
                if not self._output.used.any():  # one record needs more room than there is
                    self._output = st.Output.empty(2 * len(self._output.deltas))
                self._drain()
            elif code == st.NEW:
                self._name(int(self._state.shared[st.AT_ID]), int(self._state.shared[st.AT_NS]))
            elif code == st.RARE:
                self._record(batch, place)
            elif code == st.GROW_ORDERS:
                self._state = grow_orders(self._state)
            elif code == st.GROW_LEVELS:
                self._state = self._state.with_more_levels()
            else:
                self._control(batch, int(place[st.RECORD]))
                place[:] = place[st.RECORD] + 1, 0
        self._drain()
        latest = int(self._state.shared[st.LATEST])
        if latest:
            self.watermark_ns = max(self.watermark_ns, latest - self._lateness_ns)
        return self._block()

    def _drain(self) -> None:
        """Take the kernel's rows over."""
        used = self._output.used
        for kind, rows in enumerate(self._output.kinds()):
            if used[kind]:
                self._parts[kind].append(copied(rows[: used[kind]]))
        self._output.statuses["reason"][: used[st.STATUSES]] = b""  # the kernel writes none
        used[:] = 0

    def _block(self) -> EventBlock:
        kinds = []
        for parts, rows in zip(self._parts, self._output.kinds(), strict=True):
            kinds.append(joined(parts, rows.dtype))
            parts.clear()
        return EventBlock(self.venue, self.session, self.symbols, *kinds)

    # what is rare

    def _name(self, instrument_id: int, ts_ns: int) -> int:
        """Give an id the name that it has at that time, with an empty book; its row."""
        slot = int(slot_of(self._state.slots, instrument_id))
        which = int(self._state.slots[slot, 1])
        if which < 0:
            which = self._add(instrument_id)
        row = self._state.instruments[which]
        interval = self.head.interval(instrument_id, ts_ns) if self.head else None
        if interval is not None:
            name, row[st.FROM_NS], row[st.TO_NS] = interval.symbol, interval.begin_ns, interval.end_ns
        else:
            name = self._names.get(instrument_id, "")
            row[st.FROM_NS], row[st.TO_NS] = 0, FOREVER_NS
            if not name:
                name = str(instrument_id)
                self._rare["unnamed"] += 1
        known = self._registry.by_venue_symbol(self.venue, name)
        symbol = self.symbols.index(known.symbol if known else name)
        if row[st.SYMBOL] != symbol:
            row[st.SYMBOL], row[st.BOOK] = symbol, st.UNKNOWN
            row[st.GENERATION] = (row[st.GENERATION] + 1) & _GENERATION_MASK
            self._state.book.sides[2 * which : 2 * which + 2, LENGTH] = 0
            self._state.tens[which] = st.no_tens(1)[0]
            st.forget_quote(row)
        return which

    def _add(self, instrument_id: int) -> int:
        if self._count == len(self._state.instruments):
            self._state = self._state.grown()
            for which in range(self._count):
                known = int(self._state.instruments[which, st.ID])
                self._state.slots[slot_of(self._state.slots, known)] = known, which
        which, self._count = self._count, self._count + 1
        row = self._state.instruments[which]
        row[st.ID], row[st.SYMBOL] = instrument_id, -1
        self._state.slots[slot_of(self._state.slots, instrument_id)] = instrument_id, which
        return which

    def _record(self, batch: CaptureBatch, place: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """A status, definition or mapping, and on to the record behind it."""
        record = int(place[st.RECORD])
        at = int(place[st.AT])
        raw = batch.data[at : at + int(batch.data[at]) * r.WORD_BYTES].tobytes()
        kind = raw[1]
        self._state.shared[st.NUMBERED] += 1
        self._state.types[kind] += 1
        needed, name_at, name_bytes = self._layout(kind)
        if len(raw) < needed:
            self._state.counts[st.C_LENGTH] += 1
            self._gap(int(batch.ts_recv[record]))
        elif kind == r.RType.STATUS:
            self._status(raw)
        else:
            self._learn(raw, raw[name_at : name_at + name_bytes])
        place[st.AT] = at + len(raw)
        if place[st.AT] == batch.offsets[record + 1]:
            place[:] = record + 1, 0

    def _status(self, raw: bytes) -> None:
        found = np.frombuffer(raw, dtype=r.STATUS, count=1)[0]
        shared, counts = self._state.shared, self._state.counts
        publisher = int(found["publisher_id"])
        if shared[st.PUBLISHER] not in (-1, publisher):
            counts[st.C_FOREIGN] += 1
            return
        shared[st.PUBLISHER] = publisher
        times = [int(found[name]) for name in ("ts_event", "ts_recv")]
        sound = [bool(ts < FOREVER_NS and sound_time(ts)) for ts in times]
        if not any(sound):
            counts[st.C_TIMESTAMP] += 1
            self._gap(0)
            return
        if not all(sound):
            counts[st.C_NO_RECEIVE if sound[0] else st.C_NO_EVENT] += 1
        event_ns, recv_ns = (times[0] if sound[0] else times[1]), (times[1] if sound[1] else times[0])
        instrument_id = int(found["instrument_id"])
        which = int(self._state.slots[slot_of(self._state.slots, instrument_id), 1])
        known = self._state.instruments[which] if which >= 0 else None
        if known is None or not known[st.FROM_NS] <= recv_ns < known[st.TO_NS]:
            which = self._name(instrument_id, recv_ns)
        counts[st.C_DECODED] += 1
        counts[st.C_LATE] += event_ns < shared[st.LATEST] - self._lateness_ns
        shared[st.LATEST] = max(int(shared[st.LATEST]), event_ns)
        action = int(found["action"])
        code = _ACTIONS.get(action, StatusCode.OTHER)
        if action == _SSR_CHANGE:
            code = _SHORT_SALE.get(bytes(found["is_short_sell_restricted"]), StatusCode.OTHER)
        reason = f"{action}/{found['reason']}/{found['trading_event']}"
        if len(reason) > _REASON_BYTES:  # none that is defined; cut off, it would be another one
            counts[st.C_FIELD] += 1
            reason = f"{action}//"
        symbol = int(self._state.instruments[which, st.SYMBOL])
        self._put(st.STATUSES, (event_ns, recv_ns, self.last_seq, symbol, int(code), reason.encode()))

    def _gap(self, captured_ns: int) -> None:
        number = int(self._state.shared[st.NUMBERED])
        latest = int(self._state.shared[st.LATEST]) or max(captured_ns, 1)
        self._put(
            st.GAPS,
            (latest, captured_ns or latest, self.last_seq, 0, number, number, int(GapReason.MALFORMED)),
        )

    def _put(self, kind: int, row: tuple[Any, ...]) -> None:
        used = self._output.used
        self._output.kinds()[kind][used[kind]] = row
        used[kind] += 1

    def _layout(self, kind: int) -> tuple[int, int, int]:
        """Bytes that a rare record needs; place and bytes of the name in it."""
        version = self.head.version if self.head else r.VERSIONS[-1]
        if kind == r.RType.STATUS:
            return r.STATUS.itemsize, 0, 0
        if kind == r.RType.INSTRUMENT_DEF:
            return _DEFINITIONS[version]
        return _MAPPING_V1 if version == 1 else _MAPPING

    def _learn(self, raw: bytes, padded: bytes) -> None:
        """The name in a definition or a mapping record; ids that the metadata names keep that one."""
        self._rare["definitions" if raw[1] == r.RType.INSTRUMENT_DEF else "mappings"] += 1
        name = padded.split(b"\0", 1)[0].decode("utf-8", "replace")
        instrument_id = int.from_bytes(raw[4:8], "little")
        if name and not name.isdigit() and self._names.get(instrument_id) != name:
            self._names[instrument_id] = name
            slot = int(slot_of(self._state.slots, instrument_id))
            if self._state.slots[slot, 1] >= 0:
                self._state.instruments[self._state.slots[slot, 1], st.TO_NS] = 0  # to be named again

    def _control(self, batch: CaptureBatch, record: int) -> None:
        """The metadata, or that the file has ended."""
        payload = batch.payload(record)
        if batch.kinds[record] == RecordKind.SNAPSHOT:
            try:
                self.head = Head(payload)
            except DecodeError:
                self._rare["bad_metadata"] += 1
            return
        if batch.kinds[record] == RecordKind.CLOCK:
            return
        try:
            said = json.loads(payload)
            kind, lost = said["type"], said.get("lost", False)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            kind, lost = "", False
        if kind == "end":
            self.ended = True
        elif kind != "open":
            self._rare["unknown_control"] += 1
        elif lost is True:
            self._disconnected(int(batch.ts_recv[record]))

    def _disconnected(self, captured_ns: int) -> None:
        """Records are missing between two connections, nobody knows how many (0, 0); so books are lost.

        That takes a number of its own, as a record does.
        """
        self._drain()
        self._rare["disconnects"] += 1
        shared = self._state.shared
        shared[st.NUMBERED] += 1
        latest = int(shared[st.LATEST]) or max(captured_ns, 1)
        self._put(st.GAPS, (latest, captured_ns, self.last_seq, 0, 0, 0, int(GapReason.DISCONNECT)))
        for row in self._state.instruments[: self._count]:
            if row[st.BOOK] == st.SYNCED:
                if self._output.used[st.STATUSES] == len(self._output.statuses):
                    self._drain()
                lost = int(StatusCode.BOOK_LOST)
                event = (latest, captured_ns, self.last_seq, int(row[st.SYMBOL]), lost, b"")
                self._put(st.STATUSES, event)
            if row[st.BOOK] != st.UNKNOWN:
                row[st.BOOK] = st.LOST
            st.forget_quote(row)
