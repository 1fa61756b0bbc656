"""The capture: what is written is read back, whole, however the writer died."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from ingest.capture import (
    CaptureBatch,
    CaptureReader,
    CaptureRecord,
    CaptureWriter,
    RecordKind,
    segments,
)
from tickloom.errors import CaptureError

PAYLOADS = [b"", b"a", b"beta", bytes(range(256)), b"x" * 5000]


def records(path: Path) -> list[CaptureRecord]:
    with CaptureReader(path) as reader:
        return [record for batch in reader.batches() for record in batch]


def write(path: Path, payloads: list[bytes], segment_mb: int = 1) -> None:
    with CaptureWriter(path, segment_mb) as writer:
        for index, payload in enumerate(payloads):
            writer.append(RecordKind.DATA, 10**18 + index, payload)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Payloads, kinds, times and numbers from 1 come back as they were given."""
    with CaptureWriter(tmp_path / "s") as writer:
        assert writer.append(RecordKind.DATA, 5, b"one") == 1
        assert writer.append(RecordKind.CONTROL, -6, b"{}") == 2
        assert writer.append_many(RecordKind.SNAPSHOT, [7, 8], [b"", b"four"]) == 4
    assert records(tmp_path / "s") == [
        CaptureRecord(1, RecordKind.DATA, 5, b"one"),
        CaptureRecord(2, RecordKind.CONTROL, -6, b"{}"),
        CaptureRecord(3, RecordKind.SNAPSHOT, 7, b""),
        CaptureRecord(4, RecordKind.SNAPSHOT, 8, b"four"),
    ]


def test_record_is_as_documented(tmp_path: Path) -> None:
    """A record is CRC-32 of the rest (zlib's), length, time, kind, three zeros, payload."""
    write(tmp_path, [b"payload"])
    raw = segments(tmp_path)[0].read_bytes()
    assert raw[:16] == b"TLCAP1\r\n" + struct.pack("<q", 1)
    rest = struct.pack("<IqB3x", 7, 10**18, 0) + b"payload"
    assert raw[16:] == struct.pack("<I", zlib.crc32(rest)) + rest


def test_torn_tail_at_every_byte_is_cut(tmp_path: Path) -> None:
    """A writer killed inside the last record loses that record and nothing else."""
    write(tmp_path / "whole", PAYLOADS[:4])
    raw = segments(tmp_path / "whole")[0].read_bytes()
    last_bytes = 20 + len(PAYLOADS[3])
    for kept in range(last_bytes):
        path = tmp_path / f"torn{kept}"
        path.mkdir()
        (path / "000001.tlcap").write_bytes(raw[: len(raw) - last_bytes + kept])
        assert [record.payload for record in records(path)] == PAYLOADS[:3]
        with CaptureWriter(path) as writer:
            assert writer.cut_bytes == kept
            assert writer.append(RecordKind.DATA, 0, b"next") == 4
        assert [record.payload for record in records(path)] == [*PAYLOADS[:3], b"next"]


def test_zeroed_tail_is_cut(tmp_path: Path) -> None:
    """Zeros at the end (a file grown but never written before power went) are cut off."""
    write(tmp_path, PAYLOADS)
    with segments(tmp_path)[0].open("ab") as file:
        file.write(bytes(4096))
    assert len(records(tmp_path)) == len(PAYLOADS)
    with CaptureWriter(tmp_path) as writer:
        assert writer.cut_bytes == 4096


@pytest.mark.parametrize("field_byte", [0, 4, 7, 12, 16, 30])
def test_damage_in_the_middle_is_refused_not_cut(tmp_path: Path, field_byte: int) -> None:
    """A flipped bit with whole records behind it is an error that names file and byte, and cuts nothing."""
    write(tmp_path, [b"x" * 100] * 5)
    path = segments(tmp_path)[0]
    raw = bytearray(path.read_bytes())
    raw[16 + 2 * 120 + field_byte] ^= 0x81
    path.write_bytes(raw)
    with pytest.raises(CaptureError, match=r"000001\.tlcap: the record at byte 256"):
        CaptureWriter(tmp_path)
    assert path.read_bytes() == raw


def test_rotation_keeps_numbers_going(tmp_path: Path) -> None:
    """Segments are cut at the size that is set, and a reader goes over them without a seam."""
    payloads = [bytes([index]) * 100_000 for index in range(35)]
    write(tmp_path, payloads[:20])
    write(tmp_path, payloads[20:])
    assert len(segments(tmp_path)) == 4
    assert all(path.stat().st_size <= 1024 * 1024 for path in segments(tmp_path))
    found = records(tmp_path)
    assert [record.payload for record in found] == payloads
    assert [record.number for record in found] == list(range(1, 36))


