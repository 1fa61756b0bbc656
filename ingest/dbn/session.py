"""Databento's live gateway in, a capture out, and its sinks kept going.

A connection that was lost, or says nothing for too long, is made anew, and the gateway is asked to replay
what came since the last record that is in the capture; what overlaps is left out. So a restart and a lost
connection are one code path, and neither leaves a hole. Where nothing can be replayed (``replay = false``, or
the gateway refuses: it keeps a day) the capture says so, and the decoder makes it a gap.
"""

from __future__ import annotations

import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

import structlog

from ingest import metrics
from ingest.capture import CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.clock_records import ClockRecords
from ingest.dbn.decoder import DbnDecoder, open_record
from ingest.dbn.live import LiveClient, Recent, RefusedError, Request, warm_up
from ingest.feeds import DBN_SESSION
from ingest.pipeline import CapturePublisher, SinksFactory
from ingest.warm import warm_up_feed, warm_up_shared
from ingest.websocket.connection import Backoff, SilenceWatch
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from tickloom.errors import DecodeError, SettingsError, SetupError
from tickloom.instruments import Registry
from tickloom.settings import DbnSettings, StackSettings
from tickloom.telemetry import start_metrics

PORT = 13_000
KEY_VARIABLE = "DATABENTO_API_KEY"
READ_BYTES = 1 << 16
CONNECT_S = 10.0
CHECK_S = 0.1  # how soon a stop, a silent connection or a dead sink is seen

log = structlog.get_logger("dbn")


def run(
    settings: DbnSettings,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock | None = None,
) -> None:
    """Capture a dataset and feed the sinks until ``stop`` is set. The session is ``YYYYMMDD.DBN.LIVE``.

    Raises
    ------
    SettingsError
        No dataset, no key, or no symbols.
    SetupError
        The gateway refuses the first connection: the key, the dataset.
    CaptureError
        The capture cannot be written. What was captured is published first.
    """
    clock = clock or SystemClock()
    registry = Registry.load()
    venue = settings.venue
    request, key = request_of(settings, registry), key_of(settings)
    day = settings.session_date.replace("-", "") or f"{_today(clock):%Y%m%d}"
    session = f"{day}.{DBN_SESSION}LIVE"
    path = session_path(StackSettings.load().data_dir, venue, session)
    warm_up_shared()
    warm_up_feed("dbn", registry)
    warm_up()

    def make_decoder() -> DbnDecoder:
        return DbnDecoder(venue, session, registry, settings.lateness_ms * NS_PER_MS)

    with CaptureWriter(path, settings.capture_segment_mb) as writer:
        recent = _captured(path)
        publisher = CapturePublisher(
            path, make_decoder, sinks_factory(), settings, writer.notification, clock
        )
        publisher.start()
        start_metrics(settings.metrics_port)
        try:
            _Connections(settings, request, key, writer, recent, publisher, stop, clock).follow()
        finally:
            writer.close()
            publisher.finish()


def request_of(settings: DbnSettings, registry: Registry) -> Request:
    """What a first connection asks for.

    Raises
    ------
    SettingsError
        The dataset or the symbols are not said.
    """
    if not settings.dataset:
        raise SettingsError("dbn.dataset is not set; set it in tickloom.toml, such as XNAS.ITCH or GLBX.MDP3")
    symbols = settings.symbols or tuple(item.venue_symbol for item in registry.of_venue(settings.venue))
    if not symbols:
        raise SettingsError(
            f"strategies/instruments.toml has no instruments of venue {settings.venue}; set dbn.symbols, "
            'which may be ["ALL_SYMBOLS"]'
        )
    return Request(
        settings.dataset,
        settings.schemas,
        symbols,
        settings.stype_in,
        settings.heartbeat_s,
        snapshot=settings.snapshot,
    )


def key_of(settings: DbnSettings) -> str:
    """The key, out of its file or the environment.

    Raises
    ------
    SettingsError
        It is in neither.
    """
    if settings.api_key_file is None:
        key = os.environ.get(KEY_VARIABLE, "")
        remedy = f"set dbn.api_key_file, or the variable {KEY_VARIABLE}"
    else:
        remedy = f"dbn.api_key_file is {settings.api_key_file}"
        try:
            key = settings.api_key_file.read_text().strip()
        except OSError as error:
            raise SettingsError(f"the key of Databento cannot be read ({error.strerror}): {remedy}") from None
    if not key:
        raise SettingsError(f"there is no key of Databento: {remedy}")
    return key


def address_of(settings: DbnSettings) -> tuple[str, int]:
    """Host and port of the gateway: Databento's own is named after the dataset."""
    if settings.gateway:
        host, _, port = settings.gateway.rpartition(":")
        return host, int(port)
    return f"{settings.dataset.replace('.', '-').lower()}.lsg.databento.com", PORT


