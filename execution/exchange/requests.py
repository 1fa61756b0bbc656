"""What clients ask of the exchange, in terms no protocol owns. Order entry ports make these."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OrderType(StrEnum):
    """OrdType (FIX tag 40), as far as it is known here."""

    LIMIT = "limit"
    MARKET = "market"
    MIDPOINT = "midpoint"  # pegged to the midpoint (P with ExecInst M); of dark venues


DAY, IOC, FOK = "day", "ioc", "fok"


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order. quantity, price, min_quantity: nanos; price 0: a market order, or a peg without a limit.

    ``min_quantity``: no single execution is smaller (the last one apart). ``user_ref``: the protocol's
    own number of the order (UserRefNum), for the port that has one. ``client_order_id``: ClOrdID where
    it is not ``order_id``.
    """

    order_id: str
    venue: str
    symbol: str
    side: str
    quantity: int
    price: int
    time_in_force: str
    order_type: OrderType = OrderType.LIMIT
    min_quantity: int = 0
    post_only: bool = False
    user_ref: int = 0
    client_order_id: str = ""


@dataclass(frozen=True, slots=True)
class ReplaceOrder:
    """Another order in the place of ``original_order_id``. quantity: with what was executed; nanos.

    Time priority is kept if the price stays and the quantity does not grow.
    """

    original_order_id: str
    order_id: str
    venue: str
    symbol: str
    side: str
    quantity: int
    price: int
    user_ref: int = 0
    client_order_id: str = ""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Cancel what is left of ``order_id``, or all above ``quantity`` (with what was executed; nanos).

    ``client_order_id``: ClOrdID of the request itself, where the protocol gives it one.
    """

    order_id: str
    venue: str
    symbol: str
    side: str
    quantity: int = 0
    client_order_id: str = ""


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Tell the state of ``order_id``.

    ``client_order_id``: ClOrdID where it is not ``order_id``. ``request_id``, ``mass_request_id``:
    OrdStatusReqID and MassStatusReqID, where the protocol has them.
    """

    order_id: str
    venue: str
    symbol: str
    side: str
    client_order_id: str = ""
    request_id: str = ""
    mass_request_id: str = ""
