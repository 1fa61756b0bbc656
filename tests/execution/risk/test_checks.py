"""Each pre-trade check at each of its levels: at its limit it passes, one unit past it is refused.

The figures are arithmetic on paper: the mid is 100, an order is 100 at 101 unless a case says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from execution.risk import SPECS, Check, Level
from execution.sizing import OrderIntent
from tests.execution.risk.world import (
    ASK,
    BID,
    INTENT,
    MS,
    NOW,
    SCOPES,
    TABLES,
    World,
    intent,
    refused,
    world,
)
from tickloom.prices import NANOS, NO_PRICE
from tickloom.records import replace

FIRM, RULE, INSTRUMENT = Level.FIRM, Level.STRATEGY, Level.INSTRUMENT
ALL = (FIRM, RULE, INSTRUMENT)
Setup = Callable[[World], None]


def nothing(_: World) -> None:
    """The world as it is."""


@dataclass(frozen=True)
class Case:
    """``keys`` go to the level's table, ``more`` to tables by name; at and past differ by one unit."""

    check: Check
    levels: tuple[Level, ...]
    keys: dict[str, str] = field(default_factory=dict)
    at: Setup = nothing
    past: Setup | None = None
    intent_at: OrderIntent = INTENT
    intent_past: OrderIntent | None = None
    context_at: dict[str, Any] = field(default_factory=dict)
    context_past: dict[str, Any] | None = None
    more: dict[str, dict[str, str]] = field(default_factory=dict)
    measured: bool = True  # the value at the limit is the limit; not where a window's edge is the subject


def fills(*trades: tuple[Any, ...]) -> Setup:
    def setup(one: World) -> None:
        for trade in trades:
            one.fill(*trade)

    return setup


def quoted(ts: int) -> Setup:
    """ALFA was quoted at ``ts`` for the last time; its shard is alive."""

    def setup(one: World) -> None:
        one.quote(ts=ts)
        one.book.market.touch("XNAS", 0, NOW, NOW, 0, False)

    return setup


def fed(ts: int) -> Setup:
    """Its shard said something at ``ts`` for the last time."""

    def setup(one: World) -> None:
        one.book.market.touch("XNAS", 0, ts, NOW, 0, False)

    return setup


def traded(size: int) -> Setup:
    """The market traded so much of ALFA just now."""

    def setup(one: World) -> None:
        import numpy as np

        one.book.market.trades("XNAS", "ALFA", np.array([NOW]), np.array([size]))

    return setup


def opened(count: int, **changes: Any) -> Setup:
    def setup(one: World) -> None:
        for _ in range(count):
            one.order(**{"symbol": "ALFA", **changes})

    return setup


def messages(count: int, ts: int = NOW) -> Setup:
    def setup(one: World) -> None:
        for _ in range(count):
            one.message(ts=ts)

    return setup


def sent(count: int) -> Setup:
    def setup(one: World) -> None:
        for _ in range(count):
            one.book.on_sent(one.order(100 * NANOS, symbol="ALFA", limit_price=101 * NANOS), NOW)

    return setup


def peak(fee: int) -> Setup:
    """100 bought at 95 were worth 1,000 more at a mid of 105, and 500 more at 100: 500 below the best."""

    def setup(one: World) -> None:
        one.fill("buy", 100 * NANOS, 95 * NANOS)
        one.quote(bid=104 * NANOS, ask=106 * NANOS)
        one.book.mark()
        one.quote()
        one.book.mark()
        one.fill("buy", 1, 100 * NANOS, fee=fee)

    return setup


