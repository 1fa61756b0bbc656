"""Instruments and their books, as the shell sees them: named, lost, emptied, rebuilt from snapshots.

Everything here is rare. The arrays are the kernel's (:mod:`ingest.sbe.mdp3.state`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.sbe.mdp3 import state as st
from ingest.sbe.mdp3.book import change, fits
from ingest.sbe.mdp3.definitions import Definition
from ingest.sbe.mdp3.entries import slot_of, storable
from tickloom.events import Side
from tickloom.prices import NANOS

Levels = list[list[tuple[int, int]]]  # of bid and ask: price and size, best first; nanos
_SIDES = {"Bid": 0, "Offer": 1}


class Instruments:
    """Owns the state and lets it grow.

    Attributes
    ----------
    state : State
    definitions : dict of int to Definition
        By security id.
    """

    def __init__(self) -> None:
        self.state = st.State.fresh()
        self.definitions: dict[int, Definition] = {}
        self.count = 0

    def find(self, security: int) -> int:
        """Index of an instrument; -1 where it was never seen."""
        return int(self.state.slots[slot_of(self.state.slots, security), 1])

    def add(self, security: int, symbol: int) -> int:
        """A new instrument, its book trusted once an update with RptSeq 1 or a snapshot comes."""
        if self.count == len(self.state.instruments):
            self.state = self.state.grown()
            for which in range(self.count):
                self._place(which)
        which, self.count = self.count, self.count + 1
        row = self.state.instruments[which]
        definition = self.definitions.get(security)
        row[st.SECURITY_ID], row[st.SYMBOL] = security, symbol
        row[st.DEPTH] = definition.depth if definition else st.DEPTH_DEFAULT
        row[st.LOST_AT] = self.state.shared[st.LOST_TO]
        st.forget_quote(row)
        self._place(which)
        return which

    def _place(self, which: int) -> None:
        security = int(self.state.instruments[which, st.SECURITY_ID])
        slot = slot_of(self.state.slots, security)
        self.state.slots[slot] = security, which

    def define(self, definition: Definition, symbol: int) -> bool:
        """Take a definition over; whether the book of an instrument that is known has another depth now."""
        self.definitions[definition.security_id] = definition
        which = self.find(definition.security_id)
        if which < 0:
            self.add(definition.security_id, symbol)
            return False
        row = self.state.instruments[which]
        row[st.SYMBOL] = symbol
        before, row[st.DEPTH] = int(row[st.DEPTH]), definition.depth
        return before != definition.depth and bool(self.state.fills[which].any() or row[st.SYNCED])

    def synced(self) -> NDArray[np.int64]:
        """Instruments whose book is trusted."""
        return np.flatnonzero(self.state.instruments[: self.count, st.SYNCED])

    def lacking(self) -> int:
        """How many books a snapshot may make whole: lost ones, and those whose entries wait."""
        rows = self.state.instruments[: self.count]
        pending = self.state.pending[: self.state.shared[st.PENDING_USED]]
        waits = np.zeros(self.count, dtype=bool)
        waits[pending[pending[:, st.P_SIDE] != st.ONLY_COUNTS, st.P_INSTRUMENT]] = True
        return int(((rows[:, st.SYNCED] == 0) & ((rows[:, st.RPT_SEQ] < 0) | waits)).sum())

    def lose(self, which: NDArray[np.int64], lost_at: int) -> None:
        """These books are not trusted; updates up to packet ``lost_at`` may be missing from them."""
        rows = self.state.instruments
        rows[which, st.SYNCED], rows[which, st.RPT_SEQ] = 0, -1
        rows[which, st.LOST_AT] = lost_at

    def begin(self, which: int) -> None:
        """Nothing came before: the book is empty and trusted, and RptSeq 1 is due."""
        row = self.state.instruments[which]
        row[st.SYNCED], row[st.RPT_SEQ] = 1, 0
        self.state.fills[which] = 0
        st.forget_quote(row)

    def levels(self, which: int) -> Levels:
        """Both sides of a book."""
        state = self.state
        return [
            [(int(price), int(size)) for price, size in state.levels[which, side, : state.fills[which, side]]]
            for side in (0, 1)
        ]

    def set_levels(self, which: int, levels: Levels) -> None:
        """Put a book in place of what is there."""
        for side, some in enumerate(levels):
            self.state.fills[which, side] = len(some)
            for row, level in enumerate(some):
                self.state.levels[which, side, row] = level

    # entries that wait

    def waiting(self, which: int) -> NDArray[np.int64]:
        """Entries that wait for this instrument's snapshot, in order."""
        rows = self.state.pending[: self.state.shared[st.PENDING_USED]]
        found: NDArray[np.int64] = rows[rows[:, st.P_INSTRUMENT] == which]
        return found

    def forget(self, which: int | None = None) -> None:
        """Drop what waits for an instrument, or for all."""
        shared, pending = self.state.shared, self.state.pending
        rows = pending[: shared[st.PENDING_USED]]
        kept = rows[:0] if which is None else rows[rows[:, st.P_INSTRUMENT] != which]
        pending[: len(kept)] = kept.copy()
        shared[st.PENDING_USED] = len(kept)

    def forget_older_half(self) -> int:
        """Make room: the books of the entries that go need a newer snapshot. How many went."""
        shared, pending = self.state.shared, self.state.pending
        half = int(shared[st.PENDING_USED]) // 2
        kept = pending[half : shared[st.PENDING_USED]].copy()
        pending[: len(kept)] = kept
        shared[st.PENDING_USED] = len(kept)
        return half

    def rebuild(self, which: int, levels: Levels, rows: NDArray[np.int64]) -> bool:
        """Put the entries of ``rows`` on ``levels``, in order; False, and the book as it was, where one does
        not fit."""
        before = self.levels(which)
        state, depth = self.state, int(self.state.instruments[which, st.DEPTH])
        self.set_levels(which, levels)
        for row in rows:
            side = int(row[st.P_SIDE])
            if side == st.EMPTIES:
                state.fills[which] = 0
            if side < 0:
                continue
            book, count = state.levels[which, side], int(state.fills[which, side])
            action, level, price, size = (
                int(row[column]) for column in (st.P_ACTION, st.P_LEVEL, st.P_PRICE, st.P_SIZE)
            )
            if not fits(book, count, depth, side, action, level, price, size):
                self.set_levels(which, before)
                return False
            state.fills[which, side] = change(book, count, depth, action, level, price, size, state.gone)[0]
        return True


