"""Faults on demand: what a venue may do wrong, as state that the shell asks before it acts. Pure.

Counts and times are set by the control port. Faults of messages are by venue (empty: any); faults of
sessions are by client (empty: all).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tickloom.clock import NS_PER_MS


@dataclass(slots=True)
class Faults:
    """What is to go wrong next.

    Attributes
    ----------
    lose_orders : dict of str to int
        So many of the next requests are read and never looked at; the session is cut with each.
    lose_acks : dict of str to int
        So many of the next reports are recorded and not sent; the session is cut with each.
    slow : dict of str to (int, int)
        Requests wait so many ns longer, until that time.
    silent : dict of str to int
        A client's session says nothing until that time, heartbeats included; requests are dealt with.
    """

    lose_orders: dict[str, int] = field(default_factory=dict)
    lose_acks: dict[str, int] = field(default_factory=dict)
    slow: dict[str, tuple[int, int]] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)

    def loses_order(self, venue: str) -> bool:
        """Whether this request is lost; counts it."""
        return _take(self.lose_orders, venue)

    def loses_ack(self, venue: str) -> bool:
        """Whether this report is lost; counts it."""
        return _take(self.lose_acks, venue)

    def delay_ns(self, venue: str, now_ns: int) -> int:
        """How much longer a request waits."""
        found = [self.slow[name] for name in (venue, "") if name in self.slow]
        return max((delay for delay, until in found if now_ns < until), default=0)

    def slow_down(self, venue: str, delay_ms: int, until_ns: int) -> None:
        self.slow[venue] = (delay_ms * NS_PER_MS, until_ns)

    def silent_until_ns(self, client: str) -> int:
        """0: it may speak."""
        return max(self.silent.get(client, 0), self.silent.get("", 0))


def _take(counts: dict[str, int], venue: str) -> bool:
    for name in (venue, ""):
        if counts.get(name, 0) > 0:
            counts[name] -= 1
            return True
    return False
