"""Values of OUCH 5.0's fields: prices, limits, optional fields, reasons. Pure.

Source: Nasdaq OUCH 5.0 specification, section 2 and appendix.
"""

from __future__ import annotations

from collections.abc import Mapping

from tickloom.errors import PriceRangeError
from tickloom.prices import NANOS, format_nanos

PRICE_UNIT = NANOS // 10_000
MARKET_PRICE = 0x7FFF_FFFF  # the price that says "market order": 214,748.3647
PRICE_MAX = 1_999_999_900  # the highest limit: 199,999.9900
QUANTITY_END = 1_000_000  # a quantity is below it
CLIENT_ORDER_ID_LENGTH = 14

#: Optional fields (appendix): name to tag and struct format; "i": signed.
OPTIONS: dict[str, tuple[int, str]] = {
    "secondary_order_reference_number": (1, "Q"),
    "firm": (2, "4s"),
    "min_qty": (3, "I"),
    "customer_type": (4, "1s"),
    "max_floor": (5, "I"),
    "price_type": (6, "1s"),  # L limit, P market peg, R primary peg, M midpoint peg, Q market maker peg
    "peg_offset": (7, "i"),
    "discretion_price": (9, "Q"),
    "discretion_price_type": (10, "1s"),
    "discretion_peg_offset": (11, "i"),
    "post_only": (12, "1s"),  # P post only, N not
    "random_reserves": (13, "I"),
    "route": (14, "4s"),
    "expire_time": (15, "I"),
    "trade_now": (16, "1s"),
    "handle_inst": (17, "1s"),
    "bbo_weight_indicator": (18, "1s"),
    "reference_price": (19, "Q"),
    "reference_price_type": (20, "1s"),
    "display_quantity": (22, "I"),
    "display_price": (23, "Q"),
    "group_id": (24, "H"),
    "shares_located": (25, "1s"),
    "locate_broker": (26, "4s"),
    "side": (27, "1s"),
    "user_ref_index": (28, "B"),
}

REJECT_REASONS: Mapping[int, str] = {
    0x01: "quote unavailable",
    0x02: "destination closed",
    0x03: "invalid display",
    0x04: "invalid max floor",
    0x05: "invalid peg type",
    0x06: "fat finger",
    0x07: "halted",
    0x08: "ISO not allowed",
    0x09: "invalid side",
    0x0A: "processing error",
    0x0B: "cancel pending",
    0x0C: "firm not authorised",
    0x0D: "invalid min quantity",
    0x0E: "no closing reference price",
    0x0F: "other",
    0x10: "cancel not allowed",
    0x11: "pegging not allowed",
    0x12: "crossed market",
    0x13: "invalid quantity",
    0x14: "invalid cross order",
    0x15: "replace not allowed",
    0x16: "routing not allowed",
    0x17: "invalid symbol",
    0x18: "test",
    0x19: "late LOC too aggressive",
    0x1A: "retail not allowed",
    0x1B: "invalid midpoint post only price",
    0x1C: "invalid destination",
    0x1D: "invalid price",
    0x1E: "shares exceed threshold",
    0x1F: "exceeds maximum allowed notional value",
}
CANCEL_REASONS: Mapping[str, str] = {
    "U": "cancelled by request",
    "I": "immediate or cancel",
    "T": "its time was over",
    "S": "supervisory",
    "D": "regulatory restriction",
    "Q": "self match prevention",
    "Z": "system cancel",
    "C": "cross cancelled",
    "K": "cannot be executed",
    "H": "halted",
    "X": "open protection",
    "E": "closed",
    "F": "post only: it would have traded",
    "G": "post only: the other side is displayed",
}


def price_of(nanos: int) -> int:
    """A price as OUCH writes it.

    Raises
    ------
    PriceRangeError
        It has more than four decimals, is not above 0, or is beyond the highest limit.
    """
    price, rest = divmod(nanos, PRICE_UNIT)
    if rest or not 0 < price <= PRICE_MAX:
        raise PriceRangeError(
            f"{format_nanos(nanos)} is no OUCH price: above 0, at most 199,999.99, four decimals; round it"
        )
    return price


def nanos_of_price(price: int) -> int:
    """An OUCH price in nanos."""
    return price * PRICE_UNIT
