"""The synthetic market as a trader would judge it: pairs, bursts, rates, and the calibrated constants."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.synthetic.market import Session, SessionTruth, make_session
from ingest.synthetic.parameters import MarketParameters, pair_parameters
from ingest.synthetic.paths import STEP_NS, make_plan

DEFAULT = MarketParameters()


@pytest.fixture(scope="module")
def session() -> Session:
    return make_session(DEFAULT)


def spread_scores(session: Session, symbol: str) -> np.ndarray:
    """Deviations of a pair's spread from its mean every 50 ms, from the mids of a naive book."""
    pair = next(p for p in pair_parameters() if p.symbol == symbol)
    names = [item.symbol for item in session.parameters.stocks]
    opening = session.parameters.open_ns - session.parameters.midnight_ns
    grid = opening + np.arange(0, int(session.parameters.duration_s * 1e9), 50_000_000)
    mid_a, mid_b = (mids(session.flow, names.index(leg), grid) for leg in (pair.leg_a, pair.leg_b))
    return (mid_a - pair.hedge_ratio * mid_b - pair.mean) / pair.deviation


def mids(flow: np.ndarray, stock: int, grid: np.ndarray) -> np.ndarray:
    """Mid prices in dollars at the times of ``grid``, out of a stock's own messages."""
    orders: dict[int, list[int]] = {}
    levels: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def change(ref: int, shares: int) -> None:
        side, left, price = orders.pop(ref)
        levels[side][price] -= shares
        if not levels[side][price]:
            del levels[side][price]
        if left > shares:
            orders[ref] = [side, left - shares, price]

    def add(ref: int, side: int, shares: int, price: int) -> None:
        orders[ref] = [side, shares, price]
        levels[side][price] = levels[side].get(price, 0) + shares

    times, found = [], []
    for ts, ref, new_ref, _, shares, price, _, kind, side, _ in flow[flow["stock"] == stock].tolist():
        match chr(kind):
            case "A" | "F":
                add(ref, side, shares, price)
            case "U":
                side = orders[ref][0]
                change(ref, orders[ref][1])
                add(new_ref, side, shares, price)
            case "D":
                change(ref, orders[ref][1])
            case "E" | "C" | "X":
                change(ref, shares)
        if levels[0] and levels[1]:
            times.append(ts)
            found.append((max(levels[0]) + min(levels[1])) / 20_000)
    return np.array(found)[np.searchsorted(times, grid, side="right") - 1]


def test_pair_constants_are_the_registry_s_reference_prices() -> None:
    """152.40 - 1.2 x 118.75 = 9.90 and 210.10 - 1.05 x 188.35 = 12.3325; deviations are 0.20."""
    found = {p.symbol: (p.hedge_ratio, p.mean, p.deviation) for p in pair_parameters()}
    assert found == {"ALFA~BRVO": (1.2, 9.90, 0.20), "ECHO~FXTR": (1.05, 12.3325, 0.20)}


@pytest.mark.parametrize("symbol", ["ALFA~BRVO", "ECHO~FXTR"])
def test_quoted_spread_reverts_around_its_constants(session: Session, symbol: str) -> None:
    """The spread of the quoted mids has about the mean and deviation it was made with, and leaves and
    comes back to the band of 2.5 deviations several times.
    """
    scores = spread_scores(session, symbol)
    assert abs(scores.mean()) < 0.5
    assert 0.8 < scores.std() < 1.25
    outside, excursions = False, 0
    for score in np.abs(scores):
        excursions += not outside and score > 2.5
        outside = score > 2.5 or (outside and score >= 1.5)
    assert 4 <= excursions <= 12
    assert abs(excursions - session.truth.pair_excursions[symbol]) <= 1


@pytest.mark.parametrize("duration_s", [5.0, 20.0, 60.0])
@pytest.mark.parametrize("seed", range(5))
def test_short_sessions_have_what_rules_need(duration_s: float, seed: int) -> None:
    """However short, a session has an excursion of each pair and a burst."""
    truth = make_session(MarketParameters(seed=seed, duration_s=duration_s)).truth
    assert min(truth.pair_excursions.values()) >= 1
    assert truth.bursts


def test_bursts_are_trades_of_one_side_that_move_the_price(session: Session) -> None:
    """In each burst at least six of its stock's trades have its aggressor, the last 3 ticks further on."""
    flow, names = session.flow, [item.symbol for item in session.parameters.stocks]
    executed = flow[flow["kind"] == ord("E")]
    resting = {row["ref"]: row for row in flow[np.isin(flow["kind"], list(b"AF"))]}
    resting |= {row["new_ref"]: row for row in flow[flow["kind"] == ord("U")]}
    for burst in session.truth.bursts:
        first, last = (burst[key] - DEFAULT.midnight_ns for key in ("first_ts", "last_ts"))
        hits = executed[
            (executed["stock"] == names.index(burst["symbol"]))
            & (executed["ts"] >= first)
            & (executed["ts"] <= last + 1_000_000)
        ]
        aggressor, hit_side = (1, 1) if burst["side"] == "buy" else (-1, 0)
        orders = [resting[row["ref"]] for row in hits]
        prices = [int(order["price"]) for order in orders if order["side"] == hit_side]
        assert len(prices) >= 6
        assert (prices[-1] - prices[0]) * aggressor >= 300


def test_rate_and_duration_scale() -> None:
    """1,000 to 2,000 messages a market second at intensity 1, and in proportion at others."""
    for duration_s, intensity in ((20.0, 1.0), (60.0, 1.0), (10.0, 5.0)):
        truth = make_session(MarketParameters(duration_s=duration_s, intensity=intensity)).truth
        assert 1_000 < truth.messages_total / duration_s / intensity < 2_000


def test_truth_survives_its_file(session: Session, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """What is saved is what is loaded, and it says that it is synthetic."""
    path = tmp_path / "deep" / "truth.json"
    session.truth.save(path)
    assert SessionTruth.load(path) == session.truth
    assert '"synthetic": true' in path.read_text()


def test_plan_covers_the_session() -> None:
    """Fair values reach to the end, planned events lie within, and no leg of a pair is swept."""
    plan = make_plan(DEFAULT, np.random.default_rng(1))
    opening = DEFAULT.open_ns - DEFAULT.midnight_ns
    assert len(plan.fair) * STEP_NS >= DEFAULT.duration_s * 1e9
    assert (plan.events["ts"] >= opening).all()
    assert (plan.events["ts"] < opening + DEFAULT.duration_s * 1e9).all()
    assert (np.diff(plan.events["ts"]) >= 0).all()
    legs = {name for p in pair_parameters() for name in (p.leg_a, p.leg_b)}
    assert not legs & {DEFAULT.stocks[burst.stock].symbol for burst in plan.bursts}


@pytest.mark.parametrize("changes", [{"duration_s": 0.0}, {"duration_s": 30_000.0}, {"intensity": 0.0}])
def test_nonsense_is_refused(changes: dict[str, float]) -> None:
    """A session without length, longer than a trading day, or without activity is refused by name."""
    with pytest.raises(ValueError, match=next(iter(changes))):
        MarketParameters(**changes)
