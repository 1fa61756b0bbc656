"""Bars of one second and one minute, against arithmetic on paper."""

from __future__ import annotations

import numpy as np
import pytest

from storage import QuestDbReader, QuestDbSink, wait_applied
from tickloom.events import TRADE_DTYPE, Condition, EventBlock, SymbolTable
from tickloom.settings import QuestDbSettings

NANOS = 1_000_000_000
START_NS = 1_795_180_500_000_000_000  # 2026-11-20T13:15:00Z

# ms after START, seq, symbol, price, size, condition
TAPE = [
    (0, 1, 1, 100.0, 10, Condition.REGULAR),
    (400, 2, 1, 101.0, 30, Condition.HIDDEN),
    (400, 3, 1, 99.0, 20, Condition.REGULAR),  # of the same ms: it is the close, being the later message
    (999, 4, 2, 7.5, 1, Condition.CROSS),
    (999, 5, 2, 0.0, 0, Condition.CROSS),  # a cross in which nothing was executed
    (1_000, 6, 1, 98.0, 5, Condition.REGULAR),
    (1_500, 7, 1, 500.0, 5, Condition.BROKEN),  # reports a trade taken back
    (60_000, 8, 1, 102.0, 1, Condition.REGULAR),
]


@pytest.fixture
def tape(tables: QuestDbSettings, venue: str) -> str:
    """The tape written as one session of ``venue``."""
    trades = np.zeros(len(TAPE), dtype=TRADE_DTYPE)
    for row, (at_ms, seq, symbol, price, size, condition) in zip(trades, TAPE, strict=True):
        row["ts_event"] = START_NS + at_ms * 1_000_000
        row["seq"], row["symbol"], row["condition"] = seq, symbol, condition
        row["price"], row["size"] = round(price * NANOS), size * NANOS
    for _ in range(2):  # twice, since a repeated load must not count twice
        sink = QuestDbSink(tables, rewrite=True)
        sink.write(EventBlock(venue, "S", SymbolTable(["ALFA", "BETA"]), trades=trades), 0, 0)
        sink.close()
    wait_applied(tables, ["trades", "bars_1s", "bars_1m"])
    return venue


def bars(reader: QuestDbReader, view: str, venue: str) -> list[tuple[object, ...]]:
    """(symbol, ms after START, open, high, low, close, volume, trades, vwap)."""
    table = reader.query(
        "SELECT ts, symbol, open, high, low, close, volume, trades, vwap "
        f"FROM {view} WHERE venue = %s ORDER BY symbol, ts",
        [venue],
    )
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return [(symbol, (ts.value - START_NS) // 1_000_000, *rest) for ts, symbol, *rest in rows]


def test_bars_of_one_second(reader: QuestDbReader, tape: str) -> None:
    """Open and close go by seq inside a millisecond; broken trades and empty crosses are left out."""
    assert bars(reader, "bars_1s", tape) == [
        # (10 x 100 + 30 x 101 + 20 x 99) / 60
        ("ALFA", 0, 100.0, 101.0, 99.0, 99.0, 60.0, 3, pytest.approx(100.166_666_666_67)),
        ("ALFA", 1_000, 98.0, 98.0, 98.0, 98.0, 5.0, 1, 98.0),
        ("ALFA", 60_000, 102.0, 102.0, 102.0, 102.0, 1.0, 1, 102.0),
        ("BETA", 0, 7.5, 7.5, 7.5, 7.5, 1.0, 1, 7.5),
    ]


def test_bars_of_one_minute(reader: QuestDbReader, tape: str) -> None:
    """A minute is the same trades in larger bins."""
    assert bars(reader, "bars_1m", tape) == [
        # (6,010 + 5 x 98) / 65
        ("ALFA", 0, 100.0, 101.0, 98.0, 98.0, 65.0, 4, 100.0),
        ("ALFA", 60_000, 102.0, 102.0, 102.0, 102.0, 1.0, 1, 102.0),
        ("BETA", 0, 7.5, 7.5, 7.5, 7.5, 1.0, 1, 7.5),
    ]


def test_late_trade_changes_its_bar(tables: QuestDbSettings, reader: QuestDbReader, tape: str) -> None:
    """A trade of another session that comes later, but belongs before, is in the bar of its time."""
    trades = np.zeros(1, dtype=TRADE_DTYPE)
    trades["ts_event"], trades["seq"], trades["symbol"] = START_NS + 1_700_000_000, 9, 1
    trades["price"], trades["size"] = 200 * NANOS, 15 * NANOS
    sink = QuestDbSink(tables)
    sink.write(EventBlock(tape, "LATE", SymbolTable(["ALFA"]), trades=trades), 0, 0)
    sink.close()
    wait_applied(tables, ["bars_1s"])
    # (5 x 98 + 15 x 200) / 20
    assert bars(reader, "bars_1s", tape)[1] == ("ALFA", 1_000, 98.0, 200.0, 98.0, 200.0, 20.0, 2, 174.5)
