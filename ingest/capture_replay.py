"""A captured session out again as it came in: datagrams over UDP, or a websocket venue on loopback.

Records leave at the pace of their receive times, in the order in which they were captured, with all that
was wrong with them: what came twice goes out twice, and what was missing is missing.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from ingest.capture import CaptureReader, RecordKind
from ingest.websocket.replay import Pace, VenueLine
from tickloom.clock import Clock, SystemClock
from tickloom.errors import CaptureError

#: Called with records sent so far.
Progress = Callable[[int], None]
UNPACED_DATAGRAMS = 64  # at speed 0 so many at once, then a breath: an ordinary receive buffer holds them
_BREATH_S = 0.0005
_STEP_S = 0.002  # no wait is shorter: datagrams due within it leave together


def send_datagrams(
    path: Path,
    targets: Sequence[tuple[str, int]],
    *,
    speed: float = 1.0,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> int:
    """Send a session's datagrams over UDP; how many were sent.

    Parameters
    ----------
    targets : sequence of (str, int)
        Address and port of each line, the first line's first; a multicast group works too. What has no target
        of its own (other lines, answers to requests) goes to the first.
    speed : float
        Session seconds a real second; 0: as fast as a receiver on the same machine takes them.

    Raises
    ------
    CaptureError
        The capture is damaged, or nothing can be sent to that address.
    """
    stop, clock = stop or threading.Event(), clock or SystemClock()
    pace, sent = Pace(speed), 0
    pace.resume(clock.monotonic_ns())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out, CaptureReader(path) as reader:
        for batch in reader.batches():
            for record in batch:
                if record.kind != RecordKind.DATA:
                    continue
                wait_s = pace.wait_s(record.ts_recv, clock.monotonic_ns())
                if not speed and sent % UNPACED_DATAGRAMS == 0:
                    wait_s = _BREATH_S
                if stop.is_set() or (wait_s > (_STEP_S if speed else 0) and stop.wait(wait_s)):
                    return sent
                target = targets[record.line if record.line < len(targets) else 0]
                try:
                    out.sendto(record.payload, target)
                except OSError as error:
                    raise CaptureError(
                        f"record {record.number} cannot be sent to {target[0]}:{target[1]} "
                        f"({error.strerror}); give another --to"
                    ) from error
                sent += 1
            if progress is not None:
                progress(sent)
    return sent


class CapturedLines:
    """A captured websocket session as a source for the local venue (:mod:`ingest.websocket.server`)."""

    def __init__(self, path: Path, venue: str) -> None:
        self.venue = venue
        self._path = path

    def lines(self) -> Iterator[VenueLine]:
        """Messages and REST answers in order of their receive times, which never fall."""
        latest_ns = 0
        with CaptureReader(self._path) as reader:
            for batch in reader.batches():
                for record in batch:
                    latest_ns = max(latest_ns, record.ts_recv)
                    if record.kind == RecordKind.DATA:
                        yield VenueLine(latest_ns, record.payload)
                    elif record.kind == RecordKind.SNAPSHOT:
                        symbol, answer = _answer(record.payload)
                        yield VenueLine(latest_ns, answer, symbol)


class _Answer(msgspec.Struct):
    """Payload of a SNAPSHOT record; the answer as its bytes."""

    symbol: str
    data: msgspec.Raw


_answer_decoder = msgspec.json.Decoder(_Answer)


def _answer(payload: bytes) -> tuple[str, bytes]:
    read = _answer_decoder.decode(payload)
    return read.symbol, bytes(read.data)
