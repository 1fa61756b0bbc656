"""What own orders teach: fill ratios, latency, rejects; and what is remembered of books."""

from __future__ import annotations

import numpy as np
import pytest

from execution.market import MarketState
from execution.orders import OrderRecord
from execution.router import Slice
from execution.router.books import DepthState, MarketBooks
from execution.router.experience import SAMPLE_NS_MAX, Experience, Latency, Ratio
from execution.router.memory import Aims
from execution.venues import Report, ReportType
from tests.execution.exchange.feed import Market
from tests.execution.router.world import CENT, DARK, DESTINATIONS, LIT, NOW, child_of, parent, settings
from tickloom.clock import NS_PER_MS
from tickloom.codec import TickBatch
from tickloom.events import GAP_DTYPE, EventBlock, GapReason, OrderState, Side, SymbolTable
from tickloom.prices import NANOS
from tickloom.records import replace

XNAS = LIT[0]


@pytest.fixture
def experience() -> Experience:
    return Experience(settings(), DESTINATIONS)


def child(shares: int = 100, **changes: object) -> OrderRecord:
    """An IOC order of a parent at XNAS."""
    made = child_of(parent(), Slice("XNAS", shares * NANOS, 100_00 * CENT), 0, NOW)
    return replace(made, **changes)  # type: ignore[arg-type]


def told(order: OrderRecord, kind: ReportType, filled: int = 0) -> Report:
    """A report of it."""
    return Report(
        kind, order.order_id, order.sent_to, order.symbol, order.side, OrderState.NEW, filled * NANOS
    )


def test_a_ratio_starts_at_its_prior_and_moves_with_what_it_sees() -> None:
    """Prior 0.95 of 8 orders; two without a fill: 7.6 of 10."""
    ratio = Ratio(0.95, 8.0, 1.0)
    assert ratio.mean == pytest.approx(0.95)
    ratio.add(0.0)
    ratio.add(0.0)
    assert ratio.mean == pytest.approx(7.6 / 10)


def test_a_ratio_forgets() -> None:
    """With a half life of one order, the second trial counts twice as much as the first."""
    ratio = Ratio(0.5, 1e-9, 0.5)
    ratio.add(0.0)
    ratio.add(1.0)
    assert ratio.mean == pytest.approx(1 / 1.5)


def test_latency_is_smoothed_as_rfc_6298_does() -> None:
    """A first sample R sets mean R and deviation R/2; then gains of 1/8 and 1/4, the deviation first."""
    latency = Latency(1.0)
    latency.add(800)
    assert (latency.mean_ns, latency.deviation_ns) == (800, 400)
    latency.add(1_600)
    assert (latency.mean_ns, latency.deviation_ns) == (900, 500)


def test_only_the_first_answer_is_a_sample(experience: Experience) -> None:
    """An acknowledgement after 4 ms, a fill after a second of rest: the round trip is 4 ms."""
    order = child()
    experience.on_report(order, told(order, ReportType.NEW), NOW + 4 * NS_PER_MS)
    experience.on_report(order, told(order, ReportType.TRADE, 10), NOW + 900 * NS_PER_MS)
    known = experience.of(XNAS)
    assert (known.round_trip.mean_ns, known.round_trip.samples) == (4 * NS_PER_MS, 1)
    assert known.one_way_ns == 2 * NS_PER_MS


@pytest.mark.parametrize(("late_ns", "samples"), [(0, 1), (1, 0)])
def test_an_outage_is_no_latency(experience: Experience, late_ns: int, samples: int) -> None:
    """An answer after a second is a sample, one a nanosecond later is none."""
    order = child()
    experience.on_report(order, told(order, ReportType.NEW), NOW + SAMPLE_NS_MAX + late_ns)
    assert experience.of(XNAS).round_trip.samples == samples


def test_a_fill_is_judged_by_what_was_displayed(experience: Experience) -> None:
    """100 asked, 60 displayed, 80 came: all that was displayed, and half of what was beyond it."""
    experience.aimed("PARENT", "XNAS", 60 * NANOS)
    order = child()
    experience.on_report(order, told(order, ReportType.TRADE, 80), NOW + 1)
    experience.on_report(order, told(order, ReportType.CANCELLED, 80), NOW + 2)
    known = experience.of(XNAS)
    assert (known.fill.hits, known.fill.misses) == (1.0, 0.0)
    assert (known.hidden.hits, known.hidden.misses) == (0.5, 0.5)


def test_nothing_is_learnt_of_hidden_size_where_the_displayed_was_not_there(experience: Experience) -> None:
    """30 of 60 displayed: half, and no word on the rest."""
    experience.aimed("PARENT", "XNAS", 60 * NANOS)
    order = child()
    experience.on_report(order, told(order, ReportType.CANCELLED, 30), NOW + 1)
    known = experience.of(XNAS)
    assert (known.fill.hits, known.fill.misses) == (0.5, 0.5)
    assert known.hidden.hits + known.hidden.misses == 0


