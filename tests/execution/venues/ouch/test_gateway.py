"""The OUCH gateway and the exchange's OUCH port on a real TCP connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.exchange.profile import LatencyModel, VenueProfile
from execution.orders import client_order_id
from execution.venues import ReportType
from execution.venues.ouch.gateway import OuchGateway
from tests.execution.rig import VENUE
from tests.execution.venues.ouch.world import WAIT_S, Agent, Venue, make_gateway, order, play
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.events import OrderState
from tickloom.prices import NANOS

A, B, C = (client_order_id(f"signal {n}", 0) for n in range(3))
LOW = 100 * NANOS  # far below the market: it rests
NEW, TRADE, CANCELLED = ReportType.NEW, ReportType.TRADE, ReportType.CANCELLED


def test_order_fill_and_cancel(tmp_path: Path) -> None:
    """An order fills, another rests and is cancelled; whole ids come back, as the record has them."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A))
        gateway.send(order(B, LOW, "day"))
        await agent.until(lambda: len(agent.reports) == 3)
        gateway.cancel(order(B))
        await agent.until(lambda: len(agent.reports) == 4)
        assert agent.told() == [(A, NEW), (A, TRADE), (B, NEW), (B, CANCELLED)]
        fill = agent.reports[1]
        (executed,) = venue.record.executions()
        assert (fill.execution_id, fill.last_quantity, fill.last_price) == (
            executed.execution_id, executed.quantity, executed.price,
        )  # fmt: skip
        assert fill.liquidity == "removed"
        assert fill.venue_order_id == venue.engine.orders[A[:14]].venue_order_id
        assert [found.order_id for found in venue.record.orders()] == [A[:14], B[:14]]
        numbers = [report.report_seq for report in agent.reports]
        assert numbers == sorted(set(numbers))

    play(tmp_path, scene)


def test_replacement_keeps_the_chain(tmp_path: Path) -> None:
    """10 to 8 at another price: the new order stands for the old one, and can be cancelled."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A, LOW, "day"))
        await agent.until(lambda: len(agent.reports) == 1)
        gateway.replace(order(B, LOW + NANOS, "day", quantity=8 * NANOS), order(A))
        await agent.until(lambda: len(agent.reports) == 2)
        report = agent.reports[1]
        assert (report.report_type, report.order_id, report.original_order_id) == (ReportType.REPLACED, B, A)
        assert (report.quantity, report.price) == (8 * NANOS, LOW + NANOS)
        gateway.cancel(order(B))
        gateway.cancel(order(A))
        await agent.until(lambda: len(agent.reports) == 4)
        assert {(B, CANCELLED), (A, ReportType.CANCEL_REJECTED)} == set(agent.told()[2:])

    play(tmp_path, scene)


def test_server_killed_and_back(tmp_path: Path) -> None:
    """What happened while we were away is told once; what was durable is not told again."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A, LOW, "day"))
        await agent.until(lambda: len(agent.reports) == 1)
        await venue.stop()
        await agent.until(lambda: len(agent.lost) >= 1)
        assert not gateway.connected
        await venue.start()
        venue.server.settle(venue.engine.cancel_unsolicited(A[:14], "supervisory", 0))
        assert await gateway.wait_connected(WAIT_S)
        await agent.until(lambda: len(agent.reports) == 2)
        assert agent.told() == [(A, NEW), (A, CANCELLED)]
        assert len(set(agent.sessions)) == 1

    play(tmp_path, scene)


