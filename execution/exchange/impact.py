"""Market impact: how far the price has moved because of what our clients took. Pure.

The feed is a recording, or a market that does not know of us, so what we take does not move it. The
model adds to the feed's prices what the flow would have done. Per instrument, with Q the signed
quantity taken since the start, x the same with weights that halve every ``half_life_s``, V the daily
volume and s the daily volatility:

    permanent = permanent_coefficient * s * Q / V                     (both sides of the book)
    temporary = temporary_coefficient * s * sign(x) * sqrt(|x| / V)   (the taker's side only, and only
                                                                       where it is against him)

The square root is the empirical law of the cost of an order (Torre 1997; Almgren, Thum, Hauptmann and
Li 2005; coefficients of about 1 with daily s and V). The permanent part is linear, the only form that
leaves no profit in a round trip (Huberman and Stanzl 2004). A fill pays the impact at its own end, so
an order pays for itself. Prices are rounded to the tick, against the taker.

Doubles are used for the model and integers for prices: the same inputs give the same prices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from execution.exchange.profile import ImpactModel
from tickloom.clock import NS_PER_S

_BPS = 10_000.0
_BISECTIONS_MAX = 64


@dataclass(slots=True)
class Impact:
    """Of one instrument. quantities: nanos, signed (a buy is above 0)."""

    model: ImpactModel
    taken: int = 0
    decaying: float = 0.0
    ts: int = 0

    def price(self, side: str, price: int, quantity: int, tick: int, ts: int) -> int:
        """What a taker of ``quantity`` more pays for the displayed ``price``, nanos, on the tick."""
        if not self.model.on:
            return price
        sign = 1 if side == "buy" else -1
        volume = float(self.model.daily_volume)
        scale = self.model.volatility_bps / _BPS
        permanent = self.model.permanent * scale * (self.taken + sign * quantity) / volume
        flow = self._decayed(ts) + sign * quantity
        temporary = self.model.temporary * scale * math.sqrt(abs(flow) / volume)
        if flow * sign <= 0:
            temporary = 0.0
        moved = price * (1.0 + permanent + sign * temporary)
        ticks = moved / tick
        # a millionth of a tick is rounding noise, not impact
        whole = math.ceil(ticks - 1e-6) if side == "buy" else math.floor(ticks + 1e-6)
        return max(tick, whole * tick)

    def within(self, side: str, price: int, quantity: int, bound: int, lot: int, tick: int, ts: int) -> int:
        """The largest multiple of ``lot`` up to ``quantity`` whose price is not beyond ``bound``."""

        def fits(lots: int) -> bool:
            paid = self.price(side, price, lots * lot, tick, ts)
            return paid <= bound if side == "buy" else paid >= bound

        low, high = 0, quantity // lot
        if high and fits(high):
            return high * lot
        for _ in range(_BISECTIONS_MAX):
            if high - low <= 1:
                break
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low * lot

    def take(self, side: str, quantity: int, ts: int) -> None:
        """``quantity`` was taken from the market."""
        if not self.model.on:
            return
        signed = quantity if side == "buy" else -quantity
        self.decaying = self._decayed(ts) + signed
        self.taken += signed
        self.ts = max(self.ts, ts)

    def _decayed(self, ts: int) -> float:
        age_s = max(0, ts - self.ts) / NS_PER_S
        return self.decaying * math.exp2(-age_s / self.model.half_life_s)
