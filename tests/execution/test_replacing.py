"""Cancel/replace: what is held meanwhile, who lives, and what a lost answer leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.orders import OrderRecord
from execution.router import Decision, Slice
from execution.venues import Report, ReportType
from tests.execution.model.venues import VENUE
from tests.execution.model.world import World
from tests.execution.test_parents import NEAR, SHARES, Script
from tickloom.errors import OrderStateError
from tickloom.events import OrderState, Side
from tickloom.prices import NANOS

S = OrderState


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A parent of 52 with a child of 20 that rests at 152.30."""
    made = World(tmp_path, 1, Script(Decision([Slice("XNAS", 20 * NANOS, NEAR, time_in_force="day")])))
    made.pump()
    made.take(made.signal("ALFA", "buy"))
    made.pump()
    yield made
    made.close()


def orders(world: World) -> tuple[OrderRecord, ...]:
    """The child, and what was to replace it."""
    (parent,) = [order for order in world.journal.orders() if not order.parent_id]
    return tuple(world.journal.children(parent.order_id))


def open_to_buy(world: World) -> int:
    return world.engine.risk.position(VENUE, "ALFA")[1] // NANOS


def venue_state(world: World, order: OrderRecord) -> OrderState:
    return world.wires["one"].matching.orders[order.order_id].state


def test_the_larger_of_both_is_held_until_the_venue_answers(world: World) -> None:
    """20 are to become 30: parent and child hold 52 all the time, the child 30 of them as soon as it asked;
    then the new order lives, the old one is replaced, and both sides agree."""
    (child,) = orders(world)
    world.replace(child.order_id, 30 * NANOS, NEAR + 10**7)
    old, new = orders(world)
    assert (old.state, new.state, new.original_order_id) == (S.PENDING_REPLACE, S.PENDING_NEW, old.order_id)
    (parent,) = world.engine.ledger.parents.values()
    assert world.engine.ledger.unrouted(parent) == (SHARES - 30) * NANOS
    assert open_to_buy(world) == SHARES
    world.pump()
    old, new = orders(world)
    assert (old.state, new.state, new.quantity) == (S.REPLACED, S.NEW, 30 * NANOS)
    assert (venue_state(world, old), venue_state(world, new)) == (S.REPLACED, S.NEW)
    assert open_to_buy(world) == SHARES
    world.settle()


def test_a_smaller_one_frees_its_part_only_when_it_is_confirmed(world: World) -> None:
    """20 are to become 5: until the venue says so 20 may trade."""
    (child,) = orders(world)
    world.replace(child.order_id, 5 * NANOS, NEAR)
    (parent,) = world.engine.ledger.parents.values()
    assert world.engine.ledger.unrouted(parent) == (SHARES - 20) * NANOS
    world.pump()
    assert world.engine.ledger.unrouted(parent) == (SHARES - 5) * NANOS
    world.settle()


def test_fills_before_the_replacement_count_in_both(world: World) -> None:
    """8 trade while the request is on its way: the new order of 30 has 8 filled, and 22 to go."""
    (child,) = orders(world)
    world.replace(child.order_id, 30 * NANOS, NEAR)
    wire = world.wires["one"]
    requests = list(wire.to_venue)
    wire.to_venue.clear()
    world.exchanges.trade_at("ALFA", NEAR, 8, Side.SELL)
    wire.to_venue.extend(requests)
    world.pump()
    old, new = orders(world)
    assert (old.filled_quantity, new.filled_quantity, new.leaves) == (8 * NANOS, 8 * NANOS, 22 * NANOS)
    (parent,) = world.engine.ledger.parents.values()
    assert parent.filled_quantity == 8 * NANOS
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 8 * NANOS
    world.settle()


