"""MoldUDP64 packets in, events in columns out: the compiled loop under the ITCH decoder.

One call takes a whole batch of datagrams. It stops, telling why, at whatever needs more than
arithmetic: a packet out of order, a control record, arrays that are full. It is entered again at the
same place.
"""

from __future__ import annotations

from numba import njit

from ingest.itch import handlers as on
from ingest.itch import state as st
from ingest.itch.book import BookArrays
from ingest.itch.levels import levels_full
from ingest.itch.messages import LAYOUTS, LENGTHS
from ingest.itch.moldudp64 import END_OF_SESSION, HEAD_BYTES, SESSION_BYTES
from ingest.itch.orders import orders_full
from ingest.itch.wire import load16, load48, load64
from tickloom.events import SEQ_PER_DAY
from tickloom.unowned import unowned

TIMESTAMP_MAX = 90_000 * 10**9  # 25 hours, for the day that has them: later is no time of that day
_LOCATE, _TIME = LAYOUTS["S"].offsets["stock_locate"], LAYOUTS["S"].offsets["timestamp"]
_DATA = 0  # RecordKind.DATA
_T_A, _T_F, _T_E, _T_C, _T_X, _T_D, _T_U, _T_P, _T_Q, _T_B = (ord(letter) for letter in "AFECXDUPQB")


@njit(cache=True, nogil=True, forceinline=True)
def _message(state, book, out, data, at, size, number, ts_recv, midnight, base):  # type: ignore[no-untyped-def]
    """Handle one message; DONE, or what must grow before it can be handled."""
    counts = state.counts
    kind = data[at] if size else 0
    latest = state.shared[st.LATEST]
    m = on.Message(data, at, midnight + latest, ts_recv, base + number, 0)
    length = LENGTHS[kind]
    if size and length == 0:
        counts[st.C_UNKNOWN_TYPE] += 1
        return st.DONE
    if size != length or size == 0:
        counts[st.C_LENGTH] += 1
        on.malformed(out, m, number)
        return st.DONE
    timestamp = load48(data, at + _TIME)
    if timestamp >= TIMESTAMP_MAX:
        counts[st.C_TIMESTAMP] += 1
        on.malformed(out, m, number)
        return st.DONE
    locate = load16(data, at + _LOCATE)
    if kind in (_T_A, _T_F, _T_U):
        if orders_full(book, 1):
            return st.GROW_ORDERS
        if levels_full(book):
            return st.GROW_LEVELS
    if timestamp < latest:
        counts[st.C_BACKWARDS] += 1
    else:
        state.shared[st.LATEST] = timestamp
    counts[st.C_DECODED] += 1
    state.types[kind] += 1
    m = on.Message(data, at, midnight + timestamp, ts_recv, base + number, locate)
    if kind in (_T_A, _T_F):
        sound = on.on_add(state, book, out, m)
    elif kind in (_T_E, _T_C, _T_X, _T_D):
        sound = on.on_reduce(state, book, out, m, kind)
    elif kind == _T_U:
        sound = on.on_replace(state, book, out, m, number)
    elif kind in (_T_P, _T_Q, _T_B):
        sound = on.on_trade(state, out, m, kind)
    else:
        sound = on.on_rare(state, out, m, kind)
    if not sound:
        on.malformed(out, m, number)
    return st.DONE


@njit(cache=True, nogil=True, forceinline=True)
def _open_packet(state, data, at, stop, place):  # type: ignore[no-untyped-def]
    """Read a packet's head into ``place``; DONE with LEFT 0 where there is nothing in it for us."""
    place[st.LEFT] = 0
    if stop - at < HEAD_BYTES:
        state.counts[st.C_MALFORMED] += 1
        return st.DONE
    sequence = load64(data, at + SESSION_BYTES)
    if sequence < 1 or sequence >= SEQ_PER_DAY:
        state.counts[st.C_MALFORMED] += 1
        return st.DONE
    for i in range(SESSION_BYTES):
        if data[at + i] != state.session[i]:
            return st.FOREIGN
    count = load16(data, at + SESSION_BYTES + 8)
    expected = state.shared[st.EXPECTED]
    if sequence > expected or count == END_OF_SESSION:
        return st.EARLY
    if count == 0:
        state.counts[st.C_HEARTBEAT] += 1
    elif sequence + count <= expected:
        state.counts[st.C_DUPLICATE] += count
    else:
        place[st.AT] = at + HEAD_BYTES
        place[st.LEFT] = count
        place[st.NUMBER] = sequence
    return st.DONE


@njit(cache=True, nogil=True)
def run(state, book, out, data, offsets, kinds, ts_recv, place, midnight, base):  # type: ignore[no-untyped-def]
    """Go on at ``place`` until the batch is through (DONE) or something needs the caller."""
    state = st.State(
        unowned(state.session),
        unowned(state.shared),
        unowned(state.counts),
        unowned(state.types),
        unowned(state.stocks),
    )
    book = BookArrays(
        unowned(book.pages),
        unowned(book.orders),
        unowned(book.sides),
        unowned(book.keys),
        unowned(book.totals),
        unowned(book.fill),
    )
    out = st.Output(
        unowned(out.trades),
        unowned(out.quotes),
        unowned(out.deltas),
        unowned(out.statuses),
        unowned(out.gaps),
        unowned(out.new_locates),
        unowned(out.used),
    )
    data, offsets, kinds, place = unowned(data), unowned(offsets), unowned(kinds), unowned(place)
    shared = state.shared
    while place[st.RECORD] < kinds.size:
        record = place[st.RECORD]
        stop = offsets[record + 1]
        if place[st.LEFT] == 0:
            if kinds[record] != _DATA:
                return st.OTHER_KIND
            code = _open_packet(state, data, offsets[record], stop, place)
            if code != st.DONE:
                return code
            if place[st.LEFT] == 0:
                place[st.RECORD] += 1
                continue
        at, left, number = place[st.AT], place[st.LEFT], place[st.NUMBER]
        code = st.DONE
        while left:
            if at + 2 > stop or at + 2 + load16(data, at) > stop:
                state.counts[st.C_TRUNCATED] += 1
                left = 0
                at = stop
                break
            size = load16(data, at)
            if number < shared[st.EXPECTED]:
                state.counts[st.C_DUPLICATE] += 1
            else:
                if shared[st.IN_OUTPUT] == st.MESSAGES_MAX:
                    code = st.FULL
                    break
                code = _message(state, book, out, data, at + 2, size, number, ts_recv[record], midnight, base)
                if code != st.DONE:
                    break
                shared[st.IN_OUTPUT] += 1
                shared[st.EXPECTED] = number + 1
            at += 2 + size
            number += 1
            left -= 1
        place[st.AT], place[st.LEFT], place[st.NUMBER] = at, left, number
        if code != st.DONE:
            return code
        if at != stop:
            state.counts[st.C_TRAILING] += 1
        place[st.RECORD] += 1
        if shared[st.EXPECTED] >= shared[st.PENDING_FIRST]:
            return st.DUE
    return st.DONE
