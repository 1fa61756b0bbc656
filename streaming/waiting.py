"""Rows whose time the watermark has not passed, in the order of arrival: a step costs what is due.

What waits may be a million rows, where a backlog is read and one partition is behind the others; to look at
all of them with each step of event time would take longer than to match them.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Rows = dict[str, NDArray[Any]]
"""Columns of equal length, by name."""

END = 2**63 - 1  # a time behind every row
PIECE_ROWS = 4_096  # of what was restored: about a batch


class Waiting:
    """Holds the pieces that came in a heap, by the time of each one's first row.

    Parameters
    ----------
    time : str
        Name of the column with the rows' times, int64.
    """

    def __init__(self, time: str) -> None:
        self._time = time
        # first time, place in the order of arrival, rows, whether their times rise
        self._pieces: list[tuple[int, int, Rows, bool]] = []
        self._arrived = self._rows = 0

    def __len__(self) -> int:
        """Rows that wait."""
        return self._rows

    @property
    def first(self) -> int:
        """Time of the first row; END where none waits."""
        return self._pieces[0][0] if self._pieces else END

    def put(self, rows: Rows) -> None:
        """Have rows wait, in any order."""
        self._arrived += 1
        self._put(self._arrived, rows)

    def due(self, until: int) -> Rows:
        """Take out the rows up to and with a time, in the order of arrival; {} where there is none."""
        found: list[tuple[int, Rows]] = []
        while self.first <= until:
            _, place, rows, rises = heapq.heappop(self._pieces)
            self._rows -= len(rows[self._time])
            rows, later = _cut(rows, self._time, until, rises)
            if later:
                self._put(place, later)
            found.append((place, rows))
        return _joined(found)

    def all(self) -> Rows:
        """Every row that waits, in the order of arrival; {} where none does."""
        return _joined([(place, rows) for _, place, rows, _ in self._pieces])

    def restore(self, rows: Rows) -> None:
        """Have just these rows wait, which :meth:`all` gave."""
        self._pieces.clear()
        self._rows = 0
        if not rows:
            return
        # by time, so that a step takes few pieces apart; stable, so that equal times stay as they arrived
        order = np.argsort(rows[self._time], kind="stable")
        for start in range(0, len(order), PIECE_ROWS):
            self.put({name: values[order[start : start + PIECE_ROWS]] for name, values in rows.items()})

    def _put(self, place: int, rows: Rows) -> None:
        times = rows[self._time]
        if len(times):
            self._rows += len(times)
            rises = bool(_rise(times))
            first = int(times[0]) if rises else int(times.min())
            heapq.heappush(self._pieces, (first, place, rows, rises))


@njit(cache=True)
def _rise(times):  # type: ignore[no-untyped-def]  # int64 (n,) -> bool
    falls = False
    for row in range(1, len(times)):  # to its end: with a way out it would not be vectorised
        falls |= times[row] < times[row - 1]
    return not falls


def _cut(rows: Rows, time: str, until: int, rises: bool) -> tuple[Rows, Rows]:
    """Rows up to and with a time, not copied where times rise; and the others, {} where there are none."""
    times = rows[time]
    if rises:
        at = int(np.searchsorted(times, until, side="right"))
        if at == len(times):
            return rows, {}
        # copied: else a few rows that wait would keep a whole batch
        later = {name: values[at:].copy() for name, values in rows.items()}
        return {name: values[:at] for name, values in rows.items()}, later
    passed = times <= until
    later = {name: values[~passed] for name, values in rows.items()}
    return {name: values[passed] for name, values in rows.items()}, later


def _joined(pieces: list[tuple[int, Rows]]) -> Rows:
    if len(pieces) < 2:
        return pieces[0][1] if pieces else {}
    parts = [rows for _, rows in sorted(pieces, key=lambda one: one[0])]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
