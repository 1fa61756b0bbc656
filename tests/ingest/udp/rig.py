"""A live session in a thread, a sender on its lines, and sinks that remember: for tests of feeds on lines.

Nothing depends on how fast the machine is: the sender waits until all was received, and the time after which
a hole is given up passes when a test says so.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from prometheus_client import REGISTRY

from ingest import metrics
from ingest.capture import CaptureReader, session_path
from ingest.decoder import Decoder
from ingest.trusted import TrustedDecoder
from ingest.udp.sockets import line_addresses
from tickloom.clock import NS_PER_MS, SystemClock
from tickloom.events import GAP_DTYPE, EventBlock
from tickloom.settings import LineSettings

WAIT_S = 60.0
BURST = 32  # datagrams under way at once: an ordinary receive buffer holds them
PATIENCE_MS = 3_600_000  # no hole is given up before the test lets the time pass

Sent = tuple[int, bytes]  # line and datagram
Events = dict[str, bytes]


class LetClock(SystemClock):
    """Receive times stand still, and the time that limits go by runs, until both are let on."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns, self._passed_ns = start_ns, 0

    def let(self, ns: int) -> None:
        self._passed_ns += ns

    def now_ns(self) -> int:
        return self._start_ns + self._passed_ns

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self._passed_ns


class MemorySink:
    """Keeps what it is given."""

    name = "memory"
    interval_ms = 1.0

    def __init__(self) -> None:
        self.parts: dict[str, list[bytes]] = {}
        self.counts: dict[str, int] = {}
        self.last_seq = 0
        self.session = ""

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        self.session = session
        return {}

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        for kind, rows in timeless(block).items():
            self.parts.setdefault(kind, []).append(rows)
            self.counts[kind] = self.counts.get(kind, 0) + len(block.kinds()[kind])
        self.last_seq = last_seq

    def flush(self) -> None: ...

    def close(self) -> None: ...

    @property
    def events(self) -> Events:
        return {kind: b"".join(parts) for kind, parts in self.parts.items()}


class Rig:
    """``run`` of a feed in a thread, on loopback."""

    def __init__(
        self,
        run: Callable[..., None],
        settings: LineSettings,
        data_dir: Path,
        ready: threading.Event,
        start_ns: int,
    ) -> None:
        self.settings, self._run_feed, self._data_dir, self._ready = settings, run, data_dir, ready
        self.clock = LetClock(start_ns)
        self.sinks: list[MemorySink] = []
        self.error: BaseException | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.lines = [(each.group or each.interface, each.port) for each in line_addresses(settings)]
        self.start()

    def start(self) -> None:
        self._ready.clear()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.wait(lambda: self._ready.is_set() or not self.thread.is_alive())

    def _run(self) -> None:
        def sinks() -> list[MemorySink]:
            self.sinks.append(MemorySink())
            return self.sinks[-1:]

        try:
            self._run_feed(self.settings, sinks, self.stop, self.clock)
        except BaseException as error:
            self.error = error

    def play(self, sent: Iterable[Sent]) -> None:
        """Send datagrams on their lines, and return when all were received."""
        waiting = 0
        target = received = self.received
        for line, raw in sent:
            self.send(line, raw)
            target += 1
            waiting += 1
            if waiting == BURST:
                waiting = 0
                self.wait(lambda reached=target: self.received >= reached)  # type: ignore[misc]
        assert target >= received
        self.wait(lambda: self.received >= target)

    def send(self, line: int, raw: bytes) -> None:
        """Send a datagram that nobody may hear."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendto(raw, self.lines[line])

    @property
    def received(self) -> float:
        found: float = metrics.RECEIVED.labels(self.settings.venue)._value.get()
        return found

    def metric(self, name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"venue": self.settings.venue, **labels}) or 0.0

    def give_up(self, reached: Callable[[], bool]) -> None:
        """Let the time pass after which holes are given up, until ``reached``."""
        self.clock.let((PATIENCE_MS + 1) * NS_PER_MS)
        self.wait(reached)

    def wait(self, reached: Callable[[], bool]) -> None:
        for _ in range(int(WAIT_S * 1_000)):
            if reached():
                return
            threading.Event().wait(0.001)
        raise AssertionError(f"not reached; {self.error!r}; {[sink.counts for sink in self.sinks]}")

    def end(self) -> None:
        self.stop.set()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.stop.set()
        self.thread.join(WAIT_S)
        self._socket.close()

    def capture(self, session: str) -> Path:
        return session_path(self._data_dir, self.settings.venue, session)


def timeless(block: EventBlock) -> Events:
    """A block's events as bytes, by kind, without our receive times: those of two runs differ."""
    found = {}
    for kind, rows in block.kinds().items():
        rows = rows.copy()
        if "ts_recv" in (rows.dtype.names or ()):
            rows["ts_recv"] = 0
        found[kind] = rows.tobytes()
    return found


def events_of(path: Path, decoder: Decoder) -> Events:
    """All events that a capture gives, by kind, without receive times."""
    parts: dict[str, list[bytes]] = {}
    trusted = TrustedDecoder(decoder)
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            for kind, rows in timeless(trusted.decode(batch)).items():
                parts.setdefault(kind, []).append(rows)
    return {kind: b"".join(some) for kind, some in parts.items()}


@dataclass
class Faults:
    """Chances of a packet on a line, and those that no line brings."""

    seed: int
    drop: float = 0.05
    double: float = 0.05
    swap: float = 0.05

    def play(self, packets: list[bytes], lines: int, spare: int = 0) -> tuple[Iterator[Sent], set[int]]:
        """Packets as they leave on the lines, round by round; and which (from 0) no line brings. The last
        ``spare`` ones are not dropped."""
        rng = random.Random(self.seed)
        count = len(packets)
        lost_on = [{each for each in range(count - spare) if rng.random() < self.drop} for _ in range(lines)]
        both = {each for each in range(count - spare) if rng.random() < self.drop / 2}
        queues = []
        for lost in lost_on:
            queue = []
            for each in range(count):
                if each not in lost | both:
                    queue += [each] * (2 if rng.random() < self.double else 1)
            for at in range(len(queue) - 4):
                if rng.random() < self.swap:
                    other = at + rng.randrange(1, 4)
                    queue[at], queue[other] = queue[other], queue[at]
            queues.append(queue)
        missing = set(range(count)) - {each for queue in queues for each in queue}

        def rounds() -> Iterator[Sent]:
            for at in range(max(map(len, queues))):
                for line, queue in enumerate(queues):
                    if at < len(queue):
                        yield line, packets[queue[at]]

        return rounds(), missing


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Consecutive numbers as first and last of each run."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [(first, last) for first, last in found]


def gap_ranges(events: Events) -> list[tuple[int, int]]:
    """First and last missing number of each gap event."""
    rows = np.frombuffer(events["gaps"], dtype=GAP_DTYPE)
    return [(int(row["first_missing"]), int(row["last_missing"])) for row in rows]
