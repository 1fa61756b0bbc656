"""The drop copy: every execution, also of orders that this agent knows nothing of."""

from __future__ import annotations

import asyncio
from pathlib import Path

from execution.fix.orders import NewOrderSingle
from execution.venues import Report, ReportType
from execution.venues.fix.drop_copy import DropCopy
from tests.execution.venues.fix.test_gateway import CLIENT, WAIT_S, Venue, report, until
from tickloom.clock import SystemClock
from tickloom.prices import NANOS

ORDER = NewOrderSingle("A", "ALFA", "1", 100 * NANOS, SystemClock().now_ns(), price=10 * NANOS, venue="XNAS")


def test_copies_come_once_and_after_a_failure_again(tmp_path: Path) -> None:
    """What the reader could not record comes to its successor; answers to questions are no executions."""
    got: list[Report] = []

    def refuse(report: Report) -> None:
        raise RuntimeError("the journal cannot be written")

    async def run() -> None:
        venue = Venue(tmp_path)
        await venue.start()
        port, path, clock = venue.port, tmp_path / "copy.db", SystemClock()
        first = DropCopy(CLIENT, "127.0.0.1", port, "XNAS", path, refuse, clock)
        await first.start()
        async with asyncio.timeout(WAIT_S):
            await until(lambda: first.connected)
        venue.tell(report(ORDER, "I", "0"))
        venue.tell(report(ORDER, "F", "1", filled=40, last=40))
        await until(lambda: first.failure is not None)
        await first.close()
        second = DropCopy(CLIENT, "127.0.0.1", port, "XNAS", path, got.append, clock)
        await second.start()
        await until(lambda: len(got) == 1)
        venue.tell(report(ORDER, "F", "2", filled=100, last=60))
        await until(lambda: len(got) == 2)
        await second.close()
        await venue.acceptor.close()

    asyncio.run(run())
    assert [(copy.report_type, copy.execution_id) for copy in got] == [
        (ReportType.TRADE, "A-F-40"),
        (ReportType.TRADE, "A-F-100"),
    ]
    assert {copy.report_seq for copy in got} == {0}
