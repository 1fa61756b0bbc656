"""A venue's report and the order it is about in; what changes, out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from execution.orders import OrderRecord, fill, transition
from execution.venues import Report, ReportType
from tickloom.errors import OrderStateError
from tickloom.events import Execution, OrderState
from tickloom.prices import format_nanos


@dataclass(frozen=True, slots=True)
class Effect:
    """What a report does.

    order: its next revision where ``changed``, else the order as it was (perhaps with the venue's
    number). alert: what somebody must look at, or empty. never_arrived: the venue has no such order,
    and never acknowledged it. resend: ``order`` must be sent (again).
    """

    order: OrderRecord | None = None
    execution: Execution | None = None
    alert: str = ""
    changed: bool = False
    never_arrived: bool = False
    resend: bool = False


def effect_of(order: OrderRecord | None, report: Report, execution_known: bool, ts: int) -> Effect:
    """What ``report`` changes; nothing but an alert where it cannot be.

    Parameters
    ----------
    execution_known : bool
        The report's execution was booked before.
    ts : int
        Now, ns.
    """
    said = f"{report.venue} says {report.report_type} ({report.state}) of order {report.order_id}"
    if order is None:
        return Effect(alert=f"{said}, which is not in the journal; nothing was booked")
    ours = (order.sent_to, order.symbol, order.side)
    # an order that the venue does not know has no instrument on its side
    if (report.venue, report.symbol, report.side) != ours and not report.unknown_order:
        theirs = f"{report.symbol} {report.side}"
        return Effect(alert=f"{said} for {theirs}; ours is {' '.join(ours)}; nothing was booked")
    if report.venue_order_id and not order.venue_order_id:
        order = replace(order, venue_order_id=report.venue_order_id)
    try:
        if report.report_type is ReportType.TRADE:
            return _trade(order, report, execution_known, ts)
        if report.report_type in (ReportType.TRADE_CANCELLED, ReportType.TRADE_CORRECTED):
            return Effect(order, alert=_changed_trade(report, said))
        if report.unknown_order:
            return _unknown_order(order, said)
        if report.report_type is ReportType.CANCEL_REJECTED:
            return _cancel_rejected(order, report, ts)
        return _state(order, report, said, ts)
    except OrderStateError as error:
        return Effect(order, alert=str(error))


def _trade(order: OrderRecord, report: Report, execution_known: bool, ts: int) -> Effect:
    if execution_known:
        return Effect(order)
    booked, alert = fill(order, report.last_quantity, report.last_price, ts)
    if not alert and report.filled_quantity != booked.filled_quantity:
        alert = (
            f"the venue counts {format_nanos(report.filled_quantity)} filled, "
            f"we have {format_nanos(booked.filled_quantity)}"
        )
    execution = Execution(
        execution_id=report.execution_id,
        order_id=order.order_id,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        price=report.last_price,
        quantity=report.last_quantity,
        ts=report.ts,
        ts_recv=ts,
        destination=order.sent_to,
        fee=report.fee,
        liquidity=report.liquidity,
    )
    text = (
        f"order {order.order_id} ({order.venue} {order.symbol}): {alert}; the fill is booked" if alert else ""
    )
    return Effect(booked, execution, text, changed=True)


def _changed_trade(report: Report, said: str) -> str:
    """A bust or a correction is a person's decision at the venue, and is looked at by a person here."""
    now = ""
    if report.report_type is ReportType.TRADE_CORRECTED:
        now = f", now {format_nanos(report.last_quantity)} at {format_nanos(report.last_price)}"
    return (
        f"{said}: its execution {report.execution_id}{now}; the position still counts it as it was traded. "
        "Halt, compare with the venue's record, and book the difference by hand"
    )


def _unknown_order(order: OrderRecord, said: str) -> Effect:
    if order.state is not OrderState.UNKNOWN:
        return Effect(order)  # an answer from before it was sent (again)
    if order.venue_order_id or order.filled_quantity:
        alert = (
            f"{said}: it has no such order, yet it acknowledged it; it stays {order.state}, with its exposure"
        )
        return Effect(order, alert=alert)
    return Effect(order, never_arrived=True)


def _cancel_rejected(order: OrderRecord, report: Report, ts: int) -> Effect:
    if order.state not in (OrderState.PENDING_CANCEL, OrderState.UNKNOWN):
        return Effect(order)
    reason = f"cancel rejected: {report.text}"
    return Effect(transition(order, report.state, ts, reason), changed=True)


def _state(order: OrderRecord, report: Report, said: str, ts: int) -> Effect:
    pending = order.state in (OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE)
    crossed = report.state is OrderState.NEW and pending
    # the acknowledgement and our request to cancel or replace crossed (matrices B.1.e, C.1.c)
    if report.state is order.state or crossed:
        return Effect(order)
    if report.filled_quantity != order.filled_quantity:
        theirs, ours = format_nanos(report.filled_quantity), format_nanos(order.filled_quantity)
        return Effect(order, alert=f"{said} with {theirs} filled, we have {ours}; it stays {order.state}")
    return Effect(transition(order, report.state, ts, report.text), changed=True)
