"""An exchange in plain dictionaries, for tests: orders match by price, then time.

Random orders come, trade, shrink, move and go. Each step is told as a venue of orders (ITCH) or of levels
(DEEP) would tell it, and :attr:`Exchange.best` is the truth behind each of its messages.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

BUY, SELL = "B", "S"
Best = tuple[int, int, int, int]  # bid, its size, ask, its size; 0: none


@dataclass
class Order:
    """One that rests."""

    stock: str
    side: str
    price: int
    shares: int


@dataclass(frozen=True)
class Said:
    """One thing that happened to an order: added, executed, deleted, or replaced by ``new``."""

    what: str
    reference: int
    stock: str
    side: str
    price: int
    shares: int
    new: int = 0
    new_price: int = 0


@dataclass
class Exchange:
    """Some stocks, prices of a few ticks around 100."""

    rng: random.Random
    stocks: tuple[str, ...] = ("ALFA", "BRVO")
    orders: dict[int, Order] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    best: list[dict[str, Best]] = field(default_factory=list)
    middle: int = 100
    _reference: int = 0

    def run(self, steps: int) -> Exchange:
        for _ in range(steps):
            self.middle += self.rng.choice((0, 0, 0, 1, -1))
            mine = [one for one in self.orders if self.rng.random() < 0.9]
            what = self.rng.random()
            if what < 0.55 or not mine:
                self._arrive(self.rng.choice(self.stocks))
            elif what < 0.8:
                self._delete(self.rng.choice(mine))
            else:
                self._replace(self.rng.choice(mine))
        return self

    def levels(self, stock: str, side: str) -> dict[int, int]:
        found: dict[int, int] = {}
        for order in self.orders.values():
            if (order.stock, order.side) == (stock, side):
                found[order.price] = found.get(order.price, 0) + order.shares
        return found

    def _say(self, *what: object) -> None:
        self.said.append(Said(*what))  # type: ignore[arg-type]
        top = {}
        for stock in self.stocks:
            bids, asks = self.levels(stock, BUY), self.levels(stock, SELL)
            bid, ask = max(bids, default=0), min(asks, default=0)
            top[stock] = (bid, bids.get(bid, 0), ask, asks.get(ask, 0))
        self.best.append(top)

    def _arrive(self, stock: str) -> None:
        """An order, perhaps one that trades at once; what is left of it rests."""
        side, shares = self.rng.choice((BUY, SELL)), self.rng.randrange(1, 5) * 100
        price = self.middle + self.rng.randrange(-4, 5)
        while shares and (reference := self._front(stock, side, price)):
            resting = self.orders[reference]
            traded = min(shares, resting.shares)
            shares, resting.shares = shares - traded, resting.shares - traded
            if not resting.shares:
                del self.orders[reference]
            self._say("executed", reference, stock, resting.side, resting.price, traded)
        if shares:
            self._reference += 1
            self.orders[self._reference] = Order(stock, side, price, shares)
            self._say("added", self._reference, stock, side, price, shares)

    def _front(self, stock: str, side: str, price: int) -> int:
        """Which order one at ``price`` trades with first; 0: none."""
        sign = 1 if side == BUY else -1
        found = [
            (sign * one.price, reference)
            for reference, one in self.orders.items()
            if one.stock == stock and one.side != side and sign * one.price <= sign * price
        ]
        return min(found)[1] if found else 0

    def _delete(self, reference: int) -> None:
        order = self.orders.pop(reference)
        self._say("deleted", reference, order.stock, order.side, order.price, order.shares)

    def _replace(self, reference: int) -> None:
        """At another price, as long as it does not trade there."""
        order = self.orders[reference]
        price, shares = order.price + self.rng.randrange(-3, 4), self.rng.randrange(1, 5) * 100
        if self._front(order.stock, order.side, price):
            return
        del self.orders[reference]
        self._reference += 1
        self.orders[self._reference] = Order(order.stock, order.side, price, shares)
        self._say("replaced", reference, order.stock, order.side, order.price, shares, self._reference, price)
