"""Spreads of pairs by definition: a plain implementation that keeps the whole past."""

from __future__ import annotations

import math
from typing import Any

from strategies.pairs.frozen import PairCalibration, PairSet
from tests.strategies.features.spread_tape import LEGS
from tickloom.clock import NS_PER_MS
from tickloom.events import EventBlock, StatusCode
from tickloom.prices import NO_PRICE


class Plain:
    """The same semantics with dictionaries, sorted lists and sums over the whole past."""

    def __init__(self, pairs: PairSet) -> None:
        self.pairs = pairs

    def run(self, block: EventBlock) -> list[tuple[Any, ...]]:
        names = block.symbols.names
        events = [
            *(("quote", row, names[row["symbol"]]) for row in block.quotes),
            *(("status", row, names[row["symbol"]]) for row in block.statuses),
            *(("gap", row, names[row["symbol"]]) for row in block.gaps),
        ]
        quotes: dict[str, Any] = {}
        standing = dict.fromkeys(LEGS, "good")
        halted: set[str] = set()
        gap_seq, closed = -1, False
        history: dict[str, list[tuple[float, float]]] = {pair.symbol: [] for pair in self.pairs.pairs}
        stood: dict[str, tuple[int, float]] = {}
        out = []
        instants = sorted({int(row["ts_event"]) // NS_PER_MS for _, row, _ in events})
        for ms in instants:
            now = [event for event in events if int(event[1]["ts_event"]) // NS_PER_MS == ms]
            now.sort(key=lambda event: (event[1]["ts_event"], event[1]["seq"], event[0] == "quote"))
            for kind, row, leg in now:
                if kind == "quote":
                    if leg in LEGS:
                        quotes[leg] = row
                    continue
                if kind == "gap":
                    if leg == "":
                        gap_seq = max(gap_seq, int(row["seq"]))
                    else:
                        standing[leg] = "untrusted"
                else:
                    code = StatusCode(int(row["status"]))
                    if leg == "":
                        closed = code is StatusCode.MARKET_CLOSE
                    elif code in (StatusCode.HALTED, StatusCode.TRADING):
                        (halted.add if code is StatusCode.HALTED else halted.discard)(leg)
                    else:
                        standing[leg] = "untrusted" if code is StatusCode.BOOK_LOST else "good"
                for pair in self.pairs.pairs:
                    if leg in ("", pair.leg_a, pair.leg_b):
                        stood.pop(pair.symbol, None)
            averaged = set()
            for kind, row, leg in now:
                for pair in self.pairs.pairs:
                    if kind != "quote" or leg not in (pair.leg_a, pair.leg_b):
                        continue
                    if any(one[:2] == (pair.symbol, int(row["seq"])) for one in out):
                        continue
                    mid_a, mid_b = self._mid(quotes.get(pair.leg_a)), self._mid(quotes.get(pair.leg_b))
                    ages = [
                        int(row["ts_event"] - quotes[one]["ts_event"])
                        for one in (pair.leg_a, pair.leg_b)
                        if one in quotes
                    ]
                    spread = mid_a - pair.hedge_ratio * mid_b
                    fresh = not math.isnan(spread) and max(*ages, 0) <= self.pairs.stale_ms * NS_PER_MS
                    state = self._state(pair, standing, halted, closed, gap_seq, quotes)
                    if pair.symbol not in averaged:
                        averaged.add(pair.symbol)
                        if pair.symbol in stood:
                            since, level = stood.pop(pair.symbol)
                            history[pair.symbol].append((min(ms - since, self.pairs.stale_ms), level))
                        if fresh and state == "good":
                            stood[pair.symbol] = (ms, spread)
                    if not fresh:
                        continue
                    z = (spread - pair.mean) / pair.deviation
                    rolling = self._rolling(history[pair.symbol], spread)
                    out.append((pair.symbol, int(row["seq"]), spread, z, rolling, max(*ages, 0), state))
        return out

    @staticmethod
    def _mid(quote: Any) -> float:
        if quote is None or NO_PRICE in (quote["bid_price"], quote["ask_price"]):
            return math.nan
        if quote["bid_price"] > quote["ask_price"]:
            return math.nan
        return (int(quote["bid_price"]) / 1e9 + int(quote["ask_price"]) / 1e9) / 2

    @staticmethod
    def _state(
        pair: PairCalibration,
        standing: dict[str, str],
        halted: set[str],
        closed: bool,
        gap_seq: int,
        quotes: dict[str, Any],
    ) -> str:
        for leg in (pair.leg_a, pair.leg_b):
            if standing[leg] != "good" or leg not in quotes or int(quotes[leg]["seq"]) <= gap_seq:
                return "untrusted"
        return "halted" if closed or {pair.leg_a, pair.leg_b} & halted else "good"

    def _rolling(self, history: list[tuple[float, float]], spread: float) -> float:
        """Weighted mean and deviation by their definition: a level's weight is what is left of its time."""
        behind_ms, weights, levels = 0.0, [], []
        for lasted_ms, level in reversed(history):
            half_life = self.pairs.rolling_half_life_ms
            weights.append(2 ** (-behind_ms / half_life) - 2 ** (-(behind_ms + lasted_ms) / half_life))
            levels.append(level)
            behind_ms += lasted_ms
        if behind_ms < self.pairs.rolling_half_life_ms:
            return math.nan
        total = math.fsum(weights)
        mean = math.fsum(w * x for w, x in zip(weights, levels, strict=True)) / total
        variance = math.fsum(w * (x - mean) ** 2 for w, x in zip(weights, levels, strict=True)) / total
        return (spread - mean) / math.sqrt(variance) if variance >= 1e-18 else math.nan
