"""Pings and posts: when they pay, where they go, and what ends them."""

from __future__ import annotations

import pytest

from execution.router.waiting import bet, post_price, queue_share
from execution.venues import ReportType
from tests.execution.router.world import CENT, NOW, World, book, chosen, parent, settings
from tickloom.clock import NS_PER_MS
from tickloom.prices import NANOS
from tickloom.records import replace

FREE: dict[str, object] = {"miss_bps": 0.0, "drift_bps_per_s": 0.0}


def dark_world(**tables: dict[str, object]) -> World:
    """A market of 100.00 to 100.10 on XNAS, the pool's reference; the midpoint is 100.05."""
    world = World(settings(**tables))
    world.books["XNAS"] = book([(100_00, 50)], [(100_10, 500)])
    return world


def test_the_pool_is_pinged_first_where_half_the_spread_is_worth_it() -> None:
    """All of it, at once, for the midpoint within the parent's limit; then the rest is swept."""
    world = dark_world(dark={"minimum": 0.25})
    order = parent(shares=100)
    decision = world.decide(order)
    assert decision is not None
    (ping,) = decision.slices
    assert (ping.destination, ping.order_type, ping.time_in_force) == ("DARK", "midpoint", "ioc")
    assert (ping.quantity, ping.min_quantity, ping.limit_price) == (
        100 * NANOS,
        25 * NANOS,
        order.limit_price,
    )
    assert world.decide(order) is None
    world.answer(0, 40)
    world.now_ns += NS_PER_MS
    assert chosen(world.decide(order)) == {"XNAS": (60, 100_10)}


@pytest.mark.parametrize(("leak_bps", "first"), [(1.732, "DARK"), (1.733, "XNAS")])
def test_a_ping_pays_up_to_the_bound_of_its_formula(leak_bps: float, first: str) -> None:
    """p = 1/4; taking costs 100.10 + 0.003, the midpoint 100.05 + 0.001: a saving of 0.052. A quarter of that
    is 0.013, which three quarters of the leak may be: 0.017333 of 100.05, 1.7325 bps."""
    world = dark_world(take=FREE, dark={"leak_bps": leak_bps, "fill_prior": 0.25}, learn={"fill_prior": 1.0})
    assert set(chosen(world.decide(parent(shares=100)))) == {first}


def test_a_pool_that_never_fills_is_pinged_no_more() -> None:
    """Thirty pings without a share, and the expectation is below what the wait costs."""
    world = dark_world(dark={"leak_bps": 0.5})
    known = world.router.experience.of(world.router.destinations.by_name["DARK"])
    for _ in range(30):
        known.fill.add(0.0)
    assert set(chosen(world.decide(parent(shares=100)))) == {"XNAS"}


@pytest.mark.parametrize("reason", ["locked", "limit", "down"])
def test_no_ping_without_a_midpoint_within_the_limit(reason: str) -> None:
    """A locked reference has none; a limit below it forbids it; a pool without a session is left out."""
    world = dark_world()
    order = parent(shares=100)
    if reason == "locked":
        world.books["XNAS"] = book([(100_00, 50)], [(100_00, 500)])
    elif reason == "limit":
        order = replace(order, limit_price=100_04 * CENT)
    else:
        world.down.add("DARK")
    decision = world.decide(order)
    assert decision is not None
    assert all(one.destination != "DARK" for one in decision.slices)


def patient_world(**tables: dict[str, object]) -> World:
    """100.00 to 100.10 at three destinations; EDGX has nobody ahead at 100.00, and XNAS pays makers."""
    world = World(settings(dark={"enabled": False}, post={"fill_prior": 0.6}, **tables))
    world.books["XNAS"] = book([(100_00, 900)], [(100_10, 500)])
    world.books["BATS"] = book([(100_00, 900)], [(100_10, 500)])
    world.books["EDGX"] = book([(99_99, 50)], [(100_10, 500)])
    return world


def test_a_patient_parent_posts_where_queue_and_rebate_are_best() -> None:
    """At 100.00, the best bid anywhere, at EDGX where nobody is ahead; post only, for the day."""
    world = patient_world()
    decision = world.decide(parent(shares=100, time_in_force="day"))
    assert decision is not None
    (post,) = decision.slices
    assert (post.destination, post.limit_price, post.time_in_force) == ("EDGX", 100_00 * CENT, "day")
    assert post.post_only


