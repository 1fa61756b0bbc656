"""The local venue over real sockets."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ingest.websocket.replay import UNREAD_LINES_MAX, Pace, Playback, VenueLine
from ingest.websocket.server import VenueServer, VenueThread
from tickloom.errors import SetupError


class Lines:
    """A source of ``count`` trades, then as many depth updates, of BTCUSDT."""

    venue = "BINANCE"

    def __init__(self, wire: Any, count: int) -> None:
        self._wire, self._count = wire, count

    def lines(self) -> Iterator[VenueLine]:
        wire = self._wire
        yield VenueLine(0, wire.depth(1, 1, [], [])[2])
        answer = {"lastUpdateId": 1, "bids": [["99", "1"]], "asks": [["101", "1"]]}
        yield VenueLine(0, json.dumps(answer).encode(), "BTCUSDT")
        for number in range(self._count):
            yield VenueLine(number, wire.trade(number, "1", "1")[2])
        for number in range(self._count):
            yield VenueLine(number, wire.depth(number + 2, number + 2, [("98", "1")], [])[2])


def on_venue(lines: Any, work: Callable[[str, str, Playback], Awaitable[None]], speed: float = 0) -> None:
    """Run ``work(websocket address, REST address, playback)`` against a venue on free ports."""

    async def run() -> None:
        playback = Playback(lines)
        server = VenueServer(playback, Pace(speed))
        ports = await server.start("127.0.0.1", [0, 0])
        try:
            await asyncio.wait_for(
                work(f"ws://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", playback), 60
            )
        finally:
            await server.stop()

    asyncio.run(run())


async def read_all(client: Any) -> None:
    """Read until the connection closes, and let that be raised."""
    while True:
        await client.recv()


def test_streams_that_were_asked_for(wire: Any) -> None:
    """A client gets the streams that it named, whatever their speed, as text, and a close that says that
    the session is over."""

    async def work(websocket: str, rest: str, playback: Playback) -> None:
        async with connect(
            f"{websocket}/stream?streams=btcusdt@trade/btcusdt@depth@0ms", proxy=None
        ) as client:
            got = [await client.recv() for _ in range(21)]
            assert all(isinstance(message, str) for message in got)
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "end of session")
        async with connect(f"{websocket}/stream?streams=btcusdt@trade", proxy=None) as client:
            names = [json.loads(message)["stream"] async for message in client]
        assert names == ["btcusdt@trade"] * 10

    on_venue(Lines(wire, 10), work)


def test_rest_order_book(wire: Any) -> None:
    """The order book has the venue's path and form; other paths and symbols are refused as the venue does."""

    async def work(websocket: str, rest: str, playback: Playback) -> None:
        async with (
            httpx.AsyncClient(trust_env=False) as http,
            connect(f"{websocket}/stream?streams=btcusdt@depth", proxy=None) as client,
        ):
            await client.recv()
            answer = await http.get(f"{rest}/api/v3/depth?symbol=BTCUSDT&limit=5000")
            assert answer.json() == {"lastUpdateId": 1, "bids": [["99", "1"]], "asks": [["101", "1"]]}
            assert answer.headers["content-type"] == "application/json"
            assert (await http.get(f"{rest}/api/v3/depth?symbol=NOPE")).status_code == 400
            assert (await http.get(f"{rest}/fapi/v1/depth?symbol=BTCUSDT")).status_code == 404
            async for _ in client:
                pass
            again = (await http.get(f"{rest}/api/v3/depth?symbol=BTCUSDT")).json()
            assert again == {"lastUpdateId": 11, "bids": [["99", "1"], ["98", "1"]], "asks": [["101", "1"]]}

    on_venue(Lines(wire, 10), work)


def test_client_that_does_not_read_is_waited_for(wire: Any) -> None:
    """No more lines are on their way than the venue has promised, so that a rewind covers them."""

    async def work(websocket: str, rest: str, playback: Playback) -> None:
        address = f"{websocket}/stream?streams=btcusdt@trade"
        async with connect(address, proxy=None, max_queue=8) as client:
            await client.recv()
            for before in itertools.count():
                high = playback.high
                await asyncio.sleep(0.3)
                if playback.high == high and before:
                    break
            assert playback.high <= UNREAD_LINES_MAX + 8 + 1_000
            got = 1
            async for _ in client:
                got += 1
            assert got == 20_000

    on_venue(Lines(wire, 20_000), work)


def test_dropped_client_misses_nothing(wire: Any) -> None:
    """Whatever a client had read when its connection died, with the lines it gets behind a reconnect it has
    them all."""

    async def work(websocket: str, rest: str, playback: Playback) -> None:
        address = f"{websocket}/stream?streams=btcusdt@trade"
        seen: list[int] = []
        for stay in (1, 777, 5_000, 1_000_000):
            client = await connect(address, proxy=None)
            try:
                for _ in range(stay):
                    seen.append(json.loads(await client.recv())["data"]["t"])
            except ConnectionClosed:
                pass
            client.transport.abort()
        assert len(seen) > 20_000
        assert list(dict.fromkeys(seen)) == list(range(20_000))

    on_venue(Lines(wire, 20_000), work)


def test_newer_connection_takes_over(wire: Any) -> None:
    """A second client ends the first one's connection and gets the session from as far back as is kept."""

    async def work(websocket: str, rest: str, playback: Playback) -> None:
        address = f"{websocket}/stream?streams=btcusdt@trade"
        async with connect(address, proxy=None) as first:
            await first.recv()
            async with connect(address, proxy=None) as second:
                numbers = [json.loads(message)["data"]["t"] async for message in second]
            assert numbers == list(range(20_000))
            with pytest.raises(ConnectionClosed):
                await read_all(first)
            assert first.close_code == 1006  # no goodbye: it was cut off

    on_venue(Lines(wire, 20_000), work)


def test_taken_port_is_named(wire: Any) -> None:
    """A port that somebody holds is refused with its number and what to do."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with (
            pytest.raises(SetupError, match=f"127.0.0.1:{port}"),
            VenueThread(Lines(wire, 1), websocket_port=port, rest_port=port),
        ):
            pass
