"""Spread batches off Kafka in, durable rows in QuestDB out: `tickloom pairs record`.

A consumer group keeps the place. Offsets are committed when QuestDB has acknowledged the rows, so a
restart writes the last ones again, which DEDUP makes harmless.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException
from prometheus_client import Counter, Gauge

from storage.columns import SPREADS, to_frame
from storage.ilp import IlpSender
from storage.writer import ROWS
from tickloom import spread_codec, topics
from tickloom.broker_watch import BrokerWatch
from tickloom.clock import NS_PER_MS, Clock, SystemClock
from tickloom.errors import CodecError, ServiceError
from tickloom.events import SPREAD_DTYPE, EventBlock, SymbolTable
from tickloom.rows import joined
from tickloom.settings import KafkaSettings, QuestDbSettings

GROUP = "tickloom-spreads"
POLL_S = 0.1
RECORDS_MAX = 500  # a poll; some 20,000 rows live, more of a backlog
ROWS_MAX = 50_000  # a request

REFUSED = Counter("tickloom_spreads_refused", "Records that are no batch of spreads.")
DELAY = Gauge("tickloom_spreads_delay_seconds", "Age of the last record when its rows were stored.")

log = structlog.get_logger(__name__)


class QuestDbSpreads:
    """Writes spreads; the same ones again change nothing. Not for several threads at once."""

    def __init__(self, settings: QuestDbSettings, stop: threading.Event | None = None) -> None:
        self._sender = IlpSender(settings, stop)

    def write(self, blocks: Sequence[EventBlock]) -> int:
        """Return how many rows there are when all are acknowledged; waits while QuestDB is away.

        Raises
        ------
        StorageError
            QuestDB refuses them.
        ServiceError
            It is away and ``stop`` was set.
        """
        rows = 0
        for block in _joined(blocks):
            for start in range(0, len(block.spreads), ROWS_MAX):
                records = block.spreads[start : start + ROWS_MAX]
                frame = to_frame(SPREADS, records, block.venue, block.session, block.symbols)

                def fill(buffer: Any, frame: Any = frame) -> None:
                    names = SPREADS.symbol_columns
                    buffer.dataframe(frame, table_name=SPREADS.table, symbols=names, at="ts")

                self._sender.send(SPREADS.table, fill, len(records))
                rows += len(records)
        ROWS.labels(SPREADS.table).inc(rows)
        return rows

    def close(self) -> None:
        """Let go of the connection."""
        self._sender.close()


def record(
    venues: Sequence[str],
    kafka: KafkaSettings,
    questdb: QuestDbSettings,
    stop: threading.Event,
    *,
    ready: Callable[[], None] = lambda: None,
    clock: Clock | None = None,
) -> int:
    """Write what comes on the venues' spreads topics, until ``stop`` is set. Returns the rows.

    Raises
    ------
    ServiceError
        Kafka does not answer at the start. Later both servers are waited for.
    StorageError
        QuestDB refuses rows: the schema is not applied.
    """
    clock = clock or SystemClock()
    names = [topics.spreads(venue) for venue in venues]
    topics.ensure_topics(names, kafka)
    watch, consumer = _subscribe(names, kafka, clock)
    writer, symbols, rows = QuestDbSpreads(questdb, stop), SymbolTable(), 0
    ready()
    try:
        while not stop.is_set():
            if watch.lost():
                log.warning(
                    "spreads.client_lost", advice="it goes on with a new one, behind what is committed"
                )
                consumer.close()
                watch, consumer = _subscribe(names, kafka, clock)
            messages = [one for one in consumer.consume(RECORDS_MAX, POLL_S) if one.error() is None]
            if messages:
                rows += writer.write(_decoded(messages, symbols))
                _commit(consumer)
                DELAY.set((clock.now_ns() - messages[-1].timestamp()[1] * NS_PER_MS) / 1e9)
    except ServiceError:
        if not stop.is_set():
            raise
    finally:
        consumer.close()
        writer.close()
    return rows


def _subscribe(names: list[str], kafka: KafkaSettings, clock: Clock) -> tuple[BrokerWatch, Any]:
    watch = BrokerWatch(kafka, clock)
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": GROUP,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 0,
            **watch.configuration(),
        }
    )
    consumer.subscribe(names)
    return watch, consumer


def _decoded(messages: Sequence[Any], symbols: SymbolTable) -> list[EventBlock]:
    blocks = []
    for message in messages:
        try:
            batch = spread_codec.decode(message.value() or b"", symbols)
        except CodecError as error:
            REFUSED.inc()
            place = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
            log.error("spreads.refused", error=str(error), **place)
            continue
        if len(batch.block):
            blocks.append(batch.block)
    return blocks


def _commit(consumer: Any) -> None:
    """A commit that fails is made up for by the next; at worst rows are written again."""
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as error:
        log.warning("spreads.not_committed", error=str(error))


def _joined(blocks: Sequence[EventBlock]) -> list[EventBlock]:
    """Blocks of a venue and session as one: few requests, each with many rows."""
    found: dict[tuple[str, str, int], list[EventBlock]] = {}
    for block in blocks:
        found.setdefault((block.venue, block.session, id(block.symbols)), []).append(block)
    return [
        EventBlock(
            venue, session, own[0].symbols, spreads=joined([block.spreads for block in own], SPREAD_DTYPE)
        )
        for (venue, session, _), own in found.items()
    ]
