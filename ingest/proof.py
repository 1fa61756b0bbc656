"""Behind a hole nobody filled: whether a book that was built of orders or levels has the right best quote.

What is missing may have been an order that came or one that went, so such a book may show a best price that
is none, for as long as nothing says otherwise; its next quote says nothing. A trade does. Matching goes by
price first, so where a resting bid trades at P no other bid rests above P; and if the book's own best bid was
P, then it has none above P either. From there on everything above P is seen to come and to go: the best bid
is right whenever it is above the lowest such P since the hole, and the best ask whenever it is below the
highest such price of an ask. Right is the price and the size. A best bid at P itself is not taken for right:
its price is, but of the orders at P some may be missing.

The side that rested is the one the aggressor's is not. Where a venue does not send it (IEX), it is the side
whose level at the trade's price shrinks at the trade's time.

Sources: Nasdaq Equity 4, 4757 (price, then display, then time); IEX Rule 11.220 (price, display, time).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tickloom.events import Condition, Records, Side
from tickloom.prices import NO_PRICE

TRADE, DELTA, QUOTE, OTHER = range(4)  # what a row is
#: Columns of a row. A quote's prices and sizes; a trade's or level's price, size, time and side.
SEQ, SYMBOL, TS_RECV, KIND, PRICE, SIZE, ASK_PRICE, ASK_SIZE, TS_EVENT, SIDE = range(10)
COLUMNS = 10
_BUY, _SELL, _NONE = int(Side.BUY), int(Side.SELL), int(Side.NONE)
_REGULAR = int(Condition.REGULAR)
_NO_PRICE = int(NO_PRICE)
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
# of each symbol: whether it is under proof, and what is known of it
_OPEN, _PROVEN, _BID_KNOWN, _ASK_KNOWN, _BID, _ASK, _BID_SIZE, _ASK_SIZE, _TRADE_PRICE, _TRADE_NS = range(10)
_STATE = 10


class Proof:
    """Which symbols' best quotes are known to be right, by their trades. Grows with the symbols."""

    def __init__(self) -> None:
        self._of = np.zeros((0, _STATE), dtype=np.int64)

    @property
    def wanted(self) -> bool:
        """Whether any symbol is under proof."""
        return bool(self._of[:, _OPEN].any())

    def is_open(self, which: int) -> bool:
        """Whether a symbol is under proof."""
        return which < len(self._of) and bool(self._of[which, _OPEN])

    def open(self, first: int, stop: int) -> None:
        """Something of these symbols may be missing: nothing of them is known from here on."""
        if stop > len(self._of):
            more = np.zeros((max(16, len(self._of), stop - len(self._of)), _STATE), dtype=np.int64)
            self._of = np.concatenate([self._of, more])
        self._of[first:stop] = (1, 0, _HIGHEST, _LOWEST, _NO_PRICE, _NO_PRICE, 0, 0, _NO_PRICE, 0)

    def close(self, which: int) -> None:
        """Its book is whole."""
        if which < len(self._of):
            self._of[which, _OPEN] = 0

    def changes(self, rows: NDArray[np.int64]) -> NDArray[np.int8]:
        """Take rows (COLUMNS, n) in order; 1 where a quote begins to be right, -1 where it ends, else 0."""
        return _changes(self._of, rows)  # type: ignore[no-any-return]


def rows_of(trades: Records, deltas: Records, quotes: Records, statuses: Records) -> NDArray[np.int64]:
    """Events as rows (COLUMNS, n), by number; of one message the trade, then levels, then the quote."""
    parts = []
    for kind, records in ((TRADE, trades), (DELTA, deltas), (QUOTE, quotes), (OTHER, statuses)):
        rows = np.zeros((COLUMNS, len(records)), dtype=np.int64)
        for column, name in ((SEQ, "seq"), (SYMBOL, "symbol"), (TS_RECV, "ts_recv"), (TS_EVENT, "ts_event")):
            rows[column] = records[name]
        rows[KIND] = kind
        if kind == QUOTE:
            rows[PRICE], rows[SIZE] = records["bid_price"], records["bid_size"]
            rows[ASK_PRICE], rows[ASK_SIZE] = records["ask_price"], records["ask_size"]
        elif kind != OTHER:
            rows[PRICE], rows[SIZE], rows[SIDE] = records["price"], records["size"], records["side"]
        if kind == TRADE:
            rows[KIND][records["condition"] != _REGULAR] = OTHER  # hidden, an auction, one taken back
        parts.append(rows)
    merged = np.concatenate(parts, axis=1)
    return merged[:, np.argsort(merged[SEQ], kind="stable")]


@njit(cache=True, nogil=True)
def _changes(of, rows):  # type: ignore[no-untyped-def]
    found = np.zeros(rows.shape[1], dtype=np.int8)
    for at in range(rows.shape[1]):
        symbol = rows[SYMBOL, at]
        if symbol >= len(of) or not of[symbol, _OPEN]:
            continue
        mine, kind, price = of[symbol], rows[KIND, at], rows[PRICE, at]
        if kind == TRADE:
            side = rows[SIDE, at]
            if side == _SELL and price == mine[_BID]:
                mine[_BID_KNOWN] = min(mine[_BID_KNOWN], price)
            elif side == _BUY and price == mine[_ASK]:
                mine[_ASK_KNOWN] = max(mine[_ASK_KNOWN], price)
            elif side == _NONE:
                mine[_TRADE_PRICE], mine[_TRADE_NS] = price, rows[TS_EVENT, at]
        elif kind == DELTA:
            if price != mine[_TRADE_PRICE] or rows[TS_EVENT, at] != mine[_TRADE_NS]:
                continue
            if rows[SIDE, at] == _BUY and price == mine[_BID] and rows[SIZE, at] < mine[_BID_SIZE]:
                mine[_BID_KNOWN] = min(mine[_BID_KNOWN], price)
            elif rows[SIDE, at] == _SELL and price == mine[_ASK] and rows[SIZE, at] < mine[_ASK_SIZE]:
                mine[_ASK_KNOWN] = max(mine[_ASK_KNOWN], price)
        elif kind == QUOTE:
            ask = rows[ASK_PRICE, at]
            mine[_BID], mine[_BID_SIZE] = price, rows[SIZE, at]
            mine[_ASK], mine[_ASK_SIZE] = ask, rows[ASK_SIZE, at]
            right = price > mine[_BID_KNOWN] and ask != _NO_PRICE and ask < mine[_ASK_KNOWN]
            if right != (mine[_PROVEN] != 0):
                mine[_PROVEN] = 1 if right else 0
                found[at] = 1 if right else -1
    return found
