"""Compiled limit order books of all stocks at once: every change is one message of the flow.

Prices are indices into a stock's ladder (index 0 is ``base`` ticks), side 0 is the bid, 1 the ask.
Each level is a queue of orders in time priority. The books count what a decoder should make of their
messages (trades, changes of the best quote, changed levels): that is the session's truth.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic.compiled import compiled, constant
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

BID, ASK, NONE, NO_LEVEL, NO_STATE = map(constant, (0, 1, 0, -1, 0))
_A, _C, _D, _E, _F, _N, _P, _U, _X = (constant(ord(letter)) for letter in "ACDEFNPUX")


#: A live order, a row of the pool: chained per level by prev and next; pos is its place in ``live``.
_ORDER_DTYPE = np.dtype([(name, "<i8") for name in ("ref", "shares", "price", "side", "prev", "next", "pos")])
#: A price level: first and last order in the queue (-1: none), and the shares of all.
_LEVEL_DTYPE = np.dtype([("head", "<i8"), ("tail", "<i8"), ("shares", "<i8")])
#: A stock. base: price in ticks of level 0; unit: 1e-4 dollars a tick; the rest is the truth.
_STOCK_DTYPE = np.dtype([(name, "<i8") for name in ("base", "unit", "trades", "quotes", "deltas")])


class Books(NamedTuple):
    """State of all books, in few arrays because each of them costs compile time in every function."""

    orders: NDArray[np.void]  # the pool
    free: NDArray[np.int64]  # a stack of its unused rows
    ladder: NDArray[np.void]  # (stock, level)
    stocks: NDArray[np.void]
    live: NDArray[np.int64]  # (stock, side, n): rows of the live orders, in no order
    n_live: NDArray[np.int64]  # (stock, side)
    best: NDArray[np.int64]  # (stock, side): level; -1 or the ladder's length where the side is empty
    shown: NDArray[np.int64]  # (stock, 4): best quote after the last message
    counters: NDArray[np.int64]


def make_books(parameters: MarketParameters) -> Books:
    """Empty books around the reference prices."""
    listed = parameters.stocks
    n = len(listed)
    reference = np.array([item.reference // item.tick for item in listed], dtype=np.int64)
    half = int(reference.max() * _DRIFT_SPAN) + _MARGIN_TICKS
    levels, pool = 2 * half + 1, n * 2 * ORDERS_MAX
    counters = np.zeros(8, dtype=np.int64)
    counters[NEXT_REF] = counters[NEXT_MATCH] = 1
    counters[FREE_TOP] = pool
    ladder = np.zeros((n, levels), dtype=_LEVEL_DTYPE)
    ladder["head"] = ladder["tail"] = -1
    stocks = np.zeros(n, dtype=_STOCK_DTYPE)
    stocks["base"] = reference - half
    stocks["unit"] = [item.tick // 100_000 for item in listed]
    return Books(
        orders=np.zeros(pool, dtype=_ORDER_DTYPE),
        free=np.arange(pool, dtype=np.int64)[::-1].copy(),
        ladder=ladder,
        stocks=stocks,
        live=np.zeros((n, 2, ORDERS_MAX), dtype=np.int64),
        n_live=np.zeros((n, 2), dtype=np.int64),
        best=np.tile(np.array([-1, levels], dtype=np.int64), (n, 1)),
        shown=np.tile(np.array([-1, 0, levels, 0], dtype=np.int64), (n, 1)),
        counters=counters,
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
    row.price = (b.stocks[s].base + level) * b.stocks[s].unit if level >= 0 else 0
    if kind in (_E, _C, _P):
        row.match = b.counters[NEXT_MATCH]
        b.counters[NEXT_MATCH] += 1
        if code != _N:
            b.stocks[s].trades += 1
    b.counters[N_OUT] = n + 1
    bid, ask = b.best[s, BID], b.best[s, ASK]
    bid_size = b.ladder[s, bid].shares if bid >= 0 else 0
    ask_size = b.ladder[s, ask].shares if ask < b.ladder.shape[1] else 0
    shown = b.shown[s]
    if shown[0] != bid or shown[1] != bid_size or shown[2] != ask or shown[3] != ask_size:
        shown[0], shown[1], shown[2], shown[3] = bid, bid_size, ask, ask_size
        b.stocks[s].quotes += 1


@compiled
def step_time(b: Any, rng: Any) -> None:
    """Move the books' time on by what separates two messages of one cluster: 0.3 to 4 microseconds."""
    b.counters[NOW] += 300 + int(rng.random() * 3_700)


