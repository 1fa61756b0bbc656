"""Stored events in, tick batches on topics out: encoded and sharded as the ingesters do it.

The watermarks are those that an ingester would set which knew the future: exact, and few.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee

import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray

from streaming import derived
from tickloom import topics
from tickloom.clock import NS_PER_MS
from tickloom.codec import TickBatch
from tickloom.errors import FeedError, ServiceError
from tickloom.events import EventBlock, Records, SymbolTable
from tickloom.settings import KafkaSettings
from tickloom.stack.kafka import MESSAGE_BYTES_MAX

BATCH_EVENTS_MAX = 8_000  # of all partitions together
# Each watermark costs MATCH_RECOGNIZE time for every row that waits behind it, so there are few; but all
# rows up to the next one wait in the TaskManager's heap.
WATERMARK_EVENTS = 100_000
KAFKA_TIMEOUT_S = 30.0
_KINDS = ("trades", "quotes", "statuses", "gaps", "spreads", "news")


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was published. events: without book deltas, which rules do not read."""

    events: int
    first_ts: int
    last_ts: int


def publish_all(
    blocks: Iterable[EventBlock], read: Mapping[str, Sequence[str]], kafka: KafkaSettings, venues: set[str]
) -> dict[str, int]:
    """Publish what is read of the same events to several topics.

    ``read``: topic to the views that it serves. Returns the time of the last event of each topic, ns.
    """
    copies = tee(blocks, len(read))
    running = {
        topic: _publishing(copy, topic, kafka, venues, views)
        for copy, (topic, views) in zip(copies, read.items(), strict=True)
    }
    ends: dict[str, int] = {}
    while running:  # in step, so that a copy has little to remember
        for topic, one in list(running.items()):
            replayed = next(one, None)
            if replayed is None:
                del running[topic]
            else:
                ends[topic] = replayed.last_ts
    return ends


def publish(
    blocks: Iterable[EventBlock],
    topic: str,
    kafka: KafkaSettings,
    venues: set[str],
    views: Sequence[str] = (),
    *,
    watermark_events: int = WATERMARK_EVENTS,
) -> Replayed:
    """Write events as batches with the watermarks that an ingester which knew the future would set.

    ``views``: what is read of them; a computed view is computed first. Without: the events themselves.
    ``watermark_events``: from one watermark to the next; 1: each batch has its own.
    """
    *_, replayed = _publishing(blocks, topic, kafka, venues, views, watermark_events)
    return replayed


def _publishing(
    blocks: Iterable[EventBlock],
    topic: str,
    kafka: KafkaSettings,
    venues: set[str],
    views: Sequence[str],
    watermark_events: int = WATERMARK_EVENTS,
) -> Generator[Replayed, None, None]:
    """Publish block by block; yields what was, with each of them and at the end."""
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "linger.ms": 5, "message.max.bytes": MESSAGE_BYTES_MAX}
    )
    encode = derived.encoder(views)
    replayed = Replayed(0, 0, 0)
    for block, watermark in in_order(blocks, venues, views):
        times = [records["ts_event"] for records in _kinds(block).values() if len(records)]
        replayed = Replayed(
            replayed.events + sum(len(ts) for ts in times),
            replayed.first_ts or min(int(ts.min()) for ts in times),
            max(replayed.last_ts, *(int(ts.max()) for ts in times)),
        )
        parts = _parts(block, watermark, watermark_events)
        _publish_block(producer, topic, kafka, block.symbols, parts, encode)
        yield replayed
    if producer.flush(KAFKA_TIMEOUT_S):
        raise ServiceError(f"Kafka at {kafka.bootstrap} did not take the events in {KAFKA_TIMEOUT_S:.0f} s")
    yield replayed


def in_order(
    blocks: Iterable[EventBlock], venues: set[str], views: Sequence[str]
) -> Iterator[tuple[EventBlock, int]]:
    """What is read of stored events, block by block, each with the watermark behind it (ns).

    That is where the next block begins; behind the last one, a millisecond later than all: what the events
    prove, and not more (a silence that is still running may have ended behind them).

    Raises
    ------
    FeedError
        The blocks go back in time, or are of another venue.
    """
    block: EventBlock | None = None
    promised, last_ts = 0, 0
    for following in derived.over_history(views, _of_venue(blocks, venues), next(iter(venues))):
        times = [records["ts_event"] for records in _kinds(following).values() if len(records)]
        if not times:
            continue
        begins = min(int(ts.min()) for ts in times)
        if block is not None:
            if begins < promised:
                raise FeedError(f"{following.venue}: events go back in time to {begins}; read them in order")
            yield block, begins
        promised, last_ts = begins, max(last_ts, *(int(ts.max()) for ts in times))
        block = following
    if block is not None:
        yield block, last_ts + NS_PER_MS


def _of_venue(blocks: Iterable[EventBlock], venues: set[str]) -> Iterator[EventBlock]:
    for block in blocks:
        if block.venue not in venues or len(venues) > 1:
            raise FeedError(
                f"events of {block.venue}, rules of {', '.join(sorted(venues))}: run them venue by venue"
            )
        yield block


def _kinds(block: EventBlock) -> dict[str, Records]:
    """What rules read of a block."""
    kinds = block.every_kind()
    return {name: kinds[name] for name in _KINDS}


def _publish_block(
    producer: Producer,
    topic: str,
    kafka: KafkaSettings,
    symbols: SymbolTable,
    parts: Iterable[tuple[EventBlock, int]],
    encode: Callable[[TickBatch], bytes],
) -> None:
    shard_of = np.array([topics.shard(name, kafka.tick_partitions) for name in symbols.names])
    for part, watermark in parts:
        for shard in range(kafka.tick_partitions):
            batch = _batch(part, shard_of, shard, watermark)
            while True:
                try:
                    producer.produce(topic, encode(batch), partition=shard)
                    break
                except BufferError:  # the client's queue is full: let it send
                    producer.poll(0.1)
        producer.poll(0)


def _parts(
    block: EventBlock, next_begins: int, watermark_events: int = WATERMARK_EVENTS
) -> Iterator[tuple[EventBlock, int]]:
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
        news=_by_seq(block.news),
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
        if stop == len(seqs) or passed >= watermark_events:
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
