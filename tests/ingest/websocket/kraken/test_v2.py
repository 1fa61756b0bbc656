"""Messages of Kraken's websocket API v2, one by one: what they are read as, and what is wrong with them.

The messages are those of the documentation: Kraken "Spot WebSocket v2", and its guide to the checksum.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.capture import CaptureBatch, RecordKind
from ingest.feeds import decoder_for
from ingest.websocket.decoder import StreamDecoder
from ingest.websocket.kraken.decoder import KrakenDecoder
from ingest.websocket.kraken.messages import KrakenReader
from ingest.websocket.kraken.protocol import BOOK_DEPTH, KrakenV1, KrakenV2
from ingest.websocket.kraken.symbols import aliases, v1_name, v2_name
from ingest.websocket.links import control
from ingest.websocket.message import Kind
from tests.ingest.websocket.venues.test_scan import differences, wire_of
from tests.ingest.websocket.venues.wires import MS, Request
from tests.ingest.websocket.venues.wires import KrakenV2 as Wire
from tickloom.events import EventBlock, GapReason, Side, StatusCode
from tickloom.instruments import Instrument, Registry, Venue
from tickloom.prices import NO_PRICE, nanos_of
from tickloom.settings import KrakenSettings

BIDS, ASKS = [("99.5", "1"), ("99", "2")], [("100.5", "3"), ("101", "4")]
# the example of the guide, whose checksum it gives as 3310070434
GUIDE_BIDS = (
    "45283.5 0.10000000 45283.4 1.54582015 45282.1 0.10000000 45281.0 0.10000000 45280.3 1.54592586 "
    "45279.0 0.07990000 45277.6 0.03310103 45277.5 0.30000000 45277.3 1.54602737 45276.6 0.15445238"
)
GUIDE_ASKS = (
    "45285.2 0.00100000 45286.4 1.54571953 45286.6 1.54571109 45289.6 1.54560911 45290.2 0.15890660 "
    "45291.8 1.54553491 45294.7 0.04454749 45296.1 0.35380000 45297.5 0.09945542 45299.5 0.18772827"
)
GUIDE_CHECKSUM = 3_310_070_434
TRADE = (
    '{"symbol":"ETH/CHF","side":"buy","price":2185.50,"qty":0.01000000,"ord_type":"market","trade_id":42,'
    '"timestamp":"2026-04-28T07:49:37.708706123Z"}'
)
TICKER = (
    '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/CHF","bid":56218.2,"bid_qty":1.50000000,'
    '"ask":56218.3,"ask_qty":0.15000000,"last":56218.3,"volume":997.04000000,"vwap":56101.4,"low":55979.0,'
    '"high":57285.1,"change":-17.2,"change_pct":-0.17}]}'
)
TICKER_TIMED = TICKER.replace("-0.17}", '-0.17,"trades":4606,"timestamp":"2026-04-28T07:49:37.708706Z"}')
TS = 1_777_362_577_708_706_000


def decode(
    payloads: Iterable[bytes | str], registry: Registry | None = None
) -> tuple[StreamDecoder, EventBlock]:
    """After an open connection; the first payload is record 2."""
    decoder = decoder_for("KRAKEN", "20210417", registry)
    assert isinstance(decoder, StreamDecoder)
    records = [(int(RecordKind.CONTROL), MS, control("open"))]
    for payload in payloads:
        raw = payload.encode() if isinstance(payload, str) else payload
        records.append((int(RecordKind.DATA), MS, raw))
    return decoder, decoder.decode(CaptureBatch.of(records))


def guide(checksum: int = GUIDE_CHECKSUM) -> bytes:
    """The snapshot of the guide, of a pair of the registry."""
    sides = []
    for text in (GUIDE_BIDS, GUIDE_ASKS):
        numbers = text.split()
        levels = zip(numbers[::2], numbers[1::2], strict=True)
        sides.append(",".join(f'{{"price":{price},"qty":{size}}}' for price, size in levels))
    return (
        f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"BTC/CHF","bids":[{sides[0]}],'
        f'"asks":[{sides[1]}],"checksum":{checksum}}}]}}'
    ).encode()


def trades(*found: str) -> str:
    return f'{{"channel":"trade","type":"update","data":[{",".join(found)}]}}'


def test_checksum_of_the_guide() -> None:
    """The guide's snapshot has the guide's checksum; with any other the book is not trusted."""
    decoder, block = decode([TICKER_TIMED, guide()])
    assert decoder.counters["checksums_equal"] == 1
    assert decoder.is_synced("XBT/CHF")
    assert [int(one["status"]) for one in block.statuses] == [StatusCode.BOOK_SYNCED]
    decoder, block = decode([TICKER_TIMED, guide(GUIDE_CHECKSUM + 1)])
    assert decoder.counters["checksums_different"] == 1
    assert not decoder.is_synced("XBT/CHF")
    assert [int(gap["reason"]) for gap in block.gaps] == [GapReason.BOOK]


def test_trades_of_one_message() -> None:
    """Side of the aggressor, the venue's number, and the time to the nanosecond, of each."""
    other = TRADE.replace('"buy"', '"sell"').replace("42", "43").replace("2185.50", "2185.49")
    decoder, block = decode([trades(TRADE, other)])
    assert block.trades["side"].tolist() == [Side.BUY, Side.SELL]
    assert block.trades["venue_id"].tolist() == [42, 43]
    assert block.trades["ts_event"].tolist() == [TS + 123] * 2
    assert block.trades["price"].tolist() == [nanos_of("2185.5"), nanos_of("2185.49")]
    assert block.trades["size"].tolist() == [nanos_of("0.01")] * 2
    assert decoder.counters["trade_messages"] == 1


