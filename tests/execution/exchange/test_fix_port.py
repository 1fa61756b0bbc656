"""The FIX port as our gateway sees it: orders, refusals, what is told after a loss or a kill."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from execution.exchange.fix_port import FixPort
from execution.exchange.profile import FeeTable, VenueProfile
from execution.fix import orders as fix
from execution.fix.codec import Message
from execution.fix.configuration import Rejected, SessionConfiguration
from execution.fix.connection import Connection, Initiator
from execution.fix.order_codec import decode, encode
from execution.fix.session import Session
from execution.fix.store import MemoryStore
from execution.orders import OrderRecord
from execution.venues import ReportType
from execution.venues.fix.gateway import FixGateway
from tests.execution.rig import VENUE
from tests.execution.venues.ouch.world import CLOCK, WAIT_S, Agent, Venue, order
from tickloom.events import OrderState
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


def test_order_is_acknowledged_and_filled_with_its_fee(tmp_path: Path) -> None:
    """The offer is 152.41; 10 shares at the taker's 0.003 cost 0.03; the execution has the record's id."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        gateway.send(order("ONE"))
        await agent.until(lambda: len(agent.reports) == 2)
        new, trade = agent.reports
        assert (new.report_type, new.state, new.venue_order_id) == (
            ReportType.NEW,
            OrderState.NEW,
            f"{VENUE}-1",
        )
        assert (trade.report_type, trade.state) == (ReportType.TRADE, OrderState.FILLED)
        assert (trade.last_quantity, trade.last_price) == (10 * NANOS, 152_410_000_000)
        assert (trade.filled_quantity, trade.liquidity, trade.fee) == (10 * NANOS, "removed", 30_000_000)
        found = venue.record.executions()
        assert [(one.execution_id, one.order_id) for one in found] == [(trade.execution_id, "ONE")]

    play(tmp_path, scene, VenueProfile(VENUE, fees=FeeTable(taker=3_000_000)))


def test_cancel_status_and_their_refusals(tmp_path: Path) -> None:
    """A resting order is cancelled under its own id; what is unknown or too late is refused as such."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        gateway.send(rests("ONE"))
        gateway.status(rests("ONE"))
        gateway.cancel(rests("ONE", revision=1))
        gateway.cancel(rests("ONE", revision=2))
        gateway.cancel(rests("GHOST"))
        gateway.status(rests("GHOST"))
        await agent.until(lambda: len(agent.reports) == 6)
        assert [(r.order_id, r.report_type, r.state, r.unknown_order) for r in agent.reports] == [
            ("ONE", ReportType.NEW, OrderState.NEW, False),
            ("ONE", ReportType.STATUS, OrderState.NEW, False),
            ("ONE", ReportType.CANCELLED, OrderState.CANCELLED, False),
            ("ONE", ReportType.CANCEL_REJECTED, OrderState.CANCELLED, False),
            ("GHOST", ReportType.CANCEL_REJECTED, OrderState.REJECTED, True),
            ("GHOST", ReportType.STATUS, OrderState.REJECTED, True),
        ]

    play(tmp_path, scene)


def test_replacement_names_both_orders(tmp_path: Path) -> None:
    """8 at 101 take the place of 10 at 100; the old one can be replaced no more, the new one cancelled."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        gateway.send(rests("ONE"))
        changes = {"quantity": 8 * NANOS, "limit_price": LOW + NANOS}
        gateway.replace(rests("TWO", original_order_id="ONE", **changes), rests("ONE"))
        gateway.replace(rests("THREE", original_order_id="ONE", **changes), rests("ONE"))
        gateway.status(rests("ONE"))
        gateway.cancel(rests("TWO"))
        await agent.until(lambda: len(agent.reports) == 5)
        _, replaced, refused, status, cancelled = agent.reports
        assert (replaced.report_type, replaced.state) == (ReportType.REPLACED, OrderState.NEW)
        assert (replaced.order_id, replaced.original_order_id) == ("TWO", "ONE")
        assert (replaced.quantity, replaced.price) == (8 * NANOS, LOW + NANOS)
        assert (refused.report_type, refused.order_id) == (ReportType.CANCEL_REJECTED, "ONE")
        assert (refused.state, status.state) == (OrderState.CANCELLED, OrderState.CANCELLED)
        assert (cancelled.report_type, cancelled.order_id) == (ReportType.CANCELLED, "TWO")

    play(tmp_path, scene)


