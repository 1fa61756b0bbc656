"""One websocket message or REST answer in, one checked struct out: the reference reading of the wire.

Source: Binance "WebSocket Streams" (spot) and "Websocket Market Streams" (USD-M futures), sections
Combined streams, Trade, Individual symbol book ticker, Diff. depth; and "Order book" of both REST APIs.
:mod:`.scan` reads the usual shape many times faster; what it does not take comes here, and the tests
hold both equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import msgspec

from ingest.websocket.numbers import ID_MAX, MS_MAX, WrongValueError, exact
from tickloom import prices
from tickloom.clock import NS_PER_MS
from tickloom.errors import PriceRangeError
from tickloom.instruments import Instrument

Market = Literal["spot", "usdm"]


class Kind(IntEnum):
    """What a captured message is."""

    UNREAD = 0  # the fast scanner leaves it to this module
    DEPTH = 1
    TICKER = 2
    TRADE = 3
    IGNORED = 4  # known and not used: aggregate trades, answers to requests, trades outside the market
    UNKNOWN = 5  # a stream or an instrument that was not asked for
    MALFORMED = 6  # no JSON, or a message of ours with something missing or wrong in it
    REFUSED = 7  # a price or size that does not travel exactly


_EVENTS = {"depth": Kind.DEPTH, "bookTicker": Kind.TICKER, "trade": Kind.TRADE, "aggTrade": Kind.IGNORED}

Decimals = list[tuple[str, str]]


def market_of(instruments: Sequence[Instrument]) -> Market:
    """Which of Binance's two wire formats a venue's instruments come in."""
    return "usdm" if any(item.kind == "perpetual" for item in instruments) else "spot"


class Envelope(msgspec.Struct, frozen=True):
    """Combined-stream envelope."""

    stream: str
    data: msgspec.Raw


class DepthUpdate(msgspec.Struct, frozen=True):
    """Diff. depth. ``previous_id`` and ``transaction_ms`` are there on futures only."""

    symbol: str = msgspec.field(name="s")
    event_ms: int = msgspec.field(name="E")
    first_id: int = msgspec.field(name="U")
    final_id: int = msgspec.field(name="u")
    bids: Decimals = msgspec.field(name="b")
    asks: Decimals = msgspec.field(name="a")
    event: Literal["depthUpdate"] = msgspec.field(name="e", default="depthUpdate")
    previous_id: int = msgspec.field(name="pu", default=-1)
    transaction_ms: int = msgspec.field(name="T", default=-1)


class BookTicker(msgspec.Struct, frozen=True):
    """Best bid and offer. Spot sends no time with it."""

    symbol: str = msgspec.field(name="s")
    update_id: int = msgspec.field(name="u")
    bid_price: str = msgspec.field(name="b")
    bid_size: str = msgspec.field(name="B")
    ask_price: str = msgspec.field(name="a")
    ask_size: str = msgspec.field(name="A")
    event: Literal["bookTicker"] = msgspec.field(name="e", default="bookTicker")
    event_ms: int = msgspec.field(name="E", default=-1)
    transaction_ms: int = msgspec.field(name="T", default=-1)


class Trade(msgspec.Struct, frozen=True):
    """A trade. ``buyer_is_maker``: the aggressor sold. ``origin``: futures only; MARKET is a real trade."""

    symbol: str = msgspec.field(name="s")
    event_ms: int = msgspec.field(name="E")
    transaction_ms: int = msgspec.field(name="T")
    trade_id: int = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    size: str = msgspec.field(name="q")
    buyer_is_maker: bool = msgspec.field(name="m")
    event: Literal["trade"] = msgspec.field(name="e", default="trade")
    origin: str = msgspec.field(name="X", default="MARKET")


class DepthSnapshot(msgspec.Struct, frozen=True):
    """REST order book: everything up to ``last_id`` is in it."""

    last_id: int = msgspec.field(name="lastUpdateId")
    bids: Decimals
    asks: Decimals


class SnapshotRecord(msgspec.Struct, frozen=True):
    """Payload of a SNAPSHOT record of the capture: the answer, and the venue's name of the instrument."""

    symbol: str
    data: DepthSnapshot


