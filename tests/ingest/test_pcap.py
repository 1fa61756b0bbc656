"""Packet captures of every kind that is read: the UDP payloads come out, with their times."""

from __future__ import annotations

import gzip
import random
import re
import struct
from pathlib import Path

import pytest
import zstandard

from ingest.pcap import is_pcap, open_plain, read_pcap, udp_payload
from tests.ingest.pcap_bytes import SECONDS, block, interface, ip_packet, packet, pcap, section, udp_frame
from tickloom.errors import DecodeError

BASE = SECONDS * 10**9


def written(tmp_path: Path, raw: bytes) -> Path:
    path = tmp_path / "file"
    path.write_bytes(raw)
    return path


def until_damage(path: Path) -> tuple[list[bytes | None], str]:
    """The payloads before the damage, and what is said of it."""
    found = []
    try:
        for _, payload in read_pcap(path):
            found.append(payload)
    except DecodeError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [True, False])
def test_classic(tmp_path: Path, order: str, nanoseconds: bool) -> None:
    """Either byte order, either unit of time, VLAN tags, IP options, padding: the UDP payloads come out."""
    frames = [
        udp_frame(b"one"),
        b"\xff" * 60,
        udp_frame(b"two", vlan=b"\x81\x00\x00\x05"),
        udp_frame(b"six", vlan=b"\x88\xa8\x00\x01\x81\x00\x00\x05"),
    ]
    path = written(tmp_path, pcap(frames, order, nanoseconds))
    assert is_pcap(path)
    unit = 1 if nanoseconds else 1_000
    assert list(read_pcap(path)) == [
        (BASE, b"one"), (BASE + unit, None), (BASE + 2 * unit, b"two"), (BASE + 3 * unit, b"six"),
    ]  # fmt: skip


@pytest.mark.parametrize("link", [101, 228])
def test_bare_ip(tmp_path: Path, link: int) -> None:
    """Without an Ethernet head; a later fragment and TCP are no datagrams."""
    frames = [
        ip_packet(b"one"),
        ip_packet(b"rest", fragment=3),
        ip_packet(b"two").replace(b"\x40\x11", b"\x40\x06"),
    ]
    assert list(read_pcap(written(tmp_path, pcap(frames, link=link)))) == [
        (BASE, b"one"), (BASE + 1, None), (BASE + 2, None),
    ]  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_units_of_time(tmp_path: Path, order: str) -> None:
    """if_tsresol in powers of ten and of two, none (microseconds), and if_tsoffset: exact nanoseconds."""
    raw = section(order) + b"".join(
        interface(order, options=options)
        for options in (
            [],
            [(9, b"\x09")],
            [(2, b"eth0"), (9, b"\x8a"), (14, struct.pack(order + "q", 100))],
            [(9, b"\x06"), (0, b""), (9, b"\x09")],
        )
    )
    seconds = SECONDS
    raw += packet(udp_frame(b"us"), seconds * 10**6 + 7, order, 0)
    raw += block(order, 5, bytes(12))  # statistics of an interface: passed over
    raw += packet(udp_frame(b"ns"), seconds * 10**9 + 7, order, 1)
    raw += packet(udp_frame(b"binary"), (seconds - 100) * 1_024 + 1, order, 2)
    raw += packet(udp_frame(b"ended"), seconds * 10**6 + 9, order, 3)
    path = written(tmp_path, raw)
    assert is_pcap(path)
    assert list(read_pcap(path)) == [
        (BASE + 7_000, b"us"), (BASE + 7, b"ns"), (BASE + 976_562, b"binary"), (BASE + 9_000, b"ended"),
    ]  # fmt: skip


def test_pcapng_sections_interfaces_and_old_blocks(tmp_path: Path) -> None:
    """A second section in the other byte order begins anew; a simple packet has the time before it and ends
    at the snap length; the obsolete block is read; a link type that is none of ours is no UDP."""
    frame = udp_frame(b"x" * 20)
    old = struct.pack("<HHIIII", 1, 5, 0, 9, len(frame), len(frame)) + frame
    raw = section() + interface(snap=56) + interface() + interface(link=113)
    raw += packet(frame, 5, number=1) + block("<", 3, struct.pack("<I", 90) + frame[:56]) + block("<", 2, old)
    raw += packet(frame, 11, number=2)
    raw += section(">") + interface(">", options=[(9, b"\x09")]) + packet(udp_frame(b"big"), 12, ">")
    assert list(read_pcap(written(tmp_path, raw))) == [
        (5_000, b"x" * 20), (5_000, b"x" * 10), (9_000, b"x" * 20), (11_000, None), (12, b"big"),
    ]  # fmt: skip


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_compressed(tmp_path: Path, compress: object) -> None:
    """Compressed in one piece or in several, longer than any buffer: the same frames."""
    assert callable(compress)
    payloads = [random.Random(n).randbytes(1_400) for n in range(2_000)]
    raw = pcap([udp_frame(payload) for payload in payloads])
    path = written(tmp_path, compress(raw[:1_000_001]) + compress(raw[1_000_001:]))
    assert [payload for _, payload in read_pcap(path)] == payloads
    with open_plain(path) as file:
        assert file.read() == raw


