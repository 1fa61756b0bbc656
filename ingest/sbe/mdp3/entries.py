"""One entry of an MDP 3.0 incremental in, its events and its change of the book out: compiled.

Each entry of a message takes the next number of the session (``seq``), because one packet has many. A handler
that cannot go on says why and has changed nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ingest.sbe.mdp3 import state as st
from ingest.sbe.mdp3.book import ASK, BID, CHANGE, NEW, NULL_PRICE, OVERLAY, change, fits
from ingest.sbe.mdp3.packets import le32, le32s, le64
from tickloom.events import Condition, Side
from tickloom.prices import NO_PRICE

SIZE_MAX = 2**53 // 5**9  # 4.6e9; above, sizes in 1e-9 units would not survive a double
_NANOS = 10**9
_SURE = 2**22 * _NANOS  # every price below survives a double, see tickloom.prices
_BUY, _SELL, _NONE = int(Side.BUY), int(Side.SELL), int(Side.NONE)
_REGULAR, _BROKEN = int(Condition.REGULAR), int(Condition.BROKEN)
_NO_PRICE = int(NO_PRICE)
_BID_TYPE, _ASK_TYPE, _IMPLIED_BID, _IMPLIED_ASK, _RESET = (ord(letter) for letter in "01EFJ")
_NULL_SIZE, _NULL_ID = 2**31 - 1, 2**32 - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_TRADE_DELETE = 2


class Times(NamedTuple):
    """What all events of a message carry; ``base``: of ``seq``."""

    ts_event: int
    ts_recv: int
    base: int


@njit(cache=True, nogil=True, forceinline=True)
def slot_of(index, security):  # type: ignore[no-untyped-def]
    """Slot of a security id in the hash, or the free one where it belongs."""
    mask = index.shape[0] - 1
    slot = np.int64((np.uint64(np.int64(security)) * _GOLDEN) >> np.uint64(32)) & mask
    while index[slot, 1] >= 0 and index[slot, 0] != security:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True, forceinline=True)
def storable(price, size):  # type: ignore[no-untyped-def]
    """Whether price (or none) and size (in units) survive a double."""
    if size > SIZE_MAX:
        return False
    if -_SURE < price < _SURE or price == NULL_PRICE:
        return True
    return np.int64(np.rint(np.float64(price) / 1e9 * 1e9)) == price


@njit(cache=True, nogil=True, forceinline=True)
def read_size(data, at, layout):  # type: ignore[no-untyped-def]
    """A size in units; 0 where it is null, -1 where it is below 0."""
    if layout[st.L_LONG]:
        size = le64(data, at + layout[st.L_SIZE])
        if size == -1:
            return np.int64(0)
        return size if size >= 0 else np.int64(SIZE_MAX + 1)  # above 2**63 in an unsigned field
    size = le32s(data, at + layout[st.L_SIZE])
    if size == _NULL_SIZE:
        return np.int64(0)
    return max(size, np.int64(-1))


@njit(cache=True, nogil=True)
def put_delta(state, out, times, symbol, side, price, size, rpt_seq):  # type: ignore[no-untyped-def]
    row = out.deltas[out.used[st.DELTAS]]
    out.used[st.DELTAS] += 1
    row.ts_event, row.ts_recv, row.symbol = times.ts_event, times.ts_recv, symbol
    row.seq = times.base + state.shared[st.NUMBERED]
    row.price, row.size, row.venue_id = price, size, rpt_seq
    row.side = _SELL if side == ASK else _BUY


@njit(cache=True, nogil=True)
def _put_trade(state, out, times, symbol, price, size, side, condition, number):  # type: ignore[no-untyped-def]
    row = out.trades[out.used[st.TRADES]]
    out.used[st.TRADES] += 1
    row.ts_event, row.ts_recv, row.symbol = times.ts_event, times.ts_recv, symbol
    row.seq = times.base + state.shared[st.NUMBERED]
    row.price, row.size, row.venue_id = price, size, number
    row.side, row.condition = side, condition


@njit(cache=True, nogil=True)
def touch(state, which):  # type: ignore[no-untyped-def]
    """The book of an instrument changed: look at its top when the event ends."""
    instrument = state.instruments[which]
    if not instrument[st.DIRTY]:
        instrument[st.DIRTY] = 1
        state.dirty[state.shared[st.DIRTY_COUNT]] = which
        state.shared[st.DIRTY_COUNT] += 1


@njit(cache=True, nogil=True)
def empty_book(state, out, times, which):  # type: ignore[no-untyped-def]
    """Take every level out of a book. Needs room for them all in the output."""
    instrument = state.instruments[which]
    for side in range(2):
        for i in range(state.fills[which, side]):
            price = state.levels[which, side, i, 0]
            put_delta(state, out, times, instrument[st.SYMBOL], side, price, 0, 0)
        state.fills[which, side] = 0
    touch(state, which)


@njit(cache=True, nogil=True)
def end_event(state, out, times):  # type: ignore[no-untyped-def]
    """Put out the quotes of the books whose top an event changed; False where the output is full."""
    shared = state.shared
    while shared[st.DIRTY_COUNT]:
        if out.used[st.QUOTES] == out.quotes.size:
            return False
        shared[st.DIRTY_COUNT] -= 1
        which = state.dirty[shared[st.DIRTY_COUNT]]
        instrument = state.instruments[which]
        instrument[st.DIRTY] = 0
        if instrument[st.SYNCED]:
            _put_quote(state, out, times, which)
    return True


@njit(cache=True, nogil=True)
def _put_quote(state, out, times, which):  # type: ignore[no-untyped-def]
    instrument = state.instruments[which]
    bid_price, bid_size, ask_price, ask_size = _NO_PRICE, 0, _NO_PRICE, 0
    if state.fills[which, BID]:
        bid_price, bid_size = state.levels[which, BID, 0, 0], state.levels[which, BID, 0, 1]
    if state.fills[which, ASK]:
        ask_price, ask_size = state.levels[which, ASK, 0, 0], state.levels[which, ASK, 0, 1]
    if (
        instrument[st.BID_PRICE] == bid_price
        and instrument[st.BID_SIZE] == bid_size
        and instrument[st.ASK_PRICE] == ask_price
        and instrument[st.ASK_SIZE] == ask_size
    ):
        return
    instrument[st.BID_PRICE], instrument[st.BID_SIZE] = bid_price, bid_size
    instrument[st.ASK_PRICE], instrument[st.ASK_SIZE] = ask_price, ask_size
    if bid_size and ask_size and bid_price >= ask_price:
        state.counts[st.C_CROSSED if bid_price > ask_price else st.C_LOCKED] += 1
    state.shared[st.NUMBERED] += 1
    row = out.quotes[out.used[st.QUOTES]]
    out.used[st.QUOTES] += 1
    row.ts_event, row.ts_recv, row.symbol = times.ts_event, times.ts_recv, instrument[st.SYMBOL]
    row.seq = times.base + state.shared[st.NUMBERED]
    row.bid_price, row.bid_size = bid_price, bid_size
    row.ask_price, row.ask_size = ask_price, ask_size
    row.venue_id = instrument[st.RPT_SEQ]


@njit(cache=True, nogil=True)
def _account(state, which, rpt_seq, side, action, level, price, size):  # type: ignore[no-untyped-def]
    """Take an entry's RptSeq: at once where the book is synced, else with the entry, for the snapshot."""
    state.shared[st.NUMBERED] += 1
    if state.instruments[which, st.SYNCED]:
        state.instruments[which, st.RPT_SEQ] = max(state.instruments[which, st.RPT_SEQ], rpt_seq)
        return
    row = state.pending[state.shared[st.PENDING_USED]]
    row[st.P_INSTRUMENT], row[st.P_RPT_SEQ], row[st.P_SIDE] = which, rpt_seq, side
    row[st.P_ACTION], row[st.P_LEVEL] = action, level
    row[st.P_PRICE], row[st.P_SIZE] = price, size
    state.shared[st.PENDING_USED] += 1


