"""Commands of operators on the engine, through the real inbox; what becomes of them when nobody listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from execution.breach import Stage
from execution.control import FILE_NAME, STALE_AFTER_NS, Ask, Command, Inbox, Outcome
from execution.operations import HALT_WAIT_NS, RETRY_NS, Operations
from execution.risk import Level
from tests.execution.loopback import Loopback
from tests.execution.rig import LIMITS, RULE, VENUE
from tests.execution.test_engine import DEEP, consume, reason, signal, trade
from tickloom.clock import NS_PER_MS, NS_PER_S, ReplayClock, SystemClock
from tickloom.errors import ControlError
from tickloom.events import OrderState
from tickloom.prices import NANOS


class Desk:
    """A world, its operations, and somebody at the other end of the inbox."""

    def __init__(self, directory: Path, clock: ReplayClock, limits: str = LIMITS) -> None:
        self.world, self.clock = Loopback(directory, limits=limits, clock=clock), clock
        self.operator = Inbox(directory)
        self.last_order_ns = 0
        self.operations = Operations(
            self.world.engine, Inbox(directory), self.world.tick, lambda: self.last_order_ns
        )

    def ask(self, ask: Ask, **arguments: str) -> int:
        return self.operator.ask(ask, "ann", "a reason", arguments, self.clock.now_ns())

    def answer(self, ask: Ask, **arguments: str) -> Command:
        """Ask, let the agent look once, and read."""
        number = self.ask(ask, **arguments)
        self.turn()
        return self.operator.read(number)

    def turn(self) -> None:
        self.clock.advance_by(1)
        self.operations.turn()

    def held(self) -> int:
        return self.world.engine.portfolio.firm.quantity(VENUE, "ALFA") // NANOS

    def close(self) -> None:
        self.world.close()
        self.operator.close()


@pytest.fixture
def clock() -> ReplayClock:
    return ReplayClock(SystemClock().now_ns())


@pytest.fixture
def open_desk(tmp_path: Path, clock: ReplayClock) -> Iterator[Callable[..., Desk]]:
    """Opens it in the test's directory; opening it again is a restart."""
    desks: list[Desk] = []

    def make(limits: str = LIMITS) -> Desk:
        for desk in desks:
            desk.close()
        desks[:] = [Desk(tmp_path, clock, limits)]
        return desks[0]

    yield make
    for desk in desks:
        desk.close()


def test_flatten_takes_a_rule_down_and_it_stays_stopped_until_released(
    open_desk: Callable[..., Desk],
) -> None:
    """65 shares are sold as the market trades; then the rule is refused, and trades again once released.
    Each command is in the journal with who, why and its number."""
    desk = open_desk()
    consume(desk.world, signal(1))
    assert desk.held() == 65
    answer = desk.answer(Ask.FLATTEN, rule=RULE)
    assert (answer.outcome, answer.text.split(":")[0]) == (Outcome.DONE, f"rule {RULE} is taken down")
    trade(desk.world, "ALFA", 1_000)
    assert desk.answer(Ask.RELEASE, rule=RULE).outcome is Outcome.REFUSED
    for _ in range(3):
        desk.clock.advance_by(1)
        desk.world.tick()
    assert desk.held() == 0
    refused, taken = signal(2), signal(3)
    consume(desk.world, refused)
    assert reason(desk.world.journal, refused).startswith("reduce_only")
    assert desk.answer(Ask.RELEASE, rule=RULE).outcome is Outcome.DONE
    assert desk.answer(Ask.RELEASE, rule=RULE).text == f"rule {RULE} is not stopped; nothing was done"
    consume(desk.world, taken)
    assert desk.held() == 65
    actions = [(action, who, why) for _, action, who, why in desk.world.journal.risk_actions()]
    commands = [(action, who, why[:19]) for action, who, why in actions if action.startswith("command")]
    assert commands == [
        ("command_flatten", "ann", "a reason, command 1"),
        ("command_release", "ann", "a reason, command 2"),
        ("command_release", "ann", "a reason, command 3"),
        ("command_release", "ann", "a reason, command 4"),
    ]
    assert any(action == "release" and why.endswith("a reason, command 3") for action, _, why in actions)


