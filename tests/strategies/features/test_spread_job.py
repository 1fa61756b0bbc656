"""The features job on a real Flink and Kafka: stopped, recalibrated, gone on, it is what history computes."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from strategies.features import spread_job
from strategies.features.spread_program import SpreadProgram
from strategies.features.spreads import over
from strategies.pairs import frozen
from strategies.pairs.frozen import PairCalibration, PairSet
from streaming.live import batch_job, jobs, origin
from streaming.live.cluster import Cluster
from tickloom import codec, spread_codec, topics
from tickloom.clock import NS_PER_MS, NS_PER_S, SystemClock
from tickloom.codec import TickBatch
from tickloom.errors import CalibrationError, ServiceError
from tickloom.events import QUOTE_DTYPE, EventBlock, Records, SymbolTable
from tickloom.settings import FlinkSettings, KafkaSettings

pytestmark = pytest.mark.slow

VENUE = "XTST"
BACKLOG_TIMEOUT_S = 420.0  # 5,600,000 quotes: the whole test took 73 s, and 255 s on a busy machine
START_NS = 1_732_199_400_000_000_000
LEGS = [f"S{number:02}" for number in range(12)]
PAIRS = PairSet(
    VENUE,
    tuple(
        PairCalibration(f"{leg_a}~{leg_b}", leg_a, leg_b, 1.1, 1.0, 2.0)
        for number, leg_a in enumerate(LEGS)
        for leg_b in LEGS[number + 1 : number + 3]
    ),
    stale_ms=1_000,
    rolling_half_life_ms=500,
    valid_from=datetime(2024, 1, 1, tzinfo=UTC),
)
RECALIBRATED = replace(PAIRS, pairs=tuple(replace(pair, mean=2.0) for pair in PAIRS.pairs))


def _quotes(count: int = 4_000) -> EventBlock:
    rng = np.random.default_rng(7)
    records = np.zeros(count, dtype=QUOTE_DTYPE)
    records["symbol"] = rng.integers(1, len(LEGS) + 1, count)
    records["ts_event"] = START_NS + np.sort(rng.integers(0, 4 * NS_PER_S, count))
    records["ts_recv"] = records["ts_event"] + 50_000
    records["seq"] = np.arange(1, count + 1)
    records["bid_price"] = rng.integers(1_000, 2_000, count) * 10_000_000
    records["ask_price"] = records["bid_price"] + 10_000_000
    return EventBlock(VENUE, "20241121", SymbolTable(LEGS), quotes=records)


def _publish(block: EventBlock, rows: slice, end_ns: int, kafka: KafkaSettings) -> None:
    """Some of the quotes in batches of fifty a partition, and what ends event time at ``end_ns``."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    shard_of = np.array([topics.shard(name, kafka.tick_partitions) for name in block.symbols.names])
    quotes = block.quotes[rows]
    for shard in range(kafka.tick_partitions):
        own = quotes[shard_of[quotes["symbol"]] == shard]
        for start in range(0, len(own) + 1, 50):
            piece = own[start : start + 50]
            last = len(piece) < 50
            watermark = end_ns if last else int(piece["ts_event"][-1])
            part = EventBlock(VENUE, block.session, block.symbols, quotes=piece)
            seqs = (int(piece["seq"][0]), int(piece["seq"][-1])) if len(piece) else (0, 0)
            raw = codec.encode(TickBatch(shard, *seqs, watermark, part))
            producer.produce(topics.ticks(VENUE), raw, partition=shard)
    assert producer.flush(30) == 0


def _read(kafka: KafkaSettings, until_ns: int, timeout_s: float = 180) -> tuple[SymbolTable, Records]:
    """All spreads on the topic, once every partition has reached ``until_ns``."""
    symbols, parts = SymbolTable(), []
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "test", "log_level": 0})
    consumer.assign([TopicPartition(topics.spreads(VENUE), n, 0) for n in range(kafka.tick_partitions)])
    marks = dict.fromkeys(range(kafka.tick_partitions), -1)
    deadline = time.monotonic() + timeout_s
    while min(marks.values()) < until_ns:
        assert time.monotonic() < deadline, marks
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        batch = spread_codec.decode(message.value(), symbols)
        assert batch.shard == message.partition()
        marks[batch.shard] = max(marks[batch.shard], batch.watermark)
        names = {symbols.names[index] for index in batch.block.spreads["symbol"]}
        assert {topics.shard(name, kafka.tick_partitions) for name in names} <= {batch.shard}
        parts.append(batch.block.spreads)
    consumer.close()
    return symbols, np.concatenate(parts)