@njit(cache=True, nogil=True)
def _book(state, out, data, at, layout, times, which, rpt_seq):  # type: ignore[no-untyped-def]
    kind = data[at + layout[st.L_TYPE]]
    level, action = np.int64(data[at + layout[st.L_LEVEL]]), np.int64(data[at + layout[st.L_ACTION]])
    side = np.int64(st.ONLY_COUNTS)
    if kind in (_BID_TYPE, _ASK_TYPE):
        side = np.int64(kind == _ASK_TYPE)
    elif kind == _RESET:
        side = np.int64(st.EMPTIES)
    price, size = le64(data, at + layout[st.L_PRICE]), read_size(data, at, layout)
    synced = state.instruments[which, st.SYNCED]
    depth = state.instruments[which, st.DEPTH]
    if side >= 0:
        if not storable(price, size):
            return st.REFUSED
        size *= _NANOS
        levels, count = state.levels[which, side], state.fills[which, side]
        if synced and not fits(levels, count, depth, side, action, level, price, size):
            return st.CONTRADICTED
    _account(state, which, rpt_seq, side, action, level, price, size)
    if kind in (_IMPLIED_BID, _IMPLIED_ASK):
        state.counts[st.C_IMPLIED] += 1
    elif side == st.ONLY_COUNTS:
        state.counts[st.C_OTHER_ENTRY] += 1
    if not synced:
        return st.DONE
    symbol = state.instruments[which, st.SYMBOL]
    if side == st.EMPTIES:
        empty_book(state, out, times, which)
    elif side >= 0:
        count, lost = change(levels, count, depth, action, level, price, size, state.gone)
        state.fills[which, side] = count
        for i in range(lost):
            put_delta(state, out, times, symbol, side, state.gone[i], 0, rpt_seq)
        if action in (NEW, CHANGE, OVERLAY):
            put_delta(state, out, times, symbol, side, price, size, rpt_seq)
        touch(state, which)
    return st.DONE


