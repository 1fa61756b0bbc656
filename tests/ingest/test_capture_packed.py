"""Packed segments: the same records to every reader, and a plain one stays until the packed one is whole."""

from __future__ import annotations

import contextlib
import itertools
import random
import subprocess
import sys
import zlib
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import zstandard

from ingest.capture import CaptureReader, CaptureRecord, CaptureWriter, RecordKind, segments
from ingest.capture_format import LINES_MAX
from ingest.capture_packed import FOOT, INDEX, PackedReader, pack_segment
from ingest.capture_sessions import captured, expired, pack, remove, verify
from tickloom.errors import CaptureError


def records(path: Path) -> list[CaptureRecord]:
    with CaptureReader(path) as reader:
        return [record for batch in reader.batches() for record in batch]


def write(path: Path, count: int = 3_000, seed: int = 1) -> None:
    """Three segments of 1 MB and some: records of every kind and line, with times that step back."""
    chance = random.Random(seed)
    with CaptureWriter(path, segment_mb=1) as writer:
        for index in range(count):
            payload = bytes(chance.choices(b"abcd\x00", k=chance.choice((0, 40, 2_000))))
            step_back_ns = 5_000_000_000 if index == 100 else 0
            times = [10**18 + index * 1_000 - step_back_ns]
            writer.append_many(RecordKind(index % 3), times, [payload], lines=[index % LINES_MAX])


def test_readers_do_not_notice(tmp_path: Path) -> None:
    """The same records, numbers and times, packed or plain, some of the segments or all."""
    write(tmp_path)
    before, plain = records(tmp_path), segments(tmp_path)
    assert len(plain) >= 3
    packed = pack_segment(plain[0])
    assert packed.packed_bytes < packed.plain_bytes / 2
    assert not plain[0].exists()
    assert records(tmp_path) == before
    assert [one.path for one in pack(tmp_path)] == [file.with_suffix(".tlcapz") for file in plain[1:]]
    assert records(tmp_path) == before
    assert list(pack(tmp_path)) == []


def test_writer_goes_on_behind_packed_segments(tmp_path: Path) -> None:
    """A session that was packed whole is continued in a segment of its own."""
    write(tmp_path)
    before = records(tmp_path)
    list(pack(tmp_path))
    with CaptureWriter(tmp_path) as writer:
        assert writer.append(RecordKind.DATA, 7, b"next") == len(before) + 1
    assert records(tmp_path) == [*before, CaptureRecord(len(before) + 1, RecordKind.DATA, 7, b"next")]


def test_session_being_written_keeps_its_last_segment_plain(tmp_path: Path) -> None:
    """What an ingester appends to is left alone; what it has finished with is packed under its eyes."""
    write(tmp_path)
    with CaptureWriter(tmp_path) as writer, CaptureReader(tmp_path) as reader:
        first = reader.read()
        assert first is not None
        list(pack(tmp_path))
        assert [file.suffix for file in segments(tmp_path)][-2:] == [".tlcapz", ".tlcap"]
        writer.append(RecordKind.DATA, 7, b"next")
        rest = [record for batch in reader.batches() for record in batch]  # its open segment is gone by name
    assert [*first, *rest] == records(tmp_path)


def test_no_ingester_starts_while_a_session_is_packed(tmp_path: Path) -> None:
    """What it appended to the last segment would go with it: it is kept out until all is packed."""
    write(tmp_path)
    packing = pack(tmp_path)
    next(packing)
    with pytest.raises(CaptureError, match="another process"):
        CaptureWriter(tmp_path)
    list(packing)
    CaptureWriter(tmp_path).close()


def test_missing_segment_is_named(tmp_path: Path) -> None:
    """A hole between segments, or before the first, is damage, though what is read before it is sound."""
    write(tmp_path)
    first, second = segments(tmp_path)[:2]
    second.rename(tmp_path / "away")
    with pytest.raises(CaptureError, match="segment 000002 is missing"):
        verify(tmp_path)
    first.unlink()
    with pytest.raises(CaptureError, match="segment 000001 is missing"):
        verify(tmp_path)


