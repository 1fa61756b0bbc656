"""UDP in, datagrams with receive time and line out: one socket a line."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from dataclasses import dataclass

from tickloom.clock import NS_PER_S, Clock
from tickloom.errors import SetupError
from tickloom.settings import LineSettings

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


def line_address(text: str) -> LineAddress:
    """An address as settings have it: ADDRESS:PORT, or GROUP:PORT@INTERFACE."""
    where, _, interface = text.partition("@")
    host, _, port = where.rpartition(":")
    return LineAddress(interface or host, int(port), host if interface else "")


def line_addresses(settings: LineSettings) -> list[LineAddress]:
    """All lines of the feed, the first (A) first."""
    first = LineAddress(settings.host, settings.port, settings.multicast_group)
    return [first, *map(line_address, settings.other_lines)]


class LineSockets:
    """Sockets by line. Lines may be added and dropped at any time."""

    def __init__(self, receive_buffer_bytes: int, clock: Clock) -> None:
        self._receive_buffer_bytes, self._clock = receive_buffer_bytes, clock
        self._sockets: dict[int, socket.socket] = {}
        self._poll = select.poll()

    def listen(self, line: int, address: LineAddress, key: str) -> None:
        """Hear a line from now on. ``key``: of the setting that has its port.

        Raises
        ------
        SetupError
            The port cannot be opened, or the group not be joined.
        """
        listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._prepare(listening)
            if address.group:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((address.group or address.interface, address.port))
            if address.group:
                membership = socket.inet_aton(address.group) + socket.inet_aton(address.interface)
                listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        except (OSError, OverflowError) as error:  # the latter: no such port
            listening.close()
            raise SetupError(
                f"UDP {address} cannot be opened ({getattr(error, 'strerror', None) or error}); "
                f"set another {key}, or see `tickloom doctor` for who holds it"
            ) from error
        self._add(line, listening)

    def listen_to_lines(self, settings: LineSettings) -> None:
        """Hear all lines of the feed; raises as :meth:`listen` does."""
        for line, address in enumerate(line_addresses(settings)):
            key = f"other_lines[{line - 1}]" if line else "port"
            self.listen(line, address, f"{settings.section}.{key}")

    def ask(self, line: int) -> socket.socket:
        """A socket to ask from; what is answered to it comes as ``line``."""
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._prepare(asking)
        self._add(line, asking)
        return asking

    def drop(self, line: int) -> None:
        """Hear a line no more."""
        dropped = self._sockets.pop(line)
        self._poll.unregister(dropped)
        dropped.close()

    def close(self) -> None:
        for line in list(self._sockets):
            self.drop(line)

    def receive(self, timeout_ms: int) -> list[Datagram]:
        """What came within ``timeout_ms``, oldest first."""
        found: list[Datagram] = []
        ready = {fd for fd, _ in self._poll.poll(timeout_ms)}
        for line, each in self._sockets.items():
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

    def _add(self, line: int, added: socket.socket) -> None:
        self._sockets[line] = added
        self._poll.register(added, select.POLLIN)

    def _prepare(self, each: socket.socket) -> None:
        """Room for bursts, and receive times from the kernel where it offers them."""
        try:
            each.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, self._receive_buffer_bytes)
        except OSError:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer_bytes)
        with contextlib.suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def _received_ns(self, extra: list[tuple[int, int, bytes]]) -> int:
        for level, kind, value in extra:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(value) == _TIMESPEC.size:
                seconds, nanos = _TIMESPEC.unpack(value)
                return int(seconds * NS_PER_S + nanos)
        return self._clock.now_ns()


def _received(datagram: Datagram) -> int:
    return datagram[0]
