"""Behind a hole: a book that is trusted is right, each time; and how soon it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from ingest.capture import CaptureBatch, RecordKind
from ingest.decoder import Decoder
from ingest.iex.decoder import IexDecoder
from ingest.itch.controls import gap_record
from ingest.itch.decoder import ItchDecoder
from ingest.itch.moldudp64 import Gap, pack
from ingest.proof import Proof, rows_of
from ingest.synthetic import datagrams
from ingest.synthetic.itch_stream import itch_stream
from ingest.synthetic.market import make_session
from ingest.synthetic.parameters import MarketParameters
from ingest.trusted import TrustedDecoder
from ingest.udp import gaps
from tests.ingest.iex_venue import SESSION as IEX_SESSION
from tests.ingest.iex_venue import Venue
from tests.ingest.itch.test_decoder import SESSION as ITCH_SESSION
from tests.ingest.itch.test_decoder import m
from tests.ingest.matching import BUY, Best, Exchange, Said
from tickloom.events import QUOTE_DTYPE, TRADE_DTYPE, EventBlock, Side, TrustReason, TrustState
from tickloom.prices import NANOS, NO_PRICE

Record = tuple[int, int, bytes]
DATA, CONTROL = int(RecordKind.DATA), int(RecordKind.CONTROL)
SEQ = 10**10  # of a day


@dataclass
class Tape:
    """A session as records; ``best`` is the truth behind each message, ``first`` the number of each record's
    first message."""

    records: list[Record]
    first: list[int]
    best: list[dict[str, Best]]
    decoder: Callable[[], Decoder]
    gap: Callable[[int, int], bytes]

    def lossy(self, lost: range) -> list[Record]:
        """Without some records, which are given up at once."""
        hole = self.gap(self.first[lost.start], self.first[lost.stop] - 1)
        behind = self.records[lost.stop]
        given_up = (CONTROL, behind[1], hole)
        return [*self.records[: lost.start], behind, given_up, *self.records[lost.stop + 1 :]]


def itch(exchange: Exchange, size: int) -> Tape:
    """As Nasdaq tells it; the number of a message is its place, behind two directories."""
    locate = {stock: place for place, stock in enumerate(exchange.stocks, 1)}
    tape = [m("R", stock=stock, stock_locate=at) for stock, at in locate.items()]
    for said in exchange.said:
        head = {"stock_locate": locate[said.stock], "reference": said.reference}
        if said.what == "added":
            of = {"side": said.side, "shares": said.shares, "stock": said.stock, "price": said.price * 100}
            tape.append(m("A", **head, **of))
        elif said.what == "executed":
            tape.append(m("E", **head, shares=said.shares, match_number=len(tape)))
        elif said.what == "deleted":
            tape.append(m("D", **head))
        else:
            of = {"new_reference": said.new, "shares": said.shares, "price": said.new_price * 100}
            tape.append(m("U", **head, **of))
    first = list(range(1, len(tape) + 1, size))
    records = [
        (DATA, at, pack(b"000000001A", number, tape[number - 1 : number - 1 + size]))
        for at, number in enumerate(first, 1)
    ]
    before: list[dict[str, Best]] = [{}] * len(exchange.stocks)
    return Tape(
        records,
        first,
        before + exchange.best,
        lambda: ItchDecoder("XNAS", ITCH_SESSION),
        lambda low, high: gap_record(Gap(low, high)),
    )


def deep(exchange: Exchange, size: int) -> Tape:
    """As IEX tells it: what a level's total is now; a trade before its level."""
    venue, levels = Venue(), {stock: {BUY: {}, "S": {}} for stock in exchange.stocks}  # type: ignore[var-annotated]
    records: list[Record] = []
    first: list[int] = []
    best: list[dict[str, Best]] = []
    waiting: list[bytes] = []

    def changed(said: Said, price: int, by: int, flags: int = 1) -> bytes:
        of_side = levels[said.stock][said.side]
        of_side[price] = of_side.get(price, 0) + by
        letter = "8" if said.side == BUY else "5"
        return venue.level(letter, price * 100, of_side[price], flags=flags, symbol=said.stock)

    def send() -> None:
        first.append(venue.sequence)
        records.append(venue.send(*waiting))
        waiting.clear()

    for at, (said, now) in enumerate(zip(exchange.said, exchange.best, strict=True)):
        venue.now += 1_000
        before = best[-1] if best else {}
        if said.what == "added":
            told = [changed(said, said.price, said.shares)]
        elif said.what == "executed":
            trade = venue.trade(at, symbol=said.stock, price=said.price * 100, size=said.shares)
            told = [trade, changed(said, said.price, -said.shares)]
        elif said.what == "deleted":
            told = [changed(said, said.price, -said.shares)]
        else:
            gone = _shares_of(exchange, said.reference, at)
            if said.new_price == said.price:
                told = [changed(said, said.price, said.shares - gone)]
            else:
                told = [
                    changed(said, said.price, -gone, flags=0),
                    changed(said, said.new_price, said.shares),
                ]
        waiting += told
        best += [before] * (len(told) - 1) + [now]
        if len(waiting) >= size or at == len(exchange.said) - 1:
            send()
    return Tape(
        records,
        [*first, venue.sequence],
        best,
        lambda: IexDecoder("IEXG", IEX_SESSION),
        lambda low, high: gaps.gap_record(gaps.Gap(low, high)),
    )


