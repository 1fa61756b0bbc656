"""The exchange as a process: settings in, running until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import structlog

from execution.exchange.instance import Instance, InstanceSettings
from execution.exchange.matching import MatchingEngine
from execution.exchange.quote_publisher import QuotePublisher
from execution.exchange.record import ExchangeRecord
from execution.exchange.server import ExchangeServer
from execution.feed import FeedFollower
from tickloom import topics
from tickloom.clock import SystemClock
from tickloom.codec import TickBatch
from tickloom.errors import ServiceError
from tickloom.instruments import Registry
from tickloom.records import replace
from tickloom.settings import ExchangeSettings, KafkaSettings
from tickloom.stack import opened
from tickloom.stack.ports import free_ports
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
    port: int | None = None,
    metrics_port: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    name : str
        Of this instance: several may run at once, each with its record and its ports.
    venues_file : Path, optional
        Its venues and ports (:class:`InstanceSettings`); without one it has those of the settings,
        plain, and speaks its own protocol only.
    port, metrics_port : int, optional
        If not what the file says, or without one the settings.

    Raises
    ------
    TickloomError
        The port is taken, the record cannot be written, the feed cannot be followed.
    """
    venues = _instance_settings(settings, venues_file, port, metrics_port)
    feeds = venues.feeds() or settings.venues
    names = [topic for feed in feeds for topic in (topics.ticks(feed), topics.book(feed))]
    own = [topics.ticks(venue) for venue in venues.quoted]
    await asyncio.to_thread(topics.ensure_topics, [*names, *own], kafka)
    record, registry, clock = ExchangeRecord(record_path(data_dir, name)), Registry.load(), SystemClock()
    engine = MatchingEngine(
        registry, record.orders(), record.execution_count(), venues.profiles, record.executions()
    )
    server = ExchangeServer(engine, record, clock, settings.latency_ms / 1e3)
    quotes = QuotePublisher(engine.markets, venues.quoted, name, kafka, clock) if venues.quoted else None

    def again(key: str, number: int) -> int:
        return opened.again(data_dir, name, key, number)

    instance = Instance(venues, server, record, registry, clock, quotes, again)
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
        if venues.port is not None:
            instance.opened["port"] = await server.start(settings.host, again("port", venues.port))
        await instance.start(settings.host)
        instance.opened["metrics"] = _start_metrics(venues.metrics_port, again)
        opened.write(data_dir, name, instance.opened)
        listed = list(venues.profiles or settings.venues)
        _log.info("exchange_ready", name=name, venues=listed, session=record.session)
        await _watch(stop, feed, server)
    finally:
        await server.close()
        await instance.close()
        await asyncio.to_thread(feed.close)
        record.close()
    _log.info("exchange_stopped")


def _instance_settings(
    settings: ExchangeSettings, venues_file: Path | None, port: int | None, metrics_port: int | None
) -> InstanceSettings:
    """The file's, or those of the settings; what is given goes before both."""
    if venues_file is None:
        found = InstanceSettings(port=settings.port, metrics_port=settings.metrics_port or None)
    else:
        found = InstanceSettings.load(venues_file)
        found = found.any_port() if settings.free_ports else found
    return replace(
        found,
        port=found.port if port is None else port,
        metrics_port=found.metrics_port if metrics_port is None else metrics_port,
    )


def _start_metrics(port: int | None, again: Callable[[str, int], int]) -> int:
    """Serve them, on a free port where it is 0; None: nowhere."""
    if port is None:
        return 0
    port = again("metrics", port) or free_ports(1)[0]
    start_metrics(port)
    return port


async def _watch(stop: asyncio.Event, feed: FeedFollower, server: ExchangeServer) -> None:
    """Until it is told to stop, or cannot go on."""
    while not stop.is_set():
        if feed.failure is not None:
            raise ServiceError(f"the feed cannot be followed: {feed.failure}") from feed.failure
        if server.failed.done():
            server.failed.result()
        await asyncio.sleep(WATCH_S)
