"""Packets of a session's lines in, what each line was worth out: first, late, lost, ahead by how much. Pure.

A venue sends the same packets on two or more lines (A, B, ...), so that what one loses another brings. All
that comes is captured with its line, and of each message the first copy goes on: the sequencer drops the
others by number. So a capture gives the same events whichever line was ahead, and shows what each line did.
Here the copies are counted, message by message, because lines need not cut packets alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.capture_batch import CaptureBatch
from ingest.capture_format import ANSWERS, LINES_MAX
from tickloom.clock import NS_PER_S

RING = 1 << 18  # messages whose first copy is remembered, 5 MB: a quarter of a second at a million a second
LEAD_NS_MAX = NS_PER_S  # a longer one is a step of the clock, not a lead
PACKETS, FIRST, LATE, REPEATED, LOST, LED, LEAD_NS = range(7)  # columns of ``counts``
_MASK = RING - 1


@dataclass(frozen=True, slots=True)
class LineCounts:
    """What a line brought of the session by now.

    packets; messages of three kinds: first (nothing had brought them before), late (something had), repeated
    (this line had). lost: those that it should have brought since the session was first heard, and has not;
    a packet that comes late after all is taken off. led: copies that other lines brought of what this one
    had brought first; lead_ns: how long after it, in sum.
    """

    packets: int
    first: int
    late: int
    repeated: int
    lost: int
    led: int
    lead_ns: int


class LineCounter(ABC):
    """Counts a session's packets by line. A feed says what stands in the head of a packet."""

    def __init__(self) -> None:
        self._numbers = np.zeros(RING, dtype=np.int64)
        self._times = np.zeros(RING, dtype=np.int64)
        self._seen = np.zeros(RING, dtype=np.uint16)
        self._first = np.zeros(RING, dtype=np.uint8)
        self._due = np.zeros(LINES_MAX, dtype=np.int64)
        self._begin = np.zeros(1, dtype=np.int64)
        self._counts = np.zeros((LINES_MAX, LEAD_NS + 1), dtype=np.int64)

    @abstractmethod
    def heads(self, batch: CaptureBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of the first message of each record, 0 where it is no packet of the session; and how many
        messages it has. Both int64 (records,)."""

    def take(self, batch: CaptureBatch) -> list[int]:
        """Count a batch; the lines that brought a packet of the session."""
        before = self._counts[:, PACKETS].copy()
        starts, messages = self.heads(batch)
        _account(
            starts,
            messages,
            batch.ts_recv,
            batch.lines,
            self._numbers,
            self._times,
            self._seen,
            self._first,
            self._due,
            self._begin,
            self._counts,
        )
        found: list[int] = (self._counts[:, PACKETS] > before).nonzero()[0].tolist()
        return found

    def restart(self) -> None:
        """The venue's numbers began anew: no copy of what was there will come; what was counted stays."""
        self._numbers[:] = 0
        self._due[:] = self._begin[:] = 0

    def counts(self, line: int) -> LineCounts:
        """Of one line, or of the answers (``ANSWERS``), which lose nothing and lead nobody."""
        return LineCounts(*self._counts[line].tolist())


def fields(batch: CaptureBatch, at: NDArray[np.int64], kind: str) -> NDArray[np.int64]:
    """Integers of a batch's bytes, of the dtype ``kind`` (such as ``<u4``) at ``at``, as int64 (places,)."""
    size = np.dtype(kind).itemsize
    found: NDArray[np.int64] = batch.data[at[:, None] + np.arange(size)].view(kind).ravel().astype(np.int64)
    return found


@njit(cache=True, nogil=True)
def _account(  # type: ignore[no-untyped-def]
    starts, messages, ts_recv, lines, numbers, times, seen, first, due, begin, counts
):
    """``due``: behind the highest number that a line brought or told of; 0 before its first packet.
    ``begin``: the first number that was heard of on any line: what was before nobody has lost."""
    for record in range(starts.size):
        sequence = starts[record]
        if sequence < 1 or lines[record] >= LINES_MAX:
            continue
        line = np.int64(lines[record])
        counts[line, PACKETS] += 1
        if begin[0] == 0 and line != ANSWERS:
            begin[0] = sequence
        if due[line] == 0:
            due[line] = begin[0]
        stop = sequence + messages[record]
        for number in range(sequence, stop):
            fresh = _copy(number, line, ts_recv[record], numbers, times, seen, first, counts)
            if fresh and line != ANSWERS and begin[0] <= number < due[line]:
                counts[line, LOST] -= 1
        if line != ANSWERS:
            counts[line, LOST] += max(0, sequence - due[line])
        due[line] = max(due[line], stop)


@njit(cache=True, nogil=True)
def _copy(number, line, ts_recv, numbers, times, seen, first, counts):  # type: ignore[no-untyped-def]
    """Count one copy of a message; whether it is this line's first."""
    slot = number & _MASK
    bit = np.uint16(1 << line)
    if numbers[slot] < number:
        numbers[slot], times[slot], seen[slot], first[slot] = number, ts_recv, bit, line
        counts[line, FIRST] += 1
        return True
    if numbers[slot] > number:  # too long ago to tell
        counts[line, LATE] += 1
        return False
    if seen[slot] & bit:
        counts[line, REPEATED] += 1
        return False
    seen[slot] |= bit
    counts[line, LATE] += 1
    lead_ns = ts_recv - times[slot]
    leader = np.int64(first[slot])
    if line != ANSWERS and leader != ANSWERS and 0 <= lead_ns <= LEAD_NS_MAX:
        counts[leader, LED] += 1
        counts[leader, LEAD_NS] += lead_ns
    return True
