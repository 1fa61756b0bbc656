"""Tick batches on the wire: an EventBlock to one Kafka record and back.

A record is Avro binary (Avro 1.12, "Binary encoding"), no container and no registry, in the schema
:data:`SCHEMA`: what Flink's ``avro`` format reads from the table in ``streaming``. Prices travel as
doubles (see :mod:`tickloom.prices`). The Numba path is held equal to ``fastavro`` by the tests.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tickloom import prices
from tickloom.errors import CodecError
from tickloom.events import (
    DELTA_DTYPE,
    GAP_DTYPE,
    QUOTE_DTYPE,
    STATUS_DTYPE,
    TRADE_DTYPE,
    EventBlock,
    Records,
    SymbolTable,
)
from tickloom.varint import VARINT_BYTES_MAX, get_bits, get_long, put_bits, put_long

_LONG, _INT, _DOUBLE, _STRING = "long", "int", "double", "string"
_HEAD = [("symbol", _STRING), ("ts_event", _LONG), ("ts_recv", _LONG), ("seq", _LONG)]

#: Field names and Avro types of one event of a kind, in wire order.
EVENT_FIELDS: dict[str, list[tuple[str, str]]] = {
    "trades": [
        *_HEAD,
        ("price", _DOUBLE),
        ("size", _DOUBLE),
        ("venue_id", _LONG),
        ("side", _INT),
        ("condition", _INT),
    ],
    "quotes": [
        *_HEAD,
        ("bid_price", _DOUBLE),
        ("bid_size", _DOUBLE),
        ("ask_price", _DOUBLE),
        ("ask_size", _DOUBLE),
        ("venue_id", _LONG),
    ],
    "deltas": [*_HEAD, ("price", _DOUBLE), ("size", _DOUBLE), ("venue_id", _LONG), ("side", _INT)],
    "statuses": [*_HEAD, ("status", _INT), ("reason", _STRING)],
    "gaps": [*_HEAD, ("first_missing", _LONG), ("last_missing", _LONG), ("reason", _INT)],
}
#: Fields before the arrays, in wire order.
HEADER_FIELDS: list[tuple[str, str]] = [
    ("venue", _STRING),
    ("session", _STRING),
    ("shard", _INT),
    ("first_seq", _LONG),
    ("last_seq", _LONG),
    ("watermark", _LONG),
]


def avro_schema(name: str, arrays: dict[str, list[tuple[str, str]]]) -> dict[str, Any]:
    """The Avro schema of a record with our header and these arrays, as fastavro and others take it."""
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": field, "type": kind} for field, kind in HEADER_FIELDS]
        + [
            {
                "name": array,
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": f"{name}_{array}",
                        "fields": [{"name": field, "type": kind} for field, kind in fields],
                    },
                },
            }
            for array, fields in arrays.items()
        ],
    }


#: The Avro schema of a batch of ticks.
SCHEMA: dict[str, Any] = avro_schema("TickBatch", EVENT_FIELDS)
#: Doubles and varints of a kind behind its head.
_TRADE_FIELDS = (("price", "size"), ("venue_id", "side", "condition"))
_QUOTE_FIELDS = (("bid_price", "bid_size", "ask_price", "ask_size"), ("venue_id",))
_DELTA_FIELDS = (("price", "size"), ("venue_id", "side"))
_SYMBOL_SLOTS = 4_096  # open hash of a batch's symbols; a batch has at most half as many


@dataclass(slots=True)
class TickBatch:
    """One record: some events of one venue, session and shard.

    first_seq, last_seq: of its events; an empty batch (a heartbeat) carries the last seq its
    producer had passed in both. watermark: ns; no later event of the venue is older.
    """

    shard: int
    first_seq: int
    last_seq: int
    watermark: int
    block: EventBlock

    @property
    def venue(self) -> str:
        return self.block.venue

    @property
    def session(self) -> str:
        return self.block.session


def encode(batch: TickBatch) -> bytes:
    """A batch as Avro binary. ``block.symbols`` may hold more names than the batch uses."""
    block = batch.block
    parts = [pack_header(batch)]
    table = symbol_bytes(block.symbols)
    parts.append(_encode_kind(block.trades, table, ("price", "size"), ("venue_id", "side", "condition")))
    parts.append(
        _encode_kind(block.quotes, table, ("bid_price", "bid_size", "ask_price", "ask_size"), ("venue_id",))
    )
    parts.append(_encode_kind(block.deltas, table, ("price", "size"), ("venue_id", "side")))
    parts.append(_encode_rare(block.statuses, block.symbols, ("status", "reason")))
    parts.append(_encode_rare(block.gaps, block.symbols, ("first_missing", "last_missing", "reason")))
    return b"".join(parts)


def decode(raw: bytes, symbols: SymbolTable | None = None) -> TickBatch:
    """One record back as a batch. ``symbols`` is extended and used where it is given.

    Raises
    ------
    CodecError
        Truncated, trailing bytes, or not of this schema.
    """
    table = SymbolTable() if symbols is None else symbols
    data = np.frombuffer(raw, dtype=np.uint8)
    try:
        batch, pos = read_header(data, table)
        trades, pos = read_events(data, pos, table, TRADE_DTYPE, *_TRADE_FIELDS)
        quotes, pos = read_events(data, pos, table, QUOTE_DTYPE, *_QUOTE_FIELDS)
        deltas, pos = read_events(data, pos, table, DELTA_DTYPE, *_DELTA_FIELDS)
        statuses, pos = _decode_rare(data, pos, table, STATUS_DTYPE, ("status", "reason"))
        gaps, pos = _decode_rare(data, pos, table, GAP_DTYPE, ("first_missing", "last_missing", "reason"))
    except UnicodeDecodeError as error:
        raise CodecError(f"a text in the record is not UTF-8 ({error}); is this a ticks topic?") from None
    if pos != data.size:
        raise CodecError(f"{data.size - pos} bytes behind the batch; was it written by another version?")
    batch.block = EventBlock(batch.venue, batch.session, table, trades, quotes, deltas, statuses, gaps)
    return batch


class EventColumns:
    """Events of one kind, a contiguous array a field. Prices and sizes are doubles; NaN: no price."""

    __slots__ = ("_columns",)

    def __init__(self, columns: dict[str, NDArray[Any]]) -> None:
        self._columns = columns

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    def __len__(self) -> int:
        return len(self._columns["seq"]) if self._columns else 0


@dataclass(slots=True)
class ColumnBlock:
    """What a block has for rules, as it came over the wire: no price is turned into nanos and back."""

    venue: str
    session: str
    symbols: SymbolTable
    trades: EventColumns
    quotes: EventColumns
    statuses: Records
    gaps: Records


@dataclass(slots=True)
class ColumnBatch:
    """A :class:`TickBatch` as far as a rule needs it."""

    shard: int
    watermark: int
    block: ColumnBlock


def decode_columns(raw: bytes, symbols: SymbolTable) -> ColumnBatch:
    """As :func:`decode`, for readers that compute with doubles; ``symbols`` is extended and used.

    Raises
    ------
    CodecError
        Truncated, trailing bytes, or not of this schema.
    """
    data = np.frombuffer(raw, dtype=np.uint8)
    try:
        batch, pos = read_header(data, symbols)
        trades, pos = _read_columns(data, pos, symbols, *_TRADE_FIELDS)
        quotes, pos = _read_columns(data, pos, symbols, *_QUOTE_FIELDS)
        _, pos = _read_columns(data, pos, symbols, *_DELTA_FIELDS)
        statuses, pos = _decode_rare(data, pos, symbols, STATUS_DTYPE, ("status", "reason"))
        gaps, pos = _decode_rare(data, pos, symbols, GAP_DTYPE, ("first_missing", "last_missing", "reason"))
    except UnicodeDecodeError as error:
        raise CodecError(f"a text in the record is not UTF-8 ({error}); is this a ticks topic?") from None
    if pos != data.size:
        raise CodecError(f"{data.size - pos} bytes behind the batch; was it written by another version?")
    block = ColumnBlock(batch.venue, batch.session, symbols, trades, quotes, statuses, gaps)
    return ColumnBatch(batch.shard, batch.watermark, block)


def pack_header(batch: TickBatch) -> bytes:
    """What comes before the arrays: :data:`HEADER_FIELDS`."""
    numbers = (batch.shard, batch.first_seq, batch.last_seq, batch.watermark)
    return _string(batch.venue) + _string(batch.session) + b"".join(map(_varint, numbers))


def read_header(data: NDArray[np.uint8], symbols: SymbolTable) -> tuple[TickBatch, int]:
    """A batch without its events, and the position behind its header."""
    venue, pos = _read_string(data, 0)
    session, pos = _read_string(data, pos)
    shard, pos = _read_long(data, pos)
    first_seq, pos = _read_long(data, pos)
    last_seq, pos = _read_long(data, pos)
    watermark, pos = _read_long(data, pos)
    return TickBatch(shard, first_seq, last_seq, watermark, EventBlock(venue, session, symbols)), pos


class SymbolBytes:
    """Names as one byte array with offsets, which a kernel can read; each with its length prefix."""

    def __init__(self, symbols: SymbolTable) -> None:
        texts = [_string(name) for name in symbols.names]
        self.bytes = np.frombuffer(b"".join(texts), dtype=np.uint8)
        self.offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in texts], out=self.offsets[1:])
        self.length_max = max((len(text) for text in texts), default=1)


_KNOWN: weakref.WeakKeyDictionary[SymbolTable, SymbolBytes] = weakref.WeakKeyDictionary()


def symbol_bytes(symbols: SymbolTable) -> SymbolBytes:
    """A table's bytes, made again only when it has grown: batches of a few events are the rule live."""
    known = _KNOWN.get(symbols)
    if known is None or known.offsets.size != len(symbols) + 1:
        known = _KNOWN[symbols] = SymbolBytes(symbols)
    return known


