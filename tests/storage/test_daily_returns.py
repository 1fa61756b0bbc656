"""Daily returns of stored trades, over days on which not everything traded."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from storage import QuestDbReader, QuestDbSink, bars, wait_applied
from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.events import TRADE_DTYPE, EventBlock, SymbolTable, make_seq
from tickloom.prices import NANOS
from tickloom.settings import QuestDbSettings

FIRST = date(2024, 6, 3)
START_NS = int(datetime(2024, 6, 3, tzinfo=UTC).timestamp()) * NS_PER_S
#: (day, symbol, price) in the order of trading; BRVO did not trade on the third day.
TRADES = [
    (0, "ALFA", 90), (0, "ALFA", 100), (0, "BRVO", 50), (1, "ALFA", 110), (1, "BRVO", 40),
    (2, "ALFA", 99), (3, "ALFA", 99), (3, "BRVO", 60),
]  # fmt: skip


@pytest.fixture
def keys(tables: QuestDbSettings, venue: str) -> list[tuple[str, str]]:
    """The tape stored at a venue of its own, and what is asked for of it."""
    symbols = SymbolTable(["ALFA", "BRVO"])
    sink = QuestDbSink(tables, rewrite=True)
    for number, (day, symbol, price) in enumerate(TRADES):
        ts = START_NS + day * NS_PER_DAY + (14 * 3_600 + number) * NS_PER_S
        seq = make_seq(FIRST + timedelta(days=day), 1 + number)
        row = (ts, ts, seq, symbols.index(symbol), price * NANOS, NANOS, 0, 0, 0)
        block = EventBlock(venue, f"{FIRST + timedelta(days=day):%Y%m%d}.DAILY", symbols)
        block.trades = np.array([row], dtype=TRADE_DTYPE)
        sink.write(block, 0, 0)
    sink.close()
    wait_applied(tables, ["trades", "bars_1s", "bars_1m"])
    return [(venue, "BRVO"), (venue, "ALFA"), ("NONE", "BTC-USDT")]


def test_returns_are_from_one_traded_day_to_the_next(
    reader: QuestDbReader, keys: list[tuple[str, str]]
) -> None:
    """100 to 110 is 10 %, to 99 is -10 %; BRVO goes from 50 to 40 and two days later to 60; what never traded
    has a column of nothing, and columns are as they were asked for."""
    found = bars.read_daily_returns(reader, keys, START_NS, START_NS + 4 * NS_PER_DAY)
    assert list(found.columns) == keys
    expected = [[-0.2, 0.1, np.nan], [np.nan, -0.1, np.nan], [0.5, 0.0, np.nan]]
    assert found.to_numpy() == pytest.approx(np.array(expected), nan_ok=True)


def test_no_bars_no_returns(reader: QuestDbReader, keys: list[tuple[str, str]]) -> None:
    """An empty table with the columns that were asked for."""
    found = bars.read_daily_returns(reader, keys, 0, NS_PER_DAY)
    assert found.shape == (0, 3)
