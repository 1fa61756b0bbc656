"""From what we would like to send to the record of an order, and back. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from execution.orders import OrderRecord, client_order_id
from execution.risk import Refusal
from execution.router import Slice
from execution.sizing import OrderIntent
from tickloom.events import OrderState


def record_of(intent: OrderIntent, refusal: Refusal | None, now_ns: int) -> OrderRecord:
    """The order of an intent: about to leave, or refused."""
    return OrderRecord(
        order_id=intent.order_id,
        signal_id=intent.signal_id,
        leg=intent.leg,
        rule=intent.rule,
        venue=intent.venue,
        symbol=intent.symbol,
        side=intent.side,
        quantity=intent.quantity,
        limit_price=intent.limit_price,
        time_in_force=intent.time_in_force,
        state=OrderState.REJECTED if refusal else OrderState.PENDING_NEW,
        ts_created=now_ns,
        ts=now_ns,
        reason=refusal.text if refusal else "",
        destination=intent.destination,
    )


def intent_of(order: OrderRecord, quantity: int | None = None, unwinding: bool = False) -> OrderIntent:
    """What the gate looks at; ``quantity`` (nanos) where that is not the whole order."""
    return OrderIntent(
        order_id=order.order_id,
        signal_id=order.signal_id,
        leg=order.leg,
        rule=order.rule,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity if quantity is None else quantity,
        limit_price=order.limit_price,
        time_in_force=order.time_in_force,
        unwinding=unwinding,
        destination=order.destination,
    )


def child_of(parent: OrderRecord, part: Slice, number: int, now_ns: int) -> OrderRecord:
    """A part of a parent as an order; its id follows from the parent's and its number, from 0."""
    return OrderRecord(
        order_id=client_order_id(parent.order_id, number),
        signal_id=parent.signal_id,
        leg=parent.leg,
        rule=parent.rule,
        venue=parent.venue,
        symbol=parent.symbol,
        side=parent.side,
        quantity=part.quantity,
        limit_price=part.limit_price,
        time_in_force=part.time_in_force,
        state=OrderState.PENDING_NEW,
        ts_created=now_ns,
        ts=now_ns,
        parent_id=parent.order_id,
        destination=part.destination,
        order_type=part.order_type,
        min_quantity=part.min_quantity,
        post_only=part.post_only,
    )


def replacement_of(
    original: OrderRecord, number: int, quantity: int, limit_price: int, now_ns: int
) -> OrderRecord:
    """The order that is to take the place of ``original``, with what that has filled already.

    Its id follows from the original's and the ``number`` of the attempt, from 0.
    """
    return replace(
        original,
        order_id=client_order_id(f"{original.order_id}|replace", number),
        quantity=quantity,
        limit_price=limit_price,
        state=OrderState.PENDING_NEW,
        ts_created=now_ns,
        ts=now_ns,
        venue_order_id="",
        reason="",
        revision=0,
        original_order_id=original.order_id,
    )
