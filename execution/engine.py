"""Signals and venue reports in, orders to send out, everything journaled in between.

The core of the agent, without Kafka, sockets or threads: each method takes one thing that happened,
makes its effect durable in one transaction, and returns what the shell must now send. A
:class:`JournalError` out of any of them must end the process; the journal then tells where to go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from execution import metrics
from execution.journal import Journal
from execution.killswitch import KillSwitch
from execution.limits import Limits
from execution.market import MarketState
from execution.orders import OrderRecord, transition
from execution.portfolio import Portfolio
from execution.pretrade import PreTrade
from execution.reports import Effect, effect_of
from execution.risk import Refusal, pair_leg
from execution.sizing import OrderIntent, size
from execution.unwinder import Unwinder
from execution.venues import Report, ReportType
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock
from tickloom.events import OrderState, Signal
from tickloom.instruments import Registry

ACK_TIMEOUT_NS = 2 * NS_PER_S  # a venue that has not answered by then has perhaps not heard
ASK_INTERVAL_NS = 2 * NS_PER_S

_log = structlog.get_logger("execution")


@dataclass(frozen=True, slots=True)
class Source:
    """Where in Kafka a signal stands."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Due:
    """What the shell must send now."""

    send: list[OrderRecord] = field(default_factory=list)
    cancel: list[OrderRecord] = field(default_factory=list)
    ask: list[OrderRecord] = field(default_factory=list)


