"""What each message makes, and what the decoder does with input that is not as it should be."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import pytest

from ingest.capture import CaptureBatch, RecordKind
from ingest.sbe.mdp3.decoder import Mdp3Decoder
from ingest.udp.gaps import Gap, gap_record
from tests.ingest.sbe.mdp3 import venue as v
from tickloom.events import Condition, EventBlock, GapReason, Side, StatusCode
from tickloom.instruments import Instrument, Registry, Venue
from tickloom.prices import NO_PRICE

NOW, NANOS = v.NOW, v.NANOS
DATA, CONTROL, SNAPSHOT = int(RecordKind.DATA), int(RecordKind.CONTROL), int(RecordKind.SNAPSHOT)
NONE = (int(NO_PRICE), 0)


class Channel:
    """Sends packets to a decoder, one a millisecond."""

    def __init__(self, registry: Registry | None = None, lateness_ns: int = 0) -> None:
        self.decoder = Mdp3Decoder("XCME", v.SESSION, registry or Registry({}, []), lateness_ns)
        self.sequence, self.time = 0, NOW

    def raw(self, payload: bytes, kind: int = DATA) -> EventBlock:
        self.time += 1_000_000
        return self.decoder.decode(CaptureBatch.of([(kind, self.time, payload)]))

    def send(self, *messages: bytes, skip: int = 0) -> EventBlock:
        self.sequence += 1 + skip
        return self.raw(v.packet(self.sequence, NOW + self.sequence, list(messages)))

    def bids(self, security: int = 1) -> list[tuple[int, int]]:
        levels = self.decoder.book_levels(security, Side.BUY)
        return [(price // NANOS, size // NANOS) for price, size in levels]


def bid(rpt: int, action: int, level: int, price: int, size: int | None = 5, security: int = 1) -> bytes:
    return v.book_entry(security, rpt, "0", action, level, price * NANOS, size)


def rows(block: EventBlock, table: str, *fields: str) -> list[tuple[Any, ...]]:
    names = block.symbols.names
    return [
        tuple(names[row["symbol"]] if field == "symbol" else row[field].item() for field in fields)
        for row in block.kinds()[table]
    ]


def test_prices_are_exact_and_quotes_wait_for_the_end_of_the_event() -> None:
    """A mantissa of 1e-9 is the price in nanos; deltas come at once, the quote with the last message."""
    channel = Channel()
    odd = v.book_entry(1, 1, "0", 0, 1, -123_456_789, 7)
    first = channel.send(v.book(NOW, [odd], indicator=4))
    assert rows(first, "book_deltas", "price", "size", "side") == [(-123_456_789, 7 * NANOS, Side.BUY)]
    assert len(first.quotes) == 0
    last = channel.send(v.book(NOW, []))
    assert rows(last, "quotes", "symbol", "bid_price", "bid_size", "ask_price", "ask_size", "venue_id") == [
        ("1", -123_456_789, 7 * NANOS, *NONE, 1)
    ]
    assert rows(channel.send(v.book(NOW, [])), "quotes", "seq") == []


def test_a_full_book_drops_its_worst_level() -> None:
    """New in a book of depth 3: what falls off is gone from the deltas as well."""
    channel = Channel()
    channel.raw(v.packet(1, NOW, [v.future(1, "ESZ4", 3)]), SNAPSHOT)
    channel.send(v.book(NOW, [bid(1, 0, 1, 12), bid(2, 0, 2, 11), bid(3, 0, 3, 10)]))
    block = channel.send(v.book(NOW, [bid(4, 0, 1, 13)]))
    assert rows(block, "book_deltas", "symbol", "price", "size") == [
        ("ESZ4", 10 * NANOS, 0),
        ("ESZ4", 13 * NANOS, 5 * NANOS),
    ]
    assert channel.bids() == [(13, 5), (12, 5), (11, 5)]


def test_each_action_does_what_it_says() -> None:
    """Change, Overlay, Delete, DeleteThru (from the top), DeleteFrom (to the bottom), and a book reset."""
    channel = Channel()
    channel.send(v.book(NOW, [bid(at, 0, at, 20 - at) for at in range(1, 7)]))
    channel.send(v.book(NOW, [bid(7, 1, 2, 18, 9), bid(8, 5, 3, 17, 8), bid(9, 2, 1, 19, None)]))
    assert channel.bids() == [(18, 9), (17, 8), (16, 5), (15, 5), (14, 5)]
    channel.send(v.book(NOW, [bid(10, 3, 2, 17, None), bid(11, 4, 2, 15, None)]))
    assert channel.bids() == [(16, 5)]
    block = channel.send(v.book(NOW, [v.book_entry(1, 12, "J", 0, 1, v.NULL_PRICE, None)]))
    assert channel.bids() == []
    assert rows(block, "book_deltas", "price", "size") == [(16 * NANOS, 0)]
    assert rows(block, "quotes", "bid_price", "bid_size") == [NONE]


def test_trades_have_an_aggressor_and_corrections_take_back() -> None:
    """Sides 1, 2 and none; a change is the old one taken back and the new one, each with its own seq."""
    channel = Channel()
    entries = [v.trade_entry(1, at, 5 * NANOS, 2, side, trade=at) for at, side in ((1, 1), (2, 2), (3, 0))]
    block = channel.send(v.trades(NOW, entries))
    assert rows(block, "trades", "price", "size", "side", "venue_id") == [
        (5 * NANOS, 2 * NANOS, Side.BUY, 1),
        (5 * NANOS, 2 * NANOS, Side.SELL, 2),
        (5 * NANOS, 2 * NANOS, Side.NONE, 3),
    ]
    changed = [v.trade_entry(1, 4, 6 * NANOS, 3, 1, action=1, trade=1), v.trade_entry(1, 5, 0, 0, 0, 2, 2)]
    block = channel.send(v.trades(NOW, changed))
    assert rows(block, "trades", "price", "size", "condition", "venue_id") == [
        (*NONE, Condition.BROKEN, 1),
        (6 * NANOS, 3 * NANOS, Condition.REGULAR, 1),
        (*NONE, Condition.BROKEN, 2),
    ]
    assert len(set(block.trades["seq"].tolist())) == 3


def test_implied_levels_and_statistics_only_count_their_numbers() -> None:
    """RptSeq goes on over all templates of an instrument; the published book is the outright one."""
    channel = Channel()
    implied = v.book_entry(1, 2, "E", 0, 1, 30 * NANOS, 1)
    channel.send(v.book(NOW, [bid(1, 0, 1, 10), implied]), v.volume(NOW, 1, 3))
    block = channel.send(v.book(NOW, [bid(4, 1, 1, 10, 6)]))
    assert channel.decoder.counters["implied"] == 1
    assert rows(block, "quotes", "bid_price", "bid_size") == [(10 * NANOS, 6 * NANOS)]


def test_statuses_of_an_instrument_and_of_its_group() -> None:
    """The venue's codes stand beside; a group that nothing was defined in is counted."""
    channel = Channel()
    definitions = [v.future(1, "ESZ4", 10), v.future(2, "ESH5", 10), v.future(3, "ZNZ4", 10, "ZN")]
    channel.raw(v.packet(1, NOW, definitions), SNAPSHOT)
    block = channel.send(v.status(NOW, 17, security=1), v.status(NOW, 2, security_group="ES", reason=1))
    assert rows(block, "statuses", "symbol", "status", "reason") == [
        ("ESZ4", StatusCode.TRADING, b"17.0.0"),
        ("ESZ4", StatusCode.HALTED, b"2.1.0"),
        ("ESH5", StatusCode.HALTED, b"2.1.0"),
    ]
    block = channel.send(v.status(NOW, 21, security_group="GC"), v.status(NOW, 103, security=1))
    assert len(block.statuses) == 0
    assert channel.decoder.counters["status_unknown_group"] == 1


