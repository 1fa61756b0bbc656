"""The exchange's reports in FIX's words, and FIX's orders in the exchange's. Pure.

FIX 4.4 with Errata 20030618, Volume 4: messages D, F, G, H and AF in; 8 and 9 out. What FIX has and this
exchange has not (stops, reserves, crosses, short sale marking beyond the side) is refused with FIX's reason.
"""

from __future__ import annotations

from collections.abc import Iterable

from execution.exchange.orders import VenueOrder
from execution.exchange.requests import DAY, FOK, IOC, NewOrder, OrderType
from execution.fix import orders as fix
from execution.fix.orders import ExecutionReport, NewOrderSingle, OrderCancelReject
from execution.orders import TERMINAL
from execution.venues import Report, ReportType
from tickloom.events import Execution, OrderState

SIDES = {fix.BUY: "buy", fix.SELL: "sell", fix.SELL_SHORT: "sell"}
_SIDE_CODES = {"buy": fix.BUY, "sell": fix.SELL}
_TIMES_IN_FORCE = {fix.DAY: DAY, fix.IOC: IOC, fix.FOK: FOK}
_ORDER_TYPES = {
    (fix.MARKET, ""): OrderType.MARKET,
    (fix.LIMIT, ""): OrderType.LIMIT,
    (fix.LIMIT, fix.POST_ONLY): OrderType.LIMIT,
    (fix.PEGGED, fix.MID_PEG): OrderType.MIDPOINT,
}
_STATUSES = {
    OrderState.PENDING_NEW: "A",
    OrderState.NEW: "0",
    OrderState.PARTIALLY_FILLED: "1",
    OrderState.FILLED: "2",
    OrderState.CANCELLED: "4",
    OrderState.REPLACED: "4",  # FIX 4.4 has no 5 (replaced) any more: under its old id it is gone
    OrderState.PENDING_CANCEL: "6",
    OrderState.REJECTED: "8",
    OrderState.EXPIRED: "C",
}
_EXEC_TYPES = {
    ReportType.NEW: "0",
    ReportType.CANCELLED: "4",
    ReportType.REPLACED: fix.REPLACED,
    ReportType.REJECTED: "8",
    ReportType.EXPIRED: "C",
    ReportType.TRADE: fix.TRADE,
    ReportType.TRADE_CORRECTED: fix.TRADE_CORRECT,
    ReportType.TRADE_CANCELLED: fix.TRADE_CANCEL,
    ReportType.STATUS: fix.ORDER_STATUS,
}
_LIQUIDITY = {"added": fix.ADDED_LIQUIDITY, "removed": fix.REMOVED_LIQUIDITY}
_AMENDED = (ReportType.TRADE_CORRECTED, ReportType.TRADE_CANCELLED)
#: How a refusal of the exchange begins, and FIX's reason for it (103).
_REJECTIONS = (
    ("unknown symbol", fix.UNKNOWN_SYMBOL),
    ("exchange closed", fix.EXCHANGE_CLOSED),
    ("quantity", fix.INCORRECT_QUANTITY),
    ("duplicate", fix.DUPLICATE_ORDER),
)
NO_ORDER = "NONE"  # OrderID (37) where there is none
NO_EXECUTION = "0"  # ExecID (17) of an answer, which is none


def reject_reason(text: str) -> str:
    """FIX's reason for a refusal of the exchange."""
    return next((code for begin, code in _REJECTIONS if text.startswith(begin)), fix.OTHER_REASON)


def order_of(said: NewOrderSingle, venue: str, order_id: str) -> NewOrder | str:
    """An order, or why it cannot be one."""
    order_type = _ORDER_TYPES.get((said.order_type, said.exec_inst))
    if said.venue not in ("", venue):
        return f"SecurityExchange {said.venue} is not traded here; this session is {venue}'s"
    if said.side not in SIDES:
        return f"Side {said.side} is not taken; send 1, 2 or 5"
    if order_type is None:
        return f"OrdType {said.order_type} with ExecInst {said.exec_inst or 'none'} is not taken"
    if said.time_in_force not in _TIMES_IN_FORCE:
        return f"TimeInForce {said.time_in_force} is not taken; send 0, 3 or 4"
    if order_type is OrderType.LIMIT and said.price <= 0:
        return "Price is missing"
    return NewOrder(
        order_id=order_id,
        venue=venue,
        symbol=said.symbol,
        side=SIDES[said.side],
        quantity=said.quantity,
        price=0 if order_type is OrderType.MARKET else said.price,
        time_in_force=_TIMES_IN_FORCE[said.time_in_force],
        order_type=order_type,
        min_quantity=said.min_quantity,
        post_only=said.exec_inst == fix.POST_ONLY,
        client_order_id=said.cl_ord_id,
    )


def refusal(said: NewOrderSingle, text: str) -> ExecutionReport:
    """Rejected before it was an order."""
    reason = reject_reason(text)
    return ExecutionReport(
        order_id=NO_ORDER,
        exec_id=f"{said.cl_ord_id}-{_EXEC_TYPES[ReportType.REJECTED]}",
        exec_type=_EXEC_TYPES[ReportType.REJECTED],
        ord_status=_STATUSES[OrderState.REJECTED],
        symbol=said.symbol,
        side=said.side,
        cl_ord_id=said.cl_ord_id,
        venue=said.venue,
        text=text,
        reject_reason=fix.UNSUPPORTED_ORDER if reason == fix.OTHER_REASON else reason,
        ts=said.ts,
        quantity=said.quantity,
        price=said.price,
    )


