"""The displayed book: what the feed shows and what is left of it for us."""

from __future__ import annotations

import itertools

import pytest

from execution.exchange.book import BUY, SELL, DisplayedBook
from tickloom.prices import NO_PRICE


def test_sweep_goes_from_the_best_price_outwards_up_to_the_limit() -> None:
    """60 against 20 at 101, 30 at 102 and 50 at 104 with a limit of 103 takes 50."""
    book = DisplayedBook()
    for price, size in ((104, 50), (101, 20), (102, 30)):
        book.delta(SELL, price, size, 1)
    assert book.sweep("buy", 60, 103) == [(101, 20), (102, 30)]


def test_selling_takes_the_highest_bids_first() -> None:
    """Bids at 99 and 98: the sale meets 99 first."""
    book = DisplayedBook()
    book.delta(BUY, 98, 10, 1)
    book.delta(BUY, 99, 10, 1)
    assert book.sweep("sell", 15, 98) == [(99, 10), (98, 5)]


def test_what_was_taken_is_gone_until_the_level_grows() -> None:
    """Of 100 displayed 70 are taken: 30 are left; a growth to 120 adds 20; a fall to 10 leaves 10."""
    book = DisplayedBook()
    book.delta(SELL, 101, 100, 1)
    assert book.sweep("buy", 70, 101) == [(101, 70)]
    assert book.sweep("buy", 70, 101) == [(101, 30)]
    book.delta(SELL, 101, 120, 2)
    assert book.sweep("buy", 70, 101) == [(101, 20)]
    book.delta(SELL, 101, 130, 3)
    book.delta(SELL, 101, 10, 4)
    assert book.sweep("buy", 70, 101) == [(101, 10)]


def test_quote_removes_what_was_better() -> None:
    """A best offer of 103 says that 101 and 102 are gone."""
    book = DisplayedBook()
    for price in (101, 102, 103, 104):
        book.delta(SELL, price, 10, 1)
    book.quote(NO_PRICE, 0, 103, 15, 2)
    assert book.sweep("buy", 100, 200) == [(103, 15), (104, 10)]


def test_quote_of_an_empty_side_removes_it_all() -> None:
    """No best bid: no bids."""
    book = DisplayedBook()
    book.delta(BUY, 99, 10, 1)
    book.quote(NO_PRICE, 0, NO_PRICE, 0, 2)
    assert book.sweep("sell", 1, 1) == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_topics_may_come_in_any_order(order: tuple[int, ...]) -> None:
    """Depth and quotes come on two topics: the book is the same however they are interleaved."""
    changes = [
        lambda book: book.delta(SELL, 101, 10, 1),
        lambda book: book.delta(SELL, 102, 20, 2),
        lambda book: book.quote(NO_PRICE, 0, 102, 25, 3),
        lambda book: book.delta(SELL, 103, 30, 4),
    ]
    book = DisplayedBook()
    for index in order:
        changes[index](book)
    assert book.sweep("buy", 100, 200) == [(102, 25), (103, 30)]


def test_lost_book_is_empty() -> None:
    """Nothing that a lost book showed can be traded on; what came after can."""
    book = DisplayedBook()
    book.delta(SELL, 101, 10, 1)
    book.delta(SELL, 102, 10, 5)
    book.lose(3)
    assert book.sweep("buy", 100, 200) == [(102, 10)]
