"""An absence rule that takes most of what there is, tapes for it, and both through a matcher."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streaming import engines, rules
from streaming.rules import Rule
from streaming.tape import Tape
from tickloom.events import EventBlock, Signal, SymbolTable

HEADER = """\
-- rule: {name}
-- kind: absence
-- version: 1
-- venue: XNAS
-- about: no quotes while trades print
-- parameter: silence interval 10ms since the last quote
-- parameter: prints int 2 trades
-- parameter: longest interval 40ms since the last quote
"""
BODY = """
SELECT symbol{tag} AS symbol, CASE WHEN price > 5 THEN 'sell' ELSE 'buy' END AS side,
  COALESCE(total, 0) + 1000 * low + 1E6 * high + 1E9 * prints + first_price + average AS strength,
  COALESCE(mid, -1) + price AS ref_price, first_seq, last_seq
FROM ABSENCE (
  PARTITION BY symbol
  EXPECT quotes WITHIN :silence
  WHILE trades WHERE `condition` = 'regular' AT LEAST :prints UNTIL :longest
  UNLESS statuses WHERE status = 'halted'
  MEASURES quotes.seq AS first_seq, LAST(trades.seq) AS last_seq, quotes.mid AS mid,
    SUM(trades.price * trades.size) AS total, MIN(trades.price) AS low, MAX(trades.price) AS high,
    COUNT(trades.seq) AS prints, FIRST(trades.price) AS first_price, AVG(trades.price) AS average,
    trades.price AS price
)
"""
PLAIN = BODY.format(tag="")
KINDS = ("quote", "trade", "trade", "trade", "cross", "both", "bare", "halt")
EMPTY = EventBlock("XNAS", "20240808", SymbolTable())
#: What is replaced in the rule, by an unknown column, in which line.
UNKNOWN = [
    ("`condition` = 'regular'", "`colour` = 'red'", 16),
    ("ELSE 'buy' END", "ELSE cheap END", 10),
    ("MIN(trades.price)", "MIN(trades.prize)", 19),
    ("quotes.mid AS mid", "quotes.middle AS mid", 18),
]
Probe = Callable[..., Rule]


@dataclass(frozen=True)
class Amounts:
    """Values of the rule's parameters."""

    silence_ms: int
    least: int
    until_ms: int

    @property
    def overrides(self) -> dict[str, str]:
        names = {"silence": f"{self.silence_ms}ms", "prints": str(self.least)}
        return {**names, "longest": f"{self.until_ms}ms"}


def make_probe(directory: Path, header: str = "", body: str = PLAIN, name: str = "probe") -> Rule:
    """The rule with more header lines, or another body, as a file of the directory."""
    path = directory / f"{name}.sql"
    path.write_text(HEADER.format(name=name) + header + body)
    return rules.load(path)


def tape_of(events: list[tuple[float, str, str, int, int]]) -> EventBlock:
    """A tape of (ms since the event before, symbol, kind, price in cents, size)."""
    tape, at_ms = Tape(), 0.0
    for step_ms, symbol, kind, cents, size in events:
        at_ms += step_ms
        if kind in ("trade", "both", "cross"):
            condition = "cross" if kind == "cross" else "regular"
            tape.trade(symbol, at_ms, cents / 100, size, "buy", condition)
        if kind == "both":  # one message: the quote has the trade's seq
            tape.messages -= 1
        if kind in ("quote", "both", "bare"):
            tape.quote(symbol, at_ms, 4.0, math.nan if kind == "bare" else 6.0)
        if kind == "halt":
            tape.status(symbol, at_ms, "halted")
    return tape.block()


def play(
    rule: Rule, block: EventBlock, overrides: dict[str, str], cuts: list[int], restart: bool = False
) -> list[Signal]:
    """The tape through the matcher, in batches that are cut at these places of its order in time, each with
    the watermark behind it; with ``restart``, each by a new matcher from the snapshot of the last."""
    matcher = engines.make_matcher(rule, overrides)
    times = np.sort(np.concatenate([records["ts_event"] for records in block.kinds().values()]))
    bounds = sorted({int(times[cut % len(times)]) for cut in cuts})
    found: list[Signal] = []
    low = 0
    for high in [*bounds, int(times[-1]) + 1]:
        masks = {
            name: (records["ts_event"] >= low) & (records["ts_event"] < high)
            for name, records in block.kinds().items()
        }
        found += matcher.push(block.select(masks), high)
        low = high
        if restart:
            state = matcher.snapshot()
            matcher = engines.make_matcher(rule, overrides)
            matcher.restore(state)
    return found + matcher.finish()
