"""Packets of a session's lines in, what each line was worth out: first, late, lost, ahead by how much. Pure.

A venue sends the same packets on two or more lines (A, B, ...), so that what one loses another brings. All
that comes is captured with its line, and of each message the first copy goes on: the sequencer drops the
others by number. So a capture gives the same events whichever line was ahead, and shows what each line did.
Here the copies are counted, message by message, because lines need not cut packets alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from ingest.capture_batch import CaptureBatch
from ingest.capture_format import ANSWERS, LINES_MAX
from ingest.itch.moldudp64 import END_OF_SESSION, HEAD_BYTES, SESSION_BYTES, be16, be64
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.events import SEQ_PER_DAY

RING = 1 << 18  # messages whose first copy is remembered, 5 MB: a quarter of a second at a million a second
LEAD_NS_MAX = NS_PER_S  # a longer one is a step of the clock, not a lead
PACKETS, FIRST, LATE, REPEATED, LOST, LED, LEAD_NS = range(7)  # columns of ``counts``
_MASK = RING - 1


def line_name(line: int) -> str:
    """A, B, ... as the venue calls them; ``resend`` for answers to our requests."""
    return "resend" if line == ANSWERS else chr(ord("A") + line)


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


class Lines:
    """Counts a session's packets by line.

    Parameters
    ----------
    session : bytes
        The ten bytes that a packet must have to count.
    """

    def __init__(self, session: bytes) -> None:
        self._session = np.frombuffer(session.ljust(SESSION_BYTES), dtype=np.uint8)
        self._numbers = np.zeros(RING, dtype=np.int64)
        self._times = np.zeros(RING, dtype=np.int64)
        self._seen = np.zeros(RING, dtype=np.uint16)
        self._first = np.zeros(RING, dtype=np.uint8)
        self._due = np.zeros(LINES_MAX, dtype=np.int64)
        self._begin = np.zeros(1, dtype=np.int64)
        self._counts = np.zeros((LINES_MAX, LEAD_NS + 1), dtype=np.int64)

    def take(self, batch: CaptureBatch) -> list[int]:
        """Count a batch; the lines that brought a packet of the session."""
        before = self._counts[:, PACKETS].copy()
        _account(
            batch.data,
            batch.offsets,
            batch.kinds,
            batch.ts_recv,
            batch.lines,
            self._session,
            self._numbers,
            self._times,
            self._seen,
            self._first,
            self._due,
            self._begin,
            self._counts,
        )
        return [int(line) for line in np.flatnonzero(self._counts[:, PACKETS] > before)]

    def counts(self, line: int) -> LineCounts:
        """Of one line, or of the answers (``ANSWERS``), which lose nothing and lead nobody."""
        return LineCounts(*self._counts[line].tolist())


@njit(cache=True, nogil=True)
def _account(  # type: ignore[no-untyped-def]
    data, offsets, kinds, ts_recv, lines, session, numbers, times, seen, first, due, begin, counts
):
    """``due``: behind the highest number that a line brought or told of; 0 before its first packet.
    ``begin``: the first number that was heard of on any line: what was before nobody has lost."""
    for record in range(kinds.size):
        at, stop = offsets[record], offsets[record + 1]
        if kinds[record] != 0 or stop - at < HEAD_BYTES or lines[record] >= LINES_MAX:
            continue
        ours = True
        for i in range(SESSION_BYTES):
            ours &= data[at + i] == session[i]
        sequence = be64(data, at + SESSION_BYTES)
        if not ours or sequence < 1 or sequence >= SEQ_PER_DAY:
            continue
        line = np.int64(lines[record])
        counts[line, PACKETS] += 1
        if begin[0] == 0 and line != ANSWERS:
            begin[0] = sequence
        if due[line] == 0:
            due[line] = begin[0]
        count = be16(data, at + SESSION_BYTES + 8)
        left = np.int64(0) if count == END_OF_SESSION else count
        number = sequence
        at += HEAD_BYTES
        while left and at + 2 <= stop:
            at += 2 + be16(data, at)
            if at > stop:
                break
            fresh = _copy(number, line, ts_recv[record], numbers, times, seen, first, counts)
            if fresh and line != ANSWERS and begin[0] <= number < due[line]:
                counts[line, LOST] -= 1
            number += 1
            left -= 1
        if line != ANSWERS:
            counts[line, LOST] += max(0, sequence - due[line])
        due[line] = max(due[line], number)


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


@dataclass(frozen=True, slots=True)
class Silence:
    """A line has fallen silent while another goes on, or is heard again."""

    line: int
    silent: bool


class LineWatch:
    """Tells when a line falls silent while another is heard. (All silent together is a silent venue.)

    Parameters
    ----------
    count : int
        How many lines there are; those that were never heard count too.
    silent_ms : int
        MoldUDP64 heartbeats come each second on a line that is alive.
    """

    def __init__(self, count: int, silent_ms: int) -> None:
        self._silent_ns = silent_ms * NS_PER_MS
        self._count = count
        self._heard_ns = dict.fromkeys(range(count), -self._silent_ns - 1)
        self.silent: set[int] = set()

    def heard(self, lines: list[int], now_ns: int) -> list[Silence]:
        """Lines that were heard at ``now_ns`` (a clock that never goes back); what has changed."""
        if now_ns - max(self._heard_ns.values()) > self._silent_ns:  # all were silent: no line's fault
            others = [line for line in range(self._count) if line not in self.silent]
            self._heard_ns |= dict.fromkeys(others, now_ns)
        self._heard_ns |= dict.fromkeys([line for line in lines if line < self._count], now_ns)
        latest_ns = max(self._heard_ns.values())
        silent = {line for line, at_ns in self._heard_ns.items() if latest_ns - at_ns > self._silent_ns}
        changed, self.silent = silent ^ self.silent, silent
        return [Silence(line, line in silent) for line in sorted(changed)]
