"""Price levels against plain dictionaries, however many there are and wherever they lie."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.itch import levels
from ingest.itch.book import Books
from tickloom.events import Side

PRICE_MAX = 0xFFFF_FFFF
#: Ways to lay out prices, from any integer: as venues have them, and as nobody should.
SCHEMES: dict[str, Callable[[int], int]] = {
    "cents": lambda n: 1_000_000 + 100 * n,
    "below a dollar": lambda n: 9_000 + n,
    "across the dollar": lambda n: 10_000 + (100 * n if n > 0 else n),
    "from nothing": abs,
    "to the end": lambda n: PRICE_MAX - abs(n),
    "both ends": lambda n: n % (PRICE_MAX + 1),
    "round half": lambda n: 2**31 + n,
    "far apart": lambda n: n * 0x9E37_79B1 % (PRICE_MAX + 1),
}


class Sides:
    """Books, and a dictionary of each side beside them."""

    def __init__(self) -> None:
        self.books = Books(16, 16)
        self.known: dict[int, dict[int, int]] = {side: {} for side in (4, 5, 6, 7)}

    def change(self, side: int, price: int, change: int) -> None:
        """Apply a change to both, and compare what it says and the best that it leaves."""
        known, sign = self.known[side], -1 if side & 1 else 1
        while levels.levels_full(self.books.arrays):
            self.books.grow_levels()
        total, better = levels.change_level(self.books.arrays, side, price, change)
        expected = max(0, known.get(price, 0) + change)
        assert total == expected
        assert better == sum(sign * other > sign * price for other in known)
        known.pop(price, None)
        if expected:
            known[price] = expected
        best = max(known, key=lambda other: sign * other, default=0)
        assert levels.best_price(self.books.arrays, side) == (best, known.get(best, 0))

    def check(self) -> None:
        """Compare all levels of all sides."""
        for side, known in self.known.items():
            found = self.books.side_levels(side >> 1, Side.SELL if side & 1 else Side.BUY)
            assert found == sorted(known.items(), reverse=not side & 1)
        shown = {side: dict(found) for side, found in self.books.all_levels()}
        assert shown == {side: known for side, known in self.known.items() if known}


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(SCHEMES)),
    st.lists(
        st.tuples(
            st.integers(4, 7), st.integers(-30, 30), st.sampled_from([1, 100, PRICE_MAX, -1, -100, -(2**40)])
        ),
        max_size=250,
    ),
)
def test_levels_agree_with_dictionaries(scheme: str, steps: list[tuple[int, int, int]]) -> None:
    """Levels of neighbouring sides come, change, go and come again, from a pool of sixteen on: new totals,
    how many levels are better, the best, and all of them in order."""
    sides = Sides()
    for side, n, change in steps:
        sides.change(side, SCHEMES[scheme](n), change)
    sides.check()


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_thousands_of_levels(scheme: str) -> None:
    """Three thousand levels on a side that come and go in any order, deep ones as often as the best."""
    rng = random.Random(scheme)
    sides = Sides()
    numbers = list(range(-1_500, 1_500))
    rng.shuffle(numbers)
    prices = list(dict.fromkeys(SCHEMES[scheme](n) for n in numbers))
    for at, price in enumerate(prices):
        sides.change(5 if at % 9 else 4, price, 100)
    sides.check()
    for price in rng.sample(prices, len(prices)):
        side = 5 if price in sides.known[5] else 4
        sides.change(side, price, rng.choice([-100, -100, -1, 1]))
    sides.check()
    for side in (4, 5):
        for price in sorted(sides.known[side]):
            sides.change(side, price, -200)
    sides.check()


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 64, 65])
def test_each_place_of_a_stretch(side: int, count: int) -> None:
    """A level is put in and taken out at every place among levels whose number is about the sixteen that are
    moved at once."""
    for place in range(count + 1):
        sides = Sides()
        for neighbour in (5, 6, 7, 4):  # one stretch right behind another
            for n in range(count):
                sides.change(neighbour, 1_000 + 10 * n, 1 + n)
        sides.change(side, 995 + 10 * place, 7)
        sides.check()
        sides.change(side, 995 + 10 * place, -7)
        sides.check()


def test_memory_is_that_of_the_levels() -> None:
    """A side that wanders over the whole range of prices, three levels at a time, needs room for three."""
    sides = Sides()
    for n in range(0, 3_000):
        sides.change(4, n * (PRICE_MAX // 3_000), 1)
        if n >= 3:
            sides.change(4, (n - 3) * (PRICE_MAX // 3_000), -1)
    sides.check()
    assert len(sides.books.arrays.keys) <= 2 * (16 + 2 * levels.MARGIN)
