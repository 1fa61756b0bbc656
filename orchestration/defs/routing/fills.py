"""The journal in, each routed execution of a day with the decision that led to it out."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from execution.destinations import Destination, Destinations
from execution.journal import Journal
from execution.orders import OrderRecord
from execution.router.record import DecisionRecord
from tickloom.events import Execution
from tickloom.prices import NANOS


@dataclass(frozen=True, slots=True)
class RoutedFill:
    """One execution of a child. price: currency; quantity: units; fee: currency, below 0 a rebate.

    decision, decision_ts: number and market time (ns) of the decision that made the child; -1 and 0: there
    is none on record.
    """

    execution: Execution
    parent_id: str
    rule: str
    style: str
    decision: int
    decision_ts: int
    price: float
    quantity: float
    fee: float

    @property
    def group(self) -> str:
        """Of all that one decision led to."""
        return f"{self.parent_id}/{self.decision}"

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell."""
        return 1 if self.execution.side == "buy" else -1

    @property
    def cost(self) -> float:
        """All-in currency a unit; lower is better, a sale's is below 0."""
        return self.sign * self.price + self.fee / self.quantity


def routed_fills(journal: Journal, destinations: Destinations, from_ns: int, to_ns: int) -> list[RoutedFill]:
    """Executions of parents' children with from_ns <= ts < to_ns, as they stand now (busted ones are not)."""
    children = {order.order_id: order for order in journal.orders() if order.parent_id}
    decisions: dict[str, _Decisions] = {}
    found = []
    for rule, execution in journal.executions():
        child = children.get(execution.order_id)
        if child is None or not from_ns <= execution.ts < to_ns:
            continue
        made = decisions.get(child.parent_id)
        if made is None:
            made = decisions[child.parent_id] = _Decisions(journal, child.parent_id)
        number, ts_market = made.of(child)
        found.append(
            RoutedFill(
                *(execution, child.parent_id, rule, _style(child), number, ts_market),
                price=execution.price / NANOS,
                quantity=execution.quantity / NANOS,
                fee=_fee(execution, destinations.by_name.get(execution.reported_by)),
            )
        )
    return found


class _Made(msgspec.Struct):
    """An order that a decision led to."""

    order_id: str


class _Route(msgspec.Struct):
    """A row of the journal's ``routes``: the orders that were made, and the router's own record."""

    orders: list[_Made]
    record: DecisionRecord


class _Decisions:
    """A parent's, by the orders that they led to."""

    def __init__(self, journal: Journal, parent_id: str) -> None:
        self._of: dict[str, tuple[int, int]] = {}
        for route in journal.routes(parent_id):
            try:
                kept = msgspec.json.decode(route.decision, type=_Route)
            except msgspec.MsgspecError:
                continue  # of another router
            for order in kept.orders:
                self._of[order.order_id] = (route.number, kept.record.ts_market)

    def of(self, child: OrderRecord) -> tuple[int, int]:
        """Number and market time of the decision that made it."""
        return self._of.get(child.order_id, (-1, 0))


def _style(child: OrderRecord) -> str:
    if child.order_type == "midpoint":
        return "ping"
    return "take" if child.time_in_force == "ioc" else "post"


def _fee(execution: Execution, destination: Destination | None) -> float:
    """What was reported, or, of a venue that reports none, what its schedule says."""
    if execution.fee or destination is None:
        return execution.fee / NANOS
    added = execution.liquidity == "added"
    a_unit = destination.maker_fee if added else destination.taker_fee
    return a_unit / NANOS * execution.quantity / NANOS
