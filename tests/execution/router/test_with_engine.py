"""Router, engine, journal and the exchange's core together: both legs of a pair, held to their leg risk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from execution.engine import OrderEngine
from execution.exchange.matching import MatchingEngine, Outcome
from execution.exchange.requests import CancelRequest, NewOrder, OrderType, StatusRequest
from execution.journal import Journal
from execution.killswitch import KillSwitch
from execution.limits import parse
from execution.market import MarketState
from execution.orders import OrderRecord, client_order_id
from execution.router.books import MarketBooks
from execution.router.smart import SmartRouter
from tests.execution.rig import LIMITS, VENUE, make_signal, standing_market
from tests.execution.router.market import DESTINATIONS, PROFILES
from tests.execution.router.world import REGISTRY, settings
from tickloom.clock import NS_PER_MS, ReplayClock, SystemClock
from tickloom.events import OrderState, Signal
from tickloom.prices import NANOS
from tickloom.records import replace

LEG_RISK = 2_500
GATEWAY = "simulated"
#: All destinations are seen by the primary's book, which stands still.
PLACES = replace(
    DESTINATIONS, by_name={name: replace(one, book=VENUE) for name, one in DESTINATIONS.by_name.items()}
)


class Desk:
    """An agent whose orders are routed, and the exchange, joined by function calls."""

    def __init__(self, directory: Path) -> None:
        self.clock = ReplayClock(SystemClock().now_ns())
        self.journal, self.market = Journal(directory / "journal.db"), MarketState()
        self.exchange = MatchingEngine(REGISTRY, [], 0, PROFILES)
        for topic, batch in standing_market(REGISTRY, 2):
            self.exchange.apply(batch.block, 0)
            if topic.startswith("ticks"):
                self.market.apply(batch, self.clock.now_ns())
        self.exchange.go_live(0)
        self.config = settings(legs={"leg_risk_max": str(LEG_RISK)})
        self.reports = 0
        self.worst = 0.0
        self.start()

    def start(self) -> None:
        """The agent starts, or starts again."""
        router = SmartRouter(self.config, PLACES, REGISTRY, MarketBooks(self.market))
        self.engine = OrderEngine(
            journal=self.journal,
            registry=REGISTRY,
            limits=parse(LIMITS.encode(), "limits", REGISTRY),
            market=self.market,
            clock=self.clock,
            kill_switch=KillSwitch(self.journal.path.parent),
            enabled=True,
            connected=lambda _: True,
            router=router,
        )
        parents, journal = self.engine.ledger.parents, self.journal
        router.attach(lambda order_id: parents.get(order_id) or journal.order(order_id))
        self.engine.recover()
        self.ask(self.engine.on_session(GATEWAY, "S"))

    def ask(self, orders: list[OrderRecord]) -> None:
        """The exchange says what it knows of them."""
        for order in orders:
            request = StatusRequest(order.order_id, order.sent_to, order.symbol, order.side)
            answer = self.exchange.status(request, self.clock.now_ns()).answer
            assert answer is not None
            self.send(self.engine.on_report(answer, GATEWAY))

    def take(self, signal: Signal) -> None:
        """A signal, and all that follows at once."""
        self.send(self.engine.on_signal(signal))

    def send(self, orders: list[OrderRecord]) -> None:
        """Orders to the exchange, one by one; answers make new ones."""
        for order in orders:
            self.clock.advance_by(NS_PER_MS)
            request = NewOrder(
                *(order.order_id, order.sent_to, order.symbol, order.side, order.quantity, order.limit_price),
                *(order.time_in_force, OrderType(order.order_type), order.min_quantity, order.post_only),
            )
            self.told(self.exchange.submit("ME", request, self.clock.now_ns()))

    def told(self, outcome: Outcome) -> None:
        """Reports to the agent."""
        for _, report in outcome.reports:
            self.reports += 1
            again = self.engine.on_report(replace(report, report_seq=self.reports), GATEWAY)
            self.look()
            self.send(again)

    def timers(self, turns: int) -> None:
        """So many turns of the timers, a tenth of a second apart."""
        for _ in range(turns):
            self.clock.advance_by(100 * NS_PER_MS)
            due = self.engine.on_timer()
            for order in due.cancel:
                request = CancelRequest(order.order_id, order.sent_to, order.symbol, order.side)
                self.told(self.exchange.cancel(request, self.clock.now_ns()))
            self.ask(due.ask)
            self.send(due.send)

    def look(self) -> None:
        """The most that was without a hedge so far, by what was executed: money."""
        orders = [self.journal.order(client_order_id(self.signal.signal_id, leg)) for leg in (0, 1)]
        shares = [one.filled_quantity / one.quantity for one in orders if one is not None]
        money = [one.quantity * one.limit_price / NANOS / NANOS for one in orders if one is not None]
        leading = int(shares[1] > shares[0])
        self.worst = max(self.worst, abs(shares[0] - shares[1]) * money[leading])

    signal: Signal = make_signal(1, "ALFA~BRVO")

    def parent(self, leg: int) -> OrderRecord:
        """A leg's order now."""
        found = self.journal.order(client_order_id(self.signal.signal_id, leg))
        assert found is not None
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.signal = make_signal(1, "ALFA~BRVO")
    yield desk
    desk.journal.close()


