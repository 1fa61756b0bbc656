"""VaR of a book, the same in the report, in the gate, and by definition."""

from __future__ import annotations

import numpy as np
import pytest

from execution.risk import Check, Level
from execution.valuation import RiskEngine, ewma_covariance, historical, parametric
from tests.execution.risk.world import BID, World, intent, world
from tickloom.prices import NANOS

RETURNS = np.random.default_rng(5).multivariate_normal(
    [0, 0, 0], [[4e-4, 3e-4, 0], [3e-4, 4e-4, 0], [0, 0, 1e-4]], 250
)


def held() -> tuple[World, RiskEngine]:
    """Long 100 ALFA and short 60 BRVO at 100, of two rules."""
    one = world()
    one.fill("buy", 100 * NANOS, BID)
    one.fill("sell", 60 * NANOS, BID, "BRVO", "other")
    return one, RiskEngine(one.book, RETURNS)


def test_the_report_is_the_definition() -> None:
    """Firm and rules at the marks; components sum to the whole, and the hedge's is negative."""
    one, engine = held()
    firm, rule, other = engine.update()
    values, covariance = np.array([10_000.0, -6_000.0, 0.0]), ewma_covariance(RETURNS)
    assert firm.parametric.var == pytest.approx(parametric(values, covariance).var)
    assert firm.parametric.expected_shortfall == pytest.approx(
        parametric(values, covariance).expected_shortfall
    )
    simulated = historical(values, RETURNS)
    assert firm.historical is not None
    assert firm.historical.var == pytest.approx(simulated.var)
    assert firm.historical.expected_shortfall == pytest.approx(simulated.expected_shortfall)
    assert sum(firm.components.values()) == pytest.approx(firm.parametric.var)
    assert firm.components[("XNAS", "BRVO")] < 0
    assert (rule.name, other.name) == ("rule", "other")
    assert rule.parametric.var == pytest.approx(parametric(values * [1, 0, 0], covariance).var)
    one.fill("sell", 100 * NANOS, BID)
    one.fill("buy", 60 * NANOS, BID, "BRVO", "other")
    assert engine.update()[0].parametric.var == 0.0


@pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
def test_the_gate_s_var_is_that_of_the_positions_after_the_trade(side: str, sign: int) -> None:
    """10,000 more, or less, of ALFA: as if held already, for firm and rule; again, without a refresh."""
    one, _ = held()
    covariance = ewma_covariance(RETURNS)
    for step in range(2):
        wanted = intent(side=side, price=101 * NANOS if sign > 0 else BID)
        verdict = one.check(wanted)
        for level, values in ((Level.FIRM, [10_000.0, -6_000.0, 0]), (Level.STRATEGY, [10_000.0, 0, 0])):
            after = np.array(values)
            after[0] += sign * 10_000.0 * (step + 1)
            found = verdict.number(Check.VAR, level)[0] / NANOS
            assert found == pytest.approx(parametric(after, covariance).var, rel=1e-9, abs=1e-6)
        one.fill(side, 100 * NANOS, BID)


def test_open_orders_count_at_their_worst_whatever_fills() -> None:
    """The gate's figure is at least the VaR of the positions with any subset of open orders filled."""
    one, _ = held()
    one.order(50 * NANOS, symbol="ALFA", limit_price=BID)
    one.order(70 * NANOS, symbol="BRVO", side="sell", limit_price=101 * NANOS)
    one.order(30 * NANOS, symbol="ALFA", side="sell", limit_price=120 * NANOS, rule="other")
    bound = one.check().number(Check.VAR, Level.FIRM)[0] / NANOS
    covariance = ewma_covariance(RETURNS)
    for buys in (0, 5_000):
        for sells in (0, 7_000):
            for others in (0, 3_000):
                values = np.array([20_000.0 + buys - others, -6_000.0 - sells, 0])
                assert parametric(values, covariance).var <= bound


def test_what_has_no_estimate_never_hedges() -> None:
    """Too few returns of BRVO: its declared 300 bps are added in full, in the report and in the gate."""
    one, _ = held()
    returns = RETURNS.copy()
    returns[:-10, 1] = np.nan
    engine = RiskEngine(one.book, returns)
    alone = 2.3263478740408408 * 6_000 * 0.03
    expected = parametric(np.array([10_000.0]), ewma_covariance(RETURNS)[:1, :1]).var + alone
    (firm, *_) = engine.update()
    assert firm.parametric.var == pytest.approx(expected)
    assert sum(firm.components.values()) == pytest.approx(expected)
    assert one.check(intent(1)).number(Check.VAR, Level.FIRM)[0] / NANOS == pytest.approx(expected, rel=1e-6)


def test_a_hedge_that_lowers_var_passes_a_breached_limit() -> None:
    """Past its limit the firm may sell more BRVO against ALFA, and may not buy it."""
    one = world({"firm": {"var_max": '"1"'}})
    one.fill("buy", 100 * NANOS, BID)
    RiskEngine(one.book, RETURNS)
    hedge = intent(50 * NANOS, BID, "sell")
    from tickloom.records import replace

    assert one.check(replace(hedge, symbol="BRVO")).passed
    refused = one.check(replace(intent(50 * NANOS), symbol="BRVO"))
    assert refused.check is Check.VAR


def test_returns_of_other_instruments_are_refused() -> None:
    """A column for each instrument, or an error that says how many there are."""
    one = world()
    with pytest.raises(ValueError, match="the book has 3 instruments"):
        RiskEngine(one.book, RETURNS[:, :2])
