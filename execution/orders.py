"""The order state machine: reports in, checked states out. Pure.

States and transitions are those of FIX 4.4 (Volume 4, Appendix D, "Order State Change Matrices"),
and UNKNOWN: an order whose fate is not known holds its worst-case exposure until the venue tells.

Two things are kept apart. A *state* changes only along :data:`TRANSITIONS`; an impossible change is
an :class:`OrderStateError` and the order stays as it was. A *fill* is a fact: what the venue traded
is booked, whatever the state says, so that positions always equal the sum of executions; a fill
that the state machine has no place for (behind a cancel, past the quantity) is booked with an alert.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from tickloom.errors import OrderStateError
from tickloom.events import Execution, Order, OrderState
from tickloom.prices import format_nanos

ORDER_ID_LENGTH = 20  # the shortest limit among venues (ClOrdID of many FIX venues); 100 bits of hash
_HASHED_BYTES = 15  # whole groups of 5 bytes (8 characters) that hold them; all 32 take twice as long

TERMINAL = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.DONE_FOR_DAY,  # of a day order as good as expired; nothing of it can be filled any more
        OrderState.REPLACED,  # what is left of it is another order's
        OrderState.REJECTED,
        OrderState.EXPIRED,
    }
)

_S = OrderState
#: What an order may become at any time that it may still be filled.
_ENDS = frozenset({_S.FILLED, _S.CANCELLED, _S.EXPIRED, _S.DONE_FOR_DAY})
_WORKING = _ENDS | {
    *(_S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.PENDING_REPLACE, _S.REPLACED, _S.UNKNOWN),
}
#: From each state, where an order may go next. PARTIALLY_FILLED and the pending states may repeat (a fill).
TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    # a venue may let the first fill stand for the acknowledgement
    _S.PENDING_NEW: _ENDS | {_S.NEW, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.REJECTED, _S.UNKNOWN},
    # accepted by the machine, refused by a person (matrix A, New to Rejected)
    _S.NEW: _WORKING | {_S.REJECTED},
    _S.PARTIALLY_FILLED: _WORKING,
    _S.PENDING_CANCEL: _WORKING - {_S.PENDING_REPLACE} | {_S.NEW},  # the cancel was rejected
    _S.PENDING_REPLACE: _WORKING | {_S.NEW},  # the replacement was rejected
    _S.UNKNOWN: _WORKING - {_S.UNKNOWN}
    | {_S.NEW, _S.REJECTED, _S.PENDING_NEW},  # pending new: the venue never saw it, and it is sent again
    **dict.fromkeys(TERMINAL, frozenset()),
}


@lru_cache(maxsize=1_024)  # a signal's is asked for when the journal is, and when it is sized
def client_order_id(signal_id: str, leg: int) -> str:
    """ClOrdID of a signal's leg: the same signal gives the same id on every run, so one order.

    20 characters A-Z2-7: the first 100 bits of SHA-256 of ``signal_id|leg`` in base32.
    """
    digest = hashlib.sha256(f"{signal_id}|{leg}".encode()).digest()
    return base64.b32encode(digest[:_HASHED_BYTES])[:ORDER_ID_LENGTH].decode()


class OrderRecord(msgspec.Struct, frozen=True, gc=False):
    """All that is known of an order. quantities, limit_price: nanos; filled_value: nanos squared.

    ``leg`` numbers the orders of one signal from 0. ``revision`` counts changes from 0.
    ``time_in_force``: "ioc" or "day". ``ts``: of the last change; ``ts_created``: of the intent.

    ``venue`` says whose instrument it is: positions and limits are kept by it. ``destination``
    (ExDestination, FIX tag 100) says where the order goes if that is elsewhere. A parent order never leaves;
    its children, which name it in ``parent_id``, do. ``order_type``: OrdType (40), "limit", "market" or
    "midpoint". ``min_quantity``: MinQty (110), nanos. ``original_order_id``: OrigClOrdID (41) of the
    order that this one takes the place of. ``busted_quantity``: what busts and corrections took off
    ``filled_quantity`` in all, nanos; below 0: corrections made it more.
    """

    order_id: str
    signal_id: str
    leg: int
    rule: str
    venue: str
    symbol: str
    side: str
    quantity: int
    limit_price: int
    time_in_force: str
    state: OrderState
    ts_created: int
    ts: int
    filled_quantity: int = 0
    filled_value: int = 0
    venue_order_id: str = ""
    reason: str = ""
    revision: int = 0
    parent_id: str = ""
    destination: str = ""
    order_type: str = "limit"
    min_quantity: int = 0
    post_only: bool = False
    original_order_id: str = ""
    busted_quantity: int = 0

    @property
    def sent_to(self) -> str:
        """The destination, or the venue itself."""
        return self.destination or self.venue

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL

    @property
    def leaves(self) -> int:
        """What may still be filled, nanos: the worst case, so an UNKNOWN order counts in full.

        A correction upwards leaves no less for sale; what was busted a venue may put up again.
        """
        return 0 if self.terminal else max(0, self.quantity - self.executed)

    @property
    def executed(self) -> int:
        """What surely is for sale no more, nanos: what is filled, without what corrections added to it."""
        return self.filled_quantity + min(0, self.busted_quantity)

    @property
    def average_price(self) -> int:
        """Average fill price rounded to the nearest nano; 0 without fills."""
        if self.filled_quantity == 0:
            return 0
        return (2 * self.filled_value + self.filled_quantity) // (2 * self.filled_quantity)

    def fact(self) -> Order:
        """This revision as the event that others see."""
        return Order(
            order_id=self.order_id,
            signal_id=self.signal_id,
            rule=self.rule,
            venue=self.venue,
            symbol=self.symbol,
            side=self.side,
            quantity=self.quantity,
            limit_price=self.limit_price,
            state=self.state,
            filled_quantity=self.filled_quantity,
            average_price=self.average_price,
            reason=self.reason,
            ts=self.ts,
            revision=self.revision,
            parent_id=self.parent_id,
            destination=self.destination,
        )


def transition(order: OrderRecord, state: OrderState, ts: int, reason: str = "") -> OrderRecord:
    """The order in its next state.

    Raises
    ------
    OrderStateError
        FIX knows no such step; the order given is unchanged.
    """
    if state not in TRANSITIONS[order.state]:
        why = f" ({reason})" if reason else ""
        raise OrderStateError(
            f"order {order.order_id} ({order.venue} {order.symbol}) is {order.state} and cannot become "
            f"{state}{why}; it stays {order.state}. Compare with the venue's record"
        )
    # times of one order never go back, whatever the wall clock does: facts are told apart by them
    return replace(
        order,
        state=state,
        ts=max(ts, order.ts + 1),
        reason=reason or order.reason,
        revision=order.revision + 1,
    )


def fill(order: OrderRecord, quantity: int, price: int, ts: int) -> tuple[OrderRecord, str]:
    """Book a fill; the text is an alert where the state machine has no place for it, else empty.

    Parameters
    ----------
    quantity, price : int
        Nanos, both above 0.

    Raises
    ------
    OrderStateError
        No fill at all: a quantity or price that is not above 0. Nothing is booked.
    """
    if quantity <= 0 or price <= 0:
        raise OrderStateError(
            f"order {order.order_id}: a fill of {format_nanos(quantity)} at {format_nanos(price)} is none"
        )
    filled, executed = order.filled_quantity + quantity, order.executed + quantity
    alert = ""
    if order.terminal:
        state = order.state
        alert = f"fill of {format_nanos(quantity)} on an order that is {order.state} already"
    elif executed >= order.quantity:
        state = OrderState.FILLED
    elif order.state in (OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE):
        state = order.state  # precedence 12 and 11 over 4: the request is still under way
    else:
        state = OrderState.PARTIALLY_FILLED
    if executed > order.quantity:
        alert = (
            f"overfill: {format_nanos(filled)} filled of {format_nanos(order.quantity)}"
            f"{f'; {alert}' if alert else ''}"
        )
    booked = replace(
        order,
        state=state,
        filled_quantity=filled,
        filled_value=order.filled_value + quantity * price,
        ts=max(ts, order.ts + 1),
        revision=order.revision + 1,
    )
    return booked, alert


def amend(order: OrderRecord, was: Execution, quantity: int, price: int, ts: int) -> OrderRecord:
    """An order of which one execution has another quantity and price now (nanos; quantity 0: taken back).

    Its state stays: what was executed changes, not what is left.
    """
    return replace(
        order,
        filled_quantity=order.filled_quantity + quantity - was.quantity,
        busted_quantity=order.busted_quantity + was.quantity - quantity,
        filled_value=order.filled_value + quantity * price - was.quantity * was.price,
        ts=max(ts, order.ts + 1),
        revision=order.revision + 1,
    )
