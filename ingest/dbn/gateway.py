"""A captured DBN session as a live gateway on loopback: a session again over a socket, and a rehearsal.

Every key is let in, and everyone gets the session's own records, whatever the subscription says, from its
``start`` on; at the pace of their receive times, with heartbeats in between and when the session is over.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from databento_dbn import SystemCode, SystemMsg

from ingest.capture import CaptureReader, RecordKind
from ingest.dbn.live import cut_apart, latest_time
from ingest.dbn.records import TIME_AT, RType
from ingest.websocket.replay import Pace
from tickloom.clock import NS_PER_S, Clock, SystemClock
from tickloom.errors import CaptureError, SetupError

HOST = "127.0.0.1"
CLIENT_S_MAX = 30.0  # for a client to say what it has to, or to take what it is sent
HEARTBEAT_S = 5.0
_STEP_S = 0.05
_VERSION = "0.6.3"
_HEARTBEAT = SystemCode.from_int(0)


def serve(
    path: Path,
    stop: threading.Event,
    *,
    port: int,
    speed: float = 1.0,
    on_ready: Callable[[str], None] | None = None,
    on_end: Callable[[], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """Serve a session, to one client after the other, until ``stop`` is set.

    Parameters
    ----------
    port : int
        0: a free one; ``on_ready`` is told ``HOST:PORT``.
    speed : float
        Session seconds a real second; 0: as fast as the client takes them.
    on_end : callable, optional
        Called when a client has had all of it.

    Raises
    ------
    SetupError
        The port is taken.
    CaptureError
        The capture is damaged, or is none of DBN.
    """
    clock = clock or SystemClock()
    metadata = _metadata(path)
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        raise SetupError(f"port {port} cannot be opened ({error.strerror}); give another --to") from error
    with listening:
        listening.settimeout(_STEP_S)
        if on_ready is not None:
            on_ready(f"{HOST}:{listening.getsockname()[1]}")
        while not stop.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(CLIENT_S_MAX)
                try:
                    _client(connection, path, metadata, speed, stop, on_end, clock)
                except OSError:  # it is gone; the next one begins anew
                    continue


def _client(
    connection: socket.socket,
    path: Path,
    metadata: bytes,
    speed: float,
    stop: threading.Event,
    on_end: Callable[[], None] | None,
    clock: Clock,
) -> None:
    lines = connection.makefile("r", encoding="utf-8", errors="replace", newline="\n")
    connection.sendall(f"lsg_version={_VERSION}\ncram={secrets.token_hex(16)}\n".encode())
    if "auth" not in _fields(lines.readline()):
        connection.sendall(b"success=0|error=No answer to the challenge\n")
        return
    connection.sendall(b"success=1|session_id=1\n")
    start_ns = 0
    while not (line := lines.readline()).startswith("start_session"):
        if not line:
            return
        start = _fields(line).get("start", "")
        start_ns = int(start) if start.isdecimal() else start_ns
    connection.sendall(metadata)
    pace, beat = Pace(speed), _Beat(connection, clock)
    pace.resume(clock.monotonic_ns())
    for ts_recv, piece in _since(path, start_ns):
        while (wait_s := pace.wait_s(ts_recv, clock.monotonic_ns())) > 0:
            if stop.wait(min(wait_s, _STEP_S)):
                return
            beat.keep()
        connection.sendall(piece)
        beat.sent()
    if on_end is not None:
        on_end()
    while not stop.wait(_STEP_S):
        beat.keep()


class _Beat:
    """Says that the gateway lives, when nothing else was sent for a while."""

    def __init__(self, connection: socket.socket, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._sent_ns = clock.monotonic_ns()

    def sent(self) -> None:
        self._sent_ns = self._clock.monotonic_ns()

    def keep(self) -> None:
        if self._clock.monotonic_ns() - self._sent_ns >= HEARTBEAT_S * NS_PER_S:
            self._connection.sendall(bytes(SystemMsg(self._clock.now_ns(), "Heartbeat", _HEARTBEAT)))
            self.sent()


def _metadata(path: Path) -> bytes:
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            for record in batch:
                if record.kind == RecordKind.SNAPSHOT:
                    return record.payload
    raise CaptureError(f"{path} has no metadata of DBN")


def _since(path: Path, start_ns: int) -> Iterator[tuple[int, bytes]]:
    """Receive times and records of the session; without what another gateway said of its own connection."""
    said = (int(RType.ERROR), int(RType.SYSTEM))
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            for record in batch:
                if record.kind != RecordKind.DATA:
                    continue
                kept = [one for one in cut_apart(record.payload) if one[1] not in said]
                if start_ns:
                    kept = [one for one in kept if _time(one) >= start_ns]
                if kept:
                    yield record.ts_recv, b"".join(kept)


def _time(record: bytes) -> int:
    return int(latest_time(np.frombuffer(record, dtype=np.uint8), TIME_AT))


def _fields(line: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in line.strip().split("|"))
