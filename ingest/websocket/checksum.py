"""A book in, the CRC-32 of its top out, as Kraken and as OKX compute it.

Kraken ("Spot Websockets (v1) Book Checksum"): the ten best asks, then the ten best bids; of each level the
price and the size as sent, without point and leading zeros, all joined. A number so written is the integer in
units of its last decimal, and a pair has fixed decimals, so the integer is printed and no text is kept.

OKX ("Order book channels", checksum): the 25 best levels, ``bid:size:ask:size:`` alternating while both sides
have one, joined by colons, numbers as sent, which is without trailing zeros; a signed 32-bit result.

No text is made. A CRC is linear: the register behind ``a`` and ``b`` is the one behind ``a``, moved on by as
many zeros as ``b`` has bytes, xor what ``b`` leaves of an empty register. So of each number that a book has
shown, what it leaves and its length are kept, and a number costs four look-ups.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tickloom.unowned import unowned


class Checksum(IntEnum):
    """Whose rule."""

    NONE = 0
    KRAKEN = 1
    OKX = 2


KRAKEN_LEVELS, OKX_LEVELS = 10, 25
NUMBER_BYTES_MAX = 24  # of a number's text: 19 digits of an int64 and what stands between, a point, a colon
KEPT_BITS = 12  # of how many numbers is kept what they leave; 64 kB stay in a core's own cache

_KRAKEN = int(Checksum.KRAKEN)
_ZERO, _POINT, _COLON = ord("0"), ord("."), ord(":")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONES, _LOW = np.uint32(0xFFFFFFFF), np.uint32(0xFF)
_LENGTH_AT, _PLACES_AT = 32, 40  # bits of what is kept


def _byte_table() -> NDArray[np.uint32]:
    """What each byte leaves of an empty register: IEEE 802.3, reflected polynomial 0xEDB88320."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0xEDB88320), table >> 1).astype(np.uint32)
    return table


def _zeros_tables() -> NDArray[np.uint32]:
    """[n, k, b]: the register behind n zeros, if before them its byte k was b and the others none."""
    table = _byte_table()
    tables = np.zeros((NUMBER_BYTES_MAX + 1, 4, 256), dtype=np.uint32)
    for k in range(4):
        tables[0, k] = np.arange(256, dtype=np.uint32) << np.uint32(8 * k)
    for n in range(NUMBER_BYTES_MAX):
        tables[n + 1] = table[tables[n] & 0xFF] ^ (tables[n] >> 8)
    return tables


def _before(byte: int, behind: int) -> int:
    """The register that ``byte`` turns into ``behind``."""
    table = _byte_table()
    low = int(np.flatnonzero(table >> np.uint32(24) == behind >> 24)[0])
    return (((behind ^ int(table[low])) << 8) & 0xFFFFFFFF) | (low ^ byte)


_ZEROS = _zeros_tables()  # a constant of the compiled code, which counts no references of it
#: Each of OKX's numbers but the first has a colon before it. So has the first, behind this register.
_OKX_START = np.uint32(_before(_COLON, int(_ONES)))


def make_kept() -> NDArray[np.int64]:
    """What a session keeps of numbers; for one rule, because both write numbers differently.

    Shape (numbers, 2), by a hash: a number in nanos (0: none); and what it leaves, with the length of its
    text and the decimals with which it was written.
    """
    return np.zeros((1 << KEPT_BITS, 2), dtype=np.int64)


# Numbers come out of a division last digit first, so each byte is taken with the zeros that stand for those
# behind it.


@njit(cache=True, nogil=True)
def _integer(value, crc, length):  # type: ignore[no-untyped-def]
    """Put the digits of a positive integer, none of zero, before ``length`` bytes that leave ``crc``."""
    while value >= 10:  # two digits a step: the chain of divisions is what takes the time
        rest = value // 100
        pair = value - rest * 100
        high = pair // 10
        crc ^= _ZEROS[length + 1, 0, _ZERO + pair - high * 10] ^ _ZEROS[length + 2, 0, _ZERO + high]
        length += 2
        value = rest
    if value > 0:
        length += 1
        crc ^= _ZEROS[length, 0, _ZERO + value]
    return crc, length


