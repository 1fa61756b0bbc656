"""Event blocks in, Parquet files of a session out, rows in the order of ``ts``: a sink for bulk loads.

A session is a folder, ``FOLDER/VENUE/SESSION/``, with one file a kind, as :mod:`storage.parquet` reads them.
Events come in order of ``seq``; those behind the watermark can be followed by no earlier one, so they are
sorted and written, and the others wait. Where a source gives one late all the same, the file is sorted once
more when it is closed, in memory. A file has its name when it is whole: a load that was killed leaves
``.part`` files, which the next one replaces.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from storage.columns import LAYOUTS, Layout, check, to_frame
from storage.parquet import SUFFIX, schema_of, table_of
from tickloom.errors import StorageError
from tickloom.events import EventBlock, Records
from tickloom.rows import joined, picked

PART = ".part"
GROUP_ROWS = 250_000  # of a row group; so many wait before they are written


class ParquetSink:
    """An EventSink of :mod:`tickloom.sinks` that writes files. For one session, in one thread.

    Parameters
    ----------
    folder : Path
        Below it, ``VENUE/SESSION`` is made.

    Raises
    ------
    StorageError
        From any method: a file cannot be written, or an event is none that may be stored.
    """

    name = "parquet"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: Path | None = None  # of the session, once something was written
        self.rows: dict[str, int] = {}
        self._files: dict[str, _File] = {}

    def resume_after(self, _venue: str, _session: str) -> dict[str, int]:
        """Always from the beginning: files are replaced whole."""
        return {}

    def write(self, block: EventBlock, watermark_ns: int, _last_seq: int) -> None:
        """Take a block; what is older than the watermark may be written."""
        with _told(self.folder):
            for table, records in block.kinds().items():
                if len(records):
                    if self.path is None:
                        self.path = self.folder / block.venue / block.session
                        self.path.mkdir(parents=True, exist_ok=True)
                    if table not in self._files:
                        self._files[table] = _File(self.path / f"{table}{SUFFIX}", LAYOUTS[table])
                    self._files[table].take(records, block)
            for file in self._files.values():
                file.advance(watermark_ns)

    def flush(self) -> None:
        """Nothing: files are durable when they are closed."""

    def close(self) -> None:
        """Write the rest and give the files their names. Calling it again does nothing."""
        with _told(self.folder):
            for table, file in self._files.items():
                self.rows[table] = file.finish()
        self._files = {}

    def abandon(self) -> None:
        """Leave no files: the load did not come to its end."""
        for file in self._files.values():
            file.abandon()
        self._files = {}


class _File:
    """One kind of one session."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path, self._layout = path, layout
        self._part = path.with_name(path.name + PART)
        self._writer: Any = pa.parquet.ParquetWriter(self._part, schema_of(layout))
        self._waiting: list[Records] = []
        self._waiting_rows = 0
        self._block: EventBlock | None = None
        self._seq = -1
        self._written_ns = -1
        self._rows = 0
        self._late = False

    def take(self, records: Records, block: EventBlock) -> None:
        """Check and keep."""
        check(self._layout, records, len(block.symbols), self._seq, 0)
        self._seq = int(records["seq"][-1])
        if self._block is not None and self._block.symbols is not block.symbols:
            self._write(self._sorted(), len(self._joined()))
        self._block = block
        self._waiting.append(records)
        self._waiting_rows += len(records)

    def advance(self, watermark_ns: int) -> None:
        """Write what no later event can be older than, if it is enough for a row group."""
        if self._waiting_rows < GROUP_ROWS:
            return
        records = self._sorted()
        count = int(np.searchsorted(records["ts_event"], watermark_ns))
        if count >= GROUP_ROWS // 2 or self._waiting_rows >= 4 * GROUP_ROWS:
            self._write(records, count or len(records))

    def finish(self) -> int:
        """Whole, in order, and under its name; the number of rows."""
        if self._waiting_rows:
            records = self._sorted()
            self._write(records, len(records))
        self._writer.close()
        if self._late:
            table = pa.parquet.read_table(self._part).sort_by([("ts", "ascending"), ("seq", "ascending")])
            pa.parquet.write_table(table, self._part, row_group_size=GROUP_ROWS)
        self._part.replace(self._path)
        return self._rows

    def abandon(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowInvalid):
            self._writer.close()
        self._part.unlink(missing_ok=True)

    def _joined(self) -> Records:
        return joined(self._waiting, self._waiting[0].dtype)

    def _sorted(self) -> Records:
        records = self._joined()
        ts = records["ts_event"]
        if (ts[1:] < ts[:-1]).any():
            records = picked(records, np.argsort(ts, kind="stable"))
        return records

    def _write(self, records: Records, count: int) -> None:
        """Write the first ``count`` of all that waits, keep the others."""
        assert self._block is not None
        begin, end = int(records["ts_event"][0]), int(records["ts_event"][count - 1])
        self._late = self._late or begin < self._written_ns
        self._written_ns = max(self._written_ns, end)
        block = self._block
        for start in range(0, count, GROUP_ROWS):
            some = records[start : min(start + GROUP_ROWS, count)]
            frame = to_frame(self._layout, some, block.venue, block.session, block.symbols)
            self._writer.write_table(table_of(self._layout, frame))
        self._rows += count
        rest = records[count:]
        # by seq again: what is sorted anew must have equal times in that order
        self._waiting = [rest[np.argsort(rest["seq"], kind="stable")]] if len(rest) else []
        self._waiting_rows = len(rest)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """A disk that refuses is a sentence."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise StorageError(
            f"{folder} cannot be written: {why}. Make room or name another folder, and load again: files are "
            "replaced whole"
        ) from error
