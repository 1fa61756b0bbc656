"""Rows of a kernel's results in, records of the topic ``signals`` out: all that a batch gives in one pass.

What ``outputs.Signals`` makes one by one and ``msgspec`` writes is written here by a kernel: a rule that
raises a hundred signals a batch would otherwise wait for them longer than for its matches. The bytes are the
same, and ``tests/streaming/compiled/test_records.py`` holds them to those. A signal took 2 microseconds and
more; here it takes one.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from streaming.compiled.columns import Texts
from streaming.compiled.kernel import RESULT_FIRST, RESULT_LAST, RESULT_SIDE, RESULT_SYMBOL, RESULT_TIME
from streaming.compiled.sha256 import BLOCK_BYTES, hex_digest, padded_bytes
from streaming.live.packing import LENGTH_BYTES, Packed
from streaming.rules import Rule
from tickloom.clock import NS_PER_MS

Array = NDArray[Any]
_DIGITS_MAX = 20  # of an int64, with its sign
_ID_BYTES = 64
_encode = msgspec.json.Encoder().encode


def json_number(value: float) -> float | str:
    """A number as Flink writes it: JSON has no word for one without bounds or for none, so they are texts."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class RecordWriter:
    """Writes the signals of a bound rule; the results' texts are codes of the texts given with them."""

    def __init__(self, rule: Rule, version: str) -> None:
        self._rule, self._version = rule.name, version
        self._head = _bytes(f"{rule.name}|{version}|".encode())
        self._texts: Texts | None = None
        self._names: list[bytes] = []  # as keys and parts of identities
        self._quoted: list[bytes] = []  # as JSON
        self._arrays: tuple[Array, ...] = ()
        self._venue: str | None = None
        self._pieces: tuple[Array, ...] = ()  # of that venue

    def write(self, ints: Array, floats: Array, texts: Texts, venue: str, ts_signal_ns: int) -> Packed:
        """Signals as records, each keyed by its symbol.

        Parameters
        ----------
        ints, floats : ndarray
            Rows of the kernel's results, in which nothing is NULL: int64 (n, RESULT_INTS), float64 (n,
            RESULT_FLOATS).
        """
        self._know(texts)
        if venue != self._venue:
            self._venue, self._pieces = venue, _joined(self._fixed(venue))
        values = floats.reshape(-1).tolist()
        finite = bool(np.isfinite(floats).all())
        numbers = _bytes(_encode(values if finite else [json_number(value) for value in values]))
        raw = _write(ints, numbers, ts_signal_ns, self._head, *self._pieces, *self._arrays)
        return Packed(raw.tobytes(), len(ints))

    def _fixed(self, venue: str) -> list[bytes]:
        """What a signal's JSON has around what differs from signal to signal, in the order of its fields."""
        rule, version = _encode(self._rule), _encode(self._version)
        return [
            b'{"signal_id":"',
            b'","rule":%b,"version":%b,"symbol":' % (rule, version),
            b',"side":',
            b',"strength":',
            b',"ref_price":',
            b',"first_seq":',
            b',"last_seq":',
            b',"venue":%b,"ts_event":' % _encode(venue),
            b',"ts_signal":',
        ]

    def _know(self, texts: Texts) -> None:
        """Take the texts that are new since the last call."""
        if texts is not self._texts:
            self._texts, self._names, self._quoted = texts, [], []
        if not self._names or len(texts) != len(self._names):
            new = texts.names[len(self._names) :]
            self._names += [text.encode() for text in new]
            self._quoted += [_encode(text) for text in new]
            self._arrays = (*_joined(self._names), *_joined(self._quoted))


def _bytes(raw: bytes) -> Array:
    return np.frombuffer(raw, np.uint8)


def _joined(parts: list[bytes]) -> tuple[Array, Array]:
    """One array of all bytes, and where each part begins and the last one ends."""
    ends = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=ends[1:])
    return _bytes(b"".join(parts)), ends


@njit(cache=True)
def _put(out, at, source, begin, end):  # type: ignore[no-untyped-def]  # -> where it ends
    for place in range(begin, end):
        out[at] = source[place]
        at += 1
    return at


@njit(cache=True)
def _put_part(out, at, source, ends, part):  # type: ignore[no-untyped-def]  # -> where it ends
    return _put(out, at, source, ends[part], ends[part + 1])


