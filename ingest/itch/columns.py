"""The bytes of an ITCH 5.0 file in, a table of columns a message type out: history at the speed of memory.

Two passes over the length-prefixed bytes. The first finds the messages and counts them by type
(:mod:`ingest.itch.framing`), so that every column is as long as it must be; the second sorts those of a
stretch by type, and then fills the columns of one type after the other (:mod:`ingest.itch.fields`). A message
that is not of its type's length is counted and left out; nothing outside the bytes is read.
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

from ingest.itch.fields import STRETCH_BITS, fill, width
from ingest.itch.framing import TYPES, Framed, frame
from ingest.itch.messages import LAYOUTS, LENGTH_BYTES
from ingest.layout import Field
from ingest.pcap import open_sound
from tickloom.errors import DecodeError
from tickloom.unowned import unowned

BATCH_BYTES = 2 << 20  # about 65,000 messages, whose columns stay in a cache until they are used
FRAME_BYTES_MAX = LENGTH_BYTES + 0xFFFF
NUMBER = "number"  # of a message in its file, from 1: the order across tables
STRETCH = 1 << STRETCH_BITS  # messages: their bytes and positions stay in a core's own cache
_LETTERS = tuple(LAYOUTS)
_FIELDS_MAX = max(len(layout.fields) for layout in LAYOUTS.values())
_u = np.uint64  # of an index: spares a look whether it is negative
_ALIGN = 64  # bytes, of a column's start: a line of cache


def column_dtype(field: Field) -> np.dtype[Any]:
    """The native type of a field's column: unsigned integers as wide as on the wire, texts as bytes.

    A timestamp is int64 nanoseconds since the venue's midnight. Prices stay the integers that they are:
    units of 1e-4 for four bytes, of 1e-8 for eight.
    """
    if field.kind == "a":
        return np.dtype(f"S{field.size}")
    return np.dtype(np.int64) if field.size == 6 else np.dtype(f"u{field.size}")


#: By row and field, with the message's number last of all: bytes in the column.
_WIDTH = np.zeros((TYPES, _FIELDS_MAX), dtype=np.int64)
for _row, _letter in enumerate(_LETTERS):
    _widths = [*map(width, LAYOUTS[_letter].fields[1:]), 8]
    _WIDTH[_row, : len(_widths)] = _widths
#: By row: place among the fields, name and type of each column, in the order of the table.
_COLUMNS = [
    [(len(LAYOUTS[letter].fields) - 1, NUMBER, np.dtype(np.int64))]
    + [(at, field.name, column_dtype(field)) for at, field in enumerate(LAYOUTS[letter].fields[1:])]
    for letter in _LETTERS
]


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
    noted_bytes = 8 * (TYPES + 1) * STRETCH
    if memory is None or len(memory) < size + noted_bytes:
        memory = np.empty((size + noted_bytes) * 9 // 8, dtype=np.uint8)  # the next batch may need more
    noted = memory[size : size + noted_bytes].view(np.int64)
    _fill(framed.data, framed.rows, framed.starts, memory, columns.copy(), noted, first_number)
    counters = framed.faults.copy()
    if decoded := int(counts[:TYPES].sum()):
        counters["decoded"] = decoded
    tables: dict[str, dict[str, NDArray[Any]]] = {}
    for row in np.flatnonzero(counts[:TYPES]):
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
    sizes = -(-counts[:TYPES, None] * _WIDTH // _ALIGN) * _ALIGN
    stops = np.cumsum(sizes).reshape(sizes.shape)
    return stops - sizes, int(stops[-1, -1])


@njit(cache=True, nogil=True)
def _fill(data, rows, starts, memory, columns, noted, first_number):  # type: ignore[no-untyped-def]
    """Fill the columns with the messages whose types are ``rows``; ``noted`` is room for a stretch a type."""
    data, rows, starts, columns = unowned(data), unowned(rows), unowned(starts), unowned(columns)
    noted, memory = unowned(noted), unowned(memory)
    cursor = np.empty(TYPES + 1, dtype=np.int64)
    for done in range(0, rows.size, STRETCH):
        for row in range(TYPES + 1):
            cursor[row] = row * STRETCH
        for i in range(min(STRETCH, rows.size - done)):
            kind = _u(rows[_u(done + i)])
            place = cursor[kind]
            noted[_u(place)] = (np.int64(starts[_u(done + i)]) << STRETCH_BITS) | i
            cursor[kind] = place + 1
        for row in range(TYPES):
            count = cursor[row] - row * STRETCH
            if count:
                these = noted[row * STRETCH : cursor[row]]
                fill(row, data, these, count, memory, columns[row], first_number + done)
                for place in range(columns.shape[1]):
                    columns[row, place] += count * _WIDTH[row, place]
