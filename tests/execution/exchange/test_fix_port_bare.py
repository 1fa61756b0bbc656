"""The FIX port as a bare client sees it: what our gateway never says."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.exchange.profile import VenueProfile
from execution.fix import orders as fix
from execution.fix.order_codec import encode
from execution.venues import ReportType
from execution.venues.fix.gateway import FixGateway
from tests.execution.exchange.fix_world import (
    CLIENT,
    LOW,
    Client,
    FixVenue,
    play,
    play_bare,
    single,
)
from tests.execution.rig import VENUE
from tests.execution.venues.ouch.world import CLOCK, Agent, order
from tickloom.prices import NANOS


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
