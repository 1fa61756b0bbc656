"""A market of three lit venues and a dark pool in the exchange's own core, and two ways to trade in it.

One feed moves all of them: the primary shows most of it, the others a share, one of them a tick wider. A
parent order is worked by the router, through the same reports that an agent gets, or is sent whole to the
primary. Time, trades and quotes are drawn from a seed; both ways see the same market.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from execution.destinations import Destination, Destinations
from execution.exchange.matching import MatchingEngine, Outcome
from execution.exchange.profile import DarkModel, FeeTable, VenueProfile
from execution.exchange.requests import CancelRequest, NewOrder, OrderType
from execution.orders import OrderRecord
from execution.router.books import BookView, Levels
from execution.router.settings import RoutingSettings
from execution.router.smart import SmartRouter
from execution.venues import Report, ReportType
from tests.execution.exchange.feed import Market
from tests.execution.router.world import CENT, NOW, REGISTRY, child_of
from tickloom.clock import NS_PER_MS
from tickloom.events import OrderState, Side
from tickloom.prices import NANOS
from tickloom.records import replace

MILL = NANOS // 1_000  # a tenth of a cent
PROFILES = {
    "XNAS": VenueProfile("XNAS", fees=FeeTable(maker=-2 * MILL, taker=3 * MILL)),
    "BATS": VenueProfile(
        "BATS", feed="XNAS", displayed_share=0.6, fees=FeeTable(maker=2 * MILL, taker=-MILL)
    ),
    "EDGX": VenueProfile("EDGX", feed="XNAS", displayed_share=0.4, fees=FeeTable(maker=0, taker=MILL)),
    "DARK": VenueProfile(
        *("DARK", "XNAS", "dark"),
        fees=FeeTable(maker=MILL, taker=MILL),
        dark=DarkModel(probability=0.5, share=0.5, life_ms=1_000_000),
    ),
}
DESTINATIONS = Destinations(
    {
        name: Destination(
            *(name, "XNAS", name.lower(), one.kind, "XNAS" if one.kind == "dark" else name),
            *(one.fees.maker, one.fees.taker, NS_PER_MS),
        )
        for name, one in PROFILES.items()
    }
)


@dataclass
class Trade:
    """What a parent came to. cost: all-in, nanos squared: lower is better, a sale's is below 0."""

    filled: int
    cost: int


class Exchange:
    """The venues, and what they show."""

    def __init__(self, seed: int) -> None:
        self.engine = MatchingEngine(REGISTRY, [], 0, PROFILES)
        self.engine.go_live(0)
        self.feed = Market(self.engine)
        self.random = random.Random(f"market|{seed}")
        self.mid = 100_00
        self.told: list[Report] = []
        self.move()

    def keep(self, outcome: Outcome) -> None:
        """Reports wait until they are read."""
        self.told += [report for _, report in outcome.reports]

    def move(self) -> None:
        """The next moment: a trade, then a new book around a mid that has perhaps moved by a cent."""
        draw = self.random
        self.mid += draw.choice([-1, 0, 0, 0, 1])
        half = draw.choice([1, 1, 2, 3])
        side = draw.choice([Side.BUY, Side.SELL])
        self.keep(self.feed.trade(self.mid, draw.randint(1, 60) * 10, aggressor=side))
        for level in range(1, 6):
            for book_side, sign in ((Side.BUY, -1), (Side.SELL, 1)):
                size = draw.randint(1, 30) * 10
                self.keep(self.feed.level(book_side, self.mid + sign * (half + level), size))
        sizes = draw.randint(1, 20) * 10, draw.randint(1, 20) * 10
        self.keep(self.feed.quote(self.mid - half, sizes[0], self.mid + half, sizes[1]))

    def view(self, destination: Destination, symbol: str, now_ns: int) -> BookView:
        """What its own feed shows: five levels a side, without what we took of them."""
        book = self.engine.markets.book(destination.book, symbol)
        shown = book.displayed  # type: ignore[union-attr]

        def levels(side: str) -> Levels:
            found = [(price, level.available) for price, level in shown.offered(side)]
            return tuple(found[:5])

        return BookView(levels("sell"), levels("buy"), now_ns, now_ns, now_ns)


