"""Positions and P&L against arithmetic on paper and against a reference in fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.positions import Holding, PositionBook, value_to_nanos
from tickloom.errors import ExecutionError
from tickloom.events import Execution
from tickloom.prices import NANOS

E18 = 10**18


def test_buy_and_sell_on_paper() -> None:
    """Buy 100 at 10, 50 at 13 (average 11), sell 120 at 12: 120 realised, 30 left at 11."""
    holding = Holding()
    holding.book("buy", 100 * NANOS, 10 * NANOS)
    holding.book("buy", 50 * NANOS, 13 * NANOS)
    assert holding.average_price == 11 * NANOS
    holding.book("sell", 120 * NANOS, 12 * NANOS)
    assert (holding.quantity, holding.realised) == (30 * NANOS, 120 * E18)
    assert holding.average_price == 11 * NANOS
    assert holding.unrealised(9 * NANOS) == -60 * E18


def test_through_flat_on_paper() -> None:
    """Long 10 at 5, sell 25 at 6: 10 realised, short 15 at 6; buy 15 at 4: 30 more."""
    holding = Holding()
    holding.book("buy", 10 * NANOS, 5 * NANOS)
    holding.book("sell", 25 * NANOS, 6 * NANOS)
    assert (holding.quantity, holding.realised, holding.average_price) == (-15 * NANOS, 10 * E18, 6 * NANOS)
    assert holding.unrealised(5 * NANOS) == 15 * E18
    holding.book("buy", 15 * NANOS, 4 * NANOS)
    assert (holding.quantity, holding.cost, holding.realised) == (0, 0, 40 * E18)
    assert holding.average_price == 0


def test_halves_of_a_nano_round_up() -> None:
    """1.5 and -1.5 units of 1e-9 become 2 and -1."""
    assert value_to_nanos(1_500_000_000) == 2
    assert value_to_nanos(-1_500_000_000) == -1
    assert value_to_nanos(1_499_999_999) == 1


def test_book_keeps_instruments_apart_and_adds_their_pnl() -> None:
    """P&L is the sum over instruments; one without a mid counts what it realised."""
    book = PositionBook()
    for symbol, side, price in (("A", "buy", 10), ("B", "sell", 20), ("A", "sell", 11)):
        book.book(Execution("e", "o", "V", symbol, side, price * NANOS, NANOS, 0, 0))
    assert book.quantity("V", "A") == 0
    assert book.quantity("V", "B") == -NANOS
    assert book.pnl({}) == 1 * E18
    assert book.pnl({("V", "B"): 17 * NANOS}) == 4 * E18


fills = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 10**15),
        st.integers(1, 10**14),
    ),
    max_size=40,
)


@given(fills)
def test_against_a_reference_in_fractions(trades: list[tuple[str, int, int]]) -> None:
    """Whatever is traded: quantity is the plain sum, total P&L at any mid is cash plus value, exactly,
    and realised P&L is that of exact average prices but for the documented rounding."""
    holding = Holding()
    quantity, cash = 0, 0
    average, realised = Fraction(0), Fraction(0)
    for side, size, price in trades:
        holding.book(side, size, price)
        signed = size if side == "buy" else -size
        cash -= signed * price
        if quantity * signed >= 0:
            total = abs(quantity) + size
            average = (average * abs(quantity) + Fraction(price) * size) / total
        else:
            closed = min(abs(quantity), size)
            realised += closed * (price - average) * (1 if quantity > 0 else -1)
            if size > abs(quantity):
                average = Fraction(price)
        quantity += signed
        assert holding.quantity == quantity
        # a position and its cash are worth the same however the P&L is split: this has no rounding
        for mid in (1, price, 123_456_789):
            assert holding.realised + holding.unrealised(mid) == cash + quantity * mid
        assert abs(holding.realised - realised) <= len(trades)


def test_fifo_and_average_on_paper() -> None:
    """Buy 10 at 10 and 10 at 20, sell 10 at 18: 80 by FIFO, 30 by average; flat at 18 both have 60."""
    holding = Holding()
    for side, price in (("buy", 10), ("buy", 20), ("sell", 18)):
        holding.book(side, 10 * NANOS, price * NANOS)
    assert (holding.fifo_realised, holding.realised) == (80 * E18, 30 * E18)
    assert (holding.fifo_unrealised(18 * NANOS), holding.unrealised(18 * NANOS)) == (-20 * E18, 30 * E18)
    holding.book("sell", 10 * NANOS, 18 * NANOS)
    assert (holding.fifo_realised, holding.realised) == (60 * E18, 60 * E18)
    assert not holding.lots


def test_fees_and_rebates_are_apart() -> None:
    """Two fees of 0.30 and a rebate of 0.20 cost 0.40, whatever the prices were."""
    book = PositionBook()
    for number, fee in enumerate((300_000_000, 300_000_000, -200_000_000)):
        book.book(Execution(f"E{number}", "o", "V", "A", "buy", 10 * NANOS, NANOS, 0, 0), fee)
    found = book.figures({("V", "A"): 11 * NANOS})
    assert (found.realised, found.unrealised, found.fees) == (0, 3 * E18, 4 * E18 // 10)
    assert found.total == 26 * E18 // 10


booked = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 10**12),
        st.integers(1, 10**12),
        st.integers(-100, 100),
    ),
    min_size=1,
    max_size=25,
)


def of(trades: list[tuple[str, int, int, int]], left_out: int = -1) -> PositionBook:
    book = PositionBook()
    for number, (side, quantity, price, fee) in enumerate(trades):
        if number != left_out:
            book.book(Execution(f"E{number}", "o", "V", "A", side, price, quantity, 0, 0), fee)
    return book


@given(booked, st.integers(1, 10**12))
def test_fifo_and_average_split_the_same_total(trades: list[tuple[str, int, int, int]], mid: int) -> None:
    """At any mid, also without one, the two methods have the same total; flat, the same realised P&L; and
    the lots that are open are the position."""
    holding = of(trades).holdings[("V", "A")]
    assert sum(held for held, _ in holding.lots) == abs(holding.quantity)
    for found in (of(trades).figures({("V", "A"): mid}), of(trades).figures({})):
        assert found.fifo_realised + found.fifo_unrealised == found.realised + found.unrealised
    if holding.quantity:
        holding.book("sell" if holding.quantity > 0 else "buy", abs(holding.quantity), mid)
    assert (holding.quantity, holding.realised) == (0, holding.fifo_realised)


@given(booked, st.data())
def test_a_bust_leaves_what_would_be_without_it(
    trades: list[tuple[str, int, int, int]], data: st.DataObject
) -> None:
    """Whichever execution is taken back, everything is as if it had never been."""
    place = data.draw(st.integers(0, len(trades) - 1))
    book = of(trades)
    assert book.bust("V", "A", f"E{place}").quantity == trades[place][1]
    expected = of(trades, left_out=place).holdings.get(("V", "A"), Holding())
    assert book.holdings[("V", "A")] == expected


@given(booked, st.data(), st.integers(1, 10**12), st.integers(1, 10**12))
def test_a_correction_leaves_what_would_have_been(
    trades: list[tuple[str, int, int, int]], data: st.DataObject, quantity: int, price: int
) -> None:
    """A corrected execution counts in its place, as if it had come so; corrected back, nothing changed."""
    place = data.draw(st.integers(0, len(trades) - 1))
    book, before = of(trades), of(trades)
    side, was, paid, fee = trades[place]
    book.correct("V", "A", f"E{place}", quantity, price)
    assert book == of([*trades[:place], (side, quantity, price, fee), *trades[place + 1 :]])
    book.correct("V", "A", f"E{place}", was, paid)
    assert book == before


def test_what_cannot_be_busted_or_corrected_changes_nothing() -> None:
    """An id that nobody knows, and a correction to nothing, are refused."""
    book, before = of([("buy", 1, 1, 0)]), of([("buy", 1, 1, 0)])
    with pytest.raises(ExecutionError, match="no execution E9"):
        book.bust("V", "A", "E9")
    with pytest.raises(ExecutionError, match="corrected to nothing"):
        book.correct("V", "A", "E0", 0, 1)
    assert book == before
