"""A quarter of an hour of trades in QuestDB, a trade a second of five stocks, of which two are a pair."""

from __future__ import annotations

from datetime import date

import numpy as np

from storage import QuestDbSink, schema, wait_applied
from tickloom.clock import NS_PER_S
from tickloom.events import TRADE_DTYPE, EventBlock, SymbolTable, make_seq
from tickloom.settings import QuestDbSettings

DAY = date(2025, 3, 10)
OPEN_NS = 1_741_613_400 * NS_PER_S  # 2025-03-10T13:30:00Z
SECONDS = 900
LEGS = ["ALFA", "BRVO", "ECHO", "FXTR", "GOLF"]
AR_COEFFICIENT = 0.9


def write_market(questdb: QuestDbSettings) -> None:
    """ALFA follows BRVO as the shipped set has it frozen, and the others nobody. Twice is once."""
    schema.apply(questdb)
    rng = np.random.default_rng(4)
    walks = {name: 100 + np.cumsum(rng.normal(0, 0.03, SECONDS)) for name in LEGS}
    spread = np.zeros(SECONDS)
    for at in range(1, SECONDS):
        spread[at] = AR_COEFFICIENT * spread[at - 1] + rng.normal(0, 0.03)
    walks["ALFA"] = 1.2 * walks["BRVO"] + 9.9 + spread
    trades = np.zeros(SECONDS * len(LEGS), dtype=TRADE_DTYPE)
    trades["ts_event"] = np.repeat(OPEN_NS + np.arange(SECONDS) * NS_PER_S, len(LEGS))
    trades["ts_recv"] = trades["ts_event"]
    trades["seq"] = make_seq(DAY, 1) + np.arange(len(trades))
    trades["symbol"] = np.tile(np.arange(1, len(LEGS) + 1), SECONDS)
    prices = np.stack([walks[name] for name in LEGS], axis=1).ravel()
    trades["price"] = np.rint(prices * 10_000).astype(np.int64) * 100_000
    trades["size"] = 100 * NS_PER_S
    sink = QuestDbSink(questdb, rewrite=True)
    sink.write(EventBlock("XNAS", "20250310.PAIRS", SymbolTable(LEGS), trades=trades), 0, 0)
    sink.close()
    wait_applied(questdb, ["trades", "bars_1s", "bars_1m"])
