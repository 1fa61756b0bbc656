"""What every compiled rule calls: Java's arithmetic where it differs from C's, and the work over batches.

Reference: Java SE 17, ``java.math.BigDecimal``, ``java.util.PriorityQueue``; Flink 2.3, SqlFunctionUtils.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_EXACT = 9_007_199_254_740_992.0  # 2**53: up to here every whole number is a double
_EXACT_TENTH = _EXACT / 10.0  # below, ten times a whole number and five are a double


@njit(cache=True, inline="always")
def whole_div(left, right):  # type: ignore[no-untyped-def]  # int64, int64 -> int64
    """Towards zero, as Java divides; a zero divisor fails, as on Flink."""
    if right == 0:
        raise ZeroDivisionError("a whole number is divided by zero")
    found = abs(left) // abs(right)
    return found if (left < 0) == (right < 0) else -found


@njit(cache=True, inline="always")
def whole_mod(left, right):  # type: ignore[no-untyped-def]  # int64, int64 -> int64
    """With the sign of the dividend."""
    if right == 0:
        raise ZeroDivisionError("a whole number is divided by zero")
    found = abs(left) % abs(right)
    return -found if left < 0 else found


@njit(cache=True, inline="always")
def sign_of(number):  # type: ignore[no-untyped-def]  # the argument's type
    """-1, 0 or 1."""
    if number > 0:
        return number * 0 + 1
    return number * 0 - 1 if number < 0 else number * 0


@njit(cache=True)
def to_whole(number):  # type: ignore[no-untyped-def]  # float64 -> int64
    """Towards zero; NaN is 0, and what is too large the largest there is, as Java casts."""
    if number != number:
        return np.int64(0)
    if number >= 9.2e18:
        return np.int64(9_223_372_036_854_775_807)
    if number <= -9.2e18:
        return np.int64(-9_223_372_036_854_775_808)
    return np.int64(number)


@njit(cache=True)
def java_sqrt(number):  # type: ignore[no-untyped-def]  # float64 -> float64
    """NaN below zero."""
    return math.sqrt(number) if number >= 0.0 else math.nan


@njit(cache=True)
def java_log(number):  # type: ignore[no-untyped-def]  # float64 -> float64
    """Minus infinity at zero, NaN below."""
    if number > 0.0:
        return math.log(number)
    return -math.inf if number == 0.0 else math.nan


@njit(cache=True)
def java_log2(number):  # type: ignore[no-untyped-def]  # float64 -> float64
    """As Flink has it: the quotient of two natural logarithms."""
    return java_log(number) / math.log(2.0)


@njit(cache=True)
def java_log10(number):  # type: ignore[no-untyped-def]  # float64 -> float64
    """Minus infinity at zero, NaN below."""
    if number > 0.0:
        return math.log10(number)
    return -math.inf if number == 0.0 else math.nan


@njit(cache=True)
def java_pow(base, exponent):  # type: ignore[no-untyped-def]  # float64, float64 -> float64
    """NaN where C raises a domain error."""
    if base < 0.0 and exponent != math.floor(exponent):
        return math.nan
    if base == 0.0 and exponent < 0.0:
        return math.inf
    return base**exponent


@njit(cache=True)
def round_half_up(number, digits):  # type: ignore[no-untyped-def]  # float64, int64 -> float64
    """As ``BigDecimal.valueOf(number).setScale(digits, HALF_UP)``: half away from zero, of the number as
    it is written in decimals, so 1.005 at two digits is 1.01 although its double is a little less."""
    size = abs(number)
    if digits < 0:
        unit = 10.0**-digits
        found = np.floor(size / unit + 0.5) * unit
        return -found if number < 0 else found
    scale = 10.0**digits
    if not size * scale < _EXACT:
        return number
    # the part behind the point alone: of a large number, times the scale is rounded to a coarse grid
    point = np.floor(size)
    part = size - point
    nearest = point * scale + np.floor(part * scale + 0.5)
    if nearest / scale == size:
        return number  # it has no more digits than asked for
    low = np.floor(part * scale)
    whole = point * scale + low
    if whole < _EXACT_TENTH:
        middle = (whole * 10.0 + 5.0) / (scale * 10.0)
    else:
        middle = point + (low * 10.0 + 5.0) / (scale * 10.0)
    if size > middle:
        whole += 1.0
    elif size == middle and part - (low * 10.0 + 5.0) / (scale * 10.0) > -0.05 / scale:
        whole += 1.0  # the tie itself, not another decimal of as many digits with the same double
    found = whole / scale
    return -found if number < 0 else found


@njit(cache=True)
def in_order(times, keys):  # type: ignore[no-untyped-def]  # int64 (n,), int64 (n,) -> bool
    """Whether rows rise by time, then key. It looks at all, since without a way out it needs a sixth."""
    falls = False
    for row in range(1, len(times)):
        tie = times[row] == times[row - 1]
        falls |= (times[row] < times[row - 1]) | (tie & (keys[row] < keys[row - 1]))
    return not falls


@njit(cache=True)
def group(partitions, count):  # type: ignore[no-untyped-def]  # int32 (n,), int -> int64 (n,), int64 (count + 1,)
    """A stable counting sort: row numbers by partition, and where each partition begins."""
    starts = np.zeros(count + 1, np.int64)
    for row in range(len(partitions)):
        starts[partitions[row] + 1] += 1
    for number in range(count):
        starts[number + 1] += starts[number]
    fill = starts.copy()
    order = np.empty(len(partitions), np.int64)
    for row in range(len(partitions)):
        number = partitions[row]
        order[fill[number]] = row
        fill[number] += 1
    return order, starts


@njit(cache=True)
def copy_rows(from_i, from_f, begin, count, to_i, to_f, place):  # type: ignore[no-untyped-def]
    """``count`` records from row ``begin`` to row ``place``."""
    for row in range(count):
        for column in range(from_i.shape[1]):
            to_i[place + row, column] = from_i[begin + row, column]
        for column in range(from_f.shape[1]):
            to_f[place + row, column] = from_f[begin + row, column]


@njit(cache=True)
def sift_up(queue_i, queue_f, place):  # type: ignore[no-untyped-def]  # heap by column 0, in place
    """``PriorityQueue.siftUp``: two matches of one start leave the queue as they leave Flink's."""
    while place > 0:
        parent = (place - 1) >> 1
        if queue_i[place, 0] >= queue_i[parent, 0]:
            return
        _swap(queue_i, queue_f, place, parent)
        place = parent