@njit(cache=True, nogil=True)
def _shortest(nanos):  # type: ignore[no-untyped-def]
    """A colon and a number in nanos, plain and without trailing zeros: what it leaves, and its length."""
    whole = nanos // 1_000_000_000
    part = nanos - whole * 1_000_000_000
    crc, length = np.uint32(0), 0
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
        crc, length = _integer(part, crc, length)
        while length < decimals:
            length += 1
            crc ^= _ZEROS[length, 0, _ZERO]
        length += 1
        crc ^= _ZEROS[length, 0, _POINT]
    if whole:
        crc, length = _integer(whole, crc, length)
    else:
        length += 1
        crc ^= _ZEROS[length, 0, _ZERO]
    length += 1
    return crc ^ _ZEROS[length, 0, _COLON], length


@njit(cache=True, nogil=True)
def _units(nanos, decimals):  # type: ignore[no-untyped-def]
    """A number in units of its last decimal."""
    for _ in range(decimals, 9):
        nanos //= 10
    for _ in range(9, decimals):  # zeros behind the ninth decimal
        nanos *= 10
    return nanos


@njit(cache=True, nogil=True)
def _left(number, places, shortest):  # type: ignore[no-untyped-def]
    """What a number leaves, with its length and ``places``: a row of what is kept."""
    if shortest:
        crc, length = _shortest(number)
    else:
        crc, length = _integer(_units(number, places), np.uint32(0), 0)
    return np.int64(crc) | (np.int64(length) << _LENGTH_AT) | (np.int64(places) << _PLACES_AT)


@njit(cache=True, nogil=True, inline="always")
def _behind(crc, number, places, shortest, kept):  # type: ignore[no-untyped-def]
    """The register behind one more positive number."""
    place = (np.uint64(number) * _GOLDEN) >> np.uint64(64 - KEPT_BITS)
    left = kept[place, 1]
    if kept[place, 0] != number or left >> _PLACES_AT != places:
        left = _left(number, places, shortest)
        kept[place, 0], kept[place, 1] = number, left
    length = np.uint64((left >> _LENGTH_AT) & 0xFF)
    return (
        np.uint32(left & 0xFFFFFFFF)
        ^ _ZEROS[length, 0, crc & _LOW]
        ^ _ZEROS[length, 1, (crc >> np.uint32(8)) & _LOW]
        ^ _ZEROS[length, 2, (crc >> np.uint32(16)) & _LOW]
        ^ _ZEROS[length, 3, crc >> np.uint32(24)]
    )


@njit(cache=True, nogil=True)
def top_checksum(rule, keys, sizes, counts, price_decimals, size_decimals, kept):  # type: ignore[no-untyped-def]
    """CRC-32, unsigned, of the top of one instrument's book (arrays of ``LevelBooks``).

    price_decimals, size_decimals: with which the venue writes the instrument (Kraken's rule); kept: of
    :func:`make_kept`, the same one for one rule.
    """
    keys, sizes, counts, kept = unowned(keys), unowned(sizes), unowned(counts), unowned(kept)
    crc = _ONES
    if rule == _KRAKEN:
        for row in (1, 0):
            sign = 1 if row == 0 else -1
            for i in range(counts[row] - 1, max(0, counts[row] - KRAKEN_LEVELS) - 1, -1):
                crc = _behind(crc, sign * keys[row, i], price_decimals, False, kept)
                crc = _behind(crc, sizes[row, i], size_decimals, False, kept)
    elif counts[0] or counts[1]:
        crc = _OKX_START
        for far in range(1, min(max(counts[0], counts[1]), OKX_LEVELS) + 1):
            if far <= counts[0]:
                crc = _behind(crc, keys[0, counts[0] - far], 0, True, kept)
                crc = _behind(crc, sizes[0, counts[0] - far], 0, True, kept)
            if far <= counts[1]:
                crc = _behind(crc, -keys[1, counts[1] - far], 0, True, kept)
                crc = _behind(crc, sizes[1, counts[1] - far], 0, True, kept)
    return np.int64(crc ^ _ONES)
