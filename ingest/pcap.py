"""Packet captures in, UDP payloads with their times out: every feed that is recorded reads them here.

Classic pcap (microseconds or nanoseconds, either byte order) and pcapng (sections of either byte order,
each interface's own unit and offset of time), each plain, gzipped or zstd-compressed; Ethernet with VLAN
tags, or bare IPv4. What a file is, its first bytes say, never its name.

Sources: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng (sections 4.1 to 4.4 and appendix A).
"""

from __future__ import annotations

import contextlib
import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from tickloom.clock import NS_PER_S
from tickloom.errors import DecodeError

READ_BYTES = 1 << 20
COMPRESSED_BYTES = 1 << 16  # of zstd at once: what comes of them is in memory
FRAME_BYTES_MAX = 1 << 18  # libpcap's limit; a larger one is damage, and would be believed with memory
BLOCK_BYTES_MAX = 1 << 24  # the pcapng draft's; sections hold options and lists of names too

#: Magic of a classic pcap to (byte order, ns in one unit of its fraction of a second).
PCAP_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
ETHERNET, RAW_IP, IPV4 = 1, 101, 228  # link types
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6  # pcapng blocks
_TSRESOL, _TSOFFSET = 9, 14  # options of an interface
_VLAN, _IPV4, _UDP = (0x8100, 0x88A8), 0x0800, 17
DAMAGE = (EOFError, OSError, zlib.error, zstandard.ZstdError)

#: (ns since 1970, UDP payload); None for a frame that is no UDP over IPv4.
Frame = tuple[int, bytes | None]


def open_plain(path: Path) -> IO[bytes]:
    """Open a file, decompressed where it is gzip or zstd."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == GZIP_MAGIC:
        return cast(IO[bytes], gzip.open(path, "rb"))
    if magic == ZSTD_MAGIC:
        return BufferedReader(_Zstd(path), READ_BYTES)
    return path.open("rb")


@contextlib.contextmanager
def open_sound(path: Path) -> Iterator[IO[bytes]]:
    """As :func:`open_plain`, for readers that give up where the compressed bytes are damaged.

    Raises
    ------
    DecodeError
        It cannot be decompressed on; said at the read that comes upon it.
    """
    try:
        with open_plain(path) as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise DecodeError("file", f"{path} cannot be read on: {error}; get it anew") from None


def read_until_damage(file: IO[bytes], size: int) -> tuple[bytes, Exception | None]:
    """Up to ``size`` bytes, less at the end or before a damage; and the damage, for the caller to raise."""
    parts: list[bytes] = []
    while size > 0:
        try:
            part = cast(BufferedReader, file).read1(size)  # read() loses what came before a break
        except DAMAGE as error:
            return b"".join(parts), error
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts), None


def is_pcap(path: Path) -> bool:
    """Whether the file is a pcap or a pcapng, compressed or not."""
    magic = _Source(path).take(4)
    return magic in PCAP_MAGIC or magic == PCAPNG_MAGIC


def read_pcap(path: Path) -> Iterator[Frame]:
    """(ns since 1970, UDP payload) of each frame; None for frames that are no UDP over IPv4.

    Raises
    ------
    DecodeError
        No capture, a link type that is not read here, or damage: a file that ends inside a frame, a length
        that cannot be. It comes behind the last whole frame, so a caller may keep what came before.
    """
    source = _Source(path)
    try:
        head = source.take(4)
        if head == PCAPNG_MAGIC:
            yield from _read_pcapng(source)
        elif head in PCAP_MAGIC:
            yield from _read_classic(source, *PCAP_MAGIC[head])
        else:
            raise source.damaged("is no classic pcap and no pcapng")
    finally:
        source.close()


def udp_payload(frame: bytes, link: int = ETHERNET) -> bytes | None:
    """Payload of a UDP datagram over IPv4, VLAN tags passed over; None where the frame is none.

    A later fragment of a datagram has no UDP head and is none. The UDP length is not believed where it is
    zero or beyond the frame: some captures have it so.
    """
    at = 0
    if link == ETHERNET:
        at = 12
        while int.from_bytes(frame[at : at + 2], "big") in _VLAN:
            at += 4
        if int.from_bytes(frame[at : at + 2], "big") != _IPV4:
            return None
        at += 2
    if len(frame) < at + 20 or frame[at] >> 4 != 4 or frame[at + 9] != _UDP:
        return None
    if int.from_bytes(frame[at + 6 : at + 8], "big") & 0x1FFF:
        return None
    at += 4 * (frame[at] & 0x0F)
    size = int.from_bytes(frame[at + 4 : at + 6], "big")
    stop = at + size if 8 <= size <= len(frame) - at else len(frame)
    return frame[at + 8 : stop]


class _Zstd(RawIOBase):
    """Zstd frames one behind the other. The library's own reader says nothing of a file that is cut off."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._stream = zstandard.ZstdDecompressor().decompressobj()
        self._compressed = b""
        self._ready = b""
        self._inside = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if self._stream.eof:
                self._compressed = self._stream.unused_data
                self._stream = zstandard.ZstdDecompressor().decompressobj()
            compressed = self._compressed or self._file.read(COMPRESSED_BYTES)
            if not compressed:
                if self._inside:
                    raise EOFError("it ends inside a zstd frame")
                return 0
            self._compressed = b""
            self._inside = True
            self._ready = self._stream.decompress(compressed)
            self._inside = not self._stream.eof
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


