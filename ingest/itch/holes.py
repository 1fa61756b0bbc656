"""A sequencer in, what became of each hole in its numbers out: missing, repaired, given up. Pure.

A hole is a range as it was when it was first seen; parts of it may come and others not. While it is open,
nothing behind it is decoded. See :class:`ingest.trust.Hole`.
"""

from __future__ import annotations

from typing import Any

from ingest.itch.moldudp64 import NEVER, Gap, Sequencer
from ingest.trust import Hole
from tickloom.events import TrustReason


class Holes:
    """Watches one sequencer.

    Attributes
    ----------
    found : list of Hole
        What happened since the caller last cleared it.
    """

    def __init__(self, seq_base: int) -> None:
        self.found: list[Hole] = []
        self._seq_base = seq_base
        self._open: Gap | None = None
        self._given_up: list[Gap] = []

    @property
    def stop(self) -> int:
        """The number at which the open hole is over; NEVER where none is open."""
        return self._open.last + 1 if self._open else NEVER

    def gave_up(self, gap: Gap) -> None:
        """The sequencer went on without these."""
        self._given_up.append(gap)

    def look(self, sequencer: Sequencer[Any], ts_recv: int) -> None:
        """After each packet that was not plainly the next one."""
        if self._open is not None and sequencer.expected > self._open.last:
            self._close(self._open, ts_recv)
        if self._open is None:
            self._given_up.clear()
        missing = sequencer.missing()
        if self._open is None and missing is not None:
            self._open = missing
            self._say(missing.first - 1, ts_recv, missing, TrustReason.MISSING)

    def _close(self, hole: Gap, ts_recv: int) -> None:
        self._open = None
        first = hole.first
        for gap in [*self._given_up, Gap(hole.last + 1, NEVER)]:
            last = min(gap.first - 1, hole.last)
            if last >= first:
                self._say(last, ts_recv, Gap(first, last), TrustReason.REPAIRED)
            if gap.last != NEVER:
                self._say(gap.last, ts_recv, gap, TrustReason.GIVEN_UP)
            first = max(first, gap.last + 1)

    def _say(self, number: int, ts_recv: int, gap: Gap, reason: TrustReason) -> None:
        self.found.append(Hole(self._seq_base + number, ts_recv, gap.first, gap.last, reason))
