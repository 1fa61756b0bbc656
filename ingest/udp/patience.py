"""Holes and the time in, holes that are given up out: how long one may wait for another line. Pure."""

from __future__ import annotations

from collections import deque

from ingest.udp.gaps import Gap
from tickloom.clock import NS_PER_MS


class Patience:
    """Decides when the first hole of a feed that nobody can be asked for is given up.

    Each hole has ``timeout_ms`` from when something behind it was first heard of, not from when it became the
    first one: else each of several would hold the feed up for so long.
    """

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ns = timeout_ms * NS_PER_MS
        self._first = 0  # of the hole when it was last looked at
        # horizon, and when it was reached; while holes are open
        self._heard: deque[tuple[int, int]] = deque()

    @property
    def waiting(self) -> bool:
        """Whether a hole is open: the caller should come back within milliseconds."""
        return bool(self._heard)

    def next(self, missing: Gap | None, horizon: int, now_ns: int) -> Gap | None:
        """What to give up at ``now_ns`` (a clock that never goes back).

        Parameters
        ----------
        missing : Gap, optional
            The first hole.
        horizon : int
            The number behind the highest that was heard of.
        """
        if missing is None or missing.first < self._first:  # the latter: the venue began anew
            self._heard.clear()
        if missing is None:
            self._first = 0
            return None
        self._first = missing.first
        heard = self._heard
        if not heard or heard[-1][0] < horizon:
            heard.append((horizon, now_ns))
        while heard[0][0] <= missing.first:
            heard.popleft()
        return missing if now_ns - heard[0][1] >= self._timeout_ns else None
