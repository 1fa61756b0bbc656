"""What the agent knows of a market, and when it trusts it."""

from __future__ import annotations

import itertools
from datetime import date

import numpy as np
import pytest

from execution.market import MarketState
from tickloom import trust_codec
from tickloom.codec import TickBatch
from tickloom.events import (
    GAP_DTYPE,
    QUOTE_DTYPE,
    STATUS_DTYPE,
    TRUST_DTYPE,
    EventBlock,
    GapReason,
    StatusCode,
    SymbolTable,
    TrustReason,
    TrustState,
    make_seq,
)
from tickloom.prices import NANOS, NO_PRICE

BID, ASK = 99 * NANOS, 101 * NANOS


def batch(
    quotes: list[tuple[str, int]] = (),  # type: ignore[assignment]
    statuses: list[tuple[str, int, StatusCode]] = (),  # type: ignore[assignment]
    gaps: list[tuple[str, int]] = (),  # type: ignore[assignment]
    shard: int = 0,
    bid: int = BID,
) -> TickBatch:
    """Quotes (symbol, seq), statuses (symbol, seq, code), gaps (symbol, seq); times equal seq."""
    symbols = SymbolTable()
    block = EventBlock("XNAS", "S", symbols)
    head = [(seq, seq, seq, symbols.index(name)) for name, seq in quotes]
    block.quotes = np.array([(*h, bid, NANOS, ASK, NANOS, 0) for h in head], dtype=QUOTE_DTYPE)
    head = [(seq, seq, seq, symbols.index(name), code) for name, seq, code in statuses]
    block.statuses = np.array([(*h, b"") for h in head], dtype=STATUS_DTYPE)
    head = [(seq, seq, seq, symbols.index(name)) for name, seq in gaps]
    block.gaps = np.array([(*h, 1, 2, GapReason.SEQUENCE) for h in head], dtype=GAP_DTYPE)
    return TickBatch(shard, 0, 0, 0, block)


def trust(symbol: str, said: TrustState, day: int = 21, missing: tuple[int, int] = (0, 0)) -> TickBatch:
    """What an ingester says, over the wire and back."""
    symbols = SymbolTable()
    seq = make_seq(date(2026, 11, day), 1)
    row = (7, 8, seq, symbols.index(symbol), *missing, 9, said, TrustReason.SILENT)
    block = EventBlock("XNAS", "S", symbols, trust=np.array([row], dtype=TRUST_DTYPE))
    back = trust_codec.decode(trust_codec.encode(TickBatch(0, seq, seq, 5, block)))
    assert back.block.trust.tolist() == block.trust.tolist()
    return back


def state(*batches: TickBatch) -> MarketState:
    market = MarketState()
    for number, one in enumerate(batches):
        market.apply(one, number)
    return market


def why(market: MarketState, symbol: str = "ALFA") -> str:
    view = market.view("XNAS", symbol)
    assert view is not None
    return view.untrusted or view.halted


def test_last_quote_counts() -> None:
    """Of several quotes in a batch the last one stands; an older one that comes later does not."""
    market = state(batch([("ALFA", 5), ("ALFA", 7)]), batch([("ALFA", 6)]))
    view = market.view("XNAS", "ALFA")
    assert view is not None
    assert (view.seq, view.mid) == (7, 100 * NANOS)
    assert market.view("XNAS", "BRVO") is None


def test_one_sided_and_crossed_quotes_have_no_mid() -> None:
    """There is no mid where a side is missing or the sides cross."""
    for bid in (NO_PRICE, ASK + 1):
        view = state(batch([("ALFA", 1)], bid=bid)).view("XNAS", "ALFA")
        assert view is not None
        assert view.mid is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_venue_gap_until_a_newer_quote(order: tuple[int, ...]) -> None:
    """After a gap at 10 the quote of 9 is not trusted and that of 11 is, in whatever order shards come."""
    parts = [batch([("ALFA", 9)]), batch(gaps=[("", 10)], shard=1), batch([("BRVO", 11)])]
    market = state(*(parts[index] for index in order))
    assert "gap" in why(market, "ALFA")
    assert why(market, "BRVO") == ""
    market.apply(batch([("ALFA", 12)]), 0)
    assert why(market, "ALFA") == ""


