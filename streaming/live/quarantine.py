"""The topic of records that could not be decoded, read."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tickloom import topics
from tickloom.errors import ServiceError
from tickloom.settings import KafkaSettings

KAFKA_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record that is no batch. time_ns: when it was met."""

    topic: str
    partition: int
    offset: int
    time_ns: int
    error: str
    raw: bytes


def read(kafka: KafkaSettings) -> list[Quarantined]:
    """Each record once, however many jobs met it, in the order of where they were.

    Raises
    ------
    ServiceError
        The broker does not answer.
    """
    group = {"group.id": "tickloom-quarantine", "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "log_level": 0, **group})
    found: dict[tuple[str, int, int], Quarantined] = {}
    try:
        known = consumer.list_topics(timeout=KAFKA_TIMEOUT_S).topics
        partitions = known[topics.QUARANTINE].partitions if topics.QUARANTINE in known else {}
        for number in partitions:
            place = TopicPartition(topics.QUARANTINE, number)
            low, high = consumer.get_watermark_offsets(place, timeout=KAFKA_TIMEOUT_S)
            consumer.assign([TopicPartition(topics.QUARANTINE, number, low)])
            while low < high:
                message = consumer.poll(KAFKA_TIMEOUT_S)
                if message is None or message.error():
                    raise ServiceError(
                        f"Kafka at {kafka.bootstrap} stopped in {topics.QUARANTINE} at offset {low} of {high}"
                    )
                low = message.offset() + 1
                one = _quarantined(message.value())
                found.setdefault((one.topic, one.partition, one.offset), one)
    except KafkaException as error:
        raise ServiceError(
            f"Kafka at {kafka.bootstrap} does not answer ({error}). Is it up? See `tickloom status`."
        ) from error
    finally:
        consumer.close()
    return [found[place] for place in sorted(found)]


def _quarantined(record: bytes) -> Quarantined:
    values = json.loads(record)
    return Quarantined(
        values["topic"],
        values["partition"],
        values["offset"],
        values["time"],
        values["error"],
        base64.b64decode(values["bytes"]),
    )
