"""Tick batches in; the last quote of each instrument, and whether it can be traded on, out. Pure.

When is a quote trusted? All by ``seq``, so that it does not matter in which order the batches of
different shards arrive:

- A gap of the whole venue (symbol ""): nothing is trusted until a *newer* quote of that instrument
  comes. On ITCH a lost message may have moved any book, and the book builder says what it knows
  again only with the instrument's next quote.
- A gap or BOOK_LOST of one instrument: until BOOK_SYNCED, because its book was seen to be wrong.
- What the ingester says (``trust.<V>``): stale or broken, of the instrument or of the venue's line, until it
  says trusted. It is read from the beginning of a topic that keeps the last state of each, so an agent that
  starts knows them all. An ingester that is dead says nothing: that is the feed's age, below.
- HALTED, PAUSED, QUOTATION_ONLY: until TRADING. A venue that closed: until it opens again.

How old is it? By ``ts_recv``, our own clock, against the wall clock; event time cannot tell, since a
replay has any event time. An instrument that does not move has old quotes on a live feed, so the age
of the *feed* is kept apart: when anything, a heartbeat included, was last written to its shard.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import msgspec
import numpy as np

from execution.risk.market_table import MarketTable
from tickloom.codec import TickBatch
from tickloom.events import (
    SEQ_PER_DAY,
    Condition,
    EventBlock,
    GapReason,
    Records,
    StatusCode,
    TrustReason,
    TrustState,
)
from tickloom.prices import NO_PRICE
from tickloom.rows import picked

_HALTS = frozenset({StatusCode.HALTED, StatusCode.PAUSED, StatusCode.QUOTATION_ONLY})
_CLOSED = frozenset({StatusCode.MARKET_CLOSE, StatusCode.SYSTEM_HOURS_END, StatusCode.SESSION_END})
_VENUE_PHASES = _CLOSED | {
    StatusCode.SESSION_START,
    StatusCode.SYSTEM_HOURS_START,
    StatusCode.MARKET_OPEN,
    StatusCode.TRADING,
}

_NO_SHARD = -2  # instruments without a quote have -1


class MarketView(msgspec.Struct, frozen=True, gc=False):
    """What is known of an instrument at one moment. Prices: nanos; NO_PRICE on an empty side.

    untrusted, halted: why, empty where it is not. feed_ts: when its shard last said anything, ns.
    """

    bid_price: int
    bid_size: int
    ask_price: int
    ask_size: int
    ts_event: int
    ts_recv: int
    seq: int
    feed_ts: int
    venue_ts_event: int
    untrusted: str
    halted: str

    @property
    def mid(self) -> int | None:
        """Nanos, half a nano rounded down; None without both sides, or with a crossed quote."""
        if self.bid_price == NO_PRICE or self.ask_price == NO_PRICE or self.bid_price > self.ask_price:
            return None
        return (self.bid_price + self.ask_price) // 2


@dataclass(slots=True)
class _Instrument:
    quote: tuple[int, ...] | None = None  # bid_price, bid_size, ask_price, ask_size, ts_event, ts_recv, seq
    shard: int = -1
    lost: str = ""
    lost_seq: int = -1
    halt: str = ""
    halt_seq: int = -1
    short_restricted: bool = False
    short_seq: int = -1
    distrust: str = ""
    distrust_day: int = -1


class _Venue:
    def __init__(self) -> None:
        self.gap_seq = -1
        self.gap_text = ""
        self.phase_seq = -1
        self.closed = ""
        self.ts_event = 0
        self.feed_ts: dict[int, int] = {}
        self.line = _Instrument()  # of which only the trust is used
        self.instruments: dict[str, _Instrument] = {}

    def instrument(self, symbol: str) -> _Instrument:
        found = self.instruments.get(symbol)
        if found is None:
            found = self.instruments[symbol] = _Instrument()
        return found


class MarketState:
    """The state of all venues. One thread applies batches, another looks."""

    def __init__(self) -> None:
        self._venues: dict[str, _Venue] = {}
        self._lock = threading.Lock()
        self._table = MarketTable([])

    def attach(self, table: MarketTable) -> None:
        """Keep ``table`` up to date from now on; what is known already is written to it."""
        with self._lock:
            self._table = table
            for code, venue in self._venues.items():
                for symbol, item in venue.instruments.items():
                    if item.quote is not None:
                        table.quote(code, symbol, item.quote, item.shard)
                    table.mark(code, symbol, bool(item.lost), bool(item.halt))
                    table.short_restricted(code, symbol, item.short_restricted)
                    table.distrusted(code, symbol, bool(item.distrust))
                for shard in venue.feed_ts:
                    _touch(table, code, venue, shard)

    def apply(self, batch: TickBatch, appended_ns: int) -> None:
        """Take one batch; ``appended_ns`` is when the broker wrote it (wall clock)."""
        with self._lock:
            venue = self._venues.setdefault(batch.venue, _Venue())
            venue.feed_ts[batch.shard] = max(venue.feed_ts.get(batch.shard, 0), appended_ns)
            _apply_trades(venue, batch.block, self._table)
            _apply_quotes(venue, batch.block, batch.shard, self._table)
            _apply_statuses(venue, batch.block, self._table)
            _apply_gaps(venue, batch.block, self._table)
            _touch(self._table, batch.venue, venue, batch.shard)

    def apply_trust(self, batch: TickBatch) -> None:
        """Take what an ingester says of its instruments' data; of each, in the order in which it said it."""
        with self._lock:
            venue = self._venues.setdefault(batch.venue, _Venue())
            _apply_trust(venue, batch.block, self._table)
            _touch(self._table, batch.venue, venue, _NO_SHARD)

    def view(self, venue: str, symbol: str) -> MarketView | None:
        """What is known now; None if no quote of it has been seen."""
        with self._lock:
            state = self._venues.get(venue)
            item = state.instruments.get(symbol) if state else None
            if state is None or item is None or item.quote is None:
                return None
            untrusted = item.lost
            if not untrusted and item.quote[6] <= state.gap_seq:
                untrusted = state.gap_text
            untrusted = untrusted or item.distrust or state.line.distrust
            bid_price, bid_size, ask_price, ask_size, ts_event, ts_recv, seq = item.quote
            return MarketView(
                bid_price=bid_price,
                bid_size=bid_size,
                ask_price=ask_price,
                ask_size=ask_size,
                ts_event=ts_event,
                ts_recv=ts_recv,
                seq=seq,
                feed_ts=state.feed_ts.get(item.shard, 0),
                venue_ts_event=state.ts_event,
                untrusted=untrusted,
                halted=item.halt or state.closed,
            )

    def mids(self) -> dict[tuple[str, str], int]:
        """Current mids in nanos, trusted or not: for marking positions, not for trading."""
        found = {}
        with self._lock:
            for code, venue in self._venues.items():
                for symbol, item in venue.instruments.items():
                    if item.quote is None:
                        continue
                    bid, _, ask = item.quote[:3]
                    if bid != NO_PRICE and ask != NO_PRICE and bid <= ask:
                        found[(code, symbol)] = (bid + ask) // 2
        return found