def test_lost_book_until_it_is_synced() -> None:
    """Quotes alone do not bring a lost book back; BOOK_SYNCED does."""
    market = state(batch([("ALFA", 1)], [("ALFA", 2, StatusCode.BOOK_LOST)]), batch([("ALFA", 3)]))
    assert why(market) == "book lost"
    market.apply(batch(statuses=[("ALFA", 4, StatusCode.BOOK_SYNCED)]), 0)
    assert why(market) == ""


def test_gap_of_one_instrument_until_its_book_is_synced() -> None:
    """A gap in one instrument's stream leaves the others alone."""
    market = state(batch([("ALFA", 1), ("BRVO", 1)], gaps=[("ALFA", 2)]), batch([("ALFA", 3)]))
    assert "gap" in why(market)
    assert why(market, "BRVO") == ""
    market.apply(batch(statuses=[("ALFA", 4, StatusCode.BOOK_SYNCED)]), 0)
    assert why(market) == ""


@pytest.mark.parametrize("code", [StatusCode.HALTED, StatusCode.PAUSED, StatusCode.QUOTATION_ONLY])
def test_halt_until_trading(code: StatusCode) -> None:
    """A halted instrument is not traded until its venue says so; an older status changes nothing."""
    market = state(
        batch([("ALFA", 1)], [("ALFA", 5, code)]), batch(statuses=[("ALFA", 4, StatusCode.TRADING)])
    )
    assert why(market) == code.name.lower()
    market.apply(batch(statuses=[("ALFA", 6, StatusCode.TRADING)]), 0)
    assert why(market) == ""


def test_closed_venue() -> None:
    """After the close nothing of the venue trades until it opens again."""
    market = state(batch([("ALFA", 1)], [("", 2, StatusCode.MARKET_CLOSE)]))
    assert why(market) == "venue: market_close"
    market.apply(batch(statuses=[("", 3, StatusCode.SESSION_START)]), 0)
    assert why(market) == ""


def test_feed_age_goes_by_shard_and_heartbeats_count() -> None:
    """An empty batch of the instrument's shard is a sign of life; one of another shard is none."""
    market = MarketState()
    market.apply(batch([("ALFA", 1)], shard=1), 1_000)
    market.apply(batch(shard=0), 9_000)
    view = market.view("XNAS", "ALFA")
    assert view is not None
    assert view.feed_ts == 1_000
    market.apply(batch(shard=1), 5_000)
    view = market.view("XNAS", "ALFA")
    assert view is not None
    assert view.feed_ts == 5_000


@pytest.mark.parametrize("said", [TrustState.STALE, TrustState.BROKEN])
def test_what_the_ingester_distrusts_is_not_trusted_until_it_says_so(said: TrustState) -> None:
    """Of an instrument and of the line; other instruments are left alone; a new quote mends nothing."""
    market = state(batch([("ALFA", 1), ("BRVO", 1)]))
    market.apply_trust(trust("ALFA", said, missing=(3, 5)))
    market.apply(batch([("ALFA", 2)]), 1)
    assert why(market) == f"{said.name.lower()} (silent, 3 to 5 missing)"
    assert why(market, "BRVO") == ""
    market.apply_trust(trust("ALFA", TrustState.TRUSTED))
    assert why(market) == ""
    market.apply_trust(trust("", said))
    assert why(market) == why(market, "BRVO") == f"venue: {said.name.lower()} (silent)"
    market.apply_trust(trust("", TrustState.TRUSTED))
    assert why(market) == why(market, "BRVO") == ""


def test_an_older_day_says_nothing_of_now() -> None:
    """A day that was loaded again comes behind later ones in the topic."""
    market = state(batch([("ALFA", 1)]))
    market.apply_trust(trust("ALFA", TrustState.BROKEN, day=20))
    market.apply_trust(trust("ALFA", TrustState.TRUSTED, day=21))
    market.apply_trust(trust("ALFA", TrustState.BROKEN, day=20))
    assert why(market) == ""