def snapshot_levels(entries: list[dict[str, Any]], depth: int) -> Levels | None:
    """The outright book of a snapshot; None where its levels make none."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for item in entries:
        side = _SIDES.get(str(item["MDEntryType"]))
        if side is None:
            continue
        level, price, size = item["MDPriceLevel"], item["MDEntryPx"], item["MDEntrySize"]
        if level is None or price is None or size is None or size <= 0 or (side, level) in found:
            return None
        nanos = int(price * NANOS)
        if not storable(nanos, size):
            return None
        found[side, level] = nanos, size * NANOS
    levels: Levels = [[], []]
    for (side, level), entry in sorted(found.items()):
        some = levels[side]
        if level != len(some) + 1 or level > depth:
            return None
        if some and (entry[0] >= some[-1][0] if side == 0 else entry[0] <= some[-1][0]):
            return None
        some.append(entry)
    return levels


def difference(old: Levels, new: Levels) -> list[tuple[Side, int, int]]:
    """Side, price and size that turn one book into the other, each price at most once."""
    out: list[tuple[Side, int, int]] = []
    for side, before, after in zip((Side.BUY, Side.SELL), map(dict, old), map(dict, new), strict=True):
        out += [(side, price, 0) for price in before if price not in after]
        out += [(side, price, size) for price, size in after.items() if before.get(price) != size]
    return out
