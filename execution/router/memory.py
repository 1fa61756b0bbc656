"""What we aimed at is gone, until the book says something newer. Pure.

A book shows what an order of ours takes until the feed has told of it, and a second decision in between, of
the same parent or another one, would aim at the same shares again. So each slice takes its quantity off what
is displayed, and an order that came back with a rest says that nothing is left up to its limit. Both hold
until a quote comes that is newer by a round trip, or for ``memory_ms`` where none does.
"""

from __future__ import annotations

from dataclasses import dataclass

from execution.router.books import Levels

AIMS_MAX = 64  # of one side of a book; beyond it the oldest is forgotten


@dataclass(frozen=True, slots=True)
class _Aim:
    """settled_ns: quotes received later know of it. empty_to: nothing was left up to that price, or None."""

    settled_ns: int
    until_ns: int
    quantity: int
    empty_to: int | None


class Aims:
    """Of all destinations and instruments. memory_ns: how long one counts where the book stands still."""

    def __init__(self, memory_ns: int) -> None:
        self._memory_ns = memory_ns
        self._aims: dict[tuple[str, str, str], list[_Aim]] = {}

    def aim(
        self,
        destination: str,
        symbol: str,
        side: str,
        quantity: int,
        now_ns: int,
        round_trip_ns: int,
        empty_to: int | None = None,
    ) -> None:
        """Something goes there now, or (``empty_to``) has come back."""
        aims = self._aims.setdefault((destination, symbol, side), [])
        until_ns = now_ns + max(self._memory_ns, round_trip_ns)
        aims.append(_Aim(now_ns + round_trip_ns, until_ns, quantity, empty_to))
        del aims[:-AIMS_MAX]

    def left(
        self, destination: str, symbol: str, side: str, levels: Levels, ts_recv: int, now_ns: int
    ) -> Levels:
        """Of the levels that a book of ``ts_recv`` shows, what is to be believed in."""
        key = (destination, symbol, side)
        aims = self._aims.get(key)
        if not aims:
            return levels
        aims = [aim for aim in aims if aim.until_ns > now_ns and aim.settled_ns >= ts_recv]
        if not aims:
            del self._aims[key]
            return levels
        self._aims[key] = aims
        gone = sum(aim.quantity for aim in aims)
        bounds = [aim.empty_to for aim in aims if aim.empty_to is not None]
        found = []
        for price, size in levels:
            if any(price <= bound if side == "buy" else price >= bound for bound in bounds):
                gone = max(0, gone - size)  # what was aimed at was there
                continue
            taken = min(gone, size)
            gone -= taken
            if size > taken:
                found.append((price, size - taken))
        return tuple(found)
