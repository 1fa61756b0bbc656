"""The exchange's reports in OUCH's words, and OUCH's orders in the exchange's. Pure.

OUCH 5.0, sections 3 and 4. What OUCH has and this exchange has not (crosses, routing, reserves,
discretion, non-display on a lit venue) is refused with OUCH's own reason.
"""

from __future__ import annotations

from execution.exchange.orders import VenueOrder
from execution.exchange.profile import DARK
from execution.exchange.requests import DAY, FOK, IOC, NewOrder, OrderType
from execution.ouch import messages as ouch
from execution.ouch import values
from execution.venues import Report, ReportType
from tickloom.prices import NANOS

SIDES = {"B": "buy", "S": "sell", "T": "sell", "E": "sell"}
_SIDE_CODES = {"buy": "B", "sell": "S"}
_TIMES_IN_FORCE = {"0": DAY, "3": IOC}
_TIME_CODES = {DAY: "0", IOC: "3", FOK: "3"}  # OUCH says fill or kill as IOC with MinQty of the whole
_PRICE_TYPES = {"M": OrderType.MIDPOINT, "L": OrderType.LIMIT}
_UNSUPPORTED = ("discretion_price", "random_reserves", "route", "peg_offset")

INVALID_DISPLAY, INVALID_MAX_FLOOR, INVALID_PEG, HALTED = 0x03, 0x04, 0x05, 0x07
INVALID_SIDE, OTHER, INVALID_MIN_QUANTITY, INVALID_QUANTITY = 0x09, 0x0F, 0x0D, 0x13
REPLACE_NOT_ALLOWED, ROUTING, INVALID_SYMBOL, INVALID_PRICE, CLOSED = 0x15, 0x16, 0x17, 0x1D, 0x02
#: How a refusal of the exchange begins, and OUCH's reason for it.
_REJECTIONS = (
    ("unknown symbol", INVALID_SYMBOL),
    ("quantity", INVALID_QUANTITY),
    ("price", INVALID_PRICE),
    ("exchange closed", CLOSED),
    ("trading in", HALTED),
)
_CANCELS = (
    ("cancelled by request", "U"),
    ("immediate or cancel", "I"),
    ("fill or kill", "I"),
    ("post only", "F"),
    ("supervisory", "S"),
    ("end of the session", "E"),
)
SELF_MATCH = "self match prevention"


def reject_reason(text: str) -> int:
    """OUCH's reason for a refusal of the exchange."""
    return next((code for begin, code in _REJECTIONS if text.startswith(begin)), OTHER)


def order_of(message: ouch.EnterOrder, venue: str, kind: str, order_id: str) -> NewOrder | int:
    """An order, or the reason why it cannot be one."""
    if message.side not in SIDES:
        return INVALID_SIDE
    if message.time_in_force not in _TIMES_IN_FORCE or message.cross_type != "N":
        return OTHER
    if ouch.option(message, "max_floor"):
        return INVALID_MAX_FLOOR
    if any(ouch.option(message, name) for name in _UNSUPPORTED):
        return ROUTING if ouch.option(message, "route") else OTHER
    order_type = _PRICE_TYPES.get(str(ouch.option(message, "price_type") or "L"))
    if order_type is None:
        return INVALID_PEG
    if message.display == "N" and kind != DARK:
        return INVALID_DISPLAY
    if not 0 < message.quantity < values.QUANTITY_END:
        return INVALID_QUANTITY
    unlimited = message.price == values.MARKET_PRICE
    if unlimited and order_type is OrderType.LIMIT:
        order_type = OrderType.MARKET
    elif not unlimited and message.price > values.PRICE_MAX:
        return INVALID_PRICE
    time_in_force = _TIMES_IN_FORCE[message.time_in_force]
    least = int(ouch.option(message, "min_qty") or 0)
    if least > message.quantity:
        return INVALID_MIN_QUANTITY
    if least == message.quantity and time_in_force == IOC:
        time_in_force, least = FOK, 0
    return NewOrder(
        order_id=order_id,
        venue=venue,
        symbol=message.symbol,
        side=SIDES[message.side],
        quantity=message.quantity * NANOS,
        price=0 if unlimited else values.nanos_of_price(message.price),
        time_in_force=time_in_force,
        order_type=order_type,
        min_quantity=least * NANOS,
        post_only=ouch.option(message, "post_only") == "P",
        user_ref=message.user_ref_num,
        client_order_id=message.client_order_id,
    )


