"""A batch of captured messages in, rows of checked numbers out: templates run over the bytes, compiled.

It takes exactly what a template says: compact JSON, no escapes, plain decimals. Whatever differs in any way
is left UNREAD for the typed reader, so nothing is decided to be wrong here. Numba's cache looks at a
function's own file only: who changes ``tokens`` or ``values`` also removes what was compiled of this module
from ``__pycache__``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    LEFT_OUT,
    PREVIOUS_ID,
    PRICE_DECIMALS,
    SIZE_DECIMALS,
    TS_EVENT,
    VALUE,
    Kind,
    Message,
    Reader,
    Scanned,
)
from ingest.websocket.numbers import BEYOND
from ingest.websocket.template import ABSOLUTE, NEXT_ID, QUOTED, Op, Program
from ingest.websocket.tokens import CLOSE, COMMA, OPEN, QUOTE, integer, padded, skip, text_end
from ingest.websocket.values import decimal_end, literal, number, side_text, signed, time_value
from tickloom.events import Side
from tickloom.prices import NO_PRICE
from tickloom.unowned import unowned

_ENTRY_BYTES_MIN = 8  # ["1","0"] and its comma have ten

_LITERAL, _SYMBOL, _SAME, _SIDE, _EACH = (
    int(Op.LITERAL), int(Op.SYMBOL), int(Op.SAME), int(Op.SIDE), int(Op.EACH),
)  # fmt: skip
_END, _ENTRY, _IF, _SKIP_TEXT, _SKIP_ANY = (
    int(Op.END), int(Op.ENTRY), int(Op.IF), int(Op.SKIP_TEXT), int(Op.SKIP_ANY),
)  # fmt: skip
_INTEGER, _PRICE, _SIZE, _TRADE_ID, _TIME = (
    int(Op.INTEGER), int(Op.PRICE), int(Op.SIZE), int(Op.TRADE_ID), int(Op.TIME),
)  # fmt: skip
_FIRST_NUMBER, _SKIP_DECIMAL = int(Op.DECIMAL), int(Op.SKIP_DECIMAL)
_UNREAD, _TICKER, _TRADES, _IGNORED = (
    int(Kind.UNREAD), int(Kind.TICKER), int(Kind.TRADES), int(Kind.IGNORED),
)  # fmt: skip
_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_NO_PRICE = int(NO_PRICE)
_NO_COLUMN = -1


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
    aliases : mapping, optional
        Names that the venue has for them elsewhere, each with the position of its instrument.
    """

    def __init__(
        self,
        program: Program,
        reader: Reader,
        symbols: Sequence[str],
        aliases: Mapping[str, int] | None = None,
    ) -> None:
        self._program, self._reader = program, reader
        others = aliases or {}
        self._instruments = np.array([*range(len(symbols)), *others.values()], dtype=np.int64)
        self._has_aliases = bool(others)
        names = [symbol.encode() for symbol in (*symbols, *others)]
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
        """Read the records for which ``wanted`` is true: all, and what the typed reader said, by row."""
        scanned = Scanned.room_for(len(wanted), data.size // _ENTRY_BYTES_MIN + 1)
        program = self._program
        scanned.entries = _scan(
            padded(data), offsets, wanted, program.ops, program.pool, program.starts, program.kinds,
            self._names, self._offsets, self._table,
            scanned.rows, scanned.price, scanned.size, scanned.side, scanned.ts, scanned.trade_id,
        )  # fmt: skip
        if self._has_aliases:
            found = scanned.rows[:, INSTRUMENT]
            found[:] = np.where(found >= 0, self._instruments[found], -1)
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
def _repeated(data, pos, end, low, high):  # type: ignore[no-untyped-def]
    """Behind the text from ``low`` to ``high`` that comes again at ``pos``, before a quote; -1: others."""
    behind = pos + high - low
    if behind >= end or data[behind] != QUOTE:
        return -1
    for i in range(high - low):
        if data[pos + i] != data[low + i]:
            return -1
    return behind


@njit(cache=True, nogil=True)
def _put_integer(rows, record, column, value):  # type: ignore[no-untyped-def]
    if column == NEXT_ID:
        rows[record, FINAL_ID], rows[record, PREVIOUS_ID] = value, value - 1
    elif column != _NO_COLUMN:
        rows[record, column] = value
        if column == CHECKSUM:
            rows[record, HAS_CHECKSUM] = value != 0  # 0: OKX has none any more


@njit(cache=True, nogil=True)
def _complete(kind, row, low, high, price, size):  # type: ignore[no-untyped-def]
    """Whether all is in range; sets what an empty side of a ticker looks like."""
    if kind != _IGNORED and row[INSTRUMENT] < 0:  # it stands in an array without an element
        return False
    if kind == _TICKER:
        for column in range(VALUE, VALUE + 4, 2):
            if row[column] == 0:
                row[column], row[column + 1] = _NO_PRICE, 0
    elif kind != _IGNORED:
        if kind == _TRADES:
            row[PRICE_DECIMALS] = row[SIZE_DECIMALS] = 0
            if row[LEFT_OUT]:
                return False
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
    """All records into ``rows``; entries in use. A row that is left has nothing but zeros.

    The loop over records, the one over templates and the switch over ops are one function, because Numba
    counts references of every array at a call: a call a template cost 360 ns, more than all that it did.
    """
    data, offsets, wanted = unowned(data), unowned(offsets), unowned(wanted)
    ops, pool, starts, kinds = unowned(ops), unowned(pool), unowned(starts), unowned(kinds)
    names, name_offsets, table = unowned(names), unowned(name_offsets), unowned(table)
    rows, price, size, side = unowned(rows), unowned(price), unowned(size), unowned(side)
    ts, trade_id = unowned(ts), unowned(trade_id)
    used = 0
    for record in range(wanted.size):
        if not wanted[record]:
            continue
        end = offsets[record + 1]
        for template in range(starts.size):
            op, pos, after = starts[template], offsets[record], used
            if ops[op, 0] == _LITERAL and literal(data, pos, end, pool, ops[op, 3], ops[op, 4]) < 0:
                continue
            rows[record, INSTRUMENT] = rows[record, FINAL_ID] = rows[record, PREVIOUS_ID] = -1
            symbol_at = symbol_end = default_side = entry_side = np.int64(0)
            entry_price = entry_size = entry_ts = entry_id = np.int64(0)
            while pos >= 0:
                code, first, second = ops[op, 0], ops[op, 1], ops[op, 2]
                text_at, text_size = ops[op, 3], ops[op, 4]
                op += 1
                if code >= _FIRST_NUMBER:  # a number, that may be quoted
                    quoted = (second & QUOTED) != 0 and pos < end and data[pos] == QUOTE
                    pos += quoted
                    if code <= _SIZE:
                        value, places, pos = number(data, pos, end)
                        if code == _PRICE:
                            entry_price, rows[record, PRICE_DECIMALS] = value, places
                        elif value == BEYOND:
                            pos = -1
                        elif code == _SIZE:
                            entry_size, rows[record, SIZE_DECIMALS] = value, places
                        else:
                            rows[record, first] = value
                    elif code == _INTEGER:
                        value, pos = signed(data, pos, end, second)
                        _put_integer(rows, record, first, value)
                    elif code == _TRADE_ID:
                        entry_id, pos = integer(data, pos, end)
                    elif code == _SKIP_DECIMAL:
                        pos = decimal_end(data, pos, end)
                    else:
                        entry_ts, pos = time_value(code, first, data, pos, end)
                        if entry_ts > rows[record, TS_EVENT] or (code == _TIME and second & ABSOLUTE):
                            rows[record, TS_EVENT] = entry_ts
                    if quoted and pos >= 0:
                        pos = pos + 1 if pos < end and data[pos] == QUOTE else -1
                elif code == _SKIP_TEXT:
                    pos = text_end(data, pos, end)
                elif code == _END or code == _ENTRY:  # noqa: SIM109  a tuple is slower here
                    if entry_price == BEYOND:
                        rows[record, LEFT_OUT] += 1
                    else:
                        price[after], size[after], side[after] = entry_price, entry_size, entry_side
                        ts[after], trade_id[after] = entry_ts, entry_id
                        after += 1
                    if code == _END:
                        entry_price = entry_size = entry_ts = entry_id = np.int64(0)
                        entry_side = default_side
                        if pos < end and data[pos] == COMMA:
                            pos, op = pos + 1, first
                        else:
                            pos = pos + 1 if pos < end and data[pos] == CLOSE else -1
                elif code == _SYMBOL:
                    symbol_at, symbol_end = pos, text_end(data, pos, end)
                    pos = symbol_end
                    if pos >= 0:
                        which = _instrument(data, symbol_at, symbol_end, names, name_offsets, table)
                        if which < 0 or (rows[record, INSTRUMENT] >= 0 and rows[record, INSTRUMENT] != which):
                            pos = -1
                        rows[record, INSTRUMENT] = which
                elif code == _SAME:
                    pos = _repeated(data, pos, end, symbol_at, symbol_end)
                elif code == _IF:
                    if literal(data, pos, end, pool, text_at, text_size) < 0:
                        op, text_size = first, 0
                elif code == _EACH:
                    default_side = entry_side = second
                    entry_price = entry_size = entry_ts = entry_id = np.int64(0)
                    if pos + 1 >= end or data[pos] != OPEN:
                        pos = -1
                    elif data[pos + 1] == CLOSE:
                        pos, op = pos + 2, first
                    else:
                        pos += 1
                elif code == _SIDE:
                    entry_side, pos = side_text(data, pos, end)
                    entry_side = _BUY + _SELL - entry_side if first else entry_side
                elif code == _SKIP_ANY:
                    pos = skip(data, pos, end)
                elif code != _LITERAL:
                    break
                if text_size > 0 and pos >= 0:
                    pos = literal(data, pos, end, pool, text_at, text_size)
            kind = kinds[template]
            if pos == end and _complete(kind, rows[record], used, after, price, size):
                rows[record, KIND], rows[record, ENTRY_LOW], rows[record, ENTRY_HIGH] = kind, used, after
                used = after
                break
            rows[record, :] = 0
    return used
