"""The exchange's shell: clients on TCP, the feed on Kafka, the record on disk; one event loop decides.

Everything that changes the matching engine runs on the loop, one thing after the other: requests in the
order in which they came, the feed's batches between them. An outcome is in the record before its
reports go out. A client that logs on again takes its session over; the old connection is cut first, so
nothing that was still in it can arrive after the answer to a status request.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import structlog

from execution import metrics
from execution.exchange.matching import MatchingEngine, Outcome
from execution.exchange.record import ExchangeRecord
from execution.exchange.requests import CancelRequest, NewOrder, StatusRequest
from execution.venues.simulated import protocol
from execution.venues.simulated.protocol import (
    LINE_BYTES_MAX,
    Heartbeat,
    Logon,
    Logout,
    Message,
    MessageReject,
)
from tickloom.clock import Clock
from tickloom.codec import TickBatch
from tickloom.errors import DecodeError, SetupError

LOGON_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
HEARTBEAT_S = 5.0
SILENCE_S_MAX = 15.0
UNSENT_BYTES_MAX = 8 * 1024 * 1024  # a client that does not read is cut off; its reports are kept

_log = structlog.get_logger("exchange")


@dataclass(slots=True)
class _Session:
    client: str
    writer: asyncio.StreamWriter
    alive: bool = True
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def send(self, line: bytes) -> None:
        if not self.alive:
            return
        if self.writer.transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            _log.warning("slow_client", client=self.client)
            self.cut()
            return
        self.writer.write(line)

    def cut(self) -> None:
        """End it at once; what it sent and we have not read is gone."""
        self.alive = False
        self.writer.transport.abort()


class ExchangeServer:
    """One simulated exchange on one port.

    Parameters
    ----------
    latency_s : float
        Added to every request before it is looked at; the order of requests stays.
    """

    def __init__(
        self, engine: MatchingEngine, record: ExchangeRecord, clock: Clock, latency_s: float = 0.0
    ) -> None:
        self._engine, self._record, self._clock, self._latency_s = engine, record, clock, latency_s
        self._sessions: dict[str, _Session] = {}
        self._server: asyncio.Server | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (one that was free where ``port`` is 0).

        Raises
        ------
        SetupError
            The port is taken.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=LINE_BYTES_MAX)
        except OSError as error:
            raise SetupError(
                f"exchange port {host}:{port} cannot be opened ({error.strerror}); set exchange.port"
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Say goodbye to all clients and stop listening."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions.values()):
            session.send(protocol.encode(Logout("the exchange closes")))
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await session.writer.drain()
            session.cut()

    # --- the market ----------------------------------------------------------------------------

    async def on_batches(self, batches: list[tuple[TickBatch, int]]) -> None:
        """Let the market move."""
        for batch, _ in batches:
            self._settle(self._engine.apply(batch.block, self._clock.now_ns()))

    def go_live(self) -> None:
        """The feed's past has been read."""
        self._settle(self._engine.go_live(self._clock.now_ns()))

    # --- clients -------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session: _Session | None = None
        try:
            async with asyncio.timeout(LOGON_TIMEOUT_S):
                line = await reader.readline()
            logon = protocol.decode(line) if line else None
            if not isinstance(logon, Logon):
                writer.write(protocol.encode(Logout("log on first (MsgType A)")))
                return
            session = self._log_on(logon, writer)
            await self._read(session, reader)
        except DecodeError as error:
            writer.write(protocol.encode(Logout(str(error))))
        except (TimeoutError, ConnectionError, asyncio.LimitOverrunError, ValueError) as error:
            _log.info("session_lost", client=session.client if session else "", error=str(error))
        finally:
            if session is not None:
                self._log_off(session)
            with contextlib.suppress(ConnectionError):
                writer.close()

    def _log_on(self, logon: Logon, writer: asyncio.StreamWriter) -> _Session:
        old = self._sessions.pop(logon.client, None)
        if old is not None:
            _log.info("session_taken_over", client=logon.client)
            old.cut()
        session = self._sessions[logon.client] = _Session(logon.client, writer)
        metrics.EXCHANGE_SESSIONS.set(len(self._sessions))
        last = logon.last_report_seq if logon.session == self._record.session else 0
        session.send(protocol.encode(Logon("EXCHANGE", self._record.session, last)))
        replayed = 0
        for line in self._record.reports_after(logon.client, last):
            session.send(line)
            replayed += 1
        session.tasks.append(asyncio.create_task(self._beat(session)))
        _log.info("session_up", client=logon.client, after=last, replayed=replayed)
        return session

    def _log_off(self, session: _Session) -> None:
        session.alive = False
        for task in session.tasks:
            task.cancel()
        if self._sessions.get(session.client) is session:
            del self._sessions[session.client]
        metrics.EXCHANGE_SESSIONS.set(len(self._sessions))

    async def _beat(self, session: _Session) -> None:
        while session.alive:
            session.send(protocol.encode(Heartbeat()))
            await asyncio.sleep(HEARTBEAT_S)

    async def _read(self, session: _Session, reader: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        while session.alive:
            async with asyncio.timeout(SILENCE_S_MAX):
                line = await reader.readline()
            if not line or not session.alive:
                return
            try:
                message = protocol.decode(line)
            except DecodeError as error:
                session.send(protocol.encode(MessageReject(str(error))))
                continue
            if isinstance(message, Logout):
                return
            if self._latency_s:
                loop.call_later(self._latency_s, self._handle, session, message)
            else:
                self._handle(session, message)

    def _handle(self, session: _Session, message: Message) -> None:
        if not session.alive:  # cut while the request was on its way: it never arrived
            return
        ts = self._clock.now_ns()
        if isinstance(message, NewOrder):
            outcome = self._engine.submit(session.client, message, ts)
            metrics.EXCHANGE_ORDERS.labels("duplicate" if outcome.answer else "taken").inc()
        elif isinstance(message, CancelRequest):
            outcome = self._engine.cancel(message, ts)
        elif isinstance(message, StatusRequest):
            outcome = self._engine.status(message, ts)
        else:
            return
        self._settle(outcome)
        if outcome.answer is not None:
            session.send(protocol.encode(outcome.answer))

    def _settle(self, outcome: Outcome) -> None:
        """Make it durable, then tell it. What cannot be recorded ends the process."""
        try:
            numbered = self._record.write(outcome)
        except BaseException as error:
            if not self.failed.done():
                self.failed.set_exception(error)
            raise
        for client, report in numbered:
            if report.execution_id:
                metrics.EXCHANGE_EXECUTIONS.labels(report.venue).inc()
            session = self._sessions.get(client)
            if session is not None:
                session.send(protocol.encode(report))
