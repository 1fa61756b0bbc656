"""The venues' markets as their feeds move them: books, halts, sessions, times. Pure.

A venue of the exchange follows one feed; several may follow the same one, each with its share of the
displayed size and its own spread. Dark venues look at the best prices only. A block of the feed is read out
once for all of them (:mod:`execution.exchange.feed_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from execution.exchange.book import BUY
from execution.exchange.dark import DarkBook
from execution.exchange.feed_rows import FeedRows, Trade
from execution.exchange.lit import LitBook
from execution.exchange.orders import Fill
from execution.exchange.profile import LIT, VenueProfile
from tickloom.events import Condition, StatusCode
from tickloom.instruments import Instrument, Registry
from tickloom.prices import NANOS, NO_PRICE

_HALTS = frozenset({StatusCode.HALTED, StatusCode.PAUSED, StatusCode.QUOTATION_ONLY})
_CLOSES = frozenset({StatusCode.MARKET_CLOSE, StatusCode.SYSTEM_HOURS_END, StatusCode.SESSION_END})
_OPENS = frozenset({StatusCode.SESSION_START, StatusCode.SYSTEM_HOURS_START, StatusCode.MARKET_OPEN})

Book = LitBook | DarkBook
#: Called with a trade of the feed as the venue has it: venue, symbol, price, size, aggressor.
TradeWatcher = Callable[[str, str, int, int, str], None]


@dataclass(slots=True)
class _Market:
    book: Book
    lot: int  # nanos
    share: int  # of the feed's displayed sizes, nanos
    widen: int  # that each side is further out than the feed's, nanos
    session: str = ""
    halt: str = ""
    halt_seq: int = -1
    ordered: str = ""  # a halt of the exchange's own

    def shown(self, size: int) -> int:
        """The venue's part of a size of the feed, in whole lots."""
        return size if self.share == NANOS else size * self.share // NANOS // self.lot * self.lot


@dataclass(slots=True)
class Moved:
    """What a block did to a venue. closed: it has ended its session."""

    touched: list[str] = field(default_factory=list)
    closed: bool = False


