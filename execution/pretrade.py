"""Intents in, verdicts out: the gate and its book, and what they need of the journal to survive a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from execution import metrics
from execution.journal import Journal
from execution.killswitch import KillSwitch
from execution.limits import Limits
from execution.market import MarketState
from execution.orders import OrderRecord
from execution.risk import DayMark, Level, Refusal, RiskBook, RiskGate, Verdict
from execution.sizing import OrderIntent
from execution.valuation import LevelRisk, RiskEngine
from tickloom.clock import NS_PER_DAY, Clock
from tickloom.events import Signal
from tickloom.instruments import Registry
from tickloom.prices import NANOS

STOPPED, RELEASED = "stop_new", "release"  # actions in the journal


class PreTrade:
    """Everything that is asked before an order leaves. Not thread-safe.

    Parameters
    ----------
    reaches : Callable[[str, str], bool]
        Whether an order of a venue's instrument can leave now for a destination (empty: for any).

    Attributes
    ----------
    levels : list of LevelRisk
        Value at risk as it was last sampled.
    """

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        limits: Limits,
        market: MarketState,
        clock: Clock,
        kill_switch: KillSwitch,
        reaches: Callable[[str, str], bool],
    ) -> None:
        self._journal, self._market, self._clock = journal, market, clock
        self._kill_switch, self._reaches = kill_switch, reaches
        held = ((one.venue, one.symbol) for _, one in journal.executions())
        self.book = RiskBook(registry, limits, also=held)
        self.gate = RiskGate(self.book)
        self.valuation = RiskEngine(self.book, np.empty((0, len(self.book.keys))))
        self.levels: list[LevelRisk] = []
        market.attach(self.book.market)
        self._day = -1
        self._day_marks: dict[tuple[Level, str], tuple[DayMark, int]] = {}

    def recover(self, open_orders: Iterable[OrderRecord]) -> None:
        """Positions, open orders, marks, the day's figures and stopped levels, as the journal has them."""
        for rule, execution in self._journal.executions():
            self.book.on_fill(rule, execution, execution.fee)
        for (venue, symbol), mid in self._journal.marks().items():
            self.book.set_mark(venue, symbol, mid)
        for order in open_orders:
            self.book.on_order(order)
        for _, action, _, why in self._journal.risk_actions():
            if action in (STOPPED, RELEASED):
                level, name, reason = why.split("|", 2)
                self.book.reduce_only(reason if action == STOPPED else None, Level(int(level)), name)
        self.roll_day()

    def stop_new(self, level: Level, name: str, why: str) -> None:
        """A level may only reduce, until :meth:`release`, also after a restart. Inside a transaction."""
        self.book.reduce_only(why, level, name)
        self._journal.risk_action(self._clock.now_ns(), STOPPED, "agent", f"{int(level)}|{name}|{why}")

    def release(self, level: Level, name: str, who: str, why: str) -> None:
        """A person lets a level trade again. Inside a transaction."""
        self._journal.risk_action(self._clock.now_ns(), RELEASED, who, f"{int(level)}|{name}|{why}")
        self.book.reduce_only(None, level, name)

    def verdict(
        self, intent: OrderIntent, signal: Signal, enabled: bool, last_ts_event: int = 0, resend: bool = False
    ) -> Verdict:
        """The gate's verdict now. last_ts_event: of the last order of the same rule, instrument and side."""
        self.roll_day()
        self.book.set_order_entry(enabled)
        self.book.halt(self._kill_switch.halted_because())
        return self.gate.check(
            intent,
            now_ns=self._clock.now_ns(),
            ts_signal=signal.ts_signal,
            ts_event=signal.ts_event,
            ts_repeat=0 if resend else last_ts_event,
            known=not resend and self._journal.has_order(intent.order_id),
            connected=self._reaches(intent.venue, intent.destination),
        )

    def verdict_of_part(self, intent: OrderIntent, ts: int, enabled: bool) -> Verdict:
        """The verdict over a part of an order that passed as a whole, or over one that takes its place.

        ``ts``: what its age is counted from, ns of our clock. A signal's age was looked at when the whole was
        accepted; what is gone on with after a restart counts from then. In event time, which may be of
        another day than our clock, it has no age. It may be called in a transaction, so call
        :meth:`roll_day` before.
        """
        view = self._market.view(intent.venue, intent.symbol)
        self.book.set_order_entry(enabled)
        self.book.halt(self._kill_switch.halted_because())
        return self.gate.check(
            intent,
            now_ns=self._clock.now_ns(),
            ts_signal=ts,
            ts_event=view.venue_ts_event if view is not None else ts,
            known=self._journal.has_order(intent.order_id),
            connected=self._reaches(intent.venue, intent.destination),
            part=True,
        )

    def refusal(self, intent: OrderIntent, verdict: Verdict) -> Refusal | None:
        """Why, in words; None if it passed."""
        if verdict.passed:
            return None
        return self.gate.refusal(verdict, intent, self._market.view(intent.venue, intent.symbol))

    def roll_day(self) -> None:
        """A UTC day's loss and drawdown are measured from its beginning, also after a restart in it."""
        day = self._clock.now_ns() // NS_PER_DAY
        if day == self._day:
            return
        self._day = day
        self.book.mark()
        kept = self._journal.risk_marks(day)
        self.book.new_day(DayMark(Level(level), name, start, best) for level, name, start, best in kept)
        self._day_marks = {}
        self._note_day()

    def sample(self) -> None:
        """Once a second: mark everything, value at risk anew, and keep what the day is measured from."""
        self.roll_day()
        self.levels = self.valuation.update()
        for one in self.levels:
            scope = f"rule {one.name}" if one.name else "firm"
            metrics.VAR.labels(scope, "parametric").set(one.parametric.var)
            metrics.EXPECTED_SHORTFALL.labels(scope, "parametric").set(one.parametric.expected_shortfall)
            if one.historical is not None:
                metrics.VAR.labels(scope, "historical").set(one.historical.var)
                metrics.EXPECTED_SHORTFALL.labels(scope, "historical").set(one.historical.expected_shortfall)
        self._note_day()

    def _note_day(self) -> None:
        var = {(Level.STRATEGY if one.name else Level.FIRM, one.name): one for one in self.levels}
        moved = []
        for mark in self.book.day_marks():
            key = (mark.level, mark.name)
            noted = (mark, round(var[key].parametric.var * NANOS) if key in var else 0)
            if self._day_marks.get(key) != noted:
                self._day_marks[key] = noted
                moved.append(noted)
        if moved:
            with self._journal.transaction():
                for mark, value in moved:
                    self._journal.set_risk_mark(
                        *(self._day, int(mark.level), mark.name, mark.day_start, mark.best, value)
                    )
