"""A capture of Binance's streams in, events out; no other input, so a replay gives the same events.

Event time. Trades and all futures messages carry the venue's transaction time T, spot depth updates the
event time E: that is their ``ts_event``. A spot ``bookTicker`` carries no time at all; it gets the latest
``ts_event`` seen on any stream of the feed before it. Taking our receive time instead would mix two clocks
in one order (in the recorded data ours is 1.2 s behind the venue's), and rules that compare quotes with
trades would see quotes from another second. Tickers before the first message with a time wait for it
(with whatever else came), at most ``UNTIMED_MAX``; beyond, they take the receive time after all, which does
not move the watermark. The watermark is the latest venue time less the lateness; at the end, that time.

Sequence. Update ids of depth and ids of trades are chains: a hole is a gap event. A hole in depth loses the
book (BOOK_LOST) until a snapshot and the updates behind it fit together (BOOK_SYNCED); so do the loss of the
connection, an update that cannot be read, and a crossed book. At BOOK_SYNCED the difference between the book
as it was last put out and the new one goes out as deltas, under the seq of the record that made it whole.
"""

from __future__ import annotations

import numpy as np

from ingest.capture import CaptureBatch, RecordKind
from ingest.websocket.base import BOOK_ID, SYNCED, VenueDecoder
from ingest.websocket.binance import advance as adv
from ingest.websocket.binance.advance import FeedState, Stop
from ingest.websocket.binance.messages import Kind, Line, levels, market_of, read_snapshot
from ingest.websocket.binance.scan import (
    FINAL_ID,
    FIRST_ID,
    INSTRUMENT,
    KIND,
    LEVEL_HIGH,
    LEVEL_LOW,
    PREVIOUS_ID,
    Scanned,
    Scanner,
)
from ingest.websocket.binance.sync import BookSync, Levels, Outcome, PendingDepth, Snapshot
from ingest.websocket.book import LevelBooks
from ingest.websocket.output import CLOCK
from tickloom.errors import PriceRangeError
from tickloom.events import EventBlock, GapReason, Side
from tickloom.instruments import Registry

_KIND_COUNTERS: dict[int, str] = {
    Kind.DEPTH: "depth",
    Kind.TICKER: "tickers",
    Kind.TRADE: "trades",
    Kind.IGNORED: "ignored",
    Kind.UNKNOWN: "unknown_type",
    Kind.MALFORMED: "malformed",
    Kind.REFUSED: "refused_price",
}
_READ = (Kind.DEPTH, Kind.TICKER, Kind.TRADE)


def warm_up(venue: str, registry: Registry | None = None) -> None:
    """Compile, or load from the cache, all that a decoder runs, before a socket has to wait for it."""
    decoder = BinanceDecoder(venue, "20000101", registry=registry)
    name = decoder.symbols.names[1] if len(decoder.symbols) > 1 else ""
    found = (registry or Registry.load()).instrument(venue, name)
    if found is None:
        return
    symbol = found.venue_symbol
    stream = f'{{"stream":"{symbol.lower()}@depth","data":{{"s":"{symbol}","E":1,"T":1,"pu":1,'
    update = stream + '"U":%d,"u":%d,"b":[["1","1"],["2","1"]],"a":[["3","1"]]}}'
    book = f'{{"symbol":"{symbol}","data":{{"lastUpdateId":1,"bids":[["1","2"]],"asks":[]}}}}'
    records = [
        (RecordKind.CONTROL, 1, b'{"event":"open"}'),
        (RecordKind.SNAPSHOT, 1, book.encode()),
        (RecordKind.DATA, 1, (update % (2, 2)).encode()),
        (RecordKind.DATA, 1, (update % (3, 3)).encode()),
    ]
    decoder.decode(CaptureBatch.of(records))


