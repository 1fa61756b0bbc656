"""The sequencer: whatever the network does, messages come out in order, each once."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.capture import CaptureBatch
from ingest.itch import moldudp64
from ingest.itch.moldudp64 import NEVER, Gap, Packet, Sequencer, Tracker, messages, pack, pack_end, parse

SESSION = b"000000001A"


def packet(sequence: int, count: int = 1) -> Packet:
    return Packet(SESSION, sequence, count, count)


def accept(sequencer: Sequencer[int], sequence: int, count: int = 1) -> list[int | Gap]:
    return sequencer.accept(packet(sequence, count), sequence)


def test_packet_by_hand() -> None:
    """A packet spelled out: ten bytes, u64, u16, then a length before each message."""
    raw = SESSION + bytes.fromhex("0000000000000007 0002 0003 414243 0001 44")
    assert pack(SESSION, 7, [b"ABC", b"D"]) == raw
    assert parse(raw) == Packet(SESSION, 7, 2, 2)
    assert messages(raw) == [b"ABC", b"D"]


@pytest.mark.parametrize("size", range(34))
def test_truncated_packet_gives_its_whole_messages(size: int) -> None:
    """Cut off anywhere, a packet still gives the messages that are there in full, and no other."""
    raw = pack(SESSION, 7, [b"ABC", b"D", b"EF"])[:size]
    found = parse(raw)
    if size < 20:
        assert found is None
    else:
        whole = (size >= 25) + (size >= 28) + (size >= 32)
        assert found == Packet(SESSION, 7, 3, whole)
        assert messages(raw) == [b"ABC", b"D", b"EF"][:whole]


def test_garbage_is_no_packet() -> None:
    """A sequence number of zero, or beyond what a session can have, is no MoldUDP64."""
    assert parse(b"\xff" * 64) is None
    assert parse(bytes(20)) is None


def test_in_order_and_duplicate() -> None:
    """What is due goes on at once; what was there comes to nothing."""
    sequencer: Sequencer[int] = Sequencer()
    assert accept(sequencer, 1, 3) == [1]
    assert accept(sequencer, 1, 3) == []
    assert accept(sequencer, 4) == [4]
    assert sequencer.expected == 5
    assert sequencer.missing() is None


def test_late_packet_fills_gap_once() -> None:
    """A retransmitted packet closes the gap and emits nothing twice."""
    sequencer: Sequencer[int] = Sequencer()
    assert accept(sequencer, 1) == [1]
    assert accept(sequencer, 4) == []
    assert accept(sequencer, 5) == []
    assert sequencer.missing() == Gap(2, 3)
    assert accept(sequencer, 2, 2) == [2, 4, 5]
    assert accept(sequencer, 2, 2) == []
    assert (sequencer.missing(), sequencer.expected) == (None, 6)


def test_resend_that_overlaps() -> None:
    """A resend that reaches beyond the hole, or over its start, is taken for what is new in it."""
    sequencer: Sequencer[int] = Sequencer()
    accept(sequencer, 1, 3)
    accept(sequencer, 6, 2)
    assert accept(sequencer, 2, 5) == [2, 6]  # 2 to 6 and 6 to 7: the caller skips 2, 3 and the second 6
    assert sequencer.expected == 8


def test_heartbeat_shows_a_gap_at_the_end() -> None:
    """A heartbeat whose number is ahead tells of messages that were lost with nothing behind them."""
    sequencer: Sequencer[int] = Sequencer()
    accept(sequencer, 1, 2)
    assert sequencer.accept(packet(5, 0), 0) == []
    assert sequencer.missing() == Gap(3, 4)


def test_end_waits_for_what_is_missing() -> None:
    """A session has ended when its last message is there, not when its end is announced."""
    sequencer: Sequencer[int] = Sequencer()
    accept(sequencer, 1)
    sequencer.accept(Packet(SESSION, 3, 0xFFFF, 0), 0)
    assert sequencer.missing() == Gap(2, 2)
    assert not sequencer.ended
    accept(sequencer, 2)
    assert sequencer.ended


def test_given_up_gap_is_said_in_its_place() -> None:
    """What nobody can resend comes out as a gap, before what waited behind it."""
    sequencer: Sequencer[int] = Sequencer()
    accept(sequencer, 3)
    accept(sequencer, 6)
    assert sequencer.give_up(2) == [Gap(1, 2), 3]
    assert sequencer.missing() == Gap(4, 5)
    assert sequencer.give_up(2) == []
    assert accept(sequencer, 1) == []  # too late: it was given up


def test_too_much_behind_a_gap_gives_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits behind a gap is bounded; at the bound the gap is given up by itself."""
    monkeypatch.setattr(moldudp64, "PENDING_PACKETS_MAX", 3)
    sequencer: Sequencer[int] = Sequencer()
    for sequence in (3, 5, 7):
        assert accept(sequencer, sequence) == []
    assert accept(sequencer, 9) == [Gap(1, 2), 3]
    assert sequencer.missing() == Gap(4, 4)
    assert sequencer.first_pending == 5


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_any_order_any_duplicates(seed: int, count: int) -> None:
    """Packets of any cut, in any order, any of them twice, overlapping: every number comes once, in order."""
    rng = random.Random(seed)
    sends: list[tuple[int, int]] = []
    for _ in range(2):
        at = 1
        while at <= count:
            size = min(rng.randint(1, 5), count - at + 1)
            sends.append((at, size))
            at += size
    rng.shuffle(sends)
    sequencer: Sequencer[tuple[int, int]] = Sequencer()
    seen: list[int] = []
    for first, size in sends:
        for item in sequencer.accept(packet(first, size), (first, size)):
            assert not isinstance(item, Gap)
            seen.extend(n for n in range(item[0], item[0] + item[1]) if n > (seen[-1] if seen else 0))
    assert seen == list(range(1, count + 1))
    assert (sequencer.first_pending, sequencer.missing()) == (NEVER, None)


