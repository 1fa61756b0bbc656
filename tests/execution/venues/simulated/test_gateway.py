"""Gateway and exchange server on a real TCP connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from execution.exchange.matching import MatchingEngine
from execution.exchange.record import ExchangeRecord
from execution.exchange.server import ExchangeServer
from execution.orders import OrderRecord
from execution.venues import GatewayEvents, Report, ReportType
from execution.venues.simulated.gateway import SimulatedGateway
from execution.venues.simulated.protocol import Logon, NewOrder, decode, encode
from tests.execution.rig import VENUE, standing_market
from tickloom.clock import SystemClock
from tickloom.events import OrderState
from tickloom.instruments import Registry
from tickloom.prices import NANOS

WAIT_S = 20.0
REGISTRY = Registry.load()


class Venue:
    """An exchange that can be stopped and started on its record."""

    def __init__(self, directory: Path) -> None:
        self.path, self.port = directory / "exchange.db", 0

    async def start(self) -> None:
        self.record = ExchangeRecord(self.path)
        engine = MatchingEngine(REGISTRY, self.record.orders(), self.record.execution_count())
        for _, batch in standing_market(REGISTRY, 2):
            engine.apply(batch.block, 0)
        self.server = ExchangeServer(engine, self.record, SystemClock())
        self.server.go_live()
        self.port = await self.server.start("127.0.0.1", self.port)

    async def stop(self) -> None:
        await self.server.close()
        self.record.close()


class Agent:
    """What the gateway tells, noted; ``durable`` is the last report that took effect."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.sessions: list[str] = []
        self.lost: list[str] = []
        self.durable = 0

    def events(self) -> GatewayEvents:
        return GatewayEvents(self.reports.append, self.sessions.append, self.lost.append, self._last)

    def _last(self) -> tuple[str, int]:
        return (self.sessions[-1] if self.sessions else "", self.durable)

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not done():
                await asyncio.sleep(0.01)


def order(order_id: str, price: int = 152_500_000_000, time_in_force: str = "ioc") -> OrderRecord:
    state = OrderState.PENDING_NEW
    return OrderRecord(
        *(order_id, "s", 0, "r", VENUE, "ALFA", "buy", 10 * NANOS, price, time_in_force, state, 1, 1)
    )


def play(tmp_path: Path, scene: Callable[[Venue, Agent, SimulatedGateway], Awaitable[None]]) -> None:
    async def run() -> None:
        venue, agent = Venue(tmp_path), Agent()
        await venue.start()
        gateway = SimulatedGateway("127.0.0.1", venue.port, (VENUE,), agent.events())
        await gateway.start()
        assert await gateway.wait_connected(WAIT_S)
        try:
            await scene(venue, agent, gateway)
        finally:
            await gateway.close()
            await venue.stop()

    asyncio.run(run())


def test_order_status_and_cancel(tmp_path: Path) -> None:
    """An order fills, a status request tells so, a resting one is cancelled; reports count without holes."""

    async def scene(venue: Venue, agent: Agent, gateway: SimulatedGateway) -> None:
        gateway.send(order("A"))
        resting = order("B", price=100 * NANOS, time_in_force="day")
        gateway.send(resting)
        gateway.status(order("A"))
        gateway.cancel(resting)
        await agent.until(lambda: len(agent.reports) >= 5)
        told = [(report.order_id, report.report_type) for report in agent.reports]
        assert told == [
            ("A", ReportType.NEW),
            ("A", ReportType.TRADE),
            ("B", ReportType.NEW),
            ("A", ReportType.STATUS),
            ("B", ReportType.CANCELLED),
        ]
        assert [report.report_seq for report in agent.reports if report.report_seq] == [1, 2, 3, 4]

    play(tmp_path, scene)


def test_replacement_names_both_orders(tmp_path: Path) -> None:
    """Another price takes the place of the first; what was replaced can be replaced no more."""

    async def scene(venue: Venue, agent: Agent, gateway: SimulatedGateway) -> None:
        first, second = (order(name, price=100 * NANOS, time_in_force="day") for name in "AB")
        gateway.send(first)
        gateway.replace(second, first)
        gateway.replace(order("C", price=100 * NANOS, time_in_force="day"), first)
        await agent.until(lambda: len(agent.reports) == 3)
        told = [(report.order_id, report.report_type, report.original_order_id) for report in agent.reports]
        assert told == [
            ("A", ReportType.NEW, ""),
            ("B", ReportType.REPLACED, "A"),
            ("A", ReportType.CANCEL_REJECTED, ""),
        ]
        assert agent.reports[2].state is OrderState.REPLACED

    play(tmp_path, scene)


