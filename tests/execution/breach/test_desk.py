"""From a breach of the book to a flat one: detected, declared, checked by the gate like any other order."""

from __future__ import annotations

import numpy as np
import pytest

from execution.breach import BreachDesk, BreachKind, Stage, detect
from execution.orders import OrderRecord
from execution.risk import Check, Level
from execution.sizing import OrderIntent
from execution.valuation import RiskEngine
from tests.execution.risk.world import ASK, BID, MS, NOW, World, intent, registry, world
from tests.execution.valuation.test_engine import RETURNS
from tickloom.instruments import Pair, Registry
from tickloom.prices import NANOS
from tickloom.records import replace

FIRM, RULE, INSTRUMENT = Level.FIRM, Level.STRATEGY, Level.INSTRUMENT
PLAN = {"stages": '["stop_new", "cancel_open", "reduce", "flat"]', "participation_bps": "1000"}
LOSS = {"rules.rule": {"daily_loss_max": '"500"'}, "breach.loss": PLAN}


def kinds(one: World, **context: object) -> list[tuple[BreachKind, Level, str]]:
    return [found.scope for found in detect(one.book, [], NOW, **context)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "level", "name", "tables", "price", "quantity"),
    [
        (BreachKind.LOSS, FIRM, "", {"firm": {"daily_loss_max": '"500"'}}, 105, 100),
        (BreachKind.LOSS, RULE, "rule", {"rules.rule": {"daily_loss_max": '"500"'}}, 105, 100),
        (
            BreachKind.LOSS,
            INSTRUMENT,
            "XNAS ALFA",
            {'instruments."XNAS.ALFA"': {"daily_loss_max": '"500"'}},
            105,
            100,
        ),
        (BreachKind.DRAWDOWN, FIRM, "", {"firm": {"drawdown_max": '"500"'}}, 105, 100),
        (BreachKind.POSITION, FIRM, "", {"firm": {"position_max": '"100"'}}, 100, 100),
        (BreachKind.POSITION, RULE, "rule", {"rules.rule": {"position_max": '"100"'}}, 100, 100),
        (
            BreachKind.POSITION,
            INSTRUMENT,
            "XNAS ALFA",
            {'instruments."XNAS.ALFA"': {"position_max": '"100"'}},
            100,
            100,
        ),
    ],
)
def test_at_the_limit_there_is_no_breach_and_one_unit_past_it_there_is(
    kind: BreachKind, level: Level, name: str, tables: dict[str, dict[str, str]], price: int, quantity: int
) -> None:
    """A loss of 500 and a position of 100 are allowed; a nano more is a breach of that level alone."""
    one = world(tables)
    one.fill("buy", quantity * NANOS, price * NANOS)
    assert kinds(one) == []
    one.fill("buy", 1, price * NANOS, fee=1)
    assert kinds(one) == [(kind, level, name)]


def test_value_at_risk_is_breached_by_what_is_held() -> None:
    """The figure of the last update against the gate's limit."""
    one = world({"firm": {"var_max": '"1"'}})
    one.fill("buy", 100 * NANOS, BID)
    levels = RiskEngine(one.book, RETURNS).update()
    (found,) = detect(one.book, levels, NOW)
    assert found.scope == (BreachKind.VAR, FIRM, "")


def test_silence_and_lost_sessions_matter_where_something_is_held_or_open() -> None:
    """A feed that said nothing for its time and a nanosecond, and a venue without a session."""
    one = world({"instruments.default": {"feed_age_ms_max": "10"}})
    one.book.market.touch("XNAS", 0, NOW - 10 * MS - 1, NOW, 0, False)
    assert kinds(one, lost_venues=["XNAS"]) == []
    one.order(symbol="BRVO")
    dead = (BreachKind.DEAD_FEED, INSTRUMENT, "XNAS BRVO")
    assert kinds(one, lost_venues=["XNAS"]) == [dead, (BreachKind.LOST_VENUE, INSTRUMENT, "XNAS BRVO")]
    one.book.market.touch("XNAS", 0, NOW - 10 * MS, NOW, 0, False)
    assert kinds(one) == []


