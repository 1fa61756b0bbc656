"""Messages out as MoldUDP64 datagrams, and a socket that answers re-requests.

Source: Nasdaq MoldUDP64 protocol specification 1.00. Head: session (10 bytes), sequence number of the
first message (u64), message count (u16); then each message behind its length (u16). Count 0 is a
heartbeat with the next sequence number, sent when nothing else was for a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
from collections import deque
from typing import cast

import structlog

from tickloom.errors import SetupError

HEAD = struct.Struct(">10sQH")
PAYLOAD_BYTES_MAX = 1_400
HEARTBEAT_S = 1.0
HISTORY_MESSAGES_MAX = 1_000_000  # that can be asked for again; about 100 MB. What is older is gone
ANSWER_DATAGRAMS_MAX = 32  # a request; more would overrun the asker's buffer, and it asks again
_LENGTH = struct.Struct(">H")

_log = structlog.get_logger("exchange")


class MoldHistory:
    """The session's messages by number, from 1. Pure."""

    def __init__(self, session: str) -> None:
        self.session = session.encode("ascii").ljust(10)[:10]
        self._messages: deque[bytes] = deque(maxlen=HISTORY_MESSAGES_MAX)
        self.next = 1

    def append(self, messages: list[bytes]) -> list[bytes]:
        """Number them; the datagrams that tell them."""
        first = self.next
        self._messages.extend(messages)
        self.next += len(messages)
        return self._pack(first, messages)

    def heartbeat(self) -> bytes:
        return HEAD.pack(self.session, self.next, 0)

    def answer(self, request: bytes) -> list[bytes]:
        """The datagrams that answer a request; none for what is malformed, foreign, or not there."""
        if len(request) != HEAD.size:
            return []
        session, first, count = HEAD.unpack(request)
        oldest = self.next - len(self._messages)
        if session != self.session or not oldest <= first < self.next:
            return []
        begin = first - oldest
        end = min(begin + count, len(self._messages))
        found = [self._messages[index] for index in range(begin, end)]
        return self._pack(first, found)[:ANSWER_DATAGRAMS_MAX]

    def _pack(self, first: int, messages: list[bytes]) -> list[bytes]:
        out: list[bytes] = []
        block, count = bytearray(), 0
        for message in messages:
            if count and len(block) + 2 + len(message) > PAYLOAD_BYTES_MAX:
                out.append(HEAD.pack(self.session, first, count) + block)
                first, block, count = first + count, bytearray(), 0
            block += _LENGTH.pack(len(message)) + message
            count += 1
        if count:
            out.append(HEAD.pack(self.session, first, count) + block)
        return out


class _Requests(asyncio.DatagramProtocol):
    def __init__(self, history: MoldHistory) -> None:
        self._history = history

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for datagram in self._history.answer(data):
            self._transport.sendto(datagram, addr)


class MoldPublisher:
    """One feed: datagrams to an address, requests answered on a port of its own."""

    def __init__(self, host: str, port: int, rerequest_host: str, rerequest_port: int) -> None:
        self._target, self._rerequest = (host, port), (rerequest_host, rerequest_port)
        self.history = MoldHistory(secrets.token_hex(5))
        self._out: asyncio.DatagramTransport | None = None
        self._in: asyncio.DatagramTransport | None = None
        self._beat: asyncio.Task[None] | None = None
        self._quiet = True

    async def start(self) -> int:
        """Open the sockets; the re-request port.

        Raises
        ------
        SetupError
            The re-request port is taken.
        """
        loop = asyncio.get_running_loop()
        try:
            self._in, _ = await loop.create_datagram_endpoint(
                lambda: _Requests(self.history), local_addr=self._rerequest
            )
        except OSError as error:
            host, port = self._rerequest
            raise SetupError(
                f"re-request port {host}:{port} cannot be opened ({error.strerror}); set another port"
            ) from error
        self._out, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=self._target)
        self._beat = asyncio.create_task(self._heartbeats())
        return int(self._in.get_extra_info("sockname")[1])

    def publish(self, messages: list[bytes]) -> None:
        """The next messages of the feed."""
        if messages:
            self._quiet = False
            for datagram in self.history.append(messages):
                self._send(datagram)

    async def close(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beat
        for transport in (self._out, self._in):
            if transport is not None:
                transport.close()

    def _send(self, datagram: bytes) -> None:
        if self._out is not None and not self._out.is_closing():
            self._out.sendto(datagram)

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self._quiet:
                self._send(self.history.heartbeat())
            self._quiet = True
