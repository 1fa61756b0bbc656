"""The matching core: fills, rests, refusals, and the same outcome for the same inputs."""

from __future__ import annotations

import pytest

from execution.exchange.matching import MatchingEngine
from execution.exchange.requests import CancelRequest, NewOrder, StatusRequest
from execution.venues import ReportType
from tests.execution.exchange.feed import CENT, REGISTRY, Market, told
from tickloom.events import Condition, OrderState, Side, StatusCode
from tickloom.prices import NANOS
from tickloom.records import replace


@pytest.fixture
def engine() -> MatchingEngine:
    engine = MatchingEngine(REGISTRY, [], 0)
    engine.go_live(0)
    return engine


@pytest.fixture
def market(engine: MatchingEngine) -> Market:
    """100.00 x 50 to 100.02 x 30, and 100.03 x 40 behind it."""
    market = Market(engine)
    market.level(Side.SELL, 100_03, 40)
    market.quote(100_00, 50, 100_02, 30)
    return market


BUY = NewOrder("ID", "XNAS", "ALFA", "buy", 100 * NANOS, 100_03 * CENT, "ioc")


def test_ioc_takes_what_is_displayed_and_cancels_the_rest(engine: MatchingEngine, market: Market) -> None:
    """100 against 30 and 40: two fills at the displayed prices, 30 cancelled."""
    assert told(engine.submit("ME", BUY, 0)) == [
        (ReportType.NEW, OrderState.NEW, 0, 0),
        (ReportType.TRADE, OrderState.PARTIALLY_FILLED, 30, 100_02),
        (ReportType.TRADE, OrderState.PARTIALLY_FILLED, 40, 100_03),
        (ReportType.CANCELLED, OrderState.CANCELLED, 0, 0),
    ]


def test_duplicate_is_answered_with_its_state_and_not_executed(
    engine: MatchingEngine, market: Market
) -> None:
    """The same client order id twice: one execution, one answer, nothing durable."""
    engine.submit("ME", replace(BUY, quantity=10 * NANOS), 0)
    again = engine.submit("ME", replace(BUY, quantity=10 * NANOS), 0)
    assert not again.reports
    assert again.answer is not None
    assert (again.answer.state, again.answer.filled_quantity) == (OrderState.FILLED, 10 * NANOS)


def test_day_order_rests_and_fills_when_the_market_trades_through(
    engine: MatchingEngine, market: Market
) -> None:
    """A bid of 99.50 for 100: a trade at 99.50 is not enough, 60 at 99.49 fill 60 at 99.50."""
    engine.submit("ME", replace(BUY, price=99_50 * CENT, time_in_force="day"), 0)
    assert told(market.trade(99_50, 500)) == []
    assert told(market.trade(99_49, 500, Condition.CROSS)) == []
    assert told(market.trade(99_49, 60)) == [(ReportType.TRADE, OrderState.PARTIALLY_FILLED, 60, 99_50)]
    assert told(market.trade(99_40, 60)) == [(ReportType.TRADE, OrderState.FILLED, 40, 99_50)]
    assert told(market.trade(99_40, 60)) == []


def test_resting_order_meets_the_other_side(engine: MatchingEngine, market: Market) -> None:
    """A bid of 100.01 fills 20 when the offer comes down to it."""
    engine.submit("ME", replace(BUY, price=100_01 * CENT, time_in_force="day"), 0)
    assert told(market.quote(100_00, 50, 100_01, 20)) == [
        (ReportType.TRADE, OrderState.PARTIALLY_FILLED, 20, 100_01)
    ]


def test_resting_orders_are_served_by_price_then_time(engine: MatchingEngine, market: Market) -> None:
    """Of three bids the better price goes first, then the older; a trade's size is shared."""
    for name, cents in (("OLD", 99_50), ("NEW", 99_50), ("BEST", 99_60)):
        engine.submit("ME", replace(BUY, order_id=name, price=cents * CENT, time_in_force="day"), 0)
    outcome = market.trade(99_00, 150)
    filled = [(report.order_id, report.last_quantity // NANOS) for _, report in outcome.reports]
    assert filled == [("BEST", 100), ("OLD", 50)]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"symbol": "NONE"}, "unknown symbol XNAS NONE"),
        ({"quantity": NANOS // 2}, "quantity 0.5 is not in lots of 1"),
        ({"quantity": 0}, "quantity 0 is not in lots of 1"),
        ({"price": 1}, "is not on the tick 0.01"),
    ],
)
def test_refused(engine: MatchingEngine, market: Market, change: dict[str, object], text: str) -> None:
    """What cannot be an order is rejected with the reason, and remembered as rejected."""
    (_, report), *rest = engine.submit("ME", replace(BUY, **change), 0).reports  # type: ignore[arg-type]
    assert not rest
    assert report.state is OrderState.REJECTED
    assert text in report.text


