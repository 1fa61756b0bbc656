"""The store of resting orders against a dict, whatever the references are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.itch import orders
from ingest.itch.book import Books

#: Ways to number orders: as a venue does, and as nobody should.
SCHEMES = {
    "dense": lambda n: n,
    "every page once": lambda n: n << orders.PAGE_BITS,
    "sparse": lambda n: n << 40,
    "huge": lambda n: 2**64 - 1 - n,
    "round the sign": lambda n: 2**63 - 8 + n,
    "scattered": lambda n: n * 0x9E3779B97F4A7C15 % 2**64,
}


def signed(reference: int) -> int:
    """As the kernels have it: 64 bits in two's complement."""
    return reference - 2**64 if reference >= 2**63 else reference


def held(books: Books, row: int) -> tuple[int, ...]:
    """Shares, price and side of an order."""
    return tuple(int(item) for item in books.arrays.orders.reshape(-1, 4)[row, :3])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(SCHEMES)), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 400), st.integers(1, 2**32 - 1)), max_size=300),
)
def test_orders_agree_with_a_dict(schemes: list[str], steps: list[tuple[int, int, int]]) -> None:
    """Orders put, found, dropped and put again under dense, sparse, huge and scattered references are what a
    dict holds, from the smallest tables on; and no page is kept that holds none."""
    books = Books(orders.PAGE, 16)
    known: dict[int, tuple[int, int, int]] = {}
    noted = 0  # an entry that was found at some time, for another order or this one
    for step, n, value in steps:
        reference = signed(SCHEMES[schemes[n % len(schemes)]](n))
        while orders.orders_full(books.arrays, 1):
            books.grow_orders()
        entry = orders.find_entry(books.arrays, reference)
        assert orders.entry_now(books.arrays, noted, reference) == entry
        assert orders.entry_of_new(books.arrays, reference) == entry
        row = orders.find_order(books.arrays, entry, reference)
        assert (row >= 0) == (reference in known)
        if row >= 0:
            assert held(books, row) == known[reference]
        if row < 0 and step < 5:
            known[reference] = (value, 2**32 - value, n)
            orders.put_order(books.arrays, entry, reference, value, 2**32 - value, n)
        elif row >= 0 and step >= 4:
            orders.drop_order(books.arrays, entry, row)
            del known[reference]
        if step & 1:
            noted = entry
    assert books.order_count == len(known)
    pages = {(reference % 2**64) >> orders.PAGE_BITS for reference in known}
    assert books.arrays.fill[orders.PAGES_USED] == len(pages)
    for reference, expected in known.items():
        entry = orders.find_entry(books.arrays, reference)
        assert held(books, orders.find_order(books.arrays, entry, reference)) == expected


def test_memory_is_that_of_the_orders_that_rest() -> None:
    """Five thousand references, each with a page to itself, of which two at a time rest: the tables
    stay as small as they were."""
    books = Books(16 * orders.PAGE, 16)
    size = (len(books.arrays.pages), len(books.arrays.orders))
    before = 0
    for n in range(1, 5_000):
        reference = signed(n * 0x9E3779B97F4A7C15 % 2**64)
        assert not orders.orders_full(books.arrays, 1)
        entry = orders.find_entry(books.arrays, reference)
        orders.put_order(books.arrays, entry, reference, 1, 1, 1)
        if before:
            entry = orders.find_entry(books.arrays, before)
            orders.drop_order(books.arrays, entry, orders.find_order(books.arrays, entry, before))
        before = reference
    assert (len(books.arrays.pages), len(books.arrays.orders)) == size
