"""Orders and market events in, fills and order states out: the exchange's core. Pure and deterministic.

A marketable order takes what the feed displays, level by level, at the displayed prices. What an IOC
order leaves is cancelled; what a day order leaves rests, and is filled when the market trades through
its price (strictly: at its price others are ahead in the queue) or shows the other side at its price.
Resting orders are served by price, then by time. Our orders do not move the feed's prices.

The same inputs in the same order give the same outcomes, ids included; the shell makes an outcome
durable before anybody hears of it. A new engine first reads the feed's past, so that it knows the
books, and trades nothing meanwhile: :meth:`MatchingEngine.go_live` ends that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from execution.exchange.book import DisplayedBook
from execution.orders import TERMINAL
from execution.venues import Report, ReportType
from execution.venues.simulated.protocol import CancelRequest, NewOrder, StatusRequest
from tickloom.events import Condition, EventBlock, OrderState, Records, StatusCode
from tickloom.instruments import Registry
from tickloom.prices import format_nanos

_HALTS = frozenset({StatusCode.HALTED, StatusCode.PAUSED, StatusCode.QUOTATION_ONLY})
_CLOSES = frozenset({StatusCode.MARKET_CLOSE, StatusCode.SYSTEM_HOURS_END, StatusCode.SESSION_END})
_OPENS = frozenset({StatusCode.SESSION_START, StatusCode.SYSTEM_HOURS_START, StatusCode.MARKET_OPEN})


@dataclass(slots=True)
class VenueOrder:
    """An order as the exchange has it. quantities, price: nanos. number: time priority."""

    client: str
    order_id: str
    venue: str
    symbol: str
    side: str
    quantity: int
    price: int
    time_in_force: str
    state: OrderState
    filled_quantity: int
    number: int
    ts: int

    @property
    def venue_order_id(self) -> str:
        return f"{self.venue}-{self.number}"

    @property
    def leaves(self) -> int:
        return 0 if self.state in TERMINAL else self.quantity - self.filled_quantity


@dataclass(slots=True)
class Outcome:
    """What must become durable and then be told. ``answer``: to the asker only, and not kept."""

    orders: dict[str, VenueOrder] = field(default_factory=dict)
    reports: list[tuple[str, Report]] = field(default_factory=list)
    answer: Report | None = None


@dataclass(slots=True)
class _Market:
    book: DisplayedBook = field(default_factory=DisplayedBook)
    session: str = ""
    halt: str = ""
    halt_seq: int = -1


class MatchingEngine:
    """All venues of one simulated exchange.

    Parameters
    ----------
    orders : list of VenueOrder
        What its record holds; open ones rest again.
    execution_count : int
        Fills in its record, so that execution ids go on behind them.
    """

    def __init__(self, registry: Registry, orders: list[VenueOrder], execution_count: int) -> None:
        self._registry = registry
        self.orders = {order.order_id: order for order in orders}
        self._execution_count = execution_count
        self._order_count = max((order.number for order in orders), default=0)
        self._markets: dict[tuple[str, str], _Market] = {}
        self._closed: dict[str, tuple[int, str]] = {}
        self._venue_ts: dict[str, int] = {}
        self._resting: dict[tuple[str, str], list[VenueOrder]] = {}
        self.live = False
        for order in sorted(orders, key=lambda order: order.number):
            if order.leaves:
                self._resting.setdefault((order.venue, order.symbol), []).append(order)

    # --- requests ------------------------------------------------------------------------------

    def submit(self, client: str, request: NewOrder, ts: int) -> Outcome:
        """A new order. One whose id is known is not executed again: the answer is its state."""
        known = self.orders.get(request.order_id)
        if known is not None:
            text = "duplicate ClOrdID: this is its state, nothing was done"
            return Outcome(answer=_report(known, ReportType.STATUS, ts, text))
        self._order_count += 1
        order = VenueOrder(
            client=client,
            order_id=request.order_id,
            venue=request.venue,
            symbol=request.symbol,
            side=request.side,
            quantity=request.quantity,
            price=request.price,
            time_in_force=request.time_in_force,
            state=OrderState.NEW,
            filled_quantity=0,
            number=self._order_count,
            ts=self._time(request.venue, ts),
        )
        self.orders[order.order_id] = order
        outcome = Outcome()
        refused = self._refuse(order)
        if refused:
            self._change(outcome, order, OrderState.REJECTED, ReportType.REJECTED, refused)
            return outcome
        self._change(outcome, order, OrderState.NEW, ReportType.NEW)
        self._sweep(outcome, order)
        if order.leaves and order.time_in_force == "ioc":
            text = "immediate or cancel: nothing more at the limit"
            self._change(outcome, order, OrderState.CANCELLED, ReportType.CANCELLED, text)
        elif order.leaves:
            self._resting.setdefault((order.venue, order.symbol), []).append(order)
        return outcome

    def cancel(self, request: CancelRequest, ts: int) -> Outcome:
        """Cancel what is left; a cancel that comes too late is rejected with the order's state."""
        order = self.orders.get(request.order_id)
        if order is None:
            return Outcome(answer=_unknown(request, ReportType.CANCEL_REJECTED, ts))
        if not order.leaves:
            text = f"too late to cancel: {order.state}"
            return Outcome(answer=_report(order, ReportType.CANCEL_REJECTED, ts, text))
        outcome = Outcome()
        order.ts = self._time(order.venue, ts)
        self._change(outcome, order, OrderState.CANCELLED, ReportType.CANCELLED, "cancelled by request")
        self._forget(order)
        return outcome

    def status(self, request: StatusRequest, ts: int) -> Outcome:
        """The state of an order, or that there is none."""
        order = self.orders.get(request.order_id)
        if order is None:
            return Outcome(answer=_unknown(request, ReportType.STATUS, ts))
        return Outcome(answer=_report(order, ReportType.STATUS, ts))

    def _refuse(self, order: VenueOrder) -> str:
        instrument = self._registry.instrument(order.venue, order.symbol)
        if instrument is None:
            return f"unknown symbol {order.venue} {order.symbol}"
        if order.quantity <= 0 or order.quantity % instrument.lot:
            lot = format_nanos(instrument.lot)
            return f"quantity {format_nanos(order.quantity)} is not in lots of {lot}"
        if order.price <= 0 or order.price % instrument.tick:
            return f"price {format_nanos(order.price)} is not on the tick {format_nanos(instrument.tick)}"
        closed = self._closed.get(order.venue, (0, ""))[1]
        if closed:
            return f"exchange closed: {closed}"
        halt = self._market(order.venue, order.symbol).halt
        return f"trading in {order.symbol} is stopped: {halt}" if halt else ""

    # --- the market ----------------------------------------------------------------------------

    def go_live(self, ts: int) -> Outcome:
        """From now on the market is the present: orders trade. Day orders of a venue that closed expire."""
        self.live = True
        outcome = Outcome()
        for venue, (_, closed) in self._closed.items():
            if closed:
                self._expire(outcome, venue, ts)
        self._settle(outcome)
        return outcome

    def apply(self, block: EventBlock, ts: int) -> Outcome:
        """Let the market move; what that does to resting orders (nothing before :meth:`go_live`)."""
        outcome = Outcome()
        self._tick_time(block)
        touched = self._apply_deltas(block) | self._apply_quotes(block)
        for row in block.trades if self.live and self._resting else ():
            self._trade(outcome, block, row)
        for row in block.statuses:
            self._status(outcome, block, row, ts)
        if not self.live:
            return outcome
        for key in touched & self._resting.keys():
            for order in _priority(self._resting[key]):
                order.ts = self._time(order.venue, ts)
                self._sweep(outcome, order)
        self._settle(outcome)
        return outcome

    def _apply_deltas(self, block: EventBlock) -> set[tuple[str, str]]:
        deltas = block.deltas
        touched: set[tuple[str, str]] = set()
        if not len(deltas):
            return touched
        columns = (deltas[name].tolist() for name in ("symbol", "side", "price", "size", "seq"))
        books: dict[int, DisplayedBook] = {}
        for symbol, side, price, size, seq in zip(*columns, strict=True):
            book = books.get(symbol)
            if book is None:
                key = (block.venue, block.symbols.names[symbol])
                touched.add(key)
                book = books[symbol] = self._market(*key, session=block.session).book
            book.delta(side, price, size, seq)
        return touched

    def _apply_quotes(self, block: EventBlock) -> set[tuple[str, str]]:
        """The last quote of each instrument: those before it were over when the batch was read."""
        touched: set[tuple[str, str]] = set()
        if not len(block.quotes):
            return touched
        _, index = np.unique(block.quotes["symbol"][::-1], return_index=True)
        names = ("bid_price", "bid_size", "ask_price", "ask_size", "seq")
        for row in block.quotes[len(block.quotes) - 1 - index]:
            key = (block.venue, block.symbols.names[row["symbol"]])
            touched.add(key)
            self._market(*key, session=block.session).book.quote(*(int(row[name]) for name in names))
        return touched

    def _trade(self, outcome: Outcome, block: EventBlock, row: Records) -> None:
        if row["condition"] not in (Condition.REGULAR, Condition.HIDDEN):
            return
        key = (block.venue, block.symbols.names[row["symbol"]])
        price, left = int(row["price"]), int(row["size"])
        for order in _priority(self._resting.get(key, [])):
            through = price < order.price if order.side == "buy" else price > order.price
            if through and left and order.leaves:
                size = min(left, order.leaves)
                left -= size
                order.ts = max(order.ts, int(row["ts_event"]))
                self._fill(outcome, order, size, order.price)

    def _status(self, outcome: Outcome, block: EventBlock, row: Records, ts: int) -> None:
        symbol, seq, code = (
            block.symbols.names[row["symbol"]],
            int(row["seq"]),
            StatusCode(int(row["status"])),
        )
        if symbol == "":
            if (code in _CLOSES or code in _OPENS) and seq > self._closed.get(block.venue, (-1, ""))[0]:
                self._closed[block.venue] = (seq, code.name.lower() if code in _CLOSES else "")
                if code in _CLOSES and self.live:
                    self._expire(outcome, block.venue, ts)
            return
        market = self._market(block.venue, symbol, session=block.session)
        if (code in _HALTS or code is StatusCode.TRADING) and seq > market.halt_seq:
            market.halt_seq, market.halt = seq, code.name.lower() if code in _HALTS else ""
        elif code is StatusCode.BOOK_LOST:
            market.book.lose(seq)

    def _expire(self, outcome: Outcome, venue: str, ts: int) -> None:
        for key, orders in self._resting.items():
            for order in orders if key[0] == venue else ():
                if order.leaves:
                    order.ts = self._time(venue, ts)
                    self._change(outcome, order, OrderState.EXPIRED, ReportType.EXPIRED, "end of the session")

    # --- inside --------------------------------------------------------------------------------

    def _market(self, venue: str, symbol: str, session: str = "") -> _Market:
        market = self._markets.get((venue, symbol))
        if market is None or (session > market.session and market.session):
            # a new session begins with an empty book; sessions of a venue are named in rising order
            market = self._markets[(venue, symbol)] = _Market()
        if session:
            market.session = max(market.session, session)
        return market

    def _tick_time(self, block: EventBlock) -> None:
        newest = self._venue_ts.get(block.venue, 0)
        for records in (block.trades, block.quotes, block.deltas):
            if len(records):
                newest = max(newest, int(records["ts_event"].max()))
        self._venue_ts[block.venue] = newest

    def _time(self, venue: str, ts: int) -> int:
        """The venue's time: event time of its feed, so that fills stand beside the ticks they met."""
        return self._venue_ts.get(venue, 0) or ts

    def _sweep(self, outcome: Outcome, order: VenueOrder) -> None:
        market = self._market(order.venue, order.symbol)
        if market.halt or not order.leaves:
            return
        for price, size in market.book.sweep(order.side, order.leaves, order.price):
            self._fill(outcome, order, size, price)

    def _fill(self, outcome: Outcome, order: VenueOrder, quantity: int, price: int) -> None:
        order.filled_quantity += quantity
        done = order.filled_quantity == order.quantity
        order.state = OrderState.FILLED if done else OrderState.PARTIALLY_FILLED
        self._execution_count += 1
        report = _report(
            order,
            ReportType.TRADE,
            order.ts,
            execution_id=f"{order.venue}-E{self._execution_count}",
            last_quantity=quantity,
            last_price=price,
        )
        outcome.orders[order.order_id] = order
        outcome.reports.append((order.client, report))

    def _change(
        self, outcome: Outcome, order: VenueOrder, state: OrderState, kind: ReportType, text: str = ""
    ) -> None:
        order.state = state
        outcome.orders[order.order_id] = order
        outcome.reports.append((order.client, _report(order, kind, order.ts, text)))

    def _settle(self, outcome: Outcome) -> None:
        for order in outcome.orders.values():
            if not order.leaves:
                self._forget(order)

    def _forget(self, order: VenueOrder) -> None:
        orders = self._resting.get((order.venue, order.symbol))
        if orders is not None and order in orders:
            orders.remove(order)
            if not orders:
                del self._resting[(order.venue, order.symbol)]


def _priority(orders: list[VenueOrder]) -> list[VenueOrder]:
    """Best price first, then the earliest."""
    return sorted(
        orders, key=lambda order: (-order.price if order.side == "buy" else order.price, order.number)
    )


def _report(
    order: VenueOrder,
    kind: ReportType,
    ts: int,
    text: str = "",
    execution_id: str = "",
    last_quantity: int = 0,
    last_price: int = 0,
) -> Report:
    return Report(
        report_type=kind,
        order_id=order.order_id,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        state=order.state,
        filled_quantity=order.filled_quantity,
        venue_order_id=order.venue_order_id,
        execution_id=execution_id,
        last_quantity=last_quantity,
        last_price=last_price,
        text=text,
        ts=ts,
    )


def _unknown(request: CancelRequest | StatusRequest, kind: ReportType, ts: int) -> Report:
    return Report(
        report_type=kind,
        order_id=request.order_id,
        venue=request.venue,
        symbol=request.symbol,
        side=request.side,
        state=OrderState.REJECTED,
        filled_quantity=0,
        text="unknown order",
        ts=ts,
        unknown_order=True,
    )
