"""Both ends of a SoupBinTCP session as state machines: packets and times in, packets and events out. Pure.

Source: Nasdaq SoupBinTCP specification 3.00, sections 1.2 to 1.5. Each side sends a heartbeat when it
has sent nothing for a second, and takes the other for dead after 15 seconds of silence. The client
counts the sequenced messages; after a loss it logs in again and says which number it wants next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.errors import DecodeError
from tickloom.soupbin.packets import (
    NO_SUCH_SESSION,
    NOT_AUTHORISED,
    ClientHeartbeat,
    Debug,
    EndOfSession,
    Framer,
    LoginAccepted,
    LoginRejected,
    LoginRequest,
    Logout,
    Packet,
    Sequenced,
    ServerHeartbeat,
    Unsequenced,
    encode,
    sequenced,
)

HEARTBEAT_NS = NS_PER_S
SILENCE_NS_MAX = 15 * NS_PER_S
LOGIN_NS_MAX = 30 * NS_PER_S  # a client that does not log in by then is cut off (section 1.2)


class State(Enum):
    """Of a session, seen from one end."""

    LOGIN = "login"
    UP = "up"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Up:
    """Logged in. sequence: of the next message of the stream."""

    session: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Message:
    """A payload. sequence: its number in the stream; 0: it is not part of it."""

    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Down:
    """It is over; the connection is to be closed. finished: the stream has ended, do not come back. rejected:
    the code, where the login was."""

    reason: str
    finished: bool = False
    rejected: str = ""


Event: TypeAlias = Up | Message | Down


class _End:
    """What both ends share: framing, heartbeats, silence."""

    _beat: Packet

    def __init__(self, now_ns: int, heartbeat_ns: int) -> None:
        self.state = State.LOGIN
        self._framer = Framer()
        self._heartbeat_ns = heartbeat_ns
        self._begun_ns = self._sent_ns = self._heard_ns = now_ns
        self._out = bytearray()

    def take_output(self) -> bytes:
        """What is to be written now."""
        out, self._out = bytes(self._out), bytearray()
        return out

    def send(self, payload: bytes, now_ns: int) -> None:
        """A message outside of the stream: what a client sends to the server."""
        if self.state is State.UP:
            self._put(Unsequenced(payload), now_ns)

    def on_timer(self, now_ns: int) -> list[Event]:
        """To be called some times a second: heartbeats that are due, and a silence that is too long."""
        if self.state is State.OVER:
            return []
        if self.state is State.UP and now_ns - self._sent_ns >= self._heartbeat_ns:
            self._put(self._beat, now_ns)
        if now_ns - self._heard_ns >= SILENCE_NS_MAX:
            return self._end(f"nothing heard for {SILENCE_NS_MAX // NS_PER_S} s")
        if self.state is State.LOGIN and now_ns - self._begun_ns >= LOGIN_NS_MAX:
            return self._end("no login")
        return []

    def on_bytes(self, data: bytes, now_ns: int) -> list[Event]:
        """What came off the socket, as events. Bytes that are no packet end the session."""
        self._heard_ns = now_ns
        events: list[Event] = []
        try:
            for packet in self._framer.feed(data):
                if self.state is State.OVER:
                    break
                events += self._on_packet(packet, now_ns)
        except DecodeError as error:
            events += self._end(str(error))
        return events

    def _on_packet(self, packet: Packet, now_ns: int) -> list[Event]:
        raise NotImplementedError

    def _put(self, packet: Packet, now_ns: int) -> None:
        self._out += encode(packet)
        self._sent_ns = now_ns

    def _end(self, reason: str, finished: bool = False, rejected: str = "") -> list[Event]:
        self.state = State.OVER
        return [Down(reason, finished, rejected)]


class ClientSession(_End):
    """The client's end of one connection.

    Parameters
    ----------
    session, sequence : str, int
        What to ask for: the session (empty: the current one) and the number of the next message.
        Where the server has another session by now, ask again with an empty one and 1.
    """

    _beat = ClientHeartbeat()

    def __init__(
        self, username: str, password: str, session: str, sequence: int, now_ns: int,
        heartbeat_ns: int = HEARTBEAT_NS,
    ) -> None:  # fmt: skip
        super().__init__(now_ns, heartbeat_ns)
        self.session, self.next_sequence = session, sequence
        self._put(LoginRequest(username, password, session, sequence), now_ns)

    def log_out(self, now_ns: int) -> None:
        """Say goodbye; the server closes the connection."""
        if self.state is State.UP:
            self._put(Logout(), now_ns)

    def _on_packet(self, packet: Packet, now_ns: int) -> list[Event]:
        match packet:
            case ServerHeartbeat() | Debug():
                return []
            case LoginAccepted() if self.state is State.LOGIN:
                self.state = State.UP
                self.session, self.next_sequence = packet.session, packet.sequence
                return [Up(packet.session, packet.sequence)]
            case LoginRejected() if self.state is State.LOGIN:
                known = {NOT_AUTHORISED: "not authorised", NO_SUCH_SESSION: "no such session"}
                reason = f"login rejected: {known.get(packet.code, packet.code)}"
                return self._end(reason, rejected=packet.code)
            case Sequenced() if self.state is State.UP:
                number = self.next_sequence
                self.next_sequence += 1
                return [Message(number, packet.payload)]
            case Unsequenced() if self.state is State.UP:
                return [Message(0, packet.payload)]
            case EndOfSession():
                return self._end("end of session", finished=True)
            case _:
                return self._end(f"{type(packet).__name__} does not belong here")


class ServerSession(_End):
    """The server's end of one connection.

    Parameters
    ----------
    session : str
        The name of the stream that this server has.
    authorise : callable
        (username, password) to whether they may log in.
    count : callable
        username to the messages in its stream by now.
    heartbeat_ns : int
        The client may ask for another interval (version 4.00).

    Notes
    -----
    :class:`Up` says from where on the client wants the stream; whoever holds the store then calls
    :meth:`send_sequenced` with each message from that number on, once.
    """

    _beat = ServerHeartbeat()

    def __init__(
        self,
        session: str,
        authorise: Callable[[str, str], bool],
        count: Callable[[str], int],
        now_ns: int,
        heartbeat_ns: int = HEARTBEAT_NS,
    ) -> None:
        super().__init__(now_ns, heartbeat_ns)
        self.session, self._authorise, self._count = session, authorise, count
        self.username = ""

    def send_sequenced(self, payload: bytes, now_ns: int) -> None:
        """The next message of the stream."""
        if self.state is State.UP:
            self._out += sequenced(payload)
            self._sent_ns = now_ns

    def end_session(self, now_ns: int) -> None:
        """The stream is over."""
        if self.state is State.UP:
            self._put(EndOfSession(), now_ns)
        self.state = State.OVER

    def _on_packet(self, packet: Packet, now_ns: int) -> list[Event]:
        match packet:
            case ClientHeartbeat() | Debug():
                return []
            case LoginRequest() if self.state is State.LOGIN:
                return self._log_in(packet, now_ns)
            case Unsequenced() if self.state is State.UP:
                return [Message(0, packet.payload)]
            case Logout():
                return self._end("logged out")
            case _:
                return self._end(f"{type(packet).__name__} does not belong here")

    def _log_in(self, request: LoginRequest, now_ns: int) -> list[Event]:
        if not self._authorise(request.username, request.password):
            return self._reject(NOT_AUTHORISED, now_ns)
        if request.session not in ("", self.session):
            return self._reject(NO_SUCH_SESSION, now_ns)
        self.username = request.username
        end = self._count(request.username) + 1
        # a client cannot be ahead of the stream; 0 asks for new messages only
        first = min(request.sequence, end) if request.sequence else end
        if request.heartbeat_ms:
            self._heartbeat_ns = request.heartbeat_ms * NS_PER_MS
        self.state = State.UP
        self._put(LoginAccepted(self.session, first), now_ns)
        return [Up(self.session, first)]

    def _reject(self, code: str, now_ns: int) -> list[Event]:
        self._put(LoginRejected(code), now_ns)
        return self._end("login rejected")
