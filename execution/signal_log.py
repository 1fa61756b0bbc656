"""The signals topic as a log that can be read anywhere: offsets in, messages out.

Faust delivers signals, but what it commits is not what the agent believes in (a commit may pass a
message in flight, and after a broker's restart a worker may stop delivering in silence). The journal
knows the next offset of each partition; this reads whatever lies between that and the end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tickloom.errors import ServiceError
from tickloom.settings import KafkaSettings

TIMEOUT_S = 10.0
MESSAGES_MAX = 500
#: How a follower gathers: the broker answers after so long with what there is; at 1,000/s 200 times a second
#: with 5 messages each, not 1,000 times.
FETCH_WAIT_MS = 5
FETCH_BYTES_MIN = 65_536
GATHER_S = 0.004  # after the first message of a batch
FOLLOW_POLL_S = 0.1

#: (value, partition, offset)
Message: TypeAlias = tuple[bytes, int, int]


class SignalLog:
    """Reads one topic by offset. Blocking: call it off the event loop."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._bootstrap, self._topic = settings.bootstrap, topic
        self._client: Any = None

    @property
    def _consumer(self) -> Any:
        """A new one after a failure: one may have lost the broker for good, see broker_watch."""
        if self._client is None:
            self._client = Consumer(
                {
                    "bootstrap.servers": self._bootstrap,
                    "group.id": "tickloom-agent-repair",  # demanded by the client; nothing is committed
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "enable.partition.eof": False,
                    "log_level": 0,
                }
            )
        return self._client

    def ranges(self) -> dict[int, tuple[int, int]]:
        """Partition to (first offset that is kept, offset behind the last).

        Raises
        ------
        ServiceError
            The broker is away.
        """
        try:
            topic = self._consumer.list_topics(self._topic, timeout=TIMEOUT_S).topics[self._topic]
            if topic.error is not None:
                raise KafkaException(topic.error)
            return {
                number: self._consumer.get_watermark_offsets(
                    TopicPartition(self._topic, number), timeout=TIMEOUT_S
                )
                for number in topic.partitions
            }
        except KafkaException as error:
            self.close()
            raise ServiceError(f"Kafka at {self._bootstrap}, topic {self._topic}: {error}") from error

    def read(self, partition: int, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """(offset, value) of the messages from ``start`` up to, not including, ``stop``.

        Raises
        ------
        ServiceError
            They did not come in time.
        """
        if start >= stop:
            return
        self._consumer.assign([TopicPartition(self._topic, partition, start)])
        try:
            position = start
            while position < stop:
                # no more than there are: it waits for all of them, or for the whole of that time
                messages = self._consumer.consume(min(MESSAGES_MAX, stop - position), TIMEOUT_S)
                if not messages:
                    self.close()
                    raise ServiceError(
                        f"{self._topic}/{partition}: nothing came from offset {position} within {TIMEOUT_S} s"
                    )
                for message in messages:
                    if message.error() is not None:
                        raise ServiceError(f"{self._topic}/{partition}@{position}: {message.error()}")
                    if message.offset() >= stop:
                        return
                    position = message.offset() + 1
                    yield message.offset(), message.value() or b""
        except KafkaException as error:
            raise ServiceError(f"{self._topic}/{partition}: {error}") from error
        finally:
            if self._client is not None:
                self._client.unassign()

    def close(self) -> None:
        """Let go of the connection; the next call has a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None


class SignalFollower:
    """Reads on in all partitions of a topic, in batches. Blocking: one thread at a time calls it.

    What is behind an offset that Kafka does not keep any more is an error: nothing is passed over.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._topic, self._lock = topic, threading.Lock()
        self._consumer: Any = Consumer(
            {
                "bootstrap.servers": settings.bootstrap,
                "group.id": "tickloom-agent-follower",  # demanded by the client; nothing is committed
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "fetch.min.bytes": FETCH_BYTES_MIN,
                "log_level": 0,
            }
        )

    def begin(self, offsets: Mapping[int, int]) -> None:
        """Read on from these offsets, by partition.

        Raises
        ------
        ServiceError
            They cannot be assigned.
        """
        try:
            self._consumer.assign([TopicPartition(self._topic, *place) for place in offsets.items()])
        except KafkaException as error:
            raise ServiceError(f"{self._topic}: {error}") from error

    def read(self, count_max: int) -> list[Message]:
        """What comes next, in the order of each partition; empty if nothing came for a while.

        Raises
        ------
        ServiceError
            The log cannot be read.
        """
        try:
            with self._lock:
                first = self._consumer.poll(FOLLOW_POLL_S)
                if first is None:
                    return []
                found = [first, *self._consumer.consume(count_max - 1, GATHER_S)]
        except KafkaException as error:
            raise ServiceError(f"{self._topic}: {error}") from error
        for message in found:
            if message.error() is not None:
                raise ServiceError(f"{self._topic}/{message.partition()}: {message.error()}")
        return [(message.value() or b"", message.partition(), message.offset()) for message in found]

    def close(self) -> None:
        """Waits for a read that is under way, whoever waits for that."""
        with self._lock:
            self._consumer.close()
