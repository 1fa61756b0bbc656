"""A batch of captured messages in, rows of checked numbers out: templates run over the bytes, compiled.

It takes exactly what a template says: compact JSON, no escapes, plain decimals. Whatever differs in any way is
left UNREAD for the typed reader, so nothing is decided to be wrong here. Numba's cache looks at a function's own
file only: who changes ``tokens`` also removes what was compiled of this module from ``__pycache__``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.websocket.message import (
    CHECKSUM,
    ENTRY_HIGH,
    ENTRY_LOW,
    FINAL_ID,
    HAS_CHECKSUM,
    INSTRUMENT,
    KIND,
    PREVIOUS_ID,
    PRICE_DECIMALS,
    SIZE_DECIMALS,
    TS_EVENT,
    TS_MAX,
    VALUE,
    Kind,
    Message,
    Reader,
    Scanned,
)
from ingest.websocket.template import ABSOLUTE, NEXT_ID, QUOTED, SIGNED, Op, Program
from ingest.websocket.tokens import CLOSE, COMMA, OPEN, POINT, QUOTE, integer, skip
from tickloom.clock import NS_PER_MS
from tickloom.events import Side
from tickloom.prices import NANOS, NO_PRICE

_ENTRY_BYTES_MIN = 8  # ["1","0"] and its comma have ten
_EXACT_MAX = 2**53
_TS_MIN, _TS_MAX = NS_PER_MS, TS_MAX

_LITERAL, _SYMBOL, _SAME, _INTEGER, _DECIMAL = (
    int(Op.LITERAL), int(Op.SYMBOL), int(Op.SAME), int(Op.INTEGER), int(Op.DECIMAL),
)  # fmt: skip
_PRICE, _SIZE, _TRADE_ID, _SIDE, _TIME = (
    int(Op.PRICE), int(Op.SIZE), int(Op.TRADE_ID), int(Op.SIDE), int(Op.TIME),
)  # fmt: skip
_TIME_S, _TIME_ISO, _SKIP_TEXT, _SKIP_ANY = (
    int(Op.TIME_S), int(Op.TIME_ISO), int(Op.SKIP_TEXT), int(Op.SKIP_ANY),
)  # fmt: skip
_EACH, _END, _ENTRY, _IF, _MATCHED = int(Op.EACH), int(Op.END), int(Op.ENTRY), int(Op.IF), int(Op.MATCHED)
_UNREAD, _SNAPSHOT, _UPDATE = int(Kind.UNREAD), int(Kind.SNAPSHOT), int(Kind.UPDATE)
_TICKER, _TRADES, _IGNORED = int(Kind.TICKER), int(Kind.TRADES), int(Kind.IGNORED)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_NO_PRICE = int(NO_PRICE)
_NO_COLUMN = -1
_DAY_S = 86_400


class Scanner:
    """Reads batches of one venue.

    Parameters
    ----------
    program : Program
        The usual shapes.
    reader : Reader
        Takes what has none of them.
    symbols : sequence of str
        The venue's names, in the order of the session.
    """

    def __init__(self, program: Program, reader: Reader, symbols: Sequence[str]) -> None:
        self._program, self._reader = program, reader
        names = [symbol.encode() for symbol in symbols]
        self._names = np.frombuffer(bytearray(b"".join(names) or b"\0"), dtype=np.uint8)
        self._offsets = np.zeros(len(names) + 1, dtype=np.int64)
        np.cumsum([len(name) for name in names], out=self._offsets[1:])
        size = 8
        while size < 4 * len(names):
            size *= 2
        self._table = np.full(size, -1, dtype=np.int64)
        for index, name in enumerate(names):
            slot = _hash(np.frombuffer(bytearray(name), dtype=np.uint8), 0, len(name)) & (size - 1)
            while self._table[slot] >= 0:
                slot = (slot + 1) & (size - 1)
            self._table[slot] = index

    def scan(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], wanted: NDArray[np.bool_]
    ) -> tuple[Scanned, dict[int, Message]]:
        """Read the records for which ``wanted`` is true: all of them, and what the typed reader said, by row."""
        scanned = Scanned.room_for(len(wanted), data.size // _ENTRY_BYTES_MIN + 1)
        program = self._program
        scanned.entries = _scan(
            data, offsets, wanted, program.ops, program.pool, program.starts, program.kinds,
            self._names, self._offsets, self._table,
            scanned.rows, scanned.price, scanned.size, scanned.side, scanned.ts, scanned.trade_id,
        )  # fmt: skip
        slow: dict[int, Message] = {}
        unread = wanted & (scanned.rows[:, KIND] == _UNREAD)
        for row in np.flatnonzero(unread).tolist() if unread.any() else ():
            message = self._reader.read(data[offsets[row] : offsets[row + 1]].tobytes())
            scanned.put(row, message)
            slow[row] = message
        return scanned, slow


@njit(cache=True, nogil=True)
def _hash(data, pos, end):  # type: ignore[no-untyped-def]
    """FNV-1a, 32 bits."""
    value = np.int64(2166136261)
    for i in range(pos, end):
        value = ((value ^ np.int64(data[i])) * 16777619) & 0xFFFFFFFF
    return value


@njit(cache=True, nogil=True)
def _instrument(data, pos, end, names, offsets, table):  # type: ignore[no-untyped-def]
    """Index of the name at ``pos`` to ``end``, or -1."""
    slot = _hash(data, pos, end) & (table.size - 1)
    while table[slot] >= 0:
        at = offsets[table[slot]]
        if offsets[table[slot] + 1] - at == end - pos:
            found = True
            for i in range(end - pos):
                if names[at + i] != data[pos + i]:
                    found = False
                    break
            if found:
                return table[slot]
        slot = (slot + 1) & (table.size - 1)
    return -1


@njit(cache=True, nogil=True)
def _number(data, pos, end):  # type: ignore[no-untyped-def]
    """A plain decimal without quotes as nanos: (value, digits behind the point, position); -1: not one."""
    start = pos
    value = np.int64(0)
    while pos < end and 48 <= data[pos] <= 57:
        value = value * 10 + np.int64(data[pos] - 48)
        pos += 1
        if pos - start > 7:
            return np.int64(0), 0, -1
    if pos == start or (data[start] == 48 and pos - start > 1):
        return np.int64(0), 0, -1
    decimals = 0
    if pos < end and data[pos] == POINT:
        pos += 1
        while pos < end and 48 <= data[pos] <= 57:
            digit = np.int64(data[pos] - 48)
            if decimals < 9:
                value = value * 10 + digit
            elif digit != 0:
                return np.int64(0), 0, -1
            decimals += 1
            pos += 1
        if decimals == 0:
            return np.int64(0), 0, -1
    for _ in range(decimals, 9):
        value *= 10
    if value > _EXACT_MAX or np.int64(np.rint(np.float64(value) / NANOS * NANOS)) != value:
        return np.int64(0), 0, -1
    return value, decimals, pos


@njit(cache=True, nogil=True)
def _seconds(data, pos, end):  # type: ignore[no-untyped-def]
    """Decimal seconds, ten digits and at most nine behind the point, as ns: (value, position)."""
    value, after = integer(data, pos, end)
    if after - pos != 10:
        return np.int64(0), -1
    pos, digits = after, 0
    if pos < end and data[pos] == POINT:
        pos += 1
        while pos < end and 48 <= data[pos] <= 57 and digits < 9:
            value = value * 10 + np.int64(data[pos] - 48)
            pos += 1
            digits += 1
        if digits == 0:
            return np.int64(0), -1
    for _ in range(digits, 9):
        value *= 10
    return value, pos


@njit(cache=True, nogil=True)
def _digits(data, pos, count):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for i in range(pos, pos + count):
        if data[i] < 48 or data[i] > 57:
            return np.int64(-1)
        value = value * 10 + np.int64(data[i] - 48)
    return value


@njit(cache=True, nogil=True)
def _iso(data, pos, end):  # type: ignore[no-untyped-def]
    """``2021-04-17T16:43:37.075687Z`` as ns: (value, position behind the Z)."""
    if pos + 20 > end or data[pos + 4] != 45 or data[pos + 7] != 45 or data[pos + 10] != 84:
        return np.int64(0), -1
    if data[pos + 13] != 58 or data[pos + 16] != 58:
        return np.int64(0), -1
    year, month, day = _digits(data, pos, 4), _digits(data, pos + 5, 2), _digits(data, pos + 8, 2)
    hour, minute, second = _digits(data, pos + 11, 2), _digits(data, pos + 14, 2), _digits(data, pos + 17, 2)
    if year < 1970 or month < 1 or month > 12 or day < 1 or day > 28 and day > _month_days(year, month):
        return np.int64(0), -1
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return np.int64(0), -1
    # days from the civil date (proleptic Gregorian), with March as the first month
    shifted = year - (1 if month <= 2 else 0)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    value = days * _DAY_S + hour * 3_600 + minute * 60 + second
    pos += 19
    digits = 0
    if data[pos] == POINT:
        pos += 1
        while pos < end and 48 <= data[pos] <= 57 and digits < 9:
            value = value * 10 + np.int64(data[pos] - 48)
            pos += 1
            digits += 1
        if digits == 0:
            return np.int64(0), -1
    for _ in range(digits, 9):
        value *= 10
    if pos >= end or data[pos] != 90:
        return np.int64(0), -1
    return value, pos + 1


@njit(cache=True, nogil=True)
def _month_days(year, month):  # type: ignore[no-untyped-def]
    if month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return 29 if leap else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@njit(cache=True, nogil=True)
def _text_end(data, pos, end):  # type: ignore[no-untyped-def]
    """Where the closing quote of a text without escapes stands; -1: leave it."""
    while pos < end and data[pos] != QUOTE:
        if data[pos] < 32 or data[pos] > 126 or data[pos] == 92:
            return -1
        pos += 1
    return pos if pos < end else -1


@njit(cache=True, nogil=True)
def _side(data, pos, end):  # type: ignore[no-untyped-def]
    """Side spelt b, s, buy, sell, Buy or Sell, up to a quote: (side, position of the quote); -1: neither."""
    stop = _text_end(data, pos, end)
    if stop < 0:
        return 0, -1
    length, first = stop - pos, data[pos]
    if length == 1 and first == 98:
        return _BUY, stop
    if length == 1 and first == 115:
        return _SELL, stop
    if length == 3 and (first | 32) == 98 and data[pos + 1] == 117 and data[pos + 2] == 121:
        return _BUY, stop
    if length == 4 and (first | 32) == 115 and data[pos + 1] == 101 and data[pos + 2] == 108:
        return _SELL, stop if data[pos + 3] == 108 else -1
    return 0, -1


@njit(cache=True, nogil=True)
def _signed(data, pos, end, flags):  # type: ignore[no-untyped-def]
    """An integer: (value, position behind)."""
    if flags & SIGNED and pos < end and data[pos] == 45:
        value, pos = integer(data, pos + 1, end)
        return -value, pos
    return integer(data, pos, end)


@njit(cache=True, nogil=True)
def _literal(data, pos, end, pool, at, length):  # type: ignore[no-untyped-def]
    if pos + length > end:
        return -1
    for i in range(length):
        if data[pos + i] != pool[at + i]:
            return -1
    return pos + length


@njit(cache=True, nogil=True)
def _match(  # type: ignore[no-untyped-def]  # noqa: C901, PLR0912, PLR0915  one switch: a call an op would double its cost
    data, pos, end, ops, pool, op, names, name_offsets, table, row, used, price, size, side, ts, trade_id
):  # fmt: skip
    """Run one template over a message: entries in use after it, or -1: it does not fit."""
    row[INSTRUMENT] = row[FINAL_ID] = row[PREVIOUS_ID] = -1
    symbol_at = symbol_end = 0
    default_side, entry_side = 0, 0
    entry_price, entry_size, entry_ts, entry_id = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while True:
        code, first, second = ops[op, 0], ops[op, 1], ops[op, 2]
        op += 1
        if code == _LITERAL:
            pos = _literal(data, pos, end, pool, first, second)
        elif code == _IF:
            after = _literal(data, pos, end, pool, ops[op, 1], ops[op, 2])
            if after < 0:
                op = first
            else:
                op += 1
                pos = after
        elif code == _EACH:
            if pos + 1 >= end or data[pos] != OPEN:
                return -1
            pos += 1
            default_side = entry_side = second
            entry_price, entry_size, entry_ts, entry_id = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
            if data[pos] == CLOSE:
                pos += 1
                op = first
        elif code == _END or code == _ENTRY:
            price[used], size[used], side[used] = entry_price, entry_size, entry_side
            ts[used], trade_id[used] = entry_ts, entry_id
            used += 1
            if code == _END:
                entry_price, entry_size, entry_ts, entry_id = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
                entry_side = default_side
                if pos >= end:
                    return -1
                if data[pos] == COMMA:
                    op = first
                elif data[pos] != CLOSE:
                    return -1
                pos += 1
        elif code == _SYMBOL:
            symbol_at, symbol_end = pos, _text_end(data, pos, end)
            if symbol_end < 0:
                return -1
            row[INSTRUMENT] = _instrument(data, pos, symbol_end, names, name_offsets, table)
            if row[INSTRUMENT] < 0:
                return -1
            pos = symbol_end
        elif code == _SAME:
            length = symbol_end - symbol_at
            pos = _literal(data, pos, end, data, symbol_at, length)
            if pos < 0 or pos >= end or data[pos] != QUOTE:
                return -1
        elif code == _SKIP_TEXT:
            pos = _text_end(data, pos, end)
        elif code == _SKIP_ANY:
            pos = skip(data, pos, end)
        elif code == _SIDE:
            entry_side, pos = _side(data, pos, end)
            if first:
                entry_side = _BUY + _SELL - entry_side
        elif code == _MATCHED:
            return used if pos == end else -1
        else:  # a number, that may be quoted
            quoted = (second & QUOTED) != 0 and pos < end and data[pos] == QUOTE
            if quoted:
                pos += 1
            if code == _PRICE:
                entry_price, row[PRICE_DECIMALS], pos = _number(data, pos, end)
            elif code == _SIZE:
                entry_size, row[SIZE_DECIMALS], pos = _number(data, pos, end)
            elif code == _DECIMAL:
                row[first], _, pos = _number(data, pos, end)
            elif code == _INTEGER:
                value, pos = _signed(data, pos, end, second)
                if first == NEXT_ID:
                    row[FINAL_ID], row[PREVIOUS_ID] = value, value - 1
                elif first != _NO_COLUMN:
                    row[first] = value
                    if first == CHECKSUM:
                        row[HAS_CHECKSUM] = 1
            elif code == _TRADE_ID:
                entry_id, pos = integer(data, pos, end)
            else:
                if code == _TIME:
                    entry_ts, pos = integer(data, pos, end)
                    if entry_ts > _TS_MAX // first:
                        return -1
                    entry_ts *= first
                elif code == _TIME_S:
                    entry_ts, pos = _seconds(data, pos, end)
                else:
                    entry_ts, pos = _iso(data, pos, end)
                if entry_ts < _TS_MIN or entry_ts > _TS_MAX:
                    return -1
                if entry_ts > row[TS_EVENT] or (code == _TIME and second & ABSOLUTE):
                    row[TS_EVENT] = entry_ts
            if quoted:
                if pos < 0 or pos >= end or data[pos] != QUOTE:
                    return -1
                pos += 1
        if pos < 0:
            return -1


@njit(cache=True, nogil=True)
def _complete(kind, row, low, high, price, size):  # type: ignore[no-untyped-def]
    """Whether all is in range; sets what an empty side of a ticker looks like."""
    if kind == _TICKER:
        for column in range(VALUE, VALUE + 4, 2):
            if row[column] == 0:
                row[column], row[column + 1] = _NO_PRICE, 0
    elif kind != _IGNORED:
        for i in range(low, high):
            if price[i] == 0 or (kind == _TRADES and size[i] == 0):
                return False
        if row[HAS_CHECKSUM]:
            if row[CHECKSUM] < -(1 << 31) or row[CHECKSUM] >= 1 << 32:
                return False
            row[CHECKSUM] &= 0xFFFFFFFF
    return True


@njit(cache=True, nogil=True)
def _scan(  # type: ignore[no-untyped-def]
    data, offsets, wanted, ops, pool, starts, kinds, names, name_offsets, table,
    rows, price, size, side, ts, trade_id
):  # fmt: skip
    """All records into ``rows``; entries in use. A row that is left has nothing but zeros."""
    used = 0
    for record in range(wanted.size):
        if not wanted[record]:
            continue
        row = rows[record]
        for template in range(starts.size):
            after = _match(
                data, offsets[record], offsets[record + 1], ops, pool, starts[template],
                names, name_offsets, table, row, used, price, size, side, ts, trade_id,
            )  # fmt: skip
            if after >= 0 and _complete(kinds[template], row, used, after, price, size):
                row[KIND], row[ENTRY_LOW], row[ENTRY_HIGH] = kinds[template], used, after
                used = after
                break
            row[:] = 0
    return used
