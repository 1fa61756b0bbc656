"""An SBE schema as data: every type, field, group and message with its offsets, sizes and null values.

Source: FIX Simple Binary Encoding 1.0, sections 2 and 3. Sizes and offsets are in bytes. A ``since`` is the
schema version that brought the element; in a message of an older version it is absent, which reads as null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

Number = int | float


@dataclass(frozen=True, slots=True)
class Primitive:
    """A primitive type. code: numpy's and struct's without byte order; null: where a schema names none."""

    name: str
    size: int
    code: str
    struct_code: str
    null: Number


#: Section 2.4.2, with the null values of section 2.4.3 (table of ranges).
PRIMITIVES = {
    item.name: item
    for item in (
        Primitive("char", 1, "u1", "B", 0),
        Primitive("int8", 1, "i1", "b", -(2**7)),
        Primitive("int16", 2, "i2", "h", -(2**15)),
        Primitive("int32", 4, "i4", "i", -(2**31)),
        Primitive("int64", 8, "i8", "q", -(2**63)),
        Primitive("uint8", 1, "u1", "B", 2**8 - 1),
        Primitive("uint16", 2, "u2", "H", 2**16 - 1),
        Primitive("uint32", 4, "u4", "I", 2**32 - 1),
        Primitive("uint64", 8, "u8", "Q", 2**64 - 1),
        Primitive("float", 4, "f4", "f", math.nan),
        Primitive("double", 8, "f8", "d", math.nan),
    )
}


class Presence(StrEnum):
    """Whether a field is always there (section 2.3)."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A simple type: one primitive, or an array of ``length`` of them.

    constant: of a constant type, which takes no bytes; a text for a char array.
    """

    name: str
    primitive: Primitive
    length: int = 1
    presence: Presence = Presence.REQUIRED
    null: Number = 0
    constant: Number | str | None = None
    since: int = 0
    text: str = ""  # characterEncoding; empty where the schema names none

    @property
    def size(self) -> int:
        return 0 if self.presence is Presence.CONSTANT else self.primitive.size * self.length


@dataclass(frozen=True, slots=True)
class Enum:
    """Named values of a primitive. null: what an absent one reads as."""

    name: str
    primitive: Primitive
    values: dict[str, int]
    null: Number
    since: int = 0
    names: dict[int, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return self.primitive.size


@dataclass(frozen=True, slots=True)
class Set:
    """Named bits of an unsigned integer (a multi-value choice). There is no null: absent reads as no bit."""

    name: str
    primitive: Primitive
    choices: dict[str, int]
    since: int = 0

    @property
    def size(self) -> int:
        return self.primitive.size


@dataclass(frozen=True, slots=True)
class Composite:
    """Several encodings in a row, each at its own offset."""

    name: str
    members: tuple[Member, ...]
    since: int = 0

    @property
    def size(self) -> int:
        return max((member.offset + member.encoding.size for member in self.members), default=0)

    def member(self, name: str) -> Member:
        """The member of that name; KeyError where there is none."""
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(name)


Encoding = Scalar | Enum | Set | Composite


@dataclass(frozen=True, slots=True)
class Member:
    """An encoding at its place: a field of a block, or a part of a composite.

    constant: of a constant field, an enum's value or a type's; it takes no bytes. id: FIX tag (0 in a
    composite).
    """

    name: str
    encoding: Encoding
    offset: int
    presence: Presence
    since: int = 0
    constant: Number | str | None = None
    id: int = 0

    @property
    def size(self) -> int:
        return 0 if self.presence is Presence.CONSTANT else self.encoding.size


@dataclass(frozen=True, slots=True)
class Data:
    """Variable-length data: a length, then so many bytes. text: their encoding, empty for plain bytes."""

    name: str
    id: int
    length: Primitive
    head_bytes: int
    length_offset: int
    text: str
    since: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """A block of fields and what follows it: groups, then data, in wire order.

    block_length: bytes of the block in this version of the schema; a message says its own.
    """

    fields: tuple[Member, ...]
    groups: tuple[Group, ...]
    data: tuple[Data, ...]
    block_length: int


@dataclass(frozen=True, slots=True)
class Dimension:
    """Head of a group: where block length and number of entries stand in it."""

    size: int
    block_length: tuple[int, Primitive]
    count: tuple[int, Primitive]


@dataclass(frozen=True, slots=True)
class Group:
    """A repeating group. Each entry is a level of its own."""

    name: str
    id: int
    dimension: Dimension
    level: Level
    since: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One template."""

    name: str
    id: int
    level: Level
    since: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """Message header: its size, and offset and primitive of each of the four numbers in it."""

    size: int
    block_length: tuple[int, Primitive]
    template_id: tuple[int, Primitive]
    schema_id: tuple[int, Primitive]
    version: tuple[int, Primitive]


@dataclass(frozen=True, slots=True)
class Schema:
    """A whole schema. order: ``<`` or ``>``, of every number in it."""

    name: str
    id: int
    version: int
    order: str
    header: Header
    messages: dict[int, Message]

    def message(self, name: str) -> Message:
        """The template of that name; KeyError where there is none."""
        for message in self.messages.values():
            if message.name == name:
                return message
        raise KeyError(name)
