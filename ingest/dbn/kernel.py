"""DBN records in, events in columns out: the compiled loop under the decoder.

It stops, telling why, at whatever needs more than arithmetic: a definition, a status, an instrument that has
no name yet. It is entered again at the same place, so a stop comes before anything was changed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.dbn import records as r
from ingest.dbn import state as st
from ingest.dbn.books import clear_rows, is_clear, must_grow, on_mbo, on_mbp
from ingest.dbn.events import Event, put_gap
from ingest.itch.wire import little16 as le16
from ingest.itch.wire import little32 as le32
from ingest.itch.wire import little64 as le64
from ingest.levels import LevelArrays
from tickloom.unowned import unowned

ROWS_OF_A_RECORD = 4 * r.LEVELS + 2  # of any one output, unless a book is cleared
TIME_MAX = 4_102_444_800_000_000_000  # 2100-01-01, ns: no event is later
_HEAD_BYTES = r.HEAD.itemsize
_MBO = int(r.RType.MBO)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LENGTHS = r.LENGTHS
_DATA = 0  # RecordKind.DATA


class Batch(NamedTuple):
    """A capture batch as the kernel takes it."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    ts_recv: NDArray[np.int64]


@njit(cache=True, nogil=True)
def slot_of(slots, instrument_id):  # type: ignore[no-untyped-def]
    """Slot of an instrument id: its own, or the free one that it would take."""
    mask = np.int64(slots.shape[0] - 1)
    slot = np.int64((np.uint64(instrument_id) * _GOLDEN) >> np.uint64(33)) & mask
    while slots[slot, 0] >= 0 and slots[slot, 0] != instrument_id:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def whole_records(data, payload_bytes, cuts):  # type: ignore[no-untyped-def]
    """Where to cut ``data``, which begins with a record, into pieces of whole records.

    Returns
    -------
    pieces, records : int
        ``cuts[:pieces]`` are the ends of the pieces, each about ``payload_bytes`` long.
    sound : bool
        False where a length cannot be: what is behind the last cut is damage.
    """
    pieces = records = 0
    at = begin = np.int64(0)
    while at < data.size:
        length = np.int64(data[at]) * 4
        if length < _HEAD_BYTES:
            if at > begin:
                cuts[pieces] = at
                pieces += 1
            return pieces, records, False
        if at + length > data.size:
            break
        at += length
        records += 1
        if at - begin >= payload_bytes:
            cuts[pieces] = at
            pieces += 1
            begin = at
    if at > begin:
        cuts[pieces] = at
        pieces += 1
    return pieces, records, True


@njit(cache=True, nogil=True, forceinline=True)
def sound_time(ts):  # type: ignore[no-untyped-def]
    """Undefined (2**64 - 1) is -1 here."""
    return 0 < ts < TIME_MAX


@njit(cache=True, nogil=True, forceinline=True)
def _skipped(state, out, seq_base, counter, captured_ns):  # type: ignore[no-untyped-def]
    """A record that is none: counted, numbered, a gap."""
    shared = state.shared
    state.counts[counter] += 1
    shared[st.NUMBERED] += 1
    number = shared[st.NUMBERED]
    ts = shared[st.LATEST] if shared[st.LATEST] else max(captured_ns, np.int64(1))
    put_gap(out, Event(ts, captured_ns, seq_base + number, np.int64(0), number))


