"""Fair values and a plan in, order flow on the books out: the compiled behaviour of the market.

At each event one stock acts. Where its best bid or ask stands on the wrong side of the fair value,
somebody takes it or its makers pull it back; where the market is too wide, somebody improves it; and
otherwise orders join, leave, move, shrink and trade at random near the touch.
"""

from __future__ import annotations

from typing import Any

from ingest.synthetic.compiled import compiled, constant
from ingest.synthetic.orderbook import (
    ASK,
    BID,
    N_OUT,
    NEXT_EVENT,
    NEXT_PLAN,
    NO_LEVEL,
    NO_STATE,
    NONE,
    NOW,
    add,
    cancel,
    delete,
    emit,
    execute,
    hidden,
    replace,
    step_time,
)
from ingest.synthetic.parameters import OPEN_NS
from ingest.synthetic.paths import PLAN_SWEEP, STEP_NS

ROOM = 512  # messages that one event may make at most
_ORDERS_TARGET = 60.0  # live orders of a stock, both sides
_ORDERS_MIN = 4  # of a side; below it nothing is taken away
_LEVELS_AT_OPEN = 10
_TRANSIENT_TAU_NS = 15e9  # of the half of a sweep's impact that comes back
_TICKS_A_REACH = 8_000  # a dearer stock is swept through more levels at once: 1.3 basis points or more
_H, _N, _Y, _T = (constant(ord(letter)) for letter in "HNYT")


@compiled
def _lots(rng: Any) -> int:
    """Order size: mostly round lots, every seventh order an odd lot."""
    if rng.random() < 0.15:
        return 1 + int(rng.random() * 99)
    return 100 * (1 + min(int(rng.exponential(1.2)), 19))


@compiled
def _any(b: Any, rng: Any, s: int, side: int) -> int:
    row: int = b.live[s, side, int(rng.random() * b.n_live[s, side])]
    return row


@compiled
def _farther(b: Any, rng: Any, s: int, side: int) -> int:
    """The farther from the touch of two random orders: what strays from the market is cleaned up."""
    one, two = _any(b, rng, s, side), _any(b, rng, s, side)
    if (b.orders[one].price < b.orders[two].price) == (side == BID):
        return one
    return two


@compiled
def _behind(b: Any, rng: Any, side: int, level: int, mean: float) -> int:
    """A level at or behind ``level``, a geometric distance away."""
    distance = int(rng.exponential(mean))
    wanted = level - distance if side == BID else level + distance
    level_at: int = max(1, min(wanted, b.ladder.shape[1] - 2))
    return level_at


@compiled
def take(b: Any, out: Any, rng: Any, s: int, side: int, limit: int, shares: int) -> None:
    """A marketable order hits the resting ``side`` down (up) to and including level ``limit``."""
    while shares > 0 and b.n_live[s, side] > _ORDERS_MIN:
        level = b.best[s, side]
        if (side == BID and level < limit) or (side == ASK and level > limit):
            return
        row = b.ladder[s, level].head
        quantity = min(shares, b.orders[row].shares)
        if rng.random() < 0.97:
            execute(b, out, s, row, quantity, level, NO_STATE)
        else:
            wide = b.best[s, ASK] - b.best[s, BID] > 1
            better = (1 if side == BID else -1) if wide else 0
            execute(b, out, s, row, quantity, level + better, _N if rng.random() < 0.1 else _Y)
        shares -= quantity


@compiled
def sweep(b: Any, out: Any, rng: Any, s: int, aggressor: int) -> float:
    """Take the best level (more in a dear stock) whole; returns its impact in ticks."""
    side = ASK if aggressor > 0 else BID
    reach = 1 + (b.stocks[s].base + b.best[s, side]) // _TICKS_A_REACH
    for _ in range(reach):
        level = b.best[s, side]
        take(b, out, rng, s, side, level, min(b.ladder[s, level].shares, 5_000))
    impact: float = aggressor * (reach + 0.1)
    return impact


@compiled
def _retreat(b: Any, out: Any, rng: Any, s: int, side: int, limit: int) -> None:
    """The best of ``side`` is beyond ``limit``, the best level that the fair value allows."""
    if rng.random() < 0.12:  # a fair value that moves is mostly followed by quotes, seldom by trades
        beyond = limit + 1 if side == BID else limit - 1
        take(b, out, rng, s, side, beyond, _lots(rng))
        return
    for _ in range(1 + min(int(rng.exponential(2.0)), 6)):
        level = b.best[s, side]
        if (side == BID and level <= limit) or (side == ASK and level >= limit):
            return
        row = b.ladder[s, level].tail
        if rng.random() < 0.3 and b.n_live[s, side] > _ORDERS_MIN:
            delete(b, out, s, row)
        else:
            replace(b, out, s, row, _behind(b, rng, side, limit, 1.5), _lots(rng))
        step_time(b, rng)


@compiled
def _improve(b: Any, out: Any, rng: Any, s: int, side: int, level: int) -> None:
    """The market is too wide: one or two orders come to ``level``, new ones or from behind."""
    for _ in range(1 + int(rng.random() * 2)):
        row = _farther(b, rng, s, side)
        if rng.random() < 0.5 and b.orders[row].price != level:
            replace(b, out, s, row, level, _lots(rng))
        else:
            add(b, out, s, side, level, _lots(rng), rng.random() < 0.05)
        step_time(b, rng)


