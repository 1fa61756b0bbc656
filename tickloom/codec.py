"""Tick batches on the wire: an EventBlock to one Kafka record and back.

A record is Avro binary (Avro 1.12, "Binary encoding"), no container and no registry, in the schema
:data:`SCHEMA`: what Flink's ``avro`` format reads from the table in ``streaming``. Prices travel as
doubles (see :mod:`tickloom.prices`). The Numba path is held equal to ``fastavro`` by the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from tickloom.wire import (
    EventColumns,
    SymbolBytes,
    checked_doubles,
    pack_events,
    pack_longs,
    pack_rare,
    pack_string,
    read_columns,
    read_events,
    read_long,
    read_rare,
    read_string,
    symbol_bytes,
)

_LONG, _INT, _DOUBLE, _STRING = "long", "int", "double", "string"
_NONE: frozenset[str] = frozenset()
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
    parts.append(pack_rare(block.statuses, block.symbols, ("status", "reason")))
    parts.append(pack_rare(block.gaps, block.symbols, ("first_missing", "last_missing", "reason")))
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
        statuses, pos = read_rare(data, pos, table, STATUS_DTYPE, ("status", "reason"))
        gaps, pos = read_rare(data, pos, table, GAP_DTYPE, ("first_missing", "last_missing", "reason"))
    except UnicodeDecodeError as error:
        raise CodecError(f"a text in the record is not UTF-8 ({error}); is this a ticks topic?") from None
    if pos != data.size:
        raise CodecError(f"{data.size - pos} bytes behind the batch; was it written by another version?")
    batch.block = EventBlock(batch.venue, batch.session, table, trades, quotes, deltas, statuses, gaps)
    return batch


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


def decode_columns(
    raw: bytes, symbols: SymbolTable, wanted: Mapping[str, Set[str]] | None = None
) -> ColumnBatch:
    """As :func:`decode`, for readers that compute with doubles; ``symbols`` is extended and used.

    Parameters
    ----------
    wanted : mapping
        Fields to keep of trades and of quotes, besides symbol, ts_event and seq. None: all of both.

    Raises
    ------
    CodecError
        Truncated, trailing bytes, or not of this schema.
    """

    def fields(kind: str) -> Set[str] | None:
        return None if wanted is None else wanted.get(kind, _NONE)

    data = np.frombuffer(raw, dtype=np.uint8)
    try:
        batch, pos = read_header(data, symbols)
        trades, pos = read_columns(data, pos, symbols, *_TRADE_FIELDS, fields("trades"))
        quotes, pos = read_columns(data, pos, symbols, *_QUOTE_FIELDS, fields("quotes"))
        _, pos = read_columns(data, pos, symbols, *_DELTA_FIELDS, _NONE)
        statuses, pos = read_rare(data, pos, symbols, STATUS_DTYPE, ("status", "reason"))
        gaps, pos = read_rare(data, pos, symbols, GAP_DTYPE, ("first_missing", "last_missing", "reason"))
    except UnicodeDecodeError as error:
        raise CodecError(f"a text in the record is not UTF-8 ({error}); is this a ticks topic?") from None
    if pos != data.size:
        raise CodecError(f"{data.size - pos} bytes behind the batch; was it written by another version?")
    block = ColumnBlock(batch.venue, batch.session, symbols, trades, quotes, statuses, gaps)
    return ColumnBatch(batch.shard, batch.watermark, block)


def pack_header(batch: TickBatch) -> bytes:
    """What comes before the arrays: :data:`HEADER_FIELDS`."""
    numbers = (batch.shard, batch.first_seq, batch.last_seq, batch.watermark)
    return pack_string(batch.venue) + pack_string(batch.session) + pack_longs(*numbers)


def read_header(data: NDArray[np.uint8], symbols: SymbolTable) -> tuple[TickBatch, int]:
    """A batch without its events, and the position behind its header."""
    venue, pos = read_string(data, 0)
    session, pos = read_string(data, pos)
    shard, pos = read_long(data, pos)
    first_seq, pos = read_long(data, pos)
    last_seq, pos = read_long(data, pos)
    watermark, pos = read_long(data, pos)
    return TickBatch(shard, first_seq, last_seq, watermark, EventBlock(venue, session, symbols)), pos


def _encode_kind(
    records: Records, table: SymbolBytes, doubles: tuple[str, ...], longs: tuple[str, ...]
) -> bytes:
    count = len(records)
    if count == 0:
        return b"\x00"
    values = np.empty((len(doubles), count))
    for row, name in enumerate(doubles):
        checked_doubles(records[name], values[row])
    return pack_events(records, table, values.view(np.int64), longs)
