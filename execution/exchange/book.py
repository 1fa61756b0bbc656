"""The displayed book of one instrument as the feed shows it, and what our orders took out of it. Pure.

Depth comes on ``book.<V>``, best quotes and statuses on ``ticks.<V>``: two topics, so in no common order.
Everything is therefore compared by ``seq``: a level keeps the seq that set it and ignores older ones, a
quote removes the levels that were better than it when it was made, and a delta older than the quote
cannot bring one back. So the same messages give the same book in whatever order the topics are read.

What an order of ours takes is gone from ``available``, though the feed shows it still. It comes back only
as the feed shows the level grow: available rises by the increase, and never exceeds what is displayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tickloom.prices import NO_PRICE

BUY, SELL = 1, 2  # tickloom.events.Side: of the book side, so BUY is the bid

#: Called as a level goes down: side, price, seq of its last change, seq of this one, size before, size.
Decreased = Callable[[int, int, int, int, int, int], None]


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
    decreased: Decreased | None = None
    _empty_bids: set[int] = field(default_factory=set)  # levels of size 0, until a quote takes them away
    _empty_asks: set[int] = field(default_factory=set)

    def levels(self, side: int) -> dict[int, Level]:
        """Of a side of the book."""
        return self.bids if side == BUY else self.asks

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
            self._take_away(side, price, seq)
            if price != NO_PRICE:
                self._set(side, price, size, seq)

    def _take_away(self, side: int, price: int, seq: int) -> None:
        """Levels that a quote of ``price`` says are not there: empty ones, and those ahead of it."""
        levels = self.levels(side)
        if not levels:
            return
        empty = self._empty_bids if side == BUY else self._empty_asks
        gone = list(empty)
        # hardly ever is there any: the best level of a book is the quote's
        if _better(side, max(levels) if side == BUY else min(levels), price):
            gone += [at for at in levels if _better(side, at, price) and at not in empty]
        for at in gone:
            if levels[at].seq <= seq:
                self._tell(side, at, levels[at], 0, seq)
                del levels[at]
                empty.discard(at)

    def _set(self, side: int, price: int, size: int, seq: int) -> None:
        levels, empty = self.levels(side), self._empty_bids if side == BUY else self._empty_asks
        level = levels.get(price)
        if level is None:
            levels[price] = Level(size, size, seq)
        elif seq >= level.seq:
            self._tell(side, price, level, size, seq)
            level.available = min(size, level.available + max(0, size - level.displayed))
            level.displayed, level.seq = size, seq
        else:
            return
        if size == 0:
            empty.add(price)
        elif price in empty:
            empty.remove(price)

    def _tell(self, side: int, price: int, level: Level, size: int, seq: int) -> None:
        if self.decreased is not None and size < level.displayed:
            self.decreased(side, price, level.seq, seq, level.displayed, size)

    def lose(self, seq: int) -> None:
        """The feed lost the book: nothing that it said up to ``seq`` counts any more."""
        for levels, empty in ((self.bids, self._empty_bids), (self.asks, self._empty_asks)):
            for price in [price for price, level in levels.items() if level.seq <= seq]:
                del levels[price]
                empty.discard(price)

    def offered(self, side: str) -> Iterator[tuple[int, Level]]:
        """What an order of ``side`` could take, best price first: (price, level)."""
        levels = self.asks if side == "buy" else self.bids
        for price in sorted(levels, reverse=side == "sell"):
            if levels[price].available > 0:
                yield price, levels[price]

    def best_offered(self, side: str) -> int | None:
        """The best price at which an order of ``side`` could take something."""
        levels = self.asks if side == "buy" else self.bids
        prices = [price for price, level in levels.items() if level.available > 0]
        if not prices:
            return None
        return min(prices) if side == "buy" else max(prices)

    def ahead(self, side: str, price: int) -> tuple[int, int]:
        """What is displayed at a price on the side of an order of ours that comes to rest there, and the
        ``seq`` by which that is so."""
        level = (self.bids if side == "buy" else self.asks).get(price)
        return (0, self.quote_seq) if level is None else (level.displayed, max(level.seq, self.quote_seq))

    def sweep(self, side: str, quantity: int, limit_price: int) -> list[tuple[int, int]]:
        """Take up to ``quantity`` from the other side, best price first, no worse than the limit.

        Returns
        -------
        list of (price, quantity)
            One entry a level, nanos; what was taken is no longer available.
        """
        taken = []
        for price, level in self.offered(side):
            if quantity == 0 or not (price <= limit_price if side == "buy" else price >= limit_price):
                break
            size = min(quantity, level.available)
            level.available -= size
            quantity -= size
            taken.append((price, size))
        return taken


def _better(side: int, price: int, best: int) -> bool:
    """True if a level at ``price`` is ahead of the best; of an empty side every level is."""
    if best == NO_PRICE:
        return True
    return price > best if side == BUY else price < best