def test_types_of_orders_reach_the_venue(tmp_path: Path) -> None:
    """Market, fill or kill and post only say what they are."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        gateway.send(replace(order("MARKET"), order_type="market"))
        gateway.send(order("KILL", price=LOW, time_in_force="fok"))
        gateway.send(replace(order("POST", time_in_force="day"), post_only=True))
        await agent.until(lambda: len(agent.reports) == 6)
        assert [
            (r.order_id, r.report_type) for r in agent.reports if r.report_type is not ReportType.NEW
        ] == [
            ("MARKET", ReportType.TRADE),
            ("KILL", ReportType.CANCELLED),
            ("POST", ReportType.CANCELLED),
        ]

    play(tmp_path, scene)


def test_bust_and_correction_name_their_execution(tmp_path: Path) -> None:
    """They are told under the order, with the id that the trade had."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        gateway.send(order("ONE"))
        await agent.until(lambda: len(agent.reports) == 2)
        number = agent.reports[1].execution_id
        venue.server.settle(venue.engine.correct(number, 9 * NANOS, 152 * NANOS, 0))
        venue.server.settle(venue.engine.bust(number, 0))
        await agent.until(lambda: len(agent.reports) == 4)
        corrected, bust = agent.reports[2:]
        assert (corrected.report_type, corrected.execution_id) == (ReportType.TRADE_CORRECTED, number)
        assert (corrected.last_quantity, corrected.last_price) == (9 * NANOS, 152 * NANOS)
        assert (bust.report_type, bust.execution_id, bust.filled_quantity) == (
            *(ReportType.TRADE_CANCELLED, number),
            0,
        )

    play(tmp_path, scene)


def test_what_happened_while_away_is_told_once_after_logon(tmp_path: Path) -> None:
    """The client is gone, its order is filled and the exchange restarts: the fill comes, once, numbered."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        gateway.send(rests("ONE"))
        await agent.until(lambda: len(agent.reports) == 1)
        await gateway.close()
        venue.server.settle(venue.engine.cancel_unsolicited("ONE", "supervisory", 0))
        await venue.stop()
        await venue.start()
        successor = make_gateway(venue, agent, tmp_path)
        await successor.start()
        await agent.until(lambda: len(agent.reports) == 2)
        told = agent.reports[1]
        assert (told.order_id, told.report_type, told.text) == ("ONE", ReportType.CANCELLED, "supervisory")
        assert told.report_seq > agent.reports[0].report_seq
        assert agent.sessions[0] == agent.sessions[1]
        await successor.close()

    play(tmp_path, scene)


def test_recorded_and_not_numbered_yet_is_sent_after_the_restart(tmp_path: Path) -> None:
    """A kill between the record's commit and the session's: the stream is ahead of the session by one."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        gateway.send(rests("ONE"))
        await agent.until(lambda: len(agent.reports) == 1)
        venue.fix.publish = lambda client, report, streamed: None  # type: ignore[method-assign]
        venue.server.settle(venue.engine.cancel_unsolicited("ONE", "supervisory", 0))
        await venue.stop()
        await venue.start()
        await agent.until(lambda: len(agent.reports) == 2)
        assert agent.told()[1] == ("ONE", ReportType.CANCELLED)
        await venue.stop()
        await venue.start()
        gateway.status(rests("ONE"))
        await agent.until(lambda: gateway.connected)
        gateway.status(rests("ONE"))
        await agent.until(lambda: agent.told()[-1] == ("ONE", ReportType.STATUS))
        assert [kind for _, kind in agent.told()].count(ReportType.CANCELLED) == 1

    play(tmp_path, scene)


def test_lost_acknowledgement_comes_with_the_next_logon(tmp_path: Path) -> None:
    """The report is recorded, the session drops: FIX's own recovery brings it."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        venue.server.faults.lose_acks[VENUE] = 1
        gateway.send(rests("ONE"))
        await agent.until(lambda: bool(agent.lost))
        await agent.until(lambda: bool(agent.reports))
        assert agent.told() == [("ONE", ReportType.NEW)]

    play(tmp_path, scene)


def test_lost_order_is_unknown_and_is_not_sent_by_recovery(tmp_path: Path) -> None:
    """It was read and never looked at; after the logon the venue says that it has no such order."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        venue.server.faults.lose_orders[VENUE] = 1
        gateway.send(rests("ONE"))
        await agent.until(lambda: bool(agent.lost))
        await agent.until(lambda: gateway.connected)
        gateway.status(rests("ONE"))
        await agent.until(lambda: bool(agent.reports))
        assert agent.reports[0].unknown_order
        assert venue.record.orders() == []

    play(tmp_path, scene)