@njit(cache=True)
def _put_whole(out, at, number):  # type: ignore[no-untyped-def]  # int64 in decimals -> where it ends
    left = np.uint64(number)
    if number < 0:
        out[at] = 45  # -
        at += 1
        left = np.uint64(0) - left  # right for the least of all int64, too
    digits = 1
    limit = np.uint64(10)
    while digits < 19 and left >= limit:
        limit *= np.uint64(10)
        digits += 1
    for place in range(at + digits - 1, at - 1, -1):
        out[place] = np.uint64(48) + left % np.uint64(10)
        left //= np.uint64(10)
    return at + digits


@njit(cache=True)
def _put_length(out, at, length):  # type: ignore[no-untyped-def]  # a big-endian int
    for place in range(LENGTH_BYTES):
        out[at + place] = (length >> (8 * (LENGTH_BYTES - 1 - place))) & 0xFF


@njit(cache=True)
def _number_end(numbers, begin):  # type: ignore[no-untyped-def]  # of a number in a JSON array
    end = begin
    while numbers[end] != 44 and numbers[end] != 93:  # , ]
        end += 1
    return end


@njit(cache=True)
def _room(ints, numbers, pieces, names, quoted):  # type: ignore[no-untyped-def]  # -> bytes, of all records
    fixed = 2 * LENGTH_BYTES + _ID_BYTES + pieces[-1] + 4 * _DIGITS_MAX + 1
    found = len(ints) * fixed + len(numbers)
    for row in range(len(ints)):
        symbol, side = ints[row, RESULT_SYMBOL], ints[row, RESULT_SIDE]
        found += names[symbol + 1] - names[symbol]
        found += quoted[symbol + 1] - quoted[symbol] + quoted[side + 1] - quoted[side]
    return found


@njit(cache=True)
def _write(ints, numbers, ts_signal_ns, head, pieces, piece_ends, names, name_ends, quoted, quoted_ends):  # type: ignore[no-untyped-def]
    """Records of all rows. Texts: uint8, and int64 ends of their parts; numbers: the doubles as JSON."""
    out = np.empty(_room(ints, numbers, piece_ends, name_ends, quoted_ends), np.uint8)
    longest = 0
    for part in range(len(name_ends) - 1):
        longest = max(longest, name_ends[part + 1] - name_ends[part])
    identity = np.empty(padded_bytes(len(head) + longest + 2 + 2 * _DIGITS_MAX), np.uint8)
    _put(identity, 0, head, 0, len(head))
    words = np.empty(BLOCK_BYTES, np.uint32)
    at = 0
    number = 1  # behind the bracket
    for row in range(len(ints)):
        symbol, side = ints[row, RESULT_SYMBOL], ints[row, RESULT_SIDE]
        first, last = ints[row, RESULT_FIRST], ints[row, RESULT_LAST]
        key = at + LENGTH_BYTES
        at = _put_part(out, key, names, name_ends, symbol)
        _put_length(out, key - LENGTH_BYTES, at - key)

        length = _put_part(identity, len(head), names, name_ends, symbol)
        identity[length] = 124  # |
        length = _put_whole(identity, length + 1, first)
        identity[length] = 124
        length = _put_whole(identity, length + 1, last)

        value = at + LENGTH_BYTES
        at = _put_part(out, value, pieces, piece_ends, 0)
        hex_digest(identity, length, words, out, at)
        at = _put_part(out, at + _ID_BYTES, pieces, piece_ends, 1)
        at = _put_part(out, at, quoted, quoted_ends, symbol)
        at = _put_part(out, at, pieces, piece_ends, 2)
        at = _put_part(out, at, quoted, quoted_ends, side)
        for piece in range(3, 5):
            at = _put_part(out, at, pieces, piece_ends, piece)
            end = _number_end(numbers, number)
            at = _put(out, at, numbers, number, end)
            number = end + 1
        at = _put_part(out, at, pieces, piece_ends, 5)
        at = _put_whole(out, at, first)
        at = _put_part(out, at, pieces, piece_ends, 6)
        at = _put_whole(out, at, last)
        at = _put_part(out, at, pieces, piece_ends, 7)
        at = _put_whole(out, at, ints[row, RESULT_TIME] * NS_PER_MS)
        at = _put_part(out, at, pieces, piece_ends, 8)
        at = _put_whole(out, at, ts_signal_ns)
        out[at] = 125  # }
        at += 1
        _put_length(out, value - LENGTH_BYTES, at - value)
    return out[:at]
