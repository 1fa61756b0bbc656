"""Files that may be damaged: packet captures, and segments of our own capture, plain and packed."""

from __future__ import annotations

import gzip
import os
import random
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import zstandard

from ingest.capture import CaptureReader, CaptureWriter, RecordKind, segments
from ingest.capture_packed import FOOT, pack_segment
from ingest.pcap import read_pcap
from tests.fuzz.target import Target
from tests.fuzz.targets.itch import real_pcaps
from tests.ingest import pcap_bytes as make
from tickloom.errors import CaptureError, DecodeError

MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


class FileTarget(Target):
    """Each frame is a file."""

    alone = True
    batch_frames = 500
    file = ""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz", dir=MEMORY)
        self.path = Path(self._folder.name) / f"{os.getpid()}"
        super().__init__()

    def own_path(self) -> Path:
        """A folder that no other process uses, also behind a fork."""
        path = Path(self._folder.name) / str(os.getpid())
        path.mkdir(exist_ok=True)
        return path


class Pcap(FileTarget):
    """pcap and pcapng in either byte order, some of them compressed."""

    name = "pcap"

    def seeds(self) -> list[list[bytes]]:
        payloads = [bytes([at]) * (at % 50) for at in range(12)]
        frames = [make.udp_frame(payload) for payload in payloads]
        frames += [make.udp_frame(b"tagged", b"\x81\x00\x00\x01"), b"\x00" * 30]
        tape = [make.pcap(frames, order, nanoseconds) for order in "<>" for nanoseconds in (True, False)]
        tape.append(make.pcap([make.ip_packet(payload) for payload in payloads], link=101))
        for order in "<>":
            options = [(2, b"eth0"), (9, b"\x09"), (14, struct.pack(order + "q", 5)), (0, b"")]
            tape.append(
                make.section(order)
                + make.interface(order, options=options)
                + make.interface(order, options=[(9, b"\x86")], snap=96)
                + b"".join(make.packet(frame, 10**18 + at, order, at % 2) for at, frame in enumerate(frames))
                + make.block(order, 3, struct.pack(order + "I", len(frames[0])) + frames[0])
                + make.block(order, 5, bytes(20))
            )
        tape += [path.read_bytes() for path in real_pcaps("omi_packets/iex_deep")[:3]]
        packed = zstandard.ZstdCompressor(level=1)
        tape += [gzip.compress(one, 1, mtime=0) for one in tape[:2]] + [
            packed.compress(one) for one in tape[5:7]
        ]
        return [tape]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        path = self.own_path() / "file.pcap"
        for frame in frames:
            path.write_bytes(frame)
            try:
                for ts_recv, payload in read_pcap(path):
                    assert 0 <= ts_recv < 2**63, f"a time of {ts_recv}"
                    counts["datagrams" if payload is not None else "foreign"] += 1
                counts["whole"] += 1
            except DecodeError:
                counts["refused"] += 1
        assert counts["whole"] + counts["refused"] == len(frames)
        return counts


def _segment(rng: random.Random, records: int) -> bytes:
    """A segment as the writer makes it."""
    with tempfile.TemporaryDirectory(prefix="fuzz", dir=MEMORY) as folder:
        with CaptureWriter(Path(folder)) as writer:
            for number in range(records):
                payload = rng.randbytes(rng.choice((0, 1, 30, 200)))
                writer.append(RecordKind(number % 3), 10**18 + number, payload)
        return segments(Path(folder))[0].read_bytes()


class Segment(FileTarget):
    """Plain segments: read, and opened to be continued."""

    name = "capture"

    def seeds(self) -> list[list[bytes]]:
        rng = random.Random(1)
        return [[_segment(rng, records) for records in (0, 1, 2, 5, 9, 20) for _ in range(4)]]

    def repaired(self, rng: random.Random, frame: bytes) -> bytes:
        """Half of them get right checksums again, record by record as their lengths say."""
        if rng.random() < 0.5:
            return frame
        out, at = bytearray(frame), 16
        while at + 20 <= len(out):
            (size,) = struct.unpack_from("<I", out, at + 4)
            if at + 20 + size > len(out):
                break
            struct.pack_into("<I", out, at, zlib.crc32(out[at + 4 : at + 20 + size]))
            at += 20 + size
        return bytes(out)

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        folder = self.own_path()
        path = folder / "000001.tlcap"
        for frame in frames:
            path.write_bytes(frame)
            before = _read(folder, counts)
            try:
                with CaptureWriter(folder) as writer:
                    number = writer.append(RecordKind.DATA, 5, b"next")
            except CaptureError:
                counts["not_continued"] += 1
                continue
            finally:
                path.unlink(missing_ok=True)
            counts["continued"] += 1
            if before is not None:
                assert number == before + 1, f"record {number} follows {before}"
        assert counts["continued"] + counts["not_continued"] == len(frames)
        return counts


class PackedSegment(FileTarget):
    """Packed segments."""

    name = "capture_packed"

    def seeds(self) -> list[list[bytes]]:
        rng = random.Random(2)
        tape = []
        for records in (0, 1, 3, 9, 40):
            with tempfile.TemporaryDirectory(prefix="fuzz", dir=MEMORY) as folder:
                path = Path(folder) / "000001.tlcap"
                path.write_bytes(_segment(rng, records))
                tape.append(pack_segment(path).path.read_bytes())
        return [tape]

    def repaired(self, rng: random.Random, frame: bytes) -> bytes:
        """Half of them get a foot whose checksum fits the index that it points to."""
        if rng.random() < 0.5 or len(frame) < 16 + FOOT.size:
            return frame
        at, blocks, _, magic = FOOT.unpack_from(frame, len(frame) - FOOT.size)
        index = frame[at : -FOOT.size] if 0 <= at <= len(frame) else b""
        return frame[: -FOOT.size] + FOOT.pack(at, blocks, zlib.crc32(index), magic)

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        folder = self.own_path()
        path = folder / "000001.tlcapz"
        for frame in frames:
            path.write_bytes(frame)
            counts["whole" if _read(folder, counts) is not None else "damaged"] += 1
        assert counts["whole"] + counts["damaged"] == len(frames)
        return counts


def _read(folder: Path, counts: Counter[str]) -> int | None:
    """Number of the last record, as a reader follows; None where the capture is refused."""
    try:
        with CaptureReader(folder) as reader:
            for batch in reader.batches():
                counts["records"] += len(batch)
                assert len(batch.offsets) == len(batch) + 1
                assert batch.offsets[-1] == len(batch.data)
            return reader.next_number - 1
    except CaptureError:
        return None
