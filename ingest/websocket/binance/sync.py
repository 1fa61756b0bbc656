"""Depth updates and a REST snapshot in, the updates that follow the snapshot out: bridging, by ids alone.

Source: Binance, "How to manage a local order book correctly", spot and USD-M futures. Spot numbers the
updates of each instrument: the first update behind a snapshot L has U <= L + 1 <= u, and each next one
U == previous u + 1. Futures take their ids from one counter for all instruments, so U may lie beyond L with
nothing missing; there pu, the previous update's u, makes the chain. The documented first update, U <= L <= u,
implies pu <= L <= u, and that is the whole condition: the snapshot has everything up to L, and nothing
happened to this instrument between pu and U. An update that ends at L is in the snapshot already; both
markets let it go, the next one has pu == L.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ingest.websocket.binance.messages import Market

PENDING_DEPTHS_MAX = 4_096  # minutes of updates; beyond it the oldest goes, and the snapshot must be newer


@dataclass(frozen=True, slots=True)
class Levels:
    """Some levels of both sides; nanos."""

    sides: NDArray[np.int8]
    prices: NDArray[np.int64]
    sizes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PendingDepth:
    """A depth update that waits for a snapshot."""

    first_id: int
    final_id: int
    previous_id: int
    levels: Levels


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A REST order book that has everything up to ``last_id``."""

    last_id: int
    levels: Levels


class Outcome(Enum):
    """What an attempt to bridge came to."""

    WAIT = "wait"  # no update behind the snapshot yet, or no snapshot
    STALE = "stale"  # updates between the snapshot and the oldest one that waits are missing
    BRIDGED = "bridged"


class BookSync:
    """Of one instrument whose book is not synced: what waits, and whether it fits together."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self.pending: deque[PendingDepth] = deque()
        self.snapshot: Snapshot | None = None

    def reset(self) -> None:
        """The chain of updates is broken: nothing that waits is of use any more."""
        self.pending.clear()
        self.snapshot = None

    def add(self, depth: PendingDepth) -> int:
        """One more update, which follows the last one added; how many there was no room for."""
        full = len(self.pending) == PENDING_DEPTHS_MAX
        if full:
            self.pending.popleft()
        self.pending.append(depth)
        return int(full)

    @property
    def wants_snapshot(self) -> bool:
        """Updates flow and there is no snapshot to put below them: ask for one now.

        Not before updates flow: a snapshot that is older than the first of them is of no use.
        """
        return self.snapshot is None and bool(self.pending)

    def bridge(self) -> Outcome:
        """Try to put what waits behind the snapshot.

        BRIDGED leaves in ``pending`` the updates to apply to the snapshot, in order. STALE has let go of
        the snapshot. Updates that the snapshot has already are dropped.
        """
        if self.snapshot is None:
            return Outcome.WAIT
        last_id = self.snapshot.last_id
        while self.pending and self.pending[0].final_id <= last_id:
            self.pending.popleft()
        if not self.pending:
            return Outcome.WAIT
        if not self._joins(self.pending[0], last_id):
            self.snapshot = None
            return Outcome.STALE
        return Outcome.BRIDGED

    def _joins(self, depth: PendingDepth, last_id: int) -> bool:
        if self._market == "spot":
            return depth.first_id <= last_id + 1
        return depth.previous_id <= last_id
