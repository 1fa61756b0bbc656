"""A capture of a venue that streams its own snapshots in, events out: Kraken, OKX, Coinbase, Bybit.

No other input, so a replay gives the same events. What is different from venue to venue is data: templates
and a typed reader of its messages, whose rule its checksums follow, and whether its trade ids are a chain.

Event time. A message's ``ts_event`` is the venue's time in it, of a trade the trade's own. What carries
none (a Coinbase snapshot, a Kraken ticker) gets the latest time seen on any channel before; what comes
before the first waits for it (:mod:`.output`). The watermark is the latest venue time less the lateness; at
the end, that time.

Books. A snapshot of the stream makes a book (BOOK_SYNCED); what is new in it goes out as deltas. A hole in
the numbers, a checksum that differs, a crossed book, an update that cannot be read and the loss of the
connection lose it (BOOK_LOST, and a gap event); updates then count ``updates_unsynced`` until the next
snapshot, which the session has to ask for: :attr:`StreamDecoder.unsynced` says of which instruments. The
others go on.

Depth. A venue that keeps its subscribers informed of the best levels only says no more of a level that falls
behind them, so it goes. How many they are stands in each message, or in the answer to the subscription, which
is captured, too; where neither is there (a capture that begins later), it is the smallest number on offer
that the snapshot fits in.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.capture import CaptureBatch, RecordKind
from ingest.feeds import session_date
from ingest.websocket import streamed as pas
from ingest.websocket.book import LevelBooks, fill_top, is_crossed
from ingest.websocket.checksum import Checksum, top_checksum
from ingest.websocket.links import Links
from ingest.websocket.message import (
    CHECKSUM,
    DEPTH,
    ENTRY_HIGH,
    ENTRY_LOW,
    FINAL_ID,
    HAS_CHECKSUM,
    INSTRUMENT,
    KIND,
    LEFT_OUT,
    PREVIOUS_ID,
    PRICE_DECIMALS,
    SIZE_DECIMALS,
    TS_EVENT,
    Kind,
    Message,
    Reader,
    Scanned,
)
from ingest.websocket.numbers import SEQS_PER_RECORD
from ingest.websocket.output import CLOCK, FIRST_CLOCK, Output
from ingest.websocket.streamed import FeedState, Stop
from ingest.websocket.template import Program
from ingest.websocket.template_scan import Scanner
from tickloom.clock import NS_PER_DAY
from tickloom.errors import SequenceGap
from tickloom.events import EventBlock, GapReason, Side, StatusCode, SymbolTable, seq_base
from tickloom.instruments import Registry

ODDITIES_MAX = 8  # a log line names so many; older ones go
_KIND_COUNTERS = {
    Kind.SNAPSHOT: "snapshots",
    Kind.UPDATE: "updates",
    Kind.TICKER: "tickers",
    Kind.TRADES: "trade_messages",
    Kind.IGNORED: "ignored",
    Kind.UNKNOWN: "unknown_type",
    Kind.MALFORMED: "malformed",
    Kind.REFUSED: "refused_price",
    Kind.DECLINED: "declined",
    Kind.ACCEPTED: "accepted",
}
_READ = (Kind.SNAPSHOT, Kind.UPDATE, Kind.TICKER, Kind.TRADES)
_BOOK = (Kind.SNAPSHOT, Kind.UPDATE)


@dataclass(frozen=True, slots=True)
class Wire:
    """How a venue speaks.

    Attributes
    ----------
    program : Program
        Its usual messages.
    reader : callable
        Makes the typed reader for the venue's names of the instruments.
    checksum : Checksum
        Whose rule its books' checksums follow.
    chained_trades : bool
        Its trade ids, of each instrument, have no holes.
    aliases : callable, optional
        Makes, of its names of the instruments, the others that it has for them and the position of each.
    depths : tuple of int
        Levels of a side that a book can be subscribed to, rising; empty: all of them.
    """

    program: Program
    reader: Callable[[Sequence[str]], Reader]
    checksum: Checksum = Checksum.NONE
    chained_trades: bool = False
    aliases: Callable[[Sequence[str]], Mapping[str, int]] | None = None
    depths: tuple[int, ...] = ()


class StreamDecoder:
    """Decoder (see :class:`ingest.decoder.Decoder`) of one venue and session.

    Parameters
    ----------
    venue, session : str
        As they stand in every event; ``session`` begins with the day that makes the first part of ``seq``.
    wire : Wire
        How the venue speaks.
    registry : Registry, optional
        Names the instruments of the venue; messages about others are counted ``unknown_type``.
    lateness_ns : int
        How far behind the latest venue time an event may come.
    books : bool
        False: no books are kept, updates go out as they come (for who wants the speed, and for figures).

    Attributes
    ----------
    oddities : deque of str
        What the latest odd inputs were, for a log that takes them out; the counters say how often.
    """

    tells_books = True

    def __init__(
        self,
        venue: str,
        session: str,
        wire: Wire,
        *,
        registry: Registry | None = None,
        lateness_ns: int = 0,
        books: bool = True,
    ) -> None:
        instruments = (registry or Registry.load()).of_venue(venue)
        self.venue, self.session = venue, session
        self.counters: Counter[str] = Counter()
        self.watermark_ns = 0
        self.last_seq = 0
        self.ended = False
        self.oddities: deque[str] = deque(maxlen=ODDITIES_MAX)
        self._wire = wire
        self._lateness_ns = lateness_ns
        self._books_kept = books
        self._seq_base = seq_base(session_date(session))
        self._names = [item.venue_symbol for item in instruments]
        aliases = wire.aliases(self._names) if wire.aliases else {}
        self._index = {name: position for position, name in enumerate(self._names)} | dict(aliases)
        self.symbols = SymbolTable([item.symbol for item in instruments])
        self._symbol = np.array([self.symbols.index(item.symbol) for item in instruments], dtype=np.int32)
        self._scanner = Scanner(wire.program, wire.reader(self._names), self._names, aliases)
        self._state = FeedState(len(instruments))
        self._output = Output(venue, session, self.symbols)
        self._links = Links(self._names, aliases)

    @property
    def end_ns(self) -> int:
        """UTC midnight behind the last event: the market never closes, and a session may be of many days."""
        return (self.watermark_ns // NS_PER_DAY + 1) * NS_PER_DAY

    @property
    def unsynced(self) -> list[str]:
        """Venue's names of the instruments whose book is not trusted, of those that are followed now."""
        synced, followed = self._state.instruments[:, pas.SYNCED], self._links.followed
        return [name for which, name in enumerate(self._names) if which in followed and not synced[which]]

    def decode(self, batch: CaptureBatch) -> EventBlock:
        """Events of the next records, each kind in seq order."""
        if len(batch) == 0:
            return EventBlock(self.venue, self.session, self.symbols)
        on_wire = batch.kinds == RecordKind.DATA
        scanned, slow = self._scanner.scan(batch.data, batch.offsets, on_wire)
        kinds = np.bincount(scanned.rows[on_wire, KIND], minlength=len(Kind)).tolist()
        for kind, name in _KIND_COUNTERS.items():
            if kinds[kind]:
                self.counters[name] += kinds[kind]
        left_out = int(scanned.rows[:, LEFT_OUT].sum())
        if left_out:
            self.counters["levels_left_out"] += left_out
        self.counters["decoded"] += sum(kinds[kind] for kind in _READ)
        base = self._seq_base + batch.first_number * SEQS_PER_RECORD
        entries = scanned.rows[:, ENTRY_HIGH] - scanned.rows[:, ENTRY_LOW]
        traded = int(entries[scanned.rows[:, KIND] == Kind.TRADES].sum())
        changed = int(entries[scanned.rows[:, KIND] == Kind.UPDATE].sum())
        # a level makes one delta, and may push another one out of the subscribed depth
        kept = self._state.instruments[:, pas.DEPTH_KEPT]
        cut = self._wire.depths or scanned.rows[:, DEPTH].any() or kept.any()
        self._output.begin(traded, kinds[Kind.TICKER], changed * (2 if cut else 1), self._seq(base, 0))
        record = 0
        while record < len(batch):
            record = self._advance(record, batch, scanned, slow, base)
        self._collect_counts()
        self.last_seq = self._seq(base, len(batch)) - 1
        block, held_from = self._output.finish(self._state.feed, self.ended)
        if held_from:
            self.last_seq = held_from - 1
        self.counters["trades"] += len(block.trades)
        self._move_watermark()
        return block

    def best(self, venue_symbol: str) -> tuple[int, int, int, int]:
        """Best bid price, bid size, ask price, ask size of an instrument's book; nanos."""
        return self._state.books.best(self._index[venue_symbol])

    def book_levels(self, venue_symbol: str, side: Side) -> list[tuple[int, int]]:
        """Price and size of each level of a side, best first; nanos."""
        return self._state.books.levels(self._index[venue_symbol], side)

    def is_synced(self, venue_symbol: str) -> bool:
        """Whether the book of an instrument is trusted."""
        return bool(self._state.instruments[self._index[venue_symbol], pas.SYNCED])

    def _seq(self, base: int, record: int) -> int:
        return base + (record + int(self._state.feed[pas.SHIFT])) * SEQS_PER_RECORD

    def _advance(
        self, record: int, batch: CaptureBatch, scanned: Scanned, slow: dict[int, Message], base: int
    ) -> int:
        """Let the compiled pass run up to the next rare thing, see to that; the record to go on with."""
        state, books, output = self._state, self._state.books, self._output
        at, why, after = pas.advance(
            record, scanned.rows, scanned.price, scanned.size, scanned.side, scanned.ts, scanned.trade_id,
            batch.ts_recv, base, self._symbol, self._wire.chained_trades, int(self._wire.checksum),
            self._books_kept, state.kept, state.instruments, state.feed,
            books.keys, books.sizes, books.counts, state.counts,
            output.trades, output.quotes, output.deltas, output.filled,
        )  # fmt: skip
        if why == Stop.DONE:
            return int(after)
        row = scanned.rows[at]
        which = int(row[INSTRUMENT])
        output.at(int(batch.ts_recv[at]), self._seq(base, int(at)), int(state.feed[CLOCK]))
        if why == Stop.RARE:
            self._rare(int(at), batch, scanned, slow.get(int(at)))
        elif why == Stop.TRADE_GAP:
            first, last = int(scanned.trade_id[row[ENTRY_LOW]]), int(state.instruments[which, pas.TRADE_ID])
            self._gap(which, last + 1, first - 1, GapReason.SEQUENCE)
            state.instruments[which, pas.TRADE_ID] = first - 1
        elif why == Stop.BOOK_GAP:
            self._book_gap(which, int(row[FINAL_ID]), int(row[PREVIOUS_ID]))
        elif why == Stop.ROOM:
            books.grow(int(books.counts[which].max() + row[ENTRY_HIGH] - row[ENTRY_LOW]))
        else:
            self._wrong_book(which, batch.first_number + int(at), int(row[FINAL_ID]), Stop(why))
        return int(after)

    def _rare(self, at: int, batch: CaptureBatch, scanned: Scanned, message: Message | None) -> None:
        number = batch.first_number + at
        if message is not None and message.reason:
            self.oddities.append(message.reason)
        if batch.kinds[at] == RecordKind.CONTROL:
            self._control(batch.payload(at))
        elif scanned.rows[at, KIND] == Kind.SNAPSHOT:
            self._snapshot(number, at, scanned)
        elif scanned.rows[at, KIND] == Kind.ACCEPTED:
            row = scanned.rows[at]
            self._state.instruments[row[INSTRUMENT], pas.DEPTH_ACCEPTED] = row[DEPTH]
        elif message is not None and message.kind in (Kind.MALFORMED, Kind.REFUSED):
            self._gap(message.instrument, number, number, GapReason.MALFORMED)
            if message.instrument >= 0 and message.about in _BOOK:
                self._lose_book(message.instrument)

    # the books

    def _snapshot(self, number: int, at: int, scanned: Scanned) -> None:
        """Put the book of a snapshot in place of the old one, and out goes what is new in it."""
        row = scanned.rows[at]
        which, state = int(row[INSTRUMENT]), self._state
        if row[TS_EVENT] > state.feed[CLOCK]:
            if state.feed[CLOCK] == 0:
                state.feed[FIRST_CLOCK] = row[TS_EVENT]
            state.feed[CLOCK] = row[TS_EVENT]
            self._output.clock(int(state.feed[CLOCK]))
        if not self._books_kept:
            return
        low, high = int(row[ENTRY_LOW]), int(row[ENTRY_HIGH])
        old = LevelBooks(1, int(state.books.counts[which].max()) or 1)
        old.copy_from(0, state.books, which)
        state.books.clear(which)
        # the venues send the best level first: from the other end, each goes behind those before it
        sides, prices = scanned.side[low:high][::-1].copy(), scanned.price[low:high][::-1].copy()
        sizes = scanned.size[low:high][::-1].copy()
        self.counters["levels_dropped"] += state.books.apply(which, sides, prices, sizes)
        depth = self._depth(which, int(row[DEPTH]))
        if depth:
            state.books.cut(which, depth)
        venue_id = max(int(row[FINAL_ID]), 0)
        sides, prices, sizes = state.books.difference(which, old, 0)
        self._output.put_deltas(int(self._symbol[which]), sides, prices, sizes, venue_id)
        mine = state.instruments[which]
        mine[pas.BOOK_ID], mine[pas.DEPTH_KEPT] = row[FINAL_ID], depth
        mine[pas.PRICE_PLACES], mine[pas.SIZE_PLACES] = row[PRICE_DECIMALS], row[SIZE_DECIMALS]
        wrong = self._wrong_snapshot(which, scanned, at)
        if wrong is not None:
            self._wrong_book(which, number, int(row[FINAL_ID]), wrong)
        elif not mine[pas.SYNCED]:
            mine[pas.SYNCED] = 1
            self.counters["books_synced"] += 1
            self._output.put_status(int(self._symbol[which]), StatusCode.BOOK_SYNCED)

    def _depth(self, which: int, said: int) -> int:
        """Levels of a side that the venue tells of from a snapshot on; 0: all. ``said``: in the snapshot."""
        known = said or int(self._state.instruments[which, pas.DEPTH_ACCEPTED])
        found = int(self._state.books.counts[which].max())
        return known or next((depth for depth in self._wire.depths if depth >= found), 0)

    def _wrong_snapshot(self, which: int, scanned: Scanned, at: int) -> Stop | None:
        row, state, books = scanned.rows[at], self._state, self._state.books
        mine = state.instruments[which]
        if self._wire.checksum and row[HAS_CHECKSUM]:
            found = top_checksum(
                int(self._wire.checksum), books.keys[which], books.sizes[which], books.counts[which],
                mine[pas.PRICE_PLACES], mine[pas.SIZE_PLACES], state.kept,
            )  # fmt: skip
            if found != row[CHECKSUM]:
                return Stop.CHECKSUM
            self.counters["checksums_equal"] += 1
        top = np.empty(4, dtype=np.int64)
        fill_top(books.keys[which], books.sizes[which], books.counts[which], top)
        return Stop.CROSSED if is_crossed(top) else None

    def _book_gap(self, which: int, final_id: int, previous_id: int) -> None:
        expected = int(self._state.instruments[which, pas.BOOK_ID]) + 1
        if previous_id >= expected:
            self._gap(which, expected, previous_id, GapReason.SEQUENCE)
            self.oddities.append(
                f"{self._names[which]}: {SequenceGap(self.venue, expected, previous_id + 1)}"
            )
        else:  # the numbers go back: nothing is missing, and nothing fits
            self._gap(which, final_id, final_id, GapReason.BOOK)
            self.oddities.append(f"{self._names[which]}: update {final_id} does not follow {expected - 1}")
        self._lose_book(which)

    def _wrong_book(self, which: int, number: int, final_id: int, why: Stop) -> None:
        """A book that cannot be right; where the venue has no numbers, the gap names the record."""
        name = "crossed" if why is Stop.CROSSED else "checksums_different"
        self.counters[name] += 1
        says = "the book is crossed" if why is Stop.CROSSED else "the venue's checksum is another"
        named = final_id if final_id >= 0 else number
        self.oddities.append(f"{self._names[which]}: {says} after message {named}; it is not trusted")
        self._gap(which, named, named, GapReason.BOOK)
        self._lose_book(which)

    def _lose_book(self, which: int) -> None:
        state = self._state.instruments[which]
        if state[pas.SYNCED]:
            self.counters["books_lost"] += 1
            self._output.put_status(int(self._symbol[which]), StatusCode.BOOK_LOST)
        state[pas.SYNCED], state[pas.BOOK_ID] = 0, -1

    # the connection

    def _control(self, payload: bytes) -> None:
        turn = self._links.take(payload)
        if turn.odd:
            self.counters[turn.odd] += 1
        for instruments in turn.lost:
            self._disconnected(instruments)
        self.counters["connections"] += turn.opened
        if turn.ended and not self.ended:
            self._output.put_status(0, StatusCode.SESSION_END)
            self.ended = True

    def _disconnected(self, instruments: list[int]) -> None:
        """How much is missing is not known (0, 0); every book of the connection is lost."""
        self.counters["disconnects"] += 1
        for which in instruments if len(instruments) < len(self._names) else [-1]:
            self._gap(which, 0, 0, GapReason.DISCONNECT)
        for which in instruments:
            self._lose_book(which)
        self._state.instruments[instruments, pas.DEPTH_ACCEPTED] = 0

    def _gap(self, which: int, first: int, last: int, reason: GapReason) -> None:
        self.counters["gaps"] += 1
        if reason is GapReason.SEQUENCE:
            self.counters["gap_messages"] += last - first + 1
        self._output.put_gap(int(self._symbol[which]) if which >= 0 else 0, first, last, reason)

    def _collect_counts(self) -> None:
        counts = self._state.counts.tolist()
        if any(counts):
            for name, count in zip(pas.COUNTER_NAMES, counts, strict=True):
                self.counters[name] += count
            self._state.counts[:] = 0

    def _move_watermark(self) -> None:
        clock = int(self._state.feed[CLOCK])
        if clock:
            self.watermark_ns = max(self.watermark_ns, clock - (0 if self.ended else self._lateness_ns))
