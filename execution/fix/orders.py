"""What the messages of the flow of orders say; a client and a venue use the same. Pure.

MsgTypes D, F, G, H, AF from the client; 8, 9, j from the venue. FIX 4.4 with Errata 20030618, Volume 4;
Enumerated values are FIX's own characters, in 4.4's meaning; quantities
and prices are int64 nanos, times ns since the epoch. An empty string or 0 is a field that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

BUY, SELL, SELL_SHORT = "1", "2", "5"  # Side (54)
MARKET, LIMIT, PEGGED = "1", "2", "P"  # OrdType (40)
DAY, IOC, FOK = "0", "3", "4"  # TimeInForce (59)
POST_ONLY, MID_PEG = "6", "M"  # ExecInst (18): participate don't initiate; mid-price peg
TRADE, TRADE_CORRECT, TRADE_CANCEL, ORDER_STATUS = "F", "G", "H", "I"  # ExecType (150)
REPLACED, RESTATED = "5", "D"  # of ExecType: by request, and by the venue itself
UNKNOWN_SYMBOL, EXCHANGE_CLOSED, UNKNOWN_ORDER, DUPLICATE_ORDER = "1", "2", "5", "6"  # OrdRejReason (103)
UNSUPPORTED_ORDER, INCORRECT_QUANTITY, OTHER_REASON = "11", "13", "99"
CANCEL_TOO_LATE, CANCEL_UNKNOWN_ORDER = "0", "1"  # CxlRejReason (102)
ADDED_LIQUIDITY, REMOVED_LIQUIDITY = "1", "2"  # LastLiquidityInd (851)
ALL_ORDERS = "7"  # MassStatusReqType (585)


@dataclass(frozen=True, slots=True)
class NewOrderSingle:
    """D. A price of 0 is none (market, pegged). ``venue``: SecurityExchange (207)."""

    cl_ord_id: str
    symbol: str
    side: str
    quantity: int
    ts: int
    order_type: str = LIMIT
    price: int = 0
    time_in_force: str = DAY
    exec_inst: str = ""
    account: str = ""
    venue: str = ""
    min_quantity: int = 0


@dataclass(frozen=True, slots=True)
class OrderCancelRequest:
    """F: cancel what is left of ``orig_cl_ord_id``. ``quantity``: that of the order."""

    cl_ord_id: str
    orig_cl_ord_id: str
    symbol: str
    side: str
    quantity: int
    ts: int
    venue: str = ""


@dataclass(frozen=True, slots=True)
class OrderCancelReplaceRequest:
    """G: ``orig_cl_ord_id`` shall have this quantity (with what is filled already) and price."""

    cl_ord_id: str
    orig_cl_ord_id: str
    symbol: str
    side: str
    quantity: int
    ts: int
    order_type: str = LIMIT
    price: int = 0
    time_in_force: str = DAY
    exec_inst: str = ""
    account: str = ""
    venue: str = ""
    min_quantity: int = 0


@dataclass(frozen=True, slots=True)
class OrderStatusRequest:
    """H. ``request_id`` (790, FIX 4.4) comes back in the answer."""

    cl_ord_id: str
    symbol: str
    side: str
    request_id: str = ""
    venue: str = ""


@dataclass(frozen=True, slots=True)
class OrderMassStatusRequest:
    """AF, FIX 4.4: the state of all orders, each as an ExecutionReport."""

    request_id: str
    request_type: str = ALL_ORDERS


class ExecutionReport(NamedTuple):
    """8. ``exec_ref_id``: the execution that a bust or a correction is about. ``commission``: of the
    execution, in currency; below 0: a rebate.

    A tuple, because there are many: it is made in a fifth of the time of a frozen dataclass.
    """

    order_id: str
    exec_id: str
    exec_type: str
    ord_status: str
    symbol: str
    side: str
    cl_ord_id: str = ""
    orig_cl_ord_id: str = ""
    exec_ref_id: str = ""
    venue: str = ""
    text: str = ""
    reject_reason: str = ""
    request_id: str = ""
    mass_request_id: str = ""
    liquidity: str = ""
    ts: int = 0
    leaves: int = 0
    filled: int = 0
    average_price: int = 0
    quantity: int = 0
    price: int = 0
    last_quantity: int = 0
    last_price: int = 0
    commission: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """The fields that are text: all before ``ts``."""
        return cast(tuple[str, ...], self[:15])


@dataclass(frozen=True, slots=True)
class OrderCancelReject:
    """9. ``response_to``: "1" a cancel, "2" a replace."""

    order_id: str
    cl_ord_id: str
    orig_cl_ord_id: str
    ord_status: str
    response_to: str = "1"
    reason: str = ""
    text: str = ""
    ts: int = 0


@dataclass(frozen=True, slots=True)
class BusinessMessageReject:
    """j: what we sent under ``ref_seq_num`` was understood and cannot be served."""

    ref_seq_num: int
    ref_msg_type: str
    reason: int
    text: str = ""


FromClient = (
    NewOrderSingle
    | OrderCancelRequest
    | OrderCancelReplaceRequest
    | OrderStatusRequest
    | OrderMassStatusRequest
)
FromVenue = ExecutionReport | OrderCancelReject | BusinessMessageReject
