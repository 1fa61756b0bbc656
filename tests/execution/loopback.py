"""Agent and exchange in one thread, joined by function calls: every crash point can be hit exactly.

The two keep their real journals; only the wire between them is missing. A logon replays what was missed,
as the exchange's server does.
"""

from __future__ import annotations

import os
import signal as signals
from pathlib import Path

from execution.engine import OrderEngine, Source
from execution.exchange.matching import MatchingEngine, Outcome
from execution.exchange.record import ExchangeRecord
from execution.journal import Journal
from execution.killswitch import KillSwitch
from execution.limits import parse
from execution.market import MarketState
from execution.orders import OrderRecord, client_order_id
from execution.venues import Report
from execution.venues.simulated.protocol import CancelRequest, NewOrder, StatusRequest, decode
from tests.execution.rig import LIMITS, standing_market
from tickloom.clock import Clock, SystemClock
from tickloom.events import OrderState, Signal
from tickloom.instruments import Registry

CLIENT = "TICKLOOM"
GATEWAY = "simulated"


class Fuse:
    """Kills the process at the nth commit, before or after it."""

    def __init__(self, at: int, after: bool) -> None:
        self.at, self.after, self.count = at, after, 0

    def step(self, after: bool) -> None:
        if not after:
            self.count += 1
        if self.count == self.at and after == self.after:
            os.kill(os.getpid(), signals.SIGKILL)


class FusedJournal(Journal):
    fuse: Fuse | None = None

    def _commit(self) -> None:
        if self.fuse:
            self.fuse.step(after=False)
        super()._commit()
        if self.fuse:
            self.fuse.step(after=True)


class FusedRecord(ExchangeRecord):
    fuse: Fuse | None = None

    def _commit(self) -> None:
        if self.fuse:
            self.fuse.step(after=False)
        super()._commit()
        if self.fuse:
            self.fuse.step(after=True)


class Loopback:
    """One world in a directory; opening it again is a restart of both sides."""

    def __init__(
        self, directory: Path, fuse: Fuse | None = None, limits: str = LIMITS, clock: Clock | None = None
    ) -> None:
        registry = Registry.load()
        self.clock = clock or SystemClock()
        self.journal = FusedJournal(directory / "journal.db")
        self.record = FusedRecord(directory / "exchange.db")
        self.matching = MatchingEngine(registry, self.record.orders(), self.record.execution_count())
        self.market = MarketState()
        for topic, batch in standing_market(registry, 2):
            self.matching.apply(batch.block, 0)
            if topic.startswith("ticks"):
                self.market.apply(batch, self.clock.now_ns())
        self.record.write(self.matching.go_live(0))
        self.kill_switch = KillSwitch(directory)
        self.up = True
        self.lose_orders = self.lose_reports = False
        self.sent: list[str] = []
        self.engine = OrderEngine(
            journal=self.journal,
            registry=registry,
            limits=parse(limits.encode(), "limits", registry),
            market=self.market,
            clock=self.clock,
            kill_switch=self.kill_switch,
            enabled=True,
            connected=lambda venue: self.up,
        )
        self.journal.fuse = self.record.fuse = fuse
        self.engine.recover()
        self.log_on()

    def log_on(self) -> None:
        """What gateway and server do together at a logon."""
        self.up = True
        session, last = self.engine.last_report(GATEWAY)
        if session != self.record.session:
            last = 0
        asks = self.engine.on_session(GATEWAY, self.record.session)
        for line in self.record.reports_after(CLIENT, last):
            report = decode(line)
            assert isinstance(report, Report)
            self.deliver(report)
        for order in asks:
            self.ask(order)

    def drop(self) -> None:
        """The session is lost."""
        self.up = False
        self.engine.on_lost(GATEWAY, "session lost")

    def take(self, batch: list[Signal]) -> None:
        """Consume a partition from where the journal says."""
        start = self.engine.next_offsets("signals").get(0, 0)
        for offset, signal in enumerate(batch):
            if offset >= start:
                for order in self.engine.on_signal(signal, Source("signals", 0, offset)):
                    self.send(order)

    def take_together(self, batch: list[Signal]) -> None:
        """As :meth:`take`, all that is left in one transaction; what the exchange says of it in another."""
        start = self.engine.next_offsets("signals").get(0, 0)
        with self.journal.transaction():
            self.engine.look_up(batch[start:])
            orders = [
                order
                for offset, signal in enumerate(batch[start:], start)
                for order in self.engine.on_signal(signal, Source("signals", 0, offset))
            ]
        told: list[Report] = []
        with self.record.transaction():
            for order in orders:
                self.sent.append(order.order_id)
                outcome = self.matching.submit(CLIENT, _request(order), 0)
                told += [report for _, report in self.record.write(outcome)]
        for again in self.engine.on_reports(told, GATEWAY):
            self.send(again)

    def send(self, order: OrderRecord) -> None:
        self.sent.append(order.order_id)
        if self.lose_orders or not self.up:
            return
        self.settle(self.matching.submit(CLIENT, _request(order), 0))

    def ask(self, order: OrderRecord) -> None:
        request = StatusRequest(order.order_id, order.venue, order.symbol, order.side)
        self.settle(self.matching.status(request, 0))

    def cancel(self, order: OrderRecord) -> None:
        request = CancelRequest(order.order_id, order.venue, order.symbol, order.side)
        self.settle(self.matching.cancel(request, 0))

    def settle(self, outcome: Outcome) -> None:
        told = [report for _, report in self.record.write(outcome)]
        if outcome.answer is not None:
            told.append(outcome.answer)
        for report in told:
            if not self.lose_reports and self.up:
                self.deliver(report)

    def deliver(self, report: Report) -> None:
        for again in self.engine.on_report(report, GATEWAY):
            self.send(again)

    def tick(self) -> None:
        """One turn of the timers."""
        due = self.engine.on_timer()
        for order in due.send:
            self.send(order)
        for order in due.cancel:
            self.cancel(order)
        for order in due.ask:
            self.ask(order)

    def close(self) -> None:
        self.journal.close()
        self.record.close()


def _request(order: OrderRecord) -> NewOrder:
    return NewOrder(
        *(order.order_id, order.venue, order.symbol, order.side, order.quantity, order.limit_price),
        order.time_in_force,
    )


def states(journal: Journal, one: Signal) -> list[OrderState]:
    """The states that the order of a signal went through."""
    return journal.revisions(client_order_id(one.signal_id, 0))


def reason(journal: Journal, one: Signal, leg: int = 0) -> str:
    """Why it is where it is."""
    order = journal.order(client_order_id(one.signal_id, leg))
    assert order is not None
    return order.reason
