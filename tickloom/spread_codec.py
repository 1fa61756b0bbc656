"""Spread batches on the wire: a block of spreads to one Kafka record and back.

A record has the header of a tick batch (:mod:`tickloom.codec`), with the same meaning, and one array:
so Flink SQL, the compiled matcher and an ingester's restart logic read both alike. ``shard`` goes by the
pair's name. The Numba path is held equal to ``fastavro`` by the tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tickloom.codec import EVENT_FIELDS, TickBatch, avro_schema, pack_header, read_header
from tickloom.errors import CodecError
from tickloom.events import SPREAD_DTYPE, EventBlock, SymbolTable
from tickloom.wire import pack_events, read_events, symbol_bytes

_DOUBLES = ("spread", "z", "z_rolling", "mid_a", "mid_b")
_LONGS = ("age_ns", "calibration", "state")

#: The one array of a record, in wire order, as :data:`tickloom.codec.EVENT_FIELDS`.
SPREAD_FIELDS: dict[str, list[tuple[str, str]]] = {
    "spreads": [
        *EVENT_FIELDS["trades"][:4],  # symbol, ts_event, ts_recv, seq
        *((name, "double") for name in _DOUBLES),
        ("age_ns", "long"),
        ("calibration", "long"),
        ("state", "int"),
    ]
}
#: The Avro schema of a batch of spreads.
SCHEMA: dict[str, Any] = avro_schema("SpreadBatch", SPREAD_FIELDS)


def encode(batch: TickBatch) -> bytes:
    """A batch as Avro binary; of its block, ``spreads`` travel."""
    records = batch.block.spreads
    if not len(records):
        return pack_header(batch) + b"\x00"
    bits = np.empty((len(_DOUBLES), len(records)), dtype=np.int64)
    for row, name in enumerate(_DOUBLES):
        bits[row] = np.ascontiguousarray(records[name]).view(np.int64)
    return pack_header(batch) + pack_events(records, symbol_bytes(batch.block.symbols), bits, _LONGS)


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
        spreads, pos = read_events(data, pos, table, SPREAD_DTYPE, _DOUBLES, _LONGS)
    except UnicodeDecodeError as error:
        raise CodecError(f"a text in the record is not UTF-8 ({error}); is this a spreads topic?") from None
    if pos != data.size:
        raise CodecError(f"{data.size - pos} bytes behind the batch; was it written by another version?")
    batch.block = EventBlock(batch.venue, batch.session, table, spreads=spreads)
    return batch
