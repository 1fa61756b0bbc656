"""The ingester's session over real sockets: capture first, reconnect, resync, end."""

from __future__ import annotations

import asyncio
import http.server
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.server import serve

from ingest.capture import CaptureBatch, CaptureReader, RecordKind, session_path
from ingest.feeds import decoder_for
from ingest.websocket.binance import session
from ingest.websocket.links import control_event
from ingest.websocket.replay import RecordedLines, VenueLine
from ingest.websocket.server import VenueThread
from tickloom.errors import SettingsError
from tickloom.events import EventBlock, GapReason
from tickloom.settings import BinanceSettings

FILES = ["spot_btcusdt_20240808.gz", "spot_ethusdt_20240808.gz"]


class Kept:
    """A sink that keeps everything."""

    name = "kept"

    def __init__(self) -> None:
        self.blocks: list[EventBlock] = []
        self.watermark_ns = 0

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        return {}

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        if len(block):
            self.blocks.append(block)
        self.watermark_ns = watermark_ns

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def of(self, table: str) -> Any:
        return np.concatenate([block.kinds()[table] for block in self.blocks])


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BinanceSettings]:
    """``settings(websocket_url, rest_url, ...)`` with the capture in a directory of the test."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))

    def make(websocket_url: str, rest_url: str, **more: Any) -> BinanceSettings:
        defaults = {
            "session_date": "2024-08-08",
            "metrics_port": 0,
            "reconnect_ms": 5,
            "reconnect_ms_max": 50,
        }
        return BinanceSettings.load(websocket_url=websocket_url, rest_url=rest_url, **{**defaults, **more})

    return make


@contextmanager
def running(settings: BinanceSettings, sink: Kept) -> Iterator[threading.Event]:
    """A session in a thread; the value stops it, and so does leaving."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            session.run(settings, lambda: [sink], stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def wait_for(done: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Poll until ``done``."""
    pause = threading.Event()
    for _ in range(int(timeout_s / 0.02)):
        if done():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen")


def records(settings: BinanceSettings, tmp_path: Path) -> list[Any]:
    path = session_path(tmp_path, settings.venue, "20240808")
    with CaptureReader(path) as reader:
        return [record for batch in reader.batches() for record in batch]


def events(found: list[Any]) -> list[str | None]:
    return [control_event(record.payload) for record in found if record.kind is RecordKind.CONTROL]


def source(shared_data: Callable[[str], Path]) -> RecordedLines:
    return RecordedLines([shared_data(f"binance_raw/{name}") for name in FILES], "BINANCE")


@pytest.mark.parametrize(
    ("venue_name", "market", "suffix"), [("BINANCE", "spot", ""), ("BINANCEF", "usdm", "-PERP")]
)
def test_whole_session(
    settings: Any,
    shared_data: Callable[[str], Path],
    expected: dict[str, Any],
    tmp_path: Path,
    venue_name: str,
    market: str,
    suffix: str,
) -> None:
    """A recording played over a real websocket and REST gives, per instrument, the counts of the recording,
    books that agree with the tickers, and a capture that says how it began and ended."""
    sink = Kept()
    names = [f"{market}_{coin}_20240808" for coin in ("btcusdt", "ethusdt")]
    lines = RecordedLines([shared_data(f"binance_raw/{name}.gz") for name in names], venue_name)
    with VenueThread(lines) as venue:
        chosen = settings(
            venue.address.websocket_url,
            venue.address.rest_url,
            venue=venue_name,
            market=market,
            instruments=(f"BTC-USDT{suffix}", f"ETH-USDT{suffix}"),
        )
        with running(chosen, sink):
            wait_for(lambda: sink.watermark_ns > 1_723_200_000 * 10**9)
    for index, name in enumerate(names, 1):
        counts = expected["line_counts"][name]
        assert int((sink.of("trades")["symbol"] == index).sum()) == counts["trade"]
        assert int((sink.of("quotes")["symbol"] == index).sum()) == counts["bookTicker"]
    captured = records(chosen, tmp_path)
    assert events(captured) == ["open", "end"]
    decoder = decoder_for(venue_name, "20240808")
    with CaptureReader(session_path(tmp_path, venue_name, "20240808")) as reader:
        for batch in reader.batches():
            decoder.decode(batch)
    assert decoder.counters["books_synced"] == 2
    assert decoder.counters["oracle_different"] == 0
    assert decoder.counters["oracle_equal"] > 900
    assert decoder.ended