@compiled
def _link(b: Any, s: int, row: int, side: int, level: int, shares: int) -> None:
    b.orders[row].shares, b.orders[row].price, b.orders[row].side = shares, level, side
    last = b.ladder[s, level].tail
    b.orders[row].prev, b.orders[row].next = last, -1
    if last >= 0:
        b.orders[last].next = row
    else:
        b.ladder[s, level].head = row
    b.ladder[s, level].tail = row
    b.ladder[s, level].shares += shares
    if (side == BID and level > b.best[s, BID]) or (side == ASK and level < b.best[s, ASK]):
        b.best[s, side] = level


@compiled
def _unlink(b: Any, s: int, row: int) -> None:
    level, side = b.orders[row].price, b.orders[row].side
    before, after = b.orders[row].prev, b.orders[row].next
    if before >= 0:
        b.orders[before].next = after
    else:
        b.ladder[s, level].head = after
    if after >= 0:
        b.orders[after].prev = before
    else:
        b.ladder[s, level].tail = before
    b.ladder[s, level].shares -= b.orders[row].shares
    if level == b.best[s, side] and b.ladder[s, level].head < 0:
        step, end = (-1, -1) if side == BID else (1, b.ladder.shape[1])
        level += step
        while level != end and b.ladder[s, level].head < 0:
            level += step
        b.best[s, side] = level


@compiled
def _forget(b: Any, s: int, row: int) -> None:
    """Take a row whose order is gone out of the live ones."""
    side = b.orders[row].side
    count = b.n_live[s, side] - 1
    moved = b.live[s, side, count]
    b.live[s, side, b.orders[row].pos] = moved
    b.orders[moved].pos = b.orders[row].pos
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
    b.orders[row].ref = ref
    b.live[s, side, count] = row
    b.orders[row].pos = count
    b.n_live[s, side] = count + 1
    _link(b, s, row, side, level, shares)
    b.stocks[s].deltas += 1
    emit(b, out, _F if attributed else _A, s, ref, NONE, side, shares, level, NO_STATE)


@compiled
def delete(b: Any, out: Any, s: int, row: int) -> None:
    """D: the whole order leaves."""
    _unlink(b, s, row)
    _forget(b, s, row)
    b.stocks[s].deltas += 1
    emit(b, out, _D, s, b.orders[row].ref, NONE, b.orders[row].side, NONE, NO_LEVEL, NO_STATE)


@compiled
def cancel(b: Any, out: Any, s: int, row: int, shares: int) -> None:
    """X: the order shrinks by fewer shares than it has, and keeps its place."""
    b.orders[row].shares -= shares
    b.ladder[s, b.orders[row].price].shares -= shares
    b.stocks[s].deltas += 1
    emit(b, out, _X, s, b.orders[row].ref, NONE, b.orders[row].side, shares, NO_LEVEL, NO_STATE)


@compiled
def replace(b: Any, out: Any, s: int, row: int, level: int, shares: int) -> None:
    """U: the order moves to another level, with a new reference, behind the queue there."""
    old = b.orders[row].ref
    _unlink(b, s, row)
    b.orders[row].ref = b.counters[NEXT_REF]
    b.counters[NEXT_REF] += 1
    _link(b, s, row, b.orders[row].side, level, shares)
    b.stocks[s].deltas += 2
    emit(b, out, _U, s, old, b.orders[row].ref, b.orders[row].side, shares, level, NO_STATE)


@compiled
def execute(b: Any, out: Any, s: int, row: int, shares: int, level: int, code: int) -> None:
    """E at the displayed price; or, where ``code`` is its printable flag, C at ``level``."""
    ref, side = b.orders[row].ref, b.orders[row].side
    b.stocks[s].deltas += 1
    if shares == b.orders[row].shares:
        _unlink(b, s, row)
        _forget(b, s, row)
    else:
        b.orders[row].shares -= shares
        b.ladder[s, b.orders[row].price].shares -= shares
    if code == NO_STATE:
        emit(b, out, _E, s, ref, NONE, side, shares, NO_LEVEL, NO_STATE)
    else:
        emit(b, out, _C, s, ref, NONE, side, shares, level, code)


@compiled
def hidden(b: Any, out: Any, s: int, shares: int, level: int) -> None:
    """P: a trade against an order that was not displayed; the book stays as it is."""
    emit(b, out, _P, s, NONE, NONE, BID, shares, level, NO_STATE)
