"""Scanned messages in, event columns out: the sequential state of a session, compiled.

The pass stops where something rare comes (a gap, a crossed book, a book that is not synced, a record that
is no message) and says at which record and why; :mod:`.decoder` sees to it and lets it go on. Numba's cache
looks at a function's own file only: who changes ``book`` also removes the compiled ``advance`` from
``__pycache__``.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.websocket.base import BOOK_ID, SYNCED
from ingest.websocket.binance.messages import Kind
from ingest.websocket.binance.scan import (
    FINAL_ID,
    FIRST_ID,
    INSTRUMENT,
    KIND,
    LEVEL_HIGH,
    LEVEL_LOW,
    PREVIOUS_ID,
    SOLD,
    TS_EVENT,
    VALUE,
)
from ingest.websocket.book import LEVELS_MAX, LevelBooks, fill_top, is_crossed, may_repeat, set_level
from ingest.websocket.output import CLOCK, DELTAS_OUT, FIRST_CLOCK, QUOTES_OUT, TRADES_OUT
from tickloom.events import Side
from tickloom.unowned import unowned

TICKERS_KEPT = 8_192  # of an instrument; the longest a depth update came behind its ticker was 32 tickers
TOPS_KEPT = 256  # of an instrument; a ticker that comes behind its depth update is the next message


class Stop(IntEnum):
    """Why the pass stopped."""

    DONE = 0
    RARE = 1  # neither trade, ticker nor depth update; the pass goes on behind it
    TRADE_GAP = 2  # trade ids were skipped; the pass comes back to this record
    DEPTH_GAP = 3  # update ids were skipped; the pass comes back to this record
    UNSYNCED = 4  # a depth update for a book that is not synced; goes on behind it
    CROSSED = 5  # applied, and the book is crossed; goes on behind it
    ROOM = 6  # the book needs more room; comes back to this record


# state of an instrument, behind SYNCED and BOOK_ID, which is that of its depth
TICKER_ID, TRADE_ID, TICKERS, TOPS = 2, 3, 4, 5
# counters
DUPLICATE, ORACLE_EQUAL, ORACLE_DIFFERENT, LEVELS_DROPPED, CROSSED_QUOTES = 0, 1, 2, 3, 4
COUNTER_NAMES = ("duplicate", "oracle_equal", "oracle_different", "levels_dropped", "crossed_quotes")

_DONE, _RARE, _TRADE_GAP = int(Stop.DONE), int(Stop.RARE), int(Stop.TRADE_GAP)
_DEPTH_GAP, _UNSYNCED = int(Stop.DEPTH_GAP), int(Stop.UNSYNCED)
_CROSSED, _ROOM = int(Stop.CROSSED), int(Stop.ROOM)
_DEPTH, _TICKER, _TRADE = int(Kind.DEPTH), int(Kind.TICKER), int(Kind.TRADE)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)


class FeedState:
    """All that a session remembers between batches, in arrays.

    Attributes
    ----------
    instruments : int64, shape (instruments, 6)
        SYNCED, BOOK_ID (last u of an unbroken chain, -1: none), TICKER_ID, TRADE_ID, and how many rows of
        the two rings were ever written.
    feed : int64, shape (2,)
        CLOCK: the latest venue time seen on any stream, ns; FIRST_CLOCK: the first one; 0: none yet.
    tickers, tops : int64, shape (instruments, kept, 5)
        Rings of update id, bid price, bid size, ask price, ask size: of tickers, and of the book after
        depth updates. Both rise in update id.
    """

    def __init__(self, instruments: int) -> None:
        self.instruments: NDArray[np.int64] = np.zeros((instruments, 6), dtype=np.int64)
        self.instruments[:, [BOOK_ID, TICKER_ID, TRADE_ID]] = -1
        self.feed: NDArray[np.int64] = np.zeros(2, dtype=np.int64)
        self.tickers: NDArray[np.int64] = np.zeros((instruments, TICKERS_KEPT, 5), dtype=np.int64)
        self.tops: NDArray[np.int64] = np.zeros((instruments, TOPS_KEPT, 5), dtype=np.int64)
        self.counts: NDArray[np.int64] = np.zeros(len(COUNTER_NAMES), dtype=np.int64)
        self.books = LevelBooks(instruments)

    def compare(self, instrument: int, update_id: int) -> bool:
        """Hold the book after an update against the ticker of the same id; whether the book is crossed."""
        crossed: bool = book_changed(
            self.books.keys[instrument],
            self.books.sizes[instrument],
            self.books.counts[instrument],
            update_id,
            self.instruments[instrument],
            self.tickers[instrument],
            self.tops[instrument],
            self.counts,
        )
        return crossed


@njit(cache=True, nogil=True, forceinline=True)
def _find(ring, written, update_id):  # type: ignore[no-untyped-def]
    """Row of a ring with that id, or -1."""
    kept = ring.shape[0]
    low, high = max(0, written - kept), written
    while low < high:
        middle = (low + high) >> 1
        if ring[middle % kept, 0] < update_id:
            low = middle + 1
        else:
            high = middle
    if low < written and ring[low % kept, 0] == update_id:
        return low % kept
    return -1


@njit(cache=True, nogil=True, forceinline=True)
def _count_equal(one, other, counts):  # type: ignore[no-untyped-def]
    for i in range(1, 5):
        if one[i] != other[i]:
            counts[ORACLE_DIFFERENT] += 1
            return
    counts[ORACLE_EQUAL] += 1


@njit(cache=True, nogil=True, forceinline=True)
def book_changed(keys, sizes, counts, update_id, state, tickers, tops, counters):  # type: ignore[no-untyped-def]
    """Remember the top after an update and compare it with the ticker of that id; whether it is crossed."""
    top = tops[state[TOPS] % TOPS_KEPT]
    top[0] = update_id
    fill_top(keys, sizes, counts, top[1:])
    state[TOPS] += 1
    if state[TICKER_ID] >= update_id:
        row = _find(tickers, state[TICKERS], update_id)
        if row >= 0:
            _count_equal(top, tickers[row], counters)
    return is_crossed(top[1:])


@njit(cache=True, nogil=True, forceinline=True)
def _ticker(message, state, tickers, tops, counters):  # type: ignore[no-untyped-def]
    """Take a ticker; false where it is not newer than the last one."""
    update_id = message[FINAL_ID]
    if update_id <= state[TICKER_ID]:
        counters[DUPLICATE] += 1
        return False
    state[TICKER_ID] = update_id
    mine = tickers[state[TICKERS] % TICKERS_KEPT]
    mine[0] = update_id
    mine[1:5] = message[VALUE : VALUE + 4]
    state[TICKERS] += 1
    if is_crossed(mine[1:]):
        counters[CROSSED_QUOTES] += 1
    if state[TOPS] > 0 and tops[(state[TOPS] - 1) % TOPS_KEPT, 0] >= update_id:
        row = _find(tops, state[TOPS], update_id)
        if row >= 0:
            _count_equal(mine, tops[row], counters)
    return True


@njit(cache=True, nogil=True, forceinline=True)
def _apply(  # type: ignore[no-untyped-def]
    message, state, keys, sizes, counts, level_price, level_size, level_side, ts_recv, seq, symbol,
    deltas, out, counters
):  # fmt: skip
    """Set the levels of an update in the book and put them out; of a level that comes twice, the last."""
    low, high = message[LEVEL_LOW], message[LEVEL_HIGH]
    repeated = may_repeat(level_price, level_side, low, high)
    for i in range(low, high):
        row = level_side[i] - 1
        counters[LEVELS_DROPPED] += set_level(keys, sizes, counts, row, level_price[i], level_size[i])
        if repeated:
            again = False
            for j in range(i + 1, high):
                if level_price[j] == level_price[i] and level_side[j] == level_side[i]:
                    again = True
                    break
            if again:
                continue
        delta = deltas[out[DELTAS_OUT]]
        delta.ts_event, delta.ts_recv, delta.seq, delta.symbol = message[TS_EVENT], ts_recv, seq, symbol
        delta.price, delta.size, delta.side = level_price[i], level_size[i], level_side[i]
        delta.venue_id = message[FINAL_ID]
        out[DELTAS_OUT] += 1
    state[BOOK_ID] = message[FINAL_ID]


@njit(cache=True, nogil=True)
def advance(  # type: ignore[no-untyped-def]
    start, rows, level_price, level_size, level_side, ts_recv, first_seq, symbols, usdm,
    instruments, feed, tickers, tops, keys, sizes, counts, counters,
    trades, quotes, deltas, out
):  # fmt: skip
    """Take records from ``start`` on: (record at which it stopped, Stop, record to go on with).

    rows and level columns: of :class:`~.scan.Scanned`; ts_recv: ns a record; first_seq: seq of record 0;
    symbols: symbol index an instrument; then the arrays of :class:`FeedState`; then the columns to fill and
    how far they are filled.
    """
    rows, level_price, level_size = unowned(rows), unowned(level_price), unowned(level_size)
    level_side, ts_recv, symbols = unowned(level_side), unowned(ts_recv), unowned(symbols)
    instruments, feed, tickers, tops = unowned(instruments), unowned(feed), unowned(tickers), unowned(tops)
    keys, sizes, counts, counters = unowned(keys), unowned(sizes), unowned(counts), unowned(counters)
    trades, quotes, deltas, out = unowned(trades), unowned(quotes), unowned(deltas), unowned(out)
    for i in range(start, rows.shape[0]):
        message = rows[i]
        kind = message[KIND]
        if kind != _DEPTH and kind != _TICKER and kind != _TRADE:
            return i, _RARE, i + 1
        which = message[INSTRUMENT]
        state = instruments[which]
        if message[TS_EVENT] > feed[CLOCK]:
            if feed[CLOCK] == 0:
                feed[FIRST_CLOCK] = message[TS_EVENT]
            feed[CLOCK] = message[TS_EVENT]
        seq = first_seq + i
        if kind == _TICKER:
            if _ticker(message, state, tickers[which], tops[which], counters):
                quote = quotes[out[QUOTES_OUT]]
                quote.ts_event = message[TS_EVENT] if message[TS_EVENT] else feed[CLOCK]
                quote.ts_recv, quote.seq, quote.symbol = ts_recv[i], seq, symbols[which]
                quote.bid_price, quote.bid_size = message[VALUE], message[VALUE + 1]
                quote.ask_price, quote.ask_size = message[VALUE + 2], message[VALUE + 3]
                quote.venue_id = message[FINAL_ID]
                out[QUOTES_OUT] += 1
        elif kind == _TRADE:
            trade_id = message[FINAL_ID]
            if trade_id <= state[TRADE_ID]:
                counters[DUPLICATE] += 1
                continue
            if state[TRADE_ID] >= 0 and trade_id != state[TRADE_ID] + 1:
                return i, _TRADE_GAP, i
            state[TRADE_ID] = trade_id
            trade = trades[out[TRADES_OUT]]
            trade.ts_event, trade.ts_recv, trade.seq = message[TS_EVENT], ts_recv[i], seq
            trade.symbol, trade.price, trade.size = symbols[which], message[VALUE], message[VALUE + 1]
            trade.venue_id, trade.side, trade.condition = trade_id, (_SELL if message[SOLD] else _BUY), 0
            out[TRADES_OUT] += 1
        else:
            last = state[BOOK_ID]
            if last >= 0:
                if message[FINAL_ID] <= last:
                    counters[DUPLICATE] += 1
                    continue
                broken = message[PREVIOUS_ID] != last if usdm else message[FIRST_ID] > last + 1
                if broken:
                    return i, _DEPTH_GAP, i
            if state[SYNCED] == 0:
                return i, _UNSYNCED, i + 1
            room = keys.shape[2]
            need = max(counts[which, 0], counts[which, 1]) + message[LEVEL_HIGH] - message[LEVEL_LOW]
            if need > room and room < LEVELS_MAX:
                return i, _ROOM, i
            _apply(message, state, keys[which], sizes[which], counts[which], level_price, level_size,
                   level_side, ts_recv[i], seq, symbols[which], deltas, out, counters)  # fmt: skip
            if book_changed(keys[which], sizes[which], counts[which], message[FINAL_ID], state,
                            tickers[which], tops[which], counters):  # fmt: skip
                return i, _CROSSED, i + 1
    return rows.shape[0], _DONE, rows.shape[0]
