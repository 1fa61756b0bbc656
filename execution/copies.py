"""Drop copies in; what the order's own session has not told in time, and what it told otherwise, out. Pure.

A copy of an execution, a bust or a correction waits a while: as a rule the session that carries the order
tells the same, sooner. What is not booked by then is given to the engine like any report, and a copy for
an order whose fate is unknown is given at once. Executions have ids, so nothing is booked twice however the
two sources interleave. Where both have told and do not agree, somebody must look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from execution.venues import Report, ReportType
from tickloom.events import Execution
from tickloom.prices import format_nanos
from tickloom.records import replace

COPIED = (ReportType.TRADE, ReportType.TRADE_CANCELLED, ReportType.TRADE_CORRECTED)
HELD_MAX = 100_000  # executions that wait; beyond it the oldest do not wait any longer

#: (destination, execution id) to the execution as it is booked, quantity 0 if it was busted; None: it is not.
Booked = Callable[[str, str], Execution | None]


@dataclass(slots=True)
class _Held:
    """What was copied of one execution, in order; sequence: of the last of it."""

    due_ns: int
    sequence: int
    reports: list[Report] = field(default_factory=list)


@dataclass(slots=True)
class Resolved:
    """What is to be booked, and what is to be looked at. sequence: all copies up to it are done with."""

    book: list[Report] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    sequence: int = 0


class Copies:
    """The copies of one stream.

    Parameters
    ----------
    wait_ns : int
        How long the order's own session may take.
    urgent : callable
        Whether an order, by id, cannot wait: its fate is unknown.
    """

    def __init__(self, wait_ns: int, booked: Booked, urgent: Callable[[str], bool]) -> None:
        self._wait_ns, self._booked, self._urgent = wait_ns, booked, urgent
        self._held: dict[tuple[str, str], _Held] = {}
        self._sequence = 0

    def skip(self, sequence: int) -> None:
        """A message that is not about us."""
        self._sequence = max(self._sequence, sequence)

    def take(self, report: Report, sequence: int, now_ns: int) -> None:
        """A copy, with its number in the stream; monotonic ns."""
        self.skip(sequence)
        if report.report_type not in COPIED:
            return
        key = (report.venue, report.execution_id)
        held = self._held.pop(key, None) or _Held(now_ns + self._wait_ns, sequence)
        if self._urgent(report.order_id) or len(self._held) >= HELD_MAX:
            held.due_ns = now_ns
        held.sequence = sequence
        held.reports.append(replace(report, report_seq=0))
        self._held[key] = held

    def due(self, now_ns: int) -> Resolved:
        """What has waited long enough."""
        found = Resolved()
        for key in [key for key, held in self._held.items() if held.due_ns <= now_ns]:
            self._resolve(key, self._held.pop(key).reports, found)
        first = min((held.sequence for held in self._held.values()), default=self._sequence + 1)
        found.sequence = first - 1
        return found

    def _resolve(self, key: tuple[str, str], reports: list[Report], found: Resolved) -> None:
        booked, last = self._booked(*key), reports[-1]
        if booked is None:
            found.book += reports
            found.alerts.append(
                f"{_text(last)}: the order's own session has not told it; booked from the copy"
            )
            return
        price = last.last_price or booked.price
        if (booked.quantity, booked.price) == (last.last_quantity, price):
            return
        if last.report_type is not ReportType.TRADE:
            found.book.append(last)
            found.alerts.append(
                f"{_text(last)}: the order's own session has not told it; booked from the copy"
            )
        elif booked.quantity:  # one that is busted here already has its bust still to come
            ours = f"{format_nanos(booked.quantity)} at {format_nanos(booked.price)}"
            found.alerts.append(
                f"{_text(last)}, while the order's own session said {ours}, which stays booked. "
                "Halt, and ask the venue which of the two is right"
            )


def _text(report: Report) -> str:
    said = f"{format_nanos(report.last_quantity)} at {format_nanos(report.last_price)}"
    if report.report_type is ReportType.TRADE_CANCELLED:
        said = "nothing: it was busted"
    return (
        f"the drop copy of {report.venue} says of execution {report.execution_id} ({report.order_id}) {said}"
    )