@njit(cache=True)
def sift_down(queue_i, queue_f, place, count):  # type: ignore[no-untyped-def]  # heap by column 0, in place
    """``PriorityQueue.siftDown``."""
    half = count >> 1
    while place < half:
        child = 2 * place + 1
        right = child + 1
        if right < count and queue_i[child, 0] > queue_i[right, 0]:
            child = right
        if queue_i[place, 0] <= queue_i[child, 0]:
            return
        _swap(queue_i, queue_f, place, child)
        place = child


@njit(cache=True)
def poll(queue_i, queue_f, count):  # type: ignore[no-untyped-def]  # -> the new count
    """``PriorityQueue.poll``: drop the first, and put the last in its place."""
    count -= 1
    if count > 0:
        copy_rows(queue_i, queue_f, count, 1, queue_i, queue_f, 0)
        sift_down(queue_i, queue_f, 0, count)
    return count


@njit(cache=True)
def prune_queue(queue_i, queue_f, count, below):  # type: ignore[no-untyped-def]  # -> the new count
    """``PriorityQueue.removeAll`` of those that started before ``below``."""
    kept = 0
    for place in range(count):
        if queue_i[place, 0] >= below:
            if kept != place:
                copy_rows(queue_i, queue_f, place, 1, queue_i, queue_f, kept)
            kept += 1
    if kept != count:
        for place in range((kept >> 1) - 1, -1, -1):
            sift_down(queue_i, queue_f, place, kept)
    return kept


@njit(cache=True)
def _swap(queue_i, queue_f, one, other):  # type: ignore[no-untyped-def]
    for column in range(queue_i.shape[1]):
        queue_i[one, column], queue_i[other, column] = queue_i[other, column], queue_i[one, column]
    for column in range(queue_f.shape[1]):
        queue_f[one, column], queue_f[other, column] = queue_f[other, column], queue_f[one, column]


@njit(cache=True)
def release(work_i, first, end, queue_i, queue_f, qn, out_i, out_f, n_out):  # type: ignore[no-untyped-def]
    """Let go of matches before which no partial match is open, and prune what each of them overlaps."""
    while qn > 0 and (first == end or queue_i[0, 0] <= work_i[first, 0]):
        below = queue_i[0, 1]
        if queue_i[0, 2] != 0:
            if n_out >= out_i.shape[0]:
                return first, qn, -1
            copy_rows(queue_i, queue_f, 0, 1, out_i, out_f, n_out)
            n_out += 1
        qn = poll(queue_i, queue_f, qn)
        while first < end and work_i[first, 0] < below:
            first += 1
        qn = prune_queue(queue_i, queue_f, qn, below)
    return first, qn, n_out
