"""One message of Bybit in, one checked message out: the typed, reference reading of the wire.

Source: Bybit API v5, "WebSocket Stream / Public": Orderbook, Trade, Connect (ping, answers); and of API v2
(inverse perpetual: realtime, linear perpetual: realtime_public) orderBookL2_25 and trade. v2 linear quotes
the numbers that v2 inverse does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation

import msgspec

from ingest.websocket.message import (
    DEPTH_DIGITS_MAX,
    Kind,
    Message,
    checked_id,
    decimals,
    levels,
    side_of,
    top,
    trade,
)
from ingest.websocket.numbers import WrongValueError
from ingest.websocket.reading import NO_JSON, TypedReader, malformed, scaled_ns
from tickloom.clock import NS_PER_MS
from tickloom.events import Side

NS_PER_US = 1_000
EXPONENT_MAX = 30  # of what is written out: 1e999999999 would fill the memory
Number = msgspec.Raw  # a JSON number, or one as text: its digits are wanted, not a double


class Head(msgspec.Struct, frozen=True):
    """What tells messages apart. Answers have success or an op, data has a topic."""

    topic: str = ""
    type: str = ""
    success: bool | None = None
    op: str = ""
    text: str = msgspec.field(name="ret_msg", default="")
    data: msgspec.Raw = msgspec.Raw(b"")
    time_ms: int = msgspec.field(name="ts", default=-1)
    matched_ms: int = msgspec.field(name="cts", default=-1)
    cross_seq: msgspec.Raw = msgspec.Raw(b"")
    time_us: msgspec.Raw = msgspec.field(name="timestamp_e6", default=msgspec.Raw(b""))


class Book(msgspec.Struct, frozen=True):
    """v5: a snapshot, or changes."""

    symbol: str = msgspec.field(name="s")
    bids: list[tuple[str, str]] = msgspec.field(name="b")
    asks: list[tuple[str, str]] = msgspec.field(name="a")
    update_id: int = msgspec.field(name="u")


class Trade(msgspec.Struct, frozen=True):
    """v5. side: of the taker."""

    time_ms: int = msgspec.field(name="T")
    symbol: str = msgspec.field(name="s")
    side: str = msgspec.field(name="S")
    size: str = msgspec.field(name="v")
    price: str = msgspec.field(name="p")


class OldLevel(msgspec.Struct, frozen=True):
    """v2. Without size: it is gone."""

    price: Number
    symbol: str
    side: str
    size: Number = msgspec.Raw(b"")


class OldBook(msgspec.Struct, frozen=True):
    """v2 linear: a snapshot; inverse sends the bare list."""

    order_book: list[OldLevel]


class OldChanges(msgspec.Struct, frozen=True):
    """v2: changes."""

    delete: list[OldLevel]
    update: list[OldLevel]
    insert: list[OldLevel]


class OldTrade(msgspec.Struct, frozen=True):
    """v2. side: of the taker."""

    symbol: str
    price: Number
    size: Number
    side: str
    time_ms: Number = msgspec.field(name="trade_time_ms")


_head = msgspec.json.Decoder(Head)
_book = msgspec.json.Decoder(Book)
_trades = msgspec.json.Decoder(list[Trade])
_old_book = msgspec.json.Decoder(OldBook)
_old_levels = msgspec.json.Decoder(list[OldLevel])
_old_changes = msgspec.json.Decoder(OldChanges)
_old_trades = msgspec.json.Decoder(list[OldTrade])


class BybitReader(TypedReader):
    """Reads one message."""

    def read(self, payload: bytes) -> Message:
        """Never raises: what cannot be used says so in its kind."""
        try:
            head = _head.decode(payload)
        except NO_JSON as error:
            return malformed(error)
        if not head.topic:
            return _answer(head)
        channel, _, symbol = head.topic.rpartition(".")
        name, _, depth = channel.partition(".")
        if name == "orderbook":
            about = Kind.TICKER if depth == "1" else Kind.UPDATE
            return self.checked(about, symbol, lambda which: _read_book(which, symbol, depth, head))
        readers: dict[str, tuple[Kind, Callable[[int, str, Head], Message]]] = {
            "publicTrade": (Kind.TRADES, _read_trades),
            "trade": (Kind.TRADES, _read_old_trades),
            "orderBookL2_25": (Kind.UPDATE, _read_old_book),
        }
        if name not in readers or depth:
            return Message(Kind.UNKNOWN, reason=f"topic {head.topic}")
        kind, read = readers[name]
        return self.checked(kind, symbol, lambda which: read(which, symbol, head))


def _answer(head: Head) -> Message:
    if head.success is False:
        return Message(Kind.DECLINED, reason=head.text)
    if head.success or head.op in ("ping", "pong"):
        return Message(Kind.IGNORED)
    return Message(Kind.UNKNOWN, reason="no topic and no answer")


def _check_symbols(symbol: str, symbols: Iterable[str]) -> None:
    for other in symbols:
        if other != symbol:
            raise WrongValueError(f"symbol {other} in the topic of {symbol}")


def _event_time(head: Head) -> int:
    """cts, the matching engine's, where it is sent; else ts."""
    return scaled_ns(head.time_ms if head.matched_ms == -1 else head.matched_ms, NS_PER_MS)


