"""A capture of the template's packets in, events in columns out. Pure: no socket, no clock."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest._template.messages import (
    BUY,
    END,
    HEAD_BYTES,
    HEARTBEAT,
    LENGTHS,
    OFFSETS,
    PRICE_NANOS,
    QUOTE,
    SELL,
    SIZE_NANOS,
    TRADE,
)
from ingest.capture import CaptureBatch, RecordKind
from ingest.feeds import session_date
from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.events import (
    GAP_DTYPE,
    QUOTE_DTYPE,
    SEQ_PER_DAY,
    STATUS_DTYPE,
    TRADE_DTYPE,
    EventBlock,
    GapReason,
    Side,
    StatusCode,
    SymbolTable,
    seq_base,
)
from tickloom.instruments import Registry
from tickloom.prices import NO_PRICE

#: Each way in which a packet can be odd has a counter; ``decoded`` to ``end`` are the others.
COUNTERS = ("decoded", "heartbeat", "end", "duplicate", "gap_messages", "unknown_type", "malformed")
_C_DECODED, _C_HEARTBEAT, _C_END, _C_DUPLICATE, _C_GAP, _C_UNKNOWN, _C_MALFORMED = range(len(COUNTERS))
#: ``state``: number that is due; latest time; number that the end of the session names, 0 before it.
_EXPECTED, _LATEST, _ENDED = range(3)
_DATA = int(RecordKind.DATA)
_TYPE, _TS, _SYMBOL = (OFFSETS[QUOTE][name] for name in ("type", "ts", "symbol"))  # of a trade, too
_BID, _BID_SIZE, _ASK, _ASK_SIZE = (
    OFFSETS[QUOTE][name] for name in ("bid_price", "bid_size", "ask_price", "ask_size")
)
_PRICE, _SIZE, _SIDE, _TRADE_ID = (OFFSETS[TRADE][name] for name in ("price", "size", "side", "trade_id"))
_SEQUENCE_GAP, _MALFORMED_GAP = int(GapReason.SEQUENCE), int(GapReason.MALFORMED)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)


class Rows(NamedTuple):
    """What a call of the kernel fills. words: the eight bytes of each event's symbol, as a number."""

    trades: NDArray[np.void]
    trade_words: NDArray[np.uint64]
    quotes: NDArray[np.void]
    quote_words: NDArray[np.uint64]
    gaps: NDArray[np.void]
    used: NDArray[np.int64]  # rows of trades, quotes and gaps


