"""The fast scanner against the reference reader: they never disagree, whatever comes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.capture import CaptureBatch
from ingest.websocket.binance import scan
from ingest.websocket.binance.messages import Kind, Line, LineReader, Market

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
DEPTH = (
    b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161256299,"T":1723161256298,'
    b'"s":"BTCUSDT","U":5,"u":9,"pu":4,"b":[["58710.20","0.014"],["61496.50","0.000"]],"a":[["61700","1"]]}}'
)
TICKER = (
    b'{"stream":"ethusdt@bookTicker","data":{"e":"bookTicker","u":51,"s":"ETHUSDT","b":"2681.62","B":"1.165",'
    b'"a":"2681.63","A":"73.077","T":1723161256310,"E":1723161256311}}'
)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256321,"s":"BTCUSDT","t":52,'
    b'"p":"61800.30","q":"0.006","X":"MARKET","m":false}}'
)
OLD_TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":123,"s":"BTCUSDT","t":12345,"p":"0.001","q":"100",'
    b'"b":88,"a":50,"T":123456785,"m":true,"M":true}}'
)


def scanned(market: Market, payloads: list[bytes]) -> tuple[list[Line], list[bool]]:
    """What the scanner makes of messages, as lines; and which of them it took itself."""
    batch = CaptureBatch.of([(0, 0, payload) for payload in payloads])
    found, slow = scan.Scanner(market, SYMBOLS).scan(batch.data, batch.offsets, batch.kinds == 0)
    lines = []
    for number, row in enumerate(found.rows.tolist()):
        low, high = row[scan.LEVEL_LOW], row[scan.LEVEL_HIGH]
        pairs = list(
            zip(found.level_price[low:high].tolist(), found.level_size[low:high].tolist(), strict=True)
        )
        bids = int((found.level_side[low:high] == 1).sum())
        kind = Kind(row[scan.KIND])
        size = {Kind.TICKER: 4, Kind.TRADE: 2}.get(kind, 0)
        known = slow.get(number)
        lines.append(
            Line(
                kind, row[scan.INSTRUMENT], row[scan.FIRST_ID], row[scan.FINAL_ID], row[scan.PREVIOUS_ID],
                row[scan.TS_EVENT], bool(row[scan.SOLD]), tuple(row[scan.VALUE : scan.VALUE + size]),
                tuple(pairs[:bids]), tuple(pairs[bids:]),
                known.about if known else Kind.UNREAD, known.reason if known else "",
            )
        )  # fmt: skip
    return lines, [number not in slow for number in range(len(payloads))]


def assert_same(market: Market, payloads: list[bytes]) -> list[bool]:
    lines, fast = scanned(market, payloads)
    reader = LineReader(market, SYMBOLS)
    for payload, line in zip(payloads, lines, strict=True):
        assert line == reader.read(payload), payload
    return fast


@pytest.mark.parametrize("payload", [DEPTH, TICKER, TRADE, OLD_TRADE])
def test_usual_shapes_are_taken(payload: bytes) -> None:
    """What the venue sends, it reads by itself, and as the reference does."""
    assert assert_same("spot", [payload]) == [True]


def test_values() -> None:
    """Ids, times and decimals of the documented examples come out as on paper."""
    lines, _ = scanned("usdm", [DEPTH, TICKER, TRADE])
    depth, ticker, trade = lines
    assert (depth.first_id, depth.final_id, depth.previous_id) == (5, 9, 4)
    assert depth.ts_event == 1_723_161_256_298_000_000
    assert depth.bids == ((58_710_200_000_000, 14_000_000), (61_496_500_000_000, 0))
    assert depth.asks == ((61_700_000_000_000, 1_000_000_000),)
    assert ticker.values == (2_681_620_000_000, 1_165_000_000, 2_681_630_000_000, 73_077_000_000)
    assert (trade.final_id, trade.sold, trade.values) == (52, False, (61_800_300_000_000, 6_000_000))


def test_recorded_lines_are_the_same(recorded: Any) -> None:
    """Every recorded kind of message, of both markets, reads the same both ways, and all of them fast."""
    markets: list[tuple[Market, str]] = [("spot", "spot"), ("usdm", "usdm")]
    for market, name in markets:
        records = recorded("BTCUSDT", [f"{name}_btcusdt_20240808"])
        payloads = [payload for kind, _, payload in records if kind == 0][:12_000]
        assert all(assert_same(market, payloads))


ODD = [
    DEPTH.replace(b"58710.20", b"058710.20"),
    DEPTH.replace(b"58710.20", b"58710."),
    DEPTH.replace(b"58710.20", b".20"),
    DEPTH.replace(b"58710.20", b"-58710.20"),
    DEPTH.replace(b"58710.20", b"0.00"),
    DEPTH.replace(b"58710.20", b"5e4"),
    DEPTH.replace(b"58710.20", b"58710.2000000001"),
    DEPTH.replace(b"58710.20", b"58710.20000000000"),
    DEPTH.replace(b"0.014", b"9007199.254740993"),
    DEPTH.replace(b"0.014", b"9007199.254740992"),
    DEPTH.replace(b"0.014", b"4194304.000000001"),
    DEPTH.replace(b"0.014", b"8000000.123456789"),
    DEPTH.replace(b"0.014", b"123456789.00000000"),
    DEPTH.replace(b"0.014", b"99999999999999"),
    DEPTH.replace(b'"0.014"', b"0.014"),
    DEPTH.replace(b'"U":5', b'"U":10'),
    DEPTH.replace(b'"U":5', b'"U":05'),
    DEPTH.replace(b'"U":5', b'"U":-5'),
    DEPTH.replace(b'"U":5', b'"U":5.0'),
    DEPTH.replace(b'"U":5', b'"U":9999999999999999999'),
    DEPTH.replace(b'"U":5', b'"U":999999999999999999'),
    DEPTH.replace(b'"pu":4,', b""),
    DEPTH.replace(b'"T":1723161256298,', b""),
    DEPTH.replace(b'"T":1723161256298', b'"T":0'),
    DEPTH.replace(b'"T":1723161256298', b'"T":9000000000001'),
    DEPTH.replace(b'"T":1723161256298', b'"T":null'),
    DEPTH.replace(b"depthUpdate", b"trade"),
    DEPTH.replace(b'"s":"BTCUSDT"', b'"s":"ETHUSDT"'),
    DEPTH.replace(b'"s":"BTCUSDT"', b'"s":"btcUSDT"'),
    DEPTH.replace(b"[[", b"[ ["),
    DEPTH.replace(b'"b":', b'"b" :'),
    DEPTH.replace(b'"e":', b'"st":1,"e":'),
    DEPTH.replace(b'"e":', b'"x":{"a":[1]},"e":'),
    DEPTH.replace(b'"e":', b'"x":"\\"","e":'),
    DEPTH.replace(b'"b":', b'"b":[],"b":'),
    DEPTH.replace(b"@depth@0ms", b"@depth20"),
    DEPTH.replace(b"@depth@0ms", b"@depth"),
    DEPTH.replace(b"btcusdt@", b"BTCUSDT@"),
    DEPTH.replace(b"btcusdt@", b"xrpusdt@"),
    DEPTH + b"}",
    DEPTH + b" ",
    DEPTH[:-1],
    TICKER.replace(b'"2681.62"', b'"0"').replace(b'"1.165"', b'"7"'),
    TICKER.replace(b'"T":1723161256310,', b""),
    TRADE.replace(b"MARKET", b"ADL"),
    TRADE.replace(b"0.006", b"0"),
    TRADE.replace(b'"m":false', b'"m":0'),
    TRADE.replace(b'"m":false', b'"m":false,'),
    TRADE.replace(b"{", b"[", 1),
    TRADE.replace(b"trade", b"aggTrade"),
    TRADE.replace(b'"stream"', b'"STREAM"'),
    TRADE.replace(b'"data"', b'"date"'),
    TRADE.replace(b'"M":', b'"\x00":'),
    TRADE.replace(b'"M":', b'"\\":'),
]  # fmt: skip


@pytest.mark.parametrize("market", ["spot", "usdm"])
@pytest.mark.parametrize("payload", ODD)
def test_odd_shapes_are_read_the_same(market: Market, payload: bytes) -> None:
    """Whatever is not the usual shape means what the reference reader says it means."""
    assert_same(market, [payload])


WHOLE = st.sampled_from([DEPTH, TICKER, TRADE, OLD_TRADE])


@settings(max_examples=400, deadline=None)
@given(WHOLE, st.data(), st.sampled_from(["spot", "usdm"]))
def test_damaged_messages_are_read_the_same(whole: bytes, data: st.DataObject, market: Market) -> None:
    """Bytes changed, cut out or put in anywhere: the two readers still agree, between whole neighbours."""
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        width = data.draw(st.integers(0, 3))
        damaged[at : at + width] = data.draw(
            st.one_of(
                st.binary(max_size=3), st.sampled_from([b'"', b",", b"0", b"9", b".", b"[", b"]", b"}"])
            )
        )
    assert_same(market, [DEPTH, bytes(damaged), TRADE])


decimals = st.decimals(0, 10_000_000, places=9, allow_nan=False).map(lambda value: f"{value:f}")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(decimals, decimals), max_size=5), st.integers(0, 2))
@example([("4194304.000000001", "1")], 0)
@example([("9007199.254740992", "9007199.254740993")], 0)
def test_decimals_are_read_the_same(levels: list[tuple[str, str]], strip: int) -> None:
    """All decimals of up to nine places, with or without their zeros, give the same nanos or refusal."""
    texts = [(price.rstrip("0") if strip and "." in price else price, size) for price, size in levels]
    payload = json.dumps(
        {"stream": "btcusdt@depth", "data": {"E": 5, "s": "BTCUSDT", "U": 1, "u": 2, "b": texts, "a": []}},
        separators=(",", ":"),
    )
    assert_same("spot", [payload.encode()])


def test_records_that_are_no_messages_are_left(recorded: Any) -> None:
    """Control records and snapshots are not read as messages."""
    batch = CaptureBatch.of([(1, 0, TRADE), (0, 0, TRADE), (2, 0, TRADE)])
    found, slow = scan.Scanner("usdm", SYMBOLS).scan(batch.data, batch.offsets, batch.kinds == 0)
    assert found.rows[:, scan.KIND].tolist() == [0, Kind.TRADE, 0]
    assert slow == {}
    assert not np.any(found.rows[[0, 2]])
