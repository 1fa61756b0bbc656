"""UDP datagrams in, a capture out, and its sinks kept going: the ITCH ingester's shell.

Everything that is decided is decided in pure modules: what is in order in ``moldudp64``, when to ask
again in ``rerequest``, what a message means in ``decoder``. Here are the sockets.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
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
from ingest.feeds import sessions
from ingest.itch.decoder import ItchDecoder, gap_from, gap_record
from ingest.itch.moldudp64 import REQUEST_COUNT_MAX, Gap, Packet, Tracker, pack_request, parse
from ingest.itch.rerequest import GiveUp, Request, Rerequester
from ingest.pipeline import CapturePublisher, SinksFactory
from ingest.warm import warm_up_itch, warm_up_shared
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from tickloom.errors import SetupError
from tickloom.instruments import Registry
from tickloom.settings import ItchSettings, StackSettings
from tickloom.telemetry import start_metrics

DATAGRAM_BYTES_MAX = 65_535
DATAGRAMS_AT_ONCE = 256  # captured with one write; more wait in the socket's buffer
POLL_MS = 100
POLL_GAP_MS = 1  # while something is missing
SILENCE_NS = 5 * NS_PER_S  # a session that is not over but silent for so long may be followed by another
_SO_TIMESTAMPNS = 35  # Linux: receive times in ns with each datagram
_SO_RCVBUFFORCE = 33  # Linux: beyond net.core.rmem_max, for those who may
_TIMESPEC = struct.Struct("@qq")

Datagram = tuple[int, bytes]
log = structlog.get_logger("ingest.itch")


def run(
    settings: ItchSettings,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock | None = None,
) -> None:
    """Capture and publish MoldUDP64 sessions, one after the other, until ``stop`` is set.

    A session of the day that was captured before is continued: what was sent while nobody listened is
    asked for again. Returns with all captured and, unless a server is away, published.

    Parameters
    ----------
    sinks_factory : SinksFactory
        Fresh sinks for each session; each is driven by a thread of its own.
    Raises
    ------
    SetupError
        A port cannot be opened.
    CaptureError
        The disk refuses. What was captured is published first.
    """
    clock = clock or SystemClock()
    ingester = _Ingester(settings, sinks_factory, StackSettings.load().data_dir, clock)
    with contextlib.closing(_Feed(settings, clock)) as feed:
        try:
            ingester.warm_up()
            ingester.resume(feed)
            start_metrics(settings.metrics_port)  # answering there says: ready
            log.info("listening", host=settings.host, port=settings.port, venue=settings.venue)
            while not stop.is_set():
                ingester.take(feed.receive(POLL_GAP_MS if ingester.waiting else POLL_MS))
                ingester.mend(feed)
        finally:
            ingester.finish()


class _Feed:
    """The sockets: one that listens, one that asks for what is missing and hears the answers."""

    def __init__(self, settings: ItchSettings, clock: Clock) -> None:
        self._clock = clock
        self._server = (settings.rerequest_host, settings.rerequest_port)
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            self._listening = opened.enter_context(_listen(settings))
            self._asking = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            _prepare(self._asking, settings.receive_buffer_bytes)
            self._poll = select.poll()
            for each in (self._listening, self._asking):
                self._poll.register(each, select.POLLIN)
            self._stack = opened.pop_all()

    def close(self) -> None:
        self._stack.close()

    def receive(self, timeout_ms: int) -> list[Datagram]:
        """What came, oldest first, within ``timeout_ms``."""
        found: list[Datagram] = []
        ready = {fd for fd, _ in self._poll.poll(timeout_ms)}
        for each in (self._listening, self._asking):
            room = len(found) + DATAGRAMS_AT_ONCE
            while each.fileno() in ready and len(found) < room:
                try:
                    raw, extra, _, _ = each.recvmsg(DATAGRAM_BYTES_MAX, 64, socket.MSG_DONTWAIT)
                except (BlockingIOError, ConnectionError):  # the latter: nobody answers requests
                    break
                found.append((self._received_ns(extra), raw))
        return found

    def ask(self, session: bytes, first: int, count: int) -> None:
        """Send a request; one that is lost is repeated by the caller."""
        if self._server[1]:
            with contextlib.suppress(OSError):
                self._asking.sendto(pack_request(session, first, count), self._server)

    def _received_ns(self, extra: list[tuple[int, int, bytes]]) -> int:
        for level, kind, value in extra:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(value) == _TIMESPEC.size:
                seconds, nanos = _TIMESPEC.unpack(value)
                return int(seconds * NS_PER_S + nanos)
        return self._clock.now_ns()


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

    @property
    def waiting(self) -> bool:
        return self._live is not None and self._live.rerequester.waiting

    def warm_up(self) -> None:
        """Compile the kernels before the first datagram instead of after it."""
        warm_up_shared()
        warm_up_itch(self._registry)

    def resume(self, feed: _Feed) -> None:
        """Continue the day's latest session, if one was captured, and ask for what came since."""
        day = f"{self._day():%Y%m%d}."
        known = [name for name in sessions(self._data_dir, self._settings.venue) if name.startswith(day)]
        if known:
            paths = {name: session_path(self._data_dir, self._settings.venue, name) for name in known}
            self._open(max(known, key=lambda name: max(p.stat().st_mtime_ns for p in paths[name].iterdir())))
            assert self._live is not None
            sequencer = self._live.tracker.sequencer
            if not sequencer.ended and self._live.tracker.session.strip():
                feed.ask(self._live.tracker.session, sequencer.expected, REQUEST_COUNT_MAX)

    def take(self, datagrams: list[Datagram]) -> None:
        """Capture what came, in whichever session it belongs to."""
        if not datagrams:
            return
        metrics.RECEIVED.labels(self._settings.venue).inc(len(datagrams))
        metrics.RECEIVED_BYTES.labels(self._settings.venue).inc(sum(len(raw) for _, raw in datagrams))
        start = 0
        for index, (_, raw) in enumerate(datagrams):
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

    def mend(self, feed: _Feed) -> None:
        """Ask for what is missing, or give it up; notice a sink that has failed."""
        if self._live is not None:
            self._live.mend(feed)
            self._live.publisher.check()

    def finish(self) -> None:
        """Close the capture and let the sinks publish the rest of it."""
        live, self._live = self._live, None
        if live is not None:
            live.writer.close()
            live.publisher.finish()

    def _capture(self, datagrams: list[Datagram]) -> None:
        if self._live is not None:
            self._live.take(datagrams)
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
        text = packet.session.decode("ascii", "replace").strip(" \x00")
        name = f"{self._day():%Y%m%d}.{text}"
        if not usable_session(text) or (self._live is not None and name == self._live.name):
            return None
        return name

    def _open(self, name: str) -> None:
        path = session_path(self._data_dir, self._settings.venue, name)
        writer = CaptureWriter(path, self._settings.capture_segment_mb)
        try:
            tracker = track(path, name.partition(".")[2])
        except BaseException:
            writer.close()
            raise
        settings, registry = self._settings, self._registry

        def make_decoder() -> ItchDecoder:
            return ItchDecoder(settings.venue, name, registry, settings.lateness_ms * NS_PER_MS)

        publisher = CapturePublisher(
            path, make_decoder, self._sinks_factory(), settings, writer.notification, self._clock
        )
        self._live = _Live(name, settings, writer, tracker, publisher, self._clock)
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
        tracker: Tracker,
        publisher: CapturePublisher,
        clock: Clock,
    ) -> None:
        self.name, self.writer, self.tracker, self.publisher = name, writer, tracker, publisher
        self.rerequester = Rerequester(settings.gap_timeout_ms)
        self._venue = settings.venue
        self._clock = clock
        self._heard_ns = clock.monotonic_ns()
        self._hole: Gap | None = None

    def over(self, now_ns: int) -> bool:
        """Whether another session may begin: this one has ended, or is silent for long."""
        return self.tracker.sequencer.ended or now_ns - self._heard_ns > SILENCE_NS

    def take(self, datagrams: list[Datagram]) -> None:
        """Capture first, then look at it. Behind a complete session nothing is worth a record."""
        if not datagrams or self.tracker.sequencer.ended:
            return
        times = [ts for ts, _ in datagrams]
        payloads = [raw for _, raw in datagrams]
        self.writer.append_many(RecordKind.DATA, times, payloads)
        if not self.tracker.session.strip(b"\x00"):
            self._adopt(payloads)
        batch = CaptureBatch.of([(RecordKind.DATA, *each) for each in datagrams])
        strange = sum(1 for _ in self.tracker.take(batch.data, batch.offsets, batch.kinds))
        if strange:
            metrics.REFUSED.labels(self._venue, "malformed").inc(strange)
            log.warning("malformed datagrams", count=strange, first=payloads[0][:32].hex())
        if strange < len(payloads):
            self._heard_ns = self._clock.monotonic_ns()

    def mend(self, feed: _Feed) -> None:
        missing = self.tracker.sequencer.missing()
        if self._hole is not None and (missing is None or missing.first > self._hole.last):
            metrics.GAPS.labels(self._venue, "filled").inc()
            self._hole = None
        step = self.rerequester.next(missing, self._clock.monotonic_ns())
        if isinstance(step, Request):
            self._hole = self._hole or missing
            feed.ask(self.tracker.session, step.first, step.count)
        elif isinstance(step, GiveUp):
            self.writer.append(RecordKind.CONTROL, self._clock.now_ns(), gap_record(step.gap))
            self.tracker.sequencer.give_up(step.gap.last)
            self._hole = None
            metrics.GAPS.labels(self._venue, "given_up").inc()
            log.warning("gap", first=step.gap.first, last=step.gap.last, advice="nobody could resend it")

    def _adopt(self, payloads: list[bytes]) -> None:
        """The ten bytes of the session, from the first packet that has its name."""
        for raw in payloads:
            packet = parse(raw)
            if packet is not None and _text(packet) == self.name.partition(".")[2]:
                self.tracker = Tracker(packet.session)
                return


