"""Busts and corrections: positions, P&L, fees and orders as if it had never been otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.positions import Holding
from execution.router import Decision, Slice
from execution.venues import Report, ReportType
from tests.execution.model.venues import VENUE
from tests.execution.model.world import World
from tests.execution.test_parents import NEAR, Script
from tickloom.events import Execution, OrderState
from tickloom.prices import NANOS
from tickloom.records import replace

PRICE = 152_410_000_000
TAKER_FEE = 40 * 3_000_000  # 40 shares at 0.003


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A parent of 52 that has bought 40 at 152.41, and whose second child, of 10, rests."""
    parts = [
        Slice("XNAS", 40 * NANOS, 152_560_000_000),
        Slice("XTWO", 10 * NANOS, NEAR, time_in_force="day"),
    ]
    made = World(tmp_path, 1, Script(Decision(parts)))
    made.pump()
    made.take(made.signal("ALFA", "buy"))
    made.pump()
    yield made
    made.close()


def amend(world: World, quantity: int, price: int = 0) -> None:
    """The venue takes the 40 back, or changes them, and tells."""
    wire = world.wires["one"]
    if quantity:
        outcome = wire.matching.correct("XNAS-E1", quantity * NANOS, price, 0)
    else:
        outcome = wire.matching.bust("XNAS-E1", 0)
    world.exchanges.settle(wire, outcome)
    world.pump()


def figures(world: World) -> tuple[int, int, int]:
    """Shares held, what they cost in cents, fees in nanos."""
    holding = world.engine.portfolio.firm.holdings.get((VENUE, "ALFA"), Holding())
    return holding.quantity // NANOS, holding.cost // (NANOS * NANOS // 100), holding.fees


def parent(world: World) -> tuple[int, int]:
    """Shares of the parent that are filled, and that are not routed."""
    (found,) = world.engine.ledger.parents.values()
    return found.filled_quantity // NANOS, world.engine.ledger.unrouted(found) // NANOS


def test_the_world_of_these_tests(world: World) -> None:
    """40 at 152.41 cost 6,096.40, and 12 cents to take them."""
    assert figures(world) == (40, 609_640, TAKER_FEE)
    assert parent(world) == (40, 2)


def test_a_bust_takes_all_of_it_back(world: World) -> None:
    """No position, no cost, no fee; the order has nothing filled and stays finished; the parent has its part
    again; a person is told; a fact says that the execution is gone. A restart finds the same."""
    facts = world.journal.outbox_size()
    amend(world, 0)
    for _ in range(2):
        assert figures(world) == (0, 0, 0)
        assert parent(world) == (0, 42)
        assert world.engine.risk.position(VENUE, "ALFA")[0] == 0
        assert world.engine.risk.day_pnl() == 0
        world.restart()
        world.pump()
    (first, _) = world.journal.children(next(iter(world.engine.ledger.parents)))
    assert (first.state, first.filled_quantity, first.leaves) == (OrderState.FILLED, 0, 0)
    ((_, kind, text),) = world.journal.alerts()
    assert kind == "order"
    assert "its execution XNAS-E1, 40 at 152.41, is now nothing" in text
    gone = [fact for _, fact in world.journal.facts_after(facts, 100) if isinstance(fact, Execution)]
    assert [(fact.execution_id, fact.quantity) for fact in gone] == [("XNAS-E1", 0)]
    world.settle()


def test_a_correction_changes_it_in_its_place(world: World) -> None:
    """30 at 100.00: the position, its cost, the order and the parent follow, a restart finds the same; what
    the first report said is kept."""
    amend(world, 30, 100 * NANOS)
    for _ in range(2):
        assert figures(world) == (30, 300_000, TAKER_FEE)
        assert parent(world) == (30, 12)
        assert world.engine.risk.position(VENUE, "ALFA")[0] == 30 * NANOS
        world.restart()
        world.pump()
    ((_, traded),) = world.journal.executions_as_traded()
    assert (traded.quantity, traded.price) == (40 * NANOS, PRICE)
    world.settle()


def test_the_same_change_twice_is_one(world: World) -> None:
    """Told again without a number, a bust and a correction change nothing; what was busted stays so."""
    amend(world, 30, 100 * NANOS)
    order = world.journal.children(next(iter(world.engine.ledger.parents)))[0]
    report = Report(
        *(ReportType.TRADE_CORRECTED, order.order_id, "XNAS", "ALFA", "buy", OrderState.FILLED, 30 * NANOS),
        execution_id="XNAS-E1",
        last_quantity=30 * NANOS,
        last_price=100 * NANOS,
    )
    bust = replace(
        report, report_type=ReportType.TRADE_CANCELLED, last_quantity=0, last_price=0, filled_quantity=0
    )
    world.engine.on_report(report, "one")
    assert len(world.journal.execution_changes()) == 1
    for _ in range(2):
        world.engine.on_report(bust, "one")
    assert [change.kind for change in world.journal.execution_changes()] == ["correction", "bust"]
    world.engine.on_report(report, "one")
    assert len(world.journal.execution_changes()) == 2
    assert "was busted and is 30 at 100 again; it stays busted" in world.journal.alerts()[-1][2]
    assert figures(world)[0] == 0


def test_a_bust_that_comes_before_its_execution_counts(world: World) -> None:
    """It is noted with an alert; the execution is not booked when it comes."""
    (_, resting) = world.journal.children(next(iter(world.engine.ledger.parents)))
    bust = Report(
        *(ReportType.TRADE_CANCELLED, resting.order_id, "XTWO", "ALFA", "buy", OrderState.NEW, 0),
        execution_id="XTWO-E9",
    )
    trade = replace(
        bust,
        report_type=ReportType.TRADE,
        state=OrderState.PARTIALLY_FILLED,
        filled_quantity=5 * NANOS,
        last_quantity=5 * NANOS,
        last_price=NEAR,
    )
    for report in (bust, bust, trade):
        world.engine.on_report(report, "two")
    assert figures(world)[0] == 40
    first, second = (text for _, _, text in world.journal.alerts())
    assert "execution XTWO-E9, which is not booked, is nothing; noted" in first
    assert "comes behind its bust or correction, which counts; it is not booked" in second
    assert not world.journal.has_execution("XTWO", "XTWO-E9")


def test_the_same_id_from_another_venue_is_another_execution(world: World) -> None:
    """Executions are known by who reported them: a bust at one venue leaves the other's alone."""
    (_, resting) = world.journal.children(next(iter(world.engine.ledger.parents)))
    trade = Report(
        *(ReportType.TRADE, resting.order_id, "XTWO", "ALFA", "buy", OrderState.PARTIALLY_FILLED, 5 * NANOS),
        execution_id="XNAS-E1",
        last_quantity=5 * NANOS,
        last_price=NEAR,
        fee=-10_000_000,
    )
    world.engine.on_report(trade, "two")
    assert figures(world) == (45, 609_640 + 5 * 15_230, TAKER_FEE - 10_000_000)
    world.engine.on_report(
        replace(trade, report_type=ReportType.TRADE_CANCELLED, last_quantity=0, last_price=0), "two"
    )
    assert figures(world) == (40, 609_640, TAKER_FEE)
