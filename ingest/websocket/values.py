"""Bytes of compact JSON in, one value and the place behind it out: what templates are made of.

As :mod:`.tokens`: each function takes the bytes, where the value begins and where the message ends, and gives
position -1 where the value is not in the plain form. Numba's cache looks at a function's own file only: who
changes this module also removes the compiled ``template_scan`` from ``__pycache__``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ingest.websocket.message import TS_MAX
from ingest.websocket.numbers import BEYOND, WHOLE_MAX
from ingest.websocket.template import SIGNED, Op
from ingest.websocket.tokens import MINUS, POINT, POWERS, digits, fraction, integer, text_end
from tickloom.clock import NS_PER_MS
from tickloom.events import Side
from tickloom.prices import NANOS
from tickloom.unowned import unowned
from tickloom.words import get_word

_SURVIVES_MAX = 2**22 * NANOS  # up to here every number survives a double (see tickloom.prices)
_ZERO = ord("0")
_TS_MIN, _TS_MAX = NS_PER_MS, TS_MAX
_TIME, _TIME_S = int(Op.TIME), int(Op.TIME_S)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_DAY_S = 86_400
_YEAR_MAX = 2254  # the last whole year whose nanoseconds are below TS_MAX


@njit(cache=True, nogil=True, inline="always")
def number(data, pos, end):  # type: ignore[no-untyped-def]
    """A plain decimal without quotes as nanos: (value, digits behind the point, position); -1: leave it.

    The value is BEYOND where it is a plain decimal that 64 bits of 1e-9 units do not hold. Most have fewer
    than seven digits before the point, fewer than eight behind it and no leading zero: two words, no call.
    """
    count, whole = digits(get_word(data, pos))
    point = pos + count
    places, part = digits(get_word(data, point + 1))
    after = point + 1 + places
    if (
        (count == 1 or (1 < count < 7 and data[pos] != _ZERO))
        and data[point] == POINT
        and 0 < places < 8
        and after <= end
    ):
        return whole * NANOS + part * POWERS[9 - places], places, after
    return any_number(data, pos, end)


@njit(cache=True, nogil=True)
def any_number(data, pos, end):  # type: ignore[no-untyped-def]
    """As :func:`number`, of any number."""
    data = unowned(data)
    whole, pos = integer(data, pos, end)
    if pos < 0:
        return np.int64(0), np.int64(0), -1
    part, decimals = np.int64(0), np.int64(0)
    if pos < end and data[pos] == POINT:
        part, decimals, pos = fraction(data, pos + 1, end)
        if pos < 0:
            return np.int64(0), np.int64(0), -1
    if whole > WHOLE_MAX:
        return np.int64(BEYOND), decimals, pos
    value = whole * NANOS + part * (POWERS[9 - decimals] if decimals < 9 else 1)
    if value > _SURVIVES_MAX and np.int64(np.rint(np.float64(value) / NANOS * NANOS)) != value:
        return np.int64(0), np.int64(0), -1
    return value, decimals, pos


@njit(cache=True, nogil=True)
def decimal_end(data, pos, end):  # type: ignore[no-untyped-def]
    """Behind a plain decimal without quotes that may be negative; -1: leave it."""
    data = unowned(data)
    if pos < end and data[pos] == MINUS:
        pos += 1
    _, pos = integer(data, pos, end)
    if pos < 0 or pos >= end or data[pos] != POINT:
        return pos
    point = pos
    pos += 1
    while pos < end and 48 <= data[pos] <= 57:
        pos += 1
    return pos if pos > point + 1 else -1


@njit(cache=True, nogil=True)
def seconds(data, pos, end):  # type: ignore[no-untyped-def]
    """Decimal seconds, ten digits and at most nine behind the point, as ns: (value, position)."""
    data = unowned(data)
    value, after = integer(data, pos, end)
    if after - pos != 10 or value > _TS_MAX // NANOS:
        return np.int64(0), -1
    value *= NANOS
    if after < end and data[after] == POINT:
        part, count, after = fraction(data, after + 1, end)
        if count > 9:
            return np.int64(0), -1
        value += part * POWERS[9 - count]
    return value, after


@njit(cache=True, nogil=True)
def _digits(data, pos, count):  # type: ignore[no-untyped-def]
    data = unowned(data)
    value = np.int64(0)
    for i in range(pos, pos + count):
        if data[i] < 48 or data[i] > 57:
            return np.int64(-1)
        value = value * 10 + np.int64(data[i] - 48)
    return value


@njit(cache=True, nogil=True)
def iso_time(data, pos, end):  # type: ignore[no-untyped-def]
    """``2021-04-17T16:43:37.075687Z`` as ns: (value, position behind the Z)."""
    data = unowned(data)
    if pos + 20 > end or data[pos + 4] != 45 or data[pos + 7] != 45 or data[pos + 10] != 84:
        return np.int64(0), -1
    if data[pos + 13] != 58 or data[pos + 16] != 58:
        return np.int64(0), -1
    year, month, day = _digits(data, pos, 4), _digits(data, pos + 5, 2), _digits(data, pos + 8, 2)
    hour, minute, second = _digits(data, pos + 11, 2), _digits(data, pos + 14, 2), _digits(data, pos + 17, 2)
    if (
        year < 1970
        or year > _YEAR_MAX
        or month < 1
        or month > 12
        or day < 1
        or day > _month_days(year, month)
    ):
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
    value *= NANOS
    pos += 19
    if data[pos] == POINT:
        part, count, pos = fraction(data, pos + 1, end)
        if pos < 0 or count > 9:
            return np.int64(0), -1
        value += part * POWERS[9 - count]
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
def side_text(data, pos, end):  # type: ignore[no-untyped-def]
    """Side spelt b, s, buy, sell, Buy or Sell, up to a quote: (side, position of the quote); -1: neither."""
    data = unowned(data)
    stop = text_end(data, pos, end)
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
def signed(data, pos, end, flags):  # type: ignore[no-untyped-def]
    """An integer: (value, position behind)."""
    data = unowned(data)
    if flags & SIGNED and pos < end and data[pos] == MINUS:
        value, pos = integer(data, pos + 1, end)
        return -value, pos
    return integer(data, pos, end)


@njit(cache=True, nogil=True, inline="always")
def literal(data, pos, end, pool, at, length):  # type: ignore[no-untyped-def]
    """Behind the ``length`` bytes at ``at`` of ``pool``, which has eight more behind them; -1: others."""
    if pos + length > end:
        return -1
    if length < 8:
        differs = (get_word(data, pos) ^ get_word(pool, at)) << np.uint64(64 - 8 * length)
        return pos + length if differs == np.uint64(0) else -1
    for i in range(0, length - 7, 8):
        if get_word(data, pos + i) != get_word(pool, at + i):
            return -1
    last = length - 8
    return pos + length if get_word(data, pos + last) == get_word(pool, at + last) else -1


@njit(cache=True, nogil=True)
def time_value(code, unit, data, pos, end):  # type: ignore[no-untyped-def]
    """A time in any of the forms as ns: (value, position behind)."""
    data = unowned(data)
    if code == _TIME:
        value, pos = integer(data, pos, end)
        if value > _TS_MAX // unit:
            return value, -1
        value *= unit
    elif code == _TIME_S:
        value, pos = seconds(data, pos, end)
    else:
        value, pos = iso_time(data, pos, end)
    if value < _TS_MIN or value > _TS_MAX:
        return value, -1
    return value, pos
