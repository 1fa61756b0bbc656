"""What holds of every decision, whatever the books, the answers and their order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from execution.orders import TERMINAL
from execution.router import Decision
from execution.venues import ReportType
from tests.execution.router.world import CENT, World, book, parent
from tests.execution.router.world import settings as routing
from tickloom.clock import NS_PER_MS
from tickloom.events import OrderState
from tickloom.prices import NANOS
from tickloom.records import replace

LIT = ("XNAS", "BATS", "EDGX")

sides = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 40)), max_size=3)
books = st.tuples(st.integers(99_90, 100_10), sides, sides)
#: What happens next: an answer to a child (number, share in tenths, how it ends), new books, or time.
steps = st.one_of(
    st.tuples(st.just("answer"), st.integers(0, 30), st.integers(0, 10)),
    st.tuples(st.just("reject"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("accept"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("unknown"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 3_000), st.just(0)),
    st.tuples(st.just("book"), st.integers(0, 2), books),
)


def make_book(
    world: World, name: str, drawn: tuple[int, list[tuple[int, int]], list[tuple[int, int]]]
) -> None:
    """A book around a mid: each level so many cents behind the one before."""
    mid, bids, asks = drawn
    at, levels = mid, []
    for gap, size in bids:
        at -= gap
        levels.append((at, size))
    at, offers = mid, []
    for gap, size in asks:
        at += gap
        offers.append((at, size))
    world.books[name] = book(levels, offers, ts=world.now_ns)


def act(world: World, kind: str, number: int, value: object) -> None:
    """One step."""
    if kind == "wait":
        world.now_ns += number * NS_PER_MS
        world.books = {name: replace(one, feed_ts=world.now_ns) for name, one in world.books.items()}
    elif kind == "book":
        make_book(world, LIT[number], value)  # type: ignore[arg-type]
    elif world.children:
        at = number % len(world.children)
        child = world.children[at]
        if child.state in TERMINAL:
            return
        if kind == "unknown":
            world.children[at] = replace(child, state=OrderState.UNKNOWN)
        elif kind == "accept":
            world.answer(at, 0, ReportType.NEW)
        elif kind == "reject":
            world.answer(at, 0, ReportType.REJECTED)
        else:
            world.answer(at, child.quantity // NANOS * int(value) // 10)  # type: ignore[call-overload]


def check(world: World, order: object, decision: Decision | None, free: int) -> None:
    """What must hold of a decision."""
    if decision is None:
        return
    handed = sum(one.quantity for one in decision.slices)
    assert handed <= free
    assert len({one.destination for one in decision.slices}) == len(decision.slices)
    for one in decision.slices:
        assert one.quantity > 0
        assert one.quantity % NANOS == 0
        assert one.limit_price % CENT == 0
        assert (
            one.limit_price <= order.limit_price
            if order.side == "buy"
            else one.limit_price >= order.limit_price
        )  # type: ignore[attr-defined]
        assert one.destination not in world.down
        assert (one.order_type == "midpoint") is (one.destination == "DARK")
        assert one.post_only is (one.time_in_force == "day")
    assert not (decision.done and decision.slices)
    resting = {child.order_id for child in world.children if child.time_in_force == "day"}
    assert set(decision.cancel) <= resting


@settings(max_examples=150, deadline=None)
@given(
    side=st.sampled_from(["buy", "sell"]),
    shares=st.integers(1, 120),
    cents=st.integers(99_80, 100_20),
    patient=st.booleans(),
    first=st.lists(books, min_size=3, max_size=3),
    happens=st.lists(steps, max_size=25),
)
def test_never_more_than_is_left_and_never_past_the_limit(
    side: str, shares: int, cents: int, patient: bool, first: list, happens: list
) -> None:  # type: ignore[type-arg]
    """Through any run of answers: no decision hands out more than the parent's quantity less what is filled
    and what may still fill, none prices a slice past the limit or off lot and tick, and a parent that ended
    has nothing open."""
    world = World(routing())
    for name, drawn in zip(LIT, first, strict=True):
        make_book(world, name, drawn)
    order = parent(side, shares, cents, time_in_force="day" if patient else "ioc")
    for kind, number, value in [("wait", 1, 0), *happens]:
        act(world, kind, number, value)
        filled = sum(child.filled_quantity for child in world.children)
        open_quantity = sum(child.leaves for child in world.children)
        decision = world.decide(order)
        check(world, order, decision, order.quantity - filled - open_quantity)
        if decision is not None and decision.done:
            assert open_quantity == 0
            break


@settings(max_examples=100, deadline=None)
@given(
    shares=st.integers(1, 150),
    drawn=st.lists(books, min_size=3, max_size=3),
    name=st.sampled_from(LIT),
    less=st.integers(1, 500),
)
def test_a_destination_with_a_lower_fee_never_gets_less(
    shares: int,
    drawn: list,
    name: str,
    less: int,  # type: ignore[type-arg]
) -> None:
    """The whole router, with all that it looks at."""

    def quantity(fee_less: int) -> int:
        world = World(routing(dark={"enabled": False}))
        by_name = dict(world.router.destinations.by_name)
        by_name[name] = replace(by_name[name], taker_fee=by_name[name].taker_fee - fee_less)
        world = World(routing(dark={"enabled": False}), replace(world.router.destinations, by_name=by_name))
        for venue, one in zip(LIT, drawn, strict=True):
            make_book(world, venue, one)
        decision = world.decide(parent(shares=shares, cents=100_15))
        assert decision is not None
        displayed = sum(size for price, size in world.books[name].asks if price <= 100_15 * CENT)
        return sum(min(one.quantity, displayed) for one in decision.slices if one.destination == name)

    assert quantity(less * CENT // 100) >= quantity(0)
