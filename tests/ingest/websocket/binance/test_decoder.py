"""The decoder on short feeds made by hand: event time, bridging, gaps, duplicates, bad input."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from ingest.capture import CaptureBatch
from ingest.websocket.binance.decoder import BinanceDecoder
from ingest.websocket.output import UNTIMED_MAX
from tickloom.clock import NS_PER_MS
from tickloom.events import GapReason, Side, StatusCode, make_seq
from tickloom.prices import NO_PRICE, parse_nanos

ONE = parse_nanos("1")
SEQ = make_seq(date(2024, 8, 8), 0)


def nanos(ms: int) -> int:
    """Venue time ``ms`` after the start, ns."""
    return (1_723_161_255_000 + ms) * NS_PER_MS


def book(wire: Any) -> list[Any]:
    """A spot book at update 101: bid 1 at 99, ask 2 at 101."""
    return [
        wire.depth(96, 100, [], [], at=0),
        wire.snapshot(100, [("99", "1")], [("101", "3")]),
        wire.depth(101, 101, [], [("101", "2")], at=100),
    ]


def test_trade_side_price_and_time(wire: Any, decode: Any) -> None:
    """Where the buyer made the price the aggressor sold, else he bought; time is T, seq the record's."""
    _, block = decode(
        [
            wire.trade(7, "61837.63000000", "0.02000000", at=5, buyer_is_maker=True),
            wire.trade(8, "61837.64", "3.78826", at=6),
        ]
    )
    assert block.trades.tolist() == [
        (nanos(5), nanos(0) // NS_PER_MS, SEQ + 2, 1, 61_837_630_000_000, 20_000_000, 7, Side.SELL, 0),
        (nanos(6), nanos(0) // NS_PER_MS, SEQ + 3, 1, 61_837_640_000_000, 3_788_260_000, 8, Side.BUY, 0),
    ]


def test_spot_ticker_takes_the_latest_venue_time(wire: Any, decode: Any) -> None:
    """A ticker without a time gets the latest one of any stream of the feed, of any instrument; one before
    all others gets the first; an older message does not turn the clock back."""
    decoder, block = decode(
        [
            wire.ticker(1, ("99", "1"), ("101", "1")),
            wire.trade(7, "100", "1", at=40, symbol="ETHUSDT"),
            wire.ticker(2, ("99", "2"), ("101", "1")),
            wire.trade(1, "100", "1", at=10),
            wire.ticker(3, ("99", "3"), ("101", "1")),
        ]
    )
    assert block.quotes["ts_event"].tolist() == [nanos(40), nanos(40), nanos(40)]
    assert block.quotes["seq"].tolist() == [SEQ + 2, SEQ + 4, SEQ + 6]
    assert decoder.watermark_ns == nanos(40)


def test_futures_ticker_has_its_own_time(wire: Any, decode: Any) -> None:
    """On futures a ticker carries the transaction time."""
    _, block = decode(
        [
            wire.ticker(1, ("99", "1"), ("101", "1"), at=3),
            wire.ticker(2, ("99", "1"), ("101", "1"), at=2),
        ],
        venue="BINANCEF",
    )
    assert block.quotes["ts_event"].tolist() == [nanos(3), nanos(2)]


def test_nothing_leaves_before_the_first_time(wire: Any) -> None:
    """Until the venue has shown a time, events wait and last_seq stays in front of the first of them."""
    decoder = BinanceDecoder("BINANCE", "20240808")
    block = decoder.decode(
        CaptureBatch.of([wire.control("open"), wire.ticker(1, ("99", "1"), ("101", "1")), wire.raw(b"{")])
    )
    assert len(block) == 0
    assert (decoder.last_seq, decoder.watermark_ns) == (SEQ + 1, 0)
    block = decoder.decode(CaptureBatch.of([wire.trade(1, "100", "1", at=8)], first_number=4))
    assert (block.quotes["ts_event"][0], block.gaps["ts_event"][0]) == (nanos(8), nanos(8))
    assert decoder.last_seq == SEQ + 4


@pytest.mark.parametrize("cut", [1, 10, UNTIMED_MAX + 2])
def test_too_many_untimed_take_the_receive_time(wire: Any, cut: int) -> None:
    """Beyond the limit the waiting tickers take our time, which moves no watermark."""
    records = [wire.ticker(i + 1, ("99", "1"), ("101", "1")) for i in range(UNTIMED_MAX + 1)]
    records.append(wire.trade(1, "100", "1", at=8))
    decoder = BinanceDecoder("BINANCE", "20240808")
    quotes = [
        decoder.decode(CaptureBatch.of(records[at : at + cut], first_number=at + 1)).quotes
        for at in range(0, len(records), cut)
    ]
    times = np.concatenate(quotes)["ts_event"]
    assert len(times) == UNTIMED_MAX + 1
    assert (times == wire.ms).all()
    assert decoder.watermark_ns == nanos(8)


def test_watermark_is_late_by_the_lateness(wire: Any) -> None:
    """The watermark trails the latest venue time, and at the end of the session reaches it."""
    decoder = BinanceDecoder("BINANCE", "20240808", lateness_ns=500 * NS_PER_MS)
    decoder.decode(CaptureBatch.of([wire.control("open"), wire.trade(1, "100", "1", at=900)]))
    assert decoder.watermark_ns == nanos(400)
    block = decoder.decode(CaptureBatch.of([wire.control("end")], first_number=3))
    assert (decoder.ended, decoder.watermark_ns) == (True, nanos(900))
    assert block.statuses["status"].tolist() == [StatusCode.SESSION_END]


def test_spot_bridges_snapshot(wire: Any, decode: Any) -> None:
    """Updates up to the snapshot are dropped, the one that spans its id is applied, and what comes out is
    the whole book under the seq of the record that made it whole."""
    decoder, block = decode(
        [
            wire.depth(90, 95, [("98", "9")], []),
            wire.depth(96, 102, [("99", "5"), ("98", "0")], [], at=100),
            wire.snapshot(99, [("99", "1"), ("98", "7")], [("101", "3")]),
            wire.depth(103, 104, [("97", "4")], [("101", "0"), ("102", "1")], at=200),
        ]
    )
    assert decoder.counters["depth_before_snapshot"] == 1
    assert decoder.best("BTCUSDT") == (99 * ONE, 5 * ONE, 102 * ONE, ONE)
    synced = SEQ + 4
    assert block.statuses[["seq", "symbol", "status"]].tolist() == [(synced, 1, StatusCode.BOOK_SYNCED)]
    assert block.deltas[["seq", "side", "price", "size", "venue_id", "ts_event"]].tolist() == [
        (synced, Side.BUY, 99 * ONE, 5 * ONE, 102, nanos(100)),
        (synced, Side.SELL, 101 * ONE, 3 * ONE, 102, nanos(100)),
        (synced + 1, Side.BUY, 97 * ONE, 4 * ONE, 104, nanos(200)),
        (synced + 1, Side.SELL, 101 * ONE, 0, 104, nanos(200)),
        (synced + 1, Side.SELL, 102 * ONE, ONE, 104, nanos(200)),
    ]


def test_stale_snapshot_is_refused(wire: Any, decode: Any) -> None:
    """A snapshot that ends before the first update begins leaves a hole: another one is wanted."""
    decoder, block = decode(
        [wire.depth(105, 106, [("99", "1")], []), wire.snapshot(100, [("98", "1")], [("101", "1")])]
    )
    assert not decoder.is_synced("BTCUSDT")
    assert decoder.snapshots_wanted == ["BTCUSDT"]
    assert decoder.counters["snapshots_stale"] == 1
    assert len(block.deltas) == 0


def test_futures_bridge_by_the_chain(wire: Any, decode: Any) -> None:
    """Futures ids are shared by all instruments: U beyond the snapshot's id is no hole where pu is not."""
    decoder, _ = decode(
        [
            wire.depth(40, 50, [("99", "1")], [], previous=39),
            wire.depth(70, 80, [("99", "2")], [], previous=50),
            wire.snapshot(60, [("99", "1")], [("101", "1")]),
            wire.depth(95, 99, [], [("101", "4")], previous=80),
        ],
        venue="BINANCEF",
    )
    assert decoder.is_synced("BTCUSDT")
    assert decoder.best("BTCUSDT") == (99 * ONE, 2 * ONE, 101 * ONE, 4 * ONE)
    assert decoder.counters["gaps"] == 0


@pytest.mark.parametrize(
    ("venue", "following", "missing"),
    [
        ("BINANCE", {"first": 105, "final": 106}, (102, 104)),
        ("BINANCEF", {"first": 130, "final": 140, "previous": 120}, (102, 120)),
    ],
)
def test_depth_gap_loses_the_book_until_a_snapshot(
    wire: Any, decode: Any, venue: str, following: dict[str, int], missing: tuple[int, int]
) -> None:
    """Skipped updates are a gap event and BOOK_LOST at the same seq; a new snapshot gives BOOK_SYNCED and
    only what is different in the book."""
    futures = venue == "BINANCEF"
    chain: dict[str, Any] = {"previous": 95} if futures else {}
    records = [
        wire.depth(96, 100, [], [], **chain),
        wire.snapshot(100, [("99", "1")], [("101", "3")]),
        wire.depth(101, 101, [], [("101", "2")], **({"previous": 100} if futures else {})),
        wire.depth(following.pop("first"), following.pop("final"), [("99", "8")], [], at=50, **following),
        wire.snapshot(200, [("99", "1"), ("98", "6")], [("102", "2")]),
        wire.depth(
            201, 201, [], [("103", "1")], at=60, **({"previous": 140} if futures else {})
        ),
    ]  # fmt: skip
    if not futures:
        records.insert(4, wire.depth(107, 200, [], [], at=55))
    decoder, block = decode(records, venue=venue)
    lost, synced = SEQ + 5, SEQ + len(records) + 1
    assert block.gaps[["seq", "symbol", "first_missing", "last_missing", "reason"]].tolist() == [
        (lost, 1, *missing, GapReason.SEQUENCE)
    ]
    assert block.statuses[["seq", "status"]].tolist() == [
        (SEQ + 4, StatusCode.BOOK_SYNCED),
        (lost, StatusCode.BOOK_LOST),
        (synced, StatusCode.BOOK_SYNCED),
    ]
    late = block.deltas[block.deltas["seq"] > SEQ + 4]
    assert late[["seq", "side", "price", "size"]].tolist() == [
        (synced, Side.BUY, 98 * ONE, 6 * ONE),
        (synced, Side.SELL, 103 * ONE, ONE),
        (synced, Side.SELL, 102 * ONE, 2 * ONE),
        (synced, Side.SELL, 101 * ONE, 0),
    ]
    assert decoder.counters["gap_messages"] == missing[1] - missing[0] + 1


def test_trade_gap_is_counted(wire: Any, decode: Any) -> None:
    """Skipped trade ids are a gap event at the trade behind the hole; the trade itself is kept."""
    decoder, block = decode([wire.trade(7, "100", "1"), wire.trade(11, "100", "2")])
    assert block.gaps[["seq", "first_missing", "last_missing", "reason"]].tolist() == [
        (SEQ + 3, 8, 10, GapReason.SEQUENCE)
    ]
    assert block.trades["venue_id"].tolist() == [7, 11]
    assert decoder.counters["gap_messages"] == 3


def test_duplicates_are_dropped(wire: Any, decode: Any) -> None:
    """What comes again after a reconnect, known by the venue's ids, is counted and gives no event."""
    feed = [
        *book(wire),
        wire.trade(7, "100", "1"),
        wire.ticker(101, ("99", "1"), ("101", "2")),
    ]
    again = [feed[2], feed[3], feed[4], wire.trade(6, "100", "1")]
    decoder, block = decode([*feed, *again])
    assert decoder.counters["duplicate"] == 4
    assert (len(block.trades), len(block.quotes), len(block.deltas)) == (1, 1, 2)
    assert decoder.counters["oracle_equal"] == 1


def test_ticker_of_another_size_is_different(wire: Any, decode: Any) -> None:
    """The oracle compares prices and sizes, whichever of ticker and update comes first."""
    decoder, _ = decode(
        [
            *book(wire),
            wire.ticker(101, ("99", "1"), ("101", "9")),
            wire.ticker(102, ("99", "4"), ("101", "2")),
            wire.depth(102, 102, [("99", "4")], [], at=200),
        ]
    )
    assert (decoder.counters["oracle_equal"], decoder.counters["oracle_different"]) == (1, 1)


def test_crossed_book_is_lost(wire: Any, decode: Any) -> None:
    """An update that crosses the book is counted, makes a gap of reason BOOK, and ends trust in the book."""
    decoder, block = decode([*book(wire), wire.depth(102, 102, [("101", "5")], [], at=200)])
    assert decoder.counters["crossed"] == 1
    assert block.gaps[["seq", "symbol", "reason"]].tolist() == [(SEQ + 5, 1, GapReason.BOOK)]
    assert block.statuses["status"].tolist() == [StatusCode.BOOK_SYNCED, StatusCode.BOOK_LOST]
    assert not decoder.is_synced("BTCUSDT")
    decoder.decode(CaptureBatch.of([wire.depth(103, 103, [("101", "0")], [], at=300)], first_number=6))
    assert decoder.snapshots_wanted == ["BTCUSDT"]


def test_crossed_snapshot_is_not_trusted(wire: Any, decode: Any) -> None:
    """A snapshot and updates that make a crossed book do not make a synced one."""
    decoder, block = decode(
        [
            wire.depth(96, 100, [], []),
            wire.snapshot(100, [("102", "1")], [("101", "3")]),
            wire.depth(101, 101, [], [("103", "2")], at=100),
        ]
    )
    assert decoder.counters["crossed"] == 1
    assert block.statuses.size == 0
    assert not decoder.is_synced("BTCUSDT")


def test_level_that_comes_twice_in_an_update(wire: Any, decode: Any) -> None:
    """Of a price that an update names twice the last size holds, in the book and in one delta."""
    _, block = decode([*book(wire), wire.depth(102, 102, [("98", "1"), ("97", "2"), ("98", "3")], [])])
    last = block.deltas[block.deltas["seq"] == SEQ + 5]
    assert last[["side", "price", "size"]].tolist() == [
        (Side.BUY, 97 * ONE, 2 * ONE),
        (Side.BUY, 98 * ONE, 3 * ONE),
    ]


def test_empty_side_is_no_price(wire: Any, decode: Any) -> None:
    """The venue sends zeros for an empty side of the ticker."""
    _, block = decode([wire.trade(1, "1", "1"), wire.ticker(1, ("0.00000000", "0.00000000"), ("101", "1"))])
    quote = block.quotes[0]
    assert (quote["bid_price"], quote["bid_size"], quote["ask_price"]) == (NO_PRICE, 0, 101 * ONE)


def test_book_grows_beyond_its_first_room(wire: Any, decode: Any) -> None:
    """A book of more levels than there was room for keeps them all."""
    deep = [(f"{i}", "1") for i in range(1, 9_001)]
    decoder, block = decode(
        [*book(wire), wire.depth(102, 102, [], [(str(200 + i), "1") for i in range(6_000)])]
    )
    assert len(decoder.book_levels("BTCUSDT", Side.SELL)) == 6_001
    decoder, block = decode(
        [
            wire.depth(96, 100, [], []),
            wire.snapshot(100, deep, [("9001", "1")]),
            wire.depth(101, 101, [], [], at=1),
        ]
    )
    assert len(decoder.book_levels("BTCUSDT", Side.BUY)) == 9_000
    assert len(block.deltas) == 9_001


BAD = [
    (b"{", "malformed", 0),
    (b"", "malformed", 0),
    (b'{"stream":"btcusdt@trade","data":{"e":"trade"', "malformed", 0),
    (b'\xff\xfe{"stream"', "malformed", 0),
    (b"[" * 5_000, "malformed", 0),
    (b'{"stream":"btcusdt@trade","data":{"e":"trade"}}', "malformed", 1),
    (b'{"stream":"ethusdt@bookTicker","data":[]}', "malformed", 2),
    (b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"12345678.123456789",'
     b'"q":"1","T":1,"m":true}}', "refused_price", 1),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "counter", "symbol"), BAD)
def test_bad_messages_are_counted_gaps(
    wire: Any, decode: Any, payload: bytes, counter: str, symbol: int
) -> None:
    """What may have hidden an event is counted and is a gap of reason MALFORMED; the feed goes on."""
    decoder, block = decode([wire.trade(1, "1", "1"), wire.raw(payload), wire.trade(2, "1", "1")])
    assert decoder.counters[counter] == 1
    assert block.gaps[["seq", "symbol", "first_missing", "last_missing", "reason"]].tolist() == [
        (SEQ + 3, symbol, 3, 3, GapReason.MALFORMED)
    ]
    assert block.trades["venue_id"].tolist() == [1, 2]


HARMLESS = [
    (b'{"result":null,"id":1}', "ignored"),
    (b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","a":1}}', "ignored"),
    (b'{"stream":"btcusdt@kline_1m","data":{"e":"kline"}}', "unknown_type"),
    (b'{"stream":"dogeusdt@trade","data":{}}', "unknown_type"),
    (b'{"hello":1}', "unknown_type"),
]


@pytest.mark.parametrize(("payload", "counter"), HARMLESS)
def test_what_is_not_ours_is_no_gap(wire: Any, decode: Any, payload: bytes, counter: str) -> None:
    """Other streams, other instruments and answers to requests are counted and hide nothing."""
    decoder, block = decode([wire.trade(1, "1", "1"), wire.raw(payload)])
    assert decoder.counters[counter] == 1
    assert len(block.gaps) == 0


def test_malformed_depth_loses_the_book(wire: Any, decode: Any) -> None:
    """An update of an instrument that cannot be read makes its book untrusted, and no other's."""
    record = wire.message("BTCUSDT", "depth@100ms", {"s": "BTCUSDT", "U": "x"})
    decoder, block = decode([*book(wire), record])
    assert block.statuses["status"].tolist() == [StatusCode.BOOK_SYNCED, StatusCode.BOOK_LOST]
    assert not decoder.is_synced("BTCUSDT")


def test_futures_trades_outside_the_market(wire: Any, decode: Any) -> None:
    """Trades of the insurance fund are no trades between two orders: ignored, and their ids no gap."""
    decoder, block = decode(
        [wire.trade(1, "1", "1", X="MARKET"), wire.trade(2, "1", "1", X="INSURANCE_FUND")], venue="BINANCEF"
    )
    assert block.trades["venue_id"].tolist() == [1]
    assert decoder.counters["ignored"] == 1


@pytest.mark.parametrize("closed", [True, False])
def test_reconnect_is_a_gap_and_a_new_book(wire: Any, decode: Any, closed: bool) -> None:
    """A connection that closed, or whose ingester was killed, is one gap of the whole venue; the books are
    lost, and the same updates bridge to a new snapshot."""
    between = [wire.control("close")] if closed else []
    decoder, block = decode([*book(wire), *between, wire.control("open"), *book(wire)])
    assert block.gaps[["seq", "symbol", "first_missing", "last_missing", "reason"]].tolist() == [
        (SEQ + 5, 0, 0, 0, GapReason.DISCONNECT)
    ]
    assert block.statuses["status"].tolist() == [
        StatusCode.BOOK_SYNCED, StatusCode.BOOK_LOST, StatusCode.BOOK_SYNCED,
    ]  # fmt: skip
    assert len(block.deltas) == 2  # the second book is the first: nothing changed
    assert decoder.counters["connections"] == 2


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b'{"symbol":"BTCUSDT","data":<html>}', b'{"symbol":"X","data":{}}']
)
def test_bad_snapshot_is_counted(wire: Any, decode: Any, payload: bytes) -> None:
    """An answer that is no order book is counted, and the book still wants one."""
    decoder, _ = decode([wire.depth(1, 2, [("1", "1")], []), (2, 0, payload)])
    assert decoder.counters["malformed"] == 1
    assert decoder.snapshots_wanted == ["BTCUSDT"]
