"""What follows from messages of venues that stream their own snapshots: books, gaps, trades, seqs, time."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ingest.capture import CaptureBatch, RecordKind
from ingest.feeds import decoder_for
from ingest.websocket.decoder import StreamDecoder
from ingest.websocket.links import control
from ingest.websocket.numbers import SEQS_PER_RECORD
from tests.ingest.websocket.venues.wires import MS, WIRES, Bybit, Coinbase, Kraken, Okx, Wire, compact
from tickloom.events import EventBlock, GapReason, Side, StatusCode, source_seq
from tickloom.prices import NO_PRICE, nanos_of

BIDS, ASKS = [("99.5", "1"), ("99", "2")], [("100.5", "3"), ("101", "4")]


@pytest.fixture(params=WIRES, ids=[kind.__name__ for kind in WIRES])
def wire(request: pytest.FixtureRequest) -> Wire:
    """A venue, fresh."""
    made: Wire = request.param()
    return made


def decode(wire: Wire, payloads: Iterable[bytes]) -> tuple[StreamDecoder, EventBlock]:
    """After an open connection; the first payload is record 2."""
    decoder = decoder_for(wire.venue, "20210417")
    assert isinstance(decoder, StreamDecoder)
    records = [(int(RecordKind.CONTROL), MS, control("open"))]
    records += [(int(RecordKind.DATA), MS, payload) for payload in payloads]
    return decoder, decoder.decode(CaptureBatch.of(records))


def statuses(block: EventBlock) -> list[tuple[int, StatusCode]]:
    return [(int(one["symbol"]), StatusCode(int(one["status"]))) for one in block.statuses]


def index_of(decoder: StreamDecoder, block: EventBlock, symbol: str) -> int:
    return block.symbols.names.index(
        {name: decoder.symbols.names[at + 1] for at, name in enumerate(decoder._names)}[symbol]
    )


def test_snapshot_and_updates_make_the_book(wire: Wire) -> None:
    """The book is the venue's own, its best levels come out, and who applies the deltas has it, too."""
    one, two = wire.symbols
    payloads = [
        wire.snapshot(one, BIDS, ASKS),
        wire.snapshot(two, BIDS, ASKS, at=1),
        wire.update(one, [("99.5", "0"), ("99.25", "7")], [("100.5", "5")], at=2),
        wire.update(two, [], [("100.5", "0")], at=3),
        wire.update(one, [("99.4", "1.25")], [], at=4),
    ]
    decoder, block = decode(wire, payloads)
    assert decoder.best(one) == tuple(map(nanos_of, ("99.4", "1.25", "100.5", "5")))
    assert decoder.best(two) == tuple(map(nanos_of, ("99.5", "1", "101", "4")))
    assert decoder.counters["decoded"] == 5
    assert decoder.unsynced == [name for name in decoder._names if name not in wire.symbols]
    for symbol in wire.symbols:
        made: dict[tuple[int, int], int] = {}
        for delta in block.deltas[block.deltas["symbol"] == index_of(decoder, block, symbol)]:
            made[int(delta["side"]), int(delta["price"])] = int(delta["size"])
        kept = {key: size for key, size in made.items() if size}
        want = {
            (int(side), price): size
            for side in (Side.BUY, Side.SELL)
            for price, size in decoder.book_levels(symbol, side)
        }
        assert kept == want
        bids, asks = wire.sides(symbol)
        assert decoder.book_levels(symbol, Side.BUY) == [(nanos_of(p), nanos_of(s)) for p, s in bids]
        assert decoder.book_levels(symbol, Side.SELL) == [(nanos_of(p), nanos_of(s)) for p, s in asks]
    assert [code for _, code in statuses(block)] == [StatusCode.BOOK_SYNCED] * 2
    assert not len(block.gaps)


def test_spoilt_book_is_lost_alone_and_comes_back(wire: Wire) -> None:
    """A book is lost, with a gap event; nothing goes out of it until the next snapshot; the other goes on."""
    one, two = wire.symbols
    payloads = [
        wire.snapshot(one, BIDS, ASKS),
        wire.snapshot(two, BIDS, ASKS),
        wire.spoilt(one, at=1),
        wire.update(one, [("98", "1")], [], at=2),
        wire.update(two, [("98", "1")], [], at=3),
        wire.snapshot(one, [("97", "1")], [("98", "1")], at=4),
        wire.update(one, [("97", "2")], [], at=5),
    ]
    decoder, block = decode(wire, payloads)
    first, second = (index_of(decoder, block, symbol) for symbol in (one, two))
    assert statuses(block) == [
        (first, StatusCode.BOOK_SYNCED),
        (second, StatusCode.BOOK_SYNCED),
        (first, StatusCode.BOOK_LOST),
        (first, StatusCode.BOOK_SYNCED),
    ]
    assert decoder.best(one) == tuple(map(nanos_of, ("97", "2", "98", "1")))
    assert decoder.is_synced(two)
    assert decoder.counters["updates_unsynced"] == 1
    (gap,) = block.gaps
    if isinstance(wire, Okx | Bybit):
        assert (gap["reason"], gap["first_missing"], gap["last_missing"]) == (GapReason.SEQUENCE, 102, 106)
        assert decoder.counters["gap_messages"] == 5
    else:
        assert (gap["reason"], gap["first_missing"], gap["last_missing"]) == (GapReason.BOOK, 4, 4)
    lost_at = block.gaps["seq"][0]
    inside = block.deltas[(block.deltas["symbol"] == first) & (block.deltas["seq"] > lost_at)]
    assert set(inside["seq"]) == {lost_at + 3 * SEQS_PER_RECORD, lost_at + 4 * SEQS_PER_RECORD}


