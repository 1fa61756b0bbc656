"""A program for tests of the operator: tells when a symbol's price crosses a level, after how many trades."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tickloom.codec import decode
from tickloom.prices import to_double


class Crossing:
    """Emits (symbol, {symbol, seq, trades}) for each trade at or above the level whose symbol's trade before
    was below it. What it emits depends on all that came before, so lost or doubled state would show."""

    def __init__(self, level: float) -> None:
        self.level = level
        self.trades: dict[str, int] = {}
        self.below: dict[str, bool] = {}
        self.late_rows = 0

    def process(self, raw: bytes) -> Sequence[tuple[bytes, bytes]]:
        batch = decode(raw)
        found = []
        trades = batch.block.trades
        for trade, price in zip(trades, to_double(trades["price"]), strict=True):
            symbol = batch.block.symbols.names[trade["symbol"]]
            number = self.trades[symbol] = self.trades.get(symbol, 0) + 1
            below = bool(price < self.level)
            if self.below.get(symbol, False) and not below:
                value = {"symbol": symbol, "seq": int(trade["seq"]), "trades": number}
                found.append((symbol.encode(), json.dumps(value).encode()))
            self.below[symbol] = below
        return found

    def snapshot(self) -> bytes:
        return json.dumps([self.trades, self.below]).encode()

    def restore(self, raw: bytes) -> None:
        self.trades, self.below = json.loads(raw)
