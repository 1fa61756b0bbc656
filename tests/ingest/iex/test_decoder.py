"""The IEX decoder: what each message makes, and what it does with input that is not as it should be."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

from ingest.capture import CaptureBatch
from ingest.iex import state as kernel_state
from ingest.iex.decoder import IexDecoder, end_record
from ingest.iex.iextp import TOPS_1_6, pack
from tests.ingest.iex_venue import BASE, MIDNIGHT, MS, Record, Venue, decode, rows
from tickloom.events import Condition, GapReason, Side, StatusCode
from tickloom.instruments import Instrument, Registry
from tickloom.instruments import Venue as RegisteredVenue
from tickloom.prices import NO_PRICE

NANOS = 10**9
END = (1, 99, end_record())


def test_identity_and_time() -> None:
    """seq is date and number; ts_event is the message's own; ts_recv is ours; prices have four decimals."""
    venue = Venue()
    at = venue.now
    records = [venue.send(venue.message("S", event="O"), venue.level("8", 1_523_999, 300))]
    decoder, block = decode(records)
    assert rows(block, "book_deltas", "seq", "ts_event", "ts_recv", "symbol", "price", "size", "side") == [
        (BASE + 2, at, at + MS, "ALFA", 152_399_900_000, 300 * NANOS, Side.BUY)
    ]
    assert rows(block, "quotes", "bid_price", "bid_size", "ask_price", "ask_size", "venue_id") == [
        (152_399_900_000, 300 * NANOS, int(NO_PRICE), 0, 2)
    ]
    assert (decoder.last_seq, decoder.watermark_ns) == (BASE + 2, at)
    assert decoder.end_ns == MIDNIGHT + 24 * 3_600 * NANOS


def test_trades() -> None:
    """T with its id and no side, a cross as CROSS, B as BROKEN with the id of what is taken back."""
    venue = Venue()
    records = [
        venue.send(
            venue.trade(11, price=99_001, size=7),
            venue.trade(12, flags=0x48),
            venue.message("B", trade_id=11, price=99_001, size=7),
            venue.trade(13, size=0),
        )
    ]
    decoder, block = decode(records)
    fields = ("seq", "price", "size", "venue_id", "side", "condition")
    assert rows(block, "trades", *fields) == [
        (BASE + 1, 9_900_100_000, 7 * NANOS, 11, Side.NONE, Condition.REGULAR),
        (BASE + 2, NANOS, 100 * NANOS, 12, Side.NONE, Condition.CROSS),
        (BASE + 3, int(NO_PRICE), 0, 11, Side.NONE, Condition.BROKEN),
    ]
    assert decoder.counters == {"decoded": 4, "zero_size": 1}


def test_statuses() -> None:
    """System events are the venue's; a halt holds while either of both messages says so; the rest by name."""
    venue = Venue()
    m = venue.message
    tape = [
        *(m("S", event=letter) for letter in "OSRME"),
        m("H", status="T"),
        m("O", status="O"),
        m("H", status="H", reason="T1"),
        m("O", status="N"),
        m("H", status="O", reason="IPO2"),
        m("H", status="P"),
        m("H", status="T"),
        m("P", status=1, detail="A"),
        m("P", status=0),
        m("E", event="O"),
        m("I", indicator="C"),
        m("X", price_type="Q", price=10_000),
        m("D", round_lot=100),
        m("A", auction_type="O"),
        m("S", event="C"),
    ]
    decoder, block = decode([venue.send(*tape)])
    code = StatusCode
    assert rows(block, "statuses", "symbol", "status", "reason") == [
        ("", code.SESSION_START, b"O"),
        ("", code.SYSTEM_HOURS_START, b"S"),
        ("", code.MARKET_OPEN, b"R"),
        ("", code.MARKET_CLOSE, b"M"),
        ("", code.SYSTEM_HOURS_END, b"E"),
        ("ALFA", code.TRADING, b""),
        ("ALFA", code.HALTED, b"OP O"),
        ("ALFA", code.HALTED, b"T1"),
        ("ALFA", code.HALTED, b"OP N"),
        ("ALFA", code.QUOTATION_ONLY, b"IPO2"),
        ("ALFA", code.PAUSED, b""),
        ("ALFA", code.TRADING, b""),
        ("ALFA", code.SHORT_SALE_RESTRICTED, b"A"),
        ("ALFA", code.SHORT_SALE_FREE, b""),
        ("ALFA", code.OTHER, b"SEC O"),
        ("ALFA", code.OTHER, b"RLI C"),
        ("ALFA", code.OTHER, b"XPR Q"),
        ("", code.SESSION_END, b"C"),
    ]
    assert decoder.ended
    assert decoder.counters == {"decoded": len(tape)}
    assert sum(decoder.message_types.values()) == len(tape)


