"""Layouts of DEEP and TOPS against the examples that the exchange's specifications print."""

from __future__ import annotations

import pytest

from ingest.iex.iextp import DEEP_1_0, HEAD_BYTES, messages, pack, parse
from ingest.iex.messages import LAYOUTS, LENGTHS, unpack

#: "Total Message Data length is ... bytes" of each type, DEEP 1.06 and TOPS 1.66.
SPECIFIED = {
    "S": 10, "D": 31, "H": 22, "I": 18, "O": 18, "P": 19, "E": 18, "8": 30, "5": 30, "Q": 42, "T": 38,
    "X": 26, "B": 38, "A": 80,
}  # fmt: skip
ZIEXT = "5a49455854202020"
AT = 1_471_980_632_572_715_948  # printed as 2016-08-23 15:30:32: in New York
SPRING = 1_492_387_200 * 10**9  # 2017-04-17; times of that day are printed in UTC
EXAMPLES = {
    "5345 00a09997e93db614": {"type": "S", "event": "E", "timestamp": SPRING + 17 * 3_600 * 10**9},
    f"4480 0020897b5a1fb614 {ZIEXT} 64000000 241d0f0000000000 01": {
        "type": "D", "flags": 0x80, "timestamp": SPRING + (7 * 60 + 40) * 60 * 10**9, "symbol": "ZIEXT",
        "round_lot": 100, "adjusted_close": 990_500, "luld_tier": 1,
    },
    f"4848 ac63c02096866d14 {ZIEXT} 54312020": {
        "type": "H", "status": "H", "timestamp": AT, "symbol": "ZIEXT", "reason": "T1",
    },
    f"4941 ac63c02096866d14 {ZIEXT}": {"type": "I", "indicator": "A", "timestamp": AT, "symbol": "ZIEXT"},
    f"4f4f ac63c02096866d14 {ZIEXT}": {"type": "O", "status": "O", "timestamp": AT, "symbol": "ZIEXT"},
    f"5001 ac63c02096866d14 {ZIEXT} 41": {
        "type": "P", "status": 1, "timestamp": AT, "symbol": "ZIEXT", "detail": "A",
    },
    f"454f 00f0302a5b25b614 {ZIEXT}": {
        "type": "E", "event": "O", "timestamp": SPRING + (9 * 60 + 30) * 60 * 10**9, "symbol": "ZIEXT",
    },
    f"5400 b28fa5a0ab866d14 {ZIEXT} 64000000 241d0f0000000000 968f020000000000": {
        "type": "T", "flags": 0, "timestamp": 1_471_980_724_912_754_610, "symbol": "ZIEXT", "size": 100,
        "price": 990_500, "trade_id": 167_830,
    },
    f"4200 b28fa5a0ab866d14 {ZIEXT} 64000000 241d0f0000000000 968f060000000000": {
        "type": "B", "flags": 0, "timestamp": 1_471_980_724_912_754_610, "symbol": "ZIEXT", "size": 100,
        "price": 990_500, "trade_id": 429_974,
    },
}  # fmt: skip


def test_lengths_are_those_of_the_specification() -> None:
    """All 14 types, and no other."""
    assert {letter: layout.length for letter, layout in LAYOUTS.items()} == SPECIFIED
    assert {chr(kind): int(LENGTHS[kind]) for kind in range(256) if LENGTHS[kind]} == SPECIFIED


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: chr(int(text[:2], 16)))
def test_examples_of_the_specification(text: str) -> None:
    """The bytes that the specification prints give the values that it prints, and back."""
    raw = bytes.fromhex(text)
    assert unpack(raw) == EXAMPLES[text]
    values = dict(EXAMPLES[text])
    assert LAYOUTS[str(values.pop("type"))].pack(**values) == raw
    assert unpack(raw + b"grown") == EXAMPLES[text]


def test_what_is_no_message() -> None:
    """Unknown types, short messages, unknown fields and texts that do not fit are refused by name."""
    for raw in (b"", b"z123456789", b"S"):
        with pytest.raises(ValueError, match=r"DEEP or TOPS|SystemEvent"):
            unpack(raw)
    with pytest.raises(ValueError, match="no field"):
        LAYOUTS["T"].pack(colour=1)
    with pytest.raises(ValueError, match="too long"):
        LAYOUTS["T"].pack(symbol="NINECHARS")


def test_segments() -> None:
    """A head of 40 bytes, then the messages; what is cut off gives what is whole."""
    raw = pack([b"one", b"", b"three"], 7, 99, offset=5, session=3)
    segment = parse(raw)
    assert segment is not None
    assert (segment.protocol, segment.channel, segment.session) == (DEEP_1_0, 1, 3)
    assert (segment.payload_bytes, segment.count, segment.offset) == (14, 3, 5)
    assert (segment.sequence, segment.send_ns) == (7, 99)
    assert messages(raw) == [b"one", b"", b"three"]
    assert messages(raw[:-1]) == [b"one", b""]
    assert messages(raw[: HEAD_BYTES + 1]) == []
    assert parse(raw[:39]) is None
    assert parse(b"\x02" + raw[1:]) is None
    assert messages(b"") == []
