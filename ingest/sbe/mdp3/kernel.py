"""MDP 3.0 datagrams in, events in columns out: the compiled loop under the decoder.

One call takes a whole batch of datagrams. It stops, telling why, at whatever needs more than arithmetic: a
packet out of order, a snapshot, a definition, an instrument that is new, an entry that does not fit its book.
It is entered again at the same place, so a stop comes before anything was changed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.sbe.mdp3 import state as st
from ingest.sbe.mdp3.entries import Times, end_event, entry
from ingest.sbe.mdp3.packets import (
    FRAME_BYTES_MIN,
    HEAD_BYTES,
    MESSAGE_HEAD_BYTES,
    SIZE_BYTES,
    le16,
    le32,
    le64,
)
from ingest.sbe.mdp3.schema import group_of, root_layout
from ingest.sbe.mdp3.templates import BOOK, HEARTBEAT, SCHEMA_ID
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.unowned import unowned

GAP_WAIT_NS = 50 * NS_PER_MS  # the other line is microseconds behind; after this nobody has the packet
RESTART_NS = NS_PER_S  # a lower number that was sent this much later is no late copy but a new sequence
CLOCK_SKEW_NS = NS_PER_S  # an event is not after its packet; beyond this its time is no time
_DATA = 0  # RecordKind.DATA
_ROOT = root_layout(BOOK)
_TIME, _INDICATOR = _ROOT.offsets["TransactTime"], _ROOT.offsets["MatchEventIndicator"]
_ROOT_NEEDED = _ROOT.end_of("TransactTime", "MatchEventIndicator")
END_OF_EVENT = 0x80
_GROUP_HEAD = group_of(BOOK).dimension.size
_GROUP_COUNT = group_of(BOOK).dimension.count[0]
_ORDERS_HEAD = group_of(BOOK, "NoOrderIDEntries").dimension.size
_ORDERS_COUNT = group_of(BOOK, "NoOrderIDEntries").dimension.count[0]
_LAYOUT = st.LAYOUT


class Batch(NamedTuple):
    """A capture batch as the kernel takes it."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    ts_recv: NDArray[np.int64]


class Limits(NamedTuple):
    """What a run is given: the base of ``seq``, the times that are of this session, and the lateness."""

    base: int
    low_ns: int
    high_ns: int
    lateness_ns: int


@njit(cache=True, nogil=True, forceinline=True)
def _group_end(data, at, stop, head, count_at, needed):  # type: ignore[no-untyped-def]
    """Where a group ends whose head is at ``at``; -1 where it does not fit, or its entries are too short."""
    if at + head > stop:
        return np.int64(-1)
    stride, count = le16(data, at), np.int64(data[at + count_at])
    end = at + head + stride * count
    if end > stop or (count and stride < needed):
        return np.int64(-1)
    return end


@njit(cache=True, nogil=True)
def _message(state, out, data, at, stop, place, ts_recv, limits):  # type: ignore[no-untyped-def]
    """Handle the message whose header is at ``at``, from its entry ``place[ENTRY]`` on."""
    counts, shared = state.counts, state.shared
    if le16(data, at + 4) != SCHEMA_ID:
        counts[st.C_FOREIGN] += 1
        return st.DONE
    template = le16(data, at + 2)
    kind = _LAYOUT[template, st.L_KIND] if template < st.TEMPLATES_MAX else st.UNKNOWN
    if kind == st.UNKNOWN:
        counts[st.C_UNKNOWN] += 1
        return st.DONE
    if kind == st.SEEN_TO or kind == st.SNAPSHOTS:
        return st.RARE
    if template == HEARTBEAT:
        counts[st.C_HEARTBEAT] += 1
        return st.DONE
    layout = _LAYOUT[template]
    root, block = at + MESSAGE_HEAD_BYTES, le16(data, at)
    group = root + block
    entries_end = _group_end(data, group, stop, _GROUP_HEAD, _GROUP_COUNT, layout[st.L_NEEDED])
    if block < _ROOT_NEEDED or entries_end < 0:
        return st.MALFORMED
    orders = np.int64(0)
    if layout[st.L_ORDERS]:
        if _group_end(data, entries_end, stop, _ORDERS_HEAD, _ORDERS_COUNT, 0) < 0:
            return st.MALFORMED
        orders = np.int64(data[entries_end + _ORDERS_COUNT])
    time = le64(data, root + _TIME)
    if time < limits.low_ns or time > place[st.SENT] + CLOCK_SKEW_NS:
        return st.MALFORMED
    shared[st.LATEST] = max(shared[st.LATEST], time)
    times = Times(max(time, shared[st.LATEST] - limits.lateness_ns), ts_recv, limits.base)
    stride, count = le16(data, group), np.int64(data[group + _GROUP_COUNT])
    shared[st.EVENT_OPEN] = 1
    if kind != st.PASSED:
        while place[st.ENTRY] < count:
            where = group + _GROUP_HEAD + place[st.ENTRY] * stride
            code = entry(state, out, data, where, layout, times)
            if code != st.DONE:
                return code
            place[st.ENTRY] += 1
    if data[root + _INDICATOR] & END_OF_EVENT:
        if not end_event(state, out, times):
            return st.FULL
        shared[st.EVENT_OPEN] = 0
    counts[st.C_DECODED] += 1
    counts[st.C_ORDER_ENTRIES] += orders + (count if kind == st.PASSED else 0)
    counts[st.C_BACKWARDS] += time < shared[st.LATEST]
    state.templates[template] += 1
    return st.DONE


