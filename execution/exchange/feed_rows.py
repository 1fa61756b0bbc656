"""A block of the feed as plain rows, read out of its columns once for all venues that follow the feed. Pure.

Values of a column that are taken out one by one cost ten times as much as those of a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tickloom.events import SIDE_TEXTS, EventBlock, StatusCode


class Trade(NamedTuple):
    """A trade of the feed. price, size: nanos; aggressor: "buy", "sell" or "none"; ts: event time, ns."""

    symbol: str
    price: int
    size: int
    seq: int
    ts: int
    aggressor: str
    condition: int


class Quote(NamedTuple):
    """Best prices of the feed and their sizes, nanos; NO_PRICE on an empty side."""

    bid: int
    bid_size: int
    ask: int
    ask_size: int
    seq: int


@dataclass(frozen=True, slots=True)
class FeedRows:
    """What a block says.

    Attributes
    ----------
    quotes : dict of str to Quote
        The last one of each instrument: those before it were over when the block was read.
    deltas : dict of str to list of (side, price, size, seq)
        Of each instrument, in the feed's order.
    statuses : list of (symbol, seq, StatusCode)
    newest_ts : int
        The latest event time of trades, quotes and deltas, ns; 0: there are none.
    """

    feed: str
    session: str
    trades: list[Trade]
    quotes: dict[str, Quote]
    deltas: dict[str, list[tuple[int, int, int, int]]]
    statuses: list[tuple[str, int, StatusCode]]
    newest_ts: int


def read(block: EventBlock) -> FeedRows:
    """Read a block out."""
    names = block.symbols.names
    times = [int(rows["ts_event"].max()) for rows in (block.trades, block.quotes, block.deltas) if len(rows)]
    deltas: dict[int, list[tuple[int, int, int, int]]] = {}
    if len(block.deltas):
        columns = [block.deltas[name].tolist() for name in ("symbol", "side", "price", "size", "seq")]
        for number, *delta in zip(*columns, strict=True):
            deltas.setdefault(number, []).append(tuple(delta))
    return FeedRows(
        block.venue,
        block.session,
        _trades(block),
        _quotes(block),
        {names[number]: found for number, found in deltas.items()},
        [
            (names[row["symbol"]], int(row["seq"]), StatusCode(int(row["status"])))
            for row in (block.statuses if len(block.statuses) else ())
        ],
        max(times, default=0),
    )


def _trades(block: EventBlock) -> list[Trade]:
    trades, names = block.trades, block.symbols.names
    if not len(trades):
        return []
    wanted = ("symbol", "price", "size", "seq", "ts_event", "side", "condition")
    return [
        Trade(names[symbol], price, size, seq, ts, SIDE_TEXTS[side], condition)
        for symbol, price, size, seq, ts, side, condition in zip(
            *(trades[name].tolist() for name in wanted), strict=True
        )
    ]


def _quotes(block: EventBlock) -> dict[str, Quote]:
    quotes, names = block.quotes, block.symbols.names
    if not len(quotes):
        return {}
    wanted = ("bid_price", "bid_size", "ask_price", "ask_size", "seq")
    last = {number: at for at, number in enumerate(quotes["symbol"].tolist())}
    rows = quotes[list(last.values())]
    columns = (rows[name].tolist() for name in wanted)
    return {names[number]: Quote(*row) for number, row in zip(last, zip(*columns, strict=True), strict=True)}
