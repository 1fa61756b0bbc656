"""Bytes of compact JSON in, one value and the place behind it out: what :mod:`.scan` is made of.

Each function takes the bytes, where the value begins and where the message ends, and gives position -1 where
the value is not in the plain form that Binance sends. Numba's cache looks at a function's own file only:
who changes this module also removes the compiled ``scan`` from ``__pycache__``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from tickloom.prices import NANOS

QUOTE, COMMA, POINT, MINUS = ord('"'), ord(","), ord("."), ord("-")
OPEN, CLOSE = ord("["), ord("]")
TRUE = np.frombuffer(b"true", dtype=np.uint8)
FALSE = np.frombuffer(b"false", dtype=np.uint8)

_EXACT_MAX = 2**53  # integers up to here are doubles


@njit(cache=True, nogil=True)
def same(data, pos, end, text):  # type: ignore[no-untyped-def]
    """Whether ``text`` stands at ``pos``."""
    if pos + text.size > end:
        return False
    for i in range(text.size):  # noqa: SIM110  a generator would cost a compiled closure
        if data[pos + i] != text[i]:
            return False
    return True


@njit(cache=True, nogil=True)
def integer(data, pos, end):  # type: ignore[no-untyped-def]
    """A JSON integer without sign, at most 18 digits: (value, position behind); position -1: not one."""
    start = pos
    value = np.int64(0)
    while pos < end and 48 <= data[pos] <= 57:
        value = value * 10 + np.int64(data[pos] - 48)
        pos += 1
        if pos - start > 18:
            return np.int64(0), -1
    if pos == start or (data[start] == 48 and pos - start > 1):
        return np.int64(0), -1
    return value, pos


@njit(cache=True, nogil=True)
def decimal(data, pos, end):  # type: ignore[no-untyped-def]
    """A quoted plain decimal as nanos: (value, position behind the quote); position -1: not one."""
    if pos >= end or data[pos] != QUOTE:
        return np.int64(0), -1
    pos += 1
    start = pos
    value = np.int64(0)
    while pos < end and 48 <= data[pos] <= 57:
        value = value * 10 + np.int64(data[pos] - 48)
        pos += 1
        if pos - start > 7:
            return np.int64(0), -1
    if pos == start or (data[start] == 48 and pos - start > 1):
        return np.int64(0), -1
    decimals = 0
    if pos < end and data[pos] == POINT:
        pos += 1
        while pos < end and 48 <= data[pos] <= 57:
            digit = np.int64(data[pos] - 48)
            if decimals < 9:
                value = value * 10 + digit
            elif digit != 0:
                return np.int64(0), -1
            decimals += 1
            pos += 1
        if decimals == 0:
            return np.int64(0), -1
    for _ in range(decimals, 9):
        value *= 10
    if pos >= end or data[pos] != QUOTE or value > _EXACT_MAX:
        return np.int64(0), -1
    if np.int64(np.rint(np.float64(value) / NANOS * NANOS)) != value:
        return np.int64(0), -1
    return value, pos + 1


@njit(cache=True, nogil=True)
def skip(data, pos, end):  # type: ignore[no-untyped-def]
    """Behind a value that is not used: text without escapes, integer, true or false; -1: something else."""
    if pos >= end:
        return -1
    if data[pos] == QUOTE:
        pos += 1
        while pos < end and data[pos] != QUOTE:
            if data[pos] < 32 or data[pos] > 126 or data[pos] == 92:
                return -1
            pos += 1
        return pos + 1 if pos < end else -1
    if same(data, pos, end, TRUE):
        return pos + 4
    if same(data, pos, end, FALSE):
        return pos + 5
    _, pos = integer(data, pos, end)
    return pos


@njit(cache=True, nogil=True)
def levels(data, pos, end, side, used, price, size, sides):  # type: ignore[no-untyped-def]
    """An array of [price, size]: (position behind it, levels in use); position -1: leave it."""
    if pos + 1 >= end or data[pos] != OPEN:
        return -1, used
    pos += 1
    if data[pos] == CLOSE:
        return pos + 1, used
    while True:
        if pos >= end or data[pos] != OPEN:
            return -1, used
        first, pos = decimal(data, pos + 1, end)
        if pos < 0 or pos >= end or data[pos] != COMMA or first <= 0:
            return -1, used
        second, pos = decimal(data, pos + 1, end)
        if pos < 0 or pos + 1 >= end or data[pos] != CLOSE:
            return -1, used
        price[used], size[used], sides[used] = first, second, side
        used += 1
        pos += 1
        if data[pos] == CLOSE:
            return pos + 1, used
        if data[pos] != COMMA:
            return -1, used
        pos += 1
