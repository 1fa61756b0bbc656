"""The FIX gateway against a venue on a real socket, which reports, goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from execution.fix.codec import Message
from execution.fix.configuration import Rejected, SessionConfiguration
from execution.fix.connection import Acceptor, Connection
from execution.fix.order_codec import decode, encode
from execution.fix.orders import (
    BusinessMessageReject,
    ExecutionReport,
    FromVenue,
    NewOrderSingle,
    OrderCancelReject,
    OrderCancelRequest,
    OrderMassStatusRequest,
    OrderStatusRequest,
)
from execution.fix.session import Session
from execution.fix.store import SqliteStore
from execution.orders import OrderRecord
from execution.venues import GatewayEvents, Report, ReportType
from execution.venues.fix.gateway import FixGateway
from execution.venues.fix.reports import of_execution
from tickloom.clock import SystemClock
from tickloom.errors import FieldError, SettingsError
from tickloom.events import OrderState
from tickloom.prices import NANOS
from tickloom.records import replace

WAIT_S = 20.0
VENUE = SessionConfiguration(
    sender="VENUE", target="TICKLOOM", initiator=False, app_types=frozenset({"D", "F", "H", "AF"})
)
CLIENT = SessionConfiguration(sender="TICKLOOM", target="VENUE", initiator=True, app_types=frozenset())


def record(order_id: str, **changes: object) -> OrderRecord:
    order = OrderRecord(
        order_id=order_id,
        signal_id="signal",
        leg=0,
        rule="rule",
        venue="XNAS",
        symbol="ALFA",
        side="buy",
        quantity=100 * NANOS,
        limit_price=10 * NANOS + NANOS // 100,
        time_in_force="day",
        state=OrderState.PENDING_NEW,
        ts_created=1_795_132_800_000_000_000,
        ts=1_795_132_800_000_000_000,
    )
    return replace(order, **changes)  # type: ignore[arg-type]


def report(
    order: NewOrderSingle, exec_type: str, status: str, filled: int = 0, last: int = 0
) -> ExecutionReport:
    return ExecutionReport(
        order_id=f"V-{order.cl_ord_id}",
        exec_id=f"{order.cl_ord_id}-{exec_type}-{filled}",
        exec_type=exec_type,
        ord_status=status,
        symbol=order.symbol,
        side=order.side,
        cl_ord_id=order.cl_ord_id,
        venue=order.venue,
        ts=order.ts,
        leaves=order.quantity - filled * NANOS,
        filled=filled * NANOS,
        average_price=order.price,
        last_quantity=last * NANOS,
        last_price=order.price if last else 0,
    )


class Venue:
    """Takes every order, and does with it what its symbol's test wants. On disk, so it can come back."""

    def __init__(self, directory: Path) -> None:
        self.store = SqliteStore(directory / "venue.db", VENUE.name)
        self.connection = Connection(Session(VENUE, self.store), self, SystemClock())
        self.acceptor = Acceptor([self.connection])
        self.orders: dict[str, NewOrderSingle] = {}
        self.asked: list[str] = []
        self.silent = False
        self.port = 0

    async def start(self, port: int = 0) -> None:
        self.port = await self.acceptor.start("127.0.0.1", port)

    def tell(self, message: FromVenue) -> None:
        self.connection.send(*encode(message))

    def on_logged_on(self, connection: Connection, epoch: str) -> None:
        pass

    def on_lost(self, connection: Connection, reason: str) -> None:
        pass

    def on_rejected(self, connection: Connection, rejected: Rejected) -> None:
        pass

    def on_message(self, connection: Connection, message: Message) -> None:
        said = decode(message)
        if isinstance(said, NewOrderSingle):
            self.orders[said.cl_ord_id] = said
            if said.symbol == "CLOSED":
                self.tell(BusinessMessageReject(message.seq_num, "D", 4, "closed"))
            elif not self.silent:
                self.tell(report(said, "0", "0"))
        elif isinstance(said, OrderCancelRequest):
            self._cancel(said)
        elif isinstance(said, OrderStatusRequest):
            self._status(said)
        elif isinstance(said, OrderMassStatusRequest):
            self.asked.append("all")

    def _cancel(self, said: OrderCancelRequest) -> None:
        order = self.orders.get(said.orig_cl_ord_id)
        if order is None:
            self.tell(OrderCancelReject("NONE", said.cl_ord_id, said.orig_cl_ord_id, "8", reason="1"))
            return
        done = report(order, "4", "4")._replace(
            cl_ord_id=said.cl_ord_id, orig_cl_ord_id=said.orig_cl_ord_id, leaves=0
        )
        self.tell(done)

    def _status(self, said: OrderStatusRequest) -> None:
        self.asked.append(said.cl_ord_id)
        order = self.orders.get(said.cl_ord_id)
        unknown = NewOrderSingle(said.cl_ord_id, said.symbol, said.side, 0, 0, venue=said.venue)
        answer = report(order or unknown, "I", "0" if order else "8")
        self.tell(answer._replace(request_id=said.request_id, reject_reason="" if order else "5"))