def test_record_larger_than_a_read_or_a_segment(tmp_path: Path) -> None:
    """A snapshot of three megabytes passes a reader of one megabyte and segments of one."""
    payloads = [b"a", b"b" * 3_000_000, b"c"]
    write(tmp_path, payloads)
    assert [record.payload for record in records(tmp_path)] == payloads


def test_missing_segment_is_refused(tmp_path: Path) -> None:
    """A capture whose middle segment is gone is no capture."""
    write(tmp_path, [b"x" * 600_000] * 3)
    segments(tmp_path)[1].write_bytes(segments(tmp_path)[2].read_bytes())
    with pytest.raises(CaptureError, match="begins with record 3, but 2 is due"):
        records(tmp_path)


def test_empty_last_segment_of_a_killed_rotation(tmp_path: Path) -> None:
    """Killed between making a segment and writing its head, the writer makes it again."""
    write(tmp_path, [b"one"])
    (tmp_path / "000002.tlcap").write_bytes(b"TLC")
    assert len(records(tmp_path)) == 1
    write(tmp_path, [b"two"])
    assert [record.payload for record in records(tmp_path)] == [b"one", b"two"]


def test_second_writer_is_refused(tmp_path: Path) -> None:
    """Two ingesters on one capture would mix their records: the second one is told so."""
    with CaptureWriter(tmp_path), pytest.raises(CaptureError, match="another process"):
        CaptureWriter(tmp_path)


def test_follower_sees_all_and_ends(tmp_path: Path) -> None:
    """A reader that follows in another thread gets every record once, in order, and stops when told."""
    stop = threading.Event()
    seen: list[int] = []

    with CaptureWriter(tmp_path, 1) as writer:

        def follow() -> None:
            with CaptureReader(tmp_path, writer.notification) as reader:
                for batch in reader.batches(follow=True, stop=stop):
                    seen.extend(record.number for record in batch)

        thread = threading.Thread(target=follow)
        thread.start()
        for _ in range(200):
            writer.append_many(RecordKind.DATA, [1] * 10, [b"y" * 1000] * 10)
        stop.set()
        thread.join(30)
    assert seen == list(range(1, 2001))


def test_follower_in_another_process(tmp_path: Path) -> None:
    """A reader in another process sees what is appended after it has started."""
    code = (
        "import sys; from pathlib import Path; from ingest.capture import CaptureReader\n"
        "reader = CaptureReader(Path(sys.argv[1])); print('ready', flush=True); n = 0\n"
        "while n < 3: batch = reader.poll(10); n += len(batch) if batch else 0\n"
        "print(n)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with (
        CaptureWriter(tmp_path) as writer,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as child,
    ):
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        for _ in range(3):
            writer.append(RecordKind.DATA, 1, b"z")
        assert child.stdout.read() == "3\n"


def test_full_disk_loses_nothing_written(tmp_path: Path) -> None:
    """Where the disk takes no more, the error says so, what was written before is whole, and what a reader
    may have seen of the last batch stays. That writer writes nothing more: a hole would be behind it."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from ingest.capture import CaptureWriter\n"
        "from tickloom.errors import CaptureError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 20_000))\n"
        "writer = CaptureWriter(Path(sys.argv[1]))\n"
        "try:\n"
        "    while True: writer.append_many(0, [1, 2, 3, 4], [b'q' * 1000] * 4)\n"
        "except CaptureError as error: print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: writer.append(0, 1, b'later')\n"
        "except CaptureError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=_environment()).stdout
    # 16 + 9 x 1,020 bytes fit into 10,000: two batches of four, and one record of the third
    assert said.count("record 10 could not be written: the disk is full. Free space") == 2
    assert "records 1 to 9 are whole" in said
    assert [record.number for record in records(tmp_path)] == list(range(1, 10))
    assert segments(tmp_path)[0].stat().st_size == 16 + 9 * 1_020
    write(tmp_path, [b"on it goes"])
    assert len(records(tmp_path)) == 10


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    """A file that is no segment is named, not read."""
    (tmp_path / "000001.tlcap").write_bytes(b"something else altogether")
    with pytest.raises(CaptureError, match="is no capture segment"):
        records(tmp_path)


def test_batches_may_be_cut_anywhere() -> None:
    """A slice of a batch has the payloads, times and numbers of its records."""
    batch = CaptureBatch.of([(0, index, payload) for index, payload in enumerate(PAYLOADS)], first_number=7)
    part = batch.slice(1, 4)
    assert [record.payload for record in part] == PAYLOADS[1:4]
    assert [record.number for record in part] == [8, 9, 10]
    assert np.array_equal(part.ts_recv, [1, 2, 3])


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
