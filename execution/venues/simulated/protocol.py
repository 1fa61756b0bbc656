"""Messages of the simulated exchange, to and from lines of JSON. Pure; both sides use it.

Names, values and meaning are FIX 4.4's (message types A, 0, 5, D, F, H, 8, 9, j); the encoding is one JSON
object a line. Two things FIX leaves to bilateral agreement: prices and quantities are decimal text,
exact to nanos, and times are ns since the epoch. A session is told what it missed like this: the Logon
carries ``LastMsgSeqNumProcessed`` (tag 369), the last report the client has made durable of the record
that ``TradingSessionID`` (336) names; the exchange answers and sends every later report, PossDupFlag Y.
Answers that are no durable report (order status, cancel reject) carry MsgSeqNum 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from execution.exchange.requests import CancelRequest, NewOrder, OrderType, ReplaceOrder, StatusRequest
from execution.venues import Report, ReportType
from tickloom.errors import DecodeError, PriceRangeError
from tickloom.events import OrderState
from tickloom.prices import format_nanos, parse_nanos

LINE_BYTES_MAX = 16_384  # a report has a few hundred; a line this long is no client of ours
TEXT_CHARACTERS_MAX = 400

_SIDES = {"1": "buy", "2": "sell"}
_TIMES_IN_FORCE = {"0": "day", "3": "ioc", "4": "fok"}
_ORDER_TYPES = {"1": OrderType.MARKET, "2": OrderType.LIMIT, "P": OrderType.MIDPOINT}
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
_EXEC_TYPES = {
    "0": ReportType.NEW,
    "3": ReportType.DONE_FOR_DAY,
    "F": ReportType.TRADE,
    "4": ReportType.CANCELLED,
    "5": ReportType.REPLACED,
    "G": ReportType.TRADE_CORRECTED,
    "H": ReportType.TRADE_CANCELLED,
    "8": ReportType.REJECTED,
    "C": ReportType.EXPIRED,
    "I": ReportType.STATUS,
}
_SIDE_CODES = {name: code for code, name in _SIDES.items()}
_TIME_IN_FORCE_CODES = {name: code for code, name in _TIMES_IN_FORCE.items()}
_ORDER_TYPE_CODES = {kind: code for code, kind in _ORDER_TYPES.items()}
_LIQUIDITY = {"1": "added", "2": "removed"}  # LastLiquidityInd (851)
_LIQUIDITY_CODES = {name: code for code, name in _LIQUIDITY.items()}
_POST_ONLY = "6"  # ExecInst (18): participate, do not initiate
_STATE_CODES = {state: code for code, state in _STATES.items()}
_EXEC_TYPE_CODES = {kind: code for code, kind in _EXEC_TYPES.items()}
_EXECUTIONS = frozenset({ReportType.TRADE, ReportType.TRADE_CANCELLED, ReportType.TRADE_CORRECTED})
_UNKNOWN_ORDER = "5"  # OrdRejReason (103)
_CANCEL_UNKNOWN_ORDER = "1"  # CxlRejReason (102)
_FENCED = "100"  # SessionStatus (1409): 100 and above are the venue's own


@dataclass(frozen=True, slots=True)
class Logon:
    """A: from the client what it has, and which agent it is; from the exchange which record it keeps.

    epoch: the fencing token, in UserRequestID (923); 0: the client has none. agent: which one of that epoch,
    in SenderSubID (50).
    """

    client: str
    session: str
    last_report_seq: int = 0
    epoch: int = 0
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """0: the other side is alive."""


@dataclass(frozen=True, slots=True)
class Logout:
    """5: with a reason where it is not the client's wish."""

    text: str = ""
    fenced: bool = False  # SessionStatus (1409) 100: an agent of a later epoch has this session


@dataclass(frozen=True, slots=True)
class MessageReject:
    """j (BusinessMessageReject): the exchange could not use a message."""

    text: str


Message: TypeAlias = (
    Logon
    | Heartbeat
    | Logout
    | NewOrder
    | ReplaceOrder
    | CancelRequest
    | StatusRequest
    | Report
    | MessageReject
)


def encode(message: Message, replayed: bool = False) -> bytes:
    """A message as one line. ``replayed`` marks a report that may have been sent before."""
    fields = _fields(message)
    if replayed:
        fields["PossDupFlag"] = "Y"
    return msgspec.json.encode(fields) + b"\n"


