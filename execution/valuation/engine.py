"""Stored returns and the risk book's positions in; VaR by firm and strategy, and the gate's covariance, out.

Once a second is cheap: with 500 instruments, 500 stored returns and eight strategies an update takes a few
milliseconds (``execution.risk.update_ms``), since everything is a handful of matrix products. An
instrument with fewer than :data:`RETURNS_MIN` returns has no estimate: its declared volatility counts in
full, beside the others (``execution.risk.exposure.open_var``), so that what is not known never hedges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from execution.risk.book import RiskBook
from execution.risk.layout import C_POSITION, S_MARK
from execution.valuation.var import EWMA_DECAY, Floats, Measure, ewma_covariance, historical

RETURNS_MIN = 20  # a month; the weight of what is older than that is 0.94**20 = 0.29


@dataclass(frozen=True, slots=True)
class LevelRisk:
    """Of one level; name is a rule, or empty for the firm. components: VaR by (venue, symbol), currency; they
    sum to ``parametric.var``."""

    name: str
    parametric: Measure
    historical: Measure | None
    components: dict[tuple[str, str], float]


class RiskEngine:
    """Value at risk of a :class:`RiskBook`. Not thread-safe, as the book.

    Parameters
    ----------
    returns : float64 (t, n)
        Daily returns, oldest first, columns in the order of ``book.keys``; NaN where there is none.
    """

    def __init__(self, book: RiskBook, returns: Floats, decay: float = EWMA_DECAY) -> None:
        self.book, self.decay = book, decay
        self.set_returns(returns)

    def set_returns(self, returns: Floats) -> None:
        """Estimate anew, and give the gate the covariance.

        Raises
        ------
        ValueError
            Not a column for each instrument of the book.
        """
        if returns.ndim != 2 or returns.shape[1] != len(self.book.keys):
            raise ValueError(f"returns are {returns.shape}, the book has {len(self.book.keys)} instruments")
        known = np.isfinite(returns)
        self.estimated: NDArray[np.bool_] = known.sum(axis=0) >= RETURNS_MIN
        self.returns: Floats = np.where(known, returns, 0.0)  # no return that day: nothing gained or lost
        size = len(self.book.keys)
        covariance = ewma_covariance(self.returns, self.decay) if len(returns) else np.zeros((size, size))
        self.estimated &= np.diag(covariance) > 0.0
        self.book.set_risk(covariance, self.estimated)

    def update(self) -> list[LevelRisk]:
        """Figures of the firm, and of every strategy that holds anything, at the current marks."""
        book = self.book
        book.mark()
        book.refresh_risk()
        size = len(book.keys)
        values = book.cells[:, :size, C_POSITION] * 1e-9 * (book.static[:size, S_MARK] * 0.5e-9)
        found = [self._level("", 0, values[0])]
        for name, k in book.strategies.items():
            if name and values[k].any():
                found.append(self._level(name, k, values[k]))
        return found

    def _level(self, name: str, k: int, values: Floats) -> LevelRisk:
        book, size = self.book, len(values)
        confidence = book.limits_file.firm.var_confidence_bps / 10_000
        horizon = book.limits_file.firm.var_horizon_days
        normal = NormalDist()
        quantile = normal.inv_cdf(confidence)
        deviation = math.sqrt(max(float(book.risk[k, book.count]), 0.0))
        by_place = values * book.risk[k, :size] / deviation if deviation else np.zeros(size)
        # what has no estimate is added in full: its own deviation is its component
        alone = np.where(self.estimated, 0.0, np.abs(values) * book.sigma[:size])
        total = (deviation + float(alone.sum())) * math.sqrt(horizon)
        by_place = (by_place + alone) * quantile * math.sqrt(horizon)
        measure = Measure(quantile * total, normal.pdf(quantile) / (1.0 - confidence) * total)
        simulated = historical(values, self.returns, confidence, horizon) if len(self.returns) else None
        held = np.flatnonzero(values)
        return LevelRisk(
            name, measure, simulated, {book.keys[place]: float(by_place[place]) for place in held}
        )
