"""The WITH queries before a pattern, followed down to the views: which rows, which columns. Pure.

What may come before a pattern is projection, filter and UNION ALL. Windows, joins and groups are Flink's.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from streaming.compiled.columns import views
from streaming.compiled.expressions import Reader
from streaming.compiled.text import PARAMETER
from streaming.compiled.tree import Call, Column, Kind, Node, Parameter
from streaming.rules import Rule
from tickloom.errors import RuleError

#: Type of a parameter to the type of its value.
PARAMETER_KINDS = {
    "double": Kind.DOUBLE,
    "int": Kind.BIGINT,
    "string": Kind.STRING,
    "interval": Kind.INTERVAL,
}


@dataclass(slots=True)
class Branch:
    """One view's part of the rows. columns: name to a tree over the view's columns."""

    view: str
    columns: dict[str, Node]
    where: Node | None = None


def parameter(rule: Rule, name: str) -> Node | None:
    """The tree of a name that stands for a parameter, or None."""
    if not name.startswith(PARAMETER):
        return None
    found = rule.parameters.get(name.removeprefix(PARAMETER))
    if found is None:
        return None
    return Parameter(PARAMETER_KINDS[found.type], found.name)


def branches(rule: Rule, statement: exp.Select) -> list[Branch]:
    """The rows that the pattern of ``statement`` reads.

    Raises
    ------
    RuleError
        Something that only Flink does.
    """
    reader = Reader(rule.file)
    named = {cte.alias_or_name.lower(): cte.this for cte in statement.ctes}
    source = _source(statement, reader)
    return _table(rule, reader, source, named)


def _source(select: exp.Expression, reader: Reader) -> exp.Expression:
    found = select.args.get("from_")
    if found is None or select.args.get("joins") or select.args.get("laterals"):
        raise reader.refuse("a join")
    this: exp.Expression = found.this
    return this


def _table(
    rule: Rule, reader: Reader, source: exp.Expression, named: dict[str, exp.Expression]
) -> list[Branch]:
    if isinstance(source, exp.Subquery):
        return _query(rule, reader, source.this, named)
    if not isinstance(source, exp.Table):
        raise reader.refuse(f"reading from {source.sql()}")
    name = source.name.lower()
    if name in named:
        outer = {key: value for key, value in named.items() if key != name}
        return _query(rule, reader, named[name], outer)
    known = views()
    if name not in known:
        raise reader.refuse(f"the view {name}")
    return [Branch(name, {key: Column(one.kind, key, one.nullable) for key, one in known[name].items()})]


def _query(
    rule: Rule, reader: Reader, query: exp.Expression, named: dict[str, exp.Expression]
) -> list[Branch]:
    if isinstance(query, exp.Union):
        if query.args.get("distinct"):
            raise reader.refuse("UNION", "write UNION ALL")
        left = _query(rule, reader, query.this, named)
        right = _query(rule, reader, query.expression, named)
        names = list(left[0].columns)
        for branch in right:  # columns go by place
            if len(branch.columns) != len(names):
                raise RuleError(
                    rule.file, reader.line, "UNION ALL of different columns", "select the same ones"
                )
            branch.columns = dict(zip(names, branch.columns.values(), strict=True))
        return left + right
    if not isinstance(query, exp.Select):
        raise reader.refuse(query.sql()[:60])
    for key in ("group", "having", "distinct", "windows", "qualify", "order", "limit"):
        if query.args.get(key):
            raise reader.refuse(f"{key.upper()} before the pattern")
    if any(True for _ in query.find_all(exp.Window)):
        raise reader.refuse("OVER")
    below = _table(rule, reader, _source(query, reader), named)
    return [_select(rule, reader, query, branch) for branch in below]


def _select(rule: Rule, reader: Reader, query: exp.Select, below: Branch) -> Branch:
    alias = _source(query, reader).alias_or_name.lower()

    def resolve(table: str, name: str, line: int) -> Node:
        given = parameter(rule, name)
        if given is not None:
            return given
        if table and table.lower() != alias:
            raise RuleError(rule.file, line, f"unknown table {table!r}", f"it is {alias}")
        if name not in below.columns:
            known = ", ".join(below.columns)
            raise RuleError(rule.file, line, f"unknown column {name!r}", f"there are {known}")
        return below.columns[name]

    columns: dict[str, Node] = {}
    for item in query.expressions:
        if isinstance(item, exp.Star):
            columns.update(below.columns)
            continue
        _go_to_line(reader, item)
        columns[item.alias_or_name.lower()] = reader.read(item, resolve)
    where = below.where
    condition = query.args.get("where")
    if condition is not None:
        _go_to_line(reader, condition)
        own = reader.boolean(condition.this, resolve)
        where = own if where is None else Call(Kind.BOOLEAN, "and", (where, own))
    return Branch(below.view, columns, where)


def _go_to_line(reader: Reader, item: exp.Expression) -> None:
    """What is refused next is refused there: where the first name of ``item`` stands."""
    names = item.find_all(exp.Identifier)
    reader.line = next((int(one.meta["line"]) for one in names if "line" in one.meta), reader.line)
