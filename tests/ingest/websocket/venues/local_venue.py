"""A venue on loopback that follows a script: a real socket, requests understood, faults on demand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from ingest.websocket.connection import END_CODE, END_REASON
from tests.ingest.websocket.venues.wires import Request, Wire

Script = Callable[["Visit"], Awaitable[None]]


class Visit:
    """One connection of a client.

    Attributes
    ----------
    number : int
        From 0, in the order in which clients came.
    asked : asyncio.Queue of Request
        What the client asked for and the script has not taken yet; pings are answered and not in it.
    """

    def __init__(self, venue: LocalVenue, client: ServerConnection, number: int) -> None:
        self.number, self.wire = number, venue.wire
        self.asked: asyncio.Queue[Request] = asyncio.Queue()
        self.answers_pings = True
        self._venue, self._client = venue, client

    async def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            await self._client.send(payload, text=True)

    async def subscribed(self) -> None:
        """Both instruments' books were asked for."""
        waiting = set(self.wire.symbols)
        while waiting:
            request = await self.asked.get()
            if request.op == "subscribe" and request.channel == self.wire.book_channel:
                waiting.discard(request.symbol)

    async def next_book(self) -> list[Request]:
        """The next two requests that concern books: a book let go and asked for again."""
        found: list[Request] = []
        while len(found) < 2:
            request = await self.asked.get()
            if request.channel == self.wire.book_channel:
                found.append(request)
        return found

    async def end(self) -> None:
        """Close as a replay does that has no more."""
        await self._client.close(END_CODE, END_REASON)

    async def pause(self) -> None:
        """Until the client has read what was sent, and a moment longer."""
        await (await self._client.ping())
        await asyncio.sleep(0.2)

    async def cut(self) -> None:
        """Drop the connection without a word, once the client has read what was sent."""
        await (await self._client.ping())
        self._client.transport.abort()

    async def listen(self) -> None:
        async for text in self._client:
            assert isinstance(text, str)
            for request in self.wire.requests(text):
                self._venue.requests.append(request)
                if request.op != "ping":
                    answer = self.wire.accepted(request)
                    if answer:
                        await self.send(answer)
                    self.asked.put_nowait(request)
                elif self.answers_pings and self.wire.pong:
                    await self.send(self.wire.pong)


class LocalVenue:
    """Runs ``script`` for each client, in a thread of its own.

    Attributes
    ----------
    requests : list of Request
        All that clients have asked for.
    visits : int
        How many clients there were.
    """

    def __init__(self, wire: Wire, script: Script) -> None:
        self.wire, self._script = wire, script
        self.requests: list[Request] = []
        self.visits = 0
        self.failures: list[BaseException] = []
        self._ready, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}{self.wire.path}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        assert not self.failures

    async def _serve(self) -> None:
        async with serve(self._visit, "127.0.0.1", 0, ping_interval=None) as server:
            self._port = next(iter(server.sockets)).getsockname()[1]
            self._ready.set()
            while not self._done.is_set():
                await asyncio.sleep(0.01)

    async def _visit(self, client: ServerConnection) -> None:
        visit = Visit(self, client, self.visits)
        self.visits += 1
        listening = asyncio.create_task(visit.listen())
        try:
            await self._script(visit)
            await client.wait_closed()
        except ConnectionClosed:
            pass
        except Exception as error:
            self.failures.append(error)
            raise
        finally:
            listening.cancel()
