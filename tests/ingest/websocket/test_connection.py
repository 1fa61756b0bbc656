"""Which books to subscribe anew, and when, without a socket."""

from __future__ import annotations

import random

from ingest.websocket.connection import ResubscribePlanner
from tickloom.clock import NS_PER_MS

PATIENCE_MS = 5_000


def planner() -> ResubscribePlanner:
    made = ResubscribePlanner(PATIENCE_MS, 200, 30_000, random.Random(3))
    made.subscribed(["A", "B"], 0)
    return made


def at(ms: float) -> int:
    return int(ms * NS_PER_MS)


def test_a_new_connection_has_time_for_its_snapshots() -> None:
    """Nothing is asked twice before the venue's time is up; then only what is still missing."""
    plan = planner()
    assert plan.due(["A", "B"], at(10)) == []
    assert plan.due(["B"], at(PATIENCE_MS - 1)) == []
    assert plan.due(["B"], at(PATIENCE_MS)) == ["B"]
    assert plan.due(["B"], at(PATIENCE_MS + 1)) == []


def test_a_book_that_was_whole_is_asked_for_at_once() -> None:
    """A loss behind a snapshot does not wait, and the other book is left alone."""
    plan = planner()
    assert plan.due([], at(100)) == []
    assert plan.due(["A"], at(101)) == ["A"]


def test_a_book_that_is_lost_each_time_does_not_use_up_the_requests() -> None:
    """Synced and lost with every message: one request in the venue's time and backoff, not one a message."""
    plan = planner()
    plan.due([], at(1))
    asked = 0
    for ms in range(2, 3_600_000, 20):
        asked += len(plan.due(["A"], at(ms)))
        plan.due([], at(ms + 10))
    assert 100 < asked < 480  # an hour; OKX allows 480 requests


def test_a_book_that_held_for_a_minute_is_lost_anew() -> None:
    """Backoff ends with a minute of quiet: the next loss is seen to at once."""
    plan = planner()
    plan.due([], at(1))
    assert plan.due(["A"], at(2)) == ["A"]
    assert plan.due([], at(3)) == []
    assert plan.due(["A"], at(4)) == []
    assert plan.due([], at(ResubscribePlanner.STEADY_MS + 10)) == []
    assert plan.due([], at(ResubscribePlanner.STEADY_MS + 11)) == []
    assert plan.due(["A"], at(ResubscribePlanner.STEADY_MS + 12)) == ["A"]
