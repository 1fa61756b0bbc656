"""Random orders, replacements, cancels, busts, halts and market moves: what must hold after each.

A failure prints its steps; hypothesis shrinks them.
"""

from __future__ import annotations

from collections import defaultdict

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from execution.exchange.lit import LitBook
from execution.exchange.matching import MatchingEngine, Outcome
from execution.exchange.profile import DarkModel, FeeTable, ImpactModel, VenueProfile
from execution.exchange.requests import CancelRequest, NewOrder, OrderType, ReplaceOrder
from execution.venues import Report, ReportType
from tests.execution.exchange.feed import CENT, REGISTRY, Market
from tickloom.events import OrderState, Side, StatusCode
from tickloom.prices import NANOS

CENTS = st.integers(99_95, 100_05)
SHARES = st.integers(1, 60)
SIDES = st.sampled_from(["buy", "sell"])
CLIENTS = st.sampled_from(["ME", "YOU"])
VENUES = st.sampled_from(["XNAS", "XTWO", "DARK"])
FEED_SIDES = st.sampled_from([Side.BUY, Side.SELL])


def profiles(policy: str) -> dict[str, VenueProfile]:
    fees = FeeTable(maker=-2_000_000, taker=3_000_000)
    impact = ImpactModel(temporary=1.0, permanent=0.5, daily_volume=100_000 * NANOS)
    return {
        "XNAS": VenueProfile("XNAS", self_trade=policy, fees=fees),
        "XTWO": VenueProfile("XTWO", feed="XNAS", self_trade=policy, impact=impact, displayed_share=0.5),
        "DARK": VenueProfile("DARK", feed="XNAS", kind="dark", dark=DarkModel(probability=0.5)),
    }