@compiled
def _ordinary(b: Any, out: Any, rng: Any, s: int, bid_max: int, ask_min: int) -> None:
    side = BID if rng.random() < 0.5 else ASK
    limit = bid_max if side == BID else ask_min
    choice = rng.random()
    if choice < 0.045:
        take(b, out, rng, s, side, b.best[s, side], _lots(rng))
        return
    if choice < 0.052:
        hidden(b, out, s, _lots(rng), (b.best[s, BID] + b.best[s, ASK] + int(rng.random() * 2)) // 2)
        return
    live = b.n_live[s, 0] + b.n_live[s, 1]
    share = min(max(0.4 + (_ORDERS_TARGET - live) * 0.02, 0.05), 0.95)
    if rng.random() < share or b.n_live[s, side] <= _ORDERS_MIN:
        add(b, out, s, side, _behind(b, rng, side, limit, 3.0), _lots(rng), rng.random() < 0.05)
        return
    choice = rng.random()
    row = _farther(b, rng, s, side)
    if choice < 0.25:
        level = _behind(b, rng, side, limit, 3.0)
        if level != b.orders[row].price:
            replace(b, out, s, row, level, _lots(rng))
    elif choice < 0.45 and b.orders[row].shares > 1:
        cancel(b, out, s, row, 1 + int(rng.random() * (b.orders[row].shares - 1)))
    else:
        delete(b, out, s, row)


@compiled
def _act(b: Any, out: Any, rng: Any, s: int, fair: float, half: float) -> None:
    """One event of a stock. fair: level (fractional); half: the half spread its makers want, ticks."""
    bid_max = int(fair - half)
    ask_min = int(fair + half) + 1
    if b.best[s, BID] > bid_max:
        _retreat(b, out, rng, s, BID, bid_max)
    elif b.best[s, ASK] < ask_min:
        _retreat(b, out, rng, s, ASK, ask_min)
    elif b.best[s, BID] < bid_max - 1:
        _improve(b, out, rng, s, BID, bid_max)
    elif b.best[s, ASK] > ask_min + 1:
        _improve(b, out, rng, s, ASK, ask_min)
    else:
        _ordinary(b, out, rng, s, bid_max, ask_min)


@compiled
def open_books(b: Any, out: Any, rng: Any, fair: Any, half: Any, step_ns: int) -> None:
    """Fill the books before the opening: some orders on each of ten levels a side."""
    for depth in range(_LEVELS_AT_OPEN):
        for s in range(fair.shape[1]):
            level = fair[0, s] - b.stocks[s].base
            for side in (BID, ASK):
                at = int(level - half[s]) - depth if side == BID else int(level + half[s]) + 1 + depth
                for _ in range(2 + int(rng.random() * 2)):
                    b.counters[NOW] += step_ns
                    add(b, out, s, side, at, _lots(rng), rng.random() < 0.05)


@compiled
def run(
    b: Any, out: Any, rng: Any, fair: Any, plan: Any, half: Any, weights: Any, paused: Any, impact: Any,
    gap_ns: float, until: int,
) -> bool:  # fmt: skip
    """Run the market until ``until`` (ns since midnight) or until ``out`` has no room for an event.

    weights: cumulative shares of the stocks in the activity, float64 (stocks,). paused: bool (stocks,).
    impact: float64 (stocks, 3): lasting and transient impact of sweeps in ticks, and when it was last
    looked at. gap_ns: mean time between events. Returns True when the end is reached.
    """
    counters = b.counters
    while counters[N_OUT] + ROOM < out.shape[0]:
        now = counters[NEXT_EVENT]
        planned = counters[NEXT_PLAN]
        if planned < plan.shape[0] and plan[planned].ts <= now:
            item = plan[planned]
            counters[NEXT_PLAN] = planned + 1
            counters[NOW] = max(item.ts, counters[NOW] + 500)
            s = item.stock
            if item.kind == PLAN_SWEEP:
                moved = sweep(b, out, rng, s, item.argument)
                impact[s, 0] += 0.5 * moved
                impact[s, 1] += 0.5 * moved
            else:
                paused[s] = item.argument != _T
                emit(b, out, _H, s, NONE, NONE, BID, NONE, NO_LEVEL, item.argument)
            continue
        if now >= until:
            return True
        counters[NEXT_EVENT] = now + 1 + int(rng.exponential(gap_ns))
        counters[NOW] = max(now, counters[NOW] + 500)
        pick, s = rng.random(), 0
        while pick > weights[s]:
            s += 1
        if not paused[s]:
            elapsed = now - impact[s, 2]
            impact[s, 1] *= max(0.0, 1.0 - elapsed / _TRANSIENT_TAU_NS)
            impact[s, 2] = now
            value = fair[(now - OPEN_NS) // STEP_NS, s] + impact[s, 0] + impact[s, 1]
            _act(b, out, rng, s, value - b.stocks[s].base, half[s])
    return False
