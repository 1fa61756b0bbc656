"""Parents, books and experience in, slices out: the smart order router. Pure; time is a parameter.

A decision goes through these, and the first that has something to do is it:

1. Leg risk bounds what may be handed out (:mod:`~execution.router.legs`).
2. A ping of a dark pool or, for a patient parent (``time_in_force`` "day"), a post, if it is expected to gain
   over taking now (:mod:`~execution.router.waiting`).
3. A sweep: immediate-or-cancel slices over destinations and levels at the least expected cost
   (:mod:`~execution.router.allocation`). Slices are in the order of latency, the slowest first, so that they
   arrive close together.
4. A patient parent's rest is posted. Any other ends when there is nothing within its limit.

What a parent has done so far is read off its children, so a restart goes on where it was; what destinations
have taught is learnt anew, or from the journal (:meth:`SmartRouter.recover`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from execution.destinations import Destinations
from execution.orders import OrderRecord
from execution.router import Decision, Slice
from execution.router.allocation import (
    BPS,
    Offer,
    all_in,
    allocate,
    average_cost,
    marginal_price,
    rank,
    uncertainty,
)
from execution.router.books import BookSource, BookView, Levels
from execution.router.experience import Experience
from execution.router.legs import LegRisk, OrderOf
from execution.router.memory import Aims
from execution.router.record import write
from execution.router.settings import RoutingSettings
from execution.router.standing import Standing, standing
from execution.router.task import PATIENT, Candidate, Task, Weighed, reaches, take_bound, touch
from execution.router.waiting import Bet, best, bet, post_price, queue_share
from execution.venues import Report, ReportType
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.instruments import Instrument, Registry


class SmartRouter:
    """See the module. Not thread-safe: the engine's thread calls it.

    Parameters
    ----------
    books : BookSource
        What is displayed where; :class:`~execution.router.books.MarketBooks` over the market state.
    connected : Callable[[str], bool]
        Whether orders reach a destination now, by name.
    order_of : OrderOf
        An order by its id as it is now, also one that is over; None: there is none. For the other leg of a
        pair, so without it leg risk bounds nothing; see :meth:`attach`.
    """

    def __init__(
        self,
        settings: RoutingSettings,
        destinations: Destinations,
        registry: Registry,
        books: BookSource,
        connected: Callable[[str], bool] = lambda _: True,
        order_of: OrderOf = lambda _: None,
    ) -> None:
        self.settings, self.destinations, self._registry = settings, destinations, registry
        self._books, self._connected = books, connected
        self.experience = Experience(settings, destinations)
        self._aims = Aims(settings.memory_ns)
        self._legs = LegRisk(settings.legs, order_of)

    def attach(self, order_of: OrderOf) -> None:
        """Where parents are looked up, for who makes the router before what keeps them."""
        self._legs.order_of = order_of

    def recover(self, children: Iterable[OrderRecord]) -> None:
        """Learn from orders of the journal that have ended, oldest first."""
        self.experience.recover(children)

    def routes(self, venue: str) -> bool:
        """See :class:`execution.router.Router`."""
        return self.settings.routing.enabled and len(self.destinations.of(venue)) > 1

    def on_report(self, child: OrderRecord, report: Report, now_ns: int) -> None:
        """See :class:`execution.router.Router`."""
        self.experience.on_report(child, report, now_ns)
        destination = self.destinations.by_name.get(child.sent_to)
        ended = report.report_type in (ReportType.CANCELLED, ReportType.EXPIRED)
        immediate = child.time_in_force == "ioc" and child.order_type != "midpoint"
        if ended and immediate and destination is not None and report.filled_quantity < child.quantity:
            known = self.experience.of(destination)
            round_trip_ns = round(known.round_trip.mean_ns)
            self._aims.aim(
                *(destination.name, child.symbol, child.side, 0, now_ns, round_trip_ns), child.limit_price
            )

    def decide(self, parent: OrderRecord, children: Sequence[OrderRecord], now_ns: int) -> Decision | None:
        """See :class:`execution.router.Router`."""
        instrument = self._registry.instrument(parent.venue, parent.symbol)
        if parent.terminal or instrument is None:
            return None
        stand = standing(parent, children)
        if not stand.free and not stand.resting:  # all is under way: most calls of the timer end here
            self._legs.look(parent, stand.filled, stand.open, None, instrument.lot)
            return None
        task = self._task(parent, instrument, stand, now_ns)
        end = self._ended(task)
        if end:
            return self._give_up(task, end)
        cancel = self._overdue(task)
        weighed = Weighed("wait", "nothing may be handed out now")
        if task.free and stand.rounds < task.rounds_max:
            weighed = self._plan(task)
        if weighed.slices or cancel:
            self._note(task, weighed.slices)
            record = write(task, weighed, cancel, self.settings.digest)
            return Decision(weighed.slices, cancel, False, weighed.why, record)
        if task.free and not stand.open and not self._waits(task, children):
            return self._give_up(task, weighed.why)
        return None

    def _waits(self, task: Task, children: Sequence[OrderRecord]) -> bool:
        """Whether a parent that finds nothing waits for a book: a patient one does, and a leg for a while."""
        if task.patient or task.leg is None:
            return task.patient
        began = max((child.ts_created for child in children), default=task.parent.ts_created)
        return task.now_ns - began < self.settings.legs.wait_ms * NS_PER_MS

    def _task(self, parent: OrderRecord, instrument: Instrument, stand: Standing, now_ns: int) -> Task:
        candidates = self._candidates(parent, stand, now_ns)
        near, far = touch(candidates, parent.side)
        mid = parent.limit_price if near is None or far is None else (near + far) // 2
        leg = self._legs.look(parent, stand.filled, stand.open, mid, instrument.lot)
        allowed = stand.free if leg is None else min(stand.free, leg.quantity)
        bound = take_bound(
            *(parent, leg is not None and leg.laggard, far),
            *(self.settings.legs.laggard_cross_bps, instrument.tick),
        )
        rounds_max = self.settings.routing.rounds_max * (1 if leg is None else leg.tranches)
        free = allowed // instrument.lot * instrument.lot
        return Task(
            *(parent, instrument, stand, leg, candidates, free, near, far, mid, bound, rounds_max, now_ns)
        )

    def _ended(self, task: Task) -> str:
        """Why nothing more will be tried, whatever the market does; empty: something may."""
        stand = task.stand
        if task.leg is not None and task.leg.stop:
            return task.leg.stop
        if task.parent.limit_price <= 0:
            return "a parent order needs a limit price: without one nothing bounds what its parts may pay"
        if stand.open:
            return ""
        if stand.free < task.instrument.lot:
            return "less than a lot is left"
        if stand.rounds >= task.rounds_max:
            return f"a destination was asked {stand.rounds} times"
        if all(one.destination.name in stand.shunned for one in task.candidates):
            return "every destination rejected a part of it"
        return ""

    # --- what there is ---------------------------------------------------------------------------

    def _candidates(self, parent: OrderRecord, stand: Standing, now_ns: int) -> list[Candidate]:
        found = []
        for destination in self.destinations.of(parent.venue):
            book = self._books(destination, parent.symbol)
            out = (
                stand.shunned.get(destination.name, "")
                or ("" if self._connected(destination.name) else "there is no session with it")
                or self.experience.left_out(destination, now_ns)
                or self._distrusted(book, now_ns)
            )
            levels: Levels = ()
            if book is not None and not out and not destination.dark:
                believed = self._aims.left(
                    destination.name, parent.symbol, parent.side, book.far(parent.side), book.ts_recv, now_ns
                )
                levels = believed[: self.settings.take.levels_max]
            found.append(Candidate(destination, self.experience.of(destination), book, levels, out))
        return found

    def _distrusted(self, book: BookView | None, now_ns: int) -> str:
        if book is None:
            return "no book of it was seen"
        if book.refused:
            return book.refused
        age_ms = (now_ns - book.feed_ts) // NS_PER_MS
        if age_ms > self.settings.routing.feed_age_ms_max:
            return f"its feed has said nothing for {age_ms} ms"
        return ""

    # --- what to do ------------------------------------------------------------------------------

    def _plan(self, task: Task) -> Weighed:
        offers = self._offers(task)
        taking = average_cost(offers, task.free)
        bets = [] if task.laggard else self._pings(task, taking)
        posting = task.patient and not task.laggard and not task.last
        if posting and task.stand.posts < self.settings.post.posts_max:
            bets += self._posts(task, taking)
        chosen = best(bets)
        if chosen is not None:
            why = f"{chosen.action} at {chosen.destination}: the expected gain is worth the wait"
            return Weighed(chosen.action, why, [self._slice_of(task, chosen)], offers, bets)
        slices = self._sweep(task, offers)
        if slices:
            return Weighed("sweep", "the least expected cost now", slices, offers, bets)
        rest = best(self._posts(task, None)) if task.patient else None
        if rest is not None:
            why = "nothing can be taken within the limit"
            return Weighed("post", why, [self._slice_of(task, rest)], offers, [*bets, rest])
        return Weighed("none", "nothing within the limit at any destination", [], offers, bets)

    def _offers(self, task: Task) -> list[Offer]:
        """What may be taken within the limit, with what it is expected to cost; the cheapest first."""
        side, take, bound = task.parent.side, self.settings.take, task.bound
        miss, drift = task.mid * take.miss_bps / BPS, self._drift(task)
        offers = []
        for one in task.candidates:
            if not one.levels:
                continue
            name, latency_ns = one.destination.name, one.known.one_way_ns
            fixed = one.destination.taker_fee + uncertainty(one.known.fill.mean, miss, latency_ns, drift)
            for price, size in one.levels:
                if not reaches(side, bound, price):
                    break
                offers.append(Offer(name, price, size, all_in(side, price, fixed), latency_ns))
        return rank(offers)

    def _drift(self, task: Task) -> float:
        """Nanos of price a nanosecond of waiting."""
        return task.mid * self.settings.take.drift_bps_per_s / BPS / NS_PER_S

    def _pings(self, task: Task, taking: int | None) -> list[Bet]:
        dark, parent, stand = self.settings.dark, task.parent, task.stand
        pings_max = dark.pings_max * (1 if task.leg is None else task.leg.tranches)
        bets: list[Bet] = []
        for one in task.candidates if dark.enabled else []:
            name = one.destination.name
            mid = one.book.mid if one.book is not None else None
            if not one.destination.dark or one.out or mid is None:
                continue
            if stand.pings[name] >= pings_max or name == stand.pinged_last:
                continue
            if not reaches(parent.side, parent.limit_price, mid):
                continue
            cost = all_in(parent.side, mid, one.destination.taker_fee)
            trip = one.known.round_trip
            wait_ns = round(trip.mean_ns + 4 * trip.deviation_ns)  # RFC 6298's time-out: nearly all are back
            bets.append(
                bet(
                    *("ping", name, parent.limit_price, cost, taking),
                    *(one.known.fill.mean, wait_ns, self._drift(task), task.mid * dark.leak_bps / BPS),
                    one.known.one_way_ns,
                )
            )
        return bets

    def _posts(self, task: Task, taking: int | None) -> list[Bet]:
        post, parent = self.settings.post, task.parent
        if not post.enabled:
            return []
        price = post_price(parent.side, task.near, task.far, parent.limit_price, task.instrument.tick)
        if price is None:
            return []
        bets = []
        for one in task.candidates:
            if one.destination.dark or one.out or one.book is None:
                continue
            cost = all_in(parent.side, price, one.destination.maker_fee)
            ahead = sum(size for at, size in one.book.near(parent.side) if at == price)
            chance = one.known.post.mean * (1 + queue_share(task.free, ahead)) / 2
            bets.append(
                bet(
                    *("post", one.destination.name, price, cost, taking, chance),
                    *(post.wait_ms * NS_PER_MS, self._drift(task), 0.0, one.known.one_way_ns),
                )
            )
        return bets

    def _slice_of(self, task: Task, chosen: Bet) -> Slice:
        if chosen.action == "post":
            where = (chosen.destination, task.free, chosen.price)
            return Slice(*where, time_in_force=PATIENT, post_only=True, why="post at the touch or the limit")
        lot = task.instrument.lot
        return Slice(
            *(chosen.destination, task.free, chosen.price, "midpoint"),
            min_quantity=int(task.free * self.settings.dark.minimum) // lot * lot,
            why="ping at the midpoint",
        )

    def _sweep(self, task: Task, offers: list[Offer]) -> list[Slice]:
        side = task.parent.side
        shares = allocate(offers, task.free, task.instrument.lot)
        displayed = sum(share.quantity for share in shares)
        marginal = max((share.cost for share in shares), default=0)
        wide = task.last or displayed < task.free  # nothing better is left anywhere
        slices = []
        for share in sorted(shares, key=lambda one: (-one.latency_ns, one.destination)):
            price = task.bound
            if not wide:
                price = marginal_price(side, share, marginal, task.bound, task.instrument.tick)
            slices.append(Slice(share.destination, share.quantity, price, why="displayed"))
        if slices and displayed < task.free and not task.patient:
            self._add_hidden(task, slices, task.free - displayed)
        return slices

    def _add_hidden(self, task: Task, slices: list[Slice], rest: int) -> None:
        """What nobody displays is asked for where hidden size has been found: an IOC order costs nothing."""
        known = {one.destination.name: one.known for one in task.candidates}
        where = max(
            range(len(slices)),
            key=lambda at: (known[slices[at].destination].hidden.mean, -at),
        )
        old = slices[where]
        slices[where] = Slice(
            old.destination, old.quantity + rest, old.limit_price, why="displayed, and hidden beyond it"
        )

    # --- what is under way -------------------------------------------------------------------------

    def _overdue(self, task: Task) -> list[str]:
        """Posts that waited too long, or that the market or the other leg left behind."""
        post, parent, tick = self.settings.post, task.parent, task.instrument.tick
        takeable = any(
            one.levels and reaches(parent.side, task.bound, one.levels[0][0]) for one in task.candidates
        )
        recall = task.leg is not None and (task.leg.recall or (task.laggard and takeable))
        wanted = post_price(parent.side, task.near, task.far, parent.limit_price, tick)
        found = []
        for child in task.stand.resting:
            age_ns = task.now_ns - child.ts_created
            waited = takeable and age_ns >= post.wait_ms * NS_PER_MS
            behind = False
            if wanted is not None and age_ns >= post.reprice_ms * NS_PER_MS:
                moved = wanted - child.limit_price if parent.side == "buy" else child.limit_price - wanted
                behind = moved >= post.reprice_ticks * tick
            if recall or ((waited or behind) and not task.last):
                found.append(child.order_id)
        return found

    def _give_up(self, task: Task, why: str) -> Decision | None:
        cancel = [child.order_id for child in task.stand.resting]
        over = task.stand.open == 0
        if over:
            self._legs.over(task.parent)
        elif not cancel:
            return None  # what is in flight tells by itself
        record = write(task, Weighed("stop", why), cancel, self.settings.digest)
        return Decision([], cancel, over, why, record)

    def _note(self, task: Task, slices: list[Slice]) -> None:
        """What goes out now is gone from the books that it aims at."""
        parent = task.parent
        by_name = {one.destination.name: one for one in task.candidates}
        for part in slices:
            one = by_name[part.destination]
            if part.time_in_force != "ioc" or one.destination.dark:
                continue
            shown = sum(size for price, size in one.levels if reaches(parent.side, part.limit_price, price))
            self.experience.aimed(parent.order_id, part.destination, min(shown, part.quantity))
            self._aims.aim(
                *(part.destination, parent.symbol, parent.side, min(shown, part.quantity), task.now_ns),
                round(one.known.round_trip.mean_ns),
            )
