"""The OUCH port as a client sees its bytes; the drop copy beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from execution.exchange import drop_copy
from execution.exchange.profile import VenueProfile
from execution.ouch import messages as ouch
from execution.ouch import values
from execution.ouch.codec import decode_outbound, encode
from execution.venues import ReportType
from tests.execution.rig import VENUE
from tests.execution.venues.ouch.world import CLOCK, WAIT_S, Venue
from tickloom.prices import NANOS
from tickloom.soupbin.session import ClientSession, Down, Message, Up

ENTER = ouch.EnterOrder(1, "B", 10, "ALFA", 1_525_000, "3", "Y", "P", "N", "N", "ONE")
RESTS = ENTER._replace(price=1_000_000, time_in_force="0")


class Client:
    """A bare SoupBinTCP client."""

    def __init__(self, port: int, user: str = "USER") -> None:
        self.port, self.user = port, user

    async def log_in(self, sequence: int = 1) -> Up:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.soup = ClientSession(self.user, "", "", sequence, CLOCK.monotonic_ns())
        self.inbox: list[Message] = []
        self.down = ""
        self.up: Up | None = None
        self.flush()
        while self.up is None:
            await self._read()
        return self.up

    def say(self, *messages: ouch.Inbound) -> None:
        for message in messages:
            self.soup.send(encode(message), CLOCK.monotonic_ns())
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.soup.take_output())

    async def next(self) -> ouch.Outbound:
        return decode_outbound((await self.message()).payload)

    async def message(self) -> Message:
        async with asyncio.timeout(WAIT_S):
            while not self.inbox:
                await self._read()
        return self.inbox.pop(0)

    async def _read(self) -> None:
        data = await self.reader.read(65_536)
        if not data:
            raise ConnectionError("closed")
        for event in self.soup.on_bytes(data, CLOCK.monotonic_ns()):
            if isinstance(event, Up):
                self.up = event
            elif isinstance(event, Message):
                self.inbox.append(event)
            elif isinstance(event, Down):
                self.down = event.reason


def play(
    tmp_path: Path,
    scene: Callable[[Venue, Client], Awaitable[None]],
    profile: VenueProfile | None = None,
) -> None:
    async def run() -> None:
        venue = Venue(tmp_path, profile)
        await venue.start()
        client = Client(venue.port)
        try:
            await client.log_in()
            await scene(venue, client)
        finally:
            client.writer.close()
            await venue.stop()

    asyncio.run(run())


def test_accepted_and_executed(tmp_path: Path) -> None:
    """The acknowledgement repeats the order; the execution is at the displayed offer."""

    async def scene(venue: Venue, client: Client) -> None:
        client.say(ENTER)
        accepted = await client.next()
        assert isinstance(accepted, ouch.Accepted)
        assert (accepted.user_ref_num, accepted.client_order_id, accepted.order_state) == (1, "ONE", "L")
        assert accepted.order_reference_number == 1
        executed = await client.next()
        assert executed[1:] == (1, 10, 1_524_100, "R", 1, ())

    play(tmp_path, scene)


def test_number_that_is_not_above_all_before_is_ignored(tmp_path: Path) -> None:
    """Sent again, an order is not executed again; the account query tells the next number."""

    async def scene(venue: Venue, client: Client) -> None:
        client.say(ENTER._replace(user_ref_num=5), ENTER._replace(user_ref_num=5), ENTER, ouch.AccountQuery())
        names = [type(await client.next()).__name__ for _ in range(3)]
        assert names == ["Accepted", "Executed", "AccountQueryResponse"]
        client.say(ouch.AccountQuery())
        answer = await client.next()
        assert isinstance(answer, ouch.AccountQueryResponse)
        assert answer.next_user_ref_num == 6
        assert len(venue.record.orders()) == 1

    play(tmp_path, scene)


def test_same_client_order_id_twice_is_two_orders(tmp_path: Path) -> None:
    """OUCH does not check ClOrdID: the record tells them apart, so that a doubled order can be seen."""

    async def scene(venue: Venue, client: Client) -> None:
        client.say(RESTS, RESTS._replace(user_ref_num=2), ouch.CancelOrder(2, 0))
        for _ in range(3):
            message = await client.next()
        assert isinstance(message, ouch.Canceled)
        assert message.user_ref_num == 2
        assert [order.order_id for order in venue.record.orders()] == ["ONE", "ONE#2"]

    play(tmp_path, scene)


def test_reduce_modify_replace_and_mass_cancel(tmp_path: Path) -> None:
    """To 8 by a cancel (2 off), to 7 by a modification, replaced by 20, then everything cancelled."""

    async def scene(venue: Venue, client: Client) -> None:
        client.say(
            RESTS,
            ouch.CancelOrder(1, 8),
            ouch.ModifyOrder(1, "B", 7),
            ouch.ReplaceOrder(1, 2, 20, 1_010_000, "0", "Y", "N", "TWO"),
            ouch.CancelOrder(1, 0),  # it is not live any more: ignored
            ouch.MassCancel(3, "", "ALFA"),
        )
        told = [await client.next() for _ in range(6)]
        accepted, reduced, modified, replaced, response, cancelled = told
        assert isinstance(accepted, ouch.Accepted)
        assert reduced[1:] == (1, 2, "U", ())
        assert modified[1:] == (1, "B", 7, ())
        assert isinstance(replaced, ouch.Replaced)
        assert (replaced.original_user_ref_num, replaced.user_ref_num, replaced.quantity) == (1, 2, 20)
        assert isinstance(response, ouch.MassCancelResponse)
        assert cancelled[1:] == (2, 20, "U", ())

    play(tmp_path, scene)


def test_order_entry_disabled_and_enabled(tmp_path: Path) -> None:
    """Disabled, an order is rejected as not authorised; enabled again, it is taken."""

    async def scene(venue: Venue, client: Client) -> None:
        client.say(ouch.DisableOrderEntry(1, "FIRM"), ENTER._replace(user_ref_num=2))
        client.say(ouch.EnableOrderEntry(3, "FIRM"), ENTER._replace(user_ref_num=4))
        names = [await client.next() for _ in range(4)]
        assert [type(name).__name__ for name in names] == [
            "DisableOrderEntryResponse",
            "Rejected",
            "EnableOrderEntryResponse",
            "Accepted",
        ]
        assert names[1][2] == 0x0C

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"symbol": "NONE"}, 0x17),
        ({"quantity": 0}, 0x13),
        ({"quantity": 1_000_000}, 0x13),
        ({"price": 1_525_001}, 0x1D),
        ({"price": 2_000_000_000}, 0x1D),
        ({"display": "N"}, 0x03),
        ({"side": "X"}, 0x09),
        ({"cross_type": "O"}, 0x0F),
        ({"appendage": (("max_floor", 100),)}, 0x04),
        ({"appendage": (("price_type", "P"),)}, 0x05),
        ({"appendage": (("route", "SCAN"),)}, 0x16),
        ({"appendage": (("min_qty", 11),)}, 0x0D),
    ],
)
def test_rejected_with_ouchs_reason(tmp_path: Path, change: dict[str, object], reason: int) -> None:
    """What the venue has not is refused in the protocol's own words."""

    async def scene(venue: Venue, client: Client) -> None:
        client.say(ENTER._replace(**change))  # type: ignore[arg-type]
        message = await client.next()
        assert isinstance(message, ouch.Rejected)
        assert (message.user_ref_num, message.reason, message.client_order_id) == (1, reason, "ONE")

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"price": values.MARKET_PRICE}, "Executed"),
        ({"appendage": (("min_qty", 10),)}, "Executed"),  # fill or kill: there is enough
        ({"time_in_force": "0", "appendage": (("post_only", "P"),)}, "Canceled"),
        ({"side": "T", "price": 1_000_000}, "Executed"),
    ],
)
def test_order_types(tmp_path: Path, change: dict[str, object], outcome: str) -> None:
    """Market, fill or kill, post only, a short sale."""

    async def scene(venue: Venue, client: Client) -> None:
        client.say(ENTER._replace(**change))  # type: ignore[arg-type]
        assert isinstance(await client.next(), ouch.Accepted)
        assert type(await client.next()).__name__ == outcome

    play(tmp_path, scene)