def _encode_kind(
    records: Records, table: SymbolBytes, doubles: tuple[str, ...], longs: tuple[str, ...]
) -> bytes:
    count = len(records)
    if count == 0:
        return b"\x00"
    bits = np.empty((len(doubles), count), dtype=np.int64)
    for row, name in enumerate(doubles):
        nanos = records[name]
        prices.check_nanos(nanos)
        bits[row] = prices.to_double(nanos).view(np.int64)
    return pack_events(records, table, bits, longs)


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
            records[name] = prices.to_nanos(values) if exact else values
        chunks.append(records)
    if len(chunks) == 1:
        return chunks[0], pos
    return (np.concatenate(chunks) if chunks else np.empty(0, dtype=dtype)), pos


def _read_columns(
    data: NDArray[np.uint8], pos: int, table: SymbolTable, doubles: tuple[str, ...], longs: tuple[str, ...]
) -> tuple[EventColumns, int]:
    """As :func:`read_events`, a contiguous array a field; doubles stay doubles."""
    chunks: list[dict[str, NDArray[Any]]] = []
    while True:
        columns, pos = _chunk(data, pos, table, doubles, longs)
        if columns is None:
            break
        chunks.append(columns)
    if len(chunks) > 1:
        return EventColumns({name: np.concatenate([one[name] for one in chunks]) for name in chunks[0]}), pos
    return EventColumns(chunks[0] if chunks else {}), pos