def test_quote_waits_for_the_end_of_the_event() -> None:
    """While the venue is in the middle of an event its levels are deltas, and no top of book is shown."""
    venue = Venue()
    records = [
        venue.send(venue.level("8", 100, 10), venue.level("5", 102, 20)),
        venue.send(venue.level("5", 102, 0, flags=0), venue.level("8", 103, 5, flags=0)),
        venue.send(venue.level("5", 104, 7)),
        venue.send(venue.level("8", 99, 1), venue.level("8", 98, 0)),
    ]
    decoder, block = decode(records)
    assert rows(block, "quotes", "seq", "bid_price", "bid_size", "ask_price", "ask_size") == [
        (BASE + 1, 100 * 10**5, 10 * NANOS, int(NO_PRICE), 0),
        (BASE + 2, 100 * 10**5, 10 * NANOS, 102 * 10**5, 20 * NANOS),
        (BASE + 5, 103 * 10**5, 5 * NANOS, 104 * 10**5, 7 * NANOS),
    ]
    assert len(block.deltas) == 6
    assert decoder.counters == {"decoded": 7, "in_transition": 2, "unknown_level": 1}
    assert decoder.books.side_levels(decoder.book("ALFA"), Side.BUY) == [(103, 5), (100, 10), (99, 1)]
    with pytest.raises(KeyError):
        decoder.book("BRVO")


def test_crossed_book_is_not_trusted_until_it_is_not_crossed() -> None:
    """Crossed at an event's end: counted, BOOK_LOST once; BOOK_SYNCED when it is over. Locked: counted."""
    venue = Venue()
    records = [
        venue.send(venue.level("8", 100, 10), venue.level("5", 100, 20)),
        venue.send(venue.level("5", 99, 5), venue.level("5", 98, 5), venue.level("8", 100, 0, flags=0)),
        venue.send(venue.level("5", 98, 0)),
    ]
    decoder, block = decode(records)
    assert rows(block, "statuses", "seq", "symbol", "status", "reason") == [
        (BASE + 3, "ALFA", StatusCode.BOOK_LOST, b"CROSSED"),
        (BASE + 6, "ALFA", StatusCode.BOOK_SYNCED, b"UNCROSS"),
    ]
    assert (decoder.counters["crossed"], decoder.counters["locked"]) == (2, 1)


def test_tops_quotes() -> None:
    """Q is a quote each time, also one that says the same; a side without price or size is empty."""
    venue = Venue(TOPS_1_6)
    sides = {"bid_price": 100, "bid_size": 3, "ask_price": 102, "ask_size": 4}
    tape = [
        venue.message("Q"),
        *[venue.message("Q", **sides)] * 2,
        venue.message("Q", **{**sides, "ask_size": 0}),
    ]
    decoder, block = decode([venue.send(*tape)])
    both = (100 * 10**5, 3 * NANOS, 102 * 10**5, 4 * NANOS)
    assert rows(block, "quotes", "bid_price", "bid_size", "ask_price", "ask_size") == [
        (int(NO_PRICE), 0, int(NO_PRICE), 0), both, both, (*both[:2], int(NO_PRICE), 0),
    ]  # fmt: skip
    assert decoder.counters == {"decoded": 4}


def test_symbols_of_the_registry_have_its_names() -> None:
    """A symbol that the registry knows has its canonical name; another keeps the venue's."""
    registry = Registry(
        {"IEXG": RegisteredVenue("IEXG", "", "iex", "America/New_York", "USD")},
        [Instrument("IEXG", "BRK-B", "BRK.B", "equity", 1, 1, 1)],
    )
    venue = Venue()
    record = venue.send(venue.trade(1, symbol="BRK.B"), venue.trade(2, symbol="BRK.A"))
    _, block = decode([record], IexDecoder("IEXG", "20170425", registry))
    assert rows(block, "trades", "symbol") == [("BRK-B",), ("BRK.A",)]