class Agent:
    """The engine's part: makes reports durable, and drops what it has."""

    def __init__(self, directory: Path, port: int) -> None:
        self.reports: list[Report] = []
        self.sessions: list[str] = []
        self.lost: list[str] = []
        self.last = ("", 0)
        self.ask: list[OrderRecord] = []
        self.fail = False
        events = GatewayEvents(self.on_report, self.on_session, self.lost.append, lambda: self.last)
        self.gateway = FixGateway(
            CLIENT, "127.0.0.1", port, ("XNAS",), directory / "client.db", events, SystemClock()
        )

    def on_report(self, report: Report) -> None:
        if self.fail:
            raise RuntimeError("the journal cannot be written")
        if report.report_seq and report.report_seq <= self.last[1]:
            return
        if report.report_seq:
            self.last = (self.sessions[-1], report.report_seq)
        self.reports.append(report)

    def on_session(self, session: str) -> None:
        self.sessions.append(session)
        if session != self.last[0]:
            self.last = (self.last[0], 0)
        for order in self.ask:
            self.gateway.status(order)

    def told(self) -> list[tuple[ReportType, str]]:
        return [(report.report_type, report.order_id) for report in self.reports]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.01)


async def world(tmp_path: Path) -> tuple[Agent, Venue]:
    venue = Venue(tmp_path)
    await venue.start()
    agent = Agent(tmp_path, venue.port)
    await agent.gateway.start()
    assert await agent.gateway.wait_connected(WAIT_S)
    return agent, venue


async def end(agent: Agent, venue: Venue) -> None:
    await agent.gateway.close()
    await venue.acceptor.close()


def test_order_to_fill(tmp_path: Path) -> None:
    """What is sent is what was decided, to the nano; what is reported is what happened."""

    async def run() -> None:
        agent, venue = await world(tmp_path)
        agent.gateway.send(record("A"))
        await until(lambda: len(agent.reports) == 1)
        venue.tell(report(venue.orders["A"], "F", "1", filled=40, last=40))
        await until(lambda: len(agent.reports) == 2)
        order, (new, trade) = venue.orders["A"], agent.reports
        assert (order.quantity, order.price, order.time_in_force) == (100 * NANOS, 10_010_000_000, "0")
        assert (new.report_type, new.state, new.venue_order_id) == (ReportType.NEW, OrderState.NEW, "V-A")
        assert (trade.report_type, trade.state) == (ReportType.TRADE, OrderState.PARTIALLY_FILLED)
        assert (trade.last_quantity, trade.last_price) == (40 * NANOS, 10_010_000_000)
        assert (trade.execution_id, trade.filled_quantity) == ("A-F-40", 40 * NANOS)
        assert (trade.venue, trade.symbol, trade.side) == ("XNAS", "ALFA", "buy")
        assert 0 < new.report_seq < trade.report_seq
        await end(agent, venue)

    asyncio.run(run())


def test_cancel_and_its_refusal(tmp_path: Path) -> None:
    """Each request to cancel has an id of its own, and its answer comes under the order's."""

    async def run() -> None:
        agent, venue = await world(tmp_path)
        agent.gateway.send(record("A"))
        agent.gateway.cancel(record("A", revision=2))
        agent.gateway.cancel(record("GHOST", revision=2))
        await until(lambda: len(agent.reports) == 3)
        _, cancelled, refused = agent.reports
        assert (cancelled.report_type, cancelled.order_id) == (ReportType.CANCELLED, "A")
        assert (refused.report_type, refused.order_id) == (ReportType.CANCEL_REJECTED, "GHOST")
        assert refused.unknown_order
        assert (refused.venue, refused.symbol, refused.side) == ("XNAS", "ALFA", "buy")
        await end(agent, venue)

    asyncio.run(run())


def test_fills_while_away_come_before_anything_newer(tmp_path: Path) -> None:
    """The agent's process dies; what the venue reported meanwhile is there after the logon, once."""

    async def run() -> None:
        agent, venue = await world(tmp_path)
        agent.gateway.send(record("A"))
        await until(lambda: len(agent.reports) == 1)
        await agent.gateway.close()
        await until(lambda: not venue.connection.taken)
        venue.tell(report(venue.orders["A"], "F", "1", filled=40, last=40))
        venue.tell(report(venue.orders["A"], "F", "2", filled=100, last=60))
        successor = Agent(tmp_path, venue.port)
        successor.last = agent.last
        successor.ask = [record("A", state=OrderState.UNKNOWN)]
        await successor.gateway.start()
        await until(lambda: len(successor.reports) == 3)
        assert successor.told() == [
            (ReportType.TRADE, "A"),
            (ReportType.TRADE, "A"),
            (ReportType.STATUS, "A"),
        ]
        assert successor.sessions == agent.sessions
        await end(successor, venue)

    asyncio.run(run())


