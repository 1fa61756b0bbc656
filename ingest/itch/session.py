"""UDP datagrams in, a capture out, and its sinks kept going: the ITCH ingester's shell.

Everything that is decided is decided in pure modules: what to ask for in ``arbiter``, what a message means
in ``decoder``. The sockets are in ``sockets``.
"""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import structlog

from ingest import metrics
from ingest.capture import (
    CaptureBatch,
    CaptureReader,
    CaptureWriter,
    RecordKind,
    session_path,
    usable_session,
)
from ingest.capture_format import ANSWERS
from ingest.clock_records import ClockRecords
from ingest.feeds import sessions
from ingest.itch.arbiter import Arbiter
from ingest.itch.controls import awaits_snapshot, gap_from, gap_record
from ingest.itch.decoder import ItchDecoder
from ingest.itch.glimpse import Assembler
from ingest.itch.moldudp64 import Packet, Tracker, parse
from ingest.itch.rerequest import GiveUp, Request
from ingest.itch.runs import Heads, mold_name, next_run
from ingest.itch.snapshots import SnapshotFetcher
from ingest.itch.sockets import Datagram, Feed, UdpFeed, line_addresses
from ingest.itch.soup import SoupFeed
from ingest.pipeline import CapturePublisher, SinksFactory
from ingest.udp.metrics import LineMetrics
from ingest.warm import warm_up_itch, warm_up_shared
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from tickloom.instruments import Registry
from tickloom.settings import ItchSettings, StackSettings
from tickloom.telemetry import start_metrics

POLL_MS = 100
POLL_GAP_MS = 1  # while something is missing
SILENCE_NS = 5 * NS_PER_S  # a session that is not over but silent for so long may be followed by another
OBSERVE_NS = NS_PER_S // 4  # between two looks at the lines' counts
_DATA = int(RecordKind.DATA)  # once: it is asked for with each datagram
log = structlog.get_logger("ingest.itch")


def run(
    settings: ItchSettings,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock | None = None,
) -> None:
    """Capture and publish sessions, one after the other, until ``stop`` is set.

    A session of the day that was captured before is continued: what was sent while nobody listened is
    asked for again. Returns with all captured and, unless a server is away, published.

    Parameters
    ----------
    sinks_factory : SinksFactory
        Fresh sinks for each session; each is driven by a thread of its own.
    Raises
    ------
    SetupError
        A port cannot be opened, or a login is refused.
    CaptureError
        The disk refuses. What was captured is published first.
    """
    clock = clock or SystemClock()
    ingester = _Ingester(settings, sinks_factory, StackSettings.load().data_dir, clock)
    with contextlib.closing(_feed(settings, clock)) as feed:
        try:
            ingester.warm_up()
            ingester.resume(feed)
            start_metrics(settings.metrics_port)  # answering there says: ready
            log.info("listening", where=_where(settings), venue=settings.venue)
            while not stop.is_set():
                ingester.take(feed.receive(POLL_GAP_MS if ingester.waiting else POLL_MS))
                ingester.mend(feed)
        finally:
            ingester.finish()


def _feed(settings: ItchSettings, clock: Clock) -> Feed:
    return SoupFeed(settings, clock) if settings.transport == "soupbintcp" else UdpFeed(settings, clock)


def _where(settings: ItchSettings) -> list[str]:
    if settings.transport == "soupbintcp":
        return [f"tcp {settings.soup_address}"]
    return [f"udp {line}" for line in line_addresses(settings)]


