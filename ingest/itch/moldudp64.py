"""MoldUDP64 packets in, the order of their messages out: pure, no socket and no clock.

Source: Nasdaq MoldUDP64 protocol specification 1.00. A downstream packet is a head (session, 10
bytes; sequence number of its first message, u64; message count, u16; big-endian) and that many
messages, each behind a length (u16). Count 0 is a heartbeat, whose sequence number is the next one
to come; count 0xFFFF says that the session is over. A request has the same head.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.udp.gaps import Gap as Gap
from tickloom.events import SEQ_PER_DAY

HEAD = struct.Struct(">10sQH")
HEAD_BYTES = 20
SESSION_BYTES = 10
HEARTBEAT = 0
END_OF_SESSION = 0xFFFF
PACKET_BYTES_MAX = 1_400  # of what we send: fits an Ethernet frame with all its heads
REQUEST_COUNT_MAX = 0xFFFF - 1
PENDING_PACKETS_MAX = 16_384  # waiting behind a gap, about 20 MB; beyond it the gap is given up
NEVER = 2**62  # a sequence number that does not come

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet's head. whole: messages that are there in full; count: those that the head claims."""

    session: bytes
    sequence: int
    count: int
    whole: int

    @property
    def next_sequence(self) -> int:
        """Number behind the last whole message; of a heartbeat or end, the one that is due."""
        return self.sequence + self.whole

    @property
    def name(self) -> str:
        """The session's ten bytes as text, without what pads them."""
        return self.session.decode("ascii", "replace").strip(" \x00")


def parse(raw: bytes) -> Packet | None:
    """Head of a packet; None where the bytes are no MoldUDP64 packet (short, or no such number)."""
    if len(raw) < HEAD_BYTES:
        return None
    session, sequence, count = HEAD.unpack_from(raw)
    if not 1 <= sequence < SEQ_PER_DAY:
        return None
    whole = 0
    if count != END_OF_SESSION:
        at = HEAD_BYTES
        while whole < count and at + 2 <= len(raw):
            at += 2 + int.from_bytes(raw[at : at + 2], "big")
            if at > len(raw):
                break
            whole += 1
    return Packet(session, sequence, count, whole)


def messages(raw: bytes) -> list[bytes]:
    """The whole messages of a packet, without their lengths."""
    packet = parse(raw)
    found: list[bytes] = []
    at = HEAD_BYTES
    for _ in range(packet.whole if packet else 0):
        stop = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        found.append(raw[at + 2 : stop])
        at = stop
    return found


def pack(session: bytes, sequence: int, items: Iterable[bytes]) -> bytes:
    """A packet of messages, or a heartbeat where there are none."""
    blocks = [len(item).to_bytes(2, "big") + item for item in items]
    return HEAD.pack(session.ljust(SESSION_BYTES), sequence, len(blocks)) + b"".join(blocks)


def pack_end(session: bytes, sequence: int) -> bytes:
    """End of session; ``sequence`` is the number behind the last message."""
    return HEAD.pack(session.ljust(SESSION_BYTES), sequence, END_OF_SESSION)


def pack_request(session: bytes, sequence: int, count: int) -> bytes:
    """Ask the server to send ``count`` messages from ``sequence`` on again."""
    return HEAD.pack(session.ljust(SESSION_BYTES), sequence, min(count, REQUEST_COUNT_MAX))