def test_a_paused_unwinding_sells_nothing_even_over_a_restart(open_desk: Callable[..., Desk]) -> None:
    """Paused, nothing is sold whatever trades; a successor holds still too, until somebody lets it go on."""
    desk = open_desk()
    consume(desk.world, signal(1))
    assert desk.answer(Ask.PAUSE).outcome is Outcome.REFUSED
    desk.answer(Ask.FLATTEN, instrument="XNAS.ALFA")
    assert desk.answer(Ask.PAUSE).text == "1 unwindings are paused; what is open stays open"
    for restart in range(2):
        trade(desk.world, "ALFA", 1_000)
        for _ in range(3):
            desk.world.tick()
        assert desk.held() == 65
        (plan,) = desk.world.engine.unwinder.desk.active.values()
        assert (plan.paused, plan.stage) == (True, Stage.FLAT)
        if not restart:
            desk = open_desk()
    assert desk.answer(Ask.CONTINUE).outcome is Outcome.DONE
    trade(desk.world, "ALFA", 1_000)
    for _ in range(3):
        desk.world.tick()
    assert desk.held() == 0
    assert desk.answer(Ask.CONTINUE).outcome is Outcome.REFUSED


def test_what_is_asked_for_twice_is_done_once(open_desk: Callable[..., Desk]) -> None:
    """A flatten while one is under way starts none, and is noted with who and why."""
    desk = open_desk()
    consume(desk.world, signal(1))
    assert desk.answer(Ask.FLATTEN).outcome is desk.answer(Ask.FLATTEN).outcome is Outcome.DONE
    actions = [action for _, action, _, _ in desk.world.journal.risk_actions()]
    assert actions.count("unwinding_declared") == 1
    assert actions.count("unwinding_requested") == 2


@pytest.mark.parametrize("ask", [Ask.FLATTEN, Ask.CONTINUE, Ask.RELEASE, Ask.STATUS])
def test_a_command_that_waited_too_long_is_refused_as_stale(open_desk: Callable[..., Desk], ask: Ask) -> None:
    """At its age limit it is taken; a nanosecond past it nothing is done."""
    desk = open_desk()
    consume(desk.world, signal(1))
    number = desk.ask(ask)
    desk.clock.advance_by(STALE_AFTER_NS[ask])
    desk.turn()
    stale = desk.operator.read(number)
    assert (stale.outcome, stale.text) == (
        Outcome.STALE,
        f"given {STALE_AFTER_NS[ask] // NS_PER_S} s ago: too old, ask again",
    )
    assert desk.world.engine.unwinder.desk.active == {}
    number = desk.ask(ask)
    desk.clock.advance_by(STALE_AFTER_NS[ask] - 1)
    desk.turn()
    assert desk.operator.read(number).outcome in (Outcome.DONE, Outcome.REFUSED)


