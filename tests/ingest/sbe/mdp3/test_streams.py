"""Generated channels with losses, late copies and snapshots, against the venue's own books."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pytest

from ingest.capture import CaptureBatch, RecordKind
from ingest.sbe.mdp3.decoder import Mdp3Decoder
from tests.ingest.sbe.mdp3.venue import NANOS, NOW, SESSION, Venue, future, packet
from tickloom.events import EventBlock, GapReason, Side, StatusCode, seq_base
from tickloom.prices import NO_PRICE

DEPTHS = {1: 10, 2: 5, 3: 1, 2**31 - 1: 10, -7: 3}
Record = tuple[int, int, bytes]
Shown = list[list[tuple[int, int]]]
STEP_NS = 8_000_000  # between packets, by our clock: a gap is given up after seven


@dataclass
class Tape:
    """Records of a channel, and what its books showed after each RptSeq of the end of an event."""

    records: list[Record] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)  # of each record; 0 for a snapshot
    shown: dict[tuple[int, int], Shown] = field(default_factory=dict)
    venue: Venue = field(default_factory=lambda: Venue(0, {}))


def shown_of(venue: Venue, security: int) -> Shown:
    book = venue.books[security]
    return [[(price, size * NANOS) for price, size in book.top(side)] for side in (0, 1)]


def definitions() -> Record:
    raws = [future(security, f"S{security}", depth) for security, depth in DEPTHS.items()]
    return int(RecordKind.SNAPSHOT), NOW, packet(1, NOW, raws)


def tape_of(seed: int, events: int, snapshots_every: int = 0) -> Tape:
    tape = Tape(venue=Venue(seed, DEPTHS))
    venue, chance = tape.venue, random.Random(seed)
    tape.records.append(definitions())
    tape.sequences.append(0)
    for number in range(events):
        raw = venue.event()
        cut = chance.randrange(0, len(raw))  # an event may be spread over two packets
        for part in (raw[:cut], raw[cut:]):
            if part:
                tape.records.append((int(RecordKind.DATA), 0, venue.packet(part)))
                tape.sequences.append(venue.sequence)
        for security in DEPTHS:
            tape.shown[security, venue.books[security].rpt] = shown_of(venue, security)
        if snapshots_every and number % snapshots_every == snapshots_every - 1:
            security = chance.choice(sorted(DEPTHS))
            tape.records.append((int(RecordKind.SNAPSHOT), 0, venue.snapshot(security)))
            tape.sequences.append(0)
    return tape


def timed(records: list[Record]) -> list[Record]:
    return [(kind, NOW + (at + 1) * STEP_NS, payload) for at, (kind, _, payload) in enumerate(records)]


def blocks(decoder: Mdp3Decoder, records: list[Record], size: int = 1) -> Iterator[EventBlock]:
    for at in range(0, len(records), size):
        yield decoder.decode(CaptureBatch.of(records[at : at + size], first_number=at + 1))


def check_books(decoder: Mdp3Decoder, tape: Tape, ended: bool = True) -> int:
    """Every book that is trusted is the venue's; how many there are."""
    trusted = 0
    for security in DEPTHS:
        if decoder.is_synced(security) and decoder.rpt_seq(security):
            ours = [decoder.book_levels(security, side) for side in (Side.BUY, Side.SELL)]
            wanted = tape.shown.get((security, decoder.rpt_seq(security)))
            if wanted is not None or ended:
                assert ours == wanted
                trusted += 1
    return trusted


def check_quotes(block: EventBlock, tape: Tape) -> int:
    """Every quote is the top of the venue's book at the end of an event."""
    for row in block.quotes:
        security = int(block.symbols.names[row["symbol"]].removeprefix("S"))
        bids, asks = tape.shown[security, int(row["venue_id"])] if row["venue_id"] else ([], [])
        empty = [(int(NO_PRICE), 0)]
        assert [(row["bid_price"], row["bid_size"])] == (bids[:1] or empty)
        assert [(row["ask_price"], row["ask_size"])] == (asks[:1] or empty)
    return len(block.quotes)


