"""The displayed book of one instrument as the feed shows it, and what our orders took out of it. Pure.

Depth comes on ``book.<V>``, best quotes and statuses on ``ticks.<V>``: two topics, so in no common order.
Everything is therefore compared by ``seq``: a level keeps the seq that set it and ignores older ones, a
quote removes the levels that were better than it when it was made, and a delta older than the quote
cannot bring one back. So the same messages give the same book in whatever order the topics are read.

What an order of ours takes is gone from ``available``, though the feed shows it still. It comes back only
as the feed shows the level grow: available rises by the increase, and never exceeds what is displayed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tickloom.prices import NO_PRICE

BUY, SELL = 1, 2  # tickloom.events.Side: of the book side, so BUY is the bid


@dataclass(slots=True)
class Level:
    """A price level. displayed: as the feed says; available: for our orders; nanos. seq: of the last word."""

    displayed: int
    available: int
    seq: int


@dataclass(slots=True)
class DisplayedBook:
    """Both sides of one instrument: price in nanos to level."""

    bids: dict[int, Level] = field(default_factory=dict)
    asks: dict[int, Level] = field(default_factory=dict)
    quote_seq: int = -1
    best_bid: int = NO_PRICE
    best_ask: int = NO_PRICE

    def delta(self, side: int, price: int, size: int, seq: int) -> None:
        """A level's new total size (0: gone)."""
        best = self.best_bid if side == BUY else self.best_ask
        if seq < self.quote_seq and _better(side, price, best):
            return  # the quote, which is newer, knew of no such level
        self._set(side, price, size, seq)

    def quote(self, bid_price: int, bid_size: int, ask_price: int, ask_size: int, seq: int) -> None:
        """The best bid and offer; NO_PRICE on an empty side."""
        if seq <= self.quote_seq:
            return
        self.quote_seq, self.best_bid, self.best_ask = seq, bid_price, ask_price
        for side, price, size in ((BUY, bid_price, bid_size), (SELL, ask_price, ask_size)):
            levels = self.bids if side == BUY else self.asks
            gone = [
                at
                for at, level in levels.items()
                if level.seq <= seq and (level.displayed == 0 or _better(side, at, price))
            ]
            for at in gone:
                del levels[at]
            if price != NO_PRICE:
                self._set(side, price, size, seq)

    def _set(self, side: int, price: int, size: int, seq: int) -> None:
        levels = self.bids if side == BUY else self.asks
        level = levels.get(price)
        if level is None:
            levels[price] = Level(size, size, seq)
        elif seq >= level.seq:
            level.available = min(size, level.available + max(0, size - level.displayed))
            level.displayed, level.seq = size, seq

    def lose(self, seq: int) -> None:
        """The feed lost the book: nothing that it said up to ``seq`` counts any more."""
        for levels in (self.bids, self.asks):
            for price in [price for price, level in levels.items() if level.seq <= seq]:
                del levels[price]

    def sweep(self, side: str, quantity: int, limit_price: int) -> list[tuple[int, int]]:
        """Take up to ``quantity`` from the other side, best price first, no worse than the limit.

        Returns
        -------
        list of (price, quantity)
            One entry a level, nanos; what was taken is no longer available.
        """
        levels = self.asks if side == "buy" else self.bids
        taken = []
        reachable = [
            price
            for price, level in levels.items()
            if level.available > 0 and (price <= limit_price if side == "buy" else price >= limit_price)
        ]
        for price in sorted(reachable, reverse=side == "sell"):
            size = min(quantity, levels[price].available)
            levels[price].available -= size
            quantity -= size
            taken.append((price, size))
            if quantity == 0:
                break
        return taken

    def crosses(self, side: str, limit_price: int) -> bool:
        """True if something available could fill a limit order now."""
        levels = self.asks if side == "buy" else self.bids
        if side == "buy":
            return any(level.available > 0 and price <= limit_price for price, level in levels.items())
        return any(level.available > 0 and price >= limit_price for price, level in levels.items())


def _better(side: int, price: int, best: int) -> bool:
    """True if a level at ``price`` is ahead of the best; of an empty side every level is."""
    if best == NO_PRICE:
        return True
    return price > best if side == BUY else price < best
