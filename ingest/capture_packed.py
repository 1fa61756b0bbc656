"""A finished segment in, a packed one out: compressed blocks of whole records, and an index of them.

ITCH packs 2.8 to 1, websocket JSON 6.3 to 1, and is read back at about the same speed. The packed segment
``NNNNNN.tlcapz`` takes the plain one's place, and readers do not notice. It is made beside it, read back and
compared before the plain one goes, so a crash at any moment leaves one of them whole.

::

    head     magic "TLCAPZ1\\n", i64 number of the first record
    blocks   zstd frames; unpacked, each is about 1 MB of records as in a plain segment, checksums included
    index    one entry a block (INDEX), in order
    foot     i64 where the index begins, u32 blocks, u32 CRC-32 of the index, magic

All little-endian. Source of the frames: RFC 8878.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from ingest.capture_batch import CaptureBatch
from ingest.capture_format import PACKED_MAGIC, PACKED_SUFFIX, SEGMENT_HEAD
from ingest.capture_scan import HEAD_BYTES, RECORD_BYTES_MAX, scan_records
from ingest.capture_segment import READ_BYTES, SegmentReader
from tickloom.errors import CaptureError

BLOCK_BYTES_MAX = READ_BYTES + HEAD_BYTES + RECORD_BYTES_MAX  # unpacked: one read, or one large record
LEVEL = 3  # of zstd; 9 takes 3.5 times as long for 15 % less
FOOT = struct.Struct("<qII8s")

#: Index entry: number of the block's first record; receive times, ns, the earliest and the latest; where the
#: frame begins; its bytes, and unpacked.
INDEX = np.dtype(
    [
        ("first_number", "<i8"),
        ("ts_recv_min", "<i8"),
        ("ts_recv_max", "<i8"),
        ("offset", "<i8"),
        ("packed_bytes", "<u4"),
        ("plain_bytes", "<u4"),
    ]
)


@dataclass(frozen=True, slots=True)
class Packed:
    """What became of a segment. path: of the packed one; plain_bytes, packed_bytes: before and after."""

    path: Path
    records: int
    plain_bytes: int
    packed_bytes: int


def pack_segment(path: Path) -> Packed:
    """Pack a plain segment that nobody writes any more, and remove it.

    Raises
    ------
    CaptureError
        A record is damaged, or the disk refuses; the plain segment stays as it was.
    """
    target = path.with_suffix(PACKED_SUFFIX)
    draft = target.with_name(target.name + ".draft")
    try:
        records, plain_bytes = _write(path, draft)
        _compare(path, draft)
        draft.replace(target)
        _sync_folder(path.parent)
        packed_bytes = target.stat().st_size
        path.unlink()
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CaptureError(
            f"{path} could not be packed: {error.strerror}. Mend that and pack again; it is as it was"
        ) from error
    except CaptureError:
        draft.unlink(missing_ok=True)
        raise
    return Packed(target, records, plain_bytes, packed_bytes)


class PackedReader:
    """Whole records of one packed segment, from its first on; as :class:`SegmentReader`.

    Attributes
    ----------
    index : ndarray of INDEX, shape (blocks,)
    next_number : int
        Of the record that is read next.
    end_number : int
        Of the record behind the segment's last.
    """

    def __init__(self, path: Path, expected: int | None) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.next_number, self.end_number, self.index = self._open()
            if expected is not None and self.next_number != expected:
                raise CaptureError(
                    f"{path} begins with record {self.next_number}, but {expected} is due: "
                    "a segment is missing or misplaced; restore it"
                )
        except BaseException:
            self.close()
            raise
        self._block = 0
        self._unpack = zstandard.ZstdDecompressor()

    @property
    def position(self) -> int:
        """How far it is read, as a place in the file; the file's size at the end."""
        return self.size() if self._block == len(self.index) else int(self.index[self._block]["offset"])

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)

    def read(self) -> CaptureBatch | None:
        """Records of the next block; None behind the last."""
        if self._block == len(self.index):
            return None
        first, raw = self.block(self._block)
        scan = scan_records(np.frombuffer(raw, dtype=np.uint8))
        if scan.consumed != len(raw):
            raise self._damaged(f"block {self._block}")
        self._block += 1
        self.next_number = first + scan.count
        last = self._block == len(self.index)
        due = self.end_number if last else int(self.index[self._block]["first_number"])
        if self.next_number != due:
            raise self._damaged(f"the number of records in block {self._block - 1}")
        return CaptureBatch(scan.data, scan.offsets, scan.kinds, scan.ts_recv, first, scan.lines)

    def block(self, number: int) -> tuple[int, bytes]:
        """Number of a block's first record, and the records as in a plain segment."""
        entry = self.index[number]
        frame = os.pread(self._fd, int(entry["packed_bytes"]), int(entry["offset"]))
        try:
            # a frame says how long it is unpacked, and would be believed with memory
            said = zstandard.get_frame_parameters(frame).content_size
            if said != entry["plain_bytes"]:
                raise self._damaged(f"block {number}")
            raw = self._unpack.decompress(frame, max_output_size=int(said))
        except zstandard.ZstdError as error:
            raise self._damaged(f"block {number}") from error
        return int(entry["first_number"]), raw

    def _open(self) -> tuple[int, int, NDArray[Any]]:
        size = self.size()
        head, foot = os.pread(self._fd, SEGMENT_HEAD.size, 0), b""
        if size >= SEGMENT_HEAD.size + FOOT.size:
            foot = os.pread(self._fd, FOOT.size, size - FOOT.size)
        if head[:8] != PACKED_MAGIC or foot[-8:] != PACKED_MAGIC:
            raise self._damaged("its head or foot")
        _, first = SEGMENT_HEAD.unpack(head)
        at, blocks, check, _ = FOOT.unpack(foot)
        if not SEGMENT_HEAD.size <= at <= size - FOOT.size:  # the checksum is not over the foot
            raise self._damaged("its foot")
        raw = os.pread(self._fd, size - FOOT.size - at, at)
        if zlib.crc32(raw) != check or len(raw) != (blocks + 1) * INDEX.itemsize:
            raise self._damaged("its index")
        index = np.frombuffer(raw, dtype=INDEX)
        blocks_at, room = index["offset"], at - index["offset"]
        if not np.all(
            (blocks_at >= SEGMENT_HEAD.size)
            & (room >= index["packed_bytes"])
            & (index["plain_bytes"] <= BLOCK_BYTES_MAX)
            & (index["first_number"][0] == first)
        ):
            raise self._damaged("its index")
        return first, int(index[-1]["first_number"]), index[:-1]

    def _damaged(self, what: str) -> CaptureError:
        return CaptureError(f"{self.path}: {what} is damaged; restore the file from a copy")


