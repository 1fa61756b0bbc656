"""An order reference in, its row out: where the resting orders of all books lie.

References rise almost one by one, and most orders die young. So rows lie by reference, a page to sixteen
consecutive ones: those who come together lie together, a new order is written beside the one before it, and
the pages that most messages are about stay in a core's own cache. A page is found by an open hash of the
references' upper bits (linear probing, deletion by shifting back), and is free again when its last order has
gone. References that are far apart cost a page each, 256 bytes and 64 of the table, and that is the most
that any can: memory is bounded by the orders that rest, whatever their references are. Table and pages grow
between kernel calls, never inside one.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.itch.wire import prefetch

#: Words of an order's row: uint32. A row without shares is free.
SHARES, PRICE, BOOK = 0, 1, 2
_ROW_BITS = 2  # four words; the last is not used
#: Words of a page's entry in the table, int64: upper bits of its references, plus 1 (0: the entry is free);
#: its number << 8 | orders in it.
TAG, INFO = 0, 1
_ENTRY_BITS = 1
_HELD = 0xFF
PAGE_BITS = 4
PAGE = 1 << PAGE_BITS  # orders
#: Slots of ``fill`` that are about orders: pages in use; pages that were ever taken; the first of those that
#: are free again (its number + 1; 0 for none), each with the next one as its first row's PRICE; and, by their
#: tags, the entries of the pages that were taken last: most new orders belong to one of them.
PAGES_USED, PAGES_TAKEN, PAGE_FREE, _LAST = range(4)
_LAST_PAGES = 4
FILL = _LAST + _LAST_PAGES  # slots
_ENTRIES = 4  # of the table to a page: few lookups then need a second one
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LINE_BYTES = 64
_u = np.uint64  # of an index: spares a look whether it is negative


def _lines(words: int, dtype: type[np.generic]) -> NDArray[np.generic]:
    """Words, of any value, from the beginning of a line of cache on."""
    size = words * np.dtype(dtype).itemsize
    room = np.empty(size + _LINE_BYTES, dtype=np.uint8)  # empty: large ones then get large pages
    skip = -room.ctypes.data % _LINE_BYTES
    return room[skip : skip + size].view(dtype)


def page_table(pages: int) -> NDArray[np.int64]:
    """An empty table for so many pages, int64 (2 * entries); ``pages`` is a power of two."""
    table = _lines(_ENTRIES * pages << _ENTRY_BITS, np.int64)
    table[:] = 0
    return table  # type: ignore[return-value]


def order_rows(pages: int) -> NDArray[np.uint32]:
    """Free rows, uint32 (4 * PAGE * pages)."""
    return _lines(PAGE * pages << _ROW_BITS, np.uint32)  # type: ignore[return-value]


@njit(cache=True, nogil=True, forceinline=True)
def word(row, column):  # type: ignore[no-untyped-def]
    """Index of an order's word."""
    return _u((row << _ROW_BITS) + column)


@njit(cache=True, nogil=True, forceinline=True)
def _field(entry, column):  # type: ignore[no-untyped-def]
    return _u((entry << _ENTRY_BITS) + column)


@njit(cache=True, nogil=True, forceinline=True)
def _tag(reference):  # type: ignore[no-untyped-def]
    return np.int64(_u(reference) >> _u(PAGE_BITS)) + 1


@njit(cache=True, nogil=True, forceinline=True)
def _home(pages, tag):  # type: ignore[no-untyped-def]
    # A bare multiplication lays neighbours out in long runs; mixed twice, they lie as if at random.
    mixed = _u(tag) * _GOLDEN
    mixed = (mixed ^ (mixed >> _u(32))) * _GOLDEN
    return np.int64(mixed >> _u(32)) & np.int64((pages.size >> _ENTRY_BITS) - 1)


@njit(cache=True, nogil=True, forceinline=True)
def _find_entry(pages, tag, entry):  # type: ignore[no-untyped-def]
    """Entry of a page, or the free one that it would take, looked for from its home on."""
    mask = np.int64((pages.size >> _ENTRY_BITS) - 1)
    while pages[_field(entry, TAG)] != tag and pages[_field(entry, TAG)] != 0:
        entry = (entry + 1) & mask
    return entry


@njit(cache=True, nogil=True, forceinline=True)
def fetch_home(book, reference):  # type: ignore[no-untyped-def]
    """Where an order's page is looked for first; has that brought near, for ``fetch_order`` to look."""
    home = _home(book.pages, _tag(reference))
    prefetch(book.pages, home << (_ENTRY_BITS + 3))
    return home


@njit(cache=True, nogil=True, forceinline=True)
def fetch_order(book, home, reference):  # type: ignore[no-untyped-def]
    """Entry of an order's page, or the one that it would take; has the order's row brought near."""
    entry = _find_entry(book.pages, _tag(reference), home)
    row = (book.pages[_field(entry, INFO)] >> 8 << PAGE_BITS) + (reference & (PAGE - 1))
    prefetch(book.orders, row << (_ROW_BITS + 2))
    return entry


