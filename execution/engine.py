"""Signals and venue reports in, orders to send out, everything journaled in between.

The core of the agent, without Kafka, sockets or threads: each method takes one thing that happened,
makes its effect durable in one transaction, and returns what the shell must now send. A
:class:`JournalError` out of any of them must end the process; the journal then tells where to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from execution import metrics, replacing
from execution.admission import Admission, count
from execution.journal import Journal
from execution.killswitch import KillSwitch
from execution.ledger import Ledger, of_states
from execution.limits import Limits
from execution.market import MarketState
from execution.orders import OrderRecord, client_order_id, transition
from execution.parents import Parents
from execution.pretrade import PreTrade
from execution.records import intent_of, record_of
from execution.replacer import Replacer
from execution.reports import Effect, Known, effect_of
from execution.router import Router
from execution.sessions import GatewaySession, Sessions
from execution.sizing import size
from execution.unwinder import Unwinder
from execution.venues import Report, ReportType
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock
from tickloom.events import OrderState, Signal
from tickloom.instruments import Registry
from tickloom.records import replace

ACK_TIMEOUT_NS = 2 * NS_PER_S  # a venue that has not answered by then has perhaps not heard
ASK_INTERVAL_NS = 2 * NS_PER_S
_WAITING = (OrderState.PENDING_NEW, OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE)
_WORKING = (OrderState.NEW, OrderState.PARTIALLY_FILLED)

_log = structlog.get_logger("execution")


@dataclass(frozen=True, slots=True)
class Source:
    """Where in Kafka a signal stands."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Due:
    """What the shell must send now. replace: (the new order, the one whose place it takes)."""

    send: list[OrderRecord] = field(default_factory=list)
    cancel: list[OrderRecord] = field(default_factory=list)
    ask: list[OrderRecord] = field(default_factory=list)
    replace: list[tuple[OrderRecord, OrderRecord]] = field(default_factory=list)


