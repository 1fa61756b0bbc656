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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.capture import CaptureBatch, RecordKind
from ingest.websocket import streamed as pas
from ingest.websocket.base import BOOK_ID, SYNCED, VenueDecoder
from ingest.websocket.book import LevelBooks, fill_top, is_crossed
from ingest.websocket.checksum import Checksum, top_checksum
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
from ingest.websocket.output import CLOCK, FIRST_CLOCK
from ingest.websocket.streamed import FeedState, Stop
from ingest.websocket.template import Program
from ingest.websocket.template_scan import Scanner
from tickloom.events import EventBlock, GapReason
from tickloom.instruments import Registry

_KIND_COUNTERS: dict[int, str] = {
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


class StreamDecoder(VenueDecoder[FeedState]):
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
    """

    pass_counters = pas.COUNTER_NAMES

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
        names = [item.venue_symbol for item in instruments]
        aliases = wire.aliases(names) if wire.aliases else {}
        super().__init__(venue, session, instruments, FeedState(len(instruments)), lateness_ns, aliases)
        self._wire = wire
        self._books_kept = books
        self._scanner = Scanner(wire.program, wire.reader(names), names, aliases)

    @property
    def unsynced(self) -> list[str]:
        """Venue's names of the instruments whose book is not trusted, of those that are followed now."""
        synced, followed = self._state.instruments[:, SYNCED], self._links.followed
        return [name for which, name in enumerate(self._names) if which in followed and not synced[which]]

    def decode(self, batch: CaptureBatch) -> EventBlock:
        """Events of the next records, each kind in seq order."""
        if len(batch) == 0:
            return EventBlock(self.venue, self.session, self.symbols)
        on_wire = batch.kinds == RecordKind.DATA
        scanned, slow = self._scanner.scan(batch.data, batch.offsets, on_wire)
        kinds = np.bincount(scanned.rows[on_wire, KIND], minlength=len(Kind)).tolist()
        self._count_kinds(kinds, _KIND_COUNTERS, _READ)
        left_out = int(scanned.rows[:, LEFT_OUT].sum())
        if left_out:
            self.counters["levels_left_out"] += left_out
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
            final_id = int(row[FINAL_ID])
            self._break_chain(which, int(row[PREVIOUS_ID]), final_id, final_id)
        elif why == Stop.ROOM:
            books.grow(int(books.counts[which].max() + row[ENTRY_HIGH] - row[ENTRY_LOW]))
        else:
            self._contradicted(which, batch.first_number + int(at), int(row[FINAL_ID]), Stop(why))
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
        mine[BOOK_ID], mine[pas.DEPTH_KEPT] = row[FINAL_ID], depth
        mine[pas.PRICE_PLACES], mine[pas.SIZE_PLACES] = row[PRICE_DECIMALS], row[SIZE_DECIMALS]
        wrong = self._wrong_snapshot(which, scanned, at)
        if wrong is not None:
            self._contradicted(which, number, int(row[FINAL_ID]), wrong)
        elif not mine[SYNCED]:
            self._find_book(which)

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

    def _contradicted(self, which: int, number: int, final_id: int, why: Stop) -> None:
        """A book that is crossed or has another checksum; without the venue's numbers, the record's own."""
        named = final_id if final_id >= 0 else number
        if why is Stop.CROSSED:
            self._wrong_book(which, named, "crossed", "the book is crossed")
        else:
            self._wrong_book(which, named, "checksums_different", "the venue's checksum is another")

    def _disconnected(self, instruments: list[int]) -> None:
        super()._disconnected(instruments)
        self._state.instruments[instruments, pas.DEPTH_ACCEPTED] = 0
