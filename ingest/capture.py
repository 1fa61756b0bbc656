"""What came off the wire, exactly as it came, in an append-only log: the source of all that follows.

A capture is a directory ``<data_dir>/capture/<VENUE>/<SESSION>/`` of segments ``NNNNNN.tlcap``. A
segment is a head (magic, number of its first record) and records: CRC-32, length, receive time,
kind, line, payload, little-endian. Appending is one write; a torn tail (the process was killed in mid
write) is cut off when the capture is opened for writing again, and never shown to a reader.
Readers, in this process or another, follow on their own. A finished segment may be packed
(:mod:`ingest.capture_packed`): readers do not notice.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from ingest.capture_batch import CaptureBatch, CaptureRecord
from ingest.capture_format import (
    MAGIC,
    PACKED_SUFFIX,
    RECORD_HEAD,
    SEGMENT_HEAD,
    SUFFIX,
    RecordKind,
    segments,
    session_path,
    usable_session,
)
from ingest.capture_packed import PackedReader
from ingest.capture_scan import HEAD_BYTES, RECORD_BYTES_MAX
from ingest.capture_segment import SegmentReader, verify_segment
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

POLL_S = 0.01  # how often a reader in another process looks for more
LOCK_NAME = "writer.lock"
WRITE_VECTORS_MAX = 512  # of one writev; the kernel's limit is 1,024


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
        self._fd = self._lock_fd = -1
        self._failure: CaptureError | None = None
        self.next_number = 1
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock_fd = lock_session(path)
        except OSError as error:
            raise self._refused(error) from error
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
            The disk is full or refuses. What was written before is whole and stays readable, and this writer
            writes nothing more: a new one goes on.
        """
        return self.append_many(kind, [ts_recv], [payload])

    def append_many(
        self,
        kind: int,
        ts_recv: Sequence[int],
        payloads: Sequence[bytes],
        lines: Sequence[int] | None = None,
    ) -> int:
        """Append records of one kind; the number of the last one. Raises as :meth:`append` does.

        ``lines``: of a feed that comes on several, which one brought each (default: 0, the first).
        """
        parts: list[bytes] = []
        size = records = 0
        for ts, payload, line in zip(ts_recv, payloads, lines or [0] * len(payloads), strict=True):
            length = len(payload)
            if length > RECORD_BYTES_MAX:
                raise CaptureError(f"a record of {length} bytes is over the limit of {RECORD_BYTES_MAX}")
            if self._size + size + HEAD_BYTES + length > self._segment_bytes and (
                size or self._size > SEGMENT_HEAD.size
            ):
                self._write(parts, size, records)
                parts, size, records = [], 0, 0
                self._rotate()
            head = RECORD_HEAD.pack(length, ts, kind, line)
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
        """Let go of the capture; another writer may open it.

        Raises
        ------
        CaptureError
            The disk could not take for good what was written.
        """
        try:
            if self._fd >= 0:
                os.fsync(self._fd)
        except OSError as error:
            raise self._refused(error) from error
        finally:
            for fd in (self._fd, self._lock_fd):
                if fd >= 0:
                    os.close(fd)
            self._fd = self._lock_fd = -1
            self.notification.notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        if last.suffix == PACKED_SUFFIX:
            with contextlib.closing(PackedReader(last, None)) as packed:
                self.next_number = packed.end_number
            self._rotate()
            return
        self.next_number, whole, size = verify_segment(last)
        self._fd = os.open(last, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        if whole < size:
            self.cut_bytes += size - whole
            os.ftruncate(self._fd, whole)
        self._size = whole

    def _rotate(self) -> None:
        path = self.path / f"{self._index + 1:06d}{SUFFIX}"
        try:
            if self._fd >= 0:
                os.fsync(self._fd)
                os.close(self._fd)
                self._fd = -1
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self._failure = self._refused(error)
            raise self._failure from error
        self._index += 1
        self._size = 0
        self._write([SEGMENT_HEAD.pack(MAGIC, self.next_number)], SEGMENT_HEAD.size, 0)

    def _write(self, parts: list[bytes], size: int, records: int) -> None:
        if self._failure is not None:
            raise self._failure
        if self._fd < 0:
            raise CaptureError(f"{self.path} is closed for writing")
        done = 0
        try:
            for start in range(0, len(parts), WRITE_VECTORS_MAX):
                chunk = parts[start : start + WRITE_VECTORS_MAX]
                stop = done + sum(map(len, chunk))
                done += os.writev(self._fd, chunk)
                if done < stop:
                    rest = memoryview(b"".join(chunk))
                    while done < stop:  # the next write says why the disk took less
                        done += os.write(self._fd, rest[done - stop :])
        except OSError as error:
            self._give_up(parts, done, records, error)
        self._size += size
        self.next_number += records

    def _give_up(self, parts: list[bytes], done: int, records: int, error: OSError) -> NoReturn:
        """Keep the whole records among the ``done`` bytes that were written: a reader may have them already.

        Nothing more is written, also when space is there again: what came in between is missing, and only a
        new writer begins by saying so.
        """
        kept = 0
        for record in range(records):
            size = len(parts[2 * record]) + len(parts[2 * record + 1])
            if kept + size > done:
                break
            kept += size
            self.next_number += 1
        self._size += kept
        os.ftruncate(self._fd, self._size)  # no half record stays for a reader to stumble over
        self._failure = self._refused(error)
        os.close(self._fd)
        self._fd = -1
        self.notification.notify()
        raise self._failure from error

    def _refused(self, error: OSError) -> CaptureError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = (
            "the disk is full. Free space (sealed captures under this directory's parents can be "
            "archived) and start again"
            if full
            else f"{error.strerror}. Mend that and start again"
        )
        before = (
            f"records 1 to {self.next_number - 1} are whole" if self.next_number > 1 else "it has none yet"
        )
        return CaptureError(
            f"{self.path}: record {self.next_number} could not be written: {advice}; {before}"
        )


def lock_session(path: Path) -> int:
    """Keep every other writer out of a session until the returned file descriptor is closed.

    Raises
    ------
    CaptureError
        Another process writes it.
    """
    fd = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise CaptureError(
            f"{path} is being written by another process; stop that ingester first (see `tickloom status`)"
        ) from None
    return fd


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
        self._segment: SegmentReader | PackedReader | None = None
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

    @property
    def place(self) -> tuple[int, int]:
        """Segments opened so far, and bytes of the last of them that are not read (yet)."""
        return self._index, self._segment.size() - self._segment.position if self._segment else 0

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
        """The segment, plain where it is that; it need not be there."""
        plain = self.path / f"{index:06d}{SUFFIX}"
        packed = plain.with_suffix(PACKED_SUFFIX)
        return packed if not plain.exists() and packed.exists() else plain

    def _open_next(self) -> bool:
        while True:
            path = self._path(self._index + 1)
            try:
                if path.suffix == PACKED_SUFFIX:
                    opened: SegmentReader | PackedReader = PackedReader(path, self.next_number)
                elif path.stat().st_size < SEGMENT_HEAD.size:
                    return False  # it is being made this moment
                else:
                    opened = SegmentReader(path, self.next_number)
                break
            except FileNotFoundError:
                if not self._path(self._index + 1).exists():
                    return False
                # it was packed this moment: look again
        if self._segment is not None:
            self._segment.close()
        self._segment = opened
        self._index += 1
        return True
