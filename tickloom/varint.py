"""Avro's primitive encodings as Numba functions: zigzag varints, doubles, strings.

Source: Apache Avro 1.12 specification, "Binary encoding".
"""

from __future__ import annotations

import numpy as np
from numba import njit

from tickloom.words import get_word, trailing_zeros

VARINT_BYTES_MAX = 10  # 64 bits at 7 a byte


@njit(cache=True, nogil=True, inline="always")
def put_long(out, pos, value):  # type: ignore[no-untyped-def]
    """Write ``value`` as a zigzag varint at ``pos``; the position behind it."""
    left = np.uint64((value << np.int64(1)) ^ (value >> np.int64(63)))
    while left >= np.uint64(0x80):
        out[pos] = np.uint8((left & np.uint64(0x7F)) | np.uint64(0x80))
        left >>= np.uint64(7)
        pos += 1
    out[pos] = np.uint8(left)
    return pos + 1


@njit(cache=True, nogil=True, inline="always")
def get_long(raw, pos):  # type: ignore[no-untyped-def]
    """Read a zigzag varint: (value, position behind it); position -1 where it does not end in time.

    Eight bytes at once where there are as many: most numbers here are times of nine bytes.
    """
    if pos + VARINT_BYTES_MAX > raw.size:
        return _get_long_by_byte(raw, pos)
    word = get_word(raw, pos)
    if word & np.uint64(0x80) == np.uint64(0):  # predicted, where the length below must be waited for
        return np.int64((word >> np.uint64(1)) & np.uint64(0x3F)) ^ -np.int64(word & np.uint64(1)), pos + 1
    ends = ~word & np.uint64(0x8080808080808080)
    if ends != np.uint64(0):
        word &= ends ^ (ends - np.uint64(1))  # up to the first byte that ends a number
        value = _packed(word)
        pos += (np.int64(trailing_zeros(ends)) >> 3) + 1
    else:
        value = _packed(word)
        byte = np.uint64(raw[np.uint64(pos + 8)])
        value |= (byte & np.uint64(0x7F)) << np.uint64(56)
        pos += 9
        if byte >= np.uint64(0x80):
            byte = np.uint64(raw[np.uint64(pos)])
            if byte >= np.uint64(0x80):
                return np.int64(0), -1
            value |= byte << np.uint64(63)
            pos += 1
    return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), pos


@njit(cache=True, nogil=True, inline="always")
def guess_long(raw, pos, length):  # type: ignore[no-untyped-def]
    """What is at ``pos`` if it is a number of ``length`` bytes, up to 9: (value, whether it is).

    Times of one record have one length. Whoever guesses it need not wait for one number to know where the
    next begins. ``raw`` has at least 9 bytes there.
    """
    word = get_word(raw, pos)
    kept = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - 8 * min(length, 8))
    ends = ~word & np.uint64(0x8080808080808080) & kept
    value = _packed(word & kept)
    if length == 9:
        byte = np.uint64(raw[np.uint64(pos + 8)])
        value |= byte << np.uint64(56)
        fits = (ends == np.uint64(0)) & (byte < np.uint64(0x80))
    else:
        fits = ends == np.uint64(1) << np.uint64(8 * length - 1)
    return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), fits


@njit(cache=True, nogil=True, inline="always")
def skip_longs(raw, pos, count):  # type: ignore[no-untyped-def]
    """The position behind ``count`` numbers; -1 where they do not end in time."""
    if pos + 8 <= raw.size:
        ends = ~get_word(raw, pos) & np.uint64(0x8080808080808080)
        for _ in range(count - 1):
            ends &= ends - np.uint64(1)
        if ends != np.uint64(0) and count > 0:
            return pos + (np.int64(trailing_zeros(ends)) >> 3) + 1
    for _ in range(count):
        _, pos = get_long(raw, pos)
        if pos < 0:
            break
    return pos


@njit(cache=True, nogil=True, inline="always")
def skip_longs_within(raw, pos, count):  # type: ignore[no-untyped-def]
    """The position behind ``count`` numbers, one or more, if they end within eight bytes, else -1.

    ``raw`` has at least 8 bytes there.
    """
    ends = ~get_word(raw, pos) & np.uint64(0x8080808080808080)
    for _ in range(count - 1):
        ends &= ends - np.uint64(1)
    return pos + (np.int64(trailing_zeros(ends)) >> 3) + 1 if ends != np.uint64(0) else np.int64(-1)


@njit(cache=True, nogil=True)
def _get_long_by_byte(raw, pos):  # type: ignore[no-untyped-def]
    value = np.uint64(0)
    shift = np.uint64(0)
    for _ in range(VARINT_BYTES_MAX):
        if pos >= raw.size:
            return np.int64(0), -1
        byte = np.uint64(raw[pos])
        pos += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            half = np.int64(value >> np.uint64(1))
            return half ^ -np.int64(value & np.uint64(1)), pos
        shift += np.uint64(7)
    return np.int64(0), -1


@njit(cache=True, nogil=True, inline="always")
def _packed(word):  # type: ignore[no-untyped-def]
    """The seven low bits of each of eight bytes, without the gaps between them."""
    word &= np.uint64(0x7F7F7F7F7F7F7F7F)
    word = ((word & np.uint64(0x7F007F007F007F00)) >> np.uint64(1)) | (word & np.uint64(0x007F007F007F007F))
    word = ((word & np.uint64(0x3FFF00003FFF0000)) >> np.uint64(2)) | (word & np.uint64(0x00003FFF00003FFF))
    return ((word & np.uint64(0x0FFFFFFF00000000)) >> np.uint64(4)) | (word & np.uint64(0x000000000FFFFFFF))


@njit(cache=True, nogil=True, inline="always")
def put_bits(out, pos, bits):  # type: ignore[no-untyped-def]
    """Write the 64 bits of a double, little-endian."""
    for shift in range(0, 64, 8):
        out[pos] = np.uint8((bits >> np.int64(shift)) & np.int64(0xFF))
        pos += 1
    return pos