@dataclass(frozen=True, slots=True)
class Line:
    """One message, read and checked. What a kind does not have is -1 (ids, times) or 0.

    Attributes
    ----------
    instrument : int
        Index into the instruments of the session; -1 where it is unknown.
    first_id, final_id, previous_id : int
        U, u, pu of a depth update; u of a ticker and t of a trade in ``final_id``.
    ts_event : int
        T where it is sent, else E, in ns; 0 where neither is.
    sold : bool
        The aggressor of the trade sold.
    values : tuple of int
        Ticker: bid price, bid size, ask price, ask size; trade: price, size. Nanos.
    bids, asks : list of (int, int)
        Price and new total size, nanos, in the order of the message.
    about : Kind
        Of a malformed or refused message: what it would have been; UNREAD where that is not known.
    reason : str
        Why it is malformed, unknown or refused.
    """

    kind: Kind
    instrument: int = -1
    first_id: int = -1
    final_id: int = -1
    previous_id: int = -1
    ts_event: int = 0
    sold: bool = False
    values: tuple[int, ...] = ()
    bids: tuple[tuple[int, int], ...] = ()
    asks: tuple[tuple[int, int], ...] = ()
    about: Kind = Kind.UNREAD
    reason: str = ""


_envelope = msgspec.json.Decoder(Envelope)
_depth = msgspec.json.Decoder(DepthUpdate)
_ticker = msgspec.json.Decoder(BookTicker)
_trade = msgspec.json.Decoder(Trade)
_any = msgspec.json.Decoder()
_snapshot_record = msgspec.json.Decoder(SnapshotRecord)


#: RecursionError: brackets within brackets, a thousand deep.
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class LineReader:
    """Reads one message of a market. ``symbols``: the venue's names, in the order of the session."""

    def __init__(self, market: Market, symbols: list[str]) -> None:
        self.market = market
        self._index = {symbol.lower(): position for position, symbol in enumerate(symbols)}

    def read(self, payload: bytes) -> Line:
        """Never raises: what cannot be used says so in its kind."""
        try:
            envelope = _envelope.decode(payload)
        except _NO_JSON as error:
            return self._no_envelope(payload, str(error))
        name, _, rest = envelope.stream.partition("@")
        event = rest.partition("@")[0]
        instrument = self._index.get(name, -1)
        about = _EVENTS.get(event, Kind.UNKNOWN)
        if about is Kind.UNKNOWN or instrument < 0:
            return Line(Kind.UNKNOWN, instrument, reason=f"stream {envelope.stream}")
        try:
            if about is Kind.DEPTH:
                return self._depth(name, instrument, envelope.data)
            if about is Kind.TICKER:
                return self._ticker(name, instrument, envelope.data)
            if about is Kind.TRADE:
                return self._trade(name, instrument, envelope.data)
        except PriceRangeError as error:
            return Line(Kind.REFUSED, instrument, about=about, reason=str(error))
        except (*_NO_JSON, ValueError) as error:  # WrongValueError and parse_nanos are ValueErrors
            return Line(Kind.MALFORMED, instrument, about=about, reason=f"{event}: {error}")
        return Line(Kind.IGNORED, instrument)

    @staticmethod
    def _no_envelope(payload: bytes, why: str) -> Line:
        try:
            thing = _any.decode(payload)
        except _NO_JSON as error:
            return Line(Kind.MALFORMED, reason=f"no JSON: {error}")
        if isinstance(thing, dict) and "stream" not in thing and "data" not in thing:
            if "id" in thing and "result" in thing:
                return Line(Kind.IGNORED)
            return Line(Kind.UNKNOWN, reason="no stream and no data")
        return Line(Kind.MALFORMED, reason=f"no combined-stream envelope: {why}")

    def _depth(self, name: str, instrument: int, raw: msgspec.Raw) -> Line:
        message = _depth.decode(raw)
        self._check_symbol(name, message.symbol)
        if self.market == "usdm" and -1 in (message.previous_id, message.transaction_ms):
            raise WrongValueError("a depth update of futures without pu or T")
        first_id, final_id = _id(message.first_id), _id(message.final_id)
        if first_id > final_id:
            raise WrongValueError(f"U {first_id} > u {final_id}")
        return Line(
            Kind.DEPTH,
            instrument,
            first_id,
            final_id,
            _id(message.previous_id) if self.market == "usdm" else -1,
            _time(message.transaction_ms, message.event_ms),
            bids=levels(message.bids),
            asks=levels(message.asks),
        )

    def _ticker(self, name: str, instrument: int, raw: msgspec.Raw) -> Line:
        message = _ticker.decode(raw)
        self._check_symbol(name, message.symbol)
        if self.market == "usdm" and message.transaction_ms == -1:
            raise WrongValueError("a book ticker of futures without T")
        return Line(
            Kind.TICKER,
            instrument,
            final_id=_id(message.update_id),
            ts_event=_time(message.transaction_ms, message.event_ms),
            values=(
                *ticker_side(message.bid_price, message.bid_size),
                *ticker_side(message.ask_price, message.ask_size),
            ),
        )

    def _trade(self, name: str, instrument: int, raw: msgspec.Raw) -> Line:
        message = _trade.decode(raw)
        self._check_symbol(name, message.symbol)
        if message.origin != "MARKET":  # liquidation fund and deleveraging: no trade between two orders
            return Line(Kind.IGNORED, instrument)
        price, size = exact(message.price), exact(message.size)
        if price <= 0 or size <= 0:
            raise WrongValueError(f"a trade of {message.size} at {message.price}")
        return Line(
            Kind.TRADE,
            instrument,
            final_id=_id(message.trade_id),
            ts_event=_time(message.transaction_ms, message.event_ms),
            sold=message.buyer_is_maker,
            values=(price, size),
        )

    @staticmethod
    def _check_symbol(name: str, symbol: str) -> None:
        if symbol.lower() != name:
            raise WrongValueError(f"symbol {symbol} on the stream of {name}")


