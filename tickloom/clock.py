"""Time as a parameter: the only module that asks the machine what time it is.

All times are int64 nanoseconds since 1970-01-01 UTC unless a name says otherwise.
"""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S


class Clock(Protocol):
    """What a class that needs the time is given."""

    def now_ns(self) -> int:
        """Wall clock, ns since the epoch, UTC."""
        ...

    def monotonic_ns(self) -> int:
        """A clock that never goes back, ns since an arbitrary start."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class ReplayClock:
    """A clock that stands where it is put: for replays and tests."""

    def __init__(self, start_ns: int) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic_ns(self) -> int:
        return self._now_ns

    def advance_to(self, ts_ns: int) -> None:
        """Move to ``ts_ns``; a clock never goes back, so an earlier time leaves it where it is."""
        self._now_ns = max(self._now_ns, ts_ns)

    def advance_by(self, step_ns: int) -> None:
        """Move on by ``step_ns`` (>= 0)."""
        if step_ns < 0:
            raise ValueError(f"a clock does not go back (step {step_ns} ns)")
        self._now_ns += step_ns
