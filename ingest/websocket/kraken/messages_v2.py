"""One message of Kraken's websocket v2 in, one checked message out: the typed, reference reading of the wire.

Source: Kraken "Spot WebSocket v2", channels book, trade, ticker, heartbeat, status, and the answers to
subscribe, unsubscribe and ping; guide "Book checksum (WebSocket v2)". Prices and sizes are JSON numbers with
all decimals of the pair, which the checksum is made of, so their text is kept. A book message does not say to
what depth the book was subscribed; the answer to the subscription does.
"""

from __future__ import annotations

import msgspec

from ingest.websocket.book import LEVELS_MAX
from ingest.websocket.message import Kind, Message, checked_id, decimals, levels, side_of, top, trade
from ingest.websocket.numbers import WrongValueError
from ingest.websocket.reading import NO_JSON, TypedReader, iso_ns, malformed
from tickloom.events import Side


class Envelope(msgspec.Struct, frozen=True):
    """Data of a channel, or an answer (method; an error may have none)."""

    channel: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")
    method: str = ""
    error: str = ""


class Named(msgspec.Struct, frozen=True):
    """What any element of the data has."""

    symbol: str


class Level(msgspec.Struct, frozen=True):
    """A price level; qty 0: it is gone."""

    price: msgspec.Raw
    qty: msgspec.Raw


class Book(msgspec.Struct, frozen=True):
    """Snapshot or changes. A snapshot has had no timestamp; changes have one."""

    bids: list[Level]
    asks: list[Level]
    checksum: int
    timestamp: str = ""


class Trade(msgspec.Struct, frozen=True):
    """side: of the taker."""

    symbol: str
    side: str
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: int
    timestamp: str


class Ticker(msgspec.Struct, frozen=True):
    """Best levels; the timestamp came later than the channel."""

    bid: msgspec.Raw
    bid_qty: msgspec.Raw
    ask: msgspec.Raw
    ask_qty: msgspec.Raw
    timestamp: str = ""


class Subscription(msgspec.Struct, frozen=True):
    """What was subscribed; depth: of a book."""

    channel: str = ""
    symbol: str = ""
    depth: int = 0


class Answer(msgspec.Struct, frozen=True):
    """To a request, one for each pair; symbol: of one that was refused."""

    method: str = ""
    success: bool = True
    error: str = ""
    symbol: str = ""
    result: Subscription | None = None


_envelope = msgspec.json.Decoder(Envelope)
_parts = msgspec.json.Decoder(list[msgspec.Raw])
_named = msgspec.json.Decoder(Named)
_book = msgspec.json.Decoder(Book)
_trade = msgspec.json.Decoder(Trade)
_ticker = msgspec.json.Decoder(Ticker)
_answer = msgspec.json.Decoder(Answer)
_CHANNELS = {"book": Kind.UPDATE, "trade": Kind.TRADES, "ticker": Kind.TICKER}
_QUIET = ("heartbeat", "status")
_METHODS = ("subscribe", "unsubscribe", "pong")


class V2Reader(TypedReader):
    """Reads one message."""

    def read(self, payload: bytes) -> Message:
        """Never raises: what cannot be used says so in its kind."""
        try:
            envelope = _envelope.decode(payload)
            if envelope.channel:
                return self._channel(envelope)
            if envelope.method or envelope.error:
                return self._answer(_answer.decode(payload))
        except NO_JSON as error:
            return malformed(error)
        return malformed("neither channel nor method")

    def _channel(self, envelope: Envelope) -> Message:
        name, about = envelope.channel, _CHANNELS.get(envelope.channel)
        if about is None:
            return (
                Message(Kind.IGNORED) if name in _QUIET else Message(Kind.UNKNOWN, reason=f"channel {name}")
            )
        data = _parts.decode(envelope.data)
        if not data:
            return malformed(f"no element in the data of {name}")
        symbol = _named.decode(data[0]).symbol
        return self.checked(about, symbol, lambda which: _read(which, envelope, symbol, data))

    def _answer(self, answer: Answer) -> Message:
        result = answer.result or Subscription()
        symbol = answer.symbol or result.symbol
        if answer.error or not answer.success:
            return Message(Kind.DECLINED, self._index.get(symbol, -1), reason=f"{symbol}: {answer.error}")
        if answer.method == "subscribe" and result.channel == "book":
            return self.checked(Kind.ACCEPTED, symbol, lambda which: _read_depth(which, result.depth))
        if answer.method in _METHODS:
            return Message(Kind.IGNORED)
        return Message(Kind.UNKNOWN, reason=f"method {answer.method}")


def _read(instrument: int, envelope: Envelope, symbol: str, data: list[msgspec.Raw]) -> Message:
    if envelope.type not in ("snapshot", "update"):
        raise WrongValueError(f"type {envelope.type!r}")
    snapshot = envelope.type == "snapshot"
    if envelope.channel == "trade":
        # trades of before the subscription are asked for by nobody here
        return Message(Kind.IGNORED) if snapshot else _read_trades(instrument, symbol, data)
    if len(data) != 1:
        raise WrongValueError(f"{len(data)} elements of data")
    if envelope.channel == "ticker":
        return _read_ticker(instrument, data[0])
    return _read_book(instrument, snapshot, data[0])


def _text(number: msgspec.Raw) -> str:
    """A JSON number as sent; what is another value will be no decimal either."""
    return bytes(number).decode()


def _read_book(instrument: int, snapshot: bool, raw: msgspec.Raw) -> Message:
    book = _book.decode(raw)
    if not 0 <= book.checksum < 1 << 32:
        raise WrongValueError(f"checksum {book.checksum}")
    if not book.timestamp and not snapshot:
        raise WrongValueError("changes without a timestamp")
    wire = [(one, Side.BUY) for one in book.bids] + [(one, Side.SELL) for one in book.asks]
    entries, left_out = levels((_text(one.price), _text(one.qty), side, 0) for one, side in wire)
    last = wire[-1][0] if wire else None
    return Message(
        Kind.SNAPSHOT if snapshot else Kind.UPDATE,
        instrument,
        ts_event=_time(book.timestamp),
        checksum=book.checksum,
        decimals=(decimals(_text(last.price)), decimals(_text(last.qty))) if last else (0, 0),
        entries=entries,
        left_out=left_out,
    )


def _time(text: str) -> int:
    return iso_ns(text) if text else 0


def _read_trades(instrument: int, symbol: str, data: list[msgspec.Raw]) -> Message:
    entries = []
    for raw in data:
        one = _trade.decode(raw)
        if one.symbol != symbol:
            raise WrongValueError(f"a trade of {one.symbol} among those of {symbol}")
        ts = iso_ns(one.timestamp)
        side, trade_id = side_of(one.side), checked_id(one.trade_id)
        entries.append(trade(_text(one.price), _text(one.qty), side, ts, trade_id))
    ts_event = max(entry.ts for entry in entries)
    return Message(Kind.TRADES, instrument, ts_event=ts_event, entries=tuple(entries))


def _read_ticker(instrument: int, raw: msgspec.Raw) -> Message:
    one = _ticker.decode(raw)
    values = top(*map(_text, (one.bid, one.bid_qty, one.ask, one.ask_qty)))
    return Message(Kind.TICKER, instrument, ts_event=_time(one.timestamp), values=values)


def _read_depth(instrument: int, depth: int) -> Message:
    if not 0 < depth <= LEVELS_MAX:
        raise WrongValueError(f"depth {depth}")
    return Message(Kind.ACCEPTED, instrument, depth=depth)
