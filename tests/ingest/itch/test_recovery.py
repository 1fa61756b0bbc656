"""A gap that nobody can fill, and a GLIMPSE snapshot behind it: when the books are whole again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.market import MarketState
from ingest.capture import RecordKind
from ingest.itch import moldudp64, recovery
from ingest.itch.arbiter import Arbiter
from ingest.itch.controls import gap_record
from ingest.itch.glimpse import Assembler, Snapshot, end_message, next_number_of, records
from ingest.itch.messages import unpack
from ingest.itch.moldudp64 import Gap, Tracker, pack
from ingest.itch.rerequest import GiveUp
from ingest.synthetic.glimpse import state_of
from tests.ingest.itch.faulty_lines import (
    MOLD,
    Record,
    Venue,
    batch_of,
    decode,
    fresh_decoder,
    sound_tape,
    undisturbed,
)
from tickloom.codec import TickBatch
from tickloom.events import EventBlock, StatusCode

LOST, SYNCED = int(StatusCode.BOOK_LOST), int(StatusCode.BOOK_SYNCED)
Book = dict[tuple[str, int, int], int]  # symbol, side, price: size


def venue(messages: int = 400, seed: int = 1) -> Venue:
    return Venue.of(sound_tape(messages, seed), random.Random(seed))


def snapshot(tape: Sequence[bytes], next_number: int) -> list[Record]:
    return [(RecordKind.SNAPSHOT, 0, raw, 0) for raw in records(MOLD, state_of(tape[: next_number - 1]))]


def lossy(tape: Venue, lost: range, taken: int, arrives: int) -> tuple[list[Record], Gap]:
    """Packets of ``lost`` are missing and given up at once; a snapshot taken before packet ``taken`` arrives
    before packet ``arrives``."""
    gap = Gap(tape.bounds[lost.start] + 1, tape.bounds[lost.stop])
    out: list[Record] = []
    for index, raw in enumerate(tape.packets()):
        if index == arrives:
            out += snapshot(tape.tape, tape.bounds[taken] + 1)
        if index == lost.stop:
            out.append((RecordKind.CONTROL, 0, gap_record(gap, snapshot=True), 0))
        if index not in lost:
            out.append((RecordKind.DATA, 0, raw, 0))
    return out, gap


def apply(book: Book, block: EventBlock) -> None:
    """Book deltas onto plain dictionaries, as any reader of them does."""
    for row in block.deltas:
        key = (block.symbols.names[row["symbol"]], int(row["side"]), int(row["price"]))
        book.pop(key, None)
        if row["size"]:
            book[key] = int(row["size"])


def rows_behind(block: EventBlock, seq: int) -> dict[str, list[Any]]:
    found = {}
    for table, rows in block.kinds().items():
        names = [block.symbols.names[symbol] for symbol in rows["symbol"]]
        plain = np.array(rows[rows["seq"] > seq])
        plain["ts_recv"] = plain["symbol"] = 0
        kept = [name for name, one in zip(names, rows["seq"], strict=True) if one > seq]
        found[table] = list(zip(kept, plain.tolist(), strict=True))
    return found


def assert_recovered(tape: Venue, made: list[Record], gap: Gap) -> int:
    """Hold a recovered session against the undisturbed one; the seq of BOOK_SYNCED."""
    decoder, block = decode(made)
    whole_decoder, whole = decode(undisturbed(tape))
    base = decoder._seq_base
    status = block.statuses["status"]
    assert set(block.statuses["seq"][status == LOST].tolist()) == {base + gap.first}
    (synced,) = set(block.statuses["seq"][status == SYNCED].tolist())
    quiet = [table["seq"] for table in (block.quotes, block.deltas)]
    assert not any(((seq > base + gap.first) & (seq < synced)).any() for seq in quiet)
    assert rows_behind(block, synced) == rows_behind(whole, synced)
    mine_traded, traded = (set((one.trades["seq"] - base).tolist()) for one in (block, whole))
    assert mine_traded <= traded
    for number in traded - mine_traded:  # lost, or of an order that was: its price is not known
        reference = unpack(tape.tape[number - 1])["reference"]
        assert gap.first <= number <= gap.last or gap.first <= reference <= gap.last
    mine: Book = {}
    theirs: Book = {}
    apply(mine, block)
    apply(theirs, whole)
    assert mine == theirs
    assert decoder.counters["snapshots"] == 1
    assert decoder.books.order_count == whole_decoder.books.order_count
    assert block.gaps[["first_missing", "last_missing"]].tolist() == [(gap.first, gap.last)]
    return int(synced)


def test_books_are_whole_behind_a_snapshot() -> None:
    """10 packets lost, a snapshot taken 20 later, which comes 30 later: quotes and levels stop at the gap,
    trades and statuses go on, and from BOOK_SYNCED on all is as if nothing had been lost."""
    tape = venue()
    made, gap = lossy(tape, range(40, 50), taken=70, arrives=100)
    synced = assert_recovered(tape, made, gap)
    assert (
        tape.bounds[100] < synced % 10**10 <= tape.bounds[103] + 1
    )  # three messages that go on, and no more


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_any_gap_and_any_snapshot(seed: int) -> None:
    """Wherever the gap is, wherever behind it the snapshot was taken, and whenever it comes: before the feed
    has reached its number, too."""
    rng = random.Random(seed)
    tape = venue(300, seed % 5)
    count = len(tape.bounds) - 1
    first = rng.randint(2, count // 2)
    lost = range(first, rng.randint(first + 1, first + 10))
    taken = rng.randint(lost.stop, count - 20)
    arrives = rng.randint(lost.stop + 1, count - 10)
    made, gap = lossy(tape, lost, taken, arrives)
    synced = assert_recovered(tape, made, gap)
    assert synced % 10**10 > tape.bounds[max(taken, arrives)]


@pytest.mark.parametrize("seed", range(3))
def test_however_the_capture_is_cut(seed: int) -> None:
    """The same events in one batch, one by one, or cut at random: a restart and a replay give the same."""
    rng = random.Random(seed)
    tape = venue(300, seed)
    made, _ = lossy(tape, range(20, 25), taken=40, arrives=60)
    batch = batch_of(made)

    def events(cuts: list[int]) -> list[bytes]:
        decoder = fresh_decoder()
        pairs = itertools.pairwise([0, *cuts, len(made)])
        blocks = [decoder.decode(batch.slice(a, b)) for a, b in pairs]
        return [np.concatenate([b.kinds()[t] for b in blocks]).tobytes() for t in blocks[0].kinds()]

    expected = events([])
    assert events(list(range(1, len(made)))) == expected
    assert events(sorted(rng.sample(range(len(made)), 9))) == expected


def test_agent_trusts_exactly_the_books_that_are_right() -> None:
    """Record by record: from the gap to BOOK_SYNCED no instrument is trusted; before and behind it all are,
    with the undisturbed quotes."""
    tape = venue(300, 3)
    made, _ = lossy(tape, range(40, 44), taken=50, arrives=70)
    decoder, market = fresh_decoder(), MarketState()
    lost, phases = False, []
    plain: Book = {}
    for record in made:
        block = decoder.decode(batch_of([record]))
        apply(plain, block)
        market.apply(TickBatch(0, 0, decoder.watermark_ns, decoder.last_seq, block), 1)
        lost = (lost or bool(len(block.gaps))) and not (block.statuses["status"] == SYNCED).any()
        for symbol in ("ALFA", "BRVO"):
            view = market.view("XNAS", symbol)
            if view is None:
                continue
            assert bool(view.untrusted) == lost
            if not lost:
                bids = [price for name, side, price in plain if (name, side) == (symbol, 1)]
                assert not bids or view.bid_price == max(bids)
        phases.append(lost)
    assert [key for key, _ in itertools.groupby(phases)] == [False, True, False]


def test_joined_late() -> None:
    """Nothing before packet 60 was heard: the snapshot brings names, trading states and books."""
    tape = venue(300, 4)
    gap = Gap(1, tape.bounds[60])
    packets = tape.packets()
    made: list[Record] = [(0, 0, raw, 0) for raw in packets[60:62]]
    made.append((RecordKind.CONTROL, 0, gap_record(gap, snapshot=True), 0))
    made += snapshot(tape.tape, tape.bounds[64] + 1)
    made += [(0, 0, raw, 0) for raw in packets[62:]]
    decoder, block = decode(made)
    _, whole = decode(undisturbed(tape))
    status = block.statuses["status"]
    (synced,) = set(block.statuses["seq"][status == SYNCED].tolist())
    assert rows_behind(block, synced) == rows_behind(whole, synced)
    mine: Book = {}
    theirs: Book = {}
    apply(mine, block)
    apply(theirs, whole)
    assert mine == theirs
    assert set(decoder.symbols.names) == {"", "ALFA", "BRVO"}

    def last(of: EventBlock, codes: set[StatusCode]) -> dict[str, int]:
        return {
            of.symbols.names[row["symbol"]]: int(row["status"])
            for row in of.statuses
            if row["status"] in codes
        }

    for family in recovery.FAMILIES:
        assert last(block, set(family)) == last(whole, set(family))


def test_snapshot_from_before_the_gap_is_of_no_use() -> None:
    """It does not have what was lost: the books stay lost until one that has it."""
    tape = venue(300, 2)
    made, gap = lossy(tape, range(40, 44), taken=41, arrives=50)
    decoder, block = decode(made)
    assert SYNCED not in block.statuses["status"]
    assert decoder.counters["snapshots"] == 0
    at = next(index for index, record in enumerate(made) if record[2] == tape.packet(80))
    assert_recovered(tape, [*made[:at], *snapshot(tape.tape, tape.bounds[60] + 1), *made[at:]], gap)


def test_second_gap_needs_a_second_snapshot() -> None:
    """Lost again before the first snapshot has come: only one from behind both makes the books whole."""
    tape = venue(300, 5)
    second = Gap(tape.bounds[50] + 1, tape.bounds[52])
    made, _ = lossy(tape, range(40, 44), taken=47, arrives=60)
    gone = {tape.packet(50), tape.packet(51)}
    made = [record for record in made if record[2] not in gone]
    at = next(index for index, record in enumerate(made) if record[2] == tape.packet(52))
    made.insert(at, (RecordKind.CONTROL, 0, gap_record(second, snapshot=True), 0))
    assert SYNCED not in decode(made)[1].statuses["status"]
    at = next(index for index, record in enumerate(made) if record[2] == tape.packet(80))
    made[at:at] = snapshot(tape.tape, tape.bounds[70] + 1)
    _, block = decode(made)
    mine: Book = {}
    theirs: Book = {}
    apply(mine, block)
    apply(theirs, decode(undisturbed(tape))[1])
    assert mine == theirs
    assert len(set(block.statuses["seq"][block.statuses["status"] == SYNCED].tolist())) == 1


def test_gap_that_too_much_waits_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound on what waits gives a gap up before its time: the arbiter says so at once, the books are lost
    from there on, and a snapshot makes them whole as behind any other gap."""
    monkeypatch.setattr(moldudp64, "PENDING_PACKETS_MAX", 5)
    tape = venue(300, 7)
    gap = Gap(tape.bounds[40] + 1, tape.bounds[44])
    arbiter = Arbiter(Tracker(MOLD), "000000001A")
    made: list[Record] = []
    for index, raw in enumerate(tape.packets()):
        if index == 60:
            made += snapshot(tape.tape, tape.bounds[55] + 1)
        if index not in range(40, 44):
            made.append((RecordKind.DATA, 0, raw, 0))
            arbiter.take(batch_of(made[-1:]), 0)
            step = arbiter.step(0)
            if step is not None:
                assert step == GiveUp(gap)
                assert index == 49
                made.append((RecordKind.CONTROL, 0, gap_record(gap, snapshot=True), 0))
    decoder, block = decode(made)
    status = block.statuses["status"]
    (lost,) = set(block.statuses["seq"][status == LOST].tolist())
    (synced,) = set(block.statuses["seq"][status == SYNCED].tolist())
    assert lost == decoder._seq_base + tape.bounds[50]
    assert not ((block.quotes["seq"] > lost) & (block.quotes["seq"] < synced)).any()
    assert block.gaps[["first_missing", "last_missing"]].tolist() == [(gap.first, gap.last)]
    mine: Book = {}
    theirs: Book = {}
    apply(mine, block)
    apply(theirs, decode(undisturbed(tape))[1])
    assert mine == theirs


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More came since the snapshot than is held: the books stay lost, and that is counted."""
    tape = venue(300, 6)
    made, gap = lossy(tape, range(40, 44), taken=45, arrives=90)
    assert_recovered(tape, made, gap)
    monkeypatch.setattr(recovery, "HELD_BYTES_MAX", 200)
    decoder, block = decode(made)
    assert SYNCED not in block.statuses["status"]
    assert decoder.counters["stale_snapshot"] == 1


def test_end_of_snapshot_by_hand() -> None:
    """Type G and a number of 20 ASCII digits, padded on the left; nothing else ends a snapshot."""
    assert end_message(812) == b"G                 812"
    assert next_number_of(b"G                 812") == 812
    for other in (b"", b"G812", b"G" + b" " * 20, b"G" + b"x" * 20, b"H                 812"):
        assert next_number_of(other) == 0


def test_snapshot_that_was_cut_off_is_forgotten() -> None:
    """Records of a connection that was lost in the middle, then a whole one: that alone counts."""
    first, second = pack(MOLD, 1, [b"a", b"b"]), pack(MOLD, 3, [b"c", end_message(9)])
    assembler = Assembler()
    assert assembler.take(second) is None
    assert assembler.take(first) is None
    assert assembler.take(first) is None
    assert assembler.take(second) == Snapshot(9, (first, second))
    assert assembler.take(second) is None
    assert assembler.take(b"garbage") is None


def test_large_snapshot_is_several_records() -> None:
    """No record of a capture is larger than a megabyte or so, or of more messages than its head can say."""
    items = [bytes(36)] * 70_000
    made = list(records(MOLD, [*items, end_message(5)]))
    assert len(made) > 3
    assert max(map(len, made)) < 1.2 * 2**20
    assembler = Assembler()
    found = [assembler.take(raw) for raw in made]
    assert found[:-1] == [None] * (len(made) - 1)
    assert found[-1] is not None
    assert found[-1].next_number == 5