class Routed:
    """Parents worked by a router, with the part of the engine that a router needs."""

    def __init__(
        self, seed: int, settings: RoutingSettings, destinations: Destinations = DESTINATIONS
    ) -> None:
        self.exchange, self.now_ns = Exchange(seed), NOW
        self.router = SmartRouter(
            *(settings, destinations, REGISTRY),
            books=lambda where, symbol: self.exchange.view(where, symbol, self.now_ns),
        )
        self.children: dict[str, OrderRecord] = {}
        self.fees: dict[str, int] = {}
        self.decisions: list[bytes] = []

    def work(self, order: OrderRecord, moments: int) -> Trade:
        """Until it is done, or for so many moments."""
        for _ in range(moments):
            for _ in range(50):
                mine = [one for one in self.children.values() if one.parent_id == order.order_id]
                decision = self.router.decide(order, mine, self.now_ns)
                if decision is None:
                    break
                self.decisions.append(decision.record)
                for name in decision.cancel:
                    child = self.children[name]
                    request = CancelRequest(name, child.sent_to, child.symbol, child.side)
                    self.exchange.keep(self.exchange.engine.cancel(request, self.now_ns))
                for part in decision.slices:
                    self._send(child_of(order, part, len(self.children), self.now_ns))
                self.now_ns += 2 * NS_PER_MS
                self._read()
                if decision.done:
                    return self._trade(order)
            if (
                sum(one.filled_quantity for one in self.children.values() if one.parent_id == order.order_id)
                == order.quantity
            ):
                break
            self.now_ns += 100 * NS_PER_MS
            self.exchange.move()
            self._read()
        return self._trade(order)

    def _send(self, child: OrderRecord) -> None:
        self.children[child.order_id] = child
        request = NewOrder(
            *(child.order_id, child.sent_to, child.symbol, child.side, child.quantity, child.limit_price),
            *(child.time_in_force, OrderType(child.order_type), child.min_quantity, child.post_only),
        )
        self.exchange.keep(self.exchange.engine.submit("ME", request, self.now_ns))

    def _read(self) -> None:
        told, self.exchange.told = self.exchange.told, []
        for report in told:
            child = self.children[report.order_id]
            self.router.on_report(child, report, self.now_ns)
            value = child.filled_value
            if report.report_type is ReportType.TRADE:
                value += report.last_quantity * report.last_price
                self.fees[child.order_id] = self.fees.get(child.order_id, 0) + report.fee
            self.children[child.order_id] = replace(
                child, state=report.state, filled_quantity=report.filled_quantity, filled_value=value
            )

    def _trade(self, order: OrderRecord) -> Trade:
        mine = [one for one in self.children.values() if one.parent_id == order.order_id]
        value = sum(one.filled_value for one in mine)
        fees = sum(self.fees.get(one.order_id, 0) for one in mine) * NANOS
        filled = sum(one.filled_quantity for one in mine)
        return Trade(filled, (value if order.side == "buy" else -value) + fees)


def naive(seed: int, order: OrderRecord) -> Trade:
    """All of it to the primary, as one immediate order at the parent's limit."""
    exchange = Exchange(seed)
    exchange.told.clear()
    request = NewOrder(
        *(order.order_id, "XNAS", order.symbol, order.side, order.quantity, order.limit_price, "ioc")
    )
    exchange.keep(exchange.engine.submit("ME", request, NOW))
    filled = value = fees = 0
    for report in exchange.told:
        if report.report_type is ReportType.TRADE:
            filled += report.last_quantity
            value += report.last_quantity * report.last_price
            fees += report.fee * NANOS
    return Trade(filled, (value if order.side == "buy" else -value) + fees)


def shortfall(trade: Trade, order: OrderRecord, price_of: Callable[[], int]) -> float:
    """Basis points by which the order cost more than at ``price_of`` (nanos); what was not filled is had at
    the parent's limit and the primary's fee."""
    d = 1 if order.side == "buy" else -1
    missing = order.quantity - trade.filled
    cost = trade.cost + missing * (d * order.limit_price + PROFILES["XNAS"].fees.taker)
    return (cost / order.quantity - d * price_of()) / price_of() * 10_000


__all__ = ["CENT", "DESTINATIONS", "Exchange", "OrderState", "Routed", "Trade", "naive", "shortfall"]