def test_books_and_quotes_of_a_whole_channel() -> None:
    """After every event each book is the venue's to its depth, and quotes are those of ends of events."""
    tape = tape_of(1, 1_500)
    decoder, quotes = Mdp3Decoder("XCME", SESSION), 0
    levels: dict[tuple[int, int, int], int] = {}
    for block in blocks(decoder, timed(tape.records)):
        quotes += check_quotes(block, tape)
        check_books(decoder, tape, ended=False)
        for row in block.deltas:
            levels[int(row["symbol"]), int(row["side"]), int(row["price"])] = int(row["size"])
    assert check_books(decoder, tape) == len(DEPTHS)
    assert quotes > 300
    assert set(decoder.counters) <= {
        "decoded", "packets", "books_synced", "recovery_packets", "definitions", "crossed", "locked",
        "order_entries",
    }  # fmt: skip
    for security in DEPTHS:  # and the deltas alone give the same books
        symbol = decoder.symbols.index(f"S{security}")
        for side in (Side.BUY, Side.SELL):
            left = {
                price: size for (sym, s, price), size in levels.items() if (sym, s) == (symbol, side) and size
            }
            assert left == dict(decoder.book_levels(security, side))


@pytest.mark.parametrize("seed", range(6))
def test_lossy_channel_is_never_silently_wrong(seed: int) -> None:
    """Packets lost, doubled and late: gaps name exactly the lost ones, trusted books are right, snapshots
    bring back the others."""
    tape, chance = tape_of(seed, 700, snapshots_every=3), random.Random(seed)
    lost: set[int] = set()
    records: list[Record] = []
    held: list[tuple[int, Record]] = []
    last = max(tape.sequences)
    for record, sequence in zip(tape.records, tape.sequences, strict=True):
        dice = chance.random() if 1 < sequence < last - 3 else 1.0
        if dice < 0.01:
            lost.add(sequence)
        elif dice < 0.03:
            held.append((len(records) + chance.choice([1, 2]), record))  # late by a packet or two
        else:
            records += [record, record] if dice < 0.06 else [record]
        for due, late in list(held):
            if len(records) > due:
                records.append(late)
                held.remove((due, late))
    assert not held
    decoder, quotes, syncs = Mdp3Decoder("XCME", SESSION), 0, 0
    missing: list[int] = []
    for block in blocks(decoder, timed(records)):
        quotes += check_quotes(block, tape)
        check_books(decoder, tape, ended=False)
        syncs += int((block.statuses["status"] == StatusCode.BOOK_SYNCED).sum())
        for gap in block.gaps:
            assert gap["reason"] == GapReason.SEQUENCE
            missing += range(int(gap["first_missing"]), int(gap["last_missing"]) + 1)
    assert missing == sorted(lost)
    assert lost
    assert decoder.counters["books_lost"] > 0
    assert syncs == decoder.counters["books_synced"] > len(DEPTHS)
    assert quotes > 100
    assert decoder.expected == last + 1
    final = [(int(RecordKind.SNAPSHOT), NOW, tape.venue.snapshot(security)) for security in DEPTHS]
    for block in blocks(decoder, final):
        check_quotes(block, tape)
    assert check_books(decoder, tape) == len(DEPTHS)


def test_joining_late_waits_for_snapshots() -> None:
    """From the middle on: no gap, no quote and no book before the snapshot, and then the venue's."""
    tape = tape_of(3, 300)
    late = [tape.records[0], *tape.records[len(tape.records) // 2 :]]
    decoder = Mdp3Decoder("XCME", SESSION)
    block = decoder.decode(CaptureBatch.of(timed(late)))
    assert len(block.gaps) + len(block.quotes) + len(block.deltas) == 0
    assert len(block.trades)
    assert not any(decoder.is_synced(security) for security in DEPTHS)
    old = [(int(RecordKind.SNAPSHOT), NOW, tape.venue.snapshot(security)) for security in DEPTHS]
    block = decoder.decode(CaptureBatch.of(old))
    assert check_quotes(block, tape) == check_books(decoder, tape) == len(DEPTHS)


def test_events_do_not_depend_on_batches() -> None:
    """One record at a time or all at once: the same events, byte for byte, and every seq in order."""
    tape = tape_of(5, 200, snapshots_every=4)
    records = timed([item for at, item in enumerate(tape.records) if at % 41 != 40])
    found = []
    for size in (1, 7, len(records)):
        decoder = Mdp3Decoder("XCME", SESSION)
        parts: dict[str, list[bytes]] = {}
        highest: dict[str, int] = {}
        for block in blocks(decoder, records, size):
            for kind, rows in block.kinds().items():
                parts.setdefault(kind, []).append(rows.tobytes())
                if len(rows):
                    assert (np.diff(rows["seq"]) >= 0).all()
                    assert int(rows["seq"][0]) > highest.get(kind, 0)
                    highest[kind] = int(rows["seq"][-1])
        found.append({kind: b"".join(raw) for kind, raw in parts.items()})
        assert max(highest.values()) <= decoder.last_seq
        assert decoder.last_seq > seq_base(date(2023, 11, 14))
        assert decoder.counters["sequence_gaps"] > 0
    assert found[0] == found[1] == found[2]
