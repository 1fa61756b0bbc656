"""Files of ITCH messages or of packets in, capture records out: history takes the same way as live.

Two kinds, each plain or gzipped. An ITCH file is messages behind length prefixes (u16, big-endian);
where a prefix is zero the length comes from the message type. A classic pcap (microseconds or
nanoseconds, either byte order, Ethernet or raw IPv4) holds UDP datagrams of MoldUDP64. Messages that
carry no sequence number of their own are numbered from 1 and packed into MoldUDP64 packets.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO, cast
from zoneinfo import ZoneInfo

from ingest.capture import CaptureWriter, RecordKind, segments, session_path, usable_session
from ingest.itch.messages import LAYOUTS, LENGTH_BYTES, LENGTHS
from ingest.itch.moldudp64 import HEAD, HEAD_BYTES, PACKET_BYTES_MAX, messages, pack, pack_end
from tickloom.clock import NS_PER_S
from tickloom.errors import CaptureError, DecodeError
from tickloom.instruments import Registry

FILE_SESSION = "FILE"  # MoldUDP64 session of messages that came without one
READ_BYTES = 1 << 20
RECORDS_AT_ONCE = 256
_TIME = LAYOUTS["S"].offsets["timestamp"]

#: Magic of a classic pcap to (byte order, ns in one unit of its fraction of a second).
PCAP_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
ETHERNET, RAW_IP = 1, 101  # link types
_VLAN, _IPV4, _UDP = 0x8100, 0x0800, 17


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file gave. path: the capture's directory; foreign: frames that are no UDP over IPv4."""

    path: Path
    session: str
    messages: int
    packets: int
    foreign: int


