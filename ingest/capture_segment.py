"""One plain segment of a capture in, its whole and verified records out, while it may still be growing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ingest.capture_batch import CaptureBatch
from ingest.capture_format import MAGIC, SEGMENT_HEAD
from ingest.capture_scan import SCAN_BAD, Scan, record_behind, scan_records
from tickloom.errors import CaptureError

READ_BYTES = 1 << 20  # what a reader takes at once: large enough for speed, small enough for latency


def verify_segment(path: Path) -> tuple[int, int, int]:
    """Number of the next record, bytes that are whole, and size, of a segment.

    Raises
    ------
    CaptureError
        A damaged record with whole ones behind it: not a torn tail, so nothing may be cut.
    """
    reader = SegmentReader(path, None)
    try:
        while (batch := reader.read()) is not None:
            del batch
        reader.check_tail()
        return reader.next_number, reader.position, reader.size()
    finally:
        reader.close()


class SegmentReader:
    """Whole records of one segment, from its first on."""

    def __init__(self, path: Path, expected: int | None) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        head = os.pread(self._fd, SEGMENT_HEAD.size, 0)
        magic, self.next_number = SEGMENT_HEAD.unpack(head)
        if magic != MAGIC:
            self.close()
            raise CaptureError(f"{path} is no capture segment (it begins with {head[:8]!r}); move it away")
        if expected is not None and self.next_number != expected:
            self.close()
            raise CaptureError(
                f"{path} begins with record {self.next_number}, but {expected} is due: "
                "a segment is missing or misplaced; restore it"
            )
        self.position = SEGMENT_HEAD.size

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)

    def read(self) -> CaptureBatch | None:
        """The next whole records, or None where there is none (yet)."""
        wanted = READ_BYTES
        while True:
            raw = os.pread(self._fd, wanted, self.position)
            scan: Scan = scan_records(np.frombuffer(raw, dtype=np.uint8))
            if scan.outcome == SCAN_BAD:
                self._check_torn(scan)
            if scan.count:
                break
            if scan.outcome == SCAN_BAD or len(raw) < wanted:
                return None
            wanted = scan.claimed  # a record larger than a usual read
        first = self.next_number
        self.next_number += scan.count
        self.position += scan.consumed
        return CaptureBatch(scan.data, scan.offsets, scan.kinds, scan.ts_recv, first, scan.lines)

    def check_tail(self) -> None:
        """Refuse bytes behind the last whole record that are more than the rest of one torn write."""
        left = os.pread(self._fd, self.size() - self.position, self.position)
        if record_behind(np.frombuffer(left, dtype=np.uint8)) >= 0:
            raise self._damaged(self.position)

    def _check_torn(self, scan: Scan) -> None:
        """A bad record is a torn tail only where nothing stands behind it."""
        at = self.position + scan.consumed
        size = self.size()
        if at + scan.claimed < size and any(os.pread(self._fd, min(size - at, 1 << 16), at)):
            raise self._damaged(at)

    def _damaged(self, at: int) -> CaptureError:
        return CaptureError(
            f"{self.path}: the record at byte {at} is damaged and others stand behind it; "
            "restore the file from a copy, or move the session's directory away"
        )
