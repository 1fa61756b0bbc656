"""The Kafka sink on a real broker: every event once, in its shard, and resumed exactly behind the tail."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from ingest.capture import CaptureBatch, CaptureWriter, RecordKind
from ingest.itch.decoder import ItchDecoder
from ingest.kafka_sink import KafkaSink, cut
from ingest.pipeline import CapturePublisher
from ingest.synthetic.datagrams import Datagrams, pack
from ingest.synthetic.itch_stream import itch_stream
from ingest.synthetic.market import make_session
from ingest.synthetic.parameters import MarketParameters
from tickloom import topics
from tickloom.clock import NS_PER_MS, ReplayClock
from tickloom.codec import TickBatch, decode
from tickloom.errors import ServiceError
from tickloom.events import QUOTE_DTYPE, TRADE_DTYPE, EventBlock
from tickloom.settings import ItchSettings, KafkaSettings

SESSION = "20240808.TLSYN00001"
SETTINGS = ItchSettings(batch_events_max=50, heartbeat_ms=200, quiet_ms=20)
TABLES = ("trades", "quotes", "book_deltas", "statuses", "gaps")
_venues = itertools.count()


@pytest.fixture
def venue() -> str:
    """A venue of the test's own, so that its topics are."""
    return f"KSINK{next(_venues)}"


@pytest.fixture(scope="module")
def records() -> list[tuple[int, int, bytes]]:
    """Four synthetic market seconds in packets."""
    stream = itch_stream(make_session(MarketParameters(seed=5, duration_s=4.0)))
    datagrams, packing = Datagrams(stream), pack(stream, 8_000_000)
    first = packing.first.tolist()
    return [(0, 1, datagrams.build(a, b)) for a, b in itertools.pairwise(first)]


def replay(
    venue: str, records: list[tuple[int, int, bytes]], step: int = 40
) -> Iterator[tuple[EventBlock, Any]]:
    decoder = ItchDecoder(venue, SESSION)
    for at in range(0, len(records), step):
        yield decoder.decode(CaptureBatch.of(records[at : at + step])), decoder


def read(venue: str, kafka: KafkaSettings) -> dict[tuple[str, int], list[TickBatch]]:
    """All records of the venue's topics, a partition, in order."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "test"})
    found: dict[tuple[str, int], list[TickBatch]] = {}
    for topic in (topics.ticks(venue), topics.book(venue)):
        for partition in range(kafka.tick_partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
            batches = found[(topic, partition)] = []
            consumer.assign([TopicPartition(topic, partition, low)])
            while len(batches) < high - low:
                message = consumer.poll(20)
                assert message is not None
                assert not message.error()
                batches.append(decode(message.value()))
    consumer.close()
    return found


def rows(blocks: list[EventBlock], partitions: int) -> dict[tuple[str, int], list[tuple[Any, ...]]]:
    """(table, partition) to its events as tuples, in order."""
    found: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
    for block in blocks:
        for table, events in block.kinds().items():
            for event in events:
                symbol = block.symbols.names[event["symbol"]]
                key = (table, topics.shard(symbol, partitions))
                values = [event[name].item() for name in events.dtype.names if name != "symbol"]
                found.setdefault(key, []).append((symbol, *values))
    return found


def published(venue: str, kafka: KafkaSettings) -> dict[tuple[str, int], list[tuple[Any, ...]]]:
    """What :func:`rows` gives, of what is on Kafka; checks each batch on the way."""
    merged: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
    for (topic, partition), batches in read(venue, kafka).items():
        last_seq = watermark = 0
        for batch in batches:
            assert batch.shard == partition
            assert batch.watermark >= watermark
            seqs = np.concatenate([events["seq"] for events in batch.block.kinds().values()])
            times = np.concatenate([events["ts_event"] for events in batch.block.kinds().values()])
            if seqs.size:
                assert (batch.first_seq, batch.last_seq) == (seqs.min(), seqs.max())
                assert batch.first_seq > last_seq, "the events of a seq are in two batches, or twice"
                assert times.min() >= watermark, "an event is older than the watermark before it"
            last_seq, watermark = max(last_seq, batch.last_seq), batch.watermark
        for key, events in rows([batch.block for batch in batches], kafka.tick_partitions).items():
            assert key[1] == partition
            assert (key[0] == "book_deltas") == topic.startswith("book.")
            merged.setdefault(key, []).extend(events)
    return merged


def test_every_event_once_in_its_shard(
    kafka: KafkaSettings, venue: str, records: list[tuple[int, int, bytes]]
) -> None:
    """What the decoder made is on Kafka, each event once, in order, in the partition of its symbol."""
    sink = KafkaSink(kafka, SETTINGS, venue)
    assert sink.resume_after(venue, SESSION) == {}
    blocks = []
    for block, decoder in replay(venue, records):
        sink.write(block, decoder.watermark_ns, decoder.last_seq)
        blocks.append(block)
    sink.close()
    found = published(venue, kafka)
    assert found == rows(blocks, kafka.tick_partitions)
    assert {table for table, _ in found} >= {"trades", "quotes", "book_deltas", "statuses"}


def publish(sink: KafkaSink, blocks: Iterator[tuple[EventBlock, Any]]) -> None:
    for block, decoder in blocks:
        sink.write(block, decoder.watermark_ns, decoder.last_seq)


class Killed(Exception):
    """The producer's process has gone."""


