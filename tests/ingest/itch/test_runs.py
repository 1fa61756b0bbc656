"""A session that begins anew under its own name: noticed by content, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.capture_batch import CaptureBatch
from ingest.itch.moldudp64 import pack
from ingest.itch.runs import HEAD_MESSAGES, Heads, mold_name, next_run

MOLD = b"000000001A"


def look(heads: Heads, *packets: bytes) -> int:
    return heads.look(CaptureBatch.of([(0, 0, raw) for raw in packets]))


def message(number: int, run: int = 1) -> bytes:
    return b"%d of run %d" % (number, run)


@given(st.lists(st.tuples(st.integers(1, 80), st.integers(0, 5)), max_size=40))
def test_copies_are_no_new_run(sends: list[tuple[int, int]]) -> None:
    """In any order, any cut, any number of times: the same content is the same run."""
    packets = [pack(MOLD, first, [message(n) for n in range(first, first + count)]) for first, count in sends]
    assert look(Heads(MOLD), *packets) == len(packets)


@pytest.mark.parametrize("number", [1, 2, HEAD_MESSAGES])
def test_another_content_is_a_new_run(number: int) -> None:
    """Of whichever of the first messages: the first record that has it is told."""
    heads = Heads(MOLD)
    first = [pack(MOLD, n, [message(n)]) for n in range(1, 100)]
    assert look(heads, *first[:50]) == 50
    assert look(heads, *first[50:]) == 49
    other = pack(MOLD, number, [message(number, 2)])
    assert look(heads, first[98], first[0], other, other) == 2


def test_what_is_not_remembered_tells_nothing() -> None:
    """Numbers behind the first 64, other sessions, control records, packets without whole messages."""
    heads = Heads(MOLD)
    look(heads, pack(MOLD, 1, [message(n) for n in range(1, 100)]))
    beyond = HEAD_MESSAGES + 1
    odd = [
        pack(MOLD, beyond, [message(beyond, 2)]), pack(b"OTHER", 1, [b"x"]), pack(MOLD, 1, []),
        pack(MOLD, 1, [b"truncated"])[:-1], b"", b"garbage", pack(MOLD, 2**64 - 1, [b"x"]),
    ]  # fmt: skip
    assert look(heads, *odd) == len(odd)
    assert heads.look(CaptureBatch.of([(1, 0, pack(MOLD, 1, [b"x"]))])) == 1
    assert heads.look(CaptureBatch.of([])) == 0


def test_names() -> None:
    """A run is in the name of its capture; the packets have the session's own."""
    assert next_run("20261121.A.1") == "20261121.A.1.r2"
    assert next_run("20261121.A.1.r9") == "20261121.A.1.r10"
    assert [mold_name(name) for name in ("20261121.A.1", "20261121.A.1.r9", "20261121")] == ["A.1", "A.1", ""]
