"""Avro's primitive encodings as Numba functions: zigzag varints, doubles, strings.

Source: Apache Avro 1.12 specification, "Binary encoding".
"""

from __future__ import annotations

import numpy as np
from numba import njit

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
    """Read a zigzag varint: (value, position behind it); position -1 where it does not end in time."""
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
def put_bits(out, pos, bits):  # type: ignore[no-untyped-def]
    """Write the 64 bits of a double, little-endian."""
    for shift in range(0, 64, 8):
        out[pos] = np.uint8((bits >> np.int64(shift)) & np.int64(0xFF))
        pos += 1
    return pos


@njit(cache=True, nogil=True, inline="always")
def get_bits(raw, pos):  # type: ignore[no-untyped-def]
    """Read the 64 bits of a double, little-endian; position -1 at the end of ``raw``."""
    if pos + 8 > raw.size:
        return np.int64(0), -1
    bits = np.uint64(0)
    for i in range(8):
        bits |= np.uint64(raw[pos + i]) << np.uint64(8 * i)
    return np.int64(bits), pos + 8
