"""Kafka topics: names, partitions, retention. Ticks go by venue, so that each has its own watermark."""

from __future__ import annotations

import threading
import zlib
from functools import cache

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from tickloom.clock import NS_PER_S, SystemClock
from tickloom.errors import ServiceError
from tickloom.settings import KafkaSettings

SIGNALS = "signals"
ORDERS = "orders"
EXECUTIONS = "executions"
POSITIONS = "positions"
#: Stories about instruments of whatever venue (``tickloom.news_codec``).
NEWS = "news"
#: Records that could not be decoded, with their bytes (``streaming.live.operator.quarantine_record``).
QUARANTINE = "quarantine"
_STATES = "trust."


def ticks(venue: str) -> str:
    """Trades, quotes, statuses and gaps of a venue."""
    return f"ticks.{venue}"


def book(venue: str) -> str:
    """Book deltas of a venue: many, and not what most rules read."""
    return f"book.{venue}"


def spreads(venue: str) -> str:
    """Spreads of a venue's pairs, computed from its quotes."""
    return f"spreads.{venue}"


def trust(venue: str) -> str:
    """Changes of trust in a venue's instruments: compacted, so that it holds the state of each."""
    return f"trust.{venue}"


def shard(symbol: str, partitions: int) -> int:
    """Partition of a symbol's events: CRC-32 of its name, so that every language agrees."""
    return zlib.crc32(symbol.encode()) % partitions


@cache
def partition_key(partition: int, partitions: int) -> bytes:
    """A record key that Kafka's own partitioner sends to ``partition``: the first number in digits that does.

    For a producer that cannot be told the partition, such as Flink's table sink. Kafka takes murmur2 of the
    key, without its sign, modulo the partitions (org.apache.kafka.clients.producer.internals.
    BuiltInPartitioner.partitionForKey).
    """
    if not 0 <= partition < partitions:
        raise ValueError(f"partition {partition} of {partitions}")
    number = 0
    while (murmur2(b"%d" % number) & 0x7FFF_FFFF) % partitions != partition:
        number += 1
    return b"%d" % number


def murmur2(data: bytes) -> int:
    """MurmurHash2 with Kafka's seed, unsigned 32 bits (org.apache.kafka.common.utils.Utils.murmur2)."""
    mask, factor = 0xFFFF_FFFF, 0x5BD1_E995
    value = 0x9747_B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * factor & mask
        part = (part ^ (part >> 24)) * factor & mask
        value = (value * factor & mask) ^ part
    if len(data) > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * factor & mask
    value = (value ^ (value >> 13)) * factor & mask
    return value ^ (value >> 15)


def ensure_topics(names: list[str], settings: KafkaSettings, timeout_s: float = 30.0) -> None:
    """Create those of ``names`` that are not there yet. Idempotent.

    Raises
    ------
    ServiceError
        The broker is not there or refuses.
    """
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
    wanted = [
        NewTopic(
            name,
            num_partitions=settings.tick_partitions,
            replication_factor=settings.replication,
            config=_configuration(name, settings),
        )
        for name in names
    ]
    try:
        known = admin.list_topics(timeout=timeout_s).topics
        missing = [topic for topic in wanted if topic.topic not in known]
        for name, future in (
            admin.create_topics(missing, operation_timeout=timeout_s) if missing else {}
        ).items():
            try:
                future.result(timeout=timeout_s)
            except Exception as error:  # the client wraps everything in KafkaException
                if "TOPIC_ALREADY_EXISTS" not in str(error):
                    raise ServiceError(
                        f"Kafka at {settings.bootstrap} did not create {name}: {error}"
                    ) from error
        if missing:
            _wait_for_leaders(admin, [topic.topic for topic in missing], settings, timeout_s)
    except ServiceError:
        raise
    except Exception as error:
        raise ServiceError(
            f"Kafka at {settings.bootstrap} does not answer ({error}). Is it up? See `tickloom status`."
        ) from error


def _configuration(name: str, settings: KafkaSettings) -> dict[str, str]:
    """Of a topic: those of states keep the last record of each key, the others all for a while."""
    # ticks are replayed with the times of their day: retention must go by when they were written
    config = {"message.timestamp.type": "LogAppendTime"}
    if name.startswith(_STATES):
        return {**config, "cleanup.policy": "compact"}
    return {**config, "retention.ms": str(settings.retention_hours * 3_600_000)}


def _wait_for_leaders(
    admin: AdminClient, names: list[str], settings: KafkaSettings, timeout_s: float
) -> None:
    """A topic that was created a moment ago may not answer yet: wait until each partition has."""
    clock = SystemClock()
    deadline_ns = clock.monotonic_ns() + int(timeout_s * NS_PER_S)
    asked = {
        TopicPartition(name, partition): OffsetSpec.latest()
        for name in names
        for partition in range(settings.tick_partitions)
    }
    while True:
        try:
            for future in admin.list_offsets(asked, request_timeout=timeout_s).values():
                future.result()
        except KafkaException as error:
            if clock.monotonic_ns() > deadline_ns:
                raise ServiceError(
                    f"Kafka at {settings.bootstrap}: {', '.join(names)} do not answer ({error}); "
                    "see the broker's log with `tickloom logs kafka`"
                ) from error
            threading.Event().wait(0.1)
            # a client remembers for 30 s that a topic had no leader: ask with one that does not
            admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
        else:
            return
