"""DEEP and TOPS read in the plainest way: struct formats written out by hand, a dict a book side.

It knows nothing of layouts, kernels or sequencers, and takes packets that are in order.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

NO_PRICE = -(2**63)
STATUS = {
    "S": {"O": 5, "S": 6, "R": 7, "M": 8, "E": 9, "C": 10},
    "H": {"H": 2, "O": 4, "P": 3, "T": 1},
}


class NaiveDay:
    """Events as tuples, each with its number in the day. Prices and sizes as on the wire."""

    def __init__(self) -> None:
        self.trades: list[tuple[Any, ...]] = []
        self.quotes: list[tuple[Any, ...]] = []
        self.deltas: list[tuple[Any, ...]] = []
        self.statuses: list[tuple[Any, ...]] = []
        self.types: Counter[str] = Counter()
        self.packets = self.messages = self.heartbeats = self.restarts = self.crossed = self.locked = 0
        self.base = 0
        self.seen: list[str] = []  # symbols, in the order of their first messages
        self.known: set[str] = set()
        self.next = 1
        self._empty()

    def _empty(self) -> None:
        self.books: dict[tuple[str, str], dict[int, int]] = {}
        self.tops: dict[str, tuple[int, int, int, int]] = {}
        self.was_crossed: set[str] = set()
        self.trading: dict[str, int] = {}
        self.halted: set[str] = set()

    def packet(self, raw: bytes) -> None:
        count, sequence = struct.unpack_from("<H8xq", raw, 14)
        self.packets += 1
        if sequence < self.next:
            self._restart()
        if count == 0:
            self.heartbeats += 1
        at = 40
        for number in range(sequence, sequence + count):
            (size,) = struct.unpack_from("<H", raw, at)
            self._message(number, raw[at + 2 : at + 2 + size])
            at += 2 + size
        self.next = sequence + count

    def _restart(self) -> None:
        self.restarts += 1
        number = self.base + self.next
        for symbol in self.seen:
            prices = [(side, price) for side in "85" for price in self.books.get((symbol, side), {})]
            self.deltas += [(number, symbol, side, price, 0) for side, price in prices]
            top = self.tops.get(symbol, (NO_PRICE, 0, NO_PRICE, 0)) != (NO_PRICE, 0, NO_PRICE, 0)
            if top:
                self.quotes.append((number, symbol, NO_PRICE, 0, NO_PRICE, 0))
            if symbol in self.was_crossed:
                self.statuses.append((number, symbol, 11, "RESTART"))
            number += bool(prices) or top or symbol in self.was_crossed
        self.statuses.append((number, "", 11, "RESTART"))
        self._empty()
        self.base, self.next = number, 1

    def _message(self, own: int, raw: bytes) -> None:
        kind, code = chr(raw[0]), raw[1]
        self.messages += 1
        self.types[kind] += 1
        number, letter = self.base + own, chr(code)
        symbol = raw[10:18].decode().rstrip()
        if kind != "S" and symbol not in self.known:
            self.known.add(symbol)
            self.seen.append(symbol)
        if kind == "S":
            self.statuses.append((number, "", STATUS["S"][letter], letter))
        elif kind == "H":
            self.trading[symbol] = STATUS["H"][letter]
            self._state(number, symbol, raw[18:22].decode().rstrip())
        elif kind == "O":
            (self.halted.add if letter == "O" else self.halted.discard)(symbol)
            self._state(number, symbol, "OP " + letter)
        elif kind == "P":
            self.statuses.append((number, symbol, 13 if code else 14, chr(raw[18]).rstrip()))
        elif kind == "E":
            self.statuses.append((number, symbol, 0, "SEC " + letter))
        elif kind in "TB":
            size, price, trade_id = struct.unpack_from("<Iqq", raw, 18)
            broken = kind == "B"
            condition = 3 if broken else (2 if code & 8 else 0)
            self.trades.append(
                (number, symbol, NO_PRICE if broken else price, 0 if broken else size, trade_id, condition)
            )
        elif kind in "85":
            self._level(number, symbol, kind, code, *struct.unpack_from("<Iq", raw, 18))
        elif kind == "Q":
            bid_size, bid, ask, ask_size = struct.unpack_from("<IqqI", raw, 18)
            self._show(number, symbol, (bid, bid_size) if bid and bid_size else (NO_PRICE, 0),
                       (ask, ask_size) if ask and ask_size else (NO_PRICE, 0))  # fmt: skip

    def _state(self, number: int, symbol: str, reason: str) -> None:
        code = 2 if symbol in self.halted else self.trading.get(symbol, 0)
        self.statuses.append((number, symbol, code, reason))

    def _level(self, number: int, symbol: str, side: str, flags: int, size: int, price: int) -> None:
        levels = self.books.setdefault((symbol, side), {})
        if size or price in levels:
            self.deltas.append((number, symbol, side, price, size))
        if size:
            levels[price] = size
        else:
            levels.pop(price, None)
        if flags & 1:
            bids, asks = self.books.get((symbol, "8"), {}), self.books.get((symbol, "5"), {})
            bid = (max(bids), bids[max(bids)]) if bids else (NO_PRICE, 0)
            ask = (min(asks), asks[min(asks)]) if asks else (NO_PRICE, 0)
            if (*bid, *ask) != self.tops.get(symbol, (NO_PRICE, 0, NO_PRICE, 0)):
                self._show(number, symbol, bid, ask)

    def _show(self, number: int, symbol: str, bid: tuple[int, int], ask: tuple[int, int]) -> None:
        self.tops[symbol] = (*bid, *ask)
        self.quotes.append((number, symbol, *bid, *ask))
        both = bid[1] > 0 and ask[1] > 0
        self.locked += both and bid[0] == ask[0]
        crossed = both and bid[0] > ask[0]
        self.crossed += crossed
        if crossed != (symbol in self.was_crossed):
            self.statuses.append((number, symbol, 12 if crossed else 11, "CROSSED" if crossed else "UNCROSS"))
            (self.was_crossed.add if crossed else self.was_crossed.discard)(symbol)
