"""The exchange's shell: ports for clients, the feed from Kafka, the record on disk; one event loop decides.

Everything that changes the matching engine runs on the loop, one thing after the other: requests in the
order in which they came, the feed's batches between them. An outcome is in the record before its
reports go out. Protocols are ports (:mod:`execution.exchange.ports`); faults are asked before each act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from execution import metrics
from execution.exchange.faults import Faults
from execution.exchange.matching import MatchingEngine
from execution.exchange.orders import Outcome
from execution.exchange.ports import ClientSession, OrderEntryPort, Request
from execution.exchange.record import ExchangeRecord
from execution.exchange.requests import CancelRequest, NewOrder, ReplaceOrder
from execution.exchange.simulated_port import SimulatedPort
from execution.venues import Report
from tickloom.clock import NS_PER_S, Clock
from tickloom.codec import TickBatch

#: Hears of everything that is durable: (client, report) and the messages that went into streams.
Watcher = Callable[[Outcome, list[tuple[str, bytes]]], None]
#: Makes messages for a stream of its own out of an outcome, in the transaction of that.
Streamer = Callable[[str, Report], list[tuple[str, bytes]]]


class ExchangeServer:
    """One simulated exchange.

    Parameters
    ----------
    latency_s : float
        Added to every request before it is looked at, besides the venue's own latency; the order of a
        client's requests stays.
    """

    def __init__(
        self, engine: MatchingEngine, record: ExchangeRecord, clock: Clock, latency_s: float = 0.0
    ) -> None:
        self.engine, self.record, self.faults = engine, record, Faults()
        self._clock, self._latency_ns = clock, round(latency_s * NS_PER_S)
        self._requests = 0
        self._untold: list[Callable[[], None]] | None = None  # None: what is durable is told at once
        self._simulated = SimulatedPort(self, record, clock)
        self._ports: list[OrderEntryPort] = [self._simulated]
        self._streamers: list[Streamer] = []
        self._watchers: list[Watcher] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, host: str, port: int) -> int:
        """Listen for the exchange's own protocol; see :meth:`SimulatedPort.start`."""
        return await self._simulated.start(host, port)

    def add_port(self, port: OrderEntryPort) -> None:
        """Another protocol. Whoever adds it starts it."""
        self._ports.insert(0, port)  # the one without a prefix is asked last

    def watch(self, watcher: Watcher, streamer: Streamer | None = None) -> None:
        """Somebody who hears of all outcomes: the drop copy, the market data feed."""
        self._watchers.append(watcher)
        if streamer is not None:
            self._streamers.append(streamer)

    async def close(self) -> None:
        """Say goodbye to all clients and stop listening."""
        for port in self._ports:
            await port.close()

    # --- the market ----------------------------------------------------------------------------

    async def on_batches(self, batches: list[tuple[TickBatch, int]]) -> None:
        """Let the market move. Requests are looked at between the batches: of 200 that wait after a stall the
        last would else keep every order waiting for seconds."""
        for batch, _ in batches:
            self.settle(self.engine.apply(batch.block, self._clock.now_ns()))
            await asyncio.sleep(0)

    def go_live(self) -> None:
        """The feed's past has been read."""
        self.settle(self.engine.go_live(self._clock.now_ns()))

    # --- clients -------------------------------------------------------------------------------

    def sessions(self, client: str = "") -> list[ClientSession]:
        """Those that are logged in; of one client, or all."""
        return [
            session
            for port in self._ports
            for session in port.sessions()
            if session.alive and client in ("", session.client)
        ]

    def silent_until_ns(self, client: str) -> int:
        return self.faults.silent_until_ns(client)

    def arrive(self, session: ClientSession, request: Request) -> None:
        """A request has come; it is dealt with after the venue's latency."""
        self._requests += 1
        now_ns = self._clock.now_ns()
        if self.faults.loses_order(request.venue):
            session.cut()
            return
        latency = self.engine.markets.profile(request.venue).latency
        delay_ns = (
            self._latency_ns + latency.delay_ns(self._requests) + self.faults.delay_ns(request.venue, now_ns)
        )
        pending = session.pending
        due_ns = max(now_ns + delay_ns, pending[-1][0] if pending else 0)
        if due_ns <= now_ns:
            self._handle(session, request)
            return
        pending.append((due_ns, request))
        if len(pending) == 1:
            self._wake(session)

    def _wake(self, session: ClientSession) -> None:
        """Deal with what is due, in its order, and come back for the rest."""
        pending = session.pending
        while pending and pending[0][0] <= self._clock.now_ns():
            self._handle(session, pending[0][1])
            pending.popleft()
        if pending:
            delay_s = max(0.0, (pending[0][0] - self._clock.now_ns()) / NS_PER_S)
            asyncio.get_running_loop().call_later(delay_s, self._wake, session)

    def _handle(self, session: ClientSession, request: Request) -> None:
        if not session.alive:  # cut while the request was on its way: it never arrived
            return
        ts = self._clock.now_ns()
        if isinstance(request, NewOrder):
            outcome = self.engine.submit(session.client, request, ts)
            metrics.EXCHANGE_ORDERS.labels("duplicate" if outcome.answer else "taken").inc()
        elif isinstance(request, ReplaceOrder):
            outcome = self.engine.replace(request, ts)
        elif isinstance(request, CancelRequest):
            outcome = self.engine.cancel(request, ts)
        else:
            outcome = self.engine.status(request, ts)
        self.settle(outcome)
        if outcome.answer is not None:
            self._tell(partial(session.answer, request, outcome.answer))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Nothing of what is settled in it is told before all of it is durable: one commit for many."""
        told: list[Callable[[], None]] = []
        self._untold = told
        try:
            with self.record.transaction():
                yield
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._untold = None
        for tell in told:
            tell()

    def _tell(self, tell: Callable[[], None]) -> None:
        if self._untold is None:
            tell()
        else:
            self._untold.append(tell)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def settle(self, outcome: Outcome, streamed: list[tuple[str, bytes]] | None = None) -> None:
        """Make it durable, then tell it. What cannot be recorded ends the process."""
        pieces = [self._streamed(client, report) for client, report in outcome.reports]
        streams = [*(streamed or []), *(item for piece in pieces for item in piece)]
        try:
            numbered = self.record.write(outcome, streams)
        except BaseException as error:
            self._fail(error)
            raise
        self._tell(partial(self._told, outcome, numbered, pieces, streams))

    def _told(
        self,
        outcome: Outcome,
        numbered: list[tuple[str, Report]],
        pieces: list[list[tuple[str, bytes]]],
        streams: list[tuple[str, bytes]],
    ) -> None:
        for (client, report), piece in zip(numbered, pieces, strict=True):
            if report.execution_id:
                metrics.EXCHANGE_EXECUTIONS.labels(report.venue).inc()
            self._publish(client, report, piece)
        for watcher in self._watchers:
            watcher(outcome, streams)

    def _streamed(self, client: str, report: Report) -> list[tuple[str, bytes]]:
        messages = self._port(client).streamed(client, report)
        for streamer in self._streamers:
            messages = messages + streamer(client, report)
        return messages

    def _publish(self, client: str, report: Report, streamed: list[tuple[str, bytes]]) -> None:
        if self.faults.loses_ack(report.venue):
            for session in self.sessions(client):
                session.cut()
        self._port(client).publish(client, report, streamed)

    def _port(self, client: str) -> OrderEntryPort:
        return next(port for port in self._ports if client.startswith(port.prefix))
