"""An order reference in, its row out: where the resting orders of all books lie.

References rise almost one by one, and most orders die young. So rows lie by reference, a page to sixteen
consecutive ones: those who come together lie together, a new order is written beside the one before it, and
the pages that most messages are about stay in a core's own cache. A page is found by an open hash of the
references' upper bits (linear probing, deletion by shifting back), and is free again when its last order has
gone. References that are far apart cost a page each, 256 bytes, and that is the most that any can: memory is
bounded by the orders that rest, whatever their references are. Table and pages grow between kernel calls,
never inside one.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.itch.wire import prefetch

#: Columns of an order's row. A row without shares is free.
SHARES, PRICE, BOOK = 0, 1, 2
_ROW_BYTES = 16
#: Columns of a page's entry in the table: upper bits of its references; first row << 8 | orders in it.
TAG, INFO = 0, 1
_ENTRY_BYTES = 16
PAGE_BITS = 4
PAGE = 1 << PAGE_BITS  # orders
#: Slots of ``fill`` that are about orders: how many rest; pages in the table; pages that were ever taken;
#: the first of those that are free again (its first row + 1; 0 for none), each with the next one as PRICE.
ORDERS_USED, PAGES_USED, PAGES_TAKEN, PAGE_FREE = range(4)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LINE_BYTES = 64


def _lines(rows: int, dtype: type[np.generic], columns: int) -> NDArray[np.generic]:
    """Zeros whose rows do not lie across lines of cache."""
    size = rows * columns * np.dtype(dtype).itemsize
    room = np.empty(size + _LINE_BYTES, dtype=np.uint8)  # empty: large ones then get large pages
    skip = -room.ctypes.data % _LINE_BYTES
    table = room[skip : skip + size].view(dtype).reshape(rows, columns)
    table[:] = 0
    return table


def page_table(entries: int) -> NDArray[np.int64]:
    """An empty table, int64 (entries, 2); ``entries`` is a power of two."""
    return _lines(entries, np.int64, 2)  # type: ignore[return-value]


def order_rows(rows: int) -> NDArray[np.uint32]:
    """Free rows, uint32 (rows, 4); ``rows`` is a multiple of PAGE."""
    return _lines(rows, np.uint32, 4)  # type: ignore[return-value]


@njit(cache=True, nogil=True, forceinline=True)
def _tag(reference):  # type: ignore[no-untyped-def]
    return np.int64(np.uint64(reference) >> np.uint64(PAGE_BITS))


@njit(cache=True, nogil=True, forceinline=True)
def _home(pages, tag):  # type: ignore[no-untyped-def]
    # A bare multiplication lays neighbours out in long runs; mixed twice, they lie as if at random.
    mixed = np.uint64(tag) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _GOLDEN
    return np.int64(mixed >> np.uint64(32)) & np.int64(pages.shape[0] - 1)


@njit(cache=True, nogil=True, forceinline=True)
def _find_page(pages, tag):  # type: ignore[no-untyped-def]
    """Entry of a page; where there is none, ``-1 - entry`` of the one that it would take."""
    mask = np.int64(pages.shape[0] - 1)
    entry = _home(pages, tag)
    while pages[entry, INFO] != 0:
        if pages[entry, TAG] == tag:
            return entry
        entry = (entry + 1) & mask
    return -1 - entry


@njit(cache=True, nogil=True, forceinline=True)
def fetch_page(book, reference):  # type: ignore[no-untyped-def]
    """Have the entry of an order's page brought near: it is asked for some messages later."""
    prefetch(book.pages, _home(book.pages, _tag(reference)) * _ENTRY_BYTES)


@njit(cache=True, nogil=True, forceinline=True)
def fetch_order(book, reference):  # type: ignore[no-untyped-def]
    """Have an order's row brought near, when the entry of its page is."""
    entry = _find_page(book.pages, _tag(reference))
    if entry >= 0:
        row = (book.pages[entry, INFO] >> 8) + (reference & (PAGE - 1))
        prefetch(book.orders, row * _ROW_BYTES)


