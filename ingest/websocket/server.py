"""A played session in, a local venue out: Binance's combined streams and REST order book on loopback.

One client at a time is played to; a newer connection takes over from an older one. Each listening port
answers both, the websocket at ``/stream?streams=...`` and the order book at the path of the market. The
session starts with the first client, holds while nobody is connected (see :mod:`.replay`) and ends with
close code 1000, "end of session", once the client has read all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

import structlog
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ingest.websocket.binance.decoder import warm_up
from ingest.websocket.binance.protocol import END_CODE, END_REASON, SNAPSHOT_PATH
from ingest.websocket.replay import UNREAD_LINES_MAX, LineSource, Pace, Playback
from tickloom.clock import Clock, SystemClock
from tickloom.errors import ServiceTimeout, SetupError
from tickloom.instruments import Registry

PING_LINES = UNREAD_LINES_MAX // 8  # how often the client is asked how far it has read
SNAPSHOT_WAIT_S = 10.0  # for the recorded order book, which comes a moment after the first lines
_POLL_S = 0.01
_START_S = 120.0  # a compiler in another thread may have the processor for as long
_HEAD_BYTES = len(b'{"stream":"')

log = structlog.get_logger("venue")


class Reading:
    """How many lines a client has surely read: it answers pings in the order of what it reads."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._asked: deque[tuple[int, asyncio.Future[float]]] = deque()
        self._sent = 0
        self._read = 0

    async def sent(self) -> None:
        """One more line is on its way; returns when not too many are."""
        self._sent += 1
        if self._sent % PING_LINES == 0:
            await self._ask()
        while self._sent - self._read > UNREAD_LINES_MAX:
            await self._hear()

    async def all_read(self) -> None:
        """Return when the client has read everything."""
        await self._ask()
        while self._asked:
            await self._hear()

    async def _ask(self) -> None:
        waiter = await self._connection.ping()
        self._asked.append((self._sent, asyncio.ensure_future(waiter)))
        while self._asked and self._asked[0][1].done():
            await self._hear()

    async def _hear(self) -> None:
        lines, waiter = self._asked.popleft()
        await waiter  # raises ConnectionClosed where the client is gone
        self._read = lines


class VenueServer:
    """Plays one session.

    Attributes
    ----------
    ended : asyncio.Event
        The client has read all and has answered the close.
    """

    def __init__(self, playback: Playback, pace: Pace, clock: Clock | None = None) -> None:
        self.ended = asyncio.Event()
        self._playback = playback
        self._pace = pace
        self._clock = clock or SystemClock()
        self._client: ServerConnection | None = None
        self._servers: list[Server] = []

    async def start(self, host: str, ports: list[int]) -> list[int]:
        """Listen; the ports in use (0 lets the machine choose).

        Raises
        ------
        SetupError
            A port is taken.
        """
        for port in dict.fromkeys(ports) if any(ports) else ports:
            try:
                server = await serve_websocket(
                    self._play,
                    host,
                    port,
                    process_request=self._answer,
                    compression=None,  # as Binance
                    ping_interval=20,  # as Binance
                    ping_timeout=None,  # on loopback a client that is gone says so
                    close_timeout=2,
                )
            except OSError as error:
                await self.stop()
                raise SetupError(
                    f"the local venue cannot listen on {host}:{port} ({error.strerror}); "
                    "choose another port, or see `tickloom doctor` for who holds it"
                ) from error
            self._servers.append(server)
        return [next(iter(server.sockets)).getsockname()[1] for server in self._servers]

    async def stop(self) -> None:
        """Drop the client and stop listening."""
        for server in self._servers:
            server.close(close_connections=True)
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    async def _play(self, client: ServerConnection) -> None:
        before, self._client = self._client, client
        if before is not None:
            before.transport.abort()  # a newer connection: the older one is dead, or should be
        self.ended.clear()
        self._playback.connect()
        self._pace.resume(self._clock.monotonic_ns())
        draining = asyncio.create_task(drain(client))
        try:
            await self._send_lines(client)
        except ConnectionClosed as error:
            log.info("client.gone", lines=self._playback.high, reason=str(error))
        finally:
            draining.cancel()
            if self._client is client:
                self._client = None

    async def _send_lines(self, client: ServerConnection) -> None:
        assert client.request is not None
        wanted = _Streams(client.request.path)
        reading = Reading(client)
        while self._client is client:
            line = self._playback.next()
            if line is None:
                await reading.all_read()
                await client.close(END_CODE, END_REASON)
                if client.protocol.close_rcvd is not None:
                    log.info("session.ended", lines=self._playback.high)
                    self.ended.set()
                return
            if line.snapshot_of or line.payload not in wanted:
                continue
            wait_s = self._pace.wait_s(line.recv_ns, self._clock.monotonic_ns())
            if wait_s:
                await asyncio.sleep(wait_s)
                if self._client is not client:
                    return
            await client.send(line.payload, text=True)
            await reading.sent()

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """None lets the websocket handshake go on."""
        url = urlsplit(request.path)
        if url.path == "/stream":
            return None
        if url.path != SNAPSHOT_PATH[self._playback.market]:
            return _json(connection, HTTPStatus.NOT_FOUND, b'{"code":-1,"msg":"No such path."}')
        symbol = parse_qs(url.query).get("symbol", [""])[0]
        if not self._playback.knows(symbol):
            return _json(connection, HTTPStatus.BAD_REQUEST, b'{"code":-1121,"msg":"Invalid symbol."}')
        deadline_ns = self._clock.monotonic_ns() + int(SNAPSHOT_WAIT_S * 1e9)
        while (answer := self._playback.snapshot(symbol)) is None:
            if self._clock.monotonic_ns() > deadline_ns:
                return _json(
                    connection, HTTPStatus.SERVICE_UNAVAILABLE, b'{"code":-1,"msg":"No book; try again."}'
                )
            await asyncio.sleep(_POLL_S)
        return _json(connection, HTTPStatus.OK, answer)


