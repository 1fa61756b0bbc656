"""The ``types`` of an SBE schema: simple types, composites, enums and sets, by name.

A type may name one that is declared further down, so all are read first and made when they are asked for.
Source: FIX Simple Binary Encoding 1.0, sections 4.3 to 4.6.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from ingest.sbe.model import (
    PRIMITIVES,
    Composite,
    Encoding,
    Enum,
    Member,
    Number,
    Presence,
    Primitive,
    Scalar,
    Set,
)
from tickloom.errors import SchemaError

LENGTH_MAX = 65_535  # of an array: more than a datagram holds


def tag(element: Element) -> str:
    """Name of an element without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def attribute(element: Element, name: str, default: str | None = None, where: str = "") -> str:
    """An attribute's text.

    Raises
    ------
    SchemaError
        It is missing, and there is no default.
    """
    found = element.get(name, default)
    if found is None:
        where = where or f"{tag(element)} {element.get('name', '')}".strip()
        raise SchemaError(where, f"attribute {name} is missing")
    return found


def integer(element: Element, name: str, default: int | None = None) -> int:
    """An attribute as an integer that is not negative."""
    text = attribute(element, name, None if default is None else str(default))
    if not text.strip().isdecimal():
        raise SchemaError(f"{tag(element)} {element.get('name', '')}", f"{name}={text!r} is no plain integer")
    return int(text)


