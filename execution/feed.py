"""Kafka tick topics in, decoded batches out, on a thread of its own: for the agent and the exchange.

It follows partitions by assignment, without a consumer group: every reader needs the whole market, and
where it begins is a matter of how much of the past it needs, not of what was read before. A broker that
is away is waited for; librdkafka connects again by itself, or is begun anew (:mod:`tickloom.broker_watch`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from execution import metrics
from tickloom import codec
from tickloom.broker_watch import BrokerWatch
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from tickloom.codec import TickBatch
from tickloom.errors import CodecError
from tickloom.settings import KafkaSettings

POLL_S = 0.1
RETRY_S = 0.5
METADATA_TIMEOUT_S = 5.0
MESSAGES_MAX = 200  # a poll; at 25 KB a record that is 5 MB

#: Takes consecutive batches with the broker's times (ns) of each.
BatchHandler = Callable[[list[tuple[TickBatch, int]]], None]

_log = structlog.get_logger("feed")


class FeedFollower:
    """Follow all partitions of some tick topics.

    Parameters
    ----------
    records_back : int or None
        Begin that many records before the end of each partition; None: at its beginning.
    handler : BatchHandler
        Called on the follower's thread. What it raises ends the follower and is in ``failure``.
    watch : callable, optional
        Makes the watch over a client's connection.
    decode : callable
        Of a record; what it refuses with :class:`CodecError` is left out, and said. Only ticks are measured.

    Attributes
    ----------
    caught_up : threading.Event
        Set when everything that was there at the start has been handed over.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: list[str],
        records_back: int | None,
        handler: BatchHandler,
        clock: Clock | None = None,
        watch: Callable[[KafkaSettings], BrokerWatch] = BrokerWatch,
        decode: Callable[[bytes], TickBatch] = codec.decode,
    ) -> None:
        self._settings, self._topics, self._records_back = settings, topics, records_back
        self._handler, self._clock, self._make_watch = handler, clock or SystemClock(), watch
        self._decode = decode
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._ends: dict[tuple[str, int], int] = {}
        self._next: dict[tuple[str, int], int] = {}
        self.caught_up = threading.Event()
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop following; returns when the thread has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                watch = self._make_watch(self._settings)
                consumer = Consumer(
                    {
                        "bootstrap.servers": self._settings.bootstrap,
                        "group.id": "tickloom-feed",  # demanded by the client; nothing is committed
                        "enable.auto.commit": False,
                        "auto.offset.reset": "earliest",
                        "fetch.wait.max.ms": 20,
                        "log_level": 0,
                        **watch.configuration(),
                    }
                )
                try:
                    if self._assign(consumer):
                        self._follow(consumer, watch)
                finally:
                    consumer.close()
        except BaseException as error:
            self.failure = error
            _log.exception("feed_failed", topics=self._topics)

    def _assign(self, consumer: Any) -> bool:
        """Assign all partitions where reading begins; tries until the broker answers. False: stopped."""
        while not self._stop.is_set():
            try:
                consumer.assign(self._starts(consumer))
                return True
            except KafkaException as error:
                _log.warning("broker_away", error=str(error))
                self._stop.wait(RETRY_S)
        return False

    def _starts(self, consumer: Any) -> list[Any]:
        starts = []
        self._ends = {}
        for topic in self._topics:
            partitions = consumer.list_topics(topic, timeout=METADATA_TIMEOUT_S).topics[topic]
            if partitions.error is not None:
                raise KafkaException(partitions.error)
            for partition in partitions.partitions:
                where = TopicPartition(topic, partition)
                low, high = consumer.get_watermark_offsets(where, timeout=METADATA_TIMEOUT_S)
                begin = low if self._records_back is None else max(low, high - self._records_back)
                where.offset = max(low, self._next.get((topic, partition), begin))
                starts.append(where)
                if high > where.offset:
                    self._ends[(topic, partition)] = high
        return starts

    def _follow(self, consumer: Any, watch: BrokerWatch) -> None:
        """Until it is stopped, or the client has lost its broker."""
        self._note_progress([])
        while not self._stop.is_set():
            if watch.lost():
                _log.warning("client_lost", topics=self._topics, advice="it goes on with a new one")
                return
            messages = consumer.consume(MESSAGES_MAX, POLL_S)
            batches = []
            for message in messages:
                if message.error() is not None:
                    _log.warning("feed_error", error=str(message.error()))
                    continue
                try:
                    batch = self._decode(message.value())
                except CodecError as error:
                    place = f"{message.topic()}/{message.partition()}@{message.offset()}"
                    _log.error("undecodable_batch", at=place, error=str(error))
                    continue
                batches.append((batch, message.timestamp()[1] * NS_PER_MS))
            if batches:
                self._handler(batches)
                if self._decode is codec.decode:
                    self._count(batches)
            self._note_progress(messages)

    def _count(self, batches: list[tuple[TickBatch, int]]) -> None:
        now_ns = self._clock.now_ns()
        for batch, written_ns in batches:
            metrics.FEED_BATCHES.labels(batch.venue).inc()
            metrics.FEED_LAG.labels(batch.venue).set((now_ns - written_ns) / NS_PER_S)

    def _note_progress(self, messages: list[Any]) -> None:
        for message in messages:
            if message.error() is None:
                key = (message.topic(), message.partition())
                self._next[key] = message.offset() + 1
                if message.offset() + 1 >= self._ends.get(key, 0):
                    self._ends.pop(key, None)
        if not self._ends:
            self.caught_up.set()
