"""Positions and P&L against arithmetic on paper and against a reference in fractions."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from execution.positions import Holding, PositionBook, value_to_nanos
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
