"""Rows by time in, silences that fire out: the state machine of an absence, one state a key.

A key is IDLE until an expected row comes, then WAITING for the next one. When that has not come in time
(`due`) and witnesses enough have, the silence fires and the key is IDLE again; with too few it is
OVERDUE, and the witness that makes them enough fires it. Another expected row begins a new silence, an
unless row none. All times are event time, ms.

Arrays of a state have a row for each key: `since` (time of the expected row), `phase`, `counts`
(witnesses), `e_*` (values of the expected row), and a column for each fact over witnesses: `f_counts`
(witnesses whose value is not NULL), `f_ints` or `f_floats`.
"""

from __future__ import annotations

from numba import njit

from streaming.absence.plan import EXPECTED as _EXPECTED
from streaming.absence.plan import WITNESS as _WITNESS

IDLE, WAITING, OVERDUE = range(3)
FIRST, LAST, COUNT, SUM, MIN, MAX = range(6)
#: Fact functions by their names in SQL; AVG is a SUM until it is read.
FUNCTIONS = {"FIRST": FIRST, "LAST": LAST, "COUNT": COUNT, "SUM": SUM, "AVG": SUM, "MIN": MIN, "MAX": MAX}


# Of the arguments below: order int64 (n,) row numbers by time, seq and role; keys int32 (n,); times int64
# (n,); roles int8 (n,); ints int64 (n, v), floats float64 (n, v), nulls bool (n, v); functions, places
# int64 (facts,); state and out: tuples of arrays as `matcher` makes them. Nothing is allocated.
@njit(cache=True)
def advance(  # type: ignore[no-untyped-def]
    start, order, keys, times, roles, ints, floats, nulls, functions, places, silence_ms, least, until_ms,
    state, out,
):  # fmt: skip
    """Take rows from ``start`` on; returns the number of the next row, which is not the last one if
    ``out`` is full, and how many silences were written to it."""
    since, phase, counts = state[0], state[1], state[2]
    fired = 0
    for k in range(start, len(order)):
        if fired == len(out[0]):
            return k, fired
        row = order[k]
        key, now = keys[row], times[row]
        if phase[key] == WAITING and now >= since[key] + silence_ms:
            if counts[key] >= least:
                write(key, since[key] + silence_ms, state, out, fired)
                phase[key] = IDLE
                fired += 1
            else:
                phase[key] = OVERDUE
        if roles[row] == _WITNESS:
            if phase[key] == IDLE:
                continue
            if now >= since[key] + until_ms:
                phase[key] = IDLE
                continue
            take(key, row, ints, floats, nulls, functions, places, state)
            if phase[key] == OVERDUE and counts[key] >= least:
                write(key, now, state, out, fired)
                phase[key] = IDLE
                fired += 1
        elif roles[row] == _EXPECTED:
            phase[key], since[key], counts[key] = WAITING, now, 0
            begin(key, row, ints, floats, nulls, state)
        else:
            phase[key] = IDLE
    return len(order), fired


@njit(cache=True)
def expire(start, limit_ms, silence_ms, least, state, out):  # type: ignore[no-untyped-def]
    """Fire what is due up to ``limit_ms``, from key ``start`` on; as :func:`advance` otherwise."""
    since, phase, counts = state[0], state[1], state[2]
    fired = 0
    for key in range(start, len(since)):
        if phase[key] == WAITING and limit_ms >= since[key] + silence_ms:
            if counts[key] < least:
                phase[key] = OVERDUE
                continue
            if fired == len(out[0]):
                return key, fired
            write(key, since[key] + silence_ms, state, out, fired)
            phase[key] = IDLE
            fired += 1
    return len(since), fired


@njit(cache=True)
def begin(key, row, ints, floats, nulls, state):  # type: ignore[no-untyped-def]
    """Remember an expected row, and forget the witnesses before it."""
    e_ints, e_floats, e_nulls, f_counts = state[3], state[4], state[5], state[8]
    for column in range(e_ints.shape[1]):
        e_ints[key, column] = ints[row, column]
        e_floats[key, column] = floats[row, column]
        e_nulls[key, column] = nulls[row, column]
    for fact in range(f_counts.shape[1]):
        f_counts[key, fact] = 0


@njit(cache=True)
def take(key, row, ints, floats, nulls, functions, places, state):  # type: ignore[no-untyped-def]
    """Add a witness to the facts."""
    counts, f_ints, f_floats, f_counts = state[2], state[6], state[7], state[8]
    counts[key] += 1
    for fact in range(len(functions)):
        function, place = functions[fact], places[fact]
        null, whole, real = nulls[row, place], ints[row, place], floats[row, place]
        if function <= LAST:
            if function == FIRST and counts[key] > 1:
                continue
            f_ints[key, fact], f_floats[key, fact] = whole, real
            f_counts[key, fact] = 0 if null else 1
            continue
        if null:
            continue
        f_counts[key, fact] += 1
        if function == SUM and f_counts[key, fact] > 1:
            f_ints[key, fact] += whole
            f_floats[key, fact] += real
            continue
        # a value is in one of the two arrays; in the other both sides are 0
        less = whole < f_ints[key, fact] or real < f_floats[key, fact]
        more = whole > f_ints[key, fact] or real > f_floats[key, fact]
        if f_counts[key, fact] == 1 or (function == MIN and less) or (function == MAX and more):
            f_ints[key, fact], f_floats[key, fact] = whole, real


@njit(cache=True)
def write(key, at_ms, state, out, place):  # type: ignore[no-untyped-def]
    """Copy what a silence remembers, as it stands, to ``out``."""
    out[0][place], out[1][place] = key, at_ms
    e_ints, e_floats, e_nulls = state[3], state[4], state[5]
    for column in range(e_ints.shape[1]):
        out[2][place, column] = e_ints[key, column]
        out[3][place, column] = e_floats[key, column]
        out[4][place, column] = e_nulls[key, column]
    f_ints, f_floats, f_counts = state[6], state[7], state[8]
    for fact in range(f_ints.shape[1]):
        out[5][place, fact] = f_ints[key, fact]
        out[6][place, fact] = f_floats[key, fact]
        out[7][place, fact] = f_counts[key, fact]
