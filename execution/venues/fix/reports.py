"""What a venue says in FIX, in the terms of :mod:`execution.venues`; and what we ask, in FIX's. Pure."""

from __future__ import annotations

from execution.fix import orders as fix
from execution.fix.orders import (
    ExecutionReport,
    FromClient,
    NewOrderSingle,
    OrderCancelReject,
    OrderCancelReplaceRequest,
    OrderCancelRequest,
    OrderStatusRequest,
)
from execution.orders import OrderRecord, client_order_id
from execution.venues import Report, ReportType
from tickloom.errors import FieldError
from tickloom.events import OrderState

_SIDE_CODES = {"buy": fix.BUY, "sell": fix.SELL}
_SIDES = {fix.BUY: "buy", fix.SELL: "sell", fix.SELL_SHORT: "sell"}
_TIMES_IN_FORCE = {"day": fix.DAY, "ioc": fix.IOC, "fok": fix.FOK}
_ORDER_TYPES = {"limit": fix.LIMIT, "market": fix.MARKET, "midpoint": fix.PEGGED}
_LIQUIDITY = {fix.ADDED_LIQUIDITY: "added", fix.REMOVED_LIQUIDITY: "removed"}
_STATES = {
    "0": OrderState.NEW,
    "1": OrderState.PARTIALLY_FILLED,
    "2": OrderState.FILLED,
    "3": OrderState.DONE_FOR_DAY,
    "4": OrderState.CANCELLED,
    "5": OrderState.REPLACED,
    "6": OrderState.PENDING_CANCEL,
    "8": OrderState.REJECTED,
    "A": OrderState.PENDING_NEW,
    "C": OrderState.EXPIRED,
    "E": OrderState.PENDING_REPLACE,
}
#: ExecType to the name of what is told; a pending state is told as a state like any other.
_EXEC_TYPES = {
    "0": "new",
    "3": "done_for_day",
    "4": "cancelled",
    "5": "replaced",
    "6": "new",
    "8": "rejected",
    "A": "new",
    "C": "expired",
    "D": "replaced",  # restated: made smaller in its place
    "E": "new",
    "F": "trade",
    "G": "trade_corrected",
    "H": "trade_cancelled",
    "I": "status",
}
_EXEC_TYPE, _ORD_STATUS, _SIDE = 150, 39, 54


def new_order(order: OrderRecord) -> NewOrderSingle:
    """The order as it is sent; TransactTime is when it was decided."""
    return NewOrderSingle(
        cl_ord_id=order.order_id,
        symbol=order.symbol,
        side=_SIDE_CODES[order.side],
        quantity=order.quantity,
        ts=order.ts_created,
        order_type=_ORDER_TYPES[order.order_type],
        price=0 if order.order_type == "market" else order.limit_price,
        time_in_force=_TIMES_IN_FORCE[order.time_in_force],
        exec_inst=exec_inst(order),
        venue=order.sent_to,
        min_quantity=order.min_quantity,
    )


def exec_inst(order: OrderRecord) -> str:
    """ExecInst: how a pegged order is pegged, or that it must rest."""
    return fix.MID_PEG if order.order_type == "midpoint" else fix.POST_ONLY if order.post_only else ""


def cancel_request(order: OrderRecord) -> OrderCancelRequest:
    """Its ClOrdID follows from the order and its revision, so each request to cancel has its own."""
    return OrderCancelRequest(
        cl_ord_id=client_order_id(f"{order.order_id}|cancel", order.revision),
        orig_cl_ord_id=order.order_id,
        symbol=order.symbol,
        side=_SIDE_CODES[order.side],
        quantity=order.quantity,
        ts=order.ts,
        venue=order.sent_to,
    )


def replace_request(order: OrderRecord) -> OrderCancelReplaceRequest:
    """``order`` in the place of the one that it names; TransactTime is when it was decided."""
    new = new_order(order)
    return OrderCancelReplaceRequest(
        cl_ord_id=new.cl_ord_id,
        orig_cl_ord_id=order.original_order_id,
        symbol=new.symbol,
        side=new.side,
        quantity=new.quantity,
        ts=new.ts,
        order_type=new.order_type,
        price=new.price,
        time_in_force=new.time_in_force,
        exec_inst=new.exec_inst,
        venue=order.sent_to,
        min_quantity=new.min_quantity,
    )


