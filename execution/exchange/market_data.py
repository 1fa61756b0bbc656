"""What happens in a venue's book, as the messages of its own feed. Pure.

ITCH tells orders, the feed that a venue follows tells levels: a level's size is published as orders that
the exchange invents (an increase adds one, a decrease takes from the last), our clients' displayed
orders as themselves. A dark venue publishes trades only. The feed begins with the directory and with
the book as it is; it is not part of the record, so each run of the process is a session of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from execution.exchange import itch
from execution.exchange.book import BUY, SELL
from execution.exchange.lit import LitBook
from execution.exchange.market import Markets
from execution.exchange.orders import Outcome
from execution.exchange.ouch_words import match_number
from execution.venues import Report, ReportType
from tickloom.clock import NS_PER_S
from tickloom.prices import NANOS

_SIDES = {BUY: "B", SELL: "S"}
_FIRST_FEED_MATCH = 2**62  # trades of the followed feed are numbered apart from our executions


@dataclass(slots=True)
class _Order:
    """A published order: shares left."""

    reference: int
    shares: int


@dataclass(slots=True)
class _Published:
    """What readers of the feed have of an instrument. levels: (side, price in 1e-4) to invented orders."""

    locate: int
    symbol: str
    halted: bool = False
    levels: dict[tuple[int, int], list[_Order]] = field(default_factory=dict)
    own: dict[int, tuple[_Order, int, int]] = field(default_factory=dict)  # number to order, side, price


class FeedWriter:
    """The feed of one venue.

    Parameters
    ----------
    symbols : iterable of str
        The instruments that it lists; those that ITCH cannot say (fractions of a share, finer prices
        than 1e-4) are to be left out.
    """

    def __init__(self, markets: Markets, venue: str, symbols: Iterable[str], timezone: str) -> None:
        self._markets, self._venue, self._zone = markets, venue, ZoneInfo(timezone)
        self._published = {
            symbol: _Published(number, symbol) for number, symbol in enumerate(symbols, start=1)
        }
        self._references = 0
        self._matches = _FIRST_FEED_MATCH
        self._ts = 0
        self._trades: list[tuple[str, int, int, str]] = []
        self._closed = False

    def begin(self, ts: int) -> list[bytes]:
        """Start of messages, directory, states, and the book as it is."""
        now = self._since_midnight(ts)
        out = [itch.system_event(now, code) for code in "OSQ"]
        out += [itch.directory(now, item.locate, item.symbol) for item in self._published.values()]
        out += [itch.trading_action(now, item.locate, item.symbol, "T") for item in self._published.values()]
        for symbol in self._published:
            out += self._difference(symbol, now)
        return out

    def on_feed_trade(self, venue: str, symbol: str, price: int, size: int, aggressor: str) -> None:
        """The followed feed traded; told with the next :meth:`step`."""
        if venue == self._venue and symbol in self._published:
            self._trades.append((symbol, price, size, aggressor))

    def step(self, outcome: Outcome, changed: Iterable[str], ts: int) -> list[bytes]:
        """What has happened since the last step.

        Parameters
        ----------
        changed : iterable of str
            Symbols whose book the followed feed has moved.
        """
        now = self._since_midnight(ts)
        out: list[bytes] = []
        touched = dict.fromkeys(changed)
        for order in outcome.orders.values():
            if order.venue == self._venue:
                touched[order.symbol] = None
        out += self._executions([report for _, report in outcome.reports], now)
        trades, self._trades = self._trades, []
        for symbol, price, size, aggressor in trades:
            out += self._feed_trade(symbol, price, size, aggressor, now)
        for symbol in touched:
            if symbol in self._published:
                out += self._difference(symbol, now)
        if self._markets.closed(self._venue) and not self._closed:
            self._closed = True
            out += [itch.system_event(now, code) for code in "MEC"]
        return out

    # --- executions ----------------------------------------------------------------------------

    def _executions(self, reports: list[Report], now: int) -> list[bytes]:
        out: list[bytes] = []
        before: Report | None = None
        for report in reports:
            known = self._published.get(report.symbol)
            if report.venue != self._venue or known is None or report.report_type is not ReportType.TRADE:
                continue
            maker = before is not None and before.liquidity == "added" and _same_trade(before, report)
            if report.liquidity == "added":
                out += self._maker(known, report, now)
            elif not maker:  # its other side is the feed's
                out += self._taker(known, report, now)
            before = report
        return out

    def _maker(self, known: _Published, report: Report, now: int) -> list[bytes]:
        shares, match = report.last_quantity // NANOS, match_number(report.execution_id)
        number = int(report.venue_order_id.rpartition("-")[2])
        found = known.own.get(number)
        if found is None or found[0].shares < shares:
            return [self._print(known, report.side, shares, report.last_price, match, now)]
        return [self._execute(known, found[0], found[2], shares, match, report.last_price, now)]

    def _taker(self, known: _Published, report: Report, now: int) -> list[bytes]:
        """From the front of the other side's best levels."""
        left, match = report.last_quantity // NANOS, match_number(report.execution_id)
        side = SELL if report.side == "buy" else BUY
        out: list[bytes] = []
        for where in sorted((key for key in known.levels if key[0] == side), reverse=side == BUY):
            for order in known.levels[where]:
                shares = min(left, order.shares)
                if shares:
                    out.append(self._execute(known, order, where[1], shares, match, report.last_price, now))
                    left -= shares
        if left:
            other = "sell" if report.side == "buy" else "buy"
            out.append(self._print(known, other, left, report.last_price, match, now))
        return out

    def _execute(
        self, known: _Published, order: _Order, own_price: int, shares: int, match: int, price: int, now: int
    ) -> bytes:
        order.shares -= shares
        paid = price // itch.PRICE_UNIT
        if paid == own_price:
            return itch.executed(now, known.locate, order.reference, shares, match)
        return itch.executed_at(now, known.locate, order.reference, shares, match, paid)

    def _print(self, known: _Published, side: str, shares: int, price: int, match: int, now: int) -> bytes:
        letter = "B" if side == "buy" else "S"
        units = price // itch.PRICE_UNIT
        return itch.trade(now, known.locate, letter, shares, known.symbol, units, match)

    def _feed_trade(self, symbol: str, price: int, size: int, aggressor: str, now: int) -> list[bytes]:
        """A trade between others: from the level where it was, else a print."""
        known = self._published[symbol]
        self._matches += 1
        left, out = size // NANOS, list[bytes]()
        side = SELL if aggressor == "buy" else BUY
        for order in known.levels.get((side, price // itch.PRICE_UNIT), []):
            shares = min(left, order.shares)
            if shares:
                out.append(
                    self._execute(known, order, price // itch.PRICE_UNIT, shares, self._matches, price, now)
                )
                left -= shares
        if left:
            out.append(
                self._print(known, "sell" if aggressor == "buy" else "buy", left, price, self._matches, now)
            )
        return out

    # --- the book ------------------------------------------------------------------------------

    def _difference(self, symbol: str, now: int) -> list[bytes]:
        known, book = self._published[symbol], self._markets.book(self._venue, symbol)
        out: list[bytes] = []
        halted = bool(self._markets.stopped(self._venue, symbol))
        if halted != known.halted:
            known.halted = halted
            out.append(itch.trading_action(now, known.locate, symbol, "H" if halted else "T"))
        if not isinstance(book, LitBook):
            return out
        out += self._own_orders(known, book, now)
        wanted: dict[tuple[int, int], int] = {}
        for side in (BUY, SELL):
            for price, level in book.displayed.levels(side).items():
                shares = min(level.available // NANOS, itch.SIZE_MAX)
                if shares and price // itch.PRICE_UNIT <= itch.PRICE_MAX:
                    wanted[(side, price // itch.PRICE_UNIT)] = shares
        # what goes is told before what comes, so that a reader's book is never crossed by it
        for where in [key for key in known.levels if key not in wanted]:
            out += self._resize(known, where, 0, now)
        for where, shares in sorted(wanted.items(), key=lambda item: item[1] > self._size(known, item[0])):
            out += self._resize(known, where, shares, now)
        return out

    def _own_orders(self, known: _Published, book: LitBook, now: int) -> list[bytes]:
        out: list[bytes] = []
        resting = {order.number: order for order in book.resting if order.leaves}
        for number, (published, _, _) in list(known.own.items()):
            order = resting.get(number)
            shares = order.leaves // NANOS if order is not None else 0
            if shares < published.shares:
                out.append(self._less(known, published, published.shares - shares, now))
            if shares == 0:
                del known.own[number]
        for number, order in resting.items():
            if number not in known.own:
                side = BUY if order.side == "buy" else SELL
                price = order.price // itch.PRICE_UNIT
                added, message = self._add(known, side, price, order.leaves // NANOS, now)
                known.own[number] = (added, side, price)
                out.append(message)
        return out

    def _size(self, known: _Published, where: tuple[int, int]) -> int:
        return sum(order.shares for order in known.levels.get(where, ()))

    def _resize(self, known: _Published, where: tuple[int, int], shares: int, now: int) -> list[bytes]:
        orders, out = known.levels.setdefault(where, []), list[bytes]()
        excess = self._size(known, where) - shares
        for order in reversed(orders):
            less = min(excess, order.shares)
            if less > 0:
                out.append(self._less(known, order, less, now))
                excess -= less
        orders[:] = [order for order in orders if order.shares]
        if excess < 0:
            order, message = self._add(known, where[0], where[1], -excess, now)
            orders.append(order)
            out.append(message)
        if not orders:
            del known.levels[where]
        return out

    def _add(self, known: _Published, side: int, price: int, shares: int, now: int) -> tuple[_Order, bytes]:
        self._references += 1
        order = _Order(self._references, shares)
        message = itch.add(now, known.locate, order.reference, _SIDES[side], shares, known.symbol, price)
        return order, message

    def _less(self, known: _Published, order: _Order, shares: int, now: int) -> bytes:
        order.shares -= shares
        if order.shares:
            return itch.reduced(now, known.locate, order.reference, shares)
        return itch.deleted(now, known.locate, order.reference)

    def _since_midnight(self, ts: int) -> int:
        """Never going back, as the specification has it."""
        seconds, rest = divmod(ts, NS_PER_S)
        local = datetime.fromtimestamp(seconds, self._zone)
        now = ((local.hour * 60 + local.minute) * 60 + local.second) * NS_PER_S + rest
        self._ts = max(self._ts, now)
        return self._ts


def _same_trade(one: Report, other: Report) -> bool:
    return (
        one.symbol == other.symbol
        and one.last_quantity == other.last_quantity
        and one.last_price == other.last_price
        and one.side != other.side
    )
