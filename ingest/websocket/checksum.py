"""A book in, the CRC-32 of its top out, as Kraken and as OKX compute it.

Kraken ("Spot Websockets (v1) Book Checksum"): the ten best asks, then the ten best bids; of each level the
price and the size as sent, without point and leading zeros, all joined. A number so written is the integer in
units of its last decimal, and a pair has fixed decimals, so the integer is printed and no text is kept.

OKX ("Order book channels", checksum): the 25 best levels, ``bid:size:ask:size:`` alternating while both sides
have one, joined by colons, numbers as sent, which is without trailing zeros; a signed 32-bit result.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


class Checksum(IntEnum):
    """Whose rule."""

    NONE = 0
    KRAKEN = 1
    OKX = 2


KRAKEN_LEVELS, OKX_LEVELS = 10, 25
#: A number's text, of 19 digits and a point at most, ends so many bytes; its length is in the first of them.
NUMBER_BYTES = 24
#: Text of a top at most: levels, sides, two numbers, and room before them.
TEXT_BYTES_MAX = OKX_LEVELS * 2 * 2 * NUMBER_BYTES + NUMBER_BYTES
KEPT_BITS = 12  # of how many numbers the text is kept; their places, 100 kB, stay in a core's own cache

_KRAKEN = int(Checksum.KRAKEN)
_POINT, _COLON = ord("."), ord(":")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


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


class Scratch(NamedTuple):
    """What a checksum is computed with. Of one session: both rules write numbers differently.

    text: uint8 (TEXT_BYTES_MAX); numbers: int64, whose texts are kept (0: none), by a hash; kept: uint8,
    NUMBER_BYTES of each; tables: ``CRC_TABLES``.
    """

    text: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    kept: NDArray[np.uint8]
    tables: NDArray[np.uint32]


def make_scratch() -> Scratch:
    """Nothing is known yet."""
    return Scratch(
        np.zeros(TEXT_BYTES_MAX, dtype=np.uint8),
        np.zeros(1 << KEPT_BITS, dtype=np.int64),
        np.zeros(NUMBER_BYTES << KEPT_BITS, dtype=np.uint8),
        CRC_TABLES,
    )


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


@njit(cache=True, nogil=True, inline="always")
def _put(scratch, at, number, shortest):  # type: ignore[no-untyped-def]
    """A positive number before ``at``: in nanos and ``shortest``, or an integer; where it begins."""
    place = np.int64((np.uint64(number) * _GOLDEN) >> np.uint64(64 - KEPT_BITS))
    begin, end = place * NUMBER_BYTES, (place + 1) * NUMBER_BYTES
    if scratch.numbers[place] != number:
        kept = scratch.kept
        first = _put_shortest(kept, end, number) if shortest else _put_integer(kept, end, number)
        kept[begin] = end - first
        scratch.numbers[place] = number
    for i in range(NUMBER_BYTES):  # also what is before the number, where others will write
        scratch.text[at - NUMBER_BYTES + i] = scratch.kept[begin + i]
    return at - scratch.kept[begin]


@njit(cache=True, nogil=True)
def _units(nanos, decimals):  # type: ignore[no-untyped-def]
    """A number in units of its last decimal."""
    for _ in range(decimals, 9):
        nanos //= 10
    for _ in range(9, decimals):  # zeros behind the ninth decimal
        nanos *= 10
    return nanos


@njit(cache=True, nogil=True)
def _kraken_text(keys, sizes, counts, price_decimals, size_decimals, scratch):  # type: ignore[no-untyped-def]
    """Where the text of the top begins in ``scratch.text``, whose end it fills."""
    at = scratch.text.size
    for row in range(2):  # from the end: bids, then asks, of each the worst level first
        count = counts[row]
        sign = 1 if row == 0 else -1
        for i in range(max(0, count - KRAKEN_LEVELS), count):
            at = _put(scratch, at, _units(sizes[row, i], size_decimals), False)
            at = _put(scratch, at, _units(sign * keys[row, i], price_decimals), False)
    return at


@njit(cache=True, nogil=True)
def _okx_text(keys, sizes, counts, scratch):  # type: ignore[no-untyped-def]
    """Where the text of the top begins in ``scratch.text``, whose end it fills."""
    text = scratch.text
    at = text.size
    for i in range(min(max(counts[0], counts[1]), OKX_LEVELS) - 1, -1, -1):
        for row in (1, 0):
            if i < counts[row]:
                if at < text.size:
                    at -= 1
                    text[at] = _COLON
                level = counts[row] - 1 - i
                at = _put(scratch, at, sizes[row, level], True) - 1
                text[at] = _COLON
                at = _put(scratch, at, keys[row, level] if row == 0 else -keys[row, level], True)
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
def top_checksum(rule, keys, sizes, counts, price_decimals, size_decimals, scratch):  # type: ignore[no-untyped-def]
    """CRC-32, unsigned, of the top of one instrument's book (arrays of ``LevelBooks``).

    price_decimals, size_decimals: with which the venue writes the instrument (Kraken's rule); scratch: of
    :func:`make_scratch`, the same one for one rule.
    """
    if rule == _KRAKEN:
        at = _kraken_text(keys, sizes, counts, price_decimals, size_decimals, scratch)
    else:
        at = _okx_text(keys, sizes, counts, scratch)
    return crc32(scratch.text, at, scratch.tables)
