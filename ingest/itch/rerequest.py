"""What is missing in, requests and surrenders out: when to ask the venue to send something again. Pure.

MoldUDP64 has no notion of an answer: a request is repeated until the hole closes, or nothing of it
came for ``gap_timeout_ms``.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingest.itch.moldudp64 import REQUEST_COUNT_MAX, Gap
from tickloom.clock import NS_PER_MS

REORDER_NS = 3 * NS_PER_MS  # a packet may overtake another: wait so long before the first request
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
    """Decides, from what is missing and the time, what to do next."""

    def __init__(self, gap_timeout_ms: int) -> None:
        self._timeout_ns = gap_timeout_ms * NS_PER_MS
        self._first = 0  # of the hole when it was last looked at; 0: none
        self._since_ns = 0  # when that hole was first seen, or became smaller
        self._due_ns = 0  # of the next request
        self.requests = 0

    @property
    def waiting(self) -> bool:
        """Whether a hole is open: the caller should come back within milliseconds."""
        return self._first != 0

    def next(self, missing: Gap | None, now_ns: int) -> Request | GiveUp | None:
        """What to do at ``now_ns`` (a clock that never goes back) about the first hole."""
        if missing is None:
            self._first = 0
            return None
        if missing.first != self._first:
            smaller = 0 < self._first < missing.first
            self._first, self._since_ns = missing.first, now_ns
            self._due_ns = now_ns + (NEXT_NS if smaller else REORDER_NS)
        if now_ns - self._since_ns >= self._timeout_ns:
            self._first = 0
            return GiveUp(missing)
        if now_ns < self._due_ns:
            return None
        self._due_ns = now_ns + RETRY_NS
        self.requests += 1
        return Request(missing.first, min(missing.last - missing.first + 1, REQUEST_COUNT_MAX))