def message_of(report: Report, order: VenueOrder, original_ref: int, dark: bool, ts: int) -> ouch.Outbound:
    """A report as OUCH has it.

    Parameters
    ----------
    original_ref : int
        UserRefNum of the order that was replaced.
    ts : int
        ns since midnight.
    """
    ref = order.user_ref
    match report.report_type:
        case ReportType.TRADE:
            return ouch.Executed(
                ts,
                ref,
                report.last_quantity // NANOS,
                report.last_price // values.PRICE_UNIT,
                _liquidity(report.liquidity, dark),
                match_number(report.execution_id),
            )
        case ReportType.NEW:
            return _accepted(order, ts)
        case ReportType.REJECTED:
            return ouch.Rejected(ts, ref, reject_reason(report.text), order.client_order_id)
        case ReportType.REPLACED if report.original_order_id != report.order_id:
            return _replaced(report, order, original_ref, ts)
        case ReportType.TRADE_CANCELLED:
            number = match_number(report.execution_id)
            return ouch.BrokenTrade(ts, ref, number, "S", order.client_order_id)
        case ReportType.TRADE_CORRECTED:
            return ouch.TradeCorrection(
                ts,
                ref,
                report.last_quantity // NANOS,
                report.last_price // values.PRICE_UNIT,
                _liquidity(report.liquidity, dark),
                match_number(report.execution_id),
                "S",
                order.client_order_id,
            )
        case _:
            return _canceled(report, order, ts)


def match_number(execution_id: str) -> int:
    """Of an execution of this exchange: the number that its id ends with."""
    return int(execution_id.rpartition("-E")[2])


def _canceled(report: Report, order: VenueOrder, ts: int) -> ouch.Outbound:
    left = order.quantity - order.filled_quantity - order.busted_quantity
    taken_off = report.last_quantity if report.report_type is ReportType.REPLACED else left
    quantity = max(0, taken_off) // NANOS
    if report.text == SELF_MATCH:
        return ouch.AiqCanceled(ts, order.user_ref, quantity, "Q", quantity, 0, "R")
    reason = next((code for begin, code in _CANCELS if report.text.startswith(begin)), "Z")
    if report.report_type is ReportType.REPLACED:
        reason = "U"
    return ouch.Canceled(ts, order.user_ref, quantity, reason)


def _accepted(order: VenueOrder, ts: int) -> ouch.Accepted:
    return ouch.Accepted(
        timestamp=ts,
        user_ref_num=order.user_ref,
        side=_SIDE_CODES[order.side],
        quantity=order.quantity // NANOS,
        symbol=order.symbol,
        price=_price(order),
        time_in_force=_TIME_CODES[order.time_in_force],
        display="N" if order.order_type is OrderType.MIDPOINT else "Y",
        order_reference_number=order.number,
        capacity="P",
        intermarket_sweep="N",
        cross_type="N",
        order_state="L",
        client_order_id=order.client_order_id,
        appendage=_options(order),
    )


def _replaced(report: Report, order: VenueOrder, original_ref: int, ts: int) -> ouch.Replaced:
    like = _accepted(order, ts)
    outstanding = report.quantity - report.filled_quantity - order.busted_quantity
    return ouch.Replaced(
        timestamp=ts,
        original_user_ref_num=original_ref,
        user_ref_num=order.user_ref,
        side=like.side,
        quantity=max(0, outstanding) // NANOS,
        symbol=like.symbol,
        price=like.price,
        time_in_force=like.time_in_force,
        display=like.display,
        order_reference_number=like.order_reference_number,
        capacity=like.capacity,
        intermarket_sweep=like.intermarket_sweep,
        cross_type=like.cross_type,
        order_state=like.order_state,
        client_order_id=like.client_order_id,
        appendage=like.appendage,
    )


def modified(report: Report, order: VenueOrder, ts: int) -> ouch.Modified:
    """The answer to a modification, which made the order smaller in its place."""
    outstanding = max(0, report.quantity - report.filled_quantity - order.busted_quantity)
    return ouch.Modified(ts, order.user_ref, _SIDE_CODES[order.side], outstanding // NANOS)


def _options(order: VenueOrder) -> ouch.Appendage:
    found: list[tuple[str, int | str]] = []
    if order.min_quantity:
        found.append(("min_qty", order.min_quantity // NANOS))
    elif order.time_in_force == FOK:
        found.append(("min_qty", order.quantity // NANOS))
    if order.order_type is OrderType.MIDPOINT:
        found.append(("price_type", "M"))
    if order.post_only:
        found.append(("post_only", "P"))
    return tuple(found)


def _price(order: VenueOrder) -> int:
    return order.price // values.PRICE_UNIT if order.price else values.MARKET_PRICE


def _liquidity(liquidity: str, dark: bool) -> str:
    """A added, R removed; k and m of a midpoint order."""
    if dark:
        return "k" if liquidity == "added" else "m"
    return "A" if liquidity == "added" else "R"
