"""The inner loop of the spreads: sorted moves of legs in, spreads of their pairs out. Numba, no objects.

State lives in arrays that the caller owns, keeps between calls and can serialise. Nothing here depends on
where a stream is cut into calls, as long as no millisecond is.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from tickloom.clock import NS_PER_MS
from tickloom.events import SpreadState

#: What moved. Of equal (ts_event, seq) the smaller comes first: the quote of a synced book is behind that.
HALTED, TRADING, LOST, SYNCED, VENUE_CLOSED, VENUE_OPEN, VENUE_GAP, QUOTE = range(8)

#: A move: leg is the index of a leg, or -1 for the whole venue. mid: doubles, NaN where there is none.
MOVE_DTYPE = np.dtype(
    [
        ("ts_event", "<i8"),
        ("ts_recv", "<i8"),
        ("seq", "<i8"),
        ("mid", "<f8"),
        ("leg", "<i4"),
        ("session", "<i4"),
        ("kind", "<i1"),
    ]
)

#: Columns of the legs' state (int64): of the last quote, of the last halt or resumption, of the last loss.
LEG_TS, LEG_SEQ, LEG_HALT_SEQ, LEG_HALTED, LEG_LOST_SEQ, LEG_LOST = range(6)
LEG_COLUMNS = 6
#: The venue's state (int64).
VENUE_GAP_SEQ, VENUE_PHASE_SEQ, VENUE_IS_CLOSED = range(3)
VENUE_COLUMNS = 3
#: Columns of the pairs' state (float64). SEEN_MS: for how long a spread stood, so 1 - 2**(-seen / half-life)
#: is the sum of all weights; LAST_SPREAD: NaN where none stands.
EW_MEAN, EW_SQUARES, SEEN_MS, LAST_SPREAD = range(4)
PAIR_COLUMNS = 4
#: Columns of the pairs' calibration (float64).
HEDGE_RATIO, MEAN, DEVIATION = range(3)

GOOD, IS_HALTED, UNTRUSTED = int(SpreadState.GOOD), int(SpreadState.HALTED), int(SpreadState.UNTRUSTED)

VARIANCE_MIN = 1e-18  # a deviation below the unit of prices, 1e-9, is none

#: Rows of the output's integers and doubles.
OUT_TS_EVENT, OUT_TS_RECV, OUT_SEQ, OUT_PAIR, OUT_AGE, OUT_STATE, OUT_SESSION = range(7)
OUT_LONGS = 7
OUT_SPREAD, OUT_Z, OUT_Z_ROLLING, OUT_MID_A, OUT_MID_B = range(5)
OUT_DOUBLES = 5


@njit(cache=True, nogil=True)
def spread_moves(  # type: ignore[no-untyped-def]
    moves,
    leg_mid,
    leg_state,
    venue_state,
    pair_state,
    pair_ms,
    pair_legs,
    calibration,
    first_pair,
    pairs_of_leg,
    stale_ns,
    half_life_ms,
    longs,
    doubles,
):
    """Apply ``moves`` and write a spread for each quote and pair of its leg; how many were written.

    Parameters
    ----------
    moves : array of MOVE_DTYPE
        In the order of (ts_event, seq, kind, leg), whole milliseconds.
    leg_mid : float64[legs]
    leg_state : int64[legs, LEG_COLUMNS]
    venue_state : int64[VENUE_COLUMNS]
    pair_state : float64[pairs, PAIR_COLUMNS]
    pair_ms : int64[pairs]
        Since when LAST_SPREAD stands.
    pair_legs : int32[pairs, 2]
    calibration : float64[pairs, 3]
    first_pair, pairs_of_leg : int32
        Pairs of leg i: ``pairs_of_leg[first_pair[i]:first_pair[i + 1]]`` (compressed sparse rows).
    longs : int64[OUT_LONGS, capacity]
    doubles : float64[OUT_DOUBLES, capacity]
    """
    written = 0
    updated = np.full(pair_ms.size, -1, dtype=np.int64)  # the millisecond's first move, for which it was
    emitted = np.full(pair_ms.size, -1, dtype=np.int64)  # seq
    begin = 0
    while begin < moves.size:
        now_ms = moves[begin].ts_event // NS_PER_MS
        end = begin
        while end < moves.size and moves[end].ts_event // NS_PER_MS == now_ms:
            _apply(moves[end], leg_mid, leg_state, venue_state, pair_state, first_pair, pairs_of_leg)
            end += 1
        for i in range(begin, end):
            if moves[i].kind != QUOTE:
                continue
            leg = moves[i].leg
            for at in range(first_pair[leg], first_pair[leg + 1]):
                pair = pairs_of_leg[at]
                if emitted[pair] == moves[i].seq:  # one message moved both legs
                    continue
                a, b = pair_legs[pair, 0], pair_legs[pair, 1]
                spread = leg_mid[a] - calibration[pair, HEDGE_RATIO] * leg_mid[b]
                age_a = moves[i].ts_event - leg_state[a, LEG_TS]
                age_b = moves[i].ts_event - leg_state[b, LEG_TS]
                age = max(age_a, age_b, 0)
                fresh = age <= stale_ns and not math.isnan(spread)
                state = _state(leg_state, venue_state, a, b)
                if updated[pair] != begin:
                    updated[pair] = begin
                    _average(
                        pair_state,
                        pair_ms,
                        pair,
                        spread,
                        fresh and state == GOOD,
                        now_ms,
                        stale_ns,
                        half_life_ms,
                    )
                if not fresh:
                    continue
                emitted[pair] = moves[i].seq
                longs[OUT_TS_EVENT, written] = moves[i].ts_event
                longs[OUT_TS_RECV, written] = moves[i].ts_recv
                longs[OUT_SEQ, written] = moves[i].seq
                longs[OUT_PAIR, written] = pair
                longs[OUT_AGE, written] = age
                longs[OUT_STATE, written] = state
                longs[OUT_SESSION, written] = moves[i].session
                doubles[OUT_SPREAD, written] = spread
                doubles[OUT_Z, written] = (spread - calibration[pair, MEAN]) / calibration[pair, DEVIATION]
                doubles[OUT_Z_ROLLING, written] = _z_rolling(pair_state, pair, spread, half_life_ms)
                doubles[OUT_MID_A, written] = leg_mid[a]
                doubles[OUT_MID_B, written] = leg_mid[b]
                written += 1
        begin = end
    return written


@njit(cache=True, nogil=True, inline="always")
def _apply(move, leg_mid, leg_state, venue_state, pair_state, first_pair, pairs_of_leg):  # type: ignore[no-untyped-def]
    """One move. A status counts if it is newer, by seq, than the one before it (as the agent sees it)."""
    leg, seq, kind = move.leg, move.seq, move.kind
    if kind == QUOTE:
        leg_mid[leg] = move.mid
        leg_state[leg, LEG_TS] = move.ts_event
        leg_state[leg, LEG_SEQ] = seq
        return
    if leg < 0:
        if kind == VENUE_GAP:
            venue_state[VENUE_GAP_SEQ] = max(venue_state[VENUE_GAP_SEQ], seq)
        elif seq > venue_state[VENUE_PHASE_SEQ]:
            venue_state[VENUE_PHASE_SEQ] = seq
            venue_state[VENUE_IS_CLOSED] = kind == VENUE_CLOSED
        pair_state[:, LAST_SPREAD] = np.nan
        return
    if kind in (HALTED, TRADING):
        if seq > leg_state[leg, LEG_HALT_SEQ]:
            leg_state[leg, LEG_HALT_SEQ] = seq
            leg_state[leg, LEG_HALTED] = kind == HALTED
    elif seq >= leg_state[leg, LEG_LOST_SEQ]:
        leg_state[leg, LEG_LOST_SEQ] = seq
        leg_state[leg, LEG_LOST] = kind == LOST
    for at in range(first_pair[leg], first_pair[leg + 1]):
        pair_state[pairs_of_leg[at], LAST_SPREAD] = np.nan


@njit(cache=True, nogil=True, inline="always")
def _state(leg_state, venue_state, a, b):  # type: ignore[no-untyped-def]
    """After a gap of the venue a leg is trusted again with its next quote."""
    gap_seq = venue_state[VENUE_GAP_SEQ]
    if leg_state[a, LEG_LOST] or leg_state[b, LEG_LOST]:
        return UNTRUSTED
    if leg_state[a, LEG_SEQ] <= gap_seq or leg_state[b, LEG_SEQ] <= gap_seq:
        return UNTRUSTED
    if venue_state[VENUE_IS_CLOSED] or leg_state[a, LEG_HALTED] or leg_state[b, LEG_HALTED]:
        return IS_HALTED
    return GOOD


@njit(cache=True, nogil=True, inline="always")
def _average(pair_state, pair_ms, pair, spread, good, now_ms, stale_ns, half_life_ms):  # type: ignore[no-untyped-def]
    """Let the spread that stood until now into the average, for as long as it stood.

    Time-weighted: a level counts for its duration and not for how often it was quoted (Eckner,
    "Algorithms for Unevenly Spaced Time Series: Moving Averages and Other Rolling Operators", 2019, EMA
    with last-point interpolation). The variance goes along as in West (CACM 22:9, 1979), each new weight
    over the sum of all that were seen, so the beginning is not biased towards zero.
    """
    stood = pair_state[pair, LAST_SPREAD]
    if not math.isnan(stood):
        # it was stale from then on, whatever the leg that moved next did
        elapsed_ms = min(now_ms - pair_ms[pair], stale_ns // NS_PER_MS)
        if elapsed_ms > 0:
            keep = 2.0 ** (-elapsed_ms / half_life_ms)
            pair_state[pair, SEEN_MS] += elapsed_ms
            weight = 1.0 - 2.0 ** (-pair_state[pair, SEEN_MS] / half_life_ms)
            from_mean = stood - pair_state[pair, EW_MEAN]
            mean = pair_state[pair, EW_MEAN] + from_mean * ((1.0 - keep) / weight)
            squares = keep * pair_state[pair, EW_SQUARES] + (1.0 - keep) * from_mean * (stood - mean)
            pair_state[pair, EW_MEAN] = mean
            pair_state[pair, EW_SQUARES] = squares
    pair_state[pair, LAST_SPREAD] = spread if good else np.nan
    pair_ms[pair] = now_ms


@njit(cache=True, nogil=True, inline="always")
def _z_rolling(pair_state, pair, spread, half_life_ms):  # type: ignore[no-untyped-def]
    """NaN until a half-life was seen."""
    seen_ms = pair_state[pair, SEEN_MS]
    if seen_ms < half_life_ms:
        return np.nan
    variance = pair_state[pair, EW_SQUARES] / (1.0 - 2.0 ** (-seen_ms / half_life_ms))
    if variance < VARIANCE_MIN:
        return np.nan
    return (spread - pair_state[pair, EW_MEAN]) / math.sqrt(variance)
