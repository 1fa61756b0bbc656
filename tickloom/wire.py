"""Pieces of a record on the wire: numbers, texts, and arrays of events as columns.

What :mod:`tickloom.codec` and :mod:`tickloom.spread_codec` make their records of.
"""

from __future__ import annotations

import weakref
from collections.abc import Set
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tickloom import prices
from tickloom.errors import CodecError
from tickloom.events import Records, SymbolTable
from tickloom.varint import (
    VARINT_BYTES_MAX,
    get_long,
    guess_long,
    put_bits,
    put_long,
    skip_longs,
)
from tickloom.wire_run import decode_run, first_word, name_hash, same_name
from tickloom.words import get_word

_NO_PRICE = prices.NO_PRICE
_NANOS = float(prices.NANOS)
_UNITS_MAX = float(prices.NANOS_MAX // prices.NANOS)  # no double at or above it is one of ours
_HEADS = ("ts_event", "ts_recv", "seq")
_ALWAYS = ("ts_event", "seq")
_RUN_TRIES = 8  # events in a row that begin no run, and no more are looked for in the record
_NEW_SLOTS = 4_096  # open hash of symbols that the reader does not know; half as many are taken at once


class EventColumns:
    """Events of one kind, a contiguous array a field. Prices and sizes are doubles; NaN: no price."""

    __slots__ = ("_columns",)

    def __init__(self, columns: dict[str, NDArray[Any]]) -> None:
        self._columns = columns

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    def __len__(self) -> int:
        return len(self._columns["seq"]) if self._columns else 0


class SymbolBytes:
    """Names as arrays that a kernel can read.

    Attributes
    ----------
    bytes, offsets : ndarray of uint8, of int64
        Each name with its length prefix, one behind the other, and where each begins.
    words, lengths : ndarray of uint64, of int64
        The first eight bytes of each name, and how many it has.
    slots : ndarray of int32
        Open hash by :func:`name_hash` of indices; -1 where there is none.
    length_max : int
        Of a name with its prefix.
    """

    def __init__(self, symbols: SymbolTable) -> None:
        names = [name.encode() for name in symbols.names]
        texts = [pack_long(len(name)) + name for name in names]
        self.bytes = np.frombuffer(b"".join(texts), dtype=np.uint8)
        self.offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in texts], out=self.offsets[1:])
        self.length_max = max((len(text) for text in texts), default=1)
        self.words = np.array([int.from_bytes(name[:8], "little") for name in names], dtype=np.uint64)
        self.lengths = np.array([len(name) for name in names], dtype=np.int64)
        self.slots = np.full(1 << (4 * len(names)).bit_length(), -1, dtype=np.int32)
        _fill_slots(self.bytes, self.offsets, self.words, self.lengths, self.slots)


_KNOWN: weakref.WeakKeyDictionary[SymbolTable, SymbolBytes] = weakref.WeakKeyDictionary()


def symbol_bytes(symbols: SymbolTable) -> SymbolBytes:
    """A table's bytes, made again only when it has grown: batches of a few events are the rule live."""
    known = _KNOWN.get(symbols)
    if known is None or known.offsets.size != len(symbols) + 1:
        known = _KNOWN[symbols] = SymbolBytes(symbols)
    return known


@njit(cache=True, nogil=True)
def _fill_slots(names, offsets, words, lengths, slots):  # type: ignore[no-untyped-def]
    mask = slots.size - 1
    for index in range(words.size):
        start = offsets[index + 1] - lengths[index]
        slot = name_hash(words[index], names, start, lengths[index]) & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = index


def checked_doubles(nanos: NDArray[np.int64], out: NDArray[np.float64]) -> None:
    """Nanos as doubles into ``out``, in one pass: batches are small, and there are thousands a second.

    Raises
    ------
    PriceRangeError
        A value would not survive as a double (:mod:`tickloom.prices`).
    """
    if _fill_doubles(nanos, out) < len(nanos):
        prices.check_nanos(nanos)


@njit(cache=True, nogil=True)
def _fill_doubles(nanos, out):  # type: ignore[no-untyped-def]  # int64 (n,), float64 (n,) -> int64
    """How many were written: all, or those before the first that would not survive."""
    for place in range(nanos.size):
        value = nanos[place]
        if value == _NO_PRICE:
            out[place] = np.nan
            continue
        double = value / _NANOS
        if np.int64(np.rint(double * _NANOS)) != value:
            return place
        out[place] = double
    return nanos.size


