"""The journal in, each routed execution of a day with the decision that led to it out."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import msgspec

from execution.destinations import Destination, Destinations
from execution.journal import Journal
from execution.orders import OrderRecord
from execution.router import record
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


class _Decisions:
    """A parent's, in their order."""

    def __init__(self, journal: Journal, parent_id: str) -> None:
        self._times: list[int] = []
        self._records: list[tuple[int, DecisionRecord]] = []
        for route in journal.routes(parent_id):
            try:
                kept = record.decode(route.decision)
            except msgspec.MsgspecError:
                continue  # of another router
            self._times.append(route.ts)
            self._records.append((route.number, kept))

    def of(self, child: OrderRecord) -> tuple[int, int]:
        """Number and market time of the newest decision before the child was made that has a slice for it."""
        for at in range(bisect_right(self._times, child.ts_created) - 1, -1, -1):
            number, kept = self._records[at]
            if any(part.destination == child.sent_to for part in kept.slices):
                return number, kept.ts_market
        return -1, 0


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
