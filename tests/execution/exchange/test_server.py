"""The shell over the exchange's own protocol: faults, latency, who may log on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from execution.exchange.control import ControlPort
from execution.exchange.matching import MatchingEngine
from execution.exchange.orders import Outcome
from execution.exchange.profile import LatencyModel, VenueProfile
from execution.exchange.record import ExchangeRecord
from execution.exchange.requests import CancelRequest, NewOrder, ReplaceOrder
from execution.exchange.server import ExchangeServer
from execution.venues import Report, ReportType
from execution.venues.simulated import protocol
from execution.venues.simulated.protocol import Heartbeat, Logon, Logout, Message
from tests.execution.rig import VENUE, standing_market
from tickloom.clock import NS_PER_MS, SystemClock
from tickloom.events import EventBlock
from tickloom.instruments import Registry
from tickloom.prices import NANOS

WAIT_S = 20.0
CLOCK, REGISTRY = SystemClock(), Registry.load()
LOW = 100 * NANOS


class Client:
    """A line-by-line client."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def log_on(
        self, last: int = 0, session: str = "", name: str = "ME", agent: tuple[int, str] = (0, "")
    ) -> Message:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.say(Logon(name, session, last, *agent))
        return await self.next()

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.writer.write(protocol.encode(message))

    async def next(self) -> Message:
        async with asyncio.timeout(WAIT_S):
            while True:
                line = await self.reader.readline()
                if not line:
                    raise ConnectionError("cut")
                message = protocol.decode(line)
                if not isinstance(message, Heartbeat):
                    return message

    async def report(self) -> Report:
        message = await self.next()
        assert isinstance(message, Report)
        return message


def play(
    tmp_path: Path,
    scene: Callable[[ExchangeServer, Client], Awaitable[None]],
    profile: VenueProfile | None = None,
) -> None:
    async def run() -> None:
        record = ExchangeRecord(tmp_path / "exchange.db")
        engine = MatchingEngine(REGISTRY, [], 0, {VENUE: profile or VenueProfile(VENUE)})
        for _, batch in standing_market(REGISTRY, 2):
            engine.apply(batch.block, 0)
        server = ExchangeServer(engine, record, CLOCK)
        server.go_live()
        client = Client(await server.start("127.0.0.1", 0))
        await client.log_on()
        try:
            await scene(server, client)
        finally:
            client.writer.close()
            await server.close()
            record.close()

    asyncio.run(run())


def order(name: str, price: int = LOW) -> NewOrder:
    return NewOrder(name, VENUE, "ALFA", "buy", 10 * NANOS, price, "day")


def test_lost_acknowledgement_is_replayed(tmp_path: Path) -> None:
    """The report is recorded, the session drops; the next logon is told what was missed."""

    async def scene(server: ExchangeServer, client: Client) -> None:
        server.faults.lose_acks[VENUE] = 1
        client.say(order("A"))
        try:
            await client.next()
        except ConnectionError:
            pass
        else:
            raise AssertionError("the acknowledgement was not lost")
        await client.log_on()
        report = await client.report()
        assert (report.order_id, report.report_type, report.report_seq) == ("A", ReportType.NEW, 1)

    play(tmp_path, scene)


def test_lost_order_never_was(tmp_path: Path) -> None:
    """The session drops, and the venue has no such order."""

    async def scene(server: ExchangeServer, client: Client) -> None:
        server.faults.lose_orders[""] = 1
        client.say(order("A"))
        while server.sessions("ME"):
            await asyncio.sleep(0.01)
        assert server.engine.orders == {}

    play(tmp_path, scene)


def test_silence_holds_everything_back_until_it_ends(tmp_path: Path) -> None:
    """Orders are taken meanwhile; what was to be said comes in order."""

    async def scene(server: ExchangeServer, client: Client) -> None:
        control = ControlPort(server, CLOCK)
        assert control.do(b'{"command": "silence", "for_s": 0.3, "client": "ME"}') == {"ok": True}
        client.say(order("A"), order("B"))
        while len(server.engine.orders) < 2:
            await asyncio.sleep(0.01)
        assert CLOCK.now_ns() < server.silent_until_ns("ME")
        assert [(await client.report()).order_id for _ in range(2)] == ["A", "B"]
        assert CLOCK.now_ns() >= server.silent_until_ns("ME")

    play(tmp_path, scene)


