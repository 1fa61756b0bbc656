"""Recorded sessions against others' figures: cryptofeed's counts, the venues' checksums, plain dictionaries.

The counts of EXPECTED_callbacks.json are calls that cryptofeed's own tests assert. What they are made of:

- Kraken l2_book, 4,279: 4,269 updates and 10 snapshots, as here. All 4,269 updates carry a checksum.
- OKX l2_book, 290: 287 updates and 3 snapshots, as here; each of them carries a checksum.
- Coinbase l2_book, 9,729: 9,719 updates, 10 snapshots; trades, 107: 97 matches, 10 last_match, as here.
- Bybit l2_book, 4,278: 4,268 updates and 10 snapshots; trades, 251, in 142 messages, as here.
- Binance l2_book, 176: 4 REST snapshots and 172 of the 177 updates; 5 are in the snapshots already. Trades,
  2: aggTrade was subscribed, which is counted as ignored here, because single trades are what Tickloom reads.
  Candles, 2: kline is nothing that Tickloom asks for, and is counted as an unknown stream.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.capture import CaptureBatch, RecordKind
from ingest.feeds import decoder_for
from ingest.websocket.binance.decoder import BinanceDecoder
from ingest.websocket.binance.messages import snapshot_payload
from ingest.websocket.decoder import StreamDecoder
from ingest.websocket.numbers import SEQS_PER_RECORD
from tickloom.events import EventBlock, Side, source_seq
from tickloom.instruments import Instrument, Registry, Venue
from tickloom.prices import parse_nanos

VENUES = ["KRAKEN", "OKX", "COINBASE", "BYBIT"]
Dump = Callable[[str], list[tuple[int, int, bytes]]]
Book = tuple[dict[int, int], dict[int, int]]


@pytest.fixture(scope="module")
def expected(shared_data: Callable[[str], Path]) -> dict[str, dict[str, int]]:
    """Calls per channel that cryptofeed's tests assert."""
    path = shared_data("cryptofeed/EXPECTED_callbacks.json")
    found: dict[str, dict[str, int]] = json.loads(path.read_text())["expected"]
    return found


def decoded(venue: str, dump: Dump) -> tuple[StreamDecoder, EventBlock]:
    decoder = decoder_for(venue, "20210417")
    assert isinstance(decoder, StreamDecoder)
    return decoder, decoder.decode(CaptureBatch.of(dump(venue)))


@pytest.mark.parametrize("venue", VENUES)
def test_recorded_counts(venue: str, dump: Dump, expected: dict[str, dict[str, int]]) -> None:
    """As many book messages, tickers and trades as cryptofeed calls back, and nothing odd at all."""
    decoder, block = decoded(venue, dump)
    counts = decoder.counters
    assert counts["snapshots"] + counts["updates"] == expected[venue]["l2_book"]
    assert counts["tickers"] == len(block.quotes) == expected[venue].get("ticker", 0)
    assert counts["trades"] == len(block.trades) == expected[venue]["trades"]
    assert counts["books_synced"] == counts["snapshots"]
    for oddity in (
        "malformed", "unknown_type", "refused_price", "declined", "crossed", "duplicate", "updates_unsynced",
        "levels_dropped", "books_lost", "gaps",
    ):  # fmt: skip
        assert counts[oddity] == 0, oddity
    assert not decoder.unsynced
    # one offer of Kraken's francs is at 9,999,999,997
    assert counts["levels_left_out"] == (1 if venue == "KRAKEN" else 0)


@pytest.mark.parametrize(("venue", "checksums"), [("KRAKEN", 4_269), ("OKX", 290)])
def test_every_recorded_checksum_verifies(venue: str, checksums: int, dump: Dump) -> None:
    """The venue's CRC-32 of the top of the book, after each message that has one."""
    decoder, _ = decoded(venue, dump)
    assert decoder.counters["checksums_equal"] == checksums
    assert decoder.counters["checksums_different"] == 0


