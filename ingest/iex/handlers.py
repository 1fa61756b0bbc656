"""One DEEP or TOPS message in, its events and its change of the book out: the compiled handlers.

What each message makes is said in :mod:`ingest.iex`. A handler returns False where a field has no sense; the
kernel then makes a gap event, because what the message said is missing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.iex import state as st
from ingest.iex.messages import EVENT_COMPLETE, LAYOUTS, PRICE_UNITS, SINGLE_PRICE_CROSS
from ingest.levels import best, set_level
from tickloom.events import Condition, GapReason, Side, StatusCode
from tickloom.prices import NO_PRICE

SHARE_NANOS = 10**9
PRICE_NANOS = 10**9 // PRICE_UNITS
PRICE_MAX = 2**22 * PRICE_UNITS  # 4,194,304: below, all that IEX can say survives as a double
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Message(NamedTuple):
    """Where a message stands: bytes, their start, its type, and what all its events carry."""

    data: NDArray[np.uint8]
    at: int
    kind: int
    ts_event: int
    ts_recv: int
    seq: int
    number: int


def _at(letter: str, field: str) -> int:
    return LAYOUTS[letter].offsets[field]


_CODE = 1  # the byte behind the type: flags, status or event
SYMBOL_AT = _at("T", "symbol")  # the same place in all that have one
_SIZE, _PRICE, _TRADE_ID = (_at("T", name) for name in ("size", "price", "trade_id"))  # also in 8 5 B
_BID_SIZE, _BID, _ASK, _ASK_SIZE = (_at("Q", n) for n in ("bid_size", "bid_price", "ask_price", "ask_size"))
_REASON, _DETAIL, _OFFICIAL = _at("H", "reason"), _at("P", "detail"), _at("X", "price")

_T_S, _T_H, _T_O, _T_P, _T_E, _T_I, _T_X, _T_T, _T_8 = (ord(letter) for letter in "SHOPEIXT8")
_BUY, _SELL, _NONE = int(Side.BUY), int(Side.SELL), int(Side.NONE)
_REGULAR, _CROSS, _BROKEN = int(Condition.REGULAR), int(Condition.CROSS), int(Condition.BROKEN)
_MALFORMED = int(GapReason.MALFORMED)
_OTHER, _HALTED = int(StatusCode.OTHER), int(StatusCode.HALTED)
_LOST, _SYNCED = int(StatusCode.BOOK_LOST), int(StatusCode.BOOK_SYNCED)
_NO_PRICE = int(NO_PRICE)
_END_OF_MESSAGES, _BLANK = ord("C"), ord(" ")
_CROSSED_TEXT, _UNCROSSED_TEXT, _OP, _SEC, _RLI, _XPR = (
    int.from_bytes(text, "little") for text in (b"CROSSED", b"UNCROSS", b"OP ", b"SEC ", b"RLI ", b"XPR ")
)


def _codes(known: dict[str, StatusCode]) -> NDArray[np.int8]:
    """Letter of a code to StatusCode; OTHER where it is not named."""
    table = np.zeros(256, dtype=np.int8)
    for letter, code in known.items():
        table[ord(letter)] = code
    return table


SYSTEM_STATUS = _codes(
    {
        "O": StatusCode.SESSION_START,
        "S": StatusCode.SYSTEM_HOURS_START,
        "R": StatusCode.MARKET_OPEN,
        "M": StatusCode.MARKET_CLOSE,
        "E": StatusCode.SYSTEM_HOURS_END,
        "C": StatusCode.SESSION_END,
    }
)
TRADING_STATUS = _codes(
    {
        "H": StatusCode.HALTED,
        "O": StatusCode.QUOTATION_ONLY,  # orders are accepted for the auction that ends the halt
        "P": StatusCode.PAUSED,
        "T": StatusCode.TRADING,
    }
)
SHORT_STATUS = _codes({"\x00": StatusCode.SHORT_SALE_FREE, "\x01": StatusCode.SHORT_SALE_RESTRICTED})


@njit(cache=True, nogil=True, inline="always")
def le16(data, at):  # type: ignore[no-untyped-def]
    """Little-endian u16 as int64."""
    return np.int64(data[at]) | (np.int64(data[at + 1]) << 8)


@njit(cache=True, nogil=True, inline="always")
def le32(data, at):  # type: ignore[no-untyped-def]
    """Little-endian u32 as int64."""
    return le16(data, at) | (le16(data, at + 2) << 16)


@njit(cache=True, nogil=True, inline="always")
def le64(data, at):  # type: ignore[no-untyped-def]
    """Little-endian 64 bits as int64 (two's complement)."""
    return le32(data, at) | (le32(data, at + 4) << 32)


@njit(cache=True, nogil=True, forceinline=True)
def symbol_number(state, data, at):  # type: ignore[no-untyped-def]
    """Number of the symbol whose 8 bytes stand there; 0 where they are no symbol, or there is no room."""
    name = np.uint64(le64(data, at))
    mixed = name * _GOLDEN
    mask = np.int64(state.slots.shape[0] - 1)
    slot = np.int64((mixed ^ (mixed >> np.uint64(32))) >> np.uint64(16)) & mask
    while state.slots[slot] != np.uint64(0):
        if state.slots[slot] == name:
            return np.int64(state.numbers[slot])
        slot = (slot + 1) & mask
    ended = data[at] == _BLANK
    sound = not ended
    for i in range(8):
        letter = data[at + i]
        ended = ended or letter == _BLANK
        sound = sound and (letter == _BLANK if ended else 33 <= letter <= 126)
    if not sound:
        state.counts[st.C_FIELD] += 1
        return np.int64(0)
    number = state.shared[st.SYMBOLS] + 1
    if number == state.names.shape[0]:
        state.counts[st.C_SYMBOLS] += 1
        return np.int64(0)
    state.slots[slot] = name
    state.numbers[slot] = number
    state.names[number] = name
    state.shared[st.SYMBOLS] = number
    return number


@njit(cache=True, nogil=True, forceinline=True)
def _status(out, m, symbol, code, reason):  # type: ignore[no-untyped-def]
    """A status; ``reason`` is up to 8 ASCII bytes as a little-endian number."""
    row = out.statuses[out.used[st.STATUSES]]
    out.used[st.STATUSES] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = m.ts_event, m.ts_recv, m.seq, symbol
    row.status = code
    row.reason = reason


@njit(cache=True, nogil=True, forceinline=True)
def malformed(out, m, number):  # type: ignore[no-untyped-def]
    """A gap event: a message came that could not be understood, so what it said is missing."""
    row = out.gaps[out.used[st.GAPS]]
    out.used[st.GAPS] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = m.ts_event, m.ts_recv, m.seq, 0
    row.first_missing = number
    row.last_missing = number
    row.reason = _MALFORMED


@njit(cache=True, nogil=True, forceinline=True)
def _text(data, at, size):  # type: ignore[no-untyped-def]
    """ASCII bytes as a little-endian number, padding spaces off."""
    while size > 0 and data[at + size - 1] == _BLANK:
        size -= 1
    value = np.uint64(0)
    for i in range(size - 1, -1, -1):
        value = (value << np.uint64(8)) | np.uint64(data[at + i])
    return value


@njit(cache=True, nogil=True, forceinline=True)
def _show(state, out, m, symbol, bid, bid_size, ask, ask_size):  # type: ignore[no-untyped-def]
    """A quote; and a status where the book has become crossed, or is no longer."""
    top = state.tops[symbol]
    top[0], top[1], top[2], top[3] = bid, bid_size, ask, ask_size
    row = out.quotes[out.used[st.QUOTES]]
    out.used[st.QUOTES] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = m.ts_event, m.ts_recv, m.seq, symbol
    row.bid_price = bid * PRICE_NANOS if bid_size else _NO_PRICE
    row.bid_size = bid_size * SHARE_NANOS
    row.ask_price = ask * PRICE_NANOS if ask_size else _NO_PRICE
    row.ask_size = ask_size * SHARE_NANOS
    row.venue_id = m.number
    both = bid_size > 0 and ask_size > 0
    if both and bid == ask:
        state.counts[st.C_LOCKED] += 1
    crossed = both and bid > ask
    if crossed:
        state.counts[st.C_CROSSED] += 1
    if crossed != (state.marks[symbol, st.CROSSED] != 0):
        state.marks[symbol, st.CROSSED] = 1 if crossed else 0
        if crossed:
            _status(out, m, symbol, _LOST, np.uint64(_CROSSED_TEXT))
        else:
            _status(out, m, symbol, _SYNCED, np.uint64(_UNCROSSED_TEXT))


@njit(cache=True, nogil=True, forceinline=True)
def on_level(state, book, out, m, symbol):  # type: ignore[no-untyped-def]
    """8 and 5: a level's new total."""
    size = le32(m.data, m.at + _SIZE)
    price = le64(m.data, m.at + _PRICE)
    if price <= 0 or price > PRICE_MAX:
        state.counts[st.C_FIELD] += 1
        return False
    side = 2 * symbol + (0 if m.kind == _T_8 else 1)
    before = set_level(book, side, price, size)
    if size == 0 and before == 0:
        state.counts[st.C_UNKNOWN_LEVEL] += 1
    else:
        row = out.deltas[out.used[st.DELTAS]]
        out.used[st.DELTAS] += 1
        row.ts_event, row.ts_recv, row.seq, row.symbol = m.ts_event, m.ts_recv, m.seq, symbol
        row.price = price * PRICE_NANOS
        row.size = size * SHARE_NANOS
        row.venue_id = m.number
        row.side = _SELL if side & 1 else _BUY
    if m.data[m.at + _CODE] & EVENT_COMPLETE == 0:
        state.counts[st.C_TRANSITION] += 1
        return True
    bid, bid_size = best(book, 2 * symbol)
    ask, ask_size = best(book, 2 * symbol + 1)
    top = state.tops[symbol]
    if bid != top[0] or bid_size != top[1] or ask != top[2] or ask_size != top[3]:
        _show(state, out, m, symbol, bid, bid_size, ask, ask_size)
    return True


@njit(cache=True, nogil=True, forceinline=True)
def on_quote(state, out, m, symbol):  # type: ignore[no-untyped-def]
    """Q. A side without a price or without a size is empty."""
    bid, bid_size = le64(m.data, m.at + _BID), le32(m.data, m.at + _BID_SIZE)
    ask, ask_size = le64(m.data, m.at + _ASK), le32(m.data, m.at + _ASK_SIZE)
    if bid < 0 or bid > PRICE_MAX or ask < 0 or ask > PRICE_MAX:
        state.counts[st.C_FIELD] += 1
        return False
    if bid == 0 or bid_size == 0:
        bid = bid_size = np.int64(0)
    if ask == 0 or ask_size == 0:
        ask = ask_size = np.int64(0)
    _show(state, out, m, symbol, bid, bid_size, ask, ask_size)
    return True


@njit(cache=True, nogil=True, forceinline=True)
def on_trade(state, out, m, symbol):  # type: ignore[no-untyped-def]
    """T and B."""
    size = le32(m.data, m.at + _SIZE)
    price = le64(m.data, m.at + _PRICE)
    is_break = m.kind != _T_T
    if price < 0 or price > PRICE_MAX or (price == 0 and not is_break):
        state.counts[st.C_FIELD] += 1
        return False
    if size == 0 and not is_break:
        state.counts[st.C_ZERO] += 1
        return True
    row = out.trades[out.used[st.TRADES]]
    out.used[st.TRADES] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = m.ts_event, m.ts_recv, m.seq, symbol
    row.venue_id = le64(m.data, m.at + _TRADE_ID)
    row.side = _NONE
    if is_break:
        row.price = _NO_PRICE
        row.size = 0
        row.condition = _BROKEN
    else:
        row.price = price * PRICE_NANOS
        row.size = size * SHARE_NANOS
        row.condition = _CROSS if m.data[m.at + _CODE] & SINGLE_PRICE_CROSS else _REGULAR
    return True


@njit(cache=True, nogil=True, forceinline=True)
def on_system(state, out, m):  # type: ignore[no-untyped-def]
    """S: of the venue as a whole."""
    code = m.data[m.at + _CODE]
    if code == _END_OF_MESSAGES:
        state.shared[st.ENDED] = 1
    _status(out, m, 0, SYSTEM_STATUS[code], np.uint64(code))


@njit(cache=True, nogil=True, forceinline=True)
def on_rare(state, out, m, symbol):  # type: ignore[no-untyped-def]
    """All others."""
    code = m.data[m.at + _CODE]
    marks = state.marks[symbol]
    tail = np.uint64(0) if code == _BLANK else np.uint64(code)
    if m.kind == _T_H:
        marks[st.TRADING] = TRADING_STATUS[code]
        seen = np.int8(_HALTED) if marks[st.OPERATIONAL] else marks[st.TRADING]
        _status(out, m, symbol, seen, _text(m.data, m.at + _REASON, 4))
    elif m.kind == _T_O:
        marks[st.OPERATIONAL] = 1 if code == _T_O else 0
        seen = np.int8(_HALTED) if marks[st.OPERATIONAL] else marks[st.TRADING]
        _status(out, m, symbol, seen, np.uint64(_OP) | (tail << np.uint64(24)))
    elif m.kind == _T_P:
        _status(out, m, symbol, SHORT_STATUS[code], _text(m.data, m.at + _DETAIL, 1))
    elif m.kind == _T_E:
        _status(out, m, symbol, _OTHER, np.uint64(_SEC) | (tail << np.uint64(32)))
    elif m.kind == _T_I:
        _status(out, m, symbol, _OTHER, np.uint64(_RLI) | (tail << np.uint64(32)))
    elif m.kind == _T_X:
        _status(out, m, symbol, _OTHER, np.uint64(_XPR) | (tail << np.uint64(32)))
