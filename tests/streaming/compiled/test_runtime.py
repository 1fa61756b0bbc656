"""Java's arithmetic, against Python's decimals; Java's priority queue, against its definition."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streaming.compiled import runtime

WHOLE = st.integers(-(2**31), 2**31)
DIGITS = st.integers(0, 8)


@settings(deadline=None)  # the first call compiles
@given(st.floats(-1e7, 1e7, allow_nan=False), DIGITS)
@example(5629500.285350814, 8)
def test_round_is_half_up_of_the_shortest_decimal(number: float, digits: int) -> None:
    """Java's BigDecimal.valueOf(x).setScale(n, HALF_UP): repr() is the shortest decimal, as in Java."""
    exact = Decimal(repr(number)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    assert runtime.round_half_up(number, digits) == float(exact)


@settings(deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(0, 6))
def test_round_of_written_ties(whole: int, digits: int) -> None:
    """x.xx5 goes away from zero, although its double may lie below the tie."""
    tie = Decimal(whole * 10 + (5 if whole >= 0 else -5)).scaleb(-digits - 1)
    exact = tie.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    assert runtime.round_half_up(float(tie), digits) == float(exact)


@settings(deadline=None)
@given(WHOLE, WHOLE.filter(bool))
def test_whole_division_cuts_towards_zero(left: int, right: int) -> None:
    """Java's / and %: 7 / -2 is -3, and the remainder has the sign of the dividend."""
    quotient = math.trunc(Decimal(left) / Decimal(right))
    assert runtime.whole_div(left, right) == quotient
    assert runtime.whole_mod(left, right) == left - quotient * right


def test_division_by_zero_fails() -> None:
    """Flink's job fails there; a number made up would be worse."""
    with pytest.raises(ZeroDivisionError, match="divided by zero"):
        runtime.whole_div(1, 0)


def test_logarithms_and_powers_outside_their_range() -> None:
    """Infinity and NaN where C raises an error."""
    assert runtime.java_log(0.0) == -math.inf
    assert math.isnan(runtime.java_log(-1.0))
    assert math.isnan(runtime.java_sqrt(-1.0))
    assert math.isnan(runtime.java_pow(-2.0, 0.5))
    assert runtime.java_pow(0.0, -1.0) == math.inf


class JavaQueue:
    """java.util.PriorityQueue (Java SE 17) of (key, name) by key alone, from its specification."""

    def __init__(self) -> None:
        self.items: list[tuple[int, int]] = []

    def add(self, item: tuple[int, int]) -> None:
        place = len(self.items)
        self.items.append(item)
        while place > 0:
            parent = (place - 1) // 2
            if item[0] >= self.items[parent][0]:
                break
            self.items[place] = self.items[parent]
            place = parent
        self.items[place] = item

    def down(self, place: int, item: tuple[int, int]) -> None:
        count = len(self.items)
        while place < count // 2:
            child = 2 * place + 1
            if child + 1 < count and self.items[child][0] > self.items[child + 1][0]:
                child += 1
            if item[0] <= self.items[child][0]:
                break
            self.items[place] = self.items[child]
            place = child
        self.items[place] = item

    def poll(self) -> None:
        last = self.items.pop()
        if self.items:
            self.down(0, last)

    def remove_below(self, below: int) -> None:
        kept = [item for item in self.items if item[0] >= below]
        if len(kept) != len(self.items):
            self.items = kept
            for place in range(len(kept) // 2 - 1, -1, -1):
                self.down(place, self.items[place])


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("aaapr"), st.integers(0, 6)), max_size=40))
def test_queue_is_java_s(steps: list[tuple[str, int]]) -> None:
    """Items of one key leave in the order in which Java's queue lets them go."""
    java, queue_i, queue_f, count = JavaQueue(), np.zeros((64, 2), np.int64), np.zeros((64, 1)), 0
    for name, (step, key) in enumerate(steps):
        if step == "a":
            java.add((key, name))
            queue_i[count] = key, name
            runtime.sift_up(queue_i, queue_f, count)
            count += 1
        elif step == "p" and count:
            java.poll()
            count = runtime.poll(queue_i, queue_f, count)
        elif step == "r":
            java.remove_below(key)
            count = runtime.prune_queue(queue_i, queue_f, count, key)
        assert [tuple(row) for row in queue_i[:count].tolist()] == java.items


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=50))
def test_group_is_a_stable_sort(numbers: list[int]) -> None:
    """Rows of a partition stay in their order."""
    order, starts = runtime.group(np.array(numbers, np.int32), 6)
    assert order.tolist() == np.argsort(np.array(numbers, np.int32), kind="stable").tolist()
    assert starts.tolist() == np.searchsorted(sorted(numbers), range(7)).tolist()
