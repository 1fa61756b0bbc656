"""``kill -9`` of the ITCH ingester, and a broker that goes away: both stores hold what one run would give.

The invariant: whatever moments the process is killed at, whatever the network did to the datagrams,
every event of the session is on Kafka once and in QuestDB once, with the content that an undisturbed
decoder gives it, and none is missing.
"""

from __future__ import annotations

import itertools
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
from ingest.itch.decoder import ItchDecoder
from ingest.itch.session import track
from ingest.kafka_tail import read_tails
from ingest.pipeline import TABLES, count_events
from ingest.synthetic.datagrams import Datagrams, Faults
from ingest.synthetic.itch_stream import ItchStream, itch_stream
from ingest.synthetic.market import make_session
from ingest.synthetic.moldudp64_sender import MoldSender
from ingest.synthetic.parameters import MarketParameters
from storage import QuestDbReader, schema, wait_applied
from tickloom import topics
from tickloom.codec import decode
from tickloom.events import EventBlock
from tickloom.settings import ItchSettings, KafkaSettings, QuestDbSettings
from tickloom.stack import kafka as kafka_server
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.supervisor import Stack

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
VENUE = "XKILL"  # topics of its own, so that tests do not meet
DAY = date(2024, 8, 9)
MOLD_SESSION = "TLSYN00001"
SESSION = f"{DAY:%Y%m%d}.{MOLD_SESSION}"
KILLS = 5
SPEED = 2.0
PROGRESS_S = 180


def uninterrupted(stream: ItchStream) -> EventBlock:
    """The session's messages through one decoder, in order, nothing in between."""
    datagrams = Datagrams(stream)
    bounds = [*range(0, len(stream), 20), len(stream)]
    records = [(0, 0, datagrams.build(a, b)) for a, b in itertools.pairwise(bounds)]
    return ItchDecoder(VENUE, SESSION).decode(CaptureBatch.of(records))


class Ingester:
    """A real process ``tickloom ingest itch``, its log in a file."""

    def __init__(self, settings: ItchSettings, data_dir: Path) -> None:
        self._environment = {
            **os.environ,
            **settings.environment(),
            "TICKLOOM_STACK_DATA_DIR": str(data_dir),
            "PYTHONUNBUFFERED": "1",
        }
        self.log = data_dir / "ingester.log"
        self.capture = session_path(data_dir, settings.venue, SESSION)
        self.process: subprocess.Popen[bytes] | None = None
        self._resumed_before = 0

    def start(self) -> None:
        self._resumed_before = self.resumed() if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tickloom", "ingest", "itch"],
                cwd=PROJECT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def wait_until(self, reached: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(PROGRESS_S * 100):
            if reached():
                return
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-4_000:]
            pause.wait(0.01)
        raise AssertionError(self.log.read_text()[-4_000:])

    def captured_bytes(self) -> int:
        return sum(path.stat().st_size for path in segments(self.capture))

    def resumed(self) -> int:
        """How many of its lives so far have come to publish to Kafka."""
        return sum("sink='kafka'" in line and "resumes" in line for line in self.log.read_text().splitlines())

    def ended(self) -> bool:
        return bool(segments(self.capture)) and track(self.capture, MOLD_SESSION).sequencer.ended

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """SIGTERM once it publishes (before, nobody listens for the signal); the exit code."""
        self.wait_until(lambda: self.resumed() > self._resumed_before)
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def on_kafka(settings: KafkaSettings, venue: str) -> dict[str, list[Any]]:
    """Table to (symbols, records) of each batch on the venue's topics."""
    found: dict[str, list[Any]] = {table: [] for table in TABLES}
    consumer = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": "test", "log_level": 2})
    for topic in (topics.ticks(venue), topics.book(venue)):
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
                assert batch.session == SESSION
                for table, records in batch.block.kinds().items():
                    found[table].append((batch.block.symbols, records))
    consumer.close()
    return found


def in_questdb(settings: QuestDbSettings, venue: str) -> dict[str, list[Any]]:
    """Table to (symbols, records) of the session's rows."""
    wait_applied(settings, TABLES)
    found: dict[str, list[Any]] = {table: [] for table in TABLES}
    with QuestDbReader(settings) as reader:
        for block in reader.read_events(venue, 0, 2**62, kinds=TABLES):
            for table, records in block.kinds().items():
                found[table].append((block.symbols, records))
    return found


def in_order(parts: list[Any]) -> list[tuple[Any, ...]]:
    """Records as tuples with names for symbols, without ``ts_recv``, in the order of seq."""
    out: list[tuple[Any, ...]] = []
    for symbols, records in parts:
        if len(records):
            fields = [name for name in records.dtype.names if name not in ("symbol", "ts_recv")]
            names = np.array(symbols.names)[records["symbol"]].tolist()
            values = [records[name].tolist() for name in fields]
            out.extend(zip(records["seq"].tolist(), names, *values, strict=True))
    return sorted(out)