def test_trades_of_before_the_subscription_are_left() -> None:
    """They were there before the connection, and come again with each."""
    decoder, block = decode([trades(TRADE).replace("update", "snapshot")])
    assert decoder.counters["ignored"] == 1
    assert not len(block.trades)


def test_quotes_with_a_time_and_without() -> None:
    """The best levels; a ticker without a time has the feed's latest, one without a bid no price there."""
    empty = TICKER_TIMED.replace("56218.2", "0.0").replace('"update"', '"snapshot"')
    _, block = decode([TICKER_TIMED, TICKER, empty])
    nine = 10**9
    best = (562_182 * nine // 10, 3 * nine // 2, 562_183 * nine // 10, 15 * nine // 100)
    fields = ["ts_event", "bid_price", "bid_size", "ask_price", "ask_size"]
    assert block.quotes[fields].tolist() == [(TS, *best), (TS, *best), (TS, int(NO_PRICE), 0, *best[2:])]


def test_templates_take_the_documented_messages() -> None:
    """All but a ticker's first message, and they agree with the typed reader."""
    wire, names = wire_of("KRAKEN")
    made = Wire()
    payloads = [
        guide(),
        made.snapshot("ETH/CHF", BIDS, ASKS),
        made.update("ETH/CHF", [("99.5", "0")], [], at=1),
        made.update("ETH/CHF", [], [], at=2),
        *(text.encode() for text in (trades(TRADE), trades(TRADE, TRADE), TICKER, TICKER_TIMED)),
        b'{"channel":"heartbeat"}',
    ]
    assert differences(wire, names, payloads) == ([], len(payloads))


ANSWERS = [
    ('{"method":"pong","req_id":101,"time_in":"2026-04-28T07:49:37Z","time_out":"x"}', Kind.IGNORED, ""),
    (
        '{"channel":"status","type":"update","data":[{"system":"online","connection_id":15113583034416118705}]}',
        Kind.IGNORED,
        "",
    ),
    (
        '{"method":"subscribe","result":{"channel":"ticker","event_trigger":"bbo","symbol":"ETH/CHF"},'
        '"success":true}',
        Kind.IGNORED,
        "",
    ),
    (
        '{"method":"unsubscribe","result":{"channel":"book","depth":10,"symbol":"ETH/CHF"},"success":true}',
        Kind.IGNORED,
        "",
    ),
    (
        '{"method":"subscribe","result":{"channel":"book","depth":25,"snapshot":true,"symbol":"ETH/CHF",'
        '"warnings":["an advisory"]},"success":true}',
        Kind.ACCEPTED,
        "",
    ),
    (
        '{"method":"subscribe","result":{"channel":"book","depth":0,"symbol":"ETH/CHF"},"success":true}',
        Kind.MALFORMED,
        "depth 0",
    ),
    (
        '{"method":"subscribe","result":{"channel":"book","depth":99999999999999999999,"symbol":"ETH/CHF"}}',
        Kind.MALFORMED,
        "",
    ),
    (
        '{"method":"subscribe","result":{"channel":"book","depth":10,"symbol":"NO/SUCH"},"success":true}',
        Kind.UNKNOWN,
        "NO/SUCH",
    ),
    (
        '{"error":"Currency pair not supported ETH/CHF","method":"subscribe","success":false,'
        '"symbol":"ETH/CHF"}',
        Kind.DECLINED,
        "ETH/CHF: Currency pair not supported",
    ),
    (
        '{"error":"Subscription depth not supported","method":"subscribe","success":false}',
        Kind.DECLINED,
        "Subscription depth not supported",
    ),
    ('{"error":"Exceeded msg rate"}', Kind.DECLINED, "Exceeded msg rate"),
    ('{"method":"batch_add","success":true}', Kind.UNKNOWN, "method batch_add"),
    ('{"channel":"instrument","type":"snapshot","data":{"assets":[]}}', Kind.UNKNOWN, "channel instrument"),
    ("{}", Kind.MALFORMED, "neither channel nor method"),
    ('{"event":7}', Kind.MALFORMED, ""),
    ('{"channel":"book"}', Kind.MALFORMED, "no element"),
    ('{"channel":"trade","type":"update","data":[]}', Kind.MALFORMED, "no element"),
]


@pytest.mark.parametrize(("payload", "kind", "reason"), ANSWERS)
def test_what_is_no_data(payload: str, kind: Kind, reason: str) -> None:
    """Answers, errors and statuses; a refusal says of which pair, where the venue does."""
    message = KrakenReader(["ETH/CHF"]).read(payload.encode())
    assert message.kind is kind
    assert reason in message.reason
    assert message.depth == (25 if kind is Kind.ACCEPTED else 0)
    wire, names = wire_of("KRAKEN")
    assert differences(wire, names, [payload.encode()]) == ([], 0)


@pytest.mark.parametrize(
    ("change", "counter"),
    [
        (('"price":100.50000', '"price":100.5000000001'), "refused_price"),
        (('"price":100.50000', '"price":"100.50000"'), "malformed"),
        (('"price":100.50000', '"price":null'), "malformed"),
        (('"qty":3.00000000', '"qty":-3.0'), "malformed"),
        (('"qty":3.00000000', '"qty":3e1'), "malformed"),
        (('"checksum":', '"checksum":9'), "malformed"),
        (('"checksum":', '"sum":'), "malformed"),
        (('"timestamp":', '"time":'), "malformed"),
        (("2021-04-17T", "2021-04-31T"), "malformed"),
        (('"type":"update"', '"type":"delta"'), "malformed"),
        (('"bids":', '"bid":'), "malformed"),
        (('"data":[', '"data":[{"symbol":"ETH/CHF"},'), "malformed"),
        (('"symbol":"ETH/CHF"', '"symbol":7'), "malformed"),
        (('"symbol":"ETH/CHF"', '"symbol":"DOGE/CHF"'), "unknown_type"),
        (('"channel":"book"', '"channel":"owe"'), "unknown_type"),
    ],
)
def test_changes_that_cannot_be_used(change: tuple[str, str], counter: str) -> None:
    """Each way of being wrong has its counter; where the book is known, it is not trusted any more."""
    wire = Wire()
    snapshot = wire.snapshot("ETH/CHF", BIDS, ASKS)
    update = wire.update("ETH/CHF", [], [("100.5", "3")], at=1).decode()
    assert change[0] in update
    decoder, block = decode([snapshot, update.replace(*change)])
    assert decoder.counters[counter] == 1
    assert decoder.oddities
    assert decoder.is_synced("ETH/CHF") == (counter == "unknown_type" or change[1] == '"symbol":7')
    assert len(block.gaps) == (counter != "unknown_type")


@pytest.mark.parametrize(
    "change",
    [
        ('"side":"buy"', '"side":"bought"'),
        ('"price":2185.50', '"price":0'),
        ('"trade_id":42', '"trade_id":-1'),
        ('"trade_id":42', '"trade_id":"42"'),
        ("123Z", "1234567Z"),
    ],
)
def test_trades_that_cannot_be_used(change: tuple[str, str]) -> None:
    """One of two that is wrong makes the message malformed: a gap, and no trade."""
    decoder, block = decode([TICKER_TIMED, trades(TRADE, TRADE.replace(*change))])
    assert decoder.counters["malformed"] == len(block.gaps) == 1
    assert not len(block.trades)


def test_trades_of_two_pairs_are_no_message() -> None:
    """A message is of one pair; a trade of another in it is not taken for one of the first."""
    decoder, block = decode([trades(TRADE, TRADE.replace("ETH/CHF", "BTC/CHF"))])
    assert decoder.counters["malformed"] == 1
    assert not len(block.trades)


_TEXTS = st.sampled_from(["0", "1", "0.5", "10.25000000", "00.5", "1.", ".5", "-1", "1e3", '"1"', "null", ""])
_NUMBERS = st.one_of(_TEXTS, st.decimals(0, 10**10, places=8).map(str), st.integers(0, 10**20).map(str))
_LEVELS = st.lists(st.tuples(_NUMBERS, _NUMBERS), max_size=3)
_TIMES = st.sampled_from(
    ["2026-04-28T07:49:37Z", "2026-04-28T07:49:37.123456789Z", "2026-02-30T00:00:00Z", ""]
)


@given(_LEVELS, _LEVELS, st.integers(-1, 2**33), _TIMES, st.sampled_from(["update", "snapshot"]), _NUMBERS)
@settings(max_examples=300, deadline=None)
def test_templates_and_typed_reader_agree(
    bids: list[tuple[str, str]],
    asks: list[tuple[str, str]],
    checksum: int,
    time: str,
    kind: str,
    number: str,
) -> None:
    """Whatever numbers, levels and times: what the templates take, the typed reader reads the same."""
    sides = [",".join(f'{{"price":{one[0]},"qty":{one[1]}}}' for one in side) for side in (bids, asks)]
    book = (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/CHF","bids":[{sides[0]}],'
        f'"asks":[{sides[1]}],"checksum":{checksum},"timestamp":"{time}"}}]}}'
    )
    quote = TICKER.replace("56218.2,", f"{number},").replace("-17.2", f"-{number}")
    trade = trades(TRADE, TRADE.replace("0.01000000", number).replace("42", number))
    wire, names = wire_of("KRAKEN")
    wrong, _ = differences(wire, names, [text.encode() for text in (book, quote, trade)])
    assert not wrong


def accepted(wire: Wire, symbol: str, depth: int) -> bytes:
    wire.depth = depth
    answer = wire.accepted(Request("subscribe", "book", symbol))
    assert answer is not None
    return answer


def test_level_that_falls_behind_the_accepted_depth_goes() -> None:
    """Ten levels were accepted: the eleventh is gone from the book, and from who applies the deltas."""
    wire = Wire()
    bids = [(f"{200 - at}", "1") for at in range(10)]
    payloads = [
        accepted(wire, "ETH/CHF", 10),
        wire.snapshot("ETH/CHF", bids, [("300", "1")]),
        wire.update("ETH/CHF", [("200.5", "1")], [], at=1),
    ]
    decoder, block = decode(payloads)
    assert [price for price, _ in decoder.book_levels("ETH/CHF", Side.BUY)][::9] == [
        nanos_of("200.5"),
        nanos_of("192"),
    ]
    last = block.deltas[block.deltas["seq"] == block.deltas["seq"].max()]
    assert last["price"].tolist() == [nanos_of("200.5"), nanos_of("191")]
    assert last["size"].tolist() == [nanos_of("1"), 0]


@pytest.mark.parametrize(("answered", "kept"), [(25, 25), (1_000, 30), (0, 30)])
def test_snapshot_is_cut_to_its_depth(answered: int, kept: int) -> None:
    """A snapshot of more levels than were accepted is cut at once. Without an answer its thirty levels are of
    a subscription to a hundred."""
    wire = Wire()
    bids = [(f"{200 - at}", "1") for at in range(30)]
    payloads = [accepted(wire, "ETH/CHF", answered)] if answered else []
    payloads += [wire.snapshot("ETH/CHF", bids, [("300", "1")])]
    decoder, block = decode([*payloads, wire.update("ETH/CHF", [("200", "2")], [], at=1)])
    assert len(decoder.book_levels("ETH/CHF", Side.BUY)) == kept
    assert len(block.deltas) == kept + 1 + 1
    assert decoder.is_synced("ETH/CHF")


def test_answer_is_of_its_connection() -> None:
    """A depth that was accepted goes with the connection: the next one may be subscribed to another."""
    wire = Wire()
    bids = [(f"{200 - at}", "1") for at in range(12)]
    decoder, _ = decode([accepted(wire, "ETH/CHF", 10), wire.snapshot("ETH/CHF", bids, ASKS_HIGH)])
    assert len(decoder.book_levels("ETH/CHF", Side.BUY)) == 10
    records = [(int(RecordKind.CONTROL), MS, control(event)) for event in ("close", "open")]
    records.append((int(RecordKind.DATA), MS, wire.snapshot("ETH/CHF", bids, ASKS_HIGH)))
    decoder.decode(CaptureBatch.of(records, 4))
    assert len(decoder.book_levels("ETH/CHF", Side.BUY)) == 12


ASKS_HIGH = [("300", "1")]


def test_names_of_both_versions() -> None:
    """Kraken's own codes are v1's; all others are the same in both."""
    assert [v2_name(pair) for pair in ("XBT/USD", "ADA/XBT", "XDG/XBT", "BTC/USD", "SC/EUR")] == [
        *("BTC/USD", "ADA/BTC", "DOGE/BTC", "BTC/USD", "SC/EUR")
    ]
    assert [v1_name(pair) for pair in ("BTC/USD", "DOGE/EUR", "XBT/USD")] == ["XBT/USD", "XDG/EUR", "XBT/USD"]
    assert aliases(["SC/EUR", "XBT/EUR", "DOGE/USD"]) == {"BTC/EUR": 1, "XDG/USD": 2}
    assert aliases(["XBT/EUR", "BTC/EUR"]) == {}


@pytest.mark.parametrize("name", ["XBT/CHF", "BTC/CHF"])
def test_registry_may_have_either_name(name: str) -> None:
    """Canonical names come out, whichever of the two the registry and the connection's share have."""
    venue = Venue("KRAKEN", "Kraken, spot", "kraken", "UTC", "USD")
    instrument = Instrument("KRAKEN", "BTC-CHF", name, "coin", 1, 1, 1)
    decoder = KrakenDecoder("KRAKEN", "20210417", registry=Registry({"KRAKEN": venue}, [instrument]))
    v1 = b'[1,["5.0","5.5","1618677801.000000","1.0","2.0"],"spread","XBT/CHF"]'
    records = [(int(RecordKind.CONTROL), MS, control("open", connection=0, of=2, symbols=["BTC/CHF"]))]
    records += [(int(RecordKind.DATA), MS, payload) for payload in (v1, TICKER.encode(), guide())]
    records += [(int(RecordKind.CONTROL), MS, control("close", connection=0, of=2))]
    block = decoder.decode(CaptureBatch.of(records))
    assert [block.symbols.names[which] for which in block.quotes["symbol"]] == ["BTC-CHF", "BTC-CHF"]
    codes = [StatusCode(int(one["status"])) for one in block.statuses]
    assert codes == [StatusCode.BOOK_SYNCED, StatusCode.BOOK_LOST]


@pytest.mark.parametrize(
    ("url", "version"),
    [
        (KrakenSettings().websocket_url, 2),
        ("wss://ws.kraken.com/v2", 2),
        ("wss://beta-ws.kraken.com/v2/", 2),
        ("wss://ws.kraken.com", 1),
        ("wss://ws.kraken.com/", 1),
        ("ws://127.0.0.1:9/v2?token=v1", 2),
    ],
)
def test_address_says_the_version(url: str, version: int) -> None:
    """As at the venue. A configuration that names v1's address goes on with v1."""
    assert KrakenSettings(websocket_url=url).api_version == version


def test_requests() -> None:
    """Names of v2, the depth of books also where one is let go, fifty pairs a request, and the best levels
    whenever they change."""
    pairs = [f"C{number}/XBT" for number in range(120)]
    asked = [json.loads(text)["params"] for text in KrakenV2().subscribe(pairs)]
    for channel in ("trade", "ticker", "book"):
        mine = [one for one in asked if one["channel"] == channel]
        assert [len(one["symbol"]) for one in mine] == [50, 50, 20]
        assert [pair for one in mine for pair in one["symbol"]] == [f"C{at}/BTC" for at in range(120)]
    assert {one["event_trigger"] for one in asked if one["channel"] == "ticker"} == {"bbo"}
    assert {one["snapshot"] for one in asked if one["channel"] == "trade"} == {False}
    again = [json.loads(text) for text in KrakenV2().resubscribe("XBT/CHF")]
    assert [one["method"] for one in again] == ["unsubscribe", "subscribe"]
    assert {(one["params"]["symbol"][0], one["params"]["depth"]) for one in again} == {
        ("BTC/CHF", BOOK_DEPTH)
    }
    assert json.loads(KrakenV1().resubscribe("BTC/CHF")[0])["pair"] == ["XBT/CHF"]
