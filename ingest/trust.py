"""Events and the receive clock in, changes of trust out: a pure state machine, the same for every feed.

States. An instrument is ``broken`` while what is known of it may be wrong, else ``stale`` when nothing of it
came for longer than its limit, else ``trusted``. The symbol "" is the venue's line: ``stale`` when nothing at
all came, ``broken`` while messages are missing or the connection is lost. What is worse of the two counts.

Broken, where the decoder says itself which books are wrong (``tells_books``): before BOOK_SYNCED, and from
BOOK_LOST to BOOK_SYNCED; the gap of the same message gives the reason and the range. Where a decoder cannot
say, a lost message may have moved any book, also of instruments that were not heard of yet. If it builds them
(``builds_books``: ITCH, DEEP), each is broken from the gap to BOOK_SYNCED, but for the stretches in which
trades prove its best quote (:mod:`ingest.proof`). If the venue sends its quotes (TOPS), and for a gap of one
instrument that lost no book (a hole in its trades): until a quote behind the gap.

Time is that of the receive clock and goes on with the records of the capture; whoever calls says when
(:mod:`ingest.trusted`). Nothing else is an input, so a replay gives the same changes. What is said of time is
exact: an instrument is stale since its last event and its limit, whenever that was found out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest import proof
from ingest.proof import Proof
from tickloom.events import (
    TRUST_DTYPE,
    EventBlock,
    GapReason,
    Records,
    StatusCode,
    SymbolTable,
    TrustReason,
    TrustState,
    empty,
)

VENUE = 0  # index of the symbol ""
NEVER = -1  # no event, no gap
_ROOM = 16  # symbols to begin with; it doubles
_CHECKS_PER_LIMIT = 4  # silence is looked for so often in the shortest limit
_REASON_OF_GAP = {
    GapReason.SEQUENCE: TrustReason.SEQUENCE,
    GapReason.DISCONNECT: TrustReason.DISCONNECT,
    GapReason.MALFORMED: TrustReason.MALFORMED,
    GapReason.BOOK: TrustReason.BOOK,
}
_OUR_STATUSES = (StatusCode.BOOK_LOST, StatusCode.BOOK_SYNCED)  # no sign of life of the venue's
_CROSSED = b"CROSSED"
_UNCROSSED = b"UNCROSS"  # a book that no longer contradicts itself may miss as much as before


@dataclass(frozen=True, slots=True)
class StaleLimits:
    """How long nothing may come, ns; 0: for ever.

    line_ns: of the venue as a whole, heartbeats included; instrument_ns: of an instrument; of: symbol to
    what it has instead.
    """

    line_ns: int = 0
    instrument_ns: int = 0
    of: dict[str, int] = field(default_factory=dict)

    @property
    def check_ns(self) -> int:
        """How long a stretch of the receive clock is looked at as one; 0: no limit is set."""
        limits = [limit for limit in (self.line_ns, self.instrument_ns, *self.of.values()) if limit > 0]
        return max(1, min(limits) // _CHECKS_PER_LIMIT) if limits else 0

    def limit_ns(self, symbol: str) -> int:
        """Of one symbol; of the line where it is empty."""
        return self.of.get(symbol, self.instrument_ns) if symbol else self.line_ns


@dataclass(frozen=True, slots=True)
class Hole:
    """What a decoder says of missing messages that may still come (it has no event for that).

    seq: behind which event it was found (missing), or filled; ts_recv: of the packet that showed it.
    """

    seq: int
    ts_recv: int
    first: int
    last: int
    reason: TrustReason  # MISSING, REPAIRED or GIVEN_UP


@dataclass(frozen=True, slots=True)
class _Cause:
    """Why a state holds: reason and range of what is missing."""

    reason: TrustReason
    first: int = 0
    last: int = 0


class TrustMachine:
    """The states of one session's instruments.

    Parameters
    ----------
    seq_base : int
        Of the session's day: what numbers of changes are added to.
    tells_books : bool
        Whether the decoder says of each book when it is whole and when not.

    Attributes
    ----------
    symbols : SymbolTable
        What symbols in changes are indices into: from the first events on, the decoder's.
    builds_books : bool
        Whether quotes are of books that the decoder builds. To be set before events are taken.
    """

    def __init__(self, seq_base: int, *, tells_books: bool = False) -> None:
        self.symbols, self._tells_books = SymbolTable(), tells_books
        self._seq = seq_base
        self._limits = StaleLimits()
        self._clock_ns = 0
        self._out: list[tuple[int, int, int, int, int, int, int, int, int]] = []
        self._size = 0
        self._last_ns = np.zeros(0, dtype=np.int64)  # when something of it came; NEVER: nothing did
        self._limit_ns = np.zeros(0, dtype=np.int64)
        self._since_ns = np.zeros(0, dtype=np.int64)  # of the last change
        self._gap_seq = np.zeros(0, dtype=np.int64)  # a quote behind it is wanted; NEVER: none is
        self._lost = np.zeros(0, dtype=bool)
        self._stale = np.zeros(0, dtype=bool)
        self._state = np.zeros(0, dtype=np.int8)  # NEVER: nothing was said of it yet
        self._waits = np.zeros(0, dtype=bool)  # the next event of it may change its state
        self._missing = False  # messages of the line, that may still come
        self.builds_books = False
        self._proof = Proof()
        self._causes: dict[int, _Cause] = {}  # of those under proof: what is missing
        self._any_book: tuple[int, _Cause] | None = None  # what is missing may have moved books not heard of
        self._last_gap = (NEVER, VENUE, _Cause(TrustReason.BOOK))  # ts_recv, symbol, what is missing
        self._grow()

    @property
    def line_waits(self) -> bool:
        """Whether the next packet of the venue changes the state of its line."""
        return bool(self._waits[VENUE])

    def states(self) -> dict[str, TrustState]:
        """Symbol to state, the line's own (symbol "") taken into account; of those that were heard of."""
        line = max(0, int(self._state[VENUE]))
        return {
            name: TrustState(max(line, int(state)))
            for name, state in zip(self.symbols.names, self._state.tolist(), strict=False)
            if state != NEVER
        }

    def counts(self) -> dict[TrustState, int]:
        """How many instruments are in each state, the line taken into account."""
        known = self._state[1:][self._state[1:] != NEVER]
        line = max(0, int(self._state[VENUE]))
        found = np.bincount(np.maximum(known, line), minlength=len(TrustState))
        return {state: int(found[state]) for state in TrustState}

    def limit(self, limits: StaleLimits) -> None:
        """From now on these limits hold."""
        self._limits = limits
        self._limit_ns[: self._size] = [limits.limit_ns(name) for name in self.symbols.names[: self._size]]

    def take_changes(self) -> Records:
        """The changes since it was last asked, in order."""
        if not self._out:
            return empty(TRUST_DTYPE)
        out, self._out = self._out, []
        return np.array(out, dtype=TRUST_DTYPE)

    # inputs

    def heard(self, ts_recv: int, at_seq: int) -> None:
        """A packet of the venue came, whatever was in it."""
        self._last_ns[VENUE] = max(int(self._last_ns[VENUE]), ts_recv, self._clock_ns)
        if self._waits[VENUE]:
            self._stale[VENUE] = self._lost[VENUE] = False
            self._settle(VENUE, ts_recv, at_seq, _Cause(TrustReason.HEARD))

    def time(self, now_ns: int, at_seq: int) -> None:
        """The receive clock has come to ``now_ns``: who was silent for too long is stale."""
        self._clock_ns = max(self._clock_ns, now_ns)
        due_ns = self._last_ns + self._limit_ns
        silent = (self._last_ns != NEVER) & (self._limit_ns > 0) & (due_ns <= self._clock_ns) & ~self._stale
        found = np.flatnonzero(silent)
        for which in found[np.argsort(due_ns[found], kind="stable")].tolist():
            self._stale[which] = True
            self._settle(which, int(due_ns[which]), at_seq, _Cause(TrustReason.SILENT))

    def take(self, block: EventBlock, holes: list[Hole] | None = None) -> None:
        """Events of the venue, each kind in seq order, none of them before those that were taken."""
        self.symbols = block.symbols
        self._grow()
        statuses = block.statuses
        rare: list[tuple[int, int, np.void | Hole]] = []
        if len(statuses):
            statuses = statuses[~np.isin(statuses["status"], _OUR_STATUSES)]
        live = (block.trades, block.deltas, block.quotes, statuses)
        if len(block.statuses) or len(block.gaps) or holes:
            rare = self._rare(block, holes or [])
        waited = self._proof.wanted
        for records in live:
            if len(records):
                symbols, ts_recv = records["symbol"], records["ts_recv"]
                waited |= _came(symbols, ts_recv, self._clock_ns, self._last_ns, self._waits)
        if not waited and not rare:
            return
        rows = proof.rows_of(*live)
        start = 0
        for seq, _, what in rare:
            side: Literal["left", "right"] = "right" if isinstance(what, Hole) else "left"
            stop = int(np.searchsorted(rows[proof.SEQ], seq, side=side))
            self._live(rows[:, start : max(start, stop)])
            start = max(start, stop)
            self._odd(what)
        self._live(rows[:, start:])

    # the events

    def _rare(self, block: EventBlock, holes: list[Hole]) -> list[tuple[int, int, np.void | Hole]]:
        """What is no mere sign of life, in order: gaps before what their message says of books."""
        found: list[tuple[int, int, np.void | Hole]] = [(int(row["seq"]), 0, row) for row in block.gaps]
        for row in block.statuses:
            if row["status"] in _OUR_STATUSES:
                found.append((int(row["seq"]), 1, row))
        found += [(hole.seq, 2, hole) for hole in holes]
        found.sort(key=lambda each: each[:2])
        return found

    def _live(self, rows: NDArray[np.int64]) -> None:
        symbols = rows[proof.SYMBOL]
        shown = self._proof.changes(rows) if self._proof.wanted else np.zeros(rows.shape[1], dtype=np.int8)
        for at in np.flatnonzero(self._waits[symbols] | (shown != 0)).tolist():
            which = int(symbols[at])
            if which == VENUE or not (self._waits[which] or shown[at]):
                continue
            self._sign(which, rows[:, at].tolist(), int(shown[at]))

    def _sign(self, which: int, row: list[int], shown: int) -> None:
        """A sign of life of an instrument that waits for one; ``shown``: of what its trades prove."""
        first, seq, quote = self._state[which] == NEVER, row[proof.SEQ], row[proof.KIND] == proof.QUOTE
        cause = _Cause(TrustReason.HEARD)
        if first and self._tells_books and self._lost[which]:
            cause = _Cause(TrustReason.UNSYNCED)
        elif shown > 0:
            self._gap_seq[which], cause = NEVER, _Cause(TrustReason.PROVEN)
        elif shown < 0:
            missing = self._causes[which]
            self._gap_seq[which] = seq
            cause = _Cause(TrustReason.UNPROVEN, missing.first, missing.last)
        elif self._proof.is_open(which):
            cause = self._causes[which] if first else cause
        elif quote and self._gap_seq[which] != NEVER and seq > self._gap_seq[which]:
            self._gap_seq[which], cause = NEVER, _Cause(TrustReason.REQUOTED)
        self._stale[which] = False
        self._settle(which, row[proof.TS_RECV], seq, cause)

    def _odd(self, what: np.void | Hole) -> None:
        if isinstance(what, Hole):
            self._missing = what.reason is TrustReason.MISSING
            cause = _Cause(what.reason, what.first, what.last)
            self._settle(VENUE, what.ts_recv, what.seq, cause, always=True)
            return
        which, seq, ts_recv = int(what["symbol"]), int(what["seq"]), int(what["ts_recv"])
        if "first_missing" in (what.dtype.names or ()):
            reason = _REASON_OF_GAP[GapReason(int(what["reason"]))]
            cause = _Cause(reason, int(what["first_missing"]), int(what["last_missing"]))
            self._gap(which, seq, ts_recv, cause)
        elif what["status"] == StatusCode.BOOK_LOST:
            reason = TrustReason.CROSSED if what["reason"] == _CROSSED else TrustReason.BOOK
            gap_ns, of, cause = self._last_gap
            cause = cause if gap_ns == ts_recv and of in (VENUE, which) else _Cause(reason)
            for each in self._meant(which):
                self._lost[each] = True
                self._settle(each, ts_recv, seq, cause)
        else:
            whole = what["reason"] != _UNCROSSED
            if whole:
                self._forget_unheard()
            for each in self._meant(which):
                self._lost[each] = self._stale[each] = False
                if whole:
                    self._proof.close(each)
                if not self._proof.is_open(each):
                    self._gap_seq[each] = NEVER
                self._last_ns[each] = max(int(self._last_ns[each]), ts_recv, self._clock_ns)
                self._settle(each, ts_recv, seq, _Cause(TrustReason.SYNCED))

    def _gap(self, which: int, seq: int, ts_recv: int, cause: _Cause) -> None:
        self._last_gap = (ts_recv, which, cause)
        if which == VENUE and cause.reason is TrustReason.DISCONNECT:
            self._lost[VENUE] = True
            self._settle(VENUE, ts_recv, seq, cause)
        if which == VENUE and self._tells_books:
            return  # BOOK_LOST says whom it concerns
        if self.builds_books and not self._tells_books:
            if which == VENUE:
                self._any_book = (seq, cause)
            first, stop = (1, self._size) if which == VENUE else (which, which + 1)
            self._prove(first, stop, seq, cause)
        for each in self._meant(which):
            self._gap_seq[each] = seq
            self._settle(each, ts_recv, seq, cause)

    def _prove(self, first: int, stop: int, seq: int, cause: _Cause) -> None:
        """Something is missing of books that are built here: only trades show when they are right."""
        self._proof.open(first, stop)
        self._gap_seq[first:stop] = seq
        self._causes |= dict.fromkeys(range(first, stop), cause)

    def _forget_unheard(self) -> None:
        """A book is whole, so nothing is missing that may have moved one of which nothing was heard."""
        self._any_book = None
        for which in np.flatnonzero(self._state[1 : self._size] == NEVER).tolist():
            self._proof.close(which + 1)
            self._gap_seq[which + 1] = NEVER

    def _meant(self, which: int) -> list[int]:
        """The instrument; of the venue, all that were heard of."""
        if which != VENUE:
            return [which]
        return [each for each in np.flatnonzero(self._state != NEVER).tolist() if each != VENUE]

    # the states

    def _settle(self, which: int, ts_recv: int, at_seq: int, cause: _Cause, *, always: bool = False) -> None:
        """Take note of the state that the flags of a symbol make, and say so where it is another."""
        line = which == VENUE
        broken = self._lost[which] or self._gap_seq[which] != NEVER or (line and self._missing)
        stale = self._stale[which]
        state = TrustState.BROKEN if broken else TrustState.STALE if stale else TrustState.TRUSTED
        quoted = self._gap_seq[which] != NEVER and not self._proof.is_open(which)
        self._waits[which] = (self._lost[which] if line else quoted) or stale
        if not line and self._lost[which]:
            self._waits[which] = False  # nothing but BOOK_SYNCED helps
        if state == self._state[which] and not always:
            return
        since_ns = max(ts_recv, int(self._since_ns[which]) + 1)
        self._seq += 1
        self._state[which], self._since_ns[which] = state, since_ns
        times = (since_ns, max(since_ns, self._clock_ns))
        why = (cause.first, cause.last, at_seq, int(state), int(cause.reason))
        self._out.append((*times, self._seq, which, *why))

    def _grow(self) -> None:
        """Room for the symbols that are new."""
        if len(self.symbols) == self._size:
            return
        new = self.symbols.names[self._size :]
        if len(self.symbols) > len(self._last_ns):
            room = max(_ROOM, 2 * len(self._last_ns), len(self.symbols)) - len(self._last_ns)
            for name, fill in _FILLS.items():
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.full(room, fill, dtype=old.dtype)]))
        self._limit_ns[self._size : len(self.symbols)] = [self._limits.limit_ns(name) for name in new]
        self._lost[max(1, self._size) : len(self.symbols)] = self._tells_books
        known, self._size = max(1, self._size), len(self.symbols)
        if self._any_book is not None:
            self._prove(known, self._size, *self._any_book)


_FILLS = {
    "_last_ns": NEVER,
    "_limit_ns": 0,
    "_since_ns": NEVER,
    "_gap_seq": NEVER,
    "_lost": False,
    "_stale": False,
    "_state": NEVER,
    "_waits": True,
}


@njit(cache=True, nogil=True)
def _came(symbols, ts_recv, clock_ns, last_ns, waits):  # type: ignore[no-untyped-def]
    """Note when something came of each symbol (int64 (n,)); whether a state may change by it.

    A packet that had to wait for others counts from when the clock last was looked at.
    """
    waited = False
    for place in range(symbols.size):
        which = symbols[place]
        last_ns[which] = max(last_ns[which], ts_recv[place], clock_ns)
        waited |= waits[which]
    return waited