def test_jitter_never_changes_the_order_of_requests(tmp_path: Path) -> None:
    """20 orders with up to 20 ms of jitter are taken as they were sent."""
    jitter = VenueProfile(VENUE, latency=LatencyModel(base_ns=NS_PER_MS, jitter_ns=20 * NS_PER_MS, seed=3))

    async def scene(server: ExchangeServer, client: Client) -> None:
        names = [f"O{number}" for number in range(20)]
        client.say(*(order(name) for name in names))
        assert [(await client.report()).order_id for _ in names] == names

    play(tmp_path, scene, jitter)


def test_latency_is_the_same_for_the_same_seed() -> None:
    """Base and up to jitter, by the number of the request."""
    model, other = LatencyModel(5, 100, seed=1), LatencyModel(5, 100, seed=2)
    delays = [model.delay_ns(number) for number in range(100)]
    assert delays == [model.delay_ns(number) for number in range(100)]
    assert delays != [other.delay_ns(number) for number in range(100)]
    assert 5 <= min(delays) < max(delays) <= 105


def test_replacement_and_partial_cancel_over_the_wire(tmp_path: Path) -> None:
    """FIX's G and an F with a quantity."""

    async def scene(server: ExchangeServer, client: Client) -> None:
        client.say(
            order("A"),
            ReplaceOrder("A", "B", VENUE, "ALFA", "buy", 8 * NANOS, LOW + NANOS),
            CancelRequest("B", VENUE, "ALFA", "buy", 5 * NANOS),
        )
        told = [await client.report() for _ in range(3)]
        assert [(report.order_id, report.original_order_id) for report in told] == [
            ("A", ""),
            ("B", "A"),
            ("B", "B"),
        ]
        assert (told[2].quantity, told[2].last_quantity) == (5 * NANOS, 3 * NANOS)

    play(tmp_path, scene)


def test_name_of_another_ports_client_is_refused(tmp_path: Path) -> None:
    """Nobody gets an OUCH client's reports by its name."""

    async def scene(server: ExchangeServer, client: Client) -> None:
        other = Client(client.port)
        assert isinstance(await other.log_on(name=f"ouch:{VENUE}:TLOOM"), Logout)
        other.writer.close()

    play(tmp_path, scene)


def test_an_agent_of_an_older_epoch_is_refused(tmp_path: Path) -> None:
    """Agent 3 takes the session over from agent 2, which is cut and may not come back; agent 3 itself may,
    and another of its epoch may not. An order of the one that was cut never counts."""

    async def scene(server: ExchangeServer, client: Client) -> None:
        clients = [Client(client.port) for _ in range(5)]
        agents = ((2, "a"), (3, "b"), (2, "a"), (3, "b"), (3, "c"))
        answers = [
            await one.log_on(name="AGENT", agent=agent) for one, agent in zip(clients, agents, strict=True)
        ]
        assert [type(one) for one in answers] == [Logon, Logon, Logout, Logon, Logout]
        refused = answers[2]
        assert refused == Logout("agent 2 of AGENT is fenced off: agent 3 has logged on", fenced=True)
        for cut in clients[:2]:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await cut.next()
        clients[0].say(NewOrder("LATE", VENUE, "ALFA", "buy", NANOS, 200 * NANOS, "ioc"))
        clients[3].say(NewOrder("GOOD", VENUE, "ALFA", "buy", NANOS, 200 * NANOS, "ioc"))
        assert (await clients[3].report()).order_id == "GOOD"
        assert [order.order_id for order in server.record.orders()] == ["GOOD"]
        assert server.record.agent("AGENT") == (3, "b")

    play(tmp_path, scene)


def test_an_order_does_not_wait_for_a_backlog_of_the_feed(tmp_path: Path) -> None:
    """Of 200 batches that came at once, an order that came meanwhile waits for one or two."""

    async def scene(server: ExchangeServer, client: Client) -> None:
        (_, batch), *_ = standing_market(REGISTRY, 2)
        taken: list[int] = []
        apply = server.engine.apply

        def counted(block: EventBlock, ts: int) -> Outcome:
            taken.append(ts)
            return apply(block, ts)

        server.engine.apply = counted  # type: ignore[method-assign]
        session = server.sessions()[0]
        order = NewOrder("ONE", VENUE, "ALFA", "buy", 10 * NANOS, LOW, "day")
        asyncio.get_running_loop().call_later(0, server.arrive, session, order)
        backlog = asyncio.create_task(server.on_batches([(batch, 0)] * 200))
        while "ONE" not in server.engine.orders:
            await asyncio.sleep(0)
        assert len(taken) <= 2
        await backlog
        assert len(taken) == 200

    play(tmp_path, scene)
