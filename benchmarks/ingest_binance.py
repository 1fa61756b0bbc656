"""Messages per second from captured Binance messages to events, against a decoder on ``json.loads``.

python benchmarks/ingest_binance.py [runs]

Plays the recordings of ../shared/data/binance_raw where they are there, else a synthetic session of two
coins (then the lines say ``"input": "synthetic"``). The baseline does the same work the usual way:
json.loads, exact integers from decimal text, a dict a book side, a tuple an event.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from ingest.capture import CaptureBatch, CaptureWriter, RecordKind
from ingest.pipeline import CapturePublisher
from ingest.synthetic.coins import SyntheticLines
from ingest.synthetic.parameters import MarketParameters
from ingest.websocket.binance.decoder import BinanceDecoder, warm_up
from ingest.websocket.binance.messages import Market, snapshot_payload
from ingest.websocket.binance.scan import Scanner
from ingest.websocket.binance.session import BinanceFeed, has_ended, venue_symbols
from ingest.websocket.links import control
from ingest.websocket.replay import LineSource, RecordedLines
from ingest.websocket.server import VenueThread
from tickloom.clock import SystemClock
from tickloom.instruments import Registry
from tickloom.prices import parse_nanos
from tickloom.settings import BinanceSettings
from tickloom.telemetry import configure_logging

RECORDINGS = Path(__file__).parent.parent.parent / "shared" / "data" / "binance_raw"
SESSION = "20240808"
SYMBOLS = ["BTCUSDT", "ETHUSDT"]
BATCH_RECORDS = 4_096  # about what a reader of the capture takes at once


class JsonLoadsDecoder:
    """The usual way: one object a message, one tuple an event."""

    def __init__(self) -> None:
        self.trades: list[tuple[Any, ...]] = []
        self.quotes: list[tuple[Any, ...]] = []
        self.deltas: list[tuple[Any, ...]] = []
        self._books: dict[str, tuple[dict[int, int], dict[int, int]]] = {}
        self._last: dict[str, int] = {}
        self._clock = 0

    def decode(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            envelope = json.loads(payload)
            data = envelope["data"]
            kind = envelope["stream"].split("@")[1]
            time_ms = data.get("T", data.get("E"))
            if time_ms is not None:
                self._clock = max(self._clock, time_ms)
            if kind == "trade":
                side = "sell" if data["m"] else "buy"
                self.trades.append(
                    (time_ms, data["s"], data["t"], parse_nanos(data["p"]), parse_nanos(data["q"]), side)
                )
            elif kind == "bookTicker":
                best = [parse_nanos(data[key]) for key in ("b", "B", "a", "A")]
                self.quotes.append((time_ms or self._clock, data["s"], data["u"], *best))
            else:
                self._depth(data, time_ms)

    def _depth(self, data: dict[str, Any], time_ms: int) -> None:
        symbol = data["s"]
        book = self._books.setdefault(symbol, ({}, {}))
        self._last[symbol] = data["u"]
        for side, key in enumerate(("b", "a")):
            for price_text, size_text in data[key]:
                price, size = parse_nanos(price_text), parse_nanos(size_text)
                if size:
                    book[side][price] = size
                else:
                    book[side].pop(price, None)
                self.deltas.append((time_ms, symbol, side, price, size))


def sources() -> tuple[str, list[tuple[str, Market, LineSource]]]:
    """What is played: its label, and metric suffix, market and lines of each."""
    if (RECORDINGS / "EXPECTED.json").exists():
        return "recorded", [
            ("spot", "spot", RecordedLines.of_directory(RECORDINGS, "BINANCE")),
            ("usdm", "usdm", RecordedLines.of_directory(RECORDINGS, "BINANCEF")),
        ]
    return "synthetic", [("spot", "spot", SyntheticLines(MarketParameters(session_date=date(2024, 8, 8))))]


def batches_of(source: LineSource) -> list[CaptureBatch]:
    """The lines as an ingester captures them, in batches."""
    records = [(int(RecordKind.CONTROL), 0, control("open"))]
    for line in source.lines():
        if line.snapshot_of:
            payload = snapshot_payload(line.snapshot_of, line.payload)
            records.append((int(RecordKind.SNAPSHOT), line.recv_ns, payload))
        else:
            records.append((int(RecordKind.DATA), line.recv_ns, line.payload))
    return [
        CaptureBatch.of(records[at : at + BATCH_RECORDS], at + 1)
        for at in range(0, len(records), BATCH_RECORDS)
    ]


def by_tickloom(venue: str, batches: list[CaptureBatch]) -> None:
    decoder = BinanceDecoder(venue, SESSION)
    for batch in batches:
        decoder.decode(batch)


def by_scanner(market: Market, batches: list[CaptureBatch]) -> None:
    scanner = Scanner(market, SYMBOLS)
    for batch in batches:
        scanner.scan(batch.data, batch.offsets, batch.kinds == RecordKind.DATA)


def by_json_loads(payloads: list[bytes]) -> None:
    JsonLoadsDecoder().decode(payloads)


def by_socket(source: LineSource, market: Market) -> None:
    """Local venue to capture over a real websocket, both in this process."""
    registry = Registry.load()
    names = tuple(item.symbol for item in registry.of_venue(source.venue))
    with VenueThread(source) as venue, tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        settings = BinanceSettings.load(
            venue=source.venue,
            market=market,
            instruments=names,
            websocket_url=venue.address.websocket_url,
            rest_url=venue.address.rest_url,
        )
        no_sinks = CapturePublisher(path, lambda: BinanceDecoder(source.venue, SESSION), [], settings)
        with CaptureWriter(path) as writer:
            symbols = venue_symbols(settings, registry)
            feed = BinanceFeed(settings, symbols, writer, SESSION, registry, SystemClock())
            asyncio.run(feed.follow(threading.Event(), no_sinks))
        assert has_ended(path)


def measure(work: Callable[[], object], runs: int) -> tuple[float, float]:
    """Median seconds and median CPU seconds of ``runs`` runs behind a first one."""
    seconds, cpus = [], []
    for run in range(runs + 1):
        cpu, began = time.process_time(), time.perf_counter()
        work()
        if run:
            seconds.append(time.perf_counter() - began)
            cpus.append(time.process_time() - cpu)
    return statistics.median(seconds), statistics.median(cpus)


def main() -> None:
    """Print one JSON line a metric."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    configure_logging("benchmark", "WARNING")
    label, played = sources()
    for suffix, market, source in played:
        warm_up(source.venue)
        batches = batches_of(source)
        payloads = [record.payload for batch in batches for record in batch if record.kind == RecordKind.DATA]
        messages = len(payloads)
        usual_s, _ = measure(lambda payloads=payloads: by_json_loads(payloads), min(runs, 3))
        ways: list[tuple[str, Callable[[], object]]] = [
            ("decode", lambda v=source.venue, b=batches: by_tickloom(v, b)),
            ("scan", lambda m=market, b=batches: by_scanner(m, b)),
        ]
        for name, work in ways:
            seconds, cpu_s = measure(work, runs)
            report(f"ingest.binance.{name}.{suffix}", messages / seconds, cpu_s, runs, label,
                   baseline="json.loads, dict books, tuples", ratio=round(usual_s / seconds, 2))  # fmt: skip
        seconds, cpu_s = measure(lambda s=source, m=market: by_socket(s, m), min(runs, 3))
        report(f"ingest.binance.socket_to_capture.{suffix}", messages / seconds, cpu_s, min(runs, 3), label)


def report(metric: str, rate: float, cpu_s: float, runs: int, label: str, **more: Any) -> None:
    line = {
        "metric": metric, "value": round(rate), "unit": "messages/s", "cpu_s": round(cpu_s, 3), "runs": runs,
        "input": label, **more,
    }  # fmt: skip
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
