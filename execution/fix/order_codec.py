"""Messages of the flow of orders, from and to their fields. Pure.

Of FIX 4.2 what differs: HandlInst is required, what an execution is stands in ExecTransType (20), and there
is no OrderMassStatusRequest. A body is put together as one text: half the time of a list of fields.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from execution.fix import tags as tag_of
from execution.fix.codec import Message
from execution.fix.orders import (
    DAY,
    ORDER_STATUS,
    RESTATED,
    TRADE,
    TRADE_CANCEL,
    TRADE_CORRECT,
    BusinessMessageReject,
    ExecutionReport,
    FromClient,
    FromVenue,
    NewOrderSingle,
    OrderCancelReject,
    OrderCancelReplaceRequest,
    OrderCancelRequest,
    OrderMassStatusRequest,
    OrderStatusRequest,
)
from execution.fix.values import format_decimal, format_timestamp, parse_decimal, parse_timestamp
from tickloom.errors import FieldError

# --- out -----------------------------------------------------------------------------------------------


def encode(message: FromClient | FromVenue, begin_string: str = "FIX.4.4") -> tuple[bytes, bytes]:
    """MsgType and body of a message, its fields ascending.

    Raises
    ------
    ValueError
        A text with SOH in it, a required one that is empty, or a message that FIX 4.2 does not have.
    """
    old = begin_string == "FIX.4.2"
    match message:
        case ExecutionReport():
            kind, body = b"8", _report_body(message, old)
        case NewOrderSingle():
            kind, body = b"D", _order_body(message, "", old)
        case OrderCancelReplaceRequest():
            kind, body = b"G", _order_body(message, f"41={message.orig_cl_ord_id}\x01", old)
        case OrderCancelRequest(own, original, symbol, side, quantity, ts, venue):
            kind = b"F"
            _clean(own, original, side, symbol, venue)
            body = f"11={own}\x0138={_decimal(quantity)}\x0141={original}\x0154={side}\x0155={symbol}\x01"
            body += f"60={_time(ts)}\x01{_text(207, venue)}"
        case OrderStatusRequest(own, symbol, side, request, venue):
            kind = b"H"
            _clean(own, side, symbol, venue, request)
            body = f"11={own}\x0154={side}\x0155={symbol}\x01{_text(207, venue)}"
            body += "" if old else _text(790, request)
        case OrderMassStatusRequest(request, request_type):
            if old:
                raise ValueError("FIX 4.2 has no OrderMassStatusRequest; ask for each order (H)")
            _clean(request, request_type)
            kind, body = b"AF", f"584={request}\x01585={request_type}\x01"
        case OrderCancelReject():
            kind, body = b"9", _cancel_reject_body(message)
        case BusinessMessageReject(ref_seq_num, ref_msg_type, reason, text):
            kind = b"j"
            body = f"45={ref_seq_num}\x01{_text(58, text)}372={ref_msg_type}\x01380={reason}\x01"
    if "=\x01" in body:
        raise ValueError(f"a required field is empty: {body!r}")
    return kind, body.encode()


def _clean(*texts: str) -> None:
    """An SOH in a text would be the beginning of a field that nobody meant to send."""
    if "\x01" in "".join(texts):
        raise ValueError(f"SOH in a text: {texts!r}")


def _text(tag: int, value: str) -> str:
    return f"{tag}={value}\x01" if value else ""


@lru_cache(maxsize=65_536)
def _decimal(nanos: int) -> str:
    return format_decimal(nanos).decode()


def _time(ts: int) -> str:
    return format_timestamp(ts).decode()


def _order_body(order: NewOrderSingle | OrderCancelReplaceRequest, original: str, old: bool) -> str:
    _clean(
        *(order.cl_ord_id, order.symbol, order.side, order.order_type, order.time_in_force),
        *(order.exec_inst, order.account, order.venue, original[:-1]),
    )
    head = f"1={order.account}\x01" if order.account else ""
    head += f"11={order.cl_ord_id}\x01"
    if order.exec_inst:
        head += f"18={order.exec_inst}\x01"
    if old:
        head += "21=1\x01"  # automated, no intervention
    price = f"44={_decimal(order.price)}\x01" if order.price else ""
    tail = f"110={_decimal(order.min_quantity)}\x01" if order.min_quantity else ""
    if order.venue:
        tail += f"207={order.venue}\x01"
    return (
        f"{head}38={_decimal(order.quantity)}\x0140={order.order_type}\x01{original}{price}54={order.side}\x01"
        f"55={order.symbol}\x0159={order.time_in_force}\x0160={_time(order.ts)}\x01{tail}"
    )


def _report_body(report: ExecutionReport, old: bool) -> str:
    _clean(*report.texts)
    exec_type, transaction = report.exec_type, "0"
    if old and exec_type in _OLD_TRANSACTIONS:
        transaction = _OLD_TRANSACTIONS[exec_type]
        exec_type = report.ord_status
    traded = ""
    if report.last_quantity:
        traded = f"31={_decimal(report.last_price)}\x0132={_decimal(report.last_quantity)}\x01"
    quantity = f"38={_decimal(report.quantity)}\x01" if report.quantity else ""
    price = f"44={_decimal(report.price)}\x01" if report.price else ""
    when = f"60={_time(report.ts)}\x01" if report.ts else ""
    commission = f"12={_decimal(report.commission)}\x0113=3\x01" if report.commission else ""  # 3: absolute
    body = (
        f"6={_decimal(report.average_price)}\x01{_text(11, report.cl_ord_id)}{commission}"
        f"14={_decimal(report.filled)}\x01"
        f"17={report.exec_id}\x01{_text(19, report.exec_ref_id)}"
    )
    if old:
        body += f"20={transaction}\x01"
    body += (
        f"{traded}37={report.order_id}\x01{quantity}39={report.ord_status}\x01"
        f"{_text(41, report.orig_cl_ord_id)}{price}54={report.side}\x0155={report.symbol}\x01"
        f"{_text(58, report.text)}{when}{_text(103, report.reject_reason)}150={exec_type}\x01"
        f"151={_decimal(report.leaves)}\x01{_text(207, report.venue)}"
    )
    if old:
        return body
    if report.exec_type == RESTATED:
        body += "378=5\x01"  # partial decline of OrderQty
    body += f"{_text(584, report.mass_request_id)}{_text(790, report.request_id)}"
    return f"{body}{_text(851, report.liquidity)}"


def _cancel_reject_body(reject: OrderCancelReject) -> str:
    _clean(reject.order_id, reject.cl_ord_id, reject.orig_cl_ord_id, reject.ord_status)
    _clean(reject.response_to, reject.reason, reject.text)
    when = f"60={_time(reject.ts)}\x01" if reject.ts else ""
    return (
        f"11={reject.cl_ord_id}\x0137={reject.order_id}\x0139={reject.ord_status}\x01"
        f"41={reject.orig_cl_ord_id}\x01{_text(58, reject.text)}{when}{_text(102, reject.reason)}"
        f"434={reject.response_to}\x01"
    )


# --- in ------------------------------------------------------------------------------------------------

_OLD_TRANSACTIONS = {TRADE: "0", TRADE_CANCEL: "1", TRADE_CORRECT: "2", ORDER_STATUS: "3"}
_OLD_EXEC_TYPES = {"1": TRADE_CANCEL, "2": TRADE_CORRECT, "3": ORDER_STATUS}
# in the order of ExecutionReport's fields: texts, time, decimals; the time is picked last
_TEXTS = 15
_REPORT_TAGS = (
    *(37, 17, 150, 39, 55, 54, 11, 41, 19, 207, 58, 103, 790, 584, 851),
    *(151, 14, 6, 38, 44, 32, 31, 12, 60),
)
_SEPARATOR = b"\x01"
DECIMALS_MAX = 65_536  # prices and sizes come again and again: 0.07 us to remember one, 0.35 us to convert it


def decode(message: Message) -> FromClient | FromVenue:
    """What a message of the flow of orders says.

    Raises
    ------
    FieldError
        A field is missing or unusable, or the MsgType (35) is none of the flow of orders.
    """
    decoder = _DECODERS.get(message.msg_type)
    if decoder is None:
        raise FieldError(tag_of.MSG_TYPE, f"is {message.msg_type!r}, no message of the flow of orders")
    return decoder(message)


def decode_report(message: Message) -> ExecutionReport:
    """An ExecutionReport; the way that must be fast."""
    pick = message.shape.plans.get("report")
    if pick is None:
        pick = message.shape.plans["report"] = _picker(message, _REPORT_TAGS)
    picked = pick([*message.values, b""])
    texts = _SEPARATOR.join(picked[:_TEXTS]).decode("utf-8", "replace").split("\x01")
    if message.begin_string == b"FIX.4.2":
        texts[2] = _exec_type_of_42(message, texts[2])
    try:
        ts = parse_timestamp(picked[-1]) if picked[-1] else 0
        return ExecutionReport._make((*texts, ts, *map(_nanos, picked[_TEXTS:-1])))
    except (ValueError, TypeError) as error:  # TypeError: a text with SOH in it, which is not for us
        raise FieldError(tag_of.MSG_TYPE, f"8: {error}") from None


@lru_cache(maxsize=DECIMALS_MAX)
def _nanos(value: bytes) -> int:
    return parse_decimal(value) if value else 0


def _picker(message: Message, tags: tuple[int, ...]) -> Callable[[list[bytes]], tuple[bytes, ...]]:
    """Picks the values of ``tags``; those that are missing are taken to stand, empty, behind the last."""
    missing = len(message.shape.tags)
    return itemgetter(*(message.shape.index.get(tag, missing) for tag in tags))


def _exec_type_of_42(message: Message, exec_type: str) -> str:
    transaction = message.text(tag_of.EXEC_TRANS_TYPE)
    if transaction in _OLD_EXEC_TYPES:
        return _OLD_EXEC_TYPES[transaction]
    return TRADE if exec_type in ("1", "2") else exec_type


def _terms(message: Message) -> dict[str, Any]:
    return {
        "cl_ord_id": message.text(tag_of.CL_ORD_ID),
        "symbol": message.text(tag_of.SYMBOL),
        "side": message.text(tag_of.SIDE),
        "quantity": message.nanos(tag_of.ORDER_QTY),
        "ts": message.timestamp(tag_of.TRANSACT_TIME),
        "order_type": message.text(tag_of.ORD_TYPE),
        "price": _optional_nanos(message, tag_of.PRICE),
        "time_in_force": message.text(tag_of.TIME_IN_FORCE, DAY),
        "exec_inst": message.text(tag_of.EXEC_INST, ""),
        "account": message.text(tag_of.ACCOUNT, ""),
        "venue": message.text(tag_of.SECURITY_EXCHANGE, ""),
        "min_quantity": _optional_nanos(message, tag_of.MIN_QTY),
    }


def _optional_nanos(message: Message, tag: int) -> int:
    return 0 if message.get(tag) is None else message.nanos(tag)


def _decode_cancel(message: Message) -> OrderCancelRequest:
    return OrderCancelRequest(
        cl_ord_id=message.text(tag_of.CL_ORD_ID),
        orig_cl_ord_id=message.text(tag_of.ORIG_CL_ORD_ID),
        symbol=message.text(tag_of.SYMBOL),
        side=message.text(tag_of.SIDE),
        quantity=_optional_nanos(message, tag_of.ORDER_QTY),
        ts=message.timestamp(tag_of.TRANSACT_TIME),
        venue=message.text(tag_of.SECURITY_EXCHANGE, ""),
    )


def _decode_status_request(message: Message) -> OrderStatusRequest:
    return OrderStatusRequest(
        cl_ord_id=message.text(tag_of.CL_ORD_ID),
        symbol=message.text(tag_of.SYMBOL),
        side=message.text(tag_of.SIDE),
        request_id=message.text(tag_of.ORD_STATUS_REQ_ID, ""),
        venue=message.text(tag_of.SECURITY_EXCHANGE, ""),
    )


def _decode_cancel_reject(message: Message) -> OrderCancelReject:
    return OrderCancelReject(
        order_id=message.text(tag_of.ORDER_ID),
        cl_ord_id=message.text(tag_of.CL_ORD_ID),
        orig_cl_ord_id=message.text(tag_of.ORIG_CL_ORD_ID),
        ord_status=message.text(tag_of.ORD_STATUS),
        response_to=message.text(tag_of.CXL_REJ_RESPONSE_TO),
        reason=message.text(tag_of.CXL_REJ_REASON, ""),
        text=message.text(tag_of.TEXT, ""),
        ts=message.timestamp(tag_of.TRANSACT_TIME) if message.get(tag_of.TRANSACT_TIME) else 0,
    )


_DECODERS: dict[bytes, Callable[[Message], FromClient | FromVenue]] = {
    b"8": decode_report,
    b"9": _decode_cancel_reject,
    b"D": lambda message: NewOrderSingle(**_terms(message)),
    b"F": _decode_cancel,
    b"G": lambda message: OrderCancelReplaceRequest(
        orig_cl_ord_id=message.text(tag_of.ORIG_CL_ORD_ID), **_terms(message)
    ),
    b"H": _decode_status_request,
    b"AF": lambda message: OrderMassStatusRequest(
        message.text(tag_of.MASS_STATUS_REQ_ID), message.text(tag_of.MASS_STATUS_REQ_TYPE)
    ),
    b"j": lambda message: BusinessMessageReject(
        message.integer(tag_of.REF_SEQ_NUM) if message.get(tag_of.REF_SEQ_NUM) else 0,
        message.text(tag_of.REF_MSG_TYPE),
        message.integer(tag_of.BUSINESS_REJECT_REASON),
        message.text(tag_of.TEXT, ""),
    ),
}