def test_definitions_name_instruments_and_the_registry_names_them_first() -> None:
    """A canonical name by symbol or by number; before the definition the number."""
    listed = Instrument("XCME", "ES-DEC24", "ESZ4", "future", 1, 1, 1)
    channel = Channel(Registry({"XCME": Venue("XCME", "", "mdp3", "UTC", "USD")}, [listed]))
    assert rows(channel.send(v.trades(NOW, [v.trade_entry(1, 1, 1, 1)])), "trades", "symbol") == [("1",)]
    channel.raw(v.packet(1, NOW, [v.future(1, "ESZ4", 10), v.future(2, "ESH5", 10)]), SNAPSHOT)
    block = channel.send(v.trades(NOW, [v.trade_entry(1, 2, 1, 1), v.trade_entry(2, 1, 1, 1)]))
    assert rows(block, "trades", "symbol") == [("ES-DEC24",), ("ESH5",)]
    definition = channel.decoder.books.instruments.definitions[1]
    assert (definition.kind, definition.depth, definition.tick) == ("future", 10, 250_000_000)


def test_a_gap_is_exact_and_loses_every_book() -> None:
    """Packets 3 and 4 are lost: after 50 ms a gap says so, books are lost, trades go on."""
    channel = Channel()
    channel.send(v.book(NOW, [bid(1, 0, 1, 10), bid(1, 0, 1, 20, 5, 2)]))
    channel.send(v.book(NOW, []))
    assert len(channel.send(v.trades(NOW, [v.trade_entry(1, 2, 1, 1)]), skip=2)) == 0
    channel.time += 50_000_000
    block = channel.send(v.book(NOW, []))
    assert rows(block, "gaps", "symbol", "first_missing", "last_missing", "reason") == [
        ("", 3, 4, GapReason.SEQUENCE)
    ]
    assert rows(block, "statuses", "symbol", "status") == [
        ("1", StatusCode.BOOK_LOST),
        ("2", StatusCode.BOOK_LOST),
    ]
    assert len(block.trades) == 1
    assert channel.decoder.expected == 7


