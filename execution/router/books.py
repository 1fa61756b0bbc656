"""Market state in, what is displayed at each destination now out: depth where there is any. Pure.

The top of each book comes with the quotes that risk looks at too (:class:`execution.market.MarketState`);
levels behind it come on ``book.<V>``, another topic in no common order with them. So a level is shown only if
it is behind the best price of the newest quote, whatever was read first. A venue whose depth nobody follows
has one level a side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from execution.destinations import Destination
from execution.market import MarketState
from tickloom.codec import TickBatch
from tickloom.prices import NO_PRICE

LEVELS_MAX = 50  # a side and book that are handed on; more than any sweep looks at

Levels = tuple[tuple[int, int], ...]
_BID = 1  # tickloom.events.Side of a delta: of the book side


@dataclass(frozen=True, slots=True)
class BookView:
    """One destination's displayed book at one moment.

    bids, asks: (price, size) in nanos, best first. ts_recv: when its last quote came; feed_ts: when its feed
    last said anything; both by our clock, ns. ts_event: the market's own time, ns. refused: why it cannot be
    traded on; empty: it can.
    """

    bids: Levels
    asks: Levels
    ts_recv: int
    feed_ts: int
    ts_event: int
    refused: str = ""

    def far(self, side: str) -> Levels:
        """What an order of ``side`` takes."""
        return self.asks if side == "buy" else self.bids

    def near(self, side: str) -> Levels:
        """What an order of ``side`` joins."""
        return self.bids if side == "buy" else self.asks

    @property
    def mid(self) -> int | None:
        """Nanos, rounded down, as a midpoint pool has it; None: one-sided, locked or crossed."""
        if not self.bids or not self.asks or self.bids[0][0] >= self.asks[0][0]:
            return None
        return (self.bids[0][0] + self.asks[0][0]) // 2


#: What is displayed of a symbol at a destination (of a dark one, its reference); None: nothing was ever seen.
BookSource = Callable[[Destination, str], BookView | None]


class DepthState:
    """Levels of all books by ``book.<V>``. One thread applies batches, another looks."""

    def __init__(self) -> None:
        self._books: dict[tuple[str, str], tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]] = {}
        self._sessions: dict[str, str] = {}
        self._lock = threading.Lock()

    def apply(self, batch: TickBatch) -> None:
        """Take the deltas of one batch; a gap loses the levels that it may have touched."""
        block = batch.block
        with self._lock:
            if self._sessions.setdefault(block.venue, block.session) != block.session:
                self._sessions[block.venue] = block.session
                self._lose(block.venue, "")
            for row in block.gaps:
                self._lose(block.venue, block.symbols.names[row["symbol"]])
            columns = ("symbol", "side", "price", "size", "seq")
            for number, side, price, size, seq in zip(
                *(block.deltas[name].tolist() for name in columns), strict=True
            ):
                key = (block.venue, block.symbols.names[number])
                levels = self._books.setdefault(key, ({}, {}))[0 if side == _BID else 1]
                known = levels.get(price)
                if known is None or seq >= known[1]:
                    levels[price] = (size, seq)
                    if not size and len(levels) > 8 * LEVELS_MAX:  # the empty ones only say what is newer
                        for gone in [at for at, (left, _) in levels.items() if not left]:
                            del levels[gone]

    def _lose(self, venue: str, symbol: str) -> None:
        for key in [key for key in self._books if key[0] == venue and symbol in ("", key[1])]:
            del self._books[key]

    def behind(self, venue: str, symbol: str, bid: int, ask: int) -> tuple[Levels, Levels]:
        """Levels worse than the best bid and ask, best first; none behind an empty side."""
        with self._lock:
            book = self._books.get((venue, symbol))
            if book is None:
                return (), ()
            bids = sorted(
                ((at, size) for at, (size, _) in book[0].items() if size and at < bid), reverse=True
            )
            asks = sorted((at, size) for at, (size, _) in book[1].items() if size and at > ask)
        return (
            () if bid == NO_PRICE else tuple(bids[: LEVELS_MAX - 1]),
            () if ask == NO_PRICE else tuple(asks[: LEVELS_MAX - 1]),
        )


class MarketBooks:
    """A :data:`BookSource` over the market state, with depth where there is some."""

    def __init__(self, market: MarketState, depth: DepthState | None = None) -> None:
        self._market, self._depth = market, depth

    def __call__(self, destination: Destination, symbol: str) -> BookView | None:
        venue = book_of(destination)
        view = self._market.view(venue, symbol)
        if view is None:
            return None
        bids: Levels = ()
        asks: Levels = ()
        if view.bid_price != NO_PRICE:
            bids = ((view.bid_price, view.bid_size),)
        if view.ask_price != NO_PRICE:
            asks = ((view.ask_price, view.ask_size),)
        if self._depth is not None:
            more_bids, more_asks = self._depth.behind(venue, symbol, view.bid_price, view.ask_price)
            bids, asks = bids + more_bids, asks + more_asks
        refused = view.untrusted or view.halted
        return BookView(bids, asks, view.ts_recv, view.feed_ts, view.venue_ts_event, refused)


def book_of(destination: Destination) -> str:
    """Whose ticks show a destination's book; of a dark one, its reference."""
    return destination.book or (destination.market if destination.dark else destination.name)
