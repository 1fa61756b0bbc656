"""Shipped rules over recorded trades and quotes of US stocks, against plain loops over the same rows.

The recording (QuantConnect Lean's sample data, 2013-10-07) has hundreds of trades and quotes with one
millisecond, which no tape written by hand has.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streaming import rules
from streaming.authoring import cases
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.events import (
    QUOTE_DTYPE,
    TRADE_DTYPE,
    Condition,
    EventBlock,
    Side,
    SymbolTable,
    make_seq,
)

DAY = date(2013, 10, 7)
MIDNIGHT_NS = int(datetime(2013, 10, 7, 4, tzinfo=UTC).timestamp()) * NS_PER_S  # of New York
OPEN_MS, CLOSE_MS = 34_200_000, 57_600_000
SYMBOLS = ("ibm", "aig")
NANOS_PER_UNIT = 100_000  # prices are in 1/10,000 dollar
Stock = tuple[pd.DataFrame, EventBlock]


@pytest.fixture(scope="module")
def stocks(shared_data: Callable[[str], Path]) -> dict[str, Stock]:
    """Rows of each stock in the order of seq, and the block that is made of them."""
    return {name: _stock(shared_data(f"equities_ticks/{name}"), name) for name in SYMBOLS}


def _stock(folder: Path, name: str) -> Stock:
    """Regular hours. Trades of every exchange, the first large one taken for the opening auction, with
    aggressors by the tick rule; quotes of one exchange, whose rows say one side each."""
    trades = _csv(folder / "20131007_trade.zip", ["ms", "price", "size", "exchange"])
    quotes = _csv(folder / "20131007_quote.zip", ["ms", "bid", "bid_size", "ask", "ask_size", "exchange"])
    quotes = quotes[quotes.exchange == "Q"].copy()
    sides = ["bid", "bid_size", "ask", "ask_size"]
    quotes[sides] = quotes[sides].replace(0, np.nan).ffill()
    trades["kind"], quotes["kind"] = "trade", "quote"
    rows = pd.concat([trades, quotes.dropna(subset=sides)]).sort_values("ms", kind="stable")
    rows = rows[(rows.ms >= OPEN_MS) & (rows.ms < CLOSE_MS)].reset_index(drop=True)
    rows["seq"] = [make_seq(DAY, number + 1) for number in range(len(rows))]
    is_trade = rows.kind == "trade"
    moves = np.sign(rows.price[is_trade].diff()).replace(0, np.nan).ffill().fillna(0)
    rows["direction"] = moves.astype(int)
    auction = (is_trade & (rows["size"] >= 1_000)).idxmax()
    rows["auction"] = rows.index == auction
    return rows, _block(rows, name.upper())


def _csv(path: Path, names: list[str]) -> pd.DataFrame:
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.namelist()
        raw = io.BytesIO(archive.read(member))
    return pd.read_csv(raw, header=None, names=names, usecols=range(len(names)))


def _block(rows: pd.DataFrame, name: str) -> EventBlock:
    symbols = SymbolTable([name])
    found = {}
    for kind, dtype in (("trade", TRADE_DTYPE), ("quote", QUOTE_DTYPE)):
        own = rows[rows.kind == kind]
        records = np.zeros(len(own), dtype)
        records["ts_event"] = records["ts_recv"] = MIDNIGHT_NS + own.ms.to_numpy() * NS_PER_MS
        records["seq"], records["symbol"] = own.seq, 1
        found[kind] = records, own
    trades, own = found["trade"]
    trades["price"], trades["size"] = own.price * NANOS_PER_UNIT, own["size"] * 10**9
    trades["side"] = own.direction.map({1: Side.BUY, -1: Side.SELL, 0: Side.NONE})
    trades["condition"] = np.where(own.auction, Condition.CROSS, Condition.REGULAR)
    quotes, own = found["quote"]
    for side in ("bid", "ask"):
        quotes[f"{side}_price"] = own[side] * NANOS_PER_UNIT
        quotes[f"{side}_size"] = own[f"{side}_size"] * 10**9
    return EventBlock("XNAS", "20131007", symbols, trades=trades, quotes=quotes)


def fired(name: str, block: EventBlock, **overrides: str) -> list[tuple[str, int, int, float]]:
    """Side, first and last seq, and price of each signal."""
    rule = rules.bind(rules.find(name), overrides)
    return [(s.side, s.first_seq, s.last_seq, s.ref_price) for s in cases.compiled(rule, block)]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_sweep(symbol: str, stocks: dict[str, Stock]) -> None:
    """Three levels of one side, 500 shares, less than 10 ms."""
    rows, block = stocks[symbol]
    own = rows[(rows.kind == "trade") & ~rows.auction & (rows.direction != 0)]
    trades = list(own[["ms", "price", "size", "direction", "seq"]].itertuples(index=False))
    expected, place = [], 0
    while place < len(trades):
        levels, shares, first = [trades[place].price], trades[place].size, trades[place]
        end = place + 1
        while end < len(trades) and len(levels) < 3:
            one = trades[end]
            ahead = (one.price - levels[-1]) * first.direction
            if one.direction != first.direction or ahead < 0 or one.ms - first.ms >= 10:
                break
            levels += [one.price] if ahead else []
            shares += one.size
            end += 1
        if len(levels) == 3 and shares >= 500:
            side = "buy" if first.direction > 0 else "sell"
            expected.append((side, first.seq, trades[end - 1].seq, trades[end - 1].price / 10_000))
            place = end
        else:
            place += 1
    assert fired("sweep", block) == expected
    assert len(expected) >= 5


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_opening_range(symbol: str, stocks: dict[str, Stock]) -> None:
    """The first round lot 2 basis points beyond the range of five minutes."""
    rows, block = stocks[symbol]
    lots = rows[(rows.kind == "trade") & (rows["size"] >= 100)]
    (start,) = lots.index[lots.auction]
    behind = lots.loc[start:]
    begun = behind.ms.iloc[0]
    opening = behind[behind.ms < begun + 300_000]
    low, high = opening.price.min(), opening.price.max()
    later = behind[(behind.ms >= begun + 300_000) & (behind.ms < begun + 6 * 3_600_000)]
    beyond = later[(later.price >= high * 1.0002) | (later.price <= low * 0.9998)]
    expected = []
    if len(beyond):
        one = beyond.iloc[0]
        side = "buy" if one.price > high else "sell"
        expected = [(side, behind.seq.iloc[0], one.seq, one.price / 10_000)]
    assert fired("opening_range", block, morning="6h", beyond_bps="2") == expected
    assert len(expected) == 1


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_quotes_stale(symbol: str, stocks: dict[str, Stock]) -> None:
    """No quote of the exchange for a second, three trades anywhere, the last one 2 basis points away."""
    rows, block = stocks[symbol]
    silence_ms, least, until_ms = 1_000, 3, 60_000
    quotes = np.flatnonzero(rows.kind == "quote")
    ends = np.append(quotes[1:], len(rows))
    times, prices = rows.ms.to_numpy(), rows.price.to_numpy()
    counts, mids = ~rows.auction.to_numpy(), ((rows.bid + rows.ask) / 2).to_numpy()
    expected = []
    for quote, end in zip(quotes, ends, strict=True):
        due_ms = times[quote] + silence_ms
        if (times[end] if end < len(rows) else times[-1]) < due_ms:
            continue
        seen = [row for row in range(quote + 1, end) if counts[row]]
        before = [row for row in seen if times[row] < due_ms]
        if len(before) < least:
            before = seen[:least]
        if len(before) < least or times[before[-1]] >= times[quote] + until_ms:
            continue
        away_bps = (prices[before[-1]] / mids[quote] - 1) * 10_000
        if abs(away_bps) >= 2.0:
            side = "buy" if away_bps > 0 else "sell"
            seqs = int(rows.seq[quote]), int(rows.seq[before[-1]])
            expected.append((side, *seqs, prices[before[-1]] / 10_000))
    found = fired("quotes_stale", block, silence="1s")
    assert sorted(found, key=lambda one: one[1]) == expected
    assert len(expected) >= 3