def _chunk(
    data: NDArray[np.uint8], pos: int, table: SymbolTable, doubles: tuple[str, ...], longs: tuple[str, ...]
) -> tuple[dict[str, NDArray[Any]] | None, int]:
    """One block of an Avro array as columns, and the position behind it; None at the array's end."""
    count, pos = _read_long(data, pos)
    if count == 0:
        return None, pos
    if count < 0:  # a block may carry its length in bytes, so that a reader can skip it
        count = -count
        _, pos = _read_long(data, pos)
    if count > data.size:
        raise CodecError(f"an array of {count} events does not fit a record of {data.size} bytes")
    head = np.empty((4, count), dtype=np.int64)
    bits = np.empty((len(doubles), count), dtype=np.int64)
    tail = np.empty((len(longs), count), dtype=np.int64)
    spans = np.empty((_SYMBOL_SLOTS, 2), dtype=np.int64)
    uniques, pos = _decode_events(data, pos, head, bits, tail, spans)
    if pos < 0:
        raise CodecError("the record ends inside an event, or is of another schema")
    view = data.data
    names = [str(view[start:stop], "utf-8") for start, stop in spans[:uniques].tolist()]
    local = np.array([table.index(name) for name in names], dtype=np.int32)
    columns: dict[str, NDArray[Any]] = {"symbol": local[head[0]]}
    columns.update(zip(("ts_event", "ts_recv", "seq"), head[1:], strict=True))
    columns.update(zip(doubles, bits.view(np.float64), strict=True))
    columns.update(zip(longs, tail, strict=True))
    return columns, pos


