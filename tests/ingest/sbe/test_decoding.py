"""Decoders against a naive encoder: random schemas, byte orders, versions and block lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.sbe import ColumnDecoder, ObjectDecoder, Schema, parse_schema
from ingest.sbe.columns import Block, Columns, MessageColumns
from tests.ingest.sbe import naive
from tickloom.errors import TruncatedMessage, UnknownTemplate

ORDERS = st.sampled_from(["<", ">"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[naive.LevelSpec, str, list[tuple[bytes, int, dict[str, Any]]]]:
    level, order = draw(naive.levels()), draw(ORDERS)
    return level, order, draw(st.lists(naive.messages(level, order), min_size=1, max_size=4))


def columns_of(schema: Schema, raws: list[bytes]) -> tuple[Columns, bytes]:
    data = b"".join(raws)
    stops = np.cumsum([len(raw) for raw in raws])
    starts = stops - [len(raw) for raw in raws]
    return ColumnDecoder(schema).decode(np.frombuffer(bytearray(data), dtype=np.uint8), starts, stops), data


def cell(block: Block, item: naive.FieldSpec, row: int) -> Any:
    """A field of a row as the naive encoder's value; None where it is null."""
    name = f"{item.name}.a" if item.kind == "composite" else item.name
    value = block.rows[name][row]
    if item.kind == "text":
        return value.decode()
    if item.kind == "array":
        numbers = tuple(value.tolist())
        return numbers if block.present(name)[row] else None
    number = int(value)
    if item.kind == "set":
        names = {0: "Low", 3: "High"}
        return tuple(names.get(bit, f"bit{bit}") for bit in range(64) if number >> bit & 1)
    there = bool(block.present(name)[row])
    if item.kind == "composite":
        other = int(block.rows[f"{item.name}.b"][row])
        return {"a": number if there else None, "k": -9, "b": other}
    if item.kind == "enum":
        return {1: "One", 2: "Two"}.get(number, number) if there else None
    return number if there else None


def absent(item: naive.FieldSpec) -> Any:
    """What stands in a column for a field that is not there."""
    return {"text": "", "set": (), "composite": {"a": None, "k": -9, "b": 255}}.get(item.kind)


def compare(
    columns: MessageColumns, data: bytes, level: naive.LevelSpec, path: str, row: int, values: dict[str, Any]
) -> None:
    """Check one row and all that hangs on it."""
    block = columns.groups[path] if path else columns.root
    for item in level.fields:
        if item.kind != "constant":
            wanted = values[item.name]
            assert cell(block, item, row) == (absent(item) if wanted is None else wanted), item
    prefix = f"{path}." if path else ""
    for name, _, entry in level.groups:
        children = np.flatnonzero(columns.groups[prefix + name].parent == row)
        assert len(children) == len(values[name])
        for child, wanted in zip(children.tolist(), values[name], strict=True):
            compare(columns, data, entry, prefix + name, child, wanted)
    for name, _ in level.data:
        blob = columns.data[prefix + name]
        found = [
            data[start : start + length]
            for start, length, parent in zip(blob.start, blob.length, blob.parent, strict=True)
            if parent == row
        ]
        assert found == ([] if values[name] is None else [values[name]])


@settings(max_examples=60, deadline=None)
@given(streams())
def test_objects_are_what_was_encoded(
    stream: tuple[naive.LevelSpec, str, list[tuple[bytes, int, dict[str, Any]]]],
) -> None:
    """Every value of every version, and every byte accounted for."""
    level, order, built = stream
    decoder = ObjectDecoder(parse_schema(naive.xml_of(level, order)))
    for raw, version, values in built:
        decoded = decoder.decode(raw)
        assert (decoded.name, decoded.version, decoded.size) == ("M", version, len(raw))
        assert decoded.values == values


@settings(max_examples=60, deadline=None)
@given(streams())
def test_columns_are_what_was_encoded(
    stream: tuple[naive.LevelSpec, str, list[tuple[bytes, int, dict[str, Any]]]],
) -> None:
    """A batch of messages of mixed versions: rows in order, each entry with its parent, null where absent."""
    level, order, built = stream
    found, data = columns_of(parse_schema(naive.xml_of(level, order)), [raw for raw, _, _ in built])
    assert found.counters == {"decoded": len(built)}
    for row, (_, _, values) in enumerate(built):
        compare(found.by_template[9], data, level, "", row, values)


@settings(max_examples=40, deadline=None)
@given(streams(), st.data())
def test_cut_off_messages_are_typed_by_both_decoders(
    stream: tuple[naive.LevelSpec, str, list[tuple[bytes, int, dict[str, Any]]]], data: st.DataObject
) -> None:
    """Any cut is a TruncatedMessage, and one truncated message that leaves no row."""
    level, order, built = stream
    schema = parse_schema(naive.xml_of(level, order))
    raw = built[0][0]
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    with pytest.raises(TruncatedMessage, match="was cut off") as caught:
        ObjectDecoder(schema).decode(cut)
    assert caught.value.got == len(cut) < caught.value.needed
    found, _ = columns_of(schema, [cut, raw])
    assert found.counters == {"decoded": 1, "truncated": 1}
    assert found.by_template[9].root.parent.tolist() == [1]


@settings(max_examples=60, deadline=None)
@given(streams(), st.data())
def test_mutated_messages_agree_and_never_crash(
    stream: tuple[naive.LevelSpec, str, list[tuple[bytes, int, dict[str, Any]]]], data: st.DataObject
) -> None:
    """Whatever the bytes: both decoders take the same messages, or refuse the same ones, typed."""
    level, order, built = stream
    schema = parse_schema(naive.xml_of(level, order))
    raws = []
    for raw, _, _ in built:
        spoiled = bytearray(raw)
        for _ in range(data.draw(st.integers(1, 3))):
            spoiled[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        raws.append(bytes(spoiled))
    decoder, outcomes = ObjectDecoder(schema), []
    for raw in raws:
        try:
            decoder.decode(raw)
            outcomes.append("decoded")
        except TruncatedMessage:
            outcomes.append("truncated")
        except UnknownTemplate as error:
            foreign = error.schema_id != schema.id
            outcomes.append("foreign_schema" if foreign else "unknown_template")
    found, _ = columns_of(schema, raws)
    for kind in ("decoded", "truncated", "unknown_template", "foreign_schema"):
        assert found.counters[kind] == outcomes.count(kind)


def test_empty_entries_are_not_believed_beyond_a_limit() -> None:
    """65,535 entries of no bytes in a message of 12: refused, not built."""
    schema = parse_schema(
        '<messageSchema id="1"><types><composite name="messageHeader">'
        '<type name="blockLength" primitiveType="uint16"/><type name="templateId" primitiveType="uint16"/>'
        '<type name="schemaId" primitiveType="uint16"/><type name="version" primitiveType="uint16"/>'
        "</composite>"
        '<composite name="groupSizeEncoding"><type name="blockLength" primitiveType="uint16"/>'
        '<type name="numInGroup" primitiveType="uint16"/></composite></types>'
        '<message name="M" id="1"><group name="G" id="1"/></message></messageSchema>'
    )
    raw = bytes([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 255, 255])
    with pytest.raises(TruncatedMessage):
        ObjectDecoder(schema).decode(raw)
    assert columns_of(schema, [raw])[0].counters == {"truncated": 1}
    few = raw[:10] + bytes([200, 0])
    assert len(ObjectDecoder(schema).decode(few).values["G"]) == 200
    assert len(columns_of(schema, [few])[0].by_template[1].groups["G"].rows) == 200
