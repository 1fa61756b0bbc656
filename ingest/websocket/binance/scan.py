"""A batch of captured messages in, columns of checked numbers out: the fast reading of the wire.

One pass over the bytes, compiled, that takes exactly the shape in which Binance sends: compact JSON, no
escapes, plain decimals. Whatever differs in any way (a blank, an unknown stream, a missing field, a number
near the limit) is left UNREAD for :class:`~.messages.LineReader`, so this module never decides that
something is wrong. General JSON parsing spends most of its time on objects and texts that nobody keeps:
a depth update has some 60 levels of two decimals each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.websocket.binance.messages import Kind, Line, LineReader, Market
from ingest.websocket.numbers import ID_MAX, MS_MAX
from ingest.websocket.tokens import COMMA, FALSE, QUOTE, TRUE, decimal, integer, levels, padded, same, skip
from tickloom.clock import NS_PER_MS
from tickloom.events import Side
from tickloom.prices import NO_PRICE
from tickloom.unowned import unowned

# columns of a scanned message
KIND, INSTRUMENT, FIRST_ID, FINAL_ID, PREVIOUS_ID, TS_EVENT, SOLD = 0, 1, 2, 3, 4, 5, 6
VALUE = 7  # 7 to 10: bid price and size, ask price and size; or price and size of a trade
LEVEL_LOW, LEVEL_HIGH = 11, 12
COLUMNS = 13

_UNREAD, _DEPTH, _TICKER, _TRADE = int(Kind.UNREAD), int(Kind.DEPTH), int(Kind.TICKER), int(Kind.TRADE)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_NO_PRICE = int(NO_PRICE)
_LEVEL_BYTES_MIN = 8  # ["1","0"] and its comma have ten

_HEAD = np.frombuffer(b'{"stream":"', dtype=np.uint8)
_MIDDLE = np.frombuffer(b'","data":{', dtype=np.uint8)
_DEPTH_NAME = np.frombuffer(b"depth", dtype=np.uint8)
_TICKER_NAME = np.frombuffer(b"bookTicker", dtype=np.uint8)
_TRADE_NAME = np.frombuffer(b"trade", dtype=np.uint8)
_DEPTH_EVENT = np.frombuffer(b'"depthUpdate"', dtype=np.uint8)
_TICKER_EVENT = np.frombuffer(b'"bookTicker"', dtype=np.uint8)
_TRADE_EVENT = np.frombuffer(b'"trade"', dtype=np.uint8)
_MARKET_ORIGIN = np.frombuffer(b'"MARKET"', dtype=np.uint8)

_COLON, _AT, _END = ord(":"), ord("@"), ord("}")

# a bit for each field that was seen
_S, _E, _T, _FIRST, _FINAL, _PU, _B, _A, _B_SIZE, _A_SIZE, _P, _Q, _M = (1 << bit for bit in range(13))
_DEPTH_NEEDS = _S | _E | _FIRST | _FINAL | _B | _A
_TICKER_NEEDS = _S | _FINAL | _B | _A | _B_SIZE | _A_SIZE
_TRADE_NEEDS = _S | _E | _T | _FINAL | _P | _Q | _M


@dataclass(slots=True)
class Scanned:
    """A batch of messages as numbers.

    Attributes
    ----------
    rows : int64, shape (messages, COLUMNS)
        One row a record of the capture; kind UNREAD where the record is none of the wire.
    level_price, level_size : int64
        Levels of all depth updates; a row's are LEVEL_LOW to, not including, LEVEL_HIGH. Nanos.
    level_side : int8
        BUY for bids, SELL for asks.
    levels : int
        How many levels there are.
    """

    rows: NDArray[np.int64]
    level_price: NDArray[np.int64]
    level_size: NDArray[np.int64]
    level_side: NDArray[np.int8]
    levels: int = 0


class Scanner:
    """Reads batches of one market; ``symbols`` are the venue's names, in the order of the session."""

    def __init__(self, market: Market, symbols: list[str]) -> None:
        self._usdm = market == "usdm"
        self._reader = LineReader(market, symbols)
        names = [symbol.lower().encode() for symbol in symbols]
        self._names = np.frombuffer(b"".join(names) or b"\0", dtype=np.uint8)
        self._name_offsets = np.zeros(len(names) + 1, dtype=np.int64)
        np.cumsum([len(name) for name in names], out=self._name_offsets[1:])

    def scan(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], wanted: NDArray[np.bool_]
    ) -> tuple[Scanned, dict[int, Line]]:
        """Read the records for which ``wanted`` is true.

        Returns
        -------
        Scanned
            All of them.
        dict of int to Line
            What the reference reader said about the rows that it had to read, by row.
        """
        room = data.size // _LEVEL_BYTES_MIN + 1
        scanned = Scanned(
            np.zeros((len(wanted), COLUMNS), dtype=np.int64),
            np.empty(room, dtype=np.int64),
            np.empty(room, dtype=np.int64),
            np.empty(room, dtype=np.int8),
        )
        used = _scan(
            padded(data),
            offsets,
            wanted,
            self._usdm,
            self._names,
            self._name_offsets,
            scanned.rows,
            scanned.level_price,
            scanned.level_size,
            scanned.level_side,
        )
        slow: dict[int, Line] = {}
        unread = wanted & (scanned.rows[:, KIND] == _UNREAD)
        for row in np.flatnonzero(unread).tolist() if unread.any() else ():
            line = self._reader.read(data[offsets[row] : offsets[row + 1]].tobytes())
            used = put_line(scanned, row, line, used)
            slow[row] = line
        scanned.levels = used
        return scanned, slow


