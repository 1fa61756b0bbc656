"""Random numbers in, fair values of all stocks and the planned events of a session out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic.parameters import OPEN_NS, MarketParameters, PairParameters
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.prices import NANOS

STEP_NS = 20 * NS_PER_MS  # of the fair-value grid

_FACTOR_VOLATILITY = 0.6e-4  # relative, per square root of a second
_OWN_VOLATILITY = 1.2e-4
_SPREAD_TAU_S = 4.0  # reversion time of a pair's spread
_SPREAD_BASE = 0.62  # undisturbed deviation; with the dislocations the whole comes to 1
_DISLOCATION_PERIOD_S = 36.0
_DISLOCATION_RAMP_S = 1.2
_BURST_PERIOD_S = 8.0
_DRIFT_MAX = 0.06  # fair values stay within this part of the reference; the ladder ends beyond

#: What is planned before the flow runs. kind: PLAN_*; argument: side of the aggressor, or a state.
PLAN_DTYPE = np.dtype([(name, "<i8") for name in ("ts", "stock", "kind", "argument")])
PLAN_SWEEP = 0  # a marketable order that takes the best level; argument 1 buys, -1 sells
PLAN_STATE = 1  # a trading action; argument is the ITCH state character


@dataclass(frozen=True, slots=True)
class Burst:
    """A planned sweep: ``orders`` marketable orders of one side. ts: ns since New York's midnight."""

    stock: int
    side: int
    orders: int
    first_ts: int
    last_ts: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Fair values and planned events.

    Attributes
    ----------
    fair : float64 array (steps, stocks)
        Fair value in ticks, one row each ``STEP_NS`` from the opening.
    events : structured array of PLAN_DTYPE, in time order
    bursts : list of Burst
    paused : int
        The stock that is paused once; -1 where the session is too short or small for it.
    """

    fair: NDArray[np.float64]
    events: NDArray[np.void]
    bursts: list[Burst]
    paused: int


def make_plan(parameters: MarketParameters, rng: np.random.Generator) -> Plan:
    """Draw a session's fair values, sweeps and pause."""
    stocks = parameters.stocks
    fair = fair_values(parameters, rng)
    legs = {leg for pair in parameters.pairs for leg in (pair.leg_a, pair.leg_b)}
    free = [index for index, item in enumerate(stocks) if item.symbol not in legs] or list(range(len(stocks)))
    paused = int(rng.choice(free)) if len(free) > 2 and parameters.duration_s >= 5 else -1
    sweepable = [index for index in free if index != paused]
    bursts = _bursts(parameters.duration_s, sweepable, rng)
    rows = [row for burst in bursts for row in _sweep_orders(burst, rng)]
    if paused >= 0:
        rows += _pause(parameters.duration_s, paused)
    events = np.array(sorted(rows), dtype=PLAN_DTYPE)
    return Plan(fair, events, bursts, paused)


def fair_values(parameters: MarketParameters, rng: np.random.Generator) -> NDArray[np.float64]:
    """Fair values in ticks, float64 (steps, stocks)."""
    stocks = parameters.stocks
    steps = int(parameters.duration_s * NS_PER_S) // STEP_NS + 2
    step_s = STEP_NS / NS_PER_S
    factor = rng.standard_normal(steps) * _FACTOR_VOLATILITY * np.sqrt(step_s)
    own = rng.standard_normal((steps, len(stocks))) * _OWN_VOLATILITY * np.sqrt(step_s)
    beta = rng.uniform(0.5, 1.5, len(stocks))
    walk = np.cumsum(own + factor[:, None] * beta, axis=0)
    reference = np.array([item.reference / NANOS for item in stocks])
    fair = reference * (1.0 + np.clip(walk - walk[0], -_DRIFT_MAX, _DRIFT_MAX))
    index = {item.symbol: position for position, item in enumerate(stocks)}
    for pair in parameters.pairs:
        deviation = spread_deviation(pair, parameters.duration_s, steps, rng)
        leg_a, leg_b = index[pair.leg_a], index[pair.leg_b]
        common = fair[:, leg_b].copy()
        fair[:, leg_b] = common - 0.5 * deviation / pair.hedge_ratio
        fair[:, leg_a] = pair.mean + pair.hedge_ratio * common + 0.5 * deviation
    ticks: NDArray[np.float64] = fair / np.array([item.tick / NANOS for item in stocks])
    return ticks


def spread_deviation(
    pair: PairParameters, duration_s: float, steps: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Deviation of a pair's spread from its mean, dollars, float64 (steps,): OU with dislocations."""
    step_s = STEP_NS / NS_PER_S
    decay = np.exp(-step_s / _SPREAD_TAU_S)
    noise = _SPREAD_BASE * np.sqrt(1.0 - decay**2) * rng.standard_normal(steps)
    count = max(1, round(duration_s / _DISLOCATION_PERIOD_S))
    ramp = max(1, int(min(_DISLOCATION_RAMP_S, duration_s / 6) / step_s))
    begins = ((np.arange(count) + rng.uniform(0.25, 0.6, count)) / count * steps).astype(np.int64)
    signs = np.resize([1.0, -1.0], count) * (1 if rng.random() < 0.5 else -1)  # in turn: the mean stays
    targets = rng.uniform(2.9, 3.4, count) * signs
    path = np.empty(steps)
    value, until, slope = _SPREAD_BASE * rng.standard_normal(), 0, 0.0
    driven = dict(zip(begins.tolist(), targets.tolist(), strict=True))
    for step in range(steps):
        if step in driven:
            until, slope = step + ramp, (driven[step] - value) / ramp
        value = value + slope if step < until else value * decay + noise[step]
        path[step] = value
    return path * pair.deviation


def _bursts(duration_s: float, sweepable: list[int], rng: np.random.Generator) -> list[Burst]:
    count = max(1, round(duration_s / _BURST_PERIOD_S))
    starts_s = (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count * duration_s
    lengths_s = np.minimum(rng.uniform(0.25, 0.6, count), duration_s / 20)
    # Most are sell-offs, and the first two are one of each, so a short session has both.
    sides = np.where(rng.random(count) < 0.4, 1, -1)
    sides[:2] = (-1, 1)[:count]
    orders = rng.integers(8, 15, count)
    stocks = rng.permutation(np.resize(rng.permutation(sweepable), count))
    return [
        Burst(
            int(stocks[i]),
            int(sides[i]),
            int(orders[i]),
            OPEN_NS + round(starts_s[i] * NS_PER_S),
            OPEN_NS + round((starts_s[i] + lengths_s[i]) * NS_PER_S),
        )
        for i in range(count)
    ]


def _sweep_orders(burst: Burst, rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
    inner = np.sort(rng.integers(burst.first_ts, burst.last_ts, burst.orders - 2))
    times = [burst.first_ts, *inner.tolist(), burst.last_ts]
    return [(ts, burst.stock, PLAN_SWEEP, burst.side) for ts in times]


def _pause(duration_s: float, stock: int) -> list[tuple[int, int, int, int]]:
    length_s = min(10.0, duration_s / 8)
    begin_s = duration_s * 0.45
    moments = [(begin_s, "P"), (begin_s + 0.8 * length_s, "Q"), (begin_s + length_s, "T")]
    return [(OPEN_NS + round(s * NS_PER_S), stock, PLAN_STATE, ord(state)) for s, state in moments]
