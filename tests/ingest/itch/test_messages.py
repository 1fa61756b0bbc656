"""The layouts against the specification's own figures."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.itch.messages import LAYOUTS, LENGTHS, unpack

#: Nasdaq TotalView-ITCH 5.0, sections 1.1 to 1.8: offset of the last field and its length, added up.
SPECIFIED = {
    "S": 12, "R": 39, "H": 25, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "h": 21, "A": 36,
    "F": 40, "E": 31, "C": 36, "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40, "B": 19, "I": 50, "N": 20,
    "O": 48,
}  # fmt: skip


def test_every_type_has_the_specified_length() -> None:
    """All 23 types are there, each as long as the specification says."""
    assert {letter: layout.length for letter, layout in LAYOUTS.items()} == SPECIFIED
    assert {chr(kind): int(LENGTHS[kind]) for kind in np.flatnonzero(LENGTHS)} == SPECIFIED


def test_add_order_by_hand() -> None:
    """An A message spelled out byte by byte reads as its fields."""
    raw = bytes.fromhex("41 0001 0002 000000000003 0000000000000004 42 00000064 414243 2020202020 000f4240")
    assert unpack(raw) == {
        "type": "A", "stock_locate": 1, "tracking_number": 2, "timestamp": 3, "reference": 4, "side": "B",
        "shares": 100, "stock": "ABC", "price": 1_000_000,
    }  # fmt: skip
    assert LAYOUTS["A"].pack(**{key: value for key, value in unpack(raw).items() if key != "type"}) == raw


@pytest.mark.parametrize("raw", [b"", b"Z" + bytes(30), b"A" + bytes(34), b"A" + bytes(36)])
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    """Nothing, an unknown type, and a length that is one off are errors."""
    with pytest.raises(ValueError, match=r"no ITCH 5\.0 message|has 36 bytes"):
        unpack(raw)


def test_pack_refuses_unknown_fields_and_long_texts() -> None:
    """A typo in a field's name, or a stock of nine letters, is no message."""
    with pytest.raises(ValueError, match="no field"):
        LAYOUTS["A"].pack(pirce=1)
    with pytest.raises(ValueError, match="too long for its 8 bytes"):
        LAYOUTS["A"].pack(stock="ABCDEFGHI")