LOT = 1  # nano
CASES = [
    Case(
        Check.SIGNAL_AGE,
        ALL,
        {"signal_age_ms_max": "100"},
        context_at={"ts_signal": NOW - 100 * MS},
        context_past={"ts_signal": NOW - 100 * MS - 1},
    ),
    Case(
        Check.EVENT_AGE,
        ALL,
        {"event_age_ms_max": "200"},
        context_at={"ts_event": NOW - 200 * MS},
        context_past={"ts_event": NOW - 200 * MS - 1},
    ),
    Case(
        Check.REPEAT,
        (RULE,),
        {"repeat_ms_min": "50"},
        context_at={"ts_repeat": NOW - 50 * MS},
        context_past={"ts_repeat": NOW - 50 * MS + 1},
    ),
    Case(
        Check.QUOTE_AGE, ALL, {"quote_age_ms_max": "300"}, quoted(NOW - 300 * MS), quoted(NOW - 300 * MS - 1)
    ),
    Case(Check.FEED_AGE, ALL, {"feed_age_ms_max": "400"}, fed(NOW - 400 * MS), fed(NOW - 400 * MS - 1)),
    Case(Check.ORDER_QUANTITY, ALL, {"order_quantity_max": '"100"'}, intent_past=intent(100 * NANOS + LOT)),
    Case(Check.ORDER_NOTIONAL, ALL, {"order_notional_max": '"10100"'}, intent_past=intent(100 * NANOS + LOT)),
    Case(
        Check.VOLUME_SHARE,
        ALL,
        {"volume_share_bps_max": "1000"},
        traded(1_000 * NANOS),
        traded(1_000 * NANOS - 1),
    ),
    Case(Check.PRICE_COLLAR, ALL, {"collar_bps": "100"}, intent_past=intent(price=101 * NANOS + 1)),
    Case(
        Check.PRICE_COLLAR,
        ALL,
        {"collar_bps": "100"},
        intent_at=intent(price=99 * NANOS, side="sell"),
        intent_past=intent(price=99 * NANOS - 1, side="sell"),
    ),
    Case(
        Check.SELF_TRADE,
        (FIRM, RULE),
        {"self_trade_allowed": "false"},
        opened(1, side="sell", limit_price=101 * NANOS + 1),
        opened(1, side="sell", limit_price=101 * NANOS),
    ),
    Case(
        Check.SELF_TRADE,
        (FIRM, RULE),
        {"self_trade_allowed": "false"},
        opened(1, limit_price=99 * NANOS - 1),
        opened(1, limit_price=99 * NANOS),
        intent(price=99 * NANOS, side="sell"),
    ),
    Case(
        Check.LOCATE,
        (INSTRUMENT,),
        {"locate_required": "true", "located": '"50"'},
        fills(("buy", 50 * NANOS, BID)),
        fills(("buy", 50 * NANOS - 1, BID)),
        intent(side="sell", price=BID),
    ),
    Case(
        Check.LOCATE,
        (INSTRUMENT,),
        {"locate_required": "true", "located": '"150"'},
        opened(1, leaves=50 * NANOS, side="sell", limit_price=ASK),
        opened(1, leaves=50 * NANOS + 1, side="sell", limit_price=ASK),
        intent(side="sell", price=BID),
    ),
    Case(
        Check.SHORT_SALE,
        (INSTRUMENT,),
        {"short_sale_restricted": "true"},
        intent_at=intent(side="sell", price=BID + 1),
        intent_past=intent(side="sell", price=BID),
    ),
    Case(
        Check.POSITION,
        ALL,
        {"position_max": '"300"'},
        fills(("buy", 200 * NANOS, BID)),
        fills(("buy", 200 * NANOS + 1, BID)),
    ),
    Case(
        Check.POSITION,
        ALL,
        {"position_max": '"300"'},
        opened(2),
        opened(2, leaves=NANOS + 1),
        intent(298 * NANOS),
        intent(298 * NANOS),
    ),
    Case(
        Check.POSITION,
        ALL,
        {"position_max": '"300"'},
        fills(("sell", 200 * NANOS, BID)),
        fills(("sell", 200 * NANOS + 1, BID)),
        intent(side="sell", price=BID),
    ),
    Case(
        Check.POSITION_NOTIONAL,
        ALL,
        {"position_notional_max": '"30000"'},
        fills(("buy", 200 * NANOS, BID)),
        fills(("buy", 200 * NANOS + 1, BID)),
    ),
    Case(
        Check.GROSS_EXPOSURE,
        (FIRM, RULE),
        {"gross_exposure_max": '"15000"'},
        fills(("sell", 50 * NANOS, BID, "BRVO")),
        fills(("sell", 50 * NANOS + 1, BID, "BRVO")),
    ),
    Case(
        Check.NET_EXPOSURE,
        (FIRM, RULE),
        {"net_exposure_max": '"5000"'},
        fills(("sell", 50 * NANOS, BID, "BRVO")),
        fills(("sell", 50 * NANOS - 1, BID, "BRVO")),
    ),
    Case(
        Check.NET_EXPOSURE,
        (FIRM, RULE),
        {"net_exposure_max": '"5000"'},
        fills(("buy", 50 * NANOS, BID, "BRVO")),
        fills(("buy", 50 * NANOS - 1, BID, "BRVO")),
        intent(side="sell", price=BID),
    ),
    # half the exposure of 15,000 is 7,500, and 50 sold at 98 instead of 100 lost 100
    Case(
        Check.BUYING_POWER,
        (FIRM, RULE),
        {"buying_power": '"7600"'},
        fills(("sell", 50 * NANOS, 98 * NANOS, "BRVO")),
        fills(("sell", 50 * NANOS, 98 * NANOS - 1, "BRVO")),
        more={"instruments.default": {"margin_bps": "5000"}},
    ),
    Case(Check.OPEN_ORDERS, ALL, {"open_orders_max": "3"}, opened(2), opened(3)),
    Case(Check.MESSAGE_RATE, ALL, {"messages_max": "3", "message_window_ms": "10"}, messages(2), messages(3)),
    Case(
        Check.MESSAGE_RATE,
        ALL,
        {"messages_max": "3", "message_window_ms": "10"},
        messages(3, NOW - 10 * MS),
        messages(3, NOW - 10 * MS + 1),
        measured=False,
    ),
    Case(
        Check.ORDER_TO_TRADE,
        ALL,
        {"order_to_trade_max": "3", "order_to_trade_from": "0"},
        messages(3),
        messages(4),
    ),
    Case(
        Check.ORDER_TO_TRADE,
        ALL,
        {"order_to_trade_max": "0", "order_to_trade_from": "7"},
        messages(6),
        messages(7),
    ),
    Case(Check.IDENTICAL, (RULE, INSTRUMENT), {"identical_orders_max": "2"}, sent(1), sent(2)),
    Case(
        Check.DAILY_LOSS,
        ALL,
        {"daily_loss_max": '"500"'},
        fills(("buy", 100 * NANOS, 105 * NANOS)),
        fills(("buy", 100 * NANOS, 105 * NANOS, "ALFA", "rule", 1)),
    ),
    Case(Check.DRAWDOWN, ALL, {"drawdown_max": '"500"'}, peak(0), peak(1)),
]