def test_self_match_is_told_as_such(tmp_path: Path) -> None:
    """A bid above the market rests nowhere: the own offer below it is what it would meet."""

    async def scene(venue: Venue, client: Client) -> None:
        sell = RESTS._replace(side="S", price=1_524_000)
        client.say(sell, ENTER._replace(user_ref_num=2, client_order_id="TWO"))
        await client.next()
        await client.next()
        cancelled = await client.next()
        assert isinstance(cancelled, ouch.AiqCanceled)
        assert (cancelled.user_ref_num, cancelled.decrement_shares) == (2, 10)

    play(tmp_path, scene)


def test_client_that_was_away_gets_what_it_missed(tmp_path: Path) -> None:
    """Also over a kill of the server: the stream is in the record, its numbers go on."""

    async def scene(venue: Venue, client: Client) -> None:
        client.say(RESTS)
        first = await client.message()
        assert first.sequence == 1
        await venue.stop()
        await venue.start()
        venue.server.settle(venue.engine.cancel_unsolicited("ONE", "supervisory", 0))
        up = await client.log_in(2)
        assert up.sequence == 2
        missed = await client.message()
        assert missed.sequence == 2
        cancelled = decode_outbound(missed.payload)
        assert isinstance(cancelled, ouch.Canceled)
        assert cancelled.reason == "S"
        client.say(ENTER)  # the number 1 has been used before the restart: ignored
        client.say(ENTER._replace(user_ref_num=2, client_order_id="TWO"))
        assert isinstance(await client.next(), ouch.Accepted)

    play(tmp_path, scene)