class _Source:
    """Bytes of a file, whatever it is compressed with; knows where it is, and why it ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = 0  # decompressed bytes taken
        self.broken = ""
        self._file = open_plain(path)
        self._data = b""
        self._next = 0

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer where the file ends, or its compressed stream breaks off."""
        while len(self._data) - self._next < size:
            more = self._more()
            if not more:
                break
            self._data = self._data[self._next :] + more
            self._next = 0
        found = self._data[self._next : self._next + size]
        self._next += len(found)
        self.at += len(found)
        return found

    def damaged(self, what: str, at: int = -1) -> DecodeError:
        """The error that says what is wrong, where, and what the compression has to say of it."""
        why = f" ({self.broken})" if self.broken else ""
        return DecodeError("pcap", f"{self.path} {what}{why}", self.at if at < 0 else at)

    def close(self) -> None:
        self._file.close()

    def _more(self) -> bytes:
        if self.broken:
            return b""
        try:
            # read1, not read: when a stream breaks off, read loses what it had gathered before
            return cast(BufferedReader, self._file).read1(READ_BYTES)
        except DAMAGE as error:
            self.broken = f"its compressed data is broken: {error}"
            return b""


def _read_classic(source: _Source, order: str, unit_ns: int) -> Iterator[Frame]:
    head = source.take(20)
    if len(head) < 20:
        raise source.damaged("is no classic pcap: it ends inside its head", 0)
    link = struct.unpack_from(order + "I", head, 16)[0] & 0x0FFF_FFFF
    if link not in (ETHERNET, RAW_IP, IPV4):
        raise source.damaged(f": link type {link}; Ethernet (1) and raw IPv4 (101, 228) are read", 20)
    frame_head = struct.Struct(order + "IIII")
    while True:
        start = source.at
        raw = source.take(frame_head.size)
        if not raw and not source.broken:
            return
        if len(raw) == frame_head.size:
            seconds, fraction, captured, _ = frame_head.unpack(raw)
            if captured > FRAME_BYTES_MAX:
                raise source.damaged(f"has a frame of {captured} bytes; it is damaged", start)
            frame = source.take(captured)
        if len(raw) < frame_head.size or len(frame) < captured:
            raise source.damaged("ends inside a frame; is it cut off?", start)
        yield seconds * NS_PER_S + fraction * unit_ns, udp_payload(frame, link)