@njit(cache=True, nogil=True, forceinline=True)
def find_entry(book, reference):  # type: ignore[no-untyped-def]
    """Entry of an order's page, or the free one that it would take."""
    tag = _tag(reference)
    return _find_entry(book.pages, tag, _home(book.pages, tag))


@njit(cache=True, nogil=True, forceinline=True)
def entry_now(book, entry, reference):  # type: ignore[no-untyped-def]
    """What ``find_entry`` says, which has said ``entry`` before: pages may have come and gone since."""
    return entry if book.pages[_field(entry, TAG)] == _tag(reference) else find_entry(book, reference)


@njit(cache=True, nogil=True, forceinline=True)
def entry_of_new(book, reference):  # type: ignore[no-untyped-def]
    """What ``find_entry`` says, of an order that is about to come."""
    return entry_now(book, book.fill[_LAST + (_tag(reference) & (_LAST_PAGES - 1))], reference)


@njit(cache=True, nogil=True, forceinline=True)
def find_order(book, entry, reference):  # type: ignore[no-untyped-def]
    """Row of an order whose page has that entry; -1 where it is not known."""
    if book.pages[_field(entry, TAG)] == 0:
        return np.int64(-1)
    row = (book.pages[_field(entry, INFO)] >> 8 << PAGE_BITS) + (reference & (PAGE - 1))
    return row if book.orders[word(row, SHARES)] != 0 else np.int64(-1)


@njit(cache=True, nogil=True)
def _take_page(pages, orders, fill, entry, tag):  # type: ignore[no-untyped-def]
    """Put a page that was free into an entry."""
    page = fill[PAGE_FREE] - 1
    if page >= 0:
        fill[PAGE_FREE] = orders[word(page << PAGE_BITS, PRICE)]
    else:
        page = fill[PAGES_TAKEN]
        fill[PAGES_TAKEN] += 1
        for row in range(page << PAGE_BITS, (page + 1) << PAGE_BITS):
            orders[word(row, SHARES)] = 0
    fill[PAGES_USED] += 1
    fill[_LAST + (tag & (_LAST_PAGES - 1))] = entry
    pages[_field(entry, TAG)] = tag
    pages[_field(entry, INFO)] = page << 8


@njit(cache=True, nogil=True, forceinline=True)
def put_order(book, entry, reference, shares, price, side):  # type: ignore[no-untyped-def]
    """Add an order that is not there, where ``orders_full`` has said that there is room."""
    if book.pages[_field(entry, TAG)] == 0:
        _take_page(book.pages, book.orders, book.fill, entry, _tag(reference))
    info = book.pages[_field(entry, INFO)] + 1
    book.pages[_field(entry, INFO)] = info
    row = (info >> 8 << PAGE_BITS) + (reference & (PAGE - 1))
    book.orders[word(row, SHARES)] = shares
    book.orders[word(row, PRICE)] = price
    book.orders[word(row, BOOK)] = side


@njit(cache=True, nogil=True, forceinline=True)
def drop_order(book, entry, row):  # type: ignore[no-untyped-def]
    """Free an order's row, and its page with the last one."""
    book.orders[word(row, SHARES)] = 0
    info = book.pages[_field(entry, INFO)] - 1
    book.pages[_field(entry, INFO)] = info
    if info & _HELD == 0:
        _drop_page(book.pages, book.orders, book.fill, entry)


@njit(cache=True, nogil=True)
def _drop_page(pages, orders, fill, hole):  # type: ignore[no-untyped-def]
    """Free a page and its entry, and shift back what was pushed on by that."""
    mask = np.int64((pages.size >> _ENTRY_BITS) - 1)
    page = pages[_field(hole, INFO)] >> 8
    orders[word(page << PAGE_BITS, PRICE)] = fill[PAGE_FREE]
    fill[PAGE_FREE] = page + 1
    fill[PAGES_USED] -= 1
    probe = (hole + 1) & mask
    while pages[_field(probe, TAG)] != 0:
        home = _home(pages, pages[_field(probe, TAG)])
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            pages[_field(hole, TAG)] = pages[_field(probe, TAG)]
            pages[_field(hole, INFO)] = pages[_field(probe, INFO)]
            hole = probe
        probe = (probe + 1) & mask
    pages[_field(hole, TAG)] = 0


@njit(cache=True, nogil=True, forceinline=True)
def orders_full(book, orders):  # type: ignore[no-untyped-def]
    """Whether pages must be added before so many more orders."""
    return book.fill[PAGES_USED] + orders > book.orders.size >> (_ROW_BITS + PAGE_BITS)


@njit(cache=True, nogil=True)
def move_pages(old, pages):  # type: ignore[no-untyped-def]
    """Put all entries of one table into another, which is empty and larger."""
    for row in range(old.size >> _ENTRY_BITS):
        tag = old[_field(row, TAG)]
        if tag != 0:
            entry = _find_entry(pages, tag, _home(pages, tag))
            pages[_field(entry, TAG)] = tag
            pages[_field(entry, INFO)] = old[_field(row, INFO)]


def count_orders(pages: NDArray[np.int64]) -> int:
    """Orders that rest."""
    table = pages.reshape(-1, 1 << _ENTRY_BITS)
    return int((table[table[:, TAG] != 0, INFO] & _HELD).sum())
