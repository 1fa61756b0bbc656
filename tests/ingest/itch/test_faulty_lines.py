"""Packets dropped, overtaken and doubled: what can be repaired is, the rest are gaps of the right range.

All without a socket and in virtual time; ``test_session_lines.py`` does one over real UDP.
"""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from execution.market import MarketState
from ingest.itch.moldudp64 import Gap, Tracker, pack, pack_end
from tests.ingest.itch.faulty_lines import (
    MOLD,
    MS,
    PACKET_NS,
    Faults,
    Line,
    Record,
    S,
    Venue,
    batch_of,
    capture,
    decode,
    fresh_decoder,
    gaps_of,
    sound_tape,
    timeless,
    undisturbed,
)
from tickloom.codec import TickBatch
from tickloom.events import EventBlock

RATES = (0.0001, 0.001, 0.01, 0.05)
CLEAN = Faults()


@cache
def venue(messages: int, seed: int) -> Venue:
    return Venue.of(sound_tape(messages, seed), random.Random(seed))


def gaps(block: EventBlock) -> list[Gap]:
    return [Gap(first, last) for first, last in block.gaps[["first_missing", "last_missing"]].tolist()]


@pytest.mark.parametrize("both", [False, True], ids=["one line", "both lines"])
@pytest.mark.parametrize("rate", RATES)
def test_what_can_be_repaired_leaves_no_trace(rate: float, both: bool) -> None:
    """With the retransmission server up, whatever the lines lose, its answers too: the events are those of an
    undisturbed run, none twice, and there is no gap. With one faulty line nobody is asked."""
    rng = random.Random(f"{rate} {both}")
    tape = venue(4_000, 1)
    faults = Faults(rate, rate, rate)
    lines = [Line.of(tape.packets(), line, faults if both or not line else CLEAN, rng) for line in (0, 1)]
    records, done, arbiter = capture(tape, lines, lossy_answers=rate, rng=rng)
    assert lines[0].lost
    assert lines[0].reordered
    assert lines[0].doubled
    decoder, block = decode(records)
    assert timeless(block) == timeless(decode(undisturbed(tape))[1])
    assert decoder.ended
    assert done["given_up"] == 0
    if not both:
        assert done["requests"] == 0
        lost = sum(tape.bounds[index + 1] - tape.bounds[index] for index in lines[0].lost)
        assert (arbiter.lines.counts(0).lost, arbiter.lines.counts(1).lost) == (lost, 0)
    assert sum(arbiter.lines.counts(line).first for line in range(16)) == len(tape.tape)


@pytest.mark.parametrize("count", [1, 2], ids=["one line", "two lines"])
@pytest.mark.parametrize("rate", RATES)
def test_what_cannot_be_repaired_is_a_gap_of_the_right_range(rate: float, count: int) -> None:
    """With the server down, gaps are exactly the messages that no line brought, each in its place; all other
    events are those of an undisturbed run, none twice."""
    rng = random.Random(f"{rate} {count}")
    tape = venue(4_000, 2)
    lines = [Line.of(tape.packets(), line, Faults(rate, rate, rate), rng) for line in range(count)]
    nobody = min(lines[0].lost)  # at least one that no line brings
    lines[-1].arrivals = [one for one in lines[-1].arrivals if one[2] != tape.packet(nobody)]
    lines[-1].lost.add(nobody)
    lost = set.intersection(*(line.lost for line in lines))
    records, done, _ = capture(tape, lines, server=False, rng=rng)
    expected = gaps_of(tape, lost)
    decoder, block = decode(records)
    assert gaps(block) == expected
    assert done["given_up"] == len(expected)
    assert timeless(block) == timeless(decode(undisturbed(tape, expected))[1])
    assert decoder.counters["gap_messages"] == sum(gap.last - gap.first + 1 for gap in expected)


