"""The engine against the real matching core: lost messages, restarts, halts, pairs, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from execution.engine import ACK_TIMEOUT_NS
from execution.orders import client_order_id
from execution.reconcile import compare
from execution.risk import Level
from execution.venues import Report, ReportType
from tests.execution.loopback import GATEWAY, Loopback, reason, states
from tests.execution.rig import DAY, LIMITS, RULE, VENUE, make_signal
from tickloom import topics
from tickloom.clock import NS_PER_S, ReplayClock, SystemClock
from tickloom.codec import TickBatch
from tickloom.events import TRADE_DTYPE, EventBlock, OrderState, Signal, SymbolTable, make_seq
from tickloom.prices import NANOS
from tickloom.records import replace

RESTING = LIMITS.replace('"ioc"', '"day"')
#: Orders of 1.05 million shares of ALFA against the million that is displayed: a part of each rests.
DEEP = (
    RESTING.replace('notional = "10000"', 'notional = "160000000"')
    .replace('order_notional_max = "100000"', 'order_notional_max = "1000000000"')
    .replace('position_notional_max = "100000000"', 'position_notional_max = "1000000000"')
)


@pytest.fixture
def clock() -> ReplayClock:
    return ReplayClock(SystemClock().now_ns())


@pytest.fixture
def open_world(tmp_path: Path, clock: ReplayClock) -> Iterator[Callable[..., Loopback]]:
    """Opens the world in the test's directory; opening it again is a restart."""
    worlds: list[Loopback] = []

    def make(limits: str = LIMITS) -> Loopback:
        for world in worlds:
            world.close()
        worlds[:] = [Loopback(tmp_path, limits=limits, clock=clock)]
        return worlds[0]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(open_world: Callable[..., Loopback]) -> Loopback:
    return open_world()


def signal(number: int, symbol: str = "ALFA", side: str = "buy") -> Signal:
    return make_signal(number, symbol, side)


def consume(world: Loopback, *signals: Signal) -> None:
    for one in signals:
        for order in world.engine.on_signal(one):
            world.send(order)


def assert_agrees(world: Loopback, directory: Path) -> None:
    assert compare(directory / "journal.db", directory / "exchange.db", VENUE).differences == []


def test_signal_to_fill(world: Loopback, tmp_path: Path) -> None:
    """Intent, acknowledgement, fill; position and execution are there; the two records agree."""
    one = signal(1)
    consume(world, one)
    assert states(world.journal, one) == [OrderState.PENDING_NEW, OrderState.NEW, OrderState.FILLED]
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 65 * NANOS
    (position,) = world.engine.portfolio.positions()
    assert position.average_price == 152_410_000_000
    assert position.unrealised_pnl == -650_000_000  # 65 shares, one cent above the mid
    assert_agrees(world, tmp_path)


def test_same_signal_twice_makes_one_order(world: Loopback) -> None:
    """The second time nothing is sent, nothing is journaled."""
    one = signal(1)
    consume(world, one, one)
    assert len(world.sent) == 1
    assert len(world.journal.orders()) == 1
    assert len(world.journal.signals()) == 1


def test_pair_trades_both_legs(world: Loopback) -> None:
    """Buying ALFA~BRVO buys 65 ALFA and sells 1.2 times as many BRVO."""
    consume(world, signal(1, "ALFA~BRVO"))
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 65 * NANOS
    assert world.engine.portfolio.firm.quantity(VENUE, "BRVO") == -78 * NANOS


def test_pair_with_one_refused_leg_trades_neither(open_world: Callable[..., Loopback]) -> None:
    """A restricted leg keeps both at home; each row says why."""
    world = open_world(LIMITS + '[instruments."XNAS.BRVO"]\nrestricted = true\n')
    one = signal(1, "ALFA~BRVO")
    consume(world, one)
    assert world.sent == []
    assert reason(world.journal, one, 1).startswith("restricted: restricted instrument")
    assert (
        reason(world.journal, one, 0)
        == "pair_leg: BRVO refused by restricted, limit both legs or none (pair)"
    )


