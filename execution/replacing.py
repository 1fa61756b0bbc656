"""Cancel/replace: one order in the place of another (FIX 4.4, Volume 4, Appendix D, matrices D and E). Pure.

The new order has an id of its own and names the old one (OrigClOrdID, 41); its quantity and what is filled
of it count for both. While the venue has not answered, the old one is PENDING_REPLACE and the new one
PENDING_NEW; either may turn out to be the one that lives.
"""

from __future__ import annotations

from execution.orders import OrderRecord, transition
from execution.records import replacement_of
from execution.venues import Report
from tickloom.errors import OrderStateError
from tickloom.events import OrderState
from tickloom.prices import format_nanos
from tickloom.records import replace


def request(
    original: OrderRecord, number: int, quantity: int, limit_price: int, ts: int, why: str
) -> tuple[OrderRecord, OrderRecord]:
    """(original, which is to be replaced; the order that is to take its place).

    Parameters
    ----------
    number : int
        Of the attempt, from 0.
    quantity, limit_price : int
        Nanos; the quantity with what is filled already.

    Raises
    ------
    OrderStateError
        It cannot be replaced as it is now, or not by that.
    """
    if original.state not in (OrderState.NEW, OrderState.PARTIALLY_FILLED):
        raise OrderStateError(
            f"order {original.order_id} is {original.state} and cannot be replaced; wait for it"
        )
    if quantity <= original.executed or limit_price <= 0:
        filled = format_nanos(original.filled_quantity)
        raise OrderStateError(
            f"order {original.order_id} has {filled} filled and cannot become one of "
            f"{format_nanos(quantity)} at {format_nanos(limit_price)}; cancel it instead"
        )
    successor = replacement_of(original, number, quantity, limit_price, ts)
    return transition(original, OrderState.PENDING_REPLACE, ts, why), successor


def confirmed(order: OrderRecord, report: Report, said: str, ts: int) -> tuple[OrderRecord, str]:
    """The order as the venue replaced it, and an alert.

    ``order`` is the one that lives now: a new one, or the same one made smaller in its place.
    """
    quantity = report.quantity or order.quantity
    if report.filled_quantity != order.filled_quantity:
        theirs, ours = format_nanos(report.filled_quantity), format_nanos(order.filled_quantity)
        return order, f"{said} with {theirs} filled, we have {ours}; it stays {order.state}"
    changed = replace(order, quantity=quantity, limit_price=report.price or order.limit_price)
    if report.original_order_id in ("", order.order_id):
        if (changed.quantity, changed.limit_price) == (order.quantity, order.limit_price):
            return order, ""
        reason = report.text or f"the venue made it {format_nanos(quantity)}"
        return replace(changed, ts=max(ts, order.ts + 1), reason=reason, revision=order.revision + 1), ""
    if order.terminal or order.state not in (OrderState.PENDING_NEW, OrderState.UNKNOWN):
        return order, ""  # known by its state or a fill already
    state = OrderState.PARTIALLY_FILLED if order.filled_quantity else OrderState.NEW
    return transition(changed, state, ts, report.text), ""


def refused(
    successor: OrderRecord, original: OrderRecord | None, text: str, ts: int
) -> tuple[OrderRecord, tuple[OrderRecord, ...]]:
    """The venue keeps the original: the order that was to replace it is no order, and has nothing filled."""
    rejected = transition(successor, OrderState.REJECTED, ts, f"replacement rejected: {text}")
    rejected = replace(rejected, filled_quantity=0, filled_value=0)
    if original is None or original.state is not OrderState.PENDING_REPLACE:
        return rejected, ()
    state = OrderState.PARTIALLY_FILLED if original.filled_quantity else OrderState.NEW
    return rejected, (transition(original, state, ts, f"replacement rejected: {text}"),)
