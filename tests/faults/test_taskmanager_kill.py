"""kill -9 of the TaskManager while rules run: the signals are those of an undisturbed run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from ingest.capture import CaptureBatch, RecordKind
from ingest.itch.decoder import ItchDecoder
from ingest.kafka_sink import KafkaSink
from ingest.synthetic.datagrams import SESSION_NAME, Datagrams, pack
from ingest.synthetic.itch_stream import itch_stream
from ingest.synthetic.market import MarketParameters, make_session
from streaming import rules
from streaming.live import jobs
from streaming.live.cluster import Cluster
from streaming.stored import history
from tickloom import topics
from tickloom.clock import NS_PER_DAY, NS_PER_MS, NS_PER_S
from tickloom.events import EventBlock, Signal, signal_id
from tickloom.settings import ItchSettings
from tickloom.stack import flink as flink_server
from tickloom.stack import kafka as kafka_server
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.supervisor import Stack

pytestmark = pytest.mark.slow

RULES = ("trade_burst", "quote_fade")
SLOTS = 16  # the live jobs', and those of the run over history
DURATION_S = 60.0  # of market time
SPEED = 4.0
KILLS_S = (5.0, 10.0)  # behind the first event, real time
START_TIMEOUT_S = 240.0
DRAIN_TIMEOUT_S = 120.0

Step = tuple[EventBlock, int, int]  # events, watermark behind them, last seq


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[tuple[Stack, StackConfiguration]]:
    """A broker and a cluster of this test's own, which checkpoints twice a second."""
    configuration = StackConfiguration.load(
        stack={"data_dir": tmp_path, "start_timeout_s": START_TIMEOUT_S},
        kafka={"tick_partitions": 4},
        flink={"checkpoint_interval_ms": 500, "restart_delay_ms": 200, "slots": SLOTS},
    ).with_free_ports()
    data = configuration.stack.data_dir
    services = [
        kafka_server.service(configuration.kafka, data),
        *flink_server.services(configuration.flink, data),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**configuration.environment(), **flink_server.client_environment()}.items():
            patch.setenv(name, value)
        with Stack(services, configuration.stack, environment={**os.environ}) as running:
            yield running, configuration


@pytest.mark.timeout(900)
def test_killed_taskmanager_loses_and_invents_no_signal(
    stack: tuple[Stack, StackConfiguration],
) -> None:
    """Two rules on both engines, two kills in mid stream: distinct signals equal those over the same events
    at rest. The compiled ones run as two subtasks, each with two of the four shards, and each rule has a
    name for each engine, because a rule runs once."""
    running, configuration = stack
    flink, kafka = configuration.flink, configuration.kafka
    steps = _session()
    on_flink = [rules.find(name) for name in RULES]
    compiled = [replace(rule, name=f"{rule.name}_compiled") for rule in on_flink]
    wide = flink.model_copy(update={"parallelism": 2})
    list(jobs.submit(on_flink, flink, kafka, engine="flink"))
    list(jobs.submit(compiled, wide, kafka, engine="compiled"))
    cluster = Cluster(flink)
    _play(steps, configuration, running)
    undisturbed = history.run(on_flink, [block for block, _, _ in steps], flink, kafka)
    expected = {one.signal_id: one for signals in undisturbed.values() for one in signals}
    assert {one.rule for one in expected.values()} == set(RULES)
    for one in list(expected.values()):
        name = f"{one.rule}_compiled"
        identity = signal_id(name, one.version, one.symbol, one.first_seq, one.last_seq)
        expected[identity] = structs.replace(one, signal_id=identity, rule=name)

    found = _drain(len(expected), configuration)
    assert {one.signal_id for one in found} == set(expected)
    assert [structs.replace(one, ts_signal=0) for one in found] == [
        structs.replace(expected[one.signal_id], ts_signal=0) for one in found
    ]
    status = cluster.rule_jobs(details=True)
    assert sorted((job.rule, job.engine, job.state) for job in status) == sorted(
        (rule.name, engine, "RUNNING")
        for engine, wanted in (("flink", on_flink), ("compiled", compiled))
        for rule in wanted
    )
    assert min(job.restores for job in status) >= 1
    assert [job.late_rows for job in status] == [0] * len(status)


def _session() -> list[Step]:
    """A synthetic session in steps of about 20 ms of market time."""
    stream = itch_stream(make_session(MarketParameters(duration_s=DURATION_S)))
    packing, datagrams = pack(stream, 2 * NS_PER_MS), Datagrams(stream)
    decoder = ItchDecoder("XNAS", f"20240808.{SESSION_NAME}")
    packets = [
        (int(RecordKind.DATA), int(due), datagrams.build(int(first), int(end)))
        for first, end, due in zip(packing.first[:-1], packing.first[1:], packing.due_ns, strict=True)
    ]
    steps = []
    for start in range(0, len(packets), 10):
        block = decoder.decode(CaptureBatch.of(packets[start : start + 10], start + 1))
        steps.append((block, decoder.watermark_ns, decoder.last_seq))
    return steps


def _play(steps: list[Step], configuration: StackConfiguration, running: Stack) -> None:
    """Publish the session at SPEED times real time, and kill the TaskManager on the way."""
    sink = KafkaSink(configuration.kafka, ItchSettings.load(), "XNAS")
    sink.resume_after("XNAS", "20240808")
    begin, first, kills = time.monotonic(), steps[0][1], list(KILLS_S)
    for block, watermark, last_seq in steps:
        due = (watermark - first) / NS_PER_S / SPEED
        time.sleep(max(0.0, due - (time.monotonic() - begin)))
        if kills and due >= kills[0]:
            kills.pop(0)
            running.kill(flink_server.TASKMANAGER)
        sink.write(block, watermark, last_seq)
    assert not kills
    end = steps[-1]
    sink.write(EventBlock(end[0].venue, end[0].session, end[0].symbols), end[1] + NS_PER_DAY, end[2])
    time.sleep(1.0)  # a partition that was quiet gets its heartbeat with the next write
    sink.write(EventBlock(end[0].venue, end[0].session, end[0].symbols), end[1] + NS_PER_DAY, end[2])
    sink.close()


def _drain(count: int, configuration: StackConfiguration) -> list[Signal]:
    """The distinct signals, once there are so many and none came for two seconds."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    found: list[Signal] = []
    while time.monotonic() < deadline:
        before, found = (
            len(found),
            history.distinct(history.read_signals(topics.SIGNALS, configuration.kafka)),
        )
        if len(found) >= count and len(found) == before:
            break
        time.sleep(2.0)
    return found
