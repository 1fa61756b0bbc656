"""Binance's sockets in, capture records out: one process, one venue, one connection at a time.

Everything goes to the capture first: messages, REST order books, and what happened to the connection. The
sinks follow the capture (:mod:`ingest.pipeline`). What to do is decided by :mod:`.protocol` and by a decoder
that this module feeds with the depth updates it captures: the same code as the sinks', so a book that they
will find lost is a book that gets a new snapshot here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog
from prometheus_client import Counter
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from ingest import metrics
from ingest.capture import CaptureBatch, CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.feeds import decoder_for
from ingest.pipeline import CapturePublisher, SinksFactory
from ingest.websocket.binance import protocol
from ingest.websocket.binance.decoder import BinanceDecoder, warm_up
from ingest.websocket.binance.messages import market_of, snapshot_payload
from tickloom.clock import NS_PER_DAY, Clock, SystemClock
from tickloom.errors import SettingsError
from tickloom.instruments import Registry
from tickloom.settings import BinanceSettings, StackSettings
from tickloom.telemetry import start_metrics

MESSAGE_BYTES_MAX = 16 * 1024 * 1024  # a depth update after a pause of the venue has had 100 KB
SNAPSHOT_BYTES_MAX = 16 * 1024 * 1024  # 5,000 levels a side are 300 KB
QUEUE_MESSAGES_MAX = 512  # read and not taken yet; beyond it the socket is left alone
PENDING_MESSAGES_MAX = 256  # taken and not captured yet
HTTP_TIMEOUT_S = 10.0
CHECK_S = 0.1  # how soon a stop, a silent connection or a dead sink is seen
_DEPTH_MARK = b"@depth"
_HEAD, _TAIL = b'{"stream":"', b"}}"  # of what the venue sends; anything else is looked at here, too
_WORTH_A_LINE = ("malformed", "unknown_type", "refused_price", "crossed", "gap_messages", "snapshots_stale")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

CONNECTIONS = Counter(
    "tickloom_ingest_connections", "Websocket connections, by how they ended", ["venue", "end"]
)
SNAPSHOTS = Counter("tickloom_ingest_snapshots", "REST order books asked for", ["venue", "outcome"])

log = structlog.get_logger("binance")


def run(
    settings: BinanceSettings,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock | None = None,
) -> None:
    """Capture a session and feed the sinks until ``stop`` is set.

    A session that the venue has ended stays open for the sinks: they go on with heartbeats, so that
    whoever reads them sees the end.

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
    session = session_name(settings, clock)
    path = session_path(StackSettings.load().data_dir, settings.venue, session)
    warm_up(settings.venue, registry)
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
            feed = BinanceFeed(settings, symbols, writer, session, registry, clock)
            if has_ended(path):
                log.info("session.was_ended", session=session)
            else:
                asyncio.run(feed.follow(stop, publisher))
            while not stop.wait(CHECK_S):
                publisher.check()
        finally:
            writer.close()
            publisher.finish()


def venue_symbols(settings: BinanceSettings, registry: Registry) -> list[str]:
    """The venue's names of the instruments to subscribe.

    Raises
    ------
    SettingsError
        Naming the instrument or the market that does not fit, and what does.
    """
    known = registry.of_venue(settings.venue)
    found = []
    for name in settings.instruments:
        instrument = registry.instrument(settings.venue, name)
        if instrument is None:
            names = ", ".join(item.symbol for item in known) or "none"
            raise SettingsError(
                f"binance.instruments: {name!r} is no instrument of {settings.venue}; known are {names}"
            )
        found.append(instrument.venue_symbol)
    if market_of(known) != settings.market:
        raise SettingsError(
            f"binance.market = {settings.market!r}, but the instruments of {settings.venue} are of "
            f"{market_of(known)!r}; set one of binance.market and binance.venue to match the other"
        )
    if not found:
        raise SettingsError("binance.instruments is empty; name at least one instrument")
    return found


def session_name(settings: BinanceSettings, clock: Clock) -> str:
    """``YYYYMMDD`` of ``session_date``, or of today, UTC."""
    if settings.session_date:
        return settings.session_date.replace("-", "")
    days = clock.now_ns() // NS_PER_DAY
    return date.fromordinal(date(1970, 1, 1).toordinal() + days).strftime("%Y%m%d")