def test_halted_instrument_is_refused_until_it_trades(engine: MatchingEngine, market: Market) -> None:
    """A halt rejects, and resting orders do not fill in it."""
    engine.submit("ME", replace(BUY, order_id="REST", price=100_01 * CENT, time_in_force="day"), 0)
    market.status(StatusCode.HALTED)
    assert told(engine.submit("ME", BUY, 0)) == [(ReportType.REJECTED, OrderState.REJECTED, 0, 0)]
    assert told(market.quote(99_00, 50, 100_01, 20)) == []
    market.status(StatusCode.TRADING)
    assert told(engine.submit("ME", replace(BUY, order_id="2"), 0))[0][0] is ReportType.NEW


def test_close_expires_day_orders_and_refuses_new_ones(engine: MatchingEngine, market: Market) -> None:
    """At the close what rests expires; afterwards the exchange is closed."""
    engine.submit("ME", replace(BUY, price=99_00 * CENT, time_in_force="day"), 0)
    assert told(market.status(StatusCode.MARKET_CLOSE, symbol=0)) == [
        (ReportType.EXPIRED, OrderState.EXPIRED, 0, 0)
    ]
    (_, report), *_ = engine.submit("ME", replace(BUY, order_id="2"), 0).reports
    assert "exchange closed: market_close" in report.text


def test_cancel_in_time_too_late_and_unknown(engine: MatchingEngine, market: Market) -> None:
    """In time it cancels; then it is too late; an order that never was is unknown (FIX CxlRejReason 0, 1)."""
    engine.submit("ME", replace(BUY, price=99_00 * CENT, time_in_force="day"), 0)
    request = CancelRequest("ID", "XNAS", "ALFA", "buy")
    assert told(engine.cancel(request, 0)) == [(ReportType.CANCELLED, OrderState.CANCELLED, 0, 0)]
    late = engine.cancel(request, 0).answer
    assert late is not None
    assert (late.report_type, late.state) == (ReportType.CANCEL_REJECTED, OrderState.CANCELLED)
    unknown = engine.cancel(replace(request, order_id="NO"), 0).answer
    assert unknown is not None
    assert unknown.unknown_order


def test_status_of_known_and_unknown(engine: MatchingEngine, market: Market) -> None:
    """A status request changes nothing and says what is known."""
    engine.submit("ME", BUY, 0)
    request = StatusRequest("ID", "XNAS", "ALFA", "buy")
    known = engine.status(request, 0)
    assert not known.reports
    assert known.answer is not None
    assert known.answer.filled_quantity == 70 * NANOS
    unknown = engine.status(replace(request, order_id="NO"), 0).answer
    assert unknown is not None
    assert unknown.unknown_order


def test_the_past_of_the_feed_fills_nothing() -> None:
    """An engine that starts with a resting order reads old trades and closes without trading on them."""
    first = MatchingEngine(REGISTRY, [], 0)
    first.go_live(0)
    first.submit("ME", replace(BUY, price=99_50 * CENT, time_in_force="day"), 0)
    again = MatchingEngine(REGISTRY, list(first.orders.values()), 0)
    past = Market(again)
    assert told(past.trade(99_00, 500)) == []
    assert told(past.status(StatusCode.MARKET_CLOSE, symbol=0)) == []
    assert told(past.status(StatusCode.SESSION_START, symbol=0)) == []
    assert again.go_live(0).reports == []
    assert told(past.trade(99_00, 500)) == [(ReportType.TRADE, OrderState.FILLED, 100, 99_50)]


def test_a_new_session_has_an_empty_book(engine: MatchingEngine, market: Market) -> None:
    """Yesterday's levels fill nothing today."""
    market.session = "20261122.A"
    market.level(Side.SELL, 100_03, 7)
    fills = [report for report in told(engine.submit("ME", BUY, 0)) if report[0] is ReportType.TRADE]
    assert fills == [(ReportType.TRADE, OrderState.PARTIALLY_FILLED, 7, 100_03)]


def test_same_inputs_same_outcome() -> None:
    """Two engines with the same inputs tell the same, execution ids included."""

    def run() -> list[object]:
        engine = MatchingEngine(REGISTRY, [], 0)
        engine.go_live(0)
        market = Market(engine)
        market.quote(100_00, 50, 100_02, 30)
        told = [engine.submit("ME", BUY, 0).reports]
        told.append(
            engine.submit(
                "ME", replace(BUY, order_id="2", price=99_00 * CENT, time_in_force="day"), 0
            ).reports
        )
        told.append(market.trade(98_00, 10).reports)
        return told

    assert run() == run()
