"""``kill -9`` of the websocket ingester at random moments: Kafka and QuestDB hold what one run would give.

The invariant: whatever moments the process is killed at, every trade and every quote is on Kafka and in
QuestDB once, with the content that an uninterrupted run gives it; and whoever applies the book deltas has
the venue's book at the end.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition

from ingest.capture import CaptureBatch, segments, session_path
from ingest.feeds import decoder_for
from ingest.pipeline import TABLES, count_events
from ingest.synthetic.coins import SyntheticLines
from ingest.synthetic.parameters import MarketParameters
from ingest.websocket.binance.decoder import BinanceDecoder
from ingest.websocket.binance.messages import snapshot_payload
from ingest.websocket.links import control
from ingest.websocket.replay import LineSource, RecordedLines
from ingest.websocket.server import VenueAddress, VenueThread
from storage import QuestDbReader, schema, wait_applied
from tickloom import topics
from tickloom.codec import decode
from tickloom.events import EventBlock, GapReason, Side
from tickloom.settings import BinanceSettings, KafkaSettings, QuestDbSettings

pytestmark = pytest.mark.slow

TRADE_FIELDS = ["ts_event", "price", "size", "venue_id", "side", "condition"]
QUOTE_FIELDS = ["ts_event", "bid_price", "bid_size", "ask_price", "ask_size", "venue_id"]
PROJECT = Path(__file__).parents[2]


def synthetic(day: date) -> SyntheticLines:
    """Two coins, 150 s of market, about 28,000 lines."""
    return SyntheticLines(MarketParameters(seed=11, duration_s=150.0, session_date=day))


def uninterrupted(source: LineSource, session: str) -> tuple[BinanceDecoder, EventBlock]:
    """The source's lines as one connection would have brought them."""
    records = [(1, 0, control("open"))]
    for line in source.lines():
        payload = snapshot_payload(line.snapshot_of, line.payload) if line.snapshot_of else line.payload
        records.append((2 if line.snapshot_of else 0, line.recv_ns, payload))
    decoder = BinanceDecoder(source.venue, session)
    return decoder, decoder.decode(CaptureBatch.of(records))


class Ingester:
    """A real process ``tickloom ingest binance``, its log in a file."""

    def __init__(self, settings: BinanceSettings, data_dir: Path) -> None:
        self._environment = {
            **os.environ,
            **settings.environment(),
            "TICKLOOM_STACK_DATA_DIR": str(data_dir),
            "PYTHONUNBUFFERED": "1",
        }
        self.log = data_dir / "ingester.log"
        self._capture = session_path(data_dir, settings.venue, settings.session_date.replace("-", ""))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tickloom", "ingest", "binance"],
                cwd=PROJECT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def captured_bytes(self) -> int:
        return sum(path.stat().st_size for path in segments(self._capture))

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-4_000:]
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def play_with_kills(ingester: Ingester, venue: VenueThread, at_bytes: list[int]) -> None:
    """Run the session to its end, killing the ingester whenever it has captured so much."""
    pause = threading.Event()
    ingester.start()
    for limit in at_bytes:
        while ingester.captured_bytes() < limit:
            assert not venue.wait_ended(0), "the session was over before the last kill"
            pause.wait(0.002)
        ingester.kill()
        ingester.start()
    assert venue.wait_ended(240), ingester.log.read_text()[-4_000:]
    pause.wait(2.0)
    assert ingester.end() == 0
    assert "sinks.left_behind" not in ingester.log.read_text()


def on_kafka(settings: KafkaSettings, venue: str, session: str) -> dict[str, list[Any]]:
    """All events of a session: table to (symbols, records), in the order of their partition."""
    found: dict[str, list[Any]] = {table: [] for table in TABLES}
    for topic in (topics.ticks(venue), topics.book(venue)):
        consumer = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": "test", "log_level": 2})
        for partition in range(settings.tick_partitions):
            place = TopicPartition(topic, partition, 0)
            _, end = consumer.get_watermark_offsets(place, timeout=30)
            consumer.assign([place])
            passed = 0
            while passed < end:
                message = consumer.poll(30)
                assert message is not None
                assert message.error() is None
                passed = message.offset() + 1
                batch = decode(message.value())
                if batch.session == session:
                    for table, rows in batch.block.kinds().items():
                        found[table].append((batch.block.symbols, rows))
        consumer.close()
    return found


