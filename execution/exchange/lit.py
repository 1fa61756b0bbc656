"""One instrument on a lit venue: our clients' orders among those of the feed, by price and time. Pure.

The book has two sorts of orders: the feed's, of which only level sizes are known, and our clients'.
An order that comes in takes both, best price first and inside a price in the queue's order: what the
feed had there before an order of ours, that order, and so on. A resting order of ours is filled by

- another client's order that reaches it;
- a trade of the feed at its price, behind the volume ahead of it, or through its price;
- the feed showing the other side at its price or better.

A resting order trades at its own price. What it takes is gone for everybody else on this venue.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from execution.exchange.book import BUY, SELL, DisplayedBook
from execution.exchange.impact import Impact
from execution.exchange.orders import Fill, Prevented, VenueOrder, priority
from execution.exchange.profile import CANCEL_NEWEST, CANCEL_OLDEST, VenueProfile
from execution.exchange.queue import QueuePosition

TRADES_MAX = 256  # trades whose decrease has not been seen yet; seconds of a busy instrument


@dataclass(slots=True)
class _Step:
    """What the next piece of an order would meet. maker None: the feed."""

    price: int
    paid: int
    quantity: int
    maker: VenueOrder | None


class LitBook:
    """See the module.

    Parameters
    ----------
    tick, lot : int
        Of the instrument, nanos.
    """

    def __init__(self, profile: VenueProfile, tick: int, lot: int) -> None:
        self._profile, self._tick, self._lot = profile, tick, lot
        self.displayed = DisplayedBook(decreased=self._decreased)
        self.impact = Impact(profile.impact)
        self.resting: list[VenueOrder] = []
        self._trades: deque[tuple[int, int, int]] = deque(maxlen=TRADES_MAX)

    def clear(self) -> None:
        """A new session: the feed's book begins empty; orders of ours that rest stay."""
        self.displayed = DisplayedBook(decreased=self._decreased)
        self._trades.clear()

    # --- orders that come in ---------------------------------------------------------------------

    def would_trade(self, order: VenueOrder, ts: int) -> bool:
        """Whether it would meet something at once (post only)."""
        return self._next(order, order.leaves, 0, {}, {}, ts) is not None

    def fillable(self, order: VenueOrder, ts: int) -> int:
        """How much of it would be filled at once, up to what is left of it (fill or kill)."""
        return sum(step.quantity for step in self._plan(order, ts) if not self._own(order, step.maker))

    def match(self, order: VenueOrder, ts: int) -> list[Fill | Prevented]:
        """Trade what can be traded now. Quantities of orders are changed by whoever applies the result."""
        done: list[Fill | Prevented] = []
        for step in self._plan(order, ts):
            maker = step.maker
            if maker is None:
                level = self.displayed.levels(SELL if order.side == "buy" else BUY)[step.price]
                level.available -= step.quantity
                self._consume(_opposite(order.side), step.price, step.quantity)
                self.impact.take(order.side, step.quantity, ts)
                done.append(Fill(order, step.quantity, step.paid, maker=False))
            elif self._own(order, maker):
                done += self._prevent(order, maker, step.quantity)
            else:
                done.append(Fill(maker, step.quantity, step.price, maker=True, contra=order))
                done.append(Fill(order, step.quantity, step.price, maker=False, contra=maker))
        return done

    def _own(self, order: VenueOrder, maker: VenueOrder | None) -> bool:
        return maker is not None and maker.client == order.client

    def _prevent(self, order: VenueOrder, maker: VenueOrder, quantity: int) -> list[Prevented]:
        policy = self._profile.self_trade
        if policy == CANCEL_NEWEST:
            return [Prevented(order, quantity)]
        if policy == CANCEL_OLDEST:
            return [Prevented(maker, quantity)]
        return [Prevented(maker, quantity), Prevented(order, quantity)]

    def _plan(self, order: VenueOrder, ts: int) -> list[_Step]:
        """The steps of an order, best first, without changing anything."""
        left = order.leaves
        steps: list[_Step] = []
        taken: dict[int, int] = {}  # from the feed's levels
        gone: dict[int, int] = {}  # from our orders, by number
        market = 0
        while left:
            step = self._next(order, left, market, taken, gone, ts)
            if step is None:
                break
            maker = step.maker
            if maker is None:
                taken[step.price] = taken.get(step.price, 0) + step.quantity
                market += step.quantity
            elif self._own(order, maker):
                if self._profile.self_trade == CANCEL_NEWEST:
                    step.quantity = left
                elif self._profile.self_trade == CANCEL_OLDEST:
                    step.quantity = maker.leaves - gone.get(maker.number, 0)
                gone[maker.number] = gone.get(maker.number, 0) + step.quantity
            else:
                gone[maker.number] = gone.get(maker.number, 0) + step.quantity
            steps.append(step)
            if not (self._own(order, maker) and self._profile.self_trade == CANCEL_OLDEST):
                left -= step.quantity
        return steps

    def _next(
        self, order: VenueOrder, left: int, market: int, taken: dict[int, int], gone: dict[int, int], ts: int
    ) -> _Step | None:
        """The best that is there for it: the first of our orders in priority, or the feed's best level."""
        makers = [
            other
            for other in self.resting
            if other.side != order.side
            and order.reaches(other.price)
            and other.leaves > gone.get(other.number, 0)
        ]
        maker = priority(makers)[0] if makers else None
        for price, level in self.displayed.offered(order.side):
            size = min(left, level.available - taken.get(price, 0))
            if size <= 0:
                continue
            if not order.reaches(price) or (maker is not None and _worse(order.side, price, maker.price)):
                break
            if maker is not None and maker.price == price and maker.queue is not None:
                size = min(size, maker.queue.ahead - taken.get(price, 0))
                if size <= 0:
                    break
            bound = maker.price if maker is not None else order.price
            step = self._from_feed(order, price, size, market, bound, ts)
            if step is None:
                break
            return step
        if maker is None:
            return None
        size = min(left, maker.leaves - gone.get(maker.number, 0))
        return _Step(maker.price, maker.price, size, maker)

    def _from_feed(
        self, order: VenueOrder, price: int, size: int, market: int, bound: int, ts: int
    ) -> _Step | None:
        """As much of a level as the impact of taking it leaves within ``bound`` (0: no bound)."""
        if not self.impact.model.on:
            return _Step(price, price, size, None)
        if bound > 0:
            whole = market + size
            fits = self.impact.within(order.side, price, whole, bound, self._lot, self._tick, ts)
            size = min(size, fits - market)
            if size <= 0:
                return None
        paid = self.impact.price(order.side, price, market + size, self._tick, ts)
        return _Step(price, paid, size, None)

    # --- orders that rest ------------------------------------------------------------------------

    def rest(self, order: VenueOrder) -> None:
        """It waits, behind all that is displayed at its price."""
        ahead, since = self.displayed.ahead(order.side, order.price)
        order.queue = QueuePosition(ahead, self._profile.cancel_ahead, since)
        self.resting.append(order)

    def forget(self, order: VenueOrder) -> None:
        """It rests no more."""
        self.resting = [other for other in self.resting if other is not order]

    def trade(self, price: int, size: int, aggressor: str, seq: int) -> list[Fill]:
        """The feed traded. aggressor: "buy", "sell", or empty where it is not known."""
        fills: list[Fill] = []
        for side in ("buy", "sell"):
            if any(order.side == side and order.leaves for order in self.resting):
                fills += self._trade_side(side, price, size, aggressor, seq)
        self._trades.append((seq, price, size))
        return fills

    def _trade_side(self, side: str, price: int, size: int, aggressor: str, seq: int) -> list[Fill]:
        fills: list[Fill] = []
        left, consumed = size, 0
        for order in priority([found for found in self.resting if found.side == side]):
            if not order.leaves or order.queue is None or seq <= order.queue.since:
                continue
            if _worse(_opposite(side), price, order.price):  # through our price: we would have been first
                ahead = 0
            elif price == order.price and aggressor != side:
                if self._seen(side, price, seq):
                    order.queue.late_trade(seq, size)
                ahead = max(0, order.queue.ahead - consumed)
            else:
                continue
            passed = min(left, ahead)
            left, consumed = left - passed, consumed + passed
            filled = min(left, order.leaves)
            if filled:
                left -= filled
                fills.append(Fill(order, filled, order.price, maker=True))
            if price == order.price:
                order.queue.consume(consumed)
        return fills

    def _seen(self, side: str, price: int, seq: int) -> bool:
        """Whether the level has already shown what the message ``seq`` did."""
        level = self.displayed.levels(BUY if side == "buy" else SELL).get(price)
        return level is None or level.seq >= seq

    def refresh(self) -> list[Fill]:
        """The feed's book has changed: what rests and meets the other side trades, at its own price."""
        fills: list[Fill] = []
        for side in ("buy", "sell"):
            best = self.displayed.best_offered(side)
            if best is None:
                continue
            # hardly ever is there any: what rests is behind the market
            met = [order for order in self.resting if order.side == side and order.reaches(best)]
            for order in priority(met):
                swept = self.displayed.sweep(side, order.leaves, order.price) if order.leaves else []
                quantity = sum(size for _, size in swept)
                if quantity:
                    fills.append(Fill(order, quantity, order.price, maker=True))
        return fills

    def _decreased(self, side: int, price: int, after: int, seq: int, before: int, size: int) -> None:
        """A level of the feed went down."""
        name = "buy" if side == BUY else "sell"
        ours = [order for order in self.resting if order.side == name and order.price == price]
        if not ours:
            return
        traded = sum(
            quantity for number, at, quantity in self._trades if after < number <= seq and at == price
        )
        for order in ours:
            if order.queue is not None:
                order.queue.decrease(after, seq, before, size, min(traded, before - size))

    def _consume(self, side: str, price: int, quantity: int) -> None:
        """An order of ours took from a level of the feed where others of ours rest behind."""
        for order in self.resting:
            if order.side == side and order.price == price and order.queue is not None:
                order.queue.consume(quantity)


def _opposite(side: str) -> str:
    return "sell" if side == "buy" else "buy"


def _worse(side: str, price: int, than: int) -> bool:
    """For somebody who trades to ``side``: a buyer finds a higher price worse, a seller a lower one."""
    return price > than if side == "buy" else price < than
