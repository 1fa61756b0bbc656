"""Venues' best bids and offers to Kafka, ``ticks.VENUE``: a batch every few ms, of what has changed.

A quote is worth nothing once there is a newer one, so while the broker is away nothing is kept but the
newest: what could not be handed to the client is told again as soon as it can be.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import structlog
from confluent_kafka import KafkaException, Producer

from execution.exchange.market import Markets
from execution.exchange.orders import Outcome
from execution.exchange.quotes import QuoteWriter
from tickloom import topics
from tickloom.broker_watch import BrokerWatch
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock
from tickloom.codec import TickBatch, encode
from tickloom.settings import KafkaSettings

LINGER_S = 0.002  # as long as an ingester waits for more
HEARTBEAT_NS = 200 * NS_PER_MS  # as often as an ingester, so that a feed's age means the same
FLUSH_S = 1.0
QUEUE_RECORDS_MAX = 2_000

_log = structlog.get_logger("exchange")


class QuotePublisher:
    """Of all quoted venues of one exchange; used on its event loop."""

    def __init__(
        self, markets: Markets, venues: tuple[str, ...], name: str, kafka: KafkaSettings, clock: Clock
    ) -> None:
        self._markets, self._clock, self._partitions = markets, clock, kafka.tick_partitions
        now_ns = clock.now_ns()
        self._writers = {
            venue: QuoteWriter(markets, venue, name, kafka.tick_partitions, now_ns) for venue in venues
        }
        self._changed: dict[str, dict[str, None]] = {venue: {} for venue in venues}
        self._sent_ns = {(venue, shard): 0 for venue in venues for shard in range(self._partitions)}
        self._kafka = kafka
        self._watch, self._producer = self._connect()
        self._task: asyncio.Task[None] | None = None
        self._due = asyncio.Event()

    def _connect(self) -> tuple[BrokerWatch, Any]:
        watch = BrokerWatch(self._kafka, self._clock)
        producer = Producer(
            {
                "bootstrap.servers": self._kafka.bootstrap,
                "acks": 1,
                "linger.ms": 0,
                "message.timeout.ms": 5_000,  # older ones are of no use to anybody
                "queue.buffering.max.messages": QUEUE_RECORDS_MAX,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 0,
                **watch.configuration(),
            }
        )
        return watch, producer

    def start(self) -> None:
        """Tell the books as they are, and from then on what changes."""
        self._tell_all()
        self._task = asyncio.create_task(self._run(), name="quotes")

    def _tell_all(self) -> None:
        for venue, writer in self._writers.items():
            self._send(venue, writer.begin(self._clock.now_ns()))

    def on_changed(self, outcome: Outcome, changed: set[tuple[str, str]]) -> None:
        """Books that the feed has moved, and orders that were entered, filled or taken out."""
        found = {(order.venue, order.symbol) for order in outcome.orders.values()}
        for venue, symbol in changed | found:
            waiting = self._changed.get(venue)
            if waiting is not None:
                waiting[symbol] = None
                self._due.set()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self._producer.flush, FLUSH_S)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_NS / NS_PER_S / 2):
                    await self._due.wait()
            await asyncio.sleep(LINGER_S)
            self._due.clear()
            self._publish()
            self._producer.poll(0)
            if self._watch.lost():
                _log.warning("client_lost", advice="quotes go on with a new one")
                self._producer.purge()
                self._watch, self._producer = self._connect()
                self._tell_all()

    def _publish(self) -> None:
        now_ns = self._clock.now_ns()
        for venue, writer in self._writers.items():
            symbols, self._changed[venue] = self._changed[venue], {}
            if symbols:
                self._send(venue, writer.step(symbols, now_ns))
            monotonic_ns = self._clock.monotonic_ns()
            quiet = [
                writer.heartbeat(shard, now_ns)
                for shard in range(self._partitions)
                if monotonic_ns - self._sent_ns[(venue, shard)] > HEARTBEAT_NS
            ]
            self._send(venue, quiet)

    def _send(self, venue: str, batches: list[TickBatch]) -> None:
        for batch in batches:
            try:
                self._producer.produce(topics.ticks(venue), encode(batch), partition=batch.shard)
            except (BufferError, KafkaException) as error:  # the broker is away
                _log.warning("quotes_not_sent", venue=venue, error=str(error))
                self._writers[venue].forget(batch)
                for rows in (batch.block.quotes, batch.block.statuses):
                    for row in rows:
                        self._changed[venue][batch.block.symbols.names[row["symbol"]]] = None
            self._sent_ns[(venue, batch.shard)] = self._clock.monotonic_ns()
