"""An exchange with a FIX port and its client die again and again under load: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

from execution.exchange.record import ExchangeRecord
from execution.fix.configuration import SessionConfiguration
from execution.orders import OrderRecord, client_order_id
from execution.venues import Report, ReportType
from execution.venues.fix.gateway import FixGateway
from tests.execution.rig import VENUE
from tests.execution.venues.ouch.world import CLOCK, Agent, order
from tickloom.events import OrderState
from tickloom.prices import NANOS

ORDERS, KILLS = 300, 10
DIRECTORY = Path(__file__).parents[4]
OVER = (OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED)


class Process:
    """The exchange as a child process, on one port throughout."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, 0

    async def start(self) -> None:
        self.child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.execution.venues.fix.serve"),
            *(str(self.directory), str(self.port)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=DIRECTORY,
        )
        assert self.child.stdout is not None
        while not (line := await self.child.stdout.readline()).strip().isdigit():
            assert line, "the exchange did not start"
        self.port = int(line)

    async def kill(self) -> None:
        self.child.kill()
        await self.child.wait()


class Trader(Agent):
    """Sends each order until the venue has answered for it; what a loss leaves open is asked for."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory, self.open = directory, dict[str, OrderRecord]()
        self.resent = 0

    async def connect(self, port: int) -> None:
        configuration = SessionConfiguration("TICKLOOM", VENUE, True, frozenset())
        path = self.directory / "client.db"
        events = self.events()
        events = type(events)(events.on_report, self._on_session, events.on_lost, events.last_report)
        self.gateway = FixGateway(configuration, "127.0.0.1", port, (VENUE,), path, events, CLOCK)
        await self.gateway.start()
        assert await self.gateway.wait_connected(30)

    async def die(self) -> None:
        """As kill -9: no logout, and what was not committed is gone."""
        gateway = self.gateway
        gateway._connection.cut()
        task = gateway._initiator._task
        assert task is not None
        task.cancel()
        gateway._store._db.close()
        await asyncio.gather(task, return_exceptions=True)

    def send(self, one: OrderRecord) -> None:
        self.open[one.order_id] = one
        self.gateway.send(one)

    def _on_session(self, session: str) -> None:
        self.sessions.append(session)
        for one in list(self.open.values()):
            self.gateway.status(one)

    def _on_report(self, report: Report) -> None:
        if report.report_seq and report.report_seq <= self.durable:
            return  # came again, and is durable here
        super()._on_report(report)
        if report.unknown_order:  # the venue never had it
            self.resent += 1
            self.send(self.open[report.order_id])
        elif report.state in OVER:
            self.open.pop(report.order_id, None)


def test_killed_under_load(tmp_path: Path) -> None:
    """300 orders, the exchange killed five times and the client five times: the exchange has each order
    once, and we have each fill once, in one numbering throughout."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)

    async def run() -> Trader:
        venue, trader = Process(tmp_path), Trader(tmp_path)
        await venue.start()
        await trader.connect(venue.port)
        kills = sorted(chance.sample(range(10, ORDERS), KILLS))
        for number in range(ORDERS):
            trader.send(order(client_order_id(f"signal {number}", 0)))
            await asyncio.sleep(chance.random() * 0.002)
            if number in kills[::2]:
                await trader.die()
                await trader.connect(venue.port)
            elif number in kills:
                await venue.kill()
                await venue.start()
                await trader.until(lambda: trader.gateway.connected)
        await trader.until(lambda: not trader.open)
        await trader.gateway.close()
        await venue.kill()
        return trader

    trader = asyncio.run(run())
    record = ExchangeRecord(tmp_path / "exchange.db", read_only=True)
    taken = Counter(found.order_id for found in record.orders())
    assert taken == Counter(client_order_id(f"signal {n}", 0) for n in range(ORDERS)), f"seed {seed}"
    fills = [report for report in trader.reports if report.report_type is ReportType.TRADE]
    ours = Counter((report.execution_id, report.order_id, report.last_quantity) for report in fills)
    theirs = Counter((found.execution_id, found.order_id, found.quantity) for found in record.executions())
    assert ours == theirs, f"seed {seed}"
    assert set(ours.values()) == {1}
    assert len(set(trader.sessions)) == 1
    assert sum(found.quantity for found in record.executions()) == ORDERS * 10 * NANOS
    record.close()
