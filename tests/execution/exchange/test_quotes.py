"""A venue's best bid and offer as tick batches: what is told, and that a reader has the book's top."""

from __future__ import annotations

from execution.exchange.matching import MatchingEngine
from execution.exchange.profile import VenueProfile
from execution.exchange.quotes import QuoteWriter, best
from execution.exchange.requests import DAY, IOC, CancelRequest, NewOrder
from execution.market import MarketState
from tests.execution.exchange.feed import CENT, REGISTRY, Market
from tickloom import codec, topics
from tickloom.events import StatusCode
from tickloom.prices import NANOS, NO_PRICE

PARTITIONS, NOW = 2, 1_795_132_800_000_000_000
SHARD = topics.shard("ALFA", PARTITIONS)


class Reader:
    """An exchange with a venue of half the size that is a tick wider, and the agent's market state."""

    def __init__(self) -> None:
        profile = VenueProfile("XTWO", feed="XNAS", displayed_share=0.5, widen_ticks=1)
        self.engine = MatchingEngine(REGISTRY, [], 0, {"XTWO": profile})
        self.market, self.state, self.now_ns = Market(self.engine), MarketState(), NOW
        self.writer = QuoteWriter(self.engine.markets, "XTWO", "nyc", PARTITIONS, NOW)
        self.engine.go_live(NOW)

    def step(self) -> int:
        """How many batches the last changes made; the state has them."""
        self.now_ns += 1_000
        changed = [symbol for _, symbol in self.engine.markets.take_changed()]
        batches = self.writer.step([*changed, "ALFA"], self.now_ns)
        for batch in batches:
            self.state.apply(codec.decode(codec.encode(batch)), self.now_ns)
        return len(batches)

    def top(self) -> tuple[int, int, int, int]:
        """Bid, its shares, offer, its shares; prices in cents."""
        view = self.state.view("XTWO", "ALFA")
        assert view is not None
        prices = [NO_PRICE if one == NO_PRICE else one // CENT for one in (view.bid_price, view.ask_price)]
        return prices[0], view.bid_size // NANOS, prices[1], view.ask_size // NANOS

    def order(self, order_id: str, side: str, cents: int, shares: int, life: str = DAY) -> None:
        request = NewOrder(order_id, "XTWO", "ALFA", side, shares * NANOS, cents * CENT, life)
        self.engine.submit("ME", request, NOW)


def test_a_change_of_the_top_is_told_and_nothing_else() -> None:
    """100 at 100.00 and 200 at 100.02 are 50 at 99.99 and 100 at 100.03 here; a trade at the top moves
    nothing that is displayed, so nothing is said; heartbeats are empty."""
    reader = Reader()
    reader.market.quote(10_000, 100, 10_002, 200)
    assert reader.step() == 1
    assert reader.top() == (9_999, 50, 10_003, 100)
    assert reader.step() == 0
    reader.market.quote(10_000, 100, 10_002, 200)
    assert reader.step() == 0
    beat = reader.writer.heartbeat(SHARD, reader.now_ns)
    assert len(beat.block) == 0
    assert beat.watermark > 0


def test_what_we_take_and_what_we_rest_is_in_it() -> None:
    """An order that takes 30 leaves 70; one that rests inside the spread is the new best; it is gone with
    its cancel. Numbers only rise."""
    reader = Reader()
    reader.market.quote(10_000, 100, 10_002, 200)
    reader.step()
    reader.order("TAKES", "buy", 10_003, 30, IOC)
    assert reader.step() == 1
    assert reader.top() == (9_999, 50, 10_003, 70)
    reader.order("RESTS", "sell", 10_001, 7)
    reader.step()
    assert reader.top() == (9_999, 50, 10_001, 7)
    view = reader.state.view("XTWO", "ALFA")
    reader.engine.cancel(CancelRequest("RESTS", "XTWO", "ALFA", "sell"), NOW)
    reader.step()
    assert reader.top() == (9_999, 50, 10_003, 70)
    after = reader.state.view("XTWO", "ALFA")
    assert view is not None
    assert after is not None
    assert after.seq > view.seq


def test_a_halt_at_the_venue_is_seen() -> None:
    """Of the exchange's own, and of the feed's; trading goes on with its end."""
    reader = Reader()
    reader.market.quote(10_000, 100, 10_002, 200)
    reader.step()
    reader.engine.halt("XTWO", "ALFA", "on demand")
    reader.step()
    view = reader.state.view("XTWO", "ALFA")
    assert view is not None
    assert view.halted == "halted"
    reader.engine.resume("XTWO", "ALFA", NOW)
    reader.market.status(StatusCode.TRADING)
    reader.step()
    view = reader.state.view("XTWO", "ALFA")
    assert view is not None
    assert view.halted == ""


def test_a_restarted_exchange_goes_on_above_its_old_numbers() -> None:
    """Nothing is kept: the clock's numbers are above all that an earlier process gave."""
    reader = Reader()
    reader.market.quote(10_000, 100, 10_002, 200)
    reader.step()
    reborn = QuoteWriter(reader.engine.markets, "XTWO", "nyc", PARTITIONS, NOW + 10**9)
    reader.market.quote(10_001, 100, 10_002, 200)
    (batch,) = reborn.step(["ALFA"], NOW + 10**9)
    reader.state.apply(batch, NOW)
    assert reader.top()[0] == 10_000


def test_what_could_not_be_sent_is_told_again() -> None:
    """A batch that is forgotten is made once more."""
    reader = Reader()
    reader.market.quote(10_000, 100, 10_002, 200)
    (batch,) = reader.writer.step(["ALFA"], NOW)
    reader.writer.forget(batch)
    (again,) = reader.writer.step(["ALFA"], NOW)
    assert again.block.quotes["bid_price"].tolist() == batch.block.quotes["bid_price"].tolist()


def test_top_of_an_empty_book() -> None:
    """No price, no size."""
    reader = Reader()
    assert best(reader.engine.markets, "XTWO", "ALFA") == (NO_PRICE, 0, NO_PRICE, 0)
