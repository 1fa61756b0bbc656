"""What any connection to a venue needs, decided without a socket: backoff, silence, what to ask for again."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from tickloom.clock import NS_PER_MS

END_CODE = 1000
END_REASON = "end of session"  # a replay's last word; a real venue has no end of session


def is_end(code: int | None, reason: str) -> bool:
    """Whether the venue closed because its session is over, and not to be connected to again."""
    return code == END_CODE and reason == END_REASON


class Backoff:
    """Capped exponential delays with full jitter: many clients that lost one server do not return as one.

    Parameters
    ----------
    first_ms, max_ms : int
        Bound of the first delay, and of all.
    chance : random.Random
        Source of the jitter; tests seed it.
    """

    def __init__(self, first_ms: int, max_ms: int, chance: random.Random | None = None) -> None:
        self._first_ms, self._max_ms = first_ms, max_ms
        self._chance = chance or random.Random()
        self.failures = 0

    def next_ms(self) -> float:
        """How long to wait before the next attempt, ms."""
        bound = min(self._max_ms, self._first_ms * 2 ** min(self.failures, 32))
        self.failures += 1
        return self._chance.uniform(0, bound)

    def reset(self) -> None:
        """An attempt succeeded: the next failure starts from the first delay."""
        self.failures = 0


class SilenceWatch:
    """A connection that says nothing for too long is taken for dead."""

    def __init__(self, silence_ms_max: int, now_ns: int) -> None:
        self._limit_ns = silence_ms_max * NS_PER_MS
        self._heard_ns = now_ns

    def heard(self, now_ns: int) -> None:
        self._heard_ns = now_ns

    def left_s(self, now_ns: int) -> float:
        """Seconds until it is too long; 0 when it is."""
        return max(0.0, (self._heard_ns + self._limit_ns - now_ns) / 1e9)


@dataclass(slots=True)
class _Request:
    backoff: Backoff
    not_before_ns: int = 0
    in_flight: bool = False


class SnapshotPlanner:
    """Which REST snapshots to ask for now: one at a time an instrument, with backoff while they do not help.

    The first request of an instrument goes out at once. A later one waits, because a snapshot that was
    stale, refused or failed would be so again: the venue limits requests and bans who ignores that.
    """

    def __init__(self, first_ms: int, max_ms: int, chance: random.Random | None = None) -> None:
        self._first_ms, self._max_ms, self._chance = first_ms, max_ms, chance
        self._requests: dict[str, _Request] = {}

    def due(self, wanted: Iterable[str], now_ns: int) -> list[str]:
        """Those of ``wanted`` to ask for now; they count as in flight until :meth:`done`."""
        chosen = []
        for symbol in wanted:
            request = self._requests.setdefault(
                symbol, _Request(Backoff(self._first_ms, self._max_ms, self._chance))
            )
            if not request.in_flight and now_ns >= request.not_before_ns:
                request.in_flight = True
                chosen.append(symbol)
        return chosen

    def done(self, symbol: str, now_ns: int) -> None:
        """An answer or a failure came; if the book still wants one, the next request waits."""
        request = self._requests[symbol]
        request.in_flight = False
        request.not_before_ns = now_ns + int(request.backoff.next_ms() * NS_PER_MS)

    def synced(self, symbol: str) -> None:
        """The book is whole: the next loss is a new matter."""
        request = self._requests.get(symbol)
        if request is not None:
            request.backoff.reset()
            request.not_before_ns = 0


class ResubscribePlanner:
    """Which books to subscribe anew, one by one, where the venue sends snapshots by itself.

    A book that is lost is subscribed anew at once. One that is not there ``patience_ms`` after it was asked
    for (the snapshot was lost, the venue declined) is asked for again with backoff on top; so is one that
    is lost again soon, because whatever makes a book wrong each time would have us exceed the venue's limit
    of requests.

    Parameters
    ----------
    patience_ms : int
        How long a venue may take for a snapshot.
    first_ms, max_ms : int
        Of the backoff.
    """

    STEADY_MS = 60_000  # a book that held so long is lost anew, not again

    def __init__(
        self, patience_ms: int, first_ms: int, max_ms: int, chance: random.Random | None = None
    ) -> None:
        self._patience_ns = patience_ms * NS_PER_MS
        self._first_ms, self._max_ms, self._chance = first_ms, max_ms, chance
        self._backoffs: dict[str, Backoff] = {}
        self._asked_ns: dict[str, int] = {}
        self._not_before_ns: dict[str, int] = {}

    def subscribed(self, symbols: Iterable[str], now_ns: int) -> None:
        """All of these were asked for by a new connection."""
        for symbol in symbols:
            self._asked_ns[symbol] = now_ns
            self._not_before_ns[symbol] = now_ns + self._patience_ns

    def due(self, unsynced: Iterable[str], now_ns: int) -> list[str]:
        """Those to subscribe anew now; they count as asked for. All others are taken for whole."""
        waiting = set(unsynced)
        chosen = []
        for symbol in self._asked_ns:
            if symbol not in waiting:
                if symbol not in self._backoffs:
                    self._not_before_ns[symbol] = 0
                elif now_ns - self._asked_ns[symbol] >= self.STEADY_MS * NS_PER_MS:
                    del self._backoffs[symbol]
            elif now_ns >= self._not_before_ns[symbol]:
                backoff = self._backoffs.setdefault(
                    symbol, Backoff(self._first_ms, self._max_ms, self._chance)
                )
                self._asked_ns[symbol] = now_ns
                wait_ns = self._patience_ns + int(backoff.next_ms() * NS_PER_MS)
                self._not_before_ns[symbol] = now_ns + wait_ns
                chosen.append(symbol)
        return chosen
