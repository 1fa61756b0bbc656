"""Kupiec's test against published and computed values, and which days count."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from execution.valuation import Day, backtest, kupiec


@pytest.mark.parametrize(
    ("exceptions", "observations", "confidence"),
    [
        (0, 250, 0.99),
        (1, 250, 0.99),
        (7, 255, 0.99),
        (20, 510, 0.99),
        (17, 1000, 0.99),
        (16, 255, 0.95),
        (250, 250, 0.5),
    ],
)
def test_against_binomial_likelihoods(exceptions: int, observations: int, confidence: float) -> None:
    """Twice the difference of SciPy's binomial log likelihoods, and SciPy's chi-squared tail."""
    found = kupiec(exceptions, observations, confidence)
    seen = exceptions / observations
    expected = 2 * (
        stats.binom.logpmf(exceptions, observations, seen)
        - stats.binom.logpmf(exceptions, observations, 1 - confidence)
    )
    assert found.statistic == pytest.approx(expected, abs=1e-8)
    assert found.p_value == pytest.approx(stats.chi2.sf(expected, 1), abs=1e-8)
    assert found.expected == pytest.approx(observations * (1 - confidence))


def test_regions_of_kupiec_s_own_table() -> None:
    """Kupiec 1995, table 3, at 95 %: of 255 days at p = 0.01 fewer than 7 exceptions pass (none at all has a
    p-value of 0.02 and does not), of 510 from 2 to 10, of 1,000 from 5 to 16."""
    for observations, passing in ((255, range(1, 7)), (510, range(2, 11)), (1_000, range(5, 17))):
        found = [count for count in range(40) if not kupiec(count, observations).rejected]
        assert found == list(passing)


def test_a_sound_model_is_rejected_about_as_often_as_promised() -> None:
    """Of 2,000 samples of 500 days with one in twenty past a 95 % VaR, about 5 % are rejected."""
    counts = np.random.default_rng(3).binomial(500, 0.05, 2_000)
    share = np.mean([kupiec(int(count), 500, 0.95).rejected for count in counts])
    assert 0.03 < share < 0.08


@pytest.mark.parametrize(
    ("exceptions", "observations", "confidence"), [(0, 0, 0.99), (3, 2, 0.99), (-1, 5, 0.99), (0, 5, 1.0)]
)
def test_what_cannot_be_is_refused(exceptions: int, observations: int, confidence: float) -> None:
    """No days, more exceptions than days, a promise that cannot be broken."""
    with pytest.raises(ValueError):
        kupiec(exceptions, observations, confidence)


def test_losses_meet_the_forecast_of_the_day_before() -> None:
    """Lost 11 on day 2 with a VaR of 10 the evening before; 10 with 10 is none; gaps do not count."""
    days = [
        Day(1, 0, 10),
        Day(2, 0, 9),
        Day(3, -11, 10),
        Day(4, -5, 1),
        Day(5, -15, 5),
        Day(8, -99, 5),
        Day(9, -200, 5),
    ]
    found = backtest(days)
    assert found.exceptions == ((2, 11, 10),)
    assert found.observations == 3
    assert found.kupiec is not None
    assert found.kupiec.exceptions == 1


def test_without_forecasts_there_is_nothing_to_test() -> None:
    """Days on which nothing was held, and a history that is too short, are no observations."""
    assert backtest([]).kupiec is None
    assert backtest([Day(1, 0, 0), Day(2, 0, 0), Day(3, -5, 0)]).observations == 0