def status_request(order: OrderRecord) -> OrderStatusRequest:
    return OrderStatusRequest(
        cl_ord_id=order.order_id,
        symbol=order.symbol,
        side=_SIDE_CODES[order.side],
        request_id=client_order_id(f"{order.order_id}|status", order.revision),
        venue=order.sent_to,
    )


def is_duplicate(report: ExecutionReport) -> bool:
    """Whether it refuses a ClOrdID that the venue has already: it says nothing of the order that it names."""
    return report.exec_type == "8" and report.reject_reason == fix.DUPLICATE_ORDER


def is_answer(report: ExecutionReport) -> bool:
    """Whether it answers an order status request; nothing happened then."""
    return report.exec_type == fix.ORDER_STATUS or bool(report.request_id or report.mass_request_id)


def of_execution(said: ExecutionReport, default_venue: str, seq_num: int) -> Report:
    """An ExecutionReport as a report.

    Raises
    ------
    FieldError
        An ExecType, OrdStatus or Side that has no meaning here.
    """
    kind = _report_type(said)
    bust = said.exec_type in (fix.TRADE_CANCEL, fix.TRADE_CORRECT)
    # a cancel's reports carry the id of the request to cancel, and behind it the order's
    replaced = said.exec_type == fix.REPLACED
    changed = replaced or said.exec_type == fix.RESTATED
    traded = said.exec_type in (fix.TRADE, fix.TRADE_CORRECT)
    return Report(
        report_type=kind,
        order_id=said.cl_ord_id if replaced else said.orig_cl_ord_id or said.cl_ord_id,
        venue=said.venue or default_venue,
        symbol=said.symbol,
        side=_SIDES.get(said.side, ""),
        state=state_of(said.ord_status),
        filled_quantity=said.filled,
        venue_order_id="" if said.order_id == "NONE" else said.order_id,
        execution_id=said.exec_ref_id if bust else said.exec_id if traded else "",
        last_quantity=said.last_quantity if traded else 0,
        last_price=said.last_price if traded else 0,
        text=said.text,
        ts=said.ts,
        report_seq=0 if kind is ReportType.STATUS else seq_num,
        unknown_order=said.reject_reason == fix.UNKNOWN_ORDER and said.ord_status == "8",
        original_order_id=said.orig_cl_ord_id if replaced else said.cl_ord_id if changed else "",
        quantity=said.quantity if changed else 0,
        price=said.price if changed else 0,
        liquidity=_LIQUIDITY.get(said.liquidity, "") if traded else "",
        fee=said.commission if traded else 0,
    )


def _report_type(said: ExecutionReport) -> ReportType:
    if is_answer(said):
        return ReportType.STATUS
    try:
        return ReportType(_EXEC_TYPES[said.exec_type])
    except (KeyError, ValueError):
        raise FieldError(_EXEC_TYPE, f"is {said.exec_type!r}, which this gateway does not book") from None


def state_of(status: str) -> OrderState:
    """OrdStatus as a state; FieldError where there is none for it."""
    if status not in _STATES:
        raise FieldError(_ORD_STATUS, f"is {status!r}, which is no state of an order here")
    return _STATES[status]


def of_cancel_reject(said: OrderCancelReject, order: tuple[str, str, str], ts: int) -> Report:
    """An OrderCancelReject, which does not say the instrument: ``order`` is venue, symbol and side."""
    venue, symbol, side = order
    unknown = said.reason == fix.CANCEL_UNKNOWN_ORDER
    return Report(
        report_type=ReportType.CANCEL_REJECTED,
        order_id=said.orig_cl_ord_id,
        venue=venue,
        symbol=symbol,
        side=side,
        state=OrderState.REJECTED if unknown else state_of(said.ord_status),
        filled_quantity=0,
        venue_order_id="" if said.order_id == "NONE" else said.order_id,
        text=said.text,
        ts=said.ts or ts,
        unknown_order=unknown,
    )


def of_refusal(message: FromClient, text: str, seq_num: int, ts: int) -> Report | None:
    """A Reject or BusinessMessageReject of what we sent: a new order is rejected; None for anything else.

    A cancel or a status request that could not be read has no answer; the order's state is what it was,
    and whoever waits for the answer asks again.
    """
    if not isinstance(message, NewOrderSingle):
        return None
    return Report(
        report_type=ReportType.REJECTED,
        order_id=message.cl_ord_id,
        venue=message.venue,
        symbol=message.symbol,
        side=_SIDES[message.side],
        state=OrderState.REJECTED,
        filled_quantity=0,
        text=text,
        ts=ts,
        report_seq=seq_num,
    )
