"""A venue's report and the order it is about in; what changes, out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from execution import replacing
from execution.orders import OrderRecord, amend, fill, transition
from execution.venues import Report, ReportType
from tickloom.errors import OrderStateError
from tickloom.events import Execution, OrderState
from tickloom.prices import format_nanos
from tickloom.records import replace


@dataclass(frozen=True, slots=True)
class Amendment:
    """A bust (quantity 0) or a correction of an execution. quantity, price: what it is now, nanos.

    ``was``: as it stood; None: it was never booked, and must be this if it ever comes.
    """

    execution_id: str
    quantity: int
    price: int
    was: Execution | None
    text: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What a report does.

    order: its next revision where ``changed``, else the order as it was (perhaps with the venue's
    number). also: next revisions of orders that it takes the place of, or that were to take its place.
    alert: what somebody must look at, or empty. never_arrived: the venue has no such order, and never
    acknowledged it. resend: ``order`` must be sent (again).
    """

    order: OrderRecord | None = None
    execution: Execution | None = None
    alert: str = ""
    changed: bool = False
    never_arrived: bool = False
    resend: bool = False
    also: tuple[OrderRecord, ...] = ()
    amendment: Amendment | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal has of a report's execution, and of the orders before and behind its own.

    execution: as it stands, with quantity 0 if it was busted; None: it was never booked. amended: its
    quantity and price (nanos; 0: busted) where a bust or correction came before it did. original: the order
    whose place this one takes; successor: the one that is to take its place. Both only while they are open.
    """

    execution: Execution | None = None
    amended: tuple[int, int] | None = None
    original: OrderRecord | None = None
    successor: OrderRecord | None = None


_UNCONFIRMED = (OrderState.PENDING_NEW, OrderState.UNKNOWN)
_AMENDMENTS = (ReportType.TRADE_CANCELLED, ReportType.TRADE_CORRECTED)


def effect_of(order: OrderRecord | None, report: Report, known: Known, ts: int) -> Effect:
    """What ``report`` changes; nothing but an alert where it cannot be.

    Parameters
    ----------
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
        return _with_original(_effect(order, report, known, said, ts), known, ts)
    except OrderStateError as error:
        return Effect(order, alert=str(error))


def _effect(order: OrderRecord, report: Report, known: Known, said: str, ts: int) -> Effect:
    kind = report.report_type
    if kind is ReportType.TRADE:
        return _trade(order, report, known, ts)
    if kind in _AMENDMENTS:
        return _amended(order, report, known, said, ts)
    if report.unknown_order:
        return _unknown_order(order, said)
    if kind is ReportType.CANCEL_REJECTED:
        return _cancel_rejected(order, report, known, ts)
    if kind is ReportType.REPLACED:
        changed, alert = replacing.confirmed(order, report, said, ts)
        return Effect(changed, alert=alert, changed=changed is not order)
    if order.original_order_id and report.state is OrderState.REJECTED:
        refused, original = replacing.refused(order, known.original, report.text, ts)
        return Effect(refused, changed=True, also=original)
    successor = known.successor
    waits = successor is not None and successor.state in _UNCONFIRMED
    if kind is ReportType.STATUS and report.state is OrderState.CANCELLED and waits:
        return Effect(order)  # or replaced, for which FIX 4.4 has no state: what the other one is says it
    return _state(order, report, said, ts)


def _with_original(effect: Effect, known: Known, ts: int) -> Effect:
    """An order that lives, or has lived, has taken the place of its original, whatever else was told."""
    order, original = effect.order, known.original
    if order is None or original is None or not effect.changed or effect.also:
        return effect
    if order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN, OrderState.REJECTED):
        return effect
    replaced = transition(original, OrderState.REPLACED, ts, f"replaced by {order.order_id}")
    return replace(effect, also=(replaced,))


