"""ITCH 5.0 messages as data: what stands where in each type. Decoder, generator and tests read it from here.

Source: Nasdaq TotalView-ITCH 5.0 specification, sections 1.1 to 1.8 ("O" is of the 2022 revision).
All integers are big-endian and unsigned, texts are ASCII, left-justified, padded with spaces. A
price(4) is an integer in 1e-4 units, a price(8) in 1e-8. Timestamps are ns since midnight in the
venue's time zone, 48 bits.
"""

from __future__ import annotations

from ingest.layout import Layout, field, lengths

PRICE_4, PRICE_8 = 10_000, 100_000_000  # units of a price(4) and a price(8) in one unit of the currency
LENGTH_BYTES = 2  # of the prefix before each message, in MoldUDP64 and in files


def _layout(letter: str, name: str, *fields: str) -> Layout:
    """Every message begins with the same four fields."""
    every = ("type:a1", "stock_locate:u2", "tracking_number:u2", "timestamp:u6")
    return Layout(letter, name, tuple(map(field, (*every, *fields))), "big")


_ALL = (
    _layout("S", "SystemEvent", "event_code:a1"),
    _layout(
        "R",
        "StockDirectory",
        "stock:a8",
        "market_category:a1",
        "financial_status:a1",
        "round_lot_size:u4",
        "round_lots_only:a1",
        "issue_classification:a1",
        "issue_subtype:a2",
        "authenticity:a1",
        "short_sale_threshold:a1",
        "ipo_flag:a1",
        "luld_tier:a1",
        "etp_flag:a1",
        "etp_leverage:u4",
        "inverse:a1",
    ),
    _layout("H", "StockTradingAction", "stock:a8", "trading_state:a1", "reserved:a1", "reason:a4"),
    _layout("Y", "RegSHORestriction", "stock:a8", "action:a1"),
    _layout(
        "L",
        "MarketParticipantPosition",
        "mpid:a4",
        "stock:a8",
        "primary_market_maker:a1",
        "market_maker_mode:a1",
        "participant_state:a1",
    ),
    _layout("V", "MWCBDeclineLevel", "level_1:p8", "level_2:p8", "level_3:p8"),
    _layout("W", "MWCBStatus", "breached_level:a1"),
    _layout("K", "IPOQuotingPeriod", "stock:a8", "release_time:u4", "qualifier:a1", "ipo_price:p4"),
    _layout(
        "J", "LULDAuctionCollar", "stock:a8", "reference_price:p4", "upper:p4", "lower:p4", "extension:u4"
    ),
    _layout("h", "OperationalHalt", "stock:a8", "market_code:a1", "action:a1"),
    _layout("A", "AddOrderNoMPID", "reference:u8", "side:a1", "shares:u4", "stock:a8", "price:p4"),
    _layout(
        "F",
        "AddOrderWithMPID",
        "reference:u8",
        "side:a1",
        "shares:u4",
        "stock:a8",
        "price:p4",
        "attribution:a4",
    ),
    _layout("E", "OrderExecuted", "reference:u8", "shares:u4", "match_number:u8"),
    _layout(
        "C",
        "OrderExecutedWithPrice",
        "reference:u8",
        "shares:u4",
        "match_number:u8",
        "printable:a1",
        "price:p4",
    ),
    _layout("X", "OrderCancel", "reference:u8", "shares:u4"),
    _layout("D", "OrderDelete", "reference:u8"),
    _layout("U", "OrderReplace", "reference:u8", "new_reference:u8", "shares:u4", "price:p4"),
    _layout(
        "P",
        "NonCrossTrade",
        "reference:u8",
        "side:a1",
        "shares:u4",
        "stock:a8",
        "price:p4",
        "match_number:u8",
    ),
    _layout("Q", "CrossTrade", "shares:u8", "stock:a8", "price:p4", "match_number:u8", "cross_type:a1"),
    _layout("B", "BrokenTrade", "match_number:u8"),
    _layout(
        "I",
        "NetOrderImbalanceIndicator",
        "paired_shares:u8",
        "imbalance_shares:u8",
        "imbalance_direction:a1",
        "stock:a8",
        "far_price:p4",
        "near_price:p4",
        "reference_price:p4",
        "cross_type:a1",
        "price_variation:a1",
    ),
    _layout("N", "RetailPriceImprovement", "stock:a8", "interest_flag:a1"),
    _layout(
        "O",
        "DirectListingCapitalRaise",
        "stock:a8",
        "open_eligibility:a1",
        "minimum_price:p4",
        "maximum_price:p4",
        "near_execution_price:p4",
        "near_execution_time:u8",
        "lower_collar:p4",
        "upper_collar:p4",
    ),
)

#: Letter to layout, all 23 types.
LAYOUTS: dict[str, Layout] = {layout.letter: layout for layout in _ALL}

#: Length by type byte; 0: no such type. For kernels.
LENGTHS = lengths(_ALL)


def unpack(raw: bytes) -> dict[str, int | str]:
    """Any message as field name to value; for people, lineage and tests (the decoder has a kernel).

    Raises
    ------
    ValueError
        An unknown type or a wrong length.
    """
    layout = LAYOUTS.get(chr(raw[0])) if raw else None
    if layout is None:
        raise ValueError(f"no ITCH 5.0 message begins with {raw[:1]!r}")
    return layout.unpack(raw)
