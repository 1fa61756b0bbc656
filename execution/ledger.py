"""What reports change in; orders, positions and what the gate holds, out: all of one change together.

An order is held in the gate's book for what it may still fill. Two orders never hold the same quantity: of a
parent that is what no child has taken over yet, and while an order is being replaced the two hold the larger
of both, at the price that reaches further. Everything here that writes is called inside a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from msgspec.structs import replace

from execution import metrics
from execution.journal import Journal
from execution.market import MarketState
from execution.orders import OrderRecord, amend, fill
from execution.portfolio import Portfolio
from execution.reports import Amendment, Effect
from execution.risk import RiskBook
from execution.unwinder import Unwinder
from tickloom.clock import Clock
from tickloom.events import Execution, OrderState

_log = structlog.get_logger("execution")


class Ledger:
    """Open orders, parents and positions of one agent. Not thread-safe.

    Attributes
    ----------
    open : dict of str to OrderRecord
        Orders that may have left and may still be filled.
    parents : dict of str to OrderRecord
        Orders that are worked through children.
    """

    def __init__(
        self, journal: Journal, market: MarketState, clock: Clock, risk: RiskBook, unwinder: Unwinder
    ) -> None:
        self._journal, self._clock, self._risk, self._unwinder = journal, clock, risk, unwinder
        self.portfolio = Portfolio(journal, market, clock)
        self.open: dict[str, OrderRecord] = {}
        self.parents: dict[str, OrderRecord] = {}
        self.waiting_since_ns: dict[str, int] = {}
        self.verdicts: dict[str, bytes] = {}  # until they are journaled
        self._unknown: set[str] = set()
        self._children: dict[str, dict[str, OrderRecord]] = {}
        self._replacements: dict[str, str] = {}  # of an order that is being replaced: the other's id

    def recover(self) -> None:
        """Orders and positions as the journal has them."""
        self.portfolio.recover()
        self.parents = {order.order_id: order for order in self._journal.open_parents()}
        for order_id in self.parents:
            self._children[order_id] = {one.order_id: one for one in self._journal.children(order_id)}
        for order in self._journal.open_orders():
            if order.order_id not in self.parents:
                self.open[order.order_id] = order
                if order.state is OrderState.UNKNOWN:
                    self._unknown.add(order.order_id)
                if order.original_order_id:
                    self._replacements[order.original_order_id] = order.order_id

    def held_orders(self) -> list[OrderRecord]:
        """All that may still be filled, as the gate holds it: no quantity twice."""
        parents = (self.held_of_parent(parent) for parent in self.parents.values())
        return [*(self.held(order) for order in self.open.values()), *parents]

    # --- what is held --------------------------------------------------------------------------

    def children(self, parent_id: str) -> list[OrderRecord]:
        """Of a parent that is worked, in the order in which they were made; finished ones too."""
        return list(self._children.get(parent_id, {}).values())

    def replacement(self, order: OrderRecord) -> OrderRecord | None:
        """What is to take this order's place, as long as nobody knows whether it has."""
        return self.open.get(self._replacements.get(order.order_id, ""))

    def held(self, order: OrderRecord) -> OrderRecord:
        """The order as the gate holds it."""
        other = None if order.terminal else self.replacement(order)
        if other is not None:
            further = max if order.side == "buy" else min
            price = further(order.limit_price, other.limit_price)
            return replace(order, quantity=max(order.quantity, other.quantity), limit_price=price)
        if order.original_order_id in self.open:  # its original holds for both
            return replace(order, state=OrderState.REPLACED)
        return order

    def unrouted(self, parent: OrderRecord) -> int:
        """What of a parent neither has traded nor may still be traded by its children: nanos."""
        working = sum(
            self.held(self.open[child_id]).leaves
            for child_id in self._children.get(parent.order_id, {})
            if child_id in self.open
        )
        return max(0, parent.quantity - parent.filled_quantity - working)

    def held_of_parent(self, parent: OrderRecord, less: int = 0) -> OrderRecord:
        """A parent as the gate holds it: what is not routed, ``less`` what is looked at by itself (nanos)."""
        left = max(0, self.unrouted(parent) - less)
        return replace(parent, quantity=parent.filled_quantity + left)

    def hold(self, order: OrderRecord) -> None:
        """Tell the gate what an order and those that it shares a quantity with hold now."""
        self._risk.on_order(self.held(order))
        for other_id in (order.original_order_id, self._replacements.get(order.order_id, "")):
            other = self.open.get(other_id)
            if other is not None:
                self._risk.on_order(self.held(other))
        parent = self.parents.get(order.parent_id)
        if parent is not None:
            self._risk.on_order(self.held_of_parent(parent))

    # --- orders --------------------------------------------------------------------------------

    def add(self, order: OrderRecord) -> None:
        """An order that passed the gate: it may leave as soon as it is journaled."""
        self.open[order.order_id] = order
        if order.original_order_id:
            self._replacements[order.original_order_id] = order.order_id
        if order.parent_id in self._children:
            self._children[order.parent_id][order.order_id] = order
        self.waiting_since_ns[order.order_id] = self._clock.monotonic_ns()
        self.hold(order)

    def add_refused(self, child: OrderRecord) -> None:
        """A child that the gate refused: its router sees it among the others."""
        self._children[child.parent_id][child.order_id] = child

    def add_parent(self, parent: OrderRecord) -> None:
        """A parent that passed the gate as a whole."""
        self.parents[parent.order_id] = parent
        self._children[parent.order_id] = {}
        self._risk.on_order(self.held_of_parent(parent))

    def set_parent(self, parent: OrderRecord) -> None:
        """The next revision of a parent."""
        self._journal.update_order(parent)
        metrics.of(metrics.ORDERS, parent.state.value).inc()
        if not parent.terminal:
            self.parents[parent.order_id] = parent
            self._risk.on_order(self.held_of_parent(parent))
            return
        self.parents.pop(parent.order_id, None)
        self._children.pop(parent.order_id, None)
        self._risk.on_order(parent)

    def note_verdict(self, order: OrderRecord) -> None:
        """Journal what the gate measured of an order, if that is new."""
        verdict = self.verdicts.pop(order.order_id, None)
        if verdict is not None:
            self._journal.set_verdict(order.order_id, order.ts, verdict)

    def apply(self, effect: Effect) -> None:
        """Book what a report changes."""
        for other in effect.also:
            self._set(other, changed=True)
        if effect.order is not None:
            self._set(effect.order, effect.changed)
        if effect.execution is not None and effect.order is not None:
            self._book(effect.order, effect.execution)
        if effect.amendment is not None and effect.order is not None:
            self._amend(effect.order, effect.amendment)
        if effect.alert:
            self.alert("order", effect.alert)

    def _set(self, order: OrderRecord, changed: bool) -> None:
        self.note_verdict(order)
        if changed:
            self._journal.update_order(order)
            metrics.of(metrics.ORDERS, order.state.value).inc()
        else:
            self._journal.set_venue_order_id(order)
        if order.terminal:
            self.open.pop(order.order_id, None)
            self.waiting_since_ns.pop(order.order_id, None)
        else:
            self.open[order.order_id] = order
            self.waiting_since_ns[order.order_id] = self._clock.monotonic_ns()
        if order.state is OrderState.UNKNOWN:
            self._unknown.add(order.order_id)
        else:
            self._unknown.discard(order.order_id)
        children = self._children.get(order.parent_id)
        if children is not None:
            children[order.order_id] = order
        self.hold(order)
        # a late word on one that was refused says nothing of the one that came after it
        if order.terminal and self._replacements.get(order.original_order_id) == order.order_id:
            del self._replacements[order.original_order_id]

    # --- executions ----------------------------------------------------------------------------

    def _book(self, order: OrderRecord, execution: Execution) -> None:
        self._journal.add_execution(execution, order.rule)
        self._journal.add_fact(self.portfolio.book(order.rule, execution))
        self._risk.on_fill(order.rule, execution, execution.fee)
        self._unwinder.on_fill(order, execution.quantity)
        metrics.of(metrics.EXECUTIONS, execution.reported_by).inc()
        other = self.replacement(order)
        if other is not None:  # what is filled of an order counts in the one that takes its place
            inherited, _ = fill(other, execution.quantity, execution.price, execution.ts_recv)
            self._set(replace(inherited, state=other.state), changed=True)
        parent = self._parent(order)
        if parent is not None:
            booked, alert = fill(parent, execution.quantity, execution.price, execution.ts_recv)
            self.set_parent(booked)
            if alert:
                self.alert("order", f"parent {parent.order_id} ({parent.venue} {parent.symbol}): {alert}")

    def _amend(self, order: OrderRecord, amendment: Amendment) -> None:
        """Take an execution back, or change it, as if it had never been otherwise."""
        now_ns = self._clock.now_ns()
        destination, was = order.sent_to, amendment.was
        self._journal.change_execution(
            *(now_ns, destination, amendment.execution_id),
            *(amendment.quantity, amendment.price, amendment.text),
        )
        if was is None or not was.quantity:
            return
        identity = (was.venue, was.symbol, was.execution_id)
        self._risk.on_fill(order.rule, was, was.fee, sign=-1)
        if amendment.quantity:
            now = replace(was, quantity=amendment.quantity, price=amendment.price)
            self._risk.on_fill(order.rule, now, was.fee)
            _, position = self.portfolio.correct(
                order.rule, *identity, now.quantity, now.price, destination=destination
            )
        else:
            _, position = self.portfolio.bust(order.rule, *identity, destination=destination)
        self._journal.add_fact(position)
        other = self.replacement(order)
        if other is not None:  # it has inherited the execution as it was
            inherited = amend(other, was, amendment.quantity, amendment.price, now_ns)
            self._set(replace(inherited, state=other.state), changed=True)
        parent = self._parent(order)
        if parent is not None:
            changed = amend(parent, was, amendment.quantity, amendment.price, now_ns)
            whole = not parent.terminal and changed.filled_quantity >= parent.quantity
            state = OrderState.FILLED if whole else parent.state
            # a parent has nothing for sale itself, so what was taken back may be routed again
            self.set_parent(replace(changed, state=state, busted_quantity=0))

    def _parent(self, order: OrderRecord) -> OrderRecord | None:
        if not order.parent_id:
            return None
        return self.parents.get(order.parent_id) or self._journal.order(order.parent_id)

    def alert(self, kind: str, text: str) -> None:
        """Something that a person must look at."""
        metrics.ALERTS.labels(kind).inc()
        _log.error("alert", kind=kind, text=text)
        self._journal.alert(self._clock.now_ns(), kind, text)

    def gauges(self) -> None:
        metrics.OPEN_ORDERS.set(len(self.open))
        metrics.UNKNOWN_ORDERS.set(len(self._unknown))


def of_states(orders: Iterable[OrderRecord], *states: OrderState) -> list[OrderRecord]:
    """Those that are in one of ``states``."""
    return [order for order in orders if order.state in states]
