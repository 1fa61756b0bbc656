"""What the gate sees of the market: the same as the agent's views, as numbers, and recent volume."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from execution.market import MarketState
from execution.risk import Check, Level
from execution.risk.layout import (
    M_BID,
    M_FEED_TS,
    M_HALTED,
    M_NATIONAL_BID,
    M_SEQ,
    M_SHORT_RESTRICTED,
    M_UNTRUSTED,
    M_VENUE_TS_EVENT,
)
from execution.risk.market_table import MarketTable
from tests.execution.risk.world import NOW, intent, refused, world
from tests.execution.test_market import ASK, BID, batch, trust
from tickloom.clock import NS_PER_S
from tickloom.codec import TickBatch
from tickloom.events import TRADE_DTYPE, EventBlock, StatusCode, SymbolTable, TrustState
from tickloom.prices import NANOS

KEYS = [("XNAS", "ALFA"), ("XNAS", "BRVO"), ("XBOS", "ALFA")]


def fed(*batches: TickBatch, attach_first: bool = True) -> MarketTable:
    market, table = MarketState(), MarketTable(KEYS)
    if attach_first:
        market.attach(table)
    for number, one in enumerate(batches):
        market.apply(one, number + 1)
    if not attach_first:
        market.attach(table)
    return table


def test_rows_say_what_the_views_say() -> None:
    """Quote, trust, halt, short-sale restriction and ages; the same when the table is attached later."""
    parts = (
        batch([("ALFA", 5), ("BRVO", 6)], shard=1),
        batch(gaps=[("", 5)]),
        batch(statuses=[("BRVO", 7, StatusCode.HALTED), ("ALFA", 8, StatusCode.SHORT_SALE_RESTRICTED)]),
    )
    for attach_first in (True, False):
        rows = fed(*parts, attach_first=attach_first).rows
        assert list(rows[0, [M_BID, M_SEQ, M_UNTRUSTED, M_HALTED, M_SHORT_RESTRICTED]]) == [BID, 5, 1, 0, 1]
        assert list(rows[1, [M_BID, M_SEQ, M_UNTRUSTED, M_HALTED, M_SHORT_RESTRICTED]]) == [BID, 6, 0, 1, 0]
        assert list(rows[:2, M_FEED_TS]) == [1, 1]  # shard 0 said something later, shard 1 did not
        assert list(rows[:, M_VENUE_TS_EVENT]) == [6, 6, 0, 0]


def test_lost_book_and_its_return() -> None:
    """Not trusted from BOOK_LOST to BOOK_SYNCED."""
    lost = batch([("ALFA", 1)], [("ALFA", 2, StatusCode.BOOK_LOST)])
    assert fed(lost).rows[0, M_UNTRUSTED] == 1
    synced = batch(statuses=[("ALFA", 3, StatusCode.BOOK_SYNCED)])
    assert fed(lost, synced).rows[0, M_UNTRUSTED] == 0


@pytest.mark.parametrize("attach_first", [True, False])
def test_distrusted_instruments_and_lines(attach_first: bool) -> None:
    """As the views say: an instrument by itself, and all of a venue whose line is stale, also later ones."""
    for symbol, untrusted in (("ALFA", [1, 0, 0]), ("", [1, 1, 0])):
        market, table = MarketState(), MarketTable(KEYS)
        if attach_first:
            market.attach(table)
        market.apply_trust(trust(symbol, TrustState.STALE))
        market.apply(batch([("ALFA", 1), ("BRVO", 1)]), 1)
        if not attach_first:
            market.attach(table)
        assert table.rows[:3, M_UNTRUSTED].tolist()[:2] == untrusted[:2]
        market.apply_trust(trust(symbol, TrustState.TRUSTED))
        assert table.rows[:2, M_UNTRUSTED].tolist() == [0, 0]


def test_the_gate_refuses_what_is_distrusted_and_then_trades_again() -> None:
    """Stale or broken, the instrument or the venue's line: check trust; nothing else is in the way."""
    one, market = world(), MarketState()
    market.attach(one.book.market)
    assert refused(one.check(intent())) is None
    for symbol, said in itertools.product(("ALFA", ""), (TrustState.STALE, TrustState.BROKEN)):
        market.apply_trust(trust(symbol, said))
        assert refused(one.check(intent())) == (Check.TRUST, Level.INSTRUMENT)
        market.apply_trust(trust(symbol, TrustState.TRUSTED))
        assert refused(one.check(intent())) is None


def test_national_bid_is_the_highest_of_the_venues_that_quote() -> None:
    """ALFA is quoted on two venues; BRVO on one."""
    table = fed()
    for venue, symbol, bid, seq in (
        ("XNAS", "ALFA", 99, 1),
        ("XBOS", "ALFA", 100, 2),
        ("XNAS", "BRVO", 7, 3),
    ):
        table.quote(venue, symbol, (bid * NANOS, 1, ASK, 1, 0, 0, seq), 0)
    assert list(table.rows[:3, M_NATIONAL_BID]) == [100 * NANOS, 7 * NANOS, 100 * NANOS]
    table.quote("XBOS", "ALFA", (98 * NANOS, 1, ASK, 1, 0, 0, 4), 0)
    assert list(table.rows[:3, M_NATIONAL_BID]) == [99 * NANOS, 7 * NANOS, 99 * NANOS]


def share(volume_at_s: list[int], now_s: int, window_s: int = 60) -> int:
    """Share of 100 in what was traded (1,000 at each time), in units of 1e-8."""
    one = world({"firm": {"volume_window_s": str(window_s)}})
    times = np.array([NOW + second * NS_PER_S for second in volume_at_s], np.int64)
    one.book.market.trades("XNAS", "ALFA", times, np.full(len(times), 1_000 * NANOS))
    one.book.market.touch("XNAS", 0, NOW, NOW + now_s * NS_PER_S, 0, False)
    return one.check(intent()).number(Check.VOLUME_SHARE, Level.FIRM)[0]


def test_volume_is_recent_by_the_venue_s_clock() -> None:
    """Buckets of five seconds that began less than a minute ago count; what is older does not."""
    ten_percent, five_percent, never = 10_000_000, 5_000_000, 9 * 10**18
    assert share([0], 59) == ten_percent
    assert share([0], 60) == never
    assert share([0, 30], 59) == five_percent
    assert share([0, 30], 62) == ten_percent
    assert share([], 0) == never


def test_old_buckets_are_used_again() -> None:
    """320 s later a bucket holds the new volume only; an older trade that comes late is not counted."""
    assert share([0, 320], 320, 300) == 10_000_000
    assert share([320, 0], 320, 300) == 10_000_000


def test_broken_trades_are_no_volume() -> None:
    """A trade that was taken back did not happen."""
    symbols = SymbolTable()
    rows = [(NOW, NOW, 1, symbols.index("ALFA"), 1, NANOS, 0, 0, condition) for condition in (0, 3)]
    block = EventBlock("XNAS", "S", symbols, np.array(rows, dtype=TRADE_DTYPE))
    assert fed(TickBatch(0, 1, 1, 0, block)).volumes.sum() == NOW // (5 * NS_PER_S) * 5 * NS_PER_S + NANOS