def _touch(table: MarketTable, code: str, venue: _Venue, shard: int) -> None:
    table.touch(
        *(code, shard, venue.feed_ts.get(shard, 0), venue.ts_event, venue.gap_seq),
        closed=bool(venue.closed),
        distrusted=bool(venue.line.distrust),
    )


def _apply_trades(venue: _Venue, block: EventBlock, table: MarketTable) -> None:
    trades = block.trades
    if not len(trades):
        return
    venue.ts_event = max(venue.ts_event, int(trades["ts_event"].max()))
    for index in np.unique(trades["symbol"]):
        chosen = trades[(trades["symbol"] == index) & (trades["condition"] != Condition.BROKEN)]
        table.trades(block.venue, block.symbols.names[index], chosen["ts_event"], chosen["size"])


def _apply_quotes(venue: _Venue, block: EventBlock, shard: int, table: MarketTable) -> None:
    quotes = block.quotes
    if not len(quotes):
        return
    venue.ts_event = max(venue.ts_event, int(quotes["ts_event"].max()))
    for row in _last_of_each(quotes):
        item = venue.instrument(block.symbols.names[row["symbol"]])
        seq = int(row["seq"])
        if item.quote is None or seq > item.quote[6]:
            names = ("bid_price", "bid_size", "ask_price", "ask_size", "ts_event", "ts_recv", "seq")
            item.quote = tuple(int(row[name]) for name in names)
            item.shard = shard
            table.quote(block.venue, block.symbols.names[row["symbol"]], item.quote, shard)