def test_index_says_what_a_block_holds(tmp_path: Path) -> None:
    """Numbers and receive times of each block, and where the numbers end."""
    write(tmp_path)
    found = records(tmp_path)
    file = pack_segment(segments(tmp_path)[0]).path
    with contextlib.closing(PackedReader(file, 1)) as reader:
        bounds = [*reader.index["first_number"].tolist(), reader.end_number]
        for number, (first, stop) in enumerate(itertools.pairwise(bounds)):
            times = [record.ts_recv for record in found[first - 1 : stop - 1]]
            assert (reader.index[number]["ts_recv_min"], reader.index[number]["ts_recv_max"]) == (
                min(times), max(times),
            )  # fmt: skip
    with pytest.raises(CaptureError, match="begins with record 1, but 2 is due"):
        PackedReader(file, 2)


def test_damage_is_found_at_every_place(tmp_path: Path) -> None:
    """A changed byte in head, frames, index or foot is an error, never other records."""
    write(tmp_path, 300)
    expected = records(tmp_path)
    file = pack_segment(segments(tmp_path)[0]).path
    whole = file.read_bytes()
    chance = random.Random(3)
    for at in [*range(16), *range(len(whole) - 120, len(whole)), *chance.sample(range(len(whole)), 150)]:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with contextlib.suppress(CaptureError):  # some bits of a frame's head say nothing
            assert records(tmp_path) == expected
    for size in (0, 3, 20, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(CaptureError):
            verify(tmp_path)


def test_plain_segment_stays_where_packing_fails(tmp_path: Path) -> None:
    """A damaged record is not packed away, and no draft is left behind."""
    write(tmp_path)
    file = segments(tmp_path)[0]
    raw = bytearray(file.read_bytes())
    raw[5_000] ^= 1
    file.write_bytes(raw)
    with pytest.raises(CaptureError, match="damaged"):
        pack_segment(file)
    assert file.read_bytes() == bytes(raw)
    assert not list(tmp_path.glob("*.tlcapz*"))


def test_crash_between_the_two_leaves_one_truth(tmp_path: Path) -> None:
    """Plain and packed side by side are one segment, and packing again ends it."""
    write(tmp_path)
    before = records(tmp_path)
    plain = segments(tmp_path)[0]
    raw = plain.read_bytes()
    pack_segment(plain)
    plain.write_bytes(raw)
    assert segments(tmp_path)[0] == plain
    assert records(tmp_path) == before
    list(pack(tmp_path))
    assert not plain.exists()
    assert records(tmp_path) == before


def test_full_disk_leaves_the_plain_segment(tmp_path: Path) -> None:
    """No room for the packed one: an error that says so, and everything as it was."""
    write(tmp_path)
    before = records(tmp_path)
    # a limit on the size of files stands for the full disk, in a process of its own: it cannot be lifted
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from ingest.capture_packed import pack_segment\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "pack_segment(Path(sys.argv[1]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(segments(tmp_path)[0])], capture_output=True, text=True
    )
    assert "CaptureError" in ran.stderr
    assert "could not be packed: File too large" in ran.stderr
    assert records(tmp_path) == before
    assert not list(tmp_path.glob("*.tlcapz*"))


def test_verify_tells_what_is_there(tmp_path: Path) -> None:
    """Counts by kind, times, steps of the clock, a torn tail; a damaged record is named with its byte."""
    write(tmp_path)
    sound = verify(tmp_path)
    assert (sound.records, sound.kinds["data"], sound.steps_back) == (3_000, 1_000, 1)
    assert sound.step_back_ns_max == 5_000_000_000 - 1_000
    assert (sound.first_ns, sound.last_ns) == (10**18 + 100_000 - 5_000_000_000, 10**18 + 2_999_000)
    last = segments(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:-5])
    torn = verify(tmp_path)
    assert torn.records == 2_999
    assert torn.torn_bytes > 0
    raw = bytearray(last.read_bytes())
    raw[100] ^= 1
    last.write_bytes(raw)
    with pytest.raises(CaptureError, match=rf"{last.name}.*at byte \d+ is damaged"):
        verify(tmp_path)


