"""The schema compiler: what it works out, and what it refuses."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ingest.sbe import ObjectDecoder, load_schema, parse_schema
from ingest.sbe.layout import layout_of
from tickloom.errors import SchemaError, UnknownTemplate

HEADER = (
    '<composite name="messageHeader"><type name="blockLength" primitiveType="uint16"/>'
    '<type name="templateId" primitiveType="uint16"/><type name="schemaId" primitiveType="uint16"/>'
    '<type name="version" primitiveType="uint16"/></composite>'
    '<composite name="groupSizeEncoding"><type name="blockLength" primitiveType="uint16"/>'
    '<type name="numInGroup" primitiveType="uint8"/></composite>'
)


def schema(types: str, body: str, message: str = 'name="M" id="1"') -> str:
    return (
        '<x:messageSchema xmlns:x="urn:any" package="p" id="1" version="2">'
        f"<types>{HEADER}{types}</types><x:message {message}>{body}</x:message></x:messageSchema>"
    )


def test_offsets_follow_sizes_where_none_are_given() -> None:
    """Constants take no bytes; a given offset moves all that follow."""
    types = (
        '<type name="K" primitiveType="uint32" presence="constant">5</type>'
        '<composite name="P"><type name="mantissa" primitiveType="int64"/>'
        '<type name="exponent" primitiveType="int8" presence="constant">-9</type></composite>'
        '<composite name="Q"><ref name="price" type="P"/><enum name="side" encodingType="char">'
        '<validValue name="Buy">B</validValue></enum></composite>'
    )
    body = (
        '<field name="a" id="1" type="uint8"/><field name="k" id="2" type="K"/>'
        '<field name="q" id="3" type="Q" offset="4"/><field name="z" id="4" type="uint16"/>'
    )
    level = parse_schema(schema(types, body)).message("M").level
    layout = layout_of(level, "<")
    assert layout.offsets == {"a": 0, "q.price.mantissa": 4, "q.side": 12, "z": 13}
    assert level.block_length == layout.dtype.itemsize == 15
    raw = bytes([15, 0, 1, 0, 1, 0, 2, 0]) + bytes([7, 0, 0, 0]) + (1_500_000_000).to_bytes(8, "little")
    decoded = ObjectDecoder(parse_schema(schema(types, body))).decode(raw + b"B\x09\x00")
    assert decoded.values == {"a": 7, "k": 5, "q": {"price": Decimal("1.5"), "side": "Buy"}, "z": 9}


def test_a_constant_may_name_a_value_of_an_enum() -> None:
    """valueRef is the enum's value, shown by its name, and takes no bytes."""
    types = '<enum name="E" encodingType="uint8"><validValue name="One">1</validValue></enum>'
    body = '<field name="e" id="1" type="E" presence="constant" valueRef="E.One"/>'
    compiled = parse_schema(schema(types, body))
    assert compiled.message("M").level.block_length == 0
    assert ObjectDecoder(compiled).decode(bytes([0, 0, 1, 0, 1, 0, 2, 0])).values == {"e": "One"}


@pytest.mark.parametrize(
    ("types", "body", "reason"),
    [
        ("", '<field name="a" id="1" type="Nope"/>', r"M\.a: type Nope is not declared"),
        ("", '<field name="a" id="1"/>', r"M\.a: attribute type is missing"),
        (
            "",
            '<field name="a" id="1" type="uint32"/><field name="b" id="2" type="uint8" offset="2"/>',
            r"M\.b: offset 2 is inside the field before it, which ends at 4",
        ),
        (
            "",
            '<group name="g" id="1"/><field name="a" id="2" type="uint8"/>',
            "a field stands behind a group",
        ),
        (
            "",
            '<field name="a" id="1" type="uint8"/><field name="a" id="2" type="uint8"/>',
            r"M\.a: the name is there twice",
        ),
        ("", '<group name="g" id="1" dimensionType="messageHeader"/>', "has no member numInGroup"),
        (
            '<composite name="R"><ref name="r" type="R"/></composite>',
            '<field name="a" id="1" type="R"/>',
            "R: the type contains itself",
        ),
        (
            '<type name="K" primitiveType="uint8" presence="constant"/>',
            '<field name="a" id="1" type="K"/>',
            "K: a constant without a value",
        ),
        ('<type name="T" primitiveType="int128"/>', '<field name="a" id="1" type="T"/>', "int128 is none of"),
        (
            '<set name="S" encodingType="uint8"><choice name="c">8</choice></set>',
            '<field name="a" id="1" type="S"/>',
            "choice c: no bit 8 in uint8",
        ),
        ('<type name="T" primitiveType="int8"/><type name="T" primitiveType="int8"/>', "", "declared twice"),
        ("", '<field name="a" id="1" type="uint8" offset="-1"/>', "'-1' is no plain integer"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(types: str, body: str, reason: str) -> None:
    """A schema is compiled whole or not at all; the error says which element and why."""
    with pytest.raises(SchemaError, match=reason):
        parse_schema(schema(types, body))


def test_a_block_length_below_its_fields_is_refused() -> None:
    """A blockLength above them is padding."""
    body = '<field name="a" id="1" type="uint32"/>'
    with pytest.raises(SchemaError, match="blockLength 3, and its fields need 4 bytes"):
        parse_schema(schema("", body, 'name="M" id="1" blockLength="3"'))
    padded = parse_schema(schema("", body, 'name="M" id="1" blockLength="6"'))
    assert padded.messages[1].level.block_length == 6


def test_files_that_are_no_schema_are_refused(tmp_path: Path) -> None:
    """No XML, another root, no file."""
    with pytest.raises(SchemaError, match="no XML"):
        parse_schema("<messageSchema")
    with pytest.raises(SchemaError, match="no messageSchema"):
        parse_schema("<html/>")
    with pytest.raises(SchemaError, match="give the path"):
        load_schema(tmp_path / "absent.xml")


def test_unknown_templates_and_foreign_schemas_are_typed() -> None:
    """The error has what the header said."""
    decoder = ObjectDecoder(parse_schema(schema("", "")))
    for template, schema_id in ((2, 1), (1, 9)):
        with pytest.raises(UnknownTemplate, match="skip the message") as caught:
            decoder.decode(bytes([0, 0, template, 0, schema_id, 0, 2, 0]))
        assert (caught.value.template_id, caught.value.schema_id) == (template, schema_id)
