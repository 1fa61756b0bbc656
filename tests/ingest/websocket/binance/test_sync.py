"""Bridging on paper: which updates follow which snapshot."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.websocket.binance import sync as sync_module
from ingest.websocket.binance.messages import Market
from ingest.websocket.binance.sync import BookSync, Levels, Outcome, PendingDepth, Snapshot

NOTHING = Levels(np.empty(0, np.int8), np.empty(0, np.int64), np.empty(0, np.int64))

CASES: list[tuple[Market, int, list[tuple[int, int, int]], Outcome, list[int]]] = [
    # market, snapshot's id, (U, u, pu) of what waits, outcome, u of what is to be applied
    ("spot", 100, [(90, 95, -1), (96, 100, -1)], Outcome.WAIT, []),
    ("spot", 100, [(96, 100, -1), (101, 101, -1)], Outcome.BRIDGED, [101]),
    ("spot", 100, [(96, 100, -1), (101, 105, -1), (106, 110, -1)], Outcome.BRIDGED, [105, 110]),
    ("spot", 100, [(96, 104, -1)], Outcome.BRIDGED, [104]),
    ("spot", 100, [(102, 104, -1)], Outcome.STALE, [104]),
    ("usdm", 100, [(90, 95, 80)], Outcome.WAIT, []),
    ("usdm", 100, [(90, 100, 80), (130, 140, 100)], Outcome.BRIDGED, [140]),
    ("usdm", 100, [(90, 110, 80)], Outcome.BRIDGED, [110]),
    ("usdm", 100, [(120, 130, 95)], Outcome.BRIDGED, [130]),
    ("usdm", 100, [(120, 130, 101)], Outcome.STALE, [130]),
    # the recorded ETHUSDT futures: U lies beyond the snapshot's id, the chain is whole
    (
        "usdm",
        5123107856276,
        [(5123107856317, 5123107860000, 5123107856270)],
        Outcome.BRIDGED,
        [5123107860000],
    ),
]


@pytest.mark.parametrize(("market", "last_id", "waiting", "outcome", "left"), CASES)
def test_bridge(
    market: Market, last_id: int, waiting: list[tuple[int, int, int]], outcome: Outcome, left: list[int]
) -> None:
    """Updates in the snapshot go; the first of the rest must join it, or the snapshot is too old."""
    sync = BookSync(market)
    for ids in waiting:
        sync.add(PendingDepth(*ids, NOTHING))
    sync.snapshot = Snapshot(last_id, NOTHING)
    assert sync.bridge() is outcome
    assert [depth.final_id for depth in sync.pending] == left
    assert sync.wants_snapshot is (outcome is Outcome.STALE)


def test_snapshot_is_wanted_once_updates_flow() -> None:
    """Before the first update nothing is asked for; with a snapshot in hand nothing more is."""
    sync = BookSync("spot")
    assert not sync.wants_snapshot
    sync.add(PendingDepth(1, 2, -1, NOTHING))
    assert sync.wants_snapshot
    sync.snapshot = Snapshot(2, NOTHING)
    assert not sync.wants_snapshot


def test_waiting_updates_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the oldest goes, so that only a newer snapshot fits."""
    monkeypatch.setattr(sync_module, "PENDING_DEPTHS_MAX", 2)
    sync = BookSync("spot")
    assert [sync.add(PendingDepth(i, i, -1, NOTHING)) for i in (1, 2, 3)] == [0, 0, 1]
    sync.snapshot = Snapshot(0, NOTHING)
    assert sync.bridge() is Outcome.STALE
