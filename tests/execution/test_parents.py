"""Parents and children: what leaves, what is held, how a parent ends, and what a restart finds."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from execution.orders import OrderRecord, client_order_id
from execution.parents import REFUSALS_MAX
from execution.router import Decision, Slice
from execution.unwinder import is_slice
from execution.venues import Report
from tests.execution.model.agent import Crash
from tests.execution.model.venues import CENT, VENUE
from tests.execution.model.world import World
from tickloom.events import OrderState, Side
from tickloom.prices import NANOS

SHARES = 52  # 8,000 dollars of ALFA at 152.56
NEAR = 152_300_000_000  # below the market: it rests


class Script:
    """Decides what it was told, in that order, then nothing."""

    def __init__(self, *decisions: Decision) -> None:
        self.decisions = deque(decisions)
        self.seen: list[list[OrderRecord]] = []
        self.reports: list[tuple[str, str]] = []

    def routes(self, venue: str) -> bool:
        return venue == VENUE

    def decide(self, parent: OrderRecord, children: Sequence[OrderRecord], now_ns: int) -> Decision | None:
        self.seen.append(list(children))
        return self.decisions.popleft() if self.decisions else None

    def on_report(self, child: OrderRecord, report: Report, now_ns: int) -> None:
        self.reports.append((child.order_id, report.report_type))


def part(shares: int, destination: str = "XNAS", price: int = 152_560_000_000, tif: str = "ioc") -> Slice:
    return Slice(destination, shares * NANOS, price, time_in_force=tif)


@pytest.fixture
def open_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(*decisions: Decision) -> World:
        worlds.append(World(tmp_path, 1, Script(*decisions)))
        worlds[-1].pump()
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def parent_of(world: World) -> OrderRecord:
    (found,) = [order for order in world.journal.orders() if not order.parent_id]
    return found


def held(world: World) -> int:
    """Shares that the gate holds of ALFA on the buying side."""
    return world.engine.risk.position(VENUE, "ALFA")[1] // NANOS


def test_a_parent_is_filled_through_its_children(open_world: Callable[..., World]) -> None:
    """40 of 52 go to one venue and 12 to another: ids follow from the parent's, the decision is kept with
    its books, all is held once, and the fills of both are the parent's."""
    record = b'{"books":{"XNAS":[152.4,40]}}'
    world = open_world(Decision([part(40), part(12, "XTWO")], why="sweep", record=record))
    world.take(world.signal("ALFA", "buy"))
    parent = parent_of(world)
    assert parent.state is OrderState.NEW
    assert held(world) == SHARES
    children = world.journal.children(parent.order_id)
    assert [(child.order_id, child.sent_to, child.quantity // NANOS) for child in children] == [
        (client_order_id(parent.order_id, 0), "XNAS", 40),
        (client_order_id(parent.order_id, 1), "XTWO", 12),
    ]
    (route,) = world.journal.routes(parent.order_id)
    decision = json.loads(route.decision)
    assert (decision["why"], decision["record"]) == ("sweep", {"books": {"XNAS": [152.4, 40]}})
    assert [one["order_id"] for one in decision["orders"]] == [child.order_id for child in children]
    world.pump()
    assert parent_of(world).state is OrderState.FILLED
    assert parent_of(world).filled_quantity == SHARES * NANOS
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == SHARES * NANOS
    assert held(world) == 0
    assert {execution.destination for _, execution in world.journal.executions()} == {"XNAS", "XTWO"}


def test_parent_and_children_count_once_against_a_limit(open_world: Callable[..., World]) -> None:
    """The limit is the parent's size: its children pass. One share less, and the parent is refused."""
    world = open_world(Decision([part(30), part(20, "XTWO")]))
    world.set_limit(SHARES)
    world.take(world.signal("ALFA", "buy"))
    assert held(world) == SHARES
    assert [child.state for child in world.journal.children(parent_of(world).order_id)] == [
        OrderState.PENDING_NEW,
        OrderState.PENDING_NEW,
    ]
    world.take(world.signal("ALFA", "buy"))
    assert [
        reason.split(":")[0] for _, verdict, reason in world.journal.signals() if verdict == "refused"
    ] == ["position"]


def test_an_unknown_child_keeps_its_part(open_world: Callable[..., World]) -> None:
    """Nobody knows what became of 40: the router may not have them again, until the venue says that it
    never saw them; then they are the parent's again, and the child is not sent again."""
    world = open_world(Decision([part(40)]), Decision([part(SHARES, "XTWO")]))
    world.take(world.signal("ALFA", "buy"))
    world.wires["one"].to_venue.clear()
    world.tick(2_100)
    parent = parent_of(world)
    (child, refused) = world.journal.children(parent.order_id)
    assert child.state is OrderState.UNKNOWN
    assert refused.reason.startswith("the router asks for 52 of 12 that are left")
    assert held(world) == SHARES
    world.pump()
    assert world.journal.children(parent.order_id)[0].state is OrderState.REJECTED
    assert world.engine.ledger.unrouted(parent_of(world)) == SHARES * NANOS
    assert held(world) == SHARES


def test_a_router_that_wants_too_much_is_given_up(open_world: Callable[..., World]) -> None:
    """Five times more than there is: an alert each, nothing leaves, the parent ends and says why. Between
    them it waits a quarter of a second, then twice as long each time."""
    world = open_world(*[Decision([part(SHARES + 1)])] * REFUSALS_MAX)
    world.take(world.signal("ALFA", "buy"))
    for number in range(REFUSALS_MAX - 1):
        world.tick((250 << number) - 1)
        assert len(world.journal.alerts()) == number + 1
        world.tick(1)
        assert len(world.journal.alerts()) == number + 2
    assert not any(wire.to_venue for wire in world.wires.values())
    assert [kind for _, kind, _ in world.journal.alerts()] == ["router"] * REFUSALS_MAX
    parent = parent_of(world)
    assert (parent.state, held(world)) == (OrderState.EXPIRED, 0)
    last = "5 decisions in a row were refused, the last: the router asks for 53 of 52"
    assert parent.reason.startswith(last)


def test_kill_switch_takes_back_children_then_the_parent(open_world: Callable[..., World]) -> None:
    """Halted, nothing more is routed; the parent is cancelled when none of its children is open any more."""
    rest = Decision([part(20, price=NEAR, tif="day")])
    world = open_world(rest, rest)
    world.take(world.signal("ALFA", "buy"))
    world.pump()
    world.kill_switch.halt("ann", "fire drill")
    world.tick(100)
    assert parent_of(world).state is OrderState.PENDING_CANCEL
    assert len(world.journal.children(parent_of(world).order_id)) == 2
    assert held(world) == SHARES
    world.pump()
    parent = parent_of(world)
    assert (parent.state, parent.reason) == (OrderState.CANCELLED, "halted: fire drill (ann)")
    assert held(world) == 0


def test_a_router_that_is_done_gives_up_the_rest(open_world: Callable[..., World]) -> None:
    """What is open may still fill; then the parent has expired, with what it traded, and why."""
    world = open_world(Decision([part(20)]), Decision(done=True, why="no size anywhere"))
    world.take(world.signal("ALFA", "buy"))
    world.pump()
    world.tick(100)
    parent = parent_of(world)
    assert (parent.state, parent.reason) == (OrderState.EXPIRED, "no size anywhere")
    assert parent.filled_quantity == 20 * NANOS
    assert (held(world), world.engine.ledger.parents) == (0, {})


def test_a_router_takes_a_post_back(open_world: Callable[..., World]) -> None:
    """The child that its decision names is cancelled with the next timer, and its part is free again."""
    world = open_world(Decision([part(20, price=NEAR, tif="day")]))
    world.take(world.signal("ALFA", "buy"))
    world.pump()
    parent = parent_of(world)
    (child,) = world.journal.children(parent.order_id)
    router = world.router
    assert isinstance(router, Script)
    router.decisions.append(Decision(cancel=[child.order_id], why="waited too long"))
    world.tick(100)
    world.tick(100)
    world.pump()
    assert world.journal.children(parent.order_id)[0].state is OrderState.CANCELLED
    assert world.engine.ledger.unrouted(parent_of(world)) == SHARES * NANOS
    assert (child.order_id, "cancelled") in router.reports


def test_a_restart_goes_on_with_parents(open_world: Callable[..., World]) -> None:
    """Child and parent come back as they were; what is routed behind a restart is as old as the parent is:
    past its rule's age limit nothing more leaves."""
    world = open_world(Decision([part(20, price=NEAR, tif="day")]))
    world.take(world.signal("ALFA", "buy"))
    world.pump()
    world.restart()
    world.pump()
    assert held(world) == SHARES
    assert len(world.engine.ledger.children(parent_of(world).order_id)) == 1
    router = world.router
    assert isinstance(router, Script)
    router.decisions.append(Decision([part(10)]))
    world.clock.advance_by(60_001 * 10**6)
    world.engine._advance_parent(parent_of(world).order_id)
    refused = world.journal.children(parent_of(world).order_id)[-1]
    assert refused.reason.startswith("signal_age: 60001 ms")


def test_a_finished_decision_is_remembered_over_a_restart(open_world: Callable[..., World]) -> None:
    """Given up with a child open: after a restart the router is not asked again, and the parent ends."""
    world = open_world(Decision([part(20, price=NEAR, tif="day")], done=True, why="enough"))
    world.take(world.signal("ALFA", "buy"))
    world.pump()
    world.restart()
    world.pump()
    router = world.router
    assert isinstance(router, Script)
    asked = len(router.seen)
    wire = world.wires["one"]
    (child,) = world.journal.children(parent_of(world).order_id)
    world.exchanges.settle(wire, wire.matching.cancel_unsolicited(child.order_id, "venue", 0))
    world.pump()
    assert (parent_of(world).state, parent_of(world).reason) == (OrderState.EXPIRED, "enough")
    assert len(router.seen) == asked


def test_both_legs_of_a_pair_are_parents_or_neither(open_world: Callable[..., World]) -> None:
    """A leg past its limit keeps both at home."""
    world = open_world()
    world.set_limit(SHARES)
    world.take(world.signal("ALFA~BRVO", "buy"))
    assert [order.state for order in world.journal.orders()] == [OrderState.REJECTED] * 2
    assert world.engine.ledger.parents == {}


def test_a_lost_session_leaves_the_other_gateway_s_orders_alone(open_world: Callable[..., World]) -> None:
    """Only what the lost gateway carries is UNKNOWN, and is asked about when it is back."""
    world = open_world(Decision([part(20, "XNAS"), part(20, "XTWO")]))
    world.take(world.signal("ALFA", "buy"))
    world.wires["one"].cut()
    world.engine.on_lost("one", "dropped")
    states = [child.state for child in world.journal.children(parent_of(world).order_id)]
    assert states == [OrderState.UNKNOWN, OrderState.PENDING_NEW]
    assert [order.sent_to for order in world.engine.on_session("one", world.wires["one"].record.session)] == [
        "XNAS"
    ]
    assert world.engine.on_session("two", world.wires["two"].record.session) == []


class Breached(World):
    """A loss of 30 cents is past the limit, and is taken down with half of what the market trades."""

    def _limits(self) -> str:
        plan = '[breach.loss]\nstages = ["stop_new", "cancel_open", "flat"]\nparticipation_bps = 5000\n'
        return super()._limits().replace('"1000000"\n[inst', '"0.30"\n[inst') + plan


def test_an_unwinding_is_routed_too(tmp_path: Path) -> None:
    """40 bought a cent above the mid, for a fee of 12 cents, have lost 0.52: the slice that takes them down
    is a parent, and its child leaves though the rule is stopped, as it reduces."""
    sell = Slice("XTWO", 20 * NANOS, 152_300_000_000)
    world = Breached(tmp_path, 1, Script(Decision([part(40)]), Decision(done=True), Decision([sell])))
    world.pump()
    world.take(world.signal("ALFA", "buy"))
    world.pump()
    world.tick(100)
    world.exchanges.trade_at("ALFA", 152_400_000_000, 40, Side.BUY)
    world.tick(100)
    world.tick(100)
    (slice_,) = [one for one in world.engine.ledger.parents.values() if one.signal_id.startswith("unwind|")]
    (child,) = world.journal.children(slice_.order_id)
    assert (child.state, child.sent_to, child.side) == (OrderState.PENDING_NEW, "XTWO", "sell")
    assert is_slice(child)
    world.pump()
    world.restart()
    world.pump()
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 20 * NANOS
    world.close()


def test_the_near_price_rests_and_the_far_one_trades() -> None:
    """What the other tests take for granted: the market is 152.39 to 152.41."""
    assert NEAR < 152_390_000_000
    assert 152_410_000_000 + 2 * CENT < 152_560_000_000


def scenario(world: World) -> None:
    """Two parents, fills, a replacement and a bust."""
    world.pump()
    world.take(world.signal("ALFA", "buy"))
    world.pump()
    resting = [order for order in world.engine.open.values() if order.state is OrderState.NEW]
    for order in resting:
        world.replace(order.order_id, order.quantity + NANOS, order.limit_price)
    world.pump()
    wire = world.wires["one"]
    world.exchanges.settle(wire, wire.matching.bust("XNAS-E1", 0))
    world.pump()
    world.tick(100)
    world.pump()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_crash_at_every_commit(tmp_path: Path, after: bool) -> None:
    """The agent dies before or after the nth commit, for every n: each time it recovers, what is open
    is known again, and at the end both sides agree."""
    crashes = 0
    while True:
        directory = tmp_path / f"crash{crashes + 1}"
        directory.mkdir()
        parts = [part(30), part(10, "XTWO", NEAR, "day")]
        world = World(directory, 1, Script(Decision(parts), Decision([part(5, "XTWO")])))
        world.journal.left, world.journal.after = crashes + 1, after
        try:
            scenario(world)
        except Crash:
            world.restart()
            world.pump()
            crashes += 1
        else:
            break
        finally:
            world.settle()
            world.close()
    assert crashes >= 9  # the signal, six reports, a request to replace, the next decision
