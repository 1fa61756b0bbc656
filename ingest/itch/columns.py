"""The bytes of an ITCH 5.0 file in, a table of columns a message type out: history at the speed of memory.

Two passes over the length-prefixed bytes. The first counts messages by type, so that every column is as long
as it must be; the second notes where the messages of a stretch begin, by type, and then fills column after
column of it. Both take the framing of :mod:`ingest.itch.files`: where a prefix is zero, the type gives the
length. A message that is not of its type's length is counted and left out; nothing outside the bytes is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.itch.messages import LAYOUTS, LENGTH_BYTES, LENGTHS, Field
from ingest.itch.wire import load16, load32, load64, text8, text16, text32, text64
from ingest.pcap import open_sound
from tickloom.errors import DecodeError
from tickloom.unowned import unowned

BATCH_BYTES = 2 << 20  # about 65,000 messages, whose columns stay in a cache until they are used
FRAME_BYTES_MAX = LENGTH_BYTES + 0xFFFF
NUMBER = "number"  # of a message in its file, from 1: the order across tables
_STRETCH_BITS = 12
STRETCH = 1 << _STRETCH_BITS  # messages: their bytes and positions stay in a core's own cache
_LETTERS = tuple(LAYOUTS)
_TYPES = len(_LETTERS)
_FIELDS_MAX = max(len(layout.fields) for layout in LAYOUTS.values())
_ALIGN = 64  # bytes, of a column's start: a line of cache


def column_dtype(field: Field) -> np.dtype[Any]:
    """The native type of a field's column: unsigned integers as wide as on the wire, texts as bytes.

    A timestamp is int64 nanoseconds since the venue's midnight. Prices stay the integers that they are:
    units of 1e-4 for four bytes, of 1e-8 for eight.
    """
    if field.kind == "a":
        return np.dtype(f"S{field.size}")
    return np.dtype(np.int64) if field.size == 6 else np.dtype(f"u{field.size}")


#: Type byte to its row in the tables below; ``_TYPES`` where there is no such type.
ROWS = np.full(256, _TYPES, dtype=np.int64)
for _row, _letter in enumerate(_LETTERS):
    ROWS[ord(_letter)] = _row
#: By row and field: offset in the message, bytes on the wire (negative: a text), bytes in the column.
_OFFSET, _SIZE, _WIDTH = np.zeros((3, _TYPES, _FIELDS_MAX + 1), dtype=np.int64)
for _row, _letter in enumerate(_LETTERS):
    _WIDTH[_row, _FIELDS_MAX] = 8  # of the message's number, which is the last of all
    for _at, _field in enumerate(LAYOUTS[_letter].fields[1:]):
        _OFFSET[_row, _at] = LAYOUTS[_letter].offsets[_field.name]
        _SIZE[_row, _at] = -_field.size if _field.kind == "a" else _field.size
        _WIDTH[_row, _at] = column_dtype(_field).itemsize
#: By row: place among the fields, name and type of each column, in the order of the table.
_COLUMNS = [
    [(_FIELDS_MAX, NUMBER, np.dtype(np.int64))]
    + [(at, field.name, column_dtype(field)) for at, field in enumerate(LAYOUTS[letter].fields[1:])]
    for letter in _LETTERS
]
FRAME_BYTES = np.array([LENGTH_BYTES + LAYOUTS[_letter].length for _letter in _LETTERS])
_FIELDS = np.array([len(LAYOUTS[_letter].fields) - 1 for _letter in _LETTERS])
for _row, _letter in enumerate(_LETTERS):
    for _at, _field in enumerate(LAYOUTS[_letter].fields[1:]):
        _OFFSET[_row, _at] = LAYOUTS[_letter].offsets[_field.name]
        _SIZE[_row, _at] = -_field.size if _field.kind == "a" else _field.size
        _WIDTH[_row, _at] = 8 if _field.size == 6 else _field.size

_HEAD_FIELDS = 3  # of every type: locate, tracking number and, right behind it, the timestamp of 48 bits
_LOCATE, _TRACKING = LAYOUTS["S"].offsets["stock_locate"], LAYOUTS["S"].offsets["tracking_number"]

#: Slots of ``counts`` behind those of the types and of what is left out, and their names.
_UNKNOWN, _WRONG, _NO_LENGTH, _CUT = range(_TYPES + 1, _TYPES + 5)
_FAULTS = {
    "unknown_type": _UNKNOWN,
    "wrong_length": _WRONG,
    "no_length": _NO_LENGTH,
    "cut_off": _CUT,
}


@dataclass(frozen=True, slots=True)
class Columns:
    """What a file's bytes hold.

    Attributes
    ----------
    tables : Mapping[str, Mapping[str, NDArray]]
        Type letter to table, of the types that came: ``number`` (int64: place of the message in the bytes,
        from 1) and every field of the layout but ``type``, in wire order. ``pandas.DataFrame(table)`` and
        ``pyarrow.table(dict)`` take one as it is. All columns are views of one block of memory: copy
        one that shall outlive the others.
    counters : Counter[str]
        decoded; unknown_type and wrong_length (left out, their prefix gave the way on); and what ended
        the decoding before the end: cut_off, and no_length where a zero prefix before an unknown type did it.
    memory : NDArray[np.uint8]
        The block. A later call may write over it, see :func:`decode_columns`.
    messages : int
        Decoded and left out together: the next one's number is as much higher.
    consumed : int
        Bytes that were decoded: all, but where the bytes end inside a message or after no_length.
    """

    tables: Mapping[str, Mapping[str, NDArray[Any]]]
    counters: Counter[str]
    messages: int
    consumed: int
    memory: NDArray[np.uint8]

    @property
    def message_types(self) -> dict[str, int]:
        """Messages decoded, by type letter."""
        return {letter: len(table[NUMBER]) for letter, table in self.tables.items()}


@dataclass(frozen=True, slots=True)
class Framed:
    """Bytes in which the messages have been found.

    Attributes
    ----------
    data : NDArray[np.uint8], shape (bytes,)
    rows : NDArray[np.uint8], shape (messages,)
        Each message's type as its place in LAYOUTS; ``len(LAYOUTS)`` for one that is to be left out.
    counts : NDArray[np.int64], shape (types + 1,)
        Messages by row.
    faults : Counter[str]
        As in :class:`Columns`.
    consumed : int
        As in :class:`Columns`.
    """

    data: NDArray[np.uint8]
    rows: NDArray[np.uint8]
    counts: NDArray[np.int64]
    faults: Counter[str]
    consumed: int


def frame(data: NDArray[np.uint8] | bytes) -> Framed:
    """Find the messages of bytes; what :func:`decode_columns` begins with."""
    raw = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else np.ascontiguousarray(data)
    counts = np.zeros(_TYPES + 1 + len(_FAULTS), dtype=np.int64)
    rows = np.empty(len(raw) // (LENGTH_BYTES + 1) + 1, dtype=np.uint8)
    messages, consumed = _count(raw, counts, rows)
    faults = Counter({name: int(counts[at]) for name, at in _FAULTS.items() if counts[at]})
    return Framed(raw, rows[:messages], counts[: _TYPES + 1], faults, int(consumed))


def decode_columns(
    data: NDArray[np.uint8] | bytes, first_number: int = 1, memory: NDArray[np.uint8] | None = None
) -> Columns:
    """Decode messages that each stand behind a length.

    Parameters
    ----------
    data : NDArray[np.uint8], shape (bytes,), or bytes
        Whole messages from the first byte on. What is cut off at the end is counted, and ``consumed``
        tells where it begins: put it before the bytes that follow.
    first_number : int
        Number of the first message.
    memory : NDArray[np.uint8], optional
        Of an earlier result whose columns are no longer needed: it is written over where it is large
        enough. Half of the time of a small batch goes into memory that is new to the process.
    """
    return columns_of(frame(data), first_number, memory)


def columns_of(framed: Framed, first_number: int, memory: NDArray[np.uint8] | None = None) -> Columns:
    """Fill the columns with what has been framed."""
    counts = framed.counts
    columns, size = _places(counts)
    starts_bytes = 8 * (_TYPES + 1) * STRETCH
    if memory is None or len(memory) < size + starts_bytes:
        memory = np.empty((size + starts_bytes) * 9 // 8, dtype=np.uint8)  # the next batch may need more
    starts = memory[size : size + starts_bytes].view(np.int64).reshape(_TYPES + 1, STRETCH)
    _fill(
        framed.data,
        framed.rows,
        memory[:size],
        columns,
        starts,
        np.zeros(_TYPES, dtype=np.int64),
        first_number,
    )
    counters = framed.faults.copy()
    if decoded := int(counts[:_TYPES].sum()):
        counters["decoded"] = decoded
    tables: dict[str, dict[str, NDArray[Any]]] = {}
    for row in np.flatnonzero(counts[:_TYPES]):
        begins, count = columns[row].tolist(), int(counts[row])
        tables[_LETTERS[row]] = {
            name: np.ndarray(count, dtype, memory, begins[place]) for place, name, dtype in _COLUMNS[row]
        }
    return Columns(tables, counters, len(framed.rows), framed.consumed, memory)


def read_columns(path: Path, batch_bytes: int = BATCH_BYTES) -> Iterator[Columns]:
    """Decode a file, plain or gzipped, a batch at a time: memory does not grow with the file.

    Parameters
    ----------
    batch_bytes : int
        Of the file at once; at least one message (65,537 bytes) is taken.

    Raises
    ------
    DecodeError
        A zero prefix before an unknown type, or a file that ends inside a message. What stands before
        has been given out by then.
    """
    for framed, number in framed_batches(path, batch_bytes):
        yield columns_of(framed, number)


def framed_batches(path: Path, batch_bytes: int = BATCH_BYTES) -> Iterator[tuple[Framed, int]]:
    """Messages of a file and the number of the first, a batch at a time, as :func:`read_columns` takes them.

    The counter ``cut_off`` is left to the end of the file: a batch may end inside a message.
    """
    left, offset, number = b"", 0, 1
    with open_sound(path) as file:
        while chunk := file.read(max(batch_bytes, FRAME_BYTES_MAX)):
            data = left + chunk
            framed = frame(data)
            del framed.faults["cut_off"]
            yield framed, number
            if framed.faults["no_length"]:
                kind = data[framed.consumed + LENGTH_BYTES :][:1]
                said = f"{path}: length prefix 0 and unknown message type {kind!r}"
                raise DecodeError("ITCH", said, offset + framed.consumed)
            left, offset = data[framed.consumed :], offset + framed.consumed
            number += len(framed.rows)
    if left:
        raise DecodeError("ITCH", f"{path} ends inside a message; is it cut off?", offset)


def _places(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Where each column begins, by type and field with ``number`` last, and the bytes of all."""
    sizes = -(-counts[:_TYPES, None] * _WIDTH // _ALIGN) * _ALIGN
    stops = np.cumsum(sizes).reshape(sizes.shape)
    return stops - sizes, int(stops[-1, -1])


@njit(cache=True, nogil=True)
def _count(data, counts, rows):  # type: ignore[no-untyped-def]
    """Note each message's type and count them, and faults; (messages, byte at which the walk ended)."""
    data, counts, rows = unowned(data), unowned(counts), unowned(rows)
    at, stop = np.int64(0), np.int64(data.size)
    number = np.int64(0)
    while at + LENGTH_BYTES < stop:
        size = load16(data, at)
        kind = data[at + LENGTH_BYTES]
        length = LENGTHS[kind]
        if size == 0:
            if length == 0:
                counts[_NO_LENGTH] += 1
                break
            size = length
        if at + LENGTH_BYTES + size > stop:
            break
        row = ROWS[kind]
        if size != length:
            counts[_WRONG if length else _UNKNOWN] += 1
            row = _TYPES
        rows[number] = row
        counts[row] += 1
        number += 1
        at += LENGTH_BYTES + size
    if at < stop:
        counts[_CUT] += 1
    return number, at


@njit(cache=True, nogil=True)
def _fill(data, rows, memory, columns, starts, filled, first_number):  # type: ignore[no-untyped-def]
    """Fill the columns with the messages whose types are ``rows``: what ``_count`` has walked."""
    data, rows, columns = unowned(data), unowned(rows), unowned(columns)
    starts, filled = unowned(starts), unowned(filled)
    flat = starts.reshape(starts.size)
    cursor = np.empty(_TYPES + 1, dtype=np.int64)
    at = np.int64(0)
    for done in range(0, rows.size, STRETCH):
        for row in range(_TYPES + 1):
            cursor[row] = row * STRETCH
        base = at
        for i in range(min(STRETCH, rows.size - done)):
            row = rows[done + i]
            place = cursor[row]
            flat[place] = ((at - base) << _STRETCH_BITS) | i
            cursor[row] = place + 1
            at += FRAME_BYTES[row] if row < _TYPES else _odd_frame(data, at)
        for row in range(_TYPES):
            count = cursor[row] - row * STRETCH
            if count:
                number = first_number + done
                _fill_head(data, base, starts[row], count, memory, columns[row], filled[row], number)
                for field in range(_HEAD_FIELDS, _FIELDS[row]):
                    column = columns[row, field] + filled[row] * _WIDTH[row, field]
                    _fill_field(
                        data, starts[row], count, _OFFSET[row, field], _SIZE[row, field], memory, column
                    )
                filled[row] += count


@njit(cache=True, nogil=True)
def _odd_frame(data, at):  # type: ignore[no-untyped-def]
    """Bytes of a message that is left out, its prefix included; that prefix is not zero."""
    return LENGTH_BYTES + load16(data, at)


@njit(cache=True, nogil=True)
def _fill_head(data, base, starts, count, memory, columns, first, number):  # type: ignore[no-untyped-def]
    """What every type begins with, in two loads a message, and its number; ``starts`` become offsets."""
    data, starts, memory = unowned(data), unowned(starts), unowned(memory)
    locates = memory.view(np.uint16)[(columns[0] >> 1) + first :]
    trackings = memory.view(np.uint16)[(columns[1] >> 1) + first :]
    timestamps = memory.view(np.int64)[(columns[2] >> 3) + first :]
    numbers = memory.view(np.int64)[(columns[_FIELDS_MAX] >> 3) + first :]
    for i in range(count):
        noted = starts[i]
        numbers[i] = number + (noted & (STRETCH - 1))
        at = base + LENGTH_BYTES + (noted >> _STRETCH_BITS)
        starts[i] = at
        both = load64(data, at + _TRACKING)
        locates[i] = load16(data, at + _LOCATE)
        trackings[i] = both >> 48
        timestamps[i] = both & 0xFFFF_FFFF_FFFF


@njit(cache=True, nogil=True)
def _fill_field(data, starts, count, offset, size, memory, column):  # type: ignore[no-untyped-def]
    """One field of the messages at ``starts``, written from byte ``column`` of the memory on."""
    data, starts, memory = unowned(data), unowned(starts), unowned(memory)
    if size == 8:
        out8 = memory.view(np.int64)[column >> 3 :]
        for i in range(count):
            out8[i] = load64(data, starts[i] + offset)
    elif size == 4:
        out4 = memory.view(np.uint32)[column >> 2 :]
        for i in range(count):
            out4[i] = load32(data, starts[i] + offset)
    elif size == 2:
        out2 = memory.view(np.uint16)[column >> 1 :]
        for i in range(count):
            out2[i] = load16(data, starts[i] + offset)
    elif size == -8:
        text8_out = memory.view(np.uint64)[column >> 3 :]
        for i in range(count):
            text8_out[i] = text64(data, starts[i] + offset)
    elif size == -4:
        out4 = memory.view(np.uint32)[column >> 2 :]
        for i in range(count):
            out4[i] = text32(data, starts[i] + offset)
    elif size == -2:
        out2 = memory.view(np.uint16)[column >> 1 :]
        for i in range(count):
            out2[i] = text16(data, starts[i] + offset)
    else:
        for i in range(count):
            memory[column + i] = text8(data, starts[i] + offset)