def test_question_behind_a_lost_order_is_answered(tmp_path: Path) -> None:
    """The exchange dies before it has read an order: its recovery asks for that, and what was asked right
    behind the logon is not skipped over with it."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        events = gateway._events
        asked = [rests(f"ASKED{number}") for number in range(3)]

        def on_session(session: str) -> None:
            events.on_session(session)
            for one in asked:
                gateway.status(one)

        gateway._events = replace(events, on_session=on_session)
        gateway._store.next_out += 1  # an order that was numbered, and is in no socket any more
        gateway._store.commit()
        gateway._connection.cut()
        await agent.until(lambda: len(agent.reports) == 3)
        assert [(r.order_id, r.unknown_order) for r in agent.reports] == [
            (one.order_id, True) for one in asked
        ]

    play(tmp_path, scene)


def test_silence_holds_back_everything_and_then_tells_it(tmp_path: Path) -> None:
    """Requests are dealt with meanwhile."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        venue.server.faults.silent[""] = CLOCK.now_ns() + 700_000_000
        gateway.send(rests("ONE"))
        await asyncio.sleep(0.3)
        assert agent.reports == []
        assert len(venue.record.orders()) == 1
        await agent.until(lambda: len(agent.reports) == 1)
        assert agent.lost == []

    play(tmp_path, scene)


def test_password_is_asked_for(tmp_path: Path) -> None:
    """A logon without it is refused."""

    async def run() -> None:
        venue, agent = FixVenue(tmp_path, password="secret"), Agent()
        await venue.start()
        stranger = make_gateway(venue, agent, tmp_path)
        await stranger.start()
        assert not await stranger.wait_connected(0.5)
        await stranger.close()
        friend = make_gateway(venue, agent, tmp_path, "secret")
        await friend.start()
        assert await friend.wait_connected(WAIT_S)
        await friend.close()
        await venue.stop()

    asyncio.run(run())


# --- what our gateway never says ---------------------------------------------------------------------------


def test_average_price_and_replacement_in_fixs_words(tmp_path: Path) -> None:
    """4 of 10 filled at 152.41 (AvgPx is that), replaced by 20 elsewhere: ClOrdID is the new one's,
    OrigClOrdID the old one's, 16 are left."""

    async def scene(venue: FixVenue, client: Client) -> None:
        book = venue.engine.markets.book(VENUE, "ALFA")
        for level in book.displayed.asks.values():  # type: ignore[union-attr]
            level.available = 4 * NANOS
        client.say(single("A", price=152_410_000_000))
        assert (await client.next()).exec_type == "0"
        trade = await client.next()
        assert (trade.ord_status, trade.average_price, trade.leaves) == ("1", 152_410_000_000, 6 * NANOS)
        client.say(
            fix.OrderCancelReplaceRequest(*("B", "A", "ALFA", fix.BUY, 20 * NANOS, CLOCK.now_ns()), price=LOW)
        )
        replaced = await client.next()
        assert (replaced.exec_type, replaced.cl_ord_id, replaced.orig_cl_ord_id) == ("5", "B", "A")
        assert (replaced.leaves, replaced.filled, replaced.price) == (16 * NANOS, 4 * NANOS, LOW)
        assert replaced.average_price == 152_410_000_000
        client.say(fix.OrderCancelRequest("C", "B", "ALFA", fix.BUY, 20 * NANOS, CLOCK.now_ns()))
        cancelled = await client.next()
        assert (cancelled.exec_type, cancelled.cl_ord_id, cancelled.orig_cl_ord_id) == ("4", "C", "B")
        client.say(
            fix.OrderCancelReplaceRequest(*("D", "B", "ALFA", fix.BUY, 30 * NANOS, CLOCK.now_ns()), price=LOW)
        )
        late = await client.any()
        assert isinstance(late, fix.OrderCancelReject)
        assert (late.response_to, late.reason, late.orig_cl_ord_id, late.cl_ord_id) == ("2", "0", "B", "D")
        ids = [trade.exec_id, replaced.exec_id, cancelled.exec_id]
        assert len(set(ids)) == 3

    play_bare(tmp_path, scene)


