"""Level updates in, best price out: books of feeds that send each price level's new total, compiled.

The levels of one side of one book are a stretch of a common pool, sorted so that the best one is last: nearly
all activity is there. The pool grows between kernel calls, never inside one. Prices and totals are whatever
integers the feed has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tickloom.events import Side

POOL_LEVELS = 1 << 12  # at first; doubled when it runs out
SIDE_LEVELS = 8  # of one side of a book, at first; doubled, and its old stretch left, when it runs out
LINEAR_STEPS = 8  # from the best level on, before the search halves

# columns of a side's stretch of the pool
START, LENGTH, ROOM = 0, 1, 2


class LevelArrays(NamedTuple):
    """What kernels work on. A book's side is ``2 * book + (0 bid, 1 ask)``.

    sides: int64 (2 * books, 3); levels: int64 (pool, 2): key (price of a bid, negative price of an ask: both
    rise towards the best) and total; used: int64 (1), of the pool.
    """

    sides: NDArray[np.int64]
    levels: NDArray[np.int64]
    used: NDArray[np.int64]


class LevelBooks:
    """Owns the arrays and lets them grow.

    Parameters
    ----------
    books : int
        How many there may be.
    """

    def __init__(self, books: int, pool_levels: int = POOL_LEVELS) -> None:
        self._books, self._pool_levels = books, pool_levels
        self.clear()

    def clear(self) -> None:
        """Empty all books."""
        self.arrays = LevelArrays(
            np.zeros((2 * self._books, 3), dtype=np.int64),
            np.zeros((self._pool_levels, 2), dtype=np.int64),
            np.zeros(1, dtype=np.int64),
        )

    def grow(self) -> None:
        """Double the pool."""
        levels = self.arrays.levels
        self.arrays = self.arrays._replace(levels=np.concatenate([levels, np.zeros_like(levels)]))

    def side_levels(self, book: int, side: Side) -> list[tuple[int, int]]:
        """Levels of a side, best first: (price, total)."""
        start, length, _ = self.arrays.sides[2 * book + (side == Side.SELL)]
        sign = -1 if side == Side.SELL else 1
        return [
            (sign * int(key), int(total)) for key, total in self.arrays.levels[start : start + length][::-1]
        ]


@njit(cache=True, nogil=True, forceinline=True)
def pool_full(book, side):  # type: ignore[no-untyped-def]
    """Whether the pool must grow before another level on that side."""
    if book.sides[side, LENGTH] < book.sides[side, ROOM]:
        return False
    return book.used[0] + max(SIDE_LEVELS, 2 * book.sides[side, ROOM]) > book.levels.shape[0]


@njit(cache=True, nogil=True, forceinline=True)
def _place(levels, start, length, key):  # type: ignore[no-untyped-def]
    """Index behind the last level whose key is not above ``key``; start where there is none."""
    at = start + length
    for _ in range(LINEAR_STEPS):
        if at == start or levels[at - 1, 0] <= key:
            return at
        at -= 1
    low = start
    while low < at:
        middle = (low + at) >> 1
        if levels[middle, 0] <= key:
            low = middle + 1
        else:
            at = middle
    return low


@njit(cache=True, nogil=True, forceinline=True)
def set_level(book, side, price, total):  # type: ignore[no-untyped-def]
    """Give a level its new total, 0 to take it away; what it was before, 0 where it was not there."""
    levels = book.levels
    span = book.sides[side]
    key = -price if side & 1 else price
    at = _place(levels, span[START], span[LENGTH], key)
    if at > span[START] and levels[at - 1, 0] == key:
        before = levels[at - 1, 1]
        if total > 0:
            levels[at - 1, 1] = total
            return before
        for row in range(at, span[START] + span[LENGTH]):
            levels[row - 1, 0] = levels[row, 0]
            levels[row - 1, 1] = levels[row, 1]
        span[LENGTH] -= 1
        return before
    if total <= 0:
        return np.int64(0)
    if span[LENGTH] == span[ROOM]:
        room = max(SIDE_LEVELS, 2 * span[ROOM])
        start = book.used[0]
        book.used[0] += room
        for row in range(span[LENGTH]):
            levels[start + row, 0] = levels[span[START] + row, 0]
            levels[start + row, 1] = levels[span[START] + row, 1]
        at += start - span[START]
        span[START] = start
        span[ROOM] = room
    for row in range(span[START] + span[LENGTH], at, -1):
        levels[row, 0] = levels[row - 1, 0]
        levels[row, 1] = levels[row - 1, 1]
    levels[at, 0] = key
    levels[at, 1] = total
    span[LENGTH] += 1
    return np.int64(0)


@njit(cache=True, nogil=True, forceinline=True)
def best(book, side):  # type: ignore[no-untyped-def]
    """(price, total) of the best level; total 0 on an empty side."""
    span = book.sides[side]
    if span[LENGTH] == 0:
        return np.int64(0), np.int64(0)
    at = span[START] + span[LENGTH] - 1
    key = book.levels[at, 0]
    return (-key if side & 1 else key), book.levels[at, 1]


@njit(cache=True, nogil=True, forceinline=True)
def total_at(book, side, price):  # type: ignore[no-untyped-def]
    """Total of a level; 0 where it is not there."""
    span = book.sides[side]
    key = -price if side & 1 else price
    at = _place(book.levels, span[START], span[LENGTH], key)
    if at > span[START] and book.levels[at - 1, 0] == key:
        return book.levels[at - 1, 1]
    return np.int64(0)
