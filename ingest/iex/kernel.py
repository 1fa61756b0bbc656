"""IEX-TP segments in, events in columns out: the compiled loop under the IEX decoder.

One call takes a whole batch of datagrams. It stops, telling why, at whatever needs more than arithmetic: a
segment out of order, a sequence that begins anew, a control record, arrays that are full. It is entered again
at the same place.
"""

from __future__ import annotations

from numba import njit

from ingest.iex import handlers as on
from ingest.iex import iextp as tp
from ingest.iex import state as st
from ingest.iex.handlers import SYMBOL_AT, le16, le32, le64
from ingest.iex.messages import LAYOUTS, LENGTH_BYTES, LENGTHS
from ingest.levels import LevelArrays, pool_full
from tickloom.clock import NS_PER_S
from tickloom.events import SEQ_PER_DAY
from tickloom.unowned import unowned

RESTART_NS = NS_PER_S  # a heartbeat that is this much later and behind is no straggler of the other line
OFFSETS_REFUSED_MAX = 8  # in a row; then it is the offsets that are wrong, and they are believed no more
BLOCK_BYTES_MIN = LENGTH_BYTES + 1
BLOCK_BYTES_MAX = LENGTH_BYTES + 0xFFFF
_TIME = LAYOUTS["S"].offsets["timestamp"]
_DATA = 0  # RecordKind.DATA
_T_S, _T_8, _T_5, _T_Q, _T_T, _T_B, _T_D, _T_A = (ord(letter) for letter in "S85QTBDA")


@njit(cache=True, nogil=True, forceinline=True)
def _message(state, book, out, data, at, size, number, ts_recv, limits, base):  # type: ignore[no-untyped-def]
    """Handle one message; DONE, or what must grow before it can be handled."""
    counts = state.counts
    kind = data[at] if size else 0
    latest = state.shared[st.LATEST]
    absolute = number + state.shared[st.BASE]
    m = on.Message(data, at, kind, max(latest, limits[0]), ts_recv, base + absolute, number)
    length = LENGTHS[kind]
    if size and length == 0:
        counts[st.C_UNKNOWN_TYPE] += 1
        return st.DONE
    if size < length or size == 0:
        counts[st.C_LENGTH] += 1
        on.malformed(out, m, absolute)
        return st.DONE
    timestamp = le64(data, at + _TIME)
    if timestamp < limits[0] or timestamp >= limits[1]:
        counts[st.C_TIMESTAMP] += 1
        on.malformed(out, m, absolute)
        return st.DONE
    symbol = 0
    if kind != _T_S:
        symbol = on.symbol_number(state, data, at + SYMBOL_AT)
        if symbol == 0:
            on.malformed(out, m, absolute)
            return st.DONE
        if kind in (_T_8, _T_5) and pool_full(book, 2 * symbol + (0 if kind == _T_8 else 1)):
            return st.GROW_LEVELS
    if size > length:
        counts[st.C_LONGER] += 1
    if timestamp < latest - limits[2]:
        counts[st.C_LATE] += 1
    state.shared[st.LATEST] = max(latest, timestamp)
    counts[st.C_DECODED] += 1
    state.types[kind] += 1
    m = on.Message(data, at, kind, timestamp, ts_recv, base + absolute, number)
    sound = True
    if kind in (_T_8, _T_5):
        sound = on.on_level(state, book, out, m, symbol)
    elif kind == _T_Q:
        sound = on.on_quote(state, out, m, symbol)
    elif kind in (_T_T, _T_B):
        sound = on.on_trade(state, out, m, symbol)
    elif kind == _T_S:
        on.on_system(state, out, m)
    elif kind not in (_T_D, _T_A):
        on.on_rare(state, out, m, symbol)
    if not sound:
        on.malformed(out, m, absolute)
    return st.DONE


@njit(cache=True, nogil=True, forceinline=True)
def _first_time(data, at, stop):  # type: ignore[no-untyped-def]
    """Time of a segment's first message; 0 where it is not whole."""
    at += tp.HEAD_BYTES
    if at + LENGTH_BYTES + _TIME + 8 > stop:
        return 0
    return le64(data, at + LENGTH_BYTES + _TIME)


