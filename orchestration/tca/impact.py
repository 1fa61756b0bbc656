"""How far an order of some size should move the price, and how far orders did. Pure.

The model is the simulated exchange's (``execution.exchange.impact``, docs/exchange.md): with the quantity
taken x, the day's volume V and the daily volatility s,

    temporary * s * sqrt(x / V)  +  permanent * s * x / V

A destination whose profile has no impact, or that has no profile, is compared with coefficients of 1, the
usual size (Torre 1997; Almgren, Thum, Hauptmann and Li 2005), and the volume that was seen that day.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from execution.exchange.profile import ImpactModel
from orchestration.tca.terms import ADDED, BPS, FillCost, Parent

USUAL_COEFFICIENT = 1.0


@dataclass(frozen=True, slots=True)
class Fit:
    """Measured impact as a multiple of the model's, by least squares through the origin.

    Attributes
    ----------
    coefficient, standard_error : float
        1: as the model says. NaN where there are too few orders.
    orders : int
    """

    coefficient: float
    standard_error: float
    orders: int


def usual(day_volume: int, volatility_bps: float) -> ImpactModel:
    """The model of a destination that declares none."""
    return ImpactModel(USUAL_COEFFICIENT, 0.0, volatility_bps, max(1, day_volume))


def expected_bps(model: ImpactModel, taken: int) -> float:
    """What the model says of a quantity (nanos) taken at once, basis points."""
    share = taken / model.daily_volume
    return model.volatility_bps * (model.temporary * math.sqrt(share) + model.permanent * share)


def of_order(
    fills: Sequence[FillCost], models: Mapping[str, ImpactModel], otherwise: ImpactModel
) -> float | None:
    """The model's impact of an order, weighted by what was filled where; None without fills."""
    filled: dict[str, int] = {}
    for one in fills:
        filled[one.fill.destination] = filled.get(one.fill.destination, 0) + one.fill.quantity
    if not filled:
        return None
    total = sum(filled.values())
    expected = 0.0
    for destination, quantity in filled.items():
        model = models.get(destination, otherwise)
        expected += quantity / total * expected_bps(model if model.on else otherwise, quantity)
    return expected


def measured_bps(parent: Parent, arrival_mid: int, fills: Sequence[FillCost]) -> float | None:
    """What fills paid beyond half the spread of their moment, against the mid at the sending."""
    if not fills:
        return None
    paid = sum(one.fill.quantity * (one.fill.price - arrival_mid) for one in fills) * parent.sign
    half = sum(one.fill.quantity * one.touch.spread * _toll(parent, one) for one in fills) / 2
    return (paid - half) * BPS / (parent.filled * arrival_mid)


def _toll(parent: Parent, one: FillCost) -> int:
    """Who paid half the spread: 1 the taker does, -1 the maker earns it, 0 at the mid."""
    if one.fill.liquidity:
        if one.fill.price == one.touch.mid:
            return 0  # a midpoint match, whichever side was there first
        return -1 if one.fill.liquidity == ADDED else 1
    over = parent.sign * (one.fill.price - one.touch.mid)
    return (over > 0) - (over < 0)


def fit(points: Sequence[tuple[float, float]]) -> Fit:
    """Of (model, measured) in basis points."""
    used = [(model, measured) for model, measured in points if model > 0]
    scale = sum(model * model for model, _ in used)
    if len(used) < 2 or not scale:
        return Fit(math.nan, math.nan, len(used))
    coefficient = sum(model * measured for model, measured in used) / scale
    residual = sum((measured - coefficient * model) ** 2 for model, measured in used)
    return Fit(coefficient, math.sqrt(residual / (len(used) - 1) / scale), len(used))
