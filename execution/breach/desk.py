"""Breaches in, cancels and reducing orders out: the plans of all breaches, run over one book.

A breach that has a plan starts one unwinding; the same breach again starts none while that is under way. When
an unwinding is done its level stays on reduce-only until somebody releases it: what broke a limit
once is looked at by a person before it trades again. An outage (a dead feed, a lost venue) is over by
itself when it is over. The caller makes the events durable, then acts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from execution.breach.detect import Breach, BreachKind
from execution.breach.unwinding import (
    Holdings,
    Key,
    OpenOrder,
    PairLegs,
    Slice,
    Unwinding,
    UnwindingEvent,
    UnwindingState,
)
from execution.limits.tables import BreachPlan
from execution.orders import OrderRecord
from execution.risk.book import RiskBook
from execution.risk.checks import Level
from execution.risk.layout import C_POSITION, S_LOT, S_MARK, S_VOLUME_NS
from tickloom.instruments import Registry

_OUTAGES = (BreachKind.DEAD_FEED, BreachKind.LOST_VENUE)
Scope = tuple[BreachKind, Level, str]
#: What an operator's flatten does where the limits file declares nothing else.
FLATTEN = BreachPlan(stages=("stop_new", "cancel_open", "flat"), participation_bps=10_000)


@dataclass(slots=True)
class DeskActions:
    """What to do now: events first. cancel: client order ids. over: (level, name, why) that trade again.
    ended: unwindings of outages that are forgotten, because they are over."""

    events: list[tuple[Breach, UnwindingEvent]] = field(default_factory=list)
    cancel: list[str] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    over: list[tuple[Level, str, str]] = field(default_factory=list)
    ended: list[Scope] = field(default_factory=list)


class BreachDesk:
    """All unwindings of one agent. Not thread-safe, as the book.

    Parameters
    ----------
    is_slice : Callable[[OrderRecord], bool]
        Whether an order is a slice of an unwinding.
    """

    def __init__(self, book: RiskBook, registry: Registry, is_slice: Callable[[OrderRecord], bool]) -> None:
        self.book, self._is_slice = book, is_slice
        self._pairs = list(registry.pairs.values())
        self.active: dict[Scope, Unwinding] = {}
        self._traded: dict[Key, int] = {}
        # of each unwinding: market volume and own slices from which its participation is counted
        self._volume_base: dict[Scope, NDArray[np.int64]] = {}
        self._traded_base: dict[Scope, dict[Key, int]] = {}
        self._counted: dict[Scope, dict[Key, int]] = {}  # volume that counted before a restart

    def restore(self, states: dict[Scope, UnwindingState], traded: dict[Key, int]) -> None:
        """Go on with what was under way. traded: what slices have filled since ever, nanos.

        What the market traded while nobody looked does not count towards participation.
        """
        self._traded = dict(traded)
        for scope, state in states.items():
            self.active[scope] = Unwinding.restored(scope, state)
            self._traded_base[scope] = dict(state.traded_from)
            self._counted[scope] = dict(state.volume)

    def state(self, scope: Scope) -> UnwindingState:
        """What is to be kept of an unwinding."""
        one = self.active[scope]
        volume = self.book.market.total_volume - self._base(scope)
        keys = one.start.keys() | self._positions(one.breach).keys()
        counted = {key: int(volume[self.book.index[key[1:]]]) for key in keys if key[1:] in self.book.index}
        return one.state(counted, self._traded_base[scope])

    def _base(self, scope: Scope) -> NDArray[np.int64]:
        """From which the market's volume counts; after a restart from what had counted by then."""
        if scope in self._counted:
            base = self.book.market.total_volume.copy()
            for key, volume in self._counted.pop(scope).items():
                if key[1:] in self.book.index:
                    base[self.book.index[key[1:]]] -= volume
            self._volume_base[scope] = base
        return self._volume_base[scope]

    def on_fill(self, order: OrderRecord, quantity: int) -> None:
        """A slice traded so much: nanos; below 0 where a trade was taken back."""
        if self._is_slice(order):
            key = (order.rule, order.venue, order.symbol)
            self._traded[key] = self._traded.get(key, 0) + quantity

    def flatten(
        self, who: str, why: str, now_ns: int, level: Level = Level.FIRM, name: str = ""
    ) -> Unwinding:
        """Take a level down because somebody says so; what is under way already goes on."""
        breach = Breach(BreachKind.OPERATOR, level, name, 0, 0)
        under_way = self.active.get(breach.scope)
        if under_way is not None and not under_way.done:
            under_way.note(who, why, now_ns)
            return under_way
        plan = self.book.limits_file.plans.get(BreachKind.OPERATOR, FLATTEN)
        started = self._start(breach, plan, now_ns)
        started.note(who, why, now_ns)
        return started

    def pause(self, who: str, why: str, now_ns: int) -> None:
        """Send nothing more of any unwinding."""
        for one in self.active.values():
            one.pause(who, why, now_ns)

    def resume(self, who: str, why: str, now_ns: int) -> None:
        """Go on with all that were paused."""
        for one in self.active.values():
            one.resume(who, why, now_ns)

    def under_way(self, level: Level, name: str) -> list[Unwinding]:
        """Unwindings of a level that are not done."""
        return [one for scope, one in self.active.items() if scope[1:] == (level, name) and not one.done]

    def release(self, level: Level, name: str) -> list[Scope]:
        """A person has looked: the level may trade again. Unwindings of it that are done are forgotten, and
        are returned."""
        self.book.reduce_only(None, level, name)
        done = [scope for scope, one in self.active.items() if scope[1:] == (level, name) and one.done]
        for scope in done:
            del self.active[scope]
        return done

    def step(self, breaches: Iterable[Breach], orders: Iterable[OrderRecord], now_ns: int) -> DeskActions:
        """Start what is to be started, and the next step of what is under way."""
        breaches = list(breaches)
        for breach in breaches:
            plan = self.book.limits_file.plans.get(breach.kind)
            if plan is not None and breach.scope not in self.active:
                self._start(breach, plan, now_ns)
        found, open_orders, sliced = DeskActions(), list(orders), set[Key]()
        self._outages_over({breach.scope for breach in breaches}, found)
        for one in self.active.values():
            if one.done:
                continue
            actions = one.step(self._holdings(one.breach, open_orders), now_ns)
            found.events += [(one.breach, event) for event in actions.events]
            if actions.stop_new:
                self.book.reduce_only(one.breach.text, one.breach.level, one.breach.name)
            found.cancel += [order_id for order_id in actions.cancel if order_id not in found.cancel]
            # two breaches of one holding: the first one's slice is enough, the other sees its fill
            found.slices += [each for each in actions.slices if each.key not in sliced]
            sliced |= {each.key for each in actions.slices}
        return found

    def _outages_over(self, now: set[Scope], found: DeskActions) -> None:
        """Levels that were stopped for an outage only, which has ended."""
        for scope, one in list(self.active.items()):
            if scope[0] not in _OUTAGES or scope in now or not one.done:
                continue
            del self.active[scope]
            if not any(other[1:] == scope[1:] for other in self.active):
                self.book.reduce_only(None, scope[1], scope[2])
                found.over.append((scope[1], scope[2], f"{scope[0]} is over"))
            found.ended.append(scope)

    def _start(self, breach: Breach, plan: BreachPlan, now_ns: int) -> Unwinding:
        start = {key: position for key, position in self._positions(breach).items() if position}
        market, windows = self.book.market, self.book.static[:, S_VOLUME_NS]
        recent = [market.recent_volume(place, int(window)) for place, window in enumerate(windows)]
        self._volume_base[breach.scope] = market.total_volume - np.array(recent, np.int64)
        self._traded_base[breach.scope] = dict(self._traded)
        self._counted.pop(breach.scope, None)
        self.active[breach.scope] = Unwinding(breach, plan, start, now_ns)
        return self.active[breach.scope]

    # --- what is held --------------------------------------------------------------------------

    def _positions(self, breach: Breach) -> dict[Key, int]:
        """Every rule's holding that the breach is about."""
        found = {}
        for name, k in self.book.strategies.items():
            if not name or (breach.level is Level.STRATEGY and name != breach.name):
                continue
            for place, (venue, symbol) in enumerate(self.book.keys):
                if breach.level is Level.INSTRUMENT and f"{venue} {symbol}" != breach.name:
                    continue
                position = int(self.book.cells[k, place, C_POSITION])
                if position:
                    found[(name, venue, symbol)] = position
        return self._with_other_legs(found)

    def _with_other_legs(self, found: dict[Key, int]) -> dict[Key, int]:
        """A pair is taken down as a whole, also if the breach is of one leg."""
        for pair in self._pairs:
            for rule in {key[0] for key in found}:
                keys = (rule, pair.venue, pair.leg_a), (rule, pair.venue, pair.leg_b)
                if any(key in found for key in keys):
                    for key in keys:
                        k, place = self.book.strategies[rule], self.book.index[key[1:]]
                        found.setdefault(key, int(self.book.cells[k, place, C_POSITION]))
        return found

    def _holdings(self, breach: Breach, orders: list[OrderRecord]) -> Holdings:
        book, positions = self.book, self._positions(breach)
        places = {key: book.index[key[1:]] for key in positions}
        volume = book.market.total_volume - self._base(breach.scope)
        before = self._traded_base[breach.scope]
        scoped = [
            OpenOrder(one.order_id, key, one.side, one.leaves, self._is_slice(one))
            for one in orders
            for key in [(one.rule, one.venue, one.symbol)]
            if one.leaves and (key in positions or _concerns(breach, key))
        ]
        return Holdings(
            positions=positions,
            orders=tuple(scoped),
            mids={key: mid for key, place in places.items() if (mid := int(book.static[place, S_MARK]) // 2)},
            lots={key: max(int(book.static[place, S_LOT]), 1) for key, place in places.items()},
            volume={key: int(volume[place]) for key, place in places.items()},
            traded={key: self._traded.get(key, 0) - before.get(key, 0) for key in positions},
            pairs=tuple(
                PairLegs((rule, pair.venue, pair.leg_a), (rule, pair.venue, pair.leg_b), pair.hedge_ratio)
                for pair in self._pairs
                for rule in {key[0] for key in positions}
            ),
        )


def _concerns(breach: Breach, key: Key) -> bool:
    """Whether an order of ``key`` could make the breach worse."""
    if breach.level is Level.FIRM:
        return True
    return breach.name == (key[0] if breach.level is Level.STRATEGY else f"{key[1]} {key[2]}")
