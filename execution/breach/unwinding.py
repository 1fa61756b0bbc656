"""A breach and its plan in, what to do next out: one unwinding, stage by stage. Pure.

Stages only go forward. Whatever is sent reduces: no slice is larger than the position less what is open to
reduce it already, so no interleaving of fills makes a position larger or turns it. Slices stay under a share
of the market's volume. The two legs of a pair go down together: a slice is so small that the pair stays
balanced within ``leg_risk_max`` even if one leg fills and the other does not; a pair that is out of balance
is first brought back, by reducing the leg that is in excess.

Every step is an event with its reason, to be journaled before its actions leave.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import msgspec

from execution.breach.detect import Breach, BreachKind
from execution.limits.tables import BreachPlan
from execution.risk.checks import Level
from tickloom.clock import NS_PER_MS
from tickloom.prices import NANOS, format_nanos

BPS = 10_000
#: A rule's holding: (rule, venue, symbol).
Key = tuple[str, str, str]


class Stage(IntEnum):
    """In the order of every plan."""

    DECLARED = 0
    STOP_NEW = 1
    CANCEL_OPEN = 2
    HEDGE = 3
    REDUCE = 4
    FLAT = 5
    DONE = 6


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """leaves: nanos, worst case. unwinding: it is a slice of this unwinding."""

    order_id: str
    key: Key
    side: str
    leaves: int
    unwinding: bool = False


@dataclass(frozen=True, slots=True)
class PairLegs:
    """``ratio`` of b is held against one of a, on the other side where it is above 0: nanos."""

    a: Key
    b: Key
    ratio: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What an unwinding looks at.

    positions: signed nanos. mids, lots: nanos; a key without a mid is not traded. volume: what the market
    traded, of the window before the breach and since, nanos. traded: what slices have filled, nanos.
    """

    positions: dict[Key, int]
    orders: tuple[OpenOrder, ...]
    mids: dict[Key, int]
    lots: dict[Key, int]
    volume: dict[Key, int]
    traded: dict[Key, int]
    pairs: tuple[PairLegs, ...] = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """An order that reduces: nanos."""

    key: Key
    side: str
    quantity: int


@dataclass(frozen=True, slots=True)
class UnwindingEvent:
    """What happened and why, numbered from 1."""

    number: int
    ts: int
    stage: Stage
    kind: str
    text: str


class UnwindingState(msgspec.Struct, frozen=True):
    """All that a successor of this process needs to go on exactly here. Keys of JSON objects are text, so
    what is kept by holding is a list of (key, nanos).

    volume: of the market, that counted towards participation when this was noted. traded_from: what slices
    had filled when the unwinding began. cancelled: client order ids whose cancel was asked for.
    """

    value: int
    limit: int
    plan: dict[str, int | list[str]]
    start: list[tuple[Key, int]]
    stage: int
    number: int
    paused: bool
    since_ns: int
    timed_out: bool
    cancelled: list[str]
    volume: list[tuple[Key, int]] = []
    traded_from: list[tuple[Key, int]] = []


@dataclass(slots=True)
class Actions:
    """What to do now, and the events that say why; the events are made durable first."""

    stop_new: bool = False
    cancel: list[str] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    events: list[UnwindingEvent] = field(default_factory=list)


