"""The compiled gate against plain Python integers over random histories: each value the same, to the nano."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from execution.orders import OrderRecord
from execution.risk import arithmetic
from execution.risk.arithmetic import SATURATED
from tests.execution.risk.reference import Reference
from tests.execution.risk.world import NOW, World, intent, world
from tickloom.events import OrderState
from tickloom.prices import NANOS
from tickloom.records import replace

quantities = st.one_of(st.integers(1, 1_000), st.integers(1, 10**15))
prices = st.one_of(
    st.integers(1, 1_000), st.integers(1, 10**13), st.integers(1, 200).map(lambda n: n * NANOS)
)
rules = st.sampled_from(["rule", "other"])
symbols = st.sampled_from(["ALFA", "BRVO"])
sides = st.sampled_from(["buy", "sell"])
events = st.lists(
    st.one_of(
        st.tuples(st.just("quote"), symbols, prices, st.integers(0, 10**12)),
        st.tuples(st.just("open"), rules, symbols, sides, quantities, prices),
        st.tuples(st.just("reduce"), st.integers(0, 30), st.fractions(0, 1)),
        st.tuples(st.just("fill"), rules, symbols, sides, quantities, prices, st.integers(-(10**9), 10**9)),
        st.tuples(st.just("message"), rules, symbols, st.integers(0, 400_000_000)),
    ),
    max_size=25,
)


class Both:
    """The same events to the book and to the reference."""

    def __init__(self) -> None:
        self.world: World = world({"instruments.default": {"margin_bps": "3333"}})
        self.reference = Reference(
            dict.fromkeys(("ALFA", "BRVO"), (99 * NANOS, 101 * NANOS)), margin_bps=3333
        )
        for name in ("rule", "other"):
            self.world.book.rows[self.world.book.row(1, name), :]  # type: ignore[arg-type]
        self.orders: list[OrderRecord] = []
        self.now_ns = NOW

    def apply(self, event: tuple[object, ...]) -> None:
        kind, *values = event
        getattr(self, f"on_{kind}")(*values)
        self.world.book.mark()
        self.reference.note_best()

    def on_quote(self, symbol: str, bid: int, width: int) -> None:
        self.world.quote(symbol, bid, bid + width)
        self.reference.quotes[symbol] = (bid, bid + width)

    def on_open(self, rule: str, symbol: str, side: str, leaves: int, price: int) -> None:
        order = self.world.order(leaves, rule=rule, symbol=symbol, side=side, limit_price=price)
        self.orders.append(order)
        self.reference.orders[order.order_id] = (rule, symbol, side, leaves, price)

    def on_reduce(self, place: int, share: Fraction) -> None:
        """A part of an order is gone, or all of it."""
        if not self.orders:
            return
        place %= len(self.orders)
        order = self.orders[place]
        filled = order.filled_quantity + int(order.leaves * share)
        state = OrderState.CANCELLED if share == 1 else OrderState.UNKNOWN
        order = self.orders[place] = replace(order, filled_quantity=filled, state=state)
        self.world.book.on_order(order)
        self.world.book.on_order(order)  # telling it again changes nothing
        rule, symbol, side, _, price = self.reference.orders.pop(order.order_id, ("", "", "", 0, 0))
        if order.leaves:
            self.reference.orders[order.order_id] = (rule, symbol, side, order.leaves, price)

    def on_fill(self, rule: str, symbol: str, side: str, quantity: int, price: int, fee: int) -> None:
        self.world.fill(side, quantity, price, symbol, rule, fee)
        self.reference.fills.append((rule, symbol, side, quantity, price, fee))

    def on_message(self, rule: str, symbol: str, step_ns: int) -> None:
        self.now_ns += step_ns
        self.world.message(symbol, rule, self.now_ns)
        self.reference.messages.append((rule, symbol, self.now_ns))


@settings(max_examples=150, deadline=None)
@given(events, st.tuples(rules, symbols, sides, quantities, st.one_of(st.just(0), prices)))
def test_every_value_is_the_reference_s(
    history: list[tuple[object, ...]], wanted: tuple[str, str, str, int, int]
) -> None:
    """Whatever happened before, the gate measures what the oracle measures, past every limit or not."""
    both = Both()
    for event in history:
        both.apply(event)
    rule, symbol, side, quantity, price = wanted
    order = replace(intent(quantity, price, side, rule), symbol=symbol)
    both.world.book.rows[:, 26] = 0  # the order-to-trade ratio is looked at from the first message on
    verdict = both.world.check(order, now_ns=both.now_ns)
    for (check, level), value in both.reference.values(*wanted, both.now_ns).items():
        ours = verdict.number(check, level)[0]
        assert ours == value or (value >= SATURATED // 2 <= ours), (check, level)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_products_are_exact_or_past_every_limit(a: int, b: int) -> None:
    """In whole nanos and what is left of them; too large ones saturate."""
    whole, rest = divmod(a * b, NANOS)
    assert arithmetic.product(a, b) == ((SATURATED, 0) if whole >= SATURATED else (whole, rest))


@given(st.integers(0, 4 * 10**18), st.integers(1, 4 * 10**18))
def test_ratios_are_rounded_up_exactly(part: int, whole: int) -> None:
    """In units of 1e-8, whatever the magnitudes."""
    expected = ceil(Fraction(part * 10**8, whole))
    found = arithmetic.ratio_up(part, whole)
    assert found == expected or (found == SATURATED and part // whole >= SATURATED // 10**8)


@given(st.integers(-(10**18), 10**18), st.integers(0, 10**15))
def test_values_are_rounded_up_on_both_sides_of_zero(quantity: int, both: int) -> None:
    """ceil of the signed value at half of the doubled mid."""
    expected = ceil(Fraction(quantity * both, 2 * NANOS))
    found = arithmetic.value_up(quantity, both)
    assert found == expected or abs(expected) > SATURATED // 2 - 1


@given(st.lists(st.integers(-SATURATED, SATURATED), max_size=30))
def test_split_sums_are_exact_and_can_be_undone(values: list[int]) -> None:
    """A sum of 64-bit numbers that may leave 64 bits in between, and comes back when they are taken off."""
    import numpy as np

    totals = np.zeros(2, np.int64)
    for value in values:
        arithmetic.add_split(totals, 0, value, 1)
    expected = sum(values)
    found = arithmetic.split_sum(totals[0], totals[1])
    assert found == expected if abs(expected) < 2**62 else abs(found) >= 2**62
    for value in values:
        arithmetic.add_split(totals, 0, value, -1)
    assert list(totals) == [0, 0]