def execution_report(
    report: Report, order: VenueOrder, exec_id: str, average_price: int, asked_by: str = ""
) -> ExecutionReport:
    """A report on an order, with what the order says besides.

    Parameters
    ----------
    exec_id : str
        ExecID (17): another one in each message that is no answer.
    asked_by : str
        ClOrdID of the request to cancel that this answers.
    """
    own = order.client_order_id or order.order_id
    kind, exec_type, original = report.report_type, _EXEC_TYPES[report.report_type], ""
    if kind is ReportType.REPLACED:
        original = report.original_order_id
        if original == order.order_id:  # made smaller in its place, by the exchange
            exec_type, original = fix.RESTATED, ""
    elif kind is ReportType.CANCELLED and asked_by:
        own, original = asked_by, own
    over = report.state in TERMINAL or kind is ReportType.REJECTED
    left = order.quantity - report.filled_quantity - order.busted_quantity
    rejected = kind is ReportType.REJECTED
    return ExecutionReport(
        order_id=report.venue_order_id or NO_ORDER,
        exec_id=f"{report.execution_id}-{exec_id}" if kind in _AMENDED else report.execution_id or exec_id,
        exec_type=exec_type,
        ord_status=_STATUSES[report.state],
        symbol=report.symbol,
        side=_SIDE_CODES[report.side],
        cl_ord_id=own,
        orig_cl_ord_id=original,
        exec_ref_id=report.execution_id if kind in _AMENDED else "",
        venue=report.venue,
        text=report.text,
        reject_reason=reject_reason(report.text) if rejected else "",
        liquidity=_LIQUIDITY.get(report.liquidity, ""),
        ts=report.ts,
        leaves=0 if over else max(0, left),
        filled=report.filled_quantity,
        average_price=average_price,
        quantity=order.quantity,
        price=order.price,
        last_quantity=report.last_quantity if kind is not ReportType.REPLACED else 0,
        last_price=report.last_price,
        commission=report.fee,
    )


def unknown_order(report: Report, cl_ord_id: str, side: str) -> ExecutionReport:
    """The answer to a status request for what was never here."""
    return ExecutionReport(
        order_id=NO_ORDER,
        exec_id=NO_EXECUTION,
        exec_type=fix.ORDER_STATUS,
        ord_status=_STATUSES[OrderState.REJECTED],
        symbol=report.symbol,
        side=side,
        cl_ord_id=cl_ord_id,
        venue=report.venue,
        text=report.text,
        reject_reason=fix.UNKNOWN_ORDER,
        ts=report.ts,
    )


def cancel_reject(report: Report, cl_ord_id: str, original: str, replacing: bool) -> OrderCancelReject:
    """A cancel or a replacement that is refused."""
    return OrderCancelReject(
        order_id=report.venue_order_id or NO_ORDER,
        cl_ord_id=cl_ord_id,
        orig_cl_ord_id=original,
        ord_status=_STATUSES[report.state],
        response_to="2" if replacing else "1",
        reason=_cancel_reason(report),
        text=report.text,
        ts=report.ts,
    )


def _cancel_reason(report: Report) -> str:
    if report.unknown_order:
        return fix.CANCEL_UNKNOWN_ORDER
    return fix.CANCEL_TOO_LATE if report.text.startswith("too late") else "2"  # broker option


class AveragePrices:
    """AvgPx of each order, over the chain of those that it replaced; busts and corrections count.

    Parameters
    ----------
    orders, executions
        What the record holds.
    """

    def __init__(self, orders: Iterable[VenueOrder], executions: Iterable[Execution]) -> None:
        self._first: dict[str, str] = {}
        self._sums: dict[str, tuple[int, int]] = {}  # of the chain: quantity, and value
        self._trades: dict[str, tuple[str, int, int]] = {}
        for order in orders:
            self._follow(order)
        for execution in executions:
            self._set(execution.execution_id, execution.order_id, execution.quantity, execution.price)

    def _follow(self, order: VenueOrder) -> str:
        first = self._first.get(order.order_id)
        if first is None:
            original = order.original_order_id
            first = self._first.get(original, original) if original else order.order_id
            self._first[order.order_id] = first
        return first

    def after(self, report: Report, order: VenueOrder) -> int:
        """The average price once ``report`` has happened, nanos; 0: nothing is filled."""
        first = self._follow(order)
        if report.report_type in (ReportType.TRADE, *_AMENDED):
            self._set(report.execution_id, order.order_id, report.last_quantity, report.last_price)
        quantity, value = self._sums.get(first, (0, 0))
        return (2 * value + quantity) // (2 * quantity) if quantity else 0

    def _set(self, execution_id: str, order_id: str, quantity: int, price: int) -> None:
        first, was, at = self._trades.get(execution_id, (self._first.get(order_id, order_id), 0, 0))
        total, value = self._sums.get(first, (0, 0))
        self._sums[first] = total + quantity - was, value + quantity * (price or at) - was * at
        self._trades[execution_id] = first, quantity, price or at
