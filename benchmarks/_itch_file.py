"""A seed in, the bytes of an ITCH 5.0 file out: messages in the mix of a trading day.

After an opening of orders only, each message is drawn by its share. References rise by one. Whose order is
deleted, replaced, executed or reduced is drawn by age, evenly on a logarithmic scale: most orders live for a
few messages and some for the whole file. A stock's price stands still and its bids and asks lie to either
side of it, near ones mostly, so that books never cross without somebody having to match orders.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.itch.messages import LAYOUTS

STOCKS = 300
OPENING = 0.04  # of all messages: orders that are there when the day begins
MESSAGE_BYTES_MAX = 2 + max(layout.length for layout in LAYOUTS.values())
#: Shares of the messages after the opening, to make 40 % A and F, 38 % D, 8 % U, 6 % E and C, 3 % X of all.
SHARES = {"A": 0.365, "F": 0.010, "D": 0.396, "U": 0.083, "E": 0.0615, "C": 0.001, "X": 0.031, "P": 0.0425}
#: What a directory entry says of a common share of the Global Select Market.
_DIRECTORY: dict[str, int | str] = {
    "market_category": "Q",
    "financial_status": "N",
    "round_lot_size": 100,
    "round_lots_only": "N",
    "issue_classification": "C",
    "issue_subtype": "Z",
    "authenticity": "P",
    "short_sale_threshold": "N",
    "ipo_flag": "N",
    "luld_tier": "1",
    "etp_flag": "N",
    "inverse": "N",
}
_KINDS = np.frombuffer("".join(SHARES).encode() + b"I", dtype=np.uint8)
_EDGES = np.cumsum(list(SHARES.values()))
_DAY_OPEN_NS, _DAY_NS = 34_200 * 10**9, 23_400 * 10**9
_A, _F, _D, _U, _E, _C, _X, _P, _I = (ord(letter) for letter in "AFDUECXPI")


def itch_file(messages: int, seed: int = 7) -> NDArray[np.uint8]:
    """The bytes of a file of ``messages`` messages, each behind its length.

    The first are a system event and a directory entry for each stock.
    """
    names = [f"TL{number:04d}" for number in range(1, STOCKS + 1)]
    head = [LAYOUTS["S"].pack(timestamp=1, event_code="O")]
    head += [
        LAYOUTS["R"].pack(stock_locate=number, timestamp=2, stock=name, **_DIRECTORY)
        for number, name in enumerate(names, 1)
    ]
    opening = b"".join(len(raw).to_bytes(2, "big") + raw for raw in head)
    stocks = np.frombuffer("".join(name.ljust(8) for name in names).encode(), dtype=np.uint8).reshape(-1, 8)
    lengths = np.zeros(256, dtype=np.int64)
    for letter, layout in LAYOUTS.items():
        lengths[ord(letter)] = layout.length
    count = max(0, messages - len(head))
    out = np.zeros(len(opening) + count * MESSAGE_BYTES_MAX, dtype=np.uint8)
    out[: len(opening)] = np.frombuffer(opening, dtype=np.uint8)
    stop = _generate(out, len(opening), count, stocks, lengths, _KINDS, _EDGES, seed)
    return out[:stop].copy()


@njit(cache=True)
def _put(out, at, value, size):  # type: ignore[no-untyped-def]
    for place in range(size - 1, -1, -1):
        out[at + place] = value & 255
        value >>= 8
    return at + size


@njit(cache=True)
def _victim(live, newest):  # type: ignore[no-untyped-def]
    """An order that lives, drawn by age; 0 where none is found near that age."""
    age = int(np.exp(np.random.random() * np.log(newest)))
    for reference in range(newest - age + 1, max(0, newest - age - 255), -1):
        if live[reference, 3]:
            return reference
    return 0


@njit(cache=True)
def _offset():  # type: ignore[no-untyped-def]
    """Ticks from the stock's price: four on average, one order in twenty far away."""
    mean = 4.0 if np.random.random() < 0.95 else 120.0
    return 1 + int(np.random.exponential(mean))


@njit(cache=True)
def _generate(out, at, count, stocks, lengths, kinds, edges, seed):  # type: ignore[no-untyped-def]
    np.random.seed(seed)
    live = np.zeros((count + 2, 4), dtype=np.int64)  # locate, side (0 bid), price, shares
    middle = 1_000_000 + (np.random.random(stocks.shape[0]) * 2e6).astype(np.int64) // 100 * 100
    newest, match = 0, 0
    for number in range(count):
        kind = _A if number < OPENING * count else kinds[np.searchsorted(edges, np.random.random(), "right")]
        chosen = 0
        if kind in (_D, _U, _E, _C, _X):
            for _ in range(6 if kind in (_E, _C) else 1):  # who is executed is the best of some
                found = _victim(live, newest)
                if found and (
                    chosen == 0
                    or abs(live[found, 2] - middle[live[found, 0] - 1])
                    < abs(live[chosen, 2] - middle[live[chosen, 0] - 1])
                ):
                    chosen = found
            if chosen == 0 or (kind in (_E, _C, _X) and live[chosen, 3] < 2):
                kind = _A
        if kind in (_D, _U, _E, _C, _X):
            locate, side, price, shares = live[chosen]
        else:
            locate = 1 + int(stocks.shape[0] * np.random.random() ** 2.5)
            side = int(np.random.random() < 0.5)
            shares = 100 * (1 + int(np.random.exponential(2.0)))
            price = middle[locate - 1] + (100 if side else -100) * _offset()
        at = _put(out, at, lengths[kind], 2)
        end = at + lengths[kind]
        out[at] = kind
        at = _put(out, at + 1, locate, 2)
        at = _put(out, at, 0, 2)
        at = _put(out, at, _DAY_OPEN_NS + _DAY_NS // count * number, 6)
        if kind in (_A, _F, _P):
            reference = 0
            if kind != _P:
                newest += 1
                reference = newest
                live[newest] = (locate, side, price, shares)
            at = _put(out, at, reference, 8)
            at = _put(out, at, 83 if side else 66, 1)
            at = _put(out, at, shares, 4)
            out[at : at + 8] = stocks[locate - 1]
            at = _put(out, at + 8, price, 4)
            if kind == _P:
                match += 1
                at = _put(out, at, match, 8)
            elif kind == _F:
                at = _put(out, at, 0x544C4D4D, 4)  # TLMM
        elif kind == _I:
            at = _put(out, at, shares, 8)
            at = _put(out, at, shares, 8)
            at = _put(out, at, 66, 1)
            out[at : at + 8] = stocks[locate - 1]
            at += 8
            for _ in range(3):
                at = _put(out, at, price, 4)
            at = _put(out, at, 0x434C, 2)  # closing cross, C; price variation below 1 %, L
        else:
            at = _put(out, at, chosen, 8)
            if kind == _D:
                live[chosen, 3] = 0
            elif kind == _U:
                live[chosen, 3] = 0
                newest += 1
                price = middle[locate - 1] + (100 if side else -100) * _offset()
                live[newest] = (locate, side, price, shares)
                at = _put(out, at, newest, 8)
                at = _put(out, at, shares, 4)
                at = _put(out, at, price, 4)
            else:
                whole = kind != _X and np.random.random() < 0.2
                some = shares if whole else 1 + int(np.random.random() * (shares - 1))
                live[chosen, 3] -= some
                at = _put(out, at, some, 4)
                if kind != _X:
                    match += 1
                    at = _put(out, at, match, 8)
                    if kind == _C:
                        at = _put(out, at, 89, 1)
                        at = _put(out, at, price, 4)
        at = end
    return at
