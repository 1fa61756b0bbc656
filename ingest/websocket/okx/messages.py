"""One message of OKX in, one checked message out: the typed, reference reading of the wire.

Source: OKX API v5, "Public Data / Market Data" over websocket: Trades channel, Tickers channel, Order book
channel (books, bbo-tbt), and the answers to subscribe and unsubscribe. Sizes of derivatives are contracts.
"""

from __future__ import annotations

import msgspec

from ingest.websocket.message import Kind, Message, checked_id, decimals, levels, side_of, top, trade
from ingest.websocket.numbers import WrongValueError
from ingest.websocket.reading import NO_JSON, TypedReader, malformed, scaled_ns
from tickloom.clock import NS_PER_MS
from tickloom.events import Side


class Channel(msgspec.Struct, frozen=True):
    """What a message is about."""

    channel: str
    instrument: str = msgspec.field(name="instId", default="")


class Envelope(msgspec.Struct, frozen=True):
    """Pushed data, or an answer (event)."""

    arg: Channel | None = None
    data: list[msgspec.Raw] | None = None
    action: str = ""
    event: str = ""
    code: str = ""
    text: str = msgspec.field(name="msg", default="")


class Level(msgspec.Struct, frozen=True, array_like=True):
    """A price level; the third text means nothing any more, the fourth counts orders."""

    price: str
    size: str
    deprecated: str
    orders: str


class Book(msgspec.Struct, frozen=True):
    """Snapshot or changes. Absent numbers are -1 (a first prevSeqId is -1, too)."""

    asks: list[Level]
    bids: list[Level]
    time_ms: str = msgspec.field(name="ts")
    checksum: int = 0
    sequence: int = msgspec.field(name="seqId", default=-1)
    previous: int = msgspec.field(name="prevSeqId", default=-1)


class Trade(msgspec.Struct, frozen=True):
    """side: of the taker."""

    instrument: str = msgspec.field(name="instId")
    trade_id: str = msgspec.field(name="tradeId")
    price: str = msgspec.field(name="px")
    size: str = msgspec.field(name="sz")
    side: str
    time_ms: str = msgspec.field(name="ts")


class Ticker(msgspec.Struct, frozen=True):
    """Best levels, at most every 100 ms."""

    instrument: str = msgspec.field(name="instId")
    ask: str = msgspec.field(name="askPx")
    ask_size: str = msgspec.field(name="askSz")
    bid: str = msgspec.field(name="bidPx")
    bid_size: str = msgspec.field(name="bidSz")
    time_ms: str = msgspec.field(name="ts")


_envelope = msgspec.json.Decoder(Envelope)
_book = msgspec.json.Decoder(Book)
_trade = msgspec.json.Decoder(Trade)
_ticker = msgspec.json.Decoder(Ticker)
_QUIET = ("subscribe", "unsubscribe", "channel-conn-count", "notice")


class OkxReader(TypedReader):
    """Reads one message."""

    def read(self, payload: bytes) -> Message:
        """Never raises: what cannot be used says so in its kind."""
        if payload == b"pong":
            return Message(Kind.IGNORED)
        try:
            envelope = _envelope.decode(payload)
        except NO_JSON as error:
            return malformed(error)
        if envelope.event:
            return self._event(envelope)
        if envelope.arg is None or envelope.data is None:
            return malformed("no arg or no data")
        name, symbol = envelope.arg.channel, envelope.arg.instrument
        data, action = envelope.data, envelope.action
        if name == "books":
            return self.checked(Kind.UPDATE, symbol, lambda which: _read_book(which, action, data))
        if name == "trades":
            return self.checked(Kind.TRADES, symbol, lambda which: _read_trades(which, symbol, data))
        if name == "tickers":
            return self.checked(Kind.TICKER, symbol, lambda which: _read_ticker(which, symbol, data))
        if name == "bbo-tbt":
            return self.checked(Kind.TICKER, symbol, lambda which: _read_best(which, data))
        return Message(Kind.UNKNOWN, reason=f"channel {name}")

    def _event(self, envelope: Envelope) -> Message:
        if envelope.event == "error":
            symbol = envelope.arg.instrument if envelope.arg else ""
            which = self._index.get(symbol, -1)
            return Message(Kind.DECLINED, which, reason=f"{envelope.code} {envelope.text}")
        if envelope.event in _QUIET:
            return Message(Kind.IGNORED)
        return Message(Kind.UNKNOWN, reason=f"event {envelope.event}")


def _one(data: list[msgspec.Raw]) -> msgspec.Raw:
    if len(data) != 1:
        raise WrongValueError(f"{len(data)} elements of data")
    return data[0]


def _time(text: str) -> int:
    return scaled_ns(_integer(text), NS_PER_MS)


def _integer(text: str) -> int:
    if not text.isdigit() or not text.isascii() or (text[0] == "0" and len(text) > 1):
        raise WrongValueError(f"{text!r} is no integer")
    return checked_id(int(text))


def _read_book(instrument: int, action: str, data: list[msgspec.Raw]) -> Message:
    book = _book.decode(_one(data))
    if action not in ("snapshot", "update"):
        raise WrongValueError(f"action {action!r}")
    if not -(1 << 31) <= book.checksum < 1 << 32:
        raise WrongValueError(f"checksum {book.checksum}")
    if book.sequence != -1:
        checked_id(book.sequence)
    if book.previous != -1:
        checked_id(book.previous)
    wire = [(one, Side.SELL) for one in book.asks] + [(one, Side.BUY) for one in book.bids]
    entries, left_out = levels((one.price, one.size, side, 0) for one, side in wire)
    last = wire[-1][0] if wire else None
    return Message(
        Kind.SNAPSHOT if action == "snapshot" else Kind.UPDATE,
        instrument,
        final_id=book.sequence,
        previous_id=book.previous,
        ts_event=_time(book.time_ms),
        checksum=book.checksum,
        decimals=(decimals(last.price), decimals(last.size)) if last else (0, 0),
        entries=entries,
        left_out=left_out,
    )


def _read_trades(instrument: int, symbol: str, data: list[msgspec.Raw]) -> Message:
    entries = []
    for raw in data:
        one = _trade.decode(raw)
        _check_symbol(symbol, one.instrument)
        ts = _time(one.time_ms)
        entries.append(trade(one.price, one.size, side_of(one.side), ts, _integer(one.trade_id)))
    ts_event = max((entry.ts for entry in entries), default=0)
    return Message(Kind.TRADES, instrument, ts_event=ts_event, entries=tuple(entries))


def _read_ticker(instrument: int, symbol: str, data: list[msgspec.Raw]) -> Message:
    one = _ticker.decode(_one(data))
    _check_symbol(symbol, one.instrument)
    values = top(one.bid, one.bid_size, one.ask, one.ask_size)
    return Message(Kind.TICKER, instrument, ts_event=_time(one.time_ms), values=values)


def _read_best(instrument: int, data: list[msgspec.Raw]) -> Message:
    book = _book.decode(_one(data))
    if len(book.bids) > 1 or len(book.asks) > 1:
        raise WrongValueError("more than one best level of a side")
    sides: list[str] = []
    for side in (book.bids, book.asks):
        sides += (side[0].price, side[0].size) if side else ("", "")
    if book.sequence != -1:
        checked_id(book.sequence)
    return Message(
        Kind.TICKER, instrument, final_id=book.sequence, ts_event=_time(book.time_ms), values=top(*sides)
    )


def _check_symbol(channel: str, symbol: str) -> None:
    if symbol != channel:
        raise WrongValueError(f"instId {symbol} in the channel of {channel}")
