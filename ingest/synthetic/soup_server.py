"""A message stream in, SoupBinTCP out: a local venue that ITCH clients log in to, for tests and the demo.

It keeps the whole session: a client that logs in gets it from the number that it asks for. In a thread of its
own with an event loop of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tickloom.clock import Clock, SystemClock
from tickloom.errors import ServiceTimeout, SetupError
from tickloom.soupbin.session import Down, ServerSession, State, Up

READ_BYTES = 65_536
MESSAGES_AT_ONCE = 500  # between two looks at how much the client has not taken yet
TIMER_S = 0.02
START_S = 20.0


class SoupItchServer:
    """Serves ``messages`` as a session to whoever logs in.

    Parameters
    ----------
    messages : sequence of bytes
        The session, from number 1 on.
    session : str
        Its name, at most ten characters.
    username, password : str
        What a client must give.
    limit : int
        So many messages are there at first; see :meth:`release`.
    snapshot : callable, optional
        As GLIMPSE does: each client that logs in gets a stream of its own, what this gives at that moment.

    Attributes
    ----------
    port : int
        There when the ``with`` block is entered.
    counters : Counter[str]
        logins, rejected, logouts, silent (clients that were cut off for saying nothing), messages.
    asked : list of int
        The number that each login got.
    """

    def __init__(
        self,
        messages: Sequence[bytes],
        session: str = "TLSYN00001",
        *,
        username: str = "ITCH",
        password: str = "secret",
        limit: int | None = None,
        snapshot: Callable[[], Sequence[bytes]] | None = None,
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.session, self.port = session, port
        self.counters: Counter[str] = Counter()
        self.asked: list[int] = []
        self.messages = messages
        self.snapshot = snapshot
        self.limit = len(messages) if limit is None else limit
        self.credentials = (username, password)
        self.clock = clock or SystemClock()
        self.ended = self.stalled = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="soup-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(START_S):
            raise ServiceTimeout(f"the local SoupBinTCP server did not listen within {START_S:.0f} s")
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(START_S)

    def release(self, limit: int) -> None:
        """There are ``limit`` messages by now."""
        self.limit = limit

    def cut(self) -> None:
        """Lose all connections, in the middle of whatever they are at."""
        asyncio.run_coroutine_threadsafe(self._abort(), self._loop).result(START_S)

    def stall(self, stalled: bool = True) -> None:
        """Say nothing to anybody, heartbeats neither, and keep the connections open."""
        self.stalled = stalled

    def end(self) -> None:
        """The session is over, once clients have had what there is."""
        self.ended = True

    def next_session(self, messages: Sequence[bytes], session: str) -> None:
        """Forget the session and begin another; connections are lost."""
        self.messages, self.session, self.limit, self.ended = messages, session, len(messages), False
        self.cut()

    async def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as failure:
            self._failure = failure
            self._ready.set()
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        try:
            server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
        except OSError as error:
            raise SetupError(f"TCP 127.0.0.1:{self.port} cannot be opened ({error.strerror})") from error
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        async with server:
            await self._stopping.wait()
            await self._abort()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(self, writer)
        self._writers.add(writer)
        feeding = asyncio.create_task(client.feed())
        with contextlib.suppress(ConnectionError):
            while client.soup.state is not State.OVER and (data := await reader.read(READ_BYTES)):
                client.take(data)
        feeding.cancel()
        self._writers.discard(writer)
        writer.close()


class _Client:
    """One connection."""

    def __init__(self, server: SoupItchServer, writer: asyncio.StreamWriter) -> None:
        self._server, self._writer = server, writer
        self._next = 0
        self._own = server.snapshot() if server.snapshot is not None else None
        self.soup = ServerSession(
            server.session,
            lambda *given: given == server.credentials,
            lambda _: self.limit,
            server.clock.monotonic_ns(),
        )

    @property
    def limit(self) -> int:
        """So many messages are there by now."""
        return self._server.limit if self._own is None else len(self._own)

    def take(self, data: bytes) -> None:
        """What the client has said."""
        counters = self._server.counters
        for event in self.soup.on_bytes(data, self._server.clock.monotonic_ns()):
            if isinstance(event, Up):
                counters["logins"] += 1
                self._server.asked.append(event.sequence)
                self._next = event.sequence
            elif isinstance(event, Down):
                counters[
                    {"login rejected": "rejected", "logged out": "logouts"}.get(event.reason, "bad")
                ] += 1
        self._writer.write(self.soup.take_output())

    async def feed(self) -> None:
        """Messages that are there and not sent yet, heartbeats, the end."""
        server = self._server
        while True:
            now_ns = server.clock.monotonic_ns()
            if not server.stalled:
                until = min(self.limit + 1, self._next + MESSAGES_AT_ONCE) if self._next else 0
                messages = server.messages if self._own is None else self._own
                for number in range(self._next, until):
                    self.soup.send_sequenced(messages[number - 1], now_ns)
                server.counters["messages"] += max(0, until - self._next)
                self._next = max(self._next, until)
                if server.ended and self._next == self.limit + 1:
                    self.soup.end_session(now_ns)
                if any(isinstance(event, Down) for event in self.soup.on_timer(now_ns)):
                    server.counters["silent"] += 1
                self._writer.write(self.soup.take_output())
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()
            if self.soup.state is State.OVER:
                self._writer.close()
                return
            if not 0 < self._next <= self.limit:
                await asyncio.sleep(TIMER_S)
