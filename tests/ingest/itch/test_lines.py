"""What each line was worth: counts by hand, and against a plain count of sets."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.capture_batch import CaptureBatch
from ingest.capture_format import ANSWERS
from ingest.itch import lines as module
from ingest.itch.lines import LineCounts, Lines, LineWatch, Silence, line_name
from ingest.itch.moldudp64 import pack, pack_end

SESSION = b"000000001A"
MS = 1_000_000


def take(lines: Lines, *packets: tuple[int, int, int, int]) -> list[int]:
    """Packets of (line, receive time, first number, messages)."""
    records = [(0, ts, pack(SESSION, number, [b"x"] * count)) for _, ts, number, count in packets]
    return lines.take(CaptureBatch.of(records, lines=[line for line, *_ in packets]))


def test_first_and_late_copies() -> None:
    """A brings all, 2 ms ahead; B brings the same after it, and loses the middle one."""
    lines = Lines(SESSION)
    assert take(lines, (0, 0, 1, 2), (0, 10 * MS, 3, 2), (0, 20 * MS, 5, 1)) == [0]
    assert take(lines, (1, 2 * MS, 1, 2), (1, 22 * MS, 5, 1)) == [1]
    a, b = lines.counts(0), lines.counts(1)
    assert a == LineCounts(packets=3, first=5, late=0, repeated=0, lost=0, led=3, lead_ns=6 * MS)
    assert b == LineCounts(packets=2, first=0, late=3, repeated=0, lost=2, led=0, lead_ns=0)


def test_a_packet_that_comes_late_is_not_lost() -> None:
    """Out of order on its own line: for a while missing, then there; and once more is a repetition."""
    lines = Lines(SESSION)
    take(lines, (0, 0, 1, 1), (0, 0, 4, 1))
    assert lines.counts(0).lost == 2
    take(lines, (0, 0, 2, 2))
    assert lines.counts(0).lost == 0
    take(lines, (0, 0, 2, 2))
    assert lines.counts(0) == LineCounts(4, 4, 0, 2, 0, 0, 0)


def test_line_that_joins_late_has_lost_what_was_before() -> None:
    """From the first packet of any line on, each line should have brought all."""
    lines = Lines(SESSION)
    take(lines, (0, 0, 7, 3), (0, 0, 10, 5), (1, 0, 15, 1))
    assert (lines.counts(0).lost, lines.counts(1).lost) == (0, 8)


def test_heartbeat_and_end_show_a_lost_tail() -> None:
    """A line that is told of a number that it has not brought has lost what is before it."""
    lines = Lines(SESSION)
    take(lines, (0, 0, 1, 1), (0, 0, 4, 0))
    assert lines.counts(0).lost == 2
    lines.take(CaptureBatch.of([(0, 0, pack_end(SESSION, 6))]))
    assert lines.counts(0).lost == 4


def test_answers_lose_nothing_and_lead_nobody() -> None:
    """What was asked for counts as first where it was; a line's copy of it is late, without lead."""
    lines = Lines(SESSION)
    take(lines, (0, 0, 1, 1), (ANSWERS, 0, 50, 1), (1, 5, 50, 1))
    assert lines.counts(ANSWERS) == LineCounts(1, 1, 0, 0, 0, 0, 0)
    assert lines.counts(1) == LineCounts(1, 0, 1, 0, 49, 0, 0)


def test_clock_that_steps_is_no_lead() -> None:
    """The receive clock steps by 5 s, back or on, between two copies: counted as copies, not as a lead."""
    for step_ns in (5_000 * MS, -5_000 * MS):
        lines = Lines(SESSION)
        take(lines, (0, 10_000 * MS, 1, 1), (1, 10_000 * MS + step_ns, 1, 1))
        assert lines.counts(0) == LineCounts(1, 1, 0, 0, 0, 0, 0)
        assert lines.counts(1).late == 1


def test_garbage_and_other_sessions_do_not_count() -> None:
    """Nor do numbers that no session has, near the wrap of 64 bits."""
    lines = Lines(SESSION)
    bad = [b"", b"garbage", pack(b"OTHER", 1, [b"x"]), pack(SESSION, 2**64 - 1, [b"x"] * 3)]
    assert lines.take(CaptureBatch.of([(0, 0, raw) for raw in bad])) == []
    assert lines.take(CaptureBatch.of([(1, 0, pack(SESSION, 1, [b"x"]))])) == []  # a control record
    assert lines.counts(0) == LineCounts(0, 0, 0, 0, 0, 0, 0)


def test_copy_from_long_ago_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is bounded: a copy of a message that is further back is late, without a lead."""
    lines = Lines(SESSION)
    for at in range(1, module.RING + 100, 1_000):
        take(lines, (0, 0, at, 1_000))
    take(lines, (1, 1, 1, 1))
    assert lines.counts(1) == LineCounts(1, 0, 1, 0, 0, 0, 0)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32))
def test_counts_agree_with_plain_sets(seed: int) -> None:
    """Random lines, cuts, losses, repetitions and order: the same counts as sets of numbers give."""
    rng = random.Random(seed)
    sends: list[tuple[int, int, int, int]] = []
    for line in (0, 1, 2, ANSWERS):
        at = 1
        while at < 60:
            count = rng.randint(0, 5)
            if rng.random() > 0.2:
                sends.append((line, 0, at, count))
            at += count
    rng.shuffle(sends)
    sends.insert(0, (0, 0, 1, 1))
    has: dict[int, set[int]] = {line: set() for line in (0, 1, 2, ANSWERS)}
    told = dict.fromkeys(has, 1)
    kinds: dict[int, list[int]] = {line: [0, 0, 0] for line in has}
    for line, _, first, count in sends:
        for number in range(first, first + count):
            anybody = any(number in one for one in has.values())
            kinds[line][2 if number in has[line] else 1 if anybody else 0] += 1
            has[line].add(number)
        told[line] = max(told[line], first + count)
    lines = Lines(SESSION)
    while sends:
        cut = rng.randint(1, len(sends))
        take(lines, *sends[:cut])
        sends = sends[cut:]
    for line in has:
        found = lines.counts(line)
        assert [found.first, found.late, found.repeated] == kinds[line]
        if line != ANSWERS:
            heard = found.packets > 0
            assert found.lost == (len(set(range(1, told[line])) - has[line]) if heard else 0)


def test_silent_line_is_told_once_and_when_it_is_back() -> None:
    """B says nothing for longer than its limit while A goes on; later it is heard again."""
    watch = LineWatch(2, silent_ms=1_000)
    assert watch.heard([0], 0) == []
    assert watch.heard([0], 1_000 * MS) == []
    assert watch.heard([0], 1_001 * MS) == [Silence(1, True)]
    assert watch.heard([0], 9_000 * MS) == []
    assert watch.heard([1, ANSWERS], 9_001 * MS) == [Silence(1, False)]


def test_silent_venue_is_no_silent_line() -> None:
    """All lines silent together, over a night: when they are heard again nobody is blamed."""
    watch = LineWatch(2, silent_ms=1_000)
    watch.heard([0, 1], 0)
    assert watch.heard([], 50_000 * MS) == []
    assert watch.heard([0], 60_000 * MS) == []
    assert watch.heard([1], 60_001 * MS) == []
    assert watch.heard([1], 61_001 * MS) == [Silence(0, True)]


def test_names() -> None:
    """Lines are called as venues call them."""
    assert [line_name(line) for line in (0, 1, 2, ANSWERS)] == ["A", "B", "C", "resend"]
