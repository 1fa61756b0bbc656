"""Two legs that go together: how far one may run ahead, and what happens when one is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.orders import OrderRecord, client_order_id
from execution.router.legs import LegRisk
from execution.router.settings import LegSettings
from tests.execution.router.world import CENT, World, book, chosen, parent, settings
from tickloom.clock import NS_PER_MS
from tickloom.events import OrderState
from tickloom.prices import NANOS, format_nanos
from tickloom.records import replace

LOT = NANOS


def leg(number: int, shares: int, filled: int = 0, cents: int = 100_00, **changes: object) -> OrderRecord:
    """A parent of the pair; both cost 100.00 unless said otherwise."""
    return parent(
        "buy" if number == 0 else "sell",
        shares,
        cents,
        order_id=client_order_id("SIGNAL", number),
        leg=number,
        filled_quantity=filled * NANOS,
        **changes,
    )


def among(orders: list[OrderRecord]) -> Callable[[str], OrderRecord | None]:
    """Orders by id, as they are now."""
    return lambda order_id: next((one for one in orders if one.order_id == order_id), None)


def allowed(
    money: int | None, mine: OrderRecord, other: OrderRecord, open_shares: int = 0, lot: int = LOT
) -> tuple[int, bool, str]:
    """(shares, laggard, stop) with leg_risk_max in whole currency."""
    settings_ = LegSettings(leg_risk_max=None if money is None else f"{money}")
    risk = LegRisk(settings_, among([mine, other]))
    found = risk.look(mine, mine.filled_quantity, open_shares * NANOS, None, lot)
    assert found is not None
    return found.quantity // NANOS, found.laggard, found.stop


def test_a_leg_starts_with_its_share_of_the_limit() -> None:
    """1,000 of 10,000: 10 of 100 shares of the one, 20 of 200 at half the price of the other."""
    a, b = leg(0, 100), leg(1, 200, cents=50_00)
    assert allowed(1_000, a, b) == (10, False, "")
    assert allowed(1_000, b, a) == (20, False, "")


def test_it_follows_the_other_legs_fills() -> None:
    """The other is half done: 50 and 10 more, less what it has and what is open."""
    a, b = leg(0, 100, 30), leg(1, 200, 100, cents=50_00)
    assert allowed(1_000, a, b, open_shares=5)[0] == 50 + 10 - 30 - 5


def test_without_a_limit_a_leg_is_free() -> None:
    """leg_risk_max left out: all of it."""
    assert allowed(None, leg(0, 100), leg(1, 200)) == (100, False, "")


def test_the_leg_behind_stops_waiting_from_half_the_limit_on() -> None:
    """The other is ahead by 500 of 1,000, and by a share less."""
    assert allowed(1_000, leg(0, 100), leg(1, 100, 5))[1]
    assert not allowed(1_000, leg(0, 100), leg(1, 100, 4))[1]
    assert not allowed(1_000, leg(1, 100, 5), leg(0, 100))[1]


def test_a_limit_below_a_lot_ends_both_and_says_so() -> None:
    """99 in money, lots worth 100."""
    quantity, _, stop = allowed(99, leg(0, 100), leg(1, 100))
    assert quantity == 0
    assert "leg_risk_max 99 is less than a lot" in stop
    assert allowed(100, leg(0, 100), leg(1, 100)) == (1, False, "")


def test_the_leading_leg_stops_where_the_other_was_given_up() -> None:
    """The other ended at 40 of 100: at 30 it may have 10 more, at 50 it stops with 1,000 unhedged."""
    over = leg(1, 100, 40, state=OrderState.CANCELLED)
    assert allowed(1_000, leg(0, 100, 30), over) == (10, True, "")
    quantity, _, stop = allowed(1_000, leg(0, 100, 50), over)
    assert quantity == 0
    assert stop == "the other leg is over at 40.0%, this one at 50.0%: 1000 unhedged"


def test_an_order_alone_is_no_leg() -> None:
    """Nothing bounds it."""
    risk = LegRisk(LegSettings(leg_risk_max="1"), among([]))
    assert risk.look(leg(0, 100), 0, 0, None, LOT) is None


def test_a_third_order_of_a_signal_is_no_leg() -> None:
    """Legs are 0 and 1."""
    many = [leg(number, 100) for number in range(3)]
    risk = LegRisk(LegSettings(leg_risk_max="1"), among(many))
    assert risk.look(many[2], 0, 0, None, LOT) is None


def pair_world() -> tuple[World, OrderRecord, OrderRecord]:
    """100 to buy and 100 to sell, 1,000 of leg risk, enough displayed of both."""
    world = World(settings(dark={"enabled": False}, legs={"leg_risk_max": "1000"}))
    world.books["XNAS"] = book([(100_00, 500)], [(100_02, 500)])
    a, b = leg(0, 100, cents=100_02), replace(leg(1, 100), symbol="BRVO")
    world.parents = [a, b]
    return world, a, b


def test_the_router_hands_out_in_step() -> None:
    """9 (a lot is a bit more than 100 here), nothing more while the other has none, then 9 more of it."""
    world, a, b = pair_world()
    assert chosen(world.decide(a)) == {"XNAS": (9, 100_02)}
    world.answer(0, 9)
    assert world.decide(a) is None
    assert chosen(world.decide(b)) == {"XNAS": (9 + 9, 100_00)}
    world.answer(1, 18)
    world.parents = [replace(a, filled_quantity=9 * NANOS), replace(b, filled_quantity=18 * NANOS)]
    world.now_ns += NS_PER_MS
    assert chosen(world.decide(a)) == {"XNAS": (18, 100_02)}


def test_a_leg_that_ends_stops_the_other() -> None:
    """Nothing can be sold within the limit for two seconds, so that leg ends; the other, which has 9, stops
    and says so."""
    world, a, b = pair_world()
    world.decide(a)
    world.answer(0, 9)
    late = replace(b, limit_price=100_03 * CENT)
    world.now_ns += 1_999 * NS_PER_MS
    assert world.decide(late) is None  # it waits for a book
    world.now_ns += NS_PER_MS
    gone = world.decide(late)
    assert gone is not None
    assert gone.done
    stopped = world.decide(a)
    assert stopped is not None
    assert stopped.done
    assert "over at 0.0%, this one at 9.0%" in stopped.why


def test_a_laggard_takes_back_its_post_and_crosses_no_further_than_its_bound() -> None:
    """A patient leg behind by half the limit: its post goes, and it takes, 1 bps past the touch at most."""
    config = settings(
        dark={"enabled": False},
        legs={"leg_risk_max": "1000", "laggard_cross_bps": 1.0},
        post={"fill_prior": 0.9},
    )
    world = World(config)
    world.books["XNAS"] = book([(100_00, 500)], [(100_10, 2), (100_11, 2), (100_12, 500)])
    a, b = leg(0, 100, cents=100_50, time_in_force="day"), leg(1, 100, cents=99_00)
    world.parents = [a, b]
    decision = world.decide(a)
    assert decision is not None
    assert decision.slices[0].post_only
    child = world.children[0] = replace(world.children[0], state=OrderState.NEW)
    world.parents = [a, replace(b, filled_quantity=9 * NANOS)]
    recalled = world.decide(a)
    assert recalled is not None
    assert recalled.cancel == [child.order_id]
    assert chosen(recalled) == {"XNAS": (4, 100_11)}


@given(
    limit=st.integers(200, 5_000),
    fills=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10)), max_size=60),
    sizes=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_what_is_unhedged_never_passes_the_limit(
    limit: int, fills: list[tuple[int, int]], sizes: tuple[int, int]
) -> None:
    """Whatever of what was handed out fills: even if all that is open of one leg filled and nothing of the
    other, no more than the limit is without a hedge."""
    orders = [leg(0, sizes[0]), leg(1, sizes[1])]
    risk = LegRisk(LegSettings(leg_risk_max=f"{limit}"), among(orders))
    opened = [0, 0]
    for number, share in fills:
        mine, other = orders[number], orders[1 - number]
        found = risk.look(mine, mine.filled_quantity, opened[number], None, LOT)
        assert found is not None
        opened[number] += min(found.quantity, mine.quantity - mine.filled_quantity - opened[number])
        worst = (
            mine.filled_quantity + opened[number]
        ) / mine.quantity - other.filled_quantity / other.quantity
        money = mine.quantity * mine.limit_price / NANOS / NANOS
        assert worst * money <= limit + 1e-6, format_nanos(opened[number])
        filled = opened[number] * share // 10 // LOT * LOT
        opened[number] -= filled
        orders[number] = replace(mine, filled_quantity=mine.filled_quantity + filled)


@pytest.mark.parametrize("limit", [200, 333, 1_000])
@pytest.mark.parametrize("sizes", [(7, 20), (100, 100), (1, 60), (60, 7)])
def test_a_pair_comes_to_its_end(limit: int, sizes: tuple[int, int]) -> None:
    """In turns, with everything filled that is handed out, both legs get done and none waits for ever."""
    orders = [leg(0, sizes[0]), leg(1, sizes[1])]
    risk = LegRisk(LegSettings(leg_risk_max=f"{limit}"), among(orders))
    for turn in range(400):
        mine = orders[turn % 2]
        found = risk.look(mine, mine.filled_quantity, 0, None, LOT)
        assert found is not None
        assert not found.stop
        more = min(found.quantity, mine.quantity - mine.filled_quantity)
        orders[turn % 2] = replace(mine, filled_quantity=mine.filled_quantity + more)
    assert [one.filled_quantity for one in orders] == [one.quantity for one in orders]
