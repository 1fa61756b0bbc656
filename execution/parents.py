"""Parent orders and a router's decisions in; child orders, each through the gate, out.

A parent never leaves. It holds in the gate's book what no child has taken over, so parent and children
together never hold more than the signal asked for, and a child whose fate is unknown keeps its part until the
venue tells. A decision, with the books it saw, is durable in the transaction that makes its children, before
any of them leaves. A parent ends when it is filled, when its router gives it up, or when it is taken back
(kill switch, time, unwinding) and none of its children is open any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from execution import metrics
from execution.journal import Journal
from execution.ledger import Ledger
from execution.orders import OrderRecord, transition
from execution.pretrade import PreTrade
from execution.records import child_of, intent_of
from execution.router import Decision, Router, Slice
from execution.unwinder import PREFIX
from tickloom.clock import NS_PER_MS, Clock
from tickloom.events import OrderState
from tickloom.prices import format_nanos

CHILDREN_MAX = 500  # of a parent; a router that wants more goes in circles
REFUSALS_MAX = 5  # decisions in a row of which the gate refused a part; then the parent is given up
REFUSED_WAIT_NS = 250 * NS_PER_MS  # before the router is asked again; twice as long each time, 3.75 s in all


@dataclass(slots=True)
class Step:
    """What became of one decision. sent: children to send; refused: (child, why)."""

    parent: OrderRecord
    decision: Decision
    sent: list[OrderRecord] = field(default_factory=list)
    refused: list[tuple[OrderRecord, str]] = field(default_factory=list)

    def record(self) -> bytes:
        """The decision as JSON, with the ids of the orders that were made of it."""
        made = {child.order_id: "" for child in self.sent} | {one.order_id: why for one, why in self.refused}
        orders = [*self.sent, *(child for child, _ in self.refused)]
        return msgspec.json.encode(
            {
                "orders": [{"order_id": one.order_id, "refused": made[one.order_id]} for one in orders],
                "slices": self.decision.slices,
                "cancel": self.decision.cancel,
                "done": self.decision.done,
                "why": self.decision.why,
                "record": msgspec.Raw(self.decision.record),
            }
        )


class Parents:
    """All parents of one agent that are worked. Not thread-safe."""

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
        pretrade: PreTrade,
        clock: Clock,
        router: Router | None,
    ) -> None:
        self._journal, self._ledger, self._pretrade = journal, ledger, pretrade
        self._clock, self.router = clock, router
        self.taken_back: set[str] = set()  # children that the router wants cancelled
        self._given_up: dict[str, str] = {}  # nothing more is to be tried; why
        self._refusals: dict[str, int] = {}
        self._not_before_ns: dict[str, int] = {}
        self._recovered: set[str] = set()

    def routes(self, venue: str) -> bool:
        """Whether orders of this venue's instruments are parents."""
        return self.router is not None and self.router.routes(venue)

    def recover(self) -> None:
        """Go on with what the journal has, of which the ledger knows the orders."""
        for parent_id in self._ledger.parents:
            self._recovered.add(parent_id)
            routes = self._journal.routes(parent_id)
            last = msgspec.json.decode(routes[-1].decision) if routes else {}
            if last.get("done"):
                self._given_up[parent_id] = str(last.get("why", ""))

    # --- decisions -----------------------------------------------------------------------------

    def decide(self, parent_id: str) -> Decision | None:
        """What the router wants to do next for a parent; None: nothing."""
        parent = self._ledger.parents.get(parent_id)
        if parent is None or self.router is None or not self._works(parent):
            return None
        if self._clock.monotonic_ns() < self._not_before_ns.get(parent_id, 0):
            return None
        decision = self.router.decide(parent, self._ledger.children(parent_id), self._clock.now_ns())
        if decision is None or not (decision.slices or decision.cancel or decision.done):
            return None
        return decision

    def make(self, parent_id: str, decision: Decision, enabled: bool) -> Step:
        """A decision journaled with its children, each through the gate. Inside a transaction.

        What it says to cancel is in ``taken_back`` then.
        """
        self.taken_back |= set(decision.cancel)
        parent, children = self._ledger.parents[parent_id], self._ledger.children(parent_id)
        step = Step(parent, decision)
        for number, part in enumerate(decision.slices, start=len(children)):
            self._make(step, part, number, enabled)
        self._journal.add_route(parent_id, self._clock.now_ns(), step.record())
        for child in step.sent:
            self._journal.add_order(child, sent=True)
            self._ledger.note_verdict(child)
        for child, _ in step.refused:
            self._journal.add_order(child, sent=False)
            self._ledger.note_verdict(child)
        self._give_up(step)
        return step

    def _works(self, parent: OrderRecord) -> bool:
        return parent.state is not OrderState.PENDING_CANCEL and parent.order_id not in self._given_up

    def _make(self, step: Step, part: Slice, number: int, enabled: bool) -> None:
        """A slice as a child, which is held as such if it passes, and by its parent if not."""
        ledger, parent, now_ns = self._ledger, step.parent, self._clock.now_ns()
        child = child_of(parent, part, number, now_ns)
        unrouted = ledger.unrouted(parent)
        if part.quantity <= 0 or part.quantity > unrouted:
            why = (
                f"the router asks for {format_nanos(part.quantity)} of {format_nanos(unrouted)} that are "
                f"left of {parent.order_id}"
            )
            ledger.alert("router", why)
        else:
            why = self._refusal(parent, child, enabled)
        metrics.of(metrics.ORDERS, (OrderState.REJECTED if why else child.state).value).inc()
        if why:
            refused = transition(child, OrderState.REJECTED, now_ns, why)
            step.refused.append((refused, why))
            ledger.add_refused(refused)
            return
        step.sent.append(child)
        ledger.add(child)
        # a parent was remembered for the check of identical orders; its parts are messages
        self._pretrade.book.on_message(child.rule, child.venue, child.symbol, now_ns)

    def _refusal(self, parent: OrderRecord, child: OrderRecord, enabled: bool) -> str:
        """Why the gate refuses a child; its part of the parent is let go while it is looked at."""
        book = self._pretrade.book
        # an accepted order is worked as long as its rule allows; after a restart its age counts again
        ts = parent.ts_created if parent.order_id in self._recovered else self._clock.now_ns()
        intent = intent_of(child, unwinding=parent.signal_id.startswith(PREFIX))
        book.on_order(self._ledger.held_of_parent(parent, less=child.quantity))
        verdict = self._pretrade.verdict_of_part(intent, ts, enabled)
        book.on_order(self._ledger.held_of_parent(parent))
        self._ledger.verdicts[child.order_id] = verdict.as_json()
        refusal = self._pretrade.refusal(intent, verdict)
        if refusal is not None:
            metrics.REFUSED.labels(refusal.check.value).inc()
        return refusal.text if refusal else ""

    def _give_up(self, step: Step) -> None:
        parent_id, decision = step.parent.order_id, step.decision
        refusals = self._refusals.get(parent_id, 0) + 1 if step.refused else 0
        self._refusals[parent_id] = refusals
        if refusals:
            wait_ns = REFUSED_WAIT_NS << (refusals - 1)
            self._not_before_ns[parent_id] = self._clock.monotonic_ns() + wait_ns
        if decision.done:
            self._given_up[parent_id] = decision.why or "given up by the router"
        elif refusals >= REFUSALS_MAX:
            why = step.refused[-1][1]
            self._given_up[parent_id] = f"{REFUSALS_MAX} decisions in a row were refused, the last: {why}"
        elif len(self._ledger.children(parent_id)) >= CHILDREN_MAX:
            self._given_up[parent_id] = f"{CHILDREN_MAX} parts were tried"

    # --- the end -------------------------------------------------------------------------------

    def take_back(self, parent: OrderRecord, why: str) -> None:
        """Nothing more of it is sent, and its children are to be cancelled. Inside a transaction."""
        self._ledger.set_parent(transition(parent, OrderState.PENDING_CANCEL, self._clock.now_ns(), why))

    def is_ending(self, order: OrderRecord) -> bool:
        """Whether an order is a child of a parent that is taken back."""
        parent = self._ledger.parents.get(order.parent_id)
        return parent is not None and parent.state is OrderState.PENDING_CANCEL

    def over(self, parent_id: str) -> bool:
        """Whether :meth:`settle` would end it."""
        parent = self._ledger.parents.get(parent_id)
        if parent is None or self._works(parent):
            return False
        return not any(child.order_id in self._ledger.open for child in self._ledger.children(parent_id))

    def settle(self, parent_id: str) -> None:
        """End a parent of which nothing more is tried and nothing is open. Inside a transaction."""
        if not self.over(parent_id):
            return
        parent, now_ns = self._ledger.parents[parent_id], self._clock.now_ns()
        if parent.state is OrderState.PENDING_CANCEL:
            ended = transition(parent, OrderState.CANCELLED, now_ns)
        else:
            ended = transition(parent, OrderState.EXPIRED, now_ns, self._given_up[parent_id])
        self._ledger.set_parent(ended)
        self.forget(parent_id)

    def forget(self, parent_id: str) -> None:
        """It has ended."""
        self._given_up.pop(parent_id, None)
        self._refusals.pop(parent_id, None)
        self._not_before_ns.pop(parent_id, None)
        self._recovered.discard(parent_id)
