"""Changes of shares in, a side's price levels in order out: the sorted stretches of the pool.

The levels of one side of one book are a stretch of a common pool, sorted so that the best one is last: nearly
all activity is among the last sixteen, which are compared at once (:mod:`ingest.itch.lanes`). Keys lie apart
from totals, in 32 bits, so that sixteen are 64 bytes. A key is the price of a bid and the bitwise opposite of
the price of an ask: both rise towards the best. Totals are shares, in 64 bits: orders of 32 may add up.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ingest.itch.lanes import LANES, above, close_gap, equal, leading, open_gap
from ingest.itch.orders import FILL
from ingest.itch.wire import prefetch

SIDE_LEVELS = 8  # of one side of a book, at first; doubled, and its old stretch left, when it runs out
#: Items of the pool that belong to no stretch, at either end: sixteen may be read around any level.
MARGIN = LANES + 1
#: Words of a side, uint32: where its levels stop in the pool, how many they are, and may be.
STOP, LENGTH, ROOM = 0, 1, 2
SIDE_BITS = 2  # four words; the last is not used
#: Slots of ``fill`` that are about levels: where the pool's free end begins; the longest stretch that may be
#: wanted next.
POOL_USED, POOL_NEXT = FILL, FILL + 1
_KEY_MAX = 0xFFFF_FFFF
_NEAR_LEVELS = 1 << 17  # 1.5 MB: a core's own cache holds about as many
_u = np.uint64  # of an index: spares a look whether it is negative


@njit(cache=True, nogil=True, forceinline=True)
def _span(side, column):  # type: ignore[no-untyped-def]
    return _u((side << SIDE_BITS) + column)


@njit(cache=True, nogil=True, forceinline=True)
def key_of(side, price):  # type: ignore[no-untyped-def]
    """Key of a price(4), and price(4) of a key."""
    return (price ^ -(side & 1)) & _KEY_MAX


@njit(cache=True, nogil=True, forceinline=True)
def levels_full(book):  # type: ignore[no-untyped-def]
    """Whether the pool must grow before another level, on whatever side."""
    return book.fill[POOL_USED] + book.fill[POOL_NEXT] > book.keys.shape[0] - MARGIN


@njit(cache=True, nogil=True, forceinline=True)
def far_from_core(book):  # type: ignore[no-untyped-def]
    """Whether levels are so many that it is worth asking for them."""
    return book.fill[POOL_USED] > _NEAR_LEVELS


@njit(cache=True, nogil=True, forceinline=True)
def fetch_levels(book, locate):  # type: ignore[no-untyped-def]
    """Have the best levels of a book brought near: they are asked for some messages later."""
    for side in range(2 * locate, 2 * locate + 2):
        stop = np.int64(book.sides[_span(side, STOP)])
        prefetch(book.keys, (stop - LANES // 2) * 4)
        prefetch(book.totals, (stop - 1) * 8)


@njit(cache=True, nogil=True)
def _search(keys, start, stop, key):  # type: ignore[no-untyped-def]
    """Index behind the last level of a stretch whose key is not above ``key``; start where there is none."""
    low, left = start, stop - start
    while left > 0:
        half = left >> 1
        passed = keys[_u(low + half)] <= key
        low = low + half + 1 if passed else low
        left = left - half - 1 if passed else half
    return low


@njit(cache=True, nogil=True)
def _more_room(keys, totals, sides, fill, side):  # type: ignore[no-untyped-def]
    """Give a side whose stretch is full a longer one, where ``levels_full`` has said that there is one."""
    length = np.int64(sides[_span(side, LENGTH)])
    old, start = np.int64(sides[_span(side, STOP)]) - length, fill[POOL_USED]
    room = 2 * length if length else SIDE_LEVELS
    fill[POOL_USED] += room
    fill[POOL_NEXT] = max(fill[POOL_NEXT], 2 * room)
    for row in range(length):
        keys[start + row] = keys[old + row]
        totals[start + row] = totals[old + row]
    sides[_span(side, STOP)] = start + length
    sides[_span(side, ROOM)] = room


@njit(cache=True, nogil=True, forceinline=True)
def _insert(book, side, above_it, key, total):  # type: ignore[no-untyped-def]
    """Put a level below ``above_it`` others: those move up, sixteen by sixteen, the highest first."""
    keys, totals = book.keys, book.totals
    if book.sides[_span(side, LENGTH)] == book.sides[_span(side, ROOM)]:
        _more_room(keys, totals, book.sides, book.fill, side)
    stop = np.int64(book.sides[_span(side, STOP)])
    at = stop - above_it
    top = stop - LANES
    while top > at:
        open_gap(keys, top, np.int64(0))
        open_gap(totals, top, np.int64(0))
        top -= LANES
    open_gap(keys, top, at - top)
    open_gap(totals, top, at - top)
    keys[_u(at)] = key
    totals[_u(at)] = total
    book.sides[_span(side, STOP)] += 1
    book.sides[_span(side, LENGTH)] += 1


@njit(cache=True, nogil=True, forceinline=True)
def _remove(book, side, above_it):  # type: ignore[no-untyped-def]
    """Take the level below ``above_it`` others away: those move down, the lowest sixteen first."""
    stop = np.int64(book.sides[_span(side, STOP)])
    top = stop - LANES - (above_it & ~(LANES - 1))
    first = LANES - 1 - (above_it & (LANES - 1))
    while top < stop:
        close_gap(book.keys, top, first)
        close_gap(book.totals, top, first)
        first = np.int64(0)
        top += LANES
    book.sides[_span(side, STOP)] -= 1
    book.sides[_span(side, LENGTH)] -= 1


@njit(cache=True, nogil=True, forceinline=True)
def change_level(book, side, price, change):  # type: ignore[no-untyped-def]
    """Add ``change`` shares to a level, which comes and goes as needed.

    Its new total, and the number of levels that are better: at 0 the best has changed.
    """
    key = key_of(side, price)
    length = np.int64(book.sides[_span(side, LENGTH)])
    stop = np.int64(book.sides[_span(side, STOP)])
    top = stop - LANES
    # Below a short stretch lies another one: what is found there is more than ``length`` from the top.
    same = equal(book.keys, top, key)
    above_it = leading(same << (64 - LANES))
    found = same != 0 and above_it < length
    if not found:
        above_it = min(leading(~(above(book.keys, top, key) << (64 - LANES))), length)
        if above_it == LANES:
            below = _search(book.keys, stop - length, top, key)
            above_it = stop - below
            found = below > stop - length and book.keys[_u(below - 1)] == key
    if not found:
        if change > 0:
            _insert(book, side, above_it, key, change)
        return max(change, np.int64(0)), above_it
    at = stop - 1 - above_it
    total = book.totals[_u(at)] + change
    if total > 0:
        book.totals[_u(at)] = total
        return total, above_it
    _remove(book, side, above_it)
    return np.int64(0), above_it


@njit(cache=True, nogil=True, forceinline=True)
def best_price(book, side):  # type: ignore[no-untyped-def]
    """(price(4), total) of the best level; (0, 0) on an empty side."""
    length = np.int64(book.sides[_span(side, LENGTH)])
    if length == 0:
        return np.int64(0), np.int64(0)
    at = np.int64(book.sides[_span(side, STOP)]) - 1
    return key_of(side, np.int64(book.keys[_u(at)])), book.totals[_u(at)]
