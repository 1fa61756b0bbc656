"""The bytes of an ITCH 5.0 file in, where its messages begin and what they are out.

A message's place is known only when the length before it has been read, so a walk through a file waits for
memory at each message. Four walks at once wait beside each other: three of them begin where, further on in
the bytes, some messages in a row have the lengths of their types. That is a guess, and it is checked: a walk
counts only if the one before it arrives exactly where it began. Else that one goes on alone, so that what is
found is always what one walk from the first byte finds.

The framing is that of :mod:`ingest.itch.files`: where a prefix is zero, the type gives the length. Nothing
outside the bytes is read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.itch.messages import LAYOUTS, LENGTH_BYTES, LENGTHS
from ingest.itch.wire import load16
from tickloom.unowned import unowned

TYPES = len(LAYOUTS)
#: Type byte to its place in LAYOUTS; ``TYPES`` where there is no such type.
ROWS = np.full(256, TYPES, dtype=np.int64)
for _row, _letter in enumerate(LAYOUTS):
    ROWS[ord(_letter)] = _row
#: By type byte: length << 8 | row. A length of 16 bits and one where there is no such type: no prefix has it.
_LENGTH_ROW = np.array([(length or 1 << 16) << 8 for length in LENGTHS]) | ROWS
_FRAME_BYTES_MIN = LENGTH_BYTES + 1
_FRAME_BYTES_USUAL = LENGTH_BYTES + max(layout.length for layout in LAYOUTS.values())
_WALKS = 4
_WALKS_BYTES_MIN = 1 << 14  # for less, one is enough
_SIGNS = 4  # messages in a row, of the right lengths, that make a guess
_SEARCH_BYTES = 1 << 10

#: Slots of ``counts`` behind those of the types and of what is left out, and their names.
_UNKNOWN, _WRONG, _NO_LENGTH, _CUT = range(TYPES + 1, TYPES + 5)
_FAULTS = {
    "unknown_type": _UNKNOWN,
    "wrong_length": _WRONG,
    "no_length": _NO_LENGTH,
    "cut_off": _CUT,
}
_SLOTS = TYPES + 1 + len(_FAULTS)
_u = np.uint64  # of an index: spares a look whether it is negative


@dataclass(frozen=True, slots=True)
class Framed:
    """Bytes in which the messages have been found.

    Attributes
    ----------
    data : NDArray[np.uint8], shape (bytes,)
    rows : NDArray[np.uint8], shape (messages,)
        Each message's type as its place in LAYOUTS; ``len(LAYOUTS)`` for one that is to be left out.
    starts : NDArray[np.uint32] or, of more than 4 GB, NDArray[np.int64], shape (messages,)
        The byte at which each message's prefix begins.
    counts : NDArray[np.int64], shape (types + 1,)
        Messages by row.
    faults : Counter[str]
        As in :class:`ingest.itch.columns.Columns`.
    consumed : int
        As in :class:`ingest.itch.columns.Columns`.
    """

    data: NDArray[np.uint8]
    rows: NDArray[np.uint8]
    starts: NDArray[Any]
    counts: NDArray[np.int64]
    faults: Counter[str]
    consumed: int


def frame(data: NDArray[np.uint8] | bytes) -> Framed:
    """Find the messages of bytes that begin with one."""
    raw = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else np.ascontiguousarray(data)
    counts = np.zeros((_WALKS, _SLOTS), dtype=np.int64)
    room = len(raw) // _FRAME_BYTES_MIN + 1
    rows = np.empty(room, dtype=np.uint8)
    starts = np.empty(room, dtype=np.uint32 if len(raw) < 1 << 32 else np.int64)
    messages, consumed = _walk_all(raw, counts, rows, starts)
    total = counts.sum(axis=0)
    faults = Counter({name: int(total[at]) for name, at in _FAULTS.items() if total[at]})
    return Framed(raw, rows[:messages], starts[:messages], total[: TYPES + 1], faults, int(consumed))


@njit(cache=True, nogil=True)
def _walk(data, at, until, counts, rows, starts, number):  # type: ignore[no-untyped-def]
    """Note the messages that begin before ``until``, and faults; (number of the next message, its byte).

    ``until`` is returned as the byte's bitwise opposite where no message can follow.
    """
    data, counts, rows, starts = unowned(data), unowned(counts), unowned(rows), unowned(starts)
    stop = np.int64(data.size)
    while at < until and at + LENGTH_BYTES < stop:
        size = load16(data, at)
        kind = data[_u(at + LENGTH_BYTES)]
        length = LENGTHS[kind]
        if size == 0:
            if length == 0:
                counts[_NO_LENGTH] += 1
                return number, ~at
            size = length
        if at + LENGTH_BYTES + size > stop:
            return number, ~at
        row = ROWS[kind]
        if size != length:
            counts[_WRONG if length else _UNKNOWN] += 1
            row = TYPES
        rows[_u(number)] = row
        starts[_u(number)] = at
        counts[row] += 1
        number += 1
        at += LENGTH_BYTES + size
    return number, at if at >= until else ~at


@njit(cache=True, nogil=True)
def _guess(data, at):  # type: ignore[no-untyped-def]
    """First byte from ``at`` on where messages seem to begin; -1 where none is found nearby."""
    data = unowned(data)
    for begin in range(at, at + _SEARCH_BYTES):
        byte = begin
        signs = 0
        while signs < _SIGNS and load16(data, byte) == _LENGTH_ROW[data[_u(byte + LENGTH_BYTES)]] >> 8:
            byte += LENGTH_BYTES + load16(data, byte)
            signs += 1
        if signs == _SIGNS:
            return begin
    return np.int64(-1)


@njit(cache=True, nogil=True, forceinline=True)
def _usual(data, at):  # type: ignore[no-untyped-def]
    """(row, bytes with the prefix, 0 where they are those of the type) of the message at ``at``."""
    size = load16(data, at)
    known = _LENGTH_ROW[data[_u(at + LENGTH_BYTES)]]
    return known & 0xFF, LENGTH_BYTES + size, size ^ (known >> 8)


@njit(cache=True, nogil=True, forceinline=True)
def _note(counts, rows, starts, number, row, at):  # type: ignore[no-untyped-def]
    rows[_u(number)] = row
    starts[_u(number)] = at
    counts[_u(row)] += 1


@njit(cache=True, nogil=True)
def _walk_side_by_side(data, begins, ends, counts, rows, starts, numbers):  # type: ignore[no-untyped-def]
    """Note messages by four walks while all find only usual ones, none of them past its end.

    ``begins`` and ``numbers`` become those of the next messages.
    """
    data, rows, starts = unowned(data), unowned(rows), unowned(starts)
    counts0, counts1, counts2, counts3 = (
        unowned(counts[0]),
        unowned(counts[1]),
        unowned(counts[2]),
        unowned(counts[3]),
    )
    at0, at1, at2, at3 = begins[0], begins[1], begins[2], begins[3]
    n0, n1, n2, n3 = numbers[0], numbers[1], numbers[2], numbers[3]
    unusual = np.int64(0)
    while not unusual:
        left = min(min(ends[0] - at0, ends[1] - at1), min(ends[2] - at2, ends[3] - at3))
        if left < _FRAME_BYTES_USUAL:
            break
        for _ in range(left // _FRAME_BYTES_USUAL):
            row0, size0, odd0 = _usual(data, at0)
            row1, size1, odd1 = _usual(data, at1)
            row2, size2, odd2 = _usual(data, at2)
            row3, size3, odd3 = _usual(data, at3)
            unusual = odd0 | odd1 | odd2 | odd3
            if unusual:
                break
            _note(counts0, rows, starts, n0, row0, at0)
            _note(counts1, rows, starts, n1, row1, at1)
            _note(counts2, rows, starts, n2, row2, at2)
            _note(counts3, rows, starts, n3, row3, at3)
            at0, at1, at2, at3 = at0 + size0, at1 + size1, at2 + size2, at3 + size3
            n0, n1, n2, n3 = n0 + 1, n1 + 1, n2 + 1, n3 + 1
    begins[0], begins[1], begins[2], begins[3] = at0, at1, at2, at3
    numbers[0], numbers[1], numbers[2], numbers[3] = n0, n1, n2, n3


@njit(cache=True, nogil=True)
def _walk_all(data, counts, rows, starts):  # type: ignore[no-untyped-def]
    """Note all messages and faults; (messages, byte at which the walk ended)."""
    stop = np.int64(data.size)
    begins = np.zeros(_WALKS, dtype=np.int64)
    walks = 1
    while walks < _WALKS and stop >= _WALKS_BYTES_MIN:
        begins[walks] = _guess(data, stop // _WALKS * walks)
        if begins[walks] < 0:
            break
        walks += 1
    places, ends, numbers = begins.copy(), np.empty_like(begins), np.empty_like(begins)
    for walk in range(walks):
        ends[walk] = begins[walk + 1] if walk + 1 < walks else stop
        numbers[walk] = -(-begins[walk] // _FRAME_BYTES_MIN)  # as many can be before it, not more
    firsts = numbers.copy()
    if walks == _WALKS:
        _walk_side_by_side(data, places, ends, counts, rows, starts, numbers)
    number, at = np.int64(0), np.int64(0)
    for walk in range(walks):
        if begins[walk] != at:  # not where the walk before has arrived: what was noted of it is not so
            counts[walk:] = 0
            number, at = _walk(data, at, stop + 1, counts[0], rows, starts, number)
            break
        noted = numbers[walk] - firsts[walk]
        if number != firsts[walk]:
            rows[number : number + noted] = rows[firsts[walk] : numbers[walk]]
            starts[number : number + noted] = starts[firsts[walk] : numbers[walk]]
        number += noted
        until = ends[walk] if walk + 1 < walks else stop + 1
        number, at = _walk(data, places[walk], until, counts[walk], rows, starts, number)
        if at < 0:
            counts[walk + 1 :] = 0
            break
    at = ~at
    if at < stop:
        counts[0, _CUT] += 1
    return number, at