class DyingProducer:
    """Hands so many records on to the real one, then the process is dead."""

    def __init__(self, real: Any, records_left: int) -> None:
        self._real, self._left = real, records_left

    def produce(self, *args: Any, **values: Any) -> None:
        if self._left == 0:
            self._real.flush(30)
            raise Killed
        self._left -= 1
        self._real.produce(*args, **values)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self._real, name)
        return found


def test_resumes_exactly_behind_the_tail(
    kafka: KafkaSettings, venue: str, records: list[tuple[int, int, bytes]]
) -> None:
    """Killed after any number of records, in the middle of a block, ten times over: a replay of the whole
    capture through a fresh decoder, cut into other batches, completes it and doubles nothing."""
    rng = random.Random(1)
    whole = [block for block, _ in replay("XNAS", records)]
    for _ in range(10):
        sink = KafkaSink(kafka, SETTINGS, venue)
        sink.resume_after(venue, SESSION)
        sink._producer = DyingProducer(sink._producer, rng.randrange(1, 60))
        with pytest.raises(Killed):
            publish(sink, replay(venue, records, rng.randrange(1, 90)))
    sink = KafkaSink(kafka, SETTINGS, venue)
    tails = sink.resume_after(venue, SESSION)
    assert set(tails) <= {f"{t}.{venue}/{p}" for t in ("ticks", "book") for p in range(kafka.tick_partitions)}
    assert tails
    publish(sink, replay(venue, records))
    sink.close()
    assert published(venue, kafka) == rows(whole, kafka.tick_partitions)


