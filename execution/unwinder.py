"""Breaches in, orders and cancels out: the desk's plans as orders of this agent, checked by the gate as all.

A slice is an order of the rule whose position it reduces, IOC, at the far touch moved by the rule's slippage.
Its signal id says of which unwinding it is, so it is known as a slice after a restart too; what is
breached then is declared anew. A slice that the gate refuses is an event, and is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from execution import metrics
from execution.breach import Breach, BreachDesk, Slice, UnwindingEvent, detect
from execution.journal import Journal
from execution.market import MarketState
from execution.orders import OrderRecord, client_order_id
from execution.pretrade import PreTrade
from execution.risk import Level
from execution.sizing import OrderIntent, marketable_price
from tickloom.clock import NS_PER_S, Clock
from tickloom.events import OrderState, Signal
from tickloom.instruments import Registry

PREFIX = "unwind|"
SLIPPAGE_BPS = 10  # where the rule has no table any more
LOST_VENUE_NS = 10 * NS_PER_S  # a session that is back before then was a reconnect
_REFUSED_AGAIN_NS = 1_000_000_000  # the same refusal is an event once a second


@dataclass(slots=True)
class Unwound:
    """What to do now, the events first."""

    events: list[tuple[Breach, UnwindingEvent]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    cancel: list[str] = field(default_factory=list)
    orders: list[OrderRecord] = field(default_factory=list)
    verdicts: dict[str, bytes] = field(default_factory=dict)
    over: list[tuple[Level, str, str]] = field(default_factory=list)


class Unwinder:
    """Plans of one agent under way. Not thread-safe."""

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        pretrade: PreTrade,
        market: MarketState,
        clock: Clock,
        connected: Callable[[str], bool],
    ) -> None:
        self._journal, self._registry, self._pretrade = journal, registry, pretrade
        self._market, self._clock = market, clock
        self._slices: set[str] = set()
        self._refused_ns: dict[tuple[str, str, str], int] = {}
        self.desk = BreachDesk(pretrade.book, registry, self._slices.__contains__)
        self._connected = connected
        self._down_since_ns: dict[str, int] = {}

    def recover(self, open_orders: Iterable[OrderRecord]) -> None:
        """Know the slices that are open again."""
        self._slices |= {order.order_id for order in open_orders if order.signal_id.startswith(PREFIX)}

    def on_fill(self, order: OrderRecord, quantity: int) -> None:
        """An order traded so much: nanos."""
        self.desk.on_fill(order, quantity)

    def _lost_venues(self) -> set[str]:
        """Venues without a session for longer than a reconnect may take."""
        now_ns = self._clock.monotonic_ns()
        for venue in self._registry.venues:
            if self._connected(venue):
                self._down_since_ns.pop(venue, None)
            else:
                self._down_since_ns.setdefault(venue, now_ns)
        return {venue for venue, since in self._down_since_ns.items() if now_ns - since > LOST_VENUE_NS}

    def step(self, orders: list[OrderRecord], enabled: bool) -> Unwound:
        """The next step of every plan, the gate's verdict over each slice included."""
        now_ns = self._clock.now_ns()
        pretrade = self._pretrade
        pretrade.book.mark()
        breaches = detect(pretrade.book, pretrade.levels, now_ns, self._lost_venues())
        actions = self.desk.step(breaches, orders, now_ns)
        found = Unwound(actions.events, cancel=actions.cancel, over=actions.over)
        for one in actions.slices:
            self._order(one, now_ns, enabled, found)
        return found

    def _order(self, one: Slice, now_ns: int, enabled: bool, found: Unwound) -> None:
        rule, venue, symbol = one.key
        instrument, view = self._registry.instrument(venue, symbol), self._market.view(venue, symbol)
        if instrument is None or view is None:
            return
        limits = self._pretrade.book.limits_file.rules.get(rule)
        price = marketable_price(instrument, one.side, view, limits.slippage_bps if limits else SLIPPAGE_BPS)
        identity = f"{PREFIX}{'|'.join(one.key)}|{now_ns}"
        intent = OrderIntent(
            *(client_order_id(identity, 0), identity, 0, rule, venue, symbol),
            *(one.side, one.quantity, price, "ioc"),
            unwinding=True,
        )
        signal = Signal(
            *(identity, rule, "unwind", symbol, one.side, 1.0, 0.0, 0, 0, venue, view.venue_ts_event, now_ns)
        )
        verdict = self._pretrade.verdict(intent, signal, enabled)
        refusal = self._pretrade.refusal(intent, verdict)
        if refusal is not None:
            if now_ns - self._refused_ns.get(one.key, 0) >= _REFUSED_AGAIN_NS:
                self._refused_ns[one.key] = now_ns
                metrics.REFUSED.labels(refusal.check.value).inc()
                found.refused.append(f"slice of {venue} {symbol} ({rule}) refused: {refusal.text}")
            return
        self._slices.add(intent.order_id)
        found.verdicts[intent.order_id] = verdict.as_json()
        found.orders.append(
            OrderRecord(
                *(intent.order_id, identity, 0, rule, venue, symbol, one.side, one.quantity, price, "ioc"),
                *(OrderState.PENDING_NEW, now_ns, now_ns),
            )
        )

    def note(self, found: Unwound) -> None:
        """Write down what happened and why. Inside a transaction, before anything leaves."""
        for breach, event in found.events:
            scope = breach.name or "firm"
            text = f"{breach.kind} of {scope}, {event.number}: {event.stage.name.lower()}, {event.text}"
            self._journal.risk_action(event.ts, f"unwinding_{event.kind}", "agent", text)
            metrics.UNWINDING.labels(breach.kind.value, scope).set(int(event.stage))
            if event.kind == "declared":
                metrics.ALERTS.labels("breach").inc()
                self._journal.alert(event.ts, "breach", breach.text)
            if event.kind == "stage" and event.stage.name == "STOP_NEW":
                self._pretrade.stop_new(breach.level, breach.name, breach.text)
        for level, name, why in found.over:
            self._pretrade.release(level, name, "agent", why)
        for text in found.refused:
            self._journal.risk_action(self._clock.now_ns(), "unwinding_refused", "agent", text)

    def release(self, level: Level, name: str, who: str, why: str) -> None:
        """A person has looked: the level trades again."""
        with self._journal.transaction():
            self._pretrade.release(level, name, who, why)
        self.desk.release(level, name)