def test_new_process_knows_its_orders_from_the_stream(tmp_path: Path) -> None:
    """A gateway without a memory: ids, UserRefNums and states come from the venue; numbers go on."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A))
        gateway.send(order(B, LOW, "day"))
        await agent.until(lambda: len(agent.reports) == 3)
        await gateway.close()
        again = make_gateway(venue, agent, (A, B, C))
        await again.start()
        assert await again.wait_connected(WAIT_S)
        assert len(agent.reports) == 3  # all was durable
        for one in (order(A), order(B), order(C)):
            again.status(one)
        await agent.until(lambda: len(agent.reports) == 6)
        known = [(report.order_id, report.state, report.unknown_order) for report in agent.reports[3:]]
        assert known == [
            (A, OrderState.FILLED, False),
            (B, OrderState.NEW, False),
            (C, OrderState.REJECTED, True),
        ]
        again.send(order(A))  # sent again by mistake: not executed again
        again.send(order(C))
        again.cancel(order(B))
        await agent.until(lambda: (B, CANCELLED) in agent.told() and (C, TRADE) in agent.told())
        assert [found.order_id for found in venue.record.orders()] == [A[:14], B[:14], C[:14]]
        await again.close()

    play(tmp_path, scene)


def test_reports_that_did_not_become_durable_are_told_again(tmp_path: Path) -> None:
    """The agent died between the fill and its journal: a new process is told of the fill."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A))
        await agent.until(lambda: len(agent.reports) == 2)
        await gateway.close()
        agent.durable = agent.reports[0].report_seq
        again = make_gateway(venue, agent, (A,))
        await again.start()
        assert await again.wait_connected(WAIT_S)
        assert agent.reports[2] == agent.reports[1]
        assert len(agent.reports) == 3
        await again.close()

    play(tmp_path, scene)


@pytest.mark.parametrize(("fault", "reached"), [("lose_orders", False), ("lose_acks", True)])
def test_lost_order_and_lost_acknowledgement_are_told_apart(
    tmp_path: Path, fault: str, reached: bool
) -> None:
    """The session drops either before the venue saw the order, or before we saw the answer: the status
    after the reconnection says which, from the stream alone."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        getattr(venue.server.faults, fault)[VENUE] = 1
        gateway.send(order(A))
        await agent.until(lambda: len(agent.lost) == 1)
        assert await gateway.wait_connected(WAIT_S)
        gateway.status(order(A))
        await agent.until(lambda: any(kind is ReportType.STATUS for _, kind in agent.told()))
        status = agent.reports[-1]
        assert status.unknown_order is not reached
        assert status.state is (OrderState.FILLED if reached else OrderState.REJECTED)
        assert agent.told()[:-1] == ([(A, NEW), (A, TRADE)] if reached else [])
        assert len(venue.record.executions()) == reached

    play(tmp_path, scene)


def test_status_of_an_order_on_its_way(tmp_path: Path) -> None:
    """The venue is slow: the answer to the status is behind the order's own."""
    slow = VenueProfile(VENUE, latency=LatencyModel(base_ns=50 * NS_PER_MS, jitter_ns=50 * NS_PER_MS))

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A, LOW, "day"))
        gateway.status(order(A))
        await agent.until(lambda: len(agent.reports) == 2)
        assert agent.told() == [(A, NEW), (A, ReportType.STATUS)]
        assert agent.reports[1].state is OrderState.NEW

    play(tmp_path, scene, slow)


def test_bust_and_correction_reach_us(tmp_path: Path) -> None:
    """A fill is corrected, then taken back; the record has it no more."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A))
        await agent.until(lambda: len(agent.reports) == 2)
        execution = agent.reports[1].execution_id
        venue.server.settle(venue.engine.correct(execution, 8 * NANOS, 152 * NANOS, 0))
        venue.server.settle(venue.engine.bust(execution, 0))
        await agent.until(lambda: len(agent.reports) == 4)
        corrected, busted = agent.reports[2:]
        assert corrected.report_type is ReportType.TRADE_CORRECTED
        assert (corrected.last_quantity, corrected.filled_quantity) == (8 * NANOS, 8 * NANOS)
        assert busted.report_type is ReportType.TRADE_CANCELLED
        assert {corrected.execution_id, busted.execution_id} == {execution}
        assert busted.filled_quantity == 0
        assert venue.record.executions() == []

    play(tmp_path, scene)


def test_silent_venue(tmp_path: Path) -> None:
    """It takes orders and says nothing; when it speaks again all comes, in order."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        venue.server.faults.silent[""] = 2**63
        gateway.send(order(A))
        await agent.until(lambda: len(venue.record.executions()) == 1)
        assert agent.reports == []
        venue.server.faults.silent.clear()
        await agent.until(lambda: len(agent.reports) == 2)
        assert agent.told() == [(A, NEW), (A, TRADE)]

    play(tmp_path, scene)


