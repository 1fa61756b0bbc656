"""News on the wire, against ``fastavro``, and records that are none."""

from __future__ import annotations

import io

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.codec import TickBatch
from tickloom.errors import CodecError
from tickloom.events import NEWS_DTYPE, NewsBlock, SymbolTable
from tickloom.news_codec import NEWS_FIELDS, SCHEMA, decode, encode

_LONGS = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
_ROWS = st.lists(
    st.tuples(
        *(_LONGS,) * 3,
        st.sampled_from(["", "ALFA", "BTC-USDT"]),
        *(_TEXT,) * 6,
        *(_LONGS,) * 2,
        st.floats(),
    ),
    max_size=5,
)


def batch(rows: list[tuple]) -> TickBatch:  # type: ignore[type-arg]
    symbols = SymbolTable()
    made = [
        (*row[:3], symbols.index(row[3]), *(cut_utf8(text, 16) for text in row[4:10]), *row[10:])
        for row in rows
    ]
    news = np.array(made, dtype=NEWS_DTYPE)
    return TickBatch(3, 5, 6, 7, NewsBlock("NEWS", "20261122", symbols, news=news))


def cut_utf8(text: str, bytes_max: int) -> bytes:
    return text.encode()[:bytes_max].decode("utf-8", "ignore").encode()


@settings(deadline=None)  # the first reading loads a kernel
@given(_ROWS)
def test_as_fastavro_reads_and_writes_it(rows: list[tuple]) -> None:  # type: ignore[type-arg]
    """The bytes are Avro's, both ways, and come back as the same records."""
    given_batch = batch(rows)
    raw = encode(given_batch)
    read = fastavro.schemaless_reader(io.BytesIO(raw), SCHEMA)
    records, symbols = given_batch.block.news, given_batch.block.symbols
    names = [name for name, _ in NEWS_FIELDS["news"]]
    assert len(read["news"]) == len(records)
    for found, record in zip(read["news"], records, strict=True):
        assert found["symbol"] == symbols.names[record["symbol"]]
        for name in names[1:]:
            value = record[name]
            expected = value.decode() if isinstance(value, bytes) else value
            assert found[name] == expected or (found[name] != found[name] and expected != expected)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, read)
    for each in (raw, out.getvalue()):
        back = decode(each)
        assert (back.venue, back.session, back.shard, back.watermark) == ("NEWS", "20261122", 3, 7)
        assert back.block.news.tobytes() == records.tobytes()


@settings(deadline=None)
@given(_ROWS, st.data())
def test_cut_or_lengthened_record_is_refused(rows: list[tuple], draw: st.DataObject) -> None:  # type: ignore[type-arg]
    """Anywhere: an error, and never half a batch."""
    raw = encode(batch(rows))
    with pytest.raises(CodecError):
        decode(raw[: draw.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(CodecError):
        decode(raw + b"\x00")
