"""A QuestDB with the schema applied, and events to fill it with. Each test takes a venue of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import date

import numpy as np
import pytest

from storage import QuestDbReader, schema
from tickloom.events import (
    CONDITION_TEXTS,
    DELTA_DTYPE,
    GAP_DTYPE,
    GAP_TEXTS,
    QUOTE_DTYPE,
    SIDE_TEXTS,
    STATUS_DTYPE,
    STATUS_TEXTS,
    TRADE_DTYPE,
    EventBlock,
    Records,
    SymbolTable,
    make_seq,
)
from tickloom.prices import NO_PRICE
from tickloom.settings import QuestDbSettings

DAY = date(2026, 11, 20)
DAY_NS = 1_795_132_800_000_000_000  # 2026-11-20T00:00:00Z
_venues = itertools.count(1)


@pytest.fixture(scope="session")
def tables(questdb: QuestDbSettings) -> QuestDbSettings:
    """The server's settings, once it has all tables."""
    schema.apply(questdb)
    return questdb


@pytest.fixture
def venue() -> str:
    """A venue that no other test writes to."""
    return f"TEST{next(_venues)}"


@pytest.fixture
def reader(tables: QuestDbSettings) -> Iterator[QuestDbReader]:
    """A reader of the server's."""
    with QuestDbReader(tables) as reader:
        yield reader


def records_of(dtype: np.dtype[np.void], rng: np.random.Generator, count: int, symbols: int) -> Records:
    """Random records: ties in time, several rows a message, every code, prices to the last nano."""
    records = np.zeros(count, dtype=dtype)
    steps_ns = rng.choice([0, 0, 1, 999, 1_000_000, 60_000_000_000], count)
    records["ts_event"] = DAY_NS + np.cumsum(steps_ns)
    records["ts_recv"] = records["ts_event"] + rng.integers(0, 1_000_000, count)
    records["seq"] = make_seq(DAY, 1) + np.arange(count)
    records["symbol"] = rng.integers(1, symbols + 1, count)
    for name in dtype.names or ():
        if name.endswith("price"):
            records[name] = rng.integers(-4_194_304_000_000_000, 4_194_304_000_000_000, count)
        elif name.endswith("size"):
            records[name] = rng.integers(0, 1_000_000, count) * 1_000_000_000
        elif name in ("venue_id", "first_missing", "last_missing"):
            records[name] = rng.integers(-(2**62), 2**62, count)
    return records


def random_block(venue: str, session: str, seed: int, count: int = 200) -> EventBlock:
    """A block with ``count`` records of every kind."""
    rng = np.random.default_rng(seed)
    symbols = SymbolTable(["ALFA", "BTC-USDT", 'Ö\'x "y", z=1', "DELTA"])
    trades, quotes, deltas, statuses, gaps = (
        records_of(dtype, rng, count, 4)
        for dtype in (TRADE_DTYPE, QUOTE_DTYPE, DELTA_DTYPE, STATUS_DTYPE, GAP_DTYPE)
    )
    trades["side"] = rng.integers(0, len(SIDE_TEXTS), count)
    trades["condition"] = rng.integers(0, len(CONDITION_TEXTS), count)
    quotes["bid_price"][rng.random(count) < 0.2] = NO_PRICE
    quotes["ask_price"][rng.random(count) < 0.2] = NO_PRICE
    deltas["side"] = rng.integers(1, 3, count)
    deltas["seq"] = deltas["seq"][0] + np.arange(count) // 7  # seven levels a message
    deltas["ts_event"] = deltas["ts_event"][np.arange(count) // 7 * 7]
    deltas["price"] = np.arange(count) * 10_000_001  # distinct, as a level is
    statuses["status"] = rng.integers(0, len(STATUS_TEXTS), count)
    statuses["reason"] = rng.choice(np.array([b"", b"T1", b"LUDP", b"12345678"]), count)
    statuses["symbol"] = rng.integers(0, 5, count)
    gaps["reason"] = rng.integers(0, len(GAP_TEXTS), count)
    gaps["symbol"] = 0
    return EventBlock(venue, session, symbols, trades, quotes, deltas, statuses, gaps)


@pytest.fixture
def make_block() -> Callable[..., EventBlock]:
    """:func:`random_block`."""
    return random_block


def rows_of(blocks: list[EventBlock], kind: str) -> list[tuple[object, ...]]:
    """Records as plain tuples with the symbol's name, for comparison over different symbol tables."""
    rows: list[tuple[object, ...]] = []
    for block in blocks:
        records = block.kinds()[kind]
        names = [block.symbols.names[index] for index in records["symbol"]]
        fields = [name for name in records.dtype.names or () if name != "symbol"]
        rows += list(zip(names, *(records[name].tolist() for name in fields), strict=True))
    return rows


@pytest.fixture
def plain_rows() -> Callable[[list[EventBlock], str], list[tuple[object, ...]]]:
    """:func:`rows_of`."""
    return rows_of
