"""IEX-TP segments in, the order of their messages out: pure, no socket and no clock.

Source: IEX Transport Specification, "Outbound Segment". A segment is a head of 40 bytes, little-endian, and
``count`` messages, each behind a length (u16). Count 0 is a heartbeat, whose number is the next one to come.
The stream offset counts the payload bytes before the segment since the sequence began.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from ingest.udp.gaps import Gap as Gap
from tickloom.clock import NS_PER_S

HEAD = struct.Struct("<BxHIIHHqqq")
HEAD_BYTES = 40
VERSION = 1
TOPS_1_6, DEEP_1_0 = 0x8003, 0x8004  # message protocols that are decoded here
PROTOCOLS = {TOPS_1_6: "TOPS16", DEEP_1_0: "DEEP10"}
# places in the head
VERSION_AT, PROTOCOL_AT, CHANNEL_AT, SESSION_AT = 0, 2, 4, 8
PAYLOAD_AT, COUNT_AT, OFFSET_AT, SEQUENCE_AT, SEND_AT = 12, 14, 16, 24, 32

WAITING_SEGMENTS_MAX = 1_024  # behind a hole, about 1.5 MB; beyond it the hole is given up
WAITING_NS = NS_PER_S  # of send time: A and B lines are milliseconds apart, a heartbeat comes each second
NEVER = 2**62  # a number that does not come

#: What waits behind a hole: receive time and segment.
Waiting = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's head. sequence: number of its first message; send_ns: since 1970."""

    version: int
    protocol: int
    channel: int
    session: int
    payload_bytes: int
    count: int
    offset: int
    sequence: int
    send_ns: int


def parse(raw: bytes) -> Segment | None:
    """Head of a segment; None where the bytes are none of DEEP 1.0 or TOPS 1.6."""
    if len(raw) < HEAD_BYTES:
        return None
    segment = Segment(*HEAD.unpack_from(raw))
    return segment if segment.version == VERSION and segment.protocol in PROTOCOLS else None


def messages(raw: bytes) -> list[bytes]:
    """The whole messages of a segment, without their lengths."""
    segment = parse(raw)
    found: list[bytes] = []
    at = HEAD_BYTES
    for _ in range(segment.count if segment else 0):
        stop = at + 2 + int.from_bytes(raw[at : at + 2], "little")
        if at + 2 > len(raw) or stop > len(raw):
            break
        found.append(raw[at + 2 : stop])
        at = stop
    return found


def pack(
    items: Iterable[bytes],
    sequence: int,
    send_ns: int,
    offset: int = 0,
    session: int = 1,
    protocol: int = DEEP_1_0,
    channel: int = 1,
) -> bytes:
    """A segment of messages, or a heartbeat where there are none."""
    blocks = [len(item).to_bytes(2, "little") + item for item in items]
    payload = b"".join(blocks)
    return (
        HEAD.pack(VERSION, protocol, channel, session, len(payload), len(blocks), offset, sequence, send_ns)
        + payload
    )


class Sequencer:
    """Keeps what is early until the hole before it is filled, or is given up."""

    def __init__(self) -> None:
        self._order: list[int] = []
        self._kept: dict[int, tuple[Segment, Waiting]] = {}
        self._horizon = 0  # number behind the highest that was heard of
        self._hole = 0  # number that was due when the present hole was seen
        self._since_ns = 0  # send time of what showed it
        self._now_ns = 0  # the latest send time of what was early

    @property
    def first(self) -> int:
        """Number of the first segment that waits; NEVER where none does."""
        return self._order[0] if self._order else NEVER

    def keep(self, segment: Segment, item: Waiting, expected: int) -> int:
        """Take a segment that is ahead of ``expected``; how many of its messages wait already."""
        self._horizon = max(self._horizon, segment.sequence + segment.count)
        self._now_ns = max(self._now_ns, segment.send_ns)
        if self._hole != expected:
            self._hole, self._since_ns = expected, segment.send_ns
        if not segment.count:
            return 0
        known = self._kept.get(segment.sequence)
        if known is None:
            heapq.heappush(self._order, segment.sequence)
        if known is None or known[0].count < segment.count:
            self._kept[segment.sequence] = (segment, item)
        return min(known[0].count, segment.count) if known else 0

    def due(self, expected: int) -> list[Waiting | Gap]:
        """What waited and is due now. It may overlap: numbers below ``expected`` were there before."""
        out: list[Waiting | Gap] = []
        while self._order and self._order[0] <= expected:
            segment, item = self._kept.pop(heapq.heappop(self._order))
            expected = max(expected, segment.sequence + segment.count)
            out.append(item)
        return out

    def overdue(self, expected: int) -> list[Waiting | Gap]:
        """As :meth:`give_up`, where the hole has been open for too long or too much waits behind it."""
        since_ns = self._since_ns if self._hole == expected else self._now_ns
        if self._order:
            since_ns = min(since_ns, self._kept[self._order[0]][0].send_ns)
        if len(self._order) > WAITING_SEGMENTS_MAX or self._now_ns - since_ns > WAITING_NS:
            return self.give_up(expected)
        return []

    def give_up(self, expected: int) -> list[Waiting | Gap]:
        """Nobody has the messages of the first hole: go on behind it. Empty: there is no hole."""
        gap = self.missing(expected)
        return [gap, *self.due(gap.last + 1)] if gap else []

    def missing(self, expected: int) -> Gap | None:
        """The first hole: from what is due up to what waits, or to what was heard of. None: there is none."""
        last = min(self.first, self.horizon(expected)) - 1
        return Gap(expected, last) if last >= expected else None

    def horizon(self, expected: int) -> int:
        """The number behind the highest that was heard of."""
        return max(self._horizon, expected)
