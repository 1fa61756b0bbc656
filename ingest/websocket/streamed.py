"""Rows of messages in, event columns out, for venues that stream their own snapshots: compiled.

The pass stops where something rare comes (a snapshot, a hole, a checksum that differs) and says at which
record and why; :mod:`.decoder` sees to it and lets it go on. Numba's cache looks at a function's own file
only: who changes ``book`` or ``checksum`` also removes the compiled ``advance`` from ``__pycache__``.

A record of the capture has ``SEQS_PER_RECORD`` source numbers, because these venues put several trades in one
message and each is an event of its own (docs/decisions/0002). A message with more trades than that takes the
numbers of as many records as it needs, and all behind it move up.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.websocket.base import BOOK_ID, SYNCED
from ingest.websocket.book import LEVELS_MAX, LevelBooks, fill_top, is_crossed, may_repeat, set_level
from ingest.websocket.checksum import make_kept, top_checksum
from ingest.websocket.message import (
    CHECKSUM,
    ENTRY_HIGH,
    ENTRY_LOW,
    FINAL_ID,
    HAS_CHECKSUM,
    INSTRUMENT,
    KIND,
    PREVIOUS_ID,
    PRICE_DECIMALS,
    SIZE_DECIMALS,
    TS_EVENT,
    VALUE,
    Kind,
)
from ingest.websocket.numbers import SEQS_PER_RECORD
from ingest.websocket.output import CLOCK, DELTAS_OUT, FIRST_CLOCK, QUOTES_OUT, TRADES_OUT
from tickloom.unowned import unowned


class Stop(IntEnum):
    """Why the pass stopped."""

    DONE = 0
    RARE = 1  # no update, ticker or trades; the pass goes on behind it
    TRADE_GAP = 2  # trade ids were skipped; the pass comes back to this record
    BOOK_GAP = 3  # update ids were skipped, or go back; goes on behind it
    CHECKSUM = 4  # applied, and the venue's checksum is another; goes on behind it
    CROSSED = 5  # applied, and the book is crossed; goes on behind it
    ROOM = 6  # the book needs more room; comes back to this record


# state of an instrument, behind SYNCED and BOOK_ID
TRADE_ID, DEPTH_KEPT, PRICE_PLACES, SIZE_PLACES, DEPTH_ACCEPTED = 2, 3, 4, 5, 6
# state of the feed, behind CLOCK and FIRST_CLOCK: records by which source numbers moved up
SHIFT = 2
# counters
DUPLICATE, LEVELS_DROPPED, CROSSED_QUOTES, CHECKSUMS_EQUAL, UPDATES_UNSYNCED = 0, 1, 2, 3, 4
COUNTER_NAMES = ("duplicate", "levels_dropped", "crossed_quotes", "checksums_equal", "updates_unsynced")

_DONE, _RARE, _TRADE_GAP, _BOOK_GAP = int(Stop.DONE), int(Stop.RARE), int(Stop.TRADE_GAP), int(Stop.BOOK_GAP)
_CHECKSUM, _CROSSED, _ROOM = int(Stop.CHECKSUM), int(Stop.CROSSED), int(Stop.ROOM)
_UPDATE, _TICKER, _TRADES, _IGNORED = int(Kind.UPDATE), int(Kind.TICKER), int(Kind.TRADES), int(Kind.IGNORED)
_SEQS_PER_RECORD = SEQS_PER_RECORD


class FeedState:
    """All that a session remembers between batches, in arrays.

    Attributes
    ----------
    instruments : int64, shape (instruments, 7)
        SYNCED, BOOK_ID (of the last book message, -1: none), TRADE_ID (-1: none), DEPTH_KEPT (levels of a
        side, 0: all), the decimals with which the venue writes prices and sizes, and DEPTH_ACCEPTED (of the
        subscription, where the venue says it in its answer; 0: it has not).
    feed : int64, shape (3,)
        CLOCK: the latest venue time seen on any channel, ns; FIRST_CLOCK: the first one; 0: none yet; SHIFT.
    """

    def __init__(self, instruments: int) -> None:
        self.instruments: NDArray[np.int64] = np.zeros((instruments, 7), dtype=np.int64)
        self.instruments[:, [BOOK_ID, TRADE_ID]] = -1
        self.feed: NDArray[np.int64] = np.zeros(3, dtype=np.int64)
        self.counts: NDArray[np.int64] = np.zeros(len(COUNTER_NAMES), dtype=np.int64)
        self.kept = make_kept()
        self.books = LevelBooks(instruments)


@njit(cache=True, nogil=True, inline="always")
def _put_delta(deltas, out, message, ts_recv, seq, symbol, price, size, side):  # type: ignore[no-untyped-def]
    delta = deltas[out[DELTAS_OUT]]
    delta.ts_event, delta.ts_recv, delta.seq, delta.symbol = message[TS_EVENT], ts_recv, seq, symbol
    delta.price, delta.size, delta.side = price, size, side
    delta.venue_id = max(message[FINAL_ID], 0)
    out[DELTAS_OUT] += 1


@njit(cache=True, nogil=True, forceinline=True)
def _put_levels(message, price, size, side, ts_recv, seq, symbol, deltas, out):  # type: ignore[no-untyped-def]
    """Levels as they came, where no books are kept."""
    for i in range(message[ENTRY_LOW], message[ENTRY_HIGH]):
        _put_delta(deltas, out, message, ts_recv, seq, symbol, price[i], size[i], side[i])


@njit(cache=True, nogil=True, forceinline=True)
def _apply(  # type: ignore[no-untyped-def]
    message, keys, sizes, counts, price, size, side, ts_recv, seq, symbol, deltas, out, counters
):  # fmt: skip
    """Set the levels of an update in the book and put them out; of a level that comes twice, the last."""
    low, high = message[ENTRY_LOW], message[ENTRY_HIGH]
    repeated = may_repeat(price, side, low, high)
    for i in range(low, high):
        counters[LEVELS_DROPPED] += set_level(keys, sizes, counts, side[i] - 1, price[i], size[i])
        if repeated:
            again = False
            for j in range(i + 1, high):
                if price[j] == price[i] and side[j] == side[i]:
                    again = True
                    break
            if again:
                continue
        _put_delta(deltas, out, message, ts_recv, seq, symbol, price[i], size[i], side[i])


@njit(cache=True, nogil=True, forceinline=True)
def _cut(  # type: ignore[no-untyped-def]
    message, keys, sizes, counts, depth, first_delta, ts_recv, seq, symbol, deltas, out
):  # fmt: skip
    """Let levels beyond the subscribed depth go: the venue says no more of them."""
    for row in range(2):
        over = counts[row] - depth
        for i in range(over):
            price = keys[row, i] if row == 0 else -keys[row, i]
            known = False
            for j in range(first_delta, out[DELTAS_OUT]):
                if deltas[j].price == price and deltas[j].side == row + 1:
                    deltas[j].size = 0
                    known = True
            if not known:
                _put_delta(deltas, out, message, ts_recv, seq, symbol, price, 0, row + 1)
        if over > 0:
            for i in range(depth):
                keys[row, i], sizes[row, i] = keys[row, i + over], sizes[row, i + over]
            counts[row] = depth


@njit(cache=True, nogil=True, forceinline=True)
def _update(  # type: ignore[no-untyped-def]
    message, state, keys, sizes, counts, price, size, side, ts_recv, seq, symbol, deltas, out, counters,
    rule, kept, top
):  # fmt: skip
    """One update of a synced book: why the pass must stop, DONE where it need not."""
    last, final = state[BOOK_ID], message[FINAL_ID]
    if message[PREVIOUS_ID] >= 0 and message[PREVIOUS_ID] != last:
        return _BOOK_GAP
    if message[PREVIOUS_ID] < 0 and final >= 0 and final < last:
        return _BOOK_GAP
    room = keys.shape[1]
    need = max(counts[0], counts[1]) + message[ENTRY_HIGH] - message[ENTRY_LOW]
    if need > room and room < LEVELS_MAX:
        return _ROOM
    first_delta = out[DELTAS_OUT]
    _apply(message, keys, sizes, counts, price, size, side, ts_recv, seq, symbol, deltas, out, counters)
    if state[DEPTH_KEPT] > 0:
        _cut(message, keys, sizes, counts, state[DEPTH_KEPT], first_delta, ts_recv, seq, symbol, deltas, out)
    state[BOOK_ID] = final
    if message[ENTRY_HIGH] > message[ENTRY_LOW]:
        state[PRICE_PLACES], state[SIZE_PLACES] = message[PRICE_DECIMALS], message[SIZE_DECIMALS]
    if rule and message[HAS_CHECKSUM]:
        found = top_checksum(rule, keys, sizes, counts, state[PRICE_PLACES], state[SIZE_PLACES], kept)
        if found != message[CHECKSUM]:
            return _CHECKSUM
        counters[CHECKSUMS_EQUAL] += 1
    fill_top(keys, sizes, counts, top)
    return _CROSSED if is_crossed(top) else _DONE


@njit(cache=True, nogil=True, forceinline=True)
def _put_trades(  # type: ignore[no-untyped-def]
    message, state, price, size, side, ts, trade_id, ts_recv, seq, symbol, trades, out, feed
):  # fmt: skip
    """All trades of a message, each under a seq of its own."""
    low, high = message[ENTRY_LOW], message[ENTRY_HIGH]
    for i in range(low, high):
        trade = trades[out[TRADES_OUT]]
        trade.ts_event, trade.ts_recv, trade.seq = ts[i], ts_recv, seq + i - low
        trade.symbol, trade.price, trade.size = symbol, price[i], size[i]
        trade.venue_id, trade.side, trade.condition = trade_id[i], side[i], 0
        out[TRADES_OUT] += 1
        state[TRADE_ID] = trade_id[i]
    if high - low > _SEQS_PER_RECORD:
        feed[SHIFT] += (high - low - 1) // _SEQS_PER_RECORD


@njit(cache=True, nogil=True, forceinline=True)
def _put_quote(message, clock, ts_recv, seq, symbol, quotes, out, counters):  # type: ignore[no-untyped-def]
    quote = quotes[out[QUOTES_OUT]]
    quote.ts_event = message[TS_EVENT] if message[TS_EVENT] else clock
    quote.ts_recv, quote.seq, quote.symbol = ts_recv, seq, symbol
    quote.bid_price, quote.bid_size = message[VALUE], message[VALUE + 1]
    quote.ask_price, quote.ask_size = message[VALUE + 2], message[VALUE + 3]
    quote.venue_id = max(message[FINAL_ID], 0)
    out[QUOTES_OUT] += 1
    if is_crossed(message[VALUE : VALUE + 4]):
        counters[CROSSED_QUOTES] += 1


@njit(cache=True, nogil=True)
def advance(  # type: ignore[no-untyped-def]
    start, rows, price, size, side, ts, trade_id, ts_recv, base, symbols, chained_trades, rule, books_kept,
    kept, instruments, feed, keys, sizes, counts, counters, trades, quotes, deltas, out
):  # fmt: skip
    """Take records from ``start`` on: (record at which it stopped, Stop, record to go on with).

    rows and entry columns: of ``Scanned``; ts_recv: ns a record; base: seq of record 0 before any shift;
    symbols: symbol index an instrument; chained_trades: whether trade ids have no holes; rule: Checksum;
    books_kept: false leaves the books alone (how fast is it without?); then the arrays of
    :class:`FeedState`; then the columns to fill and how far they are filled.
    """
    rows, price, size, side = unowned(rows), unowned(price), unowned(size), unowned(side)
    ts, trade_id, ts_recv, symbols = unowned(ts), unowned(trade_id), unowned(ts_recv), unowned(symbols)
    instruments, feed, counters, out = unowned(instruments), unowned(feed), unowned(counters), unowned(out)
    keys, sizes, counts = unowned(keys), unowned(sizes), unowned(counts)
    trades, quotes, deltas = unowned(trades), unowned(quotes), unowned(deltas)
    kept = unowned(kept)
    top = np.empty(4, dtype=np.int64)
    for i in range(start, rows.shape[0]):
        message = rows[i]
        kind = message[KIND]
        if kind == _IGNORED:
            continue
        if kind != _UPDATE and kind != _TICKER and kind != _TRADES:
            return i, _RARE, i + 1
        which = message[INSTRUMENT]
        state = instruments[which]
        if message[TS_EVENT] > feed[CLOCK]:
            if feed[CLOCK] == 0:
                feed[FIRST_CLOCK] = message[TS_EVENT]
            feed[CLOCK] = message[TS_EVENT]
        seq = base + (i + feed[SHIFT]) * _SEQS_PER_RECORD
        if kind == _TICKER:
            _put_quote(message, feed[CLOCK], ts_recv[i], seq, symbols[which], quotes, out, counters)
        elif kind == _TRADES:
            if chained_trades and state[TRADE_ID] >= 0:
                first = trade_id[message[ENTRY_LOW]]
                if first <= state[TRADE_ID]:
                    counters[DUPLICATE] += 1
                    continue
                if first != state[TRADE_ID] + 1:
                    return i, _TRADE_GAP, i
            _put_trades(message, state, price, size, side, ts, trade_id, ts_recv[i], seq, symbols[which],
                        trades, out, feed)  # fmt: skip
        elif state[SYNCED] == 0:
            counters[UPDATES_UNSYNCED] += books_kept
            if not books_kept:
                _put_levels(message, price, size, side, ts_recv[i], seq, symbols[which], deltas, out)
        else:
            why = _update(message, state, keys[which], sizes[which], counts[which], price, size, side,
                          ts_recv[i], seq, symbols[which], deltas, out, counters, rule, kept,
                          top)  # fmt: skip
            if why != _DONE:
                return i, why, i if why == _ROOM else i + 1
    return rows.shape[0], _DONE, rows.shape[0]
