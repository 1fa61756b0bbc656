"""Random SBE schemas with messages, and an encoder that knows nothing of the decoders: the tests' oracle.

A schema is drawn as plain Python, written as XML, and its messages are packed field by field with struct.
What a decoder must give is worked out here from the same drawn values.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

VERSION = 3
SCHEMA_ID = 77
RANGES = {
    "int8": ("b", -127, 127, -128),
    "int16": ("h", -(2**15) + 1, 2**15 - 1, -(2**15)),
    "int32": ("i", -(2**31) + 1, 2**31 - 1, -(2**31)),
    "int64": ("q", -(2**63) + 1, 2**63 - 1, -(2**63)),
    "uint8": ("B", 0, 254, 255),
    "uint16": ("H", 0, 2**16 - 2, 2**16 - 1),
    "uint32": ("I", 0, 2**32 - 2, 2**32 - 1),
    "uint64": ("Q", 0, 2**64 - 2, 2**64 - 1),
}
SIZES = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8}
KINDS = ("number", "optional", "constant", "text", "array", "enum", "set", "composite")


@dataclass
class FieldSpec:
    name: str
    kind: str
    primitive: str
    length: int
    since: int
    gap: int  # bytes left out before it
    null: int | None = None  # its own null value

    @property
    def code(self) -> str:
        return RANGES[self.primitive][0]

    @property
    def null_value(self) -> int:
        return RANGES[self.primitive][3] if self.null is None else self.null

    @property
    def size(self) -> int:
        if self.kind == "constant":
            return 0
        if self.kind == "text":
            return self.length
        if self.kind == "composite":
            return SIZES[self.code] + 2
        return SIZES[self.code] * (self.length if self.kind == "array" else 1)


@dataclass
class LevelSpec:
    fields: list[FieldSpec]
    groups: list[tuple[str, int, LevelSpec]]  # name, since, entry
    data: list[tuple[str, int]]  # name, since
    offsets: dict[str, int] = field(default_factory=dict)

    def place(self) -> None:
        at = 0
        for item in self.fields:
            if item.kind != "constant":
                self.offsets[item.name] = at = at + item.gap
                at += item.size


@st.composite
def levels(draw: st.DrawFn, depth: int = 0) -> LevelSpec:
    fields, since = [], 0
    for number in range(draw(st.integers(0, 5))):
        since = max(since, draw(st.sampled_from([0, 0, 0, 1, 2, 3])))
        kind = draw(st.sampled_from(KINDS))
        unsigned = [name for name in RANGES if name.startswith("u")]
        primitive = draw(st.sampled_from(unsigned if kind in ("enum", "set") else list(RANGES)))
        null = draw(st.sampled_from([None, 17])) if kind in ("optional", "composite") else None
        fields.append(
            FieldSpec(
                f"F{number}",
                kind,
                primitive,
                draw(st.integers(2, 5)),
                since,
                draw(st.sampled_from([0, 0, 1, 3])),
                null,
            )
        )
    groups, data = [], []
    since = 0
    for number in range(draw(st.integers(0, 2)) if depth < 2 else 0):
        since = max(since, draw(st.sampled_from([0, 0, 2])))
        groups.append((f"G{number}", since, draw(levels(depth + 1))))
    for number in range(draw(st.integers(0, 2))):
        since = max(since, draw(st.sampled_from([0, 0, 2])))
        data.append((f"D{number}", since))
    level = LevelSpec(fields, groups, data)
    level.place()
    return level


def _type_of(item: FieldSpec, types: list[str], name: str) -> str:
    primitive = item.primitive
    null = "" if item.null is None else f' nullValue="{item.null}"'
    if item.kind == "number":
        return primitive
    types.append(
        {
            "optional": f'<type name="{name}" primitiveType="{primitive}" presence="optional"{null}/>',
            "constant": f'<type name="{name}" primitiveType="{primitive}" presence="constant">42</type>',
            "text": f'<type name="{name}" primitiveType="char" length="{item.length}"/>',
            "array": f'<type name="{name}" primitiveType="{primitive}" length="{item.length}"/>',
            "enum": f'<enum name="{name}" encodingType="{primitive}"><validValue name="One">1</validValue>'
            '<validValue name="Two">2</validValue></enum>',
            "set": f'<set name="{name}" encodingType="{primitive}"><choice name="Low">0</choice>'
            '<choice name="High">3</choice></set>',
            "composite": f'<composite name="{name}"><type name="a" primitiveType="{primitive}" '
            f'presence="optional"{null}/><type name="k" primitiveType="int8" presence="constant">-9</type>'
            '<type name="b" primitiveType="uint8" offset="{}"/></composite>'.format(SIZES[item.code] + 1),
        }[item.kind]
    )
    return name


def _level_xml(level: LevelSpec, types: list[str], path: str) -> str:
    out = []
    for item in level.fields:
        encoding = _type_of(item, types, f"T{path}{item.name}")
        at = "" if item.kind == "constant" else f' offset="{level.offsets[item.name]}"'
        out.append(f'<field name="{item.name}" id="1" type="{encoding}" sinceVersion="{item.since}"{at}/>')
    for name, since, entry in level.groups:
        inner = _level_xml(entry, types, path + name)
        out.append(f'<group name="{name}" id="2" sinceVersion="{since}" dimensionType="dim">{inner}</group>')
    out += [f'<data name="{name}" id="3" type="blob" sinceVersion="{since}"/>' for name, since in level.data]
    return "".join(out)


def xml_of(level: LevelSpec, order: str) -> str:
    """The schema as a venue would publish it."""
    types: list[str] = []
    body = _level_xml(level, types, "")
    name = "littleEndian" if order == "<" else "bigEndian"
    return (
        f'<sbe:messageSchema xmlns:sbe="urn:x" package="t" id="{SCHEMA_ID}" version="{VERSION}" '
        f'byteOrder="{name}">'
        '<types><composite name="messageHeader"><type name="blockLength" primitiveType="uint16"/>'
        '<type name="templateId" primitiveType="uint16"/><type name="schemaId" primitiveType="uint16"/>'
        '<type name="version" primitiveType="uint16"/></composite>'
        '<composite name="dim"><type name="blockLength" primitiveType="uint16"/>'
        '<type name="numInGroup" offset="3" primitiveType="uint8"/></composite>'
        '<composite name="blob"><type name="length" primitiveType="uint8"/>'
        '<type name="varData" length="0" primitiveType="uint8"/></composite>'
        + "".join(types)
        + f'</types><sbe:message name="M" id="9">{body}</sbe:message></sbe:messageSchema>'
    )


@dataclass
class Built:
    """An encoded level and what must be read from it."""

    raw: bytes
    values: dict[str, Any]


def _value(draw: st.DrawFn, item: FieldSpec, order: str) -> tuple[bytes, Any]:
    code, low, high, _ = RANGES[item.primitive]
    plain = st.integers(low, high)
    if item.kind in ("number", "optional"):
        number = draw(plain)
        if item.kind == "optional" and draw(st.booleans()):
            number = item.null_value
        seen = None if item.kind == "optional" and number == item.null_value else number
        return struct.pack(order + code, number), seen
    if item.kind == "text":
        text = draw(st.text("abcXYZ ", max_size=item.length))
        return text.encode().ljust(item.length, b"\0"), text
    if item.kind == "array":
        numbers = tuple(draw(st.lists(plain, min_size=item.length, max_size=item.length)))
        return struct.pack(f"{order}{item.length}{code}", *numbers), numbers
    if item.kind == "enum":
        number = draw(st.sampled_from([1, 2, 7, item.null_value]))
        names = {1: "One", 2: "Two", item.null_value: None}
        return struct.pack(order + code, number), names.get(number, number)
    if item.kind == "set":
        bits = sorted(draw(st.sets(st.sampled_from([0, 3, 5]))))
        named = tuple({0: "Low", 3: "High", 5: "bit5"}[bit] for bit in bits)
        return struct.pack(order + code, sum(1 << bit for bit in bits)), named
    number, other = draw(st.sampled_from([item.null_value, low])), draw(st.integers(0, 254))
    seen = None if number == item.null_value else number
    return struct.pack(f"{order}{code}xB", number, other), {"a": seen, "k": -9, "b": other}


def _block(draw: st.DrawFn, level: LevelSpec, order: str, version: int, length: int) -> Built:
    raw, values = bytearray(b"\xee" * length), {}
    for item in level.fields:
        if item.since > version:
            values[item.name] = None
        elif item.kind == "constant":
            values[item.name] = 42
        else:
            packed, values[item.name] = _value(draw, item, order)
            at = level.offsets[item.name]
            raw[at : at + len(packed)] = packed
    return Built(bytes(raw), values)


def block_length(level: LevelSpec, version: int, more: int) -> int:
    """Bytes of a block as a venue of that version sends it, with ``more`` behind it."""
    ends = [
        level.offsets[item.name] + item.size
        for item in level.fields
        if item.kind != "constant" and item.since <= version
    ]
    return max(ends, default=0) + more


def _encode(draw: st.DrawFn, level: LevelSpec, order: str, version: int, length: int) -> Built:
    built = _block(draw, level, order, version, length)
    raw, values = bytearray(built.raw), built.values
    for name, since, entry in level.groups:
        values[name] = []
        if since > version:
            continue
        inner = block_length(entry, version, draw(st.sampled_from([0, 0, 2])))
        count = draw(st.integers(0, 3))
        raw += struct.pack(order + "HxB", inner, count)
        for _ in range(count):
            one = _encode(draw, entry, order, version, inner)
            raw += one.raw
            values[name].append(one.values)
    for name, since in level.data:
        values[name] = None
        if since <= version:
            values[name] = draw(st.binary(max_size=6))
            raw += bytes([len(values[name])]) + values[name]
    return Built(bytes(raw), values)


@st.composite
def messages(draw: st.DrawFn, level: LevelSpec, order: str) -> tuple[bytes, int, dict[str, Any]]:
    """An encoded message with its header, its version, and its values."""
    version = draw(st.integers(0, VERSION + 2))
    length = block_length(level, version, draw(st.sampled_from([0, 0, 1, 5])))
    built = _encode(draw, level, order, version, length)
    return struct.pack(order + "HHHH", length, 9, SCHEMA_ID, version) + built.raw, version, built.values
