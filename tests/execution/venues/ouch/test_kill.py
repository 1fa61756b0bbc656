"""Venue and gateway die again and again under load: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

from execution.exchange.record import ExchangeRecord
from execution.orders import OrderRecord, client_order_id
from execution.venues import Report, ReportType
from execution.venues.ouch.gateway import OuchGateway
from tests.execution.rig import VENUE
from tests.execution.venues.ouch.world import Agent, order
from tickloom.prices import NANOS

ORDERS, KILLS = 300, 10
DIRECTORY = Path(__file__).parents[4]


class Process:
    """The venue as a child process, on one port throughout."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, 0

    async def start(self) -> None:
        self.child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.execution.venues.ouch.serve"),
            *(str(self.directory), str(self.port)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=DIRECTORY,
        )
        assert self.child.stdout is not None
        while not (line := await self.child.stdout.readline()).strip().isdigit():
            assert line, "the venue did not start"
        self.port = int(line)

    async def kill(self) -> None:
        self.child.kill()
        await self.child.wait()


class Trader(Agent):
    """Sends each order until the venue has answered for it; what a loss leaves open is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[str, OrderRecord] = {}
        self.gateway: OuchGateway | None = None
        self.resent = 0

    def send(self, one: OrderRecord) -> None:
        assert self.gateway is not None
        self.open[one.order_id] = one
        self.gateway.send(one)

    def on_session(self, session: str) -> None:
        self.sessions.append(session)
        assert self.gateway is not None
        for one in self.open.values():
            self.gateway.status(one)

    def _on_report(self, report: Report) -> None:
        super()._on_report(report)
        if report.unknown_order:  # the venue never had it
            self.resent += 1
            self.send(self.open[report.order_id])
        elif report.state.value in ("filled", "cancelled"):
            self.open.pop(report.order_id, None)


def test_killed_under_load(tmp_path: Path) -> None:
    """300 orders, the venue killed five times and the gateway replaced five times by one without a memory:
    the venue has each order once, and we have each fill once."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)

    async def run() -> Trader:
        venue, trader = Process(tmp_path), Trader()
        await venue.start()
        events = trader.events()
        events = type(events)(events.on_report, trader.on_session, events.on_lost, events.last_report)

        async def connect() -> OuchGateway:
            ids = lambda: [client_order_id(f"signal {number}", 0) for number in range(ORDERS)]  # noqa: E731
            trader.gateway = OuchGateway("127.0.0.1", venue.port, VENUE, events, order_ids=ids)
            await trader.gateway.start()
            assert await trader.gateway.wait_connected(30)
            return trader.gateway

        gateway = await connect()
        kills = sorted(chance.sample(range(10, ORDERS), KILLS))
        for number in range(ORDERS):
            trader.send(order(client_order_id(f"signal {number}", 0)))
            await asyncio.sleep(chance.random() * 0.002)
            if number in kills[::2]:
                await gateway.close()
                gateway = await connect()
            elif number in kills:
                await venue.kill()
                await venue.start()
                assert await gateway.wait_connected(30)
        await trader.until(lambda: not trader.open)
        await gateway.close()
        await venue.kill()
        return trader

    trader = asyncio.run(run())
    record = ExchangeRecord(tmp_path / "exchange.db", read_only=True)
    taken = [found.order_id for found in record.orders()]
    sent = {client_order_id(f"signal {number}", 0)[:14] for number in range(ORDERS)}
    assert Counter(taken) == Counter(sent), f"seed {seed}"
    fills = [report for report in trader.reports if report.report_type is ReportType.TRADE]
    ours = Counter((report.execution_id, report.order_id[:14], report.last_quantity) for report in fills)
    theirs = Counter((found.execution_id, found.order_id, found.quantity) for found in record.executions())
    assert ours == theirs, f"seed {seed}"
    assert set(ours.values()) == {1}
    assert sum(found.quantity for found in record.executions()) == ORDERS * 10 * NANOS
    record.close()
