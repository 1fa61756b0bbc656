"""One ITCH message in, its events and its change of the book out: the compiled handlers.

What a message makes
--------------------
A F      a delta; a quote where the top changes
E        a trade at the order's price (aggressor: the other side), a delta, perhaps a quote
C        as E at its own price; where it is not printable no trade: its volume comes again in a Q
X D      a delta, perhaps a quote
U        deltas of the old and the new level (one where it is the same), perhaps a quote. Of an order that
         is not known: a gap event with reason BOOK, for the new one has no side and cannot be placed
P        a trade against an order that was not displayed; side unknown (the field is always B)
Q        the cross as one trade, where shares were matched
B        a trade with condition BROKEN, no price, no size, and the match number of what is taken back
S H Y h  a status; W K O likewise, as OTHER
R        a name for its locate. L V J I N are checked and counted, and make no event
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.itch import engine
from ingest.itch import state as st
from ingest.itch.levels import best_price
from ingest.itch.messages import LAYOUTS
from ingest.itch.orders import find_entry
from ingest.itch.wire import load32, load64
from tickloom.events import Condition, GapReason, Side, StatusCode
from tickloom.prices import NO_PRICE

SHARES_MAX = 2**53 // 5**9  # 4.6e9; above, shares in 1e-9 units would not survive a double
SHARE_NANOS = 10**9
PRICE_NANOS = 10**5  # of a price(4)


class Message(NamedTuple):
    """Where a message stands: bytes, their start, and what all its events carry."""

    data: NDArray[np.uint8]
    at: int
    ts_event: int
    ts_recv: int
    seq: int
    locate: int


def _at(letter: str, field: str) -> int:
    return LAYOUTS[letter].offsets[field]


_MATCH = _at("E", "match_number")
_PRINTABLE, _C_PRICE = _at("C", "printable"), _at("C", "price")
_A_SIDE, _A_STOCK = _at("A", "side"), _at("A", "stock")
_E_SHARES = _at("E", "shares")
_P_SHARES, _P_STOCK, _P_PRICE, _P_MATCH = (_at("P", n) for n in ("shares", "stock", "price", "match_number"))
_Q_SHARES, _Q_STOCK, _Q_PRICE, _Q_MATCH = (_at("Q", n) for n in ("shares", "stock", "price", "match_number"))
_B_MATCH = _at("B", "match_number")
_STOCK = _at("R", "stock")  # the same place in R H Y K J h N O
_L_STOCK, _I_STOCK = _at("L", "stock"), _at("I", "stock")
_LOCATE, _TIME, _CODE = _at("S", "stock_locate"), _at("S", "timestamp"), _at("S", "event_code")
_H_STATE, _H_REASON = _at("H", "trading_state"), _at("H", "reason")
_Y_ACTION, _K_QUALIFIER = _at("Y", "action"), _at("K", "qualifier")
_HALT_MARKET, _HALT_ACTION = _at("h", "market_code"), _at("h", "action")

_T_S, _T_R, _T_H, _T_Y, _T_L, _T_V, _T_W, _T_K = (ord(letter) for letter in "SRHYLVWK")
_T_OPHALT, _T_E, _T_C, _T_D, _T_P, _T_Q, _T_B, _T_I, _T_O = (ord(letter) for letter in "hECDPQBIO")
_BUY, _SELL, _NONE = int(Side.BUY), int(Side.SELL), int(Side.NONE)
_REGULAR, _HIDDEN, _CROSS, _BROKEN = (int(item) for item in Condition)
_MALFORMED, _BOOK = int(GapReason.MALFORMED), int(GapReason.BOOK)
_OTHER, _HALTED, _TRADING = int(StatusCode.OTHER), int(StatusCode.HALTED), int(StatusCode.TRADING)
_NO_PRICE = int(NO_PRICE)
_B, _S, _N = ord("B"), ord("S"), ord("N")
_W_TEXT, _IPO_TEXT, _OP_TEXT, _DLCR_TEXT = (
    int.from_bytes(text, "little") for text in (b"MWCB", b"IPO ", b"OP ", b"DLCR")
)

#: Letter of a code in S, H, Y, K to StatusCode; OTHER where it is not named here.
SYSTEM_STATUS = np.zeros(256, dtype=np.int8)
for _letter, _status in {
    "O": StatusCode.SESSION_START,
    "S": StatusCode.SYSTEM_HOURS_START,
    "Q": StatusCode.MARKET_OPEN,
    "M": StatusCode.MARKET_CLOSE,
    "E": StatusCode.SYSTEM_HOURS_END,
    "C": StatusCode.SESSION_END,
}.items():
    SYSTEM_STATUS[ord(_letter)] = _status
TRADING_STATUS = np.zeros(256, dtype=np.int8)
for _letter, _status in {
    "H": StatusCode.HALTED,
    "P": StatusCode.PAUSED,
    "Q": StatusCode.QUOTATION_ONLY,
    "T": StatusCode.TRADING,
}.items():
    TRADING_STATUS[ord(_letter)] = _status
SHORT_STATUS = np.zeros(256, dtype=np.int8)
for _letter, _status in {
    "0": StatusCode.SHORT_SALE_FREE,
    "1": StatusCode.SHORT_SALE_RESTRICTED,
    "2": StatusCode.SHORT_SALE_RESTRICTED,
}.items():
    SHORT_STATUS[ord(_letter)] = _status


@njit(cache=True, nogil=True, forceinline=True)
def _trade(out, m, price, shares, side, condition, match):  # type: ignore[no-untyped-def]
    row = out.trades[out.used[st.TRADES]]
    out.used[st.TRADES] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = m.ts_event, m.ts_recv, m.seq, m.locate
    row.price = price
    row.size = shares * SHARE_NANOS
    row.venue_id = match
    row.side = side
    row.condition = condition


@njit(cache=True, nogil=True, forceinline=True)
def _delta(state, out, m, side, price, total, reference):  # type: ignore[no-untyped-def]
    if total > SHARES_MAX:
        state.counts[st.C_SIZE] += 1
        return
    row = out.deltas[out.used[st.DELTAS]]
    out.used[st.DELTAS] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = m.ts_event, m.ts_recv, m.seq, m.locate
    row.price = price * PRICE_NANOS
    row.size = total * SHARE_NANOS
    row.venue_id = reference
    row.side = _SELL if side & 1 else _BUY


@njit(cache=True, nogil=True, forceinline=True)
def _quote(state, book, out, m, step):  # type: ignore[no-untyped-def]
    bid, bid_total = best_price(book, step.side & ~1)
    ask, ask_total = best_price(book, step.side | 1)
    if bid_total > 0 and ask_total > 0 and bid >= ask:
        state.counts[st.C_LOCKED if bid == ask else st.C_CROSSED] += 1
    if bid_total > SHARES_MAX or ask_total > SHARES_MAX:
        state.counts[st.C_SIZE] += 1
        return
    row = out.quotes[out.used[st.QUOTES]]
    out.used[st.QUOTES] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = m.ts_event, m.ts_recv, m.seq, m.locate
    row.bid_price = bid * PRICE_NANOS if bid_total else _NO_PRICE
    row.bid_size = bid_total * SHARE_NANOS
    row.ask_price = ask * PRICE_NANOS if ask_total else _NO_PRICE
    row.ask_size = ask_total * SHARE_NANOS
    row.venue_id = step.new_reference


@njit(cache=True, nogil=True, forceinline=True)
def _settle(state, book, out, m, step):  # type: ignore[no-untyped-def]
    """Make a step, its deltas and a quote where the best is another; False where the message is unsound."""
    if step.levels > 0:
        change = engine.settle(book, step)
        _delta(state, out, m, step.side, step.price, change.total, step.reference)
        if step.levels > 1:
            _delta(state, out, m, step.side, step.new_price, change.new_total, step.new_reference)
        if change.best_changed:
            _quote(state, book, out, m, step)
    return step.levels >= 0


@njit(cache=True, nogil=True, forceinline=True)
def status(out, m, locate, code, reason):  # type: ignore[no-untyped-def]
    """A status; ``reason`` is up to 8 ASCII bytes as a little-endian number."""
    row = out.statuses[out.used[st.STATUSES]]
    out.used[st.STATUSES] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = m.ts_event, m.ts_recv, m.seq, m.locate
    row.symbol = locate
    row.status = code
    row.reason = reason


@njit(cache=True, nogil=True, forceinline=True)
def gap(out, m, locate, number, reason):  # type: ignore[no-untyped-def]
    """A gap event: a message could not be used, so what it said is missing; locate 0: of any stock."""
    row = out.gaps[out.used[st.GAPS]]
    out.used[st.GAPS] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = m.ts_event, m.ts_recv, m.seq, m.locate
    row.symbol = locate
    row.first_missing = number
    row.last_missing = number
    row.reason = reason


@njit(cache=True, nogil=True, forceinline=True)
def malformed(out, m, number):  # type: ignore[no-untyped-def]
    """What the message said of any stock is missing."""
    gap(out, m, 0, number, _MALFORMED)


@njit(cache=True, nogil=True, forceinline=True)
def learn(state, out, m, stock, is_directory):  # type: ignore[no-untyped-def]
    """Check the message's name against its locate's; False where they contradict each other."""
    found = engine.learn(state, m.locate, m.data, stock, is_directory)
    if found == engine.NEW:
        out.new_locates[out.used[st.LOCATES_NEW]] = m.locate
        out.used[st.LOCATES_NEW] += 1
    return found != engine.CONTRADICTED


@njit(cache=True, nogil=True, forceinline=True)
def on_add(state, book, out, m):  # type: ignore[no-untyped-def]
    """A, F. False: its side is neither B nor S, or its name is another stock's."""
    if m.data[m.at + _A_SIDE] not in (_B, _S):
        state.counts[st.C_FIELD] += 1
        return False
    if not learn(state, out, m, m.at + _A_STOCK, False):
        return False
    return _settle(state, book, out, m, engine.add(state, book, m.locate, m.data, m.at))