def test_lost_connection_loses_every_book(wire: Wire) -> None:
    """A close is one gap of unknown extent, and every book is to be made anew."""
    stamped = wire.trade(wire.symbols[0], 1, "1.0", "1", "buy")
    decoder, _ = decode(wire, [stamped, *(wire.snapshot(symbol, BIDS, ASKS) for symbol in wire.symbols)])
    block = decoder.decode(CaptureBatch.of([(int(RecordKind.CONTROL), MS, control("close"))], 5))
    assert [code for _, code in statuses(block)] == [StatusCode.BOOK_LOST] * 2
    assert [int(gap["reason"]) for gap in block.gaps] == [GapReason.DISCONNECT]
    assert decoder.unsynced == []


def test_snapshot_that_comes_again_replaces_the_book(wire: Wire) -> None:
    """A venue may send a snapshot at any time; only what differs goes out, and the book stays trusted."""
    one = wire.symbols[0]
    payloads = [
        wire.trade(one, 1, "1.0", "1", "buy"),
        wire.snapshot(one, BIDS, ASKS),
        wire.snapshot(one, [("99.5", "1")], [*ASKS, ("102", "1")], at=1),
    ]
    _, block = decode(wire, payloads)
    again = block.deltas[block.deltas["seq"] == block.deltas["seq"].max()]
    assert sorted(zip(again["price"].tolist(), again["size"].tolist(), strict=True)) == [
        (nanos_of("99"), 0),
        (nanos_of("102"), nanos_of("1")),
    ]
    assert [code for _, code in statuses(block)] == [StatusCode.BOOK_SYNCED]


def test_trades_have_sides_times_and_seqs_of_their_own(wire: Wire) -> None:
    """The aggressor's side, the venue's time to the millisecond, and the record's first seq."""
    one = wire.symbols[0]
    _, block = decode(
        wire,
        [wire.trade(one, 11, "100.5", "0.25", "buy", at=7), wire.trade(one, 12, "100.25", "3", "sell", at=9)],
    )
    assert block.trades["side"].tolist() == [Side.BUY, Side.SELL]
    assert block.trades["price"].tolist() == [nanos_of("100.5"), nanos_of("100.25")]
    assert block.trades["size"].tolist() == [nanos_of("0.25"), nanos_of("3")]
    base = 1_618_661_000_000 if isinstance(wire, Coinbase) else MS
    assert block.trades["ts_event"].tolist() == [(base + 7) * 10**6, (base + 9) * 10**6]
    assert [source_seq(int(seq)) for seq in block.trades["seq"]] == [200, 300]


def test_message_of_many_trades_numbers_each() -> None:
    """250 trades of a message take the numbers of three records, and what follows moves up: none is twice."""
    wire = Bybit()
    one = json_trades(wire, 250)
    decoder, block = decode(wire, [one, wire.trade("ETHUSDT", 1, "1", "1", "buy")])
    numbers = [source_seq(int(seq)) for seq in block.trades["seq"]]
    assert numbers == [*range(200, 450), 500]
    assert source_seq(decoder.last_seq) == 599


def json_trades(wire: Wire, count: int) -> bytes:
    """So many trades of ETHUSDT in one message of Bybit."""
    assert isinstance(wire, Bybit)
    item = {"T": MS, "s": "ETHUSDT", "S": "Buy", "v": "1", "p": "2", "L": "PlusTick", "i": "u", "BT": False}
    return compact({"topic": "publicTrade.ETHUSDT", "type": "snapshot", "ts": MS, "data": [item] * count})


def test_coinbase_trade_ids_are_a_chain() -> None:
    """A trade id that is skipped is a gap event with its range; one that came before is no trade."""
    wire = Coinbase()
    ids = [10, 11, 14, 13, 15]
    decoder, block = decode(wire, [wire.trade("CRV-EUR", one, "2", "1", "buy") for one in ids])
    assert block.trades["venue_id"].tolist() == [10, 11, 14, 15]
    assert [(int(gap["first_missing"]), int(gap["last_missing"])) for gap in block.gaps] == [(12, 13)]
    assert decoder.counters["duplicate"] == 1


