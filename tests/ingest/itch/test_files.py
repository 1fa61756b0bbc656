"""ITCH files and pcaps: every framing comes to the same messages."""

from __future__ import annotations

import errno
import gzip
import os
import re
import tempfile
from datetime import date
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as some

from ingest.itch import packing
from ingest.itch.decoder import ItchDecoder
from ingest.itch.files import load_file, read_itch
from ingest.itch.messages import LAYOUTS
from ingest.itch.moldudp64 import HEAD_BYTES, PACKET_BYTES_MAX, pack
from ingest.pipeline import count_events
from tests.ingest.pcap_bytes import pcap, udp_frame
from tickloom.errors import CaptureError, DecodeError

DAY = date(2026, 11, 21)
MESSAGES = [
    LAYOUTS["R"].pack(stock_locate=1, timestamp=1, stock="ALFA"),
    LAYOUTS["P"].pack(
        stock_locate=1, timestamp=2, stock="ALFA", shares=5, price=10, match_number=1, side="B"
    ),
    LAYOUTS["S"].pack(timestamp=3, event_code="C"),
]


def framed(messages: list[bytes], prefix: bool = True) -> bytes:
    return b"".join((len(m) if prefix else 0).to_bytes(2, "big") + m for m in messages)


@pytest.mark.parametrize("prefix", [True, False], ids=["prefixed", "zero prefixes"])
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_itch_file(tmp_path: Path, prefix: bool, zipped: bool) -> None:
    """Plain or gzipped, with length prefixes or with zeros in their place: the same messages."""
    raw = framed(MESSAGES, prefix)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    assert list(read_itch(path)) == MESSAGES


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_file_that_ends_inside_a_message(tmp_path: Path, cut: int) -> None:
    """A file that is cut off is an error, not a shorter file."""
    path = tmp_path / "file"
    path.write_bytes(framed(MESSAGES)[:-cut])
    with pytest.raises(DecodeError, match="ends inside a message"):
        list(read_itch(path))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (framed(MESSAGES * 200)[:-1], r"ends inside a message; is it cut off\? at byte 20186"),
        (gzip.compress(framed(MESSAGES * 200)[:-1]), "ends inside a message"),
        (gzip.compress(framed(MESSAGES * 200))[:-9], "cannot be read on: .* end-of-stream"),
        (
            zstandard.compress(framed(MESSAGES * 200)) + zstandard.compress(b"x")[:-1],
            "cannot be read on: it ends inside a zstd frame",
        ),
        (framed(MESSAGES * 200, prefix=False) + b"\0\0zz", "length prefix 0 and unknown message type b'z'"),
        (pcap([udp_frame(pack(b"FILE", 1, MESSAGES * 200)[:9_000])] * 2)[:-1], "ends inside a frame"),
    ],
    ids=["plain", "gzip", "gzip cut", "zstd cut", "no length", "pcap"],
)
def test_what_is_whole_before_a_damage_is_loaded(tmp_path: Path, raw: bytes, said: str) -> None:
    """A file that is cut off, or damaged further on, becomes a capture of what is whole, and the damage is
    told: of an archive of hours that ended a byte early nothing less is lost than that."""
    path = tmp_path / "file"
    path.write_bytes(raw)
    loaded = load_file(path, tmp_path, "XNAS", DAY)
    assert re.search(said, loaded.damage)
    trades = count_events(loaded.path, ItchDecoder("XNAS", loaded.session))["trades"]["ALFA"]
    whole = 9_000 // sum(2 + len(each) for each in MESSAGES) if said == "ends inside a frame" else 200
    assert trades == whole


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty; get it anew"),
        (gzip.compress(b""), "is empty"),
        (b"<html>not found</html>", "ends inside a message"),
        (framed([b"zz", b"S" * 5] * 9), "holds no message of ITCH 5.0; is it another --venue's?"),
        (pcap([udp_frame(b"\1\0\4\x80" + bytes(range(76)))] * 3), "holds no message of ITCH 5.0"),
        (gzip.compress(b"x" * 99)[:9], "cannot be read on"),
    ],
    ids=["empty", "empty gzip", "html", "other messages", "iex", "gzip cut"],
)
def test_file_that_is_none_leaves_no_capture(tmp_path: Path, raw: bytes, said: str) -> None:
    """Another venue's file would be a day of gaps alone, and the folder of a load that failed would keep the
    right file from being loaded: both are refused before a capture is begun."""
    path = tmp_path / "file"
    path.write_bytes(raw)
    with pytest.raises(DecodeError, match=re.escape(said)):
        load_file(path, tmp_path, "XNAS", DAY)
    assert not (tmp_path / "capture").exists()


def test_zero_prefix_before_an_unknown_type(tmp_path: Path) -> None:
    """Without a length there is no way over a message of an unknown type: said with its byte."""
    path = tmp_path / "file"
    path.write_bytes(framed(MESSAGES[:1], prefix=False) + b"\x00\x00zzzz")
    with pytest.raises(DecodeError, match=r"unknown message type b'z' at byte 41"):
        list(read_itch(path))


