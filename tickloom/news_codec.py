"""News on the wire: stories to one Kafka record and back.

A record has the header of a tick batch (:mod:`tickloom.codec`), with the same meaning, and one array: so
Flink SQL and an ingester's restart logic read both alike. ``shard`` goes by the instrument's symbol. Stories
are few, so this is plain Python; the tests hold it equal to ``fastavro``.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tickloom.codec import EVENT_FIELDS, TickBatch, avro_schema, pack_header, read_header
from tickloom.errors import CodecError
from tickloom.events import NEWS_DTYPE, NewsBlock, Records, SymbolTable, empty
from tickloom.wire import pack_long, pack_string, read_long, read_string

_TEXTS = ("venue", "source", "story", "headline", "link", "model")
_LONGS = ("published", "words")
_DOUBLE = struct.Struct("<d")

#: The one array of a record, in wire order, as :data:`tickloom.codec.EVENT_FIELDS`.
NEWS_FIELDS: dict[str, list[tuple[str, str]]] = {
    "news": [
        *EVENT_FIELDS["trades"][:4],  # symbol, ts_event, ts_recv, seq
        *((name, "string") for name in _TEXTS),
        *((name, "long") for name in _LONGS),
        ("score", "double"),
    ]
}
#: The Avro schema of a batch of news.
SCHEMA: dict[str, Any] = avro_schema("NewsBatch", NEWS_FIELDS)


def encode(batch: TickBatch) -> bytes:
    """A batch as Avro binary; of its block, ``news`` travels."""
    return pack_header(batch) + _pack(batch.block.news, batch.block.symbols)


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
        news, pos = _read(data, pos, table)
    except UnicodeDecodeError as error:
        raise CodecError(f"a text in the record is not UTF-8 ({error}); is this a news topic?") from None
    if pos != data.size:
        raise CodecError(f"{data.size - pos} bytes behind the batch; was it written by another version?")
    batch.block = NewsBlock(batch.venue, batch.session, table, news=news)
    return batch


def _pack(records: Records, symbols: SymbolTable) -> bytes:
    if not len(records):
        return b"\x00"
    parts = [pack_long(len(records))]
    for record in records:
        parts.append(pack_string(symbols.names[record["symbol"]]))
        parts.extend(pack_long(int(record[name])) for name in ("ts_event", "ts_recv", "seq"))
        for name in _TEXTS:
            text: bytes = record[name]
            parts.extend((pack_long(len(text)), text))
        parts.extend(pack_long(int(record[name])) for name in _LONGS)
        parts.append(_DOUBLE.pack(record["score"]))
    parts.append(b"\x00")
    return b"".join(parts)


def _read(data: NDArray[np.uint8], pos: int, table: SymbolTable) -> tuple[Records, int]:
    rows: list[tuple[Any, ...]] = []
    while True:
        count, pos = read_long(data, pos)
        if count == 0:
            return np.array(rows, dtype=NEWS_DTYPE) if rows else empty(NEWS_DTYPE), pos
        if count < 0:
            count = -count
            _, pos = read_long(data, pos)
        for _ in range(count):
            symbol, pos = read_string(data, pos)
            head, pos = _read_longs(data, pos, 3)
            texts = []
            for _ in _TEXTS:
                text, pos = read_string(data, pos)
                texts.append(text.encode())
            longs, pos = _read_longs(data, pos, len(_LONGS))
            if pos + _DOUBLE.size > data.size:
                raise CodecError("the record ends inside a score; was it cut off?")
            (score,) = _DOUBLE.unpack(data[pos : pos + _DOUBLE.size].tobytes())
            pos += _DOUBLE.size
            rows.append((*head, table.index(symbol), *texts, *longs, score))


def _read_longs(data: NDArray[np.uint8], pos: int, count: int) -> tuple[list[int], int]:
    found = []
    for _ in range(count):
        value, pos = read_long(data, pos)
        found.append(value)
    return found, pos
