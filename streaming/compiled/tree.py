"""Typed expression trees: what SQL text becomes before it becomes code. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Type of a value, as far as the kernel tells types apart.

    DECIMAL is a literal with a point and no exponent, which Flink computes exactly; beside a DOUBLE it
    is one. STRING is an index into a table of texts. TIME is a time attribute: ms since the epoch.
    """

    DOUBLE = "DOUBLE"
    BIGINT = "BIGINT"
    DECIMAL = "DECIMAL"
    BOOLEAN = "BOOLEAN"
    STRING = "STRING"
    TIME = "TIMESTAMP"
    INTERVAL = "INTERVAL"
    NULL = "NULL"


NUMERIC = (Kind.DOUBLE, Kind.BIGINT, Kind.DECIMAL)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; None is NULL. A DECIMAL's value is a float, an INTERVAL's its milliseconds."""

    kind: Kind
    value: float | int | str | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the rows that the pattern reads, or of a view before it."""

    kind: Kind
    name: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Navigation:
    """``LAST(variable.column, offset)`` or ``FIRST(...)``: a plain ``A.x`` is LAST with offset 0."""

    kind: Kind
    variable: str
    last: bool
    offset: int
    column: Column


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregate over the rows of one variable. argument: a tree over columns; None for COUNT(*)."""

    kind: Kind
    function: str
    variable: str
    argument: Node


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the rule, whose value the kernel is given when it runs."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """An operator or function over trees. ``case``: condition, value, condition, value, ..., default."""

    kind: Kind
    name: str
    arguments: tuple[Node, ...]


Node = Literal | Column | Parameter | Navigation | Aggregate | Call


def walk(node: Node) -> list[Node]:
    """The node and everything below it, arguments of aggregates included."""
    found = [node]
    if isinstance(node, Call):
        for argument in node.arguments:
            found += walk(argument)
    elif isinstance(node, Aggregate):
        found += walk(node.argument)
    return found


def replace(node: Node, columns: dict[str, Node]) -> Node:
    """``node`` with its columns replaced by the trees of the same name."""
    if isinstance(node, Column):
        return columns[node.name]
    if isinstance(node, Call):
        return Call(node.kind, node.name, tuple(replace(one, columns) for one in node.arguments))
    return node