@njit(cache=True, nogil=True, forceinline=True)
def _other_session(shared, session, sequence, send):  # type: ignore[no-untyped-def]
    """Whether a later segment of another session begins it: with its first message, or seen twice."""
    if send <= shared[st.LATEST_SEND] or shared[st.RELEASING]:
        return False
    if sequence == 1 or shared[st.CANDIDATE] == session:
        return True
    shared[st.CANDIDATE] = session
    return False


@njit(cache=True, nogil=True, forceinline=True)
def _behind(state, data, at, stop, sequence, count, send, limits):  # type: ignore[no-untyped-def]
    """A segment whose numbers were all there: RESTART where it is none the less newer than all; or DONE.

    A message that was there cannot be later than the latest; one of a sequence that began anew is.
    """
    shared = state.shared
    if not shared[st.RELEASING] and send > shared[st.LATEST_SEND]:
        if count == 0:
            if sequence < shared[st.EXPECTED] and send > shared[st.LATEST_SEND] + RESTART_NS:
                return st.RESTART
        else:
            first = _first_time(data, at, stop)
            if first > shared[st.LATEST] and first < limits[1]:
                return st.RESTART
    if count == 0:
        state.counts[st.C_HEARTBEAT] += 1
        if sequence == shared[st.EXPECTED]:
            shared[st.LATEST_SEND] = max(shared[st.LATEST_SEND], send)
    else:
        state.counts[st.C_DUPLICATE] += count
    return st.DONE


@njit(cache=True, nogil=True, forceinline=True)
def _offset_fits(state, sequence, offset):  # type: ignore[no-untyped-def]
    """Whether an early segment's stream offset goes with its number. One alone is a damaged head."""
    shared = state.shared
    if shared[st.OFFSET] < 0:
        return True
    numbers = sequence - shared[st.EXPECTED]
    octets = offset - shared[st.OFFSET]
    if numbers * BLOCK_BYTES_MIN <= octets <= numbers * BLOCK_BYTES_MAX:
        return True
    state.counts[st.C_OFFSET] += 1
    shared[st.REFUSED] += 1
    if shared[st.REFUSED] > OFFSETS_REFUSED_MAX:
        shared[st.OFFSET] = -1
        return True
    return False


@njit(cache=True, nogil=True, forceinline=True)
def _open_segment(state, data, at, stop, place, limits):  # type: ignore[no-untyped-def]
    """Read a segment's head into ``place``; DONE with LEFT 0 where there is nothing in it for us."""
    place[st.LEFT] = 0
    shared, counts = state.shared, state.counts
    if stop - at < tp.HEAD_BYTES or data[at + tp.VERSION_AT] != tp.VERSION:
        counts[st.C_MALFORMED] += 1
        return st.DONE
    protocol, channel = le16(data, at + tp.PROTOCOL_AT), le32(data, at + tp.CHANNEL_AT)
    session = le32(data, at + tp.SESSION_AT)
    payload, count = le16(data, at + tp.PAYLOAD_AT), le16(data, at + tp.COUNT_AT)
    offset, sequence = le64(data, at + tp.OFFSET_AT), le64(data, at + tp.SEQUENCE_AT)
    send = le64(data, at + tp.SEND_AT)
    room = SEQ_PER_DAY - shared[st.BASE] - shared[st.SYMBOLS] - 2  # a restart takes up to one a symbol
    if (
        not 1 <= sequence <= room - count
        or shared[st.EXPECTED] >= room
        or offset < 0
        or payload < LENGTH_BYTES * count
        or not limits[0] <= send < limits[1]
    ):
        counts[st.C_MALFORMED] += 1
        return st.DONE
    if shared[st.PROTOCOL] == 0 and protocol in (tp.TOPS_1_6, tp.DEEP_1_0):
        shared[st.PROTOCOL], shared[st.CHANNEL], shared[st.SESSION] = protocol, channel, session
    if shared[st.PROTOCOL] == 0 or protocol != shared[st.PROTOCOL] or channel != shared[st.CHANNEL]:
        counts[st.C_PROTOCOL] += 1
        return st.DONE
    if session != shared[st.SESSION]:
        if _other_session(shared, session, sequence, send):
            return st.RESTART
        counts[st.C_SESSION] += 1
        return st.DONE
    if send <= shared[st.BEFORE_SEND]:  # the slower line still brings the run before
        counts[st.C_DUPLICATE if count else st.C_HEARTBEAT] += max(count, 1)
        return st.DONE
    expected = shared[st.EXPECTED]
    if sequence > expected:
        return st.EARLY if _offset_fits(state, sequence, offset) else st.DONE
    if sequence + count <= expected:
        return _behind(state, data, at, stop, sequence, count, send, limits)
    if sequence == expected:
        if shared[st.OFFSET] >= 0 and offset != shared[st.OFFSET]:
            counts[st.C_OFFSET] += 1
        shared[st.REFUSED] = 0
    shared[st.LATEST_SEND] = max(shared[st.LATEST_SEND], send)
    place[st.AT] = at + tp.HEAD_BYTES
    place[st.LEFT] = count
    place[st.NUMBER] = sequence
    place[st.STOP] = min(stop, at + tp.HEAD_BYTES + payload)
    place[st.STREAM] = offset - place[st.AT]
    if stop > place[st.STOP]:
        counts[st.C_TRAILING] += 1
    return st.DONE