def test_slow_venue(tmp_path: Path) -> None:
    """Slowed down for a while, orders arrive late and in their order."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        venue.server.faults.slow_down(VENUE, 200, 2**63)
        gateway.send(order(A))
        venue.server.faults.slow.clear()
        gateway.send(order(B))
        await agent.until(lambda: len(agent.reports) == 4)
        assert [name for name, _ in agent.told()] == [A, A, B, B]

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"quantity": NANOS // 2}, "whole shares"),
        ({"quantity": 1_000_000 * NANOS}, "below 1000000"),
        ({"price": 1}, "four decimals"),
    ],
)
def test_what_ouch_cannot_say_never_leaves(tmp_path: Path, change: dict[str, int], text: str) -> None:
    """It is rejected here, with a reason; the venue never hears of it."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A, **change))  # type: ignore[arg-type]
        await agent.until(lambda: len(agent.reports) == 1)
        (report,) = agent.reports
        assert report.state is OrderState.REJECTED
        assert report.report_seq == 0
        assert not report.unknown_order
        assert text in report.text
        assert venue.record.orders() == []

    play(tmp_path, scene)


def test_id_that_the_venue_could_not_tell_from_another_never_leaves(tmp_path: Path) -> None:
    """The same first 14 characters as an order that is there: rejected here, the other one is untouched."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A, LOW, "day"))
        gateway.send(order(A[:14] + "XXXXXX"))
        await agent.until(lambda: len(agent.reports) == 2)
        refused = next(report for report in agent.reports if report.state is OrderState.REJECTED)
        assert refused.order_id == A[:14] + "XXXXXX"
        assert "the same 14 characters" in refused.text
        assert venue.engine.orders[A[:14]].state is OrderState.NEW

    play(tmp_path, scene)


def test_rejected_by_the_venue(tmp_path: Path) -> None:
    """Off the tick: OUCH has a code for it, and the report says which order and instrument it was."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A, LOW + NANOS // 1_000))
        await agent.until(lambda: len(agent.reports) == 1)
        (report,) = agent.reports
        assert (report.report_type, report.order_id, report.symbol) == (ReportType.REJECTED, A, "ALFA")
        assert report.text == "invalid price"

    play(tmp_path, scene)


def test_times_are_of_today(tmp_path: Path) -> None:
    """OUCH's ns since midnight become ns since the epoch again."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        gateway.send(order(A))
        await agent.until(lambda: len(agent.reports) == 2)
        assert agent.reports[1].ts % NS_PER_S == venue.engine.orders[A[:14]].ts % NS_PER_S
        assert abs(agent.reports[1].ts - venue.engine.orders[A[:14]].ts) % (86_400 * NS_PER_S) == 0

    play(tmp_path, scene)


def test_second_session_of_the_account_cuts_the_first(tmp_path: Path) -> None:
    """One connection a client: the old one ends when a new one logs in."""

    async def scene(venue: Venue, agent: Agent, gateway: OuchGateway) -> None:
        other = make_gateway(venue, Agent())
        assert agent.lost == []
        await other.start()
        assert await other.wait_connected(WAIT_S)
        await agent.until(lambda: len(agent.lost) == 1)
        await other.close()
        assert await gateway.wait_connected(WAIT_S)
        assert len(agent.sessions) >= 2

    play(tmp_path, scene)
