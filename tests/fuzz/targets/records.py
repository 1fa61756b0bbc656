"""Records of Kafka topics: our codec's wire form."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.fuzz.mutation import BOUNDARIES
from tests.fuzz.target import Target
from tickloom import codec, spread_codec
from tickloom.codec import TickBatch
from tickloom.errors import CodecError, PriceRangeError
from tickloom.events import (
    DELTA_DTYPE,
    GAP_DTYPE,
    QUOTE_DTYPE,
    SPREAD_DTYPE,
    STATUS_DTYPE,
    TRADE_DTYPE,
    EventBlock,
    SymbolTable,
)
from tickloom.wire import pack_long

NAMES = ["ALFA", "BTC-USDT", "Ünicode", "A", "LONGER-THAN-EIGHT"]


def records(dtype: np.dtype[np.void], count: int, seed: int) -> np.ndarray[Any, np.dtype[np.void]]:
    """Events with every field set to something usual, extremes among them."""
    rng = random.Random(seed)
    rows = np.zeros(count, dtype=dtype)
    for row in rows:
        for name in dtype.names or ():
            kind = dtype[name]
            if name == "symbol":
                row[name] = rng.randrange(1, len(NAMES) + 1)
            elif kind.kind == "S":
                row[name] = rng.choice([b"", b"T1", b"LUDP"])
            elif kind.kind == "f":
                row[name] = rng.choice([0.0, 1.5, np.nan])
            elif kind.itemsize == 1:
                row[name] = rng.choice([0, 1, 2, -128])
            elif "price" in name or "size" in name:
                row[name] = rng.randrange(1, 10**6) * 10**7
            else:
                row[name] = rng.choice([0, 10**18 + rng.randrange(10**9), -1, 2**62])
    return rows


def varint(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """A number becomes one that ends, begins or overflows something."""
    at = int(rng.random() * len(frame))
    stop = at + 1
    while stop < len(frame) and frame[stop - 1] >= 0x80:
        stop += 1
    edge = rng.choice(BOUNDARIES)
    value = pack_long(edge - 2**64 if edge >= 2**63 else edge)
    return frame[:at] + value + frame[stop:]


class TickRecords(Target):
    """Batches of ticks, as the loader and the agent read them."""

    name = "wire"
    alone = True
    mutations = (varint,)

    def seeds(self) -> list[list[bytes]]:
        dtypes = (TRADE_DTYPE, QUOTE_DTYPE, DELTA_DTYPE, STATUS_DTYPE, GAP_DTYPE)
        tape = []
        for seed, count in enumerate((0, 1, 2, 5, 20)):
            block = EventBlock(
                "XNAS", "20261121.A", SymbolTable(NAMES), *(records(kind, count, seed) for kind in dtypes)
            )
            tape.append(codec.encode(TickBatch(3, 5, 2**60, 10**18, block)))
        return [tape]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for frame in frames:
            try:
                counts["events"] += self.read(frame)
                counts["read"] += 1
            except (CodecError, PriceRangeError):
                counts["refused"] += 1
        assert counts["read"] + counts["refused"] == len(frames)
        return counts

    def read(self, frame: bytes) -> int:
        batch = codec.decode(frame)
        for rows in batch.block.kinds().values():
            if len(rows):
                assert 0 <= rows["symbol"].min() <= rows["symbol"].max() < len(batch.block.symbols)
        return sum(len(rows) for rows in batch.block.kinds().values())


class TickColumns(TickRecords):
    """The same, as rules read them, with a table of symbols that goes on from record to record."""

    name = "wire_columns"

    def read(self, frame: bytes) -> int:
        symbols = SymbolTable(NAMES[:2])
        batch = codec.decode_columns(frame, symbols)
        some = codec.decode_columns(frame, symbols, {"trades": {"price"}, "quotes": {"bid_price", "ts_recv"}})
        assert len(some.block.trades) == len(batch.block.trades)
        if len(batch.block.quotes):
            assert np.array_equal(some.block.quotes["ts_recv"], batch.block.quotes["ts_recv"])
            assert batch.block.quotes["symbol"].max() < len(symbols)
        return len(batch.block.trades) + len(batch.block.quotes)


class SpreadRecords(TickRecords):
    """Batches of spreads."""

    name = "wire_spreads"

    def seeds(self) -> list[list[bytes]]:
        tape = []
        for seed, count in enumerate((0, 1, 2, 9)):
            block = EventBlock(
                "XNAS", "20261121.A", SymbolTable(NAMES), spreads=records(SPREAD_DTYPE, count, seed)
            )
            tape.append(spread_codec.encode(TickBatch(3, 5, 2**60, 10**18, block)))
        return [tape]

    def read(self, frame: bytes) -> int:
        return len(spread_codec.decode(frame).block.spreads)
