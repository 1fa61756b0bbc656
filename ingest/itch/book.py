"""Order messages in, price levels out: the full order book of every stock, in compiled arrays.

Orders live in pages by order reference (:mod:`ingest.itch.orders`), levels in sorted stretches by side
(:mod:`ingest.itch.levels`). Both grow between kernel calls, never inside one. Prices are ITCH's price(4),
totals are shares. What a message does to all this is in :mod:`ingest.itch.engine`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.itch.levels import LENGTH, MARGIN, POOL_NEXT, POOL_USED, SIDE_BITS, SIDE_LEVELS, STOP
from ingest.itch.orders import FILL, PAGE, count_orders, move_pages, order_rows, page_table
from tickloom.events import Side

LOCATES = 65_536  # a stock locate has 16 bits
ORDER_SLOTS = 1 << 16  # at first; doubled when no page is free
LEVELS = 1 << 15  # of the pool, at first; doubled when it runs out


class BookArrays(NamedTuple):
    """What the kernels work on. A book's side is ``2 * locate + (0 bid, 1 ask)``.

    pages: int64 (2 * entries) and orders: uint32 (4 * rows), see :mod:`ingest.itch.orders`; sides: uint32 (4
    * 2 * LOCATES: stop, length, room of a stretch), keys: uint32 (pool) and totals: int64 (pool), see
    :mod:`ingest.itch.levels`; fill: int64 (slots). All have one dimension: an index into two costs a product.
    """

    pages: NDArray[np.int64]
    orders: NDArray[np.uint32]
    sides: NDArray[np.uint32]
    keys: NDArray[np.uint32]
    totals: NDArray[np.int64]
    fill: NDArray[np.int64]


class Books:
    """Owns the arrays and lets them grow."""

    def __init__(self, order_slots: int = ORDER_SLOTS, levels: int = LEVELS) -> None:
        pages = max(1, order_slots // PAGE)
        self.arrays = BookArrays(
            page_table(pages),
            order_rows(pages),
            np.zeros(2 * LOCATES << SIDE_BITS, dtype=np.uint32),
            np.zeros(levels + 2 * MARGIN, dtype=np.uint32),
            np.zeros(levels + 2 * MARGIN, dtype=np.int64),
            np.zeros(FILL + 2, dtype=np.int64),
        )
        self.arrays.sides[STOP :: 1 << SIDE_BITS] = MARGIN  # of a side without levels, too, some are read
        self.arrays.fill[POOL_USED], self.arrays.fill[POOL_NEXT] = MARGIN, SIDE_LEVELS

    def grow_orders(self) -> None:
        """Double the pages."""
        old = self.arrays
        pages = 2 * len(old.orders) // len(order_rows(1))
        table, orders = page_table(pages), order_rows(pages)
        move_pages(old.pages, table)
        orders[: len(old.orders)] = old.orders
        self.arrays = old._replace(pages=table, orders=orders)

    def grow_levels(self) -> None:
        """Double the pool."""
        keys, totals = self.arrays.keys, self.arrays.totals
        self.arrays = self.arrays._replace(
            keys=np.concatenate([keys, np.zeros_like(keys)]),
            totals=np.concatenate([totals, np.zeros_like(totals)]),
        )

    @property
    def order_count(self) -> int:
        """Orders that rest in all books."""
        return count_orders(self.arrays.pages)

    def side_levels(self, locate: int, side: Side) -> list[tuple[int, int]]:
        """Levels of a side, best first: (price(4), total shares)."""
        return levels_of_side(self.arrays, 2 * locate + (side == Side.SELL))

    def all_levels(self) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Each side that has levels, and they, best first: (price(4), total shares)."""
        for side in np.flatnonzero(self.arrays.sides[LENGTH :: 1 << SIDE_BITS]).tolist():
            yield side, levels_of_side(self.arrays, side)


def levels_of_side(arrays: BookArrays, side: int) -> list[tuple[int, int]]:
    """Levels of a side, best first: (price(4), total shares)."""
    span = arrays.sides[side << SIDE_BITS :]
    stop, length = int(span[STOP]), int(span[LENGTH])
    keys, totals = (column[stop - length : stop][::-1] for column in (arrays.keys, arrays.totals))
    return list(zip((~keys if side & 1 else keys).tolist(), totals.tolist(), strict=True))
