"""The drop copy of a simulated exchange, kept up for ever: a SoupBinTCP stream, read from where we were."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

import structlog

from execution import metrics
from execution.exchange.drop_copy import decode
from execution.venues import Report
from tickloom.clock import Clock
from tickloom.errors import DecodeError
from tickloom.soupbin.session import ClientSession, Down, Message, Up

USER = "COPY"
CONNECT_TIMEOUT_S = 5.0
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0
TIMER_S = 0.1
READ_BYTES = 65_536

_log = structlog.get_logger("drop_copy")


class DropCopyListener:
    """See the module.

    Parameters
    ----------
    last : (str, int)
        The stream's name, and the number up to which it is done with; ("", 0): from its beginning.
    on_copy : callable
        (client, report, number in the stream). What it raises ends the listener and is in ``failure``.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        password: str,
        last: tuple[str, int],
        on_copy: Callable[[str, Report, int], None],
        clock: Clock,
    ) -> None:
        self.name, self._host, self._port, self._password = name, host, port, password
        self._on_copy, self._clock = on_copy, clock
        self.stream, self._next = last[0], last[1] + 1
        self._task: asyncio.Task[None] | None = None
        self.connected = False
        self.failure: BaseException | None = None

    async def start(self) -> None:
        """Begin to connect, and keep connecting for ever."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff_s = BACKOFF_S_MIN
        while True:
            why = "closed by the exchange"
            try:
                why = await self._listen()
                backoff_s = BACKOFF_S_MIN
            except (TimeoutError, OSError, DecodeError) as error:
                why = str(error) or type(error).__name__
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # it could not be recorded: the agent must stop
                self.failure = error
                raise
            finally:
                self.connected = False
                metrics.CONNECTED.labels(self.name).set(0)
            delay_s = backoff_s * (0.5 + random.random() / 2)
            _log.warning("session_lost", drop_copy=self.name, why=why, retry_in_s=round(delay_s, 2))
            await asyncio.sleep(delay_s)
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)

    async def _listen(self) -> str:
        """One connection; why it ended."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(self._host, self._port)
        # without the stream's name: a new record's stream is taken as such, and not refused for ever
        soup = ClientSession(USER, self._password, "", self._next, self._clock.monotonic_ns())
        timer = asyncio.create_task(self._tick(soup, reader, writer))
        try:
            while data := await reader.read(READ_BYTES):
                for event in soup.on_bytes(data, self._clock.monotonic_ns()):
                    if isinstance(event, Down):
                        return event.reason
                    if isinstance(event, Up) and not self._is_ours(event):
                        return "the exchange keeps another record now"
                    if isinstance(event, Message) and event.sequence:
                        self._next = event.sequence + 1
                        self._on_copy(*decode(event.payload), event.sequence)
        finally:
            timer.cancel()
            writer.close()
        return "closed by the exchange"

    def _is_ours(self, up: Up) -> bool:
        """Whether the stream is the one that we know; a new one is read from its beginning."""
        again = up.session != self.stream and (bool(self.stream) or self._next > 1)
        if up.session != self.stream:
            self.stream, self._next = up.session, 1
        if again:
            return False
        self.connected = True
        metrics.CONNECTED.labels(self.name).set(1)
        _log.info("session_up", drop_copy=self.name, after=up.sequence - 1)
        return True

    async def _tick(
        self, soup: ClientSession, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            with contextlib.suppress(ConnectionError):
                writer.write(soup.take_output())
            await asyncio.sleep(TIMER_S)
            down = soup.on_timer(self._clock.monotonic_ns())
            if down:
                reader.set_exception(ConnectionError(str(down[0])))
                return