class Unwinding:
    """One plan under way.

    Parameters
    ----------
    start : dict of Key to int
        What was held when the breach was declared: ``reduce_to_bps`` is of that.
    """

    def __init__(self, breach: Breach, plan: BreachPlan, start: dict[Key, int], now_ns: int) -> None:
        self.breach, self.plan, self.start = breach, plan, dict(start)
        self.stage, self.paused = Stage.DECLARED, False
        self.since_ns = now_ns
        self._timed_out = False
        self._cancelled: set[str] = set()
        self._again: list[str] = []  # cancels of before a restart
        self._number = 0
        self._pending = [self._event(now_ns, "declared", f"{breach.text}; plan: {', '.join(plan.stages)}")]

    @property
    def done(self) -> bool:
        return self.stage is Stage.DONE

    def pause(self, who: str, why: str, now_ns: int) -> None:
        """Nothing more is sent until it is resumed; what is open stays open."""
        if not self.paused and not self.done:
            self.paused = True
            self._pending.append(self._event(now_ns, "paused", f"{why} ({who})"))

    def resume(self, who: str, why: str, now_ns: int) -> None:
        """Go on where it was paused; the stage's time begins again."""
        if self.paused:
            self.paused, self.since_ns, self._timed_out = False, now_ns, False
            self._pending.append(self._event(now_ns, "resumed", f"{why} ({who})"))

    def note(self, who: str, why: str, now_ns: int) -> None:
        """Who asked for it, and why."""
        self._pending.append(self._event(now_ns, "requested", f"{why} ({who})"))

    def state(
        self, volume: dict[Key, int] | None = None, traded_from: dict[Key, int] | None = None
    ) -> UnwindingState:
        """What is to be kept of it, with the desk's figures: nanos."""
        plan = self.plan.model_dump()
        return UnwindingState(
            value=self.breach.value,
            limit=self.breach.limit,
            plan={**plan, "stages": list(self.plan.stages)},
            start=sorted(self.start.items()),
            stage=int(self.stage),
            number=self._number,
            paused=self.paused,
            since_ns=self.since_ns,
            timed_out=self._timed_out,
            cancelled=sorted(self._cancelled),
            volume=sorted((volume or {}).items()),
            traded_from=sorted((traded_from or {}).items()),
        )

    @classmethod
    def restored(cls, scope: tuple[BreachKind, Level, str], state: UnwindingState) -> Unwinding:
        """Where the journal says it was before a restart, under the plan that it was declared with.

        Cancels that were asked for are asked for again in the next step; that is no event.
        """
        # the values were checked when the file was read; amounts are nanos by now, and text in the file
        values: dict[str, Any] = {**state.plan, "stages": tuple(_texts(state.plan["stages"]))}
        plan = BreachPlan.model_construct(None, **values)
        found = cls(Breach(*scope, state.value, state.limit), plan, dict(state.start), state.since_ns)
        found.stage, found.paused = Stage(state.stage), state.paused
        found._timed_out, found._number = state.timed_out, state.number
        found._cancelled, found._again = set(state.cancelled), list(state.cancelled)
        found._pending = []
        return found

    def step(self, holdings: Holdings, now_ns: int) -> Actions:
        """What is to be done now. To be called whenever something changed, and by a timer."""
        actions = Actions(events=self._pending, cancel=self._again)
        self._pending, self._again = [], []
        if self.paused:
            return actions
        while self._finished(holdings):
            self._advance(actions, now_ns)
            if self.done:
                return actions
        self._check_time(actions, now_ns)
        if self.stage is Stage.CANCEL_OPEN:
            self._cancel(holdings, actions, now_ns)
        elif self.stage in (Stage.HEDGE, Stage.REDUCE, Stage.FLAT):
            self._slice(holdings, actions, now_ns)
        return actions

    # --- stages --------------------------------------------------------------------------------

    def _finished(self, holdings: Holdings) -> bool:
        if self.stage in (Stage.DECLARED, Stage.STOP_NEW):
            return True
        if self.stage is Stage.DONE:
            return False
        if self.stage is Stage.CANCEL_OPEN:
            # an order that will not say what became of it is reckoned with from here on, not waited for
            return self._timed_out or not any(not order.unwinding for order in holdings.orders)
        if any(order.unwinding for order in holdings.orders):
            return False
        return not any(self._wanted(holdings).values())

    def _advance(self, actions: Actions, now_ns: int) -> None:
        names = {Stage[name.upper()] for name in self.plan.stages} | {Stage.DONE}
        self.stage = min(stage for stage in names if stage > self.stage)
        self.since_ns, self._timed_out = now_ns, False
        actions.events.append(self._event(now_ns, "stage", _ABOUT[self.stage]))
        if self.stage is Stage.STOP_NEW:
            actions.stop_new = True

    def _check_time(self, actions: Actions, now_ns: int) -> None:
        late_ns = now_ns - self.since_ns - self.plan.stage_timeout_ms * NS_PER_MS
        if late_ns > 0 and not self._timed_out:
            self._timed_out = True
            text = f"{self.stage.name.lower()} takes longer than {self.plan.stage_timeout_ms} ms: look at it"
            actions.events.append(self._event(now_ns, "slow", text))

    def _cancel(self, holdings: Holdings, actions: Actions, now_ns: int) -> None:
        found = [
            order.order_id
            for order in holdings.orders
            if not order.unwinding and order.order_id not in self._cancelled
        ]
        self._cancelled.update(found)
        actions.cancel += found
        if found:
            text = f"{len(found)} open orders are cancelled"
            actions.events.append(self._event(now_ns, "cancel", text))

    # --- slices --------------------------------------------------------------------------------

    def _slice(self, holdings: Holdings, actions: Actions, now_ns: int) -> None:
        busy = {order.key for order in holdings.orders if order.unwinding}
        wanted, done = self._wanted(holdings), set()
        for pair in _pairs_held(holdings):
            done |= {pair.a, pair.b}
            if pair.a in busy or pair.b in busy:
                continue  # both legs of the last slice first
            for key, quantity in self._pair_slices(pair, holdings, wanted).items():
                self._send(key, quantity, holdings, actions)
        for key, quantity in wanted.items():
            if key not in done and key not in busy:
                self._send(key, min(quantity, _capacity(key, holdings, self.plan)), holdings, actions)
        if actions.slices:
            text = "; ".join(
                f"{one.side} {format_nanos(one.quantity)} {one.key[1]} {one.key[2]} ({one.key[0]})"
                for one in actions.slices
            )
            actions.events.append(self._event(now_ns, "slice", text))

    def _send(self, key: Key, quantity: int, holdings: Holdings, actions: Actions) -> None:
        lot = holdings.lots[key]
        whole = quantity // lot * lot
        if whole > 0:
            side = "sell" if holdings.positions[key] > 0 else "buy"
            actions.slices.append(Slice(key, side, whole))

    def _wanted(self, holdings: Holdings) -> dict[Key, int]:
        """How much of each position the stage still has to take down, in whole lots: nanos."""
        found = {}
        excess: dict[Key, int] = {}
        follows: dict[Key, PairLegs] = {}
        for pair in _pairs_held(holdings):
            excess |= _excess(pair, holdings)
            follows[pair.b] = pair
        for key, position in holdings.positions.items():
            if self.stage is Stage.HEDGE:
                target = abs(position) - excess.get(key, 0)
            elif self.stage is Stage.REDUCE:
                target = abs(self.start.get(key, 0)) * self.plan.reduce_to_bps // BPS
                if key in follows:  # leg b is what leg a calls for
                    leg_a = abs(self.start.get(follows[key].a, 0)) * self.plan.reduce_to_bps // BPS
                    target = max(target, -(-leg_a * abs(follows[key].ratio) // NANOS))
            else:
                target = 0
            lot = holdings.lots[key]
            rest = max(abs(position) - target, 0) // lot * lot
            found[key] = rest if key in holdings.mids else 0  # without a price nothing can be sent
        return found

    def _pair_slices(self, pair: PairLegs, holdings: Holdings, wanted: dict[Key, int]) -> dict[Key, int]:
        excess = _excess(pair, holdings)
        if excess:  # back into balance first: that alone can never make it worse
            return {key: min(amount, _capacity(key, holdings, self.plan)) for key, amount in excess.items()}
        if self.stage is Stage.HEDGE or not (wanted[pair.a] or wanted[pair.b]):
            return {}
        ratio, mid = abs(pair.ratio), holdings.mids.get(pair.b)
        if mid is None or pair.a not in holdings.mids:
            return {}
        room = self.plan.leg_risk_max * NANOS // mid - _imbalance(pair, holdings)  # in units of b
        whole = min(
            max(wanted[pair.a], wanted[pair.b] * NANOS // ratio),
            _capacity(pair.a, holdings, self.plan),
            _capacity(pair.b, holdings, self.plan) * NANOS // ratio,
            max(room, 0) * NANOS // ratio,
        )
        lot_a, lot_b = holdings.lots[pair.a], holdings.lots[pair.b]
        a = whole // lot_a * lot_a
        b = min(a * ratio // NANOS, room) // lot_b * lot_b
        coarse = max(lot_b, lot_a * ratio // NANOS)
        if not a and not b and min(wanted[pair.a] * ratio // NANOS, wanted[pair.b]) < 2 * coarse:
            # the last lots, which do not divide by the ratio: each leg by itself, within what may be missing
            a = min(wanted[pair.a], _capacity(pair.a, holdings, self.plan), max(room, 0) * NANOS // ratio)
            b = min(wanted[pair.b], _capacity(pair.b, holdings, self.plan), max(room, 0))
        return {pair.a: a, pair.b: b}

    def _event(self, now_ns: int, kind: str, text: str) -> UnwindingEvent:
        self._number += 1
        return UnwindingEvent(self._number, now_ns, self.stage, kind, text)


_ABOUT = {
    Stage.STOP_NEW: "only orders that reduce may leave",
    Stage.CANCEL_OPEN: "open orders are cancelled",
    Stage.HEDGE: "legs of pairs are brought back into balance",
    Stage.REDUCE: "positions are reduced under the cap on participation",
    Stage.FLAT: "positions are taken down to nothing under the cap on participation",
    Stage.DONE: "the plan is done",
}


def _texts(value: int | list[str]) -> list[str]:
    return value if isinstance(value, list) else []


def _capacity(key: Key, holdings: Holdings, plan: BreachPlan) -> int:
    """The most a slice may have: the position less what is open to reduce it, and the share of volume."""
    position = holdings.positions[key]
    side = "sell" if position > 0 else "buy"
    reducing = sum(order.leaves for order in holdings.orders if order.key == key and order.side == side)
    share = holdings.volume.get(key, 0) * plan.participation_bps // BPS - holdings.traded.get(key, 0)
    return max(min(abs(position) - reducing, share), 0)


def _offset(pair: PairLegs, holdings: Holdings) -> int:
    """How far leg b is from what leg a calls for, signed, in units of b, rounded away from zero."""
    value = holdings.positions.get(pair.b, 0) * NANOS + holdings.positions.get(pair.a, 0) * pair.ratio
    return value // NANOS if value < 0 else -(-value // NANOS)


def _imbalance(pair: PairLegs, holdings: Holdings) -> int:
    """The same with whatever is open on either leg filled at its worst, unsigned."""
    reach: Callable[[Key, int], int] = lambda key, scale: sum(  # noqa: E731
        -(-order.leaves * scale // NANOS) for order in holdings.orders if order.key == key
    )
    return abs(_offset(pair, holdings)) + reach(pair.a, abs(pair.ratio)) + reach(pair.b, NANOS)


def _excess(pair: PairLegs, holdings: Holdings) -> dict[Key, int]:
    """The leg that is too large for the other, and by how much, if that is a lot of it or more: nanos."""
    offset = _offset(pair, holdings)
    a, b = holdings.positions.get(pair.a, 0), holdings.positions.get(pair.b, 0)
    key, amount = (
        (pair.b, abs(offset)) if offset * b > 0 else (pair.a, abs(offset) * NANOS // abs(pair.ratio))
    )
    amount = min(amount, abs(b if key == pair.b else a))
    lot = holdings.lots[key]
    # leg b follows leg a in whole lots: less than a lot of b beside is balance
    if abs(offset) < holdings.lots[pair.b] or amount < lot or key not in holdings.mids:
        return {}
    return {key: amount // lot * lot}


def _pairs_held(holdings: Holdings) -> list[PairLegs]:
    """Pairs of which something is held, each leg in one of them at most."""
    found, taken = [], set[Key]()
    for pair in holdings.pairs:
        both = pair.a in holdings.positions and pair.b in holdings.positions
        held = both and (holdings.positions[pair.a] or holdings.positions[pair.b])
        if held and not taken & {pair.a, pair.b}:
            taken |= {pair.a, pair.b}
            found.append(pair)
    return found
