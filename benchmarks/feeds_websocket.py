"""Websocket messages per second from captured bytes to normalised events, beside parsing them alone.

python benchmarks/feeds_websocket.py [runs]

Plays cryptofeed's recordings of ../shared/data/cryptofeed, and of Binance those of
../shared/data/binance_raw; a venue without its recording is left out, and says so. A recording is repeated
until there are MESSAGES_MIN messages, each time by a fresh decoder, made before the clock starts, that begins
with the venue's snapshots. ``kraken_v2``: Kraken's recording, which is of API v1, in the words of v2, which
its ingester speaks. ``parse`` makes Python objects of each message and lets them fall: orjson where it is
installed, else msgspec. CPU time of one process, best of the runs; ``ratio`` is the median, over the
turns, of the rate to that of parsing in the same turn.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ingest.capture import CaptureBatch, RecordKind
from ingest.decoder import Decoder
from ingest.feeds import decoder_for
from ingest.websocket.binance.messages import snapshot_payload
from ingest.websocket.bybit.decoder import BybitDecoder
from ingest.websocket.coinbase.decoder import CoinbaseDecoder
from ingest.websocket.cryptofeed_dump import CryptofeedDump
from ingest.websocket.decoder import StreamDecoder
from ingest.websocket.kraken.decoder import KrakenDecoder
from ingest.websocket.links import control
from ingest.websocket.okx.decoder import OkxDecoder
from ingest.websocket.replay import RecordedLines, VenueLine
from tests.ingest.websocket.kraken.conversion import Conversion
from tickloom.errors import SettingsError
from tickloom.instruments import Registry

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
SESSION = "20210417"
BATCH_RECORDS = 4_096  # about what a reader of the capture takes at once
MESSAGES_MIN = 20_000  # of a run: below, the clock's grain shows
V2 = "KRAKEN_V2"
Work = tuple[Callable[..., object], Callable[[], tuple[Any, ...]]]
STREAMS: dict[str, type[Any]] = {
    "KRAKEN": KrakenDecoder,
    "OKX": OkxDecoder,
    "COINBASE": CoinbaseDecoder,
    "BYBIT": BybitDecoder,
}


def parser() -> tuple[str, Callable[[bytes], object]]:
    """The plain parse to compare with, and its name."""
    if importlib.util.find_spec("orjson") is not None:
        return "orjson.loads", importlib.import_module("orjson").loads
    return "msgspec.json.decode", msgspec.json.decode


def recording(venue: str, title: str) -> list[VenueLine]:
    """What was recorded of a venue, in order of receive time."""
    if title == V2:
        v1 = [(int(RecordKind.DATA), line.recv_ns, line.payload) for line in recording(venue, venue)]
        return [VenueLine(recv_ns, payload) for _, recv_ns, payload in Conversion().records(v1)]
    if venue in STREAMS:
        return list(CryptofeedDump(DATA / "cryptofeed", venue).lines())
    return list(RecordedLines.of_directory(DATA / "binance_raw", venue).lines())


def batches_of(lines: list[VenueLine]) -> list[CaptureBatch]:
    """The lines as an ingester captures them, in batches."""
    records = [(int(RecordKind.CONTROL), lines[0].recv_ns, control("open"))]
    for line in lines:
        if line.snapshot_of:
            payload = snapshot_payload(line.snapshot_of, line.payload)
            records.append((int(RecordKind.SNAPSHOT), line.recv_ns, payload))
        else:
            records.append((int(RecordKind.DATA), line.recv_ns, line.payload))
    return [
        CaptureBatch.of(records[at : at + BATCH_RECORDS], at + 1)
        for at in range(0, len(records), BATCH_RECORDS)
    ]


def decode_all(decoders: list[Decoder], batches: list[CaptureBatch]) -> None:
    for decoder in decoders:
        for batch in batches:
            decoder.decode(batch)


def parse_all(parse: Callable[[bytes], object], payloads: list[bytes], times: int) -> None:
    for _ in range(times):
        for payload in payloads:
            parse(payload)


def in_turn(works: dict[str, Work], runs: int) -> dict[str, list[float]]:
    """CPU seconds of each work, ``runs`` times one behind the other, behind a first time that is not counted.

    A work is what is run, and what makes its arguments before the clock starts.
    """
    spent: dict[str, list[float]] = {name: [] for name in works}
    for run in range(runs + 1):
        for name, (work, prepare) in works.items():
            given = prepare()
            began = time.process_time()
            work(*given)
            if run:
                spent[name].append(time.process_time() - began)
    return spent


def checked(make: Callable[[], Decoder], batches: list[CaptureBatch]) -> None:
    """Nothing may have gone wrong where speed is measured."""
    decoder = make()
    for batch in batches:
        decoder.decode(batch)
    for oddity in (
        "malformed",
        "refused_price",
        "checksums_different",
        "crossed",
        "gaps",
        "updates_unsynced",
    ):
        if decoder.counters[oddity]:
            raise SystemExit(
                f"{decoder.venue}: {oddity} {decoder.counters[oddity]}; the figures mean nothing"
            )


def measure(venue: str, title: str, lines: list[VenueLine], runs: int, registry: Registry) -> None:
    """Print a line each for parsing, without books and with."""
    parser_name, parse = parser()
    batches = batches_of(lines)
    payloads = [line.payload for line in lines if not line.snapshot_of and line.payload[:1] in b"{["]
    times = max(1, -(-MESSAGES_MIN // len(payloads)))
    messages = times * len(payloads)
    makers: dict[str, Callable[[], Decoder]] = {"books": lambda: decoder_for(venue, SESSION, registry)}
    if venue in STREAMS:
        make: Callable[..., StreamDecoder] = STREAMS[venue]
        makers["no_books"] = lambda: make(venue, SESSION, registry=registry, books=False)
    checked(makers["books"], batches)
    works: dict[str, Work] = {"parse": (lambda: parse_all(parse, payloads, times), tuple)}
    for name, maker in makers.items():
        works[name] = (decode_all, lambda maker=maker: ([maker() for _ in range(times)], batches))  # type: ignore[misc]
    spent = in_turn(works, runs)
    for name, seconds in spent.items():
        ratios = [plain / mine for plain, mine in zip(spent["parse"], seconds, strict=True)]
        line = {"metric": f"feeds.websocket.{title.lower()}.{name}", "value": round(messages / min(seconds))}
        ratio = {"ratio": round(statistics.median(ratios), 2), "baseline": parser_name}
        more = {"parser": parser_name} if name == "parse" else ratio
        print(json.dumps({**line, "unit": "messages/s of CPU", "runs": runs, **more}), flush=True)


def main() -> None:
    """Print one JSON line a metric."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    registry = Registry.load()
    for title in (*STREAMS, V2, "BINANCE", "BINANCEF"):
        venue = "KRAKEN" if title == V2 else title
        try:
            lines = recording(venue, title)
        except SettingsError as missing:
            print(json.dumps({"metric": f"feeds.websocket.{title.lower()}", "left_out": str(missing)}))
            continue
        measure(venue, title, lines, runs, registry)


if __name__ == "__main__":
    main()