def put_line(scanned: Scanned, row: int, line: Line, used: int) -> int:
    """Write what the reference reader made of a message into its row; the levels in use after it."""
    cells = scanned.rows[row]
    cells[:VALUE] = (
        line.kind,
        line.instrument,
        line.first_id,
        line.final_id,
        line.previous_id,
        line.ts_event,
        line.sold,
    )
    cells[VALUE : VALUE + len(line.values)] = line.values
    cells[LEVEL_LOW] = used
    for side, pairs in ((Side.BUY, line.bids), (Side.SELL, line.asks)):
        for price, size in pairs:
            scanned.level_price[used], scanned.level_size[used] = price, size
            scanned.level_side[used] = side
            used += 1
    cells[LEVEL_HIGH] = used
    return used


@njit(cache=True, nogil=True, forceinline=True)
def _stream(data, pos, end, names, name_offsets):  # type: ignore[no-untyped-def]
    """Stream name up to its closing quote: (kind, instrument, position of the quote); kind 0: leave it."""
    start = pos
    while pos < end and data[pos] != _AT and data[pos] != QUOTE:
        pos += 1
    if pos >= end or data[pos] != _AT:
        return 0, -1, pos
    instrument = -1
    for candidate in range(name_offsets.size - 1):
        name = names[name_offsets[candidate] : name_offsets[candidate + 1]]
        if name.size == pos - start and same(data, start, end, name):
            instrument = candidate
            break
    if instrument < 0:
        return 0, -1, pos
    pos += 1
    start = pos
    while pos < end and data[pos] != _AT and data[pos] != QUOTE:
        pos += 1
    length = pos - start
    kind = 0
    if length == 5 and same(data, start, end, _DEPTH_NAME):
        kind = _DEPTH
    elif length == 10 and same(data, start, end, _TICKER_NAME):
        kind = _TICKER
    elif length == 5 and same(data, start, end, _TRADE_NAME):
        kind = _TRADE
    while pos < end and data[pos] != QUOTE:  # the speed, as in @100ms
        if data[pos] < 32 or data[pos] > 126 or data[pos] == 92:
            return 0, -1, pos
        pos += 1
    return kind, instrument, pos


@njit(cache=True, nogil=True, forceinline=True)
def _symbol(data, pos, end, name):  # type: ignore[no-untyped-def]
    """Behind the quoted symbol if it is ``name`` in capitals; -1: leave it."""
    if pos + name.size + 2 > end or data[pos] != QUOTE or data[pos + 1 + name.size] != QUOTE:
        return -1
    for i in range(name.size):
        byte = data[pos + 1 + i]
        if 65 <= byte <= 90:
            byte += 32
        if byte != name[i]:
            return -1
    return pos + name.size + 2


@njit(cache=True, nogil=True, forceinline=True)
def _field(data, pos, end, kind, key, row, name, used, price, size, sides):  # type: ignore[no-untyped-def]
    """One value of the message whose one-letter key is ``key``: (field bit, position, levels in use)."""
    if key == 115:  # s
        return _S, _symbol(data, pos, end, name), used
    if key == 69 or key == 84:  # E, T
        value, pos = integer(data, pos, end)
        if pos < 0 or value < 1 or value > MS_MAX:
            return 0, -1, used
        if key == 84 or row[TS_EVENT] == 0:
            row[TS_EVENT] = value * NS_PER_MS
        return (_T if key == 84 else _E), pos, used
    if key == 101:  # e
        event = _DEPTH_EVENT if kind == _DEPTH else (_TICKER_EVENT if kind == _TICKER else _TRADE_EVENT)
        return 0, (pos + event.size if same(data, pos, end, event) else -1), used
    if (key == 117 and kind != _TRADE) or (key == 116 and kind == _TRADE):  # u, t
        row[FINAL_ID], pos = integer(data, pos, end)
        return _FINAL, pos, used
    if kind == _DEPTH:
        if key == 85:  # U
            row[FIRST_ID], pos = integer(data, pos, end)
            return _FIRST, pos, used
        if key == 98:  # b
            pos, used = levels(data, pos, end, _BUY, used, price, size, sides)
            return _B, pos, used
        if key == 97:  # a
            pos, used = levels(data, pos, end, _SELL, used, price, size, sides)
            return _A, pos, used
    elif kind == _TICKER:
        if key == 98:
            row[VALUE], pos = decimal(data, pos, end)
            return _B, pos, used
        if key == 66:  # B
            row[VALUE + 1], pos = decimal(data, pos, end)
            return _B_SIZE, pos, used
        if key == 97:
            row[VALUE + 2], pos = decimal(data, pos, end)
            return _A, pos, used
        if key == 65:  # A
            row[VALUE + 3], pos = decimal(data, pos, end)
            return _A_SIZE, pos, used
    elif key == 112:  # p
        row[VALUE], pos = decimal(data, pos, end)
        return _P, pos, used
    elif key == 113:  # q
        row[VALUE + 1], pos = decimal(data, pos, end)
        return _Q, pos, used
    elif key == 109:  # m
        if same(data, pos, end, TRUE):
            row[SOLD] = 1
            return _M, pos + 4, used
        return _M, (pos + 5 if same(data, pos, end, FALSE) else -1), used
    elif key == 88:  # X
        return 0, (pos + _MARKET_ORIGIN.size if same(data, pos, end, _MARKET_ORIGIN) else -1), used
    return 0, skip(data, pos, end), used


