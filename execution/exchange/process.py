"""The exchange as a process: settings in, running until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import structlog

from execution.exchange.instance import Instance, InstanceSettings
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


def record_path(data_dir: Path, name: str = "exchange") -> Path:
    """Where the exchange of that name keeps its record."""
    return data_dir / "exchange" / f"{name}.db"


async def run(
    settings: ExchangeSettings,
    kafka: KafkaSettings,
    data_dir: Path,
    name: str = "exchange",
    venues_file: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    name : str
        Of this instance: several may run at once, each with its record and its ports.
    venues_file : Path, optional
        Its venues and ports (:class:`InstanceSettings`); without one it has those of the settings,
        plain, and speaks its own protocol only.

    Raises
    ------
    TickloomError
        The port is taken, the record cannot be written, the feed cannot be followed.
    """
    venues = InstanceSettings.load(venues_file) if venues_file is not None else InstanceSettings()
    feeds = venues.feeds() or settings.venues
    names = [topic for feed in feeds for topic in (topics.ticks(feed), topics.book(feed))]
    await asyncio.to_thread(topics.ensure_topics, names, kafka)
    record, registry, clock = ExchangeRecord(record_path(data_dir, name)), Registry.load(), SystemClock()
    engine = MatchingEngine(
        registry, record.orders(), record.execution_count(), venues.profiles, record.executions()
    )
    server = ExchangeServer(engine, record, clock, settings.latency_ms / 1e3)
    instance = Instance(venues, server, record, registry, clock)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
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
        await instance.start(settings.host)
        start_metrics(settings.metrics_port)
        listed = list(venues.profiles or settings.venues)
        _log.info("exchange_ready", name=name, port=port, venues=listed, session=record.session)
        await _watch(stop, feed, server)
    finally:
        await server.close()
        await instance.close()
        await asyncio.to_thread(feed.close)
        record.close()
    _log.info("exchange_stopped")


async def _watch(stop: asyncio.Event, feed: FeedFollower, server: ExchangeServer) -> None:
    """Until it is told to stop, or cannot go on."""
    while not stop.is_set():
        if feed.failure is not None:
            raise ServiceError(f"the feed cannot be followed: {feed.failure}") from feed.failure
        if server.failed.done():
            server.failed.result()
        await asyncio.sleep(WATCH_S)
