"""Messages found by four walks at once are those that one walk from the first byte finds."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from ingest.itch.framing import TYPES, frame
from ingest.itch.messages import LAYOUTS

LETTERS = "AAAADDDDUEXPFCI"


def tape(seed: int, messages: int, odd: float = 0.0, zero: float = 0.0) -> bytes:
    """Messages of random bytes; ``odd`` of them of a wrong length or type, ``zero`` with no length."""
    draw = random.Random(seed)
    out = bytearray()
    for _ in range(messages):
        letter = draw.choice(LETTERS)
        body = letter.encode() + draw.randbytes(LAYOUTS[letter].length - 1)
        if draw.random() < odd:
            body = draw.choice([b"z" + body[1:], body + b"?", body[:-1], body[:1]])
        elif draw.random() < zero:
            out += b"\0\0" + body
            continue
        out += len(body).to_bytes(2, "big") + body
    return bytes(out)


def walk(data: bytes) -> tuple[list[int], list[int], Counter[str], int]:
    """One walk in plain Python: rows, starts, faults, bytes consumed."""
    letters, rows, starts = list(LAYOUTS), [], []
    faults: Counter[str] = Counter()
    at = 0
    while at + 2 < len(data):
        size, letter = int.from_bytes(data[at : at + 2], "big"), chr(data[at + 2])
        length = LAYOUTS[letter].length if letter in LAYOUTS else 0
        if size == 0 and length == 0:
            faults["no_length"] += 1
            break
        size = size or length
        if at + 2 + size > len(data):
            break
        rows.append(letters.index(letter) if size == length else TYPES)
        if size != length:
            faults["wrong_length" if length else "unknown_type"] += 1
        starts.append(at)
        at += 2 + size
    faults["cut_off"] += at < len(data)
    return rows, starts, +faults, at


def assert_same(data: bytes) -> None:
    rows, starts, faults, consumed = walk(data)
    framed = frame(data)
    assert framed.starts.tolist() == starts
    assert framed.rows.tolist() == rows
    assert framed.counts.tolist() == np.bincount(rows, minlength=TYPES + 1).tolist()
    assert (framed.faults, framed.consumed) == (faults, consumed)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("odd", "zero"), [(0, 0), (0.0005, 0), (0.02, 0), (0, 0.0005), (0.3, 0.3), (0, 1)])
def test_four_walks_find_what_one_finds(seed: int, odd: float, zero: float) -> None:
    """Whatever is odd on the way, and wherever the bytes are cut."""
    data = tape(seed, 2_000 + 700 * seed, odd, zero)
    for cut in (0, 1, 2, 3, 17, len(data) // 3):
        assert_same(data[: len(data) - cut])


def test_messages_inside_a_long_one_are_not_found() -> None:
    """A guess that lies inside a message is never arrived at."""
    inside = tape(1, 1_900)
    assert 0x8000 < len(inside) <= 0xFFFF
    for before in (0, 10, 500, 1_500):
        data = tape(2, before) + len(inside).to_bytes(2, "big") + inside + tape(3, 400)
        assert_same(data)


def test_no_length_ends_all_walks() -> None:
    """What stands behind a message that has no length is not framed, though another walk has been there."""
    for before in (0, 10, 900, 1_900, 2_900):
        assert_same(tape(4, before) + b"\0\0z" + tape(5, 3_000))
