"""Packet captures made by hand: classic pcap and pcapng, for the tests that read them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

SECONDS = 1_700_000_000
ETHERNET = 1


def udp_frame(payload: bytes, vlan: bytes = b"") -> bytes:
    """An Ethernet frame with an IPv4 head of 24 bytes, padded as short frames are."""
    return bytes(12) + vlan + b"\x08\x00" + ip_packet(payload) + b"\x00\x00"


def ip_packet(payload: bytes, fragment: int = 0) -> bytes:
    ip = bytes([0x46, 0]) + struct.pack(">HHH", 32 + len(payload), 0, fragment) + b"\x40\x11" + bytes(14)
    return ip + struct.pack(">HHHH", 1, 2, 8 + len(payload), 0) + payload


def pcap(
    frames: list[bytes],
    order: str = "<",
    nanoseconds: bool = True,
    link: int = ETHERNET,
    times: Sequence[int] = (),
) -> bytes:
    """Frame number n is of SECONDS and n units, or of ``times`` (ns)."""
    out = struct.pack(order + "IHHiIII", 0xA1B23C4D if nanoseconds else 0xA1B2C3D4, 2, 4, 0, 0, 65_535, link)
    for number, frame in enumerate(frames):
        seconds, fraction = divmod(times[number], 10**9) if times else (SECONDS, number)
        out += struct.pack(order + "IIII", seconds, fraction, len(frame), len(frame)) + frame
    return out


def block(order: str, kind: int, body: bytes) -> bytes:
    """A pcapng block: type, length, body, padding, length."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(
    order: str = "<", link: int = ETHERNET, options: Sequence[tuple[int, bytes]] = (), snap: int = 0
) -> bytes:
    body = struct.pack(order + "HHI", link, 0, snap)
    for code, value in options:
        body += struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(order, 1, body + (bytes(4) if options else b""))


def packet(frame: bytes, ticks: int, order: str = "<", number: int = 0) -> bytes:
    """An enhanced packet block of interface ``number``."""
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFF_FFFF, len(frame), len(frame))
    return block(order, 6, head + frame)