def plain_blocks(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """A packed segment's records in pieces: number of the first, place in the plain segment, bytes.

    For who looks for a record by what its head says, and does not want to verify all.
    """
    reader = PackedReader(path, None)
    try:
        at = SEGMENT_HEAD.size
        for number in range(len(reader.index)):
            first, raw = reader.block(number)
            yield first, at, raw
            at += len(raw)
    finally:
        reader.close()


def _write(path: Path, draft: Path) -> tuple[int, int]:
    """Write the packed segment; records, and bytes of the plain one."""
    pack = zstandard.ZstdCompressor(level=LEVEL)
    reader = SegmentReader(path, None)
    entries = []
    first = reader.next_number
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with draft.open("wb") as file:
            file.write(SEGMENT_HEAD.pack(PACKED_MAGIC, first))
            while True:
                begin = reader.position
                batch = reader.read()
                if batch is None:
                    break
                raw = os.pread(source, reader.position - begin, begin)
                frame = pack.compress(raw)
                times = batch.ts_recv
                entry = (batch.first_number, times.min(), times.max(), file.tell(), len(frame), len(raw))
                entries.append(entry)
                file.write(frame)
            if reader.position != reader.size():
                raise CaptureError(
                    f"{path}: the record at byte {reader.position} is torn or damaged; an ingester of this "
                    "session cuts a torn tail off when it starts"
                )
            at = file.tell()
            entries.append((reader.next_number, 0, 0, at, 0, 0))  # says where the numbers end
            index = np.array(entries, dtype=INDEX).tobytes()
            file.write(index)
            file.write(FOOT.pack(at, len(entries) - 1, zlib.crc32(index), PACKED_MAGIC))
            file.flush()
            os.fsync(file.fileno())
        return reader.next_number - first, reader.size()
    finally:
        os.close(source)
        reader.close()


def _compare(path: Path, draft: Path) -> None:
    """Refuse a packed segment that does not unpack to the plain one."""
    with path.open("rb") as plain:
        plain.seek(SEGMENT_HEAD.size)
        for _, at, raw in plain_blocks(draft):
            if plain.read(len(raw)) != raw:
                raise CaptureError(
                    f"{path} was packed wrongly at byte {at}: the disk or the memory is failing; check them"
                )
        if plain.read(1):
            raise CaptureError(f"{path} grew while it was packed: an ingester writes it; stop that first")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
