"""A lit venue: queue, our clients against each other, order types, replacing, fees, impact."""

from __future__ import annotations

import pytest

from execution.exchange.matching import MatchingEngine
from execution.exchange.profile import FeeTable, ImpactModel, VenueProfile
from execution.exchange.requests import CancelRequest, NewOrder, OrderType, ReplaceOrder
from execution.venues import ReportType
from tests.execution.exchange.feed import CENT, REGISTRY, Market, fills, told
from tickloom.events import OrderState, Side, StatusCode
from tickloom.prices import NANOS
from tickloom.records import replace

BUY = NewOrder("B", "XNAS", "ALFA", "buy", 100 * NANOS, 100_00 * CENT, "day")
SELL = NewOrder("S", "XNAS", "ALFA", "sell", 100 * NANOS, 100_02 * CENT, "day")


def world(**profile: object) -> tuple[MatchingEngine, Market]:
    """100.00 x 50 to 100.02 x 30, and 100.03 x 40 behind it."""
    engine = MatchingEngine(REGISTRY, [], 0, {"XNAS": VenueProfile("XNAS", **profile)})  # type: ignore[arg-type]
    engine.go_live(0)
    market = Market(engine)
    market.level(Side.SELL, 100_03, 40)
    market.quote(100_00, 50, 100_02, 30)
    return engine, market


def test_queue_is_served_before_us() -> None:
    """50 stand ahead at 100.00: a sale of 30 and one of 30 more reach us with 10."""
    engine, market = world()
    engine.submit("ME", BUY, 0)
    assert fills(market.trade(100_00, 30, aggressor=Side.SELL)) == []
    assert fills(market.trade(100_00, 30, aggressor=Side.SELL)) == [("B", 10, 100_00)]
    assert fills(market.trade(100_00, 500, aggressor=Side.SELL)) == [("B", 90, 100_00)]


def test_cancels_and_their_trades_move_us_up() -> None:
    """30 of 50 ahead trade, and the level shows it: 20 left. Half of the rest is cancelled: 10 left."""
    engine, market = world()
    engine.submit("ME", BUY, 0)
    market.trade(100_00, 30, aggressor=Side.SELL)
    market.level(Side.BUY, 100_00, 20, seq=market.seq)
    market.level(Side.BUY, 100_00, 10)
    assert fills(market.trade(100_00, 15, aggressor=Side.SELL)) == [("B", 5, 100_00)]


def test_decrease_before_its_trade_comes_to_the_same() -> None:
    """The depth topic is ahead of the trades topic: 30 of 50 gone, then the trade that did it."""
    engine, market = world()
    engine.submit("ME", BUY, 0)
    market.level(Side.BUY, 100_00, 20)
    market.trade(100_00, 30, aggressor=Side.SELL, seq=market.seq)
    assert fills(market.trade(100_00, 25, aggressor=Side.SELL)) == [("B", 5, 100_00)]


def test_two_of_ours_at_a_level_are_first_in_first_out() -> None:
    """50 of the feed, A, 20 more of the feed, B: a sale of 200 gives A its 100, then 20 pass, then B 30."""
    engine, market = world()
    engine.submit("ME", replace(BUY, order_id="A"), 0)
    market.level(Side.BUY, 100_00, 70)
    engine.submit("YOU", replace(BUY, order_id="B"), 0)
    assert fills(market.trade(100_00, 200, aggressor=Side.SELL)) == [("A", 100, 100_00), ("B", 30, 100_00)]


def test_clients_trade_with_each_other_at_the_resting_price() -> None:
    """A sale at 99.90 meets the feed's 50 at 100.00 and then the other client's bid there."""
    engine, _ = world()
    engine.submit("ME", BUY, 0)
    outcome = engine.submit("YOU", replace(SELL, price=99_90 * CENT, quantity=80 * NANOS), 0)
    assert fills(outcome) == [("S", 50, 100_00), ("B", 30, 100_00), ("S", 30, 100_00)]
    liquidity = [(report.order_id, report.liquidity) for _, report in outcome.reports if report.liquidity]
    assert liquidity == [("S", "removed"), ("B", "added"), ("S", "removed")]


