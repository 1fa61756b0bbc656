"""Order messages in, changes of the books out: what A, F, E, C, X, D and U do, live and over history.

Two halves, so that all messages share the second, which is most of the machine code. :func:`add`,
:func:`reduce` and :func:`replace` look after the orders and give the :class:`Step` that levels are to make;
:func:`settle` makes it. Nothing here makes an event: a :class:`Change` says what totals levels have now, and
whether the best is another one; whoever called makes of it what he publishes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ingest.itch import state as st
from ingest.itch.levels import change_level
from ingest.itch.messages import LAYOUTS
from ingest.itch.orders import (
    BOOK,
    PRICE,
    SHARES,
    drop_order,
    entry_now,
    entry_of_new,
    find_order,
    put_order,
    word,
)
from ingest.itch.wire import load32, load64

#: ``levels`` of a Step whose message contradicts what is known: it must be reported as malformed.
UNSOUND = -1
#: What :func:`learn` finds.
CONTRADICTED, KNOWN, NEW = range(3)


class Step(NamedTuple):
    """What a message is to do to one side of one book.

    levels: 0 (nothing to tell), 1, 2 (levels that change), or UNSOUND. side: ``2 * locate + (0 bid, 1 ask)``.
    price, shares, reference: of the first level, the shares that are added to it and the order; new_price,
    new_shares, new_reference: of the second, where there is one; else new_reference is the message's last.
    """

    levels: np.int64
    side: np.int64
    price: np.int64
    shares: np.int64
    reference: np.int64
    new_price: np.int64
    new_shares: np.int64
    new_reference: np.int64


class Change(NamedTuple):
    """What a step has done: its levels' new totals, and whether the side's best price or size is another."""

    total: np.int64
    new_total: np.int64
    best_changed: bool


def _at(letter: str, field: str) -> int:
    return LAYOUTS[letter].offsets[field]


REFERENCE = _at("A", "reference")  # the same place in A F E C X D U
NEW_REFERENCE = _at("U", "new_reference")
_A_SIDE, _A_SHARES, _A_STOCK, _A_PRICE = (_at("A", name) for name in ("side", "shares", "stock", "price"))
_E_SHARES = _at("E", "shares")
_U_SHARES, _U_PRICE = _at("U", "shares"), _at("U", "price")
_T_D = ord("D")
_B = ord("B")
_u = np.uint64  # of an index: spares a look whether it is negative


@njit(cache=True, nogil=True, forceinline=True)
def _nothing(levels):  # type: ignore[no-untyped-def]
    zero = np.int64(0)
    return Step(np.int64(levels), zero, zero, zero, zero, zero, zero, zero)


@njit(cache=True, nogil=True, forceinline=True)
def learn(state, locate, data, stock, is_directory):  # type: ignore[no-untyped-def]
    """Check the name at byte ``stock`` against the locate's; a NEW one is noted."""
    if locate == 0:
        state.counts[st.C_LOCATE] += 1
        return CONTRADICTED
    name = np.uint64(load64(data, stock))
    known = state.stocks[_u(locate)]
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
    entry = entry_of_new(book, reference)
    if find_order(book, entry, reference) >= 0:
        counts[st.C_DUPLICATE_ORDER] += 1
        return _nothing(0)
    if shares == 0:
        counts[st.C_ZERO] += 1
        return _nothing(0)
    side = 2 * locate + np.int64(data[_u(at + _A_SIDE)] != _B)
    put_order(book, entry, reference, shares, price, side)
    zero = np.int64(0)
    return Step(np.int64(1), side, price, shares, reference, price, zero, reference)


@njit(cache=True, nogil=True, forceinline=True)
def reduce(state, book, locate, data, at, kind, entry):  # type: ignore[no-untyped-def]
    """E, C, X, D. More than what rests takes all that rests. ``entry``: of its page, as found before."""
    counts = state.counts
    reference = load64(data, at + REFERENCE)
    entry = entry_now(book, entry, reference)
    row = find_order(book, entry, reference)
    if row < 0:
        counts[st.C_UNKNOWN] += 1
        return _nothing(0)
    side = np.int64(book.orders[word(row, BOOK)])
    if side >> 1 != locate:
        counts[st.C_MISMATCH] += 1
        return _nothing(UNSOUND)
    price = np.int64(book.orders[word(row, PRICE)])
    resting = np.int64(book.orders[word(row, SHARES)])
    whole = kind == _T_D  # whose message ends before the shares: what stands there is not its own
    shares = load32(data, at + (REFERENCE if whole else _E_SHARES))
    shares = resting if whole else shares
    if shares == 0:
        counts[st.C_ZERO] += 1
        return _nothing(0)
    if shares > resting:
        counts[st.C_OVERFILL] += 1
        shares = resting
    if shares == resting:
        drop_order(book, entry, row)
    else:
        book.orders[word(row, SHARES)] = resting - shares
    zero = np.int64(0)
    return Step(np.int64(1), side, price, -shares, reference, price, zero, reference)


@njit(cache=True, nogil=True, forceinline=True)
def replace(state, book, locate, data, at, entry):  # type: ignore[no-untyped-def]
    """U. The new order has the old one's stock and side, and loses its place in the queue."""
    counts = state.counts
    reference = load64(data, at + REFERENCE)
    entry = entry_now(book, entry, reference)
    row = find_order(book, entry, reference)
    if row < 0:
        counts[st.C_UNKNOWN] += 1
        return _nothing(0)
    side = np.int64(book.orders[word(row, BOOK)])
    if side >> 1 != locate:
        counts[st.C_MISMATCH] += 1
        return _nothing(UNSOUND)
    new = load64(data, at + NEW_REFERENCE)
    shares = load32(data, at + _U_SHARES)
    new_price = load32(data, at + _U_PRICE)
    price = np.int64(book.orders[word(row, PRICE)])
    resting = np.int64(book.orders[word(row, SHARES)])
    drop_order(book, entry, row)
    entry = entry_of_new(book, new)
    if find_order(book, entry, new) >= 0:
        counts[st.C_DUPLICATE_ORDER] += 1
        shares = np.int64(0)
    elif shares == 0:
        counts[st.C_ZERO] += 1
    else:
        put_order(book, entry, new, shares, new_price, side)
    one, zero = np.int64(1), np.int64(0)
    if shares and new_price == price:
        same = np.int64(shares == resting)
        return Step(one - same, side, price, shares - resting, new, price, zero, new)
    levels = one + np.int64(shares != 0)
    return Step(levels, side, price, -resting, reference, new_price, shares, new)


@njit(cache=True, nogil=True, forceinline=True)
def settle(book, step):  # type: ignore[no-untyped-def]
    """Make a step of one level or two."""
    total, above = change_level(book, step.side, step.price, step.shares)
    new_total = np.int64(0)
    if step.levels > 1:
        new_total, new_above = change_level(book, step.side, step.new_price, step.new_shares)
        above = min(above, new_above)
    return Change(total, new_total, above == 0)