@njit(cache=True, nogil=True)
def _decode_events(data, pos, head, bits, tail, spans):  # type: ignore[no-untyped-def]
    slots = np.full(_SYMBOL_SLOTS, -1, dtype=np.int32)
    uniques = 0
    for i in range(head.shape[1]):
        length, pos = get_long(data, pos)
        if pos < 0 or length < 0 or pos + length > data.size:
            return uniques, -1
        code = np.uint32(2166136261)  # FNV-1a
        for j in range(pos, pos + length):
            code = (code ^ np.uint32(data[j])) * np.uint32(16777619)
        slot = np.int64(code) % _SYMBOL_SLOTS
        while slots[slot] >= 0:
            start = spans[slots[slot], 0]
            same = spans[slots[slot], 1] - start == length
            for j in range(length):
                if not same:
                    break
                same = data[start + j] == data[pos + j]
            if same:
                break
            slot = (slot + 1) % _SYMBOL_SLOTS
        if slots[slot] < 0:
            if uniques >= _SYMBOL_SLOTS // 2:
                return uniques, -1
            slots[slot] = uniques
            spans[uniques, 0] = pos
            spans[uniques, 1] = pos + length
            uniques += 1
        head[0, i] = slots[slot]
        pos += length
        for k in range(1, 4):
            head[k, i], pos = get_long(data, pos)
            if pos < 0:
                return uniques, -1
        for k in range(bits.shape[0]):
            bits[k, i], pos = get_bits(data, pos)
            if pos < 0:
                return uniques, -1
        for k in range(tail.shape[0]):
            tail[k, i], pos = get_long(data, pos)
            if pos < 0:
                return uniques, -1
    return uniques, pos


def _encode_rare(records: Records, symbols: SymbolTable, tail: tuple[str, ...]) -> bytes:
    """Statuses and gaps: a handful a day, so plain Python."""
    if len(records) == 0:
        return b"\x00"
    parts = [_varint(len(records))]
    for record in records:
        parts.append(_string(symbols.names[record["symbol"]]))
        parts.extend(_varint(int(record[name])) for name in ("ts_event", "ts_recv", "seq"))
        for name in tail:
            value = record[name]
            parts.append(_string(value.decode()) if isinstance(value, bytes) else _varint(int(value)))
    parts.append(b"\x00")
    return b"".join(parts)


def _decode_rare(
    data: NDArray[np.uint8], pos: int, table: SymbolTable, dtype: np.dtype[np.void], tail: tuple[str, ...]
) -> tuple[Records, int]:
    rows: list[tuple[Any, ...]] = []
    while True:
        count, pos = _read_long(data, pos)
        if count == 0:
            return np.array(rows, dtype=dtype) if rows else np.empty(0, dtype=dtype), pos
        if count < 0:
            count = -count
            _, pos = _read_long(data, pos)
        for _ in range(count):
            symbol, pos = _read_string(data, pos)
            ts_event, pos = _read_long(data, pos)
            ts_recv, pos = _read_long(data, pos)
            seq, pos = _read_long(data, pos)
            row: list[Any] = [ts_event, ts_recv, seq, table.index(symbol)]
            for name in tail:
                value: Any
                if dtype[name].kind == "S":
                    text, pos = _read_string(data, pos)
                    value = text.encode()
                else:
                    value, pos = _read_long(data, pos)
                row.append(value)
            rows.append(tuple(row))


def _varint(value: int) -> bytes:
    left = ((value << 1) ^ (value >> 63)) & 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while left >= 0x80:
        out.append((left & 0x7F) | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _string(text: str) -> bytes:
    raw = text.encode()
    return _varint(len(raw)) + raw


def _read_long(data: NDArray[np.uint8], pos: int) -> tuple[int, int]:
    value, after = get_long(data, pos)
    if after < 0:
        raise CodecError("the record ends inside a number; was it cut off?")
    return int(value), int(after)


def _read_string(data: NDArray[np.uint8], pos: int) -> tuple[str, int]:
    length, pos = _read_long(data, pos)
    if length < 0 or pos + length > data.size:
        raise CodecError("the record ends inside a text; was it cut off?")
    return bytes(data[pos : pos + length]).decode(), pos + length
