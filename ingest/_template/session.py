"""The template's socket in, capture records out, and its sinks kept going.

A connection that was lost, or says nothing for too long, is made anew, and the venue is asked for what comes
behind the last packet that is in the capture: so a restart and a lost connection are one code path.
"""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime

import structlog

from ingest import metrics
from ingest._template.declaration import TemplateSettings
from ingest._template.decoder import TemplateDecoder
from ingest._template.messages import Framer, request
from ingest.capture import CaptureBatch, CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.pipeline import CapturePublisher, SinksFactory
from ingest.websocket.connection import Backoff, SilenceWatch
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from tickloom.errors import DecodeError
from tickloom.instruments import Registry
from tickloom.settings import StackSettings
from tickloom.telemetry import start_metrics

READ_BYTES = 1 << 16
CHECK_S = 0.1  # how soon a stop, a silent connection or a dead sink is seen

log = structlog.get_logger("template")


def run(
    settings: TemplateSettings,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock | None = None,
) -> None:
    """Capture a day and feed the sinks until ``stop`` is set.

    Raises
    ------
    CaptureError
        The capture cannot be written. What was captured is published first.
    """
    clock = clock or SystemClock()
    registry = Registry.load()
    session = settings.session_date.replace("-", "") or f"{_today(clock):%Y%m%d}"
    path = session_path(StackSettings.load().data_dir, settings.venue, session)

    def make_decoder() -> TemplateDecoder:
        lateness_ns = settings.lateness_ms * NS_PER_MS
        return TemplateDecoder(settings.venue, session, registry=registry, lateness_ns=lateness_ns)

    with CaptureWriter(path, settings.capture_segment_mb) as writer:
        decoder = make_decoder()
        with CaptureReader(path) as reader:  # how far this session has come
            for batch in reader.batches():
                decoder.decode(batch)
        publisher = CapturePublisher(
            path, make_decoder, sinks_factory(), settings, writer.notification, clock
        )
        publisher.start()
        start_metrics(settings.metrics_port)
        try:
            _Connections(settings, writer, decoder, publisher, stop, clock).follow()
        finally:
            writer.close()
            publisher.finish()


class _Connections:
    """One connection at a time, until the session is over or ``stop`` is set."""

    def __init__(
        self,
        settings: TemplateSettings,
        writer: CaptureWriter,
        decoder: TemplateDecoder,
        publisher: CapturePublisher,
        stop: threading.Event,
        clock: Clock,
    ) -> None:
        self._settings, self._writer, self._decoder = settings, writer, decoder
        self._publisher, self._stop, self._clock = publisher, stop, clock

    def follow(self) -> None:
        settings = self._settings
        backoff = Backoff(settings.reconnect_ms, settings.reconnect_ms_max)
        while not self._stop.is_set():
            before = self._decoder.expected
            if not self._decoder.ended:
                try:
                    self._connection()
                except (OSError, DecodeError) as error:
                    log.warning("connection.lost", venue=settings.venue, error=str(error))
            if self._decoder.expected > before:
                backoff.reset()
            self._wait(CHECK_S if self._decoder.ended else backoff.next_ms() / 1_000)

    def _wait(self, seconds: float) -> None:
        """Wait, and notice a stop or a sink that has failed."""
        self._stop.wait(seconds)
        self._publisher.check()

    def _connection(self) -> None:
        """Take packets until the connection closes, is silent for too long, or there is enough."""
        settings, framer = self._settings, Framer()
        watch = SilenceWatch(settings.silence_ms_max, self._clock.monotonic_ns())
        with socket.create_connection((settings.host, settings.port), CHECK_S * 10) as client:
            client.sendall(request(self._decoder.expected))
            client.settimeout(CHECK_S)
            self._say("open", expected=self._decoder.expected)
            while not (self._stop.is_set() or self._decoder.ended):
                self._publisher.check()
                try:
                    data = client.recv(READ_BYTES)
                except TimeoutError:
                    if not watch.left_s(self._clock.monotonic_ns()):
                        raise ConnectionError(f"nothing came for {settings.silence_ms_max} ms") from None
                    continue
                if not data:
                    raise ConnectionError("the venue closed the connection")
                watch.heard(self._clock.monotonic_ns())
                while packets := framer.feed(data):
                    self._take(packets)
                    data = b""

    def _take(self, packets: list[bytes]) -> None:
        """Capture first, then look at it."""
        now_ns = self._clock.now_ns()
        self._writer.append_many(RecordKind.DATA, [now_ns] * len(packets), packets)
        metrics.RECEIVED.labels(self._settings.venue).inc(len(packets))
        metrics.RECEIVED_BYTES.labels(self._settings.venue).inc(sum(map(len, packets)))
        self._decoder.decode(CaptureBatch.of([(int(RecordKind.DATA), now_ns, raw) for raw in packets]))

    def _say(self, event: str, **details: int) -> None:
        payload = json.dumps({"event": event, **details}).encode()
        self._writer.append(RecordKind.CONTROL, self._clock.now_ns(), payload)
        log.info(f"connection.{event}", venue=self._settings.venue, **details)


def _today(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.now_ns() / NS_PER_S, UTC)