def test_the_other_line_closes_a_gap() -> None:
    """A packet that comes late, but in time: everything once, in order, and no gap."""
    channel = Channel()
    first, second, third = (
        v.packet(number, NOW, [v.book(NOW, [bid(number, 0, 1, 9 + number)])]) for number in (1, 2, 3)
    )
    for payload in (first, first, third, third):
        channel.raw(payload)
    block = channel.raw(second)
    assert rows(block, "quotes", "bid_price") == [(11 * NANOS,), (12 * NANOS,)]
    assert channel.decoder.counters["duplicate"] == 2
    assert channel.decoder.counters["sequence_gaps"] == 0


def test_a_number_that_its_sending_time_contradicts_is_not_believed() -> None:
    """A packet far ahead, and then lower numbers that were sent later: no gap, and they go on."""
    channel = Channel()
    channel.send(v.book(NOW, [bid(1, 0, 1, 10)]))
    channel.raw(v.packet(1_000_000, NOW, [v.book(NOW, [])]))
    for number in range(2, 6):
        later = NOW + number * 20_000_000
        block = channel.raw(v.packet(number, later, [v.book(later, [bid(number, 1, 1, 10, number)])]))
        assert len(block.quotes) == 1
    channel.time += 60_000_000
    assert len(channel.raw(v.packet(6, NOW + 200_000_000, [v.book(NOW, [])])).gaps) == 0
    assert (channel.decoder.expected, channel.decoder.counters["implausible"]) == (7, 1)


def test_a_number_that_cannot_be_is_no_hole_that_a_session_gives_up() -> None:
    """What is missing before a spoiled number was given up by the live session: there is no gap, what follows
    is decoded, and a hole beside it is a gap of its own."""
    channel = Channel()
    channel.raw(v.packet(1, NOW, [v.book(NOW, [])]))
    channel.raw(v.packet(9_000, NOW + 1_000_000, [v.book(NOW, [])]))
    assert channel.decoder.missing == Gap(2, 8_999)
    for sequence in (2, 3):
        channel.raw(v.packet(sequence, NOW + sequence * 50_000_000, [v.book(NOW, [])]))
    assert channel.decoder.horizon == 9_001
    assert len(channel.raw(gap_record(Gap(4, 8_999)), CONTROL).gaps) == 0
    assert channel.decoder.missing is None
    channel.raw(v.packet(5, NOW + 200_000_000, [v.book(NOW, [])]))
    assert channel.decoder.missing == Gap(4, 4)
    block = channel.raw(gap_record(Gap(4, 4)), CONTROL)
    assert rows(block, "gaps", "first_missing", "last_missing") == [(4, 4)]
    assert (channel.decoder.expected, channel.decoder.counters["implausible"]) == (6, 1)


def test_a_rpt_seq_that_is_skipped_loses_that_book_only() -> None:
    """No packet is missing and an update is: a gap of the instrument, in its own numbers."""
    channel = Channel()
    channel.send(v.book(NOW, [bid(1, 0, 1, 10), bid(1, 0, 1, 20, 5, 2)]))
    block = channel.send(v.book(NOW, [bid(4, 1, 1, 10, 6), bid(2, 1, 1, 20, 6, 2)]))
    assert rows(block, "gaps", "symbol", "first_missing", "last_missing") == [("1", 2, 3)]
    assert not channel.decoder.is_synced(1)
    assert rows(block, "quotes", "symbol") == [("2",)]