@njit(cache=True, nogil=True, forceinline=True)
def on_reduce(state, book, out, m, kind):  # type: ignore[no-untyped-def]
    """E, C, X, D. False: its locate is not the order's."""
    entry = find_entry(book, load64(m.data, m.at + engine.REFERENCE))
    step = engine.reduce(state, book, m.locate, m.data, m.at, kind, entry)
    if step.levels > 0 and kind in (_T_E, _T_C):
        aggressor = _BUY if step.side & 1 else _SELL
        shares = load32(m.data, m.at + _E_SHARES)
        match = load64(m.data, m.at + _MATCH)
        if kind == _T_E:
            _trade(out, m, step.price * PRICE_NANOS, shares, aggressor, _REGULAR, match)
        elif m.data[m.at + _PRINTABLE] == _N:
            state.counts[st.C_NON_PRINTABLE] += 1
        else:
            own_price = load32(m.data, m.at + _C_PRICE) * PRICE_NANOS
            _trade(out, m, own_price, shares, aggressor, _REGULAR, match)
    return _settle(state, book, out, m, step)


@njit(cache=True, nogil=True, forceinline=True)
def on_replace(state, book, out, m, number):  # type: ignore[no-untyped-def]
    """U. False: its locate is not the order's."""
    entry = find_entry(book, load64(m.data, m.at + engine.REFERENCE))
    unknown = state.counts[st.C_UNKNOWN]
    step = engine.replace(state, book, m.locate, m.data, m.at, entry)
    if state.counts[st.C_UNKNOWN] != unknown and state.stocks[m.locate] != 0:
        gap(out, m, m.locate, number, _BOOK)
    return _settle(state, book, out, m, step)