@njit(cache=True, nogil=True)
def _trade(state, out, data, at, layout, times, which, rpt_seq):  # type: ignore[no-untyped-def]
    price, size = le64(data, at + layout[st.L_PRICE]), read_size(data, at, layout)
    if price == NULL_PRICE or not storable(price, size):
        return st.REFUSED
    _account(state, which, rpt_seq, st.ONLY_COUNTS, 0, 0, 0, 0)
    action, aggressor = data[at + layout[st.L_ACTION]], data[at + layout[st.L_AGGRESSOR]]
    side = _BUY if aggressor == 1 else _SELL if aggressor == 2 else _NONE
    number = le32(data, at + layout[st.L_TRADE_ID])
    number = 0 if number == _NULL_ID else number
    symbol = state.instruments[which, st.SYMBOL]
    if action > _TRADE_DELETE or (size <= 0 and action != _TRADE_DELETE):
        state.counts[st.C_BAD_FIELD] += 1
        return st.DONE
    if action in (CHANGE, _TRADE_DELETE):
        _put_trade(state, out, times, symbol, _NO_PRICE, 0, _NONE, _BROKEN, number)
    if action == CHANGE:
        state.shared[st.NUMBERED] += 1  # a seq has one trade
    if action in (NEW, CHANGE):
        _put_trade(state, out, times, symbol, price, size * _NANOS, side, _REGULAR, number)
    return st.DONE


@njit(cache=True, nogil=True)
def entry(state, out, data, at, layout, times):  # type: ignore[no-untyped-def]
    """Handle the entry at ``at``; DONE, or why it has to wait (see :mod:`ingest.sbe.mdp3.state`)."""
    shared = state.shared
    security = le32s(data, at + layout[st.L_SECURITY])
    rpt_seq = le32(data, at + layout[st.L_RPT_SEQ])
    which = state.slots[slot_of(state.slots, security), 1]
    shared[st.AT_SECURITY], shared[st.AT_INSTRUMENT], shared[st.AT_RPT_SEQ] = security, which, rpt_seq
    if which < 0:
        return st.NEW
    if out.used[st.TRADES] + 2 > out.trades.size:
        return st.FULL
    if out.used[st.DELTAS] + 2 * st.LEVELS_MAX + 2 > out.deltas.size:
        return st.FULL
    known = state.instruments[which, st.RPT_SEQ]
    old = False
    if state.instruments[which, st.SYNCED]:
        if rpt_seq > known + 1:
            return st.RPT_GAP
        old = rpt_seq <= known
    elif rpt_seq == 1 and known == 0:
        return st.FIRST
    elif shared[st.PENDING_USED] == st.PENDING_MAX:
        return st.PENDING_FULL
    if old:
        state.counts[st.C_IN_SNAPSHOT] += 1
    if layout[st.L_KIND] == st.TRADE:
        return _trade(state, out, data, at, layout, times, which, rpt_seq)
    if layout[st.L_KIND] == st.BOOK and not old:
        return _book(state, out, data, at, layout, times, which, rpt_seq)
    _account(state, which, rpt_seq, st.ONLY_COUNTS, 0, 0, 0, 0)
    return st.DONE
