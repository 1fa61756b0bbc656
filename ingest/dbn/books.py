"""DBN's book records in, events out: best prices (mbp-1), ten levels (mbp-10), order by order (mbo)."""

from __future__ import annotations

import numpy as np
from numba import njit

from ingest.dbn import records as r
from ingest.dbn import state as st
from ingest.dbn.events import (
    SIZE_MAX,
    put_book_status,
    put_delta,
    put_quote,
    put_trade,
    survives,
)
from ingest.dbn.orders import drop_order, find_order, put_order
from ingest.itch.wire import little32 as le32
from ingest.itch.wire import little64 as le64
from ingest.levels import LENGTH, START, best, pool_full, set_level, total_at

_MBP, _LEVEL, _MBO = (
    {name: field[1] for name, field in dtype.fields.items()}  # type: ignore[union-attr]
    for dtype in (r.MBP_0, r.MBP_1, r.MBO)
)
_PRICE, _SIZE, _ACTION, _SIDE, _FLAGS, _SEQUENCE = (
    _MBP[name] for name in ("price", "size", "action", "side", "flags", "sequence")
)
_BID, _ASK, _BID_SIZE, _ASK_SIZE = (_LEVEL[f"{name}_00"] for name in ("bid_px", "ask_px", "bid_sz", "ask_sz"))
_O_ID, _O_PRICE, _O_SIZE, _O_ACTION, _O_SIDE, _O_FLAGS, _O_SEQUENCE = (
    _MBO[name] for name in ("order_id", "price", "size", "action", "side", "flags", "sequence")
)
_ADD, _CANCEL, _MODIFY, _CLEAR, _TRADE, _FILL, _NONE = (ord(letter) for letter in "ACMRTFN")
_IS_ASK, _IS_BID = ord("A"), ord("B")
_MBP_0, _MBP_10 = int(r.RType.MBP_0), int(r.RType.MBP_10)
_UNDEF = np.int64(r.UNDEF_PRICE)


@njit(cache=True, nogil=True, forceinline=True)
def _trust(state, out, event, which, flags):  # type: ignore[no-untyped-def]
    """Whether a record that carries its levels whole may be shown: not while Databento doubts them."""
    row = state.instruments[which]
    if flags & r.FLAG_MAYBE_BAD_BOOK:
        state.counts[st.C_BAD_BOOK] += 1
        if row[st.BOOK] != st.LOST:
            row[st.BOOK] = st.LOST
            put_book_status(out, event, False)
        return False
    if row[st.BOOK] == st.LOST:
        put_book_status(out, event, True)
        row[st.BOOK] = st.SYNCED
    return True


@njit(cache=True, nogil=True, forceinline=True)
def on_mbp(state, out, event, which, data, at, kind):  # type: ignore[no-untyped-def]
    """Trades, mbp-1, tbbo, mbp-10."""
    action, flags = data[at + _ACTION], data[at + _FLAGS]
    if action == _TRADE:
        put_trade(state, out, event, le64(data, at + _PRICE), le32(data, at + _SIZE), data[at + _SIDE])
    elif kind == _MBP_0:
        state.counts[st.C_ACTION] += 1
    if kind == _MBP_0:
        return
    if not _trust(state, out, event, which, flags):
        return
    sequence = le32(data, at + _SEQUENCE)
    if kind == _MBP_10:
        row = state.instruments[which]
        if row[st.BOOK] == st.UNKNOWN:
            row[st.BOOK] = st.SYNCED
            put_book_status(out, event, True)
        for side in range(2):
            _ten(state, out, event, which, side, data, at, sequence)
    put_quote(
        state,
        out,
        event,
        which,
        le64(data, at + _BID),
        le32(data, at + _BID_SIZE),
        le64(data, at + _ASK),
        le32(data, at + _ASK_SIZE),
        sequence,
    )