def levels_of(payload: bytes, venue: str) -> tuple[str, bool, list[tuple[int, str, str]]] | None:
    """(symbol, snapshot, [(side, price, size)]) of a book message, read with json and nothing else."""
    if not payload.startswith((b"{", b"[")):
        return None
    message: Any = json.loads(payload, parse_float=str, parse_int=str)
    found: list[tuple[int, str, str]] = []
    if venue == "KRAKEN":
        if isinstance(message, dict) or "book" not in message[-2]:
            return None
        for part in message[1:-2]:
            for key, side in (("as", 1), ("bs", 0), ("a", 1), ("b", 0)):
                found += [(side, level[0], level[1]) for level in part.get(key, ())]
        return message[-1], "as" in message[1], found
    if venue == "OKX":
        if "data" not in message or message["arg"]["channel"] != "books":
            return None
        data = message["data"][0]
        for key, side in (("asks", 1), ("bids", 0)):
            found += [(side, level[0], level[1]) for level in data[key]]
        return message["arg"]["instId"], message["action"] == "snapshot", found
    if venue == "COINBASE":
        if message["type"] == "l2update":
            found = [({"buy": 0, "sell": 1}[side], price, size) for side, price, size in message["changes"]]
        elif message["type"] == "snapshot":
            found = [(1, *level) for level in message["asks"]] + [(0, *level) for level in message["bids"]]
        else:
            return None
        return message["product_id"], message["type"] == "snapshot", found
    if not message.get("topic", "").startswith("orderBook"):
        return None
    data = message["data"]
    if message["type"] == "snapshot":
        levels = data["order_book"] if isinstance(data, dict) else data
    else:
        levels = data["delete"] + data["update"] + data["insert"]
    found = [({"Buy": 0, "Sell": 1}[one["side"]], one["price"], one.get("size", "0")) for one in levels]
    return message["topic"].split(".")[1], message["type"] == "snapshot", found


@pytest.mark.parametrize("venue", VENUES)
def test_recorded_books_are_those_of_plain_dictionaries(venue: str, dump: Dump) -> None:
    """A book of dicts fed by json alone ends the same, level by level; so does one made of the deltas."""
    decoder, block = decoded(venue, dump)
    books: dict[str, Book] = {}
    for kind, _, payload in dump(venue):
        found = levels_of(payload, venue) if kind == RecordKind.DATA else None
        if found is None:
            continue
        symbol, snapshot, levels = found
        if snapshot:
            books[symbol] = ({}, {})
        for side, price_text, size_text in levels:
            if price_text == "9999999997.00000":
                continue
            books[symbol][side][parse_nanos(price_text)] = parse_nanos(size_text)
        if venue == "KRAKEN":
            cut(books[symbol], 1_000)
    made: dict[tuple[int, int], dict[int, int]] = {}
    for delta in block.deltas[["symbol", "side", "price", "size"]].tolist():
        made.setdefault((delta[0], delta[1]), {})[delta[2]] = delta[3]
    registry = Registry.load()
    assert len(books) == len(registry.of_venue(venue))
    for symbol, book in books.items():
        instrument = registry.by_venue_symbol(venue, symbol)
        assert instrument is not None
        index = block.symbols.names.index(instrument.symbol)
        for side, levels_of_side in zip((Side.BUY, Side.SELL), book, strict=True):
            want = {price: size for price, size in levels_of_side.items() if size}
            assert dict(decoder.book_levels(symbol, side)) == want
            assert {price: size for price, size in made[index, side].items() if size} == want


def cut(book: Book, depth: int) -> None:
    """Keep the best ``depth`` levels of each side, as Kraken asks its subscribers to."""
    for side, worst_first in zip(book, (False, True), strict=True):
        gone = [price for price, size in side.items() if not size]
        for price in gone:
            del side[price]
        for price in sorted(side, reverse=worst_first)[: max(0, len(side) - depth)]:
            del side[price]


