"""Sockets of a venue that streams its own snapshots in, capture records out: Kraken, OKX, Coinbase, Bybit.

The connection and the capture are :mod:`.feed`'s, what to say to the venue is its :class:`VenueProtocol`'s.
Beside them: pings as the venue wants them, and books that are not there, or are lost, subscribed anew, one
by one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog
from prometheus_client import Counter
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ingest.capture import CaptureBatch, CaptureWriter, RecordKind
from ingest.feeds import decoder_for
from ingest.pipeline import SinksFactory
from ingest.websocket.book import LevelBooks
from ingest.websocket.checksum import Checksum, top_checksum
from ingest.websocket.connection import ResubscribePlanner
from ingest.websocket.decoder import StreamDecoder
from ingest.websocket.feed import CHECK_S, Link, WebsocketFeed, links_of, run_session, venue_symbols
from ingest.websocket.links import control
from ingest.websocket.numbers import SEQS_PER_RECORD
from ingest.websocket.streamed import FeedState
from tickloom.clock import Clock, SystemClock
from tickloom.errors import CaptureError, SettingsError
from tickloom.events import SEQ_PER_DAY
from tickloom.instruments import Registry
from tickloom.settings import StreamSettings

RECORDS_MAX = SEQ_PER_DAY // SEQS_PER_RECORD - 10_000_000  # what is left is for messages of very many trades

RESUBSCRIBED = Counter("tickloom_ingest_resubscribed", "Books asked for again by themselves", ["venue"])


class VenueProtocol(Protocol):
    """What to say to a venue.

    Attributes
    ----------
    instruments_max : int
        How many one connection may follow.
    ping : str
        What it answers whenever it is alive; empty: it sends heartbeats by itself.
    """

    instruments_max: int
    ping: str

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Messages that ask for trades, quotes and books of instruments (venue's names)."""
        ...

    def resubscribe(self, symbol: str) -> list[str]:
        """Messages that let go of one book and ask for it again: a snapshot follows."""
        ...


@dataclass(frozen=True, slots=True)
class _Venue:
    settings: StreamSettings
    protocol: VenueProtocol
    links: list[Link]


def run_stream(
    settings: StreamSettings,
    protocol: VenueProtocol,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock | None = None,
) -> None:
    """Capture a session of a venue and feed the sinks until ``stop`` is set.

    Raises
    ------
    SettingsError
        An instrument that the registry does not have.
    CaptureError
        The capture cannot be written.
    """
    clock = clock or SystemClock()
    registry = Registry.load()
    symbols = venue_symbols(settings, registry)
    venue = _Venue(settings, protocol, links_of(symbols, settings.connections, protocol.instruments_max))
    log = structlog.get_logger(type(settings).section)
    warm_up(settings.venue, registry)

    def make_feed(writer: CaptureWriter, session: str) -> StreamFeed:
        return StreamFeed(venue, writer, session, registry, clock, log)

    run_session(settings, registry, sinks_factory, stop, clock, make_feed, log)


def stream_decoder(venue: str, session: str, registry: Registry | None = None) -> StreamDecoder:
    """The decoder of a venue that streams its own snapshots.

    Raises
    ------
    SettingsError
        The venue's feed is another.
    """
    decoder = decoder_for(venue, session, registry)
    if not isinstance(decoder, StreamDecoder):
        raise SettingsError(f"venue {venue} does not stream its own snapshots; use the ingester of its feed")
    return decoder


def warm_up(venue: str, registry: Registry | None = None) -> None:
    """Compile, or load from the cache, all that a decoder runs, before a socket has to wait for it."""
    decoder = stream_decoder(venue, "20000101", registry)
    records = [(int(RecordKind.CONTROL), 1, control("open")), (int(RecordKind.DATA), 1, b"{}")]
    decoder.decode(CaptureBatch.of(records))
    state = FeedState(1)
    one = np.ones(1, dtype=np.int64)
    state.books.apply(0, np.ones(1, dtype=np.int8), one, one)
    state.books.difference(0, LevelBooks(1), 0)
    state.books.best(0)
    books = state.books
    top_checksum(
        int(Checksum.KRAKEN),
        books.keys[0],
        books.sizes[0],
        books.counts[0],
        one[0],
        one[0],
        state.kept,
    )


class StreamFeed(WebsocketFeed):
    """Keeps connections up, captures what they bring, and sees to it that every book is there."""

    def __init__(
        self,
        venue: _Venue,
        writer: CaptureWriter,
        session: str,
        registry: Registry,
        clock: Clock,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._books = stream_decoder(venue.settings.venue, session, registry)
        super().__init__(venue.settings, self._books, writer, clock, log, venue.links)
        self._venue = venue
        self._link_of = {symbol: link for link in venue.links for symbol in link.symbols}
        settings = venue.settings
        self._planner = ResubscribePlanner(
            settings.snapshot_ms_max, settings.reconnect_ms, settings.reconnect_ms_max
        )

    async def opened(self, client: ClientConnection, link: Link) -> None:
        """Subscribe, and look after books and pings as long as the connection lasts."""
        self._planner.subscribed(link.symbols, self.clock.monotonic_ns())
        for message in self._venue.protocol.subscribe(link.symbols):
            await client.send(message)
        self.start(self._look_after(client))
        if self._venue.protocol.ping:
            self.start(self._ping(client))

    def decoded(self) -> None:
        """Subscribe anew, by themselves, the books that are lost."""
        if self.writer.next_number > RECORDS_MAX:
            raise CaptureError(
                f"the session has {RECORDS_MAX:,} records, and its numbers are used up; restart the ingester "
                "with a later session_date"
            )
        unsynced = [name for name in self._books.unsynced if name in self._link_of]
        for symbol in self._planner.due(unsynced, self.clock.monotonic_ns()):
            RESUBSCRIBED.labels(self._venue.settings.venue).inc()
            self.log.warning("book.resubscribed", symbol=symbol)
            client = self._link_of[symbol].client
            if client is not None:
                self.start(_send(client, self._venue.protocol.resubscribe(symbol)))

    async def _look_after(self, client: ClientConnection) -> None:
        """A book that never came makes no message, so the clock has to ask."""
        while client.close_code is None:
            await asyncio.sleep(min(CHECK_S, self._venue.settings.snapshot_ms_max / 1_000))
            try:
                self.decoded()
            except BaseException as error:
                self.failure = error
                raise

    async def _ping(self, client: ClientConnection) -> None:
        while client.close_code is None:
            await asyncio.sleep(self._venue.settings.ping_ms / 1_000)
            await _send(client, [self._venue.protocol.ping])


async def _send(client: ClientConnection, messages: Sequence[str]) -> None:
    """Say something; a connection that is gone is seen by who reads it."""
    try:
        for message in messages:
            await client.send(message)
    except ConnectionClosed:
        return
