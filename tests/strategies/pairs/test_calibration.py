"""Calibration against a published answer, over daily stocks, and over pairs that were made to order."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from strategies.pairs import calibration
from strategies.pairs.calibration import Limits, calibrate
from tickloom.errors import CalibrationError


def test_published_answer(shared_data: Callable[[str], Path]) -> None:
    """ANZ and ADB before 2002: hedge ratios by both methods and the AR(1) coefficient of the spread are those
    that arbitragelab's tests publish. The coefficient is an optimiser's, which stops at 1e-8."""
    frame = pd.read_csv(shared_data("pairs") / "ANZ-ADB.csv", parse_dates=["Date"], index_col="Date")
    closes = frame[frame.index < "2002-01-01"]
    prices_a, prices_b = closes["ANZ"].to_numpy(), closes["ADB"].to_numpy()
    hedge_ratio, mean, _, _ = calibration.engle_granger(prices_a, prices_b)
    assert hedge_ratio == pytest.approx(1.8378837809650117, abs=1e-12)
    assert mean == pytest.approx(4.34987712, abs=1e-8)  # its cond_values[1]
    found = calibration.johansen_hedge_ratio(prices_a, prices_b)
    assert found == pytest.approx(1.8647763422880634, abs=1e-12)
    coefficient = calibration.ar1_coefficient(prices_a - hedge_ratio * prices_b)
    assert coefficient == pytest.approx(0.8933437089287942, abs=1e-8)
    (whole,) = calibrate(closes, [("ANZ", "ADB")], "XASX", 86_400)
    assert whole.admitted
    assert whole.p_value == pytest.approx(0.0187, abs=1e-4)
    assert whole.half_life_s == pytest.approx(86_400 * math.log(0.5) / math.log(coefficient))


def test_published_pair_that_is_not_cointegrated(shared_data: Callable[[str], Path]) -> None:
    """XLF and XLK before 2020, which the same tests have refused."""
    frame = pd.read_csv(shared_data("pairs") / "XLF-XLK.csv", parse_dates=["Date"], index_col="Date")
    (one,) = calibrate(frame[frame.index < "2020-01-01"], [("XLF", "XLK")], "ARCX", 86_400)
    assert not one.admitted
    assert one.refused.startswith("not cointegrated")


def test_daily_stocks(shared_data: Callable[[str], Path]) -> None:
    """All 91 pairs of 14 stocks over a year: each is answered, and what is admitted holds every limit;
    chance alone would give more."""
    folder = shared_data("equities_daily")
    series = {}
    for path in sorted(folder.glob("*.csv")):
        frame = pd.read_csv(path)
        index = pd.to_datetime(frame[frame.columns[0]], utc=True)
        series[path.stem] = pd.Series(frame["Close"].to_numpy(), index=index)
    closes = pd.DataFrame(series).sort_index()
    closes = closes[(closes.index >= "2013-01-01") & (closes.index < "2014-01-01")]
    candidates = list(combinations(sorted(series), 2))
    found = calibrate(closes, candidates, "XNYS", 86_400)
    assert [(one.leg_a, one.leg_b) for one in found] == candidates
    assert all(one.admitted != bool(one.refused) for one in found)
    for one in found:
        if one.admitted:
            assert one.hedge_ratio > 0
            assert max(one.p_value, one.q_value) <= 0.05
            assert 1 <= one.half_life_s / 86_400 <= one.observations / 10
    assert sum(one.p_value <= 0.05 for one in found) > sum(one.admitted for one in found)


def market(bars: int = 1_500, seed: int = 5) -> pd.DataFrame:
    """Random walks R0 to R5, and A that follows B: A = 1.5 B + 10 + a spread with an AR(1) of 0.9."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2026-11-20 14:30", periods=bars, freq="1min", tz="UTC")
    frame = pd.DataFrame(index=index)
    for number in range(6):
        frame[f"R{number}"] = 100 + np.cumsum(rng.normal(0, 0.05, bars))
    frame["B"] = 50 + np.cumsum(rng.normal(0, 0.05, bars))
    spread = np.zeros(bars)
    for at in range(1, bars):
        spread[at] = 0.9 * spread[at - 1] + rng.normal(0, 0.05)
    frame["A"] = 1.5 * frame["B"] + 10 + spread
    frame["S"] = 30 + spread  # reverts by itself
    frame["AGAINST"] = 200 - frame["B"] + np.roll(spread, 7)
    return frame