class OrderEngine:
    """Orders, positions and risk of one agent. Not thread-safe: one thread calls it.

    Parameters
    ----------
    market : MarketState
        May be fed by another thread.
    enabled : bool
        Live order entry. Off, every signal is journaled as refused.
    connected : Callable[[str], bool]
        Whether there is a session with a destination now.
    gateways : sequence of str
        The gateways' names; last reports are kept by them.
    gateway_of : Callable[[str], str], optional
        The gateway that carries orders to a destination; empty where none does. Default: the first.
    router : Router, optional
        Without one every order goes to the venue itself.
    trades : Callable[[str], bool], optional
        Whether there is a session with any destination of a market whose orders are routed. Default: with
        the destination of its name.
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
        gateways: Sequence[str] = ("simulated",),
        gateway_of: Callable[[str], str] | None = None,
        router: Router | None = None,
        trades: Callable[[str], bool] | None = None,
    ) -> None:
        self.journal, self.registry, self.market = journal, registry, market
        self.clock, self.kill_switch, self.enabled = clock, kill_switch, enabled
        self._connected, self._trades = connected, trades or connected
        self._sessions = Sessions(journal, gateways, gateway_of or (lambda destination: gateways[0]))
        self.pretrade = PreTrade(journal, registry, limits, market, clock, kill_switch, self._reaches)
        self.risk = self.pretrade.book
        self.unwinder = Unwinder(journal, registry, self.pretrade, market, clock, self._reaches)
        self.ledger = Ledger(journal, market, clock, self.risk, self.unwinder)
        self.portfolio, self.open = self.ledger.portfolio, self.ledger.open
        self.parents = Parents(journal, self.ledger, self.pretrade, clock, router)
        self._admission = Admission(journal, self.ledger, self.pretrade, self.parents, clock)
        self._replacer = Replacer(journal, self.ledger, self.pretrade, clock, connected)
        self._unwound: set[str] = set()  # orders that a breach plan wants cancelled

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
        self._sessions.recover()
        self.ledger.recover()
        self.parents.recover()
        self._admission.recover()
        self.pretrade.recover(self.ledger.held_orders())
        self.unwinder.recover()
        self._unknown(of_states(self.open.values(), *_WAITING), "the agent was restarted")
        if self.open:
            _log.info("recovered", open_orders=len(self.open), positions=len(self.portfolio.firm.holdings))
        self.ledger.gauges()

    # --- signals -------------------------------------------------------------------------------

    def next_offsets(self, topic: str) -> dict[int, int]:
        """Partition to the first offset whose effect is not durable."""
        return self.journal.next_offsets(topic)

    def on_malformed(self, text: str, source: Source) -> None:
        """A message that is no signal: an alert, and on to the next."""
        metrics.SIGNALS.labels("malformed").inc()
        with self.journal.transaction():
            self.ledger.alert("signal", f"{source.topic}/{source.partition}@{source.offset}: {text}")
            self._advance(source)

    def look_up(self, signals: Sequence[Signal]) -> None:
        """Ask the journal at once about signals that come now. Inside the transaction that takes them."""
        self.journal.look_up_signals(signal.signal_id for signal in signals)
        self.journal.look_up_orders(client_order_id(signal.signal_id, 0) for signal in signals)

    def on_signal(self, signal: Signal, source: Source | None = None) -> list[OrderRecord]:
        """Size, check and journal a signal; the orders to send, whose intent is durable by then."""
        if self.journal.has_signal(signal.signal_id):
            metrics.SIGNALS.labels("duplicate").inc()
            with self.journal.transaction():
                self._advance(source)
            return []
        intents = size(signal, self.registry, self.limits.rules.get(signal.rule), self.market.view)
        refusals = self._admission.refusals(intents, signal, self.enabled)
        now_ns = self.clock.now_ns()
        orders = [
            record_of(intent, refusal, now_ns) for intent, refusal in zip(intents, refusals, strict=True)
        ]
        accepted = not any(refusals)
        reason = "; ".join(refusal.text for refusal in refusals if refusal)
        send: list[OrderRecord] = []
        with self.journal.transaction():
            self.journal.add_signal(signal, "accepted" if accepted else "refused", reason, now_ns)
            if accepted:
                send = self._admission.accept(orders, self.enabled)
            for order in () if accepted else orders:
                self.journal.add_order(order, sent=False)
                self.ledger.note_verdict(order)
            self._advance(source)
        count(signal, orders, refusals, now_ns)
        if accepted:
            self._admission.accepted(signal)
        return send

    def sample(self) -> None:
        """Once a second: risk and positions at the current marks, on the record."""
        self.pretrade.sample()
        self.portfolio.sample()

    # --- parents -------------------------------------------------------------------------------

    def _advance_parent(self, parent_id: str) -> list[OrderRecord]:
        """Go on with a parent, or end it; the children to send."""
        self.pretrade.roll_day()
        send: list[OrderRecord] = []
        if self.kill_switch.halted_because() is None:
            decision = self.parents.decide(parent_id)
            if decision is not None:
                with self.journal.transaction():
                    send = self.parents.make(parent_id, decision, self.enabled).sent
                    self.parents.settle(parent_id)
        if self.parents.over(parent_id):
            with self.journal.transaction():
                self.parents.settle(parent_id)
        return send

    # --- the venues' side ----------------------------------------------------------------------

    def last_report(self, gateway: str) -> tuple[str, int]:
        """The venue's record we know, and the number of its last report that is durable here."""
        return self.journal.last_report(gateway)

    def on_session(self, gateway: str, session: str) -> list[OrderRecord]:
        """Logged on; the orders to ask about (missed reports come by themselves, before the answers)."""
        known = self._sessions.begin(gateway, session)
        if known:
            text = f"the venue keeps another record now ({session}, not {known}); orders it forgot stay open"
            with self.journal.transaction():
                self.ledger.alert("venue", text)
        carried = self._sessions.of(gateway, self.open.values())
        return self._ask(of_states(carried, OrderState.UNKNOWN))

    def on_lost(self, gateway: str, why: str) -> None:
        """No session any more: whatever waited for an answer there is UNKNOWN."""
        self._unknown(of_states(self._sessions.of(gateway, self.open.values()), *_WAITING), why)

    def on_reports(self, reports: Sequence[Report], gateway: str) -> list[OrderRecord]:
        """What came together, in one transaction; as :meth:`on_report`."""
        with self.journal.transaction():
            self.journal.look_up_executions(
                (report.venue, report.execution_id) for report in reports if report.execution_id
            )
            return [order for report in reports for order in self.on_report(report, gateway)]

    def on_report(self, report: Report, gateway: str) -> list[OrderRecord]:
        """Book what a venue says; the orders to send: parts of a parent, or what the venue never saw."""
        session = self._sessions[gateway]
        if report.report_seq and report.report_seq <= session.report_seq:
            return []  # replayed, and durable here already
        order = self.open.get(report.order_id) or self.journal.order(report.order_id)
        effect = effect_of(order, report, self._known(order, report), self.clock.now_ns())
        is_answer = report.report_type is ReportType.STATUS
        current = session.answered(report.order_id) if is_answer else True
        if effect.never_arrived and order is not None:
            effect = self._again(order) if current else Effect(order)
            if effect.resend:
                session.sent_again(order.order_id)
        with self.journal.transaction():
            self.ledger.apply(effect)
            if report.report_seq:
                self.journal.set_last_report(gateway, session.name, report.report_seq)
        session.report_seq = max(session.report_seq, report.report_seq)
        return self._after(effect, report, session)

    def _after(self, effect: Effect, report: Report, session: GatewaySession) -> list[OrderRecord]:
        """What follows from an order's change, once it is durable."""
        order = effect.order
        if order is None:
            return []
        if order.terminal:
            session.forget(order.order_id)
            self._unwound.discard(order.order_id)
            self.parents.taken_back.discard(order.order_id)
        if not order.parent_id:
            return [order] if effect.resend else []
        if self.parents.router is not None:
            self.parents.router.on_report(order, report, self.clock.now_ns())
        if order.parent_id in self.ledger.parents:
            return self._advance_parent(order.parent_id)
        self.parents.forget(order.parent_id)
        return []

    def _known(self, order: OrderRecord | None, report: Report) -> Known:
        if order is None:
            return Known()
        execution, amended = None, None
        if report.execution_id:
            found = self.journal.execution(report.venue, report.execution_id)
            execution = found[1] if found else None
            changes = [] if found else self.journal.execution_changes(report.venue, report.execution_id)
            amended = (changes[-1].quantity, changes[-1].price) if changes else None
        original = self.open.get(order.original_order_id)
        return Known(execution, amended, original, self.ledger.replacement(order))

    def _again(self, order: OrderRecord) -> Effect:
        """An order that never arrived goes through the gate again, and is sent or is rejected.

        A part of a parent is not sent again: its router decides anew, over the books of now. What was to
        replace another order is not either: whoever wanted that does not know what became of it.
        """
        now_ns = self.clock.now_ns()
        if order.original_order_id:
            original = self.open.get(order.original_order_id)
            rejected, also = replacing.refused(order, original, "it never reached the venue", now_ns)
            return Effect(rejected, changed=True, also=also)
        if order.parent_id:
            reason = "never reached the venue; its parent is routed again"
            return Effect(transition(order, OrderState.REJECTED, now_ns, reason), changed=True)
        signal = self.journal.signal(order.signal_id)
        refusal = None
        if signal is not None:
            # what it holds already is let go while it is looked at, or it would count twice
            self.risk.on_order(replace(order, state=OrderState.REJECTED))
            refusal = self._admission.refusal(intent_of(order), signal, self.enabled, resend=True)
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

    # --- changes ---------------------------------------------------------------------------------

    def replace(self, order_id: str, quantity: int, limit_price: int, why: str) -> Due:
        """Put another order in the place of one that works, if the gate passes it.

        Parameters
        ----------
        quantity, limit_price : int
            Nanos; the quantity with what is filled already.

        Raises
        ------
        OrderStateError
            There is no such order, or it cannot be replaced as it is now.
        """
        made = self._replacer.replace(order_id, quantity, limit_price, why, self.enabled)
        return Due(replace=[made] if made else [])

    # --- time ----------------------------------------------------------------------------------

    def on_timer(self) -> Due:
        """What time itself demands: answers that are overdue, orders to cancel, parents to go on with."""
        due = Due()
        now_ns, clock_ns = self.clock.monotonic_ns(), self.clock.now_ns()
        since = self.ledger.waiting_since_ns
        overdue = [
            order
            for order in of_states(self.open.values(), *_WAITING)
            if now_ns - since.get(order.order_id, 0) > ACK_TIMEOUT_NS
        ]
        self._unknown(overdue, "no answer from the venue")
        self._unwind(due)
        due.ask = self._ask(
            [
                order
                for order in self.open.values()
                if order.state is OrderState.UNKNOWN
                and now_ns - since.get(order.order_id, 0) > ASK_INTERVAL_NS
                and self._connected(order.sent_to)
            ]
        )
        self.ledger.gauges()
        halted = self.kill_switch.halted_because()
        metrics.HALTED.set(0 if halted is None else 1)
        self._take_back_parents(halted, clock_ns)
        for order in of_states(list(self.open.values()), *_WORKING):
            why = self._why_cancel(order, halted, clock_ns)
            if why and self._connected(order.sent_to):
                due.cancel.append(self._cancel(order, why))
        for parent_id in list(self.ledger.parents):
            due.send += self._advance_parent(parent_id)
        return due

    def _why_cancel(self, order: OrderRecord, halted: str | None, clock_ns: int) -> str:
        """Why an order is taken back now; empty: it stays."""
        if halted is not None:
            return f"halted: {halted}"
        if order.order_id in self._unwound:
            return "its level is being unwound"
        if order.parent_id:
            if order.parent_id not in self.ledger.parents or self.parents.is_ending(order):
                return "its parent is over, or is taken back"
            return "its router takes it back" if order.order_id in self.parents.taken_back else ""
        return self._expired(order, clock_ns)

    def _take_back_parents(self, halted: str | None, clock_ns: int) -> None:
        for parent in of_states(list(self.ledger.parents.values()), *_WORKING):
            why = self._why_cancel(parent, halted, clock_ns)
            if why:
                with self.journal.transaction():
                    self.parents.take_back(parent, why)

    def _cancel(self, order: OrderRecord, why: str) -> OrderRecord:
        self.risk.on_message(order.rule, order.venue, order.symbol, self.clock.now_ns())
        return self._set(order, OrderState.PENDING_CANCEL, why)

    def _unwind(self, due: Due) -> None:
        """The next step of every plan: the events first, in one transaction with the orders that reduce."""
        found = self.unwinder.step(self.ledger.held_orders(), self.enabled)
        if not found:
            return
        self.ledger.verdicts |= found.verdicts
        with self.journal.transaction():
            self.unwinder.note(found)
            due.send += self._admission.accept(found.orders, self.enabled)
        self._unwound |= set(found.cancel)  # sent as soon as order and session allow it
        for order in found.orders:
            metrics.ORDERS.labels(order.state.value).inc()

    def _expired(self, order: OrderRecord, clock_ns: int) -> str:
        rule = self.limits.rules.get(order.rule)
        if rule is None or not rule.cancel_after_ms:
            return ""
        rested = clock_ns - order.ts_created > rule.cancel_after_ms * NS_PER_MS
        return f"rested longer than {rule.cancel_after_ms} ms" if rested else ""

    # --- inside --------------------------------------------------------------------------------

    def _reaches(self, venue: str, destination: str = "") -> bool:
        """Whether an order can leave: for a destination, or of a venue's instruments at all."""
        if destination:
            return self._connected(destination)
        return self._trades(venue) if self.parents.routes(venue) else self._connected(venue)

    def _advance(self, source: Source | None) -> None:
        if source is not None:
            self.journal.set_next_offset(source.topic, source.partition, source.offset + 1)

    def _set(self, order: OrderRecord, state: OrderState, reason: str) -> OrderRecord:
        changed = transition(order, state, self.clock.now_ns(), reason)
        with self.journal.transaction():
            self.ledger.apply(Effect(changed, changed=True))
        return changed

    def _unknown(self, orders: list[OrderRecord], why: str) -> None:
        for order in orders:
            self._set(order, OrderState.UNKNOWN, why)
            self.ledger.waiting_since_ns[order.order_id] = 0
        if orders:
            self.ledger.gauges()

    def _ask(self, orders: list[OrderRecord]) -> list[OrderRecord]:
        for order in orders:
            self._sessions.ask(order)
            self.ledger.waiting_since_ns[order.order_id] = self.clock.monotonic_ns()
        return orders