class Types:
    """Types that were declared, made on demand."""

    def __init__(self) -> None:
        self._declared: dict[str, Element] = {}
        self._made: dict[str, Encoding] = {}
        self._making: set[str] = set()

    def declare(self, element: Element) -> None:
        """Take a child of ``types``."""
        if tag(element) not in ("type", "composite", "enum", "set"):
            return
        name = attribute(element, "name")
        if name in self._declared:
            raise SchemaError(name, "the type is declared twice")
        self._declared[name] = element

    def named(self, name: str, where: str) -> Encoding:
        """A declared type, or a primitive by its own name."""
        found = self._made.get(name)
        if found is not None:
            return found
        element = self._declared.get(name)
        if element is None:
            if name in PRIMITIVES:
                return Scalar(name, PRIMITIVES[name], null=PRIMITIVES[name].null)
            raise SchemaError(where, f"type {name} is not declared")
        if name in self._making:
            raise SchemaError(name, "the type contains itself")
        self._making.add(name)
        made = self._made[name] = self._make(element, name)
        self._making.discard(name)
        return made

    def composite(self, name: str, where: str) -> Composite:
        """A composite by name."""
        found = self.named(name, where)
        if not isinstance(found, Composite):
            raise SchemaError(where, f"type {name} is no composite")
        return found

    def value_of(self, reference: str, where: str) -> int:
        """``Enum.Value`` as the number that it stands for."""
        name, _, value = reference.partition(".")
        found = self.named(name, where)
        if not isinstance(found, Enum) or value not in found.values:
            raise SchemaError(where, f"valueRef {reference} names no value of an enum")
        return found.values[value]

    def presence(self, text: str, where: str) -> Presence:
        """``presence`` as it is written."""
        try:
            return Presence(text)
        except ValueError:
            raise SchemaError(where, f"presence {text!r} is none of required, optional, constant") from None

    def _make(self, element: Element, where: str) -> Encoding:
        kind = tag(element)
        if kind == "composite":
            return self._composite(element, where)
        if kind == "enum":
            return self._enum(element, where)
        if kind == "set":
            return self._set(element, where)
        return self._scalar(element, where)

    def _scalar(self, element: Element, where: str) -> Scalar:
        primitive = PRIMITIVES.get(attribute(element, "primitiveType", where=where))
        if primitive is None:
            raise SchemaError(where, f"primitiveType {element.get('primitiveType')} is none of SBE's")
        presence = self.presence(element.get("presence", "required"), where)
        length = integer(element, "length", 1)
        if length > LENGTH_MAX:
            raise SchemaError(where, f"length {length} is more than {LENGTH_MAX}")
        constant: Number | str | None = None
        if presence is Presence.CONSTANT:
            constant = self._constant(element, primitive, where)
        null = primitive.null
        if element.get("nullValue") is not None:
            null = _number(attribute(element, "nullValue"), primitive, where)
        return Scalar(
            attribute(element, "name"),
            primitive,
            length,
            presence,
            null,
            constant,
            integer(element, "sinceVersion", 0),
            element.get("characterEncoding", ""),
        )

    def _constant(self, element: Element, primitive: Primitive, where: str) -> Number | str:
        reference = element.get("valueRef")
        if reference is not None:
            return self.value_of(reference, where)
        text = (element.text or "").strip()
        if not text:
            raise SchemaError(where, "a constant without a value")
        return text if primitive.name == "char" else _number(text, primitive, where)

    def _composite(self, element: Element, where: str) -> Composite:
        members: list[Member] = []
        at = 0
        for child in element:
            if tag(child) not in ("type", "composite", "enum", "set", "ref"):
                continue
            name = attribute(child, "name", where=where)
            path = f"{where}.{name}"
            if any(member.name == name for member in members):
                raise SchemaError(path, "the name is there twice")
            if tag(child) == "ref":
                encoding = self.named(attribute(child, "type", where=path), path)
            else:
                encoding = self._make(child, path)
            presence = encoding.presence if isinstance(encoding, Scalar) else Presence.REQUIRED
            constant = encoding.constant if isinstance(encoding, Scalar) else None
            offset = at if presence is Presence.CONSTANT else integer(child, "offset", at)
            if offset < at:
                raise SchemaError(path, f"offset {offset} is inside the member before it, up to {at}")
            since = max(integer(child, "sinceVersion", 0), encoding.since)
            members.append(Member(name, encoding, offset, presence, since, constant))
            at = max(at, offset + members[-1].size)
        return Composite(attribute(element, "name"), tuple(members), integer(element, "sinceVersion", 0))

    def _enum(self, element: Element, where: str) -> Enum:
        base = self._base(element, where)
        values: dict[str, int] = {}
        for child in element:
            if tag(child) == "validValue":
                text = (child.text or "").strip()
                if base.primitive.name == "char" and len(text) == 1:
                    values[attribute(child, "name")] = ord(text)
                else:
                    values[attribute(child, "name")] = int(_number(text, base.primitive, where))
        names = {number: name for name, number in values.items()}
        null = base.null
        if element.get("nullValue") is not None:
            null = _number(attribute(element, "nullValue"), base.primitive, where)
        return Enum(
            attribute(element, "name"),
            base.primitive,
            values,
            null,
            integer(element, "sinceVersion", 0),
            names,
        )

    def _set(self, element: Element, where: str) -> Set:
        base = self._base(element, where)
        if not base.primitive.name.startswith("uint"):
            raise SchemaError(where, f"a set in {base.primitive.name}, which is no unsigned integer")
        choices: dict[str, int] = {}
        for child in element:
            if tag(child) == "choice":
                bit = int(_number((child.text or "").strip(), PRIMITIVES["uint8"], where))
                if bit >= 8 * base.primitive.size:
                    raise SchemaError(
                        where, f"choice {child.get('name')}: no bit {bit} in {base.primitive.name}"
                    )
                choices[attribute(child, "name")] = bit
        return Set(attribute(element, "name"), base.primitive, choices, integer(element, "sinceVersion", 0))

    def _base(self, element: Element, where: str) -> Scalar:
        found = self.named(attribute(element, "encodingType", where=where), where)
        if not isinstance(found, Scalar) or found.length != 1 or found.primitive.name in ("float", "double"):
            raise SchemaError(
                where, f"encodingType {element.get('encodingType')} is no single integer or char"
            )
        return found


def _number(text: str, primitive: Primitive, where: str) -> Number:
    try:
        return float(text) if primitive.name in ("float", "double") else int(text)
    except ValueError:
        raise SchemaError(where, f"{text!r} is no value of {primitive.name}") from None
