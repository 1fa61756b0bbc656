"""Executions as long as they may be busted or corrected. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from execution.exchange.orders import Outcome, VenueOrder, report
from execution.venues import ReportType
from tickloom.events import Execution
from tickloom.records import replace


@dataclass(slots=True)
class _Trade:
    """contra: the other client's execution, where both sides are clients of ours."""

    order_id: str
    quantity: int
    price: int
    contra: str = ""


class Executions:
    """All executions of the exchange, by id. ``count``: of the last one's number."""

    def __init__(self, known: Iterable[Execution], count: int) -> None:
        self._trades = {item.execution_id: _Trade(item.order_id, item.quantity, item.price) for item in known}
        self._of_order: dict[str, list[str]] = {}
        for number, trade in self._trades.items():
            self._of_order.setdefault(trade.order_id, []).append(number)
        self.count = count

    def add(self, order: VenueOrder, quantity: int, price: int) -> str:
        """A new one; its id. Each side of a trade between two clients has a number of its own."""
        self.count += 1
        number = f"{order.venue}-E{self.count}"
        self._trades[number] = _Trade(order.order_id, quantity, price)
        self._of_order.setdefault(order.order_id, []).append(number)
        return number

    def carry(self, old: VenueOrder, new: VenueOrder) -> None:
        """``new`` stands in the place of ``old``, and what that had executed is now its."""
        numbers = self._of_order.pop(old.order_id, [])
        for number in numbers:
            self._trades[number].order_id = new.order_id
        self._of_order[new.order_id] = numbers

    def join(self, one: str, other: str) -> None:
        """They are the two sides of a trade."""
        self._trades[one].contra, self._trades[other].contra = other, one

    def amend(
        self, execution_id: str, quantity: int, price: int, orders: dict[str, VenueOrder], ts: int
    ) -> Outcome:
        """Give an execution, and its other side, another quantity and price; quantity 0 takes it back.

        It changes what was executed, not what is left: what is taken back is not for sale again.
        """
        outcome = Outcome()
        trade = self._trades.get(execution_id)
        for number in [execution_id, trade.contra] if trade is not None else []:
            found = self._trades.get(number)
            if found is None or found.quantity == 0:
                continue
            order = orders[found.order_id]
            order.ts = max(order.ts, ts)
            order.filled_quantity += quantity - found.quantity
            order.busted_quantity += found.quantity - quantity
            found.quantity, found.price = quantity, price or found.price
            kind = ReportType.TRADE_CORRECTED if quantity else ReportType.TRADE_CANCELLED
            told = replace(
                report(order, kind, order.ts),
                execution_id=number,
                last_quantity=quantity,
                last_price=price,
            )
            outcome.orders[order.order_id] = order
            outcome.reports.append((order.client, told))
        return outcome