def test_order_entry_is_off_unless_switched_on(world: Loopback) -> None:
    """Off, every signal is journaled as refused, and nothing leaves."""
    world.engine.enabled = False
    one = signal(1)
    consume(world, one)
    assert world.sent == []
    assert (
        reason(world.journal, one) == "order_entry: live order entry is off, limit execution.enabled (firm)"
    )


def test_rule_without_limits_is_refused_alone(world: Loopback) -> None:
    """A rule that the limits file does not know does not trade; the others do."""
    stranger = make_signal(1, "ALFA", rule="stranger")
    consume(world, stranger, signal(2))
    assert reason(world.journal, stranger).startswith("rule: the limits file has no entry")
    assert len(world.sent) == 1


def test_position_limit_counts_open_orders(open_world: Callable[..., Loopback]) -> None:
    """65 shares an order: a limit of 130 lets two out, though neither has filled, and no third."""
    limits = RESTING + '[instruments."XNAS.ALFA"]\nposition_max = "130"\n'
    world = open_world(limits)
    world.lose_orders = True
    third = signal(3)
    consume(world, signal(1), signal(2), third)
    assert len(world.sent) == 2
    assert reason(world.journal, third) == "position: worst case 195 long, limit 130 (XNAS ALFA)"


@pytest.mark.parametrize(("limit", "sent"), [("0.65", 2), ("0.649999999", 1)])
def test_daily_loss_stops_the_rule(open_world: Callable[..., Loopback], limit: str, sent: int) -> None:
    """65 shares bought a cent above the mid have lost 0.65: the limit; with one nano less it is past."""
    world = open_world(
        LIMITS.replace('daily_loss_max = "1000000"\n[inst', f'daily_loss_max = "{limit}"\n[inst')
    )
    second = signal(2)
    consume(world, signal(1), second)
    assert len(world.sent) == sent
    if sent == 1:
        assert reason(world.journal, second) == f"daily_loss: lost 0.65 today, limit {limit} (test_rule)"


def test_lost_order_is_unknown_then_sent_again(world: Loopback, clock: ReplayClock, tmp_path: Path) -> None:
    """No answer: the order is UNKNOWN with its exposure; the venue never saw it; it is sent once more."""
    one = signal(1)
    world.lose_orders = True
    consume(world, one)
    clock.advance_by(ACK_TIMEOUT_NS)
    world.tick()
    assert world.engine.open[client_order_id(one.signal_id, 0)].state is OrderState.PENDING_NEW
    world.lose_orders = False
    clock.advance_by(1)
    world.tick()
    assert states(world.journal, one) == [
        OrderState.PENDING_NEW,
        OrderState.UNKNOWN,
        OrderState.PENDING_NEW,
        OrderState.NEW,
        OrderState.FILLED,
    ]
    assert_agrees(world, tmp_path)


def test_unknown_order_holds_its_exposure(open_world: Callable[..., Loopback], clock: ReplayClock) -> None:
    """While nobody knows, an order counts in full against the position limit."""
    world = open_world(LIMITS + '[instruments."XNAS.ALFA"]\nposition_max = "100"\n')
    world.lose_reports = True
    consume(world, signal(1))
    world.drop()
    world.up = True  # the gate must refuse for the position, not for the session
    second = signal(2)
    consume(world, second)
    assert reason(world.journal, second) == "position: worst case 130 long, limit 100 (XNAS ALFA)"


def test_lost_answers_are_replayed_at_logon(world: Loopback, tmp_path: Path) -> None:
    """The order filled while its reports were lost: at the next logon they come once, and not twice."""
    one = signal(1)
    world.lose_reports = True
    consume(world, one)
    world.drop()
    world.lose_reports = False
    world.log_on()
    world.log_on()
    assert states(world.journal, one) == [
        OrderState.PENDING_NEW,
        OrderState.UNKNOWN,
        OrderState.NEW,
        OrderState.FILLED,
    ]
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 65 * NANOS
    assert_agrees(world, tmp_path)


def test_order_that_never_left_is_not_sent_when_its_signal_is_old(
    open_world: Callable[..., Loopback], clock: ReplayClock, tmp_path: Path
) -> None:
    """After a restart an hour later the order is given up with the reason, and somebody is told."""
    world = open_world()
    one = signal(1)
    world.lose_orders = True
    consume(world, one)
    clock.advance_by(3_601 * NS_PER_S)
    world = open_world()
    assert states(world.journal, one)[-1] is OrderState.REJECTED
    assert "never reached the venue, not sent again: signal_age" in reason(world.journal, one)
    assert world.sent == []
    assert world.journal.alerts()
    assert_agrees(world, tmp_path)


