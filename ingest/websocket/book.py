"""Level updates in, the book of an instrument out: sorted arrays, best level last.

Nearly all updates are near the top, so with the best level at the end an insertion moves few others. A
side is sorted by ``key``: the price of a bid, the price of an ask negated; so one code serves both.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tickloom.events import Side
from tickloom.prices import NO_PRICE
from tickloom.unowned import unowned

LEVELS_START = 4_096  # of a side; the recorded books have up to 5,018
LEVELS_MAX = 65_536  # of a side; beyond, the level farthest from the top goes, and is counted

_NO_PRICE = int(NO_PRICE)
BIDS, ASKS = 0, 1  # rows of an instrument: Side.BUY - 1 and Side.SELL - 1


class LevelBooks:
    """Books of all instruments of a session, in arrays that compiled code can fill.

    Attributes
    ----------
    keys, sizes : int64, shape (instruments, 2, room)
        Levels of a side in rising order of key; nanos.
    counts : int64, shape (instruments, 2)
        How many of them are in use.
    """

    def __init__(self, instruments: int, room: int = LEVELS_START) -> None:
        self.keys: NDArray[np.int64] = np.zeros((instruments, 2, room), dtype=np.int64)
        self.sizes: NDArray[np.int64] = np.zeros_like(self.keys)
        self.counts: NDArray[np.int64] = np.zeros((instruments, 2), dtype=np.int64)

    @property
    def room(self) -> int:
        """Levels that a side can hold now."""
        return int(self.keys.shape[2])

    def grow(self, room: int) -> None:
        """Make room for at least ``room`` levels a side, at most ``LEVELS_MAX``."""
        wanted = self.room
        while wanted < min(room, LEVELS_MAX):
            wanted *= 2
        wanted = min(wanted, LEVELS_MAX)
        if wanted > self.room:
            more = ((0, 0), (0, 0), (0, wanted - self.room))
            self.keys = np.pad(self.keys, more)
            self.sizes = np.pad(self.sizes, more)

    def clear(self, instrument: int) -> None:
        """Forget all levels of an instrument."""
        self.counts[instrument] = 0

    def cut(self, instrument: int, depth: int) -> None:
        """Keep the best ``depth`` levels of each side."""
        for side in (BIDS, ASKS):
            over = int(self.counts[instrument, side]) - depth
            if over > 0:
                for column in (self.keys, self.sizes):
                    column[instrument, side, :depth] = column[instrument, side, over : over + depth].copy()
                self.counts[instrument, side] = depth

    def copy_from(self, instrument: int, other: LevelBooks, theirs: int) -> None:
        """Take over another book as it is."""
        self.grow(int(other.counts[theirs].max()))
        for side in (BIDS, ASKS):
            count = int(other.counts[theirs, side])
            self.keys[instrument, side, :count] = other.keys[theirs, side, :count]
            self.sizes[instrument, side, :count] = other.sizes[theirs, side, :count]
            self.counts[instrument, side] = count

    def apply(
        self,
        instrument: int,
        sides: NDArray[np.int8],
        prices: NDArray[np.int64],
        sizes: NDArray[np.int64],
    ) -> int:
        """Set levels to their new total sizes (0: gone); how many far ones had to go for want of room."""
        self.grow(int(self.counts[instrument].max()) + len(prices))
        dropped: int = apply_levels(
            self.keys[instrument], self.sizes[instrument], self.counts[instrument], sides, prices, sizes
        )
        return dropped

    def best(self, instrument: int) -> tuple[int, int, int, int]:
        """Bid price, bid size, ask price, ask size; nanos; NO_PRICE and 0 on an empty side."""
        top = np.empty(4, dtype=np.int64)
        fill_top(self.keys[instrument], self.sizes[instrument], self.counts[instrument], top)
        return int(top[0]), int(top[1]), int(top[2]), int(top[3])

    def levels(self, instrument: int, side: Side) -> list[tuple[int, int]]:
        """Price and size of each level, best first."""
        row = int(side) - 1
        count = int(self.counts[instrument, row])
        keys = self.keys[instrument, row, :count][::-1]
        sizes = self.sizes[instrument, row, :count][::-1]
        sign = 1 if row == BIDS else -1
        return [(sign * int(key), int(size)) for key, size in zip(keys, sizes, strict=True)]

    def difference(
        self, instrument: int, other: LevelBooks, theirs: int
    ) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int64]]:
        """Sides, prices and sizes that turn ``other``'s book into this one, each level at most once."""
        room = int(self.counts[instrument].sum() + other.counts[theirs].sum())
        sides = np.empty(room, dtype=np.int8)
        prices = np.empty(room, dtype=np.int64)
        sizes = np.empty(room, dtype=np.int64)
        used = 0
        for side in (BIDS, ASKS):
            used = _difference(
                other.keys[theirs, side, : other.counts[theirs, side]],
                other.sizes[theirs, side, : other.counts[theirs, side]],
                self.keys[instrument, side, : self.counts[instrument, side]],
                self.sizes[instrument, side, : self.counts[instrument, side]],
                side,
                sides,
                prices,
                sizes,
                used,
            )
        return sides[:used], prices[:used], sizes[:used]


