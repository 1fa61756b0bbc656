"""Forecast VaR and what was then lost in, whether the forecasts hold out: Kupiec's test. Pure.

Reference: Kupiec, "Techniques for verifying the accuracy of risk measurement models", Journal of Derivatives
3(2), 1995: the likelihood ratio of the observed share of exceptions against the promised one (proportion of
failures), chi-squared with one degree of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

#: At 5 % a sound model is refused one time in twenty; regulators' traffic light is stricter the other way.
SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class Kupiec:
    """``p_value``: how often a sound model does as badly. ``expected``: exceptions that were promised."""

    exceptions: int
    observations: int
    expected: float
    statistic: float
    p_value: float

    @property
    def rejected(self) -> bool:
        """The model does not hold what it promises, with too many exceptions or too few."""
        return self.p_value < SIGNIFICANCE


def kupiec(exceptions: int, observations: int, confidence: float = 0.99) -> Kupiec:
    """The test of ``exceptions`` days in ``observations`` on which the loss was larger than the VaR.

    Raises
    ------
    ValueError
        No observations, more exceptions than observations, or a confidence that is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    if observations <= 0 or not 0 <= exceptions <= observations:
        raise ValueError(f"{exceptions} exceptions in {observations} observations cannot be")
    promised, seen = 1.0 - confidence, exceptions / observations
    calm = observations - exceptions

    def likelihood(share: float) -> float:
        return _times_log(calm, 1.0 - share) + _times_log(exceptions, share)

    statistic = max(-2.0 * (likelihood(promised) - likelihood(seen)), 0.0)
    # chi-squared with one degree of freedom is the square of a normal: its tail is erfc
    return Kupiec(
        exceptions, observations, observations * promised, statistic, math.erfc(math.sqrt(statistic / 2.0))
    )


def _times_log(count: int, share: float) -> float:
    return count * math.log(share) if count else 0.0


@dataclass(frozen=True, slots=True)
class Day:
    """A UTC day since 1970. pnl: since ever when it began; var: as it was last that day; both nanos."""

    day: int
    pnl: int
    var: int


@dataclass(frozen=True, slots=True)
class Backtest:
    """``exceptions``: (day, loss, VaR of the day before), nanos. ``kupiec``: None without a day to test."""

    exceptions: tuple[tuple[int, int, int], ...]
    observations: int
    kupiec: Kupiec | None


def backtest(days: Iterable[Day], confidence: float = 0.99) -> Backtest:
    """Each day's loss against the VaR at the end of the day before.

    A day counts if the day before it and the day behind it are there too: its P&L is the difference of
    two beginnings. A day without a forecast (VaR 0: nothing was held) does not.
    """
    ordered = sorted(days, key=lambda one: one.day)
    exceptions, observations = [], 0
    for before, today, after in zip(ordered, ordered[1:], ordered[2:], strict=False):
        if today.day != before.day + 1 or after.day != today.day + 1 or before.var <= 0:
            continue
        observations += 1
        loss = today.pnl - after.pnl
        if loss > before.var:
            exceptions.append((today.day, loss, before.var))
    test = kupiec(len(exceptions), observations, confidence) if observations else None
    return Backtest(tuple(exceptions), observations, test)
