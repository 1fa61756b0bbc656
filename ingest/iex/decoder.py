"""A capture of IEX-TP segments in, normalised events out: the decoder of DEEP 1.0 and TOPS 1.6."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ingest.capture import CaptureBatch, RecordKind
from ingest.feeds import session_date
from ingest.iex import state as st
from ingest.iex.handlers import PRICE_NANOS, SHARE_NANOS
from ingest.iex.iextp import DEEP_1_0, HEAD_BYTES, NEVER, Gap, Sequencer, Waiting, parse
from ingest.iex.kernel import run
from ingest.iex.messages import LAYOUTS, LENGTH_BYTES
from ingest.levels import LENGTH, START, LevelBooks
from ingest.udp.gaps import gap_from
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
    Side,
    StatusCode,
    SymbolTable,
    seq_base,
)
from tickloom.instruments import Registry
from tickloom.prices import NO_PRICE
from tickloom.rows import copied, joined

DAY_NS_MAX = 25 * 3600 * NS_PER_S  # for the day that has them: later is no time of that day
RESTART_REASON = b"RESTART"
_KINDS = (TRADE_DTYPE, QUOTE_DTYPE, DELTA_DTYPE, STATUS_DTYPE, GAP_DTYPE)
_QUOTES, _DELTAS, _STATUSES, _GAPS = 1, 2, 3, 4
_TIME = LAYOUTS["S"].offsets["timestamp"]


def end_record() -> bytes:
    """The CONTROL record behind a file's last packet: what is missing now will never come."""
    return json.dumps({"type": "end"}).encode()


def is_end(payload: bytes) -> bool:
    """Whether :func:`end_record` wrote it."""
    try:
        control: dict[str, Any] = json.loads(payload)
        return bool(control["type"] == "end")
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


