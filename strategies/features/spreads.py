"""Quotes in, spreads of pairs out, in event time: the same numbers whatever the order of arrival. Pure.

Formulas, with the calibration of the pair (:mod:`strategies.pairs.frozen`):

=========  ===========================================================================================
mid        (bid + ask) / 2 of a leg's last quote; none with one side missing, or crossed
spread     mid_a - hedge_ratio * mid_b, quote currency
z          (spread - mean) / deviation
z_rolling  (spread - m) / s, with the exponentially weighted mean m and deviation s of the spread over the
           time before, weights halved every ``rolling_half_life_ms``; NULL until a half-life was seen
age_ns     ts_event of the quote minus that of the other leg's last quote
state      halted: a leg is halted or the venue closed; untrusted: a leg's book is lost or has a gap
           behind it, as the agent sees it (``execution.market``); else good
=========  ===========================================================================================

Every quote of a leg gives one spread of each of its pairs, unless the other leg is older than
``stale_ms``. Quotes are applied in the order of (ts_event, seq), a whole millisecond at once, which is
the resolution of event time in rules: both legs of a pair answer to the same news microseconds apart,
and half of such a move is no dislocation. So a quote's spread is that at the end of its millisecond.

What came late, behind a watermark that has passed, is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from strategies.features import spread_kernel as kernel
from strategies.features.spread_kernel import MOVE_DTYPE
from strategies.features.spread_state import RunningState
from strategies.pairs import frozen
from strategies.pairs.frozen import PairSet
from streaming.waiting import Rows, Waiting
from tickloom.clock import NS_PER_MS
from tickloom.errors import FeedError
from tickloom.events import SPREAD_DTYPE, EventBlock, Records, StatusCode, SymbolTable
from tickloom.prices import NO_PRICE, to_double
from tickloom.rows import joined, picked, whole

#: Moves above the watermark: 40 s of 50,000 quotes/s, 100 MB. More, and a partition has stopped.
PENDING_MOVES_MAX = 2_000_000
SLICE_MOVES = 50_000  # worked on at once; bounds what a step of history takes

_KINDS = {
    StatusCode.HALTED: kernel.HALTED,
    StatusCode.PAUSED: kernel.HALTED,
    StatusCode.QUOTATION_ONLY: kernel.HALTED,
    StatusCode.TRADING: kernel.TRADING,
    StatusCode.BOOK_LOST: kernel.LOST,
    StatusCode.BOOK_SYNCED: kernel.SYNCED,
}
_VENUE_KINDS = {
    StatusCode.MARKET_CLOSE: kernel.VENUE_CLOSED,
    StatusCode.SYSTEM_HOURS_END: kernel.VENUE_CLOSED,
    StatusCode.SESSION_END: kernel.VENUE_CLOSED,
    StatusCode.SESSION_START: kernel.VENUE_OPEN,
    StatusCode.SYSTEM_HOURS_START: kernel.VENUE_OPEN,
    StatusCode.MARKET_OPEN: kernel.VENUE_OPEN,
    StatusCode.TRADING: kernel.VENUE_OPEN,
}
_TIME, _WHOLE = "ts_event", "move"  # columns of the moves that wait
_NOT_OURS, _VENUE = -2, -1  # in place of a leg's index
END_NS = 2**63 - 1  # a watermark behind every event


def _codes(kinds: dict[StatusCode, int]) -> NDArray[np.int8]:
    """Status code to the kind of move that it is; -1 for none."""
    table = np.full(max(StatusCode) + 1, -1, dtype=np.int8)
    for code, kind in kinds.items():
        table[code] = kind
    return table


_LEG_CODES, _VENUE_CODES = _codes(_KINDS), _codes(_VENUE_KINDS)


class Spreads:
    """The spreads of a venue's pairs, from whatever blocks of its events come.

    Parameters
    ----------
    pending_max : int
        Quotes that may wait for a watermark; more are an error.

    Attributes
    ----------
    symbols : SymbolTable
        Of the spreads that come out; pair i of the set has index i + 1.
    late_rows : int
        Quotes of legs that came behind the watermark, and were dropped.
    """

    def __init__(self, pair_set: PairSet, pending_max: int = PENDING_MOVES_MAX) -> None:
        self.pair_set = pair_set
        self._pending_max = pending_max
        self.symbols = SymbolTable([pair.symbol for pair in pair_set.pairs])
        self.state = RunningState(pair_set)
        self.late_rows = 0
        self._pending = Waiting(_TIME)
        self._passed_ns = -1  # whole milliseconds
        self._sessions = SymbolTable()
        self._legs_of: SymbolTable | None = None
        self._legs = np.zeros(0, dtype=np.int32)

    @property
    def watermark_ns(self) -> int:
        """No spread that is still to come is older; -1 before the first watermark."""
        return self._passed_ns

    def push(self, block: EventBlock) -> None:
        """Take the events of a block, in any order.

        Raises
        ------
        FeedError
            The block is another venue's, or more quotes wait for a watermark than may.
        """
        if block.venue != self.pair_set.venue:
            raise FeedError(
                f"events of {block.venue} for the pairs of {self.pair_set.venue}; give it its own"
            )
        moves = self._moves(block)
        if not len(moves):
            return
        in_time = moves["ts_event"] >= self._passed_ns
        if not in_time.all():
            self.late_rows += int(np.count_nonzero(~in_time & (moves["kind"] == kernel.QUOTE)))
            moves = moves[in_time]
        self._pending.put(_rows(moves))
        if len(self._pending) > self._pending_max:
            raise FeedError(
                f"{len(self._pending):,} quotes of {block.venue} wait for a watermark above "
                f"{self._passed_ns} ns: a partition of its ticks has neither events nor heartbeats, or is "
                "read far behind the others. Is its ingester running?"
            )

    def advance(self, watermark_ns: int) -> list[EventBlock]:
        """Spreads of all whole milliseconds below a watermark: no event older than it will be pushed.

        Returns
        -------
        list of EventBlock
            With ``spreads`` only, in the order of (ts_event, seq); one a session and slice.
        """
        passed_ns = watermark_ns // NS_PER_MS * NS_PER_MS
        if passed_ns <= self._passed_ns:
            return []
        self._passed_ns = passed_ns
        moves = _moves_of(self._pending.due(passed_ns - 1))
        moves = moves[np.lexsort((moves["leg"], moves["kind"], moves["seq"], moves["ts_event"]))]
        return [block for part in _slices(moves) for block in self._compute(part)]

    def finish(self) -> list[EventBlock]:
        """Spreads of all that is left: the stream has ended."""
        return self.advance(END_NS)

    def snapshot(self) -> bytes:
        """The state, quotes that wait for the watermark included."""
        pending = _moves_of(self._pending.all())
        return self.state.pack(pending, self._sessions.names, self._passed_ns, self.late_rows)

    def restore(self, raw: bytes) -> None:
        """Go on from a snapshot, of these calibrations or others.

        Legs keep their last quotes, pairs their rolling statistics; what the set does not have any more
        is forgotten, as are the statistics of a pair whose hedge ratio or half-life has changed.

        Raises
        ------
        CalibrationError
            It is no snapshot, or of another venue.
        """
        pending, sessions, self._passed_ns, self.late_rows = self.state.unpack(raw)
        self._sessions = SymbolTable(sessions[1:])
        self._pending.restore(_rows(pending))

    def _moves(self, block: EventBlock) -> Records:
        """What of a block moves a leg, or the venue, as MOVE_DTYPE."""
        legs = self._leg_indices(block.symbols)
        session = self._sessions.index(block.session)
        parts = []
        if len(block.quotes):
            leg = legs[block.quotes["symbol"]]
            ours = leg >= 0
            if ours.any():
                parts.append(_quote_moves(picked(block.quotes, ours), leg[ours], session))
        if len(block.statuses):
            leg = legs[block.statuses["symbol"]]
            codes = block.statuses["status"]
            known = (codes >= 0) & (codes < len(_LEG_CODES))
            codes = np.where(known, codes, StatusCode.OTHER)
            kinds = np.where(leg == _VENUE, _VENUE_CODES[codes], _LEG_CODES[codes])
            parts.append(_state_moves(block.statuses, leg, kinds, session))
        if len(block.gaps):
            leg = legs[block.gaps["symbol"]]
            kinds = np.where(leg == _VENUE, kernel.VENUE_GAP, kernel.LOST).astype(np.int8)
            parts.append(_state_moves(block.gaps, leg, kinds, session))
        return joined(parts, MOVE_DTYPE)

    def _leg_indices(self, symbols: SymbolTable) -> NDArray[np.int32]:
        """Leg of each index of a table, which only grows."""
        if self._legs_of is not symbols:
            self._legs_of, self._legs = symbols, np.array([_VENUE], dtype=np.int32)
        if len(symbols) > self._legs.size:
            new = symbols.names[self._legs.size :]
            indices = [self.state.leg_index.get(name, _NOT_OURS) for name in new]
            self._legs = np.concatenate([self._legs, np.array(indices, dtype=np.int32)])
        return self._legs

    def _compute(self, moves: Records) -> Iterator[EventBlock]:
        longs, doubles = self.state.run(moves)
        sessions = longs[kernel.OUT_SESSION]
        starts = [0, *(np.flatnonzero(np.diff(sessions)) + 1).tolist(), sessions.size]
        for first, last in pairwise(starts):
            if first == last:
                continue
            records = np.empty(last - first, dtype=SPREAD_DTYPE)
            records["ts_event"] = longs[kernel.OUT_TS_EVENT, first:last]
            records["ts_recv"] = longs[kernel.OUT_TS_RECV, first:last]
            records["seq"] = longs[kernel.OUT_SEQ, first:last]
            records["symbol"] = longs[kernel.OUT_PAIR, first:last] + 1
            records["age_ns"] = longs[kernel.OUT_AGE, first:last]
            records["state"] = longs[kernel.OUT_STATE, first:last]
            records["calibration"] = self.pair_set.version
            for row, name in enumerate(("spread", "z", "z_rolling", "mid_a", "mid_b")):
                records[name] = doubles[row, first:last]
            session = self._sessions.names[int(sessions[first])]
            yield EventBlock(self.pair_set.venue, session, self.symbols, spreads=records)


def over(blocks: Iterable[EventBlock], pair_set: PairSet) -> Iterator[EventBlock]:
    """Spreads over history: what the live job computes from the same events, to the last bit.

    Parameters
    ----------
    blocks : iterable of EventBlock
        Quotes, statuses and gaps of the set's venue, none older than those of an earlier block.

    Yields
    ------
    EventBlock
        With ``spreads`` only, in the order of (ts_event, seq).

    Raises
    ------
    FeedError
        The blocks go back in time, or are another venue's.
    """
    spreads = Spreads(pair_set)
    begun_ns = -1
    for block in blocks:
        times = [kind["ts_event"] for kind in (block.quotes, block.statuses, block.gaps) if len(kind)]
        if not times:
            continue
        begins_ns = min(int(ts.min()) for ts in times)
        if begins_ns < begun_ns:
            raise FeedError(f"{block.venue}: events go back in time to {begins_ns}; read them in order")
        begun_ns = begins_ns
        yield from spreads.advance(begins_ns)
        spreads.push(block)
    yield from spreads.finish()


def history(blocks: Iterable[EventBlock], venue: str) -> Iterator[EventBlock]:
    """What the view ``spreads`` has over stored events (see ``streaming.derived``): by the frozen set.

    Raises
    ------
    CalibrationError
        The venue has no frozen calibrations.
    FeedError
        The blocks go back in time, or are another venue's.
    """
    return over(blocks, frozen.find(venue))


def _rows(moves: Records) -> Rows:
    """Moves as what waits: whole, beside their times."""
    return {_TIME: moves[_TIME], _WHOLE: whole(moves)}


def _moves_of(rows: Rows) -> Records:
    return rows[_WHOLE].view(MOVE_DTYPE) if rows else np.empty(0, dtype=MOVE_DTYPE)


def _quote_moves(quotes: Records, leg: NDArray[np.int32], session: int) -> Records:
    moves = np.empty(len(quotes), dtype=MOVE_DTYPE)
    for name in ("ts_event", "ts_recv", "seq"):
        moves[name] = quotes[name]
    bid, ask = quotes["bid_price"], quotes["ask_price"]
    # as the view ``quotes`` computes it; NaN is carried along
    mid = (to_double(bid) + to_double(ask)) / 2
    mid[(bid > ask) & (ask != NO_PRICE)] = np.nan
    moves["mid"], moves["leg"], moves["session"], moves["kind"] = mid, leg, session, kernel.QUOTE
    return moves


def _state_moves(records: Records, leg: NDArray[np.int32], kinds: NDArray[np.int8], session: int) -> Records:
    """Statuses or gaps: a handful a day."""
    chosen = (leg != _NOT_OURS) & (kinds >= 0)
    moves = np.empty(int(np.count_nonzero(chosen)), dtype=MOVE_DTYPE)
    for name in ("ts_event", "ts_recv", "seq"):
        moves[name] = records[name][chosen]
    moves["mid"], moves["leg"], moves["session"], moves["kind"] = np.nan, leg[chosen], session, kinds[chosen]
    return moves


def _slices(moves: Records) -> Iterator[Records]:
    """Pieces of about ``SLICE_MOVES``, never between two moves of one millisecond."""
    ms = moves["ts_event"] // NS_PER_MS
    start = 0
    while start < len(moves):
        end = min(start + SLICE_MOVES, len(moves))
        end = int(np.searchsorted(ms, ms[end - 1], side="right"))
        yield moves[start:end]
        start = end