def base_for(case: Case, level: Level) -> dict[str, dict[str, str]]:
    """The case's keys at that level only; the firm allows self-trades where the rule's check is meant."""
    tables = {name: dict(values) for name, values in case.more.items()}
    if case.check is Check.SELF_TRADE and level is RULE:
        tables.setdefault("firm", {})["self_trade_allowed"] = "true"
    tables.setdefault(TABLES[level], {}).update(case.keys)
    return tables


PARAMETERS = [
    pytest.param(case, level, id=f"{case.check}-{level.name.lower()}-{number}")
    for number, case in enumerate(CASES)
    for level in case.levels
]


@pytest.mark.parametrize(("case", "level"), PARAMETERS)
def test_at_the_limit_and_one_unit_past_it(case: Case, level: Level) -> None:
    """The value that equals its limit passes; one unit more is refused, by that check, at that level."""
    at = world(base_for(case, level))
    case.at(at)
    verdict = at.check(case.intent_at, **case.context_at)
    value, limit = verdict.number(case.check, level)
    assert refused(verdict) is None
    assert value == limit or not case.measured
    past = world(base_for(case, level))
    (case.past or case.at)(past)
    wanted = case.intent_past or case.intent_at
    verdict = past.check(wanted, **(case.context_at if case.context_past is None else case.context_past))
    assert refused(verdict) == (case.check, level)
    refusal = past.gate.refusal(verdict, wanted)
    assert refusal is not None
    assert (refusal.check, refusal.scope) == (case.check, SCOPES[level])