class BinanceDecoder(VenueDecoder[FeedState]):
    """Decoder (see :class:`ingest.decoder.Decoder`) of one venue and session.

    Parameters
    ----------
    venue, session : str
        As they stand in every event; ``session`` begins with the day that makes the first part of ``seq``.
    registry : Registry, optional
        Names the instruments of the venue; messages about others are counted ``unknown_type``. A venue of
        perpetuals is read as USD-M futures, any other as spot.
    lateness_ns : int
        How far behind the latest venue time an event may come.

    Attributes
    ----------
    snapshots_wanted : list of str
        Venue's names of the instruments whose depth flows and waits for a REST snapshot.
    """

    pass_counters = adv.COUNTER_NAMES

    def __init__(
        self, venue: str, session: str, *, registry: Registry | None = None, lateness_ns: int = 0
    ) -> None:
        instruments = (registry or Registry.load()).of_venue(venue)
        super().__init__(venue, session, instruments, FeedState(len(instruments)), lateness_ns, {})
        self._market = market_of(instruments)
        self._scanner = Scanner(self._market, self._names)
        self._sync = [BookSync(self._market) for _ in instruments]

    def decode(self, batch: CaptureBatch) -> EventBlock:
        """Events of the next records, each kind in seq order."""
        if len(batch) == 0:
            return EventBlock(self.venue, self.session, self.symbols)
        on_wire = batch.kinds == RecordKind.DATA
        scanned, slow = self._scanner.scan(batch.data, batch.offsets, on_wire)
        kinds = np.bincount(scanned.rows[on_wire, KIND], minlength=len(Kind)).tolist()
        self._count_kinds(kinds, _KIND_COUNTERS, _READ)
        first_seq = self._seq_base + batch.first_number
        self._output.begin(kinds[Kind.TRADE], kinds[Kind.TICKER], scanned.levels, first_seq)
        record = 0
        while record < len(batch):
            record = self._advance(record, batch, scanned, slow, first_seq)
        self._collect_counts()
        self.last_seq = first_seq + len(batch) - 1
        block, held_from = self._output.finish(self._state.feed, self.ended)
        if held_from:
            self.last_seq = held_from - 1
        self._move_watermark()
        return block

    def last_update_id(self, venue_symbol: str) -> int:
        """Final id of the last depth update of an unbroken chain; -1 where there is none."""
        return int(self._state.instruments[self._index[venue_symbol], BOOK_ID])

    @property
    def snapshots_wanted(self) -> list[str]:
        return [
            name
            for position, name in enumerate(self._names)
            if position in self._links.followed
            and not self._state.instruments[position, SYNCED]
            and self._sync[position].wants_snapshot
        ]

    def _advance(
        self, record: int, batch: CaptureBatch, scanned: Scanned, slow: dict[int, Line], first_seq: int
    ) -> int:
        """Let the compiled pass run up to the next rare thing, see to that; the record to go on with."""
        state, books, output = self._state, self._state.books, self._output
        at, why, after = adv.advance(
            record, scanned.rows, scanned.level_price, scanned.level_size, scanned.level_side,
            batch.ts_recv, first_seq, self._symbol, self._market == "usdm",
            state.instruments, state.feed, state.tickers, state.tops,
            books.keys, books.sizes, books.counts, state.counts,
            output.trades, output.quotes, output.deltas, output.filled,
        )  # fmt: skip
        if why == Stop.DONE:
            return int(after)
        output.at(int(batch.ts_recv[at]), first_seq + at, int(state.feed[CLOCK]))
        row = scanned.rows[at]
        which = int(row[INSTRUMENT])
        if why == Stop.RARE:
            self._rare(at, batch, Kind(int(row[KIND])), slow.get(at))
        elif why == Stop.TRADE_GAP:
            last = int(state.instruments[which, adv.TRADE_ID])
            self._gap(which, last + 1, int(row[FINAL_ID]) - 1, GapReason.SEQUENCE)
            state.instruments[which, adv.TRADE_ID] = int(row[FINAL_ID]) - 1
        elif why == Stop.DEPTH_GAP:
            self._depth_gap(which, row)
        elif why == Stop.UNSYNCED:
            self._wait(which, row, scanned)
        elif why == Stop.CROSSED:
            self._crossed(which, int(row[FINAL_ID]))
        else:
            books.grow(int(books.counts[which].max() + row[LEVEL_HIGH] - row[LEVEL_LOW]))
        return int(after)

    def _rare(self, at: int, batch: CaptureBatch, kind: Kind, line: Line | None) -> None:
        if line is not None:
            if line.reason:
                self.oddities.append(line.reason)
            if kind in (Kind.MALFORMED, Kind.REFUSED):
                number = batch.first_number + at
                self._gap(line.instrument, number, number, GapReason.MALFORMED)
                if line.about is Kind.DEPTH:
                    self._lose_book(line.instrument)
        elif batch.kinds[at] == RecordKind.CONTROL:
            self._control(batch.payload(at))
        elif batch.kinds[at] == RecordKind.SNAPSHOT:
            self._snapshot(batch.payload(at))

    # the chain of depth updates

    def _depth_gap(self, which: int, row: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        first_id, final_id = int(row[FIRST_ID]), int(row[FINAL_ID])
        last_missing = int(row[PREVIOUS_ID]) if self._market == "usdm" else first_id - 1
        self._break_chain(which, last_missing, first_id, final_id)

    def _wait(self, which: int, row: np.ndarray[tuple[int], np.dtype[np.int64]], scanned: Scanned) -> None:
        low, high = int(row[LEVEL_LOW]), int(row[LEVEL_HIGH])
        update = Levels(
            scanned.level_side[low:high].copy(),
            scanned.level_price[low:high].copy(),
            scanned.level_size[low:high].copy(),
        )
        self._state.instruments[which, BOOK_ID] = row[FINAL_ID]
        depth = PendingDepth(int(row[FIRST_ID]), int(row[FINAL_ID]), int(row[PREVIOUS_ID]), update)
        self.counters["pending_dropped"] += self._sync[which].add(depth)
        self._try_bridge(which)

    def _snapshot(self, payload: bytes) -> None:
        try:
            answer = read_snapshot(payload)
            bids, asks = levels(answer.data.bids), levels(answer.data.asks)
        except (PriceRangeError, ValueError) as error:
            refused = isinstance(error, PriceRangeError)
            self.counters["refused_price" if refused else "malformed"] += 1
            self.oddities.append(f"order book of a REST answer: {error}")
            return
        which = self._index.get(answer.symbol, -1)
        if which < 0:
            self.counters["unknown_type"] += 1
            return
        self.counters["snapshots"] += 1
        if self._state.instruments[which, SYNCED]:
            self.counters["snapshots_unneeded"] += 1
            return
        pairs = np.array([*bids, *asks], dtype=np.int64).reshape(-1, 2)
        sides = np.repeat(np.array([Side.BUY, Side.SELL], dtype=np.int8), [len(bids), len(asks)])
        found = Levels(sides, np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]))
        self._sync[which].snapshot = Snapshot(answer.data.last_id, found)
        self._try_bridge(which)

    def _try_bridge(self, which: int) -> None:
        sync = self._sync[which]
        before = len(sync.pending)
        had_snapshot = sync.snapshot is not None
        outcome = sync.bridge()
        if had_snapshot:
            self.counters["depth_before_snapshot"] += before - len(sync.pending)
        if outcome is Outcome.STALE:
            self.counters["snapshots_stale"] += 1
        if outcome is Outcome.BRIDGED:
            self._rebuild(which)

    def _rebuild(self, which: int) -> None:
        """Put the waiting updates on the snapshot, and out goes what is new in the book."""
        sync, state = self._sync[which], self._state
        assert sync.snapshot is not None
        old = LevelBooks(1, state.books.room)
        old.copy_from(0, state.books, which)
        state.books.clear(which)
        state.instruments[which, adv.TOPS] = 0
        final_id = sync.snapshot.last_id
        dropped = self._apply(which, sync.snapshot.levels)
        crossed = False
        for depth in sync.pending:
            dropped += self._apply(which, depth.levels)
            final_id = depth.final_id
            crossed = state.compare(which, final_id)
        self.counters["depth_bridged"] += len(sync.pending)
        self.counters["levels_dropped"] += dropped
        sync.reset()
        sides, prices, sizes = state.books.difference(which, old, 0)
        self._output.put_deltas(int(self._symbol[which]), sides, prices, sizes, final_id)
        if crossed:
            self._crossed(which, final_id)
            return
        self._find_book(which)

    def _apply(self, which: int, update: Levels) -> int:
        return self._state.books.apply(which, update.sides, update.prices, update.sizes)

    def _crossed(self, which: int, final_id: int) -> None:
        self._wrong_book(which, final_id, "crossed", "the book is crossed")

    def _lose_book(self, which: int) -> None:
        super()._lose_book(which)
        self._sync[which].reset()
