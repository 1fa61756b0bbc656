"""Changes of trust on the wire against fastavro, which knows nothing of our codec."""

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
from tickloom.events import TRUST_DTYPE, EventBlock, SymbolTable, TrustReason, TrustState
from tickloom.trust_codec import SCHEMA, TRUST_FIELDS, decode, encode

LONGS = st.integers(-(2**63), 2**63 - 1)
ROWS = st.tuples(
    LONGS, LONGS, LONGS, st.integers(0, 3), LONGS, LONGS, LONGS,
    st.sampled_from(TrustState), st.sampled_from(TrustReason),
)  # fmt: skip


@st.composite
def batches(draw: st.DrawFn) -> TickBatch:
    symbols = SymbolTable(["ALFA", "BTC-USDT", "Ünicode"])
    block = EventBlock(draw(st.text(max_size=5)), draw(st.text(max_size=12)), symbols)
    block.trust = np.array(draw(st.lists(ROWS, max_size=4)), dtype=TRUST_DTYPE)
    return TickBatch(draw(st.integers(0, 255)), draw(LONGS), draw(LONGS), draw(LONGS), block)


def as_fastavro(batch: TickBatch) -> dict[str, Any]:
    names = batch.block.symbols.names
    return {
        **{name: getattr(batch, name) for name in ("venue", "session", "shard", "first_seq", "last_seq")},
        "watermark": batch.watermark,
        "trust": [
            {
                name: names[row["symbol"]] if name == "symbol" else row[name].item()
                for name, _ in TRUST_FIELDS["trust"]
            }
            for row in batch.block.trust
        ],
    }


@settings(max_examples=100, deadline=None)
@given(batches())
def test_bytes_are_those_of_fastavro_and_come_back(batch: TickBatch) -> None:
    """Byte for byte what fastavro writes for the same changes and schema; and each field back as it was."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, as_fastavro(batch))
    assert encode(batch) == out.getvalue()
    assert as_fastavro(decode(encode(batch))) == as_fastavro(batch)


@settings(max_examples=50, deadline=None)
@given(batches(), st.data())
def test_what_is_no_batch_is_refused(batch: TickBatch, drawn: st.DataObject) -> None:
    """A record that is cut off, or has more behind it."""
    raw = encode(batch)
    with pytest.raises(CodecError):
        decode(raw[: drawn.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(CodecError):
        decode(raw + b"\x00")
