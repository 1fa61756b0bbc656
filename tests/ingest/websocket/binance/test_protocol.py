"""Addresses, backoff, silence and snapshot requests, without a socket."""

from __future__ import annotations

import random

import pytest

from ingest.websocket.binance.protocol import (
    Backoff,
    SilenceWatch,
    SnapshotPlanner,
    is_end,
    snapshot_url,
    stream_url,
)
from ingest.websocket.links import control, control_event
from tickloom.clock import NS_PER_MS


def test_addresses() -> None:
    """Streams are combined, in small letters; the REST path is the market's."""
    assert stream_url("wss://stream.binance.com:9443/", ["BTCUSDT"]) == (
        "wss://stream.binance.com:9443/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade"
    )
    assert snapshot_url("https://fapi.binance.com", "usdm", "ETHUSDT") == (
        "https://fapi.binance.com/fapi/v1/depth?symbol=ETHUSDT&limit=1000"
    )
    assert snapshot_url("https://api.binance.com", "spot", "ETHUSDT") == (
        "https://api.binance.com/api/v3/depth?symbol=ETHUSDT&limit=5000"
    )


def test_backoff_doubles_up_to_its_cap_with_full_jitter() -> None:
    """Delays lie between zero and a bound that doubles, then stays; success starts over."""
    backoff = Backoff(200, 3_000, random.Random(1))
    delays = [[Backoff(200, 3_000, random.Random(seed)).next_ms() for seed in range(200)]]
    assert 0 <= min(delays[0]) < 20
    assert 180 < max(delays[0]) <= 200
    for bound in (200, 400, 800, 1_600, 3_000, 3_000):
        assert 0 <= backoff.next_ms() <= bound
    backoff.failures = 10_000  # no overflow after a weekend without the venue
    assert backoff.next_ms() <= 3_000
    backoff.reset()
    assert backoff.next_ms() <= 200


def test_silence_is_counted_from_the_last_message() -> None:
    """The time left is the limit after each message, and never negative."""
    watch = SilenceWatch(1_000, 0)
    watch.heard(500 * NS_PER_MS)
    assert watch.left_s(1_000 * NS_PER_MS) == 0.5
    assert watch.left_s(9_000 * NS_PER_MS) == 0.0


def test_snapshots_are_asked_for_one_at_a_time() -> None:
    """An instrument has one request on its way; after an answer that did not help the next one waits."""
    planner = SnapshotPlanner(100, 1_000, random.Random(3))
    assert planner.due(["A", "B"], 0) == ["A", "B"]
    assert planner.due(["A", "B"], 1) == []
    planner.done("A", 1)
    assert planner.due(["A"], 1) == []
    assert planner.due(["A"], 1 + 100 * NS_PER_MS) == ["A"]
    planner.done("A", 2 + 100 * NS_PER_MS)
    planner.synced("A")
    assert planner.due(["A"], 2 + 100 * NS_PER_MS) == ["A"]


def test_late_answer_of_a_synced_book_is_no_error() -> None:
    """A book may be whole, and lost again, while a request is on its way: still one at a time."""
    planner = SnapshotPlanner(100, 1_000)
    assert planner.due(["A"], 0) == ["A"]
    planner.synced("A")
    assert planner.due(["A"], 0) == []
    planner.done("A", 1)


@pytest.mark.parametrize(
    ("payload", "event"), [(b"{", None), (b"[]", None), (b"{}", None), (b'{"event":1}', None)]
)
def test_control_records_that_are_none(payload: bytes, event: None) -> None:
    """Anything but an object with an event is no control record."""
    assert control_event(payload) is event


def test_control_round_trip() -> None:
    """What is written is read back."""
    assert control_event(control("open", url="ws://x")) == "open"


@pytest.mark.parametrize(
    ("code", "reason", "end"),
    [(1000, "end of session", True), (1000, "", False), (1001, "end of session", False), (None, "", False)],
)
def test_only_the_agreed_close_ends_the_session(code: int | None, reason: str, end: bool) -> None:
    """A venue that restarts or drops us has not ended its session."""
    assert is_end(code, reason) is end