def test_pcap_keeps_its_own_numbers_and_times(tmp_path: Path) -> None:
    """Packets with a session and numbers are captured as they came, and resent ones count once."""
    packets = [pack(b"MINE", 1, MESSAGES[:2]), pack(b"MINE", 1, MESSAGES[:2]), pack(b"MINE", 3, MESSAGES[2:])]
    path = tmp_path / "file.pcap.gz"
    path.write_bytes(gzip.compress(pcap([udp_frame(packet) for packet in packets])))
    loaded = load_file(path, tmp_path, "XNAS", DAY)
    assert (loaded.session, loaded.packets) == ("20261121.MINE", 3)
    decoder = ItchDecoder("XNAS", loaded.session)
    counts = count_events(loaded.path, decoder)
    assert counts["trades"] == {"ALFA": 1}
    assert decoder.counters == {"decoded": 3, "duplicate": 2}


def test_file_becomes_a_session(tmp_path: Path) -> None:
    """An ITCH file's messages are numbered from 1, and its end is the session's end."""
    path = tmp_path / "file"
    path.write_bytes(framed(MESSAGES * 200))
    loaded = load_file(path, tmp_path, "XNAS", DAY)
    assert (loaded.session, loaded.messages) == ("20261121.FILE", 600)
    decoder = ItchDecoder("XNAS", loaded.session)
    assert count_events(loaded.path, decoder)["trades"] == {"ALFA": 200}
    assert decoder.last_seq == 261121 * 10**10 + 600
    assert decoder.ended


def test_loading_twice_is_refused_and_loading_elsewhere_gives_the_same(tmp_path: Path) -> None:
    """A second load of a day would double it; into another directory it gives the same bytes."""
    path = tmp_path / "file"
    path.write_bytes(framed(MESSAGES))
    first = load_file(path, tmp_path / "a", "XNAS", DAY)
    with pytest.raises(CaptureError, match="holds a capture already"):
        load_file(path, tmp_path / "a", "XNAS", DAY)
    second = load_file(path, tmp_path / "b", "XNAS", DAY)
    assert (first.path / "000001.tlcap").read_bytes() == (second.path / "000001.tlcap").read_bytes()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "has no byte order magic"),
        (pcap([], link=113), "link type 113"),
        (pcap([udp_frame(b"one")])[:-1], "ends inside a frame"),
        (pcap([])[:20], "is no classic pcap"),
    ],
    ids=["pcapng", "link", "cut", "short"],
)
def test_other_captures_are_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    """What is not read here is said, with the way to convert it where there is one."""
    path = tmp_path / "file"
    path.write_bytes(raw)
    with pytest.raises(DecodeError, match=said):
        load_file(path, tmp_path, "XNAS", DAY)


def test_load_that_fails_can_be_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full in the middle leaves no half capture in the way of the same command."""
    path = tmp_path / "file"
    path.write_bytes(framed(MESSAGES * 2_000))
    monkeypatch.setattr(packing, "READ_BYTES", 4_096)
    written = 0
    writev = os.writev

    def write_some(fd: int, parts: list[bytes]) -> int:
        nonlocal written
        if written > 50_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written += sum(map(len, parts))
        return writev(fd, parts)

    with monkeypatch.context() as full:
        full.setattr(os, "writev", write_some)
        with pytest.raises(CaptureError, match=r"the disk is full\. Free space .* and start again"):
            load_file(path, tmp_path, "XNAS", DAY)
    assert written > 50_000
    loaded = load_file(path, tmp_path, "XNAS", DAY)
    assert (loaded.messages, loaded.damage) == (2_000 * len(MESSAGES), "")
    assert count_events(loaded.path, ItchDecoder("XNAS", loaded.session))["trades"]["ALFA"] == 2_000


@settings(max_examples=25, deadline=None)
@given(some.lists(some.integers(0, 11), max_size=300), some.booleans(), some.integers(64, 4_096))
def test_packets_of_a_file(kinds: list[int], prefix: bool, read_bytes: int) -> None:
    """The compiled packets are those that pack() makes of the messages one by one, however the file is read;
    messages of one byte and of more than a packet's among them."""
    some_messages = [*MESSAGES * 3, *([b"z", bytes([90]) * 1_500, b"y" * 20] if prefix else MESSAGES)]
    messages = [some_messages[kind] for kind in kinds]
    expected: list[tuple[int, bytes]] = []
    number, group, size = 1, [], HEAD_BYTES
    for message in [*messages, None]:
        if group and (message is None or size + 2 + len(message) > PACKET_BYTES_MAX):
            time = int.from_bytes(group[0][5:11], "big")
            expected.append((time, pack(b"FILE", number, group)))
            number, group, size = number + len(group), [], HEAD_BYTES
        if message is not None:
            group.append(message)
            size += 2 + len(message)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "READ_BYTES", read_bytes)
        path = Path(folder) / "file"
        path.write_bytes(framed(messages, prefix))
        found = list(packing.pack_file(path, b"FILE"))
    assert [pair for one in found for pair in zip(one.times.tolist(), one.payloads, strict=True)] == expected
    assert sum(one.messages for one in found) == len(messages)
