"""Stored events in, the signals that a rule gives over them out: the same SQL as live, but with an end.

The events go through a Kafka topic of their own, encoded and sharded as the ingesters do it, so the
job differs from the live one only in that it ends. Signals and their ids are the same. What rules read
of computed views (``streaming.derived``) is computed from the same events, and has a topic of its own.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import tee

import numpy as np
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from numpy.typing import NDArray

from streaming import client, derived, engines, linter, rules
from streaming.client import JobOptions
from streaming.cluster import Cluster
from streaming.rules import Rule
from tickloom import topics
from tickloom.clock import NS_PER_DAY
from tickloom.codec import TickBatch
from tickloom.errors import FeedError, RuleError, ServiceError
from tickloom.events import EventBlock, Records, Signal
from tickloom.settings import FlinkSettings, KafkaSettings

BATCH_EVENTS_MAX = 2_000  # of all partitions together
# Each watermark costs MATCH_RECOGNIZE time for every row that waits behind it, so there are few; but all
# rows up to the next one wait in the TaskManager's heap.
WATERMARK_EVENTS = 100_000
WATERMARK_INTERVAL_MS = 50
RESTARTS_MAX = 3
KAFKA_TIMEOUT_S = 30.0
_KINDS = ("trades", "quotes", "statuses", "gaps", "spreads")


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was published. events: without book deltas, which rules do not read."""

    events: int
    first_ts: int
    last_ts: int


def run(
    wanted: Sequence[Rule],
    blocks: Iterable[EventBlock],
    flink: FlinkSettings,
    kafka: KafkaSettings,
    *,
    overrides: Mapping[str, str] | None = None,
    timeout_s: float = 3_600.0,
) -> dict[str, list[Signal]]:
    """Signals of each rule over ``blocks``, in the order of ts_event, symbol, last_seq.

    Parameters
    ----------
    blocks : iterable of EventBlock
        Of one venue, none of whose events is older than those of an earlier block.

    Raises
    ------
    RuleError
        The linter or Flink refuses a rule.
    FeedError
        The blocks go back in time, or are of another venue than a rule.
    ServiceError
        A server does not answer, or a job fails.
    """
    wanted = [rules.bind(rule, overrides) for rule in wanted]
    for rule in wanted:
        linter.check(rule)
    replay_id = uuid.uuid4().hex[:12]
    signals = f"replay.{replay_id}.signals"
    views = {rule.name: tuple(engines.views_read(rule)) for rule in wanted}
    sources = {
        name: f"replay.{replay_id}.{derived.derived_view(read) or 'ticks'}" for name, read in views.items()
    }
    cluster = Cluster(flink)
    jobs: dict[str, str] = {}
    try:
        topics.ensure_topics([*set(sources.values()), signals], kafka)
        read = {topic: views[name] for name, topic in sources.items()}
        publish_all(blocks, read, kafka, {rule.venue for rule in wanted})
        for rule in wanted:
            options = _options(rule, sources[rule.name], signals, flink)
            jobs[rule.name] = client.submit(rule, options, flink, kafka)
        for name, job_id in jobs.items():
            state = cluster.wait_ended(job_id, timeout_s)
            if state != "FINISHED":
                raise ServiceError(f"rule {name} over history is {state}: {cluster.failure(job_id)}")
        found = distinct(read_signals(signals, kafka))
    finally:
        _tidy(cluster, jobs, (*set(sources.values()), signals), kafka)
    return {rule.name: [signal for signal in found if signal.rule == rule.name] for rule in wanted}


def publish_all(
    blocks: Iterable[EventBlock], read: Mapping[str, Sequence[str]], kafka: KafkaSettings, venues: set[str]
) -> None:
    """Publish what is read of the same events to several topics. read: topic to the views that it serves."""
    copies = tee(blocks, len(read))
    running = [
        _publishing(copy, topic, kafka, venues, views)
        for copy, (topic, views) in zip(copies, read.items(), strict=True)
    ]
    while running:  # in step, so that a copy has little to remember
        running = [one for one in running if next(one, None) is not None]


