"""Events per table and symbol in each of the places that should agree: capture, Kafka, QuestDB."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tickloom import topics
from tickloom.codec import decode
from tickloom.errors import ServiceError
from tickloom.events import EventBlock, SymbolTable
from tickloom.settings import KafkaSettings

POLL_S = 0.1
RECORDS_MAX = 500
READ_TIMEOUT_S = 30.0  # without a single record although the end offset was not reached

#: (table, symbol) to a number of events.
Counts = Counter[tuple[str, str]]


def tally(block: EventBlock, counts: Counts) -> None:
    """Add a block's events to ``counts``."""
    names = block.symbols.names
    for table, records in block.kinds().items():
        if len(records):
            found = np.bincount(records["symbol"])
            present = np.flatnonzero(found)
            for index, number in zip(present.tolist(), found[present].tolist(), strict=True):
                counts[table, names[index]] += number


@dataclass(slots=True)
class KafkaCounts:
    """What a venue's topics hold of one session.

    repeated: batches that do not begin behind the one before them in their partition: something was
    published twice, or out of order.
    """

    events: Counts = field(default_factory=Counter)
    batches: int = 0
    repeated: int = 0


def count_kafka(settings: KafkaSettings, venue: str, session: str) -> KafkaCounts:
    """Read both topics of a venue from their beginning to their present end and count a session's events.

    Raises
    ------
    ServiceError
        The broker is away, or a partition stops answering before its end.
    """
    counts = KafkaCounts()
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap,
            "group.id": "tickloom-reconciliation",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": False,
            "log_level": 0,
        }
    )
    try:
        for topic in (topics.ticks(venue), topics.book(venue)):
            _count_topic(consumer, topic, session, counts)
    except KafkaException as error:
        raise ServiceError(
            f"Kafka at {settings.bootstrap} cannot be read: {error}. Is it up? See `tickloom status`."
        ) from error
    finally:
        consumer.close()
    return counts


def _count_topic(consumer: Consumer, topic: str, session: str, counts: KafkaCounts) -> None:
    metadata = consumer.list_topics(topic, timeout=READ_TIMEOUT_S).topics[topic]
    if metadata.error is not None:
        if metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return  # nothing was ever published
        raise KafkaException(metadata.error)
    ends: dict[int, int] = {}
    assignment = []
    for partition in metadata.partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=READ_TIMEOUT_S)
        if high > low:
            ends[partition] = high
            assignment.append(TopicPartition(topic, partition, low))
    consumer.assign(assignment)
    symbols = SymbolTable()
    last_seq: dict[int, int] = {}
    silent_s = 0.0
    while ends:
        messages = consumer.consume(RECORDS_MAX, timeout=POLL_S)  # which waits for as many, or so long
        silent_s = 0.0 if messages else silent_s + POLL_S
        if silent_s >= READ_TIMEOUT_S:
            raise ServiceError(
                f"Kafka topic {topic}: partitions {sorted(ends)} gave nothing for {READ_TIMEOUT_S:.0f} s "
                "before their end; look at the broker's log with `tickloom logs kafka`"
            )
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            partition = message.partition()
            _count_batch(message.value(), partition, symbols, session, last_seq, counts)
            if partition in ends and message.offset() + 1 >= ends[partition]:
                del ends[partition]


def _count_batch(
    raw: bytes,
    partition: int,
    symbols: SymbolTable,
    session: str,
    last_seq: dict[int, int],
    counts: KafkaCounts,
) -> None:
    batch = decode(raw, symbols)
    if batch.session != session or len(batch.block) == 0:
        return
    counts.batches += 1
    if batch.first_seq <= last_seq.get(partition, -1):
        counts.repeated += 1
    last_seq[partition] = batch.last_seq
    tally(batch.block, counts.events)


def differences(places: dict[str, Counts]) -> list[dict[str, object]]:
    """The rows on which the places disagree: table, symbol and the number in each place."""
    keys = sorted(set().union(*places.values()))
    return [
        {"table": table, "symbol": symbol, **{name: counts[table, symbol] for name, counts in places.items()}}
        for table, symbol in keys
        if len({counts[table, symbol] for counts in places.values()}) > 1
    ]
