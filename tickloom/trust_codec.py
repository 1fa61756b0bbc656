"""Changes of trust on the wire: one Kafka record each, keyed by its symbol, on a compacted topic.

So the topic, read from its beginning, is the state of every instrument, however long ago it last changed. A
record has the header of a tick batch (:mod:`tickloom.codec`), with the same meaning, and one array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tickloom.codec import EVENT_FIELDS, TickBatch, avro_schema, pack_header, read_header
from tickloom.errors import CodecError
from tickloom.events import TRUST_DTYPE, EventBlock, SymbolTable
from tickloom.wire import pack_rare, read_rare

_FIELDS = ("first_missing", "last_missing", "at_seq", "state", "reason")

#: The one array of a record, in wire order, as :data:`tickloom.codec.EVENT_FIELDS`.
TRUST_FIELDS: dict[str, list[tuple[str, str]]] = {
    "trust": [
        *EVENT_FIELDS["trades"][:4],  # symbol, ts_event, ts_recv, seq
        ("first_missing", "long"),
        ("last_missing", "long"),
        ("at_seq", "long"),
        ("state", "int"),
        ("reason", "int"),
    ]
}
#: The Avro schema of a record.
SCHEMA: dict[str, Any] = avro_schema("TrustBatch", TRUST_FIELDS)


def encode(batch: TickBatch) -> bytes:
    """A batch as Avro binary; of its block, ``trust`` travels."""
    return pack_header(batch) + pack_rare(batch.block.trust, batch.block.symbols, _FIELDS)


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
        trust, pos = read_rare(data, pos, table, TRUST_DTYPE, _FIELDS)
    except UnicodeDecodeError as error:
        raise CodecError(f"a text in the record is not UTF-8 ({error}); is this a trust topic?") from None
    if pos != data.size:
        raise CodecError(f"{data.size - pos} bytes behind the batch; was it written by another version?")
    batch.block = EventBlock(batch.venue, batch.session, table, trust=trust)
    return batch