def read_snapshot(payload: bytes) -> SnapshotRecord:
    """The payload of a SNAPSHOT record.

    Raises
    ------
    ValueError
        It is no JSON, or no order book.
    """
    try:
        return _snapshot_record.decode(payload)
    except _NO_JSON as error:
        raise ValueError(f"no order book: {error}") from error


def snapshot_payload(symbol: str, answer: bytes) -> bytes:
    """What the capture keeps of a REST answer: the bytes as they came, under the venue's name."""
    return b'{"symbol":' + msgspec.json.encode(symbol) + b',"data":' + answer.strip() + b"}"


def levels(pairs: Decimals) -> tuple[tuple[int, int], ...]:
    """Price levels as nanos.

    Raises
    ------
    ValueError, PriceRangeError
        No decimal, a price that is not positive, a negative size, or one that does not travel exactly.
    """
    out = []
    for price_text, size_text in pairs:
        price, size = exact(price_text), exact(size_text)
        if price <= 0 or size < 0:
            raise WrongValueError(f"a level of {size_text} at {price_text}")
        out.append((price, size))
    return tuple(out)


def ticker_side(price_text: str, size_text: str) -> tuple[int, int]:
    """Best price and size as nanos; an empty side (sent as zeros) is NO_PRICE and 0."""
    price, size = exact(price_text), exact(size_text)
    if price < 0 or size < 0:
        raise WrongValueError(f"a best price {price_text} of {size_text}")
    return (price, size) if price else (int(prices.NO_PRICE), 0)


def _id(value: int) -> int:
    if not 0 <= value <= ID_MAX:
        raise WrongValueError(f"id {value} is out of range")
    return value


def _time(transaction_ms: int, event_ms: int) -> int:
    """T, else E, in ns; 0 where neither was sent."""
    for value in (transaction_ms, event_ms):
        if value != -1 and not 1 <= value <= MS_MAX:
            raise WrongValueError(f"time {value} is out of range")
    latest = transaction_ms if transaction_ms != -1 else event_ms
    return latest * NS_PER_MS if latest != -1 else 0
