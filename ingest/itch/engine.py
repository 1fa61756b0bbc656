"""Order messages in, changes of the books out: what A, F, E, C, X, D and U do, live and over history.

Nothing here makes an event. A handler says in a :class:`Change` which levels have a new total and what the
best of the side was before; whoever called makes of it what he publishes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ingest.itch import state as st
from ingest.itch.book import best, change_level
from ingest.itch.messages import LAYOUTS
from ingest.itch.orders import BOOK, PRICE, SHARES, drop_order, find_order, put_order
from ingest.itch.wire import load32, load64

#: ``levels`` of a Change whose message contradicts what is known: it must be reported as malformed.
UNSOUND = -1
#: What :func:`learn` finds.
CONTRADICTED, KNOWN, NEW = range(3)


class Change(NamedTuple):
    """What a message did to one side of one book.

    levels: 0 (nothing to tell), 1, 2 (levels with a new total), or UNSOUND. side: ``2 * locate + (0 bid, 1
    ask)``. best_key, best_total: of the best before. price, total, reference: of the first level;
    new_price, new_total, new_reference: of the second, or the last three of the first again.
    """

    levels: np.int64
    side: np.int64
    best_key: np.int64
    best_total: np.int64
    price: np.int64
    total: np.int64
    reference: np.int64
    new_price: np.int64
    new_total: np.int64
    new_reference: np.int64


def _at(letter: str, field: str) -> int:
    return LAYOUTS[letter].offsets[field]


REFERENCE = _at("A", "reference")  # the same place in A F E C X D U
NEW_REFERENCE = _at("U", "new_reference")
_A_SIDE, _A_SHARES, _A_STOCK, _A_PRICE = (_at("A", name) for name in ("side", "shares", "stock", "price"))
_E_SHARES = _at("E", "shares")
_U_SHARES, _U_PRICE = _at("U", "shares"), _at("U", "price")
_T_D = ord("D")
_B, _S = ord("B"), ord("S")


@njit(cache=True, nogil=True, forceinline=True)
def _nothing(levels):  # type: ignore[no-untyped-def]
    zero = np.int64(0)
    return Change(np.int64(levels), zero, zero, zero, zero, zero, zero, zero, zero, zero)


@njit(cache=True, nogil=True, forceinline=True)
def learn(state, locate, data, stock, is_directory):  # type: ignore[no-untyped-def]
    """Check the name at byte ``stock`` against the locate's; a NEW one is noted."""
    if locate == 0:
        state.counts[st.C_LOCATE] += 1
        return CONTRADICTED
    name = np.uint64(load64(data, stock))
    known = state.stocks[locate]
    if known == name:
        return KNOWN
    if known != 0:
        state.counts[st.C_MISMATCH] += 1
        return CONTRADICTED
    if not is_directory:
        state.counts[st.C_LOCATE] += 1
    state.stocks[locate] = name
    return NEW


@njit(cache=True, nogil=True, forceinline=True)
def add(state, book, locate, data, at):  # type: ignore[no-untyped-def]
    """A, F, whose side and name have been found to be sound."""
    counts = state.counts
    reference = load64(data, at + REFERENCE)
    shares = load32(data, at + _A_SHARES)
    price = load32(data, at + _A_PRICE)
    row, entry = find_order(book, reference)
    if row >= 0:
        counts[st.C_DUPLICATE_ORDER] += 1
        return _nothing(0)
    if shares == 0:
        counts[st.C_ZERO] += 1
        return _nothing(0)
    side = 2 * locate + (0 if data[at + _A_SIDE] == _B else 1)
    best_key, best_total = best(book, side)
    put_order(book, entry, reference, shares, price, side)
    total = change_level(book, side, price, shares)
    return Change(np.int64(1), side, best_key, best_total, price, total, reference, price, total, reference)


@njit(cache=True, nogil=True, forceinline=True)
def reduce(state, book, locate, data, at, kind):  # type: ignore[no-untyped-def]
    """E, C, X, D. More than what rests takes all that rests."""
    counts = state.counts
    reference = load64(data, at + REFERENCE)
    row, entry = find_order(book, reference)
    if row < 0:
        counts[st.C_UNKNOWN] += 1
        return _nothing(0)
    side = np.int64(book.orders[row, BOOK])
    if side >> 1 != locate:
        counts[st.C_MISMATCH] += 1
        return _nothing(UNSOUND)
    price = np.int64(book.orders[row, PRICE])
    resting = np.int64(book.orders[row, SHARES])
    shares = resting if kind == _T_D else load32(data, at + _E_SHARES)
    if shares == 0:
        counts[st.C_ZERO] += 1
        return _nothing(0)
    if shares > resting:
        counts[st.C_OVERFILL] += 1
        shares = resting
    best_key, best_total = best(book, side)
    if shares == resting:
        drop_order(book, entry, row)
    else:
        book.orders[row, SHARES] = resting - shares
    total = change_level(book, side, price, -shares)
    return Change(np.int64(1), side, best_key, best_total, price, total, reference, price, total, reference)


@njit(cache=True, nogil=True, forceinline=True)
def replace(state, book, locate, data, at):  # type: ignore[no-untyped-def]
    """U. The new order has the old one's stock and side, and loses its place in the queue."""
    counts = state.counts
    reference = load64(data, at + REFERENCE)
    row, entry = find_order(book, reference)
    if row < 0:
        counts[st.C_UNKNOWN] += 1
        return _nothing(0)
    side = np.int64(book.orders[row, BOOK])
    if side >> 1 != locate:
        counts[st.C_MISMATCH] += 1
        return _nothing(UNSOUND)
    new = load64(data, at + NEW_REFERENCE)
    shares = load32(data, at + _U_SHARES)
    new_price = load32(data, at + _U_PRICE)
    price = np.int64(book.orders[row, PRICE])
    resting = np.int64(book.orders[row, SHARES])
    best_key, best_total = best(book, side)
    drop_order(book, entry, row)
    row, entry = find_order(book, new)
    if row >= 0:
        counts[st.C_DUPLICATE_ORDER] += 1
        shares = np.int64(0)
    elif shares == 0:
        counts[st.C_ZERO] += 1
    else:
        put_order(book, entry, new, shares, new_price, side)
    levels, total, new_total = np.int64(1), np.int64(0), np.int64(0)
    if shares and new_price == price:
        if shares == resting:
            return _nothing(0)
        total = change_level(book, side, price, shares - resting)
        reference = new
    else:
        total = change_level(book, side, price, -resting)
        if shares:
            new_total = change_level(book, side, new_price, shares)
            levels = np.int64(2)
    return Change(levels, side, best_key, best_total, price, total, reference, new_price, new_total, new)