def test_kraken_levels_beyond_the_depth_go() -> None:
    """What falls out of the subscribed depth is gone from book and deltas: the venue says no more of it."""
    wire = Kraken()
    bids = [(f"{200 - at}", "1") for at in range(100)]
    decoder, block = decode(
        wire, [wire.snapshot("ETH/CHF", bids, ASKS_HIGH), wire.update("ETH/CHF", [("200.5", "1")], [], at=1)]
    )
    levels = decoder.book_levels("ETH/CHF", Side.BUY)
    assert len(levels) == 100
    assert levels[-1][0] == nanos_of("102")
    last = block.deltas[block.deltas["seq"] == block.deltas["seq"].max()]
    assert last["price"].tolist() == [nanos_of("200.5"), nanos_of("101")]
    assert last["size"].tolist() == [nanos_of("1"), 0]


ASKS_HIGH = [("300", "1")]


def test_kraken_snapshot_beyond_the_depth_is_cut() -> None:
    """A snapshot of more levels than its channel has is cut at once: a batch has room for two deltas a level
    of an update, so the next update could not let all the others go."""
    wire = Kraken()
    bids = [(f"{300 - at}", "1") for at in range(160)]
    decoder, _ = decode(wire, [wire.snapshot("ETH/CHF", bids, [("400", "1")])])
    assert len(decoder.book_levels("ETH/CHF", Side.BUY)) == 100
    update = (int(RecordKind.DATA), MS, wire.update("ETH/CHF", [("300", "2")], [], at=1))
    block = decoder.decode(CaptureBatch.of([update], 3))
    assert block.deltas["size"].tolist() == [nanos_of("2")]
    assert decoder.is_synced("ETH/CHF")


def test_okx_checksum_alone_finds_a_wrong_book() -> None:
    """Numbers in order and a checksum that differs: lost. A checksum of 0 says nothing."""
    wire = Okx()
    good = [wire.snapshot("BTC-USDT", BIDS, ASKS)]
    update = wire.update("BTC-USDT", [("99.5", "2")], [], at=1)
    start, end = update.index(b'"checksum":') + 11, update.index(b',"seqId"')
    decoder, _ = decode(wire, [*good, update[:start] + b"12345" + update[end:]])
    assert decoder.counters["checksums_different"] == 1
    assert not decoder.is_synced("BTC-USDT")
    decoder, _ = decode(wire, [*good, update[:start] + b"0" + update[end:]])
    assert decoder.is_synced("BTC-USDT")
    assert decoder.counters["checksums_equal"] == 1


def test_okx_numbers_that_go_back_lose_the_book() -> None:
    """After maintenance the venue's numbers begin anew: nothing is missing, and nothing fits."""
    wire = Okx()
    payloads = [wire.snapshot("BTC-USDT", BIDS, ASKS)]
    wire.numbers["BTC-USDT"] = 3
    decoder, block = decode(wire, [*payloads, wire.update("BTC-USDT", [], [], at=1)])
    assert [int(gap["reason"]) for gap in block.gaps] == [GapReason.BOOK]
    assert not decoder.is_synced("BTC-USDT")


def test_okx_keep_alive_update_changes_nothing() -> None:
    """Without a change for a minute, seqId repeats prevSeqId: the chain holds."""
    wire = Okx()
    payloads = [wire.snapshot("BTC-USDT", BIDS, ASKS)]
    wire.numbers["BTC-USDT"] -= 1
    again = wire.update("BTC-USDT", [], [], at=1).replace(b'"prevSeqId":100', b'"prevSeqId":101')
    decoder, block = decode(wire, [*payloads, again, wire.update("BTC-USDT", [("99.5", "9")], [], at=2)])
    assert decoder.best("BTC-USDT")[1] == nanos_of("9")
    assert not len(block.gaps)


def test_bybit_restart_of_the_venue_is_a_snapshot() -> None:
    """u = 1 comes with a whole book: it replaces the old one, and the numbers go on from there."""
    wire = Bybit()
    payloads = [wire.snapshot("ETHUSDT", BIDS, ASKS)]
    wire.numbers["ETHUSDT"] = 0
    payloads.append(wire.snapshot("ETHUSDT", [("50", "1")], [("51", "1")], at=1))
    payloads.append(wire.update("ETHUSDT", [("50", "2")], [], at=2))
    decoder, block = decode(wire, payloads)
    assert decoder.best("ETHUSDT")[:2] == (nanos_of("50"), nanos_of("2"))
    assert not len(block.gaps)


