"""One message of Coinbase in, one checked message out: the typed, reference reading of the wire.

Source: Coinbase Exchange "WebSocket Feed", channels: level2 and level2_batch, ticker, matches, heartbeat,
subscriptions and error messages. A match's side is the maker's.
"""

from __future__ import annotations

import msgspec

from ingest.websocket.message import Kind, Message, checked_id, decimals, levels, side_of, top, trade
from ingest.websocket.reading import NO_JSON, TypedReader, iso_ns, malformed
from tickloom.events import Side


class Head(msgspec.Struct, frozen=True):
    """What every message has."""

    type: str
    product_id: str = ""
    message: str = ""
    reason: str = ""


class Change(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A level's new total size."""

    side: str
    price: str
    size: str


class Update(msgspec.Struct, frozen=True):
    """Changes of a book."""

    changes: list[Change]
    time: str


class Snapshot(msgspec.Struct, frozen=True):
    """A whole book; it has had no time."""

    asks: list[tuple[str, str]]
    bids: list[tuple[str, str]]
    time: str = ""


class Match(msgspec.Struct, frozen=True):
    """A trade; last_match: the one before the subscription."""

    trade_id: int
    sequence: int
    side: str
    size: str
    price: str
    time: str


class Ticker(msgspec.Struct, frozen=True):
    """Best levels, sent with a match. Sizes have been absent."""

    sequence: int
    best_bid: str
    best_ask: str
    time: str
    best_bid_size: str = ""
    best_ask_size: str = ""


_head = msgspec.json.Decoder(Head)
_update = msgspec.json.Decoder(Update)
_snapshot = msgspec.json.Decoder(Snapshot)
_match = msgspec.json.Decoder(Match)
_ticker = msgspec.json.Decoder(Ticker)
_KINDS = {
    "l2update": Kind.UPDATE,
    "snapshot": Kind.SNAPSHOT,
    "match": Kind.TRADES,
    "last_match": Kind.TRADES,
    "ticker": Kind.TICKER,
}


class CoinbaseReader(TypedReader):
    """Reads one message."""

    def read(self, payload: bytes) -> Message:
        """Never raises: what cannot be used says so in its kind."""
        try:
            head = _head.decode(payload)
        except NO_JSON as error:
            return malformed(error)
        if head.type in ("subscriptions", "heartbeat"):
            return Message(Kind.IGNORED)
        if head.type == "error":
            return Message(Kind.DECLINED, reason=f"{head.message}: {head.reason}")
        kind = _KINDS.get(head.type)
        if kind is None:
            return Message(Kind.UNKNOWN, reason=f"type {head.type}")
        return self.checked(kind, head.product_id, lambda which: _READERS[kind](which, payload))


def _read_update(instrument: int, payload: bytes) -> Message:
    found = _update.decode(payload)
    ts_event = iso_ns(found.time)
    entries, left_out = levels((one.price, one.size, side_of(one.side), 0) for one in found.changes)
    last = found.changes[-1] if found.changes else None
    return Message(
        Kind.UPDATE,
        instrument,
        ts_event=ts_event,
        decimals=(decimals(last.price), decimals(last.size)) if last else (0, 0),
        entries=entries,
        left_out=left_out,
    )


def _read_snapshot(instrument: int, payload: bytes) -> Message:
    found = _snapshot.decode(payload)
    wire = [(*one, Side.SELL) for one in found.asks] + [(*one, Side.BUY) for one in found.bids]
    entries, left_out = levels((price, size, side, 0) for price, size, side in wire)
    return Message(
        Kind.SNAPSHOT,
        instrument,
        ts_event=iso_ns(found.time) if found.time else 0,
        decimals=(decimals(wire[-1][0]), decimals(wire[-1][1])) if wire else (0, 0),
        entries=entries,
        left_out=left_out,
    )


def _read_match(instrument: int, payload: bytes) -> Message:
    found = _match.decode(payload)
    ts_event = iso_ns(found.time)
    aggressor = Side.BUY if side_of(found.side) is Side.SELL else Side.SELL
    entry = trade(found.price, found.size, aggressor, ts_event, checked_id(found.trade_id))
    final_id = checked_id(found.sequence)
    return Message(Kind.TRADES, instrument, final_id=final_id, ts_event=ts_event, entries=(entry,))


def _read_ticker(instrument: int, payload: bytes) -> Message:
    found = _ticker.decode(payload)
    return Message(
        Kind.TICKER,
        instrument,
        final_id=checked_id(found.sequence),
        ts_event=iso_ns(found.time),
        values=top(found.best_bid, found.best_bid_size, found.best_ask, found.best_ask_size),
    )


_READERS = {
    Kind.UPDATE: _read_update,
    Kind.SNAPSHOT: _read_snapshot,
    Kind.TRADES: _read_match,
    Kind.TICKER: _read_ticker,
}
