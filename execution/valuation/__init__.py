"""What positions may lose: value at risk, expected shortfall, where they come from, and whether they hold."""

from execution.valuation.backtest import Backtest, Day, Kupiec, backtest, kupiec
from execution.valuation.engine import LevelRisk, RiskEngine
from execution.valuation.var import (
    EWMA_DECAY,
    Measure,
    components,
    ewma_covariance,
    ewma_update,
    historical,
    incremental,
    parametric,
)

__all__ = [
    "EWMA_DECAY",
    "Backtest",
    "Day",
    "Kupiec",
    "LevelRisk",
    "Measure",
    "RiskEngine",
    "backtest",
    "components",
    "ewma_covariance",
    "ewma_update",
    "historical",
    "incremental",
    "kupiec",
    "parametric",
]
