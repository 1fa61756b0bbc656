"""One unwinding against a simulated venue that fills what it likes: what must hold whatever happens."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.breach import (
    Breach,
    BreachKind,
    Holdings,
    OpenOrder,
    PairLegs,
    Stage,
    Unwinding,
    UnwindingState,
)
from execution.breach.unwinding import Key
from execution.limits import BreachPlan
from execution.risk import Level
from tickloom.prices import NANOS

A, B, C = (("rule", "XNAS", name) for name in ("ALFA", "BRVO", "CHRL"))
BREACH = Breach(BreachKind.LOSS, Level.FIRM, "", 501 * NANOS, 500 * NANOS)
ALL_STAGES = ("stop_new", "cancel_open", "hedge", "reduce", "flat")
RATIO = 1_200_000_000
MID_A, MID_B, MID_C = 100 * NANOS, 80 * NANOS, 50 * NANOS
MS = 1_000_000


@dataclass
class Venue:
    """Positions, orders and volume around one unwinding. Every order it is sent becomes open at once."""

    positions: dict[Key, int]
    orders: list[OpenOrder] = field(default_factory=list)
    volume: int = 0
    traded: dict[Key, int] = field(default_factory=dict)
    pairs: tuple[PairLegs, ...] = (PairLegs(A, B, RATIO),)
    sent: int = 0

    def holdings(self) -> Holdings:
        return Holdings(
            positions=dict(self.positions),
            orders=tuple(self.orders),
            mids={A: MID_A, B: MID_B, C: MID_C},
            lots=dict.fromkeys(self.positions, NANOS),
            volume=dict.fromkeys(self.positions, self.volume),
            traded=dict(self.traded),
            pairs=self.pairs,
        )

    def take(self, unwinding: Unwinding, now_ns: int) -> None:
        """One step of the unwinding, its actions carried out."""
        actions = unwinding.step(self.holdings(), now_ns)
        self.orders = [one for one in self.orders if one.order_id not in actions.cancel]
        for one in actions.slices:
            self.sent += 1
            self.orders.append(OpenOrder(f"S{self.sent}", one.key, one.side, one.quantity, True))
        self.events = [*getattr(self, "events", []), *actions.events]

    def fill(self, place: int, quantity: int, ends: bool) -> None:
        """Some of an open order trades; and it may end there, as an IOC does."""
        if not self.orders:
            return
        order = self.orders.pop(place % len(self.orders))
        quantity = min(quantity // NANOS * NANOS, order.leaves)
        self.positions[order.key] += quantity if order.side == "buy" else -quantity
        if order.unwinding:
            self.traded[order.key] = self.traded.get(order.key, 0) + quantity
        if order.leaves > quantity and not ends:
            rest = OpenOrder(order.order_id, order.key, order.side, order.leaves - quantity, order.unwinding)
            self.orders.append(rest)

    def leg_risk(self) -> int:
        """Money by which the pair is out of balance, nanos."""
        offset = self.positions[B] + self.positions[A] * RATIO // NANOS
        return abs(offset) * MID_B // NANOS


def unwind(positions: dict[Key, int], **plan: object) -> Unwinding:
    values: dict[str, object] = {"stages": ALL_STAGES, "participation_bps": 10_000, **plan}
    return Unwinding(BREACH, BreachPlan.model_construct(**values), positions, 0)


def pair_of(a: int, c: int = 0) -> dict[Key, int]:
    """A balanced pair, to the lot, and a position beside it."""
    return {A: a * NANOS, B: -(a * 6 // 5) * NANOS, C: c * NANOS}


fills = st.lists(
    st.tuples(
        st.integers(0, 5), st.integers(0, 400).map(lambda n: n * NANOS), st.booleans(), st.integers(0, 500)
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(-200, 200), st.integers(-200, 200), fills, st.sampled_from([100, 2_500, 10_000]),
    st.integers(500, 5_000), st.integers(0, 10_000),
)  # fmt: skip
def test_whatever_fills(
    a: int,
    c: int,
    history: list[tuple[int, int, bool, int]],
    participation: int,
    leg_risk: int,
    reduce_to: int,
) -> None:
    """Stages go forward only; no position grows or turns, the pair stays balanced within its limit, slices
    stay under their share of the volume: after every fill, of whatever size and in whatever order."""
    positions = pair_of(a, c)
    unwinding = unwind(
        positions, participation_bps=participation, leg_risk_max=leg_risk * NANOS, reduce_to_bps=reduce_to
    )
    venue = Venue(dict(positions))
    for number, (place, quantity, ends, volume) in enumerate(history):
        stage = unwinding.stage
        venue.take(unwinding, number)
        assert unwinding.stage >= stage
        venue.volume += volume * NANOS
        before = dict(venue.positions)
        venue.fill(place, quantity, ends)
        for key, held in venue.positions.items():
            assert abs(held) <= abs(before[key])
            assert held * before[key] >= 0
            assert venue.traded.get(key, 0) * 10_000 <= venue.volume * participation
        assert venue.leg_risk() <= max(leg_risk * NANOS, MID_B)
    assert (
        [event.number for event in venue.events] == list(range(1, len(venue.events) + 1)) if history else True
    )


@settings(max_examples=150, deadline=None)
@given(st.integers(-200, 200), st.integers(-200, 200), st.integers(-200, 200), st.integers(500, 5_000))
def test_it_ends_flat(a: int, b: int, c: int, leg_risk: int) -> None:
    """With volume and willing counterparties every plan that ends flat does end, flat, however it began."""
    positions = {A: a * NANOS, B: b * NANOS, C: c * NANOS}
    unwinding = unwind(positions, leg_risk_max=leg_risk * NANOS)
    venue = Venue(dict(positions), [OpenOrder("O1", A, "buy", NANOS)], volume=10**6 * NANOS)
    risk = venue.leg_risk()
    for number in range(600):
        venue.take(unwinding, number)
        if unwinding.done:
            break
        while venue.orders:
            venue.fill(0, 10**6 * NANOS, True)
            assert venue.leg_risk() <= max(risk, leg_risk * NANOS, 2 * MID_B)
    assert unwinding.done
    assert set(venue.positions.values()) == {0}


def run_to(unwinding: Unwinding, venue: Venue, steps: int = 50) -> None:
    for number in range(steps):
        venue.take(unwinding, number)
        while any(one.unwinding for one in venue.orders):
            venue.fill(next(i for i, one in enumerate(venue.orders) if one.unwinding), 10**6 * NANOS, True)


def test_stages_in_order_with_their_reasons() -> None:
    """Long 100 against 120 short, and 50 beside: stop, cancel, reduce to half, flat; each step says why."""
    positions = pair_of(100, 50)
    unwinding = unwind(positions, reduce_to_bps=5_000)
    venue = Venue(dict(positions), [OpenOrder("O1", C, "buy", NANOS)], volume=10**6 * NANOS)
    first = unwinding.step(venue.holdings(), 0)
    assert first.stop_new
    assert first.cancel == ["O1"]
    assert first.slices == []
    assert [event.text for event in first.events] == [
        "loss of firm: 501, limit 500; plan: stop_new, cancel_open, hedge, reduce, flat",
        "only orders that reduce may leave",
        "open orders are cancelled",
        "1 open orders are cancelled",
    ]
    assert unwinding.step(venue.holdings(), 1).cancel == []  # once is enough
    venue.orders = []
    second = unwinding.step(venue.holdings(), 2)
    assert unwinding.stage is Stage.REDUCE
    assert {(one.key, one.side, one.quantity // NANOS) for one in second.slices} == {
        (A, "sell", 50), (B, "buy", 60), (C, "sell", 25),
    }  # fmt: skip
    assert (
        second.events[-1].text
        == "sell 50 XNAS ALFA (rule); buy 60 XNAS BRVO (rule); sell 25 XNAS CHRL (rule)"
    )


def test_both_legs_wait_for_each_other() -> None:
    """While a leg of the last slice is open nothing more of the pair is sent."""
    positions = pair_of(100)
    unwinding = unwind(positions, leg_risk_max=960 * NANOS)  # 12 of B at 80
    venue = Venue(dict(positions), volume=10**6 * NANOS)
    venue.take(unwinding, 0)
    assert [(one.key, one.leaves // NANOS) for one in venue.orders] == [(A, 10), (B, 12)]
    venue.fill(0, 10 * NANOS, True)
    venue.take(unwinding, 1)
    assert [one.key for one in venue.orders] == [B]
    venue.fill(0, 12 * NANOS, True)
    venue.take(unwinding, 2)
    assert [one.key for one in venue.orders] == [A, B]


def test_a_pair_out_of_balance_is_brought_back_by_reducing() -> None:
    """150 short against 100 long call for 120: 30 are bought, nothing is sold, and only then both go down."""
    positions = {A: 100 * NANOS, B: -150 * NANOS, C: 0}
    unwinding = unwind(positions, stages=("stop_new", "hedge"))
    venue = Venue(dict(positions), volume=10**6 * NANOS)
    run_to(unwinding, venue)
    assert unwinding.done
    assert venue.positions == {A: 100 * NANOS, B: -120 * NANOS, C: 0}


def test_participation_waits_for_the_market() -> None:
    """A tenth of 55 is 5 whole lots; with 100 more traded it is 10 more, and a half."""
    positions = {A: 0, B: 0, C: 100 * NANOS}
    unwinding = unwind(positions, participation_bps=1_000)
    venue = Venue(dict(positions), volume=55 * NANOS)
    run_to(unwinding, venue)
    assert venue.positions[C] == 95 * NANOS
    venue.volume += 100 * NANOS
    run_to(unwinding, venue)
    assert venue.positions[C] == 85 * NANOS
    assert not unwinding.done


def test_pause_and_resume() -> None:
    """Paused nothing is sent, though time passes; resumed it goes on where it was; both say who and why."""
    positions = {A: 0, B: 0, C: 100 * NANOS}
    unwinding, venue = unwind(positions), Venue(dict(positions), volume=10**6 * NANOS)
    unwinding.pause("ann", "look first", 1)
    for now_ns in range(2, 10):
        actions = unwinding.step(venue.holdings(), now_ns * 10**12)
        assert (actions.slices, actions.cancel, actions.stop_new) == ([], [], False)
        assert [event.text for event in actions.events][1:] == (["look first (ann)"] if now_ns == 2 else [])
    assert unwinding.stage is Stage.DECLARED
    unwinding.resume("bob", "go on", 10**13)
    run_to(unwinding, venue)
    assert unwinding.done
    assert "go on (bob)" in [event.text for event in venue.events]


def test_an_order_that_will_not_end_is_reckoned_with_after_the_stage_s_time() -> None:
    """A cancel that is never answered holds the plan up for the stage's time; then only what the order
    cannot still sell is sold."""
    positions = {A: 0, B: 0, C: 100 * NANOS}
    unwinding = unwind(positions, stage_timeout_ms=10)
    stuck = OpenOrder("O1", C, "sell", 40 * NANOS)
    venue = Venue(dict(positions), [stuck], volume=10**6 * NANOS)
    unwinding.step(venue.holdings(), 0)
    assert unwinding.step(venue.holdings(), 10 * MS).events == []
    assert unwinding.stage is Stage.CANCEL_OPEN
    unwinding.step(venue.holdings(), 10 * MS + 1)
    actions = unwinding.step(venue.holdings(), 10 * MS + 2)
    assert [one.quantity for one in actions.slices] == [60 * NANOS]


def test_without_a_price_nothing_is_sent() -> None:
    """A dead feed's plan stops and cancels; what has no mid is left alone."""
    positions = {C: 100 * NANOS}
    unwinding = unwind(positions)
    holdings = Holdings(positions, (), {}, {C: NANOS}, {C: 10**15}, {})
    assert unwinding.step(holdings, 0).slices == []


@pytest.mark.parametrize("stage", list(Stage)[1:-1])
def test_after_a_restart_it_goes_on_in_its_stage(stage: Stage) -> None:
    """Restored from its journaled events it declares nothing anew, and numbers on."""
    positions = {A: 0, B: 0, C: 100 * NANOS}
    unwinding, venue = unwind(positions), Venue(dict(positions), volume=10**6 * NANOS)
    # through the text that the journal keeps, with a declared plan of amounts and stages
    state = msgspec.structs.replace(unwinding.state(), stage=int(stage), number=7)
    kept = msgspec.json.decode(msgspec.json.encode(state), type=UnwindingState)
    before, unwinding = unwinding, Unwinding.restored(unwinding.breach.scope, kept)
    assert (unwinding.plan, unwinding.start, unwinding.breach) == (before.plan, before.start, before.breach)
    assert unwinding.state() == state
    run_to(unwinding, venue)
    assert unwinding.done
    assert venue.events[0].number == 8
    assert not any(event.kind == "declared" for event in venue.events)