class TemplateDecoder:
    """Decodes one day. See :class:`ingest.decoder.Decoder` for what all decoders offer.

    Attributes
    ----------
    counters : Counter[str]
        Packets: decoded, heartbeat, end, duplicate, unknown_type, malformed (too short, not of its type's
        length, a time of another day, a side that is none), unknown_control; gap_messages never came. A
        malformed packet with a number also makes a gap event. Content: crossed.
    """

    def __init__(
        self, venue: str, session: str, *, registry: Registry | None = None, lateness_ns: int = 0
    ) -> None:
        day = session_date(session)
        registry = registry or Registry.load()
        known = registry.venues.get(venue)
        midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(known.timezone if known else "UTC"))
        self.venue, self.session = venue, session
        self.symbols = SymbolTable()
        self.watermark_ns = 0
        self._start_ns = int(midnight.timestamp()) * NS_PER_S
        self.end_ns = self._start_ns + NS_PER_DAY
        self._registry, self._lateness_ns, self._base = registry, lateness_ns, seq_base(day)
        self._state = np.array([1, 0, 0], dtype=np.int64)
        self._counts = np.zeros(len(COUNTERS), dtype=np.int64)
        self._rare: Counter[str] = Counter()
        self._index_of: dict[int, int] = {}

    @property
    def counters(self) -> Counter[str]:
        return Counter(dict(zip(COUNTERS, self._counts.tolist(), strict=True))) + self._rare

    @property
    def expected(self) -> int:
        """The venue's number of the packet that is due."""
        return int(self._state[_EXPECTED])

    @property
    def last_seq(self) -> int:
        return self._base + self.expected - 1 if self.expected > 1 else 0

    @property
    def ended(self) -> bool:
        return bool(self._state[_ENDED])

    def decode(self, batch: CaptureBatch) -> EventBlock:
        """Events of the next records, each kind in seq order. Never raises on bad input: it counts."""
        was_ended, count = self.ended, len(batch)
        rows = Rows(
            np.zeros(count, dtype=TRADE_DTYPE),
            np.zeros(count, dtype=np.uint64),
            np.zeros(count, dtype=QUOTE_DTYPE),
            np.zeros(count, dtype=np.uint64),
            np.zeros(2 * count, dtype=GAP_DTYPE),  # a packet may come behind a hole and be malformed
            np.zeros(3, dtype=np.int64),
        )
        limits = (self._base, self._start_ns, self.end_ns + NS_PER_S * 3_600)  # the day that has 25 hours
        _decode(
            batch.data, batch.offsets, batch.kinds, batch.ts_recv, limits, self._state, self._counts, rows
        )
        trades, quotes, gaps = (
            table[:used] for table, used in zip((rows.trades, rows.quotes, rows.gaps), rows.used, strict=True)
        )
        trades["symbol"] = self._symbols(rows.trade_words[: len(trades)])
        quotes["symbol"] = self._symbols(rows.quote_words[: len(quotes)])
        crossed = (quotes["bid_price"] >= quotes["ask_price"]) & (quotes["ask_price"] != NO_PRICE)
        self._rare["crossed"] += int(crossed.sum())
        # what the session says of itself is in the capture for people: there is nothing to decode in it
        self._rare["control"] += int((batch.kinds == RecordKind.CONTROL).sum())
        latest = int(self._state[_LATEST])
        self.watermark_ns = max(self.watermark_ns, latest - self._lateness_ns) if latest else 0
        statuses = np.zeros(int(self.ended and not was_ended), dtype=STATUS_DTYPE)
        statuses["ts_event"], statuses["ts_recv"] = latest or self._start_ns, batch.ts_recv[-1:]
        statuses["seq"], statuses["status"] = self.last_seq, StatusCode.SESSION_END
        return EventBlock(
            self.venue, self.session, self.symbols, trades, quotes, statuses=statuses, gaps=gaps
        )

    def _symbols(self, words: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Index of each symbol, by its bytes: a batch has many events and few symbols."""
        distinct, inverse = np.unique(words, return_inverse=True)
        for word in distinct.tolist():
            if word not in self._index_of:
                name = word.to_bytes(8, "big").decode("ascii", "replace").strip(" \x00")
                known = self._registry.by_venue_symbol(self.venue, name)
                self._index_of[word] = self.symbols.index(known.symbol if known else name)
        return np.array([self._index_of[word] for word in distinct.tolist()], dtype=np.int32)[inverse]


@njit(cache=True, nogil=True)
def _integer(data, at, size):  # type: ignore[no-untyped-def]
    value = np.uint64(0)
    for place in range(at, at + size):
        value = (value << np.uint64(8)) | np.uint64(data[place])
    return value


@njit(cache=True, nogil=True)
def _gap(rows, ts_event, ts_recv, base, first, last, reason):  # type: ignore[no-untyped-def]
    row = rows.gaps[rows.used[2]]
    row.ts_event, row.ts_recv, row.seq = ts_event, ts_recv, base + first
    row.first_missing, row.last_missing, row.reason = first, last, reason
    rows.used[2] += 1


@njit(cache=True, nogil=True)
def _put(rows, data, at, kind, ts_event, ts_recv, seq):  # type: ignore[no-untyped-def]
    """Write the event of a sound packet."""
    word = _integer(data, at + _SYMBOL, 8)
    if kind == QUOTE:
        rows.quote_words[rows.used[1]] = word
        quote = rows.quotes[rows.used[1]]
        quote.ts_event, quote.ts_recv, quote.seq = ts_event, ts_recv, seq
        bid_size, ask_size = _integer(data, at + _BID_SIZE, 4), _integer(data, at + _ASK_SIZE, 4)
        bid, ask = np.int64(_integer(data, at + _BID, 4)), np.int64(_integer(data, at + _ASK, 4))
        quote.bid_price = bid * PRICE_NANOS if bid_size else NO_PRICE
        quote.ask_price = ask * PRICE_NANOS if ask_size else NO_PRICE
        quote.bid_size, quote.ask_size = np.int64(bid_size) * SIZE_NANOS, np.int64(ask_size) * SIZE_NANOS
        rows.used[1] += 1
        return
    rows.trade_words[rows.used[0]] = word
    trade = rows.trades[rows.used[0]]
    trade.ts_event, trade.ts_recv, trade.seq = ts_event, ts_recv, seq
    trade.price = np.int64(_integer(data, at + _PRICE, 4)) * PRICE_NANOS
    trade.size = np.int64(_integer(data, at + _SIZE, 4)) * SIZE_NANOS
    trade.venue_id = np.int64(_integer(data, at + _TRADE_ID, 4))
    trade.side = _BUY if data[at + _SIDE] == BUY else _SELL
    rows.used[0] += 1


@njit(cache=True, nogil=True)
def _decode(data, offsets, kinds, ts_recv, limits, state, counts, rows):  # type: ignore[no-untyped-def]
    base, low_ns, high_ns = limits
    for record in range(kinds.size):
        if kinds[record] != _DATA:
            continue
        at, size = offsets[record], offsets[record + 1] - offsets[record]
        number = _integer(data, at, 8) if size >= HEAD_BYTES else np.uint64(0)
        if number < np.uint64(1) or number >= np.uint64(SEQ_PER_DAY):
            counts[_C_MALFORMED] += 1
            continue
        sequence, kind = np.int64(number), data[at + _TYPE]
        ts = _integer(data, at + _TS, 8)
        if sequence < state[_EXPECTED]:
            counts[_C_DUPLICATE] += 1
            continue
        in_day = np.uint64(low_ns) <= ts < np.uint64(high_ns)
        shown = np.int64(ts) if in_day else max(state[_LATEST], np.int64(low_ns))
        if sequence > state[_EXPECTED]:  # TCP loses nothing: the venue no longer has them
            _gap(rows, shown, ts_recv[record], base, state[_EXPECTED], sequence - 1, _SEQUENCE_GAP)
            counts[_C_GAP] += sequence - state[_EXPECTED]
            state[_EXPECTED] = sequence
        if kind in (HEARTBEAT, END):
            counts[_C_HEARTBEAT if kind == HEARTBEAT else _C_END] += 1
            if kind == END:
                state[_ENDED] = 1
            continue
        state[_EXPECTED] = sequence + 1
        if LENGTHS[kind] == 0:
            counts[_C_UNKNOWN] += 1
            continue
        sound = in_day and size == LENGTHS[kind]
        if sound and kind == TRADE:
            sound = data[at + _SIDE] == BUY or data[at + _SIDE] == SELL
        if not sound:
            counts[_C_MALFORMED] += 1
            _gap(rows, shown, ts_recv[record], base, sequence, sequence, _MALFORMED_GAP)
            continue
        state[_LATEST] = max(state[_LATEST], np.int64(ts))
        counts[_C_DECODED] += 1
        _put(rows, data, at, kind, np.int64(ts), ts_recv[record], base + sequence)