@njit(cache=True, nogil=True)
def _open(state, data, at, stop, place, limits):  # type: ignore[no-untyped-def]
    """Read a packet's head into ``place``; DONE with AT 0 where there is nothing in it for us."""
    shared = state.shared
    place[st.PACKET] = -1
    if stop - at < HEAD_BYTES:
        return st.MALFORMED
    sequence, sent = le32(data, at), le64(data, at + 4)
    if sent < limits.low_ns or sent > limits.high_ns:
        return st.MALFORMED
    first = at + HEAD_BYTES
    if first + FRAME_BYTES_MIN <= stop and le16(data, first + SIZE_BYTES + 4) == SCHEMA_ID:
        template = le16(data, first + SIZE_BYTES + 2)
        if template < st.TEMPLATES_MAX and _LAYOUT[template, st.L_KIND] == st.SNAPSHOTS:
            return st.RECOVERY
    place[st.PACKET], place[st.SENT] = sequence, sent
    expected = shared[st.EXPECTED]
    if expected == 0:
        shared[st.EXPECTED] = sequence
        shared[st.LOST_TO] = sequence - 1
    elif sequence > expected:
        return st.EARLY
    elif sequence < expected:
        if sent > max(shared[st.SENDING], shared[st.SENT_BEFORE]) + RESTART_NS:
            return st.RESTART
        state.counts[st.C_DUPLICATE] += 1
        return st.DONE
    shared[st.SENT_BEFORE], shared[st.SENDING] = shared[st.SENDING], sent
    place[st.AT], place[st.ENTRY] = first, 0
    return st.DONE


@njit(cache=True, nogil=True)
def run(state, out, batch, place, limits):  # type: ignore[no-untyped-def]
    """Go on at ``place`` until the batch is through (DONE) or something needs the caller."""
    state = st.State(
        unowned(state.shared),
        unowned(state.counts),
        unowned(state.templates),
        unowned(state.slots),
        unowned(state.instruments),
        unowned(state.levels),
        unowned(state.fills),
        unowned(state.dirty),
        unowned(state.pending),
        unowned(state.gone),
    )
    out = st.Output(unowned(out.trades), unowned(out.quotes), unowned(out.deltas), unowned(out.used))
    data, offsets = unowned(batch.data), unowned(batch.offsets)
    kinds, received = unowned(batch.kinds), unowned(batch.ts_recv)
    shared = state.shared
    while place[st.RECORD] < kinds.size:
        record = place[st.RECORD]
        stop = offsets[record + 1]
        if place[st.AT] == 0:
            if received[record] >= shared[st.DEADLINE]:
                return st.GIVE_UP
            if kinds[record] != _DATA:
                return st.OTHER_KIND
            code = _open(state, data, offsets[record], stop, place, limits)
            if code != st.DONE:
                return code
            if place[st.AT] == 0:
                place[st.RECORD] += 1
                continue
        while place[st.AT] < stop:
            at = place[st.AT]
            if at + FRAME_BYTES_MIN > stop:
                return st.MALFORMED
            size = le16(data, at)
            if size < FRAME_BYTES_MIN or at + size > stop:
                return st.MALFORMED
            code = _message(state, out, data, at + SIZE_BYTES, at + size, place, received[record], limits)
            if code != st.DONE:
                return code
            place[st.AT], place[st.ENTRY] = at + size, 0
        state.counts[st.C_PACKETS] += 1
        shared[st.EXPECTED] = place[st.PACKET] + 1
        place[st.AT] = 0
        place[st.RECORD] += 1
        if shared[st.EXPECTED] >= shared[st.PENDING_FIRST]:
            return st.DUE
    return st.DONE
