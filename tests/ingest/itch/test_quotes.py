"""Best quotes of ITCH bytes: the same as the live decoder's, message by message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.capture import CaptureBatch
from ingest.itch import levels
from ingest.itch import quotes as quotes_module
from ingest.itch.decoder import ItchDecoder
from ingest.itch.files import read_itch
from ingest.itch.messages import LAYOUTS
from ingest.itch.moldudp64 import pack
from ingest.itch.quotes import QuoteRunner, Quotes, read_quotes
from tickloom.errors import DecodeError
from tickloom.events import Side
from tickloom.prices import NO_PRICE

SharedData = Callable[[str], Path]
STOCKS = ("ALFA", "BRVO", "CHRL")
BASE = 10**10
KINDS = "AAAAAFECXDDUUPRHSLI"


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message of few orders, prices and stocks, now and then one that contradicts what was said."""
    kind = draw(st.sampled_from(KINDS))
    locate = draw(st.integers(0, 4))
    number = draw(st.integers(1, 40))
    odd = draw(st.integers(0, 30)) == 0
    scale = 2**58 if draw(st.booleans()) else 1
    values: dict[str, Any] = {
        "stock_locate": locate if odd else number % 3 + 1,
        "timestamp": draw(st.integers(0, 100)) if not odd else 2**48 - 1,
        "reference": number * scale,
        "new_reference": (number + 3) * scale,
        "shares": draw(st.sampled_from([0, 1, 100, 100, 200, 2**32 - 1])),
        "price": draw(st.integers(100, 112)) * 100,
        "side": draw(st.sampled_from("BBBSSSQ" if odd else "BS")),
        "stock": STOCKS[locate % 3 if odd else number % 3],
    }
    return LAYOUTS[kind].pack(**{name: values[name] for name in LAYOUTS[kind].offsets if name in values})


