"""One SBE message in, plain Python values out: for tools and tests, not for speed.

Values: numbers, text (a char array up to its first NUL), tuples (other arrays), the name of an enum's value
(the number where the schema does not name it), a tuple of names for a set, ``Decimal`` for a composite of
mantissa and exponent, dictionaries for other composites, lists of dictionaries for groups, text or bytes for
data. Absent is None.
"""

from __future__ import annotations

import codecs
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ingest.sbe.model import (
    Composite,
    Data,
    Encoding,
    Enum,
    Group,
    Level,
    Member,
    Presence,
    Primitive,
    Scalar,
    Schema,
    Set,
)
from tickloom.errors import TruncatedMessage, UnknownTemplate

#: Entries whose blocks have no bytes, beyond one for each byte that follows: a count that nothing backs up
#: is not believed.
EMPTY_ENTRIES_MAX = 255


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message.

    size: bytes from its header to the end of what the schema knows of it; short: a block of it is shorter
    than the fields of its own version, and what does not fit reads as absent.
    """

    name: str
    template_id: int
    version: int
    values: dict[str, Any]
    size: int
    short: bool


class ObjectDecoder:
    """Decodes messages of one schema, of its own version or any other."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def decode(self, raw: bytes, at: int = 0, stop: int | None = None) -> Decoded:
        """The message whose header is at ``at``; ``stop``: where it ends at the latest.

        Raises
        ------
        TruncatedMessage
            It does not end before ``stop``.
        UnknownTemplate
            The schema does not have it.
        """
        return _Cursor(self.schema, raw, at, len(raw) if stop is None else stop).message()


class _Cursor:
    """Where the decoder is in one message."""

    def __init__(self, schema: Schema, raw: bytes, at: int, stop: int) -> None:
        self._schema, self._raw, self._stop = schema, raw, min(stop, len(raw))
        self._start = self._at = at
        self._version, self._short = 0, False
        self._name = "header"

    def message(self) -> Decoded:
        schema, header = self._schema, self._schema.header
        self._need(self._at + header.size, "the header")
        template, schema_id, version, block = (
            self._integer(self._at + offset, primitive)
            for offset, primitive in (
                header.template_id,
                header.schema_id,
                header.version,
                header.block_length,
            )
        )
        message = schema.messages.get(template)
        if message is None or schema_id != schema.id:
            raise UnknownTemplate(schema.name, template, schema_id, version)
        self._name, self._version = message.name, version
        self._at += header.size
        values = self._level(message.level, block)
        return Decoded(message.name, template, version, values, self._at - self._start, self._short)

    def _need(self, end: int, what: str) -> None:
        if end > self._stop:
            raise TruncatedMessage(
                self._schema.name, self._name, what, end - self._start, self._stop - self._start
            )

    def _integer(self, at: int, primitive: Primitive) -> int:
        return int(struct.unpack_from(self._schema.order + primitive.struct_code, self._raw, at)[0])

    def _level(self, level: Level, block: int) -> dict[str, Any]:
        start, end = self._at, self._at + block
        self._need(end, "a block")
        values: dict[str, Any] = {member.name: self._member(member, start, end) for member in level.fields}
        self._at = end
        for group in level.groups:
            values[group.name] = self._group(group) if group.since <= self._version else []
        for data in level.data:
            values[data.name] = self._data(data) if data.since <= self._version else None
        return values

    def _group(self, group: Group) -> list[dict[str, Any]]:
        head, at = group.dimension, self._at
        self._need(at + head.size, f"group {group.name}")
        block = self._integer(at + head.block_length[0], head.block_length[1])
        count = self._integer(at + head.count[0], head.count[1])
        self._at += head.size
        least = count * block if block else count - EMPTY_ENTRIES_MAX
        self._need(self._at + least, f"group {group.name}")
        return [self._level(group.level, block) for _ in range(count)]

    def _data(self, data: Data) -> str | bytes:
        self._need(self._at + data.head_bytes, f"data {data.name}")
        size = self._integer(self._at + data.length_offset, data.length)
        start = self._at + data.head_bytes
        self._need(start + size, f"data {data.name}")
        self._at = start + size
        raw = self._raw[start : self._at]
        return raw.decode(_codec(data.text), "replace") if data.text else raw

    def _member(self, member: Member, base: int, end: int) -> Any:
        """Value of a field or of a composite's member; ``end``: of the block as the message has it."""
        if member.since > self._version:
            return None
        if member.presence is Presence.CONSTANT:
            if isinstance(member.encoding, Enum) and isinstance(member.constant, int):
                return member.encoding.names.get(member.constant, member.constant)
            return member.constant
        at = base + member.offset
        if isinstance(member.encoding, Composite):
            return self._composite(member.encoding, at, end)
        if at + member.encoding.size > end:
            self._short = True
            return None
        return self._value(member.encoding, at, member.presence is Presence.OPTIONAL)

    def _composite(self, composite: Composite, at: int, end: int) -> Any:
        if at + composite.size > end:
            self._short = True
            return None
        parts = {member.name: self._member(member, at, end) for member in composite.members}
        if parts.keys() == {"mantissa", "exponent"}:
            mantissa, exponent = parts["mantissa"], parts["exponent"]
            return None if mantissa is None or exponent is None else Decimal(mantissa).scaleb(exponent)
        return parts

    def _value(self, encoding: Encoding, at: int, optional: bool) -> Any:
        assert not isinstance(encoding, Composite)
        primitive = encoding.primitive
        length = encoding.length if isinstance(encoding, Scalar) else 1
        if primitive.name == "char" and length > 1:
            text = self._raw[at : at + length].partition(b"\x00")[0]
            codec = _codec(encoding.text) if isinstance(encoding, Scalar) else "ascii"
            return None if optional and not text else text.decode(codec, "replace")
        numbers = struct.unpack_from(f"{self._schema.order}{length}{primitive.struct_code}", self._raw, at)
        if isinstance(encoding, Enum):
            if numbers[0] == encoding.null and numbers[0] not in encoding.names:
                return None
            return encoding.names.get(numbers[0], numbers[0])
        if isinstance(encoding, Set):
            names = {bit: name for name, bit in encoding.choices.items()}
            return tuple(
                names.get(bit, f"bit{bit}") for bit in range(8 * primitive.size) if numbers[0] >> bit & 1
            )
        if optional and all(_is_null(number, encoding.null) for number in numbers):
            return None
        if length != 1:
            return numbers
        return chr(numbers[0]) if primitive.name == "char" else numbers[0]


def _is_null(number: float, null: float) -> bool:
    return number == null or (number != number and null != null)


def _codec(name: str) -> str:
    """A character encoding as Python knows it; ASCII where it does not."""
    try:
        return codecs.lookup(name or "ascii").name
    except LookupError:
        return "ascii"
