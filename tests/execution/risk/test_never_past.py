"""Whatever is asked for and whatever fills: with the gate in front no limit is ever exceeded by an order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from execution.orders import OrderRecord
from execution.risk import Level
from tests.execution.risk.reference import Reference
from tests.execution.risk.world import ASK, BID, SCOPES, World, intent, world
from tickloom.events import Execution, OrderState
from tickloom.prices import NANOS
from tickloom.records import replace

POSITION, GROSS, NET, OPEN = 300, 45_000, 25_000, 6
TABLES = {
    "firm": {
        "gross_exposure_max": f'"{GROSS}"',
        "net_exposure_max": f'"{NET}"',
        "open_orders_max": str(OPEN),
    },
    "rules.rule": {"gross_exposure_max": f'"{GROSS * 2 // 3}"'},
    "instruments.default": {"position_max": f'"{POSITION}"'},
}


class Trading(RuleBasedStateMachine):
    """Intents of two rules in two instruments at a mid of 100; fills, unknown orders, cancels and busts."""

    @initialize()
    def begin(self) -> None:
        self.one: World = world(TABLES)
        self.reference = Reference(dict.fromkeys(("ALFA", "BRVO"), (BID, ASK)))
        self.open: list[OrderRecord] = []
        self.done: list[tuple[str, Execution]] = []
        self.number = 0

    @rule(
        side=st.sampled_from(["buy", "sell"]),
        name=st.sampled_from(["rule", "other"]),
        symbol=st.sampled_from(["ALFA", "BRVO"]),
        quantity=st.integers(1, 350),
    )
    def ask(self, side: str, name: str, symbol: str, quantity: int) -> None:
        """An order leaves if the gate lets it; it rests at its own touch, so that own orders do not meet."""
        price = BID if side == "buy" else ASK
        wanted = replace(intent(quantity * NANOS, price, side, name), symbol=symbol)
        if self.one.check(wanted).passed:
            order = self.one.order(quantity * NANOS, rule=name, symbol=symbol, side=side, limit_price=price)
            self.open.append(order)
            self.reference.orders[order.order_id] = (name, symbol, side, order.leaves, price)

    @precondition(lambda self: self.open)
    @rule(place=st.integers(0, 50), share=st.floats(0, 1), ends=st.sampled_from(["", "unknown", "cancelled"]))
    def fill(self, place: int, share: float, ends: str) -> None:
        """A part of an order trades, or all of it; and it may end, or nobody knows."""
        place %= len(self.open)
        order = self.open[place]
        quantity = round(order.leaves * share)
        state = OrderState(ends) if ends else order.state
        state = OrderState.FILLED if quantity == order.leaves else state
        changed = replace(order, filled_quantity=order.filled_quantity + quantity, state=state)
        self.number += 1
        if quantity:
            execution = Execution(
                f"E{self.number}",
                order.order_id,
                "XNAS",
                order.symbol,
                order.side,
                order.limit_price,
                quantity,
                0,
                0,
            )
            self.one.book.on_fill(order.rule, execution)
            self.done.append((order.rule, execution))
            self.reference.fills.append(
                (order.rule, order.symbol, order.side, quantity, order.limit_price, 0)
            )
        self.one.book.on_order(changed)
        self.reference.orders.pop(order.order_id)
        if changed.leaves:
            self.open[place] = changed
            self.reference.orders[order.order_id] = (
                *(order.rule, order.symbol, order.side, changed.leaves, order.limit_price),
            )  # type: ignore[assignment]
        else:
            self.open.pop(place)

    @invariant()
    def within(self) -> None:
        """Worst case positions and exposures, as the oracle computes them, are within the limits."""
        if not hasattr(self, "one"):
            return
        assert len(self.reference.orders) <= OPEN
        for symbol in ("ALFA", "BRVO"):
            position, buys, sells = self.reference.held(symbol, None)
            assert position + buys <= POSITION * NANOS
            assert sells - position <= POSITION * NANOS
            assert self.one.book.position("XNAS", symbol) == (position, buys, sells)
        for own, limit in ((None, GROSS), ("rule", GROSS * 2 // 3)):
            worst = [self.reference.held(symbol, own) for symbol in ("ALFA", "BRVO")]
            gross = sum(max(abs(position + buys), abs(position - sells)) for position, buys, sells in worst)
            assert gross * 100 <= limit * NANOS
            if own is None:
                assert sum(position + buys for position, buys, _ in worst) * 100 <= NET * NANOS
                assert sum(sells - position for position, _, sells in worst) * 100 <= NET * NANOS


TestTrading = Trading.TestCase
TestTrading.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_busted_fill_is_taken_back_to_the_unit() -> None:
    """Position, cash and P&L of firm, rule and instrument are what they were."""
    one = world()
    one.fill("buy", 7 * NANOS, BID, fee=3)
    before = [
        one.book.position("XNAS", "ALFA"),
        *(one.book.day_pnl(level, SCOPES[level] if level else "") for level in Level),
    ]
    execution = Execution("E", "O", "XNAS", "ALFA", "sell", 123_456_789, 987_654_321, 0, 0)
    one.book.on_fill("rule", execution, fee=11)
    one.book.on_fill("rule", execution, fee=11, sign=-1)
    after = [
        one.book.position("XNAS", "ALFA"),
        *(one.book.day_pnl(level, SCOPES[level] if level else "") for level in Level),
    ]
    assert after == before
