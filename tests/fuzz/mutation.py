"""A real frame in, one that nobody would send out: bits, cuts, splices, lengths, boundary values; JSON too.

Everything is drawn from one generator, so a seed gives the same frames again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

GROWTH_BYTES_MAX = 4_096  # what a mutation may add: a frame of a network is small
BOUNDARIES = [
    edge % (1 << 64)
    for bits in (8, 16, 32, 48, 63, 64)
    for edge in ((1 << bits) - 1, 1 << bits, (1 << bits) - 2, 1 << (bits - 1), -(1 << (bits - 1)))
] + [0, 1, 2, 10**9, 10**10, 10**18]
#: The latter: what Python's ``int`` and ``float`` take, and protocols do not.
_BYTES = bytes((0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)) + b" 0-+_.e"


def flip(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """One to four bits."""
    out = bytearray(frame)
    for _ in range(1 + int(rng.random() * 4)):
        at = int(rng.random() * len(out) * 8)
        out[at >> 3] ^= 1 << (at & 7)
    return bytes(out)


def boundary_byte(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """A byte of the kind that ends, begins or overflows something."""
    at = int(rng.random() * len(frame))
    return frame[:at] + bytes((rng.choice(_BYTES),)) + frame[at + 1 :]


def boundary_integer(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """2, 4 or 8 bytes become a boundary value; more often near the front, where heads are."""
    size = rng.choice((2, 4, 8))
    reach = len(frame) if rng.random() < 0.5 else min(len(frame), 64)
    at = int(rng.random() * max(1, reach - size + 1))
    order = "big" if rng.random() < 0.5 else "little"
    value = (rng.choice(BOUNDARIES) % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
    return frame[:at] + value + frame[at + size :]


def nudge(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """A length or a count, as any byte may be one, is off by a little."""
    at = int(rng.random() * len(frame))
    return frame[:at] + bytes(((frame[at] + rng.choice((-2, -1, 1, 2))) % 256,)) + frame[at + 1 :]


def truncate(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    return frame[: int(rng.random() * len(frame))]


def extend(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    return frame + rng.randbytes(1 + int(rng.random() * 40))


def splice(rng: random.Random, frame: bytes, other: bytes) -> bytes:
    """The front of one frame and the rest of another, cut anywhere."""
    return frame[: int(rng.random() * len(frame))] + other[int(rng.random() * (len(other) + 1)) :]


def cut_out(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    at = int(rng.random() * len(frame))
    return frame[:at] + frame[at + 1 + int(rng.random() * 16) :]


def repeat(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """A stretch comes twice, or very often."""
    at = int(rng.random() * len(frame))
    stretch = frame[at : at + 1 + int(rng.random() * 64)]
    times = 2 if rng.random() < 0.9 else GROWTH_BYTES_MAX // len(stretch)
    return frame[:at] + stretch * times + frame[at + len(stretch) :]


def noise(rng: random.Random, _: bytes, other: bytes) -> bytes:
    return rng.randbytes(int(rng.random() * (2 * len(other) + 2)))


Mutation = Callable[[random.Random, bytes, bytes], bytes]
#: The frequent ones more than once.
BINARY: tuple[Mutation, ...] = (
    flip, flip, flip, boundary_byte, boundary_byte, boundary_integer, boundary_integer, nudge, nudge,
    truncate, extend, splice, cut_out, repeat, noise,
)  # fmt: skip


def mutate(rng: random.Random, frame: bytes, other: bytes) -> bytes:
    """One to three mutations of a frame; ``other`` is a frame of the same feed."""
    for _ in range(1 if rng.random() < 0.7 else 3):
        if not frame:
            return noise(rng, frame, other)
        frame = BINARY[int(rng.random() * len(BINARY))](rng, frame, other)
    return frame


# JSON: values and members by their places in the text

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
DEEP = b"[" * 3_000
#: What stands where another value was: numbers beyond every type, texts that look like numbers to some.
ODD_VALUES = (
    b"null", b"true", b"[]", b"{}", b'""', b"0", b"-1", b"-0", b"1e400", b"1e-400", b"1.5", b"9" * 40,
    b"18446744073709551616", b"9223372036854775807", b"-9223372036854775808", b"4294967296", b"01", b"+1",
    b'"9223372036854775808"', b'"0.0000000001"', b'"99999999999999999999"', b'"NaN"', b'"Infinity"', b"NaN",
    b'"-5"', b'"1e5"', b'"1_000"', b'" 1"', b'"1 "', b'"+1"', b'"0x10"', b'"\\u0000"', b'"\\ud800"',
    b'"\\u0661"', "\"\u0661.\u0662\"".encode(), b'"\xff"', b'"' + b"7" * 5_000 + b'"', b"[[]]", b'["1"]',
    b'["1","2","3","4"]', b'[["0","0"]]', b'{"a":{"b":[]}}', DEEP, DEEP + b"]" * 3_000, b'"', b"[", b"}",
    b'"9223372036.854775807"', b'"9223372036.854775808"', b'"0"', b'"0.0"', b'"."', b'"1."', b'".1"',
)  # fmt: skip


class JsonSpans:
    """Where values, keys and members of a JSON text stand.

    Attributes
    ----------
    values, keys : list of (start, stop)
    members : list of (start, stop)
        Key and value; without the comma.
    """

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.values: list[tuple[int, int]] = []
        self.keys: list[tuple[int, int]] = []
        self.members: list[tuple[int, int]] = []
        open_at: list[tuple[int, int]] = []  # of each bracket: its place, and that of its key or -1
        key = -1
        tokens = [(match.start(), match.end()) for match in _TOKEN.finditer(frame)]
        for number, (start, stop) in enumerate(tokens):
            text = frame[start:stop]
            if text in (b"{", b"["):
                open_at.append((start, key))
                key = -1
            elif text in (b"}", b"]") and open_at:
                begin, key_at = open_at.pop()
                self._value(begin, stop, key_at)
            elif text == b":":
                key = tokens[number - 1][0]
                self.keys.append(self.values.pop())
            elif text != b",":
                self._value(start, stop, key)
                key = -1

    def _value(self, start: int, stop: int, key: int) -> None:
        self.values.append((start, stop))
        if key >= 0:
            self.members.append((key, stop))

    def replace(self, span: tuple[int, int], by: bytes) -> bytes:
        return self.frame[: span[0]] + by + self.frame[span[1] :]

    def without(self, span: tuple[int, int]) -> bytes:
        """The text with a member or an element left out, and one comma with it."""
        before, after = self.frame[: span[0]], self.frame[span[1] :]
        if after[:1] == b",":
            return before + after[1:]
        return before.removesuffix(b",") + after


def mutate_json(rng: random.Random, spans: JsonSpans, other: JsonSpans) -> bytes:
    """A JSON text with something wrong in it; one in five is mutated as bytes, as any frame."""
    if rng.random() < 0.2 or not spans.values:
        return mutate(rng, spans.frame, other.frame)
    choice = int(rng.random() * 8)
    value = rng.choice(spans.values)
    if choice == 0 and spans.members:
        return spans.without(rng.choice(spans.members))
    if choice == 1 and spans.members:
        start, stop = rng.choice(spans.members)
        twice = spans.frame[start:stop] + b","
        return spans.frame[:start] + twice * rng.choice((1, 1, 1, 50)) + spans.frame[start:]
    if choice == 2:
        return spans.without(value)
    if choice == 3:
        start, stop = value
        return spans.replace(value, (spans.frame[start:stop] + b",") * rng.choice((1, 2, 30)) + b"0")
    if choice == 4 and other.values:
        start, stop = rng.choice(other.values)
        return spans.replace(value, other.frame[start:stop])
    if choice == 5 and spans.keys:
        found = rng.choice(spans.keys)
        return spans.replace(found, rng.choice((b'"x"', b'""', b"0", b"null", b'"' + b"k" * 300 + b'"')))
    if choice == 6:
        start, stop = value
        return spans.replace(value, mutate(rng, spans.frame[start:stop], b"0"))
    return spans.replace(value, ODD_VALUES[int(rng.random() * len(ODD_VALUES))])


def shuffle_frames(rng: random.Random, frames: list[bytes]) -> None:
    """What a network does to frames: some are lost, come twice, or out of order."""
    for _ in range(int(rng.random() * (2 + len(frames) // 50))):
        if len(frames) < 2:
            return
        at = int(rng.random() * (len(frames) - 1))
        kind = rng.random()
        if kind < 0.3:
            del frames[at]
        elif kind < 0.6:
            frames.insert(at, frames[at])
        else:
            to = min(len(frames) - 1, at + int(rng.random() * 20))
            frames[at], frames[to] = frames[to], frames[at]


def pick(rng: random.Random, frames: Sequence[bytes]) -> bytes:
    return frames[int(rng.random() * len(frames))]
