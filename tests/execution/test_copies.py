"""Drop copies: what is booked from them and when, and what two sources that disagree come to."""

from __future__ import annotations

from dataclasses import dataclass, field

from execution.copies import Copies
from execution.orders import OrderRecord
from execution.reports import Known, effect_of
from execution.venues import Report, ReportType
from tickloom.events import Execution, OrderState
from tickloom.prices import NANOS
from tickloom.records import replace

WAIT_NS = 500
TRADE = Report(
    *(ReportType.TRADE, "ORDER", "XTWO", "ALFA", "buy", OrderState.FILLED, 10 * NANOS),
    execution_id="XTWO-E1",
    last_quantity=10 * NANOS,
    last_price=5 * NANOS,
    report_seq=7,
)
BUST = replace(TRADE, report_type=ReportType.TRADE_CANCELLED, last_quantity=0, last_price=0)
CORRECTION = replace(TRADE, report_type=ReportType.TRADE_CORRECTED, last_quantity=9 * NANOS)
BOOKED = Execution("XTWO-E1", "ORDER", "XNAS", "ALFA", "buy", 5 * NANOS, 10 * NANOS, 1, 2)


@dataclass
class World:
    """The journal's executions and the orders of unknown fate, by hand."""

    booked: dict[tuple[str, str], Execution] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.copies = Copies(
            WAIT_NS, lambda *key: self.booked.get(key), lambda order_id: order_id in self.unknown
        )

    def book(self, execution: Execution = BOOKED) -> None:
        self.booked[("XTWO", "XTWO-E1")] = execution


def test_a_copy_waits_for_the_orders_own_session() -> None:
    """Told in time, it comes to nothing; the stream is done with up to it only then."""
    world = World()
    world.copies.take(TRADE, 3, 0)
    early = world.copies.due(WAIT_NS - 1)
    assert (early.book, early.alerts, early.sequence) == ([], [], 2)
    world.book()
    late = world.copies.due(WAIT_NS)
    assert (late.book, late.alerts, late.sequence) == ([], [], 3)


def test_what_was_not_told_in_time_is_booked_with_an_alert() -> None:
    """Without a number of the session's own, so that the session's report of it later is no replay."""
    world = World()
    world.copies.take(TRADE, 1, 0)
    found = world.copies.due(WAIT_NS)
    assert found.book == [replace(TRADE, report_seq=0)]
    assert "XTWO-E1" in found.alerts[0]
    assert world.copies.due(WAIT_NS).book == []


def test_an_order_of_unknown_fate_does_not_wait() -> None:
    """The copy is the second source that resolves it."""
    world = World(unknown={"ORDER"})
    world.copies.take(TRADE, 1, 0)
    assert len(world.copies.due(0).book) == 1


def test_a_trade_and_its_bust_that_nobody_told_are_both_booked_in_order() -> None:
    """Their bust alone would have nothing to take back."""
    world = World()
    world.copies.take(TRADE, 1, 0)
    world.copies.take(BUST, 2, 1)
    assert [report.report_type for report in world.copies.due(WAIT_NS).book] == [
        ReportType.TRADE,
        ReportType.TRADE_CANCELLED,
    ]


def test_a_bust_or_correction_that_the_session_has_not_told() -> None:
    """It is booked; one that is in the journal already is not."""
    for change, after in (
        (BUST, replace(BOOKED, quantity=0)),
        (CORRECTION, replace(BOOKED, quantity=9 * NANOS)),
    ):
        world = World()
        world.book()
        world.copies.take(change, 1, 0)
        assert world.copies.due(WAIT_NS).book == [replace(change, report_seq=0)]
        world.book(after)
        world.copies.take(change, 2, 0)
        found = world.copies.due(WAIT_NS)
        assert (found.book, found.alerts) == ([], [])


def test_two_sources_that_disagree_are_an_alert_and_change_nothing() -> None:
    """Whoever is right, it is a person who finds out."""
    world = World()
    world.book(replace(BOOKED, price=4 * NANOS))
    world.copies.take(TRADE, 1, 0)
    found = world.copies.due(WAIT_NS)
    assert found.book == []
    assert "10 at 5" in found.alerts[0]
    assert "10 at 4" in found.alerts[0]


def test_a_trade_that_is_busted_here_is_no_disagreement() -> None:
    """Its bust comes in the stream behind it."""
    world = World()
    world.book(replace(BOOKED, quantity=0))
    world.copies.take(TRADE, 1, 0)
    found = world.copies.due(WAIT_NS)
    assert (found.book, found.alerts) == ([], [])


def test_messages_about_others_are_done_with_at_once() -> None:
    """Also where something before them waits: then not yet."""
    world = World()
    world.copies.skip(4)
    assert world.copies.due(0).sequence == 4
    world.copies.take(TRADE, 5, 0)
    world.copies.skip(6)
    assert world.copies.due(0).sequence == 4
    assert world.copies.due(WAIT_NS).sequence == 6


def test_an_acknowledgement_behind_a_copied_fill_is_no_news() -> None:
    """The session tells "new, nothing filled" of an order that the copy has filled: old, and no alert."""
    order = OrderRecord(
        *("ORDER", "signal", 0, "rule", "XNAS", "ALFA", "buy", 10 * NANOS, 5 * NANOS, "ioc"),
        *(OrderState.FILLED, 1, 2),
        filled_quantity=10 * NANOS,
        filled_value=50 * NANOS * NANOS,
        destination="XTWO",
    )
    late = replace(
        TRADE, report_type=ReportType.NEW, state=OrderState.NEW, filled_quantity=0, execution_id=""
    )
    effect = effect_of(order, late, Known(), 3)
    assert (effect.order, effect.alert, effect.changed) == (order, "", False)
    ended = effect_of(
        order, replace(late, report_type=ReportType.CANCELLED, state=OrderState.CANCELLED), Known(), 3
    )
    assert "0 filled, we have 10" in ended.alert
