"""One instrument in a midpoint dark pool: nothing is displayed, all trades are at the reference's mid. Pure.

The midpoint is that of the reference market's best bid and offer as the feed shows them; there is none,
and no trade, while a side is empty, the market is locked or crossed, or the instrument is halted. A limit
bounds the midpoint that an order accepts. Counter-orders are those of our other clients, by time, and a
model of the rest of the pool: a trade of the reference market brings, with a probability, an order of
either side with a share of its size, which waits a while. What comes is drawn from the seed, the symbol
and the trade's ``seq``: the same feed brings the same orders, whatever we do.

``min_quantity``: no single execution is smaller, the order's last one apart. An order whose client is
the other side's is passed over: in the dark nobody needs to be cancelled for it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from execution.exchange.orders import Fill, VenueOrder
from execution.exchange.profile import VenueProfile
from tickloom.clock import NS_PER_MS
from tickloom.prices import NO_PRICE

CONTRA_MAX = 256  # counter-orders that wait; beyond it the oldest goes


@dataclass(slots=True)
class _Contra:
    """An order of the rest of the pool."""

    side: str
    quantity: int
    until_ts: int


class DarkBook:
    """See the module. tick, lot: of the instrument, nanos."""

    def __init__(self, profile: VenueProfile, symbol: str, lot: int) -> None:
        self._profile, self._symbol, self._lot = profile, symbol, lot
        self.resting: list[VenueOrder] = []
        self._contra: list[_Contra] = []
        self._bid = self._ask = NO_PRICE
        self._quote_seq = -1

    @property
    def midpoint(self) -> int | None:
        """Nanos, rounded down; None: there is none to trade at."""
        if NO_PRICE in (self._bid, self._ask) or self._bid >= self._ask:
            return None
        return (self._bid + self._ask) // 2

    def clear(self) -> None:
        """A new session, or the reference book is lost."""
        self._bid = self._ask = NO_PRICE
        self._contra.clear()

    def quote(self, bid: int, ask: int, seq: int) -> None:
        """The reference market's best prices; NO_PRICE on an empty side."""
        if seq > self._quote_seq:
            self._quote_seq, self._bid, self._ask = seq, bid, ask

    def match(self, order: VenueOrder, ts: int) -> list[Fill]:
        """Trade what can be traded now; quantities of orders are changed by whoever applies the fills."""
        midpoint = self.midpoint
        fills: list[Fill] = []
        if midpoint is None or not order.reaches(midpoint):
            return fills
        left = order.leaves
        for other in sorted(self.resting, key=lambda found: found.number):
            if left == 0:
                break
            if not self._meets(order, other, midpoint):
                continue
            quantity = min(left, other.leaves)
            if self._enough(order, left, quantity) and self._enough(other, other.leaves, quantity):
                left -= quantity
                fills.append(Fill(other, quantity, midpoint, maker=True, contra=order))
                fills.append(Fill(order, quantity, midpoint, maker=False, contra=other))
        return fills + self._meet_contra(order, left, midpoint, ts, maker=False)

    def fillable(self, order: VenueOrder, ts: int) -> int:
        """How much of it would be filled at once (fill or kill)."""
        before = [(contra, contra.quantity) for contra in self._contra]
        fills = self.match(order, ts)
        for contra, quantity in before:
            contra.quantity = quantity
        self._contra = [contra for contra, _ in before]
        return sum(fill.quantity for fill in fills if fill.order is order)

    def rest(self, order: VenueOrder) -> None:
        self.resting.append(order)

    def forget(self, order: VenueOrder) -> None:
        self.resting = [other for other in self.resting if other is not order]

    def trade(self, size: int, seq: int, ts: int) -> None:
        """The reference market traded: somebody may come into the pool."""
        model = self._profile.dark
        if not model.probability:
            return
        draw = random.Random(f"{self._profile.seed}|dark|{self._symbol}|{seq}")
        if draw.random() >= model.probability:
            return
        quantity = int(size * model.share) // self._lot * self._lot
        if quantity:
            side = "buy" if draw.random() < 0.5 else "sell"
            self._contra.append(_Contra(side, quantity, ts + model.life_ms * NS_PER_MS))
            del self._contra[:-CONTRA_MAX]

    def refresh(self, ts: int) -> list[Fill]:
        """Midpoint or pool have changed: who rests may trade, the earliest first."""
        fills: list[Fill] = []
        midpoint = self.midpoint
        if midpoint is None:
            return fills
        done: dict[int, int] = {}
        for order in sorted(self.resting, key=lambda found: found.number):
            if order.leaves and order.reaches(midpoint) and order.number not in done:
                found = self._meet_contra(order, order.leaves, midpoint, ts, maker=True)
                if not found:
                    found = self._cross(order, midpoint, done)
                for fill in found:
                    done[fill.order.number] = done.get(fill.order.number, 0) + fill.quantity
                fills += found
        return fills

    def _cross(self, order: VenueOrder, midpoint: int, done: dict[int, int]) -> list[Fill]:
        """Two that rest and can trade only now: the later one is the taker."""
        for other in sorted(self.resting, key=lambda found: found.number):
            if other.number in done or not self._meets(order, other, midpoint):
                continue
            quantity = min(order.leaves, other.leaves)
            if self._enough(order, order.leaves, quantity) and self._enough(other, other.leaves, quantity):
                early, late = sorted((order, other), key=lambda found: found.number)
                return [
                    Fill(early, quantity, midpoint, maker=True, contra=late),
                    Fill(late, quantity, midpoint, maker=False, contra=early),
                ]
        return []

    def _meets(self, order: VenueOrder, other: VenueOrder, midpoint: int) -> bool:
        return (
            other.side != order.side
            and other.client != order.client
            and other.leaves > 0
            and other.reaches(midpoint)
        )

    def _enough(self, order: VenueOrder, left: int, quantity: int) -> bool:
        return quantity >= min(order.min_quantity, left)

    def _meet_contra(self, order: VenueOrder, left: int, midpoint: int, ts: int, maker: bool) -> list[Fill]:
        self._contra = [contra for contra in self._contra if contra.until_ts > ts]
        fills: list[Fill] = []
        for contra in self._contra:
            quantity = min(left, contra.quantity)
            if quantity == 0 or contra.side == order.side or not self._enough(order, left, quantity):
                continue
            left -= quantity
            contra.quantity -= quantity
            fills.append(Fill(order, quantity, midpoint, maker))
        self._contra = [contra for contra in self._contra if contra.quantity]
        return fills
