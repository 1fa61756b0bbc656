"""A capture in, filled sinks out: one thread a sink, each following the capture at its own pace.

A sink that is away holds up nobody else: the capture is the buffer. Starting is always the same:
replay the capture from its first record through a fresh decoder; the sink, which has looked how far
it is, drops what it has; go on. Killed, late, historical and live are one code path.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import structlog
from prometheus_client import Counter as Metric

from ingest import metrics
from ingest.capture import CaptureReader, Notification
from ingest.decoder import Decoder
from ingest.trusted import TrustedDecoder
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from tickloom.errors import ClientLostError, ServiceError, StorageError
from tickloom.events import EventBlock, SymbolTable
from tickloom.settings import IngestSettings
from tickloom.sinks import EventSink

DecoderFactory = Callable[[], Decoder]
SinksFactory = Callable[[], Sequence[EventSink]]

TABLES = ("trades", "quotes", "book_deltas", "statuses", "gaps")
INTERVAL_MS = 50.0  # between two writes to a sink that names no ``interval_ms`` of its own
CONNECT_RETRY_S = 0.5
CONNECT_RETRY_S_MAX = 5.0
OBSERVE_NS = NS_PER_S // 4
DRAIN_S = 10.0  # on a stop, for what is captured to be published; the rest goes out on the next start

log = structlog.get_logger("ingest")


class Watermark:
    """The venue's watermark: the decoder's, moved on by the clock where the venue is silent."""

    def __init__(self, idle_ms: int, clock: Clock) -> None:
        self._idle_ns = idle_ms * NS_PER_MS
        self._clock = clock
        self._progress_ns = clock.monotonic_ns()
        self._value = 0

    def progress(self) -> None:
        """Something came: silence is counted from now."""
        self._progress_ns = self._clock.monotonic_ns()

    def value(self, decoder: Decoder) -> int:
        """ns. After ``idle_ms`` of silence it goes on with the clock (0: never); after the end, to that of
        the day: whoever waits for time gets what the session gave, and the next session is not late."""
        now = decoder.watermark_ns
        if decoder.ended:
            now = max(now, decoder.end_ns)
        elif now and self._idle_ns:
            now += max(0, self._clock.monotonic_ns() - self._progress_ns - self._idle_ns)
        self._value = max(self._value, now)
        return self._value


class SinkThread(threading.Thread):
    """Follows one capture for one sink until it is stopped and has read all."""

    def __init__(
        self,
        sink: EventSink,
        path: Path,
        make_decoder: DecoderFactory,
        settings: IngestSettings,
        stop: threading.Event,
        notification: Notification,
        clock: Clock,
    ) -> None:
        super().__init__(name=f"sink-{sink.name}", daemon=True)
        self.sink = sink
        self.error: BaseException | None = None
        self._path, self._make_decoder, self._notification = path, make_decoder, notification
        self._settings = settings
        self._stopping = stop
        self._clock = clock
        self._observed_ns = 0
        self._interval_s = getattr(sink, "interval_ms", INTERVAL_MS) / 1_000
        self._begin()
        self._metrics = metrics.DecoderMetrics(self.decoder.venue, sink.name)
        self._handed_on: dict[str, Metric] = {}  # table to metric

    def _begin(self) -> None:
        """At the capture's first record, with a decoder that has seen nothing."""
        self.decoder = TrustedDecoder(self._make_decoder())
        self._reader = CaptureReader(self._path, self._notification, self._clock)
        self._watermark = Watermark(self._settings.idle_ms, self._clock)

    def run(self) -> None:
        try:
            while not self._followed():
                self._reader.close()
                self._begin()
        except BaseException as error:
            self.error = error
            log.error("sink.failed", sink=self.sink.name, error=str(error), exc_info=error)
        finally:
            self._reader.close()

    def _followed(self) -> bool:
        """True when it was stopped and has read all; False where the sink has to begin anew."""
        try:
            if self._connect():
                self._follow()
            self._close()
        except ClientLostError as error:
            log.warning(
                "sink.lost", sink=self.sink.name, error=str(error), advice="it begins with a new client"
            )
            return False
        return True

    def _connect(self) -> bool:
        """Let the sink look how far it is; False where it was stopped before the server answered."""
        retry_s = CONNECT_RETRY_S
        while True:
            try:
                tails = self.sink.resume_after(self.decoder.venue, self.decoder.session)
            except (ServiceError, StorageError) as error:
                log.warning("sink.away", sink=self.sink.name, error=str(error), retry_s=retry_s)
                if self._stopping.wait(retry_s):
                    return False
                retry_s = min(2 * retry_s, CONNECT_RETRY_S_MAX)
            else:
                log.info("sink.resumes", sink=self.sink.name, session=self.decoder.session, after=tails)
                return True

    def _follow(self) -> None:
        heartbeat_s = self._settings.heartbeat_ms / 1_000
        linger_s = self._settings.book_linger_ms / 1_000
        while True:
            stopping = self._stopping.is_set()  # before reading: what came until then is written
            patience_s = linger_s if getattr(self.sink, "holds", False) else heartbeat_s
            batch = self._reader.poll(0 if stopping else patience_s)
            if batch is None:
                if stopping:
                    return
                self._write(_nothing(self.decoder))
                self._observe(0)
                continue
            seen = self.decoder.last_seq
            began_ns = self._clock.monotonic_ns()
            block = self.decoder.decode(batch)
            came = self.decoder.last_seq > seen  # and not only the venue's own heartbeats
            if came:
                self._watermark.progress()
            self._write(block)
            if came:
                self._watermark.progress()  # time that the sink took is no silence of the venue
            self._observe(self._clock.now_ns() - int(batch.ts_recv[-1]))
            spent_s = (self._clock.monotonic_ns() - began_ns) / NS_PER_S
            if not stopping and spent_s < self._interval_s:
                self._stopping.wait(self._interval_s - spent_s)

    def _close(self) -> None:
        """What the server does not take now, being away, it gets from the capture at the next start."""
        try:
            self.sink.close()
        except ClientLostError:
            raise
        except ServiceError as error:
            log.warning("sink.left_behind", sink=self.sink.name, error=str(error))

    def _write(self, block: EventBlock) -> None:
        self.sink.write(block, self._watermark.value(self.decoder), self.decoder.last_seq)
        for table, records in (*block.kinds().items(), ("trust", block.trust)):
            if len(records):
                if table not in self._handed_on:
                    labels = (self.decoder.venue, self.sink.name, table)
                    self._handed_on[table] = metrics.HANDED_ON.labels(*labels)
                self._handed_on[table].inc(len(records))

    def _observe(self, lag_ns: int) -> None:
        """Metrics, a few times a second: with a write each few ms they would be a tenth of the work."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._observed_ns < OBSERVE_NS:
            return
        self._observed_ns = now_ns
        labels = (self.decoder.venue, self.sink.name)
        self._metrics.update(self.decoder.counters)
        metrics.LAG_SECONDS.labels(*labels).set(lag_ns / NS_PER_S)
        metrics.WATERMARK_SECONDS.labels(*labels).set(self.decoder.watermark_ns / NS_PER_S)
        for state, count in self.decoder.trust().items():
            metrics.TRUST.labels(*labels, state.name.lower()).set(count)


class CapturePublisher:
    """All sinks of one session's capture.

    Parameters
    ----------
    path : Path
        The capture's directory.
    make_decoder : DecoderFactory
        A fresh decoder for each sink.
    notification : Notification, optional
        Of the capture's writer in this process; without it the capture is polled.
    """

    def __init__(
        self,
        path: Path,
        make_decoder: DecoderFactory,
        sinks: Sequence[EventSink],
        settings: IngestSettings,
        notification: Notification | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._stop = threading.Event()
        clock = clock or SystemClock()
        self.threads = [
            SinkThread(sink, path, make_decoder, settings, self._stop, notification or Notification(), clock)
            for sink in sinks
        ]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def check(self) -> None:
        """Raise what ended a sink, if one has ended: the process must not go on half deaf."""
        for thread in self.threads:
            if thread.error is not None:
                raise thread.error

    def finish(self, timeout_s: float = DRAIN_S) -> bool:
        """Publish what is captured, flush and close; the capture's writer must be closed before.

        False where a server was away for too long: the rest is published by the next start.
        """
        self._stop.set()
        share_s = timeout_s / max(1, len(self.threads))
        for thread in self.threads:
            thread.join(share_s)
        late = [thread.sink.name for thread in self.threads if thread.is_alive()]
        if late:
            log.warning("sinks.left_behind", sinks=late, advice="what is captured goes out on the next start")
        self.check()
        return not late


def load_capture(
    path: Path,
    decoder: Decoder,
    sinks: Sequence[EventSink] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[EventBlock]:
    """Run a finished capture through ``sinks``; yields each decoded block once all sinks took it.

    ``decoder`` is the feed's own; the blocks have its changes of trust as well. ``progress`` is told how many
    bytes of payload have been decoded. All is durable when the iteration ends. Idempotent: a sink gets
    nothing twice.

    Raises
    ------
    CaptureError
        The capture is damaged.
    ServiceError, StorageError
        A sink's server is away.
    """
    trusted = decoder if isinstance(decoder, TrustedDecoder) else TrustedDecoder(decoder)
    for sink in sinks:
        sink.resume_after(decoder.venue, decoder.session)
    with CaptureReader(path) as reader:
        done = 0
        for batch in reader.batches():
            block = trusted.decode(batch)
            done += batch.data.size
            progress(done)
            for sink in sinks:
                sink.write(block, decoder.watermark_ns, decoder.last_seq)
            yield block
    watermark = max(decoder.watermark_ns, decoder.end_ns if decoder.ended else 0)
    for sink in sinks:
        sink.write(_nothing(decoder), watermark, decoder.last_seq)
        sink.flush()


def _nothing(decoder: Decoder) -> EventBlock:
    return EventBlock(decoder.venue, decoder.session, SymbolTable())


def count_events(path: Path, decoder: Decoder) -> dict[str, dict[str, int]]:
    """Events that a capture holds: table to symbol to count. Needs no server."""
    counts: dict[str, Counter[str]] = {table: Counter() for table in TABLES}
    for block in load_capture(path, decoder):
        add_counts(counts, block)
    return {table: dict(sorted(found.items())) for table, found in counts.items()}


def add_counts(counts: dict[str, Counter[str]], block: EventBlock) -> None:
    """Add a block's events to ``counts`` (table to symbol to number)."""
    for table, records in block.kinds().items():
        if len(records):
            found = np.bincount(records["symbol"])
            present = np.flatnonzero(found)
            mine, names = counts.setdefault(table, Counter()), block.symbols.names
            for index, number in zip(present.tolist(), found[present].tolist(), strict=True):
                mine[names[index]] += number
