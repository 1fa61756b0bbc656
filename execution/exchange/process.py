"""The exchange as a process: settings in, running until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import structlog

from execution.exchange.matching import MatchingEngine
from execution.exchange.record import ExchangeRecord
from execution.exchange.server import ExchangeServer
from execution.feed import FeedFollower
from tickloom import topics
from tickloom.clock import SystemClock
from tickloom.codec import TickBatch
from tickloom.errors import ServiceError
from tickloom.instruments import Registry
from tickloom.settings import ExchangeSettings, KafkaSettings
from tickloom.telemetry import start_metrics

WATCH_S = 0.2

_log = structlog.get_logger("exchange")


def record_path(data_dir: Path) -> Path:
    """Where the exchange keeps its record."""
    return data_dir / "exchange" / "exchange.db"


async def run(settings: ExchangeSettings, kafka: KafkaSettings, data_dir: Path) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    TickloomError
        The port is taken, the record cannot be written, the feed cannot be followed.
    """
    names = [name for venue in settings.venues for name in (topics.ticks(venue), topics.book(venue))]
    await asyncio.to_thread(topics.ensure_topics, names, kafka)
    record = ExchangeRecord(record_path(data_dir))
    engine = MatchingEngine(Registry.load(), record.orders(), record.execution_count())
    server = ExchangeServer(engine, record, SystemClock(), settings.latency_ms / 1e3)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def on_batches(batches: list[tuple[TickBatch, int]]) -> None:
        # waits for the loop to take them, so that the feed never runs ahead of it
        asyncio.run_coroutine_threadsafe(server.on_batches(batches), loop).result()

    feed = FeedFollower(kafka, names, None, on_batches)
    feed.start()
    try:
        while not (stop.is_set() or feed.caught_up.is_set() or feed.failure):
            await asyncio.sleep(WATCH_S)
        if stop.is_set():
            return
        server.go_live()
        port = await server.start(settings.host, settings.port)
        start_metrics(settings.metrics_port)
        _log.info("exchange_ready", port=port, venues=list(settings.venues), session=record.session)
        while not stop.is_set():
            if feed.failure is not None:
                raise ServiceError(f"the feed cannot be followed: {feed.failure}") from feed.failure
            if server.failed.done():
                server.failed.result()
            await asyncio.sleep(WATCH_S)
    finally:
        await server.close()
        await asyncio.to_thread(feed.close)
        record.close()
    _log.info("exchange_stopped")
