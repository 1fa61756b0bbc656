"""A ``seq`` in, the bytes that it was captured as out: which segment, at which byte, what they say.

What a ``seq`` names differs by feed. On ITCH it is the number of a message, which a MoldUDP64 packet holds
beside others; on the Binance websocket it is the number of the record itself, on the other venues' websockets
that number times 100, plus which of the message's trades. Segments are skipped by what their first records
say, and one is walked head by head, so a session of many gigabytes is searched in well under a second. The
checksum of what is shown is verified.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from ingest.capture_format import (
    MAGIC,
    PACKED_SUFFIX,
    RECORD_HEAD,
    SEGMENT_HEAD,
    RecordKind,
    segments,
    session_path,
)
from ingest.capture_packed import plain_blocks
from ingest.feeds import STREAM_FEEDS, is_dbn_session
from ingest.itch.messages import LAYOUTS, PRICE_4, PRICE_8
from ingest.websocket.numbers import SEQS_PER_RECORD
from tickloom.errors import CaptureError
from tickloom.events import SEQ_PER_DAY, source_seq
from tickloom.instruments import Registry

_CRC_BYTES = 4
_HEAD_BYTES = _CRC_BYTES + RECORD_HEAD.size
_MOLD_NUMBERS = struct.Struct(">QH")  # of a MoldUDP64 head, behind the session's ten bytes
_MOLD_HEAD_BYTES = 20
_MOLD_NUMBERS_AT = _HEAD_BYTES + 10
_MOLD_END = 0xFFFF
#: Feeds whose ``seq`` depends on all that came before it, so that no record tells its own.
COUNTED_FEEDS = frozenset({"iex", "mdp3", "dbn"})
TEXT_BYTES_MAX = 400  # of a JSON payload that is shown as text


@dataclass(frozen=True, slots=True)
class Traced:
    """Where a ``seq`` was captured.

    Attributes
    ----------
    segment : Path
    record, offset : int
        Number of the record, and its first byte in the segment (in the plain one, where it is packed).
    ts_recv : int
        ns, our clock.
    payload : bytes
        All that came with it (a datagram, a websocket message).
    message_offset : int
        Where in the payload the message begins.
    message : bytes
        The message of that ``seq``.
    message_type : str
    fields : dict
        The message decoded, as on the wire; prices as decimals.
    """

    seq: int
    protocol: str
    segment: Path
    record: int
    offset: int
    ts_recv: int
    payload: bytes
    message_offset: int
    message: bytes
    message_type: str
    fields: dict[str, str] = field(default_factory=dict)


def sessions_of(data_dir: Path, venue: str, seq: int) -> list[str]:
    """Sessions of a venue that were captured on the day in ``seq``."""
    day = f"20{seq // SEQ_PER_DAY:06d}"
    root = data_dir / "capture" / venue
    return sorted(path.name for path in root.glob(f"{day}*") if path.is_dir())


def find(
    data_dir: Path, venue: str, session: str, seqs: Sequence[int], registry: Registry | None = None
) -> list[Traced]:
    """What was captured for each ``seq``, in their order; those that are not there are left out.

    Raises
    ------
    CaptureError
        The session has no capture, the record is damaged, or the feed's numbers are not those of its packets.
    """
    path = session_path(data_dir, venue, session)
    files = segments(path)
    if not files:
        raise CaptureError(f"{path} has no capture; was it moved to an archive?")
    known = (registry or Registry.load()).venues.get(venue)
    feed = _feed(venue, "dbn" if is_dbn_session(session) else known.feed if known else "itch")
    wanted = {source_seq(seq): seq for seq in sorted(set(seqs))}
    found: dict[int, Traced] = {}
    for file in files[_first_segment(files, feed, min(wanted)) :]:
        for one in _search(file, feed, wanted):
            found.setdefault(one.seq, one)
            wanted.pop(source_seq(one.seq), None)
        if not wanted:
            break
    return [found[seq] for seq in dict.fromkeys(seqs) if seq in found]


def _feed(venue: str, name: str) -> _Feed:
    if name == "itch":
        return _Itch()
    if name in COUNTED_FEEDS:
        raise CaptureError(
            f"{venue}: a seq of feed {name} counts over what its packets hold, and does not say in which "
            f"one a message came; `tickloom ingest count --venue {venue}` decodes the session"
        )
    return _Numbered(name)


def _first_segment(files: Sequence[Path], feed: _Feed, number: int) -> int:
    """The last segment that begins with a source number not above ``number``."""
    low, high = 0, len(files) - 1
    while low < high:
        middle = (low + high + 1) // 2
        first = next((begin for record in _records(files[middle]) if (begin := feed.begins(record))), 0)
        if first and first <= number:
            low = middle
        else:
            high = middle - 1
    return low


class _Record(NamedTuple):  # made for each record that is walked over: a dataclass takes three times as long
    """A record in a mapped segment, or in an unpacked block of one."""

    data: mmap.mmap | bytes
    number: int
    offset: int
    length: int
    ts_recv: int
    kind: int
    position: int  # of ``data`` in the segment

    @property
    def place(self) -> int:
        return self.position + self.offset

    @property
    def payload(self) -> bytes:
        start = self.offset + _HEAD_BYTES
        return self.data[start : start + self.length]


def _records(file: Path) -> Iterator[_Record]:
    """Whole records of a segment by their heads; the payloads are not read."""
    if file.suffix == PACKED_SUFFIX:
        for first, position, block in plain_blocks(file):
            yield from _heads(block, 0, first, position)
        return
    with file.open("rb") as raw:
        size = file.stat().st_size
        if size < SEGMENT_HEAD.size:
            return
        with mmap.mmap(raw.fileno(), size, access=mmap.ACCESS_READ) as data:
            magic, number = SEGMENT_HEAD.unpack_from(data)
            if magic != MAGIC:
                raise CaptureError(f"{file} is no capture segment; move it away")
            yield from _heads(data, SEGMENT_HEAD.size, number, 0)


def _heads(data: mmap.mmap | bytes, at: int, number: int, position: int) -> Iterator[_Record]:
    size, unpack = len(data), RECORD_HEAD.unpack_from
    while at + _HEAD_BYTES <= size:
        length, ts_recv, kind, _ = unpack(data, at + _CRC_BYTES)
        end = at + _HEAD_BYTES + length
        if end > size:
            return  # it is being written, or was torn
        yield _Record(data, number, at, length, ts_recv, kind, position)
        at, number = end, number + 1


def _search(file: Path, feed: _Feed, wanted: dict[int, int]) -> Iterator[Traced]:
    """Those of ``wanted`` (source number to seq) that a segment holds."""
    left = dict(wanted)
    low, high = min(left), max(left)
    for record in _records(file):
        start, stop = feed.numbers(record)
        if stop <= low or start > high:
            continue
        for number in [one for one in left if start <= one < stop]:
            _verify(file, record)
            traced = feed.trace(file, record, number, left[number])
            if traced is not None:
                del left[number]
                yield traced
        if not left:
            return


def _verify(file: Path, record: _Record) -> None:
    start, end = record.offset + _CRC_BYTES, record.offset + _HEAD_BYTES + record.length
    expected = int.from_bytes(record.data[record.offset : start], "little")
    if zlib.crc32(record.data[start:end]) != expected:
        raise CaptureError(
            f"{file}: the record at byte {record.place} is damaged; restore the file from a copy"
        )


class _Feed(Protocol):
    """How a feed numbers its messages."""

    def begins(self, record: _Record) -> int:
        """The first source number in a record; 0 where it has none."""
        ...

    def numbers(self, record: _Record) -> tuple[int, int]:
        """Source numbers that a record claims to hold: the first, and the one behind the last."""
        ...

    def trace(self, file: Path, record: _Record, number: int, seq: int) -> Traced | None:
        """The message of that number; None where the record does not hold it after all."""
        ...


class _Itch:
    """ITCH 5.0 in MoldUDP64: a datagram holds messages ``sequence`` up to ``sequence + count``."""

    def begins(self, record: _Record) -> int:
        return self.numbers(record)[0]

    def numbers(self, record: _Record) -> tuple[int, int]:
        data, _, offset, length, _, kind, _ = record
        if kind != RecordKind.DATA or length < _MOLD_HEAD_BYTES:
            return 0, 0
        sequence, count = _MOLD_NUMBERS.unpack_from(data, offset + _MOLD_NUMBERS_AT)
        return (0, 0) if count == _MOLD_END else (sequence, sequence + count)

    def trace(self, file: Path, record: _Record, number: int, seq: int) -> Traced | None:
        payload = record.payload
        at = _MOLD_HEAD_BYTES
        for _ in range(number - self.numbers(record)[0]):
            at += 2 + int.from_bytes(payload[at : at + 2], "big")
        stop = at + 2 + int.from_bytes(payload[at : at + 2], "big")
        if at + 2 > len(payload) or stop > len(payload):
            return None  # a truncated datagram: the message is in one that was sent again
        message = payload[at + 2 : stop]
        kind, fields = _itch_fields(message)
        where = (file, record.number, record.place, record.ts_recv, payload, at + 2, message)
        return Traced(seq, "ITCH 5.0 in MoldUDP64", *where, kind, fields)


class _Numbered:
    """A feed whose source number is the number of the record, or that times ``SEQS_PER_RECORD``.

    Behind a message of more trades than that, which has not been seen yet, records are looked for as many too
    far on as it took numbers from those behind it.
    """

    def __init__(self, feed: str) -> None:
        self._protocol = f"{feed} (a record a message)"
        self._numbers = SEQS_PER_RECORD if feed in STREAM_FEEDS else 1

    def begins(self, record: _Record) -> int:
        return record.number * self._numbers

    def numbers(self, record: _Record) -> tuple[int, int]:
        return record.number * self._numbers, (record.number + 1) * self._numbers

    def trace(self, file: Path, record: _Record, number: int, seq: int) -> Traced | None:
        payload = record.payload
        text = payload[:TEXT_BYTES_MAX].decode("utf-8", "replace")
        where = (file, record.number, record.place, record.ts_recv, payload, 0, payload)
        return Traced(seq, self._protocol, *where, RecordKind(record.kind).name.lower(), {"text": text})


def _itch_fields(message: bytes) -> tuple[str, dict[str, str]]:
    """Name of a message's type and its fields; nothing of what is no message of the specification."""
    letter = message[:1].decode("ascii", "replace")
    layout = LAYOUTS.get(letter)
    if layout is None or len(message) != layout.length:
        return letter, {}
    scales = {one.name: PRICE_8 if one.size == 8 else PRICE_4 for one in layout.fields if one.kind == "p"}
    shown = {}
    for name, value in layout.unpack(message).items():
        if name in scales and isinstance(value, int):
            whole, part = divmod(value, scales[name])
            shown[name] = f"{whole}.{part:0{len(str(scales[name])) - 1}d}"
        elif name != "type":
            shown[name] = str(value)
    return f"{letter} {layout.name}", shown
