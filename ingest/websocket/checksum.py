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

_KRAKEN = int(Checksum.KRAKEN)
_POINT, _COLON = ord("."), ord(":")


def _tables() -> NDArray[np.uint32]:
    """CRC-32 (IEEE 802.3, reflected polynomial 0xEDB88320) of each byte, with up to seven zeros behind it."""
    tables = np.zeros((8, 256), dtype=np.uint32)
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0xEDB88320), table >> 1).astype(np.uint32)
    tables[0] = table
    for zeros in range(1, 8):
        tables[zeros] = tables[0][tables[zeros - 1] & 0xFF] ^ (tables[zeros - 1] >> 8)
    return tables


CRC_TABLES = _tables()


# Numbers come out of a division last digit first, so the text is written from its end to its beginning.


@njit(cache=True, nogil=True)
def _put_integer(text, at, value):  # type: ignore[no-untyped-def]
    """Decimal digits of a positive integer before ``at``, nothing of zero; where they begin."""
    while value >= 100:  # two digits a step: the chain of divisions is what takes the time
        rest = value // 100
        pair = value - rest * 100
        text[at - 1] = 48 + pair % 10
        at -= 2
        text[at] = 48 + pair // 10
        value = rest
    if value >= 10:
        at -= 1
        text[at] = 48 + value % 10
        value //= 10
    if value > 0:
        at -= 1
        text[at] = 48 + value
    return at


@njit(cache=True, nogil=True)
def _put_units(text, at, nanos, decimals):  # type: ignore[no-untyped-def]
    """A number in units of its last decimal before ``at``; where it begins."""
    for _ in range(decimals, 9):
        nanos //= 10
    for _ in range(9, decimals):  # zeros behind the ninth decimal
        nanos *= 10
    return _put_integer(text, at, nanos)


@njit(cache=True, nogil=True)
def _put_shortest(text, at, nanos):  # type: ignore[no-untyped-def]
    """A number in nanos as plain decimal text without trailing zeros, before ``at``; where it begins."""
    whole = nanos // 1_000_000_000
    part = nanos - whole * 1_000_000_000
    if part:
        decimals = 9
        if part % 10_000 == 0:
            part //= 10_000
            decimals -= 4
        if part % 10_000 == 0:
            part //= 10_000
            decimals -= 4
        while part % 10 == 0:
            part //= 10
            decimals -= 1
        begin = at - decimals
        at = _put_integer(text, at, part)
        while at > begin:
            at -= 1
            text[at] = 48
        at -= 1
        text[at] = _POINT
    if whole == 0:
        at -= 1
        text[at] = 48
        return at
    return _put_integer(text, at, whole)


@njit(cache=True, nogil=True)
def _kraken_text(keys, sizes, counts, price_decimals, size_decimals, text):  # type: ignore[no-untyped-def]
    """Where the text of the top begins in ``text``, whose end it fills."""
    at = text.size
    for row in range(2):  # from the end: bids, then asks, of each the worst level first
        count = counts[row]
        sign = 1 if row == 0 else -1
        for i in range(max(0, count - KRAKEN_LEVELS), count):
            at = _put_units(text, at, sizes[row, i], size_decimals)
            at = _put_units(text, at, sign * keys[row, i], price_decimals)
    return at


@njit(cache=True, nogil=True)
def _okx_text(keys, sizes, counts, text):  # type: ignore[no-untyped-def]
    """Where the text of the top begins in ``text``, whose end it fills."""
    at = text.size
    for i in range(min(max(counts[0], counts[1]), OKX_LEVELS) - 1, -1, -1):
        for row in (1, 0):
            if i < counts[row]:
                if at < text.size:
                    at -= 1
                    text[at] = _COLON
                level = counts[row] - 1 - i
                at = _put_shortest(text, at, sizes[row, level]) - 1
                text[at] = _COLON
                at = _put_shortest(text, at, keys[row, level] if row == 0 else -keys[row, level])
    return at


@njit(cache=True, nogil=True)
def crc32(text, at, tables):  # type: ignore[no-untyped-def]
    """CRC-32, unsigned, of ``text`` from ``at`` on; eight bytes a step."""
    crc = np.uint32(0xFFFFFFFF)
    low = np.uint32(0xFF)
    while at + 8 <= text.size:
        first = crc ^ (
            np.uint32(text[at])
            | (np.uint32(text[at + 1]) << np.uint32(8))
            | (np.uint32(text[at + 2]) << np.uint32(16))
            | (np.uint32(text[at + 3]) << np.uint32(24))
        )
        crc = (
            tables[7, first & low]
            ^ tables[6, (first >> np.uint32(8)) & low]
            ^ tables[5, (first >> np.uint32(16)) & low]
            ^ tables[4, first >> np.uint32(24)]
            ^ tables[3, text[at + 4]]
            ^ tables[2, text[at + 5]]
            ^ tables[1, text[at + 6]]
            ^ tables[0, text[at + 7]]
        )
        at += 8
    while at < text.size:
        crc = tables[0, (crc ^ np.uint32(text[at])) & low] ^ (crc >> np.uint32(8))
        at += 1
    return np.int64(crc ^ np.uint32(0xFFFFFFFF))


@njit(cache=True, nogil=True)
def top_checksum(rule, keys, sizes, counts, price_decimals, size_decimals, text, tables):  # type: ignore[no-untyped-def]
    """CRC-32, unsigned, of the top of one instrument's book (arrays of ``LevelBooks``).

    price_decimals, size_decimals: with which the venue writes the instrument (Kraken's rule); text: uint8
    scratch of ``TEXT_BYTES_MAX``; tables: ``CRC_TABLES``.
    """
    if rule == _KRAKEN:
        at = _kraken_text(keys, sizes, counts, price_decimals, size_decimals, text)
    else:
        at = _okx_text(keys, sizes, counts, text)
    return crc32(text, at, tables)
