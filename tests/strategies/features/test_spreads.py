"""Spreads of pairs on tapes written by hand: the numbers, the states, what is dropped or refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from strategies.features.spreads import PENDING_MOVES_MAX, Spreads, over
from strategies.pairs.frozen import PairCalibration
from tests.strategies.features.spread_tape import (
    HALF_LIFE_MS,
    STALE_MS,
    START_NS,
    Tape,
    calibrated,
    pair_set,
    rows,
    spreads_of,
)
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.errors import CalibrationError, FeedError
from tickloom.events import QUOTE_DTYPE, EventBlock, StatusCode, SymbolTable
from tickloom.prices import NO_PRICE


def test_formulas_on_paper() -> None:
    """spread = 60 - 1.2 * 40 = 12; z = (12 - 10) / 0.5 = 4; the age is that of the leg that stood still."""
    tape = Tape()
    tape.quote("B", 0, 40.0)
    seq = tape.quote("A", 7.5, 60.0)
    pairs = pair_set(calibrated("A~B", 1.2, 10.0, 0.5))
    found = spreads_of(tape.block(), pairs)
    (row,) = found
    assert (row["spread"], row["z"]) == (pytest.approx(12.0), pytest.approx(4.0))
    assert (row["mid_a"], row["mid_b"]) == (60.0, 40.0)
    assert (row["seq"], row["age_ns"], row["calibration"]) == (seq, 7_500_000, pairs.version)
    assert (row["ts_event"], row["ts_recv"]) == (START_NS + 7_500_000, START_NS + 7_501_000)
    assert math.isnan(row["z_rolling"])


def test_rolling_scores_on_paper() -> None:
    """10 stands for one half-life, 12 for one more: weights 1/4 and 1/2 over 3/4 seen, so the mean is 34/3,
    the variance 8/9, and 14 lies (14 - 34/3) / sqrt(8/9) = 2 sqrt(2) deviations off."""
    tape = Tape()
    tape.quote("B", 0, 50.0)
    for at_ms, spread in ((0, 10.0), (HALF_LIFE_MS, 12.0), (2 * HALF_LIFE_MS, 14.0)):
        tape.quote("B", at_ms, 50.0)
        tape.quote("A", at_ms, 50.0 + spread)
    found = spreads_of(tape.block(), pair_set(calibrated("A~B")))
    rolling = {row[0]: row[1] for row in rows(found, "ts_event", "z_rolling")}
    assert math.isnan(rolling[0])
    assert math.isnan(rolling[HALF_LIFE_MS])  # half of the weight was seen, and it never moved: no deviation
    assert rolling[2 * HALF_LIFE_MS] == pytest.approx(2 * math.sqrt(2))


def test_a_burst_of_quotes_weighs_no_more_than_one() -> None:
    """The average goes by time: a level that is quoted forty times in a millisecond stood no longer."""
    quiet, busy = Tape(), Tape()
    for tape, repeats in ((quiet, 1), (busy, 40)):
        tape.quote("B", 0, 50.0)
        for at_ms, mid in ((0, 60.0), (20, 61.0), (30, 60.5), (45, 62.0)):
            for number in range(repeats):
                tape.quote("A", at_ms + number / 100, mid)
    pairs = pair_set(calibrated("A~B"))
    last = [spreads_of(tape.block(), pairs)["z_rolling"][-1] for tape in (quiet, busy)]
    assert last[0] == last[1]


def test_half_of_a_move_is_no_dislocation() -> None:
    """Both legs jump within one millisecond: each of the two quotes shows the spread at its end."""
    tape = Tape()
    tape.quote("A", 0, 60.0)
    tape.quote("B", 0, 50.0)
    tape.quote("A", 10.1, 65.0)
    tape.quote("B", 10.6, 55.0)
    found = spreads_of(tape.block(), pair_set(calibrated("A~B")))
    assert [row[0] for row in rows(found, "spread")] == [10.0] * 4


def test_one_message_that_moves_both_legs_is_one_spread() -> None:
    """A pair and a seq identify a spread, whichever leg's quote made it."""
    tape = Tape()
    tape.quote("A", 0, 60.0)
    tape.quote("B", 0, 50.0, seq=1)
    found = spreads_of(tape.block(), pair_set(calibrated("A~B")))
    assert rows(found, "seq", "spread") == [(1, 10.0)]


def test_a_stale_leg_makes_no_spread() -> None:
    """At the limit it still does, one ns later it does not, and its next quote makes one again."""
    tape = Tape()
    tape.quote("B", 0, 50.0)
    at_limit = tape.quote("A", STALE_MS, 60.0)
    tape.quote("A", STALE_MS + 1e-6, 60.0)
    tape.quote("A", STALE_MS + 5, 60.0)
    again = tape.quote("B", STALE_MS + 6, 50.0)
    found = spreads_of(tape.block(), pair_set(calibrated("A~B")))
    assert found["seq"].tolist() == [at_limit, again]


