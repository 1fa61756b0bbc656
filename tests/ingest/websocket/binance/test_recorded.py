"""Real recordings against the figures of an independent reader (EXPECTED.json)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ingest.capture import CaptureBatch
from ingest.websocket.binance.decoder import BinanceDecoder
from tickloom.events import EventBlock, Side
from tickloom.prices import nanos_of

SESSIONS = [
    ("BINANCE", "BTCUSDT", ["spot_btcusdt_20240808", "spot_btcusdt_20240809"], "spot_btcusdt(08+09)"),
    ("BINANCE", "ETHUSDT", ["spot_ethusdt_20240808", "spot_ethusdt_20240809"], "spot_ethusdt(08+09)"),
    ("BINANCEF", "BTCUSDT", ["usdm_btcusdt_20240808"], "usdm_btcusdt"),
    ("BINANCEF", "ETHUSDT", ["usdm_ethusdt_20240808"], "usdm_ethusdt"),
]


@pytest.fixture(params=SESSIONS, ids=[name for *_, name in SESSIONS])
def session(request: pytest.FixtureRequest, recorded: Callable[..., Any]) -> tuple[Any, ...]:
    """Venue, venue's symbol, files, name in EXPECTED.json, decoder, events."""
    venue, symbol, files, name = request.param
    decoder = BinanceDecoder(venue, "20240808")
    block = decoder.decode(CaptureBatch.of(recorded(symbol, files)))
    return venue, symbol, files, name, decoder, block


def test_recorded_counts_and_final_book(session: tuple[Any, ...], expected: dict[str, Any]) -> None:
    """Every trade and book ticker of the recording comes out once, every depth update behind the snapshot
    is applied, the book agrees with the ticker wherever update ids are equal, and ends as it should."""
    _, symbol, files, name, decoder, block = session
    lines = [expected["line_counts"][file] for file in files]
    book = expected["book"][name]
    assert len(block.trades) == sum(count["trade"] for count in lines)
    assert len(block.quotes) == sum(count["bookTicker"] for count in lines)
    skipped = book["skipped_pre_snapshot" if "skipped_pre_snapshot" in book else "skipped"]
    assert decoder.counters["depth_before_snapshot"] == skipped
    assert decoder.counters["depth"] - skipped == book["applied"]
    assert decoder.counters["oracle_equal"] == book["equal"] == book["compared"]
    assert decoder.counters["oracle_different"] == 0
    assert decoder.best(symbol) == tuple(nanos_of(text) for text in book["final"])
    levels = [len(decoder.book_levels(symbol, side)) for side in (Side.BUY, Side.SELL)]
    assert levels == book["levels"]
    assert len(block.gaps) == expected["depth_sequence_gaps"]
    for oddity in ("malformed", "unknown_type", "duplicate", "crossed", "refused_price"):
        assert decoder.counters[oddity] == 0


def test_recorded_deltas_make_the_same_book(session: tuple[Any, ...]) -> None:
    """Whoever applies the book deltas in order has the decoder's book, level by level."""
    _, symbol, _, _, decoder, block = session
    book: dict[tuple[int, int], int] = {}
    for side, price, size in zip(
        block.deltas["side"].tolist(), block.deltas["price"].tolist(), block.deltas["size"].tolist(),
        strict=True,
    ):  # fmt: skip
        if size:
            book[side, price] = size
        else:
            book.pop((side, price), None)
    for side in (Side.BUY, Side.SELL):
        mine = {price: size for (which, price), size in book.items() if which == side}
        assert mine == dict(decoder.book_levels(symbol, side))


def test_recorded_identities_and_time(session: tuple[Any, ...]) -> None:
    """No two events of a kind share their identity, seqs rise, and a quote's time is never ahead of the
    venue's clock nor of what comes after it in the feed."""
    *_, block = session
    for table in ("trades", "quotes"):
        records = getattr(block, table)
        assert (np.diff(records["seq"]) > 0).all()
        assert (np.diff(records["venue_id"]) > 0).all()
        assert (records["ts_event"] > 1_723_161_255_000_000_000).all()
    deltas = block.deltas
    keys = Counter(zip(deltas["seq"], deltas["side"], deltas["price"], strict=True))
    assert max(keys.values()) == 1
    assert (np.diff(deltas["seq"]) >= 0).all()


def test_two_instruments_in_one_feed(recorded: Callable[..., Any], expected: dict[str, Any]) -> None:
    """Two instruments on one connection, merged by receive time, give each its own counts."""
    records = sorted(
        recorded("BTCUSDT", ["spot_btcusdt_20240808"]) + recorded("ETHUSDT", ["spot_ethusdt_20240808"])[1:],
        key=lambda record: record[1] if record[0] != 1 else 0,
    )
    decoder = BinanceDecoder("BINANCE", "20240808")
    block = decoder.decode(CaptureBatch.of(records))
    for index, file in ((1, "spot_btcusdt_20240808"), (2, "spot_ethusdt_20240808")):
        assert int((block.trades["symbol"] == index).sum()) == expected["line_counts"][file]["trade"]
        assert int((block.quotes["symbol"] == index).sum()) == expected["line_counts"][file]["bookTicker"]
    assert decoder.counters["oracle_different"] == 0
    assert (np.diff(block.quotes["ts_event"]) >= 0).all()


@pytest.mark.parametrize(("venue", "file"), [("BINANCE", "spot_btcusdt"), ("BINANCEF", "usdm_btcusdt")])
def test_batches_do_not_matter(recorded: Callable[..., Any], venue: str, file: str) -> None:
    """However a capture is cut into batches, the events, the watermark and the counters are the same."""
    records = recorded("BTCUSDT", [f"{file}_20240808"])[:6_000]
    whole = BinanceDecoder(venue, "20240808")
    want = whole.decode(CaptureBatch.of(records))
    chance = random.Random(7)
    for longest in (1, 3, 700):
        decoder = BinanceDecoder(venue, "20240808")
        parts: list[EventBlock] = []
        at = 0
        while at < len(records):
            size = chance.randint(1, longest)
            parts.append(decoder.decode(CaptureBatch.of(records[at : at + size], first_number=at + 1)))
            at += size
        for table, records_of_kind in want.kinds().items():
            joined = np.concatenate([part.kinds()[table] for part in parts])
            assert joined.tobytes() == records_of_kind.tobytes(), (longest, table)
        assert decoder.counters == whole.counters
        assert (decoder.watermark_ns, decoder.last_seq) == (whole.watermark_ns, whole.last_seq)
