"""The order entry port of the exchange's own protocol: JSON lines with FIX's names, on TCP.

A client that logs on again takes its session over; the old connection is cut first, so nothing that was
still in it can arrive after the answer to a status request. What it missed is sent from the record.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from execution import metrics
from execution.exchange.ports import ClientSession, Exchange, Request
from execution.exchange.requests import CancelRequest, NewOrder, ReplaceOrder, StatusRequest
from execution.venues import Report
from execution.venues.simulated import protocol
from execution.venues.simulated.protocol import (
    LINE_BYTES_MAX,
    Heartbeat,
    Logon,
    Logout,
    MessageReject,
)
from tickloom.clock import Clock
from tickloom.errors import DecodeError, SetupError

LOGON_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
HEARTBEAT_S = 5.0
SILENCE_S_MAX = 15.0
READ_BYTES = 65_536
UNSENT_BYTES_MAX = 8 * 1024 * 1024  # a client that does not read is cut off; its reports are kept

_log = structlog.get_logger("exchange")


class Reports(Protocol):
    """The record, as far as this port needs it."""

    session: str

    def agent(self, client: str) -> tuple[int, str]: ...

    def set_agent(self, client: str, epoch: int, agent: str) -> None: ...

    def reports_after(self, client: str, report_seq: int) -> Iterator[bytes]: ...


@dataclass(slots=True, eq=False)
class _Session:
    client: str
    writer: asyncio.StreamWriter
    exchange: Exchange
    clock: Clock
    alive: bool = True
    pending: deque[tuple[int, Request]] = field(default_factory=deque)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    held: list[bytes] = field(default_factory=list)

    def send(self, line: bytes) -> None:
        if not self.alive:
            return
        if self.clock.now_ns() < self.exchange.silent_until_ns(self.client):
            self.held.append(line)
            return
        self.release()
        if self.writer.transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            _log.warning("slow_client", client=self.client)
            self.cut()
            return
        self.writer.write(line)

    def release(self) -> None:
        if self.alive and self.held and self.clock.now_ns() >= self.exchange.silent_until_ns(self.client):
            held, self.held = self.held, []
            self.writer.write(b"".join(held))

    def answer(self, request: Request, report: Report) -> None:
        self.send(protocol.encode(report))

    def cut(self) -> None:
        self.alive = False
        self.writer.transport.abort()


class SimulatedPort:
    """See the module. Clients' names are as they say: this is the port of names without a prefix."""

    prefix = ""

    def __init__(self, exchange: Exchange, record: Reports, clock: Clock) -> None:
        self._exchange, self._record, self._clock = exchange, record, clock
        self._sessions: dict[str, _Session] = {}
        self._server: asyncio.Server | None = None

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

    def sessions(self) -> list[ClientSession]:
        return list(self._sessions.values())

    def streamed(self, client: str, report: Report) -> list[tuple[str, bytes]]:
        """None: this protocol numbers reports, which the record has anyway."""
        return []

    def publish(self, client: str, report: Report, streamed: list[tuple[str, bytes]]) -> None:
        session = self._sessions.get(client)
        if session is not None:
            session.send(protocol.encode(report))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session: _Session | None = None
        try:
            async with asyncio.timeout(LOGON_TIMEOUT_S):
                line = await reader.readline()
            logon = protocol.decode(line) if line else None
            if not isinstance(logon, Logon):
                writer.write(protocol.encode(Logout("log on first (MsgType A)")))
                return
            if ":" in logon.client:  # that would be a client of another port
                writer.write(protocol.encode(Logout("a SenderCompID has no colon")))
                return
            if self._fenced(logon):
                known = self._record.agent(logon.client)[0]
                text = f"agent {logon.epoch} of {logon.client} is fenced off: agent {known} has logged on"
                _log.warning("fenced", client=logon.client, epoch=logon.epoch, known=known)
                writer.write(protocol.encode(Logout(text, fenced=True)))
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

    def _fenced(self, logon: Logon) -> bool:
        """Whether another agent of this client has logged on that is no earlier one. Of two with copies of
        one journal, which have the same epoch, the first to log on is it."""
        epoch, agent = self._record.agent(logon.client)
        if logon.epoch > epoch:
            self._record.set_agent(logon.client, logon.epoch, logon.agent)
        return logon.epoch < epoch or (logon.epoch == epoch and logon.agent != agent)

    def _log_on(self, logon: Logon, writer: asyncio.StreamWriter) -> _Session:
        old = self._sessions.pop(logon.client, None)
        if old is not None:
            _log.info("session_taken_over", client=logon.client)
            old.cut()
        session = _Session(logon.client, writer, self._exchange, self._clock)
        self._sessions[logon.client] = session
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
        rest = b""
        while session.alive:
            async with asyncio.timeout(SILENCE_S_MAX):
                data = await reader.read(READ_BYTES)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                raise ValueError(f"a line of more than {LINE_BYTES_MAX} bytes")
            with self._exchange.together():
                if not all(self._take(session, line) for line in lines):
                    return

    def _take(self, session: _Session, line: bytes) -> bool:
        """False: nothing of this session is looked at any more."""
        if not session.alive:
            return False
        try:
            message = protocol.decode(line)
        except DecodeError as error:
            session.send(protocol.encode(MessageReject(str(error))))
            return True
        if isinstance(message, NewOrder | ReplaceOrder | CancelRequest | StatusRequest):
            self._exchange.arrive(session, message)
        return not isinstance(message, Logout)