def publish(
    blocks: Iterable[EventBlock],
    topic: str,
    kafka: KafkaSettings,
    venues: set[str],
    views: Sequence[str] = (),
) -> Replayed:
    """Write events as batches with the watermarks that an ingester which knew the future would set.

    ``views``: what is read of them; a computed view is computed first. Without: the events themselves.
    """
    *_, replayed = _publishing(blocks, topic, kafka, venues, views)
    return replayed


def _publishing(
    blocks: Iterable[EventBlock], topic: str, kafka: KafkaSettings, venues: set[str], views: Sequence[str]
) -> Generator[Replayed, None, None]:
    """Publish block by block; yields what was, with each of them and at the end."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5, "compression.type": "lz4"})
    encode = derived.encoder(views)
    events, first_ts, last_ts, promised = 0, 0, 0, 0
    block: EventBlock | None = None
    for following in derived.over_history(views, _of_venue(blocks, venues), next(iter(venues))):
        times = [records["ts_event"] for records in _kinds(following).values() if len(records)]
        if not times:
            continue
        begins = min(int(ts.min()) for ts in times)
        if block is not None:
            if begins < promised:
                raise FeedError(f"{following.venue}: events go back in time to {begins}; read them in order")
            _publish_block(producer, topic, kafka, block, begins, encode)
        first_ts, promised = first_ts or begins, begins
        last_ts = max(last_ts, *(int(ts.max()) for ts in times))
        events += sum(len(ts) for ts in times)
        block = following
        yield Replayed(events, first_ts, last_ts)
    if block is not None:
        _publish_block(producer, topic, kafka, block, last_ts + NS_PER_DAY, encode)
    if producer.flush(KAFKA_TIMEOUT_S):
        raise ServiceError(f"Kafka at {kafka.bootstrap} did not take the events in {KAFKA_TIMEOUT_S:.0f} s")
    yield Replayed(events, first_ts, last_ts)


def _of_venue(blocks: Iterable[EventBlock], venues: set[str]) -> Iterator[EventBlock]:
    for block in blocks:
        if block.venue not in venues or len(venues) > 1:
            raise FeedError(
                f"events of {block.venue}, rules of {', '.join(sorted(venues))}: run them venue by venue"
            )
        yield block


def _kinds(block: EventBlock) -> dict[str, Records]:
    """What rules read of a block."""
    kinds = {**block.kinds(), "spreads": block.spreads}
    return {name: kinds[name] for name in _KINDS}


def _publish_block(
    producer: Producer,
    topic: str,
    kafka: KafkaSettings,
    block: EventBlock,
    next_begins: int,
    encode: Callable[[TickBatch], bytes],
) -> None:
    shard_of = np.array([topics.shard(name, kafka.tick_partitions) for name in block.symbols.names])
    for part, watermark in _parts(block, next_begins):
        for shard in range(kafka.tick_partitions):
            batch = _batch(part, shard_of, shard, watermark)
            while True:
                try:
                    producer.produce(topic, encode(batch), partition=shard)
                    break
                except BufferError:  # the client's queue is full: let it send
                    producer.poll(0.1)
        producer.poll(0)


def _parts(block: EventBlock, next_begins: int) -> Iterator[tuple[EventBlock, int]]:
    """Cut a block into small ones in the order of seq, as live, each with the watermark behind it.

    Every partition gets a batch of each part, so none is read far ahead of the others.
    """
    block = EventBlock(
        block.venue,
        block.session,
        block.symbols,
        trades=_by_seq(block.trades),
        quotes=_by_seq(block.quotes),
        statuses=_by_seq(block.statuses),
        gaps=_by_seq(block.gaps),
        spreads=_by_seq(block.spreads),
    )
    kinds = _kinds(block)
    seqs = np.concatenate([records["seq"] for records in kinds.values()])
    times = np.concatenate([records["ts_event"] for records in kinds.values()])
    order = np.argsort(seqs, kind="stable")
    seqs, times = seqs[order], times[order]
    to_come = np.minimum.accumulate(np.append(times, next_begins)[::-1])[::-1]
    watermark, passed, start = int(to_come[0]), 0, 0
    while start < len(seqs):
        stop = min(start + BATCH_EVENTS_MAX, len(seqs))
        stop = int(np.searchsorted(seqs, seqs[stop - 1], side="right"))  # a message is not cut in two
        low, high = seqs[start], seqs[stop - 1]
        masks = {name: (r["seq"] >= low) & (r["seq"] <= high) for name, r in kinds.items()}
        passed += stop - start
        if stop == len(seqs) or passed >= WATERMARK_EVENTS:
            watermark, passed = int(to_come[stop]), 0
        yield block.select(masks), watermark
        start = stop


def _by_seq(records: Records) -> Records:
    ordered: Records = records[np.argsort(records["seq"], kind="stable")]
    return ordered


def _batch(part: EventBlock, shard_of: NDArray[np.int64], shard: int, watermark: int) -> TickBatch:
    """What one partition gets of a part; with no events it is a heartbeat."""
    kinds = _kinds(part)
    chosen = part.select({name: shard_of[records["symbol"]] == shard for name, records in kinds.items()})
    seqs = [records["seq"] for records in (_kinds(chosen) if len(chosen) else kinds).values() if len(records)]
    first, last = min(int(s.min()) for s in seqs), max(int(s.max()) for s in seqs)
    return TickBatch(shard, first if len(chosen) else last, last, watermark, chosen)


def read_signals(topic: str, kafka: KafkaSettings) -> list[Signal]:
    """Every signal that the topic holds now, duplicates included, partition by partition.

    Raises
    ------
    ServiceError
        The broker does not answer, or what is there is no signal.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": "tickloom-history",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    signals: list[Signal] = []
    try:
        for number in consumer.list_topics(topic, timeout=KAFKA_TIMEOUT_S).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=KAFKA_TIMEOUT_S)
            consumer.assign([TopicPartition(topic, number, low)])
            while low < high:
                message = consumer.poll(KAFKA_TIMEOUT_S)
                if message is None or message.error():
                    raise ServiceError(
                        f"Kafka at {kafka.bootstrap} stopped in {topic} at offset {low} of {high}"
                    )
                low = message.offset() + 1
                signals.append(signal_from_json(message.value()))
    except KafkaException as error:
        raise ServiceError(
            f"Kafka at {kafka.bootstrap} does not answer ({error}). See `tickloom status`."
        ) from error
    finally:
        consumer.close()
    return signals


