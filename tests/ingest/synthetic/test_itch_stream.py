"""The synthetic session as ITCH bytes, read back with the published layouts and a naive book."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ingest.itch.messages import LAYOUTS
from ingest.synthetic.itch_stream import LENGTHS, ItchStream, itch_stream
from ingest.synthetic.market import Session, make_session
from ingest.synthetic.parameters import MarketParameters

PARAMETERS = MarketParameters(seed=7, duration_s=30.0)
Best = tuple[int, int, int, int]


class NaiveBook:
    """Orders in a dictionary, levels summed from scratch: slow, and plainly right."""

    def __init__(self) -> None:
        self.orders: dict[int, list] = {}
        self.levels: dict[str, Counter[int]] = {"B": Counter(), "S": Counter()}

    def change(self, ref: int, shares: int) -> None:
        side, left, price = self.orders[ref]
        assert 0 < shares <= left
        self.levels[side][price] -= shares
        if not self.levels[side][price]:
            del self.levels[side][price]
        self.orders[ref][1] = left - shares
        if left == shares:
            del self.orders[ref]

    def add(self, ref: int, side: str, shares: int, price: int) -> None:
        assert ref not in self.orders
        self.orders[ref] = [side, shares, price]
        self.levels[side][price] += shares

    def best(self) -> Best:
        bids, asks = self.levels["B"], self.levels["S"]
        bid, ask = max(bids, default=-1), min(asks, default=-1)
        return bid, bids[bid], ask, asks[ask]


class Replay:
    """Everything a decoder should find in a stream, counted naively."""

    def __init__(self, stream: ItchStream) -> None:
        self.symbols: dict[int, str] = {}
        self.books: dict[int, NaiveBook] = defaultdict(NaiveBook)
        self.trades: Counter[str] = Counter()
        self.quotes: Counter[str] = Counter()
        self.deltas: Counter[str] = Counter()
        self.references: set[int] = set()
        self.last_ts = -1
        for raw in stream.messages():
            self.message(raw)

    def message(self, raw: bytes) -> None:
        kind = chr(raw[0])
        fields = LAYOUTS[kind].unpack(raw)
        assert fields["timestamp"] >= self.last_ts
        self.last_ts = fields["timestamp"]
        locate = fields["stock_locate"]
        if kind == "R":
            self.symbols[locate] = fields["stock"]
        if locate == 0:
            return
        symbol, book = self.symbols[locate], self.books[locate]
        assert fields.get("stock", symbol) == symbol
        before = {side: dict(levels) for side, levels in book.levels.items()}
        best = book.best()
        self.apply(kind, fields, book, symbol)
        after = book.best()
        assert after[0] < after[2] or -1 in (after[0], after[2])
        self.quotes[symbol] += best != after
        self.deltas[symbol] += sum(
            before[side].get(price, 0) != book.levels[side].get(price, 0)
            for side in "BS"
            for price in before[side].keys() | book.levels[side].keys()
        )

    def apply(self, kind: str, fields: dict, book: NaiveBook, symbol: str) -> None:
        if kind in "AF":
            self.new_reference(fields["reference"])
            book.add(fields["reference"], fields["side"], fields["shares"], fields["price"])
        elif kind == "U":
            old = book.orders[fields["reference"]]
            book.change(fields["reference"], old[1])
            self.new_reference(fields["new_reference"])
            book.add(fields["new_reference"], old[0], fields["shares"], fields["price"])
        elif kind == "D":
            book.change(fields["reference"], book.orders[fields["reference"]][1])
        elif kind in "ECX":
            if kind != "X":
                side, _, price = book.orders[fields["reference"]]
                assert price == book.best()[0 if side == "B" else 2]
            book.change(fields["reference"], fields["shares"])
        self.trades[symbol] += kind in "EPQ" or (kind == "C" and fields["printable"] == "Y")

    def new_reference(self, ref: int) -> None:
        assert ref not in self.references
        self.references.add(ref)


@pytest.fixture(scope="module")
def session() -> Session:
    return make_session(PARAMETERS)


@pytest.fixture(scope="module")
def replay(session: Session) -> Replay:
    """Asserts on the way: no crossed or locked book, unique references, executions at the touch."""
    return Replay(itch_stream(session))


def test_same_seed_same_bytes(session: Session) -> None:
    """The same parameters give the same bytes, and another seed gives others."""
    again = itch_stream(make_session(PARAMETERS)).data.tobytes()
    assert itch_stream(session).data.tobytes() == again
    other = MarketParameters(seed=8, duration_s=30.0)
    assert itch_stream(make_session(other)).data.tobytes() != again


def test_lengths_are_the_published_ones() -> None:
    """The independent encoder and the layout table agree on the length of each type."""
    assert {kind: LAYOUTS[kind].length for kind in LENGTHS} == LENGTHS


def test_trades_quotes_and_levels_equal_truth(session: Session, replay: Replay) -> None:
    """A naive replay of the bytes counts what the generator says it sent, symbol by symbol."""
    assert dict(replay.trades) == session.truth.trades
    assert dict(replay.quotes) == session.truth.quotes
    assert dict(replay.deltas) == session.truth.book_deltas


def test_final_best_equals_truth(session: Session, replay: Replay) -> None:
    """The naive books end with the best bids and asks that the truth names."""
    found = {replay.symbols[locate]: book.best() for locate, book in replay.books.items()}
    for symbol, (bid, bid_shares, ask, ask_shares) in session.truth.best.items():
        assert found[symbol] == (round(bid * 10_000), bid_shares, round(ask * 10_000), ask_shares)


def test_message_counts_equal_truth(session: Session) -> None:
    """The first bytes of the messages are as many of each type as the truth says, all types present."""
    stream = itch_stream(session)
    counted = Counter(chr(raw[0]) for raw in stream.messages())
    assert dict(counted) == session.truth.messages
    assert set(counted) == set(LENGTHS)
    assert len(stream) == session.truth.messages_total


def test_prices_are_on_the_tick_grid(session: Session) -> None:
    """Every price is a whole number of cents."""
    assert not (session.flow["price"] % 100).any()


def test_system_events_and_pause_in_order(session: Session) -> None:
    """System events come as O S Q M E C; one stock is paused, quoted and resumed."""
    messages = [
        LAYOUTS[chr(raw[0])].unpack(raw) for raw in itch_stream(session).messages() if raw[0] in b"SH"
    ]
    assert [m["event_code"] for m in messages if m["type"] == "S"] == list("OSQMEC")
    states = [m["trading_state"] for m in messages if m.get("stock") == session.truth.paused]
    assert states == list("TPQT")


def test_times_are_of_the_session_date(session: Session) -> None:
    """Trading begins at 09:30 in New York: 13:30 UTC in August."""
    stream = itch_stream(make_session(MarketParameters(duration_s=2.0, session_date=date(2024, 8, 8))))
    opening = np.datetime64("2024-08-08T13:30:00", "ns").astype(np.int64)
    index = next(i for i, raw in enumerate(stream.messages()) if raw[0] == ord("S") and raw[11] == ord("Q"))
    assert stream.ts_ns[index] == opening


def test_winter_time() -> None:
    """In November 09:30 in New York is 14:30 UTC."""
    parameters = MarketParameters(session_date=date(2026, 11, 21))
    assert parameters.open_ns == np.datetime64("2026-11-21T14:30:00", "ns").astype(np.int64)


def test_file_format(tmp_path: Path, session: Session) -> None:
    """A file is each message behind its 2-byte big-endian length."""
    stream = itch_stream(session)
    stream.write(tmp_path / "session.itch")
    raw, at, count = (tmp_path / "session.itch").read_bytes(), 0, 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 2], "big")
        assert length == LENGTHS[chr(raw[at + 2])]
        at, count = at + 2 + length, count + 1
    assert (at, count) == (len(raw), len(stream))


def test_inserted_message_shifts_the_rest() -> None:
    """A foreign message is put where it was asked for and nothing else changes."""
    stream = itch_stream(make_session(MarketParameters(duration_s=2.0)))
    before, foreign = list(stream.messages()), b"z" + bytes(20)
    assert list(stream.inserted(10, foreign).messages()) == [*before[:10], foreign, *before[10:]]
    assert list(stream.inserted(len(before), foreign).messages()) == [*before, foreign]
