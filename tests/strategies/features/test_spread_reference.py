"""Spreads of pairs against a plain implementation, on tapes of any kind, whole and in pieces."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.features.spreads import Spreads
from tests.strategies.features.spread_reference import Plain
from tests.strategies.features.spread_tape import LEGS, Tape, calibrated, pair_set, spreads_of
from tickloom.events import SPREAD_DTYPE, SPREAD_STATE_TEXTS, EventBlock, StatusCode
from tickloom.prices import NO_PRICE

PAIRS = pair_set(
    calibrated("A~B", 1.5, -2.0, 0.5),
    calibrated("C~B", 0.5, 1.0, 2.0),
    calibrated("A~C"),
    calibrated("B~D", -1.0),
)


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """Some hundred events: ties in a millisecond and in a seq, one-sided and crossed books, halts, gaps."""
    tape = Tape()
    at_ms = 0.0
    for _ in range(draw(st.integers(1, 60))):
        at_ms += draw(st.sampled_from((0.0, 0.0, 0.25, 1.0, 3.0, 15.0, 60.0)))
        leg = draw(st.sampled_from((*LEGS, "A", "B", "Z")))
        kind = draw(st.sampled_from(("quote",) * 12 + ("bare", "crossed", "same seq", "status", "gap")))
        mid = draw(st.sampled_from((9.0, 9.5, 10.0, 10.5, 11.25)))
        if kind == "status":
            wanted = draw(
                st.sampled_from(
                    (StatusCode.HALTED, StatusCode.TRADING, StatusCode.BOOK_LOST, StatusCode.BOOK_SYNCED)
                )
            )
            tape.status(leg, at_ms, wanted)
        elif kind == "gap":
            tape.gap(draw(st.sampled_from((leg, ""))), at_ms)
        elif kind == "crossed":
            tape.quote(leg, at_ms, mid, half=-0.01)
        elif kind == "same seq":
            tape.quote("A", at_ms, mid)
            tape.quote("B", at_ms, mid + 1, seq=tape.seq)
        else:
            tape.quote(leg, at_ms, mid)
            if kind == "bare":
                tape.quotes[-1] = (*tape.quotes[-1][:4], NO_PRICE, *tape.quotes[-1][5:])
    return tape


@settings(max_examples=200, deadline=None)
@given(tapes())
def test_agrees_with_a_plain_implementation(tape: Tape) -> None:
    """Every spread, score, age and state is that of an implementation by definition over the whole past."""
    block = tape.block()
    found = spreads_of(block, PAIRS)
    names = ["", *(pair.symbol for pair in PAIRS.pairs)]
    ours = {
        (names[row["symbol"]], int(row["seq"])): (
            row["spread"],
            row["z"],
            row["z_rolling"],
            int(row["age_ns"]),
            SPREAD_STATE_TEXTS[row["state"]],
        )
        for row in found
    }
    expected = {one[:2]: one[2:] for one in Plain(PAIRS).run(block)}
    assert len(ours) == len(found)  # a pair and a seq are one spread
    assert ours.keys() == expected.keys()
    for key, (spread, z, rolling, age, state) in expected.items():
        assert ours[key][:2] == (spread, z), key
        assert ours[key][2] == pytest.approx(rolling, rel=1e-5, abs=1e-5, nan_ok=True), key
        assert ours[key][3:] == (age, state), key


@settings(max_examples=100, deadline=None)
@given(tapes(), st.randoms(use_true_random=False))
def test_order_of_arrival_and_cuts_change_nothing(tape: Tape, random: Any) -> None:
    """Legs that arrive on partitions of their own, in pieces, with watermarks anywhere and a restart from
    a snapshot between any two of them, give the same bytes as the whole in one piece."""
    block = tape.block()
    whole = spreads_of(block, PAIRS)
    shard_of = np.array([0, 0, 1, 2, 1, 0])
    pieces: list[list[EventBlock]] = []
    for shard in range(3):
        own = block.select(
            {name: shard_of[records["symbol"]] == shard for name, records in block.kinds().items()}
        )
        ts = np.unique(np.concatenate([records["ts_event"] for records in own.kinds().values()]))
        cuts = sorted(random.sample(ts.tolist(), k=random.randint(0, len(ts)))) if len(ts) else []
        edges = [0, *cuts, 2**62]
        pieces.append(
            [
                own.select(
                    {
                        name: (records["ts_event"] >= low) & (records["ts_event"] < high)
                        for name, records in own.kinds().items()
                    }
                )
                for low, high in pairwise(edges)
            ]
        )
    marks = [0, 0, 0]
    spreads, found = Spreads(PAIRS), []
    while any(pieces):
        shard = random.choice([number for number, left in enumerate(pieces) if left])
        spreads.push(pieces[shard].pop(0))
        following = [
            kind["ts_event"].min() for one in pieces[shard] for kind in one.kinds().values() if len(kind)
        ]
        marks[shard] = int(min(following, default=2**62))
        found += spreads.advance(min(marks))
        if random.random() < 0.3:
            again = Spreads(PAIRS)
            again.restore(spreads.snapshot())
            spreads = again
    found += spreads.finish()
    parts = [one.spreads for one in found]
    joined = np.concatenate(parts) if parts else np.empty(0, dtype=SPREAD_DTYPE)
    assert joined.tobytes() == whole.tobytes()
    assert spreads.late_rows == 0