def _captured(path: Path) -> Recent:
    """The latest records of what was captured before."""
    recent = Recent()
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            for record in range(len(batch)):
                if batch.kinds[record] == RecordKind.DATA:
                    recent.take(batch.payload(record))
    return recent


class _Connections:
    """One connection at a time, until ``stop`` is set."""

    def __init__(
        self,
        settings: DbnSettings,
        request: Request,
        key: str,
        writer: CaptureWriter,
        recent: Recent,
        publisher: CapturePublisher,
        stop: threading.Event,
        clock: Clock,
    ) -> None:
        self._settings, self._request, self._key = settings, request, key
        self._writer, self._recent, self._publisher = writer, recent, publisher
        self._stop, self._clock = stop, clock
        self._clock_records = ClockRecords(writer, settings, clock)
        self._replays = settings.replay
        self._was_in = False  # the gateway has let us in once

    def follow(self) -> None:
        settings = self._settings
        self._clock_records.open()
        backoff = Backoff(settings.reconnect_ms, settings.reconnect_ms_max)
        while not self._stop.is_set():
            try:
                self._connection(backoff)
            except RefusedError as error:
                if not self._was_in:
                    raise SetupError(
                        f"{error}. Check dbn.dataset, and the key ({KEY_VARIABLE} or dbn.api_key_file)"
                    ) from None
                log.warning("connection.refused", venue=self._settings.venue, error=str(error))
            except (OSError, DecodeError) as error:
                log.warning("connection.lost", venue=self._settings.venue, error=str(error))
            self._wait(backoff.next_ms() / 1_000)

    def _wait(self, seconds: float) -> None:
        """Wait, and notice a stop or a sink that has failed."""
        deadline_ns = self._clock.monotonic_ns() + int(seconds * NS_PER_S)
        while (left_ns := deadline_ns - self._clock.monotonic_ns()) > 0 and not self._stop.is_set():
            self._stop.wait(min(CHECK_S, left_ns / NS_PER_S))
            self._publisher.check()
            self._clock_records.keep()

    def _connection(self, backoff: Backoff) -> None:
        """Take records until the connection closes, is silent for too long, or there is enough."""
        since_ns = self._recent.start_ns
        replayed_ns = since_ns if self._replays else 0
        request = self._request.since(replayed_ns)
        client, settings = LiveClient(self._key, request), self._settings
        watch = SilenceWatch(settings.silence_ms_max, self._clock.monotonic_ns())
        with socket.create_connection(address_of(settings), CONNECT_S) as connection:
            connection.settimeout(CHECK_S)
            log.info("connection.open", venue=settings.venue, dataset=request.dataset, replay_ns=replayed_ns)
            while not self._stop.is_set():
                self._publisher.check()
                self._clock_records.keep()
                try:
                    data = connection.recv(READ_BYTES)
                except TimeoutError:
                    if not watch.left_s(self._clock.monotonic_ns()):
                        raise ConnectionError(f"nothing came for {settings.silence_ms_max} ms") from None
                    continue
                if not data:
                    break
                watch.heard(self._clock.monotonic_ns())
                found = client.feed(data)
                connection.sendall(client.take_output())
                self._was_in = self._was_in or bool(client.session_id)
                self._take(found, lost=bool(since_ns) and not replayed_ns, replayed=bool(replayed_ns))
                if client.latest_ns:
                    backoff.reset()
                    self._replays = settings.replay
                self._say(client)
        if self._stop.is_set():
            return
        if replayed_ns and client.error and not client.latest_ns:  # it does not go back so far
            self._replays = False
        raise ConnectionError(client.error or "the gateway closed the connection")

    def _take(self, found: list[tuple[RecordKind, bytes]], *, lost: bool, replayed: bool) -> None:
        """Capture first; of what is replayed, what is not there yet."""
        now_ns = self._clock.now_ns()
        for kind, payload in found:
            if kind is RecordKind.SNAPSHOT:  # the first that a connection captures
                self._writer.append(RecordKind.CONTROL, now_ns, open_record(lost))
                self._writer.append(kind, now_ns, payload)
                if replayed:
                    self._recent.resume()
                else:
                    self._recent.give_up()
                continue
            metrics.RECEIVED_BYTES.labels(self._settings.venue).inc(len(payload))
            new = self._recent.new(payload)
            if new:
                self._writer.append(kind, now_ns, new)
                self._recent.take(new)
                metrics.RECEIVED.labels(self._settings.venue).inc()

    def _say(self, client: LiveClient) -> None:
        for text in client.said:
            log.warning("gateway.says", venue=self._settings.venue, text=text)
        client.said.clear()


def _today(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.now_ns() / NS_PER_S, UTC)
