"""The router's decisions on books small enough to reckon with on paper."""

from __future__ import annotations

import pytest

from execution.router import record
from execution.router.smart import SmartRouter
from execution.venues import ReportType
from tests.execution.router.world import (
    CENT,
    DESTINATIONS,
    NOW,
    REGISTRY,
    World,
    book,
    chosen,
    parent,
    settings,
)
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.events import OrderState
from tickloom.prices import NANOS
from tickloom.records import replace

NO_DARK = {"dark": {"enabled": False}}


@pytest.fixture
def world() -> World:
    """Offers: 100.02 everywhere, XNAS 50, BATS 30, EDGX 40, and 100 more a cent behind. No pings."""
    world = World(settings(**NO_DARK))
    for name, size in (("XNAS", 50), ("BATS", 30), ("EDGX", 40)):
        world.books[name] = book([(100_00, 50), (99_99, 100)], [(100_02, size), (100_03, 100)])
    return world


def test_the_cheapest_destinations_come_first_net_of_fees(world: World) -> None:
    """Of 60 at one price: 30 where takers are paid, 30 where they pay 0.1 cents, none where they pay 0.3."""
    assert chosen(world.decide(parent(shares=60))) == {"EDGX": (30, 100_02), "BATS": (30, 100_02)}


def test_a_sweep_goes_over_destinations_and_levels(world: World) -> None:
    """150 of 120 at the touch: all of it, and 30 a cent behind where taking is cheapest."""
    assert {name: size for name, (size, _) in chosen(world.decide(parent(shares=150))).items()} == {
        "XNAS": 50,
        "EDGX": 40,
        "BATS": 60,
    }


def test_a_fee_can_outweigh_a_price() -> None:
    """100.02 with a rebate of 2 cents for takers is cheaper than 100.01 without one."""
    world = World(settings(**NO_DARK))
    world.books["XNAS"] = book([(100_00, 50)], [(100_01, 50)])
    world.books["BATS"] = book([(100_00, 50)], [(100_02, 50)])
    cheap = replace(world.router.destinations.by_name["BATS"], taker_fee=-2 * CENT)
    by_name = {**world.router.destinations.by_name, "BATS": cheap}
    other = World(settings(**NO_DARK), replace(world.router.destinations, by_name=by_name))
    other.books = world.books
    assert chosen(world.decide(parent(shares=50))) == {"XNAS": (50, 100_01)}
    assert chosen(other.decide(parent(shares=50))) == {"BATS": (50, 100_02)}


def test_the_slowest_destination_is_sent_first(world: World) -> None:
    """Slices are in the order of latency, so that they arrive close together."""
    decision = world.decide(parent(shares=150))
    assert decision is not None
    assert [one.destination for one in decision.slices] == ["EDGX", "BATS", "XNAS"]


def test_nothing_past_the_parents_limit(world: World) -> None:
    """At 100.02 a level a cent behind is not looked at; at 100.01 there is nothing, and it ends."""
    at = chosen(world.decide(parent(shares=500, cents=100_02)))
    assert all(price == 100_02 for _, price in at.values())
    under = world.decide(parent(shares=500, cents=100_01, order_id="OTHER"))
    assert under is not None
    assert (under.done, under.slices) == (True, [])
    assert "nothing within the limit" in under.why


def test_what_nobody_displays_is_asked_for_where_hidden_size_was_found(world: World) -> None:
    """120 are displayed at 100.02, 200 wanted: the other 80 go with one slice, at the parent's limit."""
    world.router.experience.of(world.router.destinations.by_name["EDGX"]).hidden.add(1.0)
    sizes = chosen(world.decide(parent(shares=200, cents=100_02)))
    assert sizes == {"XNAS": (50, 100_02), "EDGX": (120, 100_02), "BATS": (30, 100_02)}


