"""The order of tags in a message, judged once by the dictionary and remembered. Pure.

A counterparty sends few shapes of message, and each over and over. What follows from the tags alone (where
a field is, whether all that is required is there, where groups begin and end) is found once for each
shape; a message of a known shape costs one lookup. What depends on values is left as a list of tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from execution.fix import tags as tag_of
from execution.fix.dictionary import USER_TAG_MIN, Dictionary, Layout
from execution.fix.values import FORMATS

_Test = Callable[[bytes], object]


class Reason(IntEnum):
    """SessionRejectReason (373), FIX 4.4 Volume 2, "Reject". 4.2 has those up to 11."""

    INVALID_TAG_NUMBER = 0
    REQUIRED_TAG_MISSING = 1
    TAG_NOT_DEFINED_FOR_MESSAGE = 2
    TAG_WITHOUT_VALUE = 4
    VALUE_INCORRECT = 5
    INCORRECT_FORMAT = 6
    COMP_ID_PROBLEM = 9
    SENDING_TIME_ACCURACY = 10
    INVALID_MSG_TYPE = 11
    TAG_REPEATED = 13
    TAG_OUT_OF_ORDER = 14
    GROUP_OUT_OF_ORDER = 15
    GROUP_COUNT = 16


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a message is rejected; ``tag`` 0 with any reason but INVALID_TAG_NUMBER: no single field."""

    reason: Reason
    tag: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """What the tags of a message say, whatever the values.

    index: from a tag to its place among the values, for fields outside of groups. groups: from the tag
    of a count to the place of the first and behind the last field of each instance. counts: from the
    place of a count to the number of instances that follow it. tests: place and test of values that have
    a format or an enumeration. supported: its layout is in our tables. plans: what others have worked out
    for this shape.
    """

    msg_type: bytes
    tags: tuple[int, ...]
    index: dict[int, int]
    groups: dict[int, tuple[tuple[int, int], ...]]
    counts: dict[int, int]
    problem: Problem | None
    tests: tuple[tuple[int, _Test], ...]
    supported: bool
    plans: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


