"""An order as the exchange has it, and what a step of the exchange comes to. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from execution.exchange.queue import QueuePosition
from execution.exchange.requests import CancelRequest, OrderType, StatusRequest
from execution.orders import TERMINAL
from execution.venues import Report, ReportType
from tickloom.events import OrderState


@dataclass(slots=True)
class VenueOrder:
    """An order as the exchange has it. quantities, price: nanos. number: time priority.

    ``busted_quantity``: executed and taken back; it is not for sale again. ``queue``: where a resting
    order stands, on a lit venue. It is not recorded: after a restart an order stands behind all that is
    displayed.
    """

    client: str
    order_id: str
    venue: str
    symbol: str
    side: str
    quantity: int
    price: int
    time_in_force: str
    state: OrderState
    filled_quantity: int
    number: int
    ts: int
    order_type: OrderType = OrderType.LIMIT
    min_quantity: int = 0
    post_only: bool = False
    busted_quantity: int = 0
    client_order_id: str = ""
    user_ref: int = 0
    original_order_id: str = ""
    queue: QueuePosition | None = field(default=None, compare=False)

    @property
    def venue_order_id(self) -> str:
        return f"{self.venue}-{self.number}"

    @property
    def leaves(self) -> int:
        if self.state in TERMINAL:
            return 0
        return max(0, self.quantity - self.filled_quantity - self.busted_quantity)

    def reaches(self, price: int) -> bool:
        """Whether its limit allows that price; one without a limit allows all."""
        if self.price <= 0:
            return True
        return price <= self.price if self.side == "buy" else price >= self.price


@dataclass(slots=True)
class Outcome:
    """What must become durable and then be told. ``answer``: to the asker only, and not kept."""

    orders: dict[str, VenueOrder] = field(default_factory=dict)
    reports: list[tuple[str, Report]] = field(default_factory=list)
    answer: Report | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """A piece of an execution, before it has a number. maker: it was resting."""

    order: VenueOrder
    quantity: int
    price: int
    maker: bool
    contra: VenueOrder | None = None


@dataclass(frozen=True, slots=True)
class Prevented:
    """A trade of a client with itself that was prevented, by taking ``quantity`` off ``order``."""

    order: VenueOrder
    quantity: int


def priority(orders: list[VenueOrder]) -> list[VenueOrder]:
    """Best price first, then the earliest; an order without a limit has the best price."""

    def key(order: VenueOrder) -> tuple[bool, int, int]:
        return (order.price > 0, -order.price if order.side == "buy" else order.price, order.number)

    return sorted(orders, key=key)


def report(order: VenueOrder, kind: ReportType, ts: int, text: str = "") -> Report:
    """The order's state as a report."""
    return Report(
        report_type=kind,
        order_id=order.order_id,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        state=order.state,
        filled_quantity=order.filled_quantity,
        venue_order_id=order.venue_order_id,
        text=text,
        ts=ts,
    )


def unknown(request: CancelRequest | StatusRequest, kind: ReportType, ts: int) -> Report:
    """There is no such order."""
    return Report(
        report_type=kind,
        order_id=request.order_id,
        venue=request.venue,
        symbol=request.symbol,
        side=request.side,
        state=OrderState.REJECTED,
        filled_quantity=0,
        text="unknown order",
        ts=ts,
        unknown_order=True,
    )