@njit(cache=True, nogil=True, forceinline=True)
def on_trade(state, out, m, kind):  # type: ignore[no-untyped-def]
    """P, Q, B. False: its name is another stock's, or its locate has none."""
    if kind == _T_B:
        if state.stocks[m.locate] == 0:
            state.counts[st.C_LOCATE] += 1
            return False
        _trade(out, m, _NO_PRICE, np.int64(0), _NONE, _BROKEN, load64(m.data, m.at + _B_MATCH))
        return True
    if kind == _T_P:
        if not learn(state, out, m, m.at + _P_STOCK, False):
            return False
        shares = load32(m.data, m.at + _P_SHARES)
        if shares == 0:
            state.counts[st.C_ZERO] += 1
            return True
        price = load32(m.data, m.at + _P_PRICE) * PRICE_NANOS
        _trade(out, m, price, shares, _NONE, _HIDDEN, load64(m.data, m.at + _P_MATCH))
        return True
    if not learn(state, out, m, m.at + _Q_STOCK, False):
        return False
    shares = load64(m.data, m.at + _Q_SHARES)
    if shares == 0:
        state.counts[st.C_EMPTY_CROSS] += 1
    elif shares < 0 or shares > SHARES_MAX:
        state.counts[st.C_SIZE] += 1
        return False
    else:
        price = load32(m.data, m.at + _Q_PRICE) * PRICE_NANOS
        _trade(out, m, price, shares, _NONE, _CROSS, load64(m.data, m.at + _Q_MATCH))
    return True


