"""Parent orders in, slices for destinations out: what a router is.

A parent order is sized by a signal and passed by the gate; it never leaves. A router says where its parts
go. The engine makes child orders of the slices, passes each through the gate, makes them and the decision
durable in one transaction, and asks again whenever a part comes back unfilled. The books that a decision saw
are kept with it.

:class:`~execution.router.smart.SmartRouter` is the router; ``docs/routing.md`` has its formulas. ``books``
and ``memory`` are what it sees, ``experience`` what it has learnt, ``standing`` where a parent stands,
``allocation``, ``waiting`` and ``legs`` its reasoning, ``record`` what is kept, ``settings`` its file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from execution.orders import OrderRecord
from execution.venues import Report


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a parent for one destination. quantity, limit_price, min_quantity: nanos.

    ``order_type``: "limit", "market" or "midpoint". ``time_in_force``: "ioc" or "day".
    ``why``: in a few words.
    """

    destination: str
    quantity: int
    limit_price: int
    order_type: str = "limit"
    time_in_force: str = "ioc"
    post_only: bool = False
    min_quantity: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a router decided for a parent, and what it saw.

    ``cancel``: client order ids of children that are to be taken back (a post that waited too long).
    ``done``: nothing more is to be tried; what the parent has not traded by then is given up, for the reason
    ``why``. ``record``: JSON of books, costs and expectations behind the decision.
    """

    slices: list[Slice] = field(default_factory=list)
    cancel: list[str] = field(default_factory=list)
    done: bool = False
    why: str = ""
    record: bytes = b"{}"


class Router(Protocol):
    """Pure: time is a parameter, books come from the market state it was given."""

    def routes(self, venue: str) -> bool:
        """Whether orders of this venue's instruments are parents (else they go to the venue itself)."""
        ...

    def decide(self, parent: OrderRecord, children: Sequence[OrderRecord], now_ns: int) -> Decision | None:
        """What to do next for a parent; None: nothing now.

        Called when the parent was accepted, when one of its children changed, and with every timer. Must not
        hand out more than ``parent.quantity`` less what children filled and may still fill.
        """
        ...

    def on_report(self, child: OrderRecord, report: Report, now_ns: int) -> None:
        """Learn from what a destination said of a child (latency, fills, rejects)."""
        ...