def test_posts_and_pings_have_ratios_of_their_own(experience: Experience) -> None:
    """A post that fills half and a ping that fills nothing leave the sweeps' ratios alone."""
    post = child(time_in_force="day")
    experience.on_report(post, told(post, ReportType.CANCELLED, 50), NOW + 1)
    ping = child(destination="DARK", order_id="PING", order_type="midpoint")
    experience.on_report(ping, told(ping, ReportType.CANCELLED, 0), NOW + 1)
    assert experience.of(XNAS).post.hits == 0.5
    assert experience.of(XNAS).fill.hits == 0
    assert experience.of(DARK).fill.misses == 1


def test_the_journal_teaches_after_a_restart(experience: Experience) -> None:
    """Orders that ended count; what is open, rejected or no child of a parent does not."""
    done = child(state=OrderState.CANCELLED, filled_quantity=25 * NANOS)
    others = [replace(done, parent_id=""), child(), replace(done, state=OrderState.REJECTED)]
    experience.recover([done, *others])
    known = experience.of(XNAS)
    assert (known.fill.hits, known.fill.misses) == (0.25, 0.75)


def test_what_was_aimed_at_is_gone_until_a_newer_quote_or_for_a_while() -> None:
    """30 of 50 aimed at: 20 are left until a quote a round trip later, or for the second that it counts."""
    levels = ((100, 50), (101, 40))
    aims = Aims(1_000)
    aims.aim("X", "S", "buy", 30, 10_000, 100)
    assert aims.left("X", "S", "buy", levels, 10_050, 10_060) == ((100, 20), (101, 40))
    assert aims.left("X", "S", "sell", levels, 10_050, 10_060) == levels
    assert aims.left("X", "S", "buy", levels, 10_100, 10_110) == ((100, 20), (101, 40))
    assert aims.left("X", "S", "buy", levels, 10_101, 10_110) == levels
    aims.aim("X", "S", "buy", 60, 10_000, 100)
    assert aims.left("X", "S", "buy", levels, 0, 10_999) == ((101, 30),)
    assert aims.left("X", "S", "buy", levels, 0, 11_000) == levels


def test_what_came_back_empty_is_empty_up_to_its_limit() -> None:
    """Nothing is left at 100 and better, whatever the book shows; what is behind is."""
    aims = Aims(1_000)
    aims.aim("X", "S", "buy", 0, 10_000, 100, empty_to=100)
    assert aims.left("X", "S", "buy", ((99, 5), (100, 50), (101, 40)), 10_000, 10_001) == ((101, 40),)
    aims.aim("X", "S", "sell", 0, 10_000, 100, empty_to=100)
    assert aims.left("X", "S", "sell", ((101, 5), (100, 50), (99, 40)), 10_000, 10_001) == ((99, 40),)


class _Feed:
    """Stands where an exchange's core would, and hands each block to the market state and the depth."""

    def __init__(self) -> None:
        self.market, self.depth, self.blocks = MarketState(), DepthState(), 0

    def apply(self, block: EventBlock, _: int) -> None:
        self.blocks += 1
        batch = TickBatch(0, self.blocks, self.blocks, NOW, block)
        self.market.apply(batch, NOW)
        self.depth.apply(batch)


def test_depth_stands_behind_the_best_of_the_newest_quote() -> None:
    """Levels come in any order with the quotes: what is better than the quote is old and not shown."""
    feed = _Feed()
    market = Market(feed)  # type: ignore[arg-type]
    for cents, shares in ((100_03, 40), (100_01, 9), (100_04, 70)):
        market.level(Side.SELL, cents, shares)
    market.level(Side.BUY, 99_98, 60)
    market.quote(100_00, 50, 100_02, 30)
    books = MarketBooks(feed.market, feed.depth)
    view = books(XNAS, "ALFA")
    assert view is not None
    assert [(price // CENT, size // NANOS) for price, size in view.asks] == [
        (100_02, 30),
        (100_03, 40),
        (100_04, 70),
    ]
    assert [(price // CENT, size // NANOS) for price, size in view.bids] == [(100_00, 50), (99_98, 60)]
    assert view.mid == 100_01 * CENT
    market.level(Side.SELL, 100_03, 0)
    market.level(Side.SELL, 100_04, 75, seq=3)  # of an older message than what is known
    again = books(XNAS, "ALFA")
    assert again is not None
    assert [size // NANOS for _, size in again.asks] == [30, 75]
    assert books(LIT[1], "ALFA") is None


def test_a_gap_or_a_new_session_loses_the_depth() -> None:
    """Only the quote is left, until levels are told again."""
    feed = _Feed()
    market = Market(feed)  # type: ignore[arg-type]
    market.level(Side.SELL, 100_03, 40)
    market.quote(100_00, 50, 100_02, 30)
    market.session = "20261122.A"
    market.quote(100_00, 50, 100_02, 30)
    view = MarketBooks(feed.market, feed.depth)(XNAS, "ALFA")
    assert view is not None
    assert len(view.asks) == 1
    market.level(Side.SELL, 100_03, 40)
    assert feed.depth.behind("XNAS", "ALFA", 0, 100_02 * CENT)[1]
    gap = np.array([(NOW, NOW, 99, 0, 90, 98, GapReason.SEQUENCE)], dtype=GAP_DTYPE)
    feed.apply(EventBlock("XNAS", market.session, SymbolTable(), gaps=gap), 0)
    assert feed.depth.behind("XNAS", "ALFA", 0, 100_02 * CENT) == ((), ())