@pytest.mark.parametrize(
    "entry",
    [
        bid(2, 1, 1, 11),  # the level has another price
        bid(2, 2, 1, 11),
        bid(2, 1, 2, 9),  # there is no such level
        bid(2, 0, 3, 9),  # a hole
        bid(2, 0, 2, 12),  # better than the level above
        bid(2, 0, 1, 10),  # the same price twice
        bid(2, 0, 0, 12),
        bid(2, 0, 11, 9),
        bid(2, 0, 2, 9, 0),
        bid(2, 9, 1, 10),  # no action
    ],
)
def test_an_entry_that_does_not_fit_loses_the_book(entry: bytes) -> None:
    """The book is not the venue's: a gap with reason BOOK, and nothing of it is published."""
    channel = Channel()
    channel.send(v.book(NOW, [bid(1, 0, 1, 10)]))
    block = channel.send(v.book(NOW, [entry]))
    assert rows(block, "gaps", "symbol", "first_missing", "reason") == [("1", 2, GapReason.BOOK)]
    assert rows(block, "statuses", "status") == [(StatusCode.BOOK_LOST,)]
    assert len(block.quotes) + len(block.deltas) == 0
    assert channel.decoder.counters["contradicted"] == 1


def test_a_price_that_a_double_would_change_is_refused() -> None:
    """2**53 + 1 nanos: the trade is not published, and a gap says that something is missing."""
    channel = Channel()
    block = channel.send(v.trades(NOW, [v.trade_entry(1, 1, 2**53 + 1, 1), v.trade_entry(2, 1, 2**53, 1)]))
    assert rows(block, "trades", "symbol", "price") == [("2", 2**53)]
    assert rows(block, "gaps", "symbol", "reason") == [("1", GapReason.MALFORMED)]
    assert channel.decoder.counters["refused_price"] == 1


def test_a_snapshot_that_is_too_old_does_not_sync() -> None:
    """It was taken before the packets that are missing: the book stays lost until a newer one."""
    truth = v.Venue(1, {1: 10})
    truth.books[1].sides[0][10 * NANOS] = 5
    truth.books[1].rpt, truth.sequence = 1, 1
    old = truth.snapshot(1)
    channel = Channel()
    channel.send(v.book(NOW, [bid(1, 0, 1, 10)]))
    channel.send(v.book(NOW, []), skip=1)
    channel.time += 60_000_000
    channel.send(v.book(NOW, []))
    channel.raw(old, SNAPSHOT)
    assert not channel.decoder.is_synced(1)
    assert channel.decoder.counters["snapshots_stale"] == 1
    truth.books[1].sides[0][11 * NANOS], truth.books[1].rpt, truth.sequence = 6, 2, 3
    block = channel.raw(truth.snapshot(1), SNAPSHOT)
    assert channel.bids() == [(11, 6), (10, 5)]
    assert rows(block, "statuses", "status") == [(StatusCode.BOOK_SYNCED,)]
    assert rows(block, "book_deltas", "price", "size") == [(11 * NANOS, 6 * NANOS)]
    assert rows(block, "quotes", "bid_price") == [(11 * NANOS,)]


def test_incrementals_behind_a_snapshot_are_applied_and_those_in_it_are_not() -> None:
    """The snapshot has everything up to RptSeq 5; 4 and 5 came before it, 6 and 7 too and are put on it."""
    truth = v.Venue(1, {1: 10})
    truth.books[1].sides[0][10 * NANOS] = 5
    truth.books[1].rpt, truth.sequence = 5, 2
    channel = Channel()
    channel.send(v.book(NOW, [bid(4, 1, 1, 10, 4), bid(5, 1, 1, 10, 5)]))
    channel.send(v.book(NOW, [bid(6, 0, 1, 11, 1), bid(7, 1, 2, 10, 2)]))
    channel.raw(truth.snapshot(1), SNAPSHOT)
    assert channel.bids() == [(11, 1), (10, 2)]
    assert channel.decoder.rpt_seq(1) == 7