@dataclass(slots=True)
class _Section:
    """What holds until the next one: byte order; link type, units a second, offset s of each interface."""

    order: str
    interfaces: list[tuple[int, int, int]] = field(default_factory=list)
    snap_bytes: int = FRAME_BYTES_MAX
    latest_ns: int = 0


def _read_pcapng(source: _Source) -> Iterator[Frame]:
    """Blocks behind the four bytes that say that this is a pcapng."""
    raw, start = PCAPNG_MAGIC, 0
    section = _Section("<")
    while raw:
        head = raw + source.take(4)
        body = b""
        if raw == PCAPNG_MAGIC:
            body = source.take(4)  # its byte order comes first, because its length is written in it
            section = _Section(_order_of(source, body, start))
        if len(head) < 8:
            raise source.damaged("ends inside a block; is it cut off?", start)
        kind, size = struct.unpack(section.order + "II", head)
        if size % 4 or not 12 + len(body) <= size <= BLOCK_BYTES_MAX:
            raise source.damaged(f"has a block of {size} bytes; it is damaged", start)
        rest = size - 8 - len(body)
        body += source.take(rest)
        if len(body) < size - 8:
            raise source.damaged("ends inside a block; is it cut off?", start)
        if struct.unpack_from(section.order + "I", body, size - 12)[0] != size:
            raise source.damaged("has a block whose two lengths differ; it is damaged", start)
        try:
            found = _block(section, kind, body[:-4])
        except (struct.error, IndexError, OverflowError):
            raise source.damaged(f"has a block of type {kind} without sense; it is damaged", start) from None
        if found is not None:
            yield found
        start = source.at
        raw = source.take(4)
    if source.broken:
        raise source.damaged("ends before its end", start)


def _order_of(source: _Source, magic: bytes, start: int) -> str:
    for order in "<>":
        if magic == struct.pack(order + "I", 0x1A2B3C4D):
            return order
    raise source.damaged(f"has no byte order magic but {magic.hex() or 'nothing'}; it is damaged", start)


def _block(section: _Section, kind: int, body: bytes) -> Frame | None:
    """What a block says; a frame where it holds one. Blocks of other types are passed over."""
    order = section.order
    if kind == _INTERFACE:
        link, _, snap_bytes = struct.unpack_from(order + "HHI", body)
        if not section.interfaces and snap_bytes:
            section.snap_bytes = snap_bytes
        section.interfaces.append((link, *_time_unit(order, body[8:])))
        return None
    if kind == _SIMPLE:  # has no time: that of the frame before it
        (size,) = struct.unpack_from(order + "I", body)
        link, frame = section.interfaces[0][0], body[4 : 4 + min(size, section.snap_bytes)]
    elif kind in (_PACKET, _OLD_PACKET):
        number, high, low, captured = struct.unpack_from(order + "IIII", body)
        if kind == _OLD_PACKET:  # an interface of two bytes, and a count of drops behind it
            (number,) = struct.unpack_from(order + "H", body)
        if captured > len(body) - 20:
            raise IndexError(captured)
        link, units, offset_s = section.interfaces[number]
        section.latest_ns = (high << 32 | low) * NS_PER_S // units + offset_s * NS_PER_S
        if not 0 <= section.latest_ns < 2**63:
            raise OverflowError(section.latest_ns)
        frame = body[20 : 20 + captured]
    else:
        return None
    return section.latest_ns, udp_payload(frame, link) if link in (ETHERNET, RAW_IP, IPV4) else None


def _time_unit(order: str, options: bytes) -> tuple[int, int]:
    """(units in a second, seconds to add) of an interface: microseconds where it does not say."""
    units, offset_s, at = 1_000_000, 0, 0
    while at + 4 <= len(options):
        code, size = struct.unpack_from(order + "HH", options, at)
        value = options[at + 4 : at + 4 + size]
        if code == 0:
            break
        if code == _TSRESOL:
            units = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == _TSOFFSET:
            (offset_s,) = struct.unpack(order + "q", value)
        at += 4 + size + (-size) % 4
    return units, offset_s
