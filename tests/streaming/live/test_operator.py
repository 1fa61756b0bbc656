"""The operator that hosts a program a shard: its state pure, and inside real Flink jobs."""

from __future__ import annotations

import base64
import importlib
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streaming.live import batch_job, code, operator
from streaming.live.batch_job import BatchJob
from streaming.live.cluster import Cluster
from streaming.live.operator import Hosted, quarantine_record
from streaming.tape import Tape
from tests.streaming import crossing
from tests.streaming.crossing import Crossing
from tickloom import topics
from tickloom.codec import TickBatch, encode
from tickloom.errors import CodecError, ServiceError
from tickloom.settings import FlinkSettings, KafkaSettings

cloudpickle.register_pickle_by_value(crossing)  # a worker cannot import tests
LEVEL = 10.0
SYMBOLS = [f"S{number}" for number in range(12)]


class Value:
    """Flink's keyed state, of one key, in memory."""

    def __init__(self) -> None:
        self.held: Any = None
        self.writes = 0

    def value(self) -> Any:
        return self.held

    def update(self, value: Any) -> None:
        self.held = value
        self.writes += 1


class Records(list[bytes]):
    """Flink's list state, of one key, in memory."""

    def get(self) -> list[bytes]:
        return self

    def add(self, value: bytes) -> None:
        self.append(value)


def batches(count: int, seed: int = 1, shard: int = 0) -> list[bytes]:
    """Records of ten trades of the shard's symbols, whose prices go up and down through LEVEL."""
    records, at = [], 0
    symbols = [name for name in SYMBOLS if topics.shard(name, 4) == shard]
    for number in range(count):
        tape = Tape(messages=number * 10)
        for _ in range(10):
            at += 1
            name = symbols[(at * seed) % len(symbols)]
            tape.trade(name, at, LEVEL + ((at * 7 + seed) % 5) - 2, 1, "buy")
        block = tape.block()
        seqs = block.trades["seq"]
        records.append(
            encode(TickBatch(shard, int(seqs[0]), int(seqs[-1]), int(block.trades["ts_event"][-1]), block))
        )
    return records


def run(records: list[bytes], cuts: set[int]) -> tuple[list[Any], Value]:
    """Outputs over the records, by a program that is lost and restored before each of the cuts."""
    snapshot, log = Value(), Records()
    hosted = Hosted(Crossing(LEVEL), "crossing", snapshot, log)
    found: list[Any] = []
    for number, raw in enumerate(records):
        if number in cuts:
            hosted = Hosted(Crossing(LEVEL), "crossing", snapshot, log)
        found.extend(hosted.process(raw))
    return found, snapshot


