"""The map that a gateway makes of a venue's OUCH stream."""

from __future__ import annotations

import pytest

from execution.ouch import messages as ouch
from execution.venues import Report, ReportType
from execution.venues.ouch.orders import OuchOrders, shares_of
from tickloom.errors import ExecutionError
from tickloom.events import OrderState
from tickloom.prices import NANOS

ACCEPTED = ouch.Accepted(1, 4, "B", 100, "ALFA", 1_000_000, "0", "Y", 9, "P", "N", "N", "L", "ABCDEFGHIJKLMN")
WHOLE = "ABCDEFGHIJKLMNOPQRST"


def stream(*messages: ouch.Outbound) -> tuple[OuchOrders, list[Report | None]]:
    orders = OuchOrders("XNAS", 1_000)
    orders.expect((WHOLE,))
    return orders, [orders.take(message, number) for number, message in enumerate(messages, start=1)]


def last(*messages: ouch.Outbound) -> Report:
    _, reports = stream(ACCEPTED, *messages)
    report = reports[-1]
    assert report is not None
    return report


def test_acceptance() -> None:
    """The whole id, the venue's number, the time since the epoch, and the stream's number."""
    _, (report,) = stream(ACCEPTED)
    assert report is not None
    assert (report.order_id, report.venue_order_id, report.ts, report.report_seq) == (
        WHOLE, "XNAS-9", 1_001, 1,
    )  # fmt: skip
    assert (report.report_type, report.state) == (ReportType.NEW, OrderState.NEW)


def test_dead_on_arrival() -> None:
    """Accepted and at once cancelled is a cancelled order."""
    _, (report,) = stream(ACCEPTED._replace(order_state="D"))
    assert report is not None
    assert (report.report_type, report.state) == (ReportType.CANCELLED, OrderState.CANCELLED)


@pytest.mark.parametrize(
    ("message", "kind", "state"),
    [
        (ouch.Canceled(2, 4, 100, "U"), ReportType.CANCELLED, OrderState.CANCELLED),
        (ouch.Canceled(2, 4, 100, "E"), ReportType.EXPIRED, OrderState.EXPIRED),
        (ouch.Canceled(2, 4, 40, "U"), ReportType.REPLACED, OrderState.NEW),
        (ouch.AiqCanceled(2, 4, 100, "Q", 100, 0, "R"), ReportType.CANCELLED, OrderState.CANCELLED),
        (ouch.AiqCanceled(2, 4, 10, "Q", 10, 0, "R"), ReportType.REPLACED, OrderState.NEW),
        (ouch.Modified(2, 4, "B", 60), ReportType.REPLACED, OrderState.NEW),
        (ouch.Executed(2, 4, 100, 1_000_000, "A", 5), ReportType.TRADE, OrderState.FILLED),
        (ouch.Executed(2, 4, 99, 1_000_000, "A", 5), ReportType.TRADE, OrderState.PARTIALLY_FILLED),
        (ouch.CancelRejected(2, 4), ReportType.CANCEL_REJECTED, OrderState.NEW),
    ],
)
def test_what_becomes_of_it(message: ouch.Outbound, kind: ReportType, state: OrderState) -> None:
    """Each message as the report that it is."""
    report = last(message)
    assert (report.report_type, report.state, report.order_id) == (kind, state, WHOLE)


@pytest.mark.parametrize(
    "message",
    [
        ouch.SystemEvent(2, "S"),
        ouch.CancelPending(2, 4),
        ouch.PriorityUpdate(2, 4, 1, "Y", 10),
        ouch.Restated(2, 4, "R"),
        ouch.AccountQueryResponse(2, 12),
        ouch.Canceled(2, 99, 1, "U"),
    ],
)
def test_what_is_no_report(message: ouch.Outbound) -> None:
    """Nothing changes for us, or it is none of our orders."""
    _, reports = stream(ACCEPTED, message)
    assert reports[-1] is None


def test_numbers_go_on_behind_the_highest_that_was_seen() -> None:
    """Of acceptances, rejections, mass cancels and the venue's own word."""
    orders, _ = stream(
        ACCEPTED,
        ouch.Rejected(2, 6, 0x17, "OTHER"),
        ouch.MassCancelResponse(2, 8, "", ""),
    )
    assert orders.take_ref() == 9
    orders.take(ouch.AccountQueryResponse(3, 20), 4)
    assert (orders.take_ref(), orders.take_ref()) == (20, 21)


def test_chain_of_replacements_carries_what_was_executed() -> None:
    """30 of 100 are executed; 50 outstanding after the replacement make 80 in all; 50 more fill it."""
    replaced = ouch.Replaced(3, 4, 5, "B", 50, "ALFA", 1_010_000, "0", "Y", 10, "P", "N", "N", "L", "NEXT")
    orders, reports = stream(
        ACCEPTED,
        ouch.Executed(2, 4, 30, 1_000_000, "A", 1),
        replaced,
        ouch.Executed(4, 5, 50, 1_010_000, "A", 2),
    )
    change, fill = reports[2:]
    assert change is not None
    assert fill is not None
    assert (change.original_order_id, change.quantity, change.filled_quantity) == (
        WHOLE, 80 * NANOS, 30 * NANOS,
    )  # fmt: skip
    assert (fill.state, fill.filled_quantity) == (OrderState.FILLED, 80 * NANOS)
    assert not orders.live(WHOLE)
    assert orders.user_ref("NEXT") == 5


def test_ids_that_the_venue_could_not_tell_apart_are_refused() -> None:
    """The same first 14 characters."""
    orders, _ = stream()
    with pytest.raises(ExecutionError, match="the same 14 characters"):
        orders.expect((WHOLE[:14] + "XXXXXX",))


def test_whole_shares() -> None:
    """1 and 999,999, and one past each."""
    assert (shares_of(NANOS), shares_of(999_999 * NANOS)) == (1, 999_999)
    for quantity in (0, NANOS - 1, 1_000_000 * NANOS):
        with pytest.raises(ValueError, match="no OUCH quantity"):
            shares_of(quantity)