def test_better_price_of_ours_goes_before_the_feed() -> None:
    """A bid of 100.01 is better than the feed's 100.00."""
    engine, _ = world()
    engine.submit("ME", replace(BUY, price=100_01 * CENT, quantity=10 * NANOS), 0)
    outcome = engine.submit("YOU", replace(SELL, price=100_00 * CENT, quantity=20 * NANOS), 0)
    assert fills(outcome) == [("B", 10, 100_01), ("S", 10, 100_01), ("S", 10, 100_00)]


@pytest.mark.parametrize(
    ("policy", "newer", "older"),
    [
        ("cancel_newest", (OrderState.CANCELLED, 100), (OrderState.NEW, 100)),
        ("cancel_oldest", (OrderState.PARTIALLY_FILLED, 100), (OrderState.CANCELLED, 100)),
        ("decrement", (OrderState.PARTIALLY_FILLED, 90), (OrderState.CANCELLED, 10)),
    ],
)
def test_self_trade_is_prevented(
    policy: str, newer: tuple[OrderState, int], older: tuple[OrderState, int]
) -> None:
    """The same client on both sides at 100.01: by policy the newer, the older, or the smaller size goes.

    What is left of the sale, if any, takes the feed's 50 at 100.00.
    """
    engine, _ = world(self_trade=policy)
    engine.submit(
        "ME", replace(BUY, price=100_01 * CENT, quantity=(100 if policy != "decrement" else 10) * NANOS), 0
    )
    engine.submit("ME", replace(SELL, price=100_00 * CENT), 0)
    assert (engine.orders["S"].state, engine.orders["S"].quantity // NANOS) == newer
    assert engine.orders["B"].state is older[0]
    assert engine.orders["B"].filled_quantity == 0


def test_fill_or_kill() -> None:
    """70 are there up to 100.03: 70 fill, 71 do not, and nothing was taken by trying."""
    engine, _ = world()
    kill = replace(BUY, price=100_03 * CENT, time_in_force="fok")
    outcome = engine.submit("ME", replace(kill, order_id="1", quantity=71 * NANOS), 0)
    assert told(outcome)[-1][:2] == (ReportType.CANCELLED, OrderState.CANCELLED)
    assert fills(outcome) == []
    assert fills(engine.submit("ME", replace(kill, order_id="2", quantity=70 * NANOS), 0)) == [
        ("2", 30, 100_02),
        ("2", 40, 100_03),
    ]


def test_market_order_takes_what_there_is() -> None:
    """It has no limit; what the book cannot fill is cancelled."""
    engine, _ = world()
    order = replace(BUY, order_type=OrderType.MARKET, price=0, quantity=100 * NANOS)
    outcome = engine.submit("ME", order, 0)
    assert fills(outcome) == [("B", 30, 100_02), ("B", 40, 100_03)]
    assert engine.orders["B"].state is OrderState.CANCELLED


def test_post_only() -> None:
    """At the offer it would trade and is cancelled; a tick below it rests."""
    engine, _ = world()
    outcome = engine.submit("ME", replace(BUY, order_id="1", price=100_02 * CENT, post_only=True), 0)
    assert told(outcome)[-1][0] is ReportType.CANCELLED
    engine.submit("ME", replace(BUY, order_id="2", price=100_01 * CENT, post_only=True), 0)
    assert engine.orders["2"].state is OrderState.NEW


def test_replace_keeps_the_place_only_for_less() -> None:
    """Less at the same price stays in front; more goes behind what is there."""
    engine, market = world()
    engine.submit("ME", BUY, 0)
    market.level(Side.BUY, 100_00, 150)
    less = ReplaceOrder("B", "B2", "XNAS", "ALFA", "buy", 40 * NANOS, 100_00 * CENT)
    (_, report), *rest = engine.replace(less, 0).reports
    assert not rest
    assert (report.report_type, report.order_id, report.original_order_id) == (ReportType.REPLACED, "B2", "B")
    assert engine.orders["B"].state is OrderState.REPLACED
    assert fills(market.trade(100_00, 60, aggressor=Side.SELL)) == [("B2", 10, 100_00)]
    more = replace(less, original_order_id="B2", order_id="B3", quantity=90 * NANOS)
    engine.replace(more, 0)
    assert engine.orders["B3"].filled_quantity == 10 * NANOS
    assert fills(market.trade(100_00, 100, aggressor=Side.SELL)) == []


def test_replace_may_trade_at_once() -> None:
    """To a price at which the offer is: 30 fill."""
    engine, _ = world()
    engine.submit("ME", BUY, 0)
    request = ReplaceOrder("B", "B2", "XNAS", "ALFA", "buy", 100 * NANOS, 100_02 * CENT)
    assert fills(engine.replace(request, 0)) == [("B2", 30, 100_02)]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"order_id": "S"}, "duplicate ClOrdID"),
        ({"side": "sell"}, "cannot be replaced"),
        ({"quantity": 0}, "quantity 0 is not in lots"),
        ({"price": 1}, "is not on the tick"),
        ({"original_order_id": "S"}, "too late to replace: filled"),
    ],
)
def test_refused_replacement_changes_nothing(change: dict[str, object], text: str) -> None:
    """It is answered, and the order rests on."""
    engine, _ = world()
    engine.submit("ME", BUY, 0)
    engine.submit("YOU", replace(SELL, price=100_00 * CENT, quantity=50 * NANOS), 0)
    request = ReplaceOrder("B", "B2", "XNAS", "ALFA", "buy", 90 * NANOS, 100_00 * CENT)
    outcome = engine.replace(replace(request, **change), 0)  # type: ignore[arg-type]
    assert outcome.answer is not None
    assert outcome.answer.report_type is ReportType.CANCEL_REJECTED
    assert text in outcome.answer.text
    assert engine.orders["B"].leaves == 100 * NANOS