def test_a_flatten_given_while_no_agent_ran_is_taken_at_the_next_start(
    open_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    """Half an hour later the position goes; what was withdrawn by then is not done."""
    desk = open_desk()
    consume(desk.world, signal(1))
    kept, withdrawn = desk.ask(Ask.FLATTEN), desk.ask(Ask.RELEASE)
    assert desk.operator.withdraw(withdrawn, 1)
    desk.clock.advance_by(1_800 * NS_PER_S)
    desk = open_desk()
    desk.turn()
    assert desk.operator.read(kept).outcome is Outcome.DONE
    assert desk.operator.read(withdrawn).outcome is Outcome.WITHDRAWN
    assert [one.breach.level for one in desk.world.engine.unwinder.desk.active.values()] == [Level.FIRM]
    assert not desk.operator.withdraw(kept, 1)


@pytest.mark.parametrize(("name", "value"), [("rule", "stranger"), ("instrument", "XNAS NONE")])
def test_a_level_that_does_not_exist_is_refused(
    open_desk: Callable[..., Desk], name: str, value: str
) -> None:
    """A typo must not look as if something had been taken down."""
    desk = open_desk()
    answer = desk.answer(Ask.FLATTEN, **{name: value})
    assert answer.outcome is Outcome.REFUSED
    assert value in answer.text
    assert desk.world.engine.unwinder.desk.active == {}


def test_a_halt_is_answered_when_nothing_is_open_with_what_it_took(open_desk: Callable[..., Desk]) -> None:
    """Acknowledged at once; the resting order is cancelled, then the answer says how long all of it took. The
    journal has the same."""
    desk = open_desk(DEEP)
    resting = signal(1)
    consume(desk.world, resting)
    assert len(desk.world.engine.open) == 1
    thrown_ns = desk.clock.now_ns()
    desk.last_order_ns = thrown_ns + 2 * NS_PER_MS
    desk.world.kill_switch.halt("ann", "fire drill")
    number = desk.ask(Ask.HALT)
    desk.clock.advance_by(3 * NS_PER_MS - 1)
    desk.turn()
    answer = desk.operator.read(number)
    assert answer.outcome is Outcome.DONE
    assert desk.world.engine.open == {}
    assert answer.detail == {
        "acknowledged_ms": 3.0,
        "last_order_ms": 2.0,
        "cancelled_ms": 3.0,
        "open_at_halt": 1,
        "left_open": 0,
        "unknown": 0,
    }
    actions = [(action, why) for _, action, _, why in desk.world.journal.risk_actions()]
    assert ("halted", answer.text) in actions
    assert ("kill_switch", "halted: fire drill (ann); 1 orders are open") in actions


def test_a_halt_says_what_it_could_not_cancel(open_desk: Callable[..., Desk]) -> None:
    """Without a session the order stays open: taken at once, and after five seconds the answer says so."""
    desk = open_desk(DEEP)
    consume(desk.world, signal(1))
    desk.world.up = False  # and nobody has noticed yet
    desk.world.kill_switch.halt("ann", "fire drill")
    number = desk.ask(Ask.HALT)
    desk.turn()
    assert desk.operator.read(number).outcome is Outcome.TAKEN
    desk.clock.advance_by(HALT_WAIT_NS)
    desk.turn()
    answer = desk.operator.read(number)
    assert (answer.outcome, answer.detail["left_open"]) == (Outcome.DONE, 1)


def test_status_has_positions_limits_in_use_and_plans(open_desk: Callable[..., Desk]) -> None:
    """65 ALFA at 152.41 bought one cent above the mid: a loss of 0.65 of 1, and a plan that has all to do."""
    limits = LIMITS.replace('daily_loss_max = "1000000"\n[inst', 'daily_loss_max = "1"\n[inst')
    desk = open_desk(limits)
    consume(desk.world, signal(1))
    desk.answer(Ask.FLATTEN)
    found = desk.answer(Ask.STATUS).detail
    assert (found["agent"], found["halted"], found["order_entry"]) == ("running", None, True)
    firm = next(one for one in found["positions"] if not one["rule"])
    assert (firm["symbol"], firm["quantity"], firm["average_price"], firm["unrealised"]) == (
        "ALFA", "65", "152.41", "-0.65",
    )  # fmt: skip
    use = {(one["check"], one["scope"]): one for one in found["use"]}
    loss = use[("daily_loss", f"rule {RULE}")]
    assert (loss["value"], loss["limit"], loss["percent"]) == ("0.65", "1", 65.0)
    assert use[("position_notional", "XNAS ALFA")]["value"] == "9906"  # 65 at 152.40
    (plan,) = found["unwindings"]
    assert (plan["kind"], plan["scope"], plan["stage"], plan["left_percent"]) == (
        "operator", "firm", "flat", 100.0,
    )  # fmt: skip
    assert found["stopped"] == [["firm", "taken down by request: firm"]]


def test_an_inbox_that_breaks_stops_nobody(open_desk: Callable[..., Desk], tmp_path: Path) -> None:
    """The agent goes on, looks again after a second, and the kill switch works meanwhile."""
    desk = open_desk(DEEP)
    consume(desk.world, signal(1))

    def broken() -> bool:
        raise ControlError("disk gone")

    desk.operations._inbox.changed = broken  # type: ignore[method-assign]
    desk.turn()
    desk.world.kill_switch.halt("ann", "fire drill")
    desk.turn()
    assert desk.world.engine.open == {}
    del desk.operations._inbox.changed  # type: ignore[method-assign]
    number = desk.ask(Ask.STATUS)
    desk.turn()
    assert desk.operator.read(number).outcome is Outcome.WAITING
    desk.clock.advance_by(RETRY_NS)
    desk.turn()
    assert desk.operator.read(number).outcome is Outcome.DONE


def test_a_file_that_is_no_inbox_is_refused(tmp_path: Path) -> None:
    """With what to do about it."""
    (tmp_path / FILE_NAME).write_text("no database, only text that is long enough to be looked at" * 20)
    with pytest.raises(ControlError, match="move the file away"):
        Inbox(tmp_path)


def test_an_order_withdrawn_before_it_left_is_no_difference_to_the_venue(
    open_desk: Callable[..., Desk],
) -> None:
    """The switch is thrown between the journal and the wire: rejected, and nothing is held for it."""
    desk = open_desk()
    one = signal(1)
    (order,) = desk.world.engine.on_signal(one)
    desk.world.engine.withdraw(order, "halted: fire drill (ann)")
    assert desk.world.engine.open == {}
    assert desk.world.engine.risk.position(VENUE, "ALFA") == (0, 0, 0)
    kept = desk.world.journal.order(order.order_id)
    assert kept is not None
    assert (kept.state, kept.reason) == (OrderState.REJECTED, "never sent: halted: fire drill (ann)")