class OrderEngine:
    """Orders, positions and risk of one agent. Not thread-safe: one thread calls it.

    Parameters
    ----------
    market : MarketState
        May be fed by another thread.
    enabled : bool
        Live order entry. Off, every signal is journaled as refused.
    connected : Callable[[str], bool]
        Whether there is a session with a venue now.
    """

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        limits: Limits,
        market: MarketState,
        clock: Clock,
        kill_switch: KillSwitch,
        enabled: bool,
        connected: Callable[[str], bool],
        gateway: str = "simulated",
    ) -> None:
        self.journal, self.registry, self.market = journal, registry, market
        self.clock, self.kill_switch, self.enabled = clock, kill_switch, enabled
        self._gateway = gateway
        self.open: dict[str, OrderRecord] = {}
        self.portfolio = Portfolio(journal, market, clock)
        self.pretrade = PreTrade(journal, registry, limits, market, clock, kill_switch, connected)
        self.risk = self.pretrade.book
        self.unwinder = Unwinder(journal, registry, self.pretrade, market, clock, connected)
        self._last_accepted: dict[tuple[str, str, str, str], int] = {}
        self._waiting_since_ns: dict[str, int] = {}
        self._unwound: set[str] = set()  # orders that a breach plan wants cancelled
        self._verdicts: dict[str, bytes] = {}  # until they are journaled
        self._asked: Counter[str] = Counter()  # status requests that are not answered yet
        self._session = ""
        self._report_seq = 0

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.risk.limits_file

    def on_limits(self, limits: Limits, who: str, why: str) -> None:
        """Put changed limits in force, on the record.

        Raises
        ------
        LimitsError
            They do not follow from those in force, which stay.
        """
        self.risk.apply_limits(limits)
        with self.journal.transaction():
            text = f"revision {limits.revision}, digest {limits.digest}: {why}"
            self.journal.risk_action(self.clock.now_ns(), "limits", who, text)

    # --- start ---------------------------------------------------------------------------------

    def recover(self) -> None:
        """Rebuild orders and positions; what was under way is UNKNOWN until the venue tells."""
        self.portfolio.recover()
        self._last_accepted = self.journal.last_accepted()
        self.open = {order.order_id: order for order in self.journal.open_orders()}
        self.pretrade.recover(self.open.values())
        self.unwinder.recover()
        self.on_lost("the agent was restarted")
        if self.open:
            _log.info("recovered", open_orders=len(self.open), positions=len(self.portfolio.firm.holdings))
        self._gauges()

    # --- signals -------------------------------------------------------------------------------

    def next_offsets(self, topic: str) -> dict[int, int]:
        """Partition to the first offset whose effect is not durable."""
        return self.journal.next_offsets(topic)

    def on_malformed(self, text: str, source: Source) -> None:
        """A message that is no signal: an alert, and on to the next."""
        metrics.SIGNALS.labels("malformed").inc()
        with self.journal.transaction():
            self._alert("signal", f"{source.topic}/{source.partition}@{source.offset}: {text}")
            self._advance(source)

    def on_signal(self, signal: Signal, source: Source | None = None) -> list[OrderRecord]:
        """Size, check and journal a signal; the orders to send, whose intent is durable by then."""
        if self.journal.has_signal(signal.signal_id):
            metrics.SIGNALS.labels("duplicate").inc()
            with self.journal.transaction():
                self._advance(source)
            return []
        intents = size(signal, self.registry, self.limits.rules.get(signal.rule), self.market.view)
        refusals = self._refusals(intents, signal)
        now_ns = self.clock.now_ns()
        orders = [_record(intent, refusal, now_ns) for intent, refusal in zip(intents, refusals, strict=True)]
        accepted = not any(refusals)
        reason = "; ".join(refusal.text for refusal in refusals if refusal)
        with self.journal.transaction():
            self.journal.add_signal(signal, "accepted" if accepted else "refused", reason, now_ns)
            for order in orders:
                self.journal.add_order(order, sent=accepted)
                self._note_verdict(order)
            self._advance(source)
        self._count(signal, orders, refusals, now_ns)
        if not accepted:
            return []
        self._last_accepted[(signal.rule, signal.venue, signal.symbol, signal.side)] = signal.ts_event
        for order in orders:
            self.open[order.order_id] = order
            self._waiting_since_ns[order.order_id] = self.clock.monotonic_ns()
            self.risk.on_sent(order, now_ns)
        return orders

    def _refusals(self, intents: list[OrderIntent], signal: Signal) -> list[Refusal | None]:
        """What each leg is refused for. A leg that passes is held while the next one is looked at, so that
        a pair is within the limits as a whole, and is let go again if another leg is refused."""
        refusals: list[Refusal | None] = []
        now_ns = self.clock.now_ns()
        for intent in intents:
            refusals.append(self._refusal(intent, signal))
            if refusals[-1] is None:
                self.risk.on_order(_record(intent, None, now_ns))
        for intent, refusal in zip(intents, refusals, strict=True):
            if refusal is None:
                continue  # both legs or neither
            for other, mine in zip(intents, refusals, strict=True):
                if mine is None:
                    self.risk.on_order(_record(other, refusal, now_ns))
            return [mine if mine else pair_leg(intent, refusal) for mine in refusals]
        return refusals

    def _refusal(self, intent: OrderIntent, signal: Signal, resend: bool = False) -> Refusal | None:
        repeated = self._last_accepted.get((signal.rule, signal.venue, signal.symbol, signal.side), 0)
        verdict = self.pretrade.verdict(intent, signal, self.enabled, repeated, resend)
        self._verdicts[intent.order_id] = verdict.as_json()
        return self.pretrade.refusal(intent, verdict)

    def _note_verdict(self, order: OrderRecord) -> None:
        verdict = self._verdicts.pop(order.order_id, None)
        if verdict is not None:
            self.journal.set_verdict(order.order_id, order.ts, verdict)

    def sample(self) -> None:
        """Once a second: risk and positions at the current marks, on the record."""
        self.pretrade.sample()
        self.portfolio.sample()

    def _count(
        self, signal: Signal, orders: list[OrderRecord], refusals: list[Refusal | None], now_ns: int
    ) -> None:
        metrics.SIGNALS.labels("refused" if any(refusals) else "accepted").inc()
        for order, refusal in zip(orders, refusals, strict=True):
            metrics.ORDERS.labels(order.state.value).inc()
            if refusal:
                metrics.REFUSED.labels(refusal.check.value).inc()
        if not any(refusals):
            metrics.SIGNAL_TO_ORDER.observe(max(0, now_ns - signal.ts_signal) / NS_PER_S)

    # --- the venue's side ----------------------------------------------------------------------

    def last_report(self) -> tuple[str, int]:
        """The venue's record we know, and the number of its last report that is durable here."""
        return self.journal.last_report(self._gateway)

    def on_session(self, session: str) -> list[OrderRecord]:
        """Logged on; the orders to ask about (missed reports come by themselves, before the answers)."""
        known, report_seq = self.last_report()
        if known and known != session:
            text = f"the venue keeps another record now ({session}, not {known}); orders it forgot stay open"
            with self.journal.transaction():
                self._alert("venue", text)
        self._session, self._report_seq = session, report_seq if known == session else 0
        self._asked.clear()
        return self._ask([order for order in self.open.values() if order.state is OrderState.UNKNOWN])

    def on_lost(self, why: str) -> None:
        """No session any more: whatever waited for an answer is UNKNOWN."""
        waiting = (OrderState.PENDING_NEW, OrderState.PENDING_CANCEL)
        self._unknown([order for order in self.open.values() if order.state in waiting], why)

    def on_report(self, report: Report) -> list[OrderRecord]:
        """Book what a venue says; the orders to send again (the venue never saw them)."""
        if report.report_seq and report.report_seq <= self._report_seq:
            return []  # replayed, and durable here already
        order = self.open.get(report.order_id) or self.journal.order(report.order_id)
        known = bool(report.execution_id) and self.journal.has_execution(report.venue, report.execution_id)
        effect = effect_of(order, report, known, self.clock.now_ns())
        if report.report_type is ReportType.STATUS:
            self._asked[report.order_id] -= 1
        if effect.never_arrived and order is not None:
            # an answer to an earlier question says nothing once the order was sent again after it
            last = self._asked[order.order_id] <= 0
            effect = self._again(order) if last else Effect(order)
        with self.journal.transaction():
            self._apply(effect)
            if report.report_seq:
                self.journal.set_last_report(self._gateway, self._session, report.report_seq)
        self._report_seq = max(self._report_seq, report.report_seq)
        self._gauges()
        resend = effect.order
        return [resend] if effect.resend and resend is not None else []

    def _apply(self, effect: Effect) -> None:
        order = effect.order
        if order is not None:
            self.risk.on_order(order)
            self._note_verdict(order)
            if effect.changed:
                self.journal.update_order(order)
                metrics.ORDERS.labels(order.state.value).inc()
            else:
                self.journal.set_venue_order_id(order)
            if order.terminal:
                self.open.pop(order.order_id, None)
                self._unwound.discard(order.order_id)
                self._waiting_since_ns.pop(order.order_id, None)
            else:
                self.open[order.order_id] = order
                self._waiting_since_ns[order.order_id] = self.clock.monotonic_ns()
        if effect.execution is not None and order is not None:
            self.journal.add_execution(effect.execution, order.rule)
            self.journal.add_fact(self.portfolio.book(order.rule, effect.execution))
            self.risk.on_fill(order.rule, effect.execution)
            self.unwinder.on_fill(order, effect.execution.quantity)
            metrics.EXECUTIONS.labels(effect.execution.venue).inc()
        if effect.alert:
            self._alert("order", effect.alert)

    def _again(self, order: OrderRecord) -> Effect:
        """An order that never arrived goes through the gate again, and is sent or is rejected."""
        signal = self.journal.signal(order.signal_id)
        now_ns = self.clock.now_ns()
        refusal = None
        if signal is not None:
            # what it holds already is let go while it is looked at, or it would count twice
            self.risk.on_order(replace(order, state=OrderState.REJECTED))
            refusal = self._refusal(_intent(order), signal, resend=True)
        if signal is None or refusal is not None:
            why = refusal.text if refusal else "its signal is not in the journal"
            reason = f"never reached the venue, not sent again: {why}"
            rejected = transition(order, OrderState.REJECTED, now_ns, reason)
            return Effect(rejected, alert=f"order {order.order_id} {reason}", changed=True)
        self.risk.on_message(order.rule, order.venue, order.symbol, now_ns)
        again = transition(order, OrderState.PENDING_NEW, now_ns, "never reached the venue, sent again")
        return Effect(again, changed=True, resend=True)

    def withdraw(self, order: OrderRecord, why: str) -> None:
        """An order that is durable, has not left, and will not: it never reaches its venue."""
        self._set(order, OrderState.REJECTED, f"never sent: {why}")

    # --- time ----------------------------------------------------------------------------------

    def on_timer(self, connected: bool) -> Due:
        """What time itself demands: answers that are overdue, orders to cancel."""
        due = Due()
        now_ns, clock_ns = self.clock.monotonic_ns(), self.clock.now_ns()
        overdue = [
            order
            for order in self.open.values()
            if order.state in (OrderState.PENDING_NEW, OrderState.PENDING_CANCEL)
            and now_ns - self._waiting_since_ns.get(order.order_id, 0) > ACK_TIMEOUT_NS
        ]
        self._unknown(overdue, "no answer from the venue")
        self._unwind(due)
        if not connected:
            return due
        due.ask = self._ask(
            [
                order
                for order in self.open.values()
                if order.state is OrderState.UNKNOWN
                and (
                    order in overdue
                    or now_ns - self._waiting_since_ns.get(order.order_id, 0) > ASK_INTERVAL_NS
                )
            ]
        )
        halted = self.kill_switch.halted_because()
        metrics.HALTED.set(0 if halted is None else 1)
        for order in list(self.open.values()):
            if order.state not in (OrderState.NEW, OrderState.PARTIALLY_FILLED):
                continue
            why = f"halted: {halted}" if halted is not None else self._expired(order, clock_ns)
            if order.order_id in self._unwound:
                why = why or "its level is being unwound"
            if why:
                due.cancel.append(self._cancel(order, why))
        return due

    def _cancel(self, order: OrderRecord, why: str) -> OrderRecord:
        self.risk.on_message(order.rule, order.venue, order.symbol, self.clock.now_ns())
        return self._set(order, OrderState.PENDING_CANCEL, why)

    def _unwind(self, due: Due) -> None:
        """The next step of every plan: the events first, in one transaction with the orders that reduce."""
        found = self.unwinder.step(list(self.open.values()), self.enabled)
        if not found:
            return
        with self.journal.transaction():
            self.unwinder.note(found)
            for order in found.orders:
                self.journal.add_order(order, sent=True)
                self.journal.set_verdict(order.order_id, order.ts, found.verdicts[order.order_id])
        self._unwound |= set(found.cancel)  # sent as soon as order and session allow it
        for order in found.orders:
            self.open[order.order_id] = order
            self._waiting_since_ns[order.order_id] = self.clock.monotonic_ns()
            self.risk.on_order(order)
            self.risk.on_sent(order, order.ts)
            metrics.ORDERS.labels(order.state.value).inc()
        due.send += found.orders

    def _expired(self, order: OrderRecord, clock_ns: int) -> str:
        rule = self.limits.rules.get(order.rule)
        if rule is None or not rule.cancel_after_ms:
            return ""
        rested = clock_ns - order.ts_created > rule.cancel_after_ms * NS_PER_MS
        return f"rested longer than {rule.cancel_after_ms} ms" if rested else ""

    # --- inside --------------------------------------------------------------------------------

    def _advance(self, source: Source | None) -> None:
        if source is not None:
            self.journal.set_next_offset(source.topic, source.partition, source.offset + 1)

    def _alert(self, kind: str, text: str) -> None:
        metrics.ALERTS.labels(kind).inc()
        _log.error("alert", kind=kind, text=text)
        self.journal.alert(self.clock.now_ns(), kind, text)

    def _set(self, order: OrderRecord, state: OrderState, reason: str) -> OrderRecord:
        changed = transition(order, state, self.clock.now_ns(), reason)
        with self.journal.transaction():
            self._apply(Effect(changed, changed=True))
        return changed

    def _unknown(self, orders: list[OrderRecord], why: str) -> None:
        for order in orders:
            self._set(order, OrderState.UNKNOWN, why)
            self._waiting_since_ns[order.order_id] = 0
        if orders:
            self._gauges()

    def _ask(self, orders: list[OrderRecord]) -> list[OrderRecord]:
        for order in orders:
            self._asked[order.order_id] += 1
            self._waiting_since_ns[order.order_id] = self.clock.monotonic_ns()
        return orders

    def _gauges(self) -> None:
        metrics.OPEN_ORDERS.set(len(self.open))
        unknown = sum(order.state is OrderState.UNKNOWN for order in self.open.values())
        metrics.UNKNOWN_ORDERS.set(unknown)


def _record(intent: OrderIntent, refusal: Refusal | None, now_ns: int) -> OrderRecord:
    return OrderRecord(
        order_id=intent.order_id,
        signal_id=intent.signal_id,
        leg=intent.leg,
        rule=intent.rule,
        venue=intent.venue,
        symbol=intent.symbol,
        side=intent.side,
        quantity=intent.quantity,
        limit_price=intent.limit_price,
        time_in_force=intent.time_in_force,
        state=OrderState.REJECTED if refusal else OrderState.PENDING_NEW,
        ts_created=now_ns,
        ts=now_ns,
        reason=refusal.text if refusal else "",
    )


def _intent(order: OrderRecord) -> OrderIntent:
    return OrderIntent(
        order_id=order.order_id,
        signal_id=order.signal_id,
        leg=order.leg,
        rule=order.rule,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        limit_price=order.limit_price,
        time_in_force=order.time_in_force,
    )
