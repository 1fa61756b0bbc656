"""The engine with its surroundings: gateway, feed, timers, outbox. Knows nothing of Faust.

Signals come in through :class:`execution.intake.SignalIntake`, each with its place in Kafka: every offset
of a partition once and in order. Everything that touches the engine runs on one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import structlog

from execution import metrics
from execution.control import Inbox
from execution.copy_desk import CopyDesk
from execution.destinations import Connectivity
from execution.engine import OrderEngine, Source
from execution.feed import FeedFollower
from execution.gateways import Gateways, GatewaysEvents, OrderIds
from execution.intake import SignalIntake
from execution.journal import Journal
from execution.killswitch import KillSwitch
from execution.limits import Limits, LimitsWatch
from execution.market import MarketState
from execution.operations import Operations
from execution.orders import OrderRecord
from execution.outbox import OutboxSender
from execution.router.smart import SmartRouter
from execution.signal_log import Message, SignalFollower, SignalLog
from execution.venues import Report
from tickloom import topics, trust_codec
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock
from tickloom.codec import TickBatch
from tickloom.errors import FencedError, LimitsError, ServiceError
from tickloom.events import Signal
from tickloom.instruments import Registry
from tickloom.settings import ExecutionSettings, KafkaSettings
from tickloom.sinks import FactSink

TIMER_S = 0.1
OPERATIONS_S = 0.005  # a look at the kill switch and the inbox costs 20 us
MARK_S = 1.0
PRUNE_S = 10.0
FEED_WAIT_S = 60.0
#: A partition. An instrument without a quote in them is not traded until it has one; a halt or a lost book
#: that is older, of an instrument that is quoted all the same, is not known after a restart.
FEED_RECORDS_BACK = 5_000
LOGON_WAIT_S = 10.0

_log = structlog.get_logger("execution")

#: Makes the gateways once it is known whom to tell, and which ids orders at a destination have.
GatewaysFactory = Callable[[GatewaysEvents, OrderIds], Gateways]
#: Makes the router over the market, of which destinations can be reached, and of where orders are looked up.
RouterFactory = Callable[
    [MarketState, Callable[[str], bool], Callable[[str], OrderRecord | None]], SmartRouter
]


def journal_path(data_dir: Path) -> Path:
    """Where the agent keeps its journal; the kill switch is beside it."""
    return data_dir / "execution" / "journal.db"


class ExecutionService:
    """One agent.

    Parameters
    ----------
    sinks : dict of str to FactSink
        Where facts go; the names are the outbox's cursors, so they must not change.
    standby : bool
        Where another agent trades on this journal: wait for its end, then take over.

    Raises
    ------
    JournalError
        The journal cannot be opened, or another agent trades on it.
    """

    def __init__(
        self,
        settings: ExecutionSettings,
        kafka: KafkaSettings,
        data_dir: Path,
        registry: Registry,
        limits: Limits,
        gateways: GatewaysFactory,
        sinks: dict[str, FactSink],
        clock: Clock,
        standby: bool = False,
        router: RouterFactory | None = None,
    ) -> None:
        self.settings, self._kafka, self._clock = settings, kafka, clock
        path = journal_path(data_dir)
        self.journal = Journal(path)
        if standby:
            _log.info("standby", journal=str(path))
        epoch = self.journal.lock(wait=standby)
        _log.info("leader", epoch=epoch)
        self.market = MarketState()
        self.gateway = gateways(
            GatewaysEvents(
                *(self._on_report, self._on_session, self._on_lost, self._last_report),
                on_reports=self._on_reports,
                on_fenced=self._on_fenced,
                epoch=epoch,
                agent=self.journal.agent,
            ),
            self._order_ids,
        )
        self._router = router(self.market, self.gateway.reachable, self._parent) if router else None
        self.engine = OrderEngine(
            journal=self.journal,
            registry=registry,
            limits=limits,
            market=self.market,
            clock=clock,
            kill_switch=KillSwitch(path.parent),
            enabled=settings.enabled,
            connected=self.gateway.reachable,
            trades=self.gateway.trades,
            gateways=self.gateway.names,
            gateway_of=self.gateway.gateway_of,
            router=self._router,
        )
        self._copies = CopyDesk(
            *(self.gateway.connectivity, self.engine, self._on_report, self._order_ids, data_dir),
            *(settings.drop_copy_wait_ms, clock),
        )
        self._last_order_ns = 0
        self._operations = Operations(
            self.engine, Inbox(path.parent), self._turn, lambda: self._last_order_ns
        )
        self._limits = LimitsWatch(settings.limits_file, registry, limits)
        followed = feeds(settings, self.gateway.connectivity)
        names = [topics.ticks(venue) for venue in followed]
        self._feed = FeedFollower(kafka, names, FEED_RECORDS_BACK, self._on_batches)
        names = [topics.trust(venue) for venue in followed]  # from the beginning: the last state of each
        self._trust = FeedFollower(kafka, names, None, self._on_trust, decode=trust_codec.decode)
        self._senders = [OutboxSender(path, name, sink) for name, sink in sinks.items()]
        self._log = SignalLog(kafka, topics.SIGNALS)
        self.intake = SignalIntake(
            self._log, lambda: SignalFollower(kafka, topics.SIGNALS), self._take, clock
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Recover, log on, follow the market, take the signals that wait; returns when that is done.

        Raises
        ------
        TickloomError
            The journal or Kafka cannot be read.
        """
        self._check_fence()
        with self.journal.transaction():
            mode = "on" if self.settings.enabled else "off"
            why = f"agent {self.journal.epoch}, limits {self.engine.limits.digest}, live order entry {mode}"
            self.journal.risk_action(self._clock.now_ns(), "start", "agent", why)
        self.engine.recover()
        if self._router is not None:
            self._router.recover(order for order in self.journal.orders(sent_only=True) if order.parent_id)
        self._feed.start()
        self._trust.start()
        for sender in self._senders:
            sender.start()
        # first the market, then the venue: an order that never left goes through the gate again at logon
        for follower in (self._feed, self._trust):
            if not await asyncio.to_thread(follower.caught_up.wait, FEED_WAIT_S):
                raise ServiceError(
                    f"the market data of {', '.join(self.settings.venues)} cannot be read from Kafka"
                )
        await self.gateway.start()
        await self._copies.start()
        await self.gateway.wait_connected(LOGON_WAIT_S)
        self._spawn(self._timers(), "timers")
        self._spawn(self._operate(), "operations")
        await self.catch_up()
        self._spawn(self.intake.take_waiting(), "signals")
        self._spawn(self.intake.bridge(), "bridge")
        self._spawn(self.intake.watch(), "watch")

    async def close(self) -> None:
        """Stop taking signals, log out, let the outbox run empty for a few seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._copies.close()
        await self.gateway.close()
        await asyncio.to_thread(self._feed.close)
        await asyncio.to_thread(self._trust.close)
        for sender in self._senders:
            await asyncio.to_thread(sender.close)
        await asyncio.to_thread(self._log.close)
        self.journal.close()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        async def guarded() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self.fail(error)

        self._tasks.append(asyncio.create_task(guarded(), name=name))

    def fail(self, error: BaseException) -> None:
        """Note what the process must end for."""
        if not self.failed.done():
            _log.critical("failed", error=str(error))
            self.failed.set_exception(error)

    # --- signals -------------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """Take every signal between the journal's offsets and the end of the topic."""
        known = self.engine.next_offsets(topics.SIGNALS)
        for partition, (low, high) in (await asyncio.to_thread(self._log.ranges)).items():
            start = known.get(partition, low)
            if start < low:
                self._lost(partition, start, low)
            await self.intake.begin(partition, max(start, low), high)

    async def _take(self, batch: list[Message]) -> None:
        """Decide on each message in its order, make all of it durable at once, then send. Empties ``batch``.

        With no session each message waits for one by itself, as long as it is young enough.
        """
        while batch:
            size = len(batch) if self._in_session() else 1
            part, batch[:size] = batch[:size], []
            if size == 1:
                await self._wait_for_venue(part[0][0])
            self._send(self._decide(part))

    def _in_session(self) -> bool:
        """Whether every market that orders can go to has a session."""
        return all(self.gateway.trades(market) for market in self.gateway.markets)

    def _decide(self, messages: list[Message]) -> list[OrderRecord]:
        """The orders of consecutive messages; all of it is durable when this returns."""
        found = [_parsed(value) for value, _, _ in messages]
        orders: list[OrderRecord] = []
        with self.journal.transaction():
            self.engine.look_up([signal for signal in found if isinstance(signal, Signal)])
            for signal, (value, partition, offset) in zip(found, messages, strict=True):
                source = Source(topics.SIGNALS, partition, offset)
                if isinstance(signal, Signal):
                    orders += self.engine.on_signal(signal, source)
                else:
                    self.engine.on_malformed(f"{signal} in {value[:200]!r}", source)
        return orders

    async def _wait_for_venue(self, value: bytes) -> None:
        """A venue that is away may be back before the signal is too old; the gate has the last word."""
        if not self.settings.enabled or self._in_session():
            return
        try:
            signal = parse_signal(value)
        except (msgspec.MsgspecError, ValueError):
            return
        rule = self.engine.limits.rules.get(signal.rule)
        if rule is None or self.gateway.trades(signal.venue):
            return
        left_ns = signal.ts_signal + rule.signal_age_ms_max * NS_PER_MS - self._clock.now_ns()
        if left_ns > 0:
            await self.gateway.wait_market(signal.venue, left_ns / NS_PER_S)

    def _lost(self, partition: int, start: int, low: int) -> None:
        text = (
            f"signals/{partition}: offsets {start} to {low - 1} were dropped by Kafka before they were read"
        )
        with self.journal.transaction():
            self.journal.alert(self._clock.now_ns(), "signal", text)
        metrics.ALERTS.labels("signal").inc()
        _log.error("signals_lost", text=text)

    def _send(self, orders: list[OrderRecord]) -> None:
        """The last thing before an order leaves: the kill switch, once more. It may have been thrown while
        the intent was made durable."""
        if not orders:
            return
        self.journal.check_lock()
        halted = self.engine.kill_switch.halted_because()
        if halted is None:
            self._last_order_ns = self._clock.now_ns()
            self.gateway.send(*orders)
            return
        for order in orders:
            self.engine.withdraw(order, f"halted: {halted}")

    # --- what others call ----------------------------------------------------------------------

    def _on_batches(self, batches: list[tuple[TickBatch, int]]) -> None:
        for batch, appended_ns in batches:  # on the feed's thread; MarketState has a lock
            self.market.apply(batch, appended_ns)

    def _on_trust(self, batches: list[tuple[TickBatch, int]]) -> None:
        for batch, _ in batches:
            self.market.apply_trust(batch)

    def _on_report(self, report: Report, gateway: str) -> None:
        self._send(self.engine.on_report(report, gateway))

    def _on_reports(self, reports: list[Report], gateway: str) -> None:
        """What came together is one transaction; durable when this returns."""
        self._send(self.engine.on_reports(reports, gateway))

    def _on_session(self, gateway: str, session: str) -> None:
        for order in self.engine.on_session(gateway, session):
            self.gateway.status(order)

    def _on_fenced(self, why: str) -> None:
        """A venue knows a later agent than this one, on another copy of the journal: a person must say which
        of the two is right. Until then this one sends nothing, and does not start again."""
        with self.journal.transaction():
            self.journal.set_fenced(why)
            self.journal.alert(self._clock.now_ns(), "fenced", why)
        self.engine.kill_switch.halt("agent", why)
        self.fail(FencedError(why))

    def _check_fence(self) -> None:
        why = self.journal.fenced()
        if not why:
            return
        if self.engine.kill_switch.halted_because() is not None:
            raise FencedError(
                f"{why}. Compare the two journals with the venue's record; `tickloom risk resume` on the one "
                "that is right lets it start"
            )
        with self.journal.transaction():
            self.journal.set_fenced("")

    def _on_lost(self, gateway: str, why: str) -> None:
        self.engine.on_lost(gateway, why)

    def _last_report(self, gateway: str) -> tuple[str, int]:
        return self.engine.last_report(gateway)

    def _parent(self, order_id: str) -> OrderRecord | None:
        """A parent order as it is now, also one that is over."""
        return self.engine.ledger.parents.get(order_id) or self.journal.order(order_id)

    def _order_ids(self, destination: str) -> list[str]:
        return [order.order_id for order in self.journal.orders_sent_to(destination)]

    # --- time ----------------------------------------------------------------------------------

    async def _timers(self) -> None:
        marked_ns = pruned_ns = self._clock.monotonic_ns()
        while True:
            await asyncio.sleep(TIMER_S)
            failure = self._feed.failure or self._trust.failure
            if failure is not None:
                raise ServiceError(f"market data cannot be followed: {failure}")
            failure = self.gateway.failure or self._copies.failure
            if failure is not None:
                raise failure
            self._copies.turn()
            self._turn()
            now_ns = self._clock.monotonic_ns()
            if now_ns - marked_ns > MARK_S * NS_PER_S:
                marked_ns = now_ns
                self.engine.sample()
                self._poll_limits()
            if now_ns - pruned_ns > PRUNE_S * NS_PER_S:
                pruned_ns = now_ns
                with self.journal.transaction():
                    self.journal.prune_outbox(tuple(sender.name for sender in self._senders))

    def _turn(self) -> None:
        """Do what is due by now."""
        due = self.engine.on_timer()
        self._send(due.send)
        for order in due.cancel:
            self.gateway.cancel(order)
        for order in due.ask:
            self.gateway.status(order)
        for order, original in due.replace if self.engine.kill_switch.halted_because() is None else ():
            self.gateway.replace(order, original)

    async def _operate(self) -> None:
        while True:
            self._operations.turn()
            await asyncio.sleep(OPERATIONS_S)

    def _poll_limits(self) -> None:
        """Take up limits that were changed on the record; whatever else changed is an alert."""
        try:
            found = self._limits.poll()
            if found is not None:
                self.engine.on_limits(*found)
                _log.info("limits", revision=found[0].revision, who=found[1], why=found[2])
        except LimitsError as error:
            metrics.ALERTS.labels("limits").inc()
            _log.error("limits_refused", error=str(error))
            with self.journal.transaction():
                self.journal.alert(self._clock.now_ns(), "limits", str(error))


def feeds(settings: ExecutionSettings, connectivity: Connectivity) -> tuple[str, ...]:
    """The venues whose ticks the agent follows: its markets, and the books of their destinations."""
    return tuple(dict.fromkeys((*settings.venues, *connectivity.destinations.books())))


def _parsed(value: bytes) -> Signal | Exception:
    """A signal, or why it is none."""
    try:
        return parse_signal(value)
    except (msgspec.MsgspecError, ValueError) as error:
        return error


def parse_signal(value: bytes) -> Signal:
    """A message of the signals topic as a signal.

    Raises
    ------
    msgspec.MsgspecError, ValueError
        It is none; the text says which field.
    """
    signal = msgspec.json.decode(value, type=Signal)
    if signal.side not in ("buy", "sell"):
        raise ValueError(f"side {signal.side!r} is neither buy nor sell")
    if not signal.signal_id:
        raise ValueError("signal_id is empty")
    return signal
