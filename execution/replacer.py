"""A wish to change a working order in; what is to take its place, through the gate and journaled, out."""

from __future__ import annotations

from collections.abc import Callable

from execution import metrics, replacing
from execution.journal import Journal
from execution.ledger import Ledger
from execution.orders import OrderRecord, transition
from execution.pretrade import PreTrade
from execution.records import intent_of
from execution.reports import Effect
from execution.risk import Refusal
from tickloom.clock import Clock
from tickloom.errors import OrderStateError
from tickloom.events import OrderState
from tickloom.records import replace


class Replacer:
    """Cancel/replace of one agent's orders; see :meth:`execution.engine.OrderEngine.replace`."""

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
        pretrade: PreTrade,
        clock: Clock,
        connected: Callable[[str], bool],
    ) -> None:
        self._journal, self._ledger, self._pretrade = journal, ledger, pretrade
        self._clock, self._connected = clock, connected

    def replace(
        self, order_id: str, quantity: int, limit_price: int, why: str, enabled: bool
    ) -> tuple[OrderRecord, OrderRecord] | None:
        """(the new order, the one whose place it is to take), durable; None: the gate refused it.

        Raises
        ------
        OrderStateError
            There is no such order, or it cannot be replaced as it is now.
        """
        order = self._replaceable(order_id)
        now_ns, number = self._clock.now_ns(), self._journal.replacement_count(order_id)
        original, successor = replacing.request(order, number, quantity, limit_price, now_ns, why)
        parent = self._ledger.parents.get(order.parent_id)
        if parent is not None and quantity - order.quantity > self._ledger.unrouted(parent):
            raise OrderStateError(f"order {order_id} would be more than what is left of its parent")
        refusal = self._refusal(order, successor, now_ns, enabled)
        with self._journal.transaction():
            if refusal is not None:
                metrics.REFUSED.labels(refusal.check.value).inc()
                refused = transition(successor, OrderState.REJECTED, now_ns, refusal.text)
                refused = replace(refused, filled_quantity=0, filled_value=0)
                self._journal.add_order(refused, sent=False)
                self._ledger.note_verdict(refused)
                return None
            self._journal.add_order(successor, sent=True)
            self._ledger.add(successor)
            self._ledger.note_verdict(successor)
            self._ledger.apply(Effect(original, changed=True))
        self._pretrade.book.on_message(order.rule, order.venue, order.symbol, now_ns)
        return successor, original

    def _replaceable(self, order_id: str) -> OrderRecord:
        order = self._ledger.open.get(order_id)
        if order is None:
            raise OrderStateError(f"order {order_id} is not open and cannot be replaced")
        if not self._connected(order.sent_to):
            raise OrderStateError(f"order {order_id} cannot be replaced: no session with {order.sent_to}")
        if self._ledger.replacement(order) is not None:
            raise OrderStateError(f"what became of the last replacement of order {order_id} is not known yet")
        return order

    def _refusal(
        self, order: OrderRecord, successor: OrderRecord, now_ns: int, enabled: bool
    ) -> Refusal | None:
        """What the gate says to the new order with the old one let go, which is held again behind it."""
        self._pretrade.roll_day()
        intent = intent_of(successor, successor.leaves)
        self._pretrade.book.on_order(replace(order, state=OrderState.REPLACED))
        verdict = self._pretrade.verdict_of_part(intent, now_ns, enabled)
        self._ledger.hold(order)
        self._ledger.verdicts[successor.order_id] = verdict.as_json()
        return self._pretrade.refusal(intent, verdict)