def test_session_that_has_ended_stays_ended(
    settings: Any, wire: Any, shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """An ingester that is started again on an ended session connects to nobody, and its sinks get all."""
    sinks = [Kept(), Kept()]
    with VenueThread(source(shared_data)) as venue:
        chosen = settings(venue.address.websocket_url, venue.address.rest_url)
        with running(chosen, sinks[0]):
            wait_for(lambda: sinks[0].watermark_ns > 1_723_200_000 * 10**9)
    before = len(records(chosen, tmp_path))
    with running(chosen, sinks[1]):
        wait_for(lambda: sinks[1].watermark_ns > 1_723_200_000 * 10**9)
    assert len(records(chosen, tmp_path)) == before
    assert sinks[1].of("trades").tobytes() == sinks[0].of("trades").tobytes()


class CuttingProxy:
    """Hands bytes on between a client and a server, and cuts each connection after so many of them."""

    def __init__(self, port: int, cuts: list[int]) -> None:
        self._target, self._cuts = port, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            limit = self._cuts[self.connections] if self.connections < len(self._cuts) else None
            self.connections += 1
            threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, limit), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket, limit: int | None) -> None:
        passed = 0
        try:
            while (limit is None or passed < limit) and (data := one.recv(4_096)):
                other.sendall(data[: None if limit is None else limit - passed])
                passed += len(data)
        except OSError:
            pass
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


def test_lost_connections_lose_nothing(
    settings: Any, shared_data: Callable[[str], Path], expected: dict[str, Any], tmp_path: Path
) -> None:
    """A connection cut in the middle of frames, again and again: each loss is a gap event and a new book,
    and every trade and ticker is there once, with the content of an uninterrupted run."""
    chance = random.Random(20_240_808)
    cuts = [chance.randint(2_000, 3_000_000) for _ in range(8)]
    sink = Kept()
    with VenueThread(source(shared_data)) as venue:
        proxy = CuttingProxy(venue.address.websocket_port, cuts)
        chosen = settings(f"ws://127.0.0.1:{proxy.port}", venue.address.rest_url)
        with running(chosen, sink):
            wait_for(lambda: sink.watermark_ns > 1_723_200_000 * 10**9)
        proxy.close()
    assert proxy.connections == len(cuts) + 1
    assert events(records(chosen, tmp_path)).count("close") == len(cuts)
    assert (sink.of("gaps")["reason"] == GapReason.DISCONNECT).sum() == len(cuts)
    assert Counter(sink.of("gaps")["reason"].tolist()) == {GapReason.DISCONNECT: len(cuts)}
    whole = decoder_for("BINANCE", "20240808")
    lines = [(0, line.recv_ns, line.payload) for line in source(shared_data).lines() if not line.snapshot_of]
    want = whole.decode(CaptureBatch.of(lines))
    for table, fields in (
        ("trades", ["ts_event", "symbol", "price", "size", "venue_id", "side"]),
        ("quotes", ["ts_event", "symbol", "bid_price", "bid_size", "ask_price", "ask_size", "venue_id"]),
    ):
        assert sink.of(table)[fields].tolist() == want.kinds()[table][fields].tolist()


def test_silent_connection_is_dropped(settings: Any, tmp_path: Path) -> None:
    """A server that accepts and says nothing is left after the silence limit, and tried again."""
    connections = 0

    async def mute(client: Any) -> None:
        nonlocal connections
        connections += 1
        await client.wait_closed()

    ready = threading.Event()
    done = threading.Event()
    port = 0

    async def venue() -> None:
        nonlocal port
        async with serve(mute, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            ready.set()
            while not done.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=(venue(),))
    thread.start()
    assert ready.wait(10)
    chosen = settings(f"ws://127.0.0.1:{port}", "http://127.0.0.1:1", silence_ms_max=100)
    with running(chosen, Kept()):
        wait_for(lambda: connections >= 3)
    done.set()
    thread.join(10)
    assert events(records(chosen, tmp_path))[:4] == ["open", "close", "open", "close"]


