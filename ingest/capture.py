"""What came off the wire, exactly as it came, in an append-only log: the source of all that follows.

A capture is a directory ``<data_dir>/capture/<VENUE>/<SESSION>/`` of segments ``NNNNNN.tlcap``. A
segment is a head (magic, number of its first record) and records: CRC-32, length, receive time,
kind, payload, little-endian. Appending is one write; a torn tail (the process was killed in mid
write) is cut off when the capture is opened for writing again, and never shown to a reader.
Readers, in this process or another, follow on their own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ingest.capture_format import (
    MAGIC,
    RECORD_HEAD,
    SEGMENT_HEAD,
    SUFFIX,
    RecordKind,
    segments,
    session_path,
    usable_session,
)
from ingest.capture_scan import HEAD_BYTES, RECORD_BYTES_MAX, SCAN_BAD, Scan, record_behind, scan_records
from tickloom.clock import Clock, SystemClock
from tickloom.errors import CaptureError

__all__ = [
    "MAGIC",
    "RECORD_HEAD",
    "SEGMENT_HEAD",
    "SUFFIX",
    "CaptureBatch",
    "CaptureReader",
    "CaptureRecord",
    "CaptureWriter",
    "Notification",
    "RecordKind",
    "segments",
    "session_path",
    "usable_session",
]

READ_BYTES = 1 << 20  # what a reader takes at once: large enough for speed, small enough for latency
POLL_S = 0.01  # how often a reader in another process looks for more
WRITE_VECTORS_MAX = 512  # of one writev; the kernel's limit is 1,024


@dataclass(frozen=True, slots=True)
class CaptureRecord:
    """One record. number: from 1, in the order of arrival. ts_recv: ns, our clock."""

    number: int
    kind: RecordKind
    ts_recv: int
    payload: bytes


@dataclass(slots=True)
class CaptureBatch:
    """Consecutive records in columns.

    data: uint8, all payloads one behind the other; offsets: int64, n + 1 bounds of them; kinds:
    uint8; ts_recv: int64 ns; first_number: of the first record.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    ts_recv: NDArray[np.int64]
    first_number: int

    @classmethod
    def of(cls, records: Sequence[tuple[int, int, bytes]], first_number: int = 1) -> CaptureBatch:
        """A batch of ``(kind, ts_recv, payload)`` that did not come from a file."""
        offsets = np.zeros(len(records) + 1, dtype=np.int64)
        np.cumsum([len(payload) for _, _, payload in records], out=offsets[1:])
        return cls(
            # writable, as what a reader gives: kernels are compiled for one kind of array, not two
            np.frombuffer(bytearray(b"".join(payload for _, _, payload in records)), dtype=np.uint8),
            offsets,
            np.array([kind for kind, _, _ in records], dtype=np.uint8),
            np.array([ts for _, ts, _ in records], dtype=np.int64),
            first_number,
        )

    def __len__(self) -> int:
        return int(self.kinds.size)

    def payload(self, index: int) -> bytes:
        """Payload of the record at ``index`` (from 0)."""
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def __iter__(self) -> Iterator[CaptureRecord]:
        for index in range(len(self)):
            yield CaptureRecord(
                self.first_number + index,
                RecordKind(int(self.kinds[index])),
                int(self.ts_recv[index]),
                self.payload(index),
            )

    def slice(self, start: int, stop: int) -> CaptureBatch:
        """Records ``start`` up to, not including, ``stop``."""
        low, high = self.offsets[start], self.offsets[stop]
        return CaptureBatch(
            self.data[low:high],
            self.offsets[start : stop + 1] - low,
            self.kinds[start:stop],
            self.ts_recv[start:stop],
            self.first_number + start,
        )


