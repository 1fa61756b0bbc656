"""UDP in, datagrams with receive time and line out; requests for what is missing: MoldUDP64's sockets."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from dataclasses import dataclass
from typing import Protocol

from ingest.capture_format import ANSWERS
from ingest.itch.moldudp64 import REQUEST_COUNT_MAX, SESSION_BYTES, pack_request
from tickloom.clock import NS_PER_S, Clock
from tickloom.errors import SetupError
from tickloom.settings import ItchSettings

DATAGRAM_BYTES_MAX = 65_535
DATAGRAMS_AT_ONCE = 256  # of a socket, captured with one write; more wait in its buffer
_SO_TIMESTAMPNS = 35  # Linux: receive times in ns with each datagram
_SO_RCVBUFFORCE = 33  # Linux: beyond net.core.rmem_max, for those who may
_TIMESPEC = struct.Struct("@qq")

#: Receive time (ns), bytes, and the line that brought them.
Datagram = tuple[int, bytes, int]


@dataclass(frozen=True, slots=True)
class LineAddress:
    """Where a line comes: on ``interface`` and ``port``, for a multicast ``group`` where there is one."""

    interface: str
    port: int
    group: str = ""

    def __str__(self) -> str:
        return f"{self.group or self.interface}:{self.port}"


def line_addresses(settings: ItchSettings) -> list[LineAddress]:
    """All lines of the feed, the first (A) first."""
    found = [LineAddress(settings.host, settings.port, settings.multicast_group)]
    for text in settings.other_lines:
        where, _, interface = text.partition("@")
        host, _, port = where.rpartition(":")
        found.append(LineAddress(interface or host, int(port), host if interface else ""))
    return found


class Feed(Protocol):
    """Where a session's datagrams come from."""

    def begin(self, session: str, expected: int, ended: bool) -> None:
        """A session was captured up to ``expected``: go on there."""
        ...

    def receive(self, timeout_ms: int) -> list[Datagram]:
        """What came within ``timeout_ms``, oldest first."""
        ...

    def ask(self, session: bytes, first: int, count: int) -> None:
        """Ask for messages to be sent again. There is no answer but the messages themselves."""
        ...

    def close(self) -> None:
        """Say goodbye, where the protocol has a word for it, and close."""
        ...


class UdpFeed:
    """The sockets: one a line, and one that asks for what is missing and hears the answers.

    Raises
    ------
    SetupError
        A port cannot be opened, or a group not be joined.
    """

    def __init__(self, settings: ItchSettings, clock: Clock) -> None:
        self._clock = clock
        self._server = (settings.rerequest_host, settings.rerequest_port)
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            self._sockets: list[tuple[int, socket.socket]] = []
            for line, address in enumerate(line_addresses(settings)):
                listening = _listen(address, line, settings.receive_buffer_bytes)
                self._sockets.append((line, opened.enter_context(listening)))
            self._asking = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            _prepare(self._asking, settings.receive_buffer_bytes)
            self._sockets.append((ANSWERS, self._asking))
            self._poll = select.poll()
            for _, each in self._sockets:
                self._poll.register(each, select.POLLIN)
            self._stack = opened.pop_all()

    def close(self) -> None:
        self._stack.close()

    def receive(self, timeout_ms: int) -> list[Datagram]:
        """What came within ``timeout_ms``, oldest first."""
        found: list[Datagram] = []
        ready = {fd for fd, _ in self._poll.poll(timeout_ms)}
        for line, each in self._sockets:
            room = len(found) + DATAGRAMS_AT_ONCE
            while each.fileno() in ready and len(found) < room:
                try:
                    raw, extra, _, _ = each.recvmsg(DATAGRAM_BYTES_MAX, 64, socket.MSG_DONTWAIT)
                except (BlockingIOError, ConnectionError):  # the latter: nobody answers requests
                    break
                found.append((self._received_ns(extra), raw, line))
        if len(ready) > 1:
            found.sort(key=_received)  # by the kernel's times: so a capture tells which line was ahead
        return found

    def begin(self, session: str, expected: int, ended: bool) -> None:
        """Go on with a session that was captured up to ``expected``: what came since is asked for."""
        if not ended:
            self.ask(session.encode("ascii", "replace").ljust(SESSION_BYTES), expected, REQUEST_COUNT_MAX)

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


def _received(datagram: Datagram) -> int:
    return datagram[0]


def _listen(address: LineAddress, line: int, receive_buffer_bytes: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        _prepare(listening, receive_buffer_bytes)
        if address.group:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.group or address.interface, address.port))
        if address.group:
            membership = socket.inet_aton(address.group) + socket.inet_aton(address.interface)
            listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    except OSError as error:
        listening.close()
        key = f"itch.other_lines[{line - 1}]" if line else "itch.port"
        raise SetupError(
            f"UDP {address} cannot be opened ({error.strerror or error}); "
            f"set another {key}, or see `tickloom doctor` for who holds it"
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
