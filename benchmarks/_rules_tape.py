"""Three rules and the tape they run over: what ``benchmarks/rules.py`` gives to every engine.

The tape is seeded: trades of 50 symbols over a session of 6.5 hours, prices a random walk in cents,
sizes of 1 to 500 shares. As in a real tape most trades print at the price of the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
from numba import njit

from streaming import rules
from streaming.rules import Rule
from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.events import TRADE_DTYPE, EventBlock, Records, SymbolTable, make_seq

VENUE = "BENCH"
SYMBOLS = 50
SESSION_S = 23_400
START_NS = 1_795_185_000_000_000_000  # 2026-11-20 14:30 UTC
DAY = date(2026, 11, 20)
SEED = 20_261_120
CENT = 10_000_000  # nanos
SHARE = 1_000_000_000  # nanos
P_UP = P_DOWN = 0.125  # of a trade to print a cent above, or below, the last one of its symbol
MESSAGES_MAX = 10**9  # of a day: where the next day's numbers begin

_RULE = """\
-- rule: {name}
-- version: 1
-- venue: BENCH
-- about: {about}

SELECT symbol, 'buy' AS side, strength, ref_price, first_seq, last_seq
FROM trades MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq
  MEASURES A.seq AS first_seq, {last}.seq AS last_seq, {last}.price - A.price AS strength,
    {last}.price AS ref_price
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  {pattern}
  DEFINE {define}
)
"""
RULES = {
    "ab": _RULE.format(
        name="ab",
        about="a trade of more than 490 shares, the next one dearer",
        last="B",
        pattern="PATTERN (A B)",
        define="A AS A.size > 490, B AS B.price > A.price",
    ),
    "acb": _RULE.format(
        name="acb",
        about="a trade more than two cents dearer than one of the six before, within 5 s",
        last="B",
        pattern="PATTERN (A C{0,5}? B) WITHIN INTERVAL '5' SECOND",
        define="B AS B.price > A.price + 2E-2",
    ),
    "abc": _RULE.format(
        name="abc",
        about="at least three rises in a row, then a fall, within 10 s",
        last="C",
        pattern="PATTERN (A B{3,} C) WITHIN INTERVAL '10' SECOND",
        define="B AS B.price > LAST(B.price, 1) OR LAST(B.price, 1) IS NULL AND B.price > A.price, "
        "C AS C.price < LAST(B.price)",
    ),
}


def load_rules(directory: Path) -> dict[str, Rule]:
    """The rules, written to ``directory`` and read from there."""
    found = {}
    for name, text in RULES.items():
        path = directory / f"{name}.sql"
        path.write_text(text)
        found[name] = rules.load(path)
    return found


def make_tape(trades: int, day: int = 0) -> Records:
    """The first ``trades`` trades of one of the tape's days, in order of time and seq.

    A day differs from the first only in its times and seqs, so it has the same matches inside.
    """
    rng = np.random.default_rng(SEED)
    tape = np.zeros(trades, dtype=TRADE_DTYPE)
    # exponential gaps at the rate of five million a session: a shorter tape is a shorter session
    gaps = rng.standard_exponential(trades) * (SESSION_S * NS_PER_S / 5_000_000)
    tape["ts_event"] = START_NS + day * NS_PER_DAY + np.cumsum(gaps.astype(np.int64))
    tape["ts_recv"] = tape["ts_event"] + 250_000
    tape["seq"] = make_seq(DAY, 1) + day * MESSAGES_MAX + np.arange(trades)
    tape["symbol"] = rng.integers(1, SYMBOLS + 1, trades)
    step = rng.choice(np.array([-1, 0, 1]), trades, p=[P_DOWN, 1 - P_UP - P_DOWN, P_UP])
    tape["price"] = _walk(tape["symbol"], step, 10_000 + 400 * np.arange(SYMBOLS + 1)) * CENT
    tape["size"] = rng.integers(1, 501, trades) * SHARE
    tape["side"] = rng.integers(1, 3, trades)
    tape["venue_id"] = np.arange(1, trades + 1)
    return tape


def symbol_table() -> SymbolTable:
    """S01 to S50, whose indices are those of the tape."""
    return SymbolTable([f"S{number:02}" for number in range(1, SYMBOLS + 1)])


def blocks(tape: Records, symbols: SymbolTable, rows: int) -> Iterator[EventBlock]:
    """The tape in blocks of so many rows, which share its memory."""
    for start in range(0, len(tape), rows):
        yield EventBlock(VENUE, "20261120", symbols, trades=tape[start : start + rows])


@njit
def _walk(symbol, step, first):  # type: ignore[no-untyped-def]
    """Prices in cents, of a trade's symbol and its step; never below one."""
    last = first.copy()
    price = np.empty(symbol.size, dtype=np.int64)
    for row in range(symbol.size):
        last[symbol[row]] = max(last[symbol[row]] + step[row], 1)
        price[row] = last[symbol[row]]
    return price


@njit
def acb_by_hand(symbol, price, time_ms, symbols):  # type: ignore[no-untyped-def]
    """Matches of ``acb``, by a kernel written for this one rule: the ceiling.

    symbol: int32 from 1 to ``symbols``; price: double; time_ms: int64.
    The leftmost match wins, so one start a symbol is looked at; those behind it wait in a ring until it
    has matched, is six rows old, or is out of time.
    """
    ring = 8
    prices = np.zeros((symbols + 1, ring), dtype=np.float64)
    times = np.zeros((symbols + 1, ring), dtype=np.int64)
    starts = np.zeros(symbols + 1, dtype=np.int64)
    ends = np.ones(symbols + 1, dtype=np.int64)  # the row to hold against the start, as soon as it is there
    counts = np.zeros(symbols + 1, dtype=np.int64)
    matches = 0
    for row in range(symbol.size + symbols + 1):
        if row < symbol.size:
            own = symbol[row]
            count = counts[own]
            prices[own, count & 7], times[own, count & 7] = price[row], time_ms[row]
            count += 1
            counts[own] = count
        else:  # the end of the tape: no start can wait any longer
            own = row - symbol.size
            count = counts[own]
        start, end = starts[own], ends[own]
        while end < count or (row >= symbol.size and start < count):
            if end >= count or end - start > 6 or times[own, end & 7] - times[own, start & 7] >= 5_000:
                start += 1
                end = start + 1
            elif prices[own, end & 7] > prices[own, start & 7] + 2e-2:
                matches += 1
                start, end = end + 1, end + 2
            else:
                end += 1
        starts[own], ends[own] = start, end
    return matches
