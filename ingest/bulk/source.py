"""What all sources of a bulk load offer, and where a row goes that is none."""

from __future__ import annotations

import contextlib
import csv
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from tickloom.errors import FeedError
from tickloom.events import EventBlock

#: Takes a block, the watermark (ns) and the last seq; see :meth:`tickloom.sinks.EventSink.write`.
Emit = Callable[[EventBlock, int, int], None]
REASON_CHARS_MAX = 200
TEXT_CHARS_MAX = 400
SESSION_CHARS_MAX = 60


class Source(Protocol):
    """One file or capture.

    Attributes
    ----------
    name : str
        Of the file, for the user.
    size_bytes : int
        What there is to read; 0 where that is not known.
    venue, session : str
        Of its events; the session may be known only once it runs.
    """

    name: str
    size_bytes: int
    venue: str
    session: str

    def run(self, emit: Emit) -> None:
        """Hand all events on, in order of seq."""
        ...

    def position(self) -> int:
        """Bytes read so far, of ``size_bytes``."""
        ...

    def report(self) -> dict[str, Any]:
        """What was read, for the summary: counters, damage, rejected rows."""
        ...


class Rejects:
    """Rows that are no events, with line and reason, in a CSV file that is there only if there are any.

    Parameters
    ----------
    path : Path
        Of that file; one of an earlier load of the same source is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._file: TextIO | None = None
        self._writer: Any = None
        path.unlink(missing_ok=True)

    def add(self, line: int, what: str, detail: str, text: str) -> None:
        """One row. what: the reason, as it is counted; detail: the evidence; text: of the row.

        Raises
        ------
        FeedError
            The disk refuses.
        """
        self.reasons[what] += 1
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("w", newline="")
                self._writer = csv.writer(self._file)
                self._writer.writerow(("line", "reason", "detail", "row"))
            self._writer.writerow((line, what, detail[:REASON_CHARS_MAX], text[:TEXT_CHARS_MAX]))
        except OSError as error:
            raise FeedError(
                f"{self.path}: rejected rows cannot be written ({error.strerror}); make room, or name "
                "another folder with --rejects"
            ) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def report(self) -> dict[str, Any]:
        """Number, reasons, and where the rows are."""
        total = sum(self.reasons.values())
        where = {"file": str(self.path)} if total else {}
        return {"rows": total, "reasons": dict(self.reasons.most_common()), **where}


def bytes_read(path: Path) -> int:
    """How far this process has read a file that it has open, compressed or not; 0 where nobody can say."""
    target = str(path.resolve())
    found = 0
    try:
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if str(descriptor.readlink()) == target:
                    told = Path(f"/proc/self/fdinfo/{descriptor.name}").read_text()
                    found = max(found, int(told.split()[1]))
    except OSError:  # no /proc: progress has no end then
        return 0
    return found


def lines_of(naive: NDArray[np.int64], invalid: list[int]) -> NDArray[np.int64]:
    """Lines of rows, where some lines between them were no rows.

    naive: their lines if all were; invalid: lines that were none.
    """
    before = np.sort(np.array(invalid, dtype=np.int64)) - np.arange(len(invalid))
    lines: NDArray[np.int64] = naive + np.searchsorted(before, naive, side="right")
    return lines


def session_of(day: str, kind: str, stem: str) -> str:
    """``YYYYMMDD.KIND.stem`` with what a session's name may have."""
    return f"{day}.{kind}.{re.sub(r'[^A-Za-z0-9_-]+', '-', stem).strip('-')}"[:SESSION_CHARS_MAX]
