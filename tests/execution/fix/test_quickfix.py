"""Our initiator against QuickFIX's acceptor, where its Python binding is installed (built from source)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from execution.fix.configuration import SessionConfiguration
from execution.orders import OrderRecord
from execution.venues import GatewayEvents, Report, ReportType
from execution.venues.fix.gateway import FixGateway
from tickloom.clock import SystemClock
from tickloom.events import OrderState
from tickloom.prices import NANOS

pytest.importorskip("quickfix", reason="pip install quickfix builds it in some minutes")

WAIT_S = 30.0
SETTINGS = """
[DEFAULT]
ConnectionType=acceptor
SocketAcceptPort={port}
SocketReuseAddress=Y
StartTime=00:00:00
EndTime=00:00:00
FileStorePath={directory}/store
UseDataDictionary=Y
DataDictionary={dictionary}
[SESSION]
BeginString={begin_string}
SenderCompID=VENUE
TargetCompID=TICKLOOM
"""


@pytest.fixture(params=["FIX.4.4", "FIX.4.2"])
def venue(
    request: pytest.FixtureRequest, tmp_path: Path, free_port: int, shared_data: Callable[[str], Path]
) -> Iterator[tuple[str, int, Callable[[], subprocess.Popen[bytes]]]]:
    """Version, port, and what starts QuickFIX's acceptor (again, on the same store)."""
    begin_string = request.param
    (tmp_path / "venue.cfg").write_text(
        SETTINGS.format(
            port=free_port,
            directory=tmp_path,
            begin_string=begin_string,
            dictionary=shared_data(f"fix/spec/{begin_string.replace('.', '')}.xml"),
        )
    )
    running: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("quickfix_venue.py")
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "venue.cfg")], stdout=subprocess.PIPE
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield begin_string, free_port, start
    for process in running:
        process.kill()
        process.wait()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.02)


def test_orders_against_quickfix(
    venue: tuple[str, int, Callable[[], subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    """Logon, an order, its fills; QuickFIX is killed, comes back on its store, and the session goes on."""
    begin_string, port, start = venue
    reports: list[Report] = []
    sessions: list[str] = []
    lost: list[str] = []

    async def run() -> None:
        events = GatewayEvents(reports.append, sessions.append, lost.append, lambda: ("", 0))
        configuration = SessionConfiguration(
            "TICKLOOM", "VENUE", True, frozenset(), begin_string=begin_string, heartbeat_s=1
        )
        gateway = FixGateway(
            configuration, "127.0.0.1", port, ("XNAS",), tmp_path / "ours.db", events, SystemClock()
        )
        await gateway.start()
        assert await gateway.wait_connected(WAIT_S)
        gateway.send(order("A"))
        await until(lambda: len(reports) == 2)
        await asyncio.sleep(2.5)  # heartbeats both ways: neither side ends it
        assert gateway.connected
        acceptor.kill()
        await until(lambda: not gateway.connected)
        start()
        await until(lambda: gateway.connected)
        gateway.send(order("B"))
        await until(lambda: len(reports) == 4)
        await gateway.close()

    acceptor = start()
    asyncio.run(run())
    assert [(report.report_type, report.order_id, report.state) for report in reports] == [
        (ReportType.TRADE, name, state)
        for name in ("A", "B")
        for state in (OrderState.PARTIALLY_FILLED, OrderState.FILLED)
    ]
    assert all(report.last_price == 10_010_000_000 for report in reports)
    assert len(set(sessions)) == 1


def order(order_id: str) -> OrderRecord:
    return OrderRecord(
        order_id=order_id,
        signal_id="signal",
        leg=0,
        rule="rule",
        venue="XNAS",
        symbol="ALFA",
        side="buy",
        quantity=100 * NANOS,
        limit_price=10_010_000_000,
        time_in_force="day",
        state=OrderState.PENDING_NEW,
        ts_created=SystemClock().now_ns(),
        ts=SystemClock().now_ns(),
    )
