"""What a pattern built in Python reads, and its variables: columns as attributes, as terms of SQL."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from streaming import header, tables
from streaming.authoring.terms import Condition, Kind, Operand, Uses, Value, column, value
from tickloom.errors import BuilderError

SOURCE = "source"  # name of the WITH query
HEAD = ("symbol", "event_time", "seq")  # columns that every pattern needs

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_RESERVED = re.compile(
    "ALL|AND|ANY|AS|BEGIN|BY|CASE|END|FIRST|FROM|LAST|NEXT|NOT|NULL|OR|PREV|ROW|SELECT|START"
)
_KINDS = {"STRING": Kind.STRING, "BIGINT": Kind.BIGINT, "DOUBLE": Kind.DOUBLE}
_BARS = {
    "symbol": Kind.STRING,
    **dict.fromkeys(("ts_event", "ts_recv", "seq", "first_seq", "trade_count"), Kind.BIGINT),
    **dict.fromkeys(("open_price", "high_price", "low_price", "close_price", "volume"), Kind.DOUBLE),
}


class _Columns:
    """Columns as attributes, ``trades.price``, or by name, ``trades["price"]``."""

    def __init__(self, columns: Mapping[str, Kind], view: str) -> None:
        self._columns, self._view = dict(columns), view

    def __getattr__(self, name: str) -> Value:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Value:
        kind = self._columns.get(name)
        if kind is None:
            close = difflib.get_close_matches(name, self._columns, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(self._columns)}."
            raise BuilderError(f"{self._view} has no column {name!r}; {hint}")
        return self._term(name, kind)

    def _term(self, name: str, kind: Kind) -> Value:
        return column(name, kind)


class Source(_Columns):
    """A view, of it the rows that fulfil a condition, and columns computed from its own."""

    def __init__(
        self,
        view: str,
        columns: Mapping[str, Kind],
        condition: Condition | None = None,
        computed: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__(columns, view)
        self._where, self._computed = condition, dict(computed or {})

    def where(self, condition: Condition) -> Source:
        """Only the rows for which it is true; all conditions must be.

        Raises
        ------
        BuilderError
            It is not over the view's own columns.
        """
        self._require_rows(condition.uses, condition.sql)
        joined = condition if self._where is None else self._where & condition
        return Source(self._view, self._columns, joined, self._computed)

    def with_columns(self, **values: Operand) -> Source:
        """More columns, computed from the view's own.

        Raises
        ------
        BuilderError
            A name is taken or none, or a value is not over the view's own columns.
        """
        columns, computed = dict(self._columns), dict(self._computed)
        for name, operand in values.items():
            one = value(operand)
            if name in columns or not header.NAME.fullmatch(name):
                raise BuilderError(f"column {name!r}: take another name, of small letters, digits and _")
            self._require_rows(one.uses, one.sql)
            columns[name], computed[name] = one.kind, one
        return Source(self._view, columns, self._where, computed)

    def variable(self, name: str) -> Variable:
        """A variable of the pattern, which takes rows of this source.

        Raises
        ------
        BuilderError
            The name cannot be a variable's.
        """
        if not _VARIABLE.fullmatch(name) or _RESERVED.fullmatch(name):
            raise BuilderError(f"variable {name!r}: capital letters, digits and _, and no word of SQL")
        return Variable(name, self)

    def variables(self, *names: str) -> tuple[Variable, ...]:
        """Several of them: ``A, B = trades.variables("A", "B")``."""
        return tuple(self.variable(name) for name in names)

    def _require_rows(self, uses: Uses, shown: str) -> None:
        foreign = uses.columns & self._computed.keys()
        if uses.variables or foreign:
            raise BuilderError(f"{shown}: before the pattern there are only the columns of {self._view}")


class Variable(_Columns):
    """A variable of a pattern.

    ``A.price`` is the price of its last row so far; in its own condition, of the row that is looked at.
    ``A.first.price`` is of its first row, ``A.last(1).price`` of the one before its last.
    """

    def __init__(self, name: str, source: Source) -> None:
        super().__init__(source._columns, source._view)
        self._name, self._source = name, source

    @property
    def first(self) -> Rows:
        """Its first row; NULL while it has none."""
        return Rows(self, "FIRST", 0)

    @property
    def last(self) -> Rows:
        """Its last row so far; NULL while it has none."""
        return Rows(self, "LAST", 0)

    def count(self) -> Value:
        """How many rows it took so far."""
        return self["seq"].count()

    def _term(self, name: str, kind: Kind) -> Value:
        return column(name, kind, self._name)


class Rows(_Columns):
    """One row of a variable, counted from its first or its last: ``A.last(2)`` is the third from the end."""

    def __init__(self, variable: Variable, function: str, offset: int) -> None:
        super().__init__(variable._columns, variable._view)
        self._variable, self._function, self._offset = variable, function, offset

    def __call__(self, offset: int) -> Rows:
        if offset < 0:
            raise BuilderError(f"{self._function} with the offset {offset}: count rows from 0 on")
        return Rows(self._variable, self._function, offset)

    def _term(self, name: str, kind: Kind) -> Value:
        inner = column(name, kind, self._variable._name)
        shift = f", {self._offset}" if self._offset else ""
        return Value(f"{self._function}({inner.sql}{shift})", kind, inner.uses | Uses(nested=True))


def view(name: str) -> Source:
    """One of the views that rules read.

    Raises
    ------
    BuilderError
        There is no such view.
    """
    if name in tables.EVENT_VIEWS:
        columns = {key: _KINDS[kind] for key, kind, _ in tables.EVENT_VIEWS[name][1]}
    elif name == "bars_1s":
        columns = dict(_BARS)
    else:
        raise BuilderError(f"there is no view {name!r}; there are {', '.join(tables.VIEWS)}.")
    return Source(name, {**columns, "event_time": Kind.TIME})


def name_of(variable: Variable) -> str:
    """Its name in the pattern."""
    return variable._name


def source_of(variable: Variable) -> Source:
    """What it takes rows of."""
    return variable._source


def uses_of(source: Source) -> Uses:
    """What its condition and its computed columns are made of."""
    uses = source._where.uses if source._where is not None else Uses()
    for one in source._computed.values():
        uses = uses | one.uses
    return uses


def render(source: Source, used: frozenset[str]) -> tuple[list[str], str]:
    """Lines of the WITH query with the columns that are used, and the name to select from.

    A plain view needs no query: no lines.
    """
    if source._where is None and not source._computed:
        return [], source._view
    names = [
        *HEAD,
        *(one for one in source._columns if one in used and one not in (*HEAD, *source._computed)),
    ]
    items = [column(one, Kind.STRING).sql for one in names]
    for name, one in source._computed.items():
        if name in used:
            items.append(f"{one.sql} AS {column(name, one.kind).sql}")
    lines = [f"WITH {SOURCE} AS (", "  SELECT", *listed(items, 4), f"  FROM {source._view}"]
    if source._where is not None:
        lines += joined("  WHERE ", source._where)
    return [*lines, ")"], SOURCE


def joined(head: str, condition: Condition) -> list[str]:
    """``head condition``, with a line for each AND where there are any."""
    first, *others = condition.parts
    return [f"{head}{first}", *(f"{' ' * (len(head) - len(head.lstrip()) + 2)}AND {one}" for one in others)]


def listed(items: Sequence[str], indent: int) -> list[str]:
    """Items with commas, a line each. An item may have several lines."""
    last = len(items) - 1
    return [f"{' ' * indent}{item}{',' if number < last else ''}" for number, item in enumerate(items)]