@njit(cache=True, nogil=True, forceinline=True)
def _ten(state, out, event, which, side, data, at, sequence):  # type: ignore[no-untyped-def]
    """What changed among the ten levels of a side, and take them over."""
    held = state.tens[which, side]
    price_at, size_at = at + (_ASK if side else _BID), at + (_ASK_SIZE if side else _BID_SIZE)
    for level in range(r.LEVELS):  # those that have gone
        price, here = held[level, 0], level * r.LEVEL_BYTES
        if price == _UNDEF or (le64(data, price_at + here) == price and le32(data, size_at + here) > 0):
            continue
        found = False
        for other in range(r.LEVELS):
            here = other * r.LEVEL_BYTES
            found = found or (le64(data, price_at + here) == price and le32(data, size_at + here) > 0)
        if not found:
            put_delta(out, event, side, price, np.int64(0), sequence)
    fresh = np.empty((r.LEVELS, 2), dtype=np.int64)
    worst, some = np.int64(0), False
    for level in range(r.LEVELS):
        price = le64(data, price_at + level * r.LEVEL_BYTES)
        size = le32(data, size_at + level * r.LEVEL_BYTES)
        if price == _UNDEF or size == 0 or not survives(price):
            if price != _UNDEF and size:
                state.counts[st.C_PRICE] += 1
            fresh[level, 0], fresh[level, 1] = _UNDEF, 0
            continue
        if some and (price <= worst if side else price >= worst):  # not in order: it may be there twice
            twice = False
            for other in range(level):
                twice = twice or fresh[other, 0] == price
            if twice:
                state.counts[st.C_FIELD] += 1
                fresh[level, 0], fresh[level, 1] = _UNDEF, 0
                continue
        else:
            worst, some = price, True
        fresh[level, 0], fresh[level, 1] = price, size
        before = np.int64(-1)
        if held[level, 0] == price:
            before = held[level, 1]
        else:
            for other in range(r.LEVELS):
                if held[other, 0] == price:
                    before = held[other, 1]
        if before != size:
            put_delta(out, event, side, price, size, sequence)
    held[:] = fresh


@njit(cache=True, nogil=True, forceinline=True)
def clear_rows(state, which):  # type: ignore[no-untyped-def]
    """Deltas that emptying the book would take."""
    return state.book.sides[2 * which, LENGTH] + state.book.sides[2 * which + 1, LENGTH]


@njit(cache=True, nogil=True, forceinline=True)
def must_grow(state, which, data, at):  # type: ignore[no-untyped-def]
    """What has to grow before an order is added: GROW_ORDERS, GROW_LEVELS, or nothing (DONE)."""
    if 2 * (state.shared[st.ORDERS_USED] + 1) > state.orders.shape[0]:
        return st.GROW_ORDERS
    side = 2 * which + (1 if data[at + _O_SIDE] == _IS_ASK else 0)
    return st.GROW_LEVELS if pool_full(state.book, side) else st.DONE


@njit(cache=True, nogil=True, forceinline=True)
def is_clear(data, at):  # type: ignore[no-untyped-def]
    return data[at + _O_ACTION] == _CLEAR


@njit(cache=True, nogil=True, forceinline=True)
def on_mbo(state, out, event, which, data, at):  # type: ignore[no-untyped-def]
    """A record of one order."""
    action, flags = data[at + _O_ACTION], data[at + _O_FLAGS]
    row = state.instruments[which]
    counts = state.counts
    if action == _TRADE:
        put_trade(state, out, event, le64(data, at + _O_PRICE), le32(data, at + _O_SIZE), data[at + _O_SIDE])
    if flags & r.FLAG_MAYBE_BAD_BOOK:
        counts[st.C_BAD_BOOK] += 1
        if row[st.BOOK] == st.SYNCED:
            put_book_status(out, event, False)
        row[st.BOOK] = st.LOST
        return
    snapshot, last = flags & r.FLAG_SNAPSHOT, flags & r.FLAG_LAST
    if action == _CLEAR:
        _clear(state, out, event, which)
        row[st.BOOK] = st.BUILDING
    elif row[st.BOOK] != st.BUILDING and row[st.BOOK] != st.SYNCED:
        if action in (_ADD, _CANCEL, _MODIFY):
            counts[st.C_UNBOOKED] += 1
        return
    elif action in (_ADD, _CANCEL, _MODIFY):
        _order(state, out, event, which, data, at, action, flags)
    elif action == _FILL:
        counts[st.C_FILLS] += 1
    elif action != _TRADE and action != _NONE:
        counts[st.C_ACTION] += 1
    if row[st.BOOK] == st.BUILDING and (last or not snapshot):
        row[st.BOOK] = st.SYNCED
        put_book_status(out, event, True)
    if last and row[st.BOOK] == st.SYNCED:
        bid, bid_size = best(state.book, 2 * which)
        ask, ask_size = best(state.book, 2 * which + 1)
        put_quote(
            state, out, event, which, bid, bid_size, ask, ask_size, le32(data, at + _O_SEQUENCE)
        )  # fmt: skip