def track(path: Path, mold_session: str) -> Tracker:
    """What a capture has of its session, gaps that were given up included."""
    tracker = Tracker(bytes(10))
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            if not tracker.session.strip(b"\x00"):
                for record in batch:
                    packet = parse(record.payload) if record.kind == RecordKind.DATA else None
                    if packet is not None and _text(packet) == mold_session:
                        tracker = Tracker(packet.session)
                        break
            for index in tracker.take(batch.data, batch.offsets, batch.kinds):
                if batch.kinds[index] == RecordKind.CONTROL:
                    gap = gap_from(batch.payload(index))
                    if gap is not None:
                        tracker.sequencer.give_up(gap.last)
    return tracker


def _text(packet: Packet) -> str:
    return packet.session.decode("ascii", "replace").strip(" \x00")


def _no_messages(packet: Packet) -> bool:
    return packet.whole == 0 and packet.count in (0, 0xFFFF)


def _listen(settings: ItchSettings) -> socket.socket:
    group = settings.multicast_group
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        _prepare(listening, settings.receive_buffer_bytes)
        if group:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((group or settings.host, settings.port))
        if group:
            membership = socket.inet_aton(group) + socket.inet_aton(settings.host)
            listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    except OSError as error:
        listening.close()
        raise SetupError(
            f"UDP {group or settings.host}:{settings.port} cannot be opened ({error.strerror}); "
            "set another itch.port, or see `tickloom doctor` for who holds it"
        ) from error
    return listening


def _prepare(each: socket.socket, receive_buffer_bytes: int) -> None:
    """Room for bursts, and receive times from the kernel where it offers them."""
    try:
        each.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)
    except OSError:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    with contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
