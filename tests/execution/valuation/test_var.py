"""Value at risk against analytic answers, SciPy, and plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from execution.valuation import components, ewma_covariance, ewma_update, historical, incremental, parametric

RNG = np.random.default_rng(11)
RETURNS = RNG.multivariate_normal([0, 0, 0], [[4, 2, 0], [2, 9, -1], [0, -1, 1]], 400) / 100
VALUES = np.array([100.0, -50.0, 20.0])


def test_one_position_analytically() -> None:
    """10,000 at 2 % a day: 2.326 deviations are 465.27; expected shortfall is 2.665 deviations, 533.04."""
    found = parametric(np.array([10_000.0]), np.array([[0.0004]]))
    assert found.var == pytest.approx(465.2696, abs=1e-4)
    assert found.expected_shortfall == pytest.approx(533.0428, abs=1e-4)


def test_two_positions_analytically() -> None:
    """3 and 4 of deviation: 5 uncorrelated, 7 with a correlation of one, 1 where they hedge."""
    quantile = stats.norm.ppf(0.95)
    for correlation, deviation in ((0.0, 5.0), (1.0, 7.0), (-1.0, 1.0)):
        covariance = np.array([[9.0, 12 * correlation], [12 * correlation, 16.0]])
        assert parametric(np.ones(2), covariance, 0.95).var == pytest.approx(quantile * deviation)


def test_expected_shortfall_is_the_mean_of_the_tail() -> None:
    """Against numerical integration of the normal tail."""
    found = parametric(np.ones(1), np.eye(1), 0.975)
    tail = stats.norm.expect(lambda loss: loss, lb=stats.norm.ppf(0.975), conditional=True)
    assert found.expected_shortfall == pytest.approx(tail, rel=1e-8)


def test_horizon_is_the_square_root_of_time() -> None:
    """Ten days are 3.16 times as much as one."""
    covariance = ewma_covariance(RETURNS)
    one, ten = parametric(VALUES, covariance), parametric(VALUES, covariance, horizon=10)
    assert ten.var / one.var == pytest.approx(math.sqrt(10))


def test_ewma_is_its_recursion_and_its_definition() -> None:
    """A long history by the recursion, and each entry as a weighted sum."""
    found, by_step = ewma_covariance(RETURNS), np.outer(RETURNS[0], RETURNS[0])
    for row in RETURNS[1:]:
        by_step = ewma_update(by_step, row)
    assert found == pytest.approx(by_step, rel=1e-9)
    ages = range(len(RETURNS) - 1, -1, -1)
    weighted = sum(0.94**age * row[0] * row[1] for age, row in zip(ages, RETURNS, strict=True))
    assert found[0, 1] == pytest.approx(weighted / sum(0.94**age for age in ages))


def test_ewma_of_equal_weights_is_numpy_s_covariance() -> None:
    """With a decay of almost one, of returns whose mean is zero, it is the plain covariance."""
    centred = RETURNS - RETURNS.mean(axis=0)
    assert ewma_covariance(centred, 1 - 1e-12) == pytest.approx(np.cov(centred.T, bias=True), rel=1e-6)


def test_historical_on_paper() -> None:
    """Of losses 1 to 100, 95 is not exceeded in 95 of 100; the worst five average 98."""
    returns = -np.arange(1.0, 101.0)[:, None]
    found = historical(np.ones(1), RNG.permutation(returns), 0.95)
    assert (found.var, found.expected_shortfall) == (95.0, pytest.approx(98.0))


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99, 0.995])
def test_historical_against_numpy(confidence: float) -> None:
    """VaR is NumPy's quantile by the inverted distribution; expected shortfall its integral over the tail."""
    losses = -(RETURNS @ VALUES)
    found = historical(VALUES, RETURNS, confidence)
    low = np.quantile(losses, confidence, method="inverted_cdf")
    high = np.quantile(losses, np.nextafter(confidence + 1e-12, 1), method="inverted_cdf")
    assert found.var in (pytest.approx(low), pytest.approx(high))
    grid = confidence + (1 - confidence) * (np.arange(200_000) + 0.5) / 200_000
    tail = np.quantile(losses, grid, method="inverted_cdf").mean()
    assert found.expected_shortfall == pytest.approx(tail, rel=1e-4)


def test_parametric_and_historical_agree_on_normal_returns() -> None:
    """Of 200,000 normal returns both say the same to a hundredth."""
    returns = RNG.normal(0, 0.01, (200_000, 1))
    one, other = historical(np.ones(1), returns), parametric(np.ones(1), np.eye(1) * 1e-4)
    assert one.var == pytest.approx(other.var, rel=0.01)
    assert one.expected_shortfall == pytest.approx(other.expected_shortfall, rel=0.01)


positions = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3).map(np.array)


@given(positions)
def test_components_sum_to_the_whole(values: np.ndarray) -> None:
    """Whatever is held."""
    covariance = ewma_covariance(RETURNS)
    whole = parametric(values, covariance).var
    assert components(values, covariance).sum() == pytest.approx(whole, rel=1e-9, abs=1e-6)


def test_components_are_derivatives() -> None:
    """Each is the position times what VaR does when it grows a little; the hedge's is negative."""
    covariance = ewma_covariance(RETURNS)
    found = components(VALUES, covariance)
    for place in range(3):
        bumped = VALUES.copy()
        bumped[place] *= 1 + 1e-6
        slope = (parametric(bumped, covariance).var - parametric(VALUES, covariance).var) / 1e-6
        assert found[place] == pytest.approx(slope, rel=1e-3)
    hedge = components(np.array([10.0, -1.0]), np.array([[1.0, 0.9], [0.9, 1.0]]))
    assert hedge[1] < 0


@given(positions, st.integers(0, 2), st.floats(-1e6, 1e6))
def test_incremental_is_the_difference_of_two_wholes(values: np.ndarray, place: int, change: float) -> None:
    """The short way gives what computing it twice gives."""
    covariance = ewma_covariance(RETURNS)
    after = values.copy()
    after[place] += change
    expected = parametric(values, covariance).var, parametric(after, covariance).var
    assert incremental(values, covariance, place, change) == pytest.approx(expected, rel=1e-6, abs=1e-2)


def test_without_history_there_is_no_figure() -> None:
    """An empty history is an error and not a VaR of zero."""
    for compute in (lambda: historical(VALUES, np.empty((0, 3))), lambda: ewma_covariance(np.empty((0, 3)))):
        with pytest.raises(ValueError, match="no returns"):
            compute()
