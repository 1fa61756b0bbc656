"""Keys of stories in, whether they are new out: a window of what was seen last, bounded in time and number.
Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from tickloom.clock import NS_PER_S


class SeenStories:
    """What was seen within the last ``window_s``, at most ``keys_max`` keys (some 150 bytes each).

    A story that is seen again counts from then: a feed that keeps an old story in its document does not give
    it anew when the window is over. Beyond ``keys_max`` those go that were not seen for longest.

    Parameters
    ----------
    window_s : int
        Seconds after which a key that was not seen again is forgotten.
    keys_max : int
        A story has one key, or two.
    """

    def __init__(self, window_s: int, keys_max: int) -> None:
        self.set_limits(window_s, keys_max)
        self._seen: OrderedDict[str, int] = OrderedDict()

    def set_limits(self, window_s: int, keys_max: int) -> None:
        """Other limits from now on."""
        self._window_ns, self._keys_max = window_s * NS_PER_S, keys_max

    def is_new(self, keys: Iterable[str], now_ns: int) -> bool:
        """Whether none of a story's keys is known; all of them are, and count from ``now_ns``, afterwards."""
        self._forget(now_ns)
        known = False
        for key in keys:
            known |= key in self._seen
            self._seen[key] = now_ns
            self._seen.move_to_end(key)
        self._forget(now_ns)
        return not known

    def keep(self, keys: Iterable[str], now_ns: int) -> None:
        """They are still there: a document that has not changed has the stories that it had."""
        self._forget(now_ns)
        for key in keys:
            if key in self._seen:
                self._seen[key] = now_ns
                self._seen.move_to_end(key)

    def items(self) -> list[tuple[str, int]]:
        """Keys and when they were last seen, ns; those longest ago first."""
        return list(self._seen.items())

    def __len__(self) -> int:
        return len(self._seen)

    def _forget(self, now_ns: int) -> None:
        while self._seen:
            key, seen_ns = next(iter(self._seen.items()))
            if len(self._seen) <= self._keys_max and now_ns - seen_ns <= self._window_ns:
                return
            del self._seen[key]