def test_duplicate_is_refused_and_a_possible_resend_is_answered(tmp_path: Path) -> None:
    """One order in the record, whatever is sent again."""

    async def scene(venue: FixVenue, client: Client) -> None:
        client.say(single("A"), single("A"))
        kinds = [await client.next() for _ in range(3)]
        assert [(r.exec_type, r.reject_reason) for r in kinds] == [("0", ""), ("F", ""), ("8", "6")]
        kind, body = encode(single("A"))
        now_ns = CLOCK.now_ns()
        client.connection.session.send(kind, body, now_ns, ((97, b"Y"),))
        client.connection._flush()
        again = await client.next()
        assert (again.exec_type, again.ord_status) == ("I", "2")
        assert len(venue.record.orders()) == 1

    play_bare(tmp_path, scene)


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"symbol": "NONE"}, "1", "unknown symbol"),
        ({"quantity": NANOS // 2}, "13", "lots"),
        ({"order_type": "P", "exec_inst": "M"}, "99", "lit"),
        ({"order_type": "3"}, "11", "OrdType 3"),
        ({"time_in_force": "6"}, "11", "TimeInForce 6"),
        ({"side": "3"}, "11", "Side 3"),
        ({"price": 0}, "11", "Price is missing"),
        ({"venue": "XLON"}, "11", "XLON"),
        ({"min_quantity": NANOS}, "99", "no minimum quantity"),
    ],
)
def test_refused_with_fixs_reason(tmp_path: Path, changes: dict[str, object], reason: str, said: str) -> None:
    """OrdRejReason, and a text that says what is wrong."""

    async def scene(venue: FixVenue, client: Client) -> None:
        client.say(single("A", **changes))
        rejected = await client.next()
        assert (rejected.exec_type, rejected.ord_status, rejected.leaves) == ("8", "8", 0)
        assert rejected.reject_reason == reason
        assert said in rejected.text

    play_bare(tmp_path, scene)


def test_nobody_sees_or_touches_anothers_orders(tmp_path: Path) -> None:
    """The same ClOrdID of two clients is two orders; a cancel of the other's is one of an unknown order."""

    async def scene(venue: FixVenue, client: Client) -> None:
        friend = Client(venue.fix_port, CLIENT)
        await friend.start()
        client.say(single("A", price=LOW), single("B", price=LOW))
        friend.say(single("A", price=LOW + NANOS))
        for reader, count in ((client, 2), (friend, 1)):
            for _ in range(count):
                assert (await reader.next()).exec_type == "0"
        friend.say(fix.OrderCancelRequest("C", "B", "ALFA", fix.BUY, 10 * NANOS, CLOCK.now_ns()))
        refused = await friend.any()
        assert isinstance(refused, fix.OrderCancelReject)
        assert (refused.reason, refused.orig_cl_ord_id) == ("1", "B")
        friend.say(fix.OrderCancelRequest("D", "A", "ALFA", fix.BUY, 10 * NANOS, CLOCK.now_ns()))
        cancelled = await friend.next()
        assert (cancelled.exec_type, cancelled.price) == ("4", LOW + NANOS)
        friend.say(fix.OrderMassStatusRequest("ALL"))
        told = await friend.next()
        assert (told.cl_ord_id, told.mass_request_id, told.ord_status) == ("A", "ALL", "4")
        client.say(fix.OrderMassStatusRequest("ALL"))
        assert {(await client.next()).cl_ord_id for _ in range(2)} == {"A", "B"}
        await friend.initiator.close()

    play_bare(tmp_path, scene)


def test_self_match_restates_what_is_left(tmp_path: Path) -> None:
    """A bid of 10 at 152.40 and an own offer of 4: the smaller quantity goes from both, and the bid is
    restated to 6 without anybody's request."""

    async def scene(venue: FixVenue, agent: Agent, gateway: FixGateway) -> None:
        gateway.send(order("ONE", price=152_400_000_000, time_in_force="day"))
        gateway.send(order("TWO", price=152_400_000_000, side="sell", quantity=4 * NANOS))
        await agent.until(lambda: len(agent.reports) >= 4)
        restated = [r for r in agent.reports if r.report_type is ReportType.REPLACED]
        assert [(r.order_id, r.original_order_id, r.quantity) for r in restated] == [
            ("ONE", "ONE", 6 * NANOS)
        ]
        assert agent.told()[-1] == ("TWO", ReportType.CANCELLED)

    play(tmp_path, scene, VenueProfile(VENUE, self_trade="decrement"))
