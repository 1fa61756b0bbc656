"""UDP in, datagrams with receive time and line out; requests for what is missing: MoldUDP64's sockets."""

from __future__ import annotations

import contextlib
from typing import Protocol

from ingest.capture_format import ANSWERS
from ingest.itch.moldudp64 import REQUEST_COUNT_MAX, SESSION_BYTES, pack_request
from ingest.udp.sockets import Datagram, LineAddress, LineSockets, line_addresses
from tickloom.clock import Clock
from tickloom.settings import ItchSettings

__all__ = ["Datagram", "Feed", "LineAddress", "UdpFeed", "line_addresses"]


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
        self._server = (settings.rerequest_host, settings.rerequest_port)
        self._lines = LineSockets(settings.receive_buffer_bytes, clock)
        try:
            self._lines.listen_to_lines(settings)
            self._asking = self._lines.ask(ANSWERS)
        except BaseException:
            self._lines.close()
            raise

    def close(self) -> None:
        self._lines.close()

    def receive(self, timeout_ms: int) -> list[Datagram]:
        """What came within ``timeout_ms``, oldest first."""
        return self._lines.receive(timeout_ms)

    def begin(self, session: str, expected: int, ended: bool) -> None:
        """Go on with a session that was captured up to ``expected``: what came since is asked for."""
        if not ended:
            self.ask(session.encode("ascii", "replace").ljust(SESSION_BYTES), expected, REQUEST_COUNT_MAX)

    def ask(self, session: bytes, first: int, count: int) -> None:
        """Send a request; one that is lost is repeated by the caller."""
        if self._server[1]:
            with contextlib.suppress(OSError):
                self._asking.sendto(pack_request(session, first, count), self._server)