def test_quotes_of_each_venue() -> None:
    """Best levels as each venue sends them; an empty side has no price; without a time, the feed's latest."""
    kraken = Kraken()
    stamped = kraken.trade("ETH/CHF", 1, "1.0", "1", "buy", at=5)
    ticker = (
        b'[1,{"a":["101.5",1,"1.25"],"b":["101.0",1,"2.5"],"c":["1","1"],"v":["1","1"],"p":["1","1"],'
        b'"t":[1,1],"l":["1","1"],"h":["1","1"],"o":["1","1"]},"ticker","ETH/CHF"]'
    )
    spread = b'[1,["5.0","5.5","1618677801.000000","1.0","2.0"],"spread","ETH/CHF"]'
    _, block = decode(kraken, [stamped, ticker, spread])
    fields = ["ts_event", "bid_price", "bid_size", "ask_price", "ask_size"]
    nine = 10**9
    assert block.quotes[fields].tolist() == [
        ((MS + 5) * 10**6, 101 * nine, 5 * nine // 2, 203 * nine // 2, 5 * nine // 4),
        (1_618_677_801 * nine, 5 * nine, nine, 11 * nine // 2, 2 * nine),
    ]
    best = b'{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[],"bids":[["9","1","0","1"]],'
    _, block = decode(Okx(), [best + b'"ts":"1618677800000","seqId":3}]}'])
    assert block.quotes[fields].tolist() == [(MS * 10**6, 9 * nine, nine, int(NO_PRICE), 0)]
    one = b'{"topic":"orderbook.1.ETHUSDT","type":"snapshot","ts":1618677800005,"data":{"s":"ETHUSDT",'
    one += b'"b":[["9.5","1"]],"a":[["9.6","2"]],"u":7,"seq":9},"cts":1618677800001}'
    _, block = decode(Bybit(), [one])
    assert block.quotes[fields].tolist() == [
        ((MS + 1) * 10**6, 19 * nine // 2, nine, nanos_of("9.6"), 2 * nine)
    ]
    old = b'{"type":"ticker","sequence":8,"product_id":"CRV-EUR","price":"2","open_24h":"1","volume_24h":"1",'
    old += b'"low_24h":"1","high_24h":"1","volume_30d":"1","best_bid":"1.5","best_ask":"2.5","side":"buy",'
    old += b'"time":"2021-04-17T16:43:30.244075Z","trade_id":1,"last_size":"0.04"}'
    _, block = decode(Coinbase(), [old])
    assert block.quotes[fields].tolist() == [(1_618_677_810_244_075_000, 3 * nine // 2, 0, 5 * nine // 2, 0)]


@pytest.mark.parametrize(
    ("change", "counter"),
    [
        ((b'"100.50000"', b'"100.5000000001"'), "refused_price"),
        ((b'"3.00000000"', b'"-3.0"'), "malformed"),
        ((b'"3.00000000"', b'"3e1"'), "malformed"),
        ((b'"book-100"', b'"book-x"'), "malformed"),
        ((b'"ETH/CHF"', b'"DOGE/CHF"'), "unknown_type"),
        ((b'"book-100"', b'"owe"'), "unknown_type"),
        ((b"[1,", b"[1,{"), "malformed"),
    ],
)
def test_message_that_cannot_be_used_is_counted_and_loses_its_book(
    change: tuple[bytes, bytes], counter: str
) -> None:
    """Each way of being wrong has its counter; where the book is known, it is not trusted any more."""
    wire = Kraken()
    snapshot = wire.snapshot("ETH/CHF", BIDS, ASKS)
    update = wire.update("ETH/CHF", [], [("100.5", "3")], at=1)
    assert change[0] in update
    decoder, block = decode(wire, [snapshot, update.replace(*change)])
    assert decoder.counters[counter] == 1
    assert decoder.oddities
    knows = b"book-100" in update.replace(*change) and counter != "unknown_type" and change[0] != b"[1,"
    assert decoder.is_synced("ETH/CHF") == (not (knows or b"book-x" in change[1]))
    assert len(block.gaps) == (counter != "unknown_type")


def test_price_beyond_64_bits_is_left_out_of_the_book() -> None:
    """An offer at ten thousand million is no part of the book, is counted, and does not cost the book."""
    wire = Kraken()
    high = b'["9999999997.00000","0.00100000","1618678117.243818"]'
    snapshot = wire.snapshot("ETH/CHF", BIDS, ASKS)
    at = snapshot.index(b'],"bs"')
    decoder, _ = decode(wire, [snapshot[:at] + b"," + high + snapshot[at:]])
    assert decoder.is_synced("ETH/CHF")
    assert decoder.counters["levels_left_out"] == 1
    assert len(decoder.book_levels("ETH/CHF", Side.SELL)) == 2
