"""The compiled book against a book of plain dicts, message by message."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.capture import CaptureBatch
from ingest.itch import book as book_module
from ingest.itch.book import Books
from ingest.itch.decoder import ItchDecoder
from ingest.itch.messages import LAYOUTS
from ingest.itch.moldudp64 import pack
from tickloom.events import EventBlock, Side
from tickloom.instruments import Registry
from tickloom.prices import NO_PRICE

REGISTRY = Registry.load()
STOCKS = ("ALFA", "BRVO", "CHRL")


class NaiveBooks:
    """What the specification says, in the plainest way: dicts, and a maximum over all of them."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[int, str, int, int]] = {}  # locate, side, price, shares
        self.trades: list[tuple[Any, ...]] = []
        self.quotes: list[tuple[Any, ...]] = []
        self.deltas: list[tuple[Any, ...]] = []
        self.counters: Counter[str] = Counter()

    def total(self, locate: int, side: str, price: int) -> int:
        return sum(o[3] for o in self.orders.values() if o[:3] == (locate, side, price))

    def top(self, locate: int) -> tuple[int, int, int, int]:
        found = []
        for side, choose in (("B", max), ("S", min)):
            prices = [o[2] for o in self.orders.values() if o[:2] == (locate, side)]
            price = choose(prices) if prices else None
            found += (
                [NO_PRICE, 0] if price is None else [price * 10**5, self.total(locate, side, price) * 10**9]
            )
        return tuple(int(value) for value in found)  # type: ignore[return-value]

    def apply(self, number: int, raw: dict[str, Any]) -> None:
        kind, locate = raw["type"], raw["stock_locate"]
        before = self.top(locate)
        touched: dict[tuple[str, int], int] = {}

        def touch(side: str, price: int) -> None:
            touched.setdefault((side, price), self.total(locate, side, price))

        if kind == "A":
            if raw["reference"] in self.orders:
                self.counters["duplicate_order"] += 1
                return
            touch(raw["side"], raw["price"])
            self.orders[raw["reference"]] = (locate, raw["side"], raw["price"], raw["shares"])
        else:
            order = self.orders.get(raw["reference"])
            if order is None:
                self.counters["unknown_order"] += 1
                return
            _, side, price, resting = order
            touch(side, price)
            if kind == "U":
                del self.orders[raw["reference"]]
                if raw["new_reference"] in self.orders:
                    self.counters["duplicate_order"] += 1
                else:
                    touch(side, raw["price"])
                    self.orders[raw["new_reference"]] = (locate, side, raw["price"], raw["shares"])
            else:
                shares = resting if kind == "D" else raw["shares"]
                if kind in "EC" and not (kind == "C" and raw["printable"] == "N"):
                    paid = raw["price"] if kind == "C" else price
                    aggressor = Side.SELL if side == "B" else Side.BUY
                    self.trades.append((number, locate, paid * 10**5, shares * 10**9, aggressor))
                if shares > resting:
                    self.counters["overfill"] += 1
                left = max(0, resting - shares)
                self.orders[raw["reference"]] = (locate, side, price, left)
                if not left:
                    del self.orders[raw["reference"]]
        for (side, price), was in touched.items():
            now = self.total(locate, side, price)
            if now != was:
                code = Side.BUY if side == "B" else Side.SELL
                self.deltas.append((number, locate, code, price * 10**5, now * 10**9))
        if self.top(locate) != before:
            self.quotes.append((number, locate, *self.top(locate)))


REFERENCES = st.integers(1, 12)
SHARES = st.integers(1, 4).map(lambda n: 100 * n)
PRICES = st.integers(1, 6).map(lambda n: 100_000 + 100 * n)


#: From an order's number to its reference: as venues do it, and sparse, huge and scattered ones.
SCHEMES = (
    lambda n: n,
    lambda n: n << 40,
    lambda n: 2**64 - n,
    lambda n: 2**63 - 6 + n,
    lambda n: n * 0x9E3779B97F4A7C15 % 2**64,
)


def locate_of(number: int) -> int:
    """Orders belong to a stock, as a venue's do."""
    return number % len(STOCKS) + 1


@st.composite
def tapes(draw: st.DrawFn) -> list[bytes]:
    """Order messages over few references and prices, so that everything meets everything."""
    reference_of = draw(st.sampled_from(SCHEMES))
    tape = [LAYOUTS["R"].pack(stock_locate=n, timestamp=1, stock=name) for n, name in enumerate(STOCKS, 1)]
    for timestamp in range(2, draw(st.integers(3, 60))):
        number = draw(REFERENCES)
        values: dict[str, Any] = {
            "stock_locate": locate_of(number),
            "timestamp": timestamp,
            "reference": reference_of(number),
        }
        kind = draw(st.sampled_from("AAAAECXDUU"))
        if kind == "A":
            stock = STOCKS[locate_of(number) - 1]
            values |= {"side": draw(st.sampled_from("BS")), "shares": draw(SHARES), "price": draw(PRICES)}
            values |= {"stock": stock}
        elif kind in "EC":
            values |= {"shares": draw(SHARES), "match_number": timestamp}
            if kind == "C":
                values |= {"printable": draw(st.sampled_from("YN")), "price": draw(PRICES)}
        elif kind == "X":
            values |= {"shares": draw(SHARES)}
        elif kind == "U":
            new = reference_of(number + len(STOCKS) * draw(st.integers(0, 3)))
            values |= {"new_reference": new, "shares": draw(SHARES), "price": draw(PRICES)}
        tape.append(LAYOUTS[kind].pack(**values))
    return tape


