"""The gate once more, in plain Python integers, from the list of all that happened: the oracle of the tests.

Nothing is kept up to date here and nothing is compiled: each value is computed from the beginning, with
``fractions.Fraction`` where the gate rounds. Value at risk is left out (it is a statistic of floats; see
tests/execution/valuation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from execution.risk import Check, Level

NANOS = 10**9
FIRM, RULE, INSTRUMENT = Level.FIRM, Level.STRATEGY, Level.INSTRUMENT
Key = tuple[str, str]


@dataclass
class Reference:
    """orders: (rule, symbol, side, leaves, price); fills: (rule, symbol, side, quantity, price, fee)."""

    quotes: dict[str, tuple[int, int]]
    orders: dict[str, tuple[str, str, str, int, int]] = field(default_factory=dict)
    fills: list[tuple[str, str, str, int, int, int]] = field(default_factory=list)
    messages: list[tuple[str, str, int]] = field(default_factory=list)
    best: dict[tuple[Level, str], int] = field(default_factory=dict)
    margin_bps: int = 10_000

    def held(self, symbol: str, rule: str | None) -> tuple[int, int, int]:
        """(position, open to buy, open to sell) of a rule, or of the firm."""
        position = sum(
            quantity if side == "buy" else -quantity
            for own, name, side, quantity, *_ in self.fills
            if name == symbol and rule in (None, own)
        )
        open_side = {"buy": 0, "sell": 0}
        for own, name, side, leaves, _ in self.orders.values():
            if name == symbol and rule in (None, own):
                open_side[side] += leaves
        return position, open_side["buy"], open_side["sell"]

    def mid(self, symbol: str) -> Fraction:
        return Fraction(sum(self.quotes[symbol]), 2)

    def pnl(self, symbols: list[str], rule: str | None) -> int:
        """Nanos, rounded down for each instrument."""
        total = 0
        for symbol in symbols:
            value = Fraction(0)
            for own, name, side, quantity, price, fee in self.fills:
                if name == symbol and rule in (None, own):
                    signed = quantity if side == "buy" else -quantity
                    value += (signed * (self.mid(symbol) - price)) / NANOS - fee
            total += math.floor(value)
        return total

    def levels(self) -> list[tuple[Level, str, list[str], str | None]]:
        symbols = list(self.quotes)
        found: list[tuple[Level, str, list[str], str | None]] = [(FIRM, "", symbols, None)]
        found += [(RULE, rule, symbols, rule) for rule in ("rule", "other")]
        return found + [(INSTRUMENT, symbol, [symbol], None) for symbol in symbols]

    def note_best(self) -> None:
        """To be called after whatever moves P&L."""
        for level, name, symbols, rule in self.levels():
            key = (level, name)
            self.best[key] = max(self.best.get(key, 0), self.pnl(symbols, rule))

    def values(
        self, rule: str, symbol: str, side: str, quantity: int, price: int, now_ns: int
    ) -> dict[tuple[Check, Level], int]:
        """Every value of the checks over one intent that is measured in money, quantity or count."""
        found: dict[tuple[Check, Level], int] = {}
        bid, ask = self.quotes[symbol]
        paid = price or (ask if side == "buy" else bid)
        worst_price = paid if side == "buy" else max(paid, bid)
        sign, mid = (1 if side == "buy" else -1), self.mid(symbol)
        for level, name in ((FIRM, ""), (RULE, rule), (INSTRUMENT, symbol)):
            own = rule if level is RULE else None
            position, buys, sells = self.held(symbol, own)
            found[(Check.ORDER_QUANTITY, level)] = quantity
            found[(Check.ORDER_NOTIONAL, level)] = math.ceil(Fraction(quantity * worst_price, NANOS))
            found[(Check.PRICE_COLLAR, level)] = math.ceil(abs(paid - mid) / mid * 10**8)
            worst = sign * position + (buys if side == "buy" else sells) + quantity
            found[(Check.POSITION, level)] = worst
            found[(Check.POSITION_NOTIONAL, level)] = math.ceil(worst * mid / NANOS)
            symbols = [symbol] if level is INSTRUMENT else list(self.quotes)
            pnl = self.pnl(symbols, own)
            found[(Check.DAILY_LOSS, level)] = -pnl
            found[(Check.DRAWDOWN, level)] = self.best.get((level, name), 0) - pnl
            orders = [one for one in self.orders.values() if own in (None, one[0]) and one[1] in symbols]
            found[(Check.OPEN_ORDERS, level)] = len(orders) + 1
            recent = [one for one in self.messages if own in (None, one[0]) and one[1] in symbols]
            found[(Check.MESSAGE_RATE, level)] = sum(now_ns - one[2] < NANOS for one in recent) + 1
            trades = sum(own in (None, one[0]) and one[1] in symbols for one in self.fills)
            found[(Check.ORDER_TO_TRADE, level)] = math.ceil(Fraction(len(recent) + 1, max(trades, 1))) - 1
            if level is INSTRUMENT:
                found[(Check.LOCATE, level)] = max(quantity + sells - position, 0) if side == "sell" else 0
                continue
            found |= self._sums(level, own, symbol, sign, quantity, max(-pnl, 0))
            found[(Check.SELF_TRADE, level)] = int(self._meets(own, symbol, side, price))
        return found

    def _sums(
        self, level: Level, own: str | None, symbol: str, sign: int, quantity: int, loss: int
    ) -> dict[tuple[Check, Level], int]:
        gross = net = margin = 0
        for name in self.quotes:
            position, buys, sells = self.held(name, own)
            if name == symbol:
                buys, sells = (buys + quantity, sells) if sign > 0 else (buys, sells + quantity)
            mid = self.mid(name)
            worst = max(abs(position + buys), abs(position - sells))
            one = math.ceil(worst * mid / NANOS)
            gross += one
            margin += math.ceil(Fraction(one * self.margin_bps, 10_000))
            side = position + buys if sign > 0 else sells - position
            net += math.ceil(side * mid / NANOS)
        return {
            (Check.GROSS_EXPOSURE, level): gross,
            (Check.NET_EXPOSURE, level): net,
            (Check.BUYING_POWER, level): margin + loss,
        }

    def _meets(self, own: str | None, symbol: str, side: str, price: int) -> bool:
        for rule, name, other, _, resting in self.orders.values():
            if name != symbol or other == side or own not in (None, rule):
                continue
            if price == 0 or resting == 0 or (resting <= price if side == "buy" else resting >= price):
                return True
        return False
