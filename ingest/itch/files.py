"""Files of ITCH messages or of packets in, capture records out: history takes the same way as live.

Two kinds, each plain, gzipped or zstd-compressed. An ITCH file is messages behind length prefixes (u16,
big-endian); where a prefix is zero the length comes from the message type. A pcap or pcapng (see
:mod:`ingest.pcap`) holds UDP datagrams of MoldUDP64. Messages that carry no sequence number of their own
are numbered from 1 and packed into MoldUDP64 packets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from ingest.capture import RecordKind, session_path, usable_session
from ingest.capture_target import OpenWriter, RecordWriter, new_capture
from ingest.feeds import Loaded
from ingest.itch.messages import LAYOUTS, LENGTH_BYTES, LENGTHS
from ingest.itch.moldudp64 import (
    END_OF_SESSION,
    HEAD,
    HEAD_BYTES,
    PACKET_BYTES_MAX,
    messages,
    pack,
    pack_end,
    parse,
)
from ingest.itch.packing import Packets, pack_file
from ingest.pcap import is_pcap, open_sound
from ingest.pcap_capture import Frames
from tickloom.clock import NS_PER_S
from tickloom.errors import DecodeError
from tickloom.instruments import Registry

FILE_SESSION = "FILE"  # MoldUDP64 session of messages that came without one
READ_BYTES = 1 << 20
RECORDS_AT_ONCE = 256
_TIME = LAYOUTS["S"].offsets["timestamp"]


def read_itch(path: Path) -> Iterator[bytes]:
    """Messages of an ITCH file in order.

    A prefix of zero, as some archives have it, is no length: then the type gives it. A prefix that is
    not zero is believed, whatever the type: the decoder counts a message of the wrong length.

    Raises
    ------
    DecodeError
        A zero prefix before an unknown type, or a file that ends inside a message.
    """
    with open_sound(path) as file:
        left, offset = b"", 0
        while True:
            chunk = file.read(READ_BYTES)
            data = left + chunk
            at = 0
            while at + LENGTH_BYTES < len(data):
                size = int.from_bytes(data[at : at + LENGTH_BYTES], "big")
                if size == 0:
                    size = int(LENGTHS[data[at + LENGTH_BYTES]])
                    if size == 0:
                        kind = data[at + LENGTH_BYTES : at + LENGTH_BYTES + 1]
                        raise DecodeError(
                            "ITCH", f"{path}: length prefix 0 and unknown message type {kind!r}", offset + at
                        )
                stop = at + LENGTH_BYTES + size
                if stop > len(data):
                    break
                yield data[at + LENGTH_BYTES : stop]
                at = stop
            left, offset = data[at:], offset + at
            if not chunk:
                if left:
                    raise DecodeError("ITCH", f"{path} ends inside a message; is it cut off?", offset)
                return


class _Records:
    """Makes capture records of messages and packets.

    Messages without a number are packed into packets; ``ts_recv`` of such a packet is the time of
    its first message, so that loading a file twice gives the same capture.
    """

    def __init__(self, writer: RecordWriter, midnight_ns: int) -> None:
        self.messages = self.packets = 0
        self._writer = writer
        self._midnight_ns = self._last_ns = midnight_ns
        self._times: list[int] = []
        self._payloads: list[bytes] = []
        self._open: list[bytes] = []
        self._open_bytes = HEAD_BYTES

    def message(self, message: bytes) -> None:
        size = LENGTH_BYTES + len(message)
        if self._open and self._open_bytes + size > PACKET_BYTES_MAX:
            self._close_packet()
        self._open.append(message)
        self._open_bytes += size
        self.messages += 1

    def packed(self, packets: Packets) -> None:
        """Packets of messages that were numbered already."""
        self._times += (self._midnight_ns + packets.times).tolist()
        self._last_ns = self._times[-1]
        self._payloads += packets.payloads
        self.packets += len(packets.payloads)
        self.messages += packets.messages
        self._write()

    def packet(self, ts_recv: int, payload: bytes) -> None:
        self._times.append(ts_recv)
        self._last_ns = ts_recv
        self._payloads.append(payload)
        self.packets += 1
        if len(self._payloads) >= RECORDS_AT_ONCE:
            self._write()

    def finish(self) -> None:
        """Write what is left; messages that were numbered here also get an end of session."""
        if self._open:
            self._close_packet()
        if self.messages:
            self.packet(self._last_ns, pack_end(FILE_SESSION.encode(), self.messages + 1))
        self._write()

    def _close_packet(self) -> None:
        first = self._open[0]
        timestamp = int.from_bytes(first[_TIME : _TIME + 6], "big")
        number = self.messages - len(self._open) + 1
        self.packet(self._midnight_ns + timestamp, pack(FILE_SESSION.encode(), number, self._open))
        self._open, self._open_bytes = [], HEAD_BYTES

    def _write(self) -> None:
        if self._payloads:
            self._writer.append_many(RecordKind.DATA, self._times, self._payloads)
            self._times, self._payloads = [], []


def load_file(
    source: Path,
    data_dir: Path,
    venue: str,
    day: date,
    registry: Registry | None = None,
    segment_mb: int = 256,
    open_writer: OpenWriter = new_capture,
) -> Loaded:
    """Turn a file into a capture, from which it can be published, stored and counted.

    The session is ``YYYYMMDD.FILE``, or that of a pcap's packets where they carry one. A file that is cut off
    or damaged gives what is whole before that, and says so (``Loaded.damage``).

    Raises
    ------
    DecodeError
        Nothing of the file can be read, or none of it is ITCH 5.0. Nothing is captured then.
    CaptureError
        That session has been captured already: a second copy would be numbered behind the first.
    """
    registry = registry or Registry.load()
    known = registry.venues.get(venue)
    zone = ZoneInfo(known.timezone if known else "America/New_York")
    midnight_ns = int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * NS_PER_S
    if is_pcap(source):
        return _load_pcap(source, data_dir, venue, day, midnight_ns, segment_mb, open_writer)
    whole = _Whole(source)
    batches = iter(whole)
    first = next(batches, None)  # before a capture is begun: a file that is none leaves nothing behind
    if first is None:
        raise whole.error or DecodeError("ITCH", f"{source} is empty; get it anew")
    _check_messages(source, (message for payload in first.payloads for message in messages(payload)))
    session = f"{day:%Y%m%d}.{FILE_SESSION}"
    path = session_path(data_dir, venue, session)
    with open_writer(path, segment_mb) as writer:
        records = _Records(writer, midnight_ns)
        records.packed(first)
        for packets in batches:
            records.packed(packets)
        records.finish()
    return Loaded(path, session, records.messages, records.packets, 0, str(whole.error or ""))


def _load_pcap(
    source: Path,
    data_dir: Path,
    venue: str,
    day: date,
    midnight_ns: int,
    segment_mb: int,
    open_writer: OpenWriter,
) -> Loaded:
    _check_messages(source, _pcap_messages(source))
    mold_session = _pcap_session(source)
    session = f"{day:%Y%m%d}.{mold_session or FILE_SESSION}"
    path = session_path(data_dir, venue, session)
    foreign = 0
    frames = Frames(source)
    with open_writer(path, segment_mb) as writer:
        records = _Records(writer, midnight_ns)
        for ts_recv, payload in frames:
            if payload is None:
                foreign += 1
            elif mold_session:
                records.packet(ts_recv, payload)
            else:
                for message in _unnumbered(payload):
                    records.message(message)
        records.finish()
    return Loaded(path, session, records.messages, records.packets, foreign, frames.damage)


class _Whole:
    """Packets of a file up to its end, or to where it is damaged."""

    def __init__(self, source: Path) -> None:
        self.error: DecodeError | None = None
        self._source = source

    def __iter__(self) -> Iterator[Packets]:
        try:
            yield from pack_file(self._source, FILE_SESSION.encode())
        except DecodeError as error:
            self.error = error


def _check_messages(source: Path, found: Iterable[bytes]) -> None:
    """Another venue's file is no day full of gaps: one message at least must be of ITCH 5.0.

    Raises
    ------
    DecodeError
        There are messages, and none has the length of its type.
    """
    none = True
    for message in found:
        none = False
        if message and LENGTHS[message[0]] == len(message):
            return
    if not none:
        raise DecodeError("ITCH", f"{source} holds no message of ITCH 5.0; is it another --venue's?")


def _pcap_messages(source: Path) -> Iterator[bytes]:
    """Messages of each packet, numbered or not; an empty one of a datagram that is no MoldUDP64 packet.

    Raises
    ------
    DecodeError
        There is no whole frame.
    """
    frames = Frames(source)
    whole = False
    for _, payload in frames:
        whole = True
        if payload is not None:
            packet = parse(_numbered(payload))
            if packet is None or packet.whole < packet.count != END_OF_SESSION:
                yield b""
            yield from _unnumbered(payload)
    if not whole and frames.error is not None:
        raise frames.error


def _pcap_session(path: Path) -> str:
    """Session of the first packet that carries one; empty where all heads are blank."""
    for _, payload in Frames(path):
        if payload is not None and len(payload) >= HEAD_BYTES:
            session, sequence, _ = HEAD.unpack_from(payload)
            text = session.decode("ascii", "replace").strip(" \x00")
            if sequence and usable_session(text):
                return str(text)
    return ""


def _unnumbered(payload: bytes) -> list[bytes]:
    """Messages of a packet whose sequence number is zero."""
    return messages(_numbered(payload))


def _numbered(payload: bytes) -> bytes:
    return payload[:10] + (1).to_bytes(8, "big") + payload[18:]