def test_restart_with_a_resting_order(open_world: Callable[..., Loopback], tmp_path: Path) -> None:
    """A resting order is still there after a restart of both sides, neither doubled nor forgotten."""
    world = open_world(DEEP)
    one = signal(1)
    consume(world, one)
    assert states(world.journal, one)[-1] is OrderState.PARTIALLY_FILLED
    world = open_world(DEEP)
    (order,) = world.engine.open.values()
    assert order.state is OrderState.PARTIALLY_FILLED
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 1_000_000 * NANOS
    assert_agrees(world, tmp_path)


def test_kill_switch_refuses_and_cancels(open_world: Callable[..., Loopback], tmp_path: Path) -> None:
    """Halted: what rests is cancelled, what comes is refused with who and why; resumed, it trades again."""
    world = open_world(DEEP)
    resting, refused, after = signal(1), signal(2), signal(3, "BRVO")
    consume(world, resting)
    world.kill_switch.halt("ann", "fire drill")
    world.tick()
    assert states(world.journal, resting)[-2:] == [OrderState.PENDING_CANCEL, OrderState.CANCELLED]
    consume(world, refused)
    assert reason(world.journal, refused) == "kill_switch: halted: fire drill (ann), limit not halted (firm)"
    world.kill_switch.resume()
    consume(world, after)
    assert states(world.journal, after)[-1] in (OrderState.PARTIALLY_FILLED, OrderState.FILLED)
    assert_agrees(world, tmp_path)


def test_resting_order_is_cancelled_after_its_time(
    open_world: Callable[..., Loopback], clock: ReplayClock
) -> None:
    """cancel_after_ms = 2000: at two seconds it rests, a nanosecond later it is cancelled."""
    world = open_world(DEEP.replace("slippage_bps", "cancel_after_ms = 2000\nslippage_bps"))
    one = signal(1)
    consume(world, one)
    clock.advance_by(2 * NS_PER_S)
    world.tick()
    assert states(world.journal, one)[-1] is OrderState.PARTIALLY_FILLED
    clock.advance_by(1)
    world.tick()
    assert states(world.journal, one)[-1] is OrderState.CANCELLED


def test_malformed_signal_is_an_alert(world: Loopback) -> None:
    """What is no signal is noted with its place, and the next one is read."""
    from execution.engine import Source

    world.engine.on_malformed("no JSON", Source("signals", 1, 41))
    assert world.engine.next_offsets("signals") == {1: 42}
    assert world.journal.alerts()[0][1:] == ("signal", "signals/1@41: no JSON")


REPORT = Report(ReportType.TRADE, "", VENUE, "ALFA", "buy", OrderState.FILLED, 0, execution_id="X-1")


def test_reports_that_cannot_be_never_touch_a_position(world: Loopback) -> None:
    """An order nobody knows, another symbol, a fill of nothing: an alert each, and no position."""
    world.lose_orders = True
    one = signal(1)
    consume(world, one)
    order_id = client_order_id(one.signal_id, 0)
    fill = replace(REPORT, order_id=order_id, last_quantity=NANOS, last_price=NANOS, filled_quantity=NANOS)
    for report in (
        replace(fill, order_id="STRANGER"),
        replace(fill, symbol="BRVO"),
        replace(fill, side="sell"),
        replace(fill, last_quantity=0),
    ):
        world.engine.on_report(report, GATEWAY)
    assert len(world.journal.alerts()) == 4
    assert world.engine.portfolio.firm.holdings == {}
    assert world.engine.open[order_id].state is OrderState.PENDING_NEW


def test_impossible_state_is_an_alert_and_the_order_stays(world: Loopback) -> None:
    """A rejection of a filled order changes neither order nor position."""
    one = signal(1)
    consume(world, one)
    order_id = client_order_id(one.signal_id, 0)
    world.engine.on_report(
        replace(
            REPORT,
            report_type=ReportType.REJECTED,
            order_id=order_id,
            state=OrderState.REJECTED,
            filled_quantity=65 * NANOS,
            execution_id="",
        ),
        GATEWAY,
    )
    assert states(world.journal, one)[-1] is OrderState.FILLED
    assert "is filled and cannot become rejected" in world.journal.alerts()[0][2]