class IexDecoder:
    """Decodes one day. See :class:`ingest.decoder.Decoder` for what all decoders offer.

    Parameters
    ----------
    venue, session : str
        ``session`` is ``YYYYMMDD`` or ``YYYYMMDD.NAME``. The first segment says which feed and which session
        of the venue it is; later ones of another protocol or channel are counted and dropped.
    registry : Registry, optional
        Time zone of the venue, canonical names of its symbols; others keep the venue's name.
    lateness_ns : int
        How far the watermark stays behind the latest event.

    Attributes
    ----------
    counters : Counter[str]
        Segments: heartbeat, malformed (no IEX-TP, or a head that cannot be), foreign_protocol,
        foreign_session, truncated_packet, trailing_bytes, early (out of order), offset_mismatch, restarts,
        unknown_control. Messages: decoded, duplicate, sequence_gaps, gap_messages, unknown_type,
        wrong_length (too short), longer (grown, decoded), bad_timestamp, bad_field, too_many_symbols, late
        (behind the watermark). Content: unknown_level (taken away, but not there), zero_size, in_transition
        (a level of an event that is not complete), crossed, locked. A message that could not be understood
        also makes a gap event with reason MALFORMED.
    books : LevelBooks
        The books of DEEP; :meth:`book` gives a symbol's index into them.
    """

    def __init__(
        self, venue: str, session: str, registry: Registry | None = None, lateness_ns: int = 0
    ) -> None:
        day = session_date(session)
        registry = registry or Registry.load()
        known = registry.venues.get(venue)
        zone = ZoneInfo(known.timezone if known else "America/New_York")
        midnight_ns = int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * NS_PER_S
        self.venue, self.session = venue, session
        self.watermark_ns = 0
        self.books = LevelBooks(st.SYMBOLS_MAX)
        self.symbols = SymbolTable()
        self.end_ns = midnight_ns + NS_PER_DAY
        self._limits = np.array([midnight_ns, midnight_ns + DAY_NS_MAX, lateness_ns], dtype=np.int64)
        self._seq_base = seq_base(day)
        self._registry = registry
        self._state = st.State.fresh()
        self._output = st.Output.empty()
        self._sequencer = Sequencer()
        self._rare: Counter[str] = Counter()
        self._symbol_of = np.zeros(st.SYMBOLS_MAX, dtype=np.int32)
        self._named = 0
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
    def ended(self) -> bool:
        """End of messages came, and no sequence has begun since."""
        return bool(self._state.shared[st.ENDED])

    @property
    def expected(self) -> int:
        """The venue's number of the message that is due, in the present run."""
        return int(self._state.shared[st.EXPECTED])

    @property
    def builds_books(self) -> bool:
        """DEEP sends levels; TOPS its quotes. See :class:`ingest.decoder.Decoder`."""
        return int(self._state.shared[st.PROTOCOL]) == DEEP_1_0

    @property
    def missing(self) -> Gap | None:
        """The first hole, which may still be filled, in the numbers of its gap event."""
        gap, base = self._sequencer.missing(self.expected), int(self._state.shared[st.BASE])
        return Gap(base + gap.first, base + gap.last) if gap else None

    @property
    def horizon(self) -> int:
        """The number behind the highest that was heard of, in the numbers of gap events."""
        return int(self._state.shared[st.BASE]) + self._sequencer.horizon(self.expected)

    @property
    def last_seq(self) -> int:
        used = int(self._state.shared[st.BASE]) + self.expected - 1
        return self._seq_base + used if used else 0

    def book(self, symbol: str) -> int:
        """Index of a symbol's book in :attr:`books`.

        Raises
        ------
        KeyError
            Nothing has named it.
        """
        found = np.flatnonzero(self._symbol_of == self.symbols.index(symbol))
        if not symbol or not found.size:
            raise KeyError(symbol)
        return int(found[0])

    def decode(self, batch: CaptureBatch) -> EventBlock:
        self._parts = [[] for _ in _KINDS]
        place = np.zeros(6, dtype=np.int64)
        while (code := self._run(batch, place)) != st.DONE:
            if code == st.DUE:
                self._release([])
                continue
            index = int(place[st.RECORD])
            if code == st.RESTART:  # and then the same segment again
                self._flush()
                self._restart(int(batch.ts_recv[index]), batch.payload(index))
                continue
            place[st.RECORD] += 1
            if code == st.EARLY:
                self._early((int(batch.ts_recv[index]), batch.payload(index)))
                self._release([])
            elif batch.kinds[index] != RecordKind.CLOCK:
                self._control(int(batch.kinds[index]), batch.payload(index), int(batch.ts_recv[index]))
        self._drain_output()
        latest = int(self._state.shared[st.LATEST])
        if latest:
            self.watermark_ns = max(self.watermark_ns, latest - int(self._limits[2]))
        return EventBlock(
            self.venue,
            self.session,
            self.symbols,
            *(joined(parts, dtype) for parts, dtype in zip(self._parts, _KINDS, strict=True)),
        )

    def _run(self, batch: CaptureBatch, place: NDArray[np.int64]) -> int:
        """Run the kernel until it needs more than room."""
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
                self._limits,
                self._seq_base,
            )
            if code == st.FULL:
                self._drain_output()
            elif code == st.GROW_LEVELS:
                self.books.grow()
            else:
                return int(code)

    def _control(self, kind: int, payload: bytes, ts_recv: int) -> None:
        """Nothing more comes, of a file; or a hole of a live session was given up."""
        gap = gap_from(payload) if kind == RecordKind.CONTROL else None
        if kind == RecordKind.CONTROL and is_end(payload):
            self._flush(ts_recv)
        elif gap is not None and gap == self.missing:
            last = gap.last - int(self._state.shared[st.BASE])
            self._release([Gap(self.expected, last), *self._sequencer.due(last + 1)], ts_recv)
        else:
            self._rare["unknown_control"] += 1

    def _early(self, item: Waiting) -> None:
        """A segment that is ahead waits."""
        segment = parse(item[1])
        if segment is None:  # the kernel has checked what parse checks
            return
        self._rare["early" if segment.count else "heartbeat"] += 1
        doubled = self._sequencer.keep(segment, item, self.expected)
        if doubled:
            self._rare["duplicate"] += doubled

    def _release(self, items: Iterable[Waiting | Gap], ts_recv: int = 0) -> None:
        """Decode what has become due, gaps in their place; then what is due by that, or was waited for long
        enough."""
        shared, sequencer = self._state.shared, self._sequencer
        shared[st.RELEASING] = 1
        shared[st.PENDING_FIRST] = NEVER  # what is released here must not stop at itself
        todo = deque(items)
        while todo or (todo := deque(sequencer.due(self.expected) or sequencer.overdue(self.expected))):
            item = todo.popleft()
            if isinstance(item, Gap):
                behind = next((each for each in todo if not isinstance(each, Gap)), None)
                self._gap(item, behind, ts_recv)
                continue
            place = np.zeros(6, dtype=np.int64)
            if self._run(CaptureBatch.of([(RecordKind.DATA, *item)]), place) == st.EARLY:
                self._early(item)  # one before it was cut off: the hole is where that ended
        shared[st.RELEASING] = 0
        shared[st.PENDING_FIRST] = sequencer.first

    def _flush(self, ts_recv: int = 0) -> None:
        """Nothing more comes of this run: all that waits, and each hole before it."""
        while items := self._sequencer.give_up(self.expected):
            self._release(items, ts_recv)

    def _gap(self, gap: Gap, behind: Waiting | None, ts_recv: int) -> None:
        self._drain_output()
        shared = self._state.shared
        first, last = (int(shared[st.BASE]) + number for number in (gap.first, gap.last))
        self._rare["sequence_gaps"] += 1
        self._rare["gap_messages"] += last - first + 1
        row = np.zeros(1, dtype=GAP_DTYPE)
        row["ts_event"] = shared[st.LATEST] or self._first_time(behind)
        row["ts_recv"] = behind[0] if behind else ts_recv
        row["seq"] = self._seq_base + first
        row["first_missing"], row["last_missing"] = first, last
        row["reason"] = GapReason.SEQUENCE
        self._parts[_GAPS].append(row)
        shared[st.EXPECTED] = gap.last + 1
        shared[st.OFFSET] = -1

    def _first_time(self, item: Waiting | None) -> int:
        """Time of the first message in a segment, for a gap that nothing came before."""
        at = HEAD_BYTES + LENGTH_BYTES + _TIME
        time_ns = int.from_bytes(item[1][at : at + 8], "little") if item else 0
        return min(max(time_ns, int(self._limits[0])), int(self._limits[1]))

    def _restart(self, ts_recv: int, raw: bytes) -> None:
        """The venue begins again at 1: books are empty, and whoever had seen levels and quotes is told."""
        segment = parse(raw)
        self._drain_output()
        self._rare["restarts"] += 1
        shared = self._state.shared
        number = int(shared[st.BASE]) + self.expected
        times = (int(shared[st.LATEST]) or int(self._limits[0]), ts_recv)
        number += self._take_back(times, number)
        row = np.zeros(1, dtype=STATUS_DTYPE)
        self._set_head(row, times, number, 0)
        row["status"], row["reason"] = StatusCode.BOOK_SYNCED, RESTART_REASON
        self._parts[_STATUSES].append(row)
        self.books.clear()
        self._state.tops[:] = 0
        self._state.marks[:] = 0
        self._sequencer = Sequencer()
        shared[st.PENDING_FIRST] = NEVER
        shared[st.BASE], shared[st.EXPECTED], shared[st.OFFSET] = number, 1, 0
        shared[st.REFUSED] = shared[st.ENDED] = shared[st.CANDIDATE] = 0
        if segment is not None:
            shared[st.SESSION] = segment.session
            shared[st.BEFORE_SEND] = min(int(shared[st.LATEST_SEND]), segment.send_ns - 1)

    def _take_back(self, times: tuple[int, int], first: int) -> int:
        """Levels, tops and crossed books that were shown; how many numbers that took.

        One a symbol, not one for all: what has one number cannot be cut, and all levels of a day in one
        piece are too large for a record on Kafka.
        """
        count = int(self._state.shared[st.SYMBOLS]) + 1
        arrays = self.books.arrays
        lengths = arrays.sides[: 2 * count, LENGTH]
        tops = self._state.tops[:count].any(axis=1)
        crossed = self._state.marks[:count, st.CROSSED] != 0
        shown = tops | crossed | lengths.reshape(-1, 2).any(axis=1)
        number_of = first - 1 + np.cumsum(shown)
        for side in np.flatnonzero(lengths):
            start, length = int(arrays.sides[side, START]), int(lengths[side])
            rows = np.zeros(length, dtype=DELTA_DTYPE)
            self._set_head(rows, times, number_of[side >> 1], side >> 1)
            sign = -1 if side & 1 else 1
            rows["price"] = sign * arrays.levels[start : start + length, 0] * PRICE_NANOS
            rows["side"] = Side.SELL if side & 1 else Side.BUY
            self._parts[_DELTAS].append(rows)
        which = np.flatnonzero(tops)
        rows = np.zeros(which.size, dtype=QUOTE_DTYPE)
        self._set_head(rows, times, number_of[which], which)
        rows["bid_price"] = rows["ask_price"] = NO_PRICE
        self._parts[_QUOTES].append(rows)
        which = np.flatnonzero(crossed)
        rows = np.zeros(which.size, dtype=STATUS_DTYPE)
        self._set_head(rows, times, number_of[which], which)
        rows["status"], rows["reason"] = StatusCode.BOOK_SYNCED, RESTART_REASON
        self._parts[_STATUSES].append(rows)
        return int(shown.sum())

    def _set_head(self, rows: Records, times: tuple[int, int], numbers: Any, symbols: Any) -> None:
        rows["ts_event"], rows["ts_recv"] = times
        rows["seq"] = self._seq_base + numbers
        rows["symbol"] = self._symbol_of[symbols]

    def _drain_output(self) -> None:
        """Take the kernel's rows over, its numbers of symbols turned into ours."""
        out, used = self._output, self._output.used
        count = int(self._state.shared[st.SYMBOLS])
        if count > self._named:
            names = self._state.names[self._named + 1 : count + 1].view("S8").astype("U8").tolist()
            self._symbol_of[self._named + 1 : count + 1] = [self._index(name.rstrip(" ")) for name in names]
            self._named = count
        columns = (out.trades, out.quotes, out.deltas, out.statuses, out.gaps)
        for kind, rows in enumerate(columns):
            if used[kind]:
                taken = copied(rows[: used[kind]])
                taken["symbol"] = self._symbol_of[taken["symbol"]]
                self._parts[kind].append(taken.view(_KINDS[kind]))
        used[:] = 0
        self._state.shared[st.IN_OUTPUT] = 0

    def _index(self, name: str) -> int:
        known = self._registry.by_venue_symbol(self.venue, name)
        return self.symbols.index(known.symbol if known else name)


def levels_of(decoder: IexDecoder, symbol: str, side: Side) -> list[tuple[int, int]]:
    """A symbol's levels, best first: (price, size), in nanos."""
    levels = decoder.books.side_levels(decoder.book(symbol), side)
    return [(price * PRICE_NANOS, size * SHARE_NANOS) for price, size in levels]