class Notification:
    """Wakes readers of the writer's own process; a version makes a notice that came early count."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.version = 0

    def notify(self) -> None:
        with self._condition:
            self.version += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout_s: float) -> None:
        """Return when the version is not ``seen`` any more, or when the time is up."""
        with self._condition:
            self._condition.wait_for(lambda: self.version != seen, timeout_s)


class CaptureWriter:
    """The one writer of a capture. Opening continues what is there; a torn tail is cut off.

    Raises
    ------
    CaptureError
        Another process writes it, it is damaged in its middle, or the disk refuses.
    """

    def __init__(self, path: Path, segment_mb: int = 256, notification: Notification | None = None) -> None:
        self.path = path
        self.notification = notification or Notification()
        self.cut_bytes = 0  # torn tail that was cut off on opening
        self._segment_bytes = segment_mb * 1024 * 1024
        self._fd = -1
        path.mkdir(parents=True, exist_ok=True)
        self._lock_fd = self._lock()
        try:
            self._open_last()
        except BaseException:
            self.close()
            raise

    def append(self, kind: int, ts_recv: int, payload: bytes) -> int:
        """Append one record; its number. It survives a kill of the process once this returns.

        Raises
        ------
        CaptureError
            The disk is full or refuses. What was written before is whole and stays readable.
        """
        return self.append_many(kind, [ts_recv], [payload])

    def append_many(self, kind: int, ts_recv: Sequence[int], payloads: Sequence[bytes]) -> int:
        """Append records of one kind; the number of the last one. Raises as :meth:`append` does."""
        parts: list[bytes] = []
        size = records = 0
        for ts, payload in zip(ts_recv, payloads, strict=True):
            length = len(payload)
            if length > RECORD_BYTES_MAX:
                raise CaptureError(f"a record of {length} bytes is over the limit of {RECORD_BYTES_MAX}")
            if self._size + size + HEAD_BYTES + length > self._segment_bytes and (
                size or self._size > SEGMENT_HEAD.size
            ):
                self._write(parts, size, records)
                parts, size, records = [], 0, 0
                self._rotate()
            head = RECORD_HEAD.pack(length, ts, kind)
            parts.append(zlib.crc32(payload, zlib.crc32(head)).to_bytes(4, "little") + head)
            parts.append(payload)
            size += HEAD_BYTES + length
            records += 1
        self._write(parts, size, records)
        self.notification.notify()
        return self.next_number - 1

    def sync(self) -> None:
        """Return when the disk has it: a power cut loses nothing appended before."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Let go of the capture; another writer may open it."""
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
        self.notification.notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> int:
        fd = os.open(self.path / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise CaptureError(
                f"{self.path} is being written by another process; stop that ingester first "
                "(see `tickloom status`)"
            ) from None
        return fd

    def _open_last(self) -> None:
        found = segments(self.path)
        while found and found[-1].stat().st_size < SEGMENT_HEAD.size:
            self.cut_bytes += found[-1].stat().st_size
            found.pop().unlink()  # killed while the segment was being made; it holds no record
        if not found:
            self.next_number = 1
            self._index = 0
            self._rotate()
            return
        last = found[-1]
        self._index = int(last.stem)
        self.next_number, whole, size = _verify(last)
        self._fd = os.open(last, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        if whole < size:
            self.cut_bytes += size - whole
            os.ftruncate(self._fd, whole)
        self._size = whole

    def _rotate(self) -> None:
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
        path = self.path / f"{self._index + 1:06d}{SUFFIX}"
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._refused(error) from error
        self._index += 1
        self._size = 0
        self._write([SEGMENT_HEAD.pack(MAGIC, self.next_number)], SEGMENT_HEAD.size, 0)

    def _write(self, parts: list[bytes], size: int, records: int) -> None:
        if self._fd < 0:
            raise CaptureError(f"{self.path} is closed for writing")
        done = 0
        try:
            for start in range(0, len(parts), WRITE_VECTORS_MAX):
                chunk = parts[start : start + WRITE_VECTORS_MAX]
                wanted = sum(map(len, chunk))
                written = os.writev(self._fd, chunk)
                if written < wanted:
                    rest = memoryview(b"".join(chunk))
                    while written < wanted:  # the next write says why the disk took less
                        written += os.write(self._fd, rest[written:])
                done += wanted
        except OSError as error:
            os.ftruncate(self._fd, self._size)  # no half record stays for a reader to stumble over
            raise self._refused(error) from error
        self._size += size
        self.next_number += records

    def _refused(self, error: OSError) -> CaptureError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = (
            "the disk is full. Free space (sealed captures under this directory's parents can be "
            "archived) and start the ingester again"
            if full
            else f"{error.strerror}. Mend that and start the ingester again"
        )
        return CaptureError(
            f"{self.path}: record {self.next_number} could not be written: {advice}; "
            f"records 1 to {self.next_number - 1} are whole"
        )


def _verify(path: Path) -> tuple[int, int, int]:
    """Number of the next record, bytes that are whole, and size, of a segment.

    Raises
    ------
    CaptureError
        A damaged record with whole ones behind it: not a torn tail, so nothing may be cut.
    """
    reader = _SegmentReader(path, None)
    try:
        while (batch := reader.read()) is not None:
            del batch
        reader.check_tail()
        return reader.next_number, reader.position, reader.size()
    finally:
        reader.close()


class _SegmentReader:
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
        return CaptureBatch(scan.data, scan.offsets, scan.kinds, scan.ts_recv, first)

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


class CaptureReader:
    """Reads a capture from its first record, whether or not somebody is still writing it.

    Raises
    ------
    CaptureError
        A damaged record or a missing segment, with file and byte.
    """

    def __init__(
        self, path: Path, notification: Notification | None = None, clock: Clock | None = None
    ) -> None:
        self.path = path
        self._notification = notification or Notification()
        self._poll_s = 1.0 if notification else POLL_S
        self._clock = clock or SystemClock()
        self._index = 0
        self._segment: _SegmentReader | None = None
        self.next_number = 1

    def read(self) -> CaptureBatch | None:
        """The next records, at most about ``READ_BYTES``; None where there are none (yet)."""
        while True:
            if self._segment is None and not self._open_next():
                return None
            assert self._segment is not None
            batch = self._segment.read()
            if batch is not None:
                self.next_number = self._segment.next_number
                return batch
            if not self._path(self._index + 1).exists():
                return None
            # the next segment exists, so this one has grown for the last time: look once more
            batch = self._segment.read()
            if batch is not None:
                self.next_number = self._segment.next_number
                return batch
            if self._segment.position < self._segment.size():
                raise CaptureError(
                    f"{self._segment.path}: the record at byte {self._segment.position} is damaged, and "
                    "another segment follows; restore the file from a copy"
                )
            if not self._open_next():
                return None

    def poll(self, timeout_s: float) -> CaptureBatch | None:
        """As :meth:`read`, but waits up to ``timeout_s`` for something to come."""
        deadline = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            seen = self._notification.version
            batch = self.read()
            left_s = (deadline - self._clock.monotonic_ns()) / 1e9
            if batch is not None or left_s <= 0:
                return batch
            self._notification.wait(seen, min(left_s, self._poll_s))

    def batches(self, follow: bool = False, stop: threading.Event | None = None) -> Iterator[CaptureBatch]:
        """All records in batches. With ``follow``, goes on until ``stop`` is set and all is read."""
        while True:
            batch = self.read()
            if batch is not None:
                yield batch
            elif not follow or (stop is not None and stop.is_set()):
                return
            else:
                batch = self.poll(0.1)
                if batch is not None:
                    yield batch

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _path(self, index: int) -> Path:
        return self.path / f"{index:06d}{SUFFIX}"

    def _open_next(self) -> bool:
        path = self._path(self._index + 1)
        try:
            if path.stat().st_size < SEGMENT_HEAD.size:
                return False  # it is being made this moment
        except FileNotFoundError:
            return False
        opened = _SegmentReader(path, self.next_number)
        if self._segment is not None:
            self._segment.close()
        self._segment = opened
        self._index += 1
        return True