def test_job_stopped_recalibrated_and_gone_on_is_what_history_computes(
    flink: FlinkSettings, kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spreads and rolling scores are those of history to the last bit and none is lost, over a stop with a
    savepoint and a recalibration; each carries the calibration that its z is by; each lies in its shard."""
    monkeypatch.setattr(frozen, "PAIRS_DIR", tmp_path)
    with pytest.raises(CalibrationError, match="no calibrated pairs"):
        spread_job.submit(VENUE, flink, kafka)
    (tmp_path / f"{VENUE}.toml").write_text(frozen.dumps(PAIRS))
    topics.ensure_topics([topics.ticks(VENUE)], kafka)
    block = _quotes()
    half = len(block.quotes) // 2
    middle_ns = int(block.quotes["ts_event"][half])
    _publish(block, slice(0, half), middle_ns, kafka)
    name = spread_job.name_of(VENUE)
    spread_job.submit(VENUE, flink, kafka, start="earliest")
    with pytest.raises(ServiceError, match="already runs"):
        spread_job.submit(VENUE, flink, kafka)
    _read(kafka, middle_ns - NS_PER_S // 1_000)
    (savepoint,) = jobs.stop(name, flink)

    (tmp_path / f"{VENUE}.toml").write_text(frozen.dumps(RECALIBRATED))
    end_ns = START_NS + 100 * NS_PER_S
    _publish(block, slice(half, None), end_ns, kafka)
    again = spread_job.submit(VENUE, flink, kafka, savepoint=savepoint)
    assert (again.calibration, again.pairs, again.note) == (RECALIBRATED.version, len(PAIRS.pairs), "")
    symbols, found = _read(kafka, end_ns)
    (running,) = Cluster(flink).running(name)
    assert running.version == str(RECALIBRATED.version)
    jobs.stop(name, flink, savepoint=False)

    expected = np.concatenate([part.spreads for part in over([block], PAIRS)])
    names = ["", *(pair.symbol for pair in PAIRS.pairs)]
    ours = {(symbols.names[row["symbol"]], int(row["seq"])): row for row in found}
    wanted = {(names[row["symbol"]], int(row["seq"])): row for row in expected}
    assert ours.keys() == wanted.keys()
    same = [name for name in found.dtype.names or () if name not in ("symbol", "z", "calibration")]
    for key, row in wanted.items():
        for field in same:
            assert ours[key][field].tobytes() == row[field].tobytes(), (key, field)
        mean = {PAIRS.version: 1.0, RECALIBRATED.version: 2.0}[int(ours[key]["calibration"])]
        assert ours[key]["z"] == (row["spread"] - mean) / 2.0
    assert {int(row["calibration"]) for row in found} == {PAIRS.version, RECALIBRATED.version}


@pytest.mark.timeout(BACKLOG_TIMEOUT_S + 180)
def test_partitions_of_a_backlog_are_read_in_step(
    flink: FlinkSettings, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One partition has four times the bytes of the others: read alike, those would be at their end while it
    is at a quarter, and 1,800,000 of their quotes would wait. They wait to be read instead."""
    venue, seconds = "XBKL", 400
    shards = [topics.shard(leg, kafka.tick_partitions) for leg in LEGS]
    busy = shards[0]
    quiet = next(leg for leg, shard in zip(LEGS, shards, strict=True) if shard != busy)
    pairs = (PairCalibration(f"{LEGS[0]}~{quiet}", LEGS[0], quiet, 1.0, 0.0, 1.0),)
    pair_set = replace(PAIRS, venue=venue, pairs=pairs)
    topics.ensure_topics([topics.ticks(venue), topics.spreads(venue)], kafka)
    # each in a record batch of its own, as an ingester writes them: so a fetch brings as many bytes of each
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "batch.num.messages": 1})
    symbols = SymbolTable([LEGS[0], quiet, "OTHER"])
    began_ms = SystemClock().now_ns() // NS_PER_MS - 1_000 * seconds
    for second in range(seconds):
        for tenth in range(10):
            at_ns = START_NS + (10 * second + tenth) * NS_PER_S // 10
            for shard in range(kafka.tick_partitions):
                records = np.zeros(800 if shard == busy else 200, dtype=QUOTE_DTYPE)
                records["symbol"] = 3 if shard == busy else 2  # 3 is no leg: bytes only
                records["symbol"][0] = 1 if shard == busy else 2
                records["ts_event"], records["seq"] = at_ns, (10 * second + tenth + 1) * 10_000
                records["bid_price"], records["ask_price"] = 10 * 10**9, 11 * 10**9
                block = EventBlock(venue, "20241121", symbols, quotes=records)
                raw = codec.encode(TickBatch(shard, 1, 1, at_ns, block))
                written_ms = began_ms + 1_000 * second + 100 * tenth
                producer.produce(topics.ticks(venue), raw, partition=shard, timestamp=written_ms)
        assert producer.flush(30) == 0
    # 6,000 are in a second of drift; but Flink looks ten times a second, and not yet when the job begins:
    # in a fifth of a second some 60 MB are read
    pending_max = 1_500_000
    job = replace(
        spread_job.job_of(pair_set, kafka.tick_partitions),
        identity="backlog",
        factory=partial(SpreadProgram, pair_set, kafka.tick_partitions, pending_max),
        source=origin.earliest(),
    )
    job_id = batch_job.submit(job, flink, kafka)
    cluster = Cluster(flink)
    cluster.wait_running(job_id, 120)
    monkeypatch.setattr(sys.modules[__name__], "VENUE", venue)
    try:
        _read(kafka, START_NS + (seconds - 1) * NS_PER_S, BACKLOG_TIMEOUT_S)
    finally:
        assert cluster.failure(job_id) == ""
