"""Position values and returns in, value at risk and expected shortfall out. Pure, in floats.

``values``: float64 (n,), what is held of each instrument in currency, signed. ``returns``: float64 (t, n),
simple returns of one period, oldest first. ``covariance``: float64 (n, n) of such returns. VaR and expected
shortfall are losses, so positive numbers are bad; both are of one period, or of ``horizon`` periods where
returns are independent (square root of time).

References: J.P. Morgan/Reuters, RiskMetrics Technical Document, 4th edition (1996), sections 5.2
(exponentially weighted covariance, mean zero, decay 0.94 for daily returns) and 6; Acerbi and Tasche, "On
the coherence of expected shortfall", Journal of Banking & Finance 26 (2002), definition 2.6; Tasche, "Risk
contributions and performance measurement" (1999), for components by Euler's theorem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

EWMA_DECAY = 0.94
Floats = NDArray[np.float64]
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Measure:
    """Both in currency; expected_shortfall is never below var."""

    var: float
    expected_shortfall: float


def ewma_covariance(returns: Floats, decay: float = EWMA_DECAY) -> Floats:
    """Exponentially weighted covariance about zero; weights sum to one, so a short history is not too small.

    Raises
    ------
    ValueError
        No returns, or a decay that is not between 0 and 1.
    """
    if not 0.0 < decay < 1.0:
        raise ValueError(f"decay {decay} is not between 0 and 1")
    if not len(returns):
        raise ValueError("no returns: there is nothing to weight")
    weights = decay ** np.arange(len(returns) - 1, -1, -1.0)
    weights /= weights.sum()
    found: Floats = (returns * weights[:, None]).T @ returns
    return found


def ewma_update(covariance: Floats, returns: Floats, decay: float = EWMA_DECAY) -> Floats:
    """Covariance after one more period; returns float64 (n,)."""
    found: Floats = decay * covariance + (1.0 - decay) * np.outer(returns, returns)
    return found


def parametric(values: Floats, covariance: Floats, confidence: float = 0.99, horizon: int = 1) -> Measure:
    """Of normally distributed returns with that covariance and mean zero."""
    deviation = math.sqrt(max(float(values @ covariance @ values), 0.0) * horizon)
    quantile = _NORMAL.inv_cdf(confidence)
    return Measure(quantile * deviation, _NORMAL.pdf(quantile) / (1.0 - confidence) * deviation)


def components(values: Floats, covariance: Floats, confidence: float = 0.99, horizon: int = 1) -> Floats:
    """Parametric VaR by position, (n,): they sum to the whole; a hedge's is negative."""
    marginal = covariance @ values
    deviation = math.sqrt(max(float(values @ marginal), 0.0))
    if deviation == 0.0:
        return np.zeros(len(values))
    scale = _NORMAL.inv_cdf(confidence) * math.sqrt(horizon)
    found: Floats = values * (marginal / deviation) * scale
    return found


def incremental(
    values: Floats, covariance: Floats, place: int, change: float, confidence: float = 0.99
) -> tuple[float, float]:
    """Parametric VaR before and after the value of one position moves by ``change``; O(n)."""
    marginal = float(covariance[place] @ values)
    before = float(values @ covariance @ values)
    after = before + 2.0 * change * marginal + change * change * float(covariance[place, place])
    quantile = _NORMAL.inv_cdf(confidence)
    return quantile * math.sqrt(max(before, 0.0)), quantile * math.sqrt(max(after, 0.0))


def historical(values: Floats, returns: Floats, confidence: float = 0.99, horizon: int = 1) -> Measure:
    """Of the positions of now under every stored period.

    VaR is the smallest loss that is not exceeded with probability ``confidence`` (inverted empirical
    distribution). Expected shortfall averages the worst ``1 - confidence`` of all periods, the last of them
    in part, so it changes continuously with the confidence.

    Raises
    ------
    ValueError
        No returns.
    """
    if not len(returns):
        raise ValueError("no returns: there is no history to simulate")
    losses = np.sort(-(returns @ values))[::-1]
    tail = len(losses) * (1.0 - confidence)
    whole = min(math.floor(tail + 1e-9), len(losses) - 1)
    part = max(tail - whole, 0.0)
    shortfall = (losses[:whole].sum() + part * losses[whole]) / tail
    scale = math.sqrt(horizon)
    return Measure(float(losses[whole]) * scale, float(shortfall) * scale)
