"""SBE XML in, :class:`ingest.sbe.model.Schema` out; what does not fit together is refused, saying where.

Source: FIX Simple Binary Encoding 1.0, section 4. Namespaces of the elements are passed over, since venues
publish schemas under several; attributes that only describe (``description``, ``semanticType``) as well.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ingest.sbe.model import (
    PRIMITIVES,
    Composite,
    Data,
    Dimension,
    Encoding,
    Group,
    Header,
    Level,
    Member,
    Message,
    Number,
    Presence,
    Primitive,
    Scalar,
    Schema,
)
from ingest.sbe.types import Types, attribute, integer, tag
from tickloom.errors import SchemaError

NESTED_MAX = 8  # groups inside each other; real schemas have two
ORDERS = {"littleEndian": "<", "bigEndian": ">"}


def load_schema(path: Path) -> Schema:
    """Compile a schema file.

    Raises
    ------
    SchemaError
        It cannot be read, or something in it does not fit together.
    """
    try:
        return parse_schema(path.read_bytes())
    except OSError as error:
        raise SchemaError(str(path), f"{error.strerror}; give the path of the venue's XML file") from None


def parse_schema(xml: str | bytes) -> Schema:
    """Compile the text of a schema.

    Raises
    ------
    SchemaError
        It is no XML, or something in it does not fit together.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise SchemaError("file", f"no XML: {error}; take the file as the venue publishes it") from None
    return schema_of(root)


def schema_of(root: Element) -> Schema:
    """Compile a schema that is an XML tree already.

    Raises
    ------
    SchemaError
        Something in it does not fit together.
    """
    if tag(root) != "messageSchema":
        raise SchemaError(tag(root), "the root is no messageSchema; is this another kind of file?")
    order = attribute(root, "byteOrder", "littleEndian")
    if order not in ORDERS:
        raise SchemaError("messageSchema", f"byteOrder {order!r} is neither littleEndian nor bigEndian")
    types = Types()
    for block in root:
        if tag(block) == "types":
            for element in block:
                types.declare(element)
    header = attribute(root, "headerType", "messageHeader")
    messages: dict[int, Message] = {}
    for element in root:
        if tag(element) == "message":
            message = _message(element, types)
            if message.id in messages:
                raise SchemaError(message.name, f"template {message.id} is {messages[message.id].name} too")
            messages[message.id] = message
    return Schema(
        attribute(root, "package", "sbe"),
        integer(root, "id", 0),
        integer(root, "version", 0),
        ORDERS[order],
        _header(types.composite(header, "messageSchema")),
        messages,
    )


def _message(element: Element, types: Types) -> Message:
    name = attribute(element, "name")
    level = _level(element, types, name, 0)
    return Message(name, integer(element, "id"), level, integer(element, "sinceVersion", 0))


def _level(element: Element, types: Types, where: str, depth: int) -> Level:
    """Fields, groups and data of a message or group, which must come in this order."""
    if depth > NESTED_MAX:
        raise SchemaError(where, f"groups are nested more than {NESTED_MAX} deep")
    fields: list[Member] = []
    groups: list[Group] = []
    data: list[Data] = []
    seen: set[str] = set()
    at = 0
    for child in element:
        kind, path = tag(child), f"{where}.{child.get('name', '?')}"
        if kind not in ("field", "group", "data"):
            continue
        name = attribute(child, "name", where=path)
        if name in seen:
            raise SchemaError(path, "the name is there twice")
        seen.add(name)
        if (data and kind != "data") or (groups and kind == "field"):
            raise SchemaError(path, f"a {kind} stands behind {'data' if data else 'a group'}")
        if kind == "field":
            field = _field(child, types, path, at)
            at = max(at, field.offset + field.size)
            fields.append(field)
        elif kind == "group":
            groups.append(_group(child, types, path, depth))
        else:
            data.append(_data(child, types, path))
    length = integer(element, "blockLength", at)
    if length < at:
        raise SchemaError(where, f"blockLength {length}, and its fields need {at} bytes")
    return Level(tuple(fields), tuple(groups), tuple(data), length)


def _field(element: Element, types: Types, where: str, at: int) -> Member:
    encoding = types.named(attribute(element, "type", where=where), where)
    since = max(integer(element, "sinceVersion", 0), encoding.since if encoding.since else 0)
    presence = Presence.REQUIRED
    if isinstance(encoding, Scalar):
        presence = encoding.presence
    constant: Number | str | None = encoding.constant if isinstance(encoding, Scalar) else None
    given = element.get("presence")
    if given is not None:
        presence = types.presence(given, where)
    reference = element.get("valueRef")
    if reference is not None:
        constant, presence = types.value_of(reference, where), Presence.CONSTANT
    if presence is Presence.CONSTANT and constant is None:
        raise SchemaError(where, "a constant without a value; give valueRef, or a constant type")
    offset = at if presence is Presence.CONSTANT else integer(element, "offset", at)
    if offset < at:
        raise SchemaError(where, f"offset {offset} is inside the field before it, which ends at {at}")
    return Member(
        attribute(element, "name"), encoding, offset, presence, since, constant, integer(element, "id", 0)
    )


def _group(element: Element, types: Types, where: str, depth: int) -> Group:
    dimension = types.composite(attribute(element, "dimensionType", "groupSizeEncoding"), where)
    return Group(
        attribute(element, "name"),
        integer(element, "id", 0),
        Dimension(
            dimension.size, _number(dimension, "blockLength", where), _number(dimension, "numInGroup", where)
        ),
        _level(element, types, where, depth + 1),
        integer(element, "sinceVersion", 0),
    )


def _data(element: Element, types: Types, where: str) -> Data:
    composite = types.composite(attribute(element, "type", where=where), where)
    offset, length = _number(composite, "length", where)
    try:
        body = composite.member("varData")
    except KeyError:
        raise SchemaError(where, f"type {composite.name} has no member varData") from None
    text = body.encoding.text if isinstance(body.encoding, Scalar) else ""
    return Data(
        attribute(element, "name"),
        integer(element, "id", 0),
        length,
        body.offset,
        offset,
        text,
        integer(element, "sinceVersion", 0),
    )


def _header(composite: Composite) -> Header:
    names = ("blockLength", "templateId", "schemaId", "version")
    return Header(composite.size, *(_number(composite, name, composite.name) for name in names))


def _number(composite: Composite, name: str, where: str) -> tuple[int, Primitive]:
    """Offset and primitive of an unsigned integer that the framing needs."""
    try:
        member = composite.member(name)
    except KeyError:
        raise SchemaError(where, f"type {composite.name} has no member {name}") from None
    encoding: Encoding = member.encoding
    unsigned = ("uint8", "uint16", "uint32", "uint64")
    if not isinstance(encoding, Scalar) or encoding.primitive.name not in unsigned or encoding.length != 1:
        raise SchemaError(where, f"{composite.name}.{name} is no unsigned integer")
    if member.presence is Presence.CONSTANT:
        raise SchemaError(where, f"{composite.name}.{name} is constant, and the message must say it")
    return member.offset, PRIMITIVES[encoding.primitive.name]
