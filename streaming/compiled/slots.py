"""What a partial match remembers: which values of which rows, and where in its record they stand. Pure.

A record is a row of an int64 and a row of a float64 array. The first columns are the same for every
rule: START, START_TIME, ELEMENT, COUNT (see below); behind them come the slots that its expressions need.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streaming.compiled.plan import Plan
from streaming.compiled.tree import Aggregate, Column, Kind, Navigation, Node, walk

#: Columns of the int64 record: number of the first row in its partition, its time in ms, the variable
#: that is being matched, and how many rows it has taken.
START, START_TIME, ELEMENT, COUNT = range(4)
FIXED = 4


@dataclass(slots=True)
class Slots:
    """Where each remembered value stands.

    counts: variable to its number of rows. lasts, firsts: (variable, column) to the deepest offset.
    aggregates: (variable, argument) to the parts that are accumulated.
    """

    counts: set[str] = field(default_factory=set)
    lasts: dict[tuple[str, str], int] = field(default_factory=dict)
    firsts: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    aggregates: dict[tuple[str, Node], set[str]] = field(default_factory=dict)
    columns: dict[str, Column] = field(default_factory=dict)
    skip_to: str = ""
    places: dict[tuple[object, ...], tuple[str, int]] = field(default_factory=dict)
    ints: int = FIXED
    floats: int = 0
    read: set[tuple[object, ...]] = field(default_factory=set)

    def keep_read(self) -> None:
        """Give up the slots that nothing has read, and what is needed to keep none of those that stay."""
        needed = set(self.read)
        for key in self.read:
            if key[0] == "first" or key == ("skip",):
                needed.add(("count", self.skip_to if key == ("skip",) else key[1]))
            if key[0] == "last":  # a row moves back one place with each that comes
                offset, *rest = key[3:]
                assert isinstance(offset, int)
                needed |= {("last", key[1], key[2], place, *rest) for place in range(offset)}
            if key[0] == "aggregate" and key[3] in ("min", "max"):
                needed.add((*key[:3], "cnt"))
        kept = [(key, array) for key, (array, _) in self.places.items() if key in needed]
        self.places, self.ints, self.floats = {}, FIXED, 0
        for key, array in kept:
            if array == "F":
                self.places[key] = ("F", self.floats)
                self.floats += 1
            else:
                self.places[key] = ("I", self.ints)
                self.ints += 1

    def place(self, *key: object) -> str:
        """Source of a slot of the record ``I, F`` at ``p``."""
        self.read.add(key)
        array, column = self.places[key]
        return f"{array}[p, {column}]"


_PARTS = {
    "count": ("cnt",),
    "sum": ("cnt", "sum"),
    "avg": ("cnt", "sum"),
    "min": ("cnt", "min"),
    "max": ("cnt", "max"),
    "stddev_samp": ("cnt", "sum", "squares"),
    "stddev_pop": ("cnt", "sum", "squares"),
    "var_samp": ("cnt", "sum", "squares"),
    "var_pop": ("cnt", "sum", "squares"),
}


def allocate(plan: Plan) -> Slots:
    """Find what must be remembered, and give it places."""
    slots = Slots(columns=dict(plan.row_columns))
    for position, condition in enumerate(plan.conditions):
        _collect(slots, condition, plan.elements[position].variable)
    for tree in (*plan.outputs.values(), *([plan.where] if plan.where is not None else [])):
        _collect(slots, tree, plan.elements[-1].variable)
    for key in (*slots.lasts, *slots.firsts):
        slots.counts.add(key[0])
    if plan.skip.mode in ("first", "last"):
        slots.skip_to = plan.skip.variable
        slots.counts.add(plan.skip.variable)
        _add(slots, ("skip",), Kind.BIGINT)
    for variable in sorted(slots.counts):
        _add(slots, ("count", variable), Kind.BIGINT)
    for (variable, name), depth in slots.lasts.items():
        for offset in range(depth + 1):
            _add_value(slots, ("last", variable, name, offset), slots.columns[name])
    for (variable, name), offsets in slots.firsts.items():
        for offset in sorted(offsets):
            _add_value(slots, ("first", variable, name, offset), slots.columns[name])
    for (variable, argument), parts in slots.aggregates.items():
        for part in sorted(parts):
            kind = Kind.BIGINT if part == "cnt" else (Kind.DOUBLE if part == "squares" else argument.kind)
            _add(slots, ("aggregate", variable, argument, part), kind)
    return slots


def _collect(slots: Slots, tree: Node, own: str) -> None:
    """own: the variable whose row is at hand, and counts as taken."""
    for node in walk(tree):
        if isinstance(node, Aggregate):
            parts = slots.aggregates.setdefault((node.variable, node.argument), set())
            parts.update(_PARTS[node.function])
        elif isinstance(node, Navigation):
            key = (node.variable, node.column.name)
            if not node.last:
                slots.firsts.setdefault(key, set()).add(node.offset)
                slots.counts.add(node.variable)
            elif node.variable != own:
                slots.lasts[key] = max(slots.lasts.get(key, 0), node.offset)
            elif node.offset:
                slots.lasts[key] = max(slots.lasts.get(key, 0), node.offset - 1)


def _add_value(slots: Slots, key: tuple[object, ...], column: Column) -> None:
    _add(slots, key, column.kind)
    if column.nullable:
        _add(slots, (*key, "null"), Kind.BIGINT)


def _add(slots: Slots, key: tuple[object, ...], kind: Kind) -> None:
    if kind in (Kind.DOUBLE, Kind.DECIMAL):
        slots.places[key] = ("F", slots.floats)
        slots.floats += 1
    else:
        slots.places[key] = ("I", slots.ints)
        slots.ints += 1