def test_a_snapshot_ahead_of_the_incrementals_is_not_undone() -> None:
    """Updates that the snapshot has already are passed over, but a trade among them is a trade."""
    truth = v.Venue(1, {1: 10})
    truth.books[1].sides[0][10 * NANOS] = 5
    truth.books[1].rpt, truth.sequence = 9, 50
    channel = Channel()
    channel.raw(truth.snapshot(1), SNAPSHOT)
    block = channel.send(v.book(NOW, [bid(8, 1, 1, 77, 1)]), v.trades(NOW, [v.trade_entry(1, 9, 1, 1)]))
    assert (len(block.trades), len(block.deltas), channel.bids()) == (1, 0, [(10, 5)])
    assert channel.decoder.counters["already_in_snapshot"] == 2
    channel.send(v.book(NOW, [bid(10, 1, 1, 10, 6)]))
    assert channel.bids() == [(10, 6)]


def test_a_channel_reset_empties_every_book_and_trusts_it() -> None:
    """Levels go, quotes say so, and RptSeq begins at 1 again; a book that was lost is trusted as well."""
    channel = Channel()
    channel.send(v.book(NOW, [bid(1, 0, 1, 10), bid(3, 0, 1, 10, 5, 2)]))
    assert (channel.decoder.is_synced(1), channel.decoder.is_synced(2)) == (True, False)
    block = channel.send(v.channel_reset(NOW))
    assert rows(block, "book_deltas", "symbol", "price", "size") == [("1", 10 * NANOS, 0)]
    assert rows(block, "statuses", "symbol", "status") == [("2", StatusCode.BOOK_SYNCED)]
    assert {name for name, *_ in rows(block, "quotes", "symbol")} == {"1", "2"}
    channel.send(v.book(NOW, [bid(1, 0, 1, 12), bid(1, 0, 1, 13, 5, 2)]))
    assert (channel.bids(1), channel.bids(2)) == ([(12, 5)], [(13, 5)])
    channel.raw(v.packet(1, NOW, [v.channel_reset(NOW), v.status(NOW, 2, security=1)]), SNAPSHOT)
    assert channel.bids(1) == [(12, 5)]
    assert channel.decoder.counters["misplaced"] == 2


def test_numbers_that_begin_anew_are_a_new_week() -> None:
    """Packet 1 again, sent much later: no gap and no duplicate; books are lost and begin with RptSeq 1."""
    channel = Channel()
    channel.send(v.book(NOW, [bid(1, 0, 1, 10), bid(2, 0, 2, 9)]))
    channel.send(v.book(NOW, []))
    later = NOW + 3_600 * NANOS
    block = channel.raw(v.packet(1, later, [v.book(later, [bid(1, 0, 1, 50)])]))
    assert channel.decoder.counters["restarts"] == 1
    assert len(block.gaps) == 0
    assert rows(block, "statuses", "status") == [(StatusCode.BOOK_LOST,), (StatusCode.BOOK_SYNCED,)]
    assert channel.bids() == [(50, 5)]
    assert channel.decoder.expected == 2


def test_a_message_that_is_none_loses_all_books_and_no_other_message() -> None:
    """More entries than bytes: a gap with the packet's number, and the message behind it is decoded."""
    channel = Channel()
    channel.send(v.book(NOW, [bid(1, 0, 1, 10)]))
    spoiled = bytearray(v.book(NOW, [bid(2, 1, 1, 10, 6)]))
    spoiled[21] = 9  # entries
    block = channel.send(bytes(spoiled), v.trades(NOW, [v.trade_entry(2, 1, 1, 1)]))
    assert rows(block, "gaps", "symbol", "first_missing", "reason") == [("", 2, GapReason.MALFORMED)]
    assert rows(block, "statuses", "symbol", "status")[0] == ("1", StatusCode.BOOK_LOST)
    assert len(block.trades) == 1
    assert not channel.decoder.is_synced(1)
    assert channel.decoder.counters["malformed_messages"] == 1
    cut = v.packet(3, NOW, [v.book(NOW, [bid(3, 1, 1, 10, 6)])])[:-5]
    block = channel.raw(cut)
    assert rows(block, "gaps", "first_missing", "reason") == [(3, GapReason.MALFORMED)]
    assert (channel.decoder.counters["truncated_packet"], channel.decoder.expected) == (1, 4)


def test_unknown_templates_and_foreign_schemas_are_passed_over() -> None:
    """By their size: the messages around them are decoded."""
    channel = Channel()
    trade = v.trades(NOW, [v.trade_entry(1, 1, 1, 1)])
    odd = (v.message(999, b"xyz"), v.message(61, b"x"), v.message(46, b"x", schema=2), v.message(12, b""))
    block = channel.send(*odd, trade)
    assert len(block.trades) == 1
    counted = {name: channel.decoder.counters[name] for name in ("unknown_template", "foreign_schema")}
    assert counted == {"unknown_template": 2, "foreign_schema": 1}
    assert channel.decoder.counters["heartbeat"] == 1


