"""
rule: order_flow
version: 1
venue: XNAS
reads: quotes
about: Orders press on one side of the book. The order flow imbalance, which adds up what each change of
  the best bid and offer says about demand and supply and forgets it with a half-life, comes to be
  `entry` times the usual size at the touch or more. buy: demand. Fires once, and again only after it was
  within `calm`. strength is the imbalance in units of that size, ref_price the mid.
parameter: entry double 6.0 average sizes at the touch, at least
parameter: calm double 2.0 average sizes within which it is ready to fire (again)
parameter: half_life interval 2s of the imbalance
parameter: depth_half_life interval 60s of the average size at the touch

Order flow imbalance: R. Cont, A. Kukanov, S. Stoikov, "The Price Impact of Order Book Events", Journal of
Financial Econometrics 12 (2014), section 2.1. A sum that decays with time has no end and so no pattern:
MATCH_RECOGNIZE cannot say it, a function with memory can.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyflink.common import Row, Types

from streaming.job import JobContext
from streaming.live.in_order import InOrder

NS_PER_MS = 1_000_000


#: Of a symbol: its last quote, imbalance, average depth, and the seq of the last quote with a calm
#: imbalance, 0 once it has fired.
Memory = tuple[Row, float, float, int]


class OrderFlow(InOrder):
    """Quotes of a symbol in, signals out."""

    def __init__(self, entry: float, calm: float, half_life_ms: int, depth_half_life_ms: int) -> None:
        self.entry, self.calm = entry, calm
        self.half_life_ns = half_life_ms * NS_PER_MS
        self.depth_half_life_ns = depth_half_life_ms * NS_PER_MS

    def row(self, row: Row, memory: Memory | None) -> tuple[Memory | None, Iterable[Row]]:
        if row["bid_price"] is None or row["ask_price"] is None:
            return None, ()  # a side without orders: what was usual before it says nothing
        depth = (row["bid_size"] + row["ask_size"]) / 2
        if memory is None:
            return (row, 0.0, depth, row["seq"]), ()
        before, imbalance, usual, calm_seq = memory
        elapsed_ns = max(0, row["ts_event"] - before["ts_event"])  # within a millisecond, seq decides
        imbalance = imbalance * 0.5 ** (elapsed_ns / self.half_life_ns) + contribution(before, row)
        kept = 0.5 ** (elapsed_ns / self.depth_half_life_ns)
        usual = kept * usual + (1 - kept) * depth
        strength = abs(imbalance) / usual if usual else 0.0
        if strength <= self.calm:
            return (row, imbalance, usual, row["seq"]), ()
        if strength < self.entry or not calm_seq:
            return (row, imbalance, usual, calm_seq), ()
        signal = Row(
            row["symbol"],
            "buy" if imbalance > 0 else "sell",
            strength,
            (row["bid_price"] + row["ask_price"]) / 2,
            calm_seq,
            row["seq"],
            row["ts_event"],
        )
        return (row, imbalance, usual, 0), (signal,)


def contribution(before: Row, now: Row) -> float:
    """What a change of the best bid and offer adds to demand, less what it adds to supply (e_n there)."""
    flow = 0.0
    if now["bid_price"] >= before["bid_price"]:
        flow += now["bid_size"]
    if now["bid_price"] <= before["bid_price"]:
        flow -= before["bid_size"]
    if now["ask_price"] <= before["ask_price"]:
        flow -= now["ask_size"]
    if now["ask_price"] >= before["ask_price"]:
        flow += before["ask_size"]
    return flow


def build(context: JobContext) -> None:
    """Each symbol's quotes in order, through its own memory."""
    given: Any = context.parameters
    function = OrderFlow(given["entry"], given["calm"], given["half_life"], given["depth_half_life"])
    quotes = context.stream("quotes", ("bid_price", "bid_size", "ask_price", "ask_size"))
    by_symbol = quotes.key_by(lambda row: row["symbol"], key_type=Types.STRING())
    context.signals(by_symbol.process(function, output_type=context.signal_type))
