"""GLIMPSE messages in, a snapshot of all books and the number to go on from out. Pure.

Source: Nasdaq GLIMPSE 5.0. A client logs in over SoupBinTCP with sequence number 1 and gets the state of the
market as ITCH 5.0 messages (directories, trading states, resting orders), ended by a message of its own: type
``G`` and, in 20 ASCII digits, the number of the feed's message to go on with.

In a capture a snapshot is SNAPSHOT records: packets as of MoldUDP64, with SoupBinTCP's own count from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.itch.moldudp64 import messages, pack, parse

END_TYPE = b"G"
END_BYTES = 21
RECORD_BYTES = 1 << 19  # of one record of the capture
RECORD_MESSAGES_MAX = 30_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of all books before message ``next_number`` of the feed. parts: packets of messages."""

    next_number: int
    parts: tuple[bytes, ...]


def end_message(next_number: int) -> bytes:
    """The message that ends a snapshot."""
    return END_TYPE + b"%20d" % next_number


def next_number_of(message: bytes) -> int:
    """The number in the message that ends a snapshot; 0 where it is another message, or has no number."""
    text = message[1:].strip()
    return int(text) if len(message) == END_BYTES and message[:1] == END_TYPE and text.isdigit() else 0


def records(session: bytes, snapshot: Sequence[bytes]) -> Iterator[bytes]:
    """A snapshot's messages as payloads of SNAPSHOT records."""
    first, size, waiting = 1, 0, list[bytes]()
    for message in snapshot:
        if waiting and (size + len(message) > RECORD_BYTES or len(waiting) == RECORD_MESSAGES_MAX):
            yield pack(session, first, waiting)
            first, size, waiting = first + len(waiting), 0, []
        waiting.append(message)
        size += 2 + len(message)
    if waiting:
        yield pack(session, first, waiting)


class Assembler:
    """Puts the records of snapshots together. One that was cut off is forgotten when the next one begins."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._expected = 0

    def take(self, payload: bytes) -> Snapshot | None:
        """The snapshot that this record completes, if it does."""
        packet = parse(payload)
        if packet is None or packet.whole == 0:
            return None
        if packet.sequence == 1:
            self._parts, self._expected = [], 1
        if packet.sequence != self._expected:
            self._expected = 0
            return None
        self._parts.append(payload)
        self._expected = packet.next_sequence
        number = next_number_of(messages(payload)[-1])
        if not number:
            return None
        parts, self._parts, self._expected = tuple(self._parts), [], 0
        return Snapshot(number, parts)
