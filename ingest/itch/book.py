"""Order messages in, price levels out: the full order book of every stock, in compiled arrays.

Orders live in one open hash by order reference (linear probing, deletion by shifting back). Levels
of one side of one book are a stretch of a common pool, sorted so that the best one is last: nearly
all activity is there. Both grow between kernel calls, never inside one. Prices are ITCH's price(4),
totals are shares.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tickloom.events import Side

LOCATES = 65_536  # a stock locate has 16 bits
NO_ORDER = np.int64(-1)  # marks a free slot; no venue numbers an order 2**64 - 1
ORDER_SLOTS = 1 << 16  # at first; doubled at half full
LEVELS = 1 << 15  # of the pool, at first; doubled when it runs out
SIDE_LEVELS = 8  # of one side of a book, at first
LINEAR_STEPS = 8  # from the best level on, before the search halves
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

# columns of an order
KEY, SHARES, PRICE, BOOK = 0, 1, 2, 3
# columns of a side's stretch of the pool
START, LENGTH, ROOM = 0, 1, 2
# slots of ``fill``
ORDERS_USED, POOL_USED = 0, 1


class BookArrays(NamedTuple):
    """What the kernels work on. A book's side is ``2 * locate + (0 bid, 1 ask)``.

    orders: int64 (slots, 4); sides: int64 (2 * LOCATES, 3); levels: int64 (pool, 2): key (price of a
    bid, negative price of an ask: both rise towards the best) and total; fill: int64 (2).
    """

    orders: NDArray[np.int64]
    sides: NDArray[np.int64]
    levels: NDArray[np.int64]
    fill: NDArray[np.int64]


class Books:
    """Owns the arrays and lets them grow."""

    def __init__(self, order_slots: int = ORDER_SLOTS, levels: int = LEVELS) -> None:
        orders = np.zeros((order_slots, 4), dtype=np.int64)
        orders[:, KEY] = NO_ORDER
        self.arrays = BookArrays(
            orders,
            np.zeros((2 * LOCATES, 3), dtype=np.int64),
            np.zeros((levels, 2), dtype=np.int64),
            np.zeros(2, dtype=np.int64),
        )

    def grow_orders(self) -> None:
        old = self.arrays.orders
        orders = np.zeros((2 * len(old), 4), dtype=np.int64)
        orders[:, KEY] = NO_ORDER
        _rehash(old, orders)
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
def _slot(orders, reference):  # type: ignore[no-untyped-def]
    # References rise almost one by one. A bare multiplication lays such keys out in long runs, which
    # cost 0.6 us a message here; mixed twice, they lie as if at random.
    mixed = np.uint64(reference) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _GOLDEN
    return np.int64(mixed >> np.uint64(32)) & np.int64(orders.shape[0] - 1)


@njit(cache=True, nogil=True, forceinline=True)
def find_order(orders, reference):  # type: ignore[no-untyped-def]
    """Slot of an order; -1 where it is not known."""
    mask = orders.shape[0] - 1
    slot = _slot(orders, reference)
    while orders[slot, KEY] != reference:
        if orders[slot, KEY] == NO_ORDER:
            return -1
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True, forceinline=True)
def put_order(book, reference, shares, price, side):  # type: ignore[no-untyped-def]
    """Add an order that is not there, in a table that has room."""
    orders = book.orders
    mask = orders.shape[0] - 1
    slot = _slot(orders, reference)
    while orders[slot, KEY] != NO_ORDER:
        slot = (slot + 1) & mask
    orders[slot, KEY] = reference
    orders[slot, SHARES] = shares
    orders[slot, PRICE] = price
    orders[slot, BOOK] = side
    book.fill[ORDERS_USED] += 1


@njit(cache=True, nogil=True, forceinline=True)
def drop_order(book, slot):  # type: ignore[no-untyped-def]
    """Free a slot and shift back what was pushed on by it, so that searches stay short for ever."""
    orders = book.orders
    mask = orders.shape[0] - 1
    hole = slot
    probe = slot
    while True:
        probe = (probe + 1) & mask
        if orders[probe, KEY] == NO_ORDER:
            break
        home = _slot(orders, orders[probe, KEY])
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            for column in range(4):
                orders[hole, column] = orders[probe, column]
            hole = probe
    orders[hole, KEY] = NO_ORDER
    book.fill[ORDERS_USED] -= 1


@njit(cache=True, nogil=True)
def _rehash(old, orders):  # type: ignore[no-untyped-def]
    mask = orders.shape[0] - 1
    for row in range(old.shape[0]):
        if old[row, KEY] == NO_ORDER:
            continue
        slot = _slot(orders, old[row, KEY])
        while orders[slot, KEY] != NO_ORDER:
            slot = (slot + 1) & mask
        for column in range(4):
            orders[slot, column] = old[row, column]


@njit(cache=True, nogil=True, forceinline=True)
def orders_full(book):  # type: ignore[no-untyped-def]
    """Whether the hash must grow before another order."""
    return 2 * (book.fill[ORDERS_USED] + 1) > book.orders.shape[0]


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
def level_total(book, side, price):  # type: ignore[no-untyped-def]
    """Shares at a price; 0 where there is no such level."""
    span = book.sides[side]
    key = -price if side & 1 else price
    at = _place(book.levels, span[START], span[LENGTH], key)
    if at > span[START] and book.levels[at - 1, 0] == key:
        return book.levels[at - 1, 1]
    return np.int64(0)


@njit(cache=True, nogil=True, forceinline=True)
def best(book, side):  # type: ignore[no-untyped-def]
    """(price(4), total) of the best level; total 0 on an empty side."""
    span = book.sides[side]
    if span[LENGTH] == 0:
        return np.int64(0), np.int64(0)
    at = span[START] + span[LENGTH] - 1
    key = book.levels[at, 0]
    return (-key if side & 1 else key), book.levels[at, 1]