def test_a_pair_made_to_order_is_found() -> None:
    """Its hedge ratio, mean, deviation and half-life are those it was made with, within their errors."""
    (one,) = calibrate(market(), [("A", "B")], "XNAS", 60)
    assert one.admitted
    assert one.hedge_ratio == pytest.approx(1.5, abs=0.05)
    assert one.mean == pytest.approx(10 + (1.5 - one.hedge_ratio) * 50, abs=1)
    assert one.deviation == pytest.approx(0.05 / math.sqrt(1 - 0.81), rel=0.2)
    assert one.half_life_s == pytest.approx(60 * math.log(0.5) / math.log(0.9), rel=0.3)
    assert one.johansen_hedge_ratio == pytest.approx(one.hedge_ratio, rel=0.02)
    assert (one.observations, one.coverage) == (1_500, 1.0)
    assert one.ts == pd.Timestamp("2026-11-21 15:30", tz="UTC").value  # behind the last bar


def test_chance_is_not_admitted() -> None:
    """Of 15 pairs of random walks, over many markets, some pass at 5 % by chance, none the correction; the
    pair that is one is found among them all."""
    by_chance = 0
    for seed in range(3):
        frame = market(1_000, seed)
        walks = list(combinations([f"R{number}" for number in range(6)], 2))
        *found, real = calibrate(frame, [*walks, ("A", "B")], "XNAS", 60)
        by_chance += sum(one.p_value <= 0.05 for one in found)
        assert not any(one.admitted for one in found)
        assert real.admitted
    assert by_chance > 0


@pytest.mark.parametrize(
    ("pair", "change", "reason"),
    [
        (("A", "NONE"), {}, "no bars of NONE"),
        (("A", "S"), {}, "S is stationary by itself"),
        (("R0", "R1"), {}, "not cointegrated"),
        (("A", "B"), {"p_value_max": 1e-30}, "not cointegrated"),
        (("AGAINST", "B"), {}, "against each other"),
        (("A", "B"), {"observations_min": 2_000}, "1500 bars in common; 2000 are needed"),
        (("A", "B"), {"half_life_bars_min": 50.0}, "take shorter ones"),
        (("A", "B"), {"half_life_sample_max": 0.001}, "of a sample of 1500"),
        (("A", "B"), {"false_discovery_rate": 1e-30}, "chance"),
        (("B", "B2"), {}, "the same but for a factor"),
        (("A", "FLAT"), {}, "never moved"),
        (("A", "THIN"), {}, "only 50% of the bars"),
    ],
)
def test_what_is_refused_says_why(pair: tuple[str, str], change: dict[str, float], reason: str) -> None:
    """In words, with the number that was too large or too small."""
    frame = market()
    frame["B2"] = 2 * frame["B"]
    frame["FLAT"] = 5.0
    frame["THIN"] = frame["B"].where(np.arange(len(frame)) % 2 == 0)
    (one,) = calibrate(frame, [pair], "XNAS", 60, Limits(**change))  # type: ignore[arg-type]
    assert not one.admitted
    assert reason in one.refused


def test_bars_must_be_there_and_in_order() -> None:
    """Else nothing is said about any pair."""
    with pytest.raises(CalibrationError, match="no bars"):
        calibrate(market().iloc[:0], [("A", "B")], "XNAS", 60)
    with pytest.raises(CalibrationError, match="in order"):
        calibrate(market().iloc[::-1], [("A", "B")], "XNAS", 60)
