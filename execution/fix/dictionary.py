"""The tables of :mod:`execution.fix.fields` and :mod:`execution.fix.messages`, made ready for lookups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from execution.fix import fields, messages

USER_TAG_MIN = 5_000  # from here on counterparties agree on tags of their own
_TOKEN = re.compile(r"(?P<tag>\d+)(?P<required>!?)(?P<group>\[?)|(?P<end>\])|<(?P<block>\w+)>")


@dataclass(frozen=True, slots=True)
class Layout:
    """Fields of a message, of header or trailer, or of one instance of a repeating group.

    ``tags`` is in the order of the table; the first of a group's begins each instance.
    """

    tags: tuple[int, ...]
    required: tuple[int, ...]
    groups: dict[int, Layout]
    members: frozenset[int] = field(default=frozenset(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", frozenset(self.tags))


@dataclass(frozen=True, slots=True)
class Dictionary:
    """One version of FIX.

    ``msg_types`` are all that the version has; ``messages`` those with a layout here.
    """

    begin_string: bytes
    header: Layout
    trailer: Layout
    messages: dict[bytes, Layout]
    msg_types: frozenset[bytes]
    types: dict[int, str]
    names: dict[int, str]
    enumerations: dict[int, frozenset[bytes]]
    defined: frozenset[int]
    data_lengths: dict[int, int]
    """From the tag of a DATA field to that of the field before it, which says how long it is."""


def _layout(tokens: Iterator[re.Match[str]], blocks: dict[str, str]) -> Layout:
    tags: list[int] = []
    required: list[int] = []
    groups: dict[int, Layout] = {}
    for token in tokens:
        if token["end"]:
            break
        if token["block"]:
            block = _layout(_TOKEN.finditer(blocks[token["block"]]), blocks)
            tags += block.tags
            required += block.required
            groups |= block.groups
            continue
        tag = int(token["tag"])
        tags.append(tag)
        if token["required"]:
            required.append(tag)
        if token["group"]:
            groups[tag] = _layout(tokens, blocks)
    return Layout(tuple(tags), tuple(required), groups)


def _ranges(text: str) -> frozenset[int]:
    bounds = (part.split("-") for part in text.split())
    return frozenset(tag for bound in bounds for tag in range(int(bound[0]), int(bound[-1]) + 1))


def _make(
    begin_string: bytes,
    header: str,
    trailer: str,
    defined: str,
    tables: dict[str, str],
    blocks: dict[str, str],
    overrides: dict[str, str],
    enumeration_overrides: dict[int, str],
) -> Dictionary:
    names: dict[int, str] = {}
    types: dict[int, str] = {}
    for kind, line in [*fields.FIELDS.items(), *overrides.items()]:
        for entry in line.split():
            tag, name = entry.split(":")
            names[int(tag)], types[int(tag)] = name, kind
    enumerations = {
        tag: frozenset(value.encode() for value in line.split())
        for tag, line in (fields.ENUMERATIONS | enumeration_overrides).items()
    }

    def read(text: str) -> Layout:
        return _layout(_TOKEN.finditer(text), blocks)

    known = _ranges(defined)
    return Dictionary(
        begin_string=begin_string,
        header=read(header),
        trailer=read(trailer),
        messages={msg_type.encode(): read(line) for msg_type, line in tables.items()},
        msg_types=enumerations[35],
        types={tag: kind for tag, kind in types.items() if tag in known},
        names=names,
        enumerations=enumerations,
        defined=known,
        data_lengths={tag: 93 if tag == 89 else tag - 1 for tag, kind in types.items() if kind == "DATA"},
    )


FIX44 = _make(
    b"FIX.4.4",
    messages.HEADER_44,
    messages.TRAILER_44,
    messages.DEFINED_44,
    messages.MESSAGES_44,
    messages.BLOCKS_44,
    {},
    {},
)
FIX42 = _make(
    b"FIX.4.2",
    messages.HEADER_42,
    messages.TRAILER_42,
    messages.DEFINED_42,
    messages.MESSAGES_42,
    messages.BLOCKS_42,
    fields.FIELDS_42,
    fields.ENUMERATIONS_42,
)
DICTIONARIES = {dictionary.begin_string: dictionary for dictionary in (FIX42, FIX44)}