def open_plain(path: Path) -> IO[bytes]:
    """Open a file, unzipped where it is gzipped."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb")) if zipped else path.open("rb")


def is_pcap(path: Path) -> bool:
    """Whether the file is a classic pcap.

    Raises
    ------
    DecodeError
        It is a pcapng, which is not read here.
    """
    with open_plain(path) as file:
        magic = file.read(4)
    if magic == PCAPNG_MAGIC:
        raise DecodeError("ITCH", f"{path} is a pcapng; convert it: `editcap -F nsecpcap IN OUT`", 0)
    return magic in PCAP_MAGIC


def read_itch(path: Path) -> Iterator[bytes]:
    """Messages of an ITCH file in order.

    A prefix of zero, as some archives have it, is no length: then the type gives it. A prefix that is
    not zero is believed, whatever the type: the decoder counts a message of the wrong length.

    Raises
    ------
    DecodeError
        A zero prefix before an unknown type, or a file that ends inside a message.
    """
    with open_plain(path) as file:
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


def read_pcap(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """(ns since 1970, UDP payload) of each frame; None for frames that are no UDP over IPv4.

    Raises
    ------
    DecodeError
        No classic pcap, a link type that is not read here, or a file that ends inside a frame.
    """
    with open_plain(path) as file:
        head = file.read(24)
        known = PCAP_MAGIC.get(head[:4])
        if known is None or len(head) < 24:
            raise DecodeError("ITCH", f"{path} is no classic pcap", 0)
        order, unit_ns = known
        link = struct.unpack_from(order + "I", head, 20)[0] & 0x0FFF_FFFF
        if link not in (ETHERNET, RAW_IP):
            raise DecodeError("ITCH", f"{path}: link type {link}; Ethernet (1) and raw IP (101) are read", 20)
        frame_head = struct.Struct(order + "IIII")
        offset = 24
        while raw := file.read(frame_head.size):
            if len(raw) == frame_head.size:
                seconds, fraction, captured, _ = frame_head.unpack(raw)
                frame = file.read(captured)
            if len(raw) < frame_head.size or len(frame) < captured:
                raise DecodeError("ITCH", f"{path} ends inside a frame; is it cut off?", offset)
            offset += frame_head.size + captured
            yield seconds * NS_PER_S + fraction * unit_ns, udp_payload(frame, link)


def udp_payload(frame: bytes, link: int = ETHERNET) -> bytes | None:
    """Payload of a UDP datagram over IPv4, VLAN tags passed over; None where the frame is none.

    The UDP length is not believed where it is zero or beyond the frame: some captures have it so.
    """
    at = 0
    if link == ETHERNET:
        at = 12
        while int.from_bytes(frame[at : at + 2], "big") == _VLAN:
            at += 4
        if int.from_bytes(frame[at : at + 2], "big") != _IPV4:
            return None
        at += 2
    if len(frame) < at + 20 or frame[at] >> 4 != 4 or frame[at + 9] != _UDP:
        return None
    at += 4 * (frame[at] & 0x0F)
    size = int.from_bytes(frame[at + 4 : at + 6], "big")
    stop = at + size if 8 <= size <= len(frame) - at else len(frame)
    return frame[at + 8 : stop]


class _Records:
    """Makes capture records of messages and packets.

    Messages without a number are packed into packets; ``ts_recv`` of such a packet is the time of
    its first message, so that loading a file twice gives the same capture.
    """

    def __init__(self, writer: CaptureWriter, midnight_ns: int) -> None:
        self.messages = self.packets = 0
        self._writer = writer
        self._midnight_ns = midnight_ns
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

    def packet(self, ts_recv: int, payload: bytes) -> None:
        self._times.append(ts_recv)
        self._payloads.append(payload)
        self.packets += 1
        if len(self._payloads) >= RECORDS_AT_ONCE:
            self._write()

    def finish(self) -> None:
        """Write what is left; messages that were numbered here also get an end of session."""
        if self._open:
            self._close_packet()
        if self.messages:
            last = self._times[-1] if self._times else self._midnight_ns
            self.packet(last, pack_end(FILE_SESSION.encode(), self.messages + 1))
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
) -> Loaded:
    """Turn a file into a capture, from which it can be published, stored and counted.

    The session is ``YYYYMMDD.FILE``, or that of a pcap's packets where they carry one.

    Raises
    ------
    DecodeError
        The file is damaged.
    CaptureError
        That session has been captured already: a second copy would be numbered behind the first.
    """
    registry = registry or Registry.load()
    known = registry.venues.get(venue)
    zone = ZoneInfo(known.timezone if known else "America/New_York")
    midnight_ns = int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * NS_PER_S
    pcap = is_pcap(source)
    mold_session = _pcap_session(source) if pcap else ""
    session = f"{day:%Y%m%d}.{mold_session or FILE_SESSION}"
    path = session_path(data_dir, venue, session)
    if segments(path):
        raise CaptureError(f"{path} holds a capture already; move it away, or load into another data_dir")
    foreign = 0
    with CaptureWriter(path, segment_mb) as writer:
        records = _Records(writer, midnight_ns)
        if not pcap:
            for message in read_itch(source):
                records.message(message)
        else:
            for ts_recv, payload in read_pcap(source):
                if payload is None:
                    foreign += 1
                elif mold_session:
                    records.packet(ts_recv, payload)
                else:
                    for message in _unnumbered(payload):
                        records.message(message)
        records.finish()
    return Loaded(path, session, records.messages, records.packets, foreign)


def _pcap_session(path: Path) -> str:
    """Session of the first packet that carries one; empty where all heads are blank."""
    for _, payload in read_pcap(path):
        if payload is not None and len(payload) >= HEAD_BYTES:
            session, sequence, _ = HEAD.unpack_from(payload)
            text = session.decode("ascii", "replace").strip(" \x00")
            if sequence and usable_session(text):
                return str(text)
    return ""


def _unnumbered(payload: bytes) -> list[bytes]:
    """Messages of a packet whose sequence number is zero."""
    return messages(payload[:10] + (1).to_bytes(8, "big") + payload[18:])