def test_late_fill_is_booked_and_seen(world: Loopback) -> None:
    """A fill behind a fill: the position has it, because the venue traded it; the alert says overfill."""
    one = signal(1)
    consume(world, one)
    order_id = client_order_id(one.signal_id, 0)
    world.engine.on_report(
        replace(
            REPORT, order_id=order_id, last_quantity=5 * NANOS, last_price=NANOS, filled_quantity=70 * NANOS
        ),
        GATEWAY,
    )
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 70 * NANOS
    assert "overfill: 70 filled of 65" in world.journal.alerts()[0][2]


def test_old_answer_does_not_reject_what_was_sent_after_it(world: Loopback, clock: ReplayClock) -> None:
    """Two questions were under way; the order is sent again on the first answer. The second one, of before
    that, says nothing of it, also when it is UNKNOWN again: only a third one, asked after it, does."""
    one = signal(1)
    world.lose_orders = world.lose_reports = True
    consume(world, one)
    for _ in range(2):  # two questions, whose answers are slow
        clock.advance_by(ACK_TIMEOUT_NS + 1)
        world.tick()
    world.lose_orders = world.lose_reports = False
    answer = replace(
        REPORT,
        report_type=ReportType.STATUS,
        order_id=client_order_id(one.signal_id, 0),
        state=OrderState.REJECTED,
        execution_id="",
        unknown_order=True,
    )
    assert [order.order_id for order in world.engine.on_report(answer, GATEWAY)] == world.sent
    clock.advance_by(ACK_TIMEOUT_NS + 1)
    assert [order.order_id for order in world.engine.on_timer().ask] == world.sent
    assert world.engine.on_report(answer, GATEWAY) == []
    assert [order.order_id for order in world.engine.on_report(answer, GATEWAY)] == world.sent


PLAN = """
[breach.loss]
stages = ["stop_new", "cancel_open", "flat"]
participation_bps = 5000
"""


def trade(world: Loopback, symbol: str, size: int) -> None:
    """The market trades so many of ``symbol``."""
    symbols = SymbolTable()
    now_ns = world.clock.now_ns()
    row = (now_ns, now_ns, make_seq(DAY, 1_000), symbols.index(symbol), NANOS, size * NANOS, 0, 0, 0)
    block = EventBlock(VENUE, "S", symbols, np.array([row], dtype=TRADE_DTYPE))
    world.market.apply(TickBatch(topics.shard(symbol, 2), 1, 1, now_ns, block), now_ns)


def test_a_breached_loss_limit_is_taken_down_and_stays_stopped(
    open_world: Callable[..., Loopback], clock: ReplayClock, tmp_path: Path
) -> None:
    """65 shares have lost 0.65 of 0.60: half of what the market trades is sold until nothing is left. Each
    step is in the journal. After a restart the plan goes on where it was, and sells nothing beyond its share;
    the rule stays stopped until somebody releases it."""
    limits = LIMITS.replace('daily_loss_max = "1000000"\n[inst', 'daily_loss_max = "0.60"\n[inst') + PLAN
    world = open_world(limits)
    consume(world, signal(1))
    trade(world, "ALFA", 40)
    for _ in range(3):
        world.tick()
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 45 * NANOS
    world = open_world(limits)
    for _ in range(3):
        clock.advance_by(1)
        world.tick()
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 45 * NANOS
    trade(world, "ALFA", 60)
    for _ in range(3):
        clock.advance_by(1)
        world.tick()
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 15 * NANOS
    trade(world, "ALFA", 200)
    for _ in range(3):
        clock.advance_by(1)
        world.tick()
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 0
    stages = [why for _, action, _, why in world.journal.risk_actions() if action == "unwinding_stage"]
    assert stages[0] == "loss of test_rule, 2: stop_new, only orders that reduce may leave"
    assert stages[-1].endswith("done, the plan is done")
    names = [text.split(": ")[1].split(",")[0] for text in stages]
    assert names == ["stop_new", "cancel_open", "flat", "done"]
    assert [kind for _, kind, _ in world.journal.alerts()] == ["breach"]
    assert_agrees(world, tmp_path)
    world = open_world(limits.replace("0.60", "60"))
    refused, taken = signal(2), signal(3)
    consume(world, refused)
    assert reason(world.journal, refused).startswith(
        "reduce_only: would not reduce a position: loss of test_rule"
    )
    world.engine.unwinder.release(Level.STRATEGY, RULE, "ann", "looked at it")
    consume(world, taken)
    assert states(world.journal, taken)[-1] is OrderState.FILLED