def test_nonsense_cuts_the_session(tmp_path: Path) -> None:
    """A client that sends what is no message is not to be trusted with orders."""

    async def scene(venue: Venue, client: Client) -> None:
        client.soup.send(b"?nonsense", 0)
        client.flush()
        with pytest.raises(ConnectionError):
            await client.next()

    play(tmp_path, scene)


def test_drop_copy_has_every_execution_of_every_client(tmp_path: Path) -> None:
    """Two clients trade with each other and one trade is taken back: four messages, also for whoever
    comes later."""

    async def scene(venue: Venue, client: Client) -> None:
        other = Client(venue.port, "OTHER")
        await other.log_in()
        copy = Client(venue.drop_copy_port, "COPY")
        await copy.log_in()
        client.say(RESTS._replace(price=1_524_000))
        await client.next()
        other.say(ENTER._replace(side="S", price=1_524_000, client_order_id="TWO"))
        await other.next()
        fill = await other.next()
        assert isinstance(fill, ouch.Executed)
        venue.server.settle(venue.engine.bust(f"{VENUE}-E{fill.match_number}", 0))
        late = Client(venue.drop_copy_port, "LATE")
        await late.log_in()
        for reader in (copy, late):
            found = [drop_copy.decode((await reader.message()).payload) for _ in range(4)]
            assert [(name.rpartition(":")[2], report.report_type) for name, report in found] == [
                ("USER", ReportType.TRADE),
                ("OTHER", ReportType.TRADE),
                ("OTHER", ReportType.TRADE_CANCELLED),
                ("USER", ReportType.TRADE_CANCELLED),
            ]
            assert {report.last_quantity for _, report in found[:2]} == {10 * NANOS}
            reader.writer.close()
        other.writer.close()

    play(tmp_path, scene)
