"""ITCH 5.0 messages as data: what stands where in each type. Decoder, generator and tests read it from here.

Source: Nasdaq TotalView-ITCH 5.0 specification, sections 1.1 to 1.8 ("O" is of the 2022 revision).
All integers are big-endian and unsigned, texts are ASCII, left-justified, padded with spaces. A
price(4) is an integer in 1e-4 units, a price(8) in 1e-8. Timestamps are ns since midnight in the
venue's time zone, 48 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

PRICE_4, PRICE_8 = 10_000, 100_000_000  # units of a price(4) and a price(8) in one unit of the currency
LENGTH_BYTES = 2  # of the prefix before each message, in MoldUDP64 and in files


@dataclass(frozen=True, slots=True)
class Field:
    """One field. kind: ``u`` integer, ``a`` text, ``p`` price."""

    name: str
    kind: str
    size: int


@dataclass(frozen=True)
class Layout:
    """One message type: its letter, name and fields in wire order, the type byte first."""

    letter: str
    name: str
    fields: tuple[Field, ...]

    @property
    def length(self) -> int:
        """Bytes of the message, type byte included."""
        return sum(field.size for field in self.fields)

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Field name to its byte offset."""
        found, at = {}, 0
        for field in self.fields:
            found[field.name] = at
            at += field.size
        return found

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The message as a packed big-endian numpy record.

        The 48-bit timestamp is two fields, ``timestamp_high`` (16 bits) and ``timestamp_low`` (32).
        """
        parts: list[tuple[str, str]] = []
        for field in self.fields:
            if field.name == "timestamp":
                parts += [("timestamp_high", ">u2"), ("timestamp_low", ">u4")]
            elif field.kind == "a":
                parts.append((field.name, f"S{field.size}"))
            else:
                parts.append((field.name, f">u{field.size}"))
        return np.dtype(parts)

    def pack(self, **values: int | str | bytes) -> bytes:
        """The message's bytes. What is not given is 0 or blank."""
        unknown = set(values) - set(self.offsets)
        if unknown:
            raise ValueError(f"{self.name} ({self.letter}) has no field {sorted(unknown)}")
        out = bytearray(self.letter.encode())
        for field in self.fields[1:]:
            value = values.get(field.name, b"" if field.kind == "a" else 0)
            if isinstance(value, int):
                out += value.to_bytes(field.size, "big")
            else:
                text = value.encode() if isinstance(value, str) else value
                if len(text) > field.size:
                    raise ValueError(f"{self.name}.{field.name}: {text!r} is over {field.size} bytes")
                out += text.ljust(field.size)
        return bytes(out)

    def unpack(self, raw: bytes) -> dict[str, int | str]:
        """Field name to value: texts stripped, prices as the integers that they are on the wire."""
        if len(raw) != self.length:
            raise ValueError(f"{self.name} ({self.letter}) has {self.length} bytes, not {len(raw)}")
        values: dict[str, int | str] = {}
        for field in self.fields:
            part = raw[self.offsets[field.name] :][: field.size]
            if field.kind == "a":
                values[field.name] = part.decode("ascii", "replace").rstrip()
            else:
                values[field.name] = int.from_bytes(part, "big")
        return values


def _layout(letter: str, name: str, *fields: str) -> Layout:
    """Fields are written ``name:kind+size``; every message begins with the same four."""
    parsed = [
        Field("type", "a", 1),
        Field("stock_locate", "u", 2),
        Field("tracking_number", "u", 2),
        Field("timestamp", "u", 6),
    ]
    for text in fields:
        field, _, code = text.partition(":")
        parsed.append(Field(field, code[0], int(code[1:])))
    return Layout(letter, name, tuple(parsed))


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
LENGTHS = np.zeros(256, dtype=np.int64)
for _item in _ALL:
    LENGTHS[ord(_item.letter)] = _item.length


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