SWITCHES: list[tuple[Check, Level, Setup, dict[str, dict[str, str]], OrderIntent, dict[str, Any]]] = [
    (Check.ORDER_ENTRY, FIRM, lambda one: one.book.set_order_entry(False), {}, INTENT, {}),
    *[
        (
            Check.KILL_SWITCH,
            level,
            (lambda one, level=level: one.book.halt("drill (ann)", level, SCOPES[level] if level else "")),
            {},
            INTENT,
            {},
        )
        for level in ALL
    ],
    *[
        (
            Check.REDUCE_ONLY,
            level,
            (lambda one, level=level: one.book.reduce_only("loss", level, SCOPES[level] if level else "")),
            {},
            INTENT,
            {},
        )
        for level in ALL
    ],
    (Check.DUPLICATE, FIRM, nothing, {}, INTENT, {"known": True}),
    (Check.RULE, RULE, nothing, {}, intent(rule="stranger"), {}),
    (Check.RULE, RULE, nothing, {"rules.rule": {"enabled": "false"}}, INTENT, {}),
    (Check.INSTRUMENT, INSTRUMENT, nothing, {}, replace(INTENT, symbol="NONE"), {}),
    (Check.RESTRICTED, FIRM, nothing, {"firm": {"restricted": '["XNAS.ALFA"]'}}, INTENT, {}),
    (Check.RESTRICTED, RULE, nothing, {"rules.rule": {"restricted": '["XNAS.ALFA"]'}}, INTENT, {}),
    (Check.RESTRICTED, INSTRUMENT, nothing, {TABLES[INSTRUMENT]: {"restricted": "true"}}, INTENT, {}),
    (Check.MARKET_DATA, INSTRUMENT, lambda one: one.quote(ask=NO_PRICE), {}, INTENT, {}),
    (Check.MARKET_DATA, INSTRUMENT, lambda one: one.quote(bid=ASK + 1), {}, INTENT, {}),
    (
        Check.TRUST,
        INSTRUMENT,
        lambda one: one.book.market.touch("XNAS", 0, NOW, NOW, one.seq, False),
        {},
        INTENT,
        {},
    ),
    (Check.HALT, INSTRUMENT, lambda one: one.book.market.touch("XNAS", 0, NOW, NOW, 0, True), {}, INTENT, {}),
    (Check.VENUE_SESSION, INSTRUMENT, nothing, {}, INTENT, {"connected": False}),
    (Check.LOT, INSTRUMENT, nothing, {}, intent(0), {}),
]


@pytest.mark.parametrize(
    ("check", "level", "setup", "tables", "wanted", "context"),
    SWITCHES,
    ids=[f"{one[0]}-{one[1].name.lower()}-{number}" for number, one in enumerate(SWITCHES)],
)
def test_switches_and_states(
    check: Check,
    level: Level,
    setup: Setup,
    tables: dict[str, dict[str, str]],
    wanted: OrderIntent,
    context: dict[str, Any],
) -> None:
    """What has no figure refuses by itself, under its own reason code; without it the same order passes."""
    assert refused(world().check()) is None
    one = world(tables)
    setup(one)
    verdict = one.check(wanted, **context)
    assert refused(verdict) == (check, level)
    assert one.gate.refusal(verdict, wanted) is not None


@pytest.mark.parametrize("level", ALL)
def test_value_at_risk_at_the_limit_and_one_nano_past_it(level: Level) -> None:
    """300 bps a day and 2.326 deviations on 10,000 are 697.90; one nano less is refused."""
    value, _ = world().check().number(Check.VAR, level)
    assert value == pytest.approx(10_000 * 0.03 * 2.3263478740408408 * NANOS, abs=2)
    for limit, expected in ((value, None), (value - 1, (Check.VAR, level))):
        whole, rest = divmod(limit, NANOS)
        assert refused(world({TABLES[level]: {"var_max": f'"{whole}.{rest:09d}"'}}).check()) == expected


def test_every_check_at_every_level_has_its_case() -> None:
    """No check of the table, at no level, is without a test at its limit and past it."""
    found = {(case.check, level) for case in CASES for level in case.levels}
    found |= {(one[0], one[1]) for one in SWITCHES} | {(Check.VAR, level) for level in ALL}
    assert {(spec.check, level) for spec in SPECS for level in spec.levels} == found
