"""SoupBinTCP packets to bytes and back. Pure.

Source: Nasdaq SoupBinTCP specification 3.00 (2017), sections 1.1 and 2. A packet is a length (u16,
big-endian, of what follows), a type byte and a payload. Numbers in a payload are ASCII, right-justified,
padded with spaces on the left; names are left-justified.

Version 4.00 has the same packets with a heartbeat interval at the end of the login request (5 digits,
milliseconds); without it the packet is that of 3.00. Both are read.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import TypeAlias

from tickloom.errors import DecodeError

SESSION_LENGTH = 10
USERNAME_LENGTH = 6
PASSWORD_LENGTH = 10
SEQUENCE_LENGTH = 20
INTERVAL_LENGTH = 5
PACKET_BYTES_MAX = 65_535
NOT_AUTHORISED = "A"  # reject code: user name or password
NO_SUCH_SESSION = "S"  # reject code: the session asked for is not available

_NAME = "SoupBinTCP"
_HEAD = struct.Struct(">HB")
_LOGIN_BYTES = USERNAME_LENGTH + PASSWORD_LENGTH + SESSION_LENGTH + SEQUENCE_LENGTH


@dataclass(frozen=True, slots=True)
class Debug:
    """+: text for people."""

    text: bytes


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """L. session: blank for the current one. sequence: the next message wanted, from 1; 0: only new ones."""

    username: str
    password: str
    session: str = ""
    sequence: int = 1
    heartbeat_ms: int = 0  # 0: none is said (3.00)


@dataclass(frozen=True, slots=True)
class LoginAccepted:
    """A. sequence: of the first message that will follow."""

    session: str
    sequence: int


@dataclass(frozen=True, slots=True)
class LoginRejected:
    """J."""

    code: str


@dataclass(frozen=True, slots=True)
class Sequenced:
    """S: the next message of the stream. Its number is known by counting."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Unsequenced:
    """U: from the client, and what is not part of the stream."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class ServerHeartbeat:
    """H."""


@dataclass(frozen=True, slots=True)
class ClientHeartbeat:
    """R."""


@dataclass(frozen=True, slots=True)
class EndOfSession:
    """Z: the stream is over; there will be no more messages in it."""


@dataclass(frozen=True, slots=True)
class Logout:
    """O: the client wishes to be disconnected."""


Packet: TypeAlias = (
    Debug
    | LoginRequest
    | LoginAccepted
    | LoginRejected
    | Sequenced
    | Unsequenced
    | ServerHeartbeat
    | ClientHeartbeat
    | EndOfSession
    | Logout
)


def encode(packet: Packet) -> bytes:
    """A packet as bytes.

    Raises
    ------
    ValueError
        A name or payload that is too long, or a name that is not ASCII.
    """
    kind, payload = _parts(packet)
    if len(payload) + 1 > PACKET_BYTES_MAX:
        raise ValueError(f"a payload of {len(payload)} bytes is over SoupBinTCP's {PACKET_BYTES_MAX - 1}")
    return _HEAD.pack(len(payload) + 1, kind) + payload


def sequenced(payload: bytes) -> bytes:
    """``encode(Sequenced(payload))``, for the path that is hot."""
    return _HEAD.pack(len(payload) + 1, 0x53) + payload


def _parts(packet: Packet) -> tuple[int, bytes]:
    match packet:
        case Sequenced():
            return 0x53, packet.payload
        case Unsequenced():
            return 0x55, packet.payload
        case ServerHeartbeat():
            return 0x48, b""
        case ClientHeartbeat():
            return 0x52, b""
        case LoginRequest():
            return 0x4C, _login(packet)
        case LoginAccepted():
            return 0x41, _text(packet.session, SESSION_LENGTH) + _number(packet.sequence, SEQUENCE_LENGTH)
        case LoginRejected():
            return 0x4A, _text(packet.code, 1)
        case EndOfSession():
            return 0x5A, b""
        case Logout():
            return 0x4F, b""
        case Debug():
            return 0x2B, packet.text


def _login(packet: LoginRequest) -> bytes:
    return (
        _text(packet.username, USERNAME_LENGTH)
        + _text(packet.password, PASSWORD_LENGTH)
        + _text(packet.session, SESSION_LENGTH)
        + _number(packet.sequence, SEQUENCE_LENGTH)
        + (_number(packet.heartbeat_ms, INTERVAL_LENGTH) if packet.heartbeat_ms else b"")
    )


def _text(text: str, width: int) -> bytes:
    raw = text.encode("ascii")
    if len(raw) > width:
        raise ValueError(f"{text!r} is over SoupBinTCP's {width} characters")
    return raw.ljust(width)


def _number(number: int, width: int) -> bytes:
    raw = str(number).encode()
    if number < 0 or len(raw) > width:
        raise ValueError(f"{number} does not fit {width} digits")
    return raw.rjust(width)


def decode(kind: int, payload: bytes) -> Packet:
    """A packet from its type byte and payload.

    Raises
    ------
    DecodeError
        An unknown type, or a payload that is not as the type wants it.
    """
    if kind == 0x53:
        return Sequenced(payload)
    if kind == 0x55:
        return Unsequenced(payload)
    empty = _EMPTY.get(kind)
    if empty is not None:
        if payload:
            raise DecodeError(_NAME, f"packet {chr(kind)} with a payload of {len(payload)} bytes")
        return empty
    if kind == 0x2B:
        return Debug(payload)
    try:
        return _session_packet(kind, payload)
    except ValueError as error:  # UnicodeDecodeError is one
        raise DecodeError(_NAME, f"packet {chr(kind)}: {error}") from None


_EMPTY: dict[int, Packet] = {
    0x48: ServerHeartbeat(),
    0x52: ClientHeartbeat(),
    0x5A: EndOfSession(),
    0x4F: Logout(),
}


def _count(text: str) -> int:
    if not text.isdigit():  # int() would take a sign and underscores, too
        raise ValueError(f"{text!r} is no number")
    return int(text)


def _session_packet(kind: int, payload: bytes) -> Packet:
    text = payload.decode("ascii")
    if kind == 0x4C:
        if len(text) not in (_LOGIN_BYTES, _LOGIN_BYTES + INTERVAL_LENGTH):
            raise ValueError(f"a login of {len(text)} bytes, it has {_LOGIN_BYTES}")
        cuts = (0, 6, 16, 26, 46, len(text))
        username, password, session, sequence, interval = (
            text[begin:end].strip() for begin, end in itertools.pairwise(cuts)
        )
        return LoginRequest(username, password, session, _count(sequence or "0"), _count(interval or "0"))
    if kind == 0x41:
        if len(text) != SESSION_LENGTH + SEQUENCE_LENGTH:
            raise ValueError(f"{len(text)} bytes, it has {SESSION_LENGTH + SEQUENCE_LENGTH}")
        return LoginAccepted(text[:SESSION_LENGTH].strip(), _count(text[SESSION_LENGTH:].strip()))
    if kind == 0x4A and len(text) == 1:
        return LoginRejected(text)
    raise ValueError("no such packet")


class Framer:
    """Bytes as they come off a socket, packets out. What is incomplete waits (at most one packet)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are whole now.

        Raises
        ------
        DecodeError
            A packet that is none; the connection cannot be used any more.
        """
        buffer = self._buffer
        buffer += data
        found: list[Packet] = []
        at, size = 0, len(buffer)
        while size - at >= 2:
            length = buffer[at] << 8 | buffer[at + 1]
            if length == 0:
                raise DecodeError(_NAME, "a packet of length 0", at)
            end = at + 2 + length
            if end > size:
                break
            found.append(decode(buffer[at + 2], bytes(buffer[at + 3 : end])))
            at = end
        del buffer[:at]
        return found