def test_a_report_that_was_not_durable_comes_again(tmp_path: Path) -> None:
    """The journal fails in the middle of a report: the gateway says so, and the successor gets it."""

    async def run() -> None:
        agent, venue = await world(tmp_path)
        agent.gateway.send(record("A"))
        await until(lambda: len(agent.reports) == 1)
        agent.fail = True
        venue.tell(report(venue.orders["A"], "F", "1", filled=40, last=40))
        await until(lambda: agent.gateway.failure is not None)
        await agent.gateway.close()
        successor = Agent(tmp_path, venue.port)
        successor.last = agent.last
        await successor.gateway.start()
        await until(lambda: len(successor.reports) == 1)
        assert successor.told() == [(ReportType.TRADE, "A")]
        await end(successor, venue)

    asyncio.run(run())


def test_an_order_is_never_sent_again_by_recovery(tmp_path: Path) -> None:
    """The venue loses its last moments and asks for them: it gets a gap fill, and no order of then."""

    async def run() -> None:
        agent, venue = await world(tmp_path)
        agent.gateway.send(record("A"))
        await until(lambda: len(agent.reports) == 1)
        await venue.acceptor.close()
        await until(lambda: not agent.gateway.connected)
        assert len(agent.lost) == 1
        agent.gateway.send(record("B"))  # there is no session: it must not leave later
        venue.store.close()
        reborn = Venue(tmp_path)
        reborn.store.next_in -= 2  # the order and the logout were not on its disk
        await reborn.start(venue.port)
        await until(lambda: agent.gateway.connected)
        agent.gateway.status(record("A"))
        await until(lambda: len(agent.reports) == 2)
        assert reborn.orders == {}
        answer = agent.reports[-1]
        assert (answer.report_type, answer.unknown_order) == (ReportType.STATUS, True)
        await end(agent, reborn)

    asyncio.run(run())


def test_a_refused_order_is_rejected(tmp_path: Path) -> None:
    """BusinessMessageReject names a number, and the order is found by it."""

    async def run() -> None:
        agent, venue = await world(tmp_path)
        agent.gateway.send(record("A", symbol="CLOSED"))
        await until(lambda: len(agent.reports) == 1)
        refused = agent.reports[0]
        assert (refused.report_type, refused.order_id) == (ReportType.REJECTED, "A")
        assert "closed" in refused.text
        await end(agent, venue)

    asyncio.run(run())


def test_another_numbering_asks_for_all_orders(tmp_path: Path) -> None:
    """Numbers that began anew lose what was not received: the gateway asks for the state of everything."""

    async def run() -> None:
        venue = Venue(tmp_path)
        await venue.start()
        agent = Agent(tmp_path, venue.port)
        agent.last = ("FIX.4.4:TICKLOOM->VENUE#yesterday", 77)
        await agent.gateway.start()
        await until(lambda: bool(venue.asked))
        assert venue.asked == ["all"]
        (session,) = agent.sessions
        assert session != "FIX.4.4:TICKLOOM->VENUE#yesterday"
        await agent.gateway.close()
        again = Agent(tmp_path, venue.port)
        again.last = (session, agent.last[1])
        await again.gateway.start()
        assert await again.gateway.wait_connected(WAIT_S)
        again.gateway.status(record("A"))
        await until(lambda: len(venue.asked) > 1)
        assert venue.asked == ["all", "A"]  # the numbering is known by now
        await end(again, venue)

    asyncio.run(run())


def test_reset_at_each_logon_is_refused(tmp_path: Path) -> None:
    events = GatewayEvents(print, print, print, lambda: ("", 0))
    with pytest.raises(SettingsError, match="lose reports"):
        FixGateway(
            replace(CLIENT, reset_on_logon=True), "h", 1, ("XNAS",), tmp_path / "c.db", events, SystemClock()
        )


def test_what_has_no_meaning_here_is_not_booked() -> None:
    """An ExecType or OrdStatus that the agent does not know raises, and names the field."""
    order = NewOrderSingle("A", "ALFA", "1", 100 * NANOS, 0)
    with pytest.raises(FieldError, match="39"):
        of_execution(report(order, "0", "9"), "XNAS", 5)
    with pytest.raises(FieldError, match="150"):
        of_execution(report(order, "B", "0"), "XNAS", 5)
