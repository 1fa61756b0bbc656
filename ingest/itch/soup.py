"""SoupBinTCP in, packets out as MoldUDP64 would have brought them: ITCH over TCP.

SoupBinTCP numbers messages by counting; what is captured has each number in it, in MoldUDP64 packets of our
own making, so that capture, decoder and replay know one form. A connection that is lost is made anew, with
the number that is due. Sources: Nasdaq SoupBinTCP 3.00, MoldUDP64 1.00.
"""

from __future__ import annotations

import contextlib
import select
import socket

import structlog

from ingest.capture import usable_session
from ingest.itch.moldudp64 import pack, pack_end
from ingest.itch.sockets import Datagram
from ingest.websocket.connection import Backoff
from tickloom.clock import NS_PER_MS, Clock
from tickloom.errors import SetupError
from tickloom.settings import ItchSettings
from tickloom.soupbin.packets import NO_SUCH_SESSION
from tickloom.soupbin.session import ClientSession, Down, Event, Message, Up

CONNECT_S = 3.0
READ_BYTES = 256 * 1024
PACKET_BYTES = 32 * 1024  # of what is captured as one record
TIMER_MS = 200  # no wait is longer: heartbeats are due each second
GOODBYE_S = 1.0  # for the server to take a logout
OTHER_SESSION_MS = 6_000  # before the next one: the shell waits 5 s for more of this one

log = structlog.get_logger("ingest.itch")


class SoupFeed:
    """The connection. It offers what :class:`~ingest.itch.sockets.UdpFeed` does."""

    def __init__(self, settings: ItchSettings, clock: Clock) -> None:
        host, _, port = settings.soup_address.rpartition(":")
        self._address = (host, int(port))
        self._settings = settings
        self._clock = clock
        self._backoff = Backoff(settings.reconnect_ms, settings.reconnect_ms_max)
        self._session, self._expected = settings.soup_session, 1
        self._finished = ""  # a session that has ended
        self._retry_ns = 0
        self._poll = select.poll()
        self._socket: socket.socket | None = None
        self._client = self._new_client()

    def begin(self, session: str, expected: int, ended: bool) -> None:
        """Go on with a session that was captured up to ``expected``; where it has ended, with the next."""
        if ended:
            self._finished = session
        else:
            self._session, self._expected = session, expected

    def ask(self, session: bytes, first: int, count: int) -> None:
        """TCP loses nothing: what the server does not have when we log in it does not have."""

    def close(self) -> None:
        """Log out, and let the server close the connection."""
        if self._socket is not None:
            self._client.log_out(self._clock.monotonic_ns())
            with contextlib.suppress(OSError):
                self._socket.settimeout(GOODBYE_S)
                self._socket.sendall(self._client.take_output())
                while self._socket.recv(READ_BYTES):
                    pass
            self._disconnect()

    def receive(self, timeout_ms: int) -> list[Datagram]:
        """What came within ``timeout_ms``, as MoldUDP64 packets; nothing while there is no connection.

        Raises
        ------
        SetupError
            The server refuses the login.
        """
        timeout_ms = min(timeout_ms, TIMER_MS)
        if self._socket is None and not self._connect(timeout_ms):
            return []
        assert self._socket is not None
        events: list[Event] = []
        try:
            if self._poll.poll(timeout_ms):
                data = self._socket.recv(READ_BYTES)
                if data:
                    events += self._client.on_bytes(data, self._clock.monotonic_ns())
                else:
                    events.append(Down("closed by the server"))
            events += self._client.on_timer(self._clock.monotonic_ns())
            self._send()
        except OSError as error:
            events.append(Down(error.strerror or str(error)))
        return self._take(events)

    def _connect(self, timeout_ms: int) -> bool:
        if self._clock.monotonic_ns() < self._retry_ns:
            select.poll().poll(timeout_ms)
            return False
        try:
            self._socket = socket.create_connection(self._address, CONNECT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)
            self._client = self._new_client()
            self._send()
        except OSError as error:
            self._lost(error.strerror or str(error))
            return False
        return True

    def _new_client(self) -> ClientSession:
        settings = self._settings
        name, word = settings.soup_username, settings.soup_password
        return ClientSession(name, word, self._session, self._expected, self._clock.monotonic_ns())

    def _send(self) -> None:
        out = self._client.take_output()
        if out and self._socket is not None:
            self._socket.sendall(out)

    def _take(self, events: list[Event]) -> list[Datagram]:
        """Messages as packets; what else has happened is seen to."""
        now_ns = self._clock.now_ns()
        found: list[Datagram] = []
        waiting: list[bytes] = []
        size = 0
        for event in events:
            if isinstance(event, Message) and event.sequence:
                waiting.append(event.payload)
                size += 2 + len(event.payload)
                if size < PACKET_BYTES:
                    continue
            if waiting:
                found.append((now_ns, self._pack(waiting), 0))
                waiting, size = [], 0
            if isinstance(event, Up):
                self._up(event)
            elif isinstance(event, Down):
                if event.finished:
                    end = pack_end(self._session.encode(), self._expected)
                    found.append((now_ns, end, 0))
                self._down(event)
            if self._socket is None:
                break
        if waiting:
            found.append((now_ns, self._pack(waiting), 0))
        return found

    def _pack(self, messages: list[bytes]) -> bytes:
        first = self._expected
        self._expected += len(messages)
        return pack(self._session.encode(), first, messages)

    def _up(self, up: Up) -> None:
        if not usable_session(up.session):
            raise SetupError(f"the server's session {up.session!r} cannot be a folder's name; ask the venue")
        if up.session == self._finished:  # nothing new yet
            self._disconnect()
            self._wait(self._settings.reconnect_ms_max)
            return
        if up.session == self._session and up.sequence < self._expected:
            # fewer messages than we had: from 1 on again, to see whether they are others
            log.warning("soup.behind", session=up.session, asked=self._expected, given=up.sequence)
            self._disconnect()
            self._expected = 1
            self._wait(self._backoff.next_ms())
            return
        self._session, self._expected = up.session, up.sequence
        self._backoff.reset()
        log.info("soup.up", session=up.session, sequence=up.sequence)

    def _down(self, down: Down) -> None:
        if down.finished:
            log.info("soup.end_of_session", session=self._session, messages=self._expected - 1)
            self._disconnect()
            self._finished, self._session, self._expected = self._session, "", 1
            self._wait(OTHER_SESSION_MS)
        elif down.rejected == NO_SUCH_SESSION and self._session not in ("", self._settings.soup_session):
            log.warning("soup.session_gone", session=self._session, advice="the venue has another by now")
            self._disconnect()
            self._session, self._expected = "", 1
            self._wait(OTHER_SESSION_MS)
        elif down.rejected:
            raise SetupError(
                f"{self._settings.soup_address}: {down.reason}; set itch.soup_username and "
                "itch.soup_password as the venue gave them; leave itch.soup_session empty for the current one"
            )
        else:
            self._lost(down.reason)

    def _lost(self, reason: str) -> None:
        self._disconnect()
        retry_ms = self._backoff.next_ms()
        self._wait(retry_ms)
        log.warning("soup.down", reason=reason, retry_ms=round(retry_ms), next=self._expected)

    def _wait(self, retry_ms: float) -> None:
        self._retry_ns = self._clock.monotonic_ns() + int(retry_ms * NS_PER_MS)

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