def _read_book(instrument: int, symbol: str, depth: str, head: Head) -> Message:
    book = _book.decode(head.data)
    _check_symbols(symbol, [book.symbol])
    if head.type not in ("snapshot", "delta"):
        raise WrongValueError(f"type {head.type!r}")
    if (
        not depth.isdigit()
        or not depth.isascii()
        or len(depth) > DEPTH_DIGITS_MAX
        or depth != str(int(depth))
    ):
        raise WrongValueError(f"depth {depth!r}")
    update_id, ts_event = checked_id(book.update_id), _event_time(head)
    if depth == "1":
        if head.type != "snapshot" or len(book.bids) > 1 or len(book.asks) > 1:
            raise WrongValueError("a best level that is no snapshot of one level a side")
        bid, ask = (side[0] if side else ("", "") for side in (book.bids, book.asks))
        return Message(Kind.TICKER, instrument, final_id=update_id, ts_event=ts_event, values=top(*bid, *ask))
    wire = [(*one, Side.BUY) for one in book.bids] + [(*one, Side.SELL) for one in book.asks]
    entries, left_out = levels((price, size, side, 0) for price, size, side in wire)
    return Message(
        Kind.SNAPSHOT if head.type == "snapshot" else Kind.UPDATE,
        instrument,
        final_id=update_id,
        previous_id=update_id - 1,
        ts_event=ts_event,
        decimals=(decimals(wire[-1][0]), decimals(wire[-1][1])) if wire else (0, 0),
        entries=entries,
        left_out=left_out,
    )


def _read_trades(instrument: int, symbol: str, head: Head) -> Message:
    found = _trades.decode(head.data)
    _check_symbols(symbol, (one.symbol for one in found))
    entries = tuple(
        trade(one.price, one.size, side_of(one.side), scaled_ns(one.time_ms, NS_PER_MS)) for one in found
    )
    ts_event = max((entry.ts for entry in entries), default=0)
    return Message(Kind.TRADES, instrument, ts_event=ts_event, entries=entries)


# API v2


def _text(number: Number) -> str:
    """A number as plain decimal text, be it quoted, or with an exponent."""
    text = bytes(number).decode().removeprefix('"').removesuffix('"')
    if "e" in text or "E" in text:
        try:
            number_read = Decimal(text)
        except InvalidOperation:
            raise WrongValueError(f"{text!r} is no number") from None
        if not number_read.is_finite() or abs(number_read.adjusted()) > EXPONENT_MAX or len(text) > 40:
            raise WrongValueError(f"{text[:40]!r} is no price and no size")
        return format(number_read, "f")
    return text


def _integer(number: Number) -> int:
    text = _text(number)
    if not text.isdigit() or not text.isascii() or (text.startswith("0") and len(text) > 1):
        raise WrongValueError(f"{text!r} is no integer")
    return checked_id(int(text))


def _read_old_book(instrument: int, symbol: str, head: Head) -> Message:
    if head.type == "snapshot":
        bare = bytes(head.data).startswith(b"[")
        wire = _old_levels.decode(head.data) if bare else _old_book.decode(head.data).order_book
    elif head.type == "delta":
        changes = _old_changes.decode(head.data)
        wire = [*changes.delete, *changes.update, *changes.insert]
    else:
        raise WrongValueError(f"type {head.type!r}")
    _check_symbols(symbol, (one.symbol for one in wire))
    entries, left_out = levels(
        (_text(one.price), _text(one.size) or "0", side_of(one.side), 0) for one in wire
    )
    sized = [one for one in wire if bytes(one.size)]
    return Message(
        Kind.SNAPSHOT if head.type == "snapshot" else Kind.UPDATE,
        instrument,
        final_id=_integer(head.cross_seq),
        ts_event=scaled_ns(_integer(head.time_us), NS_PER_US),
        decimals=(
            decimals(_text(wire[-1].price)) if wire else 0,
            decimals(_text(sized[-1].size)) if sized else 0,
        ),
        entries=entries,
        left_out=left_out,
    )


def _read_old_trades(instrument: int, symbol: str, head: Head) -> Message:
    found = _old_trades.decode(head.data)
    _check_symbols(symbol, (one.symbol for one in found))
    entries = tuple(
        trade(
            _text(one.price),
            _text(one.size),
            side_of(one.side),
            scaled_ns(_integer(one.time_ms), NS_PER_MS),
        )
        for one in found
    )
    ts_event = max((entry.ts for entry in entries), default=0)
    return Message(Kind.TRADES, instrument, ts_event=ts_event, entries=entries)
