"""Binance's sockets in, capture records out: one process, one venue.

The connection and the capture are :mod:`ingest.websocket.feed`'s. Here is what Binance has of its own:
streams are named in the address, and a book begins with an order book asked for by REST, which is captured
like all else. What to do is decided by :mod:`.protocol` and by a decoder that is fed with the depth
updates.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx
import structlog
from prometheus_client import Counter

from ingest.capture import CaptureWriter, RecordKind
from ingest.pipeline import CapturePublisher, SinksFactory
from ingest.websocket import feed
from ingest.websocket.binance import protocol
from ingest.websocket.binance.decoder import BinanceDecoder, warm_up
from ingest.websocket.binance.messages import market_of, snapshot_payload
from ingest.websocket.feed import LOOPBACK, Link, WebsocketFeed, has_ended, links_of, run_session
from tickloom.clock import Clock, SystemClock
from tickloom.errors import SettingsError
from tickloom.instruments import Registry
from tickloom.settings import BinanceSettings

__all__ = ["BinanceFeed", "has_ended", "run", "venue_symbols"]

SNAPSHOT_BYTES_MAX = 16 * 1024 * 1024  # 5,000 levels a side are 300 KB
HTTP_TIMEOUT_S = 10.0
_DEPTH_MARK = b"@depth"
_HEAD, _TAIL = b'{"stream":"', b"}}"  # of what the venue sends; anything else is looked at here, too

SNAPSHOTS = Counter("tickloom_ingest_snapshots", "REST order books asked for", ["venue", "outcome"])

log = structlog.get_logger("binance")


def run(
    settings: BinanceSettings,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock | None = None,
) -> None:
    """Capture a session and feed the sinks until ``stop`` is set.

    Raises
    ------
    SettingsError
        An instrument that the registry does not have, or a market that is not the venue's.
    CaptureError
        The capture cannot be written.
    """
    clock = clock or SystemClock()
    registry = Registry.load()
    symbols = venue_symbols(settings, registry)
    warm_up(settings.venue, registry)

    def make_feed(writer: CaptureWriter, session: str) -> BinanceFeed:
        return BinanceFeed(settings, symbols, writer, session, registry, clock)

    run_session(settings, registry, sinks_factory, stop, clock, make_feed, log)


def venue_symbols(settings: BinanceSettings, registry: Registry) -> list[str]:
    """The venue's names of the instruments to subscribe.

    Raises
    ------
    SettingsError
        Naming the instrument or the market that does not fit, and what does.
    """
    market = market_of(registry.of_venue(settings.venue))
    found = feed.venue_symbols(settings, registry)
    if market != settings.market:
        raise SettingsError(
            f"binance.market = {settings.market!r}, but the instruments of {settings.venue} are of "
            f"{market!r}; set one of binance.market and binance.venue to match the other"
        )
    return found


class BinanceFeed(WebsocketFeed):
    """Keeps connections up and captures what they bring, and the order books that it needs."""

    def __init__(
        self,
        settings: BinanceSettings,
        symbols: list[str],
        writer: CaptureWriter,
        session: str,
        registry: Registry,
        clock: Clock,
    ) -> None:
        self._books = BinanceDecoder(settings.venue, session, registry=registry)
        links = links_of(symbols, settings.connections, protocol.INSTRUMENTS_MAX)
        super().__init__(settings, self._books, writer, clock, log, links)
        self._binance = settings
        self._symbols = symbols
        self._planner = protocol.SnapshotPlanner(settings.reconnect_ms, settings.reconnect_ms_max)

    async def follow(self, stop: threading.Event, publisher: CapturePublisher) -> None:
        """Connect, and connect again, until the venue ends the session or ``stop`` is set."""
        loopback = urlsplit(self._binance.rest_url).hostname in LOOPBACK
        async with httpx.AsyncClient(timeout=HTTP_TIMEOUT_S, trust_env=not loopback) as self._http:
            await super().follow(stop, publisher)

    def address(self, link: Link) -> str:
        return protocol.stream_url(self._binance.websocket_url, link.symbols)

    def chosen(self, messages: Sequence[bytes]) -> Sequence[int]:
        return [
            at
            for at, message in enumerate(messages)
            if _DEPTH_MARK in message[:64] or not (message.startswith(_HEAD) and message.endswith(_TAIL))
        ]

    def decoded(self) -> None:
        """Ask for the order books that depth updates wait for."""
        for symbol in self._symbols:
            if self._books.is_synced(symbol):
                self._planner.synced(symbol)
        for symbol in self._planner.due(self._books.snapshots_wanted, self.clock.monotonic_ns()):
            self.start(self._fetch(symbol))

    async def _fetch(self, symbol: str) -> None:
        """Ask for an order book, and capture the answer as it came."""
        url = protocol.snapshot_url(self._binance.rest_url, self._binance.market, symbol)
        try:
            answer = await self._http.get(url)
            answer.raise_for_status()
            if len(answer.content) > SNAPSHOT_BYTES_MAX:
                raise httpx.HTTPError(f"{len(answer.content)} bytes are no order book")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            SNAPSHOTS.labels(self._binance.venue, "failed").inc()
            log.warning("snapshot.failed", symbol=symbol, error=f"{type(error).__name__} {error}")
            return
        finally:
            self._planner.done(symbol, self.clock.monotonic_ns())
        try:
            self.flush()  # the records stand in the order in which things came
            payload = snapshot_payload(symbol, answer.content)
            ts_recv = self.clock.now_ns()
            self.writer.append(RecordKind.SNAPSHOT, ts_recv, payload)
            self.decode([(RecordKind.SNAPSHOT, ts_recv, payload)])
        except BaseException as error:
            self.failure = error
            raise
        SNAPSHOTS.labels(self._binance.venue, "captured").inc()
        log.info("snapshot.captured", symbol=symbol, synced=self._books.is_synced(symbol))
        self.decoded()