@pytest.mark.parametrize("venue", VENUES)
def test_batches_do_not_matter(venue: str, dump: Dump) -> None:
    """However a capture is cut into batches, the events, the watermark and the counters are the same."""
    records = dump(venue)[:1_500]
    whole = decoder_for(venue, "20210417")
    want = whole.decode(CaptureBatch.of(records))
    chance = random.Random(7)
    for longest in (3, 200):
        decoder = decoder_for(venue, "20210417")
        parts: list[EventBlock] = []
        at = 0
        while at < len(records):
            size = chance.randint(1, longest)
            parts.append(decoder.decode(CaptureBatch.of(records[at : at + size], first_number=at + 1)))
            at += size
        for table, records_of_kind in want.kinds().items():
            joined = np.concatenate([part.kinds()[table] for part in parts])
            assert joined.tobytes() == records_of_kind.tobytes(), (longest, table)
        assert (decoder.watermark_ns, decoder.last_seq) == (whole.watermark_ns, whole.last_seq)
        assert decoder.counters == whole.counters


@pytest.mark.parametrize("venue", VENUES)
def test_recorded_identities_and_time(venue: str, dump: Dump) -> None:
    """No two trades or quotes share a seq, no two deltas seq, side and price; a seq leads to its record."""
    decoder, block = decoded(venue, dump)
    records = dump(venue)
    for table in ("trades", "quotes"):
        assert (np.diff(block.kinds()[table]["seq"]) > 0).all()
    deltas = block.deltas[["seq", "side", "price"]]
    assert len(np.unique(deltas)) == len(deltas)
    assert (np.diff(block.deltas["seq"]) >= 0).all()
    for table in ("trades", "quotes", "book_deltas"):
        assert (block.kinds()[table]["ts_event"] > 1_600_000_000 * 10**9).all()
    for trade in block.trades[:20]:
        record = records[source_seq(int(trade["seq"])) // SEQS_PER_RECORD - 1]
        assert record[1] == trade["ts_recv"]
    assert decoder.last_seq // SEQS_PER_RECORD % 10**8 == len(records)


def test_recorded_binance_counts(
    dump: Dump, shared_data: Callable[[str], Path], expected: dict[str, dict[str, int]]
) -> None:
    """cryptofeed's Binance session by the Binance decoder: tickers as counted, books without a gap."""
    names = {"NKNUSDT": "NKN-USDT", "BLZETH": "BLZ-ETH", "LRCBTC": "LRC-BTC", "RUNEEUR": "RUNE-EUR"}
    venue = Venue("BINANCE", "Binance, spot", "binance", "UTC", "USDT")
    registry = Registry(
        {"BINANCE": venue},
        [Instrument("BINANCE", name, symbol, "coin", 1, 1, 1) for symbol, name in names.items()],
    )
    records = list(dump("BINANCE"))
    with gzip.open(shared_data("cryptofeed/BINANCE.http.0.0.gz"), "rt") as answers:
        for line in answers:
            if line.startswith("http"):
                url, _, rest = line.partition(" -> ")
                seconds, _, answer = rest.partition(": ")
                symbol = url.partition("symbol=")[2].partition("&")[0]
                payload = snapshot_payload(symbol, answer.encode())
                records.append((int(RecordKind.SNAPSHOT), int(float(seconds) * 1e9), payload))
    records[1:] = sorted(records[1:], key=lambda record: record[1])
    decoder = BinanceDecoder("BINANCE", "20211012", registry=registry)
    block = decoder.decode(CaptureBatch.of(records))
    assert len(block.quotes) == expected["BINANCE"]["ticker"]
    applied = decoder.counters["depth"] - decoder.counters["depth_before_snapshot"]
    assert applied + decoder.counters["snapshots"] == expected["BINANCE"]["l2_book"]
    assert decoder.counters["ignored"] == expected["BINANCE"]["trades"]
    assert decoder.counters["unknown_type"] == expected["BINANCE"]["candles"]
    assert decoder.counters["books_synced"] == 4
    assert decoder.counters["malformed"] == decoder.counters["crossed"] == len(block.gaps) == 0
