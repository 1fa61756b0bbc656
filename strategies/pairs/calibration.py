"""Closing prices of bars in, what is known about each candidate pair out: Engle and Granger's two steps.

R. F. Engle, C. W. J. Granger, "Co-Integration and Error Correction: Representation, Estimation, and
Testing", Econometrica 55:2 (1987); p-values by J. G. MacKinnon (Queen's Economics Department, working
paper 1227, 2010), both through statsmodels. In order, and a pair that fails one is asked nothing more:

1. Both legs have enough bars in common, and neither price is stationary by itself (augmented
   Dickey-Fuller with a constant): between stationary prices the test of the pair means nothing.
2. ``leg_a = mean + hedge_ratio * leg_b + spread`` by ordinary least squares.
3. The spread is stationary: statsmodels' ``coint`` with a constant, lags by AIC.
4. So it is among all pairs tested: of 300 pairs without anything in common, 15 have a p-value below 0.05.
   Admitted is what holds at a false discovery rate over all of them (Y. Benjamini, D. Yekutieli, Annals
   of Statistics 29:4 (2001): pairs that share legs are not independent).
5. The hedge ratio is above 0: a pair is one leg against the other.
6. The spread as AR(1), exact maximum likelihood, reverts by half in more than a bar and in less than a
   tenth of the sample: else it was not measured, or its mean was not.

A test over the past is no promise. What it was fitted to, a spread follows too well.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tickloom.errors import CalibrationError
from tickloom.events import Calibration

METHOD = "engle-granger"
OBSERVATIONS_LEAST = 30  # below it statsmodels' tests do not run with their lags
BARS_MAX = 10_000  # 25 days of minutes; the tests' time goes with bars and, by their lags, a little faster
COLLINEAR = 1e-12  # what a correlation is short of 1 by; there is no spread then, and the tests divide by it

Prices = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pair must hold to be admitted.

    Attributes
    ----------
    p_value_max : float
        Of the pair's own test.
    false_discovery_rate : float
        Expected share of pairs among the admitted that have nothing in common, at most.
    leg_p_value_min : float
        Of each leg's test for a unit root, which must not be refused.
    half_life_bars_min : float
        In bars.
    half_life_sample_max : float
        As a share of the sample.
    observations_min : int
    coverage_min : float
        Share of the sample's bars that both legs must have.
    """

    p_value_max: float = 0.05
    false_discovery_rate: float = 0.05
    leg_p_value_min: float = 0.01
    half_life_bars_min: float = 1.0
    half_life_sample_max: float = 0.1
    observations_min: int = 100
    coverage_min: float = 0.8


def calibrate(
    closes: pd.DataFrame,
    candidates: Iterable[tuple[str, str]],
    venue: str,
    bar_s: float,
    limits: Limits | None = None,
) -> list[Calibration]:
    """Calibrate candidates over one sample of bars.

    Parameters
    ----------
    closes : DataFrame
        A row a bar, whose index is its beginning (UTC); a column a symbol; NaN where it has none.
    candidates : iterable of (leg_a, leg_b)
    bar_s : float
        Length of a bar, seconds.

    Returns
    -------
    list of Calibration
        One a candidate, in their order, admitted or with the reason why not.

    Raises
    ------
    CalibrationError
        There are no bars, or they are not in order.
    """
    limits = limits or Limits()
    if not len(closes):
        raise CalibrationError("no bars in that time; is there data? `tickloom sql 'SELECT * FROM bars_1m'`")
    if not closes.index.is_monotonic_increasing or closes.index.has_duplicates:
        raise CalibrationError("the bars are not in order of time, each once; sort them")
    if len(closes) > BARS_MAX:
        raise CalibrationError(
            f"{len(closes):,} bars; {BARS_MAX:,} are enough, take longer ones or fewer days"
        )
    stationary: dict[str, float] = {}
    with threadpool_limits(1):  # thousands of small regressions: a second BLAS thread makes them slower
        found = [_tested(closes, pair, venue, bar_s, limits, stationary) for pair in candidates]
        return [_admitted(one, closes, limits) for one in _corrected(found)]


def engle_granger(prices_a: Prices, prices_b: Prices) -> tuple[float, float, float, float]:
    """Hedge ratio, mean of the spread, test statistic and p-value of ``a - hedge_ratio * b``."""
    from statsmodels.regression.linear_model import OLS
    from statsmodels.tools.tools import add_constant
    from statsmodels.tsa.stattools import coint

    mean, hedge_ratio = OLS(prices_a, add_constant(prices_b)).fit().params
    tested: Any = coint(prices_a, prices_b, trend="c", autolag="aic")
    return float(hedge_ratio), float(mean), float(tested.coint_t), float(tested.pvalue)


def johansen_hedge_ratio(prices_a: Prices, prices_b: Prices) -> float:
    """The ratio by the first eigenvector of Johansen's test: a constant, one lagged difference."""
    from statsmodels.tsa.vector_ar.vecm import coint_johansen

    vector = coint_johansen(np.column_stack([prices_a, prices_b]), 0, 1).evec[:, 0]
    return float(-vector[1] / vector[0])


def ar1_coefficient(spread: Prices) -> float:
    """The coefficient of a spread as AR(1) with a mean: exact maximum likelihood, statsmodels' ARIMA."""
    from statsmodels.tsa.arima.model import ARIMA

    return float(ARIMA(spread, order=(1, 0, 0)).fit().params[1])