def test_what_comes_back_is_routed_again_but_not_to_where_it_was_gone(world: World) -> None:
    """BATS had 10 of its 30: the other 20 go where the book is still believed, while EDGX is under way."""
    order = parent(shares=60)
    world.decide(order)
    place = next(at for at, child in enumerate(world.children) if child.sent_to == "BATS")
    world.answer(place, 10)
    world.now_ns += NS_PER_MS
    assert chosen(world.decide(order)) == {"EDGX": (10, 100_02), "XNAS": (10, 100_02)}
    assert world.decide(order) is None


def test_a_newer_quote_brings_a_destination_back(world: World) -> None:
    """After a quote that is newer than the answer, what it shows counts again."""
    order = parent(shares=30)
    assert chosen(world.decide(order)) == {"BATS": (30, 100_02)}
    world.answer(0, 0)
    world.now_ns += 20 * NS_PER_MS
    world.books["BATS"] = book([(100_00, 50)], [(100_02, 30)], ts=world.now_ns)
    assert chosen(world.decide(order)) == {"BATS": (30, 100_02)}


def test_another_parent_does_not_aim_at_the_same_shares(world: World) -> None:
    """BATS' 30 went to the first parent, so the second starts at EDGX."""
    world.decide(parent(shares=30))
    assert chosen(world.decide(parent(shares=30, order_id="OTHER"))) == {"EDGX": (30, 100_02)}


@pytest.mark.parametrize("why", ["down", "untrusted", "silent", "unseen"])
def test_a_destination_that_cannot_be_trusted_is_left_out(world: World, why: str) -> None:
    """No session, a gap, a feed that says nothing, or no book: its shares are not counted on."""
    if why == "down":
        world.down.add("BATS")
    elif why == "unseen":
        del world.books["BATS"]
    else:
        old = world.books["BATS"]
        world.books["BATS"] = replace(
            old,
            refused="gap" if why == "untrusted" else "",
            feed_ts=NOW - (3_001 * NS_PER_MS if why == "silent" else 0),
        )
    decision = world.decide(parent(shares=30))
    assert chosen(decision) == {"EDGX": (30, 100_02)}
    assert decision is not None
    seen = {one.destination: one.out for one in record.decode(decision.record).books}
    assert seen["BATS"]
    assert not seen["EDGX"]


def test_a_feed_is_trusted_up_to_its_age_limit(world: World) -> None:
    """3,000 ms of silence are allowed, to the millisecond."""
    world.books["BATS"] = replace(world.books["BATS"], feed_ts=NOW - 3_000 * NS_PER_MS)
    assert chosen(world.decide(parent(shares=30))) == {"BATS": (30, 100_02)}


def test_an_unknown_child_counts_as_open_and_its_destination_is_shunned(world: World) -> None:
    """30 at BATS have no answer: they are not handed out again, and nothing else goes there."""
    order = parent(shares=60)
    world.decide(order)
    for at, child in enumerate(world.children):
        if child.sent_to == "BATS":
            world.children[at] = replace(child, state=OrderState.UNKNOWN)
        else:
            world.answer(at, 0)
    assert chosen(world.decide(order)) == {"XNAS": (30, 100_02)}


def test_rejects_leave_a_destination_out_for_longer_each_time(world: World) -> None:
    """Three rejects in a row: a second; three more: two; an acceptance forgets them."""
    router, known = world.router, world.router.experience.of(world.router.destinations.by_name["BATS"])
    for pause_s in (1, 2):
        for number in range(3):
            order = parent(shares=30, order_id=f"P{pause_s}{number}")
            assert set(chosen(world.decide(order))) == {"BATS"}
            world.answer(len(world.children) - 1, 0, ReportType.REJECTED)
            world.now_ns += NS_PER_S if number < 2 else 0
        assert known.until_ns == world.now_ns + pause_s * NS_PER_S
        assert "BATS" not in chosen(world.decide(parent(shares=30, order_id=f"Q{pause_s}")))
        world.now_ns += pause_s * NS_PER_S
        for name, one in world.books.items():
            world.books[name] = replace(one, feed_ts=world.now_ns, ts_recv=world.now_ns)
    assert router.experience.left_out(router.destinations.by_name["BATS"], world.now_ns) == ""