class _Ingester:
    """The session that is being captured, if any."""

    def __init__(
        self, settings: ItchSettings, sinks_factory: SinksFactory, data_dir: Path, clock: Clock
    ) -> None:
        self._settings = settings
        self._sinks_factory = sinks_factory
        self._data_dir = data_dir
        self._clock = clock
        self._registry = Registry.load()
        self._live: _Live | None = None
        self._received = metrics.RECEIVED.labels(settings.venue)
        self._received_bytes = metrics.RECEIVED_BYTES.labels(settings.venue)

    @property
    def waiting(self) -> bool:
        return self._live is not None and self._live.arbiter.waiting

    def warm_up(self) -> None:
        """Compile the kernels before the first datagram instead of after it."""
        warm_up_shared()
        warm_up_itch(self._registry)

    def resume(self, feed: Feed) -> None:
        """Continue the day's latest session, if one was captured, and ask for what came since."""
        day = f"{self._day():%Y%m%d}."
        known = [name for name in sessions(self._data_dir, self._settings.venue) if name.startswith(day)]
        if known:
            paths = {name: session_path(self._data_dir, self._settings.venue, name) for name in known}
            self._open(max(known, key=lambda name: max(p.stat().st_mtime_ns for p in paths[name].iterdir())))
            assert self._live is not None
            sequencer = self._live.tracker.sequencer
            if self._live.tracker.session.strip(b"\x00"):
                feed.begin(mold_name(self._live.name), sequencer.expected, sequencer.ended)

    def take(self, datagrams: list[Datagram]) -> None:
        """Capture what came, in whichever session it belongs to."""
        if not datagrams:
            return
        self._received.inc(len(datagrams))
        self._received_bytes.inc(sum(len(raw) for _, raw, _ in datagrams))
        start = 0
        for index, (_, raw, _) in enumerate(datagrams):
            if self._live is not None and raw[:10] == self._live.tracker.session:
                continue
            other = self._other_session(raw)
            if other is None:
                continue
            self._capture(datagrams[start:index])
            start = index
            self.finish()
            self._open(other)
        self._capture(datagrams[start:])

    def mend(self, feed: Feed) -> None:
        """Ask for what is missing, or give it up; notice a sink that has failed."""
        if self._live is not None:
            self._live.mend(feed)
            self._live.publisher.check()

    def finish(self) -> None:
        """Close the capture and let the sinks publish the rest of it."""
        live, self._live = self._live, None
        if live is not None:
            live.snapshots.close()
            live.writer.close()
            live.observe()
            live.publisher.finish()

    def _capture(self, datagrams: list[Datagram]) -> None:
        if self._live is not None:
            rest = self._live.take(datagrams)
            if rest:
                name = next_run(self._live.name)
                log.warning("session restarted", name=name, advice="the venue began it anew at number 1")
                self.finish()
                self._open(name)
                self._capture(rest)
        elif datagrams:
            metrics.REFUSED.labels(self._settings.venue, "no_session").inc(len(datagrams))

    def _day(self) -> date:
        if self._settings.session_date:
            return date.fromisoformat(self._settings.session_date)
        return datetime.fromtimestamp(self._clock.now_ns() / NS_PER_S, UTC).date()

    def _other_session(self, raw: bytes) -> str | None:
        """Name of the session that this datagram opens; None where it is garbage, or comes too soon."""
        if self._live is not None and not self._live.over(self._clock.monotonic_ns()):
            return None
        packet = parse(raw)
        if packet is None or not (packet.whole == packet.count or _no_messages(packet)):
            return None
        text = packet.name
        name = f"{self._day():%Y%m%d}.{text}"
        if not usable_session(text) or (self._live is not None and name == self._live.name):
            return None
        return name

    def _open(self, name: str) -> None:
        path = session_path(self._data_dir, self._settings.venue, name)
        writer = CaptureWriter(path, self._settings.capture_segment_mb)
        try:
            tracker, heads = captured(path, mold_name(name))
        except BaseException:
            writer.close()
            raise
        settings, registry = self._settings, self._registry

        def make_decoder() -> ItchDecoder:
            return ItchDecoder(settings.venue, name, registry, settings.lateness_ms * NS_PER_MS)

        publisher = CapturePublisher(
            path, make_decoder, self._sinks_factory(), settings, writer.notification, self._clock
        )
        arbiter = Arbiter(
            tracker,
            mold_name(name),
            heads=heads,
            lines=1 + len(settings.other_lines),
            gap_timeout_ms=settings.gap_timeout_ms,
            hold_ms=settings.hold_ms,
            line_silent_ms=settings.line_silent_ms,
        )
        self._live = _Live(name, settings, writer, arbiter, publisher, self._clock)
        expected = tracker.sequencer.expected
        log.info("session", name=name, expected=expected, cut_bytes=writer.cut_bytes)
        publisher.start()