@pytest.mark.parametrize("cuts", [{1}, {7, 8, 9}, set(range(40)), {39}])
def test_restored_program_gives_what_an_undisturbed_one_gives(
    cuts: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snapshot and log together are the state at any record, before and behind a snapshot."""
    monkeypatch.setattr(operator, "LOG_RECORDS_MAX", 6)
    records = batches(40)
    undisturbed, _ = run(records, set())
    assert len(undisturbed) > 20
    assert run(records, cuts)[0] == undisturbed


@pytest.mark.parametrize(("state_bytes", "writes"), [(10, 40), (3_500, 40 // 6), (1_000_000, 40 // 13)])
def test_snapshots_are_written_when_the_records_since_are_as_large(
    state_bytes: int, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state smaller than a record is written with each; a larger one once in as many bytes of records,
    and behind so many of them that a restore would take long."""
    monkeypatch.setattr(operator, "LOG_RECORDS_MAX", 12)
    monkeypatch.setattr(Crossing, "snapshot", lambda self: bytes(state_bytes))
    records = [raw.ljust(600) for raw in batches(1) * 40]
    assert {len(raw) for raw in records} == {600}
    monkeypatch.setattr(Crossing, "process", lambda self, raw: [])
    snapshot = Value()
    hosted = Hosted(Crossing(LEVEL), "crossing", snapshot, Records())
    for raw in records:
        hosted.process(raw)
    assert snapshot.writes - 1 == pytest.approx(writes, abs=1)


def test_state_of_another_identity_is_refused() -> None:
    """A program never goes on from what another one, or another version of it, has left."""
    snapshot, log = Value(), Records()
    Hosted(Crossing(LEVEL), "crossing v1", snapshot, log).process(batches(1)[0])
    with pytest.raises(ServiceError, match="state is of 'crossing v1', this job is 'crossing v2'"):
        Hosted(Crossing(LEVEL), "crossing v2", snapshot, log)


def test_poison_is_no_part_of_the_state() -> None:
    """A record that cannot be decoded raises, and a restore does not meet it again."""
    snapshot, log = Value(), Records()
    hosted = Hosted(Crossing(LEVEL), "crossing", snapshot, log)
    good = batches(2)
    hosted.process(good[0])
    before = snapshot.held, list(log)
    with pytest.raises(CodecError):
        hosted.process(good[1][:-3])
    Hosted(Crossing(LEVEL), "crossing", snapshot, log)
    assert (snapshot.held, list(log)) == before


def test_quarantine_keeps_bytes_and_place() -> None:
    """What is kept names topic, partition, offset and time, and has the bytes as they were."""
    key, value = quarantine_record("ticks.X", 3, 17, 42, CodecError("cut off"), b"\x00\xff")
    assert key == b"ticks.X/3/17"
    kept = json.loads(value)
    assert base64.b64decode(kept.pop("bytes")) == b"\x00\xff"
    assert kept == {"topic": "ticks.X", "partition": 3, "offset": 17, "time": 42, "error": "cut off"}


def test_edited_modules_are_loaded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that lives on imports an edited module again, and others with it; one that the operator
    itself is made of stops it, with the remedy."""
    package = tmp_path / "edited"
    package.mkdir()
    for name, text in (
        ("__init__", ""),
        ("deep", "VALUE = 1\n"),
        ("user", "from edited.deep import VALUE\n"),
    ):
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code, "PACKAGES", ("edited",))
    monkeypatch.setattr(code, "_digests", {})
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    first = importlib.import_module("edited.user")
    code.remember()
    assert code.refresh() == []
    assert importlib.import_module("edited.user") is first

    (package / "deep.py").write_text("VALUE = 2\n")
    assert code.refresh() == ["edited.deep"]
    assert importlib.import_module("edited.user").VALUE == 2
    assert first.VALUE == 1  # what runs is not touched

    code.remember()
    monkeypatch.setattr(code, "KEPT", ("edited.deep",))
    (package / "deep.py").write_text("VALUE = 3\n")
    with pytest.raises(ServiceError, match=r"runs edited\.deep from before the last edit"):
        code.refresh()


class Job:
    """A crossing job on the cluster, over a topic of its own."""

    def __init__(self, flink: FlinkSettings, kafka: KafkaSettings) -> None:
        self.flink, self.kafka, self.cluster = flink, kafka, Cluster(flink)
        self.ticks = f"ticks.OPERATOR{uuid.uuid4().hex[:6]}"
        self.target = f"{self.ticks}.out"
        topics.ensure_topics([self.ticks, self.target], kafka)
        self.job_id = ""

    def submit(self, **changes: Any) -> None:
        mode = changes.pop("mode", "auto")
        slots = self.flink.model_copy(
            update={"python_mode": mode, "parallelism": changes.pop("parallelism", 1)}
        )
        values: dict[str, Any] = {
            "name": "crossing",
            "identity": "crossing",
            "factory": partial(Crossing, LEVEL),
            "sources": [self.ticks],
            "target": self.target,
            "source": {"scan.startup.mode": "earliest-offset"},
        }
        self.job_id = batch_job.submit(BatchJob(**{**values, **changes}), slots, self.kafka)
        self.cluster.wait_running(self.job_id)

    def publish(self, records: dict[int, list[bytes]]) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap})
        for partition, some in records.items():
            for raw in some:
                producer.produce(self.ticks, raw, partition=partition)
        assert producer.flush(30) == 0

    def wait_for(self, count: int, topic: str = "") -> list[Any]:
        """The topic's records as JSON, once there are so many distinct ones (or a minute has passed)."""
        for _ in range(300):
            found = {json.dumps(one, sort_keys=True) for one in self.read(topic or self.target)}
            if len(found) >= count:
                break
            time.sleep(0.2)
        return [json.loads(one) for one in sorted(found)]

    def read(self, topic: str) -> Iterator[Any]:
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": "test-operator"})
        for partition in range(self.kafka.tick_partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=15)
            consumer.assign([TopicPartition(topic, partition, low)])
            while low < high:
                message = consumer.poll(15)
                assert message is not None
                assert message.error() is None
                low = message.offset() + 1
                yield json.loads(message.value())
        consumer.close()


@pytest.fixture
def job(flink: FlinkSettings, kafka: KafkaSettings) -> Iterator[Callable[[], Job]]:
    made: list[Job] = []

    def make() -> Job:
        made.append(Job(flink, kafka))
        return made[-1]

    yield make
    for one in made:
        if one.job_id:
            one.cluster.cancel(one.job_id)


def expected(records: dict[int, list[bytes]]) -> list[Any]:
    """What one program a partition gives over its records, in this process."""
    outputs = [value for some in records.values() for _, value in run(some, set())[0]]
    return [json.loads(one) for one in sorted(json.dumps(json.loads(one), sort_keys=True) for one in outputs)]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "parallelism"), [("thread", 1), ("process", 2)])