class _Streams:
    """Which lines belong to the streams that a client named; the speed (@100ms) does not matter."""

    def __init__(self, path: str) -> None:
        names = parse_qs(urlsplit(path).query).get("streams", [""])[0]
        self._wanted = {_plain(name.encode()) for name in names.split("/")}
        self._known: dict[bytes, bool] = {}

    def __contains__(self, payload: bytes) -> bool:
        name = payload[_HEAD_BYTES : payload.find(b'"', _HEAD_BYTES)]
        known = self._known.get(name)
        if known is None:
            known = _plain(name) in self._wanted or b"@" not in name  # what has no stream goes to everybody
            if len(self._known) < 1_000:  # broken lines could have any number of names
                self._known[name] = known
        return known


def _plain(name: bytes) -> bytes:
    return b"@".join(name.split(b"@")[:2])


def _json(connection: ServerConnection, status: HTTPStatus, body: bytes) -> Response:
    response = connection.respond(status, body.decode())
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response


async def drain(client: ServerConnection) -> None:
    """Read what the client sends and let it fall: unread messages would hold up its pongs."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in client:
            pass


@dataclass(frozen=True, slots=True)
class VenueAddress:
    """Where a local venue listens."""

    host: str
    websocket_port: int
    rest_port: int

    @property
    def websocket_url(self) -> str:
        return f"ws://{self.host}:{self.websocket_port}"

    @property
    def rest_url(self) -> str:
        return f"http://{self.host}:{self.rest_port}"


def serve(
    source: LineSource,
    stop: threading.Event,
    *,
    host: str = "127.0.0.1",
    websocket_port: int,
    rest_port: int,
    speed: float = 1.0,
    linger_s: float | None = None,
    registry: Registry | None = None,
    on_ready: Callable[[VenueAddress], None] | None = None,
    on_end: Callable[[], None] | None = None,
) -> None:
    """Play ``source`` to whoever connects; returns when ``stop`` is set.

    Parameters
    ----------
    speed : float
        Market seconds a real second; 0: as fast as the client reads.
    linger_s : float, optional
        Return so long after the session ended, too; a client that lost its memory of the end may come back
        until then. Default: never.
    on_ready, on_end : callable, optional
        Called when the ports are open, and each time a client has had the whole session.

    Raises
    ------
    SetupError
        A port is taken.
    """
    asyncio.run(
        _serve(source, stop, host, [websocket_port, rest_port], speed, linger_s, registry, on_ready, on_end)
    )


async def _serve(
    source: LineSource,
    stop: threading.Event,
    host: str,
    ports: list[int],
    speed: float,
    linger_s: float | None,
    registry: Registry | None,
    on_ready: Callable[[VenueAddress], None] | None,
    on_end: Callable[[], None] | None,
) -> None:
    clock = SystemClock()
    warm_up(source.venue, registry)
    logging.getLogger("websockets.server").setLevel(logging.WARNING)  # two lines a REST request else
    server = VenueServer(Playback(source, registry=registry), Pace(speed), clock)
    opened = await server.start(host, ports)
    if on_ready is not None:
        on_ready(VenueAddress(host, opened[0], opened[-1]))
    ended_ns = 0
    try:
        while not stop.is_set():
            if not server.ended.is_set():
                ended_ns = 0
            elif ended_ns == 0:
                ended_ns = clock.monotonic_ns()
                if on_end is not None:
                    on_end()
            elif linger_s is not None and clock.monotonic_ns() - ended_ns >= linger_s * 1e9:
                return
            await asyncio.sleep(_POLL_S)
    finally:
        await server.stop()


class VenueThread:
    """:func:`serve` in a thread of this process, for tests, benchmarks and the demo.

    Attributes
    ----------
    address : VenueAddress
        There when the ``with`` block is entered.
    """

    address: VenueAddress

    def __init__(
        self,
        source: LineSource,
        *,
        speed: float = 0.0,
        websocket_port: int = 0,
        rest_port: int = 0,
        registry: Registry | None = None,
    ) -> None:
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._source = source
        self._ports = websocket_port, rest_port
        self._speed = speed
        self._registry = registry
        self._thread = threading.Thread(target=self._run, name="venue", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_S):
            raise ServiceTimeout(f"the local venue did not listen within {_START_S:.0f} s")
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_START_S)
        if self._failure is not None and error is None:
            raise self._failure

    def wait_ended(self, timeout_s: float) -> bool:
        """Whether a client has had the whole session within ``timeout_s``."""
        return self._ended.wait(timeout_s)

    def _run(self) -> None:
        try:
            serve(
                self._source,
                self._stop,
                websocket_port=self._ports[0],
                rest_port=self._ports[1],
                speed=self._speed,
                registry=self._registry,
                on_ready=self._on_ready,
                on_end=self._ended.set,
            )
        except BaseException as failure:
            self._failure = failure
            self._ready.set()

    def _on_ready(self, address: VenueAddress) -> None:
        self.address = address
        self._ready.set()