def _trade(order: OrderRecord, report: Report, known: Known, ts: int) -> Effect:
    if known.execution is not None:
        return Effect(order)
    quantity, price, behind = report.last_quantity, report.last_price, ""
    if known.amended is not None:
        quantity, price = known.amended
        behind = f"execution {report.execution_id} comes behind its bust or correction, which counts"
        if not quantity:
            return Effect(order, alert=f"order {order.order_id}: {behind}; it is not booked")
    booked, alert = fill(order, quantity, price, ts)
    if not alert and report.filled_quantity != booked.filled_quantity:
        alert = (
            f"the venue counts {format_nanos(report.filled_quantity)} filled, "
            f"we have {format_nanos(booked.filled_quantity)}"
        )
    elif report.state is OrderState.FILLED and not booked.terminal:
        # something of it was taken back before, and that is not for sale again
        booked = replace(booked, state=OrderState.FILLED)
    alert = "; ".join(text for text in (alert, behind) if text)
    execution = Execution(
        execution_id=report.execution_id,
        order_id=order.order_id,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        price=price,
        quantity=quantity,
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


def _amended(order: OrderRecord, report: Report, known: Known, said: str, ts: int) -> Effect:
    """A bust or a correction is booked, and is looked at by a person all the same."""
    quantity, price = report.last_quantity, report.last_price
    if report.report_type is ReportType.TRADE_CANCELLED:
        quantity = price = 0
    elif quantity <= 0 or price <= 0:
        return Effect(
            order, alert=f"{said}: its execution {report.execution_id} corrected to nothing; not booked"
        )
    was = known.execution
    now = f"{format_nanos(quantity)} at {format_nanos(price)}" if quantity else "nothing"
    amendment = Amendment(report.execution_id, quantity, price, was, report.text)
    if was is None:
        if known.amended == (quantity, price):
            return Effect(order)
        text = f"{said}: execution {report.execution_id}, which is not booked, is {now}; noted"
        return Effect(order, alert=text, amendment=amendment)
    if was.quantity == quantity and (not quantity or was.price == price):
        return Effect(order)  # the same again
    if not was.quantity:
        text = f"{said}: execution {report.execution_id} was busted and is {now} again; it stays busted. Ask"
        return Effect(order, alert=text)
    changed = amend(order, was, quantity, price, ts)
    if order.state is OrderState.FILLED and report.state in (OrderState.NEW, OrderState.PARTIALLY_FILLED):
        changed = replace(changed, state=report.state)  # the venue has put it up again
    text = (
        f"{said}: its execution {report.execution_id}, {format_nanos(was.quantity)} at "
        f"{format_nanos(was.price)}, is now {now}; position and P&L follow it. Look at it"
    )
    return Effect(changed, alert=text, changed=True, amendment=amendment)


def _unknown_order(order: OrderRecord, said: str) -> Effect:
    if order.state is not OrderState.UNKNOWN:
        return Effect(order)  # an answer from before it was sent (again)
    # what one that replaces another has filled may all be the other's
    if order.venue_order_id or (order.filled_quantity and not order.original_order_id):
        alert = (
            f"{said}: it has no such order, yet it acknowledged it; it stays {order.state}, with its exposure"
        )
        return Effect(order, alert=alert)
    return Effect(order, never_arrived=True)


def _cancel_rejected(order: OrderRecord, report: Report, known: Known, ts: int) -> Effect:
    """OrderCancelReject (9) answers a request to cancel, or one to replace; one is under way at a time."""
    also: tuple[OrderRecord, ...] = ()
    successor = known.successor
    # an order that was replaced cannot be cancelled any more; what took its place lives
    lives = OrderState.REPLACED in (order.state, report.state)
    over = order.terminal or order.state is OrderState.PENDING_REPLACE
    if successor is not None and successor.state in _UNCONFIRMED and over and not lives:
        also = (replacing.refused(successor, None, report.text, ts)[0],)
    if order.state is OrderState.PENDING_REPLACE:
        reason = f"replacement rejected: {report.text}"
        return Effect(transition(order, report.state, ts, reason), changed=True, also=also)
    if order.state not in (OrderState.PENDING_CANCEL, OrderState.UNKNOWN):
        return Effect(order, also=also)
    reason = f"cancel rejected: {report.text}"
    return Effect(transition(order, report.state, ts, reason), changed=True)


def _state(order: OrderRecord, report: Report, said: str, ts: int) -> Effect:
    pending = order.state in (OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE)
    crossed = report.state is OrderState.NEW and pending
    # the acknowledgement and our request to cancel or replace crossed (matrices B.1.e, C.1.c)
    if report.state is order.state or crossed:
        return Effect(order)
    if report.report_type is ReportType.NEW and report.filled_quantity < order.filled_quantity:
        return Effect(order)  # an acknowledgement that the fill overtook, by way of the drop copy
    if report.filled_quantity != order.filled_quantity:
        theirs, ours = format_nanos(report.filled_quantity), format_nanos(order.filled_quantity)
        return Effect(order, alert=f"{said} with {theirs} filled, we have {ours}; it stays {order.state}")
    return Effect(transition(order, report.state, ts, report.text), changed=True)