def test_a_slice_that_never_arrived_is_given_up_and_sent_anew(
    open_world: Callable[..., Loopback], clock: ReplayClock
) -> None:
    """The order of an unwinding got lost: it is rejected as the venue never saw it, and another goes."""
    limits = LIMITS.replace('daily_loss_max = "1000000"\n[inst', 'daily_loss_max = "0.60"\n[inst') + PLAN
    world = open_world(limits)
    consume(world, signal(1))
    trade(world, "ALFA", 1_000)
    world.lose_orders = True
    world.tick()
    world.lose_orders = False
    for _ in range(4):
        clock.advance_by(ACK_TIMEOUT_NS + 1)
        world.tick()
    assert world.engine.portfolio.firm.quantity(VENUE, "ALFA") == 0
    assert len({order.order_id for order in world.journal.orders()}) == 3


def test_every_order_s_verdict_is_in_the_journal(world: Loopback) -> None:
    """Of an order that left, and of one that was refused: each value beside its limit, and whose limits."""
    taken, refused = signal(1), make_signal(2, "ALFA", rule="stranger")
    consume(world, taken, refused)
    for one, verdict in ((taken, None), (refused, ["rule", "strategy"])):
        kept = world.journal.verdict(client_order_id(one.signal_id, 0))
        assert kept is not None
        found = json.loads(kept[1])
        assert (found["refused"], found["digest"]) == (verdict, world.engine.limits.digest)
        checks = {(check, level): (value, limit) for check, level, value, limit, _ in found["checks"]}
        assert checks[("order_notional", "instrument")][1] == 100_000 * NANOS
    kept = world.journal.verdict(client_order_id(taken.signal_id, 0))
    assert kept is not None
    assert ["order_notional", "instrument", 65 * 152_560_000_000, 100_000 * NANOS, True] in json.loads(
        kept[1]
    )["checks"]


def test_a_lost_venue_is_a_breach_after_ten_seconds_and_over_when_it_is_back(
    open_world: Callable[..., Loopback], clock: ReplayClock
) -> None:
    """With a position and no session its instrument is stopped, on the record; back, it trades again."""
    world = open_world(LIMITS + '[breach.lost_venue]\nstages = ["stop_new"]\n')
    consume(world, signal(1))
    world.drop()
    for step_ns in (0, 10 * NS_PER_S, 1):
        clock.advance_by(step_ns)
        assert world.journal.alerts() == []
        world.tick()
    assert [text for _, _, text in world.journal.alerts()] == ["no session with the venue of XNAS ALFA"]
    world.log_on()
    world.tick()
    after = signal(2)
    consume(world, after)
    assert states(world.journal, after)[-1] is OrderState.FILLED
    actions = [action for _, action, _, _ in world.journal.risk_actions()]
    assert actions.count("stop_new") == actions.count("release") == 1


def test_a_plan_cancels_what_rests_even_if_the_session_was_down(
    open_world: Callable[..., Loopback], clock: ReplayClock, tmp_path: Path
) -> None:
    """The breach is seen while there is no session: the resting order is cancelled when there is one."""
    world = open_world(
        DEEP.replace('daily_loss_max = "1000000"\n[inst', 'daily_loss_max = "1"\n[inst') + PLAN
    )
    resting = signal(1)
    consume(world, resting)
    world.drop()
    world.tick()
    assert [kind for _, kind, _ in world.journal.alerts()] == ["breach"]
    world.log_on()
    for _ in range(3):
        clock.advance_by(1)
        world.tick()
    assert states(world.journal, resting)[-1] is OrderState.CANCELLED
    assert_agrees(world, tmp_path)
