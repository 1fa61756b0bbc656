"""One message of Kraken's websocket v1 in, one checked message out: the typed, reference reading of the wire.

Source: Kraken "Spot WebSockets API v1", sections Ticker, Trade, Spread, Book (and its checksum guide),
subscriptionStatus, heartbeat, systemStatus, pong. Channel messages are arrays: channel number, one or two
payloads, channel name, pair; everything else is an object with an ``event``.
"""

from __future__ import annotations

import msgspec

from ingest.websocket.message import DEPTH_DIGITS_MAX, Kind, Message, decimals, levels, side_of, top, trade
from ingest.websocket.numbers import WrongValueError
from ingest.websocket.reading import NO_JSON, TypedReader, malformed, seconds_ns
from tickloom.events import Side


class Level(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A price level: "r" marks one that comes back into the subscribed depth."""

    price: str
    volume: str
    timestamp: str
    update_type: str = ""


class BookPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A snapshot (as, bs), or changes of a side or both (a, b); a change's last part has the checksum."""

    snapshot_asks: list[Level] | None = msgspec.field(name="as", default=None)
    snapshot_bids: list[Level] | None = msgspec.field(name="bs", default=None)
    asks: list[Level] | None = msgspec.field(name="a", default=None)
    bids: list[Level] | None = msgspec.field(name="b", default=None)
    checksum: str = msgspec.field(name="c", default="")


class Trade(msgspec.Struct, frozen=True, array_like=True):
    """side: of the aggressor, b or s."""

    price: str
    volume: str
    time: str
    side: str
    order_type: str
    miscellaneous: str


class TickerSide(msgspec.Struct, frozen=True, array_like=True):
    """Best price, its volume in whole lots, and exactly."""

    price: str
    whole_lot_volume: int
    lot_volume: str


class Ticker(msgspec.Struct, frozen=True):
    """Best levels; sent when a trade happens, without a time."""

    ask: TickerSide = msgspec.field(name="a")
    bid: TickerSide = msgspec.field(name="b")


class Spread(msgspec.Struct, frozen=True, array_like=True):
    """Best levels, whenever they change."""

    bid: str
    ask: str
    timestamp: str
    bid_volume: str
    ask_volume: str


class Event(msgspec.Struct, frozen=True):
    """What is no channel's message."""

    event: str
    status: str = ""
    pair: str = ""
    error: str = msgspec.field(name="errorMessage", default="")


_parts = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)
_number = msgspec.json.Decoder(int)
_book = msgspec.json.Decoder(BookPart)
_trades = msgspec.json.Decoder(list[Trade])
_ticker = msgspec.json.Decoder(Ticker)
_spread = msgspec.json.Decoder(Spread)
_event = msgspec.json.Decoder(Event)
_QUIET = ("heartbeat", "systemStatus", "pong", "subscriptionStatus")


class V1Reader(TypedReader):
    """Reads one message."""

    def read(self, payload: bytes) -> Message:
        """Never raises: what cannot be used says so in its kind."""
        try:
            if payload.lstrip()[:1] == b"{":
                return self._event(_event.decode(payload))
            parts = _parts.decode(payload)
            if not 4 <= len(parts) <= 5:
                return malformed(f"an array of {len(parts)}")
            _number.decode(parts[0])
            name, symbol = _text.decode(parts[-2]), _text.decode(parts[-1])
        except NO_JSON as error:
            return malformed(error)
        return self._channel(name, symbol, parts[1:-2])

    def _channel(self, name: str, symbol: str, parts: list[msgspec.Raw]) -> Message:
        kind, _, depth = name.partition("-")
        if kind == "book":
            return self.checked(Kind.UPDATE, symbol, lambda which: _read_book(which, depth, parts))
        if len(parts) != 1:
            return malformed(f"{len(parts)} payloads of {name}")
        if name == "trade":
            return self.checked(Kind.TRADES, symbol, lambda which: _read_trades(which, parts[0]))
        if name == "ticker":
            return self.checked(Kind.TICKER, symbol, lambda which: _read_ticker(which, parts[0]))
        if name == "spread":
            return self.checked(Kind.TICKER, symbol, lambda which: _read_spread(which, parts[0]))
        return Message(Kind.UNKNOWN, reason=f"channel {name}")

    def _event(self, event: Event) -> Message:
        if event.status == "error" or event.event == "error":
            return Message(
                Kind.DECLINED, self._index.get(event.pair, -1), reason=f"{event.pair}: {event.error}"
            )
        if event.event in _QUIET:
            return Message(Kind.IGNORED)
        return Message(Kind.UNKNOWN, reason=f"event {event.event}")


def _read_book(instrument: int, depth: str, raw: list[msgspec.Raw]) -> Message:
    parts = [_book.decode(part) for part in raw]
    if (
        not depth.isdigit()
        or not depth.isascii()
        or len(depth) > DEPTH_DIGITS_MAX
        or depth != str(int(depth))
    ):
        raise WrongValueError(f"depth {depth!r}")
    first = parts[0]
    snapshot = first.snapshot_asks is not None or first.snapshot_bids is not None
    wire: list[tuple[Level, Side]] = []
    for part in parts:
        sides = ((part.snapshot_asks, part.snapshot_bids), (part.asks, part.bids))[not snapshot]
        others = ((part.snapshot_asks, part.snapshot_bids), (part.asks, part.bids))[snapshot]
        if others != (None, None) or sides == (None, None) or (snapshot and len(parts) > 1):
            raise WrongValueError("a book message of mixed or missing parts")
        for of_side, side in zip(sides, (Side.SELL, Side.BUY), strict=True):
            wire += [(one, side) for one in of_side or ()]
    if any(one.update_type not in ("", "r") for one, _ in wire):
        raise WrongValueError("a level of an unknown update type")
    entries, left_out = levels((one.price, one.volume, side, seconds_ns(one.timestamp)) for one, side in wire)
    last = wire[-1][0] if wire else None
    return Message(
        Kind.SNAPSHOT if snapshot else Kind.UPDATE,
        instrument,
        ts_event=max((seconds_ns(one.timestamp) for one, _ in wire), default=0),
        checksum=_checksum(parts[-1].checksum),
        depth=int(depth),
        decimals=(decimals(last.price), decimals(last.volume)) if last else (0, 0),
        entries=entries,
        left_out=left_out,
    )


def _checksum(text: str) -> int:
    if not text:
        return 0
    if not text.isdigit() or not text.isascii() or int(text) >= 1 << 32:
        raise WrongValueError(f"checksum {text!r}")
    return int(text)


def _read_trades(instrument: int, raw: msgspec.Raw) -> Message:
    entries = tuple(
        trade(one.price, one.volume, side_of(one.side), seconds_ns(one.time)) for one in _trades.decode(raw)
    )
    ts_event = max((entry.ts for entry in entries), default=0)
    return Message(Kind.TRADES, instrument, ts_event=ts_event, entries=entries)


def _read_ticker(instrument: int, raw: msgspec.Raw) -> Message:
    found = _ticker.decode(raw)
    values = top(found.bid.price, found.bid.lot_volume, found.ask.price, found.ask.lot_volume)
    return Message(Kind.TICKER, instrument, values=values)


def _read_spread(instrument: int, raw: msgspec.Raw) -> Message:
    found = _spread.decode(raw)
    values = top(found.bid, found.bid_volume, found.ask, found.ask_volume)
    return Message(Kind.TICKER, instrument, ts_event=seconds_ns(found.timestamp), values=values)