class _Analysis:
    """One walk over the tags of a message."""

    def __init__(self, dictionary: Dictionary, msg_type: bytes, tags: tuple[int, ...], user: bool) -> None:
        self.dictionary, self.msg_type, self.tags, self.user = dictionary, msg_type, tags, user
        self.body = dictionary.messages.get(msg_type)
        self.index: dict[int, int] = {}
        self.groups: dict[int, tuple[tuple[int, int], ...]] = {}
        self.counts: dict[int, int] = {}
        self.order: Problem | None = None
        self.field: Problem | None = None

    def shape(self) -> Shape:
        self._walk()
        problem = self.order or self._message_problem() or self.field
        return Shape(
            msg_type=self.msg_type,
            tags=self.tags,
            index=self.index,
            groups=self.groups,
            counts=self.counts,
            problem=problem,
            tests=tuple(self._tests()),
            supported=self.body is not None,
        )

    def _walk(self) -> None:
        header, trailer = self.dictionary.header, self.dictionary.trailer
        rank = place = 0  # header, body, trailer: never back
        while place < len(self.tags):
            tag = self.tags[place]
            layout: Layout | None
            if tag in header.members:
                mine, layout = 0, header
            elif tag in trailer.members:
                mine, layout = 2, trailer
            else:
                mine, layout = 1, self.body
            if mine < rank:
                self.order = self.order or Problem(Reason.TAG_OUT_OF_ORDER, tag)
            rank = max(rank, mine)
            self._check_tag(tag, layout)
            if tag in self.index:
                self.field = self.field or Problem(Reason.TAG_REPEATED, tag)
            else:
                self.index[tag] = place
            place = self._group(place, layout)

    def _check_tag(self, tag: int, layout: Layout | None) -> None:
        if tag >= USER_TAG_MIN and self.user:
            return
        if tag not in self.dictionary.defined:
            self.field = self.field or Problem(Reason.INVALID_TAG_NUMBER, tag)
        elif layout is not None and tag not in layout.members:
            self.field = self.field or Problem(Reason.TAG_NOT_DEFINED_FOR_MESSAGE, tag)

    def _group(self, place: int, layout: Layout | None) -> int:
        """Behind the field at ``place``, and behind the instances of the group that it counts."""
        group = layout.groups.get(self.tags[place]) if layout is not None else None
        if group is None or layout is None:
            return place + 1
        instances, stop = self._instances(place + 1, group)
        self.groups.setdefault(self.tags[place], tuple(instances))
        self.counts[place] = len(instances)
        if stop < len(self.tags) and self.tags[stop] in group.members - layout.members:
            self.field = self.field or Problem(Reason.GROUP_OUT_OF_ORDER, self.tags[stop])
        return stop

    def _instances(self, start: int, group: Layout) -> tuple[list[tuple[int, int]], int]:
        bounds: list[tuple[int, int]] = []
        seen: set[int] = set()
        place = begin = start
        while place < len(self.tags):
            tag = self.tags[place]
            if tag == group.tags[0]:
                if place > begin:
                    bounds.append((begin, place))
                begin, seen = place, set()
            elif place == start or tag not in group.members or tag in seen:
                break
            seen.add(tag)
            nested = group.groups.get(tag)
            if nested is None:
                place += 1
                continue
            inner, stop = self._instances(place + 1, nested)
            self.counts[place] = len(inner)
            place = stop
        if place > begin:
            bounds.append((begin, place))
        return bounds, place

    def _message_problem(self) -> Problem | None:
        if self.msg_type not in self.dictionary.msg_types:
            return Problem(Reason.INVALID_MSG_TYPE)
        layouts: Iterable[Layout | None] = (self.dictionary.header, self.dictionary.trailer, self.body)
        for layout in layouts:
            for tag in layout.required if layout is not None else ():
                if tag not in self.index:
                    return Problem(Reason.REQUIRED_TAG_MISSING, tag)
        return None

    def _tests(self) -> Iterable[tuple[int, _Test]]:
        for place, tag in enumerate(self.tags):
            if place in self.counts:
                yield place, re.compile(b"0*%d" % self.counts[place]).fullmatch
                continue
            test = value_test(self.dictionary, tag)
            if test is not None:
                yield place, test


def analyse(dictionary: Dictionary, msg_type: bytes, tags: tuple[int, ...], user: bool) -> Shape:
    """The shape of a message. ``user``: tags from 5000 on are let through."""
    return _Analysis(dictionary, msg_type, tags, user).shape()


def value_test(dictionary: Dictionary, tag: int) -> _Test | None:
    """What a value of ``tag`` must pass: its enumeration, else its format; None where anything goes."""
    values = dictionary.enumerations.get(tag)
    kind = dictionary.types.get(tag, "STRING")
    if values is not None and tag in dictionary.types and tag != tag_of.MSG_TYPE:
        if kind == "MULTIPLEVALUESTRING":
            return lambda value: values.issuperset(value.split(b" "))
        return values.__contains__
    return FORMATS.get(kind)


def value_problem(dictionary: Dictionary, tag: int, value: bytes, counted: int = -1) -> Problem | None:
    """What is wrong with one value; ``counted``: the instances that follow it, where it counts a group."""
    if not value:
        return Problem(Reason.TAG_WITHOUT_VALUE, tag)
    matches = FORMATS.get(dictionary.types.get(tag, "STRING"))
    if matches is not None and not matches(value):
        return Problem(Reason.INCORRECT_FORMAT, tag)
    if counted >= 0:
        return Problem(Reason.GROUP_COUNT, tag) if int(value) != counted else None
    test = value_test(dictionary, tag)
    if test is not None and not test(value):
        return Problem(Reason.VALUE_INCORRECT, tag)
    return None
