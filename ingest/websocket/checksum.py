"""A book in, the CRC-32 of its top out, as Kraken and as OKX compute it.

Kraken ("Spot Websockets (v1) Book Checksum"): the ten best asks, then the ten best bids; of each level the
price and the size as sent, without point and leading zeros, all joined. A number so written is the integer in
units of its last decimal, and a pair has fixed decimals, so the integer is printed and no text is kept.

OKX ("Order book channels", checksum): the 25 best levels, ``bid:size:ask:size:`` alternating while both sides
have one, joined by colons, numbers as sent, which is without trailing zeros; a signed 32-bit result.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray


class Checksum(IntEnum):
    """Whose rule."""

    NONE = 0
    KRAKEN = 1
    OKX = 2


KRAKEN_LEVELS, OKX_LEVELS = 10, 25
#: Text of a top at most: levels, sides, two numbers of up to 20 digits with point and colon.
TEXT_BYTES_MAX = OKX_LEVELS * 2 * 2 * 22

_KRAKEN, _OKX = int(Checksum.KRAKEN), int(Checksum.OKX)
_POINT, _COLON = ord("."), ord(":")


def _table() -> NDArray[np.uint32]:
    """CRC-32 (IEEE 802.3, reflected polynomial 0xEDB88320) of each byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0xEDB88320), table >> 1).astype(np.uint32)
    return table


CRC_TABLE = _table()


@njit(cache=True, nogil=True)
def _put_integer(text, used, value):  # type: ignore[no-untyped-def]
    """Decimal digits of a positive integer; nothing of zero."""
    start = used
    while value > 0:
        text[used] = 48 + value % 10
        value //= 10
        used += 1
    low, high = start, used - 1
    while low < high:
        text[low], text[high] = text[high], text[low]
        low += 1
        high -= 1
    return used


@njit(cache=True, nogil=True)
def _put_shortest(text, used, nanos):  # type: ignore[no-untyped-def]
    """A number in nanos as plain decimal text without trailing zeros."""
    whole, part = nanos // 1_000_000_000, nanos % 1_000_000_000
    if whole == 0:
        text[used] = 48
        used += 1
    else:
        used = _put_integer(text, used, whole)
    if part:
        text[used] = _POINT
        used += 1
        unit = 100_000_000
        while part:
            text[used] = 48 + part // unit
            part %= unit
            unit //= 10
            used += 1
    return used


@njit(cache=True, nogil=True)
def _in_units(nanos, decimals):  # type: ignore[no-untyped-def]
    """A number in nanos in units of its last decimal."""
    for _ in range(decimals, 9):
        nanos //= 10
    for _ in range(9, decimals):  # zeros behind the ninth decimal
        nanos *= 10
    return nanos


@njit(cache=True, nogil=True)
def top_checksum(rule, keys, sizes, counts, price_decimals, size_decimals, text, table):  # type: ignore[no-untyped-def]
    """CRC-32, unsigned, of the top of one instrument's book (arrays of ``LevelBooks``).

    price_decimals, size_decimals: with which the venue writes the instrument (Kraken's rule); text: uint8
    scratch of ``TEXT_BYTES_MAX``; table: ``CRC_TABLE``.
    """
    used = 0
    bids, asks = counts[0], counts[1]
    if rule == _KRAKEN:
        for i in range(min(asks, KRAKEN_LEVELS)):
            used = _put_integer(text, used, _in_units(-keys[1, asks - 1 - i], price_decimals))
            used = _put_integer(text, used, _in_units(sizes[1, asks - 1 - i], size_decimals))
        for i in range(min(bids, KRAKEN_LEVELS)):
            used = _put_integer(text, used, _in_units(keys[0, bids - 1 - i], price_decimals))
            used = _put_integer(text, used, _in_units(sizes[0, bids - 1 - i], size_decimals))
    else:
        for i in range(min(max(bids, asks), OKX_LEVELS)):
            for row in range(2):
                if i < counts[row]:
                    at = counts[row] - 1 - i
                    if used:
                        text[used] = _COLON
                        used += 1
                    used = _put_shortest(text, used, keys[row, at] if row == 0 else -keys[row, at])
                    text[used] = _COLON
                    used = _put_shortest(text, used + 1, sizes[row, at])
    crc = np.uint32(0xFFFFFFFF)
    for i in range(used):
        crc = table[(crc ^ text[i]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return np.int64(crc ^ np.uint32(0xFFFFFFFF))