def test_sessions_are_listed_and_let_go(tmp_path: Path) -> None:
    """Old sessions go when they are asked to; one that is being written never does."""
    for session in ("20261101.A", "20261120.B", "20261121.C"):
        write(tmp_path / "capture" / "XNAS" / session, 30)
    with CaptureWriter(tmp_path / "capture" / "XNAS" / "20261101.A"):
        assert [(one.session, one.written) for one in captured(tmp_path)] == [
            ("20261101.A", True), ("20261120.B", False), ("20261121.C", False),
        ]  # fmt: skip
        assert expired(tmp_path, 5, date(2026, 11, 22)) == []
        with pytest.raises(CaptureError, match="another process"):
            remove(tmp_path / "capture" / "XNAS" / "20261101.A")
    gone = expired(tmp_path, 1, date(2026, 11, 22))
    assert [one.session for one in gone] == ["20261101.A", "20261120.B"]
    for one in gone:
        remove(tmp_path / "capture" / one.venue / one.session)
    assert [one.session for one in captured(tmp_path, "XNAS")] == ["20261121.C"]


@pytest.mark.parametrize("at", [-1, 0, 2**62, 10**6])
def test_foot_that_points_nowhere_is_damage(tmp_path: Path, at: int) -> None:
    """The foot is under no checksum: where it says that the index begins is looked at before it is read."""
    write(tmp_path, count=20)
    path = pack_segment(segments(tmp_path)[0]).path
    raw = path.read_bytes()
    _, blocks, check, magic = FOOT.unpack(raw[-FOOT.size :])
    path.write_bytes(raw[: -FOOT.size] + FOOT.pack(at, blocks, check, magic))
    with pytest.raises(CaptureError, match="its foot is damaged; restore"):
        PackedReader(path, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("offset", -5),
        ("offset", 2**62),
        ("packed_bytes", 2**32 - 1),
        ("plain_bytes", 2**32 - 1),
        ("plain_bytes", 100),
        ("first_number", 7),
    ],
)
def test_index_that_cannot_be_is_damage(tmp_path: Path, field: str, value: int) -> None:
    """Also under a right checksum: an index is not believed with four gigabytes of memory."""
    write(tmp_path, count=600)
    path = pack_segment(segments(tmp_path)[0]).path
    raw = path.read_bytes()
    at, blocks, _, magic = FOOT.unpack(raw[-FOOT.size :])
    index = np.frombuffer(raw[at : -FOOT.size], dtype=INDEX).copy()
    index[field][0] = value
    foot = FOOT.pack(at, blocks, zlib.crc32(index.tobytes()), magic)
    path.write_bytes(raw[:at] + index.tobytes() + foot)
    with pytest.raises(CaptureError, match="damaged; restore"):
        records(path.parent)


def test_frame_that_says_it_is_larger_is_damage(tmp_path: Path) -> None:
    """The length in a zstd frame is looked at before memory is taken for it."""
    write(tmp_path, count=20)
    path = pack_segment(segments(tmp_path)[0]).path
    with contextlib.closing(PackedReader(path, None)) as reader:
        entry = reader.index[0]
    raw = bytearray(path.read_bytes())
    frame = zstandard.ZstdCompressor(level=3).compress(bytes(int(entry["plain_bytes"]) + 1))
    at = int(entry["offset"])
    raw[at : at + 8] = frame[:8]
    path.write_bytes(raw)
    with (
        pytest.raises(CaptureError, match="block 0 is damaged"),
        contextlib.closing(PackedReader(path, None)) as reader,
    ):
        reader.read()
