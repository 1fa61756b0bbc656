"""Columns of ITCH bytes: every field of every type against the plain unpacking of the layouts."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.itch import columns as columns_module
from ingest.itch.columns import FRAME_BYTES_MAX, NUMBER, Columns, decode_columns, read_columns
from ingest.itch.messages import LAYOUTS, LENGTHS
from ingest.layout import Field
from tickloom.errors import DecodeError

SharedData = Callable[[str], Path]
TEXTS = "ABZaz019 .-*"


def values_of(field: Field) -> st.SearchStrategy[Any]:
    if field.kind == "a":
        return st.text(TEXTS, max_size=field.size)
    top = 256**field.size - 1
    return st.one_of(st.integers(0, top), st.sampled_from([0, 1, top, top // 2 + 1]))


@st.composite
def any_message(draw: st.DrawFn) -> bytes:
    layout = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
    return layout.pack(**{field.name: draw(values_of(field)) for field in layout.fields[1:]})


def framed(message: bytes, prefix: bool = True) -> bytes:
    return (len(message) if prefix else 0).to_bytes(2, "big") + message


def rows(columns: Columns) -> dict[int, dict[str, int | str]]:
    """What the tables hold, by message number, as ``unpack`` would say it."""
    found = {}
    for letter, table in columns.tables.items():
        assert list(table) == [NUMBER, *(field.name for field in LAYOUTS[letter].fields[1:])]
        for record in zip(*(column.tolist() for column in table.values()), strict=True):
            texts = [item.decode() if isinstance(item, bytes) else item for item in record]
            found[record[0]] = {"type": letter, **dict(zip(list(table)[1:], texts[1:], strict=True))}
    return found


def plainly(data: bytes) -> tuple[dict[int, dict[str, int | str]], Counter[str], int]:
    """The framing and the unpacking in the plainest way."""
    found: dict[int, dict[str, int | str]] = {}
    counters: Counter[str] = Counter()
    at = number = 0
    while at < len(data):
        if at + 2 >= len(data):
            counters["cut_off"] += 1
            break
        length = int(LENGTHS[data[at + 2]])
        size = int.from_bytes(data[at : at + 2], "big") or length
        if size == 0:
            counters["no_length"] += 1
            counters["cut_off"] += 1
            break
        message = data[at + 2 : at + 2 + size]
        if len(message) < size:
            counters["cut_off"] += 1
            break
        number += 1
        at += 2 + size
        if size == length:
            counters["decoded"] += 1
            found[number] = LAYOUTS[chr(message[0])].unpack(message)
        else:
            counters["wrong_length" if length else "unknown_type"] += 1
    return found, +counters, at


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(any_message(), st.booleans()), max_size=60), st.integers(1, 2**40))
def test_every_field_of_every_type(tape: list[tuple[bytes, bool]], first: int) -> None:
    """Random messages of all types, extremes included, read as their layouts unpack them, with and without
    lengths, and keep their order by number."""
    data = b"".join(framed(message, prefix) for message, prefix in tape)
    columns = decode_columns(data, first)
    expected = {first + at: LAYOUTS[chr(message[0])].unpack(message) for at, (message, _) in enumerate(tape)}
    assert rows(columns) == expected
    assert columns.counters == (Counter(decoded=len(tape)) if tape else Counter())
    assert (columns.messages, columns.consumed) == (len(tape), len(data))


def test_types_are_native() -> None:
    """Integers are the machine's own, as wide as on the wire; times are int64; texts are bytes."""
    table = decode_columns(framed(LAYOUTS["A"].pack(stock="ALFA", side="B"))).tables["A"]
    assert {name: column.dtype.str for name, column in table.items()} == {
        "number": "<i8", "stock_locate": "<u2", "tracking_number": "<u2", "timestamp": "<i8",
        "reference": "<u8", "side": "|S1", "shares": "<u4", "stock": "|S8", "price": "<u4",
    }  # fmt: skip
    assert all(column.flags.aligned and column.flags.c_contiguous for column in table.values())


def many(count: int) -> Iterator[bytes]:
    """More messages than a stretch has, of three types in turn, every hundredth of a strange length."""
    for number in range(count):
        letter = "ADE"[number % 3]
        message = LAYOUTS[letter].pack(stock_locate=number % 65_536, timestamp=number, reference=number)
        odd = number % 100 == 99
        yield framed(message + b"more" if odd else message, prefix=odd or number % 7 > 0)


