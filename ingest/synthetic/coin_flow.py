"""Compiled order books of coins, one level array each: fair values in, level changes and trades out.

A coin's book is kept by price level, as Binance shows it. Index 0 of the ladder is ``base`` ticks; sizes
are in lots. Bids are at and below ``BID``, asks at and above ``ASK``. Every event takes one update id
or a few, as ids of a shared matching engine do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ingest.synthetic.compiled import compiled, constant

#: A row of what happened. kind: ROW_*; id: update id (ROW_TRADE: trade id); level, size: of a level and
#: its new total, of a trade its price and size, of a best quote one side each; side: 0 bid (a trade: the
#: buyer was the maker), 1 ask.
ROW_DTYPE = np.dtype([(name, "<i8") for name in ("ts", "kind", "id", "level", "size", "side")])
ROW_LEVEL, ROW_BEST, ROW_TRADE, ROW_FLUSH = (constant(kind) for kind in range(4))

# Slots of the state vector.
N_OUT, UPDATE_ID, TRADE_ID, BID, ASK, NEXT_EVENT, NEXT_FLUSH, LEVELS = range(8)
SHOWN = 8  # and the three slots behind it: best bid and size, best ask and size as last shown
STATE_SLOTS = 12

ROOM = 4_096  # rows that one event may make at most
_SIDE_BID, _SIDE_ASK, _NOTHING = constant(0), constant(1), constant(0)
_LEVELS_TARGET = 1_600
_TRADES_A_SWEEP = 6  # levels that a jump of the fair value trades through; what is left was cancelled


@compiled
def _row(state: Any, out: Any, ts: int, kind: int, number: int, level: int, size: int, side: int) -> None:
    row = out[state[N_OUT]]
    row.ts, row.kind, row.id, row.level, row.size, row.side = ts, kind, number, level, size, side
    state[N_OUT] += 1


@compiled
def set_level(state: Any, sizes: Any, out: Any, ts: int, side: int, level: int, size: int) -> None:
    """Give a level a new total; the best bid and ask follow."""
    if size == sizes[level]:
        return
    state[LEVELS] += (1 if size > 0 else 0) - (1 if sizes[level] > 0 else 0)
    sizes[level] = size
    _row(state, out, ts, ROW_LEVEL, state[UPDATE_ID], level, size, side)
    if side == _SIDE_BID:
        if size > 0 and level > state[BID]:
            state[BID] = level
        while state[BID] > 0 and sizes[state[BID]] == 0:
            state[BID] -= 1
    else:
        if size > 0 and level < state[ASK]:
            state[ASK] = level
        while state[ASK] < sizes.shape[0] - 1 and sizes[state[ASK]] == 0:
            state[ASK] += 1


@compiled
def _trade(state: Any, sizes: Any, out: Any, ts: int, side: int, size: int) -> None:
    """An aggressor takes ``size`` from the best level of ``side``."""
    level = state[BID] if side == _SIDE_BID else state[ASK]
    size = min(size, sizes[level])
    state[TRADE_ID] += 1
    _row(state, out, ts, ROW_TRADE, state[TRADE_ID], level, size, side)
    set_level(state, sizes, out, ts, side, level, sizes[level] - size)


@compiled
def _size(rng: Any, mean: float) -> int:
    return 1 + int(rng.exponential(mean))


@compiled
def _jump(state: Any, sizes: Any, out: Any, rng: Any, ts: int, side: int, fair: int, lots: float) -> None:
    """The fair value is through the best of ``side``: levels up to it trade or leave, new ones come."""
    trades = 0
    while (state[BID] > fair) if side == _SIDE_BID else (state[ASK] < fair):
        best = state[BID] if side == _SIDE_BID else state[ASK]
        if trades < _TRADES_A_SWEEP:
            _trade(state, sizes, out, ts, side, sizes[best])
            trades += 1
        else:
            set_level(state, sizes, out, ts, side, best, _NOTHING)
    if side == _SIDE_BID:
        set_level(state, sizes, out, ts, _SIDE_BID, fair - int(rng.random() * 2), _size(rng, lots))
        set_level(state, sizes, out, ts, _SIDE_ASK, state[BID] + 1, _size(rng, lots))
    else:
        set_level(state, sizes, out, ts, _SIDE_ASK, fair + int(rng.random() * 2), _size(rng, lots))
        set_level(state, sizes, out, ts, _SIDE_BID, state[ASK] - 1, _size(rng, lots))


@compiled
def _ordinary(state: Any, sizes: Any, out: Any, rng: Any, ts: int, scale: float, lots: float) -> None:
    """Trades and changes at the touch, and levels behind it that come, change and go."""
    side = _SIDE_BID if rng.random() < 0.5 else _SIDE_ASK
    best = state[BID] if side == _SIDE_BID else state[ASK]
    choice = rng.random()
    if choice < 0.15:
        _trade(state, sizes, out, ts, side, _size(rng, lots * 0.12))
        return
    if choice < 0.4:
        keep = sizes[best] * rng.random() if rng.random() < 0.5 else sizes[best] + _size(rng, lots * 0.5)
        set_level(state, sizes, out, ts, side, best, max(1, int(keep)))
        return
    for _ in range(1 + int(rng.exponential(1.0))):
        distance = 1 + int(scale * ((1.0 - rng.random()) ** -0.7 - 1.0))
        level = best - distance if side == _SIDE_BID else best + distance
        if level < 1 or level >= sizes.shape[0] - 1:
            continue
        if rng.random() * 2 * _LEVELS_TARGET < state[LEVELS]:
            away = -1 if side == _SIDE_BID else 1
            while sizes[level] == 0 and 0 < level < sizes.shape[0] - 1:
                level += away
            set_level(state, sizes, out, ts, side, level, _NOTHING)
        else:
            set_level(state, sizes, out, ts, side, level, _size(rng, lots))


@compiled
def fill(state: Any, sizes: Any, out: Any, rng: Any, fair: int, scale: float, lots: float) -> None:
    """The book as it stands when the session begins; its rows are no messages."""
    state[BID], state[ASK] = 0, sizes.shape[0] - 1
    set_level(state, sizes, out, _NOTHING, _SIDE_BID, fair, _size(rng, lots))
    set_level(state, sizes, out, _NOTHING, _SIDE_ASK, fair + 1, _size(rng, lots))
    for index in range(_LEVELS_TARGET):
        distance = 1 + int(scale * ((1.0 - rng.random()) ** -0.7 - 1.0))
        level = fair - distance if index % 2 == 0 else fair + 1 + distance
        if 0 < level < sizes.shape[0] - 1:
            set_level(state, sizes, out, _NOTHING, index % 2, level, _size(rng, lots))
    state[N_OUT] = 0
    _shown(state, sizes)


@compiled
def _shown(state: Any, sizes: Any) -> bool:
    """Note the best quote; True where it is another than before."""
    bid, ask = state[BID], state[ASK]
    changed = (
        state[SHOWN] != bid
        or state[SHOWN + 1] != sizes[bid]
        or state[SHOWN + 2] != ask
        or state[SHOWN + 3] != sizes[ask]
    )
    state[SHOWN], state[SHOWN + 1] = bid, sizes[bid]
    state[SHOWN + 2], state[SHOWN + 3] = ask, sizes[ask]
    return bool(changed)


@compiled
def run(
    state: Any, sizes: Any, out: Any, rng: Any, fair: Any, base: int, start: int, step_ns: int,
    tolerance: float, scale: float, lots: float, gap_ns: float, flush_ns: int, until: int,
) -> bool:  # fmt: skip
    """Run one coin until ``until`` (ns since the epoch) or until ``out`` has no room for an event.

    fair: fair values in ticks from ``start`` on, one each ``step_ns``. tolerance: how far it may be beyond
    the best before the book follows, ticks. scale: how far from the best levels lie, ticks. lots: mean size
    of a level. gap_ns: mean time between events. flush_ns: between two depth updates.
    """
    while state[N_OUT] + ROOM < out.shape[0]:
        now = state[NEXT_EVENT]
        if state[NEXT_FLUSH] <= min(now, until):
            _row(state, out, state[NEXT_FLUSH], ROW_FLUSH, state[UPDATE_ID], 0, 0, 0)
            state[NEXT_FLUSH] += flush_ns
            continue
        if now >= until:
            return True
        state[NEXT_EVENT] = now + 1 + int(rng.exponential(gap_ns))
        value = fair[(now - start) // step_ns] - base
        state[UPDATE_ID] += 1 + int(rng.random() * 3)
        if value > state[ASK] + tolerance:
            _jump(state, sizes, out, rng, now, _SIDE_ASK, int(value), lots)
        elif value < state[BID] - tolerance:
            _jump(state, sizes, out, rng, now, _SIDE_BID, int(value), lots)
        elif state[ASK] - state[BID] > 1 and rng.random() < 0.7:
            if rng.random() < 0.5:
                set_level(state, sizes, out, now, _SIDE_BID, state[ASK] - 1, _size(rng, lots))
            else:
                set_level(state, sizes, out, now, _SIDE_ASK, state[BID] + 1, _size(rng, lots))
        else:
            _ordinary(state, sizes, out, rng, now, scale, lots)
        if _shown(state, sizes):
            _row(state, out, now, ROW_BEST, state[UPDATE_ID], state[BID], sizes[state[BID]], _SIDE_BID)
            _row(state, out, now, ROW_BEST, state[UPDATE_ID], state[ASK], sizes[state[ASK]], _SIDE_ASK)
    return False