@njit(cache=True, nogil=True, forceinline=True)
def _text(data, at, size):  # type: ignore[no-untyped-def]
    """ASCII bytes as a little-endian number, padding spaces off."""
    while size > 0 and data[at + size - 1] == 32:
        size -= 1
    value = np.uint64(0)
    for i in range(size - 1, -1, -1):
        value = (value << np.uint64(8)) | np.uint64(data[at + i])
    return value


@njit(cache=True, nogil=True, forceinline=True)
def on_rare(state, out, m, kind):  # type: ignore[no-untyped-def]
    """All others. False: its name is another stock's."""
    code = m.data[m.at + _CODE]
    if kind == _T_S:
        status(out, m, 0, SYSTEM_STATUS[code], np.uint64(code))
        return True
    if kind == _T_W:
        status(out, m, 0, _OTHER, np.uint64(_W_TEXT) | (np.uint64(code) << np.uint64(32)))
        return True
    if kind == _T_V:
        return True
    stock = _L_STOCK if kind == _T_L else (_I_STOCK if kind == _T_I else _STOCK)
    if not learn(state, out, m, m.at + stock, kind == _T_R):
        return False
    if kind == _T_H:
        code = m.data[m.at + _H_STATE]
        status(out, m, m.locate, TRADING_STATUS[code], _text(m.data, m.at + _H_REASON, 4))
    elif kind == _T_Y:
        code = m.data[m.at + _Y_ACTION]
        status(out, m, m.locate, SHORT_STATUS[code], np.uint64(code))
    elif kind == _T_K:
        code = m.data[m.at + _K_QUALIFIER]
        status(out, m, m.locate, _OTHER, np.uint64(_IPO_TEXT) | (np.uint64(code) << np.uint64(32)))
    elif kind == _T_OPHALT:
        market, action = m.data[m.at + _HALT_MARKET], m.data[m.at + _HALT_ACTION]
        reason = (
            np.uint64(_OP_TEXT) | (np.uint64(market) << np.uint64(24)) | (np.uint64(action) << np.uint64(32))
        )
        code = _OTHER  # a halt on one of the operator's other books is no halt here
        if market == _T_Q:
            code = _HALTED if action == _T_H else _TRADING
        status(out, m, m.locate, code, reason)
    elif kind == _T_O:
        status(out, m, m.locate, _OTHER, np.uint64(_DLCR_TEXT))
    return True