class Sequencer(Generic[T]):
    """Puts packets in order: lets through what is due, keeps what is early, drops what was there.

    ``item`` is what the caller wants back with a packet. A packet may overlap what was there: the
    caller skips messages below the number that was expected.

    Attributes
    ----------
    expected : int
        The number that is due.
    horizon : int
        The number behind the highest that was heard of.
    end : int
        The number behind the last message of the session; NEVER while that is not known.
    """

    def __init__(self, expected: int = 1) -> None:
        self.expected = self.horizon = expected
        self.end = NEVER
        self._pending: dict[int, tuple[int, T]] = {}
        self._order: list[int] = []

    @property
    def first_pending(self) -> int:
        """Sequence number of the first packet that waits; NEVER where none does."""
        return self._order[0] if self._order else NEVER

    @property
    def ended(self) -> bool:
        """The session is over, and nothing of it is missing."""
        return self.expected >= self.end

    def accept(self, packet: Packet, item: T) -> list[T | Gap]:
        """What can go on now, in order. A :class:`Gap` comes only where too much waits behind it."""
        if packet.count == END_OF_SESSION:
            self.end = min(self.end, max(packet.sequence, self.horizon))
        self.horizon = max(self.horizon, packet.next_sequence)
        if packet.whole == 0 or packet.next_sequence <= self.expected:
            return []
        if packet.sequence <= self.expected:
            self.expected = packet.next_sequence
            return [item, *self.release()]
        known = self._pending.get(packet.sequence)
        if known is None:
            heapq.heappush(self._order, packet.sequence)
        if known is None or known[0] < packet.whole:
            self._pending[packet.sequence] = (packet.whole, item)
        if len(self._pending) > PENDING_PACKETS_MAX:
            return self.give_up(self.first_pending - 1)
        return []

    def release(self) -> list[T | Gap]:
        """What waited and is due now."""
        out: list[T | Gap] = []
        while self._order and self._order[0] <= self.expected:
            sequence = heapq.heappop(self._order)
            whole, item = self._pending.pop(sequence)
            if sequence + whole > self.expected:
                self.expected = sequence + whole
                out.append(item)
        return out

    def give_up(self, last: int) -> list[T | Gap]:
        """Nobody has the messages up to ``last``: go on behind them."""
        if last < self.expected:
            return []
        gap = Gap(self.expected, last)
        self.expected = last + 1
        self.horizon = max(self.horizon, self.expected)
        return [gap, *self.release()]

    def missing(self) -> Gap | None:
        """The first hole: from what is due up to what waits, or to the horizon. None: nothing misses."""
        stop = min(self.first_pending, self.horizon)
        return Gap(self.expected, stop - 1) if stop > self.expected else None


@njit(cache=True, nogil=True, inline="always")
def be16(data, at):  # type: ignore[no-untyped-def]
    """Big-endian u16 as int64."""
    return (np.int64(data[at]) << 8) | np.int64(data[at + 1])


@njit(cache=True, nogil=True, inline="always")
def be32(data, at):  # type: ignore[no-untyped-def]
    """Big-endian u32 as int64."""
    return (be16(data, at) << 16) | be16(data, at + 2)


@njit(cache=True, nogil=True, inline="always")
def be64(data, at):  # type: ignore[no-untyped-def]
    """Big-endian u64 as int64 (two's complement)."""
    return (be32(data, at) << 32) | be32(data, at + 4)


@njit(cache=True, nogil=True)
def advance(data, offsets, kinds, session, record, expected, pending_first):  # type: ignore[no-untyped-def]
    """Pass over packets that are in order: (record of the first that is not, number that is due).

    Stops at whatever is not plain: another record kind or session, a heartbeat that is ahead, a
    packet that is early, and where a waiting packet becomes due.
    """
    while record < kinds.size and expected < pending_first:
        at = offsets[record]
        stop = offsets[record + 1]
        if kinds[record] != 0 or stop - at < HEAD_BYTES:
            break
        for i in range(SESSION_BYTES):
            if data[at + i] != session[i]:
                return record, expected
        sequence = be64(data, at + SESSION_BYTES)
        count = be16(data, at + SESSION_BYTES + 8)
        if sequence < 1 or sequence > expected or count == END_OF_SESSION:
            break
        at += HEAD_BYTES
        whole = 0
        while whole < count and at + 2 <= stop:
            at += 2 + be16(data, at)
            if at > stop:
                break
            whole += 1
        expected = max(expected, sequence + whole)
        record += 1
    return record, expected


class Tracker:
    """What of a session was captured, and what is missing: the session's view, without the messages."""

    def __init__(self, session: bytes) -> None:
        self.session = session.ljust(SESSION_BYTES)
        self._session = np.frombuffer(self.session, dtype=np.uint8)
        self.sequencer: Sequencer[None] = Sequencer()
        self.overflowed: list[Gap] = []  # given up because too much waited behind them
        self.wanted = 0  # books are lost until a snapshot has all messages before this one; 0: they are not

    def take(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], kinds: NDArray[np.uint8]
    ) -> Iterable[int]:
        """Take records in the order of the capture; yields the indices of those that are no packets of
        the session, for the caller to look at."""
        record = 0
        sequencer = self.sequencer
        while record < kinds.size:
            record, expected = advance(
                data, offsets, kinds, self._session, record, sequencer.expected, sequencer.first_pending
            )
            sequencer.expected = int(expected)
            sequencer.horizon = max(sequencer.horizon, sequencer.expected)
            sequencer.release()
            if record == kinds.size:
                return
            raw = data[offsets[record] : offsets[record + 1]].tobytes()
            packet = parse(raw) if kinds[record] == 0 else None
            if packet is not None and packet.session == self.session:
                given_up = sequencer.accept(packet, None)
                self.overflowed += [item for item in given_up if isinstance(item, Gap)]
            else:
                yield record
            record += 1