class Markets:
    """All venues and their instruments."""

    def __init__(self, registry: Registry, profiles: dict[str, VenueProfile]) -> None:
        self._registry, self._profiles = registry, dict(profiles)
        self._markets: dict[tuple[str, str], _Market] = {}
        self._closed: dict[str, tuple[int, str]] = {}
        self._feed_ts: dict[str, int] = {}
        self._changed: set[tuple[str, str]] = set()
        self.trade_watchers: list[TradeWatcher] = []

    def profile(self, venue: str) -> VenueProfile:
        """Of a venue; one that was not declared is lit and costs nothing."""
        found = self._profiles.get(venue)
        if found is None:
            found = self._profiles[venue] = VenueProfile(venue)
        return found

    def followers(self, feed: str) -> list[str]:
        """The venues that follow a feed."""
        found = [name for name, profile in self._profiles.items() if profile.source == feed]
        return found or [self.profile(feed).name]

    def instrument(self, venue: str, symbol: str) -> Instrument | None:
        """What the registry has on it; a venue trades what its feed has."""
        return self._registry.instrument(self.profile(venue).source, symbol)

    def book(self, venue: str, symbol: str) -> Book:
        return self._market(venue, symbol).book

    def books(self, venue: str) -> Iterator[Book]:
        """Of a venue, by symbol."""
        for name, symbol in sorted(self._markets):
            if name == venue:
                yield self._markets[(name, symbol)].book

    def time(self, venue: str, ts: int) -> int:
        """The venue's time: event time of its feed, so that fills stand beside the ticks they met."""
        return self._feed_ts.get(self.profile(venue).source, 0) or ts

    def closed(self, venue: str) -> str:
        """Why its session is over; empty: it is not."""
        return self._closed.get(self.profile(venue).source, (0, ""))[1]

    def halt(self, venue: str, symbol: str, text: str) -> None:
        """Stop trading; empty text: the exchange has nothing against it any more."""
        self._market(venue, symbol).ordered = text

    def stopped(self, venue: str, symbol: str) -> str:
        """Why nothing can be traded now; empty: it can."""
        closed = self.closed(venue)
        if closed:
            return f"exchange closed: {closed}"
        market = self._market(venue, symbol)
        halt = market.ordered or market.halt
        return f"trading in {symbol} is stopped: {halt}" if halt else ""

    def take_changed(self) -> set[tuple[str, str]]:
        """Venue and symbol of the books that the feeds have moved since this was last asked."""
        changed, self._changed = self._changed, set()
        return changed

    def symbols(self, venue: str) -> list[str]:
        """What a venue lists."""
        return [item.symbol for item in self._registry.of_venue(self.profile(venue).source)]

    def refresh(self, venue: str, symbol: str, ts: int) -> list[Fill]:
        """What rests and can trade now that the book has changed."""
        book = self._market(venue, symbol).book
        if not book.resting:
            return []
        return book.refresh() if isinstance(book, LitBook) else book.refresh(self.time(venue, ts))

    # --- the feed ------------------------------------------------------------------------------

    def apply(self, venue: str, rows: FeedRows, live: bool, filled: Callable[[list[Fill]], None]) -> Moved:
        """Let a block of the venue's feed move its books. Trades fill resting orders only if ``live``.

        ``filled`` is told of each trade's fills before the next trade is looked at, which meets what is left.
        """
        moved, touched = Moved(), dict[str, None]()
        self._feed_ts[rows.feed] = max(self._feed_ts.get(rows.feed, 0), rows.newest_ts)
        # trades first: a level's decrease is then known to be one, see execution.exchange.queue
        for trade in rows.trades:
            if fills := self._trade(venue, rows.session, trade, live):
                filled(fills)
            if live:
                touched[trade.symbol] = None
        if self.profile(venue).kind == LIT:
            self._deltas(venue, rows, touched)
        self._quotes(venue, rows, touched)
        for symbol, seq, code in rows.statuses:
            moved.closed |= self._status(venue, rows, symbol, seq, code, touched)
        moved.touched = list(touched)
        self._changed.update((venue, symbol) for symbol in touched)
        return moved

    def _trade(self, venue: str, session: str, trade: Trade, live: bool) -> list[Fill]:
        if trade.condition not in (Condition.REGULAR, Condition.HIDDEN):
            return []
        market = self._market(venue, trade.symbol, session)
        price, aggressor = trade.price, trade.aggressor
        size = market.shown(trade.size)
        book = market.book
        if isinstance(book, DarkBook):
            book.trade(size, trade.seq, trade.ts)
            return []
        if aggressor != "none":
            price += market.widen if aggressor == "buy" else -market.widen
        if not live or size == 0 or self.stopped(venue, trade.symbol):
            return []
        fills: list[Fill] = []
        # a hidden trade at our price says nothing of the queue: who is displayed goes first
        if not (trade.condition == Condition.HIDDEN and self._at_own_price(book, price)):
            fills = book.trade(price, size, "" if aggressor == "none" else aggressor, trade.seq)
        for watcher in self.trade_watchers:
            watcher(venue, trade.symbol, price, size, aggressor)
        return fills

    def _at_own_price(self, book: LitBook, price: int) -> bool:
        return any(order.price == price for order in book.resting)

    def _deltas(self, venue: str, rows: FeedRows, touched: dict[str, None]) -> None:
        for symbol, deltas in rows.deltas.items():
            touched[symbol] = None
            market = self._market(venue, symbol, rows.session)
            assert isinstance(market.book, LitBook)
            apply, whole, widen = market.book.displayed.delta, market.share == NANOS, market.widen
            for side, price, size, seq in deltas:
                moved = price - widen if side == BUY else price + widen
                apply(side, moved, size if whole else market.shown(size), seq)

    def _quotes(self, venue: str, rows: FeedRows, touched: dict[str, None]) -> None:
        for symbol, quote in rows.quotes.items():
            touched[symbol] = None
            market = self._market(venue, symbol, rows.session)
            book, bid, ask, widen = market.book, quote.bid, quote.ask, market.widen
            if isinstance(book, DarkBook):
                book.quote(bid, ask, quote.seq)
                continue
            book.displayed.quote(
                bid if bid == NO_PRICE else bid - widen,
                market.shown(quote.bid_size),
                ask if ask == NO_PRICE else ask + widen,
                market.shown(quote.ask_size),
                quote.seq,
            )

    def _status(
        self, venue: str, rows: FeedRows, symbol: str, seq: int, code: StatusCode, touched: dict[str, None]
    ) -> bool:
        """True if the venue's session ended with it."""
        if symbol == "":
            feed = rows.feed
            if (code in _CLOSES or code in _OPENS) and seq >= self._closed.get(feed, (-1, ""))[0]:
                self._closed[feed] = (seq, code.name.lower() if code in _CLOSES else "")
                return code in _CLOSES
            return False
        market = self._market(venue, symbol, rows.session)
        if (code in _HALTS or code is StatusCode.TRADING) and seq > market.halt_seq:
            market.halt_seq, market.halt = seq, code.name.lower() if code in _HALTS else ""
            touched[symbol] = None
        elif code is StatusCode.BOOK_LOST:
            if isinstance(market.book, LitBook):
                market.book.displayed.lose(seq)
            else:
                market.book.clear()
        return False

    def _market(self, venue: str, symbol: str, session: str = "") -> _Market:
        market = self._markets.get((venue, symbol))
        if market is None:
            market = self._markets[(venue, symbol)] = self._new_market(venue, symbol)
        if session > market.session:
            if market.session:
                # a new session begins with an empty book; sessions of a venue are named in rising order
                market.book.clear()
                market.halt, market.halt_seq = "", -1
            market.session = session
        return market

    def _new_market(self, venue: str, symbol: str) -> _Market:
        profile, instrument = self.profile(venue), self.instrument(venue, symbol)
        tick = instrument.tick if instrument is not None else 1
        lot = instrument.lot if instrument is not None else 1
        book: Book = LitBook(profile, tick, lot) if profile.kind == LIT else DarkBook(profile, symbol, lot)
        widen = profile.widen_ticks * tick if instrument is not None else 0
        return _Market(book, lot, round(profile.displayed_share * NANOS), widen)
