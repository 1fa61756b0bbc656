"""Each pre-trade check at its limit and one unit past it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from execution.limits import FirmLimits, InstrumentLimits, RuleLimits
from execution.market import MarketView
from execution.risk import Check, GateState, Refusal, gate, pair_leg
from execution.sizing import OrderIntent
from tickloom.instruments import Instrument
from tickloom.prices import NANOS, NO_PRICE

MS = 1_000_000
NOW = 1_800_000_000 * NANOS
CENT = 10_000_000

FIRM = FirmLimits.model_construct(daily_loss_max=1_000 * NANOS)
RULE = RuleLimits.model_construct(
    enabled=True,
    notional=10_000 * NANOS,
    time_in_force="ioc",
    slippage_bps=10,
    signal_age_ms_max=100,
    event_age_ms_max=200,
    daily_loss_max=500 * NANOS,
    repeat_ms_min=50,
    cancel_after_ms=0,
)
LIMITS = InstrumentLimits.model_construct(
    restricted=False,
    position_max=300 * NANOS,
    position_notional_max=40_000 * NANOS,
    order_quantity_max=200 * NANOS,
    order_notional_max=25_000 * NANOS,
    collar_bps=100,
    quote_age_ms_max=1_000,
    feed_age_ms_max=500,
)
INSTRUMENT = Instrument("XNAS", "ALFA", "ALFA", "equity", CENT, NANOS, 100 * NANOS)
VIEW = MarketView(
    bid_price=99 * NANOS,
    bid_size=NANOS,
    ask_price=101 * NANOS,
    ask_size=NANOS,
    ts_event=NOW,
    ts_recv=NOW,
    seq=1,
    feed_ts=NOW,
    venue_ts_event=NOW,
    untrusted="",
    halted="",
)
INTENT = OrderIntent("ID", "signal", 0, "rule", "XNAS", "ALFA", "buy", 100 * NANOS, 101 * NANOS, "ioc")
STATE = GateState(
    now_ns=NOW,
    enabled=True,
    halted_because=None,
    firm=FIRM,
    rule=RULE,
    instrument_limits=LIMITS,
    instrument=INSTRUMENT,
    view=VIEW,
    venue_connected=True,
    known_order=False,
    ts_signal=NOW,
    ts_event=NOW,
    last_repeat_ts_event=0,
    position=0,
    open_buy=0,
    open_sell=0,
    pnl_firm=0,
    pnl_rule=0,
)


def refusal(intent: OrderIntent = INTENT, **changes: object) -> Refusal | None:
    return gate(intent, replace(STATE, **changes))  # type: ignore[arg-type]


def check_of(intent: OrderIntent = INTENT, **changes: object) -> Check | None:
    found = refusal(intent, **changes)
    return found.check if found else None


def test_a_sound_order_passes() -> None:
    """Nothing past a limit, nothing refused: the base of all other cases here."""
    assert refusal() is None


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"enabled": False}, Check.ORDER_ENTRY),
        ({"halted_because": "fire drill (me)"}, Check.KILL_SWITCH),
        ({"known_order": True}, Check.DUPLICATE),
        ({"rule": None}, Check.RULE),
        ({"rule": RULE.model_copy(update={"enabled": False})}, Check.RULE),
        ({"instrument": None}, Check.INSTRUMENT),
        ({"instrument_limits": LIMITS.model_copy(update={"restricted": True})}, Check.RESTRICTED),
        ({"view": None}, Check.MARKET_DATA),
        ({"view": replace(VIEW, ask_price=NO_PRICE)}, Check.MARKET_DATA),
        ({"view": replace(VIEW, bid_price=102 * NANOS)}, Check.MARKET_DATA),
        ({"view": replace(VIEW, untrusted="gap (sequence) at seq 7")}, Check.TRUST),
        ({"view": replace(VIEW, halted="halted")}, Check.HALT),
        ({"venue_connected": False}, Check.VENUE_SESSION),
    ],
)
def test_switches_and_states(changes: dict[str, object], check: Check) -> None:
    """What has no figure refuses by itself, under its own reason code."""
    assert check_of(**changes) is check


@pytest.mark.parametrize(
    ("at_limit", "past_limit", "check"),
    [
        ({"ts_signal": NOW - 100 * MS}, {"ts_signal": NOW - 100 * MS - 1}, Check.SIGNAL_AGE),
        ({"ts_event": NOW - 200 * MS}, {"ts_event": NOW - 200 * MS - 1}, Check.EVENT_AGE),
        (
            {"last_repeat_ts_event": NOW - 50 * MS},
            {"last_repeat_ts_event": NOW - 50 * MS + 1},
            Check.REPEAT,
        ),
        (
            {"view": replace(VIEW, ts_recv=NOW - 1_000 * MS)},
            {"view": replace(VIEW, ts_recv=NOW - 1_000 * MS - 1)},
            Check.QUOTE_AGE,
        ),
        (
            {"view": replace(VIEW, feed_ts=NOW - 500 * MS)},
            {"view": replace(VIEW, feed_ts=NOW - 500 * MS - 1)},
            Check.FEED_AGE,
        ),
        ({"position": 200 * NANOS}, {"position": 200 * NANOS + 1}, Check.POSITION),
        (
            {"position": 50 * NANOS, "open_buy": 150 * NANOS},
            {"position": 50 * NANOS, "open_buy": 150 * NANOS + 1},
            Check.POSITION,
        ),
        ({"pnl_rule": -500 * NANOS * NANOS}, {"pnl_rule": -500 * NANOS * NANOS - 1}, Check.DAILY_LOSS),
        ({"pnl_firm": -1_000 * NANOS * NANOS}, {"pnl_firm": -1_000 * NANOS * NANOS - 1}, Check.DAILY_LOSS),
    ],
)
def test_limits_of_the_state(
    at_limit: dict[str, object], past_limit: dict[str, object], check: Check
) -> None:
    """The value that equals its limit passes; one nanosecond, nano or 1e-18 more is refused."""
    assert check_of(**at_limit) is None
    assert check_of(**past_limit) is check


def intent(quantity: int = 100 * NANOS, limit_price: int = 101 * NANOS, side: str = "buy") -> OrderIntent:
    return replace(INTENT, quantity=quantity, limit_price=limit_price, side=side)


def test_order_quantity() -> None:
    """200 is the most; 201 is refused (lots of one), whatever it costs."""
    cheap = LIMITS.model_copy(update={"order_notional_max": 10**18})
    assert check_of(intent(200 * NANOS), instrument_limits=cheap) is None
    assert check_of(intent(201 * NANOS), instrument_limits=cheap) is Check.ORDER_QUANTITY


def test_order_notional() -> None:
    """100 at 101 is 10,100: at the limit it passes, with a limit one nano lower it is refused."""
    at = LIMITS.model_copy(update={"order_notional_max": 10_100 * NANOS})
    past = LIMITS.model_copy(update={"order_notional_max": 10_100 * NANOS - 1})
    assert check_of(instrument_limits=at) is None
    assert check_of(instrument_limits=past) is Check.ORDER_NOTIONAL


@pytest.mark.parametrize(("side", "at", "step"), [("buy", 101 * NANOS, 1), ("sell", 99 * NANOS, -1)])
def test_price_collar(side: str, at: int, step: int) -> None:
    """The mid is 100, so 100 bps reach to 101 and 99; one nano beyond is refused."""
    assert check_of(intent(limit_price=at, side=side)) is None
    assert check_of(intent(limit_price=at + step, side=side)) is Check.PRICE_COLLAR


def test_position_notional_at_the_mid() -> None:
    """Worst case 300 at the mid of 100 is 30,000, to the nano."""
    for limit, expected in ((30_000 * NANOS, None), (30_000 * NANOS - 1, Check.POSITION_NOTIONAL)):
        limits = LIMITS.model_copy(update={"position_notional_max": limit})
        assert check_of(instrument_limits=limits, position=200 * NANOS) is expected


def test_short_positions_count_the_same() -> None:
    """100 more on 150 short and 50 open to sell is 300 short, the limit; one nano more is past it."""
    sell = intent(limit_price=99 * NANOS, side="sell")
    assert check_of(sell, position=-150 * NANOS, open_sell=50 * NANOS) is None
    assert check_of(sell, position=-150 * NANOS, open_sell=50 * NANOS + 1) is Check.POSITION


def test_reducing_is_allowed_past_the_limit() -> None:
    """A position past its limit may be sold down, and orders of the other side do not stand in the way."""
    sell = intent(limit_price=99 * NANOS, side="sell")
    assert check_of(sell, position=1_000 * NANOS, open_buy=500 * NANOS) is None


@pytest.mark.parametrize("quantity", [0, NANOS - 1, NANOS + 1])
def test_whole_lots_only(quantity: int) -> None:
    """Nothing, less than a lot, and a broken lot do not leave."""
    assert check_of(intent(quantity)) is Check.LOT


def test_refusal_names_check_limit_value_and_level() -> None:
    """The reason on the order's row says all that is needed to understand it."""
    found = refusal(position=250 * NANOS)
    assert found is not None
    assert found.text == "position: worst case 350 long, limit 300 (XNAS ALFA)"


def test_other_leg_says_whose_fault_it_was() -> None:
    """The leg that was fine names the leg that was not."""
    cause = Refusal(Check.HALT, "trading", "halted", "XNAS BRVO")
    assert pair_leg(replace(INTENT, symbol="BRVO"), cause).text == (
        "pair_leg: BRVO refused by halt, limit both legs or none (pair)"
    )
