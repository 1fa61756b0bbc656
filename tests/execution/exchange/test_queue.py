"""Queue position: trades from the front, cancels in proportion, and the two topics in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from execution.exchange.queue import QueuePosition


def test_trades_take_from_the_front() -> None:
    """50 ahead, 40 traded, and the decrease that says so: 10 ahead."""
    queue = QueuePosition(50)
    queue.consume(40)
    queue.decrease(1, 2, 100, 60, 40)
    assert queue.ahead == 10


def test_cancels_are_spread_over_the_level() -> None:
    """Of 100 at the level 50 are ahead; 40 go, so 20 of them were ahead. None, if all were behind."""
    queue = QueuePosition(50)
    queue.decrease(1, 2, 100, 60, 0)
    assert queue.ahead == 30
    behind = QueuePosition(50, cancel_ahead=0.0)
    behind.decrease(1, 2, 100, 60, 0)
    assert behind.ahead == 50
    behind.decrease(2, 3, 60, 20, 0)  # only 20 are there: no more can be ahead
    assert behind.ahead == 20


@given(
    ahead=st.integers(0, 100),
    behind=st.integers(0, 100),
    traded=st.integers(1, 100),
    cancelled=st.integers(0, 100),
    share=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_late_trade_comes_to_the_same(
    ahead: int, behind: int, traded: int, cancelled: int, share: float
) -> None:
    """Whether the trade or the decrease that it made is told first: the position is the same."""
    displayed = ahead + behind
    traded = min(traded, displayed)
    cancelled = min(cancelled, displayed - traded)
    left = displayed - traded - cancelled
    early, late = QueuePosition(ahead, share), QueuePosition(ahead, share)
    early.consume(traded)
    early.decrease(1, 3, displayed, left, traded)
    late.decrease(1, 3, displayed, left, 0)
    late.late_trade(2, traded)
    late.consume(traded)
    assert late.ahead == early.ahead


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=20), st.integers(0, 100))
def test_never_negative_and_never_more_than_is_there(changes: list[tuple[int, int]], ahead: int) -> None:
    """Whatever the feed says, also where it contradicts itself."""
    queue, displayed = QueuePosition(ahead), ahead
    for seq, (size, traded) in enumerate(changes, start=2):
        queue.late_trade(seq - 1, traded)
        queue.consume(traded)
        if size < displayed:
            queue.decrease(seq - 1, seq, displayed, size, 0)
            assert queue.ahead <= size
        displayed = size
        assert queue.ahead >= 0