def rows_of(parts: list[Any], symbol: str, fields: list[str]) -> list[Any]:
    """Fields of one symbol's records, in the order of seq."""
    chosen = [
        records[np.array(symbols.names)[records["symbol"]] == symbol][["seq", *fields]]
        for symbols, records in parts
    ]
    rows = np.concatenate(chosen)
    return rows[np.argsort(rows["seq"], kind="stable")][fields].tolist()


def in_questdb(settings: QuestDbSettings, venue: str, session: str) -> dict[str, list[Any]]:
    """All events of a session: table to (symbols, records)."""
    wait_applied(settings, TABLES)
    found: dict[str, list[Any]] = {table: [] for table in TABLES}
    with QuestDbReader(settings) as reader:
        for block in reader.read_events(venue, 0, 2**62, kinds=TABLES):
            if block.session == session:
                for table, rows in block.kinds().items():
                    found[table].append((block.symbols, rows))
    return found


def final_book(rows: list[tuple[int, int, int]], side: Side) -> dict[int, int]:
    """Price to size after deltas ``(side, price, size)`` were applied in order."""
    levels = {price: size for which, price, size in rows if which == side}
    return {price: size for price, size in levels.items() if size}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("recorded", "kills"), [(False, 5), (True, 2)], ids=["synthetic", "recorded"])
def test_killed_at_random_moments(
    recorded: bool,
    kills: int,
    tmp_path: Path,
    kafka: KafkaSettings,
    questdb: QuestDbSettings,
    shared_data: Callable[[str], Path],
) -> None:
    """Kills anywhere in the session: every trade and quote once and unchanged, the book the venue's."""
    day = date(2024, 8, 8) if recorded else date(2024, 8, 12)
    session = f"{day:%Y%m%d}"
    source: LineSource = synthetic(day)
    if recorded:
        files = [shared_data(f"binance_raw/spot_{coin}_20240808.gz") for coin in ("btcusdt", "ethusdt")]
        source = RecordedLines(files, "BINANCE")
    whole, want = uninterrupted(source, session)
    schema.apply(questdb)
    size = sum(len(line.payload) for line in source.lines())
    chance = random.Random(20_240_808)
    at_bytes = sorted(chance.randint(1, int(0.9 * size)) for _ in range(kills))
    with VenueThread(source, speed=60.0 if recorded else 15.0) as venue:
        ingester = Ingester(settings_for(venue.address, day), tmp_path)
        play_with_kills(ingester, venue, at_bytes)

    kafka_has = on_kafka(kafka, "BINANCE", session)
    questdb_has = in_questdb(questdb, "BINANCE", session)
    everything = {table: [(want.symbols, rows)] for table, rows in want.kinds().items()}
    for symbol in ("BTC-USDT", "ETH-USDT"):
        for table, fields in (("trades", TRADE_FIELDS), ("quotes", QUOTE_FIELDS)):
            wanted = rows_of(everything[table], symbol, fields)
            assert len(wanted) > 1_000
            assert rows_of(kafka_has[table], symbol, fields) == wanted, (symbol, table)
            assert rows_of(questdb_has[table], symbol, fields) == wanted, (symbol, table)
        for has in (kafka_has, questdb_has):
            deltas = rows_of(has["book_deltas"], symbol, ["side", "price", "size"])
            for side in (Side.BUY, Side.SELL):
                venue_book = whole.book_levels(symbol.replace("-", ""), side)
                assert final_book(deltas, side) == dict(venue_book)
    reasons = [reason for _, rows in kafka_has["gaps"] for reason in rows["reason"].tolist()]
    assert reasons == [GapReason.DISCONNECT] * kills
    for has in (kafka_has, questdb_has):
        assert_capture_agrees(tmp_path, session, has)


def settings_for(address: VenueAddress, day: date) -> BinanceSettings:
    """The ingester's settings for a local venue."""
    return BinanceSettings.load(
        websocket_url=address.websocket_url,
        rest_url=address.rest_url,
        session_date=day.isoformat(),
        reconnect_ms=20,
        reconnect_ms_max=200,
        metrics_port=0,
    )


def assert_capture_agrees(data_dir: Path, session: str, has: dict[str, list[Any]]) -> None:
    """There are as many events of each table as the capture decodes to."""
    counts = count_events(session_path(data_dir, "BINANCE", session), decoder_for("BINANCE", session))
    for table, parts in has.items():
        assert sum(len(rows) for _, rows in parts) == sum(counts[table].values()), table
