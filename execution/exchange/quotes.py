"""A venue's books as they move, its best bid and offer as tick batches out. Pure.

What a router must see of a venue is the top of its own book and whether it trades. So of all that a book
does only changes of that are told, in the codec of all ticks: a reader needs no ITCH and no second ingester.
Own orders that rest are displayed there like everybody's.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np

from execution.exchange.lit import LitBook
from execution.exchange.market import Markets
from tickloom import topics
from tickloom.clock import NS_PER_S
from tickloom.codec import TickBatch
from tickloom.events import QUOTE_DTYPE, STATUS_DTYPE, EventBlock, StatusCode, SymbolTable
from tickloom.prices import NO_PRICE

_Quote = tuple[int, int, int, int]
_EMPTY: _Quote = (NO_PRICE, 0, NO_PRICE, 0)


class QuoteWriter:
    """Best bids and offers of one lit venue.

    Parameters
    ----------
    name : str
        Of the exchange; part of the session's name.
    partitions : int
        Of the venue's topic.
    """

    def __init__(self, markets: Markets, venue: str, name: str, partitions: int, now_ns: int) -> None:
        self._markets, self._venue, self._partitions = markets, venue, partitions
        day = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).strftime("%Y%m%d")
        self.session = f"{day}.{name}"
        self._symbols = SymbolTable()
        self._told: dict[str, _Quote] = {}
        self._halted: dict[str, bool] = {}
        self._seq = self._watermark = 0

    def begin(self, now_ns: int) -> list[TickBatch]:
        """The books as they are, of all that the venue lists."""
        return self.step(self._markets.symbols(self._venue), now_ns)

    def step(self, changed: Iterable[str], now_ns: int) -> list[TickBatch]:
        """What is new of those symbols: one batch a partition that has anything."""
        ts = self._markets.time(self._venue, now_ns)
        quotes: dict[int, list[tuple[int, ...]]] = {}
        statuses: dict[int, list[tuple[int | bytes, ...]]] = {}
        for symbol in changed:
            shard = topics.shard(symbol, self._partitions)
            halted = bool(self._markets.stopped(self._venue, symbol))
            if halted != self._halted.get(symbol, False):
                self._halted[symbol] = halted
                code = StatusCode.HALTED if halted else StatusCode.TRADING
                statuses.setdefault(shard, []).append((*self._head(symbol, ts, now_ns), int(code), b""))
            quote = best(self._markets, self._venue, symbol)
            if quote != self._told.get(symbol, _EMPTY):
                self._told[symbol] = quote
                quotes.setdefault(shard, []).append((*self._head(symbol, ts, now_ns), *quote, 0))
        self._watermark = max(self._watermark, ts)
        return [
            self._batch(shard, quotes.get(shard, []), statuses.get(shard, []))
            for shard in sorted(quotes.keys() | statuses.keys())
        ]

    def heartbeat(self, shard: int, now_ns: int) -> TickBatch:
        """An empty batch: the venue is there, and nothing has changed."""
        self._watermark = max(self._watermark, self._markets.time(self._venue, now_ns))
        return self._batch(shard, [], [])

    def forget(self, batch: TickBatch) -> None:
        """A batch could not be sent: what it said has not been told."""
        for rows in (batch.block.quotes, batch.block.statuses):
            for row in rows:
                symbol = self._symbols.names[row["symbol"]]
                self._told.pop(symbol, None)
                self._halted.pop(symbol, None)

    def _head(self, symbol: str, ts: int, now_ns: int) -> tuple[int, int, int, int]:
        # numbers that go on rising over restarts, without anything kept: the clock's
        self._seq = max(self._seq + 1, now_ns)
        return ts, now_ns, self._seq, self._symbols.index(symbol)

    def _batch(
        self, shard: int, quotes: list[tuple[int, ...]], statuses: list[tuple[int | bytes, ...]]
    ) -> TickBatch:
        block = EventBlock(
            self._venue,
            self.session,
            self._symbols,
            quotes=np.array(quotes, QUOTE_DTYPE),
            statuses=np.array(statuses, STATUS_DTYPE),
        )
        numbers = [int(row[2]) for row in (*quotes, *statuses)]
        first, last = (min(numbers), max(numbers)) if numbers else (self._seq, self._seq)
        return TickBatch(shard, first, last, self._watermark, block)


def best(markets: Markets, venue: str, symbol: str) -> _Quote:
    """Best bid and its size, best offer and its size, with our clients' resting orders; nanos."""
    book = markets.book(venue, symbol)
    if not isinstance(book, LitBook):
        return _EMPTY
    bid, bid_size = _top(book, "sell")
    ask, ask_size = _top(book, "buy")
    return bid, bid_size, ask, ask_size


def _top(book: LitBook, taker: str) -> tuple[int, int]:
    """The best price at which somebody who trades to ``taker`` finds something, and how much."""
    price = book.displayed.best_offered(taker)
    levels = book.displayed.asks if taker == "buy" else book.displayed.bids
    size = levels[price].available if price is not None else 0
    for order in book.resting:
        if order.side == taker or not order.leaves or order.price <= 0:
            continue
        if price is None or (order.price < price if taker == "buy" else order.price > price):
            price, size = order.price, order.leaves
        elif order.price == price:
            size += order.leaves
    return (NO_PRICE, 0) if price is None else (price, size)
