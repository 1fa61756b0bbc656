"""A venue with an OUCH port that can be stopped and started on its record, and an agent's end of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from execution.exchange.drop_copy import DropCopy
from execution.exchange.matching import MatchingEngine
from execution.exchange.ouch_port import OuchPort
from execution.exchange.profile import VenueProfile
from execution.exchange.record import ExchangeRecord
from execution.exchange.server import ExchangeServer
from execution.orders import OrderRecord
from execution.venues import GatewayEvents, Report, ReportType
from execution.venues.ouch.gateway import OuchGateway
from tests.execution.rig import VENUE, standing_market
from tickloom.clock import SystemClock
from tickloom.events import OrderState
from tickloom.instruments import Registry
from tickloom.prices import NANOS

WAIT_S = 20.0
REGISTRY = Registry.load()
CLOCK = SystemClock()


class Venue:
    """XNAS, lit, quoted two ticks wide around the reference of each stock, a million shares on each side."""

    def __init__(self, directory: Path, profile: VenueProfile | None = None) -> None:
        self.path, self.port, self.drop_copy_port = directory / "exchange.db", 0, 0
        self.profiles = {VENUE: profile or VenueProfile(VENUE)}

    async def start(self) -> None:
        self.record = ExchangeRecord(self.path)
        self.engine = MatchingEngine(
            REGISTRY,
            self.record.orders(),
            self.record.execution_count(),
            self.profiles,
            self.record.executions(),
        )
        for _, batch in standing_market(REGISTRY, 2):
            self.engine.apply(batch.block, 0)
        self.server = ExchangeServer(self.engine, self.record, CLOCK)
        self.ouch = OuchPort(self.server, self.record, CLOCK, VENUE)
        self.drop_copy = DropCopy(self.server, self.record, CLOCK)
        self.server.go_live()
        self.port = await self.ouch.start("127.0.0.1", self.port)
        self.drop_copy_port = await self.drop_copy.start("127.0.0.1", self.drop_copy_port)

    async def stop(self) -> None:
        """As a kill would: connections are cut, nothing is said."""
        for session in self.server.sessions():
            session.cut()
        await self.server.close()
        await self.drop_copy.close()
        self.record.close()


class Agent:
    """What the gateway tells, noted; ``durable`` is the last report that took effect."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.sessions: list[str] = []
        self.lost: list[str] = []
        self.durable = 0

    def events(self) -> GatewayEvents:
        return GatewayEvents(self._on_report, self.sessions.append, self.lost.append, self._last)

    def _on_report(self, report: Report) -> None:
        self.reports.append(report)
        self.durable = max(self.durable, report.report_seq)

    def _last(self) -> tuple[str, int]:
        return (self.sessions[-1] if self.sessions else "", self.durable)

    def told(self) -> list[tuple[str, ReportType]]:
        return [(report.order_id, report.report_type) for report in self.reports]

    async def until(self, done: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not done():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"told so far: {self.told()}, lost: {self.lost}") from None


def make_gateway(venue: Venue, agent: Agent, order_ids: tuple[str, ...] = ()) -> OuchGateway:
    return OuchGateway("127.0.0.1", venue.port, VENUE, agent.events(), order_ids=lambda: order_ids)


def order(
    order_id: str,
    price: int = 152_500_000_000,
    time_in_force: str = "ioc",
    side: str = "buy",
    quantity: int = 10 * NANOS,
) -> OrderRecord:
    state = OrderState.PENDING_NEW
    return OrderRecord(
        *(order_id, "s", 0, "r", VENUE, "ALFA", side, quantity, price, time_in_force, state, 1, 1)
    )


def play(
    tmp_path: Path,
    scene: Callable[[Venue, Agent, OuchGateway], Awaitable[None]],
    profile: VenueProfile | None = None,
) -> None:
    async def run() -> None:
        venue, agent = Venue(tmp_path, profile), Agent()
        await venue.start()
        gateway = make_gateway(venue, agent)
        await gateway.start()
        assert await gateway.wait_connected(WAIT_S)
        try:
            await scene(venue, agent, gateway)
        finally:
            await gateway.close()
            await venue.stop()

    asyncio.run(run())