def test_memory_of_an_earlier_result() -> None:
    """Columns written over earlier ones, of more messages or of fewer, are those of fresh memory."""
    large, small = b"".join(many(6_000)), b"".join(many(500))
    first = decode_columns(large)
    again = decode_columns(small, 1, first.memory)
    assert again.memory is first.memory
    assert rows(again) == rows(decode_columns(small))
    grown = decode_columns(large, 1, decode_columns(small).memory)
    assert rows(grown) == rows(decode_columns(large))


def test_more_than_one_stretch() -> None:
    """What is left out shifts nothing, over the borders of stretches too."""
    data = b"".join(many(3 * columns_module.STRETCH + 5))
    columns = decode_columns(data)
    found, counters, _ = plainly(data)
    assert rows(columns) == found
    assert columns.counters == counters
    assert counters["wrong_length"] == 122


@settings(max_examples=120, deadline=None)
@given(st.lists(any_message(), min_size=1, max_size=20), st.data())
def test_damaged_bytes(tape: list[bytes], data: st.DataObject) -> None:
    """Bytes overwritten, cut and inserted anywhere: what a plain reader finds, is found and counted."""
    raw = bytearray(b"".join(framed(message, data.draw(st.booleans())) for message in tape))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        match data.draw(st.sampled_from(["set", "cut", "insert"])):
            case "set":
                raw[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
            case "cut":
                del raw[at : at + data.draw(st.integers(1, 40))]
            case _:
                raw[at:at] = data.draw(st.binary(max_size=10))
    # Behind the end lies what would be read if anything were: a message that goes on.
    padded = np.frombuffer(bytes(raw) + framed(LAYOUTS["A"].pack()) * 3, dtype=np.uint8)
    columns = decode_columns(padded[: len(raw)])
    found, counters, consumed = plainly(bytes(raw))
    assert (columns.counters, columns.consumed) == (counters, consumed)
    assert sum(columns.message_types.values()) == len(found)
    for letter, table in columns.tables.items():
        for name, column in table.items():
            if column.dtype.kind != "S":  # damaged texts are no ASCII
                for number, value in zip(table[NUMBER].tolist(), column.tolist(), strict=True):
                    assert found[number]["type"] == letter
                    assert name == NUMBER or found[number][name] == value


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_file_in_batches(tmp_path: Path, zipped: bool) -> None:
    """Batches cut messages anywhere; put together they are the file, numbers and all."""
    data = b"".join(many(9_000))
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(data) if zipped else data)
    batches = list(read_columns(path, FRAME_BYTES_MAX))
    assert len(batches) > 3
    whole = decode_columns(data)
    for letter, table in whole.tables.items():
        for name, column in table.items():
            parts = [batch.tables[letter][name] for batch in batches]
            assert np.array_equal(np.concatenate(parts), column)


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (b"\x00\x0c" + b"S" * 5, "ends inside a message"),
        (b"\x00\x00zz", "length prefix 0 and unknown message type b'z'"),
    ],
    ids=["cut", "no length"],
)
def test_file_that_cannot_be_read_to_its_end(tmp_path: Path, tail: bytes, said: str) -> None:
    """What comes before the damage is given out, then the damage is said with its place."""
    good = framed(LAYOUTS["S"].pack(event_code="O"))
    path = tmp_path / "file"
    path.write_bytes(good + tail)
    got: list[Columns] = []
    with pytest.raises(DecodeError, match=f"{said}.* at byte 14"):
        got.extend(read_columns(path))
    assert [batch.message_types for batch in got] == [{"S": 1}]


def test_public_file(shared_data: SharedData) -> None:
    """The public file, whose prefixes are all zero: counts by type as an independent reader got them."""
    (columns,) = read_columns(shared_data("itch/ritch_ex20101224.TEST_ITCH_50"))
    assert columns.message_types == {
        "S": 6, "R": 3, "H": 3, "A": 4997, "F": 3, "E": 198, "X": 45, "D": 1745, "U": 12, "P": 5000,
    }  # fmt: skip
    assert columns.counters == {"decoded": 12_012}