def test_partial_cancel_keeps_the_place() -> None:
    """100 to 40: 60 are off, the queue is as it was; to 200 is no reduction."""
    engine, market = world()
    engine.submit("ME", BUY, 0)
    request = CancelRequest("B", "XNAS", "ALFA", "buy", 40 * NANOS)
    (_, report), *_ = engine.cancel(request, 0).reports
    assert (report.report_type, report.order_id, report.quantity) == (ReportType.REPLACED, "B", 40 * NANOS)
    assert fills(market.trade(100_00, 60, aggressor=Side.SELL)) == [("B", 10, 100_00)]
    answer = engine.cancel(replace(request, quantity=200 * NANOS), 0).answer
    assert answer is not None
    assert answer.report_type is ReportType.CANCEL_REJECTED


def test_bust_takes_both_sides_back_once() -> None:
    """Both clients hear of it, the shares are not for sale again, and a second bust is nothing."""
    engine, _ = world()
    engine.submit("ME", replace(BUY, price=100_01 * CENT), 0)
    outcome = engine.submit("YOU", replace(SELL, price=100_01 * CENT, quantity=60 * NANOS), 0)
    execution = next(report.execution_id for _, report in outcome.reports if report.execution_id)
    busted = engine.bust(execution, 0)
    assert sorted((client, report.order_id) for client, report in busted.reports) == [
        ("ME", "B"),
        ("YOU", "S"),
    ]
    assert {report.report_type for _, report in busted.reports} == {ReportType.TRADE_CANCELLED}
    assert engine.orders["B"].filled_quantity == 0
    assert engine.orders["B"].leaves == 40 * NANOS
    assert not engine.bust(execution, 0).reports
    assert not engine.bust("XNAS-E99", 0).reports