@njit(cache=True, nogil=True)
def _place(keys, count, key):  # type: ignore[no-untyped-def]
    """Index of the first level that is not below ``key``; near the top it takes few steps."""
    keys = unowned(keys)
    low, high = 0, count
    step = 8
    while high - low > step:  # gallop from the end
        if keys[high - step] < key:
            low = high - step
            break
        high -= step
        step *= 2
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


# Of unsigned indexes the compiler knows that they are not negative, and of one array a loop that it copies
# forward or backward: so it moves levels many at a time.


@njit(cache=True, nogil=True, inline="always")
def _move_down(levels, low, high):  # type: ignore[no-untyped-def]
    """Levels behind ``low``, up to ``high``, a place towards the far end; the one at ``low`` goes."""
    for i in range(np.uint64(low), np.uint64(high)):
        levels[i] = levels[i + np.uint64(1)]


@njit(cache=True, nogil=True, inline="always")
def _move_up(levels, low, count):  # type: ignore[no-untyped-def]
    """Levels from ``low`` on a place towards the best end, which makes room at ``low``."""
    for i in range(np.uint64(count - low)):
        levels[np.uint64(count) - i] = levels[np.uint64(count) - i - np.uint64(1)]


@njit(cache=True, nogil=True)
def set_level(keys, sizes, counts, row, price, size):  # type: ignore[no-untyped-def]
    """Set one level of a side; 1 if a far level had to go (or to stay out) for want of room."""
    keys, sizes, counts = unowned(keys), unowned(sizes), unowned(counts)
    key = price if row == BIDS else -price
    side_keys, side_sizes, count = keys[row], sizes[row], counts[row]
    at = _place(side_keys, count, key)
    known = at < count and side_keys[at] == key
    if size == 0:
        if known:
            _move_down(side_keys, at, count - 1)
            _move_down(side_sizes, at, count - 1)
            counts[row] = count - 1
        return 0
    if known:
        side_sizes[at] = size
        return 0
    dropped = 0
    if count == side_keys.size:
        if at == 0:
            return 1
        _move_down(side_keys, 0, at - 1)
        _move_down(side_sizes, 0, at - 1)
        at -= 1
        dropped = 1
    else:
        _move_up(side_keys, at, count)
        _move_up(side_sizes, at, count)
        counts[row] = count + 1
    side_keys[at], side_sizes[at] = key, size
    return dropped


@njit(cache=True, nogil=True)
def apply_levels(keys, sizes, counts, level_sides, level_prices, level_sizes):  # type: ignore[no-untyped-def]
    """Set levels in their order; how many far levels had to go."""
    dropped = 0
    for i in range(level_prices.size):
        dropped += set_level(keys, sizes, counts, level_sides[i] - 1, level_prices[i], level_sizes[i])
    return dropped


@njit(cache=True, nogil=True)
def fill_top(keys, sizes, counts, top):  # type: ignore[no-untyped-def]
    """Best bid price and size, best ask price and size into ``top``."""
    keys, sizes, counts, top = unowned(keys), unowned(sizes), unowned(counts), unowned(top)
    for row in range(2):
        count = counts[row]
        if count == 0:
            top[2 * row], top[2 * row + 1] = _NO_PRICE, 0
        else:
            key = keys[row, count - 1]
            top[2 * row] = key if row == BIDS else -key
            top[2 * row + 1] = sizes[row, count - 1]


@njit(cache=True, nogil=True)
def is_crossed(top):  # type: ignore[no-untyped-def]
    """Whether the best bid is not below the best ask."""
    top = unowned(top)
    return top[0] != _NO_PRICE and top[2] != _NO_PRICE and top[0] >= top[2]


@njit(cache=True, nogil=True)
def may_repeat(prices, sides, low, high):  # type: ignore[no-untyped-def]
    """Whether a level may come twice in an update: false where each side is strictly sorted (the rule)."""
    prices, sides = unowned(prices), unowned(sides)
    rising = falling = True
    for i in range(low + 1, high):
        if sides[i] != sides[i - 1]:
            rising = falling = True
            continue
        rising = rising and prices[i] > prices[i - 1]
        falling = falling and prices[i] < prices[i - 1]
        if not rising and not falling:
            return True
    return False


@njit(cache=True, nogil=True)
def _difference(old_keys, old_sizes, new_keys, new_sizes, row, sides, prices, sizes, used):  # type: ignore[no-untyped-def]
    """Merge two sorted sides; what changed goes behind ``used``."""
    sign = 1 if row == BIDS else -1
    i = j = 0
    while i < old_keys.size or j < new_keys.size:
        if j == new_keys.size or (i < old_keys.size and old_keys[i] < new_keys[j]):
            key, size, changed = old_keys[i], 0, True
            i += 1
        elif i == old_keys.size or new_keys[j] < old_keys[i]:
            key, size, changed = new_keys[j], new_sizes[j], True
            j += 1
        else:
            key, size, changed = new_keys[j], new_sizes[j], new_sizes[j] != old_sizes[i]
            i += 1
            j += 1
        if changed:
            sides[used], prices[used], sizes[used] = row + 1, sign * key, size
            used += 1
    return used