def test_a_destination_that_rejected_a_part_is_not_asked_again_by_the_same_parent(world: World) -> None:
    """When all of them have, the parent ends."""
    order = parent(shares=30)
    for name in ("BATS", "EDGX", "XNAS"):
        assert set(chosen(world.decide(order))) == {name}
        world.answer(len(world.children) - 1, 0, ReportType.REJECTED)
    end = world.decide(order)
    assert end is not None
    assert end.done


def test_rounds_have_an_end() -> None:
    """After two rounds that brought nothing, it is over; the second asks at the parent's limit."""
    world = World(settings(routing={"rounds_max": 2}, **NO_DARK))
    order = parent(shares=10)
    for number, price in enumerate((100_02, 100_10)):
        world.books["BATS"] = book([(100_00, 50)], [(100_02, 30)], ts=world.now_ns)
        assert chosen(world.decide(order)) == {"BATS": (10, price)}
        world.answer(number, 0)
        world.now_ns += 100 * NS_PER_MS
    world.books["BATS"] = book([(100_00, 50)], [(100_02, 30)], ts=world.now_ns)
    end = world.decide(order)
    assert end is not None
    assert (end.done, end.why) == (True, "a destination was asked 2 times")


def test_less_than_a_lot_ends_it(world: World) -> None:
    """Half a share cannot be traded."""
    end = world.decide(replace(parent(), quantity=NANOS // 2))
    assert end is not None
    assert (end.done, end.why) == (True, "less than a lot is left")


def test_a_filled_parent_wants_nothing(world: World) -> None:
    """All of it is filled: the engine closes it."""
    order = parent(shares=30)
    world.decide(order)
    world.answer(0, 30)
    assert world.decide(order) is None


def test_same_inputs_same_decision() -> None:
    """Two routers with the same past say the same, byte for byte."""

    def run() -> list[bytes]:
        world = World()
        for name, size in (("XNAS", 50), ("BATS", 30), ("EDGX", 40)):
            world.books[name] = book([(100_00, 50)], [(100_02, size), (100_03, 100)])
        order, told = parent(shares=200), []
        for number in range(4):
            decision = world.decide(order)
            assert decision is not None
            told.append(decision.record)
            world.answer(number, 5)
            world.now_ns += NS_PER_MS
        return told

    assert run() == run()


def test_a_decision_is_kept_with_the_books_it_saw(world: World) -> None:
    """Prices as text, sizes, ages, costs and slices; less than four kilobytes."""
    world.now_ns += 7 * NS_PER_MS
    decision = world.decide(parent(shares=60))
    assert decision is not None
    assert len(decision.record) < 4_096
    kept = record.decode(decision.record)
    assert (kept.action, kept.ts, kept.ts_market) == ("sweep", world.now_ns, NOW)
    seen = {one.destination: one for one in kept.books}
    assert seen["BATS"].far == [("100.02", "30"), ("100.03", "100")]
    assert (seen["BATS"].near, seen["BATS"].age_ms) == ([("100", "50")], 7)
    assert {(one.destination, one.quantity) for one in kept.slices} == {("BATS", "30"), ("EDGX", "30")}
    assert [one.destination for one in kept.options if one.action == "take"] == ["BATS", "EDGX", "XNAS"]


def test_an_instrument_nobody_knows_and_a_parent_that_is_over_are_left_alone(world: World) -> None:
    """Nothing is decided for them."""
    assert world.decide(parent(symbol="NONE")) is None
    assert world.decide(parent(state=OrderState.CANCELLED)) is None


def test_only_markets_with_destinations_are_routed(world: World) -> None:
    """And none when routing is switched off."""
    assert world.router.routes("XNAS")
    assert not world.router.routes("BINANCE")
    off = SmartRouter(settings(routing={"enabled": False}), DESTINATIONS, REGISTRY, lambda *_: None)
    assert not off.routes("XNAS")