def _last_of_each(records: Records) -> Records:
    """The last record of each symbol."""
    _, index = np.unique(records["symbol"][::-1], return_index=True)
    return picked(records, len(records) - 1 - index)


def _apply_statuses(venue: _Venue, block: EventBlock, table: MarketTable) -> None:
    for row in block.statuses:
        symbol, seq, code = (
            block.symbols.names[row["symbol"]],
            int(row["seq"]),
            StatusCode(int(row["status"])),
        )
        if symbol == "":
            if code in _VENUE_PHASES and seq > venue.phase_seq:
                venue.phase_seq = seq
                venue.closed = f"venue: {code.name.lower()}" if code in _CLOSED else ""
            continue
        item = venue.instrument(symbol)
        if (code in _HALTS or code is StatusCode.TRADING) and seq > item.halt_seq:
            item.halt_seq, item.halt = seq, code.name.lower() if code in _HALTS else ""
        elif code in (StatusCode.BOOK_LOST, StatusCode.BOOK_SYNCED) and seq >= item.lost_seq:
            item.lost_seq, item.lost = seq, "book lost" if code is StatusCode.BOOK_LOST else ""
        elif code in (StatusCode.SHORT_SALE_RESTRICTED, StatusCode.SHORT_SALE_FREE) and seq > item.short_seq:
            item.short_seq, item.short_restricted = seq, code is StatusCode.SHORT_SALE_RESTRICTED
            table.short_restricted(block.venue, symbol, item.short_restricted)
        table.mark(block.venue, symbol, bool(item.lost), bool(item.halt))


def _apply_gaps(venue: _Venue, block: EventBlock, table: MarketTable) -> None:
    for row in block.gaps:
        symbol, seq = block.symbols.names[row["symbol"]], int(row["seq"])
        text = f"gap ({GapReason(int(row['reason'])).name.lower()}) at seq {seq}"
        if symbol == "":
            if seq > venue.gap_seq:
                venue.gap_seq, venue.gap_text = seq, text
        else:
            item = venue.instrument(symbol)
            if seq > item.lost_seq:
                item.lost_seq, item.lost = seq, text
            table.mark(block.venue, symbol, bool(item.lost), bool(item.halt))


def _apply_trust(venue: _Venue, block: EventBlock, table: MarketTable) -> None:
    for row in block.trust:
        symbol, day = block.symbols.names[row["symbol"]], int(row["seq"]) // SEQ_PER_DAY
        item = venue.instrument(symbol) if symbol else venue.line
        if day < item.distrust_day:
            continue
        state, reason = TrustState(int(row["state"])), TrustReason(int(row["reason"]))
        whose = "" if symbol else "venue: "
        missing = f", {row['first_missing']} to {row['last_missing']} missing" if row["last_missing"] else ""
        text = f"{whose}{state.name.lower()} ({reason.name.lower()}{missing})"
        item.distrust_day, item.distrust = day, "" if state is TrustState.TRUSTED else text
        table.distrusted(block.venue, symbol, bool(item.distrust))
