"""Holes of an ITCH line: said when they open, repaired or given up, with the range, however it is cut."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ingest.capture import CaptureBatch, RecordKind
from ingest.clock_records import limits_record
from ingest.itch.controls import gap_record
from ingest.itch.decoder import ItchDecoder
from ingest.itch.moldudp64 import Gap, Sequencer, messages, pack, parse
from ingest.trusted import TrustedDecoder
from tests.ingest.itch.test_decoder import SESSION, m, packets
from tickloom.clock import NS_PER_MS
from tickloom.events import EventBlock, TrustReason, TrustState
from tickloom.settings import ItchSettings

Record = tuple[int, int, bytes]
TAPE = [m("R", stock="ALFA")] + [
    m("A", reference=n, side="B", shares=100, stock="ALFA", price=10_000 + n) for n in range(1, 12)
]


def decoded(records: list[Record], sizes: list[int] | None = None) -> tuple[list[EventBlock], bytes]:
    decoder, blocks, at = TrustedDecoder(ItchDecoder("XNAS", SESSION)), [], 0
    for size in sizes or [len(records)]:
        blocks.append(decoder.decode(CaptureBatch.of(records[at : at + size], at + 1)))
        at += size
    return blocks, b"".join(block.trust.tobytes() for block in blocks)


def line(records: list[Record], symbol: str = "") -> list[tuple[str, str, int, int, int]]:
    (block,), _ = decoded(records)
    return [
        (
            TrustState(row["state"]).name.lower(),
            TrustReason(row["reason"]).name.lower(),
            int(row["ts_event"]),
            int(row["first_missing"]),
            int(row["last_missing"]),
        )
        for row in block.trust
        if block.symbols.names[row["symbol"]] == symbol
    ]


def at(ts_recv: int, record: Record) -> Record:
    return record[0], ts_recv, record[2]


def test_a_repaired_hole_says_so_with_its_range() -> None:
    """3 to 5 are missing when 6 comes, and are there when 5 comes; books were never wrong."""
    one = packets(TAPE)
    order = [one[0], one[1], one[5], one[4], one[2], one[3], one[6]]
    records = [at(ts, record) for ts, record in enumerate(order, 10)]
    assert line(records) == [
        ("trusted", "heard", 10, 0, 0),
        ("broken", "missing", 12, 3, 5),
        ("trusted", "repaired", 15, 3, 5),
    ]
    assert [row[1] for row in line(records, "ALFA")] == ["heard"]


def test_a_heartbeat_shows_a_hole_too() -> None:
    """The server says that 7 is due when 4 is; what comes then fills it, packet by packet."""
    one = packets(TAPE)
    records = [*one[:3], (0, 20, pack(b"000000001A", 7, [])), at(21, one[3]), at(22, one[4]), at(23, one[5])]
    assert line(records)[1:] == [("broken", "missing", 20, 4, 6), ("trusted", "repaired", 23, 4, 6)]


def test_a_hole_that_is_given_up_breaks_books() -> None:
    """3 comes, 4 and 5 never: which were repaired and which were not; ALFA's next quote mends nothing."""
    one = packets(TAPE)
    gone = (int(RecordKind.CONTROL), 30, gap_record(Gap(4, 5)))
    records = [*one[:2], at(20, one[5]), at(25, one[2]), gone, at(40, one[6])]
    assert line(records)[1:] == [
        ("broken", "missing", 20, 3, 5),
        ("trusted", "repaired", 30, 3, 3),
        ("trusted", "given_up", 31, 4, 5),
    ]
    assert line(records, "ALFA")[1:] == [("broken", "sequence", 30, 4, 5)]


def test_an_order_in_an_unknown_one_s_place_breaks_its_book() -> None:
    """Its side is not said, so it cannot be placed: the book misses it, and says so."""
    tape = [*TAPE, m("U", reference=99, new_reference=100, shares=5, price=10_000)]
    records = [at(ts, record) for ts, record in enumerate(packets(tape), 10)]
    assert line(records, "ALFA")[1:] == [("broken", "book", 22, 13, 13)]


def mess(chance: random.Random) -> list[Record]:
    """Packets lost, late and double; some holes given up; heartbeats, and clock records with limits."""
    tape = TAPE + [
        m("A", reference=n, side="S", shares=10, stock="ALFA", price=20_000 + n) for n in range(100, 220)
    ]
    limits = ItchSettings(stale_ms=7, line_stale_ms=5)
    records: list[Record] = [(int(RecordKind.CLOCK), 0, limits_record(limits))]
    order: list[tuple[float, Record]] = []
    for place, record in enumerate(packets(tape, size=2)):
        if chance.random() > 0.1:
            order.append((place + chance.choice([0, 0, 0, 3.5]), record))
        if chance.random() < 0.1:
            order.append((place + chance.choice([1.5, 9.5]), record))
    now, sequencer = 0, Sequencer[None]()
    for _, record in sorted(order, key=lambda each: each[0]):
        now += chance.choice([1, 1, 1, 12]) * NS_PER_MS // 2
        records.append(at(now, record))
        packet = parse(record[2])
        assert packet is not None
        sequencer.accept(packet, None)
        missing = sequencer.missing()
        if missing is not None and chance.random() < 0.15:
            records.append((int(RecordKind.CONTROL), now, gap_record(missing)))
            sequencer.give_up(missing.last)
        if chance.random() < 0.1:
            records.append((0, now, pack(b"000000001A", sequencer.horizon + chance.choice([0, 2]), [])))
        if chance.random() < 0.1:
            records.append((int(RecordKind.CLOCK), now, b""))
    return records


@pytest.mark.parametrize("seed", range(12))
def test_every_missing_number_is_repaired_given_up_or_open(seed: int) -> None:
    """Whatever is said to be missing is later said to be there, or gone, once; what is gone is a gap event,
    and the others were decoded; the same bytes however the capture is cut."""
    chance = random.Random(seed)
    records = mess(chance)
    (block,), whole = decoded(records)
    sizes, left = [], len(records)
    while left:
        sizes.append(min(left, chance.choice([1, 2, 5, 30])))
        left -= sizes[-1]
    assert decoded(records, sizes)[1] == whole
    came = {
        number
        for kind, _, raw in records
        if kind == 0 and (packet := parse(raw)) is not None
        for number in range(packet.sequence, packet.sequence + len(messages(raw)))
    }
    gone = {n for row in block.gaps for n in range(row["first_missing"], row["last_missing"] + 1)}
    said: dict[str, list[int]] = {"missing": [], "repaired": [], "given_up": []}
    for row in block.trust:
        name = TrustReason(row["reason"]).name.lower()
        if name in said:
            assert block.symbols.names[row["symbol"]] == ""
            said[name] += range(int(row["first_missing"]), int(row["last_missing"]) + 1)
    assert all(len(numbers) == len(set(numbers)) for numbers in said.values())
    assert set(said["given_up"]) == gone
    assert set(said["repaired"]) <= came - gone
    still = set(said["missing"]) - set(said["repaired"]) - gone
    assert set(said["repaired"]) | gone | still >= set(said["missing"])
    last = block.trust[block.trust["symbol"] == 0][-1]
    assert bool(still) == (last["state"] == TrustState.BROKEN)
    assert np.all(np.diff(block.trust["seq"]) == 1)
