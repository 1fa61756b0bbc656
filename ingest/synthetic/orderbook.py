"""Compiled limit order books of all stocks at once: every change is one message of the flow.

Prices are indices into a stock's ladder (index 0 is ``base`` ticks), side 0 is the bid, 1 the ask.
Each level is a queue of orders in time priority. The books count what a decoder should make of their
messages (trades, changes of the best quote, changed levels): that is the session's truth.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic.compiled import compiled
from ingest.synthetic.parameters import MarketParameters

#: One message of the flow, before it is put in ITCH's bytes. ts: ns since New York's midnight; price:
#: 1e-4 dollars; stock: index (-1: none); kind: ITCH message type; code: its state, event or flag.
FLOW_DTYPE = np.dtype(
    [
        ("ts", "<i8"),
        ("ref", "<i8"),
        ("new_ref", "<i8"),
        ("match", "<i8"),
        ("shares", "<i4"),
        ("price", "<i4"),
        ("stock", "<i2"),
        ("kind", "u1"),
        ("side", "i1"),
        ("code", "u1"),
    ]
)
ORDERS_MAX = 400  # of a stock and side; beyond it nothing is added
_MARGIN_TICKS = 500  # of the ladder, beyond the largest drift of a fair value
_DRIFT_SPAN = 0.075

# Slots of ``Books.counters``.
N_OUT, NEXT_REF, NEXT_MATCH, NOW, FREE_TOP, NEXT_EVENT, NEXT_PLAN = range(7)

BID, ASK = 0, 1
_A, _C, _D, _E, _F, _N, _P, _U, _X, _Y = (ord(letter) for letter in "ACDEFNPUXY")


class Books(NamedTuple):
    """State of all books. Orders are rows of a pool (ref to pos), chained per level (prev, next)."""

    ref: NDArray[np.int64]
    shares: NDArray[np.int64]
    price: NDArray[np.int64]
    side: NDArray[np.int64]
    prev: NDArray[np.int64]
    next: NDArray[np.int64]
    pos: NDArray[np.int64]  # of the order in ``live``
    free: NDArray[np.int64]  # a stack of unused rows
    head: NDArray[np.int64]  # (stock, level): first in the queue, -1 for none
    tail: NDArray[np.int64]
    size: NDArray[np.int64]  # (stock, level): shares at the level
    live: NDArray[np.int64]  # (stock, side, n): rows of the live orders, in no order
    n_live: NDArray[np.int64]  # (stock, side)
    best: NDArray[np.int64]  # (stock, side): level; -1 or the ladder's length where the side is empty
    base: NDArray[np.int64]  # price in ticks of level 0
    unit: NDArray[np.int64]  # 1e-4 dollars a tick
    shown: NDArray[np.int64]  # (stock, 4): best quote after the last message
    counters: NDArray[np.int64]
    trades: NDArray[np.int64]
    quotes: NDArray[np.int64]
    deltas: NDArray[np.int64]


def make_books(parameters: MarketParameters) -> Books:
    """Empty books around the reference prices."""
    stocks = parameters.stocks
    n = len(stocks)
    reference = np.array([item.reference // item.tick for item in stocks], dtype=np.int64)
    half = int(reference.max() * _DRIFT_SPAN) + _MARGIN_TICKS
    levels, pool = 2 * half + 1, n * 2 * ORDERS_MAX
    rows = [np.zeros(pool, dtype=np.int64) for _ in range(7)]
    counters = np.zeros(8, dtype=np.int64)
    counters[NEXT_REF] = counters[NEXT_MATCH] = 1
    counters[FREE_TOP] = pool
    return Books(
        ref=rows[0],
        shares=rows[1],
        price=rows[2],
        side=rows[3],
        prev=rows[4],
        next=rows[5],
        pos=rows[6],
        free=np.arange(pool, dtype=np.int64)[::-1].copy(),
        head=np.full((n, levels), -1, dtype=np.int64),
        tail=np.full((n, levels), -1, dtype=np.int64),
        size=np.zeros((n, levels), dtype=np.int64),
        live=np.zeros((n, 2, ORDERS_MAX), dtype=np.int64),
        n_live=np.zeros((n, 2), dtype=np.int64),
        best=np.tile(np.array([-1, levels], dtype=np.int64), (n, 1)),
        base=reference - half,
        unit=np.array([item.tick // 100_000 for item in stocks], dtype=np.int64),
        shown=np.tile(np.array([-1, 0, levels, 0], dtype=np.int64), (n, 1)),
        counters=counters,
        trades=np.zeros(n, dtype=np.int64),
        quotes=np.zeros(n, dtype=np.int64),
        deltas=np.zeros(n, dtype=np.int64),
    )


@compiled
def emit(
    b: Any, out: Any, kind: int, s: int, ref: int, new_ref: int, side: int, shares: int, level: int, code: int
) -> None:
    """Write one message at the books' present time, and count the quote if the best changed."""
    n = b.counters[N_OUT]
    row = out[n]
    row.ts, row.ref, row.new_ref, row.match = b.counters[NOW], ref, new_ref, 0
    row.shares, row.stock, row.kind, row.side, row.code = shares, s, kind, side, code
    row.price = (b.base[s] + level) * b.unit[s] if level >= 0 else 0
    if kind in (_E, _C, _P):
        row.match = b.counters[NEXT_MATCH]
        b.counters[NEXT_MATCH] += 1
        if code != _N:
            b.trades[s] += 1
    b.counters[N_OUT] = n + 1
    bid, ask = b.best[s, BID], b.best[s, ASK]
    bid_size = b.size[s, bid] if bid >= 0 else 0
    ask_size = b.size[s, ask] if ask < b.size.shape[1] else 0
    shown = b.shown[s]
    if shown[0] != bid or shown[1] != bid_size or shown[2] != ask or shown[3] != ask_size:
        shown[0], shown[1], shown[2], shown[3] = bid, bid_size, ask, ask_size
        b.quotes[s] += 1