V = Venue()
ODD: dict[str, tuple[bytes, dict[str, int], bool]] = {
    "unknown_type": (b"z" + bytes(20), {"unknown_type": 1}, False),
    "short": (V.trade(1)[:-1], {"wrong_length": 1}, True),
    "empty": (b"", {"wrong_length": 1}, True),
    "grown": (V.trade(1) + b"more", {"decoded": 1, "longer": 1}, False),
    "yesterday": (V.trade(1, timestamp=MIDNIGHT - 1), {"bad_timestamp": 1}, True),
    "tomorrow": (V.trade(1, timestamp=MIDNIGHT + 25 * 3_600 * NANOS), {"bad_timestamp": 1}, True),
    "negative_time": (V.trade(1, timestamp=-1), {"bad_timestamp": 1}, True),
    "no_symbol": (V.trade(1, symbol=""), {"bad_field": 1}, True),
    "symbol_with_a_hole": (V.trade(1, symbol="A B"), {"bad_field": 1}, True),
    "symbol_of_other_bytes": (V.trade(1, symbol="A\x00B"), {"bad_field": 1}, True),
    "no_price": (V.trade(1, price=0), {"decoded": 1, "bad_field": 1}, True),
    "negative_price": (V.level("8", -1, 1), {"decoded": 1, "bad_field": 1}, True),
    "level_at_nothing": (V.level("5", 0, 1), {"decoded": 1, "bad_field": 1}, True),
    "price_beyond_a_double": (V.level("8", 2**22 * 10**4 + 1, 1), {"decoded": 1, "bad_field": 1}, True),
    "quote_below_zero": (V.message("Q", ask_price=-5, ask_size=1), {"decoded": 1, "bad_field": 1}, True),
    "earlier": (V.trade(1, timestamp=V.now - 1), {"decoded": 1, "late": 1}, False),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_message_is_counted_by_its_name(name: str) -> None:
    """Each oddity has a counter; one that could not be understood is a gap event with its number too; what
    comes behind it is decoded as ever."""
    odd, counters, is_gap = ODD[name]
    venue = Venue()
    records = [venue.send(venue.trade(1), odd, venue.trade(3)), venue.send(venue.trade(4))]
    decoder, block = decode(records)
    found = decoder.counters
    found["decoded"] -= 3
    assert +found == counters
    assert rows(block, "gaps", "seq", "symbol", "first_missing", "last_missing", "reason") == (
        [(BASE + 2, "", 2, 2, GapReason.MALFORMED)] if is_gap else []
    )
    assert [seq for (seq,) in rows(block, "trades", "seq")][-2:] == [BASE + 3, BASE + 4]


def test_more_symbols_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a new symbol is refused, by count and gap event; known ones go on."""
    monkeypatch.setattr(kernel_state, "SYMBOLS_MAX", 4)
    venue = Venue()
    tape = [venue.trade(n, symbol=f"S{n % 5}") for n in range(10)]
    decoder, block = decode([venue.send(*tape)])
    assert decoder.counters == {"decoded": 6, "too_many_symbols": 4}
    assert [symbol for (symbol,) in rows(block, "trades", "symbol")] == ["S0", "S1", "S2"] * 2
    assert len(block.gaps) == 4


def test_bad_datagrams_are_counted_and_passed_over() -> None:
    """Garbage, foreign and doubled datagrams, and heads that cannot be: a counter each, and no event."""
    venue = Venue()
    first = venue.send(venue.trade(1))
    now, number = venue.now, venue.sequence
    bad = [
        b"\x01garbage",
        bytes(60),
        pack([venue.trade(9)], 0, now),
        pack([venue.trade(9)], 10**10, now),
        pack([venue.trade(9)], number, now, offset=-1),
        pack([venue.trade(9)], number, MIDNIGHT - 1),
        pack([venue.trade(9)], number, now, session=77, protocol=0x8002),
        pack([venue.trade(9)], number, now, session=77, channel=2),
        pack([venue.trade(9)], number, now - 1, session=78),
        first[2],
        venue.send()[2],
    ]
    head = bytearray(pack([venue.trade(9)], number, now, venue.offset, 77))
    head[14] = 200  # messages that its payload cannot hold
    bad.append(bytes(head))
    last = venue.send(venue.trade(2))
    records = [
        first,
        *((0, 5, raw) for raw in bad),
        (7, 5, b"{}"),
        (1, 5, b"[" * 10_000),
        (*last[:2], last[2] + b"x"),
    ]
    decoder, block = decode(records)
    assert decoder.counters == {
        "decoded": 2, "malformed": 7, "foreign_protocol": 2, "foreign_session": 1, "duplicate": 1,
        "heartbeat": 1, "unknown_control": 2, "trailing_bytes": 1,
    }  # fmt: skip
    assert rows(block, "trades", "venue_id") == [(1,), (2,)]
    assert len(block.gaps) == 0


def test_a_segment_of_no_protocol_begins_nothing() -> None:
    """Before the first segment that is ours, one whose protocol and channel are 0 is foreign, whatever its
    session; it was taken for a restart, again and again."""
    venue = Venue()
    for protocol, channel in ((0, 0), (0, 1), (0x8002, 0)):
        first = pack([], 1, venue.now, session=venue.session + 1, protocol=protocol, channel=channel)
        decoder, block = decode([(0, 5, first), venue.send(venue.trade(1))])
        assert decoder.counters == {"foreign_protocol": 1, "decoded": 1}
        assert rows(block, "trades", "venue_id") == [(1,)]
        venue.restart()


def random_day(seed: int) -> list[Record]:
    """Levels, trades and statuses of a few symbols, with holes, doubles, swaps, restarts and a cut."""
    rng = random.Random(seed)
    venue = Venue()
    records: list[Record] = []
    for number in range(400):
        if number in (150, 151, 260):
            venue.restart(session=None if number == 151 else rng.randrange(99))
        messages = []
        for _ in range(rng.randrange(4)):
            symbol = rng.choice(["ALFA", "BRVO", "C.A"])
            kind = rng.choice("888555TH")
            if kind in "85":
                price, size = rng.randrange(90, 110), rng.choice([0, 1, 2])
                messages.append(venue.level(kind, price, size, rng.randrange(2), symbol))
            else:
                messages.append(
                    venue.trade(number, symbol=symbol) if kind == "T" else venue.message("H", status="H")
                )
        records.append(venue.send(*messages))
    del records[40:43], records[80]
    records[60], records[63] = records[63], records[60]
    records.insert(70, records[65])
    records[200] = (0, records[200][1], records[200][2][:-5])
    return [*records, END]


@pytest.mark.parametrize("seed", range(3))
def test_batches_may_be_cut_anywhere(seed: int) -> None:
    """The same records in one batch, one by one, or cut at random give the same events, holes included."""
    rng = random.Random(seed)
    records = random_day(seed)

    def events(cuts: list[int]) -> tuple[list[bytes], Any]:
        decoder = IexDecoder("IEXG", "20170425")
        batch = CaptureBatch.of(records)
        blocks = [decoder.decode(batch.slice(a, b)) for a, b in itertools.pairwise([0, *cuts, len(records)])]
        whole = [np.concatenate([b.kinds()[t] for b in blocks]).tobytes() for t in blocks[0].kinds()]
        return whole, (decoder.counters, decoder.last_seq, decoder.watermark_ns, decoder.symbols.names)

    expected = events([])
    assert events(list(range(1, len(records)))) == expected
    assert events(sorted(rng.sample(range(len(records)), 9))) == expected
    assert expected[1][0]["restarts"] >= 2
    assert expected[1][0]["sequence_gaps"] >= 2


def test_more_messages_than_a_call_holds() -> None:
    """A batch with more messages than the kernel's output is done in several calls, without a seam."""
    count = kernel_state.MESSAGES_MAX + 1_000
    venue = Venue()
    trade = venue.trade(1)
    records = [venue.send(*[trade] * 40) for _ in range(count // 40)]
    _, block = decode(records)
    assert np.array_equal(block.trades["seq"], BASE + np.arange(1, count // 40 * 40 + 1))


def test_watermark_has_its_lateness_and_late_messages_are_counted() -> None:
    """The watermark is the latest event less its lateness, never goes back; what is behind it is late."""
    decoder = IexDecoder("IEXG", "20170425", lateness_ns=300)
    venue = Venue()
    seen = []
    for timestamp in (1_000, 5_000, 4_700, 4_699, 6_000):
        decode([venue.send(venue.trade(1, timestamp=MIDNIGHT + timestamp))], decoder)
        seen.append(decoder.watermark_ns - MIDNIGHT)
    assert seen == [700, 4_700, 4_700, 4_700, 5_700]
    assert decoder.counters["late"] == 1