def test_failing_rest_is_asked_again(
    settings: Any, shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """Errors of the REST server are not captured; the book is synced once it answers."""
    asked = Counter[str]()
    with VenueThread(source(shared_data), speed=20.0) as venue:
        rest = venue.address.rest_url

        class Flaky(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked[self.path] += 1
                failing = asked[self.path] < 3
                body = b"down" if failing else httpx.get(rest + self.path, trust_env=False).content
                self.send_response(502 if failing else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chosen = settings(venue.address.websocket_url, f"http://127.0.0.1:{server.server_port}")
        sink = Kept()
        with running(chosen, sink):
            wait_for(lambda: sum(len(block.deltas) > 1_000 for block in sink.blocks) >= 2)
        server.shutdown()
        server.server_close()
    kinds = Counter(record.kind for record in records(chosen, tmp_path))
    assert kinds[RecordKind.SNAPSHOT] == 2
    assert set(asked.values()) == {3}


def test_venue_that_is_away_is_tried_again(
    settings: Any, shared_data: Callable[[str], Path], free_ports: Callable[[int], list[int]]
) -> None:
    """An ingester that is started before its venue connects once the venue is there."""
    websocket_port, rest_port = free_ports(2)
    sink = Kept()
    chosen = settings(f"ws://127.0.0.1:{websocket_port}", f"http://127.0.0.1:{rest_port}")
    with (
        running(chosen, sink),
        VenueThread(source(shared_data), websocket_port=websocket_port, rest_port=rest_port),
    ):
        wait_for(lambda: sink.watermark_ns > 1_723_200_000 * 10**9)
    assert len(sink.of("trades"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instruments": ("BTC-USD",)}, "known are BTC-USDT, ETH-USDT"),
        ({"market": "usdm"}, "set one of binance.market and binance.venue"),
        ({"instruments": ()}, "name at least one"),
        ({"websocket_url": "http://127.0.0.1:1"}, "websocket_url"),
    ],
)
def test_settings_that_do_not_fit(settings: Any, change: dict[str, Any], message: str) -> None:
    """An unknown instrument, the wrong market or address are refused with what would fit."""
    chosen = settings("ws://127.0.0.1:1", "http://127.0.0.1:1").model_copy(update=change)
    with pytest.raises(SettingsError, match=message):
        session.run(chosen, lambda: [], threading.Event())


def test_odd_input_is_said_and_the_feed_goes_on(
    settings: Any, wire: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invalid JSON and a crossed book: each is captured, said in the log with its reason, and what comes
    behind is kept; a stream that nobody asked for is not sent."""
    said: list[str] = []

    class Log:
        def warning(self, event: str, **details: Any) -> None:
            said.append(f"{event} {details}")

        info = warning

    monkeypatch.setattr(session, "log", Log())
    odd = [
        b'{"stream":"btcusdt@trade","data":{"e":"tra',
        b'{"stream":"btcusdt@kline_1m","data":{}} ',
        wire.depth(3, 3, [("102", "1")], [], at=2)[2],
    ]

    class Lines:
        venue = "BINANCE"

        def lines(self) -> Iterator[VenueLine]:
            yield VenueLine(0, wire.depth(1, 1, [], [])[2])
            yield VenueLine(0, b'{"lastUpdateId":1,"bids":[["99","1"]],"asks":[["101","1"]]}', "BTCUSDT")
            yield VenueLine(1, wire.depth(2, 2, [], [("103", "1")], at=1)[2])
            for line in odd:
                yield VenueLine(10**9, line)  # a second later: the book is synced by then
            yield VenueLine(10**9, wire.trade(1, "1", "1", at=3)[2])

    sink = Kept()
    with VenueThread(Lines(), speed=1.0) as venue:
        chosen = settings(venue.address.websocket_url, venue.address.rest_url)
        with running(chosen, sink):
            wait_for(lambda: any(len(block.trades) for block in sink.blocks))
    payloads = [record.payload for record in records(chosen, tmp_path)]
    assert [line for line in odd if line in payloads] == [odd[0], odd[2]]  # nobody asked for the kline
    assert any("no JSON" in line for line in said)
    assert any("BTCUSDT: the book is crossed after message 3" in line for line in said)
    reasons = sink.of("gaps")["reason"].tolist()  # and then the venue goes, sooner or later
    assert reasons[:2] == [GapReason.MALFORMED, GapReason.BOOK]
