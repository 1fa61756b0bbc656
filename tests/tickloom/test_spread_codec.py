"""Batches of spreads on the wire against fastavro, which knows nothing of our codec."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom.codec import TickBatch
from tickloom.errors import CodecError
from tickloom.events import SPREAD_DTYPE, EventBlock, Records, SymbolTable
from tickloom.spread_codec import SCHEMA, SPREAD_FIELDS, decode, encode

LONGS = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats(width=64)


def _value(name: str, dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    if name == "symbol":
        return st.integers(0, 3)
    if dtype.kind == "f":
        return DOUBLES
    return st.integers(-128, 127) if dtype.itemsize == 1 else LONGS


def _records() -> st.SearchStrategy[Records]:
    assert SPREAD_DTYPE.names is not None
    row = st.tuples(*(_value(name, SPREAD_DTYPE[name]) for name in SPREAD_DTYPE.names))
    return st.lists(row, max_size=8).map(lambda rows: np.array(rows, dtype=SPREAD_DTYPE))


@st.composite
def batches(draw: st.DrawFn) -> TickBatch:
    symbols = SymbolTable(["ALFA~BRVO", "BTC-USDT~ETH-USDT", "Ünicode"])
    block = EventBlock(draw(st.text(max_size=5)), draw(st.text(max_size=12)), symbols)
    block.spreads = draw(_records())
    return TickBatch(draw(st.integers(0, 255)), draw(LONGS), draw(LONGS), draw(LONGS), block)


def _as_fastavro(batch: TickBatch) -> dict[str, Any]:
    names = [name for name, _ in SPREAD_FIELDS["spreads"]]
    return {
        **{name: getattr(batch, name) for name in ("venue", "session", "shard", "first_seq", "last_seq")},
        "watermark": batch.watermark,
        "spreads": [
            {
                name: batch.block.symbols.names[row["symbol"]] if name == "symbol" else row[name].item()
                for name in names
            }
            for row in batch.block.spreads
        ],
    }


@settings(max_examples=100, deadline=None)
@given(batches())
def test_bytes_are_those_of_fastavro(batch: TickBatch) -> None:
    """The Numba encoder writes, byte for byte, what fastavro writes for the same spreads and schema."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, _as_fastavro(batch))
    assert encode(batch) == out.getvalue()


@settings(max_examples=100, deadline=None)
@given(batches())
def test_decode_returns_the_same_spreads(batch: TickBatch) -> None:
    """A batch comes back with every field equal to the last bit; spreads are no nanos and are not rounded."""
    back = decode(encode(batch))
    assert _as_fastavro(back).keys() == _as_fastavro(batch).keys()
    for name in ("shard", "first_seq", "last_seq", "watermark", "venue", "session"):
        assert getattr(back, name) == getattr(batch, name)
    names = [back.block.symbols.names[index] for index in back.block.spreads["symbol"]]
    assert names == [batch.block.symbols.names[index] for index in batch.block.spreads["symbol"]]
    for field in SPREAD_DTYPE.names or ():
        if field != "symbol":
            assert back.block.spreads[field].tobytes() == batch.block.spreads[field].tobytes(), field


def test_truncated_or_foreign_record_is_refused() -> None:
    """A record that was cut off, goes on, or is a batch of ticks is no batch of spreads."""
    block = EventBlock("XNAS", "20261121", SymbolTable(["ALFA~BRVO"]))
    block.spreads = np.zeros(2, dtype=SPREAD_DTYPE)
    raw = encode(TickBatch(1, 2, 3, 4, block))
    for wrong in (raw[:-1], raw[:20], raw + b"\x00", raw + b"\x00" * 4):
        with pytest.raises(CodecError):
            decode(wrong)
