"""UDP datagrams in, a capture out, and its sinks kept going: the session of feeds that resend nothing.

What comes is captured first. Then a decoder of the session's own looks at it: a decoder is a pure function of
the capture, so it has the same holes, in the same numbers, as those that the sinks run. What it holds for too
long the session gives up, by a record of the capture, which tells them all. So nothing is sequenced twice in
two ways, and a replay gives the same events.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from pathlib import Path

import numpy as np
import structlog

from ingest import metrics
from ingest.capture import CaptureBatch, CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.clock_records import ClockRecords
from ingest.feeds import sessions
from ingest.pipeline import CapturePublisher, SinksFactory
from ingest.trusted import TrustedDecoder
from ingest.udp.feed import SIDE_LINE, LineDecoder, LineFeed
from ingest.udp.gaps import gap_record
from ingest.udp.metrics import LineMetrics
from ingest.udp.patience import Patience
from ingest.udp.sockets import Datagram, LineSockets, line_address, line_addresses
from ingest.udp.watch import LineWatch
from tickloom.clock import NS_PER_S, Clock
from tickloom.events import EventBlock, GapReason
from tickloom.settings import StackSettings
from tickloom.telemetry import start_metrics

POLL_MS = 100
POLL_GAP_MS = 1  # while something is missing
OBSERVE_NS = NS_PER_S // 4  # between two looks at the lines' counts
SIDES_NS = NS_PER_S // 10  # between two looks at whether lines beside are needed
log = structlog.get_logger("ingest.udp")


def follow(feed: LineFeed, sinks_factory: SinksFactory, stop: threading.Event, clock: Clock) -> None:
    """Capture and publish sessions, one after the other, until ``stop`` is set.

    The session that was under way when an ingester ended is continued; what was sent meanwhile is a gap.
    Returns with all captured and, unless a server is away, published.

    Parameters
    ----------
    sinks_factory : SinksFactory
        Fresh sinks for each session; each is driven by a thread of its own.

    Raises
    ------
    SetupError
        A port cannot be opened, or a group not be joined.
    CaptureError
        The disk refuses. What was captured is published first.
    """
    settings = feed.settings
    sockets = LineSockets(settings.receive_buffer_bytes, clock)
    ingester = _Ingester(feed, sinks_factory, StackSettings.load().data_dir, clock)
    with contextlib.closing(sockets):
        sockets.listen_to_lines(settings)
        sides = _Sides(feed, sockets, clock)
        sides.keep()
        try:
            ingester.resume()
            start_metrics(settings.metrics_port)  # answering there says: ready
            where = [f"udp {each}" for each in line_addresses(settings)]
            log.info("listening", where=where, venue=settings.venue)
            while not stop.is_set():
                ingester.take(sockets.receive(POLL_GAP_MS if ingester.waiting else POLL_MS))
                ingester.mend()
                sides.keep()
        finally:
            ingester.finish()


class _Sides:
    """The lines beside the feed's own: open while they are needed."""

    def __init__(self, feed: LineFeed, sockets: LineSockets, clock: Clock) -> None:
        self._section, self._sockets, self._clock = feed.settings.section, sockets, clock
        self._open = dict.fromkeys(feed.sides, False)
        self._due_ns = 0

    def keep(self) -> None:
        """Open what is needed, close what is not; raises as :meth:`LineSockets.listen` does. Called often."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + SIDES_NS
        for side, is_open in self._open.items():
            if side.wanted() == is_open:
                continue
            for at, (line, address) in enumerate(side.addresses.items()):
                if is_open:
                    self._sockets.drop(line)
                else:
                    self._sockets.listen(line, line_address(address), f"{self._section}.{side.setting}[{at}]")
            self._open[side] = not is_open
            log.info("side lines", setting=side.setting, listening=not is_open)


class _Ingester:
    """The session that is being captured, if any."""

    def __init__(self, feed: LineFeed, sinks_factory: SinksFactory, data_dir: Path, clock: Clock) -> None:
        self._feed, self._sinks_factory, self._data_dir, self._clock = feed, sinks_factory, data_dir, clock
        self._venue = feed.settings.venue
        self._live: _Live | None = None
        self._end_ns = 0  # of the session that is captured
        self._later: Datagram | None = None  # of a later session, the first that came of one

    @property
    def waiting(self) -> bool:
        return self._live is not None and self._live.patience.waiting

    def resume(self) -> None:
        """Continue the latest session that is still under way, if one was captured."""
        now_ns = self._clock.now_ns()
        known = [name for name in sessions(self._data_dir, self._venue) if self._feed.resumes(name, now_ns)]
        if known:
            paths = {name: session_path(self._data_dir, self._venue, name) for name in known}
            self._open(max(known, key=lambda name: max(p.stat().st_mtime_ns for p in paths[name].iterdir())))

    def take(self, datagrams: list[Datagram]) -> None:
        """Capture what came, in whichever session it belongs to."""
        if not datagrams:
            return
        metrics.RECEIVED.labels(self._venue).inc(len(datagrams))
        metrics.RECEIVED_BYTES.labels(self._venue).inc(sum(len(raw) for _, raw, _ in datagrams))
        mine: list[Datagram] = []
        for datagram in datagrams:
            _, raw, line = datagram
            if self._live is None:
                name = self._feed.session_of(raw) if line < SIDE_LINE else None
                if name is None:
                    metrics.REFUSED.labels(self._venue, "no_session").inc()
                    continue
                self._open(name)
            elif line >= SIDE_LINE:
                pass
            elif self._feed.sent_ns(raw) >= self._end_ns and (name := self._next_session(raw)):
                if self._later is None:  # one spoiled time ends no session: another packet must say so too
                    self._later = datagram
                    continue
                self._capture(mine)
                mine = [self._later]
                self.finish()
                self._open(name)
            elif self._later is not None:
                mine.append(self._later)
                self._later = None
            mine.append(datagram)
        self._capture(mine)

    def mend(self) -> None:
        """Give up what nobody will bring; notice a sink that has failed."""
        if self._live is not None:
            self._live.mend()
            self._live.publisher.check()

    def finish(self) -> None:
        """Close the capture and let the sinks publish the rest of it."""
        self._later = None
        live, self._live = self._live, None
        if live is not None:
            live.writer.close()
            live.observe()
            live.publisher.finish()

    def _next_session(self, raw: bytes) -> str | None:
        """Name of the later session of the same feed that a datagram is of; None where it is of none."""
        assert self._live is not None
        name, here = self._feed.session_of(raw), self._live.name
        same_feed = name is not None and name.partition(".")[2] == here.partition(".")[2]
        return name if same_feed and name != here else None

    def _capture(self, datagrams: list[Datagram]) -> None:
        if self._live is not None and datagrams:
            self._live.take(datagrams)

    def _open(self, name: str) -> None:
        settings = self._feed.settings
        path = session_path(self._data_dir, self._venue, name)
        writer = CaptureWriter(path, settings.capture_segment_mb)
        try:
            decoder = _caught_up(path, self._feed.decoder(name))
            publisher = CapturePublisher(
                path,
                lambda: self._feed.decoder(name),
                self._sinks_factory(),
                settings,
                writer.notification,
                self._clock,
            )
        except BaseException:
            writer.close()
            raise
        self._live = _Live(name, self._feed, writer, decoder, publisher, self._clock)
        self._end_ns = self._feed.end_ns(name)
        log.info("session", name=name, expected=decoder.horizon, cut_bytes=writer.cut_bytes)
        publisher.start()


class _Live:
    """One session while it is captured."""

    def __init__(
        self,
        name: str,
        feed: LineFeed,
        writer: CaptureWriter,
        decoder: LineDecoder,
        publisher: CapturePublisher,
        clock: Clock,
    ) -> None:
        settings = feed.settings
        self.name, self.writer, self.decoder, self.publisher = name, writer, decoder, publisher
        self.patience = Patience(settings.gap_timeout_ms)
        self._venue, self._clock = settings.venue, clock
        lines = range(1 + len(settings.other_lines))
        self._sides = feed.sides
        for side in feed.sides:
            side.begin(decoder)
        self._lines = feed.counter()
        self._watch = LineWatch(len(lines), settings.line_silent_ms)
        self._line_metrics = LineMetrics(settings.venue, lines)
        self._counted = decoder.counters
        self._observed_ns = 0
        self._clock_records = ClockRecords(writer, settings, clock)
        if not decoder.ended:
            self._clock_records.open()

    def take(self, datagrams: list[Datagram]) -> None:
        """Capture first, then look at it."""
        for kind, some in itertools.groupby(datagrams, _kind):
            self._take(kind, list(some))

    def _take(self, kind: RecordKind, datagrams: list[Datagram]) -> None:
        times, payloads, lines = (list(column) for column in zip(*datagrams, strict=True))
        self.writer.append_many(kind, times, payloads, lines)
        records = [(kind, ts, raw) for ts, raw, _ in datagrams]
        batch = CaptureBatch.of(records, lines=lines)
        hole = self.decoder.missing
        given_up = self._seen(self.decoder.decode(batch))
        now = self.decoder.missing
        if hole is not None and not given_up and (now is None or now.first > hole.last):
            metrics.GAPS.labels(self._venue, "filled").inc()
        for side in self._sides:
            for _, raw, line in datagrams:
                if line in side.addresses:
                    side.heard(raw)
        heard = self._lines.take(batch)
        self._line_metrics.changed(self._watch.heard(heard, self._clock.monotonic_ns()), log)

    def mend(self) -> None:
        """Say what is given up: to the capture, which tells the decoders."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._observed_ns >= OBSERVE_NS:
            self._observed_ns = now_ns
            self.observe()
        if not self.decoder.ended:
            self._clock_records.keep()
        gap = self.patience.next(self.decoder.missing, self.decoder.horizon, now_ns)
        if gap is not None:
            record = (RecordKind.CONTROL, self._clock.now_ns(), gap_record(gap))
            self.writer.append(*record)
            self._seen(self.decoder.decode(CaptureBatch.of([record])))

    def observe(self) -> None:
        """Tell Prometheus what the lines did."""
        self._line_metrics.update(self._lines)

    def _seen(self, block: EventBlock) -> int:
        """Tell what is odd in what came; how many holes were given up."""
        of_feed = (block.gaps["reason"] == GapReason.SEQUENCE) & (block.gaps["symbol"] == 0)
        for gap in block.gaps[np.flatnonzero(of_feed)]:
            metrics.GAPS.labels(self._venue, "given_up").inc()
            first, last = int(gap["first_missing"]), int(gap["last_missing"])
            log.warning("gap", first=first, last=last, advice="no line brought it, and nobody resends it")
        before, self._counted = self._counted, self.decoder.counters
        strange = self._counted["malformed"] - before["malformed"]
        if strange:
            metrics.REFUSED.labels(self._venue, "malformed").inc(strange)
            log.warning("malformed datagrams", count=strange)
        if self._counted["restarts"] > before["restarts"]:
            self._lines.restart()
            log.warning("session restarted", advice="the venue began its numbers anew")
        return int(of_feed.sum())


def _kind(datagram: Datagram) -> RecordKind:
    return RecordKind.DATA if datagram[2] < SIDE_LINE else RecordKind.SNAPSHOT


def _caught_up(path: Path, decoder: LineDecoder) -> LineDecoder:
    """The decoder, behind all that was captured."""
    trusted = TrustedDecoder(decoder)  # which keeps back what is not for the feed's own
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            trusted.decode(batch)
    return decoder
