"""What is missing in, requests and surrenders out: when to ask the venue to send something again. Pure.

MoldUDP64 has no notion of an answer: a request is repeated until the hole closes, or nothing of it
came for ``gap_timeout_ms``. That time begins when something behind the hole was first heard of, not when
it became the first hole: else, while no server answers, each hole would hold the feed up for so long.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ingest.itch.moldudp64 import REQUEST_COUNT_MAX, Gap
from tickloom.clock import NS_PER_MS

NEXT_NS = NS_PER_MS  # after an answer that closed a part of the hole
RETRY_NS = 50 * NS_PER_MS  # after no answer


@dataclass(frozen=True, slots=True)
class Request:
    """Ask for ``count`` messages from ``first`` on."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody has the messages of ``gap``."""

    gap: Gap


class Rerequester:
    """Decides, from what is missing and the time, what to do next.

    Parameters
    ----------
    gap_timeout_ms : int
        A hole of which nothing came for so long is given up.
    hold_ms : float
        How long a late packet, or another line, may fill a hole before it is first asked for.
    """

    def __init__(self, gap_timeout_ms: int, hold_ms: float = 3.0) -> None:
        self._timeout_ns = gap_timeout_ms * NS_PER_MS
        self._hold_ns = int(hold_ms * NS_PER_MS)
        # a hole that is over its time when it becomes the first one is asked for once, and waited for so long
        self._patience_ns = min(RETRY_NS, max(0, self._timeout_ns - self._hold_ns))
        self._first = 0  # of the hole when it was last looked at; 0: none
        self._since_ns = 0  # when that hole was first seen, or became smaller
        self._due_ns = 0  # of the next request
        self._asked_ns: int | None = None  # the first request for it
        self._heard: deque[tuple[int, int]] = (
            deque()
        )  # horizon, and when it was reached; while holes are open
        self.requests = 0

    @property
    def waiting(self) -> bool:
        """Whether a hole is open: the caller should come back within milliseconds."""
        return self._first != 0

    def next(self, missing: Gap | None, now_ns: int, horizon: int = 0) -> Request | GiveUp | None:
        """What to do at ``now_ns`` (a clock that never goes back) about the first hole.

        ``horizon``: the number behind the highest that was heard of, where that is beyond the hole.
        """
        if missing is None:
            self._first = 0
            self._heard.clear()
            return None
        self._hear(missing, now_ns, max(horizon, missing.last + 1))
        if missing.first != self._first:
            smaller = 0 < self._first < missing.first
            self._first, self._asked_ns = missing.first, None
            self._since_ns = now_ns if smaller else self._heard[0][1]
            self._due_ns = now_ns + NEXT_NS if smaller else self._since_ns + self._hold_ns
        asked_ns = self._asked_ns
        waited = asked_ns is not None and now_ns - asked_ns >= self._patience_ns
        if waited and now_ns - self._since_ns >= self._timeout_ns:
            self._first = 0
            return GiveUp(missing)
        if now_ns < self._due_ns:
            return None
        self._due_ns = now_ns + RETRY_NS
        self._asked_ns = now_ns if asked_ns is None else asked_ns
        self.requests += 1
        return Request(missing.first, min(missing.last - missing.first + 1, REQUEST_COUNT_MAX))

    def _hear(self, missing: Gap, now_ns: int, horizon: int) -> None:
        """Keep when the feed was first beyond the hole, at the left, and beyond those behind it."""
        heard = self._heard
        if not heard or heard[-1][0] < horizon:
            heard.append((horizon, now_ns))
        while heard[0][0] <= missing.first:
            heard.popleft()