def decode(line: bytes) -> Message:
    """One line as a message.

    Raises
    ------
    DecodeError
        No JSON object, an unknown MsgType, a field that is missing or has no known value.
    """
    try:
        fields = msgspec.json.decode(line, type=dict[str, str])
        return _message(fields)
    except (msgspec.MsgspecError, ValueError, PriceRangeError) as error:
        raise DecodeError("simulated", f"{error} in {line[:120]!r}") from None
    except KeyError as error:
        raise DecodeError("simulated", f"field or value {error} is missing in {line[:120]!r}") from None


def _fields(message: Message) -> dict[str, Any]:
    match message:
        case Logon():
            return {
                "MsgType": "A",
                "SenderCompID": message.client,
                "TradingSessionID": message.session,
                "LastMsgSeqNumProcessed": str(message.last_report_seq),
                **({"UserRequestID": str(message.epoch)} if message.epoch else {}),
                **({"SenderSubID": message.agent} if message.agent else {}),
            }
        case Heartbeat():
            return {"MsgType": "0"}
        case Logout():
            fenced = {"SessionStatus": _FENCED} if message.fenced else {}
            return {"MsgType": "5", "Text": message.text, **fenced}
        case NewOrder():
            return _new_order_fields(message)
        case ReplaceOrder():
            return {
                "MsgType": "G",
                **_order_fields("ClOrdID", message),
                "OrigClOrdID": message.original_order_id,
                "OrderQty": format_nanos(message.quantity),
                "Price": format_nanos(message.price),
            }
        case CancelRequest():
            fields = {"MsgType": "F", **_order_fields("OrigClOrdID", message)}
            if message.quantity:
                fields["OrderQty"] = format_nanos(message.quantity)
            return fields
        case StatusRequest():
            return {"MsgType": "H", **_order_fields("ClOrdID", message)}
        case MessageReject():
            return {"MsgType": "j", "Text": message.text}
        case Report():
            return _report_fields(message)


def _new_order_fields(order: NewOrder) -> dict[str, str]:
    fields = {
        "MsgType": "D",
        **_order_fields("ClOrdID", order),
        "OrderQty": format_nanos(order.quantity),
        "OrdType": _ORDER_TYPE_CODES[order.order_type],
        "Price": format_nanos(order.price),
        "TimeInForce": _TIME_IN_FORCE_CODES[order.time_in_force],
    }
    if order.min_quantity:
        fields["MinQty"] = format_nanos(order.min_quantity)
    if order.post_only:
        fields["ExecInst"] = _POST_ONLY
    return fields


def _order_fields(
    identity: str, message: NewOrder | ReplaceOrder | CancelRequest | StatusRequest | Report
) -> dict[str, str]:
    return {
        identity: message.order_id,
        "SecurityExchange": message.venue,
        "Symbol": message.symbol,
        "Side": _SIDE_CODES.get(message.side, ""),
    }


def _report_fields(report: Report) -> dict[str, str]:
    fields = {
        "MsgSeqNum": str(report.report_seq),
        **_order_fields("ClOrdID", report),
        "OrderID": report.venue_order_id or "NONE",
        "OrdStatus": _STATE_CODES[report.state],
        "CumQty": format_nanos(report.filled_quantity),
        "TransactTime": str(report.ts),
        "Text": report.text[:TEXT_CHARACTERS_MAX],
    }
    if report.report_type is ReportType.CANCEL_REJECTED:
        if report.unknown_order:
            fields["CxlRejReason"] = _CANCEL_UNKNOWN_ORDER
        return {"MsgType": "9", **fields}
    fields["ExecType"] = _EXEC_TYPE_CODES[report.report_type]
    fields["ExecID"] = report.execution_id or "0"
    if report.report_type in _EXECUTIONS:
        fields["LastQty"] = format_nanos(report.last_quantity)
        fields["LastPx"] = format_nanos(report.last_price)
        fields["Commission"] = format_nanos(report.fee)
        if report.liquidity:
            fields["LastLiquidityInd"] = _LIQUIDITY_CODES[report.liquidity]
    if report.report_type is ReportType.REPLACED:
        fields["OrigClOrdID"] = report.original_order_id
        fields["LastQty"] = format_nanos(report.last_quantity)
        fields["OrderQty"] = format_nanos(report.quantity)
        fields["Price"] = format_nanos(report.price)
    if report.unknown_order:
        fields["OrdRejReason"] = _UNKNOWN_ORDER
    return {"MsgType": "8", **fields}


