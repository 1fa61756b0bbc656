"""Our tables against a published dictionary, field by field."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from execution.fix import tags
from execution.fix.dictionary import DICTIONARIES, FIX42, FIX44, Dictionary, Layout

# types that share a format; 4.2 calls most of the first an INT
SAME = {"SEQNUM": "INT", "LENGTH": "INT", "NUMINGROUP": "INT"}


class Published:
    """A dictionary file, with its components put in place."""

    def __init__(self, path: Path) -> None:
        root = ElementTree.parse(path).getroot()
        self.fields = {field.attrib["name"]: field for field in root.find("fields") or ()}
        self.components = {part.attrib["name"]: part for part in root.find("components") or ()}
        self.messages = {each.attrib["msgtype"].encode(): each for each in root.find("messages") or ()}
        header, trailer = root.find("header"), root.find("trailer")
        assert header is not None
        assert trailer is not None
        self.header, self.trailer = header, trailer

    def tag(self, name: str) -> int:
        return int(self.fields[name].attrib["number"])

    def members(self, element: ElementTree.Element) -> Iterator[tuple[int, bool, ElementTree.Element]]:
        for child in element:
            name = child.attrib["name"]
            if child.tag == "component":
                yield from self.members(self.components[name])
            else:
                yield self.tag(name), child.attrib["required"] == "Y", child


def read(shared_data: Callable[[str], Path], dictionary: Dictionary) -> Published:
    name = dictionary.begin_string.decode().replace(".", "")
    return Published(shared_data(f"fix/spec/{name}.xml"))


def differences(ours: Layout, theirs: ElementTree.Element, published: Published) -> Iterator[str]:
    """Each field that our layout has otherwise than what is published, groups included."""
    known = {tag: element for tag, _, element in published.members(theirs)}
    required = {tag for tag, is_required, _ in published.members(theirs) if is_required}
    groups = {tag for tag in ours.tags if tag in known and known[tag].tag == "group"}
    yield from (f"{tag} is not published" for tag in set(ours.tags) - set(known))
    yield from (f"{tag} is required on one side" for tag in set(ours.required) ^ required)
    yield from (f"{tag} is a group on one side" for tag in set(ours.groups) ^ groups)
    for tag in set(ours.groups) & groups:
        group, element = ours.groups[tag], known[tag]
        if group.tags[0] != next(published.members(element))[0]:
            yield f"an instance of {tag} begins with another field"
        yield from differences(group, element, published)


@pytest.mark.parametrize("dictionary", [FIX42, FIX44], ids=["4.2", "4.4"])
def test_layouts(dictionary: Dictionary, shared_data: Callable[[str], Path]) -> None:
    """Every field of ours is in the message; the required ones are the published required ones."""
    published = read(shared_data, dictionary)
    assert list(differences(dictionary.header, published.header, published)) == []
    assert list(differences(dictionary.trailer, published.trailer, published)) == []
    assert dictionary.messages
    for msg_type, layout in dictionary.messages.items():
        assert list(differences(layout, published.messages[msg_type], published)) == [], msg_type


@pytest.mark.parametrize("dictionary", [FIX42, FIX44], ids=["4.2", "4.4"])
def test_fields(dictionary: Dictionary, shared_data: Callable[[str], Path]) -> None:
    """Types, enumerations and the set of defined tags are the published ones."""
    published = read(shared_data, dictionary)
    by_tag = {int(field.attrib["number"]): field for field in published.fields.values()}
    assert dictionary.defined == set(by_tag)
    layouts = [dictionary.header, dictionary.trailer, *dictionary.messages.values()]
    used = {tag for layout in layouts for tag in all_tags(layout)}
    assert used <= set(dictionary.types)
    for tag in used:
        kind, field = dictionary.types[tag], by_tag[tag]
        assert SAME.get(kind, kind) == SAME.get(field.attrib["type"], field.attrib["type"]), tag
        values = {value.attrib["enum"].encode() for value in field.findall("value")}
        if values and kind != "BOOLEAN":
            assert dictionary.enumerations[tag] == values, tag
        elif (dictionary.begin_string, tag) != (
            b"FIX.4.2",
            156,
        ):  # M and D there too, says the specification; the file forgot
            assert tag not in dictionary.enumerations, tag
    assert dictionary.msg_types >= set(published.messages)


def all_tags(layout: Layout) -> Iterator[int]:
    yield from layout.tags
    for group in layout.groups.values():
        yield from all_tags(group)


def test_named_tags() -> None:
    """A tag that code names is that field: CL_ORD_ID is ClOrdID."""
    names = {name: tag for name, tag in vars(tags).items() if name.isupper()}
    for name, tag in names.items():
        known = {dictionary.names.get(tag, "") for dictionary in DICTIONARIES.values()}
        assert name.replace("_", "") in {published.upper() for published in known}, name
