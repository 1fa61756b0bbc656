"""The compiled walk over SBE messages: finds every block, entry and datum, whatever the template.

A template is a table, one row a level (``program``): its kind, the head in front of its entries, its first
child and the next one beside it. The walker keeps a small stack, so nothing recurses and nothing is
allocated. It runs twice: once to count, once to write what it found.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.sbe.model import Schema
from ingest.sbe.objects import EMPTY_ENTRIES_MAX
from ingest.sbe.schema import NESTED_MAX

#: Columns of a program.
KIND, SINCE, HEAD_SIZE, A_AT, A_SIZE, B_AT, B_SIZE, FIRST_CHILD, NEXT, PROGRAM_COLUMNS = range(10)
GROUP, DATA = 0, 1
#: Columns of ``heads``: what is known of a message before it is walked. START: of its root block.
TEMPLATE, VERSION, ROOT_AT, ROOT_LENGTH, STOP, STATE, HEAD_COLUMNS = range(7)
GOOD, TRUNCATED, UNKNOWN_TEMPLATE, FOREIGN_SCHEMA = range(4)
#: Columns of an entry that was found.
START, LENGTH, PARENT, ACTING_VERSION, ENTRY_COLUMNS = range(5)
_DEPTH = NESTED_MAX + 2
_EMPTY_MAX = EMPTY_ENTRIES_MAX
# what the walker keeps of each open level
_NODE, _LEFT, _BLOCK, _CHILD, _ROW = range(5)


def header_of(schema: Schema) -> NDArray[np.int64]:
    """Message header for the kernels: size, offset and size of four numbers, schema id, big-endian."""
    header = schema.header
    parts = (header.block_length, header.template_id, header.schema_id, header.version)
    numbers = [number for offset, primitive in parts for number in (offset, primitive.size)]
    return np.array([header.size, *numbers, schema.id, schema.order == ">"], dtype=np.int64)


@njit(cache=True, nogil=True, forceinline=True)
def unsigned(data, at, size, big):  # type: ignore[no-untyped-def]
    """An unsigned integer of ``size`` bytes as int64 (two's complement where it has eight)."""
    value = np.int64(0)
    for i in range(size):
        byte = data[at + i] if big else data[at + size - 1 - i]
        value = (value << 8) | np.int64(byte)
    return value


@njit(cache=True, nogil=True)
def read_heads(data, starts, stops, header, known, heads):  # type: ignore[no-untyped-def]
    """Fill ``heads`` from the messages' headers; STATE says what is wrong with one."""
    big = header[10] != 0
    for i in range(starts.size):
        at, stop = starts[i], min(stops[i], data.size)
        head = heads[i]
        head[STOP] = stop
        if at < 0 or at + header[0] > stop:
            head[STATE] = TRUNCATED
            continue
        head[ROOT_LENGTH] = unsigned(data, at + header[1], header[2], big)
        head[TEMPLATE] = unsigned(data, at + header[3], header[4], big)
        head[VERSION] = unsigned(data, at + header[7], header[8], big)
        head[ROOT_AT] = at + header[0]
        place = np.searchsorted(known, head[TEMPLATE])
        if unsigned(data, at + header[5], header[6], big) != header[9]:
            head[STATE] = FOREIGN_SCHEMA
        elif place == known.size or known[place] != head[TEMPLATE]:
            head[STATE] = UNKNOWN_TEMPLATE
        else:
            head[STATE] = GOOD


@njit(cache=True, nogil=True, forceinline=True)
def _put(entries, cursor, node, start, length, parent, version):  # type: ignore[no-untyped-def]
    """Write an entry where there is room for them, and pass it over; its number among its kind."""
    row = cursor[node]
    if entries.shape[0]:
        entries[row, START] = start
        entries[row, LENGTH] = length
        entries[row, PARENT] = parent
        entries[row, ACTING_VERSION] = version
    cursor[node] += 1
    return row


@njit(cache=True, nogil=True)
def walk_one(data, head, message, program, first, cursor, entries, stack, big):  # type: ignore[no-untyped-def]
    """Walk one message: where it ended, or -1 where it goes beyond its end.

    ``first``: row in ``entries`` of each level's first entry, so that PARENT counts from 0.
    """
    version, stop = head[VERSION], head[STOP]
    at, length = head[ROOT_AT], head[ROOT_LENGTH]
    if length < 0 or length > stop - at:
        return -1
    depth = 0
    stack[0, _NODE], stack[0, _LEFT], stack[0, _BLOCK] = 0, 0, length
    stack[0, _ROW] = _put(entries, cursor, 0, at, length, message, version) - first[0]
    stack[0, _CHILD] = program[0, FIRST_CHILD]
    at += length
    while depth >= 0:
        child = stack[depth, _CHILD]
        if child < 0:
            if stack[depth, _LEFT] == 0:
                depth -= 1
                continue
            length, node = stack[depth, _BLOCK], stack[depth, _NODE]
            if length > stop - at:
                return -1
            stack[depth, _LEFT] -= 1
            parent = stack[depth - 1, _ROW]
            stack[depth, _ROW] = _put(entries, cursor, node, at, length, parent, version) - first[node]
            stack[depth, _CHILD] = program[node, FIRST_CHILD]
            at += length
            continue
        stack[depth, _CHILD] = program[child, NEXT]
        if program[child, SINCE] > version:
            continue
        if program[child, HEAD_SIZE] > stop - at:
            return -1
        length = unsigned(data, at + program[child, A_AT], program[child, A_SIZE], big)
        if program[child, KIND] == DATA:
            at += program[child, HEAD_SIZE]
            if length < 0 or length > stop - at:
                return -1
            _put(entries, cursor, child, at, length, stack[depth, _ROW], version)
            at += length
            continue
        count = unsigned(data, at + program[child, B_AT], program[child, B_SIZE], big)
        at += program[child, HEAD_SIZE]
        if length < 0 or count < 0 or (length > 0 and count > (stop - at) // length):
            return -1
        if length == 0 and count > _EMPTY_MAX + stop - at:
            return -1
        depth += 1
        stack[depth, _NODE], stack[depth, _LEFT], stack[depth, _BLOCK] = child, count, length
        stack[depth, _CHILD] = -1
    return at


@njit(cache=True, nogil=True)
def _walk_all(data, which, heads, program, first, cursor, entries, big):  # type: ignore[no-untyped-def]
    """Walk messages; those that are cut off leave nothing. Returns (cut off, with bytes left over)."""
    tally = np.zeros(2, dtype=np.int64)
    stack = np.zeros((_DEPTH, 5), dtype=np.int64)
    before = np.empty_like(cursor)
    for message in which:
        before[:] = cursor
        end = walk_one(data, heads[message], message, program, first, cursor, entries, stack, big)
        if end < 0:
            cursor[:] = before
            heads[message, STATE] = TRUNCATED
            tally[0] += 1
        elif end < heads[message, STOP]:
            tally[1] += 1
    return tally


def count(
    data: NDArray[np.uint8],
    which: NDArray[np.int64],
    heads: NDArray[np.int64],
    program: NDArray[np.int64],
    counts: NDArray[np.int64],
    big: bool,
) -> NDArray[np.int64]:
    """Count the entries of each level; marks messages that are cut off. (cut off, with bytes left over)."""
    nothing = np.empty((0, ENTRY_COLUMNS), dtype=np.int64)
    tally: NDArray[np.int64] = _walk_all(
        data, which, heads, program, np.zeros_like(counts), counts, nothing, big
    )
    return tally


def fill(
    data: NDArray[np.uint8],
    which: NDArray[np.int64],
    heads: NDArray[np.int64],
    program: NDArray[np.int64],
    first: NDArray[np.int64],
    entries: NDArray[np.int64],
    big: bool,
) -> None:
    """Write the entries of the messages that are whole; ``first``: row of each level's first."""
    whole = which[heads[which, STATE] == GOOD]
    _walk_all(data, whole, heads, program, first, first.copy(), entries, big)


@njit(cache=True, nogil=True)
def gather(data, entries, null, leaves, rows):  # type: ignore[no-untyped-def]
    """Copy blocks into rows of one size; columns that a block does not have become null.

    leaves: int64 (n, 3): offset, size, version that brought it.
    """
    newest = np.int64(0)
    for leaf in range(leaves.shape[0]):
        newest = max(newest, leaves[leaf, 2])
    for i in range(entries.shape[0]):
        start, length, version = entries[i, START], entries[i, LENGTH], entries[i, ACTING_VERSION]
        size = min(length, null.size)
        for byte in range(size):
            rows[i, byte] = data[start + byte]
        if size == null.size and version >= newest:
            continue
        for byte in range(size, null.size):
            rows[i, byte] = null[byte]
        for leaf in range(leaves.shape[0]):
            offset, end = leaves[leaf, 0], leaves[leaf, 0] + leaves[leaf, 1]
            if end > size or leaves[leaf, 2] > version:
                for byte in range(offset, end):
                    rows[i, byte] = null[byte]
