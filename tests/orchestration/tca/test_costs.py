"""Costs of orders that were reckoned on paper."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.exchange.profile import ImpactModel
from orchestration.tca import impact
from orchestration.tca.day import cost_of
from orchestration.tca.shortfall import paper_less_real, shortfall
from orchestration.tca.terms import COMPONENTS, Fill, OrderCost, Parent, Skipped
from tests.orchestration.tca.market import T0, S, clock_of, fill_of, parent_of, tape_of
from tickloom.prices import NANOS
from tickloom.records import replace

VALUE = NANOS * NANOS
DAY = (T0 - 10 * S, T0 + 3_600 * S)
#: Mid 100.00 at the signal, 100.02 at the sending, then 100.04, 100.05, and 100.10 when the rest is given up.
QUOTES = [
    (-5, "99.99", "100.01"),
    (0.5, "100.01", "100.03"),
    (2, "100.02", "100.06"),
    (10, "100.03", "100.07"),
    (60, "100.09", "100.11"),
    (200, "100.19", "100.21"),
    (400, "100.29", "100.31"),
]


def cost(parent: Parent, quotes: list[tuple[float, str, str]] | None = None, **market: object) -> OrderCost:
    found = cost_of(parent, tape_of(quotes or QUOTES, **market), DAY, {})  # type: ignore[arg-type]
    assert isinstance(found, OrderCost), found
    return found


def money(value: int) -> float:
    return value / VALUE


def test_a_purchase_on_paper() -> None:
    """1,000 to buy at a mid of 100.00; sent at 100.02. 600 at 100.06 (mid 100.04, fee 1.80), 200 at 100.05
    (mid 100.05, rebate 0.40); 200 given up at 100.10. Delay 20, market 12 + 6, spread 12 + 0, opportunity 16,
    fees 1.40: 67.40 of 100,000, which is 6.74 bps."""
    parent = parent_of(
        "buy", 1_000, [fill_of(3, 600, "100.06", "1.80"), fill_of(20, 200, "100.05", "-0.40", "added")]
    )
    found = cost(parent)
    parts = {part: money(getattr(found.shortfall, part)) for part in COMPONENTS}
    assert parts == {"delay": 20.0, "market": 18.0, "spread": 12.0, "opportunity": 16.0, "fees": 1.4}
    assert money(found.shortfall.total) == 67.4
    assert found.bps(found.shortfall.total) == pytest.approx(6.74)


def test_a_sale_is_the_mirror() -> None:
    """The same order on the other side gains what the purchase lost to the market, and pays spread and fees:
    sold at 100.02 with the mid at 100.04. Delay -20, market -12, spread 12, opportunity (400 left) -32."""
    found = cost(parent_of("sell", 1_000, [fill_of(3, 600, "100.02", "1.80")]))
    parts = {part: money(getattr(found.shortfall, part)) for part in COMPONENTS}
    assert parts == {"delay": -20.0, "market": -12.0, "spread": 12.0, "opportunity": -32.0, "fees": 1.8}


def test_sending_is_by_what_had_been_received() -> None:
    """A quote that the venue sent before, and that reached us after, was not known: the mid is the one
    before. And a filled order ends with its last fill, whenever the agent heard of it."""
    parent = parent_of("buy", 100, [fill_of(3, 100, "100.06")], sent_s=0.5005)
    assert cost(parent).arrival.mid == 100 * NANOS  # the one of 0.5 s came 1 ms later
    assert cost(replace(parent, ts_sent=parent.ts_sent + 1_000_000)).arrival.mid == 100_020_000_000
    assert cost(parent).end.mid == 100_040_000_000


def test_an_order_without_a_signal_has_no_delay() -> None:
    """A slice of a breach plan is decided when it is sent."""
    found = cost(replace(parent_of("sell", 100, [fill_of(3, 100, "100.02")]), ts_signal=0))
    assert found.shortfall.delay == 0
    assert found.decision == found.arrival


def test_nothing_filled_costs_what_was_missed() -> None:
    """100 to buy, sent at 100.02, given up at 100.10: 8, and 2 for the delay; no spread, no benchmark."""
    found = cost(parent_of("buy", 100, []))
    assert money(found.shortfall.total) == pytest.approx(10.0)
    assert money(found.shortfall.opportunity) == pytest.approx(8.0)
    assert found.against(found.vwap) is None
    assert found.impact_bps is None


def test_spreads_and_capture_of_a_fill() -> None:
    """Bid 100.02, ask 100.06: bought at 100.05 is 0.01 above the mid, so an effective spread of 0.02 of a
    quoted 0.04, and a quarter of it was kept; after 5 min the mid is 100.20, so realised -0.30."""
    (fill,) = cost(parent_of("buy", 100, [fill_of(3, 100, "100.05")])).fills
    mid = 100.04
    assert fill.effective_bps == pytest.approx(0.02 / mid * 1e4)
    assert fill.quoted_bps == pytest.approx(0.04 / mid * 1e4)
    assert fill.capture == pytest.approx(0.25)
    assert fill.realised_bps == pytest.approx(2 * (100.05 - 100.20) / mid * 1e4)


@pytest.mark.parametrize(("side", "price", "capture"), [("sell", "100.02", 0.0), ("sell", "100.06", 1.0)])
def test_capture_is_nothing_at_the_far_touch_and_all_at_the_near(
    side: str, price: str, capture: float
) -> None:
    """A sale at the bid earned nothing of the spread, one at the offer all of it."""
    (fill,) = cost(parent_of(side, 100, [fill_of(3, 100, price)])).fills
    assert fill.capture == pytest.approx(capture)


def test_markouts_by_hand() -> None:
    """Bought at 100.05 after 3 s: the mid is 100.04 after 4 s, 100.05 after 13 s, 100.10 after 63 s, and
    after 303 s 100.20."""
    (fill,) = cost(parent_of("buy", 100, [fill_of(3, 100, "100.05")])).fills
    gone = {1: -0.01, 10: 0.0, 60: 0.05, 300: 0.15}
    assert fill.markouts_bps == pytest.approx({h: move / 100.05 * 1e4 for h, move in gone.items()})


def test_behind_the_days_end_nothing_is_known() -> None:
    """The last quote does not stand for ever: with the venue silent from 100 s on, five minutes later is
    NULL."""
    parent = parent_of("buy", 100, [fill_of(3, 100, "100.05")], ended_s=4)
    (fill,) = cost(parent, last_s=100).fills
    assert fill.markouts_bps[300] is None
    assert fill.realised_bps is None
    assert fill.markouts_bps[60] is not None


def test_vwap_is_that_of_the_interval() -> None:
    """Between the sending's quote (0.5 s) and the last fill (20 s): 100 at 100.04 and 300 at 100.08, so
    100.07. Trades outside, and reports of broken ones, do not count; the day has them all but the broken."""
    trades = [(0.4, "90", 500), (3, "100.04", 100), (20, "100.08", 300), (30, "110", 100)]
    parent = parent_of("buy", 100, [fill_of(20, 100, "100.10")])
    found = cost(parent, trades=trades)
    assert found.vwap == 100_070_000_000
    assert found.interval_volume == 400 * NANOS
    assert found.close == 110 * NANOS
    day = (90 * 500 + 100.04 * 100 + 100.08 * 300 + 110 * 100) / 1_000
    assert found.day_vwap == round(day * NANOS)
    assert found.against(found.vwap) == pytest.approx(0.03 / 100.07 * 1e4)


def test_a_quiet_instrument_has_the_venues_time() -> None:
    """Sent 200 s after its last quote: nothing of before the sending counts in its VWAP, though the mid is
    that of the quote. Without the venue's clock the quote's own time is all there is."""
    trades = [(50, "90", 500), (211, "100.04", 100)]
    parent = parent_of("buy", 200, [fill_of(211, 100, "100.06")], sent_s=210, ended_s=220)
    quotes = [(-5, "99.99", "100.01")]
    market = tape_of(quotes, trades)
    found = cost_of(parent, market, DAY, {}, clock=clock_of(400))
    assert isinstance(found, OrderCost)
    assert ((found.sent_ns - T0) // S, (found.end_ns - T0) // S) == (210, 220)
    assert found.vwap == 100_040_000_000
    assert not found.fills[0].early
    without = cost_of(parent, market, DAY, {})
    assert isinstance(without, OrderCost)
    assert without.interval_volume == 600 * NANOS


def test_fills_before_the_sending_are_said() -> None:
    """A venue whose feed lags stamps fills before the order came: the sum holds, and the fill is marked."""
    parent = parent_of("buy", 100, [fill_of(-1, 100, "100.01")])
    found = cost(parent)
    assert [one.early for one in found.fills] == [True]
    assert found.shortfall.total == paper_less_real(parent, found.decision.mid, found.end.mid)


@pytest.mark.parametrize(
    ("quotes", "why"),
    [
        ([(50, "99.99", "100.01")], "had been received when it was sent"),
        ([(0.2, "99.99", "100.01")], "at the time of its signal"),
        ([(-5, "99.99", "100.01"), (2, "", "100.01"), (50, "100.01", "100.03")], "at fill"),
        ([(-5, "99.99", "100.01"), (50, "100.03", "100.01")], "when it had ended"),
    ],
)
def test_an_order_without_a_market_is_skipped_with_the_reason(
    quotes: list[tuple[float, str, str]], why: str
) -> None:
    """A side that is missing, a crossed book, no quote yet: no number is made up."""
    found = cost_of(parent_of("buy", 200, [fill_of(3, 100, "100.05")]), tape_of(quotes), DAY, {})
    assert isinstance(found, Skipped)
    assert why in found.why


_PRICES = st.integers(1, 10**15)
_FILLS = st.lists(
    st.tuples(_PRICES, st.integers(1, 10**14), st.integers(-(10**12), 10**12), _PRICES), max_size=6
)


@given(st.sampled_from(["buy", "sell"]), st.integers(1, 10**15), _PRICES, _PRICES, _PRICES, _FILLS)
def test_components_add_up_to_the_unit(
    side: str,
    quantity: int,
    decision: int,
    arrival: int,
    end: int,
    fills: list[tuple[int, int, int, int]],
) -> None:
    """Whatever prices, quantities and fees, overfills too: the parts sum to the paper portfolio less the real
    one, with no rounding anywhere."""
    made = tuple(
        Fill(str(n), "", "X", price, size, fee, "", 0, 0) for n, (price, size, fee, _) in enumerate(fills)
    )
    parent = replace(parent_of(side, 1, made), quantity=quantity)
    found = shortfall(parent, decision, arrival, end, [mid for *_, mid in fills])
    assert sum(getattr(found, part) for part in COMPONENTS) == paper_less_real(parent, decision, end)
    other = replace(parent, side="sell" if side == "buy" else "buy")
    mirrored = shortfall(other, decision, arrival, end, [mid for *_, mid in fills])
    assert mirrored.total - mirrored.fees == -(found.total - found.fees)


class TestImpact:
    """Measured impact, and the exchange's model of it."""

    def test_measured_is_what_is_beyond_half_the_spread(self) -> None:
        """Sent at 100.02; bought 100 at 100.08 with 100.02 to 100.06: 0.06 paid, 0.02 of it half the spread,
        so 0.04 of impact: mid's move 0.02 and 0.02 beyond the touch."""
        found = cost(parent_of("buy", 100, [fill_of(3, 100, "100.08")]))
        assert found.impact_bps == pytest.approx(0.04 / 100.02 * 1e4)

    def test_a_maker_earned_its_half(self) -> None:
        """Bought at the bid by waiting: the price is the mid less half the spread, so only the mid's move is
        left."""
        found = cost(parent_of("buy", 100, [fill_of(3, 100, "100.02", liquidity="added")]))
        assert found.impact_bps == pytest.approx(0.02 / 100.02 * 1e4)

    def test_a_midpoint_fill_has_no_toll(self) -> None:
        """In a dark pool nobody pays half the spread, whatever the report calls it."""
        found = cost(parent_of("buy", 100, [fill_of(3, 100, "100.04", destination="DARK")]))
        assert found.impact_bps == pytest.approx(0.02 / 100.02 * 1e4)

    def test_the_model_by_hand(self) -> None:
        """1 % of a day's volume at 200 bps a day: the square root gives 20 bps, the linear part 2 * 0.5."""
        model = ImpactModel(1.0, 0.5, 200.0, 1_000_000 * NANOS)
        assert impact.expected_bps(model, 10_000 * NANOS) == pytest.approx(200 * 0.1 + 200 * 0.5 * 0.01)

    def test_each_destination_has_its_model(self) -> None:
        """Half of it where the model says 20 bps, half where none is declared and the usual one says 10."""
        parent = parent_of(
            "buy",
            200,
            [fill_of(3, 100, "100.06", destination="A"), fill_of(3, 100, "100.06", destination="B")],
        )
        market = tape_of(QUOTES)
        models = {"A": ImpactModel(1.0, 0.0, 200.0, 10_000 * NANOS)}
        found = cost_of(parent, market, DAY, models)
        assert isinstance(found, OrderCost)
        usual = ImpactModel(1.0, 0.0, 100.0, 10_000 * NANOS)
        assert impact.of_order(found.fills, models, usual) == pytest.approx((20 + 10) / 2)

    def test_the_fit_finds_the_coefficient(self) -> None:
        """Points on a line through the origin give its slope and no error; with noise of +1 and -1 on (1, 1),
        (1, 1) the slope is 1 and the error sqrt(2 / 1 / 2) = 1."""
        assert impact.fit([(1, 3), (2, 6), (4, 12)]) == impact.Fit(3.0, 0.0, 3)
        assert impact.fit([(1, 2), (1, 0)]) == impact.Fit(1.0, 1.0, 2)
        assert math.isnan(impact.fit([(1, 2)]).coefficient)
