"""How far a session is on Kafka: the last record of each partition, read before anything is sent."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, TopicPartition

from tickloom.codec import TickBatch, read_header
from tickloom.errors import ServiceError
from tickloom.events import SEQ_PER_DAY, SymbolTable
from tickloom.settings import KafkaSettings

TIMEOUT_S = 10.0
SETTLE_S = 0.25  # a killed producer's last requests may still lie in the broker's socket
SETTLE_READS_MAX = 40
SCAN_RECORDS = 500  # a step back where the last record is of another session


@dataclass(frozen=True, slots=True)
class Tail:
    """Where a partition ends. last_seq: 0 where it has nothing of the session; watermark: ns; day: of its
    last record, whatever session that is of, as in ``seq``."""

    last_seq: int
    watermark: int
    day: int = 0


def _head(raw: bytes) -> TickBatch:
    """A record without its events; those of all our topics begin alike."""
    return read_header(np.frombuffer(raw, dtype=np.uint8), SymbolTable())[0]


def read_tails(
    names: list[str],
    session: str,
    settings: KafkaSettings,
    settle_reads_max: int = SETTLE_READS_MAX,
) -> dict[tuple[str, int], Tail]:
    """(topic, partition) to its tail, for partitions that are not empty.

    Reads until two readings agree: the requests of a producer that was killed a moment ago may still
    be on their way through the broker. ``settle_reads_max`` 0 only looks, while somebody may write.

    Raises
    ------
    ServiceError
        The broker does not answer, or the topic is cut otherwise than the settings say.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap,
            "group.id": "tickloom-tail",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,  # a few records are wanted now, not many soon
            "fetch.error.backoff.ms": 50,
            "log_level": 2,
        }
    )
    try:
        _check_partitions(consumer, names, settings)
        ends = _ends(consumer, names, settings)
        for _ in range(settle_reads_max):
            threading.Event().wait(SETTLE_S)
            before, ends = ends, _ends(consumer, names, settings)
            if before == ends:
                break
        else:
            if settle_reads_max:
                raise ServiceError(
                    f"{', '.join(names)}: somebody else is writing; stop the other ingester of this venue"
                )
        filled = {key: bounds for key, bounds in ends.items() if bounds[1] > bounds[0]}
        lasts = _last_records(consumer, {key: high - 1 for key, (_, high) in filled.items()})
        return {key: _tail(consumer, key, bounds, lasts[key], session) for key, bounds in filled.items()}
    except KafkaException as error:
        raise ServiceError(
            f"Kafka at {settings.bootstrap} does not answer ({error}). Is it up? See `tickloom status`."
        ) from error
    finally:
        consumer.close()


def _check_partitions(consumer: Any, names: list[str], settings: KafkaSettings) -> None:
    known = consumer.list_topics(timeout=TIMEOUT_S).topics
    for name in names:
        count = len(known[name].partitions) if name in known else 0
        if count != settings.tick_partitions:
            raise ServiceError(
                f"topic {name} has {count} partitions, kafka.tick_partitions says "
                f"{settings.tick_partitions}; a symbol's events would change partition. "
                "Use the old number, or new topics"
            )


def _ends(consumer: Any, names: list[str], settings: KafkaSettings) -> dict[tuple[str, int], tuple[int, int]]:
    return {
        (name, partition): consumer.get_watermark_offsets(
            TopicPartition(name, partition), timeout=TIMEOUT_S, cached=False
        )
        for name in names
        for partition in range(settings.tick_partitions)
    }


def _last_records(consumer: Any, offsets: dict[tuple[str, int], int]) -> dict[tuple[str, int], TickBatch]:
    """The record at one offset of each partition, all fetched together."""
    consumer.assign([TopicPartition(*key, offset) for key, offset in offsets.items()])
    found: dict[tuple[str, int], TickBatch] = {}
    while len(found) < len(offsets):
        message = _poll(consumer, "the tails")
        found.setdefault((message.topic(), message.partition()), _head(message.value()))
    return found


def _tail(
    consumer: Any,
    key: tuple[str, int],
    bounds: tuple[int, int],
    last: TickBatch,
    session: str,
) -> Tail:
    last_day = last.last_seq // SEQ_PER_DAY
    if last.session == session:
        return Tail(last.last_seq, last.watermark, last_day)
    day = int(session[2:8]) if session[:8].isdigit() else 0
    if last_day < day:
        return Tail(0, last.watermark, last_day)  # sessions come in order of days: nothing of this one yet
    low, stop = bounds[0], bounds[1] - 1
    while stop > low:  # another session came in between; ours may be before it
        start = max(low, stop - SCAN_RECORDS)
        for batch in reversed(_read(consumer, *key, start, stop)):
            if batch.session == session:
                return Tail(batch.last_seq, last.watermark, last_day)
        stop = start
    return Tail(0, last.watermark, last_day)


def _read(consumer: Any, topic: str, partition: int, start: int, stop: int) -> list[TickBatch]:
    """Records at offsets ``start`` up to, not including, ``stop``; at least one."""
    consumer.assign([TopicPartition(topic, partition, start)])
    batches: list[TickBatch] = []
    at = OFFSET_INVALID
    while at < stop - 1:
        message = _poll(consumer, f"{topic}/{partition} from offset {start} on")
        at = message.offset()
        if at < stop:
            batches.append(_head(message.value()))
    return batches


def _poll(consumer: Any, what: str) -> Any:
    message = consumer.poll(TIMEOUT_S)
    if message is None:
        raise ServiceError(f"no record of {what} came within {TIMEOUT_S:g} s; is the broker busy?")
    if message.error():
        raise KafkaException(message.error())
    return message
