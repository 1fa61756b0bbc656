"""Instrument definitions (templates 54 to 56) and security statuses (30) in, what the decoder needs out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ingest.sbe.mdp3.state import DEPTH_DEFAULT, LEVELS_MAX
from ingest.sbe.mdp3.templates import ENUMS
from ingest.sbe.objects import Decoded
from tickloom.events import StatusCode
from tickloom.prices import NANOS

OUTRIGHT_BOOK = "GBX"  # MDFeedType of the market by price that is no implied one
KINDS = {
    "MDInstrumentDefinitionFuture": "future",
    "MDInstrumentDefinitionOption": "option",
    "MDInstrumentDefinitionSpread": "spread",
}
#: SecurityTradingStatus (tag 326) to ours; PreOpen and PreCross take orders and match none.
STATUS = {
    "Halt": StatusCode.HALTED,
    "Close": StatusCode.MARKET_CLOSE,
    "NewPriceIndication": StatusCode.QUOTATION_ONLY,
    "ReadyToTrade": StatusCode.TRADING,
    "NotAvailable": StatusCode.HALTED,
    "PreOpen": StatusCode.QUOTATION_ONLY,
    "PreCross": StatusCode.QUOTATION_ONLY,
    "Cross": StatusCode.TRADING,
    "PostClose": StatusCode.MARKET_CLOSE,
}


@dataclass(frozen=True, slots=True)
class Leg:
    """A leg of a spread. ratio: negative where the spread sells it."""

    security_id: int
    ratio: int


@dataclass(frozen=True, slots=True)
class Definition:
    """What the venue says of an instrument.

    Attributes
    ----------
    security_id : int
        Its number in every message (tag 48).
    symbol, group, asset, currency : str
        Names as on the wire, without padding.
    kind : str
        ``future``, ``option`` or ``spread``.
    depth : int
        Levels of a side of its outright book (tag 264 of feed type GBX).
    tick : int
        Smallest price step, nanos; 0 where it is variable.
    display_factor : int
        What a price on the wire is multiplied with to be shown, nanos.
    strike : int or None
        Of an option, nanos.
    legs : tuple of Leg
        Of a spread.
    """

    security_id: int
    symbol: str
    group: str
    asset: str
    currency: str
    kind: str
    depth: int
    tick: int
    display_factor: int
    strike: int | None = None
    legs: tuple[Leg, ...] = ()


def definition_of(message: Decoded) -> Definition:
    """A decoded definition. A depth that no book here can have is taken as the deepest that one can."""
    values = message.values
    depths = [
        item["MarketDepth"] for item in values["NoMDFeedTypes"] if item["MDFeedType"].strip() == OUTRIGHT_BOOK
    ]
    depth = depths[0] if depths and depths[0] > 0 else DEPTH_DEFAULT
    legs = tuple(
        Leg(item["LegSecurityID"], item["LegRatioQty"] * (-1 if item["LegSide"] == "Sell" else 1))
        for item in values.get("NoLegs", [])
    )
    return Definition(
        values["SecurityID"],
        values["Symbol"].strip(),
        values["SecurityGroup"].strip(),
        values["Asset"].strip(),
        values["Currency"].strip(),
        KINDS[message.name],
        min(depth, LEVELS_MAX),
        _nanos(values["MinPriceIncrement"]) or 0,
        _nanos(values["DisplayFactor"]) or 0,
        _nanos(values.get("StrikePrice")),
        legs,
    )


def status_of(values: dict[str, Any], field: str) -> tuple[StatusCode, bytes] | None:
    """Status and the venue's own codes (trading status, halt reason, event; tags 326, 327, 1174).

    None where the message says nothing of the state: there is no trading status, or it did not change.
    """
    name = values[field]
    if name is None or name == "NoChange":
        return None
    codes = [_code("trading", name)]
    if "HaltReason" in values:
        codes += [_code("halt", values["HaltReason"]), _code("event", values["SecurityTradingEvent"])]
    return STATUS.get(name, StatusCode.OTHER), ".".join(codes).encode()[:8]


def _code(enum: str, name: str | int | None) -> str:
    """Number of an enum's value by its name, as text."""
    for part in ENUMS[enum][1].split():
        label, _, number = part.partition("=")
        if label == name:
            return number
    return "" if name is None else str(name)


def _nanos(value: Decimal | None) -> int | None:
    return None if value is None else int(value * NANOS)
