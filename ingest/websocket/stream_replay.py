"""A captured session out again as a local venue that streams its own snapshots: Kraken, OKX, Coinbase, Bybit.

Whoever connects and says anything gets the session's messages in their order, the venue's answers to the
subscriptions of then among them, at the pace of their receive times; behind the last one the connection is
closed with code 1000, "end of session". A client that connects again goes on where the one before it ended:
what was under way is missing to it, as it would be, and a book comes with the next snapshot of the session.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import ConnectionClosed

from ingest.capture import CaptureReader, RecordKind
from ingest.websocket.connection import END_CODE, END_REASON
from ingest.websocket.replay import Pace
from ingest.websocket.server import Reading, drain
from tickloom.clock import Clock, SystemClock
from tickloom.errors import SetupError

HOST = "127.0.0.1"
_POLL_S = 0.01

log = structlog.get_logger("venue")


def serve(
    path: Path,
    stop: threading.Event,
    *,
    port: int,
    speed: float = 1.0,
    on_ready: Callable[[str], None] | None = None,
    on_end: Callable[[], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """Play a capture until ``stop`` is set.

    Parameters
    ----------
    port : int
        0: a free one; ``on_ready`` is told the address, ``ws://HOST:PORT``.
    speed : float
        Session seconds a real second; 0: as fast as the client reads.
    on_end : callable, optional
        Called when a client has had the last message.

    Raises
    ------
    SetupError
        The port is taken.
    CaptureError
        The capture is damaged.
    """
    venue = _Venue(path, Pace(speed), on_end or (lambda: None), clock or SystemClock())
    asyncio.run(_serve(venue, stop, port, on_ready or (lambda _: None)))


async def _serve(venue: _Venue, stop: threading.Event, port: int, on_ready: Callable[[str], None]) -> None:
    try:
        server = await serve_websocket(
            venue.play, HOST, port, compression=None, ping_interval=20, ping_timeout=None, close_timeout=2
        )
    except OSError as error:
        raise SetupError(f"port {port} cannot be opened ({error.strerror}); give another --to") from error
    async with server:
        on_ready(f"ws://{HOST}:{next(iter(server.sockets)).getsockname()[1]}")
        while not stop.is_set() and venue.failure is None:
            await asyncio.sleep(_POLL_S)
        server.close(close_connections=True)
    if venue.failure is not None:
        raise venue.failure


class _Venue:
    """Plays to one client at a time; a newer connection takes over."""

    def __init__(self, path: Path, pace: Pace, on_end: Callable[[], None], clock: Clock) -> None:
        self._messages = _messages(path)
        self._pace, self._on_end, self._clock = pace, on_end, clock
        self._client: ServerConnection | None = None
        self.failure: Exception | None = None

    async def play(self, client: ServerConnection) -> None:
        before, self._client = self._client, client
        if before is not None:
            before.transport.abort()
        try:
            await client.recv()  # what it subscribes to is not looked at: the session is what it is
            draining = asyncio.create_task(drain(client))
            try:
                await self._send(client)
            finally:
                draining.cancel()
        except ConnectionClosed as error:
            log.info("client.gone", reason=str(error))
        except Exception as error:
            self.failure = error

    async def _send(self, client: ServerConnection) -> None:
        reading = Reading(client)
        self._pace.resume(self._clock.monotonic_ns())
        while self._client is client:
            message = next(self._messages, None)
            if message is None:
                await reading.all_read()
                self._on_end()
                await client.close(END_CODE, END_REASON)
                return
            recv_ns, payload = message
            wait_s = self._pace.wait_s(recv_ns, self._clock.monotonic_ns())
            if wait_s:
                await asyncio.sleep(wait_s)
            await client.send(payload, text=True)
            await reading.sent()


def _messages(path: Path) -> Iterator[tuple[int, bytes]]:
    """Receive times, which never fall, and messages of the venue."""
    latest_ns = 0
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            for record in batch:
                latest_ns = max(latest_ns, record.ts_recv)
                if record.kind == RecordKind.DATA:
                    yield latest_ns, record.payload
