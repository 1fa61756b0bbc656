"""Rows that wait for the watermark come out when it is there, in the order in which they arrived."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.waiting import END, PIECE_ROWS, Rows, Waiting

TIMES = st.lists(st.integers(-5, 30), max_size=8)
TIMES |= TIMES.map(sorted)  # as they come where nothing overtakes


def rows_of(times: list[int], first: int) -> Rows:
    """Rows at these times, numbered from ``first`` on."""
    return {"time": np.array(times, np.int64), "number": np.arange(first, first + len(times))}


def pairs(rows: Rows) -> list[tuple[int, int]]:
    return list(zip(rows["time"].tolist(), rows["number"].tolist(), strict=True)) if rows else []


def by_time(rows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """In the order in which the matchers put them: by time, and as they arrived."""
    return sorted(rows, key=lambda one: one[0])


@given(
    steps=st.lists(st.tuples(TIMES, st.integers(-5, 32)), max_size=12), restored=st.sets(st.integers(0, 11))
)
@settings(deadline=None)
def test_it_is_a_list_that_is_looked_through(steps: list[tuple[list[int], int]], restored: set[int]) -> None:
    """Whatever comes and passes, and wherever the state is saved and taken up again: the naive way is a list
    of all rows. What is due keeps the order of arrival; once restored, among rows of one time."""
    waiting, naive, count = Waiting("time"), list[tuple[int, int]](), 0
    for number, (times, until) in enumerate(steps):
        waiting.put(rows_of(times, count))
        naive += zip(times, range(count, count + len(times)), strict=True)
        count += len(times)
        assert waiting.first == min((time for time, _ in naive), default=END)
        if number in restored:
            other = Waiting("time")
            other.restore(waiting.all())
            waiting = other
        found = pairs(waiting.due(until))
        assert by_time(found) == by_time([one for one in naive if one[0] <= until])
        naive = [one for one in naive if one[0] > until]
        assert by_time(pairs(waiting.all())) == by_time(naive)
        assert len(waiting) == len(naive)


def test_what_is_not_due_is_not_touched() -> None:
    """A step takes only the piece apart that it cuts: the others stay the arrays that they were."""
    waiting = Waiting("time")
    later = rows_of([100, 101], 10)
    waiting.put(later)
    waiting.put(rows_of([1, 5, 3], 0))
    assert pairs(waiting.due(3)) == [(1, 0), (3, 2)]
    assert pairs(waiting.due(50)) == [(5, 1)]
    assert waiting.due(50) == {}
    assert waiting.due(101) is later
    assert waiting.first == END


def test_what_waits_does_not_keep_its_batch() -> None:
    """A few rows of a batch whose times rise are copied; a slice would hold all of its memory."""
    waiting = Waiting("time")
    waiting.put(rows_of([*range(1_000)], 0))
    assert len(waiting.due(997)["time"]) == 998
    assert [values.base for values in waiting.all().values()] == [None, None]


def test_restored_rows_lie_in_pieces_of_their_times() -> None:
    """A million rows of a checkpoint are not copied with each step."""
    times = np.random.default_rng(3).integers(0, 1_000, 3 * PIECE_ROWS).tolist()
    waiting = Waiting("time")
    waiting.restore(rows_of(times, 0))
    first = waiting.due(10)
    assert by_time(pairs(first)) == by_time([(t, n) for n, t in enumerate(times) if t <= 10])
    assert len(waiting.all()["time"]) == len(times) - len(first["time"])
    waiting.restore({})
    assert waiting.first == END