def _shares_of(exchange: Exchange, reference: int, at: int) -> int:
    """What was left of an order before step ``at``."""
    left = 0
    for said in exchange.said[:at]:
        if said.what == "replaced" and said.new == reference:
            left = said.shares
        elif said.reference == reference:
            left += {"added": said.shares, "executed": -said.shares}.get(said.what, 0)
    return left


def decoded(decoder: Decoder, records: Sequence[Record], cuts: Sequence[int] = ()) -> list[EventBlock]:
    trusted, blocks, at = TrustedDecoder(decoder), [], 0
    for stop in [*cuts, len(records)]:
        if stop > at:
            blocks.append(trusted.decode(CaptureBatch.of(records[at:stop], at + 1)))
            at = stop
    return blocks


def shown(blocks: list[EventBlock], messages: int, unit: int) -> list[dict[str, Best]]:
    """The last quote of each stock behind each message."""
    quotes: dict[int, dict[str, Best]] = {}
    for block in blocks:
        for row in block.quotes:
            sides = []
            for side in ("bid", "ask"):
                price, size = int(row[f"{side}_price"]), int(row[f"{side}_size"])
                sides += [0 if price == NO_PRICE else price // unit, size // NANOS]
            name = block.symbols.names[row["symbol"]]
            quotes.setdefault(int(row["seq"]) % SEQ, {})[name] = tuple(sides)  # type: ignore[assignment]
    found: list[dict[str, Best]] = []
    now: dict[str, Best] = {}
    for number in range(1, messages + 1):
        now = {**now, **quotes.get(number, {})}
        found.append(now)
    return found


def trusted_behind(blocks: list[EventBlock], messages: int) -> list[dict[str, bool]]:
    """Whether each stock that was heard of is trusted behind each message."""
    changes: dict[int, dict[str, bool]] = {}
    for block in blocks:
        for row in block.trust:
            name = block.symbols.names[row["symbol"]]
            at = max(1, int(row["at_seq"]) % SEQ)
            changes.setdefault(at, {})[name] = row["state"] == TrustState.TRUSTED
    found: list[dict[str, bool]] = []
    now: dict[str, bool] = {}
    for number in range(1, messages + 1):
        now = {**now, **changes.get(number, {})}
        found.append(now)
    return found


def measured(tape: Tape, lost: range, unit: int, cuts: Sequence[int] = ()) -> tuple[int, int, int]:
    """Hold a lossy session against the truth: how often a book was trusted, was right, and was wrong."""
    records = tape.lossy(lost)
    blocks = decoded(tape.decoder(), records, cuts)
    count, start = len(tape.best), tape.first[lost.stop]
    mine, trust = shown(blocks, count, unit), trusted_behind(blocks, count)
    trusted = right = wrong = 0
    for number in range(start, count + 1):
        for stock, best in tape.best[number - 1].items():
            found = mine[number - 1].get(stock, (0, 0, 0, 0))
            believed = trust[number - 1].get(stock, False)
            assert not believed or found == best, f"{stock} behind {number}: {found} is trusted, {best} is so"
            trusted, right, wrong = trusted + believed, right + (found == best), wrong + (found != best)
    return trusted, right, wrong


@pytest.mark.parametrize("tell", [itch, deep])
def test_what_is_trusted_is_right(tell: Callable[[Exchange, int], Tape]) -> None:
    """Random markets and holes: never is a wrong best quote trusted. Wrong ones there are, and trusted ones,
    a part of those that are right."""
    trusted = right = wrong = 0
    for seed in range(40):
        rng = random.Random(seed)
        tape = tell(Exchange(rng).run(700), rng.choice((1, 2, 5)))
        start = rng.randrange(1, len(tape.records) // 3)
        lost = range(start, min(start + rng.randrange(1, 12), len(tape.records) - 2))
        found = measured(tape, lost, unit=NANOS // 100)
        trusted, right, wrong = trusted + found[0], right + found[1], wrong + found[2]
    assert wrong > 1_000
    assert trusted > right / 10


@pytest.mark.parametrize("tell", [itch, deep])
def test_however_the_capture_is_cut(tell: Callable[[Exchange, int], Tape]) -> None:
    """The same changes of trust, byte for byte."""
    proven = 0
    for seed in range(8):
        rng = random.Random(seed)
        tape = tell(Exchange(rng).run(700), 2)
        records = tape.lossy(range(20, 26))
        cuts = sorted(rng.sample(range(1, len(records)), 9))
        whole, cut = decoded(tape.decoder(), records), decoded(tape.decoder(), records, cuts)
        changes = b"".join(block.trust.tobytes() for block in cut)
        assert whole[0].trust.tobytes() == changes
        proven += int(np.count_nonzero(whole[0].trust["reason"] == TrustReason.PROVEN))
    assert proven


def test_first_heard_of_behind_a_hole() -> None:
    """The directory was lost as well: broken from its first event on, with the range, until proven."""
    exchange = Exchange(random.Random(5)).run(1_500)
    tape = itch(exchange, 1)
    (block,) = decoded(tape.decoder(), [(CONTROL, 1, gap_record(Gap(1, 40))), *tape.records[40:]])
    of_alfa = [row for row in block.trust if block.symbols.names[row["symbol"]] == "ALFA"]
    first = of_alfa[0]
    assert TrustState(first["state"]) is TrustState.BROKEN
    assert TrustReason(first["reason"]) is TrustReason.SEQUENCE
    assert (first["first_missing"], first["last_missing"]) == (1, 40)
    assert TrustReason.PROVEN in [row["reason"] for row in of_alfa]
    for before, after in pairwise(of_alfa):
        assert before["state"] != after["state"]


def test_a_busy_session_is_trusted_again_soon() -> None:
    """A synthetic session at eight times its pace loses two datagrams: never wrong and trusted, and ten
    seconds later most of what is right is trusted."""
    session = make_session(MarketParameters(seed=4, duration_s=30.0, intensity=8.0))
    stream = itch_stream(session)
    sender, packing = datagrams.Datagrams(stream), datagrams.pack(stream, 8_000_000)
    first = packing.first.tolist()
    whole = [
        (DATA, due, sender.build(first[at], first[at + 1])) for at, due in enumerate(packing.due_ns.tolist())
    ]
    lost = len(whole) // 3
    low, high = first[lost] + 1, first[lost + 2]
    made = [*whole[:lost], whole[lost + 2], (CONTROL, 0, gap_record(Gap(low, high))), *whole[lost + 3 :]]
    name = "20240808.TLSYN00001"
    (truth,) = decoded(ItchDecoder("XNAS", name), whole)
    (mine,) = decoded(ItchDecoder("XNAS", name), made)
    count = len(stream.ts_ns)
    best, found = shown([truth], count, 1), shown([mine], count, 1)
    trust = trusted_behind([mine], count)
    believed = right = 0
    settled = int(np.searchsorted(stream.ts_ns, stream.ts_ns[high] + 10 * NANOS))
    for at in range(high, count):
        for stock, quote in best[at].items():
            same, trusted = found[at].get(stock) == quote, trust[at].get(stock, False)
            assert same or not trusted
            if at >= settled:
                right, believed = right + same, believed + trusted
    assert believed > 0.5 * right


def quote(seq: int, bid: int, ask: int, bid_size: int = 1) -> tuple[int, ...]:
    return seq, seq, seq, 1, bid, bid_size, ask, 1, 0


def trade(seq: int, price: int, side: Side, condition: int = 0) -> tuple[int, ...]:
    return seq, seq, seq, 1, price, 1, 0, int(side), condition


def proven(quotes: list[tuple[int, ...]], trades: list[tuple[int, ...]]) -> list[tuple[int, int]]:
    """(seq, 1 or -1) of each change, of symbol 1 with everything unknown before."""
    proof = Proof()
    proof.open(1, 2)
    none = np.zeros(0, dtype=[("seq", "<i8"), ("symbol", "<i4"), ("ts_recv", "<i8"), ("ts_event", "<i8"),
                              ("price", "<i8"), ("size", "<i8"), ("side", "<i1")])  # fmt: skip
    rows = rows_of(np.array(trades, dtype=TRADE_DTYPE), none, np.array(quotes, dtype=QUOTE_DTYPE), none)
    changes = proof.changes(rows)
    return [(int(rows[0, at]), int(changes[at])) for at in np.flatnonzero(changes)]


def test_each_side_is_proven_by_trades_at_its_best() -> None:
    """Bids trade at 99, asks at 101: a quote inside of both is right; one that is back at 99 is not."""
    trades = [trade(2, 99, Side.SELL), trade(4, 101, Side.BUY)]
    quotes = [quote(1, 99, 101), quote(3, 99, 101, 2), quote(5, 100, 102), quote(6, 100, 100 + 1)]
    assert proven(quotes, trades) == []  # the ask is at 101, or above it
    assert proven([*quotes[:2], quote(5, 99, 100), quote(6, 98, 100)], trades) == []  # and so the bid
    assert proven([quote(1, 98, 102), quote(3, 98, 102, 2), quote(5, 99, 101), quote(7, 98, 101)],
                  [trade(2, 98, Side.SELL), trade(4, 102, Side.BUY)]) == [(5, 1), (7, -1)]  # fmt: skip


@pytest.mark.parametrize("condition", [1, 2, 3])
def test_hidden_trades_and_auctions_prove_nothing(condition: int) -> None:
    trades = [trade(2, 98, Side.SELL, condition), trade(3, 102, Side.BUY, condition)]
    assert proven([quote(1, 98, 102), quote(4, 99, 101)], trades) == []


def test_a_trade_below_the_best_bid_proves_nothing() -> None:
    """The bid above it is one that is gone: nothing is said of what else is."""
    trades = [trade(2, 97, Side.SELL), trade(3, 102, Side.BUY)]
    assert proven([quote(1, 98, 102), quote(4, 99, 101)], trades) == []


def test_an_empty_side_is_not_right() -> None:
    """Nothing that traded shows that nothing is there."""
    trades = [trade(2, 98, Side.SELL), trade(3, 102, Side.BUY)]
    none = int(NO_PRICE)
    assert proven([quote(1, 98, 102), quote(4, 99, none), quote(5, none, 101)], trades) == []