@njit(cache=True, nogil=True, forceinline=True)
def _clear(state, out, event, which):  # type: ignore[no-untyped-def]
    """Take all levels away; the orders' generation is over."""
    levels = state.book.levels
    for side in range(2):
        span = state.book.sides[2 * which + side]
        for at in range(span[START], span[START] + span[LENGTH]):
            price = -levels[at, 0] if side else levels[at, 0]
            put_delta(out, event, side, price, np.int64(0), np.int64(0))
        span[LENGTH] = 0
    state.instruments[which, st.GENERATION] += 1


@njit(cache=True, nogil=True, forceinline=True)
def _change(state, out, event, which, side, price, change, order_id):  # type: ignore[no-untyped-def]
    """Add to a level, and tell its new total."""
    total = total_at(state.book, 2 * which + side, price) + change
    set_level(state.book, 2 * which + side, price, total)
    put_delta(out, event, side, price, total, order_id)


@njit(cache=True, nogil=True, forceinline=True)
def _order(state, out, event, which, data, at, action, flags):  # type: ignore[no-untyped-def]
    """Add, cancel (in part or whole), modify. Prices are nanos, sizes whole units."""
    counts = state.counts
    order_id = le64(data, at + _O_ID)
    price, size = le64(data, at + _O_PRICE), le32(data, at + _O_SIZE)
    side = 1 if data[at + _O_SIDE] == _IS_ASK else 0
    if flags & (r.FLAG_TOB | r.FLAG_MBP):
        counts[st.C_AGGREGATED] += 1
        return
    tag = ((np.int64(which) + 1) << 32) | state.instruments[which, st.GENERATION]
    row = find_order(state.orders, order_id, tag)
    if action == _CANCEL:
        if row < 0:
            counts[st.C_UNKNOWN] += 1
            return
        _reduce(state, out, event, which, row, size)
        return
    if side == 0 and data[at + _O_SIDE] != _IS_BID:
        counts[st.C_FIELD] += 1
        return
    if price == _UNDEF or not survives(price):
        counts[st.C_UNDEFINED if price == _UNDEF else st.C_PRICE] += 1
        return
    if size == 0 and action == _ADD:
        counts[st.C_ZERO] += 1
        return
    if row >= 0:
        if action == _ADD:
            counts[st.C_DUPLICATE] += 1
            return
        _modify(state, out, event, which, row, side, price, size)
        return
    if action == _MODIFY:
        counts[st.C_UNKNOWN] += 1  # Databento: an unknown order that is modified is to be added
        if size == 0:
            return
    if total_at(state.book, 2 * which + side, price) + size > SIZE_MAX:
        counts[st.C_SIZE] += 1
        return
    put_order(state, -1 - row, order_id, tag, side, price, size)
    _change(state, out, event, which, side, price, size, order_id)


@njit(cache=True, nogil=True, forceinline=True)
def _reduce(state, out, event, which, row, size):  # type: ignore[no-untyped-def]
    order = state.orders[row]
    if size > order[st.SIZE]:
        state.counts[st.C_OVERFILL] += 1
        size = order[st.SIZE]
    if size == 0:
        state.counts[st.C_ZERO] += 1
        return
    side, price, order_id = order[st.SIDE], order[st.PRICE], order[st.ORDER_ID]
    order[st.SIZE] -= size
    if order[st.SIZE] == 0:
        drop_order(state, row)
    _change(state, out, event, which, side, price, -size, order_id)


@njit(cache=True, nogil=True, forceinline=True)
def _modify(state, out, event, which, row, side, price, size):  # type: ignore[no-untyped-def]
    """An order's new price and size; it keeps its side."""
    order = state.orders[row]
    was_price, was_size, order_id = order[st.PRICE], order[st.SIZE], order[st.ORDER_ID]
    if side != order[st.SIDE]:
        state.counts[st.C_FIELD] += 1
        return
    others = total_at(state.book, 2 * which + side, price) - (was_size if price == was_price else 0)
    if others + size > SIZE_MAX:
        state.counts[st.C_SIZE] += 1
        return
    if size == 0:
        drop_order(state, row)
    else:
        order[st.PRICE], order[st.SIZE] = price, size
    if price == was_price:
        if size != was_size:
            _change(state, out, event, which, side, price, size - was_size, order_id)
        return
    _change(state, out, event, which, side, was_price, -was_size, order_id)
    if size:
        _change(state, out, event, which, side, price, size, order_id)
