"""Bytes of compact JSON in, one value and the place behind it out: what :mod:`.scan` is made of.

Each function takes the bytes, where the value begins and where the message ends, and gives position -1 where
the value is not in the plain form that Binance sends. Eight bytes are read at once, so the bytes are those of
:func:`padded`. Numba's cache looks at a function's own file only: who changes this module also removes the
compiled ``scan`` from ``__pycache__``.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tickloom.prices import NANOS
from tickloom.unowned import unowned
from tickloom.words import get_word, trailing_zeros

QUOTE, COMMA, POINT, MINUS = ord('"'), ord(","), ord("."), ord("-")
OPEN, CLOSE = ord("["), ord("]")
TRUE = np.frombuffer(b"true", dtype=np.uint8)
FALSE = np.frombuffer(b"false", dtype=np.uint8)

PADDING = 24  # an integer of 18 digits is looked for in three words

POWERS = np.array([10**n for n in range(10)], dtype=np.int64)

_EXACT_MAX = 2**53  # integers up to here are doubles
_ONE = 0x0101010101010101  # in each byte
_ZEROS, _TENS = np.uint64(ord("0") * _ONE), np.uint64((128 - 10) * _ONE)
_HIGH = np.uint64(0x80 * _ONE)
_QUOTES, _BACKSLASHES = np.uint64(QUOTE * _ONE), np.uint64(ord("\\") * _ONE)
_ONES, _SPACES = np.uint64(_ONE), np.uint64(ord(" ") * _ONE)


def padded(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same bytes with PADDING zeros behind them."""
    out = np.zeros(data.size + PADDING, dtype=np.uint8)
    out[: data.size] = data
    return out


@njit(cache=True, nogil=True, inline="always")
def digits(word):  # type: ignore[no-untyped-def]
    """How many digits eight bytes begin with, and what number they are.

    Two digits, then four, then all eight are put together at once; those that are missing are zeros before.
    """
    word ^= _ZEROS
    others = ((word + _TENS) | word) & _HIGH  # right up to the first byte that is no digit
    count = trailing_zeros(others) >> np.uint64(3) if others != np.uint64(0) else np.uint64(8)
    if count == np.uint64(0):
        return np.int64(0), np.int64(0)
    word <<= np.uint64(64) - (count << np.uint64(3))
    word = word * np.uint64(10) + (word >> np.uint64(8))
    word = (
        (word & np.uint64(0x000000FF000000FF)) * np.uint64(100 + (1_000_000 << 32))
        + ((word >> np.uint64(16)) & np.uint64(0x000000FF000000FF)) * np.uint64(1 + (10_000 << 32))
    ) >> np.uint64(32)
    return np.int64(count), np.int64(word & np.uint64(0xFFFFFFFF))


@njit(cache=True, nogil=True)
def same(data, pos, end, text):  # type: ignore[no-untyped-def]
    """Whether ``text`` stands at ``pos``."""
    data = unowned(data)
    if pos + text.size > end:
        return False
    for i in range(text.size):  # noqa: SIM110  a generator would cost a compiled closure
        if data[pos + i] != text[i]:
            return False
    return True


@njit(cache=True, nogil=True)
def integer(data, pos, end):  # type: ignore[no-untyped-def]
    """A JSON integer without sign, at most 18 digits: (value, position behind); position -1: not one."""
    data = unowned(data)
    count, value = digits(get_word(data, pos))
    if count == 8:
        more, low = digits(get_word(data, pos + 8))
        count += more
        value = value * POWERS[more] + low
        if more == 8:
            more, low = digits(get_word(data, pos + 16))
            count += more
            if count > 18:
                return np.int64(0), -1
            value = value * POWERS[more] + low
    if count == 0 or pos + count > end or (count > 1 and data[pos] == 48):
        return np.int64(0), -1
    return value, pos + count


@njit(cache=True, nogil=True)
def fraction(data, pos, end):  # type: ignore[no-untyped-def]
    """Digits behind a point: (in units of the last of them or of 1e-9, how many, position behind).

    Position -1: there are none, or one behind the ninth is not zero.
    """
    data = unowned(data)
    count, value = digits(get_word(data, pos))
    pos += count
    if count == 8:
        while pos < end and 48 <= data[pos] <= 57:
            digit = np.int64(data[pos] - 48)
            if count == 8:
                value = value * 10 + digit
            elif digit != 0:
                return value, count, -1
            count += 1
            pos += 1
    return value, count, pos if count > 0 and pos <= end else -1


@njit(cache=True, nogil=True)
def decimal(data, pos, end):  # type: ignore[no-untyped-def]
    """A quoted plain decimal as nanos: (value, position behind the quote); position -1: not one."""
    data = unowned(data)
    if pos >= end or data[pos] != QUOTE:
        return np.int64(0), -1
    start = pos + 1
    value, pos = integer(data, start, end)
    if pos < 0 or pos - start > 7:
        return np.int64(0), -1
    value *= NANOS
    if pos < end and data[pos] == POINT:
        part, count, pos = fraction(data, pos + 1, end)
        value += part * (POWERS[9 - count] if count < 9 else 1)
    if pos < 0 or pos >= end or data[pos] != QUOTE or value > _EXACT_MAX:
        return np.int64(0), -1
    if np.int64(np.rint(np.float64(value) / NANOS * NANOS)) != value:
        return np.int64(0), -1
    return value, pos + 1


@njit(cache=True, nogil=True)
def text_end(data, pos, end):  # type: ignore[no-untyped-def]
    """Where the closing quote of a text of printable ASCII without escapes stands; -1: leave it."""
    data = unowned(data)
    while pos < end:
        word = get_word(data, pos)
        quotes, escapes = word ^ _QUOTES, word ^ _BACKSLASHES
        # a high bit for each byte that ends the run, right up to the first of them
        ends = (
            ((quotes - _ONES) & ~quotes)
            | ((escapes - _ONES) & ~escapes)
            | ((word - _SPACES) & ~word)
            | word
            | (word + _ONES)
        ) & _HIGH
        if ends != np.uint64(0):
            pos += np.int64(trailing_zeros(ends) >> np.uint64(3))
            return pos if pos < end and data[pos] == QUOTE else -1
        pos += 8
    return -1


@njit(cache=True, nogil=True)
def skip(data, pos, end):  # type: ignore[no-untyped-def]
    """Behind a value that is not used: text without escapes, integer, true or false; -1: something else."""
    data = unowned(data)
    if pos >= end:
        return -1
    if data[pos] == QUOTE:
        behind = text_end(data, pos + 1, end)
        return behind + 1 if behind >= 0 else -1
    if same(data, pos, end, TRUE):
        return pos + 4
    if same(data, pos, end, FALSE):
        return pos + 5
    _, pos = integer(data, pos, end)
    return pos


@njit(cache=True, nogil=True)
def levels(data, pos, end, side, used, price, size, sides):  # type: ignore[no-untyped-def]
    """An array of [price, size]: (position behind it, levels in use); position -1: leave it."""
    data = unowned(data)
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