def _message(fields: dict[str, str]) -> Message:
    kind = fields["MsgType"]
    if kind == "8" or kind == "9":
        return _report(fields, kind)
    if kind == "D":
        return _new_order(fields)
    if kind == "G":
        return ReplaceOrder(
            fields["OrigClOrdID"],
            fields["ClOrdID"],
            *_instrument(fields),
            quantity=parse_nanos(fields["OrderQty"]),
            price=parse_nanos(fields["Price"]),
        )
    if kind == "F":
        quantity = parse_nanos(fields.get("OrderQty", "0"))
        return CancelRequest(fields["OrigClOrdID"], *_instrument(fields), quantity=quantity)
    if kind == "H":
        return StatusRequest(fields["ClOrdID"], *_instrument(fields))
    if kind == "A":
        last = int(fields["LastMsgSeqNumProcessed"])
        epoch = int(fields.get("UserRequestID", "0"))
        agent = fields.get("SenderSubID", "")
        return Logon(fields["SenderCompID"], fields["TradingSessionID"], last, epoch, agent)
    if kind == "0":
        return Heartbeat()
    if kind == "5":
        return Logout(fields.get("Text", ""), fields.get("SessionStatus") == _FENCED)
    if kind == "j":
        return MessageReject(fields.get("Text", ""))
    raise ValueError(f"unknown MsgType {kind!r}")


def _new_order(fields: dict[str, str]) -> NewOrder:
    if fields["OrdType"] not in _ORDER_TYPES:
        known = ", ".join(f"{kind} ({code})" for code, kind in _ORDER_TYPES.items())
        raise ValueError(f"OrdType {fields['OrdType']} is not supported; send {known}")
    return NewOrder(
        fields["ClOrdID"],
        *_instrument(fields),
        quantity=parse_nanos(fields["OrderQty"]),
        price=parse_nanos(fields.get("Price", "0")),
        time_in_force=_TIMES_IN_FORCE[fields["TimeInForce"]],
        order_type=_ORDER_TYPES[fields["OrdType"]],
        min_quantity=parse_nanos(fields.get("MinQty", "0")),
        post_only=fields.get("ExecInst") == _POST_ONLY,
    )


def _instrument(fields: dict[str, str]) -> tuple[str, str, str]:
    """Venue, symbol, side."""
    return fields["SecurityExchange"], fields["Symbol"], _SIDES[fields["Side"]]


def _report(fields: dict[str, str], kind: str) -> Report:
    cancel_reject = kind == "9"
    report_type = ReportType.CANCEL_REJECTED if cancel_reject else _EXEC_TYPES[fields["ExecType"]]
    trade = report_type in _EXECUTIONS
    replaced = report_type is ReportType.REPLACED
    reason = fields.get("CxlRejReason" if cancel_reject else "OrdRejReason")
    venue_order_id = fields["OrderID"]
    return Report(
        report_type=report_type,
        order_id=fields["ClOrdID"],
        venue=fields["SecurityExchange"],
        symbol=fields["Symbol"],
        side=_SIDES.get(fields["Side"], ""),
        state=_STATES[fields["OrdStatus"]],
        filled_quantity=parse_nanos(fields["CumQty"]),
        venue_order_id="" if venue_order_id == "NONE" else venue_order_id,
        execution_id=fields["ExecID"] if trade else "",
        last_quantity=parse_nanos(fields["LastQty"]) if trade or replaced else 0,
        last_price=parse_nanos(fields["LastPx"]) if trade else 0,
        text=fields.get("Text", ""),
        ts=int(fields["TransactTime"]),
        report_seq=int(fields["MsgSeqNum"]),
        original_order_id=fields["OrigClOrdID"] if replaced else "",
        quantity=parse_nanos(fields["OrderQty"]) if replaced else 0,
        price=parse_nanos(fields["Price"]) if replaced else 0,
        liquidity=_LIQUIDITY[fields["LastLiquidityInd"]] if "LastLiquidityInd" in fields else "",
        fee=parse_nanos(fields.get("Commission", "0")) if trade else 0,
        unknown_order=reason == (_CANCEL_UNKNOWN_ORDER if cancel_reject else _UNKNOWN_ORDER),
    )
