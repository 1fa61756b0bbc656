"""Order messages in, price levels out: the full order book of every stock, in compiled arrays.

Orders live in pages by order reference (:mod:`ingest.itch.orders`). Levels of one side of one
book are a stretch of a common pool, sorted so that the best one is last: nearly all activity is there.
Both grow between kernel calls, never inside one. Prices are ITCH's price(4), totals are shares.
What a message does to all this is in :mod:`ingest.itch.engine`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.itch.orders import (
    ORDERS_USED,
    PAGE,
    PAGE_FREE,
    move_pages,
    order_rows,
    page_table,
    rows_full,
    table_full,
)
from tickloom.events import Side

LOCATES = 65_536  # a stock locate has 16 bits
ORDER_SLOTS = 1 << 16  # at first; doubled at half full
LEVELS = 1 << 15  # of the pool, at first; doubled when it runs out
SIDE_LEVELS = 8  # of one side of a book, at first
LINEAR_STEPS = 8  # from the best level on, before the search halves

# columns of a side's stretch of the pool
START, LENGTH, ROOM = 0, 1, 2
# slots of ``fill``
POOL_USED = PAGE_FREE + 1  # behind those of the orders


class BookArrays(NamedTuple):
    """What the kernels work on. A book's side is ``2 * locate + (0 bid, 1 ask)``.

    pages: int64 (entries, 2); orders: uint32 (rows, 4), see :mod:`ingest.itch.orders`; sides: int64 (2 *
    LOCATES, 3); levels: int64 (pool, 2): key (price of a bid, negative price of an ask: both rise towards
    the best) and total; fill: int64 (5).
    """

    pages: NDArray[np.int64]
    orders: NDArray[np.uint32]
    sides: NDArray[np.int64]
    levels: NDArray[np.int64]
    fill: NDArray[np.int64]


class Books:
    """Owns the arrays and lets them grow."""

    def __init__(self, order_slots: int = ORDER_SLOTS, levels: int = LEVELS) -> None:
        self.arrays = BookArrays(
            page_table(max(4, order_slots // PAGE * 4)),
            order_rows(order_slots),
            np.zeros((2 * LOCATES, 3), dtype=np.int64),
            np.zeros((levels, 2), dtype=np.int64),
            np.zeros(POOL_USED + 1, dtype=np.int64),
        )

    def grow_orders(self) -> None:
        if table_full(self.arrays):
            pages = page_table(2 * len(self.arrays.pages))
            move_pages(self.arrays.pages, pages)
            self.arrays = self.arrays._replace(pages=pages)
        if rows_full(self.arrays):
            orders = order_rows(2 * len(self.arrays.orders))
            orders[: len(self.arrays.orders)] = self.arrays.orders
            self.arrays = self.arrays._replace(orders=orders)

    def grow_levels(self) -> None:
        self.arrays = self.arrays._replace(
            levels=np.concatenate([self.arrays.levels, np.zeros_like(self.arrays.levels)])
        )

    @property
    def order_count(self) -> int:
        """Orders that rest in all books."""
        return int(self.arrays.fill[ORDERS_USED])

    def side_levels(self, locate: int, side: Side) -> list[tuple[int, int]]:
        """Levels of a side, best first: (price(4), total shares)."""
        start, length, _ = self.arrays.sides[2 * locate + (side == Side.SELL)]
        sign = -1 if side == Side.SELL else 1
        return [
            (sign * int(key), int(total)) for key, total in self.arrays.levels[start : start + length][::-1]
        ]


@njit(cache=True, nogil=True, forceinline=True)
def orders_full(book):  # type: ignore[no-untyped-def]
    """Whether something must grow before another order."""
    return table_full(book) or rows_full(book)


@njit(cache=True, nogil=True, forceinline=True)
def levels_full(book, side):  # type: ignore[no-untyped-def]
    """Whether the pool must grow before another level on that side."""
    if book.sides[side, LENGTH] < book.sides[side, ROOM]:
        return False
    return book.fill[POOL_USED] + max(SIDE_LEVELS, 2 * book.sides[side, ROOM]) > book.levels.shape[0]


@njit(cache=True, nogil=True, forceinline=True)
def _place(levels, start, length, key):  # type: ignore[no-untyped-def]
    """Index of the last level whose key is not above ``key``, plus one; start where there is none."""
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
def change_level(book, side, price, change):  # type: ignore[no-untyped-def]
    """Add ``change`` shares to a level, which comes and goes as needed; its new total."""
    levels = book.levels
    span = book.sides[side]
    key = -price if side & 1 else price
    at = _place(levels, span[START], span[LENGTH], key)
    if at > span[START] and levels[at - 1, 0] == key:
        total = levels[at - 1, 1] + change
        if total > 0:
            levels[at - 1, 1] = total
            return total
        for row in range(at, span[START] + span[LENGTH]):
            levels[row - 1, 0] = levels[row, 0]
            levels[row - 1, 1] = levels[row, 1]
        span[LENGTH] -= 1
        return np.int64(0)
    if change <= 0:
        return np.int64(0)
    if span[LENGTH] == span[ROOM]:
        room = max(SIDE_LEVELS, 2 * span[ROOM])
        start = book.fill[POOL_USED]
        book.fill[POOL_USED] += room
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
    levels[at, 1] = change
    span[LENGTH] += 1
    return change


@njit(cache=True, nogil=True, forceinline=True)
def best(book, side):  # type: ignore[no-untyped-def]
    """(key, total) of the best level, its key as in the pool; total 0 on an empty side."""
    span = book.sides[side]
    if span[LENGTH] == 0:
        return np.int64(0), np.int64(0)
    at = span[START] + span[LENGTH] - 1
    return book.levels[at, 0], book.levels[at, 1]


@njit(cache=True, nogil=True, forceinline=True)
def best_price(book, side):  # type: ignore[no-untyped-def]
    """(price(4), total) of the best level; total 0 on an empty side."""
    key, total = best(book, side)
    return (-key if side & 1 else key), total