def pack_events(
    records: Records, table: SymbolBytes, bits: NDArray[np.int64], longs: tuple[str, ...]
) -> bytes:
    """An array of events: head, the doubles' bits (a row a field), the fields that travel as varints."""
    count = len(records)
    tail = np.empty((len(longs), count), dtype=np.int64)
    for row, name in enumerate(longs):
        tail[row] = records[name]
    event_bytes_max = table.length_max + 8 * len(bits) + VARINT_BYTES_MAX * (3 + len(longs))
    out = np.empty(2 * VARINT_BYTES_MAX + count * event_bytes_max, dtype=np.uint8)
    end = _encode_events(
        records["symbol"],
        records["ts_event"],
        records["ts_recv"],
        records["seq"],
        bits,
        tail,
        table.bytes,
        table.offsets,
        out,
    )
    return out[:end].tobytes()


@njit(cache=True, nogil=True)
def _encode_events(symbol, ts_event, ts_recv, seq, bits, tail, names, offsets, out):  # type: ignore[no-untyped-def]
    pos = put_long(out, 0, np.int64(symbol.size))
    for i in range(symbol.size):
        for j in range(offsets[symbol[i]], offsets[symbol[i] + 1]):
            out[pos] = names[j]
            pos += 1
        pos = put_long(out, pos, ts_event[i])
        pos = put_long(out, pos, ts_recv[i])
        pos = put_long(out, pos, seq[i])
        for k in range(bits.shape[0]):
            pos = put_bits(out, pos, bits[k, i])
        for k in range(tail.shape[0]):
            pos = put_long(out, pos, tail[k, i])
    return put_long(out, pos, np.int64(0))


def read_events(
    data: NDArray[np.uint8],
    pos: int,
    table: SymbolTable,
    dtype: np.dtype[np.void],
    doubles: tuple[str, ...],
    longs: tuple[str, ...],
) -> tuple[Records, int]:
    """An array of events back as records, and the position behind it.

    A double becomes nanos where the record's field is an integer, and stays one where it is not.
    """
    chunks: list[Records] = []
    while True:
        columns, pos = _chunk(data, pos, table, doubles, longs)
        if columns is None:
            break
        records = np.empty(len(columns["symbol"]), dtype=dtype)
        for name, values in columns.items():
            exact = values.dtype.kind == "f" and dtype[name].kind != "f"
            records[name] = _exact(values) if exact else values
        chunks.append(records)
    if len(chunks) == 1:
        return chunks[0], pos
    return (np.concatenate(chunks) if chunks else np.empty(0, dtype=dtype)), pos


def _exact(doubles: NDArray[np.float64]) -> NDArray[np.int64]:
    if (np.abs(doubles) >= _UNITS_MAX).any():  # NaN, no price, is not
        raise CodecError("a price or size in the record is beyond 64 bits of 1e-9 units; who wrote it?")
    return prices.to_nanos(doubles)


def read_columns(
    data: NDArray[np.uint8],
    pos: int,
    table: SymbolTable,
    doubles: tuple[str, ...],
    longs: tuple[str, ...],
    wanted: Set[str] | None = None,
) -> tuple[EventColumns, int]:
    """As :func:`read_events`, a contiguous array a field; doubles stay doubles.

    ``wanted``: fields to keep besides ``symbol``, ``ts_event`` and ``seq``; None for all.
    """
    chunks: list[dict[str, NDArray[Any]]] = []
    while True:
        columns, pos = _chunk(data, pos, table, doubles, longs, wanted)
        if columns is None:
            break
        chunks.append(columns)
    if len(chunks) > 1:
        return EventColumns({name: np.concatenate([one[name] for one in chunks]) for name in chunks[0]}), pos
    return EventColumns(chunks[0] if chunks else {}), pos


def _chunk(
    data: NDArray[np.uint8],
    pos: int,
    table: SymbolTable,
    doubles: tuple[str, ...],
    longs: tuple[str, ...],
    wanted: Set[str] | None = None,
) -> tuple[dict[str, NDArray[Any]] | None, int]:
    """One block of an Avro array as columns, and the position behind it; None at the array's end."""
    count, pos = read_long(data, pos)
    if count == 0:
        return None, pos
    if count < 0:  # a block may carry its length in bytes, so that a reader can skip it
        count = -count
        _, pos = read_long(data, pos)
    if count > data.size:
        raise CodecError(f"an array of {count} events does not fit a record of {data.size} bytes")
    symbol = np.empty(count, dtype=np.int32)
    chosen = None if wanted is None else frozenset(wanted)
    heads, head_rows = _rows(_HEADS, chosen)
    kept_doubles, bits_rows = _rows(doubles, chosen)
    kept_longs, tail_rows = _rows(longs, chosen)
    head = np.empty((len(heads), count), dtype=np.int64)
    bits = np.empty((len(kept_doubles), count), dtype=np.int64)
    tail = np.empty((len(kept_longs), count), dtype=np.int64)
    begin, view = pos, data.data
    while True:
        known = symbol_bytes(table)
        new, pos = _decode_events(
            data, begin, known.bytes, known.offsets, known.words, known.lengths, known.slots,
            symbol, head, bits, tail, head_rows[1], bits_rows, tail_rows,
        )  # fmt: skip
        if pos == -1:
            raise CodecError("the record ends inside an event, or is of another schema")
        indices = [table.index(str(view[start:stop], "utf-8")) for start, stop in new.tolist()]
        if pos >= 0:
            break  # else there were more new names than are taken at once: again, now that these are known
    if len(new):
        fresh = symbol < 0
        symbol[fresh] = np.array(indices, dtype=np.int32)[-1 - symbol[fresh]]
    columns: dict[str, NDArray[Any]] = {"symbol": symbol}
    columns.update(zip(heads, head, strict=True))
    columns.update(zip(kept_doubles, bits.view(np.float64), strict=True))
    columns.update(zip(kept_longs, tail, strict=True))
    return columns, pos


