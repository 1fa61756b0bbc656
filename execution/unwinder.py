"""Breaches in, orders and cancels out: the desk's plans as orders of this agent, checked by the gate as all.

A slice is an order of the rule whose position it reduces, IOC, at the far touch moved by the rule's slippage.
Its signal id says that it is one, after a restart too. The state of every plan is in the journal, in the
transaction of each of its steps: a successor goes on exactly there. A slice that the gate refuses is an
event, and is tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from execution import metrics
from execution.breach import (
    Breach,
    BreachDesk,
    BreachKind,
    Slice,
    Unwinding,
    UnwindingEvent,
    UnwindingState,
    detect,
)
from execution.breach.desk import Scope
from execution.journal import Journal
from execution.market import MarketState
from execution.orders import OrderRecord, client_order_id
from execution.pretrade import PreTrade
from execution.risk import Level
from execution.sizing import OrderIntent, marketable_price
from tickloom.clock import NS_PER_S, Clock
from tickloom.errors import ControlError
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
    ended: list[Scope] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.events or self.refused or self.cancel or self.orders or self.over or self.ended)


def is_slice(order: OrderRecord) -> bool:
    """Whether an order, or the parent that it is a part of, reduces for an unwinding."""
    return order.signal_id.startswith(PREFIX)


def _json(state: UnwindingState) -> str:
    return msgspec.json.encode(state).decode()


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
        self._refused_ns: dict[tuple[str, str, str], int] = {}
        self.desk = BreachDesk(pretrade.book, registry, is_slice)
        self._connected = connected
        self._down_since_ns: dict[str, int] = {}

    def recover(self) -> None:
        """Go on with what the journal says was under way."""
        states = {
            (BreachKind(kind), Level(level), name): msgspec.json.decode(state, type=UnwindingState)
            for kind, level, name, state in self._journal.unwindings()
        }
        self.desk.restore(states, self._journal.filled_of_signals(PREFIX))
        for scope, one in self.desk.active.items():
            metrics.UNWINDING.labels(scope[0].value, scope[2] or "firm").set(int(one.stage))

    def on_fill(self, order: OrderRecord, quantity: int) -> None:
        """An order traded so much: nanos; below 0 where a trade was taken back."""
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
        found = Unwound(actions.events, cancel=actions.cancel, over=actions.over, ended=actions.ended)
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
            whose = breach.name or "firm"
            text = f"{breach.kind} of {whose}, {event.number}: {event.stage.name.lower()}, {event.text}"
            self._journal.risk_action(event.ts, f"unwinding_{event.kind}", "agent", text)
            metrics.UNWINDING.labels(breach.kind.value, whose).set(int(event.stage))
            if event.kind == "declared":
                metrics.ALERTS.labels("breach").inc()
                self._journal.alert(event.ts, "breach", breach.text)
            if event.kind == "stage" and event.stage.name == "STOP_NEW":
                self._pretrade.stop_new(breach.level, breach.name, breach.text)
        for scope in dict.fromkeys(breach.scope for breach, _ in found.events):
            self._journal.set_unwinding(*scope, self._clock.now_ns(), _json(self.desk.state(scope)))
        for scope in found.ended:
            self._journal.drop_unwinding(*scope)
        for level, name, why in found.over:
            self._pretrade.release(level, name, "agent", why)
        for text in found.refused:
            self._journal.risk_action(self._clock.now_ns(), "unwinding_refused", "agent", text)

    # --- what a person may ask -------------------------------------------------------------------

    def flatten(self, level: Level, name: str, who: str, why: str) -> Unwinding:
        """Take a level down; durable, and begun, with the next step."""
        return self.desk.flatten(who, why, self._clock.now_ns(), level, name)

    def pause(self, who: str, why: str) -> int:
        """Send nothing more of any unwinding; how many that were. Durable with the next step."""
        count = sum(not one.done and not one.paused for one in self.desk.active.values())
        self.desk.pause(who, why, self._clock.now_ns())
        return count

    def resume(self, who: str, why: str) -> int:
        """Go on with those that are paused; how many that were. Durable with the next step."""
        count = sum(one.paused for one in self.desk.active.values())
        self.desk.resume(who, why, self._clock.now_ns())
        return count

    def release(self, level: Level, name: str, who: str, why: str) -> None:
        """A person has looked: the level trades again.

        Raises
        ------
        ControlError
            It is being taken down at this moment; nothing changed.
        """
        for one in self.desk.under_way(level, name):
            raise ControlError(
                f"{one.breach.text}: in stage {one.stage.name.lower()} of its plan; release the level when "
                "the plan is done (`tickloom risk status`)"
            )
        with self._journal.transaction():
            self._pretrade.release(level, name, who, why)
            for scope in self.desk.release(level, name):
                self._journal.drop_unwinding(*scope)
