"""Sockets for FIX sessions: an acceptor that serves several, an initiator that keeps one up. Thin shells.

Both commit the session's store before they write, and cut a connection whose other end does not read.
Whatever an application raises, other than :class:`FieldError`, ends the connection and is kept in
``failure``: the message that it could not record is not counted as received.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Protocol

import structlog

from execution.fix import tags as tag_of
from execution.fix.codec import Codec, Framer, Message
from execution.fix.configuration import Delivered, Ended, Event, LoggedOn, Noted, Rejected
from execution.fix.dictionary import FIX44
from execution.fix.session import Session
from tickloom.clock import Clock
from tickloom.errors import DecodeError, FieldError, SetupError

READ_BYTES = 65_536
UNSENT_BYTES_MAX = 8 * 1024 * 1024  # a counterparty that does not read is cut off; it can ask again
TIMER_S = 0.1
CONNECT_TIMEOUT_S = 5.0
FIRST_MESSAGE_S = 10.0
CLOSE_TIMEOUT_S = 3.0  # longer than a logout may stay without an answer
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0

_log = structlog.get_logger("fix")


class Application(Protocol):
    """What a session serves; all is called on the event loop, and may call :meth:`Connection.send`."""

    def on_logged_on(self, connection: Connection, epoch: str) -> None:
        """There is a session; ``epoch`` names the numbering of its messages."""
        ...

    def on_message(self, connection: Connection, message: Message) -> None:
        """An application message, in sequence; it is durable when this returns.

        Raises
        ------
        FieldError
            A field is missing that the dictionary does not demand: BusinessMessageReject.
        """
        ...

    def on_rejected(self, connection: Connection, rejected: Rejected) -> None:
        """A message of ours was malformed to the counterparty, which ignored it."""
        ...

    def on_lost(self, connection: Connection, reason: str) -> None:
        """The session that was logged on is no more."""
        ...


class Connection:
    """A session, its application, and a socket where there is one.

    Parameters
    ----------
    may_write : Callable[[], bool], optional
        While it is false nothing is written; what there is to say waits, and goes out with the next timer.
    """

    def __init__(
        self,
        session: Session,
        application: Application,
        clock: Clock,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self.session, self._application, self._clock = session, application, clock
        self._may_write = may_write
        self._writer: asyncio.StreamWriter | None = None
        self._ended = ""
        self._was_up = self._acting = False
        self.failure: BaseException | None = None

    @property
    def name(self) -> str:
        return self.session.configuration.name

    @property
    def taken(self) -> bool:
        """Somebody is connected already, or nobody can be."""
        return self._writer is not None or self.failure is not None

    def send(self, msg_type: bytes, body: bytes, flush: bool = True) -> int:
        """Store and send an application message; its MsgSeqNum. Without a session it is only stored.

        Without ``flush`` it leaves with the next one, or with :meth:`flush`.
        """
        seq_num = self.session.send(msg_type, body, self._clock.now_ns())
        if flush:
            self._flush()
        return seq_num

    def flush(self) -> None:
        """Let go what was sent without."""
        self._flush()

    def cut(self) -> None:
        """End the connection at once, without a word."""
        if self._writer is not None:
            self._writer.transport.abort()

    def log_out(self, text: str = "") -> None:
        """Begin to end the session."""
        self.session.log_out(self._clock.now_ns(), text)
        self._flush()

    async def run(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b""
    ) -> str:
        """Serve one connection to its end; why it ended. ``first``: what was read already."""
        self._writer, self._ended, self._was_up = writer, "", False
        self.session.on_connected(self._clock.now_ns())
        self._flush()
        timer = asyncio.create_task(self._timers())
        lost = "closed by the counterparty"
        try:
            data = first or await reader.read(READ_BYTES)
            while data and not self._ended:
                self._act(self.session.receive(data, self._clock.now_ns()))
                data = b"" if self._ended else await reader.read(READ_BYTES)
        except OSError as error:
            lost = str(error) or type(error).__name__
        finally:
            timer.cancel()
            if self.failure is not None:
                lost = f"failed: {self.failure}"
            await self._close(self._ended or lost)
        if self.failure is not None:
            raise self.failure
        return self._ended or lost

    async def _close(self, reason: str) -> None:
        writer, self._writer = self._writer, None
        self.session.on_disconnected()
        if self.failure is None:
            self.session.store.commit()
        else:
            self.session.store.rollback()
        if writer is not None:
            with contextlib.suppress(OSError, TimeoutError):
                writer.close()
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await writer.wait_closed()
        _log.info("disconnected", session=self.name, reason=reason)
        if self._was_up:
            try:
                self._application.on_lost(self, reason)
            except Exception as error:
                self.failure = self.failure or error

    def _act(self, events: Iterator[Event]) -> None:
        """Do what the session wants; what the application sends meanwhile leaves in one write behind it."""
        self._acting = True
        try:
            for event in events:
                self._on_event(event)
            self._acting = False
            self._flush()
        except Exception as error:  # could not be recorded: there is no going on
            self.failure = error
            raise
        finally:
            self._acting = False

    def _on_event(self, event: Event) -> None:
        match event:
            case Delivered(message):
                try:
                    self._application.on_message(self, message)
                except FieldError as error:
                    _log.warning("unusable", session=self.name, error=str(error))
                    self.session.reject_fields(message, error, self._clock.now_ns())
            case LoggedOn(epoch):
                _log.info("logged_on", session=self.name, epoch=epoch)
                self._was_up = True
                self._application.on_logged_on(self, epoch)
            case Rejected():
                _log.error("rejected", session=self.name, seq_num=event.ref_seq_num, text=event.text)
                self._application.on_rejected(self, event)
            case Noted(text):
                _log.warning("noted", session=self.name, text=text)
            case Ended(reason):
                self._ended = reason

    def _flush(self) -> None:
        """Durable first, then the wire."""
        if self._acting:
            return
        self.session.store.commit()
        if self._writer is not None and not self._may_write():
            return
        data = self.session.take()
        if self._writer is None or not data or self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            _log.warning("slow_reader", session=self.name)
            self._writer.transport.abort()
            return
        self._writer.write(data)

    async def _timers(self) -> None:
        while not self._ended and self.failure is None:
            await asyncio.sleep(TIMER_S)
            with contextlib.suppress(Exception):  # is in failure
                self._act(self.session.on_timer(self._clock.now_ns()))
        if self._writer is not None:
            self._writer.close()  # the reader sees the end


class Acceptor:
    """Sessions on one port, told apart by BeginString and the two CompIDs of the first message.

    A second connection for a session that has one is cut without a word (FIX 4.4, Volume 2, test case 1b).
    """

    def __init__(self, connections: list[Connection]) -> None:
        self._connections = {_identity(connection): connection for connection in connections}
        self._server: asyncio.Server | None = None
        self._framing = Codec(FIX44)
        self._tasks: set[asyncio.Task[None]] = set()

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
            raise SetupError(f"FIX port {host}:{port} cannot be opened ({error.strerror})") from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Log all sessions out and stop listening."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections.values():
            connection.log_out("the acceptor closes")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            data, connection = await self._first(reader)
            if connection is None or connection.taken:
                _log.warning("refused", taken=connection is not None, data=data[:60])  # not its password
                writer.transport.abort() if not data else writer.close()
                return
            await connection.run(reader, writer, data)
        except Exception as error:
            _log.error("connection_failed", error=str(error) or type(error).__name__)
            writer.close()

    async def _first(self, reader: asyncio.StreamReader) -> tuple[bytes, Connection | None]:
        """What came up to the end of the first message, and whose it is."""
        framer, data = Framer(), b""
        async with asyncio.timeout(FIRST_MESSAGE_S):
            while chunk := await reader.read(READ_BYTES):
                data += chunk
                for frame in framer.feed(chunk):
                    if not isinstance(frame, bytes):
                        return data, None
                    with contextlib.suppress(DecodeError):
                        return data, self._connections.get(_addressee(self._framing.parse(frame)))
                    return data, None
        return data, None


_Identity = tuple[bytes | None, bytes | None, bytes | None]


def _identity(connection: Connection) -> _Identity:
    configuration = connection.session.configuration
    names = (configuration.begin_string, configuration.sender, configuration.target)
    begin, sender, target = (name.encode() for name in names)
    return begin, sender, target


def _addressee(message: Message) -> _Identity:
    return message.begin_string, message.get(tag_of.TARGET_COMP_ID), message.get(tag_of.SENDER_COMP_ID)


class Initiator:
    """Keeps one session up: connects, and again after a loss, with a delay that doubles up to a cap."""

    def __init__(self, connection: Connection, host: str, port: int) -> None:
        self.connection, self._host, self._port = connection, host, port
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        """Begin to connect, and keep connecting for ever."""
        self._task = asyncio.create_task(self._run(), name=f"fix {self.connection.name}")

    async def close(self) -> None:
        """Log out, wait a little for the answer, stop."""
        self._closing = True
        self.connection.log_out()
        if self._task is None:
            return
        if self.connection.taken:
            await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT_S)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        backoff_s = BACKOFF_S_MIN
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    reader, writer = await asyncio.open_connection(self._host, self._port)
            except (TimeoutError, OSError) as error:
                why = str(error) or type(error).__name__
            else:
                began_s = loop.time()
                why = await self.connection.run(reader, writer)
                if loop.time() - began_s > BACKOFF_S_MAX:  # it was a session, and not one of many that fail
                    backoff_s = BACKOFF_S_MIN
            if self._closing:
                break
            delay_s = backoff_s * (0.5 + random.random() / 2)
            _log.warning("reconnecting", session=self.connection.name, why=why, in_s=round(delay_s, 2))
            await asyncio.sleep(delay_s)
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)
