"""A small routing world: four destinations of one market, books written by hand, prices in cents."""

from __future__ import annotations

from collections.abc import Sequence

from execution.destinations import Destination, Destinations
from execution.orders import OrderRecord
from execution.router import Decision, Slice
from execution.router.books import BookView
from execution.router.settings import RoutingSettings, parse
from execution.router.smart import SmartRouter
from execution.venues import Report, ReportType
from tickloom.clock import NS_PER_MS
from tickloom.events import OrderState
from tickloom.instruments import Registry
from tickloom.prices import NANOS
from tickloom.records import replace

CENT = NANOS // 100
NOW = 1_800_000_000 * NANOS
REGISTRY = Registry.load()
#: Currency a share is worth; XNAS is dearer to take from, BATS pays takers, EDGX is in between and slow.
LIT = (
    Destination("XNAS", "XNAS", "ouch", "lit", "XNAS", -CENT // 5, 3 * CENT // 10, NS_PER_MS),
    Destination("BATS", "XNAS", "fix", "lit", "BATS", CENT // 5, -CENT // 10, NS_PER_MS),
    Destination("EDGX", "XNAS", "fix", "lit", "EDGX", 0, CENT // 10, 3 * NS_PER_MS),
)
DARK = Destination("DARK", "XNAS", "ouch", "dark", "XNAS", 0, CENT // 10, NS_PER_MS)
DESTINATIONS = Destinations({one.name: one for one in (*LIT, DARK)})


def settings(**tables: dict[str, object]) -> RoutingSettings:
    """The defaults with these keys; ``dark={"enabled": False}``."""
    lines = ["version = 1"]
    for name, entries in tables.items():
        lines.append(f"[{name}]")
        for key, value in entries.items():
            text = f'"{value}"' if isinstance(value, str) else str(value).lower()
            lines.append(f"{key} = {text}")
    return parse("\n".join(lines).encode(), "routing.toml")


def book(
    bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]], ts: int = NOW, refused: str = ""
) -> BookView:
    """Of (cents, shares)."""

    def levels(side: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        return tuple((price * CENT, size * NANOS) for price, size in side)

    return BookView(levels(bids), levels(asks), ts, ts, ts, refused)


def parent(side: str = "buy", shares: int = 100, cents: int = 100_10, **changes: object) -> OrderRecord:
    """A parent order on ALFA."""
    order = OrderRecord(
        *("PARENT", "SIGNAL", 0, "rule", "XNAS", "ALFA", side, shares * NANOS, cents * CENT, "ioc"),
        *(OrderState.NEW, NOW, NOW),
    )
    return replace(order, **changes)  # type: ignore[arg-type]


class World:
    """A router, the books that it sees, and a parent's children as the engine would keep them."""

    def __init__(
        self, config: RoutingSettings | None = None, destinations: Destinations = DESTINATIONS
    ) -> None:
        self.books: dict[str, BookView] = {}
        self.down: set[str] = set()
        self.parents: list[OrderRecord] = []
        self.children: list[OrderRecord] = []
        self.now_ns = NOW
        self.router = SmartRouter(
            *(config or settings(), destinations, REGISTRY),
            books=lambda destination, _: self.books.get(destination.book),
            connected=lambda name: name not in self.down,
            order_of=lambda order_id: next((one for one in self.parents if one.order_id == order_id), None),
        )

    def decide(self, order: OrderRecord) -> Decision | None:
        """A decision, whose slices become children that wait for an answer."""
        mine = [child for child in self.children if child.parent_id == order.order_id]
        decision = self.router.decide(order, mine, self.now_ns)
        for part in decision.slices if decision is not None else []:
            self.children.append(child_of(order, part, len(self.children), self.now_ns))
        return decision

    def answer(self, number: int, shares: int, kind: ReportType = ReportType.CANCELLED) -> OrderRecord:
        """The child with that number fills so much and, unless that is all, ends as ``kind`` says."""
        child = self.children[number]
        filled = shares * NANOS
        whole = filled >= child.quantity
        state = {
            ReportType.CANCELLED: OrderState.CANCELLED,
            ReportType.REJECTED: OrderState.REJECTED,
            ReportType.NEW: OrderState.NEW,
        }[kind]
        state = OrderState.FILLED if whole else state
        told = Report(
            *(ReportType.TRADE if whole else kind, child.order_id, child.sent_to, child.symbol, child.side),
            *(state, filled),
        )
        self.router.on_report(child, told, self.now_ns)
        value = filled * child.limit_price
        self.children[number] = replace(child, state=state, filled_quantity=filled, filled_value=value)
        return self.children[number]


def child_of(order: OrderRecord, part: Slice, number: int, now_ns: int) -> OrderRecord:
    """The child order of a slice."""
    return OrderRecord(
        *(f"CHILD{number}", order.signal_id, order.leg, order.rule, order.venue, order.symbol, order.side),
        *(part.quantity, part.limit_price, part.time_in_force, OrderState.PENDING_NEW, now_ns, now_ns),
        parent_id=order.order_id,
        destination=part.destination,
        order_type=part.order_type,
        min_quantity=part.min_quantity,
        post_only=part.post_only,
    )


def chosen(decision: Decision | None) -> dict[str, tuple[int, int]]:
    """Destination to (shares, limit in cents), of every slice."""
    assert decision is not None
    return {one.destination: (one.quantity // NANOS, one.limit_price // CENT) for one in decision.slices}
