"""A rule in, the plan of its matcher out: rows, automaton, and what a partial match must remember.

The automaton is Flink's (flink-cep 2.3, ``NFACompiler``): variable k with j rows taken is one state;
``greedy`` says that the variable behind a greedy one takes no row that the greedy one would take.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from streaming import rules, sqltext
from streaming.compiled import text as rule_text
from streaming.compiled.columns import EVENT_TIME
from streaming.compiled.expressions import INTERVAL_MS, Reader
from streaming.compiled.relation import Branch, branches, parameter
from streaming.compiled.text import PARAMETER, Parts
from streaming.compiled.tree import Call, Column, Kind, Literal, Navigation, Node, Parameter, walk
from streaming.rules import MATCH_TIME, OUTPUT_COLUMNS, Rule
from streaming.sqltext import Element, Token
from tickloom.errors import RuleError

#: Order keys behind event_time that the kernel's sort takes: whole numbers.
_SKIP_PAST_LAST = ("SKIP", "PAST", "LAST", "ROW")
_SKIP_TO_NEXT = ("SKIP", "TO", "NEXT", "ROW")


@dataclass(frozen=True, slots=True)
class Skip:
    """Where matching goes on: behind the match ("past"), at its second row ("next"), or at the first or
    last row of a variable ("first", "last")."""

    mode: str
    variable: str = ""


@dataclass(slots=True)
class Plan:
    """One SELECT of a rule, ready for code.

    Attributes
    ----------
    branches : list of Branch
        Where rows come from; all have the columns of the first.
    row_columns : dict
        Columns of a row that the pattern uses, with what the branches make of them.
    conditions : list
        The DEFINE of each variable, in the order of the pattern.
    outputs : dict
        Trees of the six output columns, over the rows of a match.
    within : Literal or Parameter or None
    """

    elements: list[Element]
    branches: list[Branch]
    row_columns: dict[str, Column]
    partition: list[str]
    order: list[str]
    conditions: list[Node]
    outputs: dict[str, Node]
    where: Node | None
    skip: Skip
    within: Literal | Parameter | None
    parameters: dict[str, Kind]

    def index(self, variable: str) -> int:
        """Place of a variable in the pattern."""
        return next(i for i, one in enumerate(self.elements) if one.variable == variable)


@dataclass(slots=True)
class CompiledRule:
    """A rule with its values, compiled when its first matcher is made.

    version: with what was overridden, as it goes into signal ids. key: of text and values; state of
    another key is not taken.
    """

    rule: Rule
    version: str
    plan: Plan
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    key: str = ""


def compile_rule(rule: Rule, overrides: Mapping[str, str] | None = None) -> CompiledRule:
    """Plan a rule for the compiled engine.

    Raises
    ------
    RuleError
        With line, reason and fix: it is wrong, or only Flink can run it.
    """
    values = {name: rules.values(rule, name, overrides) for name in rule.sets}
    first = next(iter(values.values()))
    parts = rule_text.split(rule, first)
    plan = _plan(rule, parts)
    _refuse_numbers_in_pattern(rule, values, first)
    version = rules.version_of(rule, overrides)
    key = hashlib.sha256(f"{rule.name}|{version}|{rule.text}|{sorted(values.items())}".encode()).hexdigest()
    return CompiledRule(rule, version, plan, values, key)


def _refuse_numbers_in_pattern(rule: Rule, values: dict[str, dict[str, str]], first: dict[str, str]) -> None:
    used = set()
    tokens = sqltext.tokenize(rule.text, rule.file)
    inside = False
    for token in tokens:
        inside = token.upper == "PATTERN" or (inside and token.upper not in ("WITHIN", "DEFINE", "SUBSET"))
        if inside and token.kind == "parameter":
            used.add(token.text[1:])
    for name in used:
        if any(one[name] != first[name] for one in values.values()):
            raise RuleError(
                rule.file,
                rule.parameters[name].line,
                f"{name} counts rows in PATTERN and differs between sets",
                "make a rule of each, or run it with --engine flink",
            )


def _plan(rule: Rule, parts: Parts) -> Plan:
    reader = Reader(rule.file)
    match = parts.match
    below = branches(rule, parts.statement)
    columns = row_columns(below)
    resolver = _MatchScope(rule, match.pattern, columns)
    measures = _measures(parts, reader, resolver)
    partition, order = _keys(rule, parts, columns)
    outputs, where = _outputs(rule, parts, reader, measures, columns, partition)
    plan = Plan(
        match.pattern,
        below,
        {},
        partition,
        order,
        _conditions(parts, reader, resolver, match.pattern),
        outputs,
        where,
        _skip(match.clauses["AFTER MATCH"].tokens),
        _within(rule, parts, reader),
        {},
    )
    used = [node for tree in _trees(plan) for node in walk(tree)]
    names = {node.column.name for node in used if isinstance(node, Navigation)}
    names |= {node.name for node in used if isinstance(node, Column)}
    plan.row_columns = {name: columns[name] for name in sorted({*names, *partition, *order})}
    plan.parameters = _parameters(plan, used)
    return plan


def _trees(plan: Plan) -> list[Node]:
    trees = [*plan.conditions, *plan.outputs.values()]
    return trees if plan.where is None else [*trees, plan.where]


def _parameters(plan: Plan, used: list[Node]) -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for branch in plan.branches:
        for tree in (*branch.columns.values(), *([branch.where] if branch.where is not None else [])):
            used = used + walk(tree)
    for node in (*used, plan.within):
        if isinstance(node, Parameter):
            found.setdefault(node.name, node.kind)
    return found


def row_columns(below: list[Branch]) -> dict[str, Column]:
    """Columns of a row; NULL is possible where it is in one of the branches."""
    found: dict[str, Column] = {}
    for name in below[0].columns:
        trees = [branch.columns[name] for branch in below]
        kinds = {tree.kind for tree in trees} - {Kind.NULL}
        if kinds == {Kind.DOUBLE, Kind.DECIMAL} or kinds == {Kind.DECIMAL}:
            kinds = {Kind.DOUBLE}
        kind = kinds.pop() if len(kinds) == 1 else Kind.NULL
        found[name] = Column(kind, name, any(_may_be_null(tree) for tree in trees))
    return found


def _may_be_null(tree: Node) -> bool:
    if isinstance(tree, Literal):
        return tree.value is None
    if isinstance(tree, Column):
        return tree.nullable
    if isinstance(tree, Call):
        if tree.name in ("isnull", "istrue", "isfalse"):
            return False
        if tree.name == "coalesce":
            return all(_may_be_null(one) for one in tree.arguments)
        return any(_may_be_null(one) for one in tree.arguments)
    return not isinstance(tree, Parameter)


class _MatchScope:
    """Names inside MEASURES and DEFINE."""

    def __init__(self, rule: Rule, pattern: list[Element], columns: dict[str, Column]) -> None:
        self.rule = rule
        self.variables = [element.variable for element in pattern]
        self.columns = columns

    def __call__(self, table: str, name: str, line: int) -> Node:
        given = parameter(self.rule, name)
        if given is not None:
            return given
        if not table:
            raise RuleError(
                self.rule.file, line, f"the column {name!r} of no variable", "say which variable's: A.price"
            )
        if table.upper() not in self.variables:
            raise RuleError(
                self.rule.file, line, f"unknown variable {table!r}", f"there are {', '.join(self.variables)}"
            )
        if name not in self.columns:
            raise RuleError(
                self.rule.file, line, f"unknown column {name!r}", f"there are {', '.join(self.columns)}"
            )
        column = self.columns[name]
        if column.kind is Kind.NULL:
            raise RuleError(
                self.rule.file,
                line,
                f"the column {name!r} has several types",
                "give all parts of the UNION one type",
            )
        return Navigation(column.kind, table.upper(), True, 0, column)


def _measures(parts: Parts, reader: Reader, scope: _MatchScope) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for item in rule_text.items(parts.match.clauses["MEASURES"]):
        name = item[-1].name
        body = item[:-2] if len(item) > 2 and item[-2].upper == "AS" else item
        if any(token.upper == "MATCH_ROWTIME" for token in body):
            raise reader.refuse("MATCH_ROWTIME", "the signal has the time of its last row anyway")
        found[name] = reader.read(reader.parse(parts.cut(body), item[0].line), scope)
    return found


def _conditions(parts: Parts, reader: Reader, scope: _MatchScope, pattern: list[Element]) -> list[Node]:
    defined: dict[str, Node] = {}
    for item in rule_text.items(parts.match.clauses.get("DEFINE")):
        tree = reader.parse(parts.cut(item[2:]), item[0].line)
        defined[item[0].name.upper()] = reader.boolean(tree, scope)
    return [defined.get(element.variable, Literal(Kind.BOOLEAN, True)) for element in pattern]


def _keys(rule: Rule, parts: Parts, columns: dict[str, Column]) -> tuple[list[str], list[str]]:
    clauses = parts.match.clauses
    keys = [item[0].name for item in rule_text.items(clauses["PARTITION BY"])]
    line = clauses["PARTITION BY"].line
    for name in keys:
        column = columns.get(name)
        if column is None or column.kind not in (Kind.STRING, Kind.BIGINT) or column.nullable:
            raise RuleError(rule.file, line, f"PARTITION BY {name}", "partition by texts and whole numbers")
    if EVENT_TIME not in columns:
        raise RuleError(
            rule.file, line, "the rows have no event_time", "select it in every query before the pattern"
        )
    order = [item[0].name for item in rule_text.items(clauses["ORDER BY"])][1:]
    for name in order:
        column = columns.get(name)
        if column is None or column.kind is not Kind.BIGINT or column.nullable:
            raise RuleError(
                rule.file, clauses["ORDER BY"].line, f"ORDER BY {name}", "order by whole numbers, never NULL"
            )
    return keys, order


def _outputs(
    rule: Rule,
    parts: Parts,
    reader: Reader,
    measures: dict[str, Node],
    columns: dict[str, Column],
    partition: list[str],
) -> tuple[dict[str, Node], Node | None]:
    """The outermost SELECT over the measures."""

    def resolve(table: str, name: str, line: int) -> Node:
        given = parameter(rule, name)
        if given is not None:
            return given
        if name in partition:
            return columns[name]
        if name not in measures:
            known = ", ".join((*partition, *measures))
            raise RuleError(rule.file, line, f"unknown column {name!r}", f"the match has {known}")
        return measures[name]

    found: dict[str, Node] = {}
    for item in parts.statement.expressions:
        name = item.alias_or_name.lower()
        names = [one for one in item.find_all(exp.Identifier) if "line" in one.meta]
        reader.line = int(names[0].meta["line"]) if names else reader.line
        found[name] = reader.read(item, resolve)
    wanted = {
        "symbol": (Kind.STRING,),
        "side": (Kind.STRING,),
        "strength": (Kind.DOUBLE, Kind.BIGINT, Kind.DECIMAL),
        "ref_price": (Kind.DOUBLE, Kind.BIGINT, Kind.DECIMAL),
        "first_seq": (Kind.BIGINT,),
        "last_seq": (Kind.BIGINT,),
    }
    for name in OUTPUT_COLUMNS:
        if name not in found:
            raise RuleError(rule.file, 1, f"no output column {name}", "select it; see the other rules")
        if found[name].kind not in wanted[name]:
            raise RuleError(
                rule.file,
                reader.line,
                f"{name} is {found[name].kind.value}",
                f"it must be {' or '.join(kind.value for kind in wanted[name])}",
            )
    found.pop(MATCH_TIME, None)
    condition = parts.statement.args.get("where")
    return found, None if condition is None else reader.boolean(condition.this, resolve)


def _skip(tokens: list[Token]) -> Skip:
    words = tuple(token.upper for token in tokens)
    if words == _SKIP_PAST_LAST:
        return Skip("past")
    if words == _SKIP_TO_NEXT:
        return Skip("next")
    variable = tokens[-1].text.strip('`"').upper()
    return Skip("first" if "FIRST" in words else "last", variable)


def _within(rule: Rule, parts: Parts, reader: Reader) -> Literal | Parameter | None:
    clause = parts.match.clauses.get("WITHIN")
    if clause is None:
        return None
    cut = parts.cut(clause.tokens)
    if cut.startswith(PARAMETER):
        found = parameter(rule, cut)
    else:
        found = reader.read(
            reader.parse(cut, clause.line), lambda table, name, line: Literal(Kind.NULL, None)
        )
    if not isinstance(found, Literal | Parameter) or found.kind is not Kind.INTERVAL:
        raise RuleError(
            rule.file, clause.line, f"WITHIN {cut}", f"write WITHIN :name of type interval, or {INTERVAL_MS}"
        )
    return found
