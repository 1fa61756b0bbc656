"""The table of MDP 3.0 templates in, a compiled SBE schema out: offsets for the kernels (njit) to freeze."""

from __future__ import annotations

from functools import cache
from xml.etree.ElementTree import Element, SubElement

from ingest.sbe.layout import Layout, layout_of
from ingest.sbe.mdp3.templates import (
    DECIMALS,
    ENUMS,
    SCHEMA_ID,
    SETS,
    SIMPLE,
    TEMPLATES,
    VERSION,
    Groups,
)
from ingest.sbe.model import Group, Message, Schema
from ingest.sbe.schema import schema_of

#: Composites of unsigned integers by name: member, primitive, offset (None: behind the one before).
_HEADS: dict[str, tuple[tuple[str, str, int | None], ...]] = {
    "messageHeader": tuple(
        (name, "uint16", None) for name in ("blockLength", "templateId", "schemaId", "version")
    ),
    "size3": (("blockLength", "uint16", None), ("numInGroup", "uint8", None)),
    "size8": (("blockLength", "uint16", None), ("numInGroup", "uint8", 7)),
}
_MONTH = (
    ("year", "uint16", 2**16 - 1),
    ("month", "uint8", 255),
    ("day", "uint8", 255),
    ("week", "uint8", 255),
)


@cache
def mdp3_schema() -> Schema:
    """The schema, compiled once a process."""
    root = Element(
        "messageSchema",
        package="CME MDP 3.0",
        id=str(SCHEMA_ID),
        version=str(VERSION),
        byteOrder="littleEndian",
    )
    _types(SubElement(root, "types"))
    for template, (name, length, fields, groups) in TEMPLATES.items():
        message = SubElement(root, "message", name=name, id=str(template), blockLength=str(length))
        _level(message, fields, groups)
    return schema_of(root)


@cache
def root_layout(template: int) -> Layout:
    """Layout of a template's root block."""
    return layout_of(_message(template).level, "<")


@cache
def group_layout(template: int, name: str = "NoMDEntries") -> Layout:
    """Layout of an entry of a template's group."""
    return layout_of(group_of(template, name).level, "<")


def group_of(template: int, name: str = "NoMDEntries") -> Group:
    """A template's group by name."""
    return next(group for group in _message(template).level.groups if group.name == name)


def _message(template: int) -> Message:
    return mdp3_schema().messages[template]


def _types(types: Element) -> None:
    for name, (primitive, length, null) in SIMPLE.items():
        _simple(types, name, primitive, length, null)
    for name, (primitive, null, exponent) in DECIMALS.items():
        composite = SubElement(types, "composite", name=name)
        _simple(composite, "mantissa", primitive, 1, null)
        fixed = SubElement(composite, "type", name="exponent", primitiveType="int8", presence="constant")
        fixed.text = str(exponent)
    month = SubElement(types, "composite", name="month")
    for name, primitive, null in _MONTH:
        _simple(month, name, primitive, 1, null)
    for name, members in _HEADS.items():
        composite = SubElement(types, "composite", name=name)
        for member, primitive, offset in members:
            element = SubElement(composite, "type", name=member, primitiveType=primitive)
            if offset is not None:
                element.set("offset", str(offset))
    for kind, child, table in (("enum", "validValue", ENUMS), ("set", "choice", SETS)):
        for name, (encoding, values) in table.items():
            declared = SubElement(types, kind, name=name, encodingType=encoding)
            for value in values.split():
                label, _, number = value.partition("=")
                SubElement(declared, child, name=label).text = number


def _simple(parent: Element, name: str, primitive: str, length: int, null: int | None) -> None:
    element = SubElement(parent, "type", name=name, primitiveType=primitive, length=str(length))
    if null is not None:
        element.set("presence", "optional")
        element.set("nullValue", str(null))


def _level(parent: Element, fields: str, groups: Groups) -> None:
    for text in fields.split():
        name, _, rest = text.partition(":")
        kind, _, since = rest.partition("+")
        SubElement(parent, "field", name=name, type=kind, sinceVersion=since or "0")
    for head, inner in groups:
        label, length = head.split()
        name, _, dimension = label.partition("/")
        group = SubElement(parent, "group", name=name, blockLength=length)
        group.set("dimensionType", f"size{dimension or 3}")
        _level(group, inner, ())
