"""Where orders of a market's instruments can go: destinations, and the gateways that lead there."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Destination:
    """A place that trades instruments of ``market``.

    maker_fee, taker_fee: nanos of currency a share, below 0: a rebate. ``book``: whose ticks show its
    displayed book (of a dark one, its reference). ``latency_ns``: one way, until own executions tell.
    """

    name: str
    market: str
    gateway: str
    kind: str = "lit"  # or "dark"
    book: str = ""
    maker_fee: int = 0
    taker_fee: int = 0
    latency_ns: int = 1_000_000

    @property
    def dark(self) -> bool:
        return self.kind == "dark"


@dataclass(frozen=True, slots=True)
class Destinations:
    """All of them, by name."""

    by_name: dict[str, Destination] = field(default_factory=dict)

    def of(self, market: str) -> list[Destination]:
        """Those that trade a market's instruments, in the file's order."""
        return [one for one in self.by_name.values() if one.market == market]
