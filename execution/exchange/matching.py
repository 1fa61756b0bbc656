"""Orders and market events in, fills and order states out: the exchange's core. Pure and deterministic.

Each venue has a profile (:mod:`execution.exchange.profile`) and follows a feed; how orders meet is the
business of :mod:`~execution.exchange.lit` and :mod:`~execution.exchange.dark`. Here orders are taken,
refused, replaced, cancelled and expired, fills get numbers and fees, and every change becomes a report.

The same inputs in the same order give the same outcomes, ids included; the shell makes an outcome
durable before anybody hears of it. A new engine first reads the feed's past, so that it knows the
books, and trades nothing meanwhile: :meth:`MatchingEngine.go_live` ends that.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from execution.exchange import feed_rows
from execution.exchange.admission import refuse, refuse_replacement
from execution.exchange.executions import Executions
from execution.exchange.lit import LitBook
from execution.exchange.market import Markets
from execution.exchange.orders import (
    Fill,
    Outcome,
    Prevented,
    VenueOrder,
    report,
    unknown,
)
from execution.exchange.profile import VenueProfile
from execution.exchange.requests import (
    DAY,
    FOK,
    CancelRequest,
    NewOrder,
    OrderType,
    ReplaceOrder,
    StatusRequest,
)
from execution.venues import Report, ReportType
from tickloom.events import EventBlock, Execution, OrderState
from tickloom.instruments import Registry
from tickloom.records import replace

__all__ = ["MatchingEngine", "Outcome", "VenueOrder"]


class MatchingEngine:
    """All venues of one simulated exchange.

    Parameters
    ----------
    orders : list of VenueOrder
        What its record holds; open ones rest again.
    execution_count : int
        Fills in its record, so that execution ids go on behind them.
    profiles : dict of str to VenueProfile, optional
        By name. A venue without one is lit and costs nothing.
    executions : iterable of Execution
        What its record holds, so that they can be busted.
    """

    def __init__(
        self,
        registry: Registry,
        orders: list[VenueOrder],
        execution_count: int,
        profiles: dict[str, VenueProfile] | None = None,
        executions: Iterable[Execution] = (),
    ) -> None:
        self.orders = {order.order_id: order for order in orders}
        successors = {order.original_order_id: order.order_id for order in orders if order.original_order_id}
        self._executions = Executions(_inherited(executions, successors), execution_count)
        self._order_count = max((order.number for order in orders), default=0)
        self._markets = Markets(registry, profiles or {})
        self._reject_next: dict[str, int] = {}
        self.live = False
        for order in sorted(orders, key=lambda order: order.number):
            if order.leaves:
                self._markets.book(order.venue, order.symbol).rest(order)

    @property
    def markets(self) -> Markets:
        """The books, for who publishes them."""
        return self._markets

    # --- requests ------------------------------------------------------------------------------

    def submit(self, client: str, request: NewOrder, ts: int) -> Outcome:
        """A new order. One whose id is known is not executed again: the answer is its state."""
        known = self.orders.get(request.order_id)
        if known is not None:
            text = "duplicate ClOrdID: this is its state, nothing was done"
            return Outcome(answer=report(known, ReportType.STATUS, ts, text))
        order = self._make(client, request, ts)
        outcome = Outcome()
        refused = refuse(self._markets, order) or self._refuse_by_chance(order)
        if refused:
            self._change(outcome, order, OrderState.REJECTED, ReportType.REJECTED, refused)
            return outcome
        self._change(outcome, order, OrderState.NEW, ReportType.NEW)
        self._enter(outcome, order)
        return outcome

    def replace(self, request: ReplaceOrder, ts: int) -> Outcome:
        """Another order in the place of one that rests; refused whole where it cannot be."""
        old = self.orders.get(request.original_order_id)
        if old is None:
            asked = CancelRequest(request.order_id, request.venue, request.symbol, request.side)
            return Outcome(answer=unknown(asked, ReportType.CANCEL_REJECTED, ts))
        text = refuse_replacement(self._markets, old, request, request.order_id in self.orders)
        if text:
            return Outcome(answer=report(old, ReportType.CANCEL_REJECTED, ts, text))
        outcome = Outcome()
        keeps = request.price == old.price and request.quantity <= old.quantity
        if not keeps:
            self._order_count += 1
        new = replace(
            old,
            order_id=request.order_id,
            quantity=request.quantity,
            price=request.price,
            number=old.number if keeps else self._order_count,
            ts=self._markets.time(old.venue, ts),
            client_order_id=request.client_order_id,
            user_ref=request.user_ref,
            original_order_id=old.order_id,
        )
        book = self._markets.book(old.venue, old.symbol)
        book.forget(old)
        old.state, old.queue = OrderState.REPLACED, None
        outcome.orders[old.order_id] = old
        self.orders[new.order_id] = new
        self._executions.carry(old, new)
        self._replaced(outcome, new, old.order_id)
        if not new.leaves:
            self._cancel(outcome, new, "replaced by what was executed already")
        elif keeps:
            book.resting.append(new)
        else:
            self._enter(outcome, new)
        return outcome

    def cancel(self, request: CancelRequest, ts: int) -> Outcome:
        """Cancel what is left, or a part; a cancel that comes too late is rejected with the order's state."""
        order = self.orders.get(request.order_id)
        if order is None:
            return Outcome(answer=unknown(request, ReportType.CANCEL_REJECTED, ts))
        if not order.leaves:
            text = f"too late to cancel: {order.state}"
            return Outcome(answer=report(order, ReportType.CANCEL_REJECTED, ts, text))
        outcome = Outcome()
        order.ts = self._markets.time(order.venue, ts)
        above = order.quantity - max(request.quantity, order.filled_quantity + order.busted_quantity)
        if request.quantity and above < order.leaves:
            if above <= 0:
                return Outcome(answer=report(order, ReportType.CANCEL_REJECTED, ts, "that is no reduction"))
            self._reduce(outcome, order, above)
        else:
            self._cancel(outcome, order, "cancelled by request")
        return outcome

    def status(self, request: StatusRequest, ts: int) -> Outcome:
        """The state of an order, or that there is none."""
        order = self.orders.get(request.order_id)
        if order is None:
            return Outcome(answer=unknown(request, ReportType.STATUS, ts))
        return Outcome(answer=report(order, ReportType.STATUS, ts))

    # --- the venue's own doing -------------------------------------------------------------------

    def cancel_unsolicited(self, order_id: str, text: str, ts: int) -> Outcome:
        """The venue takes an order out of its book."""
        outcome, order = Outcome(), self.orders.get(order_id)
        if order is not None and order.leaves:
            order.ts = self._markets.time(order.venue, ts)
            self._cancel(outcome, order, text)
        return outcome

    def bust(self, execution_id: str, ts: int) -> Outcome:
        """An execution is taken back, on both sides where both are ours; an unknown one is nothing."""
        return self._executions.amend(execution_id, 0, 0, self.orders, self._amended_ts(execution_id, ts))

    def correct(self, execution_id: str, quantity: int, price: int, ts: int) -> Outcome:
        """An execution had another quantity or price, on both sides where both are ours; nanos, above 0."""
        if quantity <= 0 or price <= 0:
            return Outcome()
        at = self._amended_ts(execution_id, ts)
        return self._executions.amend(execution_id, quantity, price, self.orders, at)

    def _amended_ts(self, execution_id: str, ts: int) -> int:
        return self._markets.time(execution_id.rpartition("-")[0], ts)

    def halt(self, venue: str, symbol: str, text: str) -> None:
        """No trading in an instrument of a venue until it is resumed, whatever the feed says."""
        self._markets.halt(venue, symbol, text)

    def resume(self, venue: str, symbol: str, ts: int) -> Outcome:
        """Trading goes on; what rests may trade at once."""
        self._markets.halt(venue, symbol, "")
        outcome = Outcome()
        if self.live and not self._markets.stopped(venue, symbol):
            self._apply(outcome, self._markets.refresh(venue, symbol, ts), venue, ts)
        return outcome

    def reject_next(self, venue: str, count: int) -> None:
        """Reject so many of the next orders."""
        self._reject_next[venue] = count

    # --- the market ----------------------------------------------------------------------------

    def go_live(self, ts: int) -> Outcome:
        """From now on the market is the present: orders trade. Day orders of a venue that closed expire."""
        self.live = True
        outcome = Outcome()
        for venue in sorted({order.venue for order in self.orders.values()}):
            if self._markets.closed(venue):
                self._expire(outcome, venue, ts)
        return outcome

    def apply(self, block: EventBlock, ts: int) -> Outcome:
        """Let the market move; what that does to resting orders (nothing before :meth:`go_live`)."""
        outcome, rows = Outcome(), feed_rows.read(block)
        for venue in self._markets.followers(block.venue):
            filled = partial(self._apply, outcome, venue=venue, ts=ts)
            moved = self._markets.apply(venue, rows, self.live, filled)
            if not self.live:
                continue
            for symbol in moved.touched:
                rests = bool(self._markets.book(venue, symbol).resting)
                if rests and not self._markets.stopped(venue, symbol):
                    self._apply(outcome, self._markets.refresh(venue, symbol, ts), venue, ts)
            if moved.closed:
                self._expire(outcome, venue, ts)
        return outcome

    # --- inside --------------------------------------------------------------------------------

    def _make(self, client: str, request: NewOrder, ts: int) -> VenueOrder:
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
            ts=self._markets.time(request.venue, ts),
            order_type=request.order_type,
            min_quantity=request.min_quantity,
            post_only=request.post_only,
            client_order_id=request.client_order_id,
            user_ref=request.user_ref,
        )
        self.orders[order.order_id] = order
        return order

    def _refuse_by_chance(self, order: VenueOrder) -> str:
        if self._reject_next.get(order.venue, 0) > 0:
            self._reject_next[order.venue] -= 1
            return "rejected on demand"
        profile = self._markets.profile(order.venue)
        if profile.reject_share:
            draw = random.Random(f"{profile.seed}|reject|{order.number}").random()
            if draw < profile.reject_share:
                return "rejected at random"
        return ""

    def _enter(self, outcome: Outcome, order: VenueOrder) -> None:
        """Match it, and let rest what may."""
        book = self._markets.book(order.venue, order.symbol)
        if order.post_only and isinstance(book, LitBook) and book.would_trade(order, order.ts):
            self._cancel(outcome, order, "post only: it would have traded")
            return
        if order.time_in_force == FOK and book.fillable(order, order.ts) < order.leaves:
            self._cancel(outcome, order, "fill or kill: not enough at the limit")
            return
        self._apply(outcome, book.match(order, order.ts), order.venue, order.ts)
        if not order.leaves:
            return
        if order.time_in_force != DAY or order.order_type is OrderType.MARKET:
            self._cancel(outcome, order, "immediate or cancel: nothing more at the limit")
        else:
            book.rest(order)

    def _apply(self, outcome: Outcome, steps: Sequence[Fill | Prevented], venue: str, ts: int) -> None:
        """Make changes of orders out of what the book found."""
        numbers: dict[tuple[int, int], str] = {}
        for step in steps:
            order = step.order
            if isinstance(step, Prevented):
                text = "self match prevention"
                if step.quantity < order.leaves:
                    self._reduce(outcome, order, step.quantity, text)
                else:
                    self._cancel(outcome, order, text)
                continue
            order.ts = self._markets.time(venue, ts)
            number = self._fill(outcome, step)
            if step.contra is not None:
                pair = (min(order.number, step.contra.number), max(order.number, step.contra.number))
                other = numbers.pop(pair, "")
                if other:
                    self._executions.join(number, other)
                else:
                    numbers[pair] = number

    def _fill(self, outcome: Outcome, fill: Fill) -> str:
        order = fill.order
        order.filled_quantity += fill.quantity
        order.state = OrderState.PARTIALLY_FILLED if order.leaves else OrderState.FILLED
        number = self._executions.add(order, fill.quantity, fill.price)
        fees = self._markets.profile(order.venue).fees
        told = replace(
            report(order, ReportType.TRADE, order.ts),
            execution_id=number,
            last_quantity=fill.quantity,
            last_price=fill.price,
            liquidity="added" if fill.maker else "removed",
            fee=fees.of(fill.maker, fill.quantity, fill.price),
        )
        outcome.orders[order.order_id] = order
        outcome.reports.append((order.client, told))
        if not order.leaves:
            self._markets.book(order.venue, order.symbol).forget(order)
        return number

    def _change(
        self, outcome: Outcome, order: VenueOrder, state: OrderState, kind: ReportType, text: str = ""
    ) -> None:
        order.state = state
        outcome.orders[order.order_id] = order
        outcome.reports.append((order.client, report(order, kind, order.ts, text)))

    def _cancel(self, outcome: Outcome, order: VenueOrder, text: str) -> None:
        self._markets.book(order.venue, order.symbol).forget(order)
        self._change(outcome, order, OrderState.CANCELLED, ReportType.CANCELLED, text)

    def _reduce(self, outcome: Outcome, order: VenueOrder, quantity: int, text: str = "") -> None:
        """So much less of it, in its place."""
        order.quantity -= quantity
        self._replaced(outcome, order, order.order_id, text, quantity)

    def _replaced(
        self, outcome: Outcome, order: VenueOrder, original: str, text: str = "", taken_off: int = 0
    ) -> None:
        told: Report = replace(
            report(order, ReportType.REPLACED, order.ts, text),
            original_order_id=original,
            last_quantity=taken_off,
            quantity=order.quantity,
            price=order.price,
        )
        outcome.orders[order.order_id] = order
        outcome.reports.append((order.client, told))

    def _expire(self, outcome: Outcome, venue: str, ts: int) -> None:
        for book in self._markets.books(venue):
            for order in sorted(book.resting, key=lambda order: order.number):
                order.ts = self._markets.time(venue, ts)
                self._change(outcome, order, OrderState.EXPIRED, ReportType.EXPIRED, "end of the session")
                book.forget(order)


def _inherited(executions: Iterable[Execution], successors: dict[str, str]) -> Iterator[Execution]:
    """Executions as those of the orders that stand now, at the end of the chains of replacements."""
    for execution in executions:
        owner = execution.order_id
        while owner in successors:
            owner = successors[owner]
        yield replace(execution, order_id=owner)