def has_ended(path: Any) -> bool:
    """Whether the last record of a capture says that the session is over."""
    last: CaptureBatch | None = None
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            last = batch
    if last is None or last.kinds[-1] != RecordKind.CONTROL:
        return False
    return protocol.control_event(last.payload(len(last) - 1)) == protocol.CONTROL_END


class BinanceFeed:
    """Keeps one connection up and captures what it brings."""

    def __init__(
        self,
        settings: BinanceSettings,
        symbols: list[str],
        writer: CaptureWriter,
        session: str,
        registry: Registry,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._symbols = symbols
        self._writer = writer
        self._clock = clock
        self._books = BinanceDecoder(settings.venue, session, registry=registry)
        self._watch = protocol.SilenceWatch(settings.silence_ms_max, clock.monotonic_ns())
        self._planner = protocol.SnapshotPlanner(settings.reconnect_ms, settings.reconnect_ms_max)
        self._pending: list[bytes] = []
        self._pending_ts: list[int] = []
        self._flush_due = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def follow(self, stop: threading.Event, publisher: CapturePublisher) -> None:
        """Connect, and connect again, until the venue ends the session or ``stop`` is set."""
        settings = self._settings
        backoff = protocol.Backoff(settings.reconnect_ms, settings.reconnect_ms_max)
        keeper = asyncio.create_task(self._keep_watch(stop, publisher))
        loopback = urlsplit(settings.rest_url).hostname in _LOOPBACK
        async with httpx.AsyncClient(timeout=HTTP_TIMEOUT_S, trust_env=not loopback) as self._http:
            try:
                while not keeper.done():
                    heard = self._writer.next_number
                    connection = asyncio.create_task(self._connection())
                    await asyncio.wait({connection, keeper}, return_when=asyncio.FIRST_COMPLETED)
                    if not connection.done():
                        connection.cancel()
                        await asyncio.wait({connection})
                    self._flush()
                    if not connection.cancelled() and connection.result():
                        return
                    if self._writer.next_number > heard + 2:  # more than that it opened and closed
                        backoff.reset()
                    if not keeper.done():
                        delay_ms = backoff.next_ms()
                        log.info("connection.retry", attempt=backoff.failures, delay_ms=round(delay_ms))
                        await asyncio.wait({keeper}, timeout=delay_ms / 1_000)
            finally:
                for task in self._tasks:
                    task.cancel()
                keeper.cancel()
                await asyncio.wait({keeper, *self._tasks})
                if not keeper.cancelled():
                    keeper.result()

    async def _keep_watch(self, stop: threading.Event, publisher: CapturePublisher) -> None:
        """Ends when ``stop`` is set; raises what ended a sink or the capture."""
        while not stop.is_set():
            await asyncio.sleep(CHECK_S)
            publisher.check()
            if self._failure is not None:
                raise self._failure

    async def _connection(self) -> bool:
        """One connection, from opening to close; true where the venue ended the session."""
        settings = self._settings
        loopback = urlsplit(settings.websocket_url).hostname in _LOOPBACK
        try:
            client = await connect(
                protocol.stream_url(settings.websocket_url, self._symbols),
                compression=None,
                max_size=MESSAGE_BYTES_MAX,
                max_queue=QUEUE_MESSAGES_MAX,
                close_timeout=1,
                proxy=None if loopback else True,
            )
        except (OSError, InvalidHandshake, TimeoutError, EOFError) as error:
            CONNECTIONS.labels(settings.venue, "refused").inc()
            log.warning("connection.refused", url=settings.websocket_url, error=str(error))
            return False
        except (InvalidURI, ValueError) as error:
            raise SettingsError(f"binance.websocket_url = {settings.websocket_url!r}: {error}") from None
        self._control(protocol.CONTROL_OPEN, url=settings.websocket_url)
        self._watch.heard(self._clock.monotonic_ns())
        silence = asyncio.create_task(self._drop_when_silent(client))
        code, reason = 1006, "the ingester was stopped"
        try:
            await self._receive(client)
        except ConnectionClosed as closed:
            received = closed.rcvd
            code = received.code if received else 1006
            reason = received.reason if received else "the connection was lost"
        finally:
            silence.cancel()
            client.transport.abort()  # what was asked of it was answered, or will never be
            self._flush()
            ended = protocol.is_end(code, reason)
            event = protocol.CONTROL_END if ended else protocol.CONTROL_CLOSE
            self._control(event, code=code, reason=reason)
            CONNECTIONS.labels(settings.venue, event).inc()
        return ended

    async def _receive(self, client: ClientConnection) -> None:
        """Take messages until the connection closes.

        Messages that are there already are taken without a pause, and captured in one go when there are no
        more: the loop runs ``_flush_soon`` when ``recv`` has to wait.
        """
        loop = asyncio.get_running_loop()
        now_ns = self._clock.now_ns
        while True:
            message = await client.recv(decode=False)
            self._pending.append(message)
            self._pending_ts.append(now_ns())
            if len(self._pending) >= PENDING_MESSAGES_MAX:
                self._flush()
            elif not self._flush_due:
                self._flush_due = True
                loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        try:
            self._flush()
        except BaseException as error:  # nobody awaits a callback: the keeper raises it
            self._failure = error

    def _flush(self) -> None:
        """Capture what was taken, then see which books want a snapshot."""
        self._flush_due = False
        if not self._pending:
            return
        messages, times = self._pending, self._pending_ts
        self._pending, self._pending_ts = [], []
        self._writer.append_many(RecordKind.DATA, times, messages)
        self._watch.heard(self._clock.monotonic_ns())
        metrics.RECEIVED.labels(self._settings.venue).inc(len(messages))
        metrics.RECEIVED_BYTES.labels(self._settings.venue).inc(sum(map(len, messages)))
        depths = [
            (int(RecordKind.DATA), ts, message)
            for ts, message in zip(times, messages, strict=True)
            if _DEPTH_MARK in message[:64] or not (message.startswith(_HEAD) and message.endswith(_TAIL))
        ]
        if depths:
            self._decode(depths)
            self._ask_for_snapshots()

    def _decode(self, records: list[tuple[int, int, bytes]]) -> None:
        """Keep the books, and say what is odd: the counters are for figures, a log line is for people."""
        counters = self._books.counters
        before = {name: counters[name] for name in _WORTH_A_LINE}
        self._books.decode(CaptureBatch.of(records))
        odd = {name: counters[name] - count for name, count in before.items() if counters[name] > count}
        if odd:
            log.warning("feed.odd", venue=self._settings.venue, **odd, latest=list(self._books.oddities))
            self._books.oddities.clear()

    def _control(self, event: str, **details: str | int) -> None:
        payload = protocol.control(event, **details)
        ts_recv = self._clock.now_ns()
        self._writer.append(RecordKind.CONTROL, ts_recv, payload)
        self._decode([(RecordKind.CONTROL, ts_recv, payload)])
        log.info(f"connection.{event}", venue=self._settings.venue, **details)

    async def _drop_when_silent(self, client: ClientConnection) -> None:
        while left_s := self._watch.left_s(self._clock.monotonic_ns()):
            await asyncio.sleep(left_s)
        log.warning("connection.silent", silence_ms=self._settings.silence_ms_max)
        client.transport.abort()

    def _ask_for_snapshots(self) -> None:
        for symbol in self._symbols:
            if self._books.is_synced(symbol):
                self._planner.synced(symbol)
        for symbol in self._planner.due(self._books.snapshots_wanted, self._clock.monotonic_ns()):
            self._start(self._fetch(symbol))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fetch(self, symbol: str) -> None:
        """Ask for an order book, and capture the answer as it came."""
        url = protocol.snapshot_url(self._settings.rest_url, self._settings.market, symbol)
        try:
            answer = await self._http.get(url)
            answer.raise_for_status()
            if len(answer.content) > SNAPSHOT_BYTES_MAX:
                raise httpx.HTTPError(f"{len(answer.content)} bytes are no order book")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            SNAPSHOTS.labels(self._settings.venue, "failed").inc()
            log.warning("snapshot.failed", symbol=symbol, error=f"{type(error).__name__} {error}")
            return
        finally:
            self._planner.done(symbol, self._clock.monotonic_ns())
        try:
            self._flush()  # the records stand in the order in which things came
            payload = snapshot_payload(symbol, answer.content)
            ts_recv = self._clock.now_ns()
            self._writer.append(RecordKind.SNAPSHOT, ts_recv, payload)
            self._decode([(RecordKind.SNAPSHOT, ts_recv, payload)])
        except BaseException as error:
            self._failure = error
            raise
        SNAPSHOTS.labels(self._settings.venue, "captured").inc()
        log.info("snapshot.captured", symbol=symbol, synced=self._books.is_synced(symbol))
        self._ask_for_snapshots()