def test_halts_losses_and_gaps_show_in_the_state() -> None:
    """A halted leg halts the pair until it trades; a lost book until it is synced; a gap of the venue until
    each leg has a newer quote."""
    tape = Tape()
    tape.quote("B", 0, 50.0)
    tape.quote("A", 1, 60.0)
    tape.status("B", 2, StatusCode.HALTED)
    tape.quote("A", 3, 60.0)
    tape.status("B", 4, StatusCode.TRADING)
    tape.status("A", 4, StatusCode.BOOK_LOST)
    tape.quote("B", 5, 50.0)
    tape.status("A", 6, StatusCode.BOOK_SYNCED)
    tape.quote("A", 6, 60.0)
    tape.gap("", 7)
    tape.quote("A", 8, 60.0)
    tape.quote("B", 9, 50.0)
    tape.status("", 10, StatusCode.MARKET_CLOSE)
    tape.quote("B", 11, 50.0)
    tape.status("", 12, StatusCode.MARKET_OPEN)
    tape.gap("A", 13)
    tape.quote("A", 14, 60.0)
    found = spreads_of(tape.block(), pair_set(calibrated("A~B")))
    assert rows(found, "ts_event", "state") == [
        (1, "good"),
        (3, "halted"),
        (5, "untrusted"),
        (6, "good"),
        (8, "untrusted"),
        (9, "good"),
        (11, "halted"),
        (14, "untrusted"),
    ]


def test_a_book_without_a_mid_makes_no_spread() -> None:
    """One side empty, or bid above ask: there is no mid to compare, not even the last one."""
    tape = Tape()
    tape.quote("B", 0, 50.0)
    good = tape.quote("A", 1, 60.0)
    tape.quote("A", 2, 60.0)
    tape.quotes[-1] = (*tape.quotes[-1][:6], NO_PRICE, *tape.quotes[-1][7:])
    tape.quote("A", 4, 60.0, half=-0.01)
    tape.quote("B", 5, 50.0)
    found = spreads_of(tape.block(), pair_set(calibrated("A~B")))
    assert found["seq"].tolist() == [good]


def test_events_behind_the_watermark_are_dropped_and_counted() -> None:
    """What comes late is not looked at: a replay of the same arrivals gives the same spreads."""
    early, late = Tape(), Tape()
    early.quote("B", 0, 50.0)
    early.quote("A", 10, 60.0)
    late.quote("A", 5, 99.0, seq=7)
    late.quote("A", 20, 61.0, seq=8)
    spreads = Spreads(pair_set(calibrated("A~B")))
    spreads.push(early.block())
    first = spreads.advance(START_NS + 15 * NS_PER_MS)
    spreads.push(late.block())
    second = spreads.finish()
    assert [row["spread"] for part in (*first, *second) for row in part.spreads] == [10.0, 11.0]
    assert spreads.late_rows == 1


def test_a_millisecond_is_not_cut_in_two() -> None:
    """A watermark inside a millisecond leaves all of it for later: more of it may come."""
    tape = Tape()
    tape.quote("B", 0, 50.0)
    tape.quote("A", 1.2, 60.0)
    spreads = Spreads(pair_set(calibrated("A~B")))
    spreads.push(tape.block())
    assert spreads.advance(START_NS + round(1.7 * NS_PER_MS)) == []
    assert spreads.watermark_ns == START_NS + NS_PER_MS
    assert len(spreads.advance(START_NS + 2 * NS_PER_MS)[0].spreads) == 1


def test_sessions_stay_apart() -> None:
    """Spreads of two sessions come in blocks of their own; the pair's state goes on over both."""
    first, second = Tape(), Tape()
    first.quote("B", 0, 50.0)
    first.quote("A", 1, 60.0)
    second.quote("A", 20, 61.0, seq=100)
    tomorrow = second.block()
    tomorrow.session = "20241122"
    found = list(over([first.block(), tomorrow], pair_set(calibrated("A~B"))))
    assert [(one.session, one.spreads["spread"].tolist()) for one in found] == [
        ("20241121", [10.0]),
        ("20241122", [11.0]),
    ]


