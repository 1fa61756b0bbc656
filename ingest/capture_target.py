"""Where the records of a file go: into a new capture, or straight on to a decoder (a bulk load)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ingest.capture import CaptureWriter, segments
from tickloom.errors import CaptureError


class RecordWriter(Protocol):
    """Takes records in order; :class:`ingest.capture.CaptureWriter` is one."""

    def append(self, kind: int, ts_recv: int, payload: bytes) -> int: ...

    def append_many(self, kind: int, ts_recv: Sequence[int], payloads: Sequence[bytes]) -> int: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


#: Gives a writer for a session's directory and the size of a segment in MB.
OpenWriter = Callable[[Path, int], RecordWriter]


class _NewCapture(CaptureWriter):
    """What a file becomes. One that failed goes: the file is still there, and is loaded again when the disk
    has room, say."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        except BaseException:
            self._remove()
            raise
        if error is not None:
            self._remove()

    def _remove(self) -> None:
        for segment in segments(self.path):
            segment.unlink(missing_ok=True)


def new_capture(path: Path, segment_mb: int) -> RecordWriter:
    """A capture that is begun; leaving it by an exception takes it away again.

    Raises
    ------
    CaptureError
        The session has one already.
    """
    if segments(path):
        raise CaptureError(f"{path} holds a capture already; move it away, or load into another data_dir")
    return _NewCapture(path, segment_mb)
