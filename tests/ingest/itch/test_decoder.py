"""The ITCH decoder: what each message makes, and what it does with input that is not as it should be."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.capture import CaptureBatch, CaptureReader
from ingest.itch import moldudp64
from ingest.itch import state as kernel_state
from ingest.itch.controls import gap_record
from ingest.itch.decoder import ItchDecoder
from ingest.itch.files import load_file, read_itch
from ingest.itch.messages import LAYOUTS, unpack
from ingest.itch.moldudp64 import Gap, pack, pack_end
from tickloom.clock import NS_PER_S
from tickloom.events import Condition, EventBlock, GapReason, Side, StatusCode
from tickloom.prices import NO_PRICE

SESSION = "20261121.000000001A"
BASE = 261121 * 10**10
#: New York's midnight of 2026-11-21 (winter, five hours behind) in ns since 1970: 20,778 days and 5 hours.
MIDNIGHT = (20_778 * 86_400 + 5 * 3_600) * NS_PER_S
SharedData = Callable[[str], Path]


def m(letter: str, **values: Any) -> bytes:
    return LAYOUTS[letter].pack(**{"stock_locate": 1, "timestamp": 1_000, **values})


def packets(tape: Sequence[bytes], first: int = 1, size: int = 1) -> list[tuple[int, int, bytes]]:
    """The tape in packets of ``size`` messages, received at 1, 2, 3 ..."""
    return [
        (0, 1 + at // size, pack(b"000000001A", first + at, tape[at : at + size]))
        for at in range(0, len(tape), size)
    ]


def decode(
    records: Sequence[tuple[int, int, bytes]], decoder: ItchDecoder | None = None
) -> tuple[ItchDecoder, EventBlock]:
    decoder = decoder or ItchDecoder("XNAS", SESSION)
    return decoder, decoder.decode(CaptureBatch.of(records))


def rows(block: EventBlock, table: str, *fields: str) -> list[tuple[Any, ...]]:
    found = []
    for record in block.kinds()[table]:
        names = {"symbol": block.symbols.names[record["symbol"]]}
        found.append(tuple(names.get(field, record[field].item()) for field in fields))
    return found


def test_identity_and_time() -> None:
    """seq is date and Mold sequence; ts_event is New York's midnight plus the timestamp; ts_recv is ours."""
    add = m(
        "A", reference=7, side="B", shares=100, stock="ALFA", price=1_524_000, timestamp=34_200 * NS_PER_S
    )
    decoder, block = decode([(0, 77, pack(b"000000001A", 1, [m("R", stock="ALFA"), add]))])
    assert rows(block, "book_deltas", "seq", "ts_event", "ts_recv", "symbol", "price", "size", "side") == [
        (BASE + 2, MIDNIGHT + 34_200 * NS_PER_S, 77, "ALFA", 152_400_000_000, 100 * 10**9, Side.BUY)
    ]
    assert rows(block, "quotes", "bid_price", "bid_size", "ask_price", "ask_size") == [
        (152_400_000_000, 100 * 10**9, int(NO_PRICE), 0)
    ]
    assert (decoder.last_seq, decoder.watermark_ns) == (BASE + 2, MIDNIGHT + 34_200 * NS_PER_S)


def test_next_session_is_behind_the_end_of_the_day() -> None:
    """The watermark goes there when a session ends: nothing of the next day may be late, summer or winter."""
    for day, following in (("20261120", "20261121"), ("20240308", "20240311"), ("20241101", "20241104")):
        begins_ns = ItchDecoder("XNAS", f"{following}.A")._midnight_ns
        assert ItchDecoder("XNAS", f"{day}.A").end_ns <= begins_ns