def test_correction() -> None:
    """60 at 100.01 become 50 at 100.00."""
    engine, _ = world()
    outcome = engine.submit("ME", replace(BUY, price=100_02 * CENT, quantity=30 * NANOS), 0)
    execution = outcome.reports[-1][1].execution_id
    (_, report), *rest = engine.correct(execution, 20 * NANOS, 100_00 * CENT, 0).reports
    assert not rest
    assert (report.execution_id, report.filled_quantity) == (execution, 20 * NANOS)
    assert report.last_price == 100_00 * CENT


def test_fees_and_rebates() -> None:
    """Taker 0.0030 a share, maker -0.0020: 30 cost 0.09, 10 bring 0.02. In basis points of notional too."""
    engine, market = world(fees=FeeTable(maker=-2_000_000, taker=3_000_000))
    engine.submit("ME", replace(BUY, price=100_02 * CENT, quantity=40 * NANOS), 0)
    outcome = market.trade(100_01, 10, aggressor=Side.SELL)
    _, made = outcome.reports[-1]
    assert made.fee == -20_000_000
    assert FeeTable(taker=3_000_000).of(False, 30 * NANOS, 100_02 * CENT) == 90_000_000
    # 1.5 bp of 30 x 100.02 = 3000.60: 0.45009
    assert FeeTable(taker_bps=1_500_000_000).of(False, 30 * NANOS, 100_02 * CENT) == 450_090_000


def test_halt_and_resume_on_demand() -> None:
    """Our own halt refuses and stops resting orders, whatever the feed says, until resumed."""
    engine, market = world()
    engine.submit("ME", replace(BUY, price=100_01 * CENT), 0)
    engine.halt("XNAS", "ALFA", "on demand")
    market.status(StatusCode.TRADING)
    assert told(engine.submit("ME", replace(BUY, order_id="2"), 0))[0][0] is ReportType.REJECTED
    assert fills(market.quote(100_00, 50, 100_01, 20)) == []
    assert fills(engine.resume("XNAS", "ALFA", 0)) == [("B", 20, 100_01)]


def test_rejects_on_demand_and_at_random() -> None:
    """The next two, then none; and a share of all, the same ones for the same seed."""
    engine, _ = world()
    engine.reject_next("XNAS", 2)
    states = [engine.submit("ME", replace(BUY, order_id=str(n)), 0).reports[0][1].state for n in range(3)]
    assert states == [OrderState.REJECTED, OrderState.REJECTED, OrderState.NEW]

    def rejected(seed: int) -> list[int]:
        engine, _ = world(reject_share=0.5, seed=seed)
        return [
            n
            for n in range(200)
            if engine.submit("ME", replace(BUY, order_id=str(n)), 0).reports[0][1].state
            is OrderState.REJECTED
        ]

    assert rejected(1) == rejected(1) != rejected(2)
    assert 60 < len(rejected(1)) < 140


def test_unsolicited_cancel() -> None:
    """The venue takes it out of its book and says why."""
    engine, _ = world()
    engine.submit("ME", BUY, 0)
    (_, report), *_ = engine.cancel_unsolicited("B", "supervisory", 0).reports
    assert (report.report_type, report.text) == (ReportType.CANCELLED, "supervisory")
    assert not engine.cancel_unsolicited("B", "again", 0).reports


def test_permanent_impact_is_linear_and_both_ways() -> None:
    """1 % of the daily volume at a coefficient of 1 and 200 bp moves 100.02 by 2 bp, rounded up."""
    impact = ImpactModel(permanent=1.0, volatility_bps=200.0, daily_volume=3_000 * NANOS)
    engine, market = world(impact=impact)
    outcome = engine.submit(
        "ME", replace(BUY, price=101_00 * CENT, quantity=30 * NANOS, time_in_force="ioc"), 0
    )
    assert fills(outcome) == [("B", 30, 100_05)]  # 100.02 * 1.0002 = 100.040004
    market.level(Side.BUY, 100_00, 500)
    outcome = engine.submit(
        "ME", replace(SELL, price=99_00 * CENT, quantity=30 * NANOS, time_in_force="ioc"), 0
    )
    assert fills(outcome) == [("S", 30, 100_00)]  # back where it began: nothing gained by the round trip


