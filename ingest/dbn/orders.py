"""An order id of an instrument in, its row out: where the resting orders of DBN's full books lie.

An open hash with linear probing, deletion by shifting back; it grows between kernel calls, never inside one.
A cleared book does not look for its orders: its generation moves on, and those of an older one are dropped
when the table grows.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.dbn import state as st

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True, forceinline=True)
def _home(orders, order_id, tag):  # type: ignore[no-untyped-def]
    mixed = (np.uint64(order_id) ^ (np.uint64(tag) * _GOLDEN)) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _GOLDEN
    return np.int64(mixed >> np.uint64(32)) & np.int64(orders.shape[0] - 1)


@njit(cache=True, nogil=True, forceinline=True)
def find_order(orders, order_id, tag):  # type: ignore[no-untyped-def]
    """Row of an order; ``-1 - row`` of the free one that it would take."""
    mask = np.int64(orders.shape[0] - 1)
    row = _home(orders, order_id, tag)
    while orders[row, st.TAG] != 0:
        if orders[row, st.ORDER_ID] == order_id and orders[row, st.TAG] == tag:
            return row
        row = (row + 1) & mask
    return -1 - row


@njit(cache=True, nogil=True, forceinline=True)
def put_order(state, row, order_id, tag, side, price, size):  # type: ignore[no-untyped-def]
    """Fill a row that ``find_order`` said is free."""
    order = state.orders[row]
    order[st.ORDER_ID], order[st.TAG] = order_id, tag
    order[st.SIDE], order[st.PRICE], order[st.SIZE] = side, price, size
    state.shared[st.ORDERS_USED] += 1


@njit(cache=True, nogil=True, forceinline=True)
def drop_order(state, hole):  # type: ignore[no-untyped-def]
    """Free a row and shift back what was pushed on by it."""
    orders = state.orders
    mask = np.int64(orders.shape[0] - 1)
    probe = (hole + 1) & mask
    while orders[probe, st.TAG] != 0:
        home = _home(orders, orders[probe, st.ORDER_ID], orders[probe, st.TAG])
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            orders[hole] = orders[probe]
            hole = probe
        probe = (probe + 1) & mask
    orders[hole, st.TAG] = 0
    state.shared[st.ORDERS_USED] -= 1


@njit(cache=True, nogil=True)
def _resting(orders, instruments):  # type: ignore[no-untyped-def]
    """Orders whose book has not been cleared since."""
    count = 0
    for row in range(orders.shape[0]):
        tag = orders[row, st.TAG]
        count += tag != 0 and instruments[(tag >> 32) - 1, st.GENERATION] == tag & 0xFFFFFFFF
    return count


@njit(cache=True, nogil=True)
def _move(old, orders, instruments):  # type: ignore[no-untyped-def]
    """Put the orders of one table that still rest into another, which is empty; how many there are."""
    used = 0
    for row in range(old.shape[0]):
        tag = old[row, st.TAG]
        if tag != 0 and instruments[(tag >> 32) - 1, st.GENERATION] == tag & 0xFFFFFFFF:
            orders[-1 - find_order(orders, old[row, st.ORDER_ID], tag)] = old[row]
            used += 1
    return used


def grow_orders(state: st.State) -> st.State:
    """The same with a table that is at most a quarter full: larger only where so many orders still rest."""
    entries = len(state.orders)
    if 4 * _resting(state.orders, state.instruments) > entries:
        entries *= 2
    orders: NDArray[np.int64] = np.zeros((entries, st.ORDER), dtype=np.int64)
    state.shared[st.ORDERS_USED] = _move(state.orders, orders, state.instruments)
    return state._replace(orders=orders)