class Floor:
    """A desk, a gate, and a venue that fills every slice at the touch."""

    def __init__(self, one: World, known: Registry) -> None:
        self.one = one
        self.desk = BreachDesk(one.book, known, lambda order: order.order_id.startswith("U"))
        self.resting: list[OrderRecord] = []
        self.texts: list[str] = []
        self.slices: list[tuple[str, str, int]] = []

    def traded(self, symbol: str, size: int) -> None:
        self.one.book.market.trades("XNAS", symbol, np.array([NOW]), np.array([size * NANOS]))

    def turn(self, number: int) -> None:
        """Look, act, fill."""
        found = self.desk.step(detect(self.one.book, [], NOW), self.resting, NOW + number)
        self.texts += [event.text for _, event in found.events]
        for order in [order for order in self.resting if order.order_id in found.cancel]:
            self.one.book.on_order(replace(order, quantity=order.filled_quantity))
            self.resting.remove(order)
        for number_, each in enumerate(found.slices):
            rule, _, symbol = each.key
            price = ASK if each.side == "buy" else BID
            order_id = f"U{number}.{number_}"
            wanted = OrderIntent(
                order_id, "", 0, rule, "XNAS", symbol, each.side, each.quantity, price, "ioc"
            )
            verdict = self.one.check(wanted)
            assert verdict.passed, self.one.gate.refusal(verdict, wanted)
            self.slices.append((symbol, each.side, each.quantity // NANOS))
            self.one.fill(each.side, each.quantity, price, symbol, rule)
            order = self.one.order(each.quantity, order_id=order_id, rule=rule, symbol=symbol, side=each.side)
            self.desk.on_fill(order, each.quantity)
            self.one.book.on_order(replace(order, filled_quantity=each.quantity))


def test_a_loss_is_taken_down_under_the_cap_and_the_rule_stays_stopped() -> None:
    """Long 100 that lost 600: what rests is cancelled, a tenth of the volume is sold at a time, until flat;
    the rule may not trade again before somebody releases it, and the other rule never noticed."""
    one = world(LOSS)
    floor = Floor(one, registry())
    one.fill("buy", 100 * NANOS, 106 * NANOS)
    floor.resting.append(one.order(10 * NANOS, symbol="ALFA", limit_price=BID))
    floor.traded("ALFA", 300)
    for number in range(3):
        floor.turn(number)
    assert floor.resting == []
    assert one.book.position("XNAS", "ALFA", "rule") == (70 * NANOS, 0, 0)
    for number in range(3, 10):
        floor.traded("ALFA", 100)
        floor.turn(number)
    assert one.book.position("XNAS", "ALFA", "rule") == (0, 0, 0)
    (unwinding,) = floor.desk.active.values()
    floor.turn(10)
    assert unwinding.stage is Stage.DONE
    assert floor.texts[0].startswith("loss of rule: 600, limit 500; plan: stop_new")
    assert floor.texts[-1] == "the plan is done"
    assert one.check(intent(rule="other")).passed
    assert one.check().check is Check.REDUCE_ONLY
    one.book.new_day()
    floor.desk.release(RULE, "rule")
    assert one.check().passed
    assert floor.desk.active == {}


def test_a_pair_goes_down_together_though_one_leg_was_breached() -> None:
    """A position limit of one leg takes the other leg down with it, in proportion."""
    known = registry()
    known = Registry(
        known.venues, list(known.instruments.values()), [Pair("XNAS", "P", "ALFA", "BRVO", NANOS)]
    )
    tables = {
        'instruments."XNAS.ALFA"': {"position_max": '"99"'},
        "breach.position": {
            "stages": '["stop_new", "flat"]',
            "participation_bps": "10000",
            "leg_risk_max": '"5000"',
        },
    }
    one = world(tables)
    one.fill("buy", 100 * NANOS, 100 * NANOS)
    one.fill("sell", 100 * NANOS, 100 * NANOS, "BRVO")
    floor = Floor(one, known)
    for symbol in ("ALFA", "BRVO"):
        floor.traded(symbol, 1_000)
    for number in range(4):
        floor.turn(number)
    assert floor.slices[:2] == [("ALFA", "sell", 50), ("BRVO", "buy", 50)]
    assert [one.book.position("XNAS", name)[0] for name in ("ALFA", "BRVO")] == [0, 0]


def test_flatten_by_request_says_who_and_why() -> None:
    """Without a plan in the file there is one that stops, cancels and goes flat."""
    one = world()
    one.fill("buy", 10 * NANOS, BID)
    floor = Floor(one, registry())
    floor.traded("ALFA", 1_000)
    floor.desk.flatten("ann", "end of day", NOW)
    floor.turn(0)
    floor.desk.pause("bob", "wait", NOW)
    floor.turn(1)
    floor.desk.resume("bob", "go", NOW)
    for number in range(2, 5):
        floor.turn(number)
    assert one.book.position("XNAS", "ALFA")[0] == 0
    assert [text for text in floor.texts if "(" in text and "rule" not in text] == [
        "end of day (ann)", "wait (bob)", "go (bob)",
    ]  # fmt: skip


def test_the_same_breach_starts_one_unwinding() -> None:
    """However often it is seen."""
    one = world(LOSS)
    one.fill("buy", 100 * NANOS, 106 * NANOS)
    floor = Floor(one, registry())
    for number in range(5):
        floor.turn(number)
    assert len(floor.desk.active) == 1
    assert sum("plan:" in text for text in floor.texts) == 1


def test_an_outage_is_over_when_it_is_over() -> None:
    """A dead feed stops its instrument; the feed is back, and it trades again by itself. What is also
    stopped for a loss stays stopped."""
    stop = {"stages": '["stop_new", "cancel_open"]'}
    one = world(
        {
            "instruments.default": {"feed_age_ms_max": "10"},
            'instruments."XNAS.ALFA"': {"daily_loss_max": '"500"'},
            "breach.dead_feed": stop,
            "breach.loss": stop,
        }
    )
    floor = Floor(one, registry())
    one.fill("buy", 10 * NANOS, BID, "BRVO")
    one.fill("buy", 100 * NANOS, 106 * NANOS)
    one.book.market.touch("XNAS", 0, NOW - 11 * MS, NOW, 0, False)
    for number in range(3):
        floor.turn(number)
    assert one.check(replace(intent(), symbol="BRVO")).check is Check.REDUCE_ONLY
    one.book.market.touch("XNAS", 0, NOW, NOW, 0, False)
    floor.turn(3)
    assert one.check(replace(intent(), symbol="BRVO")).passed
    assert one.check().check is Check.REDUCE_ONLY


def test_a_closed_venue_is_silent_by_right() -> None:
    """After the close nothing comes, and that is no breach."""
    one = world({"instruments.default": {"feed_age_ms_max": "10"}})
    one.fill("buy", NANOS, BID)
    one.book.market.touch("XNAS", 0, NOW - 10**12, NOW, 0, True)
    assert kinds(one) == []