@njit(cache=True, nogil=True, forceinline=True)
def find_order(book, reference):  # type: ignore[no-untyped-def]
    """Row of an order, -1 where it is not known; and its page, for ``put_order`` and ``drop_order``."""
    entry = _find_page(book.pages, _tag(reference))
    if entry < 0:
        return np.int64(-1), entry
    row = (book.pages[entry, INFO] >> 8) + (reference & (PAGE - 1))
    return (row if book.orders[row, SHARES] != 0 else np.int64(-1)), entry


@njit(cache=True, nogil=True, forceinline=True)
def put_order(book, entry, reference, shares, price, side):  # type: ignore[no-untyped-def]
    """Add an order that is not there, where ``orders_full`` has said that there is room."""
    if entry < 0:
        entry = -1 - entry
        first = book.fill[PAGE_FREE] - 1
        if first >= 0:
            book.fill[PAGE_FREE] = book.orders[first, PRICE]
        else:
            first = book.fill[PAGES_TAKEN] << PAGE_BITS
            book.fill[PAGES_TAKEN] += 1
        book.fill[PAGES_USED] += 1
        book.pages[entry, TAG] = _tag(reference)
        book.pages[entry, INFO] = first << 8
    book.pages[entry, INFO] += 1
    row = (book.pages[entry, INFO] >> 8) + (reference & (PAGE - 1))
    book.orders[row, SHARES] = shares
    book.orders[row, PRICE] = price
    book.orders[row, BOOK] = side
    book.fill[ORDERS_USED] += 1


@njit(cache=True, nogil=True, forceinline=True)
def drop_order(book, entry, row):  # type: ignore[no-untyped-def]
    """Free an order's row, and its page with the last one."""
    book.orders[row, SHARES] = 0
    book.fill[ORDERS_USED] -= 1
    book.pages[entry, INFO] -= 1
    if book.pages[entry, INFO] & 0xFF == 0:
        first = book.pages[entry, INFO] >> 8
        book.orders[first, PRICE] = book.fill[PAGE_FREE]
        book.fill[PAGE_FREE] = first + 1
        book.fill[PAGES_USED] -= 1
        _drop_page(book.pages, entry)


@njit(cache=True, nogil=True, forceinline=True)
def _drop_page(pages, hole):  # type: ignore[no-untyped-def]
    """Free an entry and shift back what was pushed on by it."""
    mask = np.int64(pages.shape[0] - 1)
    probe = (hole + 1) & mask
    while pages[probe, INFO] != 0:
        home = _home(pages, pages[probe, TAG])
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            pages[hole, TAG] = pages[probe, TAG]
            pages[hole, INFO] = pages[probe, INFO]
            hole = probe
        probe = (probe + 1) & mask
    pages[hole, INFO] = 0


@njit(cache=True, nogil=True, forceinline=True)
def table_full(book):  # type: ignore[no-untyped-def]
    """Whether the table must grow before another page: it stays at most half full."""
    return 2 * (book.fill[PAGES_USED] + 1) > book.pages.shape[0]


@njit(cache=True, nogil=True, forceinline=True)
def rows_full(book):  # type: ignore[no-untyped-def]
    """Whether no page is free."""
    return book.fill[PAGE_FREE] == 0 and (book.fill[PAGES_TAKEN] + 1) << PAGE_BITS > book.orders.shape[0]


@njit(cache=True, nogil=True)
def move_pages(old, pages):  # type: ignore[no-untyped-def]
    """Put all entries of one table into another, which is empty and larger."""
    for row in range(old.shape[0]):
        if old[row, INFO] != 0:
            entry = -1 - _find_page(pages, old[row, TAG])
            pages[entry, TAG] = old[row, TAG]
            pages[entry, INFO] = old[row, INFO]