def test_trades_of_all_kinds() -> None:
    """E at the order's price, C at its own, P hidden, Q cross, B broken; a non-printable C makes none."""
    tape = [
        m("R", stock="ALFA"),
        m("A", reference=1, side="B", shares=500, stock="ALFA", price=10_000),
        m("E", reference=1, shares=100, match_number=11),
        m("C", reference=1, shares=100, match_number=12, printable="Y", price=9_900),
        m("C", reference=1, shares=100, match_number=13, printable="N", price=9_800),
        m("P", side="B", shares=7, stock="ALFA", price=10_050, match_number=14),
        m("Q", shares=5_000_000_000 // 2, stock="ALFA", price=10_100, match_number=15, cross_type="O"),
        m("Q", shares=0, stock="ALFA", price=0, match_number=0, cross_type="C"),
        m("B", match_number=12),
    ]
    decoder, block = decode(packets(tape))
    assert rows(block, "trades", "venue_id", "price", "size", "side", "condition") == [
        (11, 1_000_000_000, 100 * 10**9, Side.SELL, Condition.REGULAR),
        (12, 990_000_000, 100 * 10**9, Side.SELL, Condition.REGULAR),
        (14, 1_005_000_000, 7 * 10**9, Side.NONE, Condition.HIDDEN),
        (15, 1_010_000_000, 2_500_000_000 * 10**9, Side.NONE, Condition.CROSS),
        (12, int(NO_PRICE), 0, Side.NONE, Condition.BROKEN),
    ]
    assert decoder.counters == {"decoded": 9, "non_printable": 1, "empty_cross": 1}
    assert decoder.books.side_levels(1, Side.BUY) == [(10_000, 200)]


def test_statuses_of_all_kinds() -> None:
    """S, H, Y, h, W, K and O become statuses with the venue's own code as the reason."""
    tape = [m("R", stock="ALFA"), *(m("S", stock_locate=0, event_code=code) for code in "OSQMEC")]
    tape += [
        m("H", stock="ALFA", trading_state=s, reason=r)
        for s, r in [("H", "T1"), ("P", "LUDP"), ("Q", ""), ("T", "IPO1")]
    ]
    tape += [m("Y", stock="ALFA", action=action) for action in "012"]
    tape += [
        m("h", stock="ALFA", market_code="Q", action="H"),
        m("h", stock="ALFA", market_code="Q", action="T"),
    ]
    tape += [m("h", stock="ALFA", market_code="B", action="H")]
    tape += [
        m("W", stock_locate=0, breached_level="2"),
        m("K", stock="ALFA", qualifier="A"),
        m("O", stock="ALFA"),
    ]
    decoder, block = decode(packets(tape))
    assert rows(block, "statuses", "symbol", "status", "reason") == [
        ("", StatusCode.SESSION_START, b"O"),
        ("", StatusCode.SYSTEM_HOURS_START, b"S"),
        ("", StatusCode.MARKET_OPEN, b"Q"),
        ("", StatusCode.MARKET_CLOSE, b"M"),
        ("", StatusCode.SYSTEM_HOURS_END, b"E"),
        ("", StatusCode.SESSION_END, b"C"),
        ("ALFA", StatusCode.HALTED, b"T1"),
        ("ALFA", StatusCode.PAUSED, b"LUDP"),
        ("ALFA", StatusCode.QUOTATION_ONLY, b""),
        ("ALFA", StatusCode.TRADING, b"IPO1"),
        ("ALFA", StatusCode.SHORT_SALE_FREE, b"0"),
        ("ALFA", StatusCode.SHORT_SALE_RESTRICTED, b"1"),
        ("ALFA", StatusCode.SHORT_SALE_RESTRICTED, b"2"),
        ("ALFA", StatusCode.HALTED, b"OP QH"),
        ("ALFA", StatusCode.TRADING, b"OP QT"),
        ("ALFA", StatusCode.OTHER, b"OP BH"),
        ("", StatusCode.OTHER, b"MWCB2"),
        ("ALFA", StatusCode.OTHER, b"IPO A"),
        ("ALFA", StatusCode.OTHER, b"DLCR"),
    ]
    assert decoder.counters == {"decoded": len(tape)}


ADD = m("A", reference=1, side="B", shares=100, stock="ALFA", price=10_000)
ODD: dict[str, tuple[list[bytes], dict[str, int], bool]] = {
    # name: (messages behind directory and ADD, counters, whether a gap event says that something is missing)
    "unknown_delete": ([m("D", reference=9)], {"unknown_order": 1}, False),
    "unknown_execute": ([m("E", reference=9, shares=1)], {"unknown_order": 1}, False),
    "unknown_cancel": ([m("X", reference=9, shares=1)], {"unknown_order": 1}, False),
    "unknown_replace": ([m("U", reference=9, new_reference=10, shares=1)], {"unknown_order": 1}, True),
    "known_add": ([ADD], {"duplicate_order": 1}, False),
    "overfill": ([m("E", reference=1, shares=101)], {"overfill": 1}, False),
    "overcancel": ([m("X", reference=1, shares=101)], {"overfill": 1}, False),
    "zero_add": ([m("A", reference=2, side="B", stock="ALFA", price=1)], {"zero_size": 1}, False),
    "locked": (
        [m("A", reference=2, side="S", shares=1, stock="ALFA", price=10_000)], {"locked": 1}, False
    ),
    "crossed": (
        [m("A", reference=2, side="S", shares=1, stock="ALFA", price=9_999)], {"crossed": 1}, False
    ),
    "no_directory": (
        [m("A", stock_locate=2, reference=2, side="B", shares=1, stock="BRVO", price=1)],
        {"unknown_locate": 1},
        False,
    ),
    "locate_zero": ([m("A", stock_locate=0, side="B", stock="BRVO")], {"unknown_locate": 1}, True),
    "break_of_nothing": ([m("B", stock_locate=9)], {"unknown_locate": 1}, True),
    "other_name": (
        [m("A", reference=2, side="B", shares=1, stock="BRVO", price=1)], {"locate_mismatch": 1}, True
    ),
    "other_locate": ([m("D", stock_locate=2, reference=1)], {"locate_mismatch": 1}, True),
    "other_locate_replace": (
        [m("U", stock_locate=2, reference=1, new_reference=2, shares=1)], {"locate_mismatch": 1}, True
    ),
    "no_side": ([m("A", reference=2, side="X", shares=1, stock="ALFA", price=1)], {"bad_field": 1}, True),
    "unknown_type": ([b"z" + bytes(20)], {"unknown_type": 1}, False),
    "short_message": ([ADD[:-1]], {"wrong_length": 1}, True),
    "long_message": ([ADD + b"\x00"], {"wrong_length": 1}, True),
    "empty_message": ([b""], {"wrong_length": 1}, True),
    "no_time_of_day": ([m("D", reference=1, timestamp=2**47)], {"bad_timestamp": 1}, True),
    "huge_cross": ([m("Q", shares=2**63, stock="ALFA")], {"refused_size": 1}, True),
    "time_goes_back": (
        [m("D", reference=9, timestamp=999)], {"time_backwards": 1, "unknown_order": 1}, False
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_input_is_counted_by_its_name(name: str) -> None:
    """Each oddity has a counter of its own; a message that could not be understood is also a gap event, and
    so is an order that takes an unknown one's place; what comes behind it is decoded as ever."""
    odd, counters, is_gap = ODD[name]
    behind = m("P", stock="ALFA", shares=5, price=1, match_number=1, side="B")
    tape = [m("R", stock="ALFA"), ADD, *odd, behind]
    decoder, block = decode(packets(tape))
    decoded = decoder.counters.pop("decoded", 0)
    found = dict(decoder.counters)
    found.pop("decoded")
    assert found == counters
    assert decoded >= 3
    gap = ("ALFA", 3, 3, GapReason.BOOK) if name == "unknown_replace" else ("", 3, 3, GapReason.MALFORMED)
    assert rows(block, "gaps", "seq", "symbol", "first_missing", "last_missing", "reason") == (
        [(BASE + 3, *gap)] if is_gap else []
    )
    assert rows(block, "trades", "seq")[-1] == (BASE + len(tape),)


def test_overfill_takes_what_is_there() -> None:
    """An execution beyond the order is a trade of its size, and the book never goes below zero."""
    decoder, block = decode(
        packets([m("R", stock="ALFA"), ADD, m("E", reference=1, shares=101, match_number=1)])
    )
    assert rows(block, "trades", "size") == [(101 * 10**9,)]
    assert rows(block, "book_deltas", "size") == [(100 * 10**9,), (0,)]
    assert decoder.books.order_count == 0


def test_bad_datagrams_are_counted_and_passed_over() -> None:
    """Garbage, a truncated, a foreign and a duplicate datagram: a counter each, and no event."""
    good = packets([m("R", stock="ALFA"), ADD])
    bad = [
        (0, 5, b"\x00\x01garbage"),
        (0, 6, b"\xff" * 200),
        (0, 7, pack(b"OTHER", 3, [ADD])),
        (0, 8, good[1][2]),
        (0, 9, pack(b"000000001A", 3, [m("D", reference=1)])[:-3]),
        (0, 9, pack(b"000000001A", 3, [])),
        (7, 9, b"{}"),
        (1, 9, b"no json"),
        (1, 9, b'{"type":"opened"}'),
    ]
    last = (0, 10, pack(b"000000001A", 3, [m("D", reference=1)]) + b"more")
    decoder, block = decode([*good, *bad, last])
    assert decoder.counters == {
        "decoded": 3, "malformed": 2, "foreign_session": 1, "duplicate": 1, "truncated_packet": 1,
        "heartbeat": 1, "unknown_control": 3, "trailing_bytes": 1,
    }  # fmt: skip
    assert rows(block, "book_deltas", "seq", "ts_recv") == [(BASE + 2, 2), (BASE + 3, 10)]
    assert len(block.gaps) == 0


def test_truncated_datagram_gives_its_whole_messages_and_the_resend_the_rest() -> None:
    """Of a datagram cut off in its third message two are taken; the resend of all brings the third alone."""
    tape = [m("P", stock="ALFA", shares=n, price=1, match_number=n, side="B") for n in (1, 2, 3, 4)]
    whole = pack(b"000000001A", 1, tape[:3])
    decoder, block = decode([(0, 1, whole[:-1]), (0, 2, pack(b"000000001A", 4, tape[3:])), (0, 3, whole)])
    assert rows(block, "trades", "venue_id", "ts_recv") == [(1, 1), (2, 1), (3, 3), (4, 2)]
    assert decoder.counters["truncated_packet"] == 1
    assert decoder.counters["duplicate"] == 2


def test_resend_closes_the_gap_once() -> None:
    """Packets behind a hole wait; the resend lets all of them out in order, once; no gap event is made."""
    tape = [m("P", stock="ALFA", shares=n, price=1, match_number=n, side="B") for n in range(1, 8)]
    one = packets(tape)
    order = [one[0], one[3], one[6], one[4], one[3], one[1], one[2], one[2], one[5], one[6]]
    decoder, block = decode(order)
    assert [row[0] for row in rows(block, "trades", "venue_id")] == [1, 2, 3, 4, 5, 6, 7]
    assert len(block.gaps) == 0
    assert decoder.counters["early"] == 4


def test_gap_given_up_is_an_event_in_its_place() -> None:
    """The CONTROL record makes a gap event before what waited; a resend that comes later adds nothing."""
    tape = [m("P", stock="ALFA", shares=n, price=1, match_number=n, side="B") for n in range(1, 7)]
    one = packets(tape)
    records = [one[0], one[4], (1, 50, gap_record(Gap(2, 4))), one[2], one[5], (1, 51, gap_record(Gap(2, 4)))]
    decoder, block = decode(records)
    assert rows(block, "gaps", "seq", "ts_recv", "first_missing", "last_missing", "reason", "ts_event") == [
        (BASE + 2, 50, 2, 4, GapReason.SEQUENCE, MIDNIGHT + 1_000)
    ]
    assert [row[0] for row in rows(block, "trades", "venue_id")] == [1, 5, 6]
    assert (decoder.counters["gap_messages"], decoder.counters["sequence_gaps"]) == (3, 1)


def test_gap_at_the_start_has_the_time_of_what_follows() -> None:
    """Joined late and nobody resends: the gap is timed by the first message behind it, not by midnight."""
    late = packets([m("P", stock="ALFA", shares=1, price=1, side="B", timestamp=5_000)], first=9)
    _, block = decode([*late, (1, 3, gap_record(Gap(1, 8)))])
    assert rows(block, "gaps", "ts_event", "first_missing", "last_missing") == [(MIDNIGHT + 5_000, 1, 8)]


def test_end_of_session() -> None:
    """The session has ended when its last message is there."""
    one = packets([m("S", stock_locate=0, event_code="O"), m("S", stock_locate=0, event_code="C")])
    decoder, _ = decode([one[0], (0, 3, pack_end(b"000000001A", 3))])
    assert not decoder.ended
    decoder, _ = decode([one[1]], decoder)
    assert decoder.ended


def test_watermark_never_goes_back_and_has_its_lateness() -> None:
    """The watermark is the latest event less the lateness, also when the venue's clock steps back."""
    decoder = ItchDecoder("XNAS", SESSION, lateness_ns=300)
    seen = []
    for number, timestamp in enumerate((1_000, 5_000, 2_000, 6_000), 1):
        decode(packets([m("S", stock_locate=0, timestamp=timestamp)], first=number), decoder)
        seen.append(decoder.watermark_ns - MIDNIGHT)
    assert seen == [700, 4_700, 4_700, 5_700]
    assert decoder.counters["time_backwards"] == 1


def random_tape(count: int, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    tape = [m("R", stock_locate=n, stock=name, timestamp=1) for n, name in ((1, "ALFA"), (2, "BRVO"))]
    for n in range(2, count):
        locate, kind = rng.choice((1, 2)), rng.choice("AAAECXDUPHY")
        values: dict[str, Any] = {"stock_locate": locate, "timestamp": n, "reference": rng.randrange(n)}
        if kind == "A":
            values |= {"reference": n, "side": rng.choice("BS"), "price": rng.randrange(90, 110) * 100}
        if kind in "AP":
            values |= {"stock": "ALFA" if locate == 1 else "BRVO"}
        if kind in "AECXUP":
            values |= {"shares": rng.randrange(1, 300)}
        if kind == "U":
            values |= {"new_reference": n, "price": rng.randrange(90, 110) * 100}
        if kind in "HY":
            values = {"stock_locate": locate, "timestamp": n, "stock": "ALFA" if locate == 1 else "BRVO"}
        tape.append(m(kind, **values))
    return tape


@pytest.mark.parametrize("seed", range(4))
def test_batches_may_be_cut_anywhere(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same records in one batch, one by one, or cut at random give the same events, holes included."""
    rng = random.Random(seed)
    records = packets(random_tape(600, seed), size=7)
    del records[20:23], records[40]
    records.insert(30, records[25])
    records[50], records[51] = records[51], records[50]
    records.insert(60, (1, 9, gap_record(Gap(20 * 7 + 1, 23 * 7))))
    records.append((0, 99, pack_end(b"000000001A", 601)))

    def events(cuts: list[int]) -> tuple[list[bytes], Any]:
        decoder = ItchDecoder("XNAS", SESSION)
        batch = CaptureBatch.of(records)
        blocks = [decoder.decode(batch.slice(a, b)) for a, b in itertools.pairwise([0, *cuts, len(records)])]
        whole = [np.concatenate([b.kinds()[t] for b in blocks]).tobytes() for t in blocks[0].kinds()]
        return whole, (decoder.counters, decoder.last_seq, decoder.watermark_ns, decoder.symbols.names)

    expected = events([])
    assert events(list(range(1, len(records)))) == expected
    assert events(sorted(rng.sample(range(len(records)), 9))) == expected
    full = kernel_state.MESSAGES_MAX
    assert full > 600
    assert expected[1][0]["sequence_gaps"] == 1


def test_more_messages_than_a_call_holds() -> None:
    """A batch with more messages than the kernel's output is done in several calls, without a seam."""
    count = kernel_state.MESSAGES_MAX + 1_000
    trade = m("P", stock="ALFA", shares=1, price=1, side="B")
    records = [(0, n, pack(b"000000001A", n * 40 + 1, [trade] * 40)) for n in range(count // 40)]
    _, block = decode(records)
    assert np.array_equal(block.trades["seq"], BASE + np.arange(1, count // 40 * 40 + 1))


def test_bounded_pending_gives_up_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """With too much behind a hole the decoder goes on, and says what is missing."""
    monkeypatch.setattr(moldudp64, "PENDING_PACKETS_MAX", 5)
    tape = [m("P", stock="ALFA", shares=n, price=1, match_number=n, side="B") for n in range(1, 12)]
    one = packets(tape)
    _, block = decode([one[0], *one[2:]])
    assert rows(block, "gaps", "first_missing", "last_missing") == [(2, 2)]
    assert [row[0] for row in rows(block, "trades", "venue_id")] == [1, *range(3, 12)]


def test_real_file(shared_data: SharedData, tmp_path: Path) -> None:
    """12,012 messages of a public file whose length prefixes are all zero: the counts a type are those
    that its independent reader published, and trades are those that a plain reading gives."""
    source = shared_data("itch/ritch_ex20101224.TEST_ITCH_50")
    loaded = load_file(source, tmp_path, "XNAS", date(2010, 12, 24))
    decoder = ItchDecoder("XNAS", loaded.session)
    with CaptureReader(loaded.path) as reader:
        blocks = [decoder.decode(batch) for batch in reader.batches()]
    assert decoder.message_types == {
        "S": 6, "R": 3, "H": 3, "A": 4997, "F": 3, "E": 198, "X": 45, "D": 1745, "U": 12, "P": 5000,
    }  # fmt: skip
    assert decoder.ended
    live: set[int] = set()
    trades = 0
    for message in map(unpack, read_itch(source)):
        reference = message.get("reference")
        if message["type"] in ("A", "F"):
            live.add(int(reference))  # type: ignore[arg-type]
        elif message["type"] == "U" and reference in live:
            live.add(int(message["new_reference"]))
        trades += message["type"] == "P" or (message["type"] == "E" and reference in live)
    assert sum(len(block.trades) for block in blocks) == trades


OMI = {
    "AddOrderNoMPID": "A", "AddOrderWithMPID": "F", "CrossTrade": "Q", "LULDAuctionCollar": "J",
    "MarketParticipantPosition": "L", "NetOrderImbalanceIndicator": "I", "NonCrossTrade": "P",
    "OrderCancel": "X", "OrderDelete": "D", "OrderExecuted": "E", "OrderExecutedWithPrice": "C",
    "OrderReplace": "U", "RegSHORestriction": "Y", "StockTradingAction": "H", "SystemEvent": "S",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OMI))
def test_real_packet_of_each_type(name: str, shared_data: SharedData, tmp_path: Path) -> None:
    """Real datagrams of one type each are decoded as that type and as nothing else."""
    source = shared_data(f"omi_packets/itch50_mold/{name}.pcap")
    loaded = load_file(source, tmp_path, "XNAS", date(2020, 1, 2))
    decoder = ItchDecoder("XNAS", loaded.session)
    with CaptureReader(loaded.path) as reader:
        for batch in reader.batches():
            decoder.decode(batch)
    assert decoder.message_types == {OMI[name]: loaded.messages}
    assert loaded.messages == (1 if name == "SystemEvent" else 5)
    trouble = ("malformed", "wrong_length", "unknown_type", "bad_field", "bad_timestamp", "truncated_packet")
    assert not [kind for kind in trouble if decoder.counters[kind]]
