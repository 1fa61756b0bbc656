"""The comparison of the two records: every kind of difference is found, and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from execution.exchange.matching import VenueOrder
from execution.orders import OrderRecord
from execution.reconcile import Comparison, compare, compare_records
from tests.execution.loopback import Loopback
from tests.execution.rig import VENUE, make_signal
from tickloom.errors import JournalError
from tickloom.events import Execution, OrderState
from tickloom.prices import NANOS
from tickloom.records import replace

ORDER = OrderRecord(
    *("ID", "signal", 0, "rule", VENUE, "ALFA", "buy", 10 * NANOS, 5 * NANOS, "ioc", OrderState.FILLED, 1, 2),
    filled_quantity=10 * NANOS,
    venue_order_id="XNAS-1",
)
THEIRS = VenueOrder(
    *("ME", "ID", VENUE, "ALFA", "buy", 10 * NANOS, 5 * NANOS, "ioc", OrderState.FILLED, 10 * NANOS, 1, 2)
)
FILL = Execution("E1", "ID", VENUE, "ALFA", "buy", 5 * NANOS, 10 * NANOS, 1, 2)
Lists = tuple[list[OrderRecord], list[Execution], list[VenueOrder], list[Execution]]


def test_equal_records_have_no_difference() -> None:
    """Receive times are ours alone and are not compared."""
    result = compare_records(VENUE, [ORDER], [FILL], [THEIRS], [replace(FILL, ts_recv=9)])
    assert result == Comparison([], orders=1, executions=1, positions=1)


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (
            lambda: ([ORDER], [FILL], [], [FILL]),
            [("order ID", "filled", "absent")],
        ),
        (
            lambda: ([], [FILL], [THEIRS], [FILL]),
            [("order ID", "absent", "filled")],
        ),
        (
            lambda: ([replace(ORDER, state=OrderState.CANCELLED)], [FILL], [THEIRS], [FILL]),
            [("order ID", "cancelled buy 10 at 5, 10 filled", "filled buy 10 at 5, 10 filled")],
        ),
        (
            lambda: ([ORDER], [], [THEIRS], [FILL]),
            [("executions (1 missing, 0 extra in the journal)", "0", "1"), ("position", "0", "10")],
        ),
        (
            lambda: ([ORDER], [FILL, replace(FILL, execution_id="E2")], [THEIRS], [FILL]),
            [("executions (0 missing, 1 extra in the journal)", "2", "1"), ("position", "20", "10")],
        ),
        (
            lambda: ([ORDER], [replace(FILL, price=NANOS)], [THEIRS], [FILL]),
            [("execution E1", "buy 10 at 1 of order ID", "buy 10 at 5 of order ID")],
        ),
    ],
)
def test_each_difference_names_symbol_and_both_sides(
    change: Callable[[], Lists], rows: list[tuple[str, str, str]]
) -> None:
    """Missing, extra, or not the same: order, execution and position each say what the two sides have."""
    found = compare_records(VENUE, *change())
    assert [difference.as_row() for difference in found.differences] == [
        {"venue": VENUE, "symbol": "ALFA", "what": what, "agent": agent, "exchange": exchange}
        for what, agent, exchange in rows
    ]


def test_order_that_never_arrived_is_no_difference() -> None:
    """Given up before it reached the venue: ours is rejected, theirs is not there."""
    rejected = replace(ORDER, state=OrderState.REJECTED, filled_quantity=0, venue_order_id="")
    assert compare_records(VENUE, [rejected], [], [], []).differences == []
    acknowledged = replace(rejected, venue_order_id="XNAS-1")
    assert len(compare_records(VENUE, [acknowledged], [], [], []).differences) == 1


def test_cancel_under_way_is_no_difference() -> None:
    """Pending cancel is a state of ours alone while the venue still has the order open."""
    ours = replace(ORDER, state=OrderState.PENDING_CANCEL, filled_quantity=0)
    theirs = replace(THEIRS, state=OrderState.NEW, filled_quantity=0)
    assert compare_records(VENUE, [ours], [], [theirs], []).differences == []
    gone = replace(theirs, state=OrderState.CANCELLED)
    assert len(compare_records(VENUE, [ours], [], [gone], []).differences) == 1


def test_files(tmp_path: Path) -> None:
    """From the two files: counts, no differences; one that is missing says which."""
    world = Loopback(tmp_path)
    world.take([make_signal(1, "ALFA"), make_signal(2, "ALFA~BRVO")])
    world.close()
    result = compare(tmp_path / "journal.db", tmp_path / "exchange.db", VENUE)
    assert (result.orders, result.executions, result.positions, result.differences) == (3, 3, 2, [])
    with pytest.raises(JournalError, match=r"none\.db"):
        compare(tmp_path / "journal.db", tmp_path / "none.db", VENUE)