@compiled
def step_time(b: Any, rng: Any) -> None:
    """Move the books' time on by what separates two messages of one cluster: 0.3 to 4 microseconds."""
    b.counters[NOW] += 300 + int(rng.random() * 3_700)


@compiled
def _link(b: Any, s: int, row: int, side: int, level: int, shares: int) -> None:
    b.shares[row], b.price[row], b.side[row] = shares, level, side
    last = b.tail[s, level]
    b.prev[row], b.next[row] = last, -1
    if last >= 0:
        b.next[last] = row
    else:
        b.head[s, level] = row
    b.tail[s, level] = row
    b.size[s, level] += shares
    if (side == BID and level > b.best[s, BID]) or (side == ASK and level < b.best[s, ASK]):
        b.best[s, side] = level


@compiled
def _unlink(b: Any, s: int, row: int) -> None:
    level, side = b.price[row], b.side[row]
    before, after = b.prev[row], b.next[row]
    if before >= 0:
        b.next[before] = after
    else:
        b.head[s, level] = after
    if after >= 0:
        b.prev[after] = before
    else:
        b.tail[s, level] = before
    b.size[s, level] -= b.shares[row]
    if level == b.best[s, side] and b.head[s, level] < 0:
        step, end = (-1, -1) if side == BID else (1, b.size.shape[1])
        level += step
        while level != end and b.head[s, level] < 0:
            level += step
        b.best[s, side] = level


@compiled
def _forget(b: Any, s: int, row: int) -> None:
    """Take a row whose order is gone out of the live ones."""
    side = b.side[row]
    count = b.n_live[s, side] - 1
    moved = b.live[s, side, count]
    b.live[s, side, b.pos[row]] = moved
    b.pos[moved] = b.pos[row]
    b.n_live[s, side] = count
    b.free[b.counters[FREE_TOP]] = row
    b.counters[FREE_TOP] += 1


@compiled
def add(b: Any, out: Any, s: int, side: int, level: int, shares: int, attributed: bool) -> None:
    """A, or F where the order is attributed to a market participant."""
    count = b.n_live[s, side]
    if count >= ORDERS_MAX:
        return
    b.counters[FREE_TOP] -= 1
    row = b.free[b.counters[FREE_TOP]]
    ref = b.counters[NEXT_REF]
    b.counters[NEXT_REF] += 1
    b.ref[row] = ref
    b.live[s, side, count] = row
    b.pos[row] = count
    b.n_live[s, side] = count + 1
    _link(b, s, row, side, level, shares)
    b.deltas[s] += 1
    emit(b, out, _F if attributed else _A, s, ref, 0, side, shares, level, 0)


@compiled
def delete(b: Any, out: Any, s: int, row: int) -> None:
    """D: the whole order leaves."""
    _unlink(b, s, row)
    _forget(b, s, row)
    b.deltas[s] += 1
    emit(b, out, _D, s, b.ref[row], 0, b.side[row], 0, -1, 0)


@compiled
def cancel(b: Any, out: Any, s: int, row: int, shares: int) -> None:
    """X: the order shrinks by fewer shares than it has, and keeps its place."""
    b.shares[row] -= shares
    b.size[s, b.price[row]] -= shares
    b.deltas[s] += 1
    emit(b, out, _X, s, b.ref[row], 0, b.side[row], shares, -1, 0)


@compiled
def replace(b: Any, out: Any, s: int, row: int, level: int, shares: int) -> None:
    """U: the order moves to another level, with a new reference, behind the queue there."""
    old = b.ref[row]
    _unlink(b, s, row)
    b.ref[row] = b.counters[NEXT_REF]
    b.counters[NEXT_REF] += 1
    _link(b, s, row, b.side[row], level, shares)
    b.deltas[s] += 2
    emit(b, out, _U, s, old, b.ref[row], b.side[row], shares, level, 0)


@compiled
def execute(b: Any, out: Any, s: int, row: int, shares: int, shown: bool, level: int, code: int) -> None:
    """E at the displayed price, or C (``shown`` false) at ``level`` with its printable flag."""
    ref, side = b.ref[row], b.side[row]
    b.deltas[s] += 1
    if shares == b.shares[row]:
        _unlink(b, s, row)
        _forget(b, s, row)
    else:
        b.shares[row] -= shares
        b.size[s, b.price[row]] -= shares
    if shown:
        emit(b, out, _E, s, ref, 0, side, shares, -1, 0)
    else:
        emit(b, out, _C, s, ref, 0, side, shares, level, code)


@compiled
def hidden(b: Any, out: Any, s: int, shares: int, level: int) -> None:
    """P: a trade against an order that was not displayed; the book stays as it is."""
    emit(b, out, _P, s, 0, 0, BID, shares, level, 0)