@cache
def _rows(names: tuple[str, ...], wanted: frozenset[str] | None) -> tuple[list[str], NDArray[np.int64]]:
    """Those of the names that are wanted, and each one's row among them; -1 where it is not."""
    kept = [name for name in names if wanted is None or name in wanted or name in _ALWAYS]
    return kept, np.array([kept.index(name) if name in kept else -1 for name in names], dtype=np.int64)


@njit(cache=True, nogil=True)
def _decode_events(  # type: ignore[no-untyped-def]
    data, pos, names, offsets, words, lengths, slots, symbol, head, bits, tail, recv_row, bits_rows, tail_rows
):
    """Fill the columns. Returns where the names are that the table does not have, which are -1, -2, ... in
    ``symbol``, and the position behind the events; -1 where they do not fit the record, -2 where there is no
    room for more such names."""
    mask = slots.size - 1
    last = head.shape[0] - 1
    any_tail = tail.shape[0] > 0
    new = np.empty((0, 2), dtype=np.int64)
    new_slots = np.empty(0, dtype=np.int32)
    count = 0
    first_bytes = second_bytes = third_bytes = 9  # of the event before: the numbers of its head
    tries = 0 if any_tail or tail_rows.size == 0 else _RUN_TRIES
    run_end = 0
    for i in range(symbol.size):
        if i < run_end:
            continue
        if tries > 0:
            run_end, pos = decode_run(
                data, pos, names, offsets, words, lengths, slots, symbol, head, bits, i, recv_row, bits_rows,
                tail_rows.size, first_bytes, second_bytes, third_bytes,
            )  # fmt: skip
            if run_end > i:
                tries = _RUN_TRIES
                continue
            tries -= 1
        length, pos = get_long(data, pos)
        if pos < 0 or length < 0 or length > data.size - pos:  # a sum could be beyond 64 bits
            return new[:0], -1
        word = first_word(data, pos, length)
        code = name_hash(word, data, pos, length)
        slot = code & mask
        index = slots[slot]
        while index >= 0:
            start = offsets[index + 1] - length
            if (
                words[index] == word
                and lengths[index] == length
                and same_name(data, pos, names, start, length)
            ):
                break
            slot = (slot + 1) & mask
            index = slots[slot]
        if index < 0:
            if new_slots.size == 0:
                new = np.empty((_NEW_SLOTS // 2, 2), dtype=np.int64)
                new_slots = np.full(_NEW_SLOTS, -1, dtype=np.int32)
            slot = code & (_NEW_SLOTS - 1)
            while new_slots[slot] >= 0:
                start, end = new[new_slots[slot]]
                same = end - start == length and first_word(data, start, length) == word
                if same and same_name(data, pos, data, start, length):
                    break
                slot = (slot + 1) & (_NEW_SLOTS - 1)
            if new_slots[slot] < 0:
                if count == len(new):
                    return new, -2
                new_slots[slot] = count
                new[count, 0] = pos
                new[count, 1] = pos + length
                count += 1
            index = np.int32(-1 - new_slots[slot])
        symbol[i] = index
        pos += length
        fits = False
        if pos + 3 * VARINT_BYTES_MAX <= data.size:
            second, third = pos + first_bytes, pos + first_bytes + second_bytes
            ts_event, fits_0 = guess_long(data, pos, first_bytes)
            ts_recv, fits_1 = guess_long(data, second, second_bytes)
            seq, fits_2 = guess_long(data, third, third_bytes)
            fits = fits_0 & fits_1 & fits_2
        if fits:
            pos = third + third_bytes
        else:
            start = pos
            ts_event, second = get_long(data, start)
            ts_recv, third = get_long(data, max(second, 0))
            seq, pos = get_long(data, max(third, 0))
            if second < 0 or third < 0 or pos < 0:
                return new[:0], -1
            first_bytes, second_bytes = min(second - start, 9), min(third - second, 9)
            third_bytes = min(pos - third, 9)
        head[0, i] = ts_event
        head[last, i] = seq
        if recv_row >= 0:
            head[recv_row, i] = ts_recv
        if pos + 8 * bits_rows.size > data.size:
            return new[:0], -1
        for k in range(bits_rows.size):
            if bits_rows[k] >= 0:
                bits[bits_rows[k], i] = np.int64(get_word(data, pos))
            pos += 8
        if any_tail:
            for k in range(tail_rows.size):
                value, pos = get_long(data, pos)
                if pos < 0:
                    return new[:0], -1
                if tail_rows[k] >= 0:
                    tail[tail_rows[k], i] = value
        else:
            pos = skip_longs(data, pos, tail_rows.size)
            if pos < 0:
                return new[:0], -1
    return new[:count], pos


def pack_rare(records: Records, symbols: SymbolTable, tail: tuple[str, ...]) -> bytes:
    """Statuses and gaps: a handful a day, so plain Python."""
    if len(records) == 0:
        return b"\x00"
    parts = [pack_long(len(records))]
    for record in records:
        parts.append(pack_string(symbols.names[record["symbol"]]))
        parts.extend(pack_long(int(record[name])) for name in ("ts_event", "ts_recv", "seq"))
        for name in tail:
            value = record[name]
            text = isinstance(value, bytes)  # a venue's code: what it sends need not be ASCII
            parts.append(
                pack_string(value.decode("ascii", "backslashreplace")) if text else pack_long(int(value))
            )
    parts.append(b"\x00")
    return b"".join(parts)


def read_rare(
    data: NDArray[np.uint8], pos: int, table: SymbolTable, dtype: np.dtype[np.void], tail: tuple[str, ...]
) -> tuple[Records, int]:
    rows: list[tuple[Any, ...]] = []
    while True:
        count, pos = read_long(data, pos)
        if count == 0:
            return _as_records(rows, dtype), pos
        if count < 0:
            count = -count
            _, pos = read_long(data, pos)
        for _ in range(count):
            symbol, pos = read_string(data, pos)
            ts_event, pos = read_long(data, pos)
            ts_recv, pos = read_long(data, pos)
            seq, pos = read_long(data, pos)
            row: list[Any] = [ts_event, ts_recv, seq, table.index(symbol)]
            for name in tail:
                value: Any
                if dtype[name].kind == "S":
                    text, pos = read_string(data, pos)
                    value = text.encode()
                else:
                    value, pos = read_long(data, pos)
                row.append(value)
            rows.append(tuple(row))


def _as_records(rows: list[tuple[Any, ...]], dtype: np.dtype[np.void]) -> Records:
    try:
        return np.array(rows, dtype=dtype)
    except OverflowError:
        raise CodecError("a number in the record does not fit its field; is it of another schema?") from None


def pack_long(value: int) -> bytes:
    left = ((value << 1) ^ (value >> 63)) & 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while left >= 0x80:
        out.append((left & 0x7F) | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def pack_longs(*values: int) -> bytes:
    """One behind the other: as :func:`pack_long`, for what each record has."""
    out = np.empty(VARINT_BYTES_MAX * len(values), dtype=np.uint8)
    return out[: _put_longs(np.array(values, dtype=np.int64), out)].tobytes()


@njit(cache=True, nogil=True)
def _put_longs(values, out):  # type: ignore[no-untyped-def]  # int64 (n,), uint8 (m,) -> int64
    pos = np.int64(0)
    for value in values:
        pos = put_long(out, pos, value)
    return pos


@lru_cache(1_024)  # of venues, sessions and symbols: each record begins with two of them
def pack_string(text: str) -> bytes:
    raw = text.encode()
    return pack_long(len(raw)) + raw


def read_long(data: NDArray[np.uint8], pos: int) -> tuple[int, int]:
    if pos < data.size and (byte := int(data[pos])) < 0x80:  # the most, and not worth a call of a kernel
        return (byte >> 1) ^ -(byte & 1), pos + 1
    value, after = get_long(data, pos)
    if after < 0:
        raise CodecError("the record ends inside a number; was it cut off?")
    return int(value), int(after)


def read_string(data: NDArray[np.uint8], pos: int) -> tuple[str, int]:
    length, pos = read_long(data, pos)
    if length < 0 or pos + length > data.size:
        raise CodecError("the record ends inside a text; was it cut off?")
    return bytes(data[pos : pos + length]).decode(), pos + length
