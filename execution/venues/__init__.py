"""Orders out to a venue, its reports back: what a gateway is, in terms no venue owns.

One folder a venue family, each split into ``protocol`` (pure: messages) and ``gateway`` (sockets).
Adding a venue means another such folder; nothing else in ``execution`` changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from execution.orders import OrderRecord
from tickloom.events import OrderState


class ReportType(StrEnum):
    """What a venue tells: ExecType (FIX 4.4, tag 150), and the two answers that are not executions."""

    NEW = "new"
    TRADE = "trade"
    CANCELLED = "cancelled"
    REPLACED = "replaced"
    TRADE_CANCELLED = "trade_cancelled"  # a bust
    TRADE_CORRECTED = "trade_corrected"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DONE_FOR_DAY = "done_for_day"
    STATUS = "status"  # the answer to an order status request; nothing happened
    CANCEL_REJECTED = "cancel_rejected"  # OrderCancelReject (9)


class Report(msgspec.Struct, frozen=True, gc=False):
    """What a venue says about one order.

    last_quantity, last_price, filled_quantity: nanos. ``report_seq`` counts the venue's durable
    reports to us from 1, rising; 0 for an answer that is no such report. ``unknown_order``:
    the venue has no such order (OrdRejReason 5).

    ``execution_id``: of a bust or correction, that of the trade concerned, whose quantity and price
    are then ``last_quantity`` and ``last_price`` (0 for a bust). ``original_order_id``: of a
    replacement, the order that it replaces; ``quantity`` and ``price`` are the new ones. An order that
    was made smaller in its place has the same id in both, and what was taken off in ``last_quantity``.
    ``liquidity``: "added", "removed" or empty. ``fee``: of the execution, nanos; below 0: a rebate.
    """

    report_type: ReportType
    order_id: str
    venue: str
    symbol: str
    side: str
    state: OrderState
    filled_quantity: int
    venue_order_id: str = ""
    execution_id: str = ""
    last_quantity: int = 0
    last_price: int = 0
    text: str = ""
    ts: int = 0
    report_seq: int = 0
    unknown_order: bool = False
    original_order_id: str = ""
    quantity: int = 0
    price: int = 0
    liquidity: str = ""
    fee: int = 0


@dataclass(frozen=True, slots=True)
class GatewayEvents:
    """What a gateway calls, always on the event loop that runs it.

    last_report: the venue's record we know (session id, empty: none yet) and the number of its last report
    that is durable here. on_reports: the same as on_report for each, durable at once; for a gateway that has
    several before it. on_fenced: the venue refuses us, because an agent of a later ``epoch`` is there.
    epoch: the fencing token, said at logon where the protocol has room for it; agent: tells two agents of the
    same epoch apart, which have copies of one journal.
    """

    on_report: Callable[[Report], None]
    on_session: Callable[[str], None]
    on_lost: Callable[[str], None]
    last_report: Callable[[], tuple[str, int]]
    on_reports: Callable[[list[Report]], None] | None = None
    on_fenced: Callable[[str], None] | None = None
    epoch: int = 0
    agent: str = ""


class Gateway(Protocol):
    """One session with one venue, or with a process that stands for several.

    ``send``, ``cancel``, ``replace`` and ``status`` hand a message to the connection and return; what
    becomes of it comes back as a :class:`Report`, or ``on_lost`` tells that it may never come.
    """

    name: str
    venues: tuple[str, ...]

    @property
    def connected(self) -> bool:
        """True between the venue's logon answer and the loss of the connection."""
        ...

    async def start(self) -> None:
        """Begin to connect, and keep connecting for ever."""
        ...

    async def wait_connected(self, timeout_s: float) -> bool:
        """True as soon as there is a session, False if there was none in that time."""
        ...

    def send(self, *orders: OrderRecord) -> None:
        """New orders, in that order; in one write where the protocol lets them."""
        ...

    def cancel(self, order: OrderRecord) -> None: ...

    def replace(self, order: OrderRecord, original: OrderRecord) -> None:
        """Ask for ``order`` in the place of ``original``; its quantity is with what that has filled."""
        ...

    def status(self, order: OrderRecord) -> None: ...

    async def close(self) -> None:
        """Log out and stop. Nothing is cancelled by it."""
        ...