def test_recalibration_keeps_what_still_holds() -> None:
    """A snapshot of other calibrations: legs keep their quotes, a pair its statistics while its hedge ratio
    and the half-life stay; what the new set lacks is forgotten."""
    tape = Tape()
    for at_ms in range(0, 200, 10):
        tape.quote("B", at_ms, 50.0)
        tape.quote("C", at_ms, 30.0)
        tape.quote("A", at_ms, 60.0 + at_ms % 30)
    before = Spreads(pair_set(calibrated("A~B"), calibrated("C~B"), calibrated("A~C", 2.0)))
    before.push(tape.block())
    before.advance(START_NS + 195 * NS_PER_MS)
    after = Spreads(pair_set(calibrated("B~D"), calibrated("A~C", 1.0), calibrated("A~B", 1.0, 11.0, 2.0)))
    after.restore(before.snapshot())
    more = Tape()
    more.quote("A", 200, 63.0, seq=1_000)
    after.push(more.block())
    (block,) = after.finish()
    found = {after.symbols.names[row["symbol"]]: row for row in block.spreads}
    assert set(found) == {"A~B", "A~C"}
    assert found["A~B"]["z"] == (13.0 - 11.0) / 2.0
    assert not math.isnan(found["A~B"]["z_rolling"])
    assert math.isnan(found["A~C"]["z_rolling"])


def test_foreign_snapshots_blocks_and_order_are_refused() -> None:
    """Of another venue, going back in time, or no snapshot at all."""
    spreads = Spreads(pair_set(calibrated("A~B")))
    with pytest.raises(CalibrationError, match="no snapshot"):
        spreads.restore(b"rubbish")
    tape = Tape()
    tape.quote("A", 10, 60.0)
    foreign = tape.block()
    foreign.venue = "XNYS"
    with pytest.raises(FeedError, match="XNYS"):
        spreads.push(foreign)
    earlier = Tape()
    earlier.quote("A", 5, 60.0)
    with pytest.raises(FeedError, match="back in time"):
        list(over([tape.block(), earlier.block()], pair_set(calibrated("A~B"))))


def test_a_stopped_partition_is_an_error_and_no_leak() -> None:
    """Quotes that wait for a watermark that never comes are limited; the message says where to look."""
    assert PENDING_MOVES_MAX * 50 < 200e6  # bytes
    spreads = Spreads(pair_set(calibrated("A~B")), pending_max=10)
    tape = Tape()
    for number in range(6):
        tape.quote("A", number, 60.0)
    spreads.push(tape.block())
    with pytest.raises(FeedError, match="heartbeats"):
        spreads.push(tape.block())


def test_scale_of_the_scenario() -> None:
    """300 pairs over 200 stocks: every quote gives a spread of each pair of its stock, as definitions say."""
    rng = np.random.default_rng(1)
    names = [f"S{number:03}" for number in range(200)]
    chosen: dict[str, PairCalibration] = {}
    while len(chosen) < 300:
        leg_a, leg_b = sorted(rng.choice(200, 2, replace=False).tolist())
        symbol = f"{names[leg_a]}~{names[leg_b]}"
        chosen[symbol] = calibrated(symbol, float(rng.uniform(0.5, 2)))
    pairs = pair_set(*chosen.values(), stale_ms=3_600_000, half_life_ms=1_000)
    count = 20_000
    quotes = np.zeros(count, dtype=QUOTE_DTYPE)
    leg = np.concatenate([np.arange(200), rng.integers(0, 200, count - 200)])
    quotes["symbol"] = leg + 1
    quotes["ts_event"] = START_NS + np.sort(rng.integers(0, 10 * NS_PER_S, count))
    quotes["seq"] = np.arange(1, count + 1)
    quotes["bid_price"] = rng.integers(10_000, 20_000, count) * 10_000_000
    quotes["ask_price"] = quotes["bid_price"] + 10_000_000
    block = EventBlock("XNAS", "20241121", SymbolTable(names), quotes=quotes)
    found = spreads_of(block, pairs)
    # mids at the end of each quote's millisecond, by brute force for a sample of the quotes
    ms = quotes["ts_event"] // NS_PER_MS
    mid = (quotes["bid_price"] / 1e9 + quotes["ask_price"] / 1e9) / 2
    for at in rng.integers(2_000, count, 50).tolist():
        last = int(np.searchsorted(ms, ms[at], side="right"))
        now = {name: mid[:last][leg[:last] == index][-1:] for index, name in enumerate(names)}
        wanted = {
            pair.symbol: float(now[pair.leg_a][0] - pair.hedge_ratio * now[pair.leg_b][0])
            for pair in pairs.pairs
            if names[leg[at]] in (pair.leg_a, pair.leg_b) and now[pair.leg_a].size and now[pair.leg_b].size
        }
        own = found[found["seq"] == quotes["seq"][at]]
        ours = {pairs.pairs[row["symbol"] - 1].symbol: float(row["spread"]) for row in own}
        assert ours == wanted