@settings(deadline=None)  # the first example waits for the compiler
@given(st.integers(0, 2**32))
def test_tracker_agrees_with_the_sequencer(seed: int) -> None:
    """The compiled pass over a batch comes to the same state as the plain sequencer, however it is cut."""
    rng = random.Random(seed)
    packets = []
    at = 1
    while at < 40:
        size = rng.randint(0, 4)
        packets.append(pack(SESSION, at, [b"x"] * size))
        at += size
    packets.append(pack_end(SESSION, at))
    packets += [b"garbage", pack(b"OTHER", 3, [b"y"]), packets[2], packets[1][:-1]]
    for _ in range(rng.randint(0, 6)):
        packets.pop(rng.randrange(len(packets)))
    rng.shuffle(packets) if rng.random() < 0.5 else None
    tracker = Tracker(SESSION)
    plain: Sequencer[None] = Sequencer()
    strange = 0
    while packets:
        cut = rng.randint(1, len(packets))
        now, packets = packets[:cut], packets[cut:]
        batch = CaptureBatch.of([(0, 0, raw) for raw in now])
        strange += len(list(tracker.take(batch.data, batch.offsets, batch.kinds)))
        for raw in now:
            head = parse(raw)
            if head is not None and head.session == SESSION:
                plain.accept(head, None)
                plain.release()
            else:
                strange -= 1
    mine = tracker.sequencer
    assert (mine.expected, mine.first_pending, mine.missing(), mine.ended, strange) == (
        plain.expected,
        plain.first_pending,
        plain.missing(),
        plain.ended,
        0,
    )


def test_tracker_stops_at_records_that_are_no_data() -> None:
    """A record of another kind is handed to the caller, in its place."""
    batch = CaptureBatch.of(
        [(0, 0, pack(SESSION, 1, [b"a"])), (1, 0, b"{}"), (0, 0, pack(SESSION, 2, [b"b"]))]
    )
    tracker = Tracker(SESSION)
    assert list(tracker.take(batch.data, batch.offsets, batch.kinds)) == [1]
    assert tracker.sequencer.expected == 3
    assert np.array_equal(batch.kinds, [0, 1, 0])
