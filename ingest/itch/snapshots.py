"""A number in, a GLIMPSE snapshot that has everything before it out: the connection that fetches it.

In a thread of its own, because a snapshot of a whole market takes seconds, and the feed goes on meanwhile.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading

import structlog

from ingest.itch.glimpse import next_number_of, records
from ingest.websocket.connection import Backoff
from tickloom.clock import NS_PER_S, Clock
from tickloom.errors import ServiceError, TickloomError
from tickloom.settings import ItchSettings
from tickloom.soupbin.session import ClientSession, Down, Message

CONNECT_S = 3.0
READ_BYTES = 256 * 1024
TIMER_MS = 200
SNAPSHOT_BYTES_MAX = 1 << 30  # a market of ten million orders is 400 MB
SNAPSHOT_S_MAX = 120
OLD_MS = 250  # a snapshot from before the gap: the next one is asked for so much later

log = structlog.get_logger("ingest.itch")


class SnapshotFetcher:
    """Fetches snapshots for one session, when one is wanted. Nothing is where the settings name no server."""

    def __init__(self, settings: ItchSettings, session: bytes, clock: Clock) -> None:
        self.enabled = bool(settings.snapshot_address)
        self._settings, self._session, self._clock = settings, session, clock
        self._wanted = 0  # a snapshot must have all messages before this one; 0: none is wanted
        self._ready: list[bytes] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def want(self, number: int) -> None:
        """Books are lost: fetch a snapshot that has all messages before ``number``."""
        if not self.enabled:
            return
        with self._lock:
            self._wanted = max(self._wanted, number)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="glimpse", daemon=True)
                self._thread.start()

    def take(self) -> list[bytes]:
        """Payloads of SNAPSHOT records, once they are there."""
        with self._lock:
            ready, self._ready = self._ready, []
        return ready

    def close(self) -> None:
        """Stop; a connection that is open is closed within :data:`TIMER_MS`."""
        self._stopping.set()
        thread = self._thread
        if thread is not None:
            thread.join(2 * CONNECT_S)

    def _run(self) -> None:
        backoff = Backoff(self._settings.reconnect_ms, self._settings.reconnect_ms_max)
        while not self._stopping.is_set():
            try:
                found = self._fetch()
            except (OSError, TickloomError) as error:
                retry_ms = backoff.next_ms()
                log.warning("snapshot.failed", error=str(error), retry_ms=round(retry_ms))
                self._stopping.wait(retry_ms / 1_000)
                continue
            number = next_number_of(found[-1])
            with self._lock:
                if number >= self._wanted:
                    self._ready = list(records(self._session, found))
                    self._wanted, self._thread = 0, None
                    log.info("snapshot", next_number=number, messages=len(found))
                    return
            log.info("snapshot.old", next_number=number, wanted=self._wanted)
            self._stopping.wait(OLD_MS / 1_000)

    def _fetch(self) -> list[bytes]:
        """All messages of a snapshot, its end among them."""
        settings, clock = self._settings, self._clock
        host, _, port = settings.snapshot_address.rpartition(":")
        found: list[bytes] = []
        size = 0
        with socket.create_connection((host, int(port)), CONNECT_S) as opened:
            began_ns = clock.monotonic_ns()
            # always from 1: a snapshot is taken at the login, and its numbers are its own (GLIMPSE 5.0, 2)
            client = ClientSession(settings.soup_username, settings.soup_password, "", 1, began_ns)
            poll = select.poll()
            poll.register(opened, select.POLLIN)
            while not self._stopping.is_set():
                opened.sendall(client.take_output())
                events = client.on_timer(clock.monotonic_ns())
                if poll.poll(TIMER_MS):
                    data = opened.recv(READ_BYTES)
                    if not data:
                        raise ServiceError(f"{settings.snapshot_address} closed within a snapshot")
                    events += client.on_bytes(data, clock.monotonic_ns())
                for event in events:
                    if isinstance(event, Message) and event.sequence:
                        found.append(event.payload)
                        size += len(event.payload)
                        if next_number_of(event.payload):
                            self._log_out(client, opened)
                            return found
                    elif isinstance(event, Down):
                        raise ServiceError(f"{settings.snapshot_address}: {event.reason}")
                if size > SNAPSHOT_BYTES_MAX or clock.monotonic_ns() - began_ns > SNAPSHOT_S_MAX * NS_PER_S:
                    raise ServiceError(f"{settings.snapshot_address}: {size} bytes, and no end of a snapshot")
        raise ServiceError("stopped")

    def _log_out(self, client: ClientSession, opened: socket.socket) -> None:
        client.log_out(self._clock.monotonic_ns())
        with contextlib.suppress(OSError):
            opened.sendall(client.take_output())