def test_program_runs_goes_on_and_quarantines(mode: str, parallelism: int, job: Callable[[], Job]) -> None:
    """In a thread and in processes: each partition's program gives what it gives here; a record of garbage
    is kept with its bytes and place, once; a stop with savepoint goes on with the state it had."""
    one = job()
    one.submit(mode=mode, parallelism=parallelism)
    records = {shard: batches(40, seed=shard + 1, shard=shard) for shard in range(4)}
    poison = records[2][5][:-7]
    first = {shard: some[:20] for shard, some in records.items()}
    first[2] = [*first[2][:10], poison, *first[2][10:]]
    one.publish(first)
    wanted = expected({shard: some[:20] for shard, some in records.items()})
    assert one.wait_for(len(wanted)) == wanted

    (kept,) = [row for row in one.wait_for(1, topics.QUARANTINE) if row["topic"] == one.ticks]
    assert (kept["partition"], kept["offset"]) == (2, 10)
    assert base64.b64decode(kept["bytes"]) == poison
    assert "record ends" in kept["error"]

    savepoint = one.cluster.stop(one.job_id)
    one.publish({shard: some[20:] for shard, some in records.items()})
    one.submit(mode=mode, parallelism=3 - parallelism, flink={"execution.state-recovery.path": savepoint})
    wanted = expected(records)
    assert one.wait_for(len(wanted)) == wanted


@pytest.mark.slow
def test_keys_spread_partitions_over_subtasks(flink: FlinkSettings) -> None:
    """Whatever the parallelism, no subtask has more than one partition more than another; and the keys
    depend on nothing but the number of partitions."""
    from pyflink.java_gateway import get_gateway

    from streaming.live.gateway import table_environment

    table_environment(flink, {})
    jvm = get_gateway().jvm
    assignment = jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment
    for partitions in (1, 3, 4, 16):
        keys = batch_job.spread_keys(partitions)
        assert len(set(keys)) == partitions
        assert keys == batch_job.spread_keys(partitions)
        for parallelism in range(1, partitions + 1):
            load = [0] * parallelism
            for key in keys:
                row = jvm.org.apache.flink.types.Row(1)
                row.setField(0, key)
                load[assignment.assignKeyToParallelOperator(row, batch_job.KEY_GROUPS, parallelism)] += 1
            assert max(load) <= -(-partitions // parallelism) + 1
            if partitions % parallelism == 0:
                assert set(load) == {partitions // parallelism}