def test_reconnects_and_is_told_what_it_missed(tmp_path: Path) -> None:
    """The exchange goes away and comes back on its record: only what was not durable here is replayed."""

    async def scene(venue: Venue, agent: Agent, gateway: SimulatedGateway) -> None:
        gateway.send(order("A"))
        await agent.until(lambda: len(agent.reports) == 2)
        agent.durable = 1  # the fill did not take effect
        await venue.stop()
        await agent.until(lambda: len(agent.lost) == 1)
        assert not gateway.connected
        await venue.start()
        await agent.until(lambda: len(agent.reports) == 3)
        assert agent.reports[2] == agent.reports[1]
        assert len(set(agent.sessions)) == 1

    play(tmp_path, scene)


def test_a_report_that_is_missing_ends_the_session_and_comes_with_the_next(tmp_path: Path) -> None:
    """Two are lost on the way, the one behind them is not booked: the next session brings all three."""

    async def run() -> None:
        venue, agent = Venue(tmp_path), Agent()
        await venue.start()
        wire = await asyncio.start_server(
            _losing(venue, b'"MsgSeqNum":"2"', b'"MsgSeqNum":"3"'), "127.0.0.1", 0
        )
        gateway = SimulatedGateway("127.0.0.1", wire.sockets[0].getsockname()[1], (VENUE,), agent.events())
        await gateway.start()
        try:
            assert await gateway.wait_connected(WAIT_S)
            agent.durable = 1
            gateway.send(order("A"), order("B"))
            await agent.until(lambda: len(agent.reports) == 4)
            assert [report.report_seq for report in agent.reports] == [1, 2, 3, 4]
            (why,) = agent.lost
            assert "reports 2 to 3 are missing" in why
        finally:
            await gateway.close()
            wire.close()
            await venue.stop()

    asyncio.run(run())


def _losing(venue: Venue, *marks: bytes) -> Callable[..., Awaitable[None]]:
    """Between gateway and exchange: the first line with each of the marks does not arrive."""
    left = list(marks)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_exchange, to_exchange = await asyncio.open_connection("127.0.0.1", venue.port)

        async def back() -> None:
            async for line in from_exchange:
                found = next((mark for mark in left if mark in line), None)
                if found is None:
                    writer.write(line)
                else:
                    left.remove(found)
            writer.close()

        task = asyncio.create_task(back())
        while data := await _read(reader):
            to_exchange.write(data)
        to_exchange.close()
        await task

    return serve


def test_second_logon_cuts_the_first(tmp_path: Path) -> None:
    """One session a client: the old connection ends when a new one logs on."""

    async def scene(venue: Venue, agent: Agent, gateway: SimulatedGateway) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
        assert agent.lost == []
        writer.write(encode(Logon("TICKLOOM", "", 0)))
        answer = decode(await reader.readline())
        assert isinstance(answer, Logon)
        assert answer.client == "EXCHANGE"
        await agent.until(lambda: len(agent.sessions) == 2)  # it came back, and has cut us in turn
        assert len(agent.lost) == 1
        async with asyncio.timeout(WAIT_S):
            while await _read(reader):
                pass
        writer.close()

    play(tmp_path, scene)


def test_hostile_clients(tmp_path: Path) -> None:
    """Garbage, an order before the logon and an endless line end their own connection, nobody else's."""

    async def scene(venue: Venue, agent: Agent, gateway: SimulatedGateway) -> None:
        new = NewOrder("X", VENUE, "ALFA", "buy", NANOS, 200 * NANOS, "ioc")
        for line in (b"GET / HTTP/1.1\r\n", encode(new), b"x" * 1_000_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
            writer.write(line)
            async with asyncio.timeout(WAIT_S):
                while await _read(reader):
                    pass
            writer.close()
        gateway.send(order("A"))
        await agent.until(lambda: len(agent.reports) == 2)
        assert [found.order_id for found in venue.record.orders()] == ["A"]

    play(tmp_path, scene)


def test_garbage_after_the_logon_is_rejected_and_the_session_goes_on(tmp_path: Path) -> None:
    """A line that is no message gets a BusinessMessageReject; the next one is served."""

    async def scene(venue: Venue, agent: Agent, gateway: SimulatedGateway) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
        writer.write(encode(Logon("OTHER", "", 0)) + b"nonsense\n" + b'{"MsgType":"Z"}\n')
        lines: list[bytes] = []
        async with asyncio.timeout(WAIT_S):
            while len(lines) < 2:
                line = await reader.readline()
                if b'"MsgType":"j"' in line:
                    lines.append(line)
        assert b"unknown MsgType" in lines[1]
        writer.close()

    play(tmp_path, scene)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1_000)
    except ConnectionError:
        return b""
