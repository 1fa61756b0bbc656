"""Sums of costs and the pictures of them, on paper."""

from __future__ import annotations

import re

import pytest

from orchestration.tca import charts, groups
from orchestration.tca.day import cost_of
from orchestration.tca.terms import OrderCost
from tests.orchestration.tca.market import T0, S, clock_of, fill_of, parent_of, tape_of

QUOTES = [(0, "99.99", "100.01"), (3_000, "199.99", "200.01")]


def cost(side: str, quantity: int, second: float, price: str, destination: str = "XNAS") -> OrderCost:
    fills = [fill_of(second + 1, quantity, price, "1", "removed", destination)]
    parent = parent_of(side, quantity, fills, second, second + 0.5)
    found = cost_of(parent, tape_of(QUOTES), (T0, T0 + 3_600 * S), {}, clock=clock_of(3_600))
    assert isinstance(found, OrderCost), found
    return found


def test_basis_points_are_weighted_by_notional() -> None:
    """100 at a mid of 100 for 2 (1 of spread, 1 of fees), and 100 at a mid of 200 for 4: 6 of 30,000 is 2
    bps, not the mean of 2 and 2 by chance: spread alone is 4 of 30,000."""
    orders = [cost("buy", 100, 10, "100.01"), cost("buy", 100, 3_100, "200.03")]
    found = groups.order_group("all", orders)
    assert (found.orders, found.notional, found.shortfall) == (2, 30_000, pytest.approx(6))
    assert found.bps(found.components["spread"]) == pytest.approx(4 / 30_000 * 1e4)
    assert found.fill_share == 1.0


def test_destinations_are_told_apart() -> None:
    """Each with its executions and fees; effective spreads are weighted by what was traded."""
    orders = [
        cost("buy", 100, 10, "100.01", "A"),
        cost("buy", 300, 20, "100.03", "A"),
        cost("sell", 1, 30, "100", "B"),
    ]
    first, second = groups.by_destination(orders)
    assert (first.name, first.executions, first.fees) == ("A", 2, 2.0)
    weighted = (0.02 * 100 * 100.01 + 0.06 * 300 * 100.03) / (100 * 100.01 + 300 * 100.03) / 100 * 1e4
    assert first.effective_bps == pytest.approx(weighted)
    assert (second.name, second.effective_bps) == ("B", pytest.approx(0.0))


def test_times_of_day_are_the_venues() -> None:
    """14:30 UTC on a day of September is 10:30 in New York; buckets are as wide as keeps them few."""
    orders = [cost("buy", 1, 10, "100.01"), cost("buy", 1, 70, "100.01"), cost("buy", 1, 130, "100.01")]
    assert [group.name for group in groups.by_time(orders, "America/New_York")] == ["10:30", "10:31", "10:32"]
    orders.append(cost("buy", 1, 3_100, "200.01"))  # 51 minutes later
    assert [group.name for group in groups.by_time(orders, "UTC")] == ["14:30", "15:20"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (-3.0, 7.0, [-4, -2, 0, 2, 4, 6, 8]),
        (0.0, 0.9, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (5.0, 5.0, [4, 4.5, 5, 5.5, 6]),
    ],
)
def test_ticks_are_round_and_span_the_values(low: float, high: float, expected: list[float]) -> None:
    """1, 2 or 5 times a power of ten apart."""
    assert charts.ticks_of(low, high) == pytest.approx(expected)


def test_bars_are_as_long_as_their_values() -> None:
    """Costs go right from zero, gains left, one after the other; the dot is at the sum."""
    picture = charts.stacked_bars({"rule": {"a": 4.0, "b": -2.0, "c": 6.0}}, ("a", "b", "c"), "bps")
    found = re.findall(r'<rect class="s(\d)" x="([\d.]+)" y="\d+" width="([\d.]+)"', picture)
    bars = {int(part): (float(x), float(width)) for part, x, width in found}
    (a_left, a_width), (b_left, b_width), (c_left, c_width) = bars[0], bars[1], bars[2]
    assert b_left + b_width == pytest.approx(a_left, abs=0.15)  # zero
    assert a_left + a_width == pytest.approx(c_left, abs=0.15)
    assert (a_width / b_width, c_width / b_width) == (pytest.approx(2, abs=0.01), pytest.approx(3, abs=0.01))
    dot = float(re.findall(r'<circle class="dot" cx="([\d.]+)"', picture)[0])
    assert dot == pytest.approx(a_left + 2 * a_width, abs=0.2)


def test_nothing_known_makes_a_picture_all_the_same() -> None:
    """A destination without a single markout, one order, no order: no division by zero."""
    assert "<svg" in charts.curves({"X": {"1 s": None}}, "bps")
    assert "<svg" in charts.histogram([0.0], "bps")
    assert "<svg" in charts.scatter([(0.0, 0.0, "x")], float("nan"), ("a", "b"))
    assert groups.by_time([], "UTC") == []
    assert groups.order_group("none", []).bps(1.0) == 0.0