def test_a_bust_before_the_replacement_counts_in_both(world: World) -> None:
    """8 traded and were taken back while the request was on its way: the new order has nothing filled."""
    (child,) = orders(world)
    wire = world.wires["one"]
    world.exchanges.trade_at("ALFA", NEAR, 8, Side.SELL)
    world.pump()
    world.replace(child.order_id, 30 * NANOS, NEAR)
    requests = list(wire.to_venue)
    wire.to_venue.clear()
    world.exchanges.settle(wire, wire.matching.bust("XNAS-E1", 0))
    wire.to_venue.extend(requests)
    world.pump()
    old, new = orders(world)
    assert (old.state, old.filled_quantity) == (S.REPLACED, 0)
    assert (new.state, new.filled_quantity) == (S.NEW, 0)
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 0
    world.settle()


def test_a_correction_upwards_leaves_no_less_for_sale(world: World) -> None:
    """5 of 20 traded, and are 19 now: 15 may trade all the same, and are held; after them it is filled, with
    34 filled of 20, which is no overfill."""
    wire = world.wires["one"]
    world.exchanges.trade_at("ALFA", NEAR, 5, Side.SELL)
    world.exchanges.settle(wire, wire.matching.correct("XNAS-E1", 19 * NANOS, NEAR, 0))
    world.pump()
    (child,) = orders(world)
    assert (child.filled_quantity, child.leaves) == (19 * NANOS, 15 * NANOS)
    assert open_to_buy(world) == SHARES - 19
    world.exchanges.trade_at("ALFA", NEAR, 15, Side.SELL)
    world.pump()
    (child,) = orders(world)
    assert (child.state, child.filled_quantity, child.leaves) == (S.FILLED, 34 * NANOS, 0)
    assert not any("overfill" in text for _, _, text in world.journal.alerts())
    world.settle()


def test_a_refusal_leaves_the_original_as_it_was(world: World) -> None:
    """The venue says no: the original works on, the other is rejected with the reason."""
    (child,) = orders(world)
    world.replace(child.order_id, 30 * NANOS, NEAR)
    wire = world.wires["one"]
    wire.to_venue.clear()
    report = Report(
        ReportType.CANCEL_REJECTED, child.order_id, "XNAS", "ALFA", "buy", S.NEW, 0, text="in auction"
    )
    world.engine.on_report(report, "one")
    old, new = orders(world)
    assert (old.state, new.state, new.reason) == (S.NEW, S.REJECTED, "replacement rejected: in auction")
    assert open_to_buy(world) == SHARES
    world.replace(child.order_id, 25 * NANOS, NEAR)  # another attempt has another id
    world.pump()
    assert [order.state for order in orders(world)] == [S.REPLACED, S.REJECTED, S.NEW]
    world.settle()


def test_a_late_answer_to_the_original_leaves_the_new_order_alone(world: World) -> None:
    """The original was replaced, and a cancel of it is too late: what took its place works on."""
    (child,) = orders(world)
    world.replace(child.order_id, 30 * NANOS, NEAR)
    world.pump()
    late = Report(
        ReportType.CANCEL_REJECTED, child.order_id, "XNAS", "ALFA", "buy", S.REPLACED, 0, text="too late"
    )
    world.engine.on_report(late, "one")
    assert [order.state for order in orders(world)] == [S.REPLACED, S.NEW]
    world.settle()


def test_a_late_answer_to_a_refused_attempt_leaves_the_next_one_alone(world: World) -> None:
    """The first attempt never arrived, the second is under way: once more told that the first is not known,
    original and second still share a quantity, and what the original fills counts in both."""
    (child,) = orders(world)
    world.replace(child.order_id, 30 * NANOS, NEAR)
    world.wires["one"].cut()
    world.engine.on_lost("one", "dropped")
    world.restart()
    world.pump()
    world.replace(child.order_id, 25 * NANOS, NEAR)
    old, first, second = orders(world)
    assert (old.state, first.state, second.state) == (S.PENDING_REPLACE, S.REJECTED, S.PENDING_NEW)
    again = Report(
        ReportType.STATUS, first.order_id, "XNAS", "ALFA", "buy", S.REJECTED, 0, unknown_order=True
    )
    world.engine.on_report(again, "one")
    fill = Report(
        *(ReportType.TRADE, child.order_id, "XNAS", "ALFA", "buy", S.FILLED, 20 * NANOS),
        **{"execution_id": "late", "last_quantity": 20 * NANOS, "last_price": NEAR},
    )
    world.engine.on_report(fill, "one")
    old, _, second = orders(world)
    assert (old.state, second.filled_quantity) == (S.FILLED, 20 * NANOS)
    assert open_to_buy(world) == SHARES - 20


