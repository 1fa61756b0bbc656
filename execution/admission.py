"""Intents in, what the gate refuses them for out; those that it passes, journaled as orders or as parents."""

from __future__ import annotations

from collections.abc import Sequence

from execution import metrics
from execution.journal import Journal
from execution.ledger import Ledger
from execution.orders import OrderRecord
from execution.parents import Parents
from execution.pretrade import PreTrade
from execution.records import record_of
from execution.risk import Refusal, pair_leg
from execution.sizing import OrderIntent
from tickloom.clock import NS_PER_S, Clock
from tickloom.events import OrderState, Signal
from tickloom.records import replace


class Admission:
    """The way of new orders into the ledger, through the gate. Not thread-safe."""

    def __init__(
        self, journal: Journal, ledger: Ledger, pretrade: PreTrade, parents: Parents, clock: Clock
    ) -> None:
        self._journal, self._ledger, self._parents = journal, ledger, parents
        self._pretrade, self._risk, self._clock = pretrade, pretrade.book, clock
        self._last_accepted: dict[tuple[str, str, str, str], int] = {}

    def recover(self) -> None:
        """Know again when each rule last traded."""
        self._last_accepted = self._journal.last_accepted()

    def accepted(self, signal: Signal) -> None:
        """A signal became orders: the next one of its kind keeps its distance."""
        self._last_accepted[(signal.rule, signal.venue, signal.symbol, signal.side)] = signal.ts_event

    def accept(self, orders: Sequence[OrderRecord], enabled: bool) -> list[OrderRecord]:
        """Journal orders that the gate has passed, parents with their first children; what leaves of them."""
        send, parents = [], []
        for order in orders:
            routed = self._parents.routes(order.venue)
            made = replace(order, state=OrderState.NEW) if routed else order
            self._journal.add_order(made, sent=not routed)
            self._ledger.note_verdict(made)
            if routed:
                self._risk.on_accepted(made, made.ts)
                self._ledger.add_parent(made)
                parents.append(made.order_id)
            else:
                self._risk.on_sent(made, made.ts)
                self._ledger.add(made)
                send.append(made)
        for parent_id in parents:
            send += self._first_parts(parent_id, enabled)
        return send

    def refusals(self, intents: list[OrderIntent], signal: Signal, enabled: bool) -> list[Refusal | None]:
        """What each leg is refused for. A leg that passes is held while the next one is looked at, so that
        a pair is within the limits as a whole, and is let go again if another leg is refused."""
        refusals: list[Refusal | None] = []
        now_ns = self._clock.now_ns()
        for intent in intents:
            refusals.append(self.refusal(intent, signal, enabled))
            if refusals[-1] is None:
                self._risk.on_order(record_of(intent, None, now_ns))
        for intent, refusal in zip(intents, refusals, strict=True):
            if refusal is None:
                continue  # both legs or neither
            for other, mine in zip(intents, refusals, strict=True):
                if mine is None:
                    self._risk.on_order(record_of(other, refusal, now_ns))
            return [mine if mine else pair_leg(intent, refusal) for mine in refusals]
        return refusals

    def refusal(
        self, intent: OrderIntent, signal: Signal, enabled: bool, resend: bool = False
    ) -> Refusal | None:
        """What one is refused for. ``resend``: it was accepted before, and the venue never saw it."""
        repeated = self._last_accepted.get((signal.rule, signal.venue, signal.symbol, signal.side), 0)
        verdict = self._pretrade.verdict(intent, signal, enabled, repeated, resend)
        self._ledger.verdicts[intent.order_id] = verdict.as_json()
        return self._pretrade.refusal(intent, verdict)

    def _first_parts(self, parent_id: str, enabled: bool) -> list[OrderRecord]:
        """What leaves of a parent at once. Inside the transaction that makes it."""
        decision = self._parents.decide(parent_id)
        if decision is None:
            return []
        return self._parents.make(parent_id, decision, enabled).sent


def count(signal: Signal, orders: list[OrderRecord], refusals: list[Refusal | None], now_ns: int) -> None:
    """What became of a signal, for the metrics."""
    metrics.of(metrics.SIGNALS, "refused" if any(refusals) else "accepted").inc()
    for order, refusal in zip(orders, refusals, strict=True):
        metrics.of(metrics.ORDERS, order.state.value).inc()
        if refusal:
            metrics.REFUSED.labels(refusal.check.value).inc()
    if not any(refusals):
        metrics.SIGNAL_TO_ORDER.observe(max(0, now_ns - signal.ts_signal) / NS_PER_S)