@njit(cache=True, nogil=True, forceinline=True)
def _message(data, pos, end, usdm, names, name_offsets, row, used, price, size, sides):  # type: ignore[no-untyped-def]
    """One message into ``row``; levels in use after it, or -1: leave it to the reference reader."""
    if not same(data, pos, end, _HEAD):
        return -1
    kind, instrument, pos = _stream(data, pos + _HEAD.size, end, names, name_offsets)
    if kind == 0 or not same(data, pos, end, _MIDDLE):
        return -1
    pos += _MIDDLE.size
    name = names[name_offsets[instrument] : name_offsets[instrument + 1]]
    row[FIRST_ID] = row[FINAL_ID] = row[PREVIOUS_ID] = -1
    seen = 0
    while True:
        # "k": or "pu": or a longer key of no interest
        if pos + 4 >= end or data[pos] != QUOTE:
            return -1
        key = data[pos + 1]
        if key <= 32 or key > 126 or key == 92 or key == QUOTE:  # no key that JSON allows here
            return -1
        if data[pos + 2] == QUOTE and data[pos + 3] == _COLON:
            bit, pos, used = _field(data, pos + 4, end, kind, key, row, name, used, price, size, sides)
        elif kind == _DEPTH and key == 112 and data[pos + 2] == 117 and data[pos + 3] == QUOTE:
            if data[pos + 4] != _COLON:
                return -1
            bit = _PU
            row[PREVIOUS_ID], pos = integer(data, pos + 5, end)
        else:
            return -1
        if pos < 0 or pos >= end or seen & bit:
            return -1
        seen |= bit
        if data[pos] == _END:
            break
        if data[pos] != COMMA:
            return -1
        pos += 1
    if pos + 2 != end or data[pos + 1] != _END:
        return -1
    row[INSTRUMENT] = instrument
    return used if _complete(kind, usdm, seen, row) else -1


@njit(cache=True, nogil=True, forceinline=True)
def _complete(kind, usdm, seen, row):  # type: ignore[no-untyped-def]
    """Whether all is there and in range; sets the kind and what an empty side looks like."""
    if row[FINAL_ID] > ID_MAX or row[FIRST_ID] > ID_MAX or row[PREVIOUS_ID] > ID_MAX:
        return False
    if kind == _DEPTH:
        needs = _DEPTH_NEEDS | _PU | _T if usdm else _DEPTH_NEEDS
        if seen & needs != needs or row[FIRST_ID] > row[FINAL_ID]:
            return False
        if not usdm:
            row[PREVIOUS_ID] = -1
    elif kind == _TICKER:
        needs = _TICKER_NEEDS | _T if usdm else _TICKER_NEEDS
        if seen & needs != needs:
            return False
        for side in range(VALUE, VALUE + 4, 2):
            if row[side] == 0:
                row[side], row[side + 1] = _NO_PRICE, 0
    elif seen & _TRADE_NEEDS != _TRADE_NEEDS or row[VALUE] == 0 or row[VALUE + 1] == 0:
        return False
    row[KIND] = kind
    return True


@njit(cache=True, nogil=True)
def _scan(data, offsets, wanted, usdm, names, name_offsets, rows, price, size, sides):  # type: ignore[no-untyped-def]
    """All records into ``rows``; levels in use. A row that is left has nothing but zeros."""
    data, offsets, wanted = unowned(data), unowned(offsets), unowned(wanted)
    names, name_offsets, rows = unowned(names), unowned(name_offsets), unowned(rows)
    price, size, sides = unowned(price), unowned(size), unowned(sides)
    used = 0
    for record in range(wanted.size):
        if not wanted[record]:
            continue
        row = rows[record]
        after = _message(
            data,
            offsets[record],
            offsets[record + 1],
            usdm,
            names,
            name_offsets,
            row,
            used,
            price,
            size,
            sides,
        )
        if after < 0:
            row[:] = 0
            continue
        row[LEVEL_LOW], row[LEVEL_HIGH] = used, after
        used = after
    return used
