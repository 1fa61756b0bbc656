"""DEEP 1.0 and TOPS 1.6 messages as data: what stands where. Decoder and tests read it from here.

Sources: IEX DEEP specification 1.06 and TOPS specification 1.66, sections "Administrative", "Trading" and
"Auction Message Formats". Both feeds have the same messages, but for 8, 5 and E (DEEP) and Q (TOPS). All
integers are little-endian; texts are ASCII, left-justified, padded with spaces; a price is a signed integer
in 1e-4 units; a timestamp is ns since 1970.
"""

from __future__ import annotations

from ingest.layout import Layout, field, lengths

PRICE_UNITS = 10_000  # in one unit of the currency
LENGTH_BYTES = 2  # of the prefix before each message

# flags of a price level update, a trade report and a quote update
EVENT_COMPLETE = 0x01
SINGLE_PRICE_CROSS = 0x08


def _layout(letter: str, name: str, second: str, *fields: str) -> Layout:
    """Each message begins with its type, one byte and the time."""
    every = ("type:a1", second, "timestamp:i8")
    return Layout(letter, name, tuple(map(field, (*every, *fields))), "little", may_grow=True)


_TRADE = ("symbol:a8", "size:u4", "price:i8", "trade_id:i8")
_ALL = (
    _layout("S", "SystemEvent", "event:a1"),
    _layout(
        "D",
        "SecurityDirectory",
        "flags:u1",
        "symbol:a8",
        "round_lot:u4",
        "adjusted_close:i8",
        "luld_tier:u1",
    ),
    _layout("H", "TradingStatus", "status:a1", "symbol:a8", "reason:a4"),
    _layout("I", "RetailLiquidityIndicator", "indicator:a1", "symbol:a8"),
    _layout("O", "OperationalHaltStatus", "status:a1", "symbol:a8"),
    _layout("P", "ShortSalePriceTestStatus", "status:u1", "symbol:a8", "detail:a1"),
    _layout("E", "SecurityEvent", "event:a1", "symbol:a8"),
    _layout("8", "PriceLevelUpdateBuy", "flags:u1", "symbol:a8", "size:u4", "price:i8"),
    _layout("5", "PriceLevelUpdateSell", "flags:u1", "symbol:a8", "size:u4", "price:i8"),
    _layout(
        "Q",
        "QuoteUpdate",
        "flags:u1",
        "symbol:a8",
        "bid_size:u4",
        "bid_price:i8",
        "ask_price:i8",
        "ask_size:u4",
    ),
    _layout("T", "TradeReport", "flags:u1", *_TRADE),
    _layout("X", "OfficialPrice", "price_type:a1", "symbol:a8", "price:i8"),
    _layout("B", "TradeBreak", "flags:u1", *_TRADE),
    _layout(
        "A",
        "AuctionInformation",
        "auction_type:a1",
        "symbol:a8",
        "paired_shares:u4",
        "reference_price:i8",
        "indicative_price:i8",
        "imbalance_shares:u4",
        "imbalance_side:a1",
        "extensions:u1",
        "scheduled_time:u4",
        "book_clearing_price:i8",
        "collar_reference:i8",
        "lower_collar:i8",
        "upper_collar:i8",
    ),
)

#: Letter to layout, all 14 types of both feeds.
LAYOUTS: dict[str, Layout] = {layout.letter: layout for layout in _ALL}

#: Least length by type byte; 0: no such type. For kernels.
LENGTHS = lengths(_ALL)


def unpack(raw: bytes) -> dict[str, int | str]:
    """Any message as field name to value; for people and tests (the decoder has a kernel).

    Raises
    ------
    ValueError
        An unknown type, or too few bytes for it.
    """
    layout = LAYOUTS.get(chr(raw[0])) if raw else None
    if layout is None:
        raise ValueError(f"no DEEP or TOPS message begins with {raw[:1]!r}")
    return layout.unpack(raw)
