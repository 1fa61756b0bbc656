"""Folders of sessions as one tape: which there are, which belong together, and their rows in one order.

``tickloom load --parquet FOLDER`` writes ``FOLDER/VENUE/SESSION/trades.parquet`` and so on. Years of them are
played without being held: a session is opened when the tape comes near it, and left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

Span = tuple[int, int]
_ORDER = [("ts", "ascending"), ("seq", "ascending")]


class Tape(Protocol):
    """Rows of one kind from front to end. rows: read so far; other_venues: whose there were, too."""

    rows: int
    other_venues: set[str]

    def load(self, since_ns: int, limit: int) -> pa.Table:
        """The first ``limit`` rows with ts >= since_ns, in the order of ts; since_ns never goes back."""
        ...


def session_folders(path: Path, names: Iterable[str]) -> list[Path]:
    """``path`` where it has one of the files, else the folders below that have, to a depth of two."""
    wanted = list(names)

    def is_session(folder: Path) -> bool:
        return any((folder / name).exists() for name in wanted)

    if is_session(path):
        return [path]
    below = [one for pattern in ("*", "*/*") for one in path.glob(pattern) if one.is_dir()]
    return sorted(filter(is_session, below))


def common_names(spans: Mapping[Path, Span]) -> dict[Path, str]:
    """Of session folders whose times overlap the name that they are played under: the first one's.

    Parameters
    ----------
    spans : mapping
        Folder of a session to its first and last ts. Those of one venue lie in one folder.
    """
    names: dict[Path, str] = {}
    group: list[Path] = []
    end_ns = 0
    for folder in sorted(spans, key=lambda one: (one.parent, spans[one])):
        begin_ns, last_ns = spans[folder]
        if group and folder.parent == group[0].parent and begin_ns <= end_ns:
            group.append(folder)
            names |= dict.fromkeys(group, group[0].name)
            end_ns = max(end_ns, last_ns)
        else:
            group, end_ns = [folder], last_ns
    return names


class JoinedTape:
    """Tapes of one kind as one.

    Parameters
    ----------
    tapes : sequence of (int, Tape)
        Each with the ts of its first row.
    """

    def __init__(self, tapes: Sequence[tuple[int, Tape]]) -> None:
        self._all = [tape for _, tape in tapes]
        self._open = sorted(tapes, key=lambda one: one[0])

    @property
    def rows(self) -> int:
        return sum(tape.rows for tape in self._all)

    @property
    def other_venues(self) -> set[str]:
        return {name for tape in self._all for name in tape.other_venues}

    def load(self, since_ns: int, limit: int) -> pa.Table:
        """As of a Tape; one that has given all is not asked again."""
        found = self._open[0][1].load(since_ns, limit)
        while not found.num_rows and len(self._open) > 1:
            del self._open[0]
            found = self._open[0][1].load(since_ns, limit)
        for begin_ns, tape in self._open[1:]:
            if found.num_rows >= limit and begin_ns > _ts(found, found.num_rows - 1):
                break
            found = _merged(found, tape.load(since_ns, limit)).slice(0, limit)
        return found


def _merged(one: pa.Table, other: pa.Table) -> pa.Table:
    """Rows of both, in order."""
    if not one.num_rows or not other.num_rows:
        return one if one.num_rows else other
    joined = pa.concat_tables([one, other])
    return joined if _ts(one, one.num_rows - 1) < _ts(other, 0) else joined.sort_by(_ORDER)


def _ts(table: pa.Table, row: int) -> int:
    return int(table["ts"][row].value)
