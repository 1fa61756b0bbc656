"""A pattern in, findings out: rows that may not be there, of columns that Flink takes for never NULL. Pure.

``FIRST(B.x, 3)`` of a variable with one row is NULL, and so is ``B.x`` of an optional variable without one.
Where ``x`` was computed before the pattern and its type is NOT NULL (``COALESCE(size, 0E0) AS x``,
``1 AS kind``), Flink 2.3 takes the result for NOT NULL too: a number is -1 then, ``IS NULL`` never true
and a COALESCE around it is planned away (tests/streaming/authoring/test_traps.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from streaming.authoring.findings import Finding, error
from streaming.rules import Rule
from streaming.sqltext import Element, Query
from tickloom.errors import RuleError

if TYPE_CHECKING:  # the compiled engine takes a second to import
    from streaming.compiled.tree import Navigation, Node


def missing_rows(rule: Rule, query: Query) -> Iterator[Finding]:
    """What is looked up in a row that may not be there, and would not be NULL."""
    from streaming.compiled import plan
    from streaming.compiled.tree import Navigation, walk

    try:
        known = plan.compile_rule(rule).plan
    except RuleError:
        return  # another check says it, or it is for Flink alone
    solid = {
        name
        for name in known.row_columns
        if all(_not_null_on_flink(branch.columns[name]) for branch in known.branches)
    }
    decided = zip(known.elements, known.conditions, strict=True)
    places = [(place, tree) for place, (_, tree) in enumerate(decided)]
    ends = [(len(known.elements), tree) for tree in known.outputs.values()]
    reported = set()
    for place, tree in [*places, *ends]:
        for node in walk(tree):
            if not isinstance(node, Navigation) or node.column.name not in solid:
                continue
            if _sure(node, place, known.elements) or (node.variable, node.column.name) in reported:
                continue
            reported.add((node.variable, node.column.name))
            yield _finding(query, node.variable, node.column.name)


def _sure(node: Navigation, place: int, elements: list[Element]) -> bool:
    """Whether the row is there while the variable at ``place`` is decided; behind the last: in a match."""
    index = next(i for i, one in enumerate(elements) if one.variable == node.variable)
    if index > place:
        return False
    rows = 1 if index == place else elements[index].count_min
    return node.offset < rows


def _not_null_on_flink(tree: Node) -> bool:
    """Whether Flink's type of a computed column is NOT NULL. The views' own columns are not."""
    from streaming.compiled.tree import Call, Literal, Parameter

    if isinstance(tree, Literal):
        return tree.value is not None
    if isinstance(tree, Parameter):
        return True
    if not isinstance(tree, Call):
        return False
    if tree.name in ("isnull", "istrue", "isfalse"):
        return True
    if tree.name == "coalesce":
        return any(map(_not_null_on_flink, tree.arguments))
    if tree.name == "case":  # condition, value, condition, value, ..., default
        return all(map(_not_null_on_flink, (*tree.arguments[1:-1:2], tree.arguments[-1])))
    return all(map(_not_null_on_flink, tree.arguments))


def _finding(query: Query, variable: str, column: str) -> Finding:
    line = query.from_line
    following = zip(query.tokens, query.tokens[1:], query.tokens[2:], strict=False)
    for name, dot, field in following:
        if dot.text == "." and name.upper == variable and field.name == column:
            line = name.line
            break
    return error(
        line,
        f"{variable}.{column} of a row that may not be there: {column} cannot be NULL by its type, so Flink "
        "gives -1 or the like instead of NULL",
        f"let it be NULL by its type: CASE WHEN seq IS NOT NULL THEN ... END AS {column}",
    )