def test_longer_blocks_of_a_newer_version_are_read_by_their_own_length() -> None:
    """Version 14 with eight more bytes in root and entries: what is known of them is decoded."""
    entry = bid(1, 0, 1, 10) + b"\xff" * 8
    head = v.root(NOW, v.END) + b"\xff" * 8
    orders = struct.pack("<H5xB", 30, 1) + b"\xff" * 30
    raw = v.message(46, head, v.group(40, [entry]) + orders, version=14)
    channel = Channel()
    assert len(channel.send(raw).quotes) == 1
    assert channel.bids() == [(10, 5)]


def test_time_never_goes_back_behind_the_watermark() -> None:
    """An event that is older than the lateness allows takes the watermark's time, and is counted."""
    channel = Channel(lateness_ns=100)
    channel.send(v.trades(NOW, [v.trade_entry(1, 1, 1, 1)]))
    assert channel.decoder.watermark_ns == NOW - 100
    block = channel.send(v.trades(NOW - 5_000, [v.trade_entry(1, 2, 1, 1)]))
    assert rows(block, "trades", "ts_event") == [(NOW - 100,)]
    assert channel.decoder.counters["time_backwards"] == 1


def test_control_records() -> None:
    """A gap that the session gave up, the end, and what nobody knows."""
    channel = Channel()
    channel.send(v.book(NOW, []))
    block = channel.raw(json.dumps({"type": "gap", "first": 2, "last": 5}).encode(), CONTROL)
    assert rows(block, "gaps", "first_missing", "last_missing") == [(2, 5)]
    block = channel.raw(b'{"event": "end"}', CONTROL)
    assert rows(block, "statuses", "status") == [(StatusCode.SESSION_END,)]
    assert channel.decoder.ended
    for odd in (b"", b"[]", b'{"type": "gap"}', b"\xff"):
        channel.raw(odd, CONTROL)
    assert channel.decoder.counters["unknown_control"] == 4


def test_more_instruments_than_room() -> None:
    """A thousand new instruments in one batch: the arrays grow under the kernel, and each has its book."""
    channel = Channel()
    for first in range(0, 1_000, 20):
        some = range(first, first + 20)
        channel.send(v.book(NOW, [bid(1, 0, 1, 10 + security, 5, security) for security in some]))
    assert all(channel.bids(security) == [(10 + security, 5)] for security in range(1_000))


def test_mutated_packets_never_crash() -> None:
    """Four thousand spoiled datagrams: an event or a counter each, books of bounded depth, and a channel
    that goes on."""
    truth, chance = v.Venue(4, {1: 10, 2: 5}), random.Random(4)
    decoder = Mdp3Decoder("XCME", v.SESSION, Registry({}, []))
    seeds = [v.future(1, "ESZ4", 10), v.status(NOW, 2, security=1), v.channel_reset(NOW)]
    for number in range(4_000):
        kind, payload = DATA, bytearray(truth.packet(truth.event()))
        if number % 7 == 0:
            kind, payload = chance.choice([DATA, SNAPSHOT]), bytearray(truth.snapshot(1))
        elif number % 31 == 0:
            kind, payload = chance.choice([DATA, SNAPSHOT]), bytearray(truth.packet([chance.choice(seeds)]))
        for _ in range(chance.choice([0, 0, 0, 0, 0, 1, 1, 3])):
            payload[chance.randrange(len(payload))] = chance.choice(
                [0, 1, 127, 128, 255, chance.randrange(256)]
            )
        if chance.random() < 0.1:
            del payload[chance.randrange(len(payload)) :]
        block = decoder.decode(CaptureBatch.of([(kind, NOW + number * 1_000_000, bytes(payload))]))
        assert len(block) < 5_000
    counters = decoder.counters
    assert counters["packets"] > 2_500  # one that is spoiled does not take the others along
    assert abs(decoder.expected - truth.sequence) < 100
    assert all(
        counters[name] for name in ("malformed_messages", "truncated_packet", "refused_price", "implausible")
    )
    for security in (1, 2):
        for side in (Side.BUY, Side.SELL):
            prices = [price for price, _ in decoder.book_levels(security, side)]
            assert len(prices) <= 10
            assert prices == sorted(set(prices), reverse=side is Side.BUY)
