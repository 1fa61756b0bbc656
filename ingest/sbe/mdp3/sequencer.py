"""Packets of both lines in any order in, packets in order and gaps out: MsgSeqNum decides.

The kernel passes over what is in order and what was there; here is what came early. Nobody resends on
multicast, so a gap is given up once what waits behind it has waited ``GAP_WAIT_NS`` by the receive times of
the capture, or is too much.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from ingest.sbe.mdp3.kernel import GAP_WAIT_NS
from ingest.sbe.mdp3.packets import NEVER
from ingest.udp.gaps import Gap as Gap
from tickloom.clock import NS_PER_MS

PENDING_PACKETS_MAX = 4_096  # a tenth of a second of the busiest channel; beyond it the gap is given up
SENT_SKEW_NS = 10 * NS_PER_MS  # between the stamps of the two lines, generously


@dataclass(frozen=True, slots=True)
class Waiting:
    """A packet that came early. sent_ns: its SendingTime."""

    ts_recv: int
    payload: bytes
    sent_ns: int


@dataclass(slots=True)
class Sequencer:
    """What came early.

    Attributes
    ----------
    expected : int
        The number that is due.
    deadline : int
        Receive time, ns, from which the first hole is given up; NEVER where nothing waits.
    """

    expected: int = 0
    deadline: int = NEVER
    _waiting: dict[int, Waiting] = field(default_factory=dict)
    _order: list[int] = field(default_factory=list)

    @property
    def first_pending(self) -> int:
        """Number of the first packet that waits; NEVER where none does."""
        return self._order[0] if self._order else NEVER

    @property
    def missing(self) -> Gap | None:
        """The first hole: from what is due up to what waits. None: nothing waits."""
        first = self.first_pending
        return Gap(self.expected, first - 1) if self.expected < first < NEVER else None

    @property
    def horizon(self) -> int:
        """The number behind the highest that came."""
        return max(self._waiting, default=self.expected - 1) + 1

    @property
    def full(self) -> bool:
        """Whether too much waits."""
        return len(self._waiting) > PENDING_PACKETS_MAX

    def add(self, sequence: int, ts_recv: int, payload: bytes, sent_ns: int) -> bool:
        """Keep a packet that is early; False where it waits already."""
        if sequence in self._waiting:
            return False
        self._waiting[sequence] = Waiting(ts_recv, payload, sent_ns)
        heapq.heappush(self._order, sequence)
        self.deadline = min(self.deadline, ts_recv + GAP_WAIT_NS)
        return True

    def release(self) -> list[Waiting]:
        """What waited and is due now, in order; ``expected`` goes behind it."""
        out: list[Waiting] = []
        while self._order and self._order[0] <= self.expected:
            sequence = heapq.heappop(self._order)
            item = self._waiting.pop(sequence)
            if sequence == self.expected:
                self.expected += 1
                out.append(item)
        self._measure()
        return out

    def give_up(self, ts_recv: int) -> Gap | None:
        """Go on behind the first hole; None where nothing has waited long enough, and not too much."""
        if not self._order or (ts_recv < self.deadline and not self.full):
            return None
        gap = Gap(self.expected, self._order[0] - 1)
        self.expected = self._order[0]
        return gap

    def drop_implausible(self, sent_ns: int) -> int:
        """Drop packets that were sent before others of lower numbers: their own number is wrong, and a gap
        up to it would make duplicates of all that follows.

        Two others must say so, lest one with a spoiled time drops the rest. ``sent_ns``: SendingTime of what
        was decoded last. How many there were.
        """
        wrong = []
        latest = before = sent_ns
        for sequence in sorted(self._waiting):
            sent = self._waiting[sequence].sent_ns
            if sent < before - SENT_SKEW_NS:
                wrong.append(sequence)
            latest, before = max(latest, sent), max(before, min(latest, sent))
        for sequence in wrong:
            del self._waiting[sequence]
        self._order = sorted(self._waiting)
        self._measure()
        return len(wrong)

    def clear(self) -> None:
        """The numbers began anew: what waits is of the old ones."""
        self._waiting.clear()
        self._order.clear()
        self.deadline = NEVER

    def _measure(self) -> None:
        oldest = min((item.ts_recv for item in self._waiting.values()), default=NEVER)
        self.deadline = min(oldest + GAP_WAIT_NS, NEVER)