def signal_from_json(raw: bytes) -> Signal:
    """A record of the topic ``signals`` as a Signal."""
    values = json.loads(raw)
    try:
        return Signal(**{field.name: values[field.name] for field in fields(Signal)})
    except KeyError as error:
        raise ServiceError(f"a record of the signals topic has no {error}; who else writes to it?") from None


def distinct(signals: Iterable[Signal]) -> list[Signal]:
    """Each signal once (delivery is at least once), in the order of ts_event, symbol, last_seq."""
    first: dict[str, Signal] = {}
    for signal in signals:
        first.setdefault(signal.signal_id, signal)
    return sorted(first.values(), key=lambda one: (one.ts_event, one.symbol, one.last_seq, one.rule))


def _options(rule: Rule, ticks: str, signals: str, flink: FlinkSettings) -> JobOptions:
    return JobOptions(
        ticks,
        signals,
        {"scan.startup.mode": "earliest-offset", "scan.bounded.mode": "latest-offset"},
        {
            "pipeline.name": f"history of {rule.job_name}",
            "parallelism.default": str(flink.parallelism),
            "pipeline.auto-watermark-interval": f"{WATERMARK_INTERVAL_MS} ms",
            "pipeline.object-reuse": "true",
            "table.local-time-zone": "UTC",
            "table.exec.sink.not-null-enforcer": "ERROR",
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": str(RESTARTS_MAX),
            "execution.attached": "false",
        },
    )


def _tidy(cluster: Cluster, jobs: Mapping[str, str], used: Sequence[str], kafka: KafkaSettings) -> None:
    """Leave neither jobs nor topics behind; what prevents that must not hide the error that led here."""
    try:
        for job_id in jobs.values():
            cluster.cancel(job_id)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        for future in admin.delete_topics(list(used), operation_timeout=KAFKA_TIMEOUT_S).values():
            future.exception(timeout=KAFKA_TIMEOUT_S)
    except (ServiceError, KafkaException, RuleError):
        pass