@njit(cache=True, nogil=True, forceinline=True)
def _messages(state, book, out, data, ts_recv, place, limits, base):  # type: ignore[no-untyped-def]
    """Handle the rest of the segment at ``place``; DONE, or what must be made room for first."""
    shared = state.shared
    at, left, number, stop = place[st.AT], place[st.LEFT], place[st.NUMBER], place[st.STOP]
    code = st.DONE
    while left:
        if at + LENGTH_BYTES > stop or at + LENGTH_BYTES + le16(data, at) > stop:
            state.counts[st.C_TRUNCATED] += 1
            left = 0
            break
        size = le16(data, at)
        if number < shared[st.EXPECTED]:
            state.counts[st.C_DUPLICATE] += 1
        else:
            if shared[st.IN_OUTPUT] == st.MESSAGES_MAX:
                code = st.FULL
                break
            code = _message(state, book, out, data, at + LENGTH_BYTES, size, number, ts_recv, limits, base)
            if code != st.DONE:
                break
            shared[st.IN_OUTPUT] += 1
            shared[st.EXPECTED] = number + 1
        at += LENGTH_BYTES + size
        number += 1
        left -= 1
    place[st.AT], place[st.LEFT], place[st.NUMBER] = at, left, number
    return code


@njit(cache=True, nogil=True)
def run(state, book, out, data, offsets, kinds, ts_recv, place, limits, base):  # type: ignore[no-untyped-def]
    """Go on at ``place`` until the batch is through (DONE) or something needs the caller.

    limits: int64 (3): first and last time of the day, lateness; ns. base: added to a number to make its seq.
    """
    state = st.State(
        unowned(state.shared),
        unowned(state.counts),
        unowned(state.types),
        unowned(state.slots),
        unowned(state.numbers),
        unowned(state.names),
        unowned(state.tops),
        unowned(state.marks),
    )
    book = LevelArrays(unowned(book.sides), unowned(book.levels), unowned(book.used))
    out = st.Output(
        unowned(out.trades),
        unowned(out.quotes),
        unowned(out.deltas),
        unowned(out.statuses),
        unowned(out.gaps),
        unowned(out.used),
    )
    data, offsets, kinds = unowned(data), unowned(offsets), unowned(kinds)
    place, limits = unowned(place), unowned(limits)
    shared = state.shared
    while place[st.RECORD] < kinds.size:
        record = place[st.RECORD]
        if place[st.LEFT] == 0:
            if kinds[record] != _DATA:
                return st.OTHER_KIND
            code = _open_segment(state, data, offsets[record], offsets[record + 1], place, limits)
            if code != st.DONE:
                return code
            if place[st.LEFT] == 0:
                place[st.RECORD] += 1
                continue
        code = _messages(state, book, out, data, ts_recv[record], place, limits, base)
        if code != st.DONE:
            return code
        shared[st.OFFSET] = place[st.STREAM] + place[st.AT]
        place[st.RECORD] += 1
        if shared[st.EXPECTED] >= shared[st.PENDING_FIRST]:
            return st.DUE
    return st.DONE