def test_of_equal_queues_the_rebate_decides() -> None:
    """With 900 ahead everywhere, XNAS' rebate."""
    world = patient_world()
    world.books["EDGX"] = world.books["BATS"]
    assert set(chosen(world.decide(parent(shares=100, time_in_force="day")))) == {"XNAS"}


def test_a_post_that_waited_too_long_is_taken_back_and_the_rest_crosses_in_the_end() -> None:
    """Two posts of 2 s each; then the rest is taken."""
    world = patient_world()
    order = parent(shares=100, time_in_force="day")
    for number in range(3):
        assert set(chosen(world.decide(order))) == {"EDGX"}
        world.answer(number, 0, ReportType.NEW)
        world.now_ns += 1_999 * NS_PER_MS
        world.books = {name: replace(one, feed_ts=world.now_ns) for name, one in world.books.items()}
        assert world.decide(order) is None
        world.now_ns += NS_PER_MS
        taken_back = world.decide(order)
        assert taken_back is not None
        assert (taken_back.cancel, taken_back.slices) == ([f"CHILD{number}"], [])
        world.answer(number, 10)
    swept = world.decide(order)
    assert swept is not None
    assert [one.time_in_force for one in swept.slices] == ["ioc"]
    assert sum(one.quantity for one in swept.slices) == 70 * NANOS


def test_a_post_that_the_market_leaves_behind_is_repriced() -> None:
    """The bid rises by a tick: not before 200 ms, and then at the new price."""
    world = patient_world()
    order = parent(shares=100, time_in_force="day")
    world.decide(order)
    world.answer(0, 0, ReportType.NEW)
    world.books["XNAS"] = book([(100_01, 900)], [(100_10, 500)])
    world.now_ns += 199 * NS_PER_MS
    assert world.decide(order) is None
    world.now_ns += NS_PER_MS
    decision = world.decide(order)
    assert decision is not None
    assert decision.cancel == ["CHILD0"]
    world.answer(0, 0)
    assert {price for _, price in chosen(world.decide(order)).values()} == {100_01}


def test_a_passive_limit_is_posted_and_left_alone() -> None:
    """A bid of 99.95 rests at its limit; nothing can be taken, so no time takes it back."""
    world = patient_world()
    order = parent(shares=100, cents=99_95, time_in_force="day")
    assert {price for _, price in chosen(world.decide(order)).values()} == {99_95}
    world.answer(0, 0, ReportType.NEW)
    world.now_ns = NOW + 2_500 * NS_PER_MS
    assert world.decide(order) is None


def test_a_patient_parent_waits_for_a_book() -> None:
    """Without any trusted book it neither trades nor ends."""
    world = patient_world()
    world.books = {name: replace(one, refused="gap") for name, one in world.books.items()}
    assert world.decide(parent(shares=100, time_in_force="day")) is None


@pytest.mark.parametrize(
    ("side", "near", "far", "limit", "expected"),
    [
        ("buy", 100, 105, 103, 100),  # joins the best bid
        ("buy", 100, 105, 98, 98),  # bounded by the limit
        ("buy", 106, 105, 110, 104),  # crossed books: a tick inside the other side
        ("buy", None, 105, 110, 104),
        ("buy", 100, None, 103, 100),
        ("sell", 105, 100, 102, 105),
        ("sell", 105, 100, 107, 107),
        ("sell", None, 100, 90, 101),
        ("sell", None, None, 90, 90),
        ("buy", None, 1, 5, None),  # there is no price below a tick
    ],
)
def test_post_price(side: str, near: int | None, far: int | None, limit: int, expected: int | None) -> None:
    """Joins its own side's best, within the limit, and never meets the other side."""
    assert post_price(side, near, far, limit, 1) == expected


def test_gain_on_paper() -> None:
    """p = 0.5, saving 40, a wait of 10 at a drift of 2 and a leak of 4: 20 - 0.5 * 24 = 8."""
    assert bet("ping", "D", 0, 60, 100, 0.5, 10, 2.0, 4.0).gain == pytest.approx(8)
    assert queue_share(25, 75) == 0.25
    assert queue_share(25, 0) == 1.0