@pytest.mark.timeout(900)
def test_killed_at_random_moments(
    tmp_path: Path, kafka: KafkaSettings, questdb: QuestDbSettings, free_ports: Callable[[int], list[int]]
) -> None:
    """Five kills anywhere in the session, datagrams lost, doubled, swapped, cut and garbled besides: every
    event is on Kafka and in QuestDB once, unchanged."""
    schema.apply(questdb)
    chance = random.Random(20_240_809)
    stream = itch_stream(make_session(MarketParameters(seed=17, duration_s=60.0, session_date=DAY)))
    want = uninterrupted(stream)
    port, rerequest_port = free_ports(2)
    settings = ItchSettings(
        venue=VENUE,
        port=port,
        rerequest_port=rerequest_port,
        session_date=DAY.isoformat(),
        gap_timeout_ms=60_000,  # nothing may be given up: the venue has it all
        metrics_port=0,
    )
    sender = MoldSender(
        stream,
        "127.0.0.1",
        port,
        rerequest_port=rerequest_port,
        speed=SPEED,
        session=MOLD_SESSION,
        faults=some_faults(chance),
    )
    ingester = Ingester(settings, tmp_path)
    ingester.start()
    sender.start()
    try:
        for kill in range(KILLS):
            if kill != 1:  # the second kill hits a process that may not even have opened its capture
                ingester.wait_until(lambda kill=kill: ingester.resumed() > kill - (kill > 1))  # type: ignore[misc]
            threading.Event().wait(chance.uniform(0.0, 1.0))
            ingester.kill()
            ingester.start()
        ingester.wait_until(lambda: sender.wait(0))
        ingester.wait_until(ingester.ended)
        assert ingester.end() == 0, ingester.log.read_text()[-4_000:]
    finally:
        if ingester.process is not None and ingester.process.poll() is None:
            ingester.kill()
        sender.stop()
    said = ingester.log.read_text()
    assert "left_behind" not in said, said[-4_000:]

    counts = count_events(ingester.capture, ItchDecoder(VENUE, SESSION))
    kafka_has, questdb_has = on_kafka(kafka, VENUE), in_questdb(questdb, VENUE)
    for table, records in want.kinds().items():
        wanted = in_order([(want.symbols, records)])
        assert sum(counts[table].values()) == len(wanted), table
        assert in_order(kafka_has[table]) == wanted, table
        assert in_order(questdb_has[table]) == wanted, table
    assert len(want.trades) > 1_000
    assert len(want.deltas) > 50_000


def some_faults(chance: random.Random) -> Faults:
    """About one datagram in fifty meets with something."""

    def some(count: int) -> frozenset[int]:
        return frozenset(chance.randrange(8_000) for _ in range(count))

    return Faults(
        drop=some(40),
        duplicate=some(40),
        reorder=some(40),
        corrupt=some(10),
        garbage=some(10),
        truncate=some(10),
    )


@pytest.mark.timeout(900)
def test_broker_away_for_ten_seconds(
    tmp_path: Path, questdb: QuestDbSettings, free_ports: Callable[[int], list[int]]
) -> None:
    """The broker stops in mid-session and is back ten seconds later: QuestDB is filled as if nothing had
    been, and Kafka has every event once when the session is over."""
    schema.apply(questdb)
    configuration = StackConfiguration.load(
        stack={"data_dir": tmp_path / "stack", "start_timeout_s": 180.0}
    ).with_free_ports()
    stream = itch_stream(make_session(MarketParameters(seed=19, duration_s=40.0, session_date=DAY)))
    want = uninterrupted(stream)
    port, rerequest_port = free_ports(2)
    settings = ItchSettings(
        venue="XAWAY", port=port, rerequest_port=rerequest_port, session_date=DAY.isoformat(), metrics_port=0
    )
    sender = MoldSender(
        stream, "127.0.0.1", port, rerequest_port=rerequest_port, speed=2.0, session=MOLD_SESSION
    )
    broker = configuration.kafka
    with (
        pytest.MonkeyPatch.context() as patch,
        Stack([kafka_server.service(broker, tmp_path / "stack")], configuration.stack) as stack,
    ):
        for variable, value in broker.environment().items():
            patch.setenv(variable, value)
        ingester = Ingester(settings, tmp_path)
        ingester.start()
        sender.start()
        try:
            ingester.wait_until(lambda: ingester.captured_bytes() > len(stream.data) // 4)
            stack.stop_service("kafka")
            threading.Event().wait(10.0)
            stack.start_service("kafka")
            ingester.wait_until(lambda: sender.wait(0))
            ingester.wait_until(ingester.ended)
            wait_published(broker, settings.venue, int(want.deltas["seq"][-1]))
            assert ingester.end() == 0, ingester.log.read_text()[-4_000:]
        finally:
            if ingester.process is not None and ingester.process.poll() is None:
                ingester.kill()
            sender.stop()
        kafka_has = on_kafka(broker, settings.venue)
    questdb_has = in_questdb(questdb, settings.venue)
    for table, records in want.kinds().items():
        wanted = in_order([(want.symbols, records)])
        assert in_order(kafka_has[table]) == wanted, table
        assert in_order(questdb_has[table]) == wanted, table


def wait_published(settings: KafkaSettings, venue: str, last_seq: int) -> None:
    """Wait until a heartbeat on each partition of the books says that all before it is there."""
    for _ in range(PROGRESS_S):
        tails = read_tails([topics.book(venue)], SESSION, settings, settle_reads_max=0)
        if len(tails) == settings.tick_partitions and all(t.last_seq >= last_seq for t in tails.values()):
            return
        threading.Event().wait(1.0)
    raise AssertionError(f"{tails} is not behind {last_seq}")