class Exchange(RuleBasedStateMachine):
    """Two engines are given the same; the second must do the same as the first."""

    @initialize(policy=st.sampled_from(["cancel_newest", "cancel_oldest", "decrement"]))
    def begin(self, policy: str) -> None:
        self.engine = MatchingEngine(REGISTRY, [], 0, profiles(policy))
        self.twin = MatchingEngine(REGISTRY, [], 0, profiles(policy))
        for engine in (self.engine, self.twin):
            engine.go_live(0)
        self.market, self.other = Market(self.engine), Market(self.twin)
        self.policy = policy
        self.executed: dict[str, int] = defaultdict(int)  # by order, from reports alone
        self.first_quantity: dict[str, int] = {}
        self.executions: dict[str, Report] = {}
        self.count = 0

    # --- steps -----------------------------------------------------------------------------------

    @rule(
        client=CLIENTS, venue=VENUES, side=SIDES, cents=CENTS, shares=SHARES,
        tif=st.sampled_from(["day", "day", "ioc", "fok"]), kind=st.sampled_from(["limit", "limit", "other"]),
        post_only=st.booleans(), least=st.sampled_from([0, 0, 20]),
    )  # fmt: skip
    def submit(
        self, client: str, venue: str, side: str, cents: int, shares: int, tif: str, kind: str,
        post_only: bool, least: int,
    ) -> None:  # fmt: skip
        other = OrderType.MIDPOINT if venue == "DARK" else OrderType.MARKET
        order_type = OrderType.LIMIT if kind == "limit" else other
        price = cents * CENT if order_type is OrderType.LIMIT else 0
        self.count += 1
        dark = venue == "DARK"
        order = NewOrder(
            f"O{self.count}", venue, "ALFA", side, shares * NANOS, price, tif, order_type,
            min_quantity=least * NANOS if dark else 0, post_only=post_only and tif == "day" and not dark,
        )  # fmt: skip
        self.first_quantity[order.order_id] = order.quantity
        before = self._resting(client)
        outcome = self.engine.submit(client, order, 0)
        self._note(outcome, self.twin.submit(client, order, 0))
        self._no_trade_through(order, outcome, before)

    @rule(number=st.integers(0, 200), cents=CENTS, shares=SHARES)
    def replace(self, number: int, cents: int, shares: int) -> None:
        live = [order for order in self.engine.orders.values() if order.leaves]
        if live:
            old = live[number % len(live)]
            self.count += 1
            request = ReplaceOrder(
                old.order_id, f"O{self.count}", old.venue, old.symbol, old.side, shares * NANOS, cents * CENT
            )
            self.first_quantity[request.order_id] = max(request.quantity, self.first_quantity[old.order_id])
            executed = self.executed[old.order_id]
            outcome = self.engine.replace(request, 0)
            if outcome.reports:
                self.executed[request.order_id] = executed
            self._note(outcome, self.twin.replace(request, 0))

    @rule(number=st.integers(0, 200), shares=st.integers(0, 60))
    def cancel(self, number: int, shares: int) -> None:
        live = [order for order in self.engine.orders.values() if order.leaves]
        if live:
            order = live[number % len(live)]
            request = CancelRequest(order.order_id, order.venue, order.symbol, order.side, shares * NANOS)
            self._note(self.engine.cancel(request, 0), self.twin.cancel(request, 0))

    @rule(number=st.integers(0, 200))
    def bust(self, number: int) -> None:
        if self.executions:
            execution = sorted(self.executions)[number % len(self.executions)]
            self._note(self.engine.bust(execution, 0), self.twin.bust(execution, 0))

    @rule(side=FEED_SIDES, cents=CENTS, shares=st.integers(0, 100))
    def level(self, side: Side, cents: int, shares: int) -> None:
        self._note(self.market.level(side, cents, shares), self.other.level(side, cents, shares))

    @rule(bid=st.integers(99_95, 100_02), spread=st.integers(1, 4), size=st.integers(1, 100))
    def quote(self, bid: int, spread: int, size: int) -> None:
        quote = (bid, size, bid + spread, size)
        self._note(self.market.quote(*quote), self.other.quote(*quote))

    @rule(cents=CENTS, shares=st.integers(1, 100), side=st.sampled_from(Side))
    def trade(self, cents: int, shares: int, side: Side) -> None:
        self._note(
            self.market.trade(cents, shares, aggressor=side), self.other.trade(cents, shares, aggressor=side)
        )

    @rule(
        cents=CENTS, sizes=st.lists(st.integers(1, 100), min_size=2, max_size=5), side=st.sampled_from(Side)
    )
    def trades(self, cents: int, sizes: list[int], side: Side) -> None:
        self._note(self.market.trades(cents, sizes, side), self.other.trades(cents, sizes, side))

    @rule(code=st.sampled_from([StatusCode.HALTED, StatusCode.TRADING, StatusCode.TRADING]))
    def status(self, code: StatusCode) -> None:
        self._note(self.market.status(code), self.other.status(code))

    # --- what must hold ----------------------------------------------------------------------------

    def _note(self, outcome: Outcome, twin: Outcome) -> None:
        """Deterministic; executions are unique, positive, within the order and its limit."""
        assert outcome.reports == twin.reports
        assert outcome.answer == twin.answer
        for _, report in outcome.reports:
            order = self.engine.orders[report.order_id]
            if report.report_type is ReportType.TRADE:
                assert report.execution_id not in self.executions
                assert report.last_quantity > 0
                assert order.reaches(report.last_price)
                self.executions[report.execution_id] = report
                self.executed[report.order_id] += report.last_quantity
            elif report.report_type is ReportType.TRADE_CANCELLED:
                taken_back = self.executions.pop(report.execution_id)
                self.executed[report.order_id] -= taken_back.last_quantity

    def _resting(self, taker: str) -> dict[tuple[str, str], int]:
        """The best price of the others' resting orders, by venue and side."""
        best: dict[tuple[str, str], int] = {}
        for order in self.engine.orders.values():
            if order.leaves and order.venue != "DARK" and order.client != taker:
                key = (order.venue, order.side)
                known = best.get(key, order.price)
                best[key] = max(known, order.price) if order.side == "buy" else min(known, order.price)
        return best

    def _no_trade_through(
        self, order: NewOrder, outcome: Outcome, before: dict[tuple[str, str], int]
    ) -> None:
        """A taker's first execution is no worse than the best resting price that he met.

        His own orders are not among them: the venue cancels them or makes them smaller, and he trades behind.
        """
        best = before.get((order.venue, "sell" if order.side == "buy" else "buy"))
        first = next(
            (
                report.last_price
                for _, report in outcome.reports
                if report.report_type is ReportType.TRADE and report.order_id == order.order_id
            ),
            None,
        )
        if best is None or first is None:
            return
        assert first <= best if order.side == "buy" else first >= best

    @invariant()
    def quantities_are_conserved(self) -> None:
        """What reports say was executed is what the order has; it never exceeds the order."""
        for order in self.engine.orders.values() if hasattr(self, "engine") else ():
            if order.state is not OrderState.REPLACED:
                assert order.filled_quantity == self.executed[order.order_id], order
            assert 0 <= order.filled_quantity <= max(order.quantity, self.first_quantity[order.order_id])
            assert order.leaves >= 0
            if order.state is OrderState.FILLED:
                assert order.filled_quantity + order.busted_quantity == order.quantity

    @invariant()
    def books_are_sound(self) -> None:
        """What rests is alive and in its book once; two clients are not locked; queues are in order."""
        if not hasattr(self, "engine"):
            return
        for venue in ("XNAS", "XTWO", "DARK"):
            book = self.engine.markets.book(venue, "ALFA")
            numbers = [order.number for order in book.resting]
            assert len(numbers) == len(set(numbers))
            alive = {o.order_id for o in self.engine.orders.values() if o.leaves and o.venue == venue}
            assert {order.order_id for order in book.resting} == alive
            if isinstance(book, LitBook):
                self._lit(book)

    def _lit(self, book: LitBook) -> None:
        for buy in book.resting:
            for sell in book.resting:
                if buy.side == "buy" and sell.side == "sell":
                    assert buy.price < sell.price, (buy, sell)
        levels: dict[tuple[str, int], list[int]] = defaultdict(list)
        for order in sorted(book.resting, key=lambda order: order.number):
            assert order.queue is not None
            assert order.queue.ahead >= 0
            levels[(order.side, order.price)].append(order.queue.ahead)
        for ahead in levels.values():
            assert ahead == sorted(ahead)  # who came first stands first


TestExchange = Exchange.TestCase
TestExchange.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
