"""Price levels by number: one side of a book is an array, best level first, changed in place.

Source: CME Group, "MDP 3.0 - Market by Price - Multiple Depth Book": New inserts at its level and moves the
worse ones down, the one beyond the depth falls off; Change sets the size at a price that stays; Delete takes
a level out and moves the worse ones up. DeleteThru, DeleteFrom, Overlay as FIX 5.0 SP2 has them (tag 279,
values 3 to 5): from the best level to this one, from this one to the worst, and price and size of a level
anew. An entry that does not fit the book is refused before it changes anything: then the book is not the
venue's.
"""

from __future__ import annotations

from numba import njit

from ingest.sbe.mdp3.state import LEVELS_MAX

NEW, CHANGE, DELETE, DELETE_THRU, DELETE_FROM, OVERLAY = range(6)
NULL_PRICE = 2**63 - 1
BID, ASK = 0, 1


@njit(cache=True, nogil=True, forceinline=True)
def _better(side, price, other):  # type: ignore[no-untyped-def]
    return price > other if side == BID else price < other


@njit(cache=True, nogil=True)
def fits(levels, count, depth, side, action, level, price, size):  # type: ignore[no-untyped-def]
    """Whether an entry makes sense for this side as it is.

    levels: int64 (LEVELS_MAX, 2), price and size; level: from 1, as on the wire.
    """
    if level < 1 or level > depth or depth > LEVELS_MAX:
        return False
    if action in (DELETE_THRU, DELETE_FROM):
        return level <= count or count == 0
    if action == DELETE:
        return level <= count and (price == NULL_PRICE or levels[level - 1, 0] == price)
    if size <= 0 or price == NULL_PRICE:
        return False
    if action == CHANGE:
        return level <= count and levels[level - 1, 0] == price
    if (action != NEW and action != OVERLAY) or level > count + 1:
        return False
    if level > 1 and not _better(side, levels[level - 2, 0], price):
        return False
    below = level - 1 if action == NEW else level
    return below >= count or _better(side, price, levels[below, 0])


@njit(cache=True, nogil=True)
def change(levels, count, depth, action, level, price, size, gone):  # type: ignore[no-untyped-def]
    """Change a side by an entry that fits: (levels now, how many prices are gone from it).

    gone: int64 (LEVELS_MAX), filled with the prices that are not there any more.
    """
    row = level - 1
    lost = 0
    if action == CHANGE:
        levels[row, 1] = size
        return count, 0
    if action == NEW:
        if count == depth:
            gone[0] = levels[count - 1, 0]
            lost = 1
            count -= 1
        for i in range(count, row, -1):
            levels[i, 0], levels[i, 1] = levels[i - 1, 0], levels[i - 1, 1]
        levels[row, 0], levels[row, 1] = price, size
        return count + 1, lost
    if action == OVERLAY:
        if row < count and levels[row, 0] != price:
            gone[0] = levels[row, 0]
            lost = 1
        levels[row, 0], levels[row, 1] = price, size
        return max(count, level), lost
    low = 0 if action == DELETE_THRU else row
    high = count if action == DELETE_FROM else min(level, count)
    for i in range(low, high):
        gone[lost] = levels[i, 0]
        lost += 1
    for i in range(high, count):
        levels[i - lost, 0], levels[i - lost, 1] = levels[i, 0], levels[i, 1]
    return count - lost, lost
