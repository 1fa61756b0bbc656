"""SoupBinTCP on TCP: connections of clients, each with a numbered stream that the record keeps.

A client that logs in again takes its session over, the old connection is cut first. On login it gets
its stream from the number that it asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from execution.exchange.ports import Request
from execution.venues import Report
from tickloom.clock import Clock
from tickloom.errors import SetupError
from tickloom.soupbin.session import Down, Message, ServerSession, Up

TIMER_S = 0.1
READ_BYTES = 65_536
UNSENT_BYTES_MAX = 8 * 1024 * 1024  # a client that does not read is cut off; its stream is kept

_log = structlog.get_logger("exchange")


class Streams(Protocol):
    """The record, as far as SoupBinTCP needs it."""

    session: str

    def stream_end(self, stream: str) -> int: ...

    def stream_after(self, stream: str, seq: int) -> list[bytes]: ...


@dataclass(slots=True, eq=False)
class SoupSession:
    """One connection; also the exchange's :class:`~execution.exchange.ports.ClientSession`."""

    soup: ServerSession
    writer: asyncio.StreamWriter
    clock: Clock
    silent_until_ns: Callable[[str], int]
    on_answer: Callable[[SoupSession, Request, Report], None]
    client: str = ""
    alive: bool = True
    pending: deque[tuple[int, Request]] = field(default_factory=deque)
    held: bytearray = field(default_factory=bytearray)

    def flush(self) -> None:
        """Write what is due, or hold it back while the session is to be silent."""
        out = self.soup.take_output()
        if not self.alive:
            return
        self.held += out
        if self.clock.now_ns() < self.silent_until_ns(self.client):
            return
        if self.held:
            if self.writer.transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
                _log.warning("slow_client", client=self.client)
                self.cut()
                return
            self.writer.write(bytes(self.held))
            self.held.clear()

    def release(self) -> None:
        self.flush()

    def answer(self, request: Request, report: Report) -> None:
        self.on_answer(self, request, report)

    def cut(self) -> None:
        self.alive = False
        self.writer.transport.abort()


def no_answer(session: SoupSession, request: Request, report: Report) -> None:
    """Of a stream that takes no requests."""


class SoupBinServer:
    """Listens, and serves streams.

    Parameters
    ----------
    name : str
        Of the setting that has the port, for messages.
    client_of, stream_of : callable
        User name to the exchange's name of the client, and to the stream it gets.
    password : str
        That all must give; empty: any will do.
    on_message : callable
        (session, payload) of what a client sends.
    """

    def __init__(
        self,
        name: str,
        record: Streams,
        clock: Clock,
        client_of: Callable[[str], str],
        stream_of: Callable[[str], str],
        on_message: Callable[[SoupSession, bytes], None],
        password: str = "",
        silent_until_ns: Callable[[str], int] = lambda client: 0,
        on_answer: Callable[[SoupSession, Request, Report], None] = no_answer,
    ) -> None:
        self._name, self._record, self._clock = name, record, clock
        self._client_of, self._stream_of, self._on_message = client_of, stream_of, on_message
        self._password, self._silent_until_ns, self._on_answer = password, silent_until_ns, on_answer
        self._sessions: dict[str, SoupSession] = {}
        self._server: asyncio.Server | None = None
        self.session = record.session[:10]

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (one that was free where ``port`` is 0).

        Raises
        ------
        SetupError
            The port is taken.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port)
        except OSError as error:
            raise SetupError(
                f"{self._name} {host}:{port} cannot be opened ({error.strerror}); set another port"
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Cut all connections and stop listening. The streams go on when the exchange does."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions.values()):
            session.flush()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await session.writer.drain()
            session.alive = False
            session.writer.close()

    def sessions(self) -> list[SoupSession]:
        return list(self._sessions.values())

    def send(self, stream: str, payload: bytes) -> None:
        """The next message of a stream, which the record has by now, to whoever follows it."""
        for session in self._sessions.values():
            if session.alive and self._stream_of(session.soup.username) == stream:
                session.soup.send_sequenced(payload, self._clock.monotonic_ns())
                session.flush()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        soup = ServerSession(
            self.session,
            lambda user, word: bool(user) and (not self._password or word == self._password),
            lambda user: self._record.stream_end(self._stream_of(user)),
            self._clock.monotonic_ns(),
        )
        session = SoupSession(soup, writer, self._clock, self._silent_until_ns, self._on_answer)
        timer = asyncio.create_task(self._tick(session))
        reason = "closed by the client"
        try:
            while session.alive and (data := await reader.read(READ_BYTES)):
                for event in soup.on_bytes(data, self._clock.monotonic_ns()):
                    if isinstance(event, Up):
                        self._log_in(session, event)
                    elif isinstance(event, Message):
                        if session.alive:
                            self._on_message(session, event.payload)
                    elif isinstance(event, Down):
                        reason = event.reason
                        session.flush()
                        return
                session.flush()
        except ConnectionError as error:
            reason = str(error)
        finally:
            timer.cancel()
            self._log_out(session, reason)
            with contextlib.suppress(ConnectionError):
                writer.close()

    def _log_in(self, session: SoupSession, up: Up) -> None:
        session.client = self._client_of(session.soup.username)
        old = self._sessions.pop(session.client, None)
        if old is not None:
            _log.info("session_taken_over", client=session.client)
            old.cut()
        self._sessions[session.client] = session
        missed = self._record.stream_after(self._stream_of(session.soup.username), up.sequence - 1)
        for payload in missed:
            session.soup.send_sequenced(payload, self._clock.monotonic_ns())
        session.flush()
        _log.info("session_up", client=session.client, after=up.sequence - 1, replayed=len(missed))

    def _log_out(self, session: SoupSession, reason: str) -> None:
        session.alive = False
        if self._sessions.get(session.client) is session:
            del self._sessions[session.client]
            _log.info("session_lost", client=session.client, reason=reason)

    async def _tick(self, session: SoupSession) -> None:
        while session.alive:
            await asyncio.sleep(TIMER_S)
            if session.soup.on_timer(self._clock.monotonic_ns()):
                session.cut()
            session.flush()