def test_a_client_that_lost_the_broker(
    kafka: KafkaSettings,
    venue: str,
    records: list[tuple[int, int, bytes]],
    free_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that has no broker, while there is one, is given up: a new one publishes all, once."""
    monkeypatch.setattr("tickloom.broker_watch.PATIENCE_S", 0.2)
    monkeypatch.setattr("tickloom.broker_watch.STATISTICS_MS", 50)
    made: list[str] = []

    def client(configuration: dict[str, Any]) -> Any:
        made.append(configuration["bootstrap.servers"])
        lost = f"127.0.0.1:{free_port}"
        return Producer({**configuration, "bootstrap.servers": lost if len(made) == 1 else made[-1]})

    monkeypatch.setattr("ingest.kafka_sink.Producer", client)
    decoders: list[ItchDecoder] = []

    def decoder() -> ItchDecoder:
        decoders.append(ItchDecoder(venue, SESSION))
        return decoders[-1]

    with CaptureWriter(tmp_path) as writer:
        writer.append_many(RecordKind.DATA, [1] * len(records), [payload for *_, payload in records])
        publisher = CapturePublisher(tmp_path, decoder, [KafkaSink(kafka, SETTINGS, venue)], SETTINGS)
        publisher.start()
        for _ in range(2_000):
            if len(decoders) == 2 and decoders[1].last_seq == decoders[0].last_seq:
                break
            threading.Event().wait(0.01)
    assert publisher.finish(60.0)
    assert len(made) == 2
    whole = [block for block, _ in replay("XNAS", records)]
    assert published(venue, kafka) == rows(whole, kafka.tick_partitions)


def test_session_is_found_behind_another(
    kafka: KafkaSettings, venue: str, records: list[tuple[int, int, bytes]]
) -> None:
    """Where another session of the day was published in between, the tail of this one is still found; the
    next day's session begins from nothing."""
    for session in (SESSION, "20240808.OTHER"):
        sink = KafkaSink(kafka, SETTINGS, venue)
        assert sink.resume_after(venue, session) == {}
        decoder = ItchDecoder(venue, SESSION)
        block = decoder.decode(CaptureBatch.of(records))
        block.session = session
        sink.write(block, decoder.watermark_ns, decoder.last_seq)
        sink.close()
    before = published_records(venue, kafka)
    sink = KafkaSink(kafka, SETTINGS, venue)
    tails = sink.resume_after(venue, SESSION)
    assert max(tails.values()) == decoder.last_seq
    assert len(tails) == 2 * kafka.tick_partitions
    assert KafkaSink(kafka, SETTINGS, venue).resume_after(venue, "20240809.TLSYN00001") == {}
    for block, decoder in replay(venue, records):
        sink.write(block, 0, decoder.last_seq)
    sink.close()
    assert published_records(venue, kafka) == before


def published_records(venue: str, kafka: KafkaSettings) -> int:
    return sum(len(batch.block) for batches in read(venue, kafka).values() for batch in batches)


def test_book_deltas_go_together(
    kafka: KafkaSettings, venue: str, records: list[tuple[int, int, bytes]]
) -> None:
    """Those of some milliseconds are one record a partition; nothing says that they went out before."""
    clock = ReplayClock(10**18)
    sink = KafkaSink(kafka, ItchSettings(batch_events_max=10_000), venue, clock)
    sink.resume_after(venue, SESSION)
    nothing = ItchDecoder(venue, SESSION).decode(CaptureBatch.of([]))
    some = []
    for block, decoder in replay(venue, records, step=2):
        if not len(block.deltas):
            continue
        some.append(block)
        sink.write(block, decoder.watermark_ns, decoder.last_seq)
        assert sink.holds
        clock.advance_by(2 * NS_PER_MS)
        if len(some) == 4:
            break
    clock.advance_by(20 * NS_PER_MS)
    sink.write(nothing, decoder.watermark_ns, decoder.last_seq)
    assert not sink.holds
    sink.close()
    assert published(venue, kafka) == rows(some, kafka.tick_partitions)
    book = [batches for (topic, _), batches in read(venue, kafka).items() if topic == topics.book(venue)]
    assert max(len(batches) for batches in book) <= 2  # the deltas, and at most a heartbeat behind them


def test_quiet_partitions_get_heartbeats(kafka: KafkaSettings, venue: str) -> None:
    """Each partition of both topics hears of a watermark that stands every heartbeat_ms, and of one that
    goes on, where there are ticks, every quiet_ms; and not more often."""
    clock = ReplayClock(10**18)
    sink = KafkaSink(kafka, SETTINGS, venue, clock)
    sink.resume_after(venue, SESSION)
    nothing = ItchDecoder(venue, SESSION).decode(CaptureBatch.of([]))
    for _ in range(100):  # for 500 ms, of which the watermark stands still for the last 400
        watermark = min(clock.now_ns(), 10**18 + 100 * NS_PER_MS)
        sink.write(nothing, watermark, 240808 * 10**10 + 5)
        clock.advance_by(5 * NS_PER_MS)
    sink.close()
    every_20_ms = [*range(0, 101, 20), 100]  # the last one 200 ms behind
    for (topic, _), batches in read(venue, kafka).items():
        told = [(b.watermark - 10**18) // NS_PER_MS for b in batches]
        assert told == (every_20_ms if topic == topics.ticks(venue) else [0, 100, 100])
        assert {(b.first_seq, b.last_seq) for b in batches} == {(240808 * 10**10 + 5,) * 2}
        assert not any(len(b.block) for b in batches)


def test_watermark_survives_a_restart(kafka: KafkaSettings, venue: str) -> None:
    """A replay begins with old watermarks: what is published never goes back behind an earlier run's."""
    for watermark in (5_000, 3_000):
        sink = KafkaSink(kafka, SETTINGS, venue)
        sink.resume_after(venue, SESSION)
        sink.write(ItchDecoder(venue, SESSION).decode(CaptureBatch.of([])), watermark, 240808 * 10**10 + 5)
        sink.close()
    assert {tuple(b.watermark for b in batches) for batches in read(venue, kafka).values()} == {
        (5_000, 5_000)
    }


def test_other_number_of_partitions_is_refused(kafka: KafkaSettings, venue: str) -> None:
    """A topic that is cut otherwise would put a symbol's events in two partitions: it is refused."""
    KafkaSink(kafka, SETTINGS, venue).resume_after(venue, SESSION)
    other = kafka.model_copy(update={"tick_partitions": kafka.tick_partitions + 1})
    with pytest.raises(ServiceError, match="has 4 partitions"):
        KafkaSink(other, SETTINGS, venue).resume_after(venue, SESSION)


def test_broker_that_is_not_there(free_port: int) -> None:
    """No broker: an error that names its address, for the caller to wait and try again."""
    settings = KafkaSettings(port=free_port)
    with pytest.raises(ServiceError, match=f"127.0.0.1:{free_port}"):
        topics.ensure_topics(["x"], settings, timeout_s=1)


@given(
    st.lists(st.integers(0, 30), max_size=80), st.lists(st.integers(0, 30), max_size=80), st.integers(1, 20)
)
def test_cut_never_splits_a_seq(trades: list[int], quotes: list[int], events_max: int) -> None:
    """Batches are as large as allowed, beyond that only by the events of one seq, and lose nothing."""
    pieces = {"trades": np.zeros(len(trades), TRADE_DTYPE), "quotes": np.zeros(len(quotes), QUOTE_DTYPE)}
    pieces["trades"]["seq"], pieces["quotes"]["seq"] = sorted(trades), sorted(quotes)
    chunks = cut(pieces, events_max)
    seqs = [{int(seq) for events in chunk.values() for seq in events["seq"]} for chunk in chunks]
    assert all(max(a) < min(b) for a, b in itertools.pairwise(seqs))
    for table, expected in (("trades", trades), ("quotes", quotes)):
        found = [int(seq) for chunk in chunks if table in chunk for seq in chunk[table]["seq"]]
        assert found == sorted(expected)
    most = max((trades + quotes).count(seq) for seq in [*trades, *quotes, -1])
    assert all(sum(map(len, chunk.values())) <= events_max + most for chunk in chunks)
