"""The FIX port as our gateway sees it: orders, refusals, what is told after a loss or a kill."""

from __future__ import annotations

import asyncio
from pathlib import Path

from execution.exchange.profile import FeeTable, VenueProfile
from execution.venues import ReportType
from execution.venues.fix.gateway import FixGateway
from tests.execution.exchange.fix_world import (
    LOW,
    FixVenue,
    make_gateway,
    play,
    rests,
)
from tests.execution.rig import VENUE
from tests.execution.venues.ouch.world import CLOCK, WAIT_S, Agent, order
from tickloom.events import OrderState
from tickloom.prices import NANOS
from tickloom.records import replace


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
