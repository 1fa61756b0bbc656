"""Connections to a venue's websocket, kept up, and all that they bring in the capture.

Everything goes to the capture first: messages, and what happened to the connection. The sinks follow the
capture (:mod:`ingest.pipeline`). A decoder of the feed's own reads what is captured, the same code as the
sinks', so a book that they will find lost is a book that the feed does something about
(:meth:`WebsocketFeed.decoded`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
import structlog
from prometheus_client import Counter as Metric
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from ingest import metrics
from ingest.capture import CaptureBatch, CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.clock_records import ClockRecords
from ingest.feeds import decoder_for
from ingest.pipeline import CapturePublisher, SinksFactory
from ingest.websocket.connection import Backoff, SilenceWatch, is_end
from ingest.websocket.links import CONTROL_CLOSE, CONTROL_END, CONTROL_OPEN, control, read_control
from tickloom.clock import NS_PER_DAY, Clock
from tickloom.errors import SettingsError
from tickloom.events import EventBlock
from tickloom.instruments import Registry
from tickloom.settings import IngestSettings, StackSettings, WebsocketSettings
from tickloom.telemetry import start_metrics

MESSAGE_BYTES_MAX = 16 * 1024 * 1024  # a snapshot of a deep book, or an update after a pause of the venue
QUEUE_MESSAGES_MAX = 512  # read and not taken yet; beyond it the socket is left alone
PENDING_MESSAGES_MAX = 256  # taken and not captured yet
SILENCE_CHECK_S = 1.0  # a silent connection is seen so much later at most
CHECK_S = 0.1  # how soon a stop, a silent connection or a dead sink is seen
WORTH_A_LINE = (
    "malformed",
    "unknown_type",
    "refused_price",
    "crossed",
    "gap_messages",
    "snapshots_stale",
    "checksums_different",
    "declined",
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")

CONNECTIONS = Metric(
    "tickloom_ingest_connections", "Websocket connections, by how they ended", ["venue", "end"]
)


class Books(Protocol):
    """What a feed needs of a decoder."""

    counters: Counter[str]
    oddities: deque[str]

    def decode(self, batch: CaptureBatch) -> EventBlock: ...


def run_session(
    settings: WebsocketSettings,
    registry: Registry,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock,
    make_feed: Callable[[CaptureWriter, str], WebsocketFeed],
    log: structlog.stdlib.BoundLogger,
) -> None:
    """Capture a session and feed the sinks until ``stop`` is set.

    A session that the venue has ended stays open for the sinks: they go on with heartbeats, so that
    whoever reads them sees the end.

    Raises
    ------
    CaptureError
        The capture cannot be written.
    """
    session = session_name(settings, clock)
    path = session_path(StackSettings.load().data_dir, settings.venue, session)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request says no more than ours
    with CaptureWriter(path, settings.capture_segment_mb) as writer:
        publisher = CapturePublisher(
            path,
            lambda: decoder_for(settings.venue, session, registry),
            sinks_factory(),
            settings,
            writer.notification,
            clock,
        )
        publisher.start()
        start_metrics(settings.metrics_port)
        log.info("session.opened", venue=settings.venue, session=session, next_record=writer.next_number)
        try:
            feed = make_feed(writer, session)
            if has_ended(path):
                log.info("session.was_ended", session=session)
            else:
                asyncio.run(feed.follow(stop, publisher))
            while not stop.wait(CHECK_S):
                publisher.check()
        finally:
            writer.close()
            publisher.finish()


def venue_symbols(settings: WebsocketSettings, registry: Registry) -> list[str]:
    """The venue's names of the instruments to subscribe.

    Raises
    ------
    SettingsError
        Naming the instrument that does not fit, and what does.
    """
    section = type(settings).section
    known = registry.of_venue(settings.venue)
    found = []
    for name in settings.instruments:
        instrument = registry.instrument(settings.venue, name)
        if instrument is None:
            names = ", ".join(item.symbol for item in known) or "none"
            raise SettingsError(
                f"{section}.instruments: {name!r} is no instrument of {settings.venue}; known are {names}"
            )
        found.append(instrument.venue_symbol)
    if not found:
        raise SettingsError(f"{section}.instruments is empty; name at least one instrument")
    return found


def session_name(settings: IngestSettings, clock: Clock) -> str:
    """``YYYYMMDD`` of ``session_date``, or of today, UTC."""
    if settings.session_date:
        return settings.session_date.replace("-", "")
    days = clock.now_ns() // NS_PER_DAY
    return date.fromordinal(date(1970, 1, 1).toordinal() + days).strftime("%Y%m%d")


def has_ended(path: Path) -> bool:
    """Whether a capture says that the session is over, on all of its connections."""
    ended: set[int] = set()
    count = 1
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            for at in np.flatnonzero(batch.kinds == RecordKind.CONTROL).tolist():
                said = read_control(batch.payload(at))
                if said is not None and said.event == CONTROL_END:
                    count = said.of
                    ended.add(said.connection)
                elif said is not None:
                    ended.discard(said.connection)
    return len(ended) >= count


@dataclass(slots=True, eq=False)
class Link:
    """One connection of a session; number: from 0; symbols: venue's names of its instruments; heard: messages
    that it brought."""

    number: int
    symbols: list[str]
    client: ClientConnection | None = None
    heard: int = 0


def links_of(symbols: Sequence[str], connections: int, instruments_max: int) -> list[Link]:
    """Instruments shared out among connections, as many as are wanted and as their number needs.

    Parameters
    ----------
    connections : int
        At least so many, if there are instruments for all.
    instruments_max : int
        How many one may follow.
    """
    count = min(len(symbols), max(connections, -(-len(symbols) // instruments_max)))
    return [Link(number, list(symbols[number::count])) for number in range(count)]


class WebsocketFeed:
    """Keeps connections up and captures what they bring.

    Parameters
    ----------
    settings : WebsocketSettings
    books : Books
        Decoder of what is captured.
    writer : CaptureWriter
    clock : Clock
    log : logger
        Of the venue's session.
    links : list of Link
        Its connections; what is read of all goes to one capture, in the order in which it came.
    """

    def __init__(
        self,
        settings: WebsocketSettings,
        books: Books,
        writer: CaptureWriter,
        clock: Clock,
        log: structlog.stdlib.BoundLogger,
        links: list[Link],
    ) -> None:
        self.writer, self.clock, self.log, self.links = writer, clock, log, links
        self._settings, self._decoder = settings, books
        self._opened = False  # any connection, of this process
        self._clock_records = ClockRecords(writer, settings, clock)
        self._pending: list[bytes] = []
        self._pending_ts: list[int] = []
        self._flush_due = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None  # of a callback that nobody awaits; the keeper raises it

    # what is a venue's own

    def address(self, link: Link) -> str:
        """Where to connect."""
        return self._settings.websocket_url

    async def opened(self, client: ClientConnection, link: Link) -> None:
        """A connection is open, and its opening is captured: subscribe, if the venue wants that."""

    def chosen(self, messages: Sequence[bytes]) -> Sequence[int]:
        """Which of some messages the feed's own decoder has to see: those that concern the books."""
        return range(len(messages))

    def decoded(self) -> None:
        """The decoder has read more: see what its books want."""

    # the connection

    async def follow(self, stop: threading.Event, publisher: CapturePublisher) -> None:
        """Connect, and connect again, until the venue ends the session or ``stop`` is set."""
        self._clock_records.open()
        keeper = asyncio.create_task(self._keep_watch(stop, publisher))
        followed = [asyncio.create_task(self._keep_up(link, keeper)) for link in self.links]
        try:
            await asyncio.wait(followed, return_when=asyncio.FIRST_EXCEPTION)
            for task in followed:
                if task.done():
                    task.result()
        finally:
            tasks = {keeper, *followed, *self._tasks}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if not keeper.cancelled():
                keeper.result()

    async def _keep_up(self, link: Link, keeper: asyncio.Task[None]) -> None:
        """One connection after the other, until the venue ends the session or the keeper its watch."""
        backoff = Backoff(self._settings.reconnect_ms, self._settings.reconnect_ms_max)
        while not keeper.done():
            heard = link.heard
            connection = asyncio.create_task(self._connection(link))
            try:
                await asyncio.wait({connection, keeper}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not connection.done():
                    connection.cancel()
                    await asyncio.wait({connection})
            self.flush()
            if not connection.cancelled() and connection.result():
                return
            if link.heard > heard:
                backoff.reset()
            if not keeper.done():
                delay_ms = backoff.next_ms()
                self.log.info(
                    "connection.retry",
                    connection=link.number,
                    attempt=backoff.failures,
                    delay_ms=round(delay_ms),
                )
                await asyncio.wait({keeper}, timeout=delay_ms / 1_000)

    async def _keep_watch(self, stop: threading.Event, publisher: CapturePublisher) -> None:
        """Ends when ``stop`` is set; raises what ended a sink or the capture."""
        while not stop.is_set():
            await asyncio.sleep(CHECK_S)
            publisher.check()
            self._clock_records.keep()
            if self.failure is not None:
                raise self.failure

    async def _connection(self, link: Link) -> bool:
        """One connection, from opening to close; true where the venue ended the session."""
        settings = self._settings
        client = await self._connect(link)
        if client is None:
            return False
        link.client = client
        self.control(CONTROL_OPEN, link, url=settings.websocket_url)
        silence = asyncio.create_task(self._drop_when_silent(client, link))
        code, reason = 1006, "the ingester was stopped"
        try:
            await self.opened(client, link)
            await self._receive(client, link)
        except ConnectionClosed as closed:
            received = closed.rcvd
            code = received.code if received else 1006
            reason = received.reason if received else "the connection was lost"
        finally:
            silence.cancel()
            link.client = None
            client.transport.abort()  # what was asked of it was answered, or will never be
            self.flush()
            ended = is_end(code, reason)
            event = CONTROL_END if ended else CONTROL_CLOSE
            self.control(event, link, code=code, reason=reason)
            CONNECTIONS.labels(settings.venue, event).inc()
        return ended

    async def _connect(self, link: Link) -> ClientConnection | None:
        settings = self._settings
        loopback = urlsplit(settings.websocket_url).hostname in LOOPBACK
        try:
            return await connect(
                self.address(link),
                compression=None,
                max_size=MESSAGE_BYTES_MAX,
                max_queue=QUEUE_MESSAGES_MAX,
                close_timeout=1,
                proxy=None if loopback else True,
            )
        except (OSError, InvalidHandshake, TimeoutError, EOFError) as error:
            CONNECTIONS.labels(settings.venue, "refused").inc()
            self.log.warning("connection.refused", url=settings.websocket_url, error=str(error))
            return None
        except (InvalidURI, ValueError) as error:
            key = f"{type(settings).section}.websocket_url"
            raise SettingsError(f"{key} = {settings.websocket_url!r}: {error}") from None

    async def _receive(self, client: ClientConnection, link: Link) -> None:
        """Take messages until the connection closes.

        Messages that are there already are taken without a pause, and captured in one go when there are no
        more: the loop runs ``_flush_soon`` when ``recv`` has to wait.
        """
        loop = asyncio.get_running_loop()
        now_ns = self.clock.now_ns
        while True:
            message = await client.recv(decode=False)
            self._pending.append(message)
            self._pending_ts.append(now_ns())
            link.heard += 1
            if len(self._pending) >= PENDING_MESSAGES_MAX:
                self.flush()
            elif not self._flush_due:
                self._flush_due = True
                loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        try:
            self.flush()
        except BaseException as error:  # nobody awaits a callback: the keeper raises it
            self.failure = error

    def flush(self) -> None:
        """Capture what was taken, then see what the books want."""
        self._flush_due = False
        if not self._pending:
            return
        messages, times = self._pending, self._pending_ts
        self._pending, self._pending_ts = [], []
        self.writer.append_many(RecordKind.DATA, times, messages)
        metrics.RECEIVED.labels(self._settings.venue).inc(len(messages))
        metrics.RECEIVED_BYTES.labels(self._settings.venue).inc(sum(map(len, messages)))
        chosen = self.chosen(messages)
        if chosen:
            self.decode([(int(RecordKind.DATA), times[at], messages[at]) for at in chosen])
            self.decoded()

    def decode(self, records: list[tuple[int, int, bytes]]) -> None:
        """Keep the books, and say what is odd: the counters are for figures, a log line is for people."""
        counters = self._decoder.counters
        before = {name: counters[name] for name in WORTH_A_LINE}
        self._decoder.decode(CaptureBatch.of(records))
        odd = {name: counters[name] - count for name, count in before.items() if counters[name] > count}
        if odd:
            latest = list(self._decoder.oddities)
            self.log.warning("feed.odd", venue=self._settings.venue, **odd, latest=latest)
            self._decoder.oddities.clear()

    def control(self, event: str, link: Link, **details: str | int) -> None:
        """Capture what happened to a connection; an only one has all instruments, which need no saying."""
        share: dict[str, int | list[str]] = {}
        if len(self.links) > 1:
            share = {"connection": link.number, "of": len(self.links)}
            if event == CONTROL_OPEN:
                share |= {"symbols": link.symbols, "first": not self._opened}
        self._opened = True
        payload = control(event, **details, **share)
        ts_recv = self.clock.now_ns()
        self.writer.append(RecordKind.CONTROL, ts_recv, payload)
        self.decode([(RecordKind.CONTROL, ts_recv, payload)])
        self.log.info(f"connection.{event}", venue=self._settings.venue, connection=link.number, **details)

    async def _drop_when_silent(self, client: ClientConnection, link: Link) -> None:
        watch = SilenceWatch(self._settings.silence_ms_max, self.clock.monotonic_ns())
        heard = link.heard
        while left_s := watch.left_s(self.clock.monotonic_ns()):
            await asyncio.sleep(min(left_s, SILENCE_CHECK_S))
            if link.heard > heard:
                heard = link.heard
                watch.heard(self.clock.monotonic_ns())
        self.log.warning("connection.silent", silence_ms=self._settings.silence_ms_max)
        client.transport.abort()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside the connection, at most until the feed ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
