"""Events in, tick batches on Kafka out: sharded by symbol, in order, each once.

Two topics a venue (``ticks.<V>``, and ``book.<V>`` for book deltas), one Avro record a batch; and
``trust.<V>``, one record a change of trust. Once
means: the producer is idempotent, so a broker that comes back gets nothing twice; and a restart
reads the last record of each partition and goes on behind its ``last_seq``, which is exact because
a batch never ends inside a seq.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from confluent_kafka import KafkaException, Producer
from numpy.typing import NDArray

from ingest import metrics
from ingest.kafka_tail import Tail, read_tails
from tickloom import topics, trust_codec
from tickloom.broker_watch import BrokerWatch
from tickloom.clock import NS_PER_MS, Clock, SystemClock
from tickloom.codec import TickBatch, encode
from tickloom.errors import ClientLostError, ServiceError
from tickloom.events import DELTA_DTYPE, FIELD_OF_TABLE, SEQ_PER_DAY, EventBlock, Records, SymbolTable
from tickloom.rows import joined, picked
from tickloom.settings import IngestSettings, KafkaSettings

QUEUE_KB_MAX = 64 * 1024  # unsent records; beyond it the sink waits, and the capture is the buffer
QUEUE_RECORDS_MAX = 50_000
_TICK_TABLES = ("trades", "quotes", "statuses", "gaps")
_BOOK_TABLES = ("book_deltas",)

Pieces = dict[str, Records]


class KafkaSink:
    """An EventSink over confluent-kafka. One thread uses it, for one venue.

    Parameters
    ----------
    kafka : KafkaSettings
    settings : IngestSettings
        ``batch_events_max``, ``linger_ms`` (the least time between two writes), ``book_linger_ms`` (that
        book deltas are held back, to go together), ``heartbeat_ms`` and ``quiet_ms``.
    """

    name = "kafka"
    encode = staticmethod(encode)  # of the topics' records

    def __init__(
        self, kafka: KafkaSettings, settings: IngestSettings, venue: str, clock: Clock | None = None
    ) -> None:
        self.interval_ms = settings.linger_ms
        self._kafka = kafka
        self._settings = settings
        self._clock = clock or SystemClock()
        self._tick_topic, self._book_topic = topics.ticks(venue), topics.book(venue)
        self._trust_topic = topics.trust(venue)
        self._routes = ((self._tick_topic, _TICK_TABLES), (self._book_topic, _BOOK_TABLES))
        self._held: list[EventBlock] = []  # whose book deltas have not gone out
        self._held_since_ns = 0
        self._held_behind = 0  # the watermark before the first of them
        self._dropped = {topic: metrics.DROPPED.labels(venue, topic) for topic, _ in self._routes}
        self._published = {topic: metrics.PUBLISHED.labels(venue, topic) for topic, _ in self._routes}
        self._producer: Any = None
        self._watch = BrokerWatch(kafka, self._clock)
        self._failure: Any = None
        self._shards = np.zeros(0, dtype=np.int64)
        self._shards_of: SymbolTable | None = None
        self._tails: dict[tuple[str, int], Tail] = {}
        self._sent_ns: dict[tuple[str, int], int] = {}
        self._told: dict[tuple[str, int], int] = {}  # the last watermark sent to each
        self._watermark = 0

    @property
    def holds(self) -> bool:
        """Whether something waits for the next :meth:`write`."""
        return bool(self._held)

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        """Keys are ``topic/partition``. Creates the topics; this sink itself drops what is there.

        Raises
        ------
        ServiceError
            The broker is away, or a topic has another number of partitions than the settings say.
        """
        names = [*(topic for topic, _ in self._routes), self._trust_topic]
        topics.ensure_topics(names, self._kafka)
        self._tails = read_tails(names, session, self._kafka)
        self._watermark = 0
        self._held.clear()
        partitions = range(self._kafka.tick_partitions)
        keys = [(topic, partition) for topic, _ in self._routes for partition in partitions]
        self._sent_ns, self._told = dict.fromkeys(keys, 0), dict.fromkeys(keys, 0)
        if self._producer is None:
            self._failure = None
            self._watch = BrokerWatch(self._kafka, self._clock)
            self._producer = Producer(self._configuration())
        return {
            f"{topic}/{partition}": tail.last_seq
            for (topic, partition), tail in self._tails.items()
            if tail.last_seq
        }

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        """Publish a block, and a heartbeat where a partition was quiet for ``heartbeat_ms``; where there are
        ticks already after ``quiet_ms``, if it has not heard of this watermark.

        Blocks while the queue is full, so while the broker is away.

        Raises
        ------
        ServiceError
            The broker refused a record for good. A restart resumes behind what it has.
        ClientLostError
            The client has lost a broker that is there. :meth:`resume_after` begins with a new one.
        """
        before, watermark = self._watermark, max(self._watermark, watermark_ns)
        if len(block):
            self._publish_all(self._tick_topic, _TICK_TABLES, block, before, watermark)
            self._hold(block, before)
            self._publish_trust(block, watermark)
        self._watermark = watermark
        self._release(self._settings.book_linger_ms)
        self._heartbeats(block, watermark, last_seq)
        self._producer.poll(0)
        self._check()

    def flush(self) -> None:
        """Return when the broker has confirmed all; waits as long as it is away."""
        self._release(0)
        while self._producer is not None and self._producer.flush(1.0):
            self._check()
        self._check()

    def close(self) -> None:
        self.flush()
        self._producer = None

    def _configuration(self) -> dict[str, Any]:
        return {
            "bootstrap.servers": self._kafka.bootstrap,
            "enable.idempotence": True,  # with acks=all: order kept, nothing doubled by a retry
            "acks": "all",
            "message.timeout.ms": 0,  # never give a record up: the broker will be back
            "linger.ms": 0,  # records are batches already
            "queue.buffering.max.kbytes": QUEUE_KB_MAX,
            "queue.buffering.max.messages": QUEUE_RECORDS_MAX,
            "reconnect.backoff.max.ms": 1_000,
            "log_level": 2,
            **self._watch.configuration(),
        }

    def _shard_table(self, symbols: SymbolTable) -> NDArray[np.int64]:
        """Partition of each symbol's index; the table only grows."""
        if self._shards_of is not symbols:
            self._shards_of, self._shards = symbols, np.zeros(0, dtype=np.int64)
        if len(symbols) > self._shards.size:
            new = symbols.names[self._shards.size :]
            added = np.array(
                [topics.shard(name, self._kafka.tick_partitions) for name in new], dtype=np.int64
            )
            self._shards = np.concatenate([self._shards, added])
        return self._shards

    def _hold(self, block: EventBlock, before: int) -> None:
        """Keep a block's book deltas for :meth:`_release`."""
        if not len(block.deltas):
            return
        if self._held:
            last = self._held[-1]
            if last.session != block.session or last.symbols is not block.symbols:
                self._release(0)
        if not self._held:
            self._held_since_ns, self._held_behind = self._clock.monotonic_ns(), before
        self._held.append(block)

    def _release(self, linger_ms: float) -> None:
        """Publish what is held, if it is so old or enough for a batch."""
        if not self._held:
            return
        waited_ns = self._clock.monotonic_ns() - self._held_since_ns
        enough = sum(len(block.deltas) for block in self._held) >= self._settings.batch_events_max
        if waited_ns < linger_ms * NS_PER_MS and not enough:
            return
        last = self._held[-1]
        deltas = joined([block.deltas for block in self._held], DELTA_DTYPE)
        block = EventBlock(last.venue, last.session, last.symbols, deltas=deltas)
        self._publish_all(self._book_topic, _BOOK_TABLES, block, self._held_behind, self._watermark)
        self._held.clear()

    def _publish_all(
        self, topic: str, tables: tuple[str, ...], block: EventBlock, before: int, watermark: int
    ) -> None:
        """A block's events of some tables, each to its partition of the topic."""
        for partition, pieces in self._split(block, tables, self._shard_table(block.symbols)):
            self._publish(topic, partition, block, pieces, before, watermark)

    def _split(
        self, block: EventBlock, tables: tuple[str, ...], shards: NDArray[np.int64]
    ) -> list[tuple[int, Pieces]]:
        """Events of each partition; those without any are left out."""
        found: dict[int, Pieces] = {}
        kinds = block.kinds()
        for table in tables:
            records = kinds[table]
            if not len(records):
                continue
            of = shards[records["symbol"]]
            for partition, count in enumerate(np.bincount(of).tolist()):
                if count:
                    ours = records if count == len(records) else picked(records, of == partition)
                    found.setdefault(partition, {})[table] = ours
        return sorted(found.items())

    def _publish(
        self, topic: str, partition: int, block: EventBlock, pieces: Pieces, before: int, watermark: int
    ) -> None:
        """Cut between seqs into batches. Only the last one may carry the block's watermark: those
        before it are followed by events that are older."""
        tail = self._tails.get((topic, partition))
        total = sum(map(len, pieces.values()))
        if tail is not None and tail.last_seq:
            pieces = {
                table: picked(records, records["seq"] > tail.last_seq) for table, records in pieces.items()
            }
        left = sum(map(len, pieces.values()))
        if total > left:
            self._dropped[topic].inc(total - left)
        self._published[topic].inc(left)
        chunks = cut(pieces, self._settings.batch_events_max)
        for number, chunk in enumerate(chunks):
            seqs = [records["seq"] for records in chunk.values() if len(records)]
            self._send(
                topic,
                partition,
                int(min(seq[0] for seq in seqs)),
                int(max(seq[-1] for seq in seqs)),
                watermark if number == len(chunks) - 1 else before,
                EventBlock(
                    block.venue,
                    block.session,
                    block.symbols,
                    **{FIELD_OF_TABLE.get(table, table): records for table, records in chunk.items()},
                ),
            )

    def _publish_trust(self, block: EventBlock, watermark: int) -> None:
        """Changes of trust, a record each: what has the key of an older one takes its place.

        A day that is over, loaded again, must not take the place of a later day's states.
        """
        for at in range(len(block.trust)):
            row = block.trust[at : at + 1]
            symbol, seq = block.symbols.names[row["symbol"][0]], int(row["seq"][0])
            partition = topics.shard(symbol, self._kafka.tick_partitions)
            tail = self._tails.get((self._trust_topic, partition))
            if tail is not None and (seq <= tail.last_seq or seq // SEQ_PER_DAY < tail.day):
                continue
            one = EventBlock(block.venue, block.session, block.symbols, trust=row)
            raw = trust_codec.encode(TickBatch(partition, seq, seq, watermark, one))
            self._produce(self._trust_topic, partition, raw, f"{block.venue} {symbol}".encode())

    def _heartbeats(self, block: EventBlock, watermark: int, last_seq: int) -> None:
        now_ns = self._clock.monotonic_ns()
        due_ns = now_ns - self._settings.heartbeat_ms * NS_PER_MS
        quiet_ns = now_ns - self._settings.quiet_ms * NS_PER_MS
        for key, sent_ns in list(self._sent_ns.items()):
            untold = key[0] == self._tick_topic and self._told[key] < watermark
            if sent_ns > (quiet_ns if untold else due_ns) or not watermark:
                continue
            if self._held and key[0] == self._book_topic:
                continue  # it would say that the events which are held have gone out
            tail = self._tails.get(key)
            passed = max(last_seq, tail.last_seq if tail else 0)
            nothing = EventBlock(block.venue, block.session, block.symbols)
            self._send(*key, passed, passed, watermark, nothing)

    def _send(
        self, topic: str, partition: int, first_seq: int, last_seq: int, watermark: int, block: EventBlock
    ) -> None:
        tail = self._tails.get((topic, partition))
        watermark = max(watermark, tail.watermark if tail else 0)  # it never goes back, over restarts too
        raw = self.encode(TickBatch(partition, first_seq, last_seq, watermark, block))
        self._sent_ns[(topic, partition)] = self._clock.monotonic_ns()
        self._told[(topic, partition)] = watermark
        self._produce(topic, partition, raw)

    def _produce(self, topic: str, partition: int, raw: bytes, key: bytes | None = None) -> None:
        while True:
            try:
                self._producer.produce(topic, raw, key, partition, self._delivered)
                return
            except BufferError:  # the queue is full: wait for the broker
                self._producer.poll(0.1)
                self._check()
            except KafkaException as error:
                raise ServiceError(
                    f"Kafka at {self._kafka.bootstrap} does not take a record of {len(raw)} bytes on {topic} "
                    f"({error}); a smaller batch_events_max makes smaller records"
                ) from error

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None and self._failure is None:
            self._failure = error

    def _check(self) -> None:
        if self._failure is not None:
            raise ServiceError(
                f"Kafka at {self._kafka.bootstrap} refused a record ({self._failure}); "
                "see the broker's log; a restart of the ingester resumes behind what the broker has"
            )
        if self._producer is not None and self._watch.lost():
            # it has no connection, so nothing of it is on the way; what it held is in the capture
            self._producer.purge()
            self._producer = None
            raise ClientLostError(
                f"the client has lost Kafka at {self._kafka.bootstrap}, which answers others"
            )


def cut(pieces: Pieces, events_max: int) -> list[Pieces]:
    """Cut one partition's events, each kind in seq order, into batches of about ``events_max``.

    The events of one seq are never in two batches; a batch exceeds the limit only by them.
    """
    pieces = {table: records for table, records in pieces.items() if len(records)}
    total = sum(len(records) for records in pieces.values())
    if total == 0:
        return []
    if total <= events_max:
        return [pieces]
    seqs = np.sort(np.concatenate([records["seq"] for records in pieces.values()]))
    bounds = np.unique(seqs[events_max::events_max])
    chunks: list[Pieces] = [{} for _ in range(bounds.size + 1)]
    for table, records in pieces.items():
        stops = [0, *np.searchsorted(records["seq"], bounds, side="left").tolist(), len(records)]
        for chunk, start, stop in zip(chunks, stops[:-1], stops[1:], strict=True):
            if stop > start:
                chunk[table] = records[start:stop]
    return [chunk for chunk in chunks if chunk]