def test_both_legs_are_done_in_step(desk: Desk) -> None:
    """65 ALFA bought, 78 BRVO sold, by several parts of each over several places; never more than the leg
    risk without a hedge; each decision is in the journal with the orders that it made."""
    desk.take(desk.signal)
    desk.timers(20)
    assert [desk.parent(leg).state for leg in (0, 1)] == [OrderState.FILLED, OrderState.FILLED]
    assert desk.engine.portfolio.firm.quantity(VENUE, "ALFA") == 65 * NANOS
    assert desk.engine.portfolio.firm.quantity(VENUE, "BRVO") == -78 * NANOS
    assert 0 < desk.worst <= LEG_RISK
    for leg in (0, 1):
        children = desk.journal.children(desk.parent(leg).order_id)
        assert len(children) >= 4  # a quarter of it at a time
        assert {one.sent_to for one in children} >= {"DARK", "BATS"}
        made = [
            order["order_id"]
            for route in desk.journal.routes(desk.parent(leg).order_id)
            for order in msgspec.json.decode(route.decision)["orders"]
        ]
        assert made == [one.order_id for one in children]
    assert desk.journal.alerts() == []


def test_a_leg_that_is_refused_everywhere_stops_the_other(desk: Desk) -> None:
    """BRVO is halted at every place after the first part: ALFA stops within the leg risk, and says why."""
    for name in PROFILES:
        desk.exchange.halt(name, "BRVO", "news")
    desk.take(desk.signal)
    desk.timers(20)
    first, second = desk.parent(0), desk.parent(1)
    assert second.filled_quantity == 0
    assert second.terminal
    assert first.terminal
    assert first.filled_quantity < first.quantity
    assert desk.worst <= LEG_RISK
    assert "unhedged" in first.reason
    assert desk.engine.open == {}


def test_a_restart_goes_on_where_it_was(desk: Desk) -> None:
    """The agent dies with the first parts journaled, of which one left and its answer was lost. The next one
    asks, and goes on: both legs done, in step, and the exchange traded just that."""
    orders = desk.engine.on_signal(desk.signal)
    assert len(orders) == 2
    order = orders[0]
    request = NewOrder(
        *(order.order_id, order.sent_to, order.symbol, order.side, order.quantity, order.limit_price),
        *(order.time_in_force, OrderType(order.order_type), order.min_quantity, order.post_only),
    )
    desk.exchange.submit("ME", request, desk.clock.now_ns())
    desk.start()
    desk.timers(60)
    assert desk.engine.open == {}
    assert [desk.parent(leg).state for leg in (0, 1)] == [OrderState.FILLED, OrderState.FILLED]
    assert desk.worst <= LEG_RISK
    traded: Counter[str] = Counter()
    for one in desk.exchange.orders.values():
        traded[one.symbol] += one.filled_quantity
    assert traded == {"ALFA": 65 * NANOS, "BRVO": 78 * NANOS}