def test_cancelled_may_mean_replaced_while_the_new_order_is_not_known(world: World) -> None:
    """FIX 4.4 has no state for what was replaced: as long as nobody knows of the new order, the old one stays
    UNKNOWN, with the larger quantity held; then the new one says which it was."""
    (child,) = orders(world)
    world.replace(child.order_id, 30 * NANOS, NEAR)
    world.exchanges.arrive(world.wires["one"])
    world.wires["one"].to_agent.clear()
    world.tick(2_100)
    gone = Report(ReportType.STATUS, child.order_id, "XNAS", "ALFA", "buy", S.CANCELLED, 0)
    world.engine.on_report(gone, "one")
    assert [order.state for order in orders(world)] == [S.UNKNOWN, S.UNKNOWN]
    assert open_to_buy(world) == SHARES
    new = orders(world)[1]
    lives = Report(ReportType.STATUS, new.order_id, "XNAS", "ALFA", "buy", S.NEW, 0)
    world.engine.on_report(lives, "one")
    assert [order.state for order in orders(world)] == [S.REPLACED, S.NEW]


@pytest.mark.parametrize("arrived", [True, False])
def test_a_lost_answer_is_asked_for(world: World, arrived: bool) -> None:
    """Both are UNKNOWN and hold the larger quantity, until the answers say which of them lives."""
    (child,) = orders(world)
    world.replace(child.order_id, 30 * NANOS, NEAR)
    wire = world.wires["one"]
    if arrived:
        world.exchanges.arrive(wire)
    wire.cut()
    world.engine.on_lost("one", "dropped")
    assert [order.state for order in orders(world)] == [S.UNKNOWN, S.UNKNOWN]
    (parent,) = world.engine.ledger.parents.values()
    assert world.engine.ledger.unrouted(parent) == (SHARES - 30) * NANOS
    world.restart()
    assert open_to_buy(world) == SHARES
    world.pump()
    expected = [S.REPLACED, S.NEW] if arrived else [S.NEW, S.REJECTED]
    assert [order.state for order in orders(world)] == expected
    world.settle()


def test_the_gate_looks_at_the_replacement(world: World) -> None:
    """A price outside the collar: nothing leaves, the refusal is journaled, the original works on."""
    (child,) = orders(world)
    world.replace(child.order_id, 20 * NANOS, 2 * NEAR)
    old, refused = orders(world)
    assert (old.state, refused.state) == (S.NEW, S.REJECTED)
    assert refused.reason.startswith("price_collar")
    assert not world.wires["one"].to_venue
    assert open_to_buy(world) == SHARES


def test_what_cannot_be_replaced_says_why(world: World) -> None:
    """An order that is not open, that is being replaced, or more than what is left of its parent."""
    (child,) = orders(world)
    with pytest.raises(OrderStateError, match="not open"):
        world.replace("STRANGER", NANOS, NEAR)
    with pytest.raises(OrderStateError, match="more than what is left of its parent"):
        world.replace(child.order_id, (SHARES + 1) * NANOS, NEAR)
    world.replace(child.order_id, 30 * NANOS, NEAR)
    with pytest.raises(OrderStateError, match="not known yet"):
        world.replace(child.order_id, 31 * NANOS, NEAR)