@settings(deadline=None, max_examples=25)
@example(1_074, 1, False, 0.08)  # the first packet is lost
@given(st.integers(0, 2**32), st.integers(1, 3), st.booleans(), st.floats(0, 0.4))
def test_any_schedule(seed: int, count: int, server: bool, rate: float) -> None:
    """Any number of lines, any rates, the server up or down: repaired, or gaps where all lines lost."""
    rng = random.Random(seed)
    tape = venue(300, seed % 4)
    faults = [Faults(rng.random() * rate, rng.random(), rng.random()) for _ in range(count)]
    lines = [Line.of(tape.packets(), line, each, rng) for line, each in enumerate(faults)]
    records, _, _ = capture(tape, lines, server=server, lossy_answers=0.2, rng=rng)
    lost = set() if server else set.intersection(*(line.lost for line in lines))
    expected = gaps_of(tape, lost)
    _, block = decode(records)
    assert gaps(block) == expected
    assert timeless(block) == timeless(decode(undisturbed(tape, expected))[1])


def test_books_are_untrusted_exactly_as_long_as_a_gap_is_behind_them() -> None:
    """Record by record: from a gap on, until its next quote, the agent trusts no instrument; at any other
    time it does. Repaired losses are never seen."""
    rng = random.Random(5)
    tape = Venue.of(sound_tape(1_500, 5, [f"STOCK{number}" for number in range(12)]), rng)
    line = Line.of(tape.packets(), 0, Faults(drop=0.01), rng)
    for server, states in ((True, {False}), (False, {False, True})):
        records, _, _ = capture(tape, [line], server=server, rng=rng)
        decoder, market = fresh_decoder(), MarketState()
        quoted: dict[str, int] = {}
        gap_seq, seen = -1, set()
        for record in records:
            block = decoder.decode(batch_of([record]))
            market.apply(TickBatch(0, 0, decoder.watermark_ns, decoder.last_seq, block), 1)
            for symbol, seq in zip(block.quotes["symbol"], block.quotes["seq"], strict=True):
                quoted[block.symbols.names[symbol]] = int(seq)
            gap_seq = max([gap_seq, *block.gaps["seq"].tolist()])
            for symbol, last in quoted.items():
                view = market.view("XNAS", symbol)
                assert view is not None
                assert bool(view.untrusted) == (last < gap_seq)
                seen.add(bool(view.untrusted))
        assert seen == states


@pytest.mark.parametrize("step_s", [5, -5])
def test_clock_steps_change_nothing_but_receive_times(step_s: int) -> None:
    """The clock that stamps packets steps by 5 s, and back: the same events, requests and gaps; a step is no
    lead of a line."""
    tape, events = venue(2_000, 3), []
    for steps in ([], [(20 * MS, step_s * S), (60 * MS, -step_s * S)]):
        rng = random.Random(9)
        lines = [Line.of(tape.packets(), line, Faults(0.02, 0.02, 0.02), rng) for line in (0, 1)]
        records, done, arbiter = capture(tape, lines, server=False, clock_steps=steps, rng=rng)
        events.append((timeless(decode(records)[1]), done))
        led = [arbiter.lines.counts(line) for line in (0, 1)]
        assert all(each.lead_ns <= each.led * 60 * PACKET_NS for each in led)
    assert events[0] == events[1]


WRAP = (2**64 - 1, 2**64 - 2, 2**63, 2**63 - 1, 10**10)


@pytest.mark.parametrize("sequence", WRAP)
@pytest.mark.parametrize("count", [0, 1, 3, 0xFFFF])
def test_sequence_numbers_do_not_wrap(sequence: int, count: int) -> None:
    """A number at the end of 64 bits, which a session cannot reach, is no packet: it moves nothing, opens no
    hole, and the numbers behind the wrap are not taken for new ones."""
    tape = venue(60, 6)
    good = tape.packets()
    wild = pack_end(MOLD, sequence) if count == 0xFFFF else pack(MOLD, sequence, tape.tape[:count])
    packets = [*good[:5], wild, *good[5:9], wild, *good[9:]]
    records: list[Record] = [(0, 0, raw, 0) for raw in packets]
    decoder, block = decode([*records, (0, 0, pack_end(MOLD, len(tape.tape) + 1), 0)])
    assert timeless(block) == timeless(decode(undisturbed(tape))[1])
    assert decoder.counters["malformed"] == 2
    tracker = Tracker(MOLD)
    batch = batch_of(records)
    assert list(tracker.take(batch.data, batch.offsets, batch.kinds)) == [5, 10]
    assert tracker.sequencer.missing() is None
    assert tracker.sequencer.expected == len(tape.tape) + 1
