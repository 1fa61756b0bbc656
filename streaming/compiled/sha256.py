"""SHA-256 for kernels that make many identities at once (FIPS 180-4, sections 4.1.2, 5.1.1 and 6.2).

A call of ``hashlib`` costs Python a microsecond, whatever it hashes; a signal's identity is one block of 64
bytes, which takes a third of that here.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK_BYTES = 64
_STATE = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19],
    np.uint32,
)


def _round_constants() -> list[int]:
    """The first 32 bits of the fractional parts of the cube roots of the first 64 primes."""
    primes = [number for number in range(2, 312) if all(number % other for other in range(2, number))]
    return [_cube_root(prime << 96) & 0xFFFFFFFF for prime in primes]


def _cube_root(number: int) -> int:
    """Rounded down."""
    low, high = 0, 1 << (number.bit_length() // 3 + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


_ROUNDS = np.array(_round_constants(), np.uint32)


@njit(cache=True, inline="always")
def _turned(word, bits):  # type: ignore[no-untyped-def]  # uint32, int -> uint32, rotated to the right
    return np.uint32((word >> np.uint32(bits)) | (word << np.uint32(32 - bits)))


@njit(cache=True, inline="always")
def _round(a, b, c, d, e, f, g, h, added):  # type: ignore[no-untyped-def]  # -> the new d and h
    first = h + (_turned(e, 6) ^ _turned(e, 11) ^ _turned(e, 25)) + (g ^ (e & (f ^ g))) + added
    second = (_turned(a, 2) ^ _turned(a, 13) ^ _turned(a, 22)) + ((a & b) | (c & (a | b)))
    return np.uint32(d + first), np.uint32(first + second)


@njit(cache=True)
def _compress(state, words):  # type: ignore[no-untyped-def]  # uint32 (8,), uint32 (64,): a block in its first 16
    for t in range(16, 64):
        early, late = words[t - 15], words[t - 2]
        small = _turned(early, 7) ^ _turned(early, 18) ^ np.uint32(early >> np.uint32(3))
        large = _turned(late, 17) ^ _turned(late, 19) ^ np.uint32(late >> np.uint32(10))
        words[t] = np.uint32(words[t - 16] + small + words[t - 7] + large)
    a, b, c, d = state[0], state[1], state[2], state[3]
    e, f, g, h = state[4], state[5], state[6], state[7]
    for t in range(0, 64, 8):  # the eight words turn by one with each round: instead of them, their names
        d, h = _round(a, b, c, d, e, f, g, h, words[t] + _ROUNDS[t])
        c, g = _round(h, a, b, c, d, e, f, g, words[t + 1] + _ROUNDS[t + 1])
        b, f = _round(g, h, a, b, c, d, e, f, words[t + 2] + _ROUNDS[t + 2])
        a, e = _round(f, g, h, a, b, c, d, e, words[t + 3] + _ROUNDS[t + 3])
        h, d = _round(e, f, g, h, a, b, c, d, words[t + 4] + _ROUNDS[t + 4])
        g, c = _round(d, e, f, g, h, a, b, c, words[t + 5] + _ROUNDS[t + 5])
        f, b = _round(c, d, e, f, g, h, a, b, words[t + 6] + _ROUNDS[t + 6])
        e, a = _round(b, c, d, e, f, g, h, a, words[t + 7] + _ROUNDS[t + 7])
    state[0], state[1] = np.uint32(state[0] + a), np.uint32(state[1] + b)
    state[2], state[3] = np.uint32(state[2] + c), np.uint32(state[3] + d)
    state[4], state[5] = np.uint32(state[4] + e), np.uint32(state[5] + f)
    state[6], state[7] = np.uint32(state[6] + g), np.uint32(state[7] + h)


@njit(cache=True)
def padded_bytes(length):  # type: ignore[no-untyped-def]  # int -> int
    """Bytes of a message of so many, with its padding."""
    return (length + 9 + BLOCK_BYTES - 1) // BLOCK_BYTES * BLOCK_BYTES


@njit(cache=True)
def hex_digest(message, length, words, out, at):  # type: ignore[no-untyped-def]
    """Write the digest of ``message[:length]`` as 64 hexadecimal digits to ``out`` from ``at`` on.

    message: uint8, with room for its padding (:func:`padded_bytes`), which is written to it; words: uint32
    (64,), scratch.
    """
    end = padded_bytes(length)
    message[length] = 0x80
    message[length + 1 : end - 8] = 0
    bits = length * 8
    for place in range(8):
        message[end - 1 - place] = (bits >> (8 * place)) & 0xFF
    state = _STATE.copy()
    for block in range(0, end, BLOCK_BYTES):
        for t in range(16):
            begin = block + 4 * t
            words[t] = (
                np.uint32(message[begin]) << np.uint32(24)
                | np.uint32(message[begin + 1]) << np.uint32(16)
                | np.uint32(message[begin + 2]) << np.uint32(8)
                | np.uint32(message[begin + 3])
            )
        _compress(state, words)
    for place in range(64):
        digit = (state[place >> 3] >> np.uint32(28 - 4 * (place & 7))) & np.uint32(15)
        out[at + place] = digit + (48 if digit < 10 else 87)
