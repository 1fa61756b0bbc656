"""A venue with a FIX port, our gateway to it, and a bare client for what our gateway never says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from execution.exchange.fix_port import FixPort
from execution.exchange.profile import VenueProfile
from execution.fix import orders as fix
from execution.fix.codec import Message
from execution.fix.configuration import Rejected, SessionConfiguration
from execution.fix.connection import Connection, Initiator
from execution.fix.order_codec import decode, encode
from execution.fix.session import Session
from execution.fix.store import MemoryStore
from execution.orders import OrderRecord
from execution.venues.fix.gateway import FixGateway
from tests.execution.rig import VENUE
from tests.execution.venues.ouch.world import CLOCK, WAIT_S, Agent, Venue, order
from tickloom.prices import NANOS
from tickloom.records import replace

CLIENT, OTHER = "TICKLOOM", "OTHER"
LOW = 100 * NANOS


class FixVenue(Venue):
    """The venue of the OUCH tests with a FIX port; stopped and started, it goes on with its record."""

    def __init__(self, directory: Path, profile: VenueProfile | None = None, password: str = "") -> None:
        super().__init__(directory, profile)
        self.fix_port, self.password = 0, password

    async def start(self) -> None:
        await super().start()
        self.fix = FixPort(self.server, self.record, CLOCK, VENUE, (CLIENT, OTHER), self.password)
        self.fix_port = await self.fix.start("127.0.0.1", self.fix_port)


def make_gateway(venue: FixVenue, agent: Agent, directory: Path, password: str = "") -> FixGateway:
    configuration = SessionConfiguration(
        CLIENT, VENUE, True, frozenset(), logon_fields=((554, password),) if password else ()
    )
    events = agent.events()
    return FixGateway(
        configuration, "127.0.0.1", venue.fix_port, (VENUE,), directory / "client.db", events, CLOCK
    )


class Client:
    """A bare FIX client, for what our gateway never says."""

    def __init__(self, port: int, name: str = OTHER) -> None:
        configuration = SessionConfiguration(name, VENUE, True, frozenset({"8", "9", "j"}))
        self.connection = Connection(Session(configuration, MemoryStore()), self, CLOCK)
        self.initiator = Initiator(self.connection, "127.0.0.1", port)
        self.inbox: asyncio.Queue[fix.FromVenue | fix.FromClient] = asyncio.Queue()
        self.up = asyncio.Event()

    async def start(self) -> None:
        await self.initiator.start()
        async with asyncio.timeout(WAIT_S):
            await self.up.wait()

    def say(self, *messages: fix.FromClient) -> None:
        for message in messages:
            self.connection.send(*encode(message))

    async def next(self) -> fix.ExecutionReport:
        said = await self.any()
        assert isinstance(said, fix.ExecutionReport), said
        return said

    async def any(self) -> fix.FromVenue | fix.FromClient:
        async with asyncio.timeout(WAIT_S):
            return await self.inbox.get()

    def on_logged_on(self, connection: Connection, epoch: str) -> None:
        self.up.set()

    def on_lost(self, connection: Connection, reason: str) -> None: ...

    def on_rejected(self, connection: Connection, rejected: Rejected) -> None:
        raise AssertionError(rejected)

    def on_message(self, connection: Connection, message: Message) -> None:
        self.inbox.put_nowait(decode(message))


def play(
    tmp_path: Path,
    scene: Callable[[FixVenue, Agent, FixGateway], Awaitable[None]],
    profile: VenueProfile | None = None,
) -> None:
    async def run() -> None:
        venue, agent = FixVenue(tmp_path, profile), Agent()
        await venue.start()
        gateway = make_gateway(venue, agent, tmp_path)
        await gateway.start()
        assert await gateway.wait_connected(WAIT_S)
        try:
            await scene(venue, agent, gateway)
        finally:
            await gateway.close()
            await venue.stop()

    asyncio.run(run())


def play_bare(tmp_path: Path, scene: Callable[[FixVenue, Client], Awaitable[None]]) -> None:
    async def run() -> None:
        venue = FixVenue(tmp_path)
        await venue.start()
        client = Client(venue.fix_port)
        await client.start()
        try:
            await scene(venue, client)
        finally:
            await client.initiator.close()
            await venue.stop()

    asyncio.run(run())


def single(name: str, **changes: object) -> fix.NewOrderSingle:
    """Buys 10 ALFA a little above the offer of 152.41, for a day."""
    made = fix.NewOrderSingle(name, "ALFA", fix.BUY, 10 * NANOS, CLOCK.now_ns(), price=152_500_000_000)
    return replace(made, **changes)  # type: ignore[arg-type]


def rests(order_id: str, **changes: object) -> OrderRecord:
    return replace(order(order_id, price=LOW, time_in_force="day"), **changes)  # type: ignore[arg-type]