class _Live:
    """One session while it is captured."""

    def __init__(
        self,
        name: str,
        settings: ItchSettings,
        writer: CaptureWriter,
        arbiter: Arbiter,
        publisher: CapturePublisher,
        clock: Clock,
    ) -> None:
        self.name, self.writer, self.arbiter, self.publisher = name, writer, arbiter, publisher
        self.snapshots = SnapshotFetcher(settings, mold_name(name).encode(), clock)
        if arbiter.tracker.wanted:
            self.snapshots.want(arbiter.tracker.wanted)
        self._venue = settings.venue
        self._clock = clock
        self._heard_ns = clock.monotonic_ns()
        self._filled = 0
        self._line_metrics = LineMetrics(settings.venue, [*range(1 + len(settings.other_lines)), ANSWERS])
        self._observed_ns = 0
        self._clock_records = ClockRecords(writer, settings, clock)
        if not self.tracker.sequencer.ended:
            self._clock_records.open()

    @property
    def tracker(self) -> Tracker:
        return self.arbiter.tracker

    def over(self, now_ns: int) -> bool:
        """Whether another session may begin: this one has ended, or is silent for long."""
        return self.tracker.sequencer.ended or now_ns - self._heard_ns > SILENCE_NS

    def take(self, datagrams: list[Datagram]) -> list[Datagram]:
        """Capture first, then look at it. Behind a complete session nothing is worth a record.

        Returns what is of another run of the session, from its first datagram on: not captured here.
        """
        if not datagrams:
            return []
        records = [(_DATA, ts, raw) for ts, raw, _ in datagrams]
        batch = CaptureBatch.of(records, lines=[line for *_, line in datagrams])
        at = self.arbiter.restart_at(batch)
        if at and not self.tracker.sequencer.ended:
            self._take(datagrams[:at], batch.slice(0, at) if at < len(batch) else batch)
        return datagrams[at:]

    def _take(self, datagrams: list[Datagram], batch: CaptureBatch) -> None:
        times, payloads, lines = (list(column) for column in zip(*datagrams, strict=True))
        self.writer.append_many(_DATA, times, payloads, lines)
        now_ns = self._clock.monotonic_ns()
        strange, silences = self.arbiter.take(batch, now_ns)
        if strange:
            metrics.REFUSED.labels(self._venue, "malformed").inc(strange)
            log.warning("malformed datagrams", count=strange, first=payloads[0][:32].hex())
        if strange < len(payloads):
            self._heard_ns = now_ns
        self._line_metrics.changed(silences, log)

    def mend(self, feed: Feed) -> None:
        """Ask for what is missing, or say that it is given up: to the capture, which tells the decoders."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._observed_ns >= OBSERVE_NS:
            self._observed_ns = now_ns
            self.observe()
        if not self.tracker.sequencer.ended:
            self._clock_records.keep()
        step = self.arbiter.step(now_ns)
        if isinstance(step, Request):
            feed.ask(self.tracker.session, step.first, step.count)
        elif isinstance(step, GiveUp):
            lost = self.snapshots.enabled
            self.writer.append(RecordKind.CONTROL, self._clock.now_ns(), gap_record(step.gap, lost))
            self.snapshots.want(step.gap.last + 1)
            metrics.GAPS.labels(self._venue, "given_up").inc()
            log.warning("gap", first=step.gap.first, last=step.gap.last, advice="nobody could resend it")
        parts = self.snapshots.take()
        if parts:
            self.writer.append_many(RecordKind.SNAPSHOT, [self._clock.now_ns()] * len(parts), parts)

    def observe(self) -> None:
        """Tell Prometheus what the lines did, and how many holes were closed."""
        self._line_metrics.update(self.arbiter.lines)
        metrics.GAPS.labels(self._venue, "filled").inc(self.arbiter.filled - self._filled)
        self._filled = self.arbiter.filled


def track(path: Path, mold_session: str) -> Tracker:
    """What a capture has of its session: gaps that were given up, and whether its books are lost."""
    return captured(path, mold_session)[0]


def captured(path: Path, mold_session: str) -> tuple[Tracker, Heads]:
    """As :func:`track`, and the first messages."""
    tracker = Tracker(bytes(10))
    heads = Heads(tracker.session)
    assembler = Assembler()
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            if not tracker.session.strip(b"\x00"):
                for record in batch:
                    packet = parse(record.payload) if record.kind == RecordKind.DATA else None
                    if packet is not None and packet.name == mold_session:
                        tracker, heads = Tracker(packet.session), Heads(packet.session)
                        break
            heads.look(batch)
            for index in tracker.take(batch.data, batch.offsets, batch.kinds):
                if batch.kinds[index] == RecordKind.CONTROL:
                    payload = batch.payload(index)
                    gap = gap_from(payload)
                    if gap is not None:
                        tracker.sequencer.give_up(gap.last)
                        tracker.wanted = gap.last + 1 if awaits_snapshot(payload) else tracker.wanted
                elif batch.kinds[index] == RecordKind.SNAPSHOT:
                    snapshot = assembler.take(batch.payload(index))
                    if snapshot is not None and snapshot.next_number >= tracker.wanted:
                        tracker.wanted = 0
    return tracker, heads


def _no_messages(packet: Packet) -> bool:
    return packet.whole == 0 and packet.count in (0, 0xFFFF)
