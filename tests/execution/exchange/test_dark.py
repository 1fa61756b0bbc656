"""A midpoint dark pool."""

from __future__ import annotations

import pytest

from execution.exchange.matching import MatchingEngine
from execution.exchange.profile import DarkModel, VenueProfile
from execution.exchange.requests import NewOrder, OrderType
from tests.execution.exchange.feed import CENT, REGISTRY, Market, fills
from tickloom.events import OrderState, Side, StatusCode
from tickloom.prices import NANOS
from tickloom.records import replace

BUY = NewOrder("B", "DARK", "ALFA", "buy", 100 * NANOS, 0, "day", OrderType.MIDPOINT)
SELL = replace(BUY, order_id="S", side="sell")


def world(**dark: object) -> tuple[MatchingEngine, Market]:
    """The reference is 100.00 to 100.03: the midpoint is 100.015."""
    profile = VenueProfile("DARK", feed="XNAS", kind="dark", dark=DarkModel(**dark))  # type: ignore[arg-type]
    engine = MatchingEngine(REGISTRY, [], 0, {"DARK": profile, "XNAS": VenueProfile("XNAS")})
    engine.go_live(0)
    market = Market(engine)
    market.quote(100_00, 50, 100_03, 30)
    return engine, market


def prices(engine: MatchingEngine, order: NewOrder, client: str = "YOU") -> list[tuple[str, int, int]]:
    outcome = engine.submit(client, order, 0)
    return [
        (report.order_id, report.last_quantity // NANOS, report.last_price)
        for _, report in outcome.reports
        if report.execution_id
    ]


def test_two_clients_meet_at_the_midpoint() -> None:
    """Exactly half way, half a tick included; nothing of it is on the lit venue."""
    engine, _ = world()
    engine.submit("ME", BUY, 0)
    middle = 100_015_000_000
    assert prices(engine, replace(SELL, quantity=40 * NANOS)) == [("B", 40, middle), ("S", 40, middle)]
    assert engine.orders["B"].leaves == 60 * NANOS


@pytest.mark.parametrize(("cents", "trades"), [(100_01, False), (100_02, True)])
def test_limit_bounds_the_midpoint(cents: int, trades: bool) -> None:
    """A limit below the midpoint of 100.015 does not trade; one above does, at the midpoint."""
    engine, _ = world()
    engine.submit("ME", replace(BUY, price=cents * CENT), 0)
    assert bool(prices(engine, SELL)) is trades


def test_minimum_quantity() -> None:
    """A counter-order of 40 is too small for one who wants 50 at least, on either side; 50 is enough."""
    engine, _ = world()
    engine.submit("ME", replace(BUY, min_quantity=50 * NANOS), 0)
    assert prices(engine, replace(SELL, quantity=40 * NANOS, time_in_force="ioc")) == []
    assert len(prices(engine, replace(SELL, order_id="S2", quantity=50 * NANOS))) == 2


def test_no_midpoint_no_trade() -> None:
    """Crossed or one-sided: they wait until there is a midpoint again, and meet then."""
    engine, market = world()
    market.quote(100_03, 50, 100_03, 30)
    engine.submit("ME", BUY, 0)
    assert prices(engine, SELL) == []
    assert fills(market.quote(100_00, 50, 100_02, 30)) == [("B", 100, 100_01), ("S", 100, 100_01)]


def test_own_order_is_passed_over() -> None:
    """A client does not meet itself; both rest."""
    engine, _ = world()
    engine.submit("ME", BUY, 0)
    assert prices(engine, SELL, client="ME") == []
    assert engine.orders["S"].state is OrderState.NEW


def test_rest_of_the_pool_comes_with_the_feeds_trades() -> None:
    """With certainty and half of the size: 40 traded bring 20, of a side that the seed decides."""
    engine, market = world(probability=1.0, share=0.5, life_ms=1)
    engine.submit("ME", BUY, 0)
    engine.submit("ME", SELL, 0)
    bought = [fill for _ in range(20) for fill in fills(market.trade(100_02, 40))]
    assert {name for name, _, _ in bought} == {"B", "S"}
    assert {shares for _, shares, _ in bought} == {20}
    again, other = world(probability=1.0, share=0.5, life_ms=1)
    again.submit("ME", BUY, 0)
    again.submit("ME", SELL, 0)
    assert [fill for _ in range(20) for fill in fills(other.trade(100_02, 40))] == bought


def test_ping_finds_who_waits_and_nobody_later() -> None:
    """An IOC order meets counter-orders that wait; after their life they are gone."""
    engine, market = world(probability=1.0, life_ms=1)
    for _ in range(30):
        market.trade(100_02, 1)
    ping = replace(BUY, time_in_force="ioc")
    found = fills(engine.submit("ME", ping, 0))
    assert 5 < len(found) < 25
    for _ in range(30):
        market.trade(100_02, 1)
    for _ in range(1_001):  # a microsecond each
        market.quote(100_00, 50, 100_03, 30)
    assert fills(engine.submit("ME", replace(ping, order_id="P"), 0)) == []


@pytest.mark.parametrize(
    "change", [{"order_type": OrderType.MARKET}, {"post_only": True}, {"quantity": NANOS // 2}]
)
def test_refused(change: dict[str, object]) -> None:
    """No market orders, nothing post only; and a lit venue has no midpoint orders."""
    engine, _ = world()
    engine.submit("ME", replace(BUY, **change), 0)  # type: ignore[arg-type]
    assert engine.orders["B"].state is OrderState.REJECTED
    engine.submit("ME", replace(BUY, order_id="L", venue="XNAS"), 0)
    assert engine.orders["L"].state is OrderState.REJECTED


def test_halt_of_the_reference_stops_the_pool() -> None:
    """No trading in the dark while the reference is halted."""
    engine, market = world()
    engine.submit("ME", BUY, 0)
    market.status(StatusCode.HALTED)
    engine.submit("YOU", SELL, 0)
    assert engine.orders["S"].state is OrderState.REJECTED
    market.level(Side.BUY, 99_00, 1)
