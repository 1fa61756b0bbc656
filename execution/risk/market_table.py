"""Last quotes, trust, halts and recent volume as one row of numbers an instrument: what the gate reads.

The feed's thread writes through :class:`execution.market.MarketState`, the agent's thread reads. A row's
numbers always belong together: each change is one compiled call, or one assignment of NumPy, and neither
lets another Python thread run in its middle.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from execution.risk.layout import (
    M_BID,
    M_DISTRUSTED,
    M_FEED_TS,
    M_HALT,
    M_HALTED,
    M_LOST,
    M_NATIONAL_BID,
    M_SEQ,
    M_SHARD,
    M_SHORT_RESTRICTED,
    M_UNTRUSTED,
    M_VENUE,
    M_VENUE_TS_EVENT,
    MARKET_COLUMNS,
    V_SIZE,
    V_START,
    VOLUME_BUCKET_NS,
    VOLUME_BUCKETS,
    VOLUME_COLUMNS,
)
from tickloom.prices import NO_PRICE

Key = tuple[str, str]
_QUOTE_COLUMNS = M_SEQ + 1  # a quote's fields are the first columns, in MarketState's order


class MarketTable:
    """One row an instrument, in the order of ``keys``, and a last one for all that are not among them.

    Attributes
    ----------
    rows : int64 (instruments + 1, MARKET_COLUMNS)
    volumes : int64 (instruments + 1, VOLUME_BUCKETS, VOLUME_COLUMNS)
    total_volume : int64 (instruments + 1,)
        Since the table was made, nanos.
    version : int
        Changes with every quote.
    """

    def __init__(self, keys: list[Key]) -> None:
        self.index: dict[Key, int] = {key: place for place, key in enumerate(keys)}
        self.rows = np.zeros((len(keys) + 1, MARKET_COLUMNS), np.int64)
        self.volumes = np.zeros((len(keys) + 1, VOLUME_BUCKETS, VOLUME_COLUMNS), np.int64)
        self.total_volume = np.zeros(len(keys) + 1, np.int64)
        self.version = 0
        self._venues: dict[str, int] = {}
        self.rows[:, M_VENUE] = self.rows[:, M_SHARD] = -1
        for venue, symbol in keys:
            number = self._venues.setdefault(venue, len(self._venues))
            self.rows[self.index[(venue, symbol)], M_VENUE] = number
        self._same: dict[str, NDArray[np.int64]] = {}
        for symbol in {symbol for _, symbol in keys}:
            places = [self.index[key] for key in keys if key[1] == symbol]
            if len(places) > 1:
                self._same[symbol] = np.array(places)

    def quote(self, venue: str, symbol: str, quote: tuple[int, ...], shard: int) -> None:
        """Take the last quote: bid_price, bid_size, ask_price, ask_size, ts_event, ts_recv, seq."""
        place = self.index.get((venue, symbol))
        if place is None:
            return
        self.rows[place, :_QUOTE_COLUMNS] = quote
        self.rows[place, M_SHARD] = shard
        same = self._same.get(symbol)
        if same is None:
            self.rows[place, M_NATIONAL_BID] = quote[0]
        else:
            bids = self.rows[same, M_BID]
            self.rows[same, M_NATIONAL_BID] = bids[self.rows[same, M_SEQ] > 0].max(initial=NO_PRICE)
        self.version += 1

    def trades(self, venue: str, symbol: str, ts_event: NDArray[np.int64], size: NDArray[np.int64]) -> None:
        """Count trades of one instrument; both int64 (n,), ns and nanos."""
        place = self.index.get((venue, symbol))
        if place is not None:
            self.total_volume[place] += int(size.sum())
            _add_volume(self.volumes[place], np.ascontiguousarray(ts_event), np.ascontiguousarray(size))

    def recent_volume(self, place: int, window_ns: int) -> int:
        """What traded in the window that ends with the venue's last event: nanos, by buckets."""
        since = int(self.rows[place, M_VENUE_TS_EVENT]) - window_ns
        buckets = self.volumes[place]
        return int(buckets[buckets[:, V_START] > since, V_SIZE].sum())

    def mark(self, venue: str, symbol: str, lost: bool, halted: bool) -> None:
        """The instrument's book is lost, or is not; it is halted, or is not."""
        place = self.index.get((venue, symbol))
        if place is not None:
            self.rows[place, M_LOST], self.rows[place, M_HALT] = int(lost), int(halted)

    def distrusted(self, venue: str, symbol: str, on: bool) -> None:
        """The ingester says that its data is stale or broken, or not any more; :meth:`touch` follows."""
        place = self.index.get((venue, symbol))
        if place is not None:
            self.rows[place, M_DISTRUSTED] = int(on)

    def short_restricted(self, venue: str, symbol: str, on: bool) -> None:
        """The short-sale price test is in force (SEC Regulation SHO, rule 201), or not any more."""
        place = self.index.get((venue, symbol))
        if place is not None:
            self.rows[place, M_SHORT_RESTRICTED] = int(on)

    def touch(
        self,
        venue: str,
        shard: int,
        feed_ts: int,
        ts_event: int,
        gap_seq: int,
        closed: bool,
        distrusted: bool = False,
    ) -> None:
        """After a batch: age of its shard and venue, and what may be traded on, of all its instruments.
        ``distrusted``: the ingester says that the venue's line is stale or broken."""
        number = self._venues.get(venue)
        if number is not None:
            _touch(self.rows, number, shard, feed_ts, ts_event, gap_seq, int(closed), int(distrusted))


@njit(cache=True)
def _touch(rows, venue, shard, feed_ts, ts_event, gap_seq, closed, distrusted):  # type: ignore[no-untyped-def]
    for i in range(rows.shape[0]):
        row = rows[i]
        if row[M_VENUE] != venue:
            continue
        row[M_VENUE_TS_EVENT] = ts_event
        if row[M_SHARD] == shard:
            row[M_FEED_TS] = feed_ts
        wrong = row[M_LOST] or row[M_DISTRUSTED] or distrusted or row[M_SEQ] <= gap_seq
        row[M_UNTRUSTED] = 1 if wrong else 0
        row[M_HALTED] = 1 if row[M_HALT] or closed else 0


@njit(cache=True)
def _add_volume(buckets, ts_event, size):  # type: ignore[no-untyped-def]
    """A bucket is used again once its time is a round back; what is older than it holds is not counted."""
    for k in range(len(ts_event)):
        start = ts_event[k] // VOLUME_BUCKET_NS * VOLUME_BUCKET_NS
        bucket = buckets[ts_event[k] // VOLUME_BUCKET_NS % VOLUME_BUCKETS]
        if bucket[V_START] < start:
            bucket[V_START], bucket[V_SIZE] = start, 0
        if bucket[V_START] == start:
            bucket[V_SIZE] += size[k]