def decode(tape: list[bytes]) -> tuple[ItchDecoder, EventBlock]:
    decoder = ItchDecoder("XNAS", "20261121.1", REGISTRY)
    packets = [(0, n, pack(b"1", n, [raw])) for n, raw in enumerate(tape, 1)]
    return decoder, decoder.decode(CaptureBatch.of(packets))


@settings(max_examples=300, deadline=None)
@given(tapes())
def test_book_agrees_with_dicts(tape: list[bytes]) -> None:
    """Trades, quotes, level changes, final books and counters are those of the naive book, for any tape."""
    naive = NaiveBooks()
    for number, raw in enumerate(tape, 1):
        if raw[:1] != b"R":
            naive.apply(number, LAYOUTS[chr(raw[0])].unpack(raw))
    decoder, block = decode(tape)
    names = block.symbols.names
    assert [
        (
            int(t["seq"]) % 10**10,
            STOCKS.index(names[t["symbol"]]) + 1,
            int(t["price"]),
            int(t["size"]),
            t["side"],
        )
        for t in block.trades
    ] == naive.trades
    assert [
        (
            int(q["seq"]) % 10**10,
            STOCKS.index(names[q["symbol"]]) + 1,
            *(int(q[field]) for field in ("bid_price", "bid_size", "ask_price", "ask_size")),
        )
        for q in block.quotes
    ] == naive.quotes
    assert [
        (
            int(d["seq"]) % 10**10,
            STOCKS.index(names[d["symbol"]]) + 1,
            d["side"],
            int(d["price"]),
            int(d["size"]),
        )
        for d in block.deltas
    ] == naive.deltas
    assert decoder.books.order_count == len(naive.orders)
    for locate in range(1, len(STOCKS) + 1):
        for side, letter in ((Side.BUY, "B"), (Side.SELL, "S")):
            prices = {o[2] for o in naive.orders.values() if o[:2] == (locate, letter)}
            expected = [(p, naive.total(locate, letter, p)) for p in sorted(prices, reverse=letter == "B")]
            assert decoder.books.side_levels(locate, side) == expected
    for name in ("duplicate_order", "unknown_order", "overfill"):
        assert decoder.counters[name] == naive.counters[name]


def test_book_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand orders on as many prices, from room for a few: nothing is lost when arrays grow."""
    monkeypatch.setattr(book_module.Books.__init__, "__defaults__", (16, 16))
    count = 10_000
    tape = [
        LAYOUTS["A"].pack(
            stock_locate=1, timestamp=n, reference=n, side="B", shares=n, stock="ALFA", price=n * 7919 % count
        )
        for n in range(1, count)
    ]
    decoder, block = decode(tape)
    assert len(block.deltas) == count - 1
    expected = sorted(((n * 7919 % count, n) for n in range(1, count)), reverse=True)
    assert decoder.books.side_levels(1, Side.BUY) == expected
    assert isinstance(decoder.books, Books)
    decoder, block = decode(
        tape + [LAYOUTS["D"].pack(stock_locate=1, reference=n) for n in range(count - 1, 0, -1)]
    )
    assert decoder.books.order_count == 0
    assert decoder.books.side_levels(1, Side.BUY) == []
    assert decoder.counters["unknown_order"] == 0


def test_replace_at_the_same_price_is_one_delta() -> None:
    """A replace that stays on its level changes it once, to the new total."""
    head = {"stock_locate": 1, "timestamp": 5}
    tape = [
        LAYOUTS["A"].pack(**head, reference=1, side="B", shares=100, stock="ALFA", price=10_000),
        LAYOUTS["A"].pack(**head, reference=2, side="B", shares=50, stock="ALFA", price=10_000),
        LAYOUTS["U"].pack(**head, reference=1, new_reference=3, shares=30, price=10_000),
        LAYOUTS["U"].pack(**head, reference=3, new_reference=4, shares=30, price=10_000),
    ]
    _, block = decode(tape)
    assert [int(size) // 10**9 for size in block.deltas["size"]] == [100, 150, 80]
    assert [int(size) // 10**9 for size in block.quotes["bid_size"]] == [100, 150, 80]
