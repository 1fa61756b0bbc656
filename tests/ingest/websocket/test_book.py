"""Sorted-array books against a dictionary and a sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.websocket import book as book_module
from ingest.websocket.book import LevelBooks
from tickloom.events import Side
from tickloom.prices import NO_PRICE

updates = st.lists(
    st.tuples(st.sampled_from([Side.BUY, Side.SELL]), st.integers(1, 60), st.integers(0, 4)), max_size=200
)


def apply(books: LevelBooks, changes: list[tuple[Side, int, int]], instrument: int = 0) -> int:
    columns = list(zip(*changes, strict=True)) or [(), (), ()]
    return books.apply(
        instrument,
        np.array(columns[0], dtype=np.int8),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.int64),
    )


def model(changes: list[tuple[Side, int, int]], side: Side) -> dict[int, int]:
    levels: dict[int, int] = {}
    for which, price, size in changes:
        if which == side:
            levels[price] = size
    return {price: size for price, size in levels.items() if size}


@settings(max_examples=200, deadline=None)
@given(updates)
def test_levels_are_those_of_a_dictionary(changes: list[tuple[Side, int, int]]) -> None:
    """After any updates the sides hold the last size of each price, best first."""
    books = LevelBooks(2, room=2)
    apply(books, changes, instrument=1)
    bids, asks = model(changes, Side.BUY), model(changes, Side.SELL)
    assert books.levels(1, Side.BUY) == sorted(bids.items(), reverse=True)
    assert books.levels(1, Side.SELL) == sorted(asks.items())
    best_bid = max(bids.items(), default=(int(NO_PRICE), 0))
    best_ask = min(asks.items(), default=(int(NO_PRICE), 0))
    assert books.best(1) == (*best_bid, *best_ask)
    assert books.best(0) == (NO_PRICE, 0, NO_PRICE, 0)


@settings(max_examples=200, deadline=None)
@given(updates, updates)
def test_difference_turns_one_book_into_the_other(
    before: list[tuple[Side, int, int]], after: list[tuple[Side, int, int]]
) -> None:
    """The difference names each changed level once, and applied to the old book gives the new one."""
    old, new = LevelBooks(1, room=2), LevelBooks(1, room=2)
    apply(old, before)
    apply(new, after)
    sides, prices, sizes = new.difference(0, old, 0)
    assert len(set(zip(sides.tolist(), prices.tolist(), strict=True))) == len(sides)
    old.apply(0, sides, prices, sizes)
    for side in (Side.BUY, Side.SELL):
        assert old.levels(0, side) == new.levels(0, side)


def test_full_side_keeps_what_is_near_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit the level farthest from the top makes room, or stays out, and is counted."""
    monkeypatch.setattr(book_module, "LEVELS_MAX", 4)
    books = LevelBooks(1, room=4)
    dropped = apply(books, [(Side.SELL, price, 1) for price in (10, 20, 30, 40, 15, 50)])
    assert books.levels(0, Side.SELL) == [(10, 1), (15, 1), (20, 1), (30, 1)]
    assert dropped == 2