def live(tape: list[bytes]) -> tuple[ItchDecoder, list[tuple[int, ...]]]:
    """The live decoder's quotes as the runner has them: (number, locate, prices and sizes)."""
    decoder = ItchDecoder("XNAS", "20261121.1")
    block = decoder.decode(CaptureBatch.of([(0, n, pack(b"1", n, [raw])) for n, raw in enumerate(tape, 1)]))
    rows = []
    for quote in block.quotes:
        values = [int(quote[name]) for name in ("bid_price", "bid_size", "ask_price", "ask_size")]
        prices = [0 if value == NO_PRICE else value // 10**5 for value in values[::2]]
        sizes = [value // 10**9 for value in values[1::2]]
        rows.append((int(quote["seq"]) % BASE, prices[0], sizes[0], prices[1], sizes[1]))
    return decoder, rows


def table(found: list[Quotes]) -> list[tuple[int, ...]]:
    names = ("number", "bid_price", "bid_size", "ask_price", "ask_size")
    return [
        row
        for quotes in found
        for row in zip(*(quotes.columns[name].tolist() for name in names), strict=True)
    ]


def framed(tape: list[bytes]) -> bytes:
    return b"".join(len(raw).to_bytes(2, "big") + raw for raw in tape)


@settings(max_examples=80, deadline=None)
@given(st.lists(messages(), max_size=150), st.integers(60, 3_000))
def test_quotes_are_the_live_decoders(tape: list[bytes], batch_bytes: int) -> None:
    """Sound, contradictory and repeated messages in batches of any size give the quotes, the books and the
    counters that the live decoder gives; sizes that only events cannot hold are given here."""
    decoder, expected = live(tape)
    runner = QuoteRunner()
    data, found, at, number = framed(tape), [], 0, 1
    while at < len(data):
        found.append(runner.run(data[at : at + batch_bytes], number))
        at += found[-1].consumed
        number += found[-1].messages
    rows = [row for row in table(found) if max(row[2], row[4]) <= 2**53 // 5**9]
    assert rows == expected
    ours, theirs = runner.counters, decoder.counters
    for name in ("cut_off", "refused_size", "non_printable", "empty_cross"):  # of batches, and of events
        ours.pop(name, None)
        theirs.pop(name, None)
    for each in (ours, theirs):  # what P, Q and B say of themselves is no matter of the book
        each.pop("zero_size", None)
    assert ours == theirs
    for locate in range(1, 5):
        for side in (Side.BUY, Side.SELL):
            assert runner.books.side_levels(locate, side) == decoder.books.side_levels(locate, side)


def test_arrays_grow_in_the_middle_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of orders on as many prices from room for sixteen: each new best is told once, in order."""
    monkeypatch.setattr(quotes_module.Books.__init__, "__defaults__", (16, 16))
    count = 3_000
    tape = [
        LAYOUTS["A"].pack(stock_locate=1, reference=n, side="B", shares=n, stock="ALFA", price=n)
        for n in range(1, count + 1)
    ]
    runner = QuoteRunner()
    quotes = runner.run(framed(tape))
    assert table([quotes]) == [(n, n, n, 0, 0) for n in range(1, count + 1)]
    assert runner.symbols[1] == b"ALFA"
    assert set(quotes.columns["stock_locate"].tolist()) == {1}


@settings(max_examples=60, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=30), st.data())
def test_damaged_bytes(tape: list[bytes], data: st.DataObject) -> None:
    """Bytes set, cut and inserted anywhere: every message is applied or counted, and books stay sane."""
    raw = bytearray(framed(tape))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    runner = QuoteRunner()
    quotes = runner.run(bytes(raw))
    counted = sum(
        runner.counters[name] for name in ("decoded", "unknown_type", "wrong_length", "bad_timestamp")
    )
    assert counted == quotes.messages
    assert quotes.consumed <= len(raw)
    for column in ("bid_size", "ask_size"):
        assert (quotes.columns[column] >= 0).all()


def test_public_file(shared_data: SharedData) -> None:
    """The public file's best quotes are those of the live decoder, on both ways that lead to them."""
    path = shared_data("itch/ritch_ex20101224.TEST_ITCH_50")
    decoder, expected = live(list(read_itch(path)))
    runner = QuoteRunner()
    found = list(read_quotes(path, runner))
    assert table(found) == expected
    assert len(expected) > 100
    assert runner.books.order_count == decoder.books.order_count
    locates = np.unique(np.concatenate([quotes.columns["stock_locate"] for quotes in found]))
    assert {runner.symbols[locate].decode() for locate in locates} <= set(decoder.symbols.names)


def test_levels_asked_for_ahead() -> None:
    """Books too large for a core's own cache, whose levels are asked for ahead, give the same quotes; also
    around messages of no book and of no type, in a batch that ends in the middle of a block."""
    tape = [
        LAYOUTS["A"].pack(
            stock_locate=n % 7 + 1,
            timestamp=n,
            reference=n,
            side="BS"[n & 1],
            shares=n,
            stock=f"S{n % 7}",
            price=10_000 + (n * 7919 % 500 if n & 1 else -(n * 7919 % 500)),
        )
        for n in range(1, 150)
    ]
    tape += [LAYOUTS["S"].pack(timestamp=200, event_code="Q"), b"?"]
    tape += [LAYOUTS["D"].pack(stock_locate=n % 7 + 1, timestamp=300, reference=n) for n in range(1, 150, 3)]
    _, expected = live(tape)
    runner = QuoteRunner()
    while len(runner.books.arrays.keys) < 1 << 19:
        runner.books.grow_levels()
    runner.books.arrays.fill[levels.POOL_USED] = 1 << 18
    assert levels.far_from_core(runner.books.arrays)
    assert table([runner.run(framed(tape))]) == expected
    assert runner.counters["unknown_type"] == 1


def test_cut_file(tmp_path: Path) -> None:
    """A file that ends inside a message is an error here, too, after what it holds was given out."""
    add = LAYOUTS["A"].pack(stock_locate=1, reference=1, side="B", shares=1, stock="ALFA", price=1)
    path = tmp_path / "file"
    path.write_bytes(framed([add, add])[:-1])
    found: list[Quotes] = []
    with pytest.raises(DecodeError, match="ends inside a message"):
        found.extend(read_quotes(path, QuoteRunner()))
    assert table(found) == [(1, 1, 1, 0, 0)]