@njit(cache=True, nogil=True)
def _record(state, out, data, at, length, captured_ns, seq_base, lateness_ns):  # type: ignore[no-untyped-def]
    """One record of ``length`` bytes, all of them there."""
    shared, counts = state.shared, state.counts
    kind = data[at + 1]
    needed = _LENGTHS[kind]
    if needed == r.RARE:
        return st.RARE
    if needed == r.NO_PLACE:
        state.types[kind] += 1
        shared[st.NUMBERED] += 1
        return st.DONE
    if length < needed:
        _skipped(state, out, seq_base, st.C_LENGTH, captured_ns)
        return st.DONE
    publisher = le16(data, at + 2)
    if shared[st.PUBLISHER] != publisher:
        if shared[st.PUBLISHER] >= 0:
            counts[st.C_FOREIGN] += 1
            shared[st.NUMBERED] += 1
            return st.DONE
        shared[st.PUBLISHER] = publisher
    is_mbo = kind == _MBO
    ts_event = le64(data, at + 8)
    ts_recv = le64(data, at + (r.TS_RECV_MBO if is_mbo else r.TS_RECV))
    has_event, has_receive = sound_time(ts_event), sound_time(ts_recv)
    if not has_event and not has_receive:
        _skipped(state, out, seq_base, st.C_TIMESTAMP, captured_ns)
        return st.DONE
    instrument_id = le32(data, at + 4)
    indexed_ns = ts_recv if has_receive else ts_event
    which = state.slots[slot_of(state.slots, instrument_id), 1]
    if which < 0 or not (
        state.instruments[which, st.FROM_NS] <= indexed_ns < state.instruments[which, st.TO_NS]
    ):
        shared[st.AT_ID], shared[st.AT_NS] = instrument_id, indexed_ns
        return st.NEW
    if is_mbo:
        if is_clear(data, at):
            rows = clear_rows(state, which)
            if out.used[st.DELTAS] + rows > out.deltas.shape[0]:
                return st.FULL
        code = must_grow(state, which, data, at)
        if code != st.DONE:
            return code
    if not has_event:
        counts[st.C_NO_EVENT] += 1
        ts_event = ts_recv
    if not has_receive:
        counts[st.C_NO_RECEIVE] += 1
        ts_recv = ts_event
    shared[st.NUMBERED] += 1
    number = shared[st.NUMBERED]
    state.types[kind] += 1
    counts[st.C_DECODED] += 1
    if ts_event < shared[st.LATEST] - lateness_ns:
        counts[st.C_LATE] += 1
    shared[st.LATEST] = max(shared[st.LATEST], ts_event)
    event = Event(ts_event, ts_recv, seq_base + number, state.instruments[which, st.SYMBOL], number)
    if is_mbo:
        on_mbo(state, out, event, which, data, at)
    else:
        on_mbp(state, out, event, which, data, at, kind)
    return st.DONE


@njit(cache=True, nogil=True)
def run(state, out, batch, place, seq_base, lateness_ns):  # type: ignore[no-untyped-def]
    """Go on at ``place`` until the batch is through (DONE) or something needs the caller."""
    book = LevelArrays(unowned(state.book.sides), unowned(state.book.levels), unowned(state.book.used))
    state = st.State(
        unowned(state.shared),
        unowned(state.counts),
        unowned(state.types),
        unowned(state.slots),
        unowned(state.instruments),
        unowned(state.tens),
        unowned(state.orders),
        book,
    )
    out = st.Output(
        unowned(out.trades),
        unowned(out.quotes),
        unowned(out.deltas),
        unowned(out.statuses),
        unowned(out.gaps),
        unowned(out.used),
    )
    data, offsets = unowned(batch.data), unowned(batch.offsets)
    kinds, ts_recv, place = unowned(batch.kinds), unowned(batch.ts_recv), unowned(place)
    while place[st.RECORD] < kinds.size:
        record = place[st.RECORD]
        if kinds[record] != _DATA:
            return st.OTHER_KIND
        at, stop = max(place[st.AT], offsets[record]), offsets[record + 1]
        while at < stop:
            for kind in range(5):
                rows = out.deltas.shape[0] if kind == st.DELTAS else st.ROWS_MAX
                if out.used[kind] + ROWS_OF_A_RECORD > rows:
                    place[st.AT] = at
                    return st.FULL
            length = np.int64(data[at]) * 4
            if length < _HEAD_BYTES or at + length > stop:
                _skipped(state, out, seq_base, st.C_MALFORMED, ts_recv[record])
                break
            code = _record(state, out, data, at, length, ts_recv[record], seq_base, lateness_ns)
            if code != st.DONE:
                place[st.AT] = at
                return code
            at += length
        place[st.RECORD] += 1
        place[st.AT] = 0
    return st.DONE