def half_life_bars(ar_coefficient: float) -> float:
    """Bars in which half of a deviation is expected to be gone; infinite where none ever is."""
    if ar_coefficient >= 1.0:
        return math.inf
    return math.log(0.5) / math.log(ar_coefficient) if ar_coefficient > 0.0 else 0.0


def unit_root_p_value(prices: Prices) -> float:
    """Of the augmented Dickey-Fuller test with a constant; small: the price is stationary by itself."""
    from statsmodels.tsa.stattools import adfuller

    tested: Any = adfuller(prices, regression="c", autolag="AIC", result_object=True)
    return float(tested.pvalue)


def _tested(
    closes: pd.DataFrame,
    pair: tuple[str, str],
    venue: str,
    bar_s: float,
    limits: Limits,
    stationary: dict[str, float],
) -> Calibration:
    """Steps 1 to 3."""
    begin, end = (int(ts.value) for ts in (closes.index[0], closes.index[-1]))
    unknown = math.nan
    one = Calibration(
        ts=end + round(bar_s * 1e9),
        sample_from=begin,
        bar_s=bar_s,
        venue=venue,
        symbol="~".join(pair),
        leg_a=pair[0],
        leg_b=pair[1],
        method=METHOD,
        admitted=False,
        refused="",
        hedge_ratio=unknown,
        mean=unknown,
        deviation=unknown,
        statistic=unknown,
        p_value=unknown,
        q_value=unknown,
        ar_coefficient=unknown,
        half_life_s=unknown,
        johansen_hedge_ratio=unknown,
        leg_a_p_value=unknown,
        leg_b_p_value=unknown,
        observations=0,
        coverage=0.0,
    )
    missing = [leg for leg in pair if leg not in closes]
    if missing:
        return replace(one, refused=f"no bars of {' and '.join(missing)}")
    common = closes[list(pair)].dropna()
    one = replace(one, observations=len(common), coverage=len(common) / len(closes))
    if len(common) < max(limits.observations_min, OBSERVATIONS_LEAST):
        return replace(one, refused=f"{len(common)} bars in common; {limits.observations_min} are needed")
    if one.coverage < limits.coverage_min:
        return replace(one, refused=f"only {one.coverage:.0%} of the bars have both legs")
    prices_a, prices_b = (common[leg].to_numpy(dtype=np.float64) for leg in pair)
    if np.ptp(prices_a) == 0 or np.ptp(prices_b) == 0:
        return replace(one, refused="a leg's price never moved")
    for leg in pair:
        if leg not in stationary:
            stationary[leg] = unit_root_p_value(closes[leg].dropna().to_numpy(dtype=np.float64))
    one = replace(one, leg_a_p_value=stationary[pair[0]], leg_b_p_value=stationary[pair[1]])
    for leg in pair:
        if stationary[leg] < limits.leg_p_value_min:
            return replace(one, refused=f"{leg} is stationary by itself (p {stationary[leg]:.2g})")
    if 1.0 - abs(np.corrcoef(prices_a, prices_b)[0, 1]) < COLLINEAR:
        return replace(one, refused="the legs are the same but for a factor")
    hedge_ratio, mean, statistic, p_value = engle_granger(prices_a, prices_b)
    spread = prices_a - hedge_ratio * prices_b
    return replace(
        one,
        hedge_ratio=hedge_ratio,
        mean=mean,
        deviation=float(spread.std(ddof=1)),
        statistic=statistic,
        p_value=p_value,
        johansen_hedge_ratio=johansen_hedge_ratio(prices_a, prices_b),
    )


def _corrected(found: Sequence[Calibration]) -> list[Calibration]:
    """Step 4: q-values over all pairs that were tested."""
    from statsmodels.stats.multitest import multipletests

    tested = [at for at, one in enumerate(found) if math.isfinite(one.p_value)]
    corrected = list(found)
    if tested:
        q_values = multipletests([found[at].p_value for at in tested], method="fdr_by")[1]
        for at, q_value in zip(tested, q_values.tolist(), strict=True):
            corrected[at] = replace(found[at], q_value=q_value)
    return corrected


def _admitted(one: Calibration, closes: pd.DataFrame, limits: Limits) -> Calibration:
    """What was found is held against the limits; steps 5 and 6 for what is left."""
    if one.refused:
        return one
    if one.p_value > limits.p_value_max:
        return replace(one, refused=f"not cointegrated (p {one.p_value:.2g})")
    if one.q_value > limits.false_discovery_rate:
        reason = f"p {one.p_value:.2g} is what chance gives among so many (q {one.q_value:.2g})"
        return replace(one, refused=reason)
    if one.hedge_ratio <= 0:
        return replace(one, refused=f"the legs move against each other (hedge ratio {one.hedge_ratio:.4g})")
    common = closes[[one.leg_a, one.leg_b]].dropna()
    spread = (common[one.leg_a] - one.hedge_ratio * common[one.leg_b]).to_numpy(dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an optimiser that starts where it ends
        coefficient = ar1_coefficient(spread)
    bars = half_life_bars(coefficient)
    one = replace(one, ar_coefficient=coefficient, half_life_s=bars * one.bar_s)
    if bars < limits.half_life_bars_min:
        return replace(one, refused=f"half-life {bars:.2g} bars: take shorter ones")
    if bars > limits.half_life_sample_max * one.observations:
        return replace(one, refused=f"half-life {bars:.0f} bars of a sample of {one.observations}")
    return replace(one, admitted=True)