@pytest.mark.parametrize("compress", [None, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_cut_off(tmp_path: Path, compress: object) -> None:
    """A file that is cut off anywhere gives its whole frames, and then says so: compressed or not."""
    frames = [udp_frame(random.Random(n).randbytes(500)) for n in range(40)]
    raw = pcap(frames)
    stored = compress(raw) if callable(compress) else raw
    for cut in (len(stored) - 1, len(stored) - 3, len(stored) * 2 // 3, 30):
        found, said = until_damage(written(tmp_path, stored[:cut]))
        assert re.search(r"ends inside|cut off|broken|no classic pcap", said)
        assert found == [udp_payload(frame) for frame in frames][: len(found)]
        if compress is None:
            assert len(found) == max(0, cut - 24) // (16 + len(frames[0]))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (pcap([], link=113), "link type 113"),
        (pcap([udp_frame(b"one")])[:-1], "ends inside a frame"),
        (pcap([])[:20], "is no classic pcap"),
        (b"", "is no classic pcap and no pcapng"),
        (pcap([]) + struct.pack("<IIII", 0, 0, 2**31, 0), "a frame of 2147483648 bytes"),
        (section()[:9], "has no byte order magic"),
        (section()[:20], "ends inside a block"),
        (section() + b"\x01", "ends inside a block"),
        (section() + struct.pack("<II", 6, 2**31), "a block of 2147483648 bytes"),
        (section() + struct.pack("<II", 6, 13) + bytes(5), "a block of 13 bytes"),
        (section() + interface()[:-4] + bytes(4), "two lengths differ"),
        (section() + packet(b"", 1), "type 6 without sense"),
        (
            section() + interface() + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 99, 99)),
            "type 6 without sense",
        ),
        (section() + interface(options=[(9, b"\x00")]) + packet(b"", 2**63), "type 6 without sense"),
        (section() + interface(options=[(14, b"\x00")]), "type 1 without sense"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_said(tmp_path: Path, raw: bytes, said: str) -> None:
    """What cannot be read is an error that names what is wrong; a length is not believed with memory."""
    with pytest.raises(DecodeError, match=said):
        list(read_pcap(written(tmp_path, raw)))


def test_mutated_files_never_crash(tmp_path: Path) -> None:
    """Three thousand damaged captures: frames, or an error of the tree; never another."""
    rng = random.Random(20261121)
    frames = [udp_frame(b"payload %d" % n, vlan=b"\x81\x00\x00\x01" if n % 2 else b"") for n in range(4)]
    sound = [
        pcap(frames),
        pcap(frames, ">", nanoseconds=False),
        section()
        + interface(options=[(9, b"\x09")])
        + b"".join(packet(frame, n) for n, frame in enumerate(frames)),
    ]
    refused = 0
    for number in range(3_000):
        raw = bytearray(sound[number % 3])
        for _ in range(rng.randrange(1, 6)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        path = written(tmp_path, bytes(raw[: rng.randrange(len(raw) + 1)] if rng.random() < 0.3 else raw))
        try:
            assert all(0 <= ts < 2**63 for ts, _ in read_pcap(path))
        except DecodeError:
            refused += 1
    assert 300 < refused < 2_900


def test_real_captures(shared_data: object, tmp_path: Path) -> None:
    """The exchange's sample of TOPS is called pcapng and is a classic pcap of 13,022 packets; that of DEEP
    ends inside packet 121,315."""
    assert callable(shared_data)
    assert sum(payload is not None for _, payload in read_pcap(shared_data("iex/TOPS16.pcapng.gz"))) == 13_022
    payloads, said = until_damage(shared_data("iex/DEEP10.pcap.gz"))
    assert len([payload for payload in payloads if payload is not None]) + 1 == 121_315
    assert "ends inside a frame" in said