def test_temporary_impact_is_a_square_root_that_decays() -> None:
    """Coefficient 1, 200 bp, 1 % of the volume: 20 bp of 100.02 is 0.20; an hour later it is gone."""
    impact = ImpactModel(temporary=1.0, volatility_bps=200.0, daily_volume=3_000 * NANOS, half_life_s=1e-6)
    engine, market = world(impact=impact)
    order = replace(BUY, price=101_00 * CENT, quantity=30 * NANOS, time_in_force="ioc")
    assert fills(engine.submit("ME", order, 0)) == [("B", 30, 100_23)]  # 100.02 * 1.002 = 100.22004
    for _ in range(50):  # a microsecond each: 50 half-lives
        market.quote(100_00, 50, 100_02, 30)
    market.level(Side.SELL, 100_02, 60)
    again = engine.submit("ME", replace(order, order_id="B2"), 0)
    assert fills(again) == [("B2", 30, 100_23)]


def test_limit_holds_against_impact() -> None:
    """With impact, as much is taken as the limit bears, and not a share at a worse price."""
    impact = ImpactModel(temporary=1.0, volatility_bps=200.0, daily_volume=3_000 * NANOS)
    engine, _ = world(impact=impact)
    outcome = engine.submit("ME", replace(BUY, price=100_12 * CENT, time_in_force="ioc"), 0)
    # 10 bp of impact are left: sqrt(q / 3000) * 0.02 = 0.0009998 at q = 7.497
    assert fills(outcome) == [("B", 7, 100_12)]


def test_share_and_widening_make_another_venue_of_the_same_feed() -> None:
    """Half of the size, a tick wider: 15 at 100.03, and 20 at 100.04."""
    profiles = {
        "XNAS": VenueProfile("XNAS"),
        "XTWO": VenueProfile("XTWO", feed="XNAS", displayed_share=0.5, widen_ticks=1),
    }
    engine = MatchingEngine(REGISTRY, [], 0, profiles)
    engine.go_live(0)
    market = Market(engine)
    market.level(Side.SELL, 100_03, 40)
    market.quote(100_00, 50, 100_02, 30)
    order = replace(BUY, venue="XTWO", price=101_00 * CENT, time_in_force="ioc")
    assert fills(engine.submit("ME", order, 0)) == [("B", 15, 100_03), ("B", 20, 100_04)]
    assert fills(engine.submit("ME", replace(order, order_id="B2", venue="XNAS"), 0)) == [
        ("B2", 30, 100_02),
        ("B2", 40, 100_03),
    ]


def test_bust_after_a_replacement_is_of_the_order_that_stands_now() -> None:
    """30 of B are executed, B2 takes its place, the 30 are taken back: B2 has none."""
    engine, _ = world()
    outcome = engine.submit("ME", replace(BUY, price=100_02 * CENT), 0)
    request = ReplaceOrder("B", "B2", "XNAS", "ALFA", "buy", 80 * NANOS, 100_01 * CENT)
    engine.replace(request, 0)
    (_, report), *_ = engine.bust(outcome.reports[-1][1].execution_id, 0).reports
    assert (report.order_id, report.filled_quantity) == ("B2", 0)
    assert engine.orders["B2"].leaves == 50 * NANOS


def test_trade_from_before_we_came_is_none_of_ours() -> None:
    """The depth topic is ahead: the level already shows what the trade left when we join it."""
    engine, market = world()
    market.level(Side.BUY, 100_00, 20)
    engine.submit("ME", BUY, 0)
    market.trade(100_00, 30, aggressor=Side.SELL, seq=market.seq)
    assert fills(market.trade(100_00, 25, aggressor=Side.SELL)) == [("B", 5, 100_00)]
