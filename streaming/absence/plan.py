"""An absence rule in, the plan of its matcher out: typed trees over what a silence remembers.

Uses the compiled engine's reader of expressions, so a WHERE or a measure means here what it means in a
pattern; what that cannot do as Flink does is refused, with the reason.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streaming import rules
from streaming.absence import measures
from streaming.absence.measures import Fact
from streaming.absence.query import ROWS, Text, rows_query
from streaming.absence.text import Absence, Relation, amount, parse
from streaming.compiled.expressions import Reader
from streaming.compiled.plan import row_columns
from streaming.compiled.relation import Branch, branches, parameter
from streaming.compiled.text import PARAMETER
from streaming.compiled.tree import NUMERIC, Column, Kind, Node, Parameter, walk
from streaming.rules import OUTPUT_COLUMNS, Overrides, Rule
from streaming.sqltext import Token
from tickloom.errors import RuleError

#: Roles of rows, in the order in which those of one time and seq are looked at.
WITNESS, EXPECTED, UNLESS = range(3)
_NUMBERS = NUMERIC
_OUTPUT_KINDS = {
    "symbol": (Kind.STRING,),
    "side": (Kind.STRING,),
    "strength": _NUMBERS,
    "ref_price": _NUMBERS,
    "first_seq": (Kind.BIGINT,),
    "last_seq": (Kind.BIGINT,),
}


@dataclass(slots=True)
class Role:
    """Rows of one relation. number: WITNESS, EXPECTED or UNLESS.

    values: what the measures ask of a row, in the order of the kernel's columns; each is a column of
    every branch.
    """

    number: int
    branches: list[Branch]
    values: list[Column]


@dataclass(slots=True)
class Plan:
    """What runs, without the values of parameters.

    Attributes
    ----------
    partition : list of Column
    facts : list of (Fact, int, Column)
        Over witnesses: which function, of which of the witness's values, and as what it is read.
    outputs, where
        Trees of the outermost SELECT, over partition columns, the expected row's values (``e_0``, ...)
        and facts (``f_0``, ...).
    """

    partition: list[Column]
    roles: list[Role]
    expected: list[Column]
    facts: list[tuple[str, int, Column]]
    outputs: dict[str, Node]
    where: Node | None
    parameters: dict[str, Kind]

    def role(self, number: int) -> Role | None:
        return next((role for role in self.roles if role.number == number), None)


@dataclass(frozen=True, slots=True)
class Limits:
    """A set's amounts. until_ms: none is the end of time."""

    silence_ms: int
    least: int
    until_ms: int


@dataclass(slots=True)
class CompiledAbsence:
    """A rule with its values. version: with what was overridden, as it goes into signal ids. key: of text
    and values; state of another key is not taken."""

    rule: Rule
    version: str
    plan: Plan
    values: dict[str, dict[str, str]]
    limits: dict[str, Limits]
    key: str


FOREVER_MS = 1 << 61


def compile_absence(rule: Rule, overrides: Overrides | None = None) -> CompiledAbsence:
    """Plan an absence rule for the compiled engine.

    Raises
    ------
    RuleError
        With line, reason and fix: it is wrong, or only Flink can run it.
    """
    absence = parse(rule)
    values = {name: rules.values(rule, name, overrides) for name in rule.sets}
    limits = {name: _limits(rule, absence, chosen) for name, chosen in values.items()}
    plan = _Planner(rule, absence).plan()
    version = rules.version_of(rule, overrides)
    key = hashlib.sha256(f"{rule.name}|{version}|{rule.text}|{sorted(values.items())}".encode()).hexdigest()
    return CompiledAbsence(rule, version, plan, values, limits, key)


def _limits(rule: Rule, absence: Absence, chosen: dict[str, str]) -> Limits:
    until_ms = amount(rule, absence.until, chosen) if absence.until is not None else FOREVER_MS
    least = amount(rule, absence.least, chosen) if absence.witness is not None else 0
    silence_ms = amount(rule, absence.within, chosen)
    if absence.until is not None and until_ms <= silence_ms:
        raise RuleError(rule.file, absence.until.line, "UNTIL is not longer than WITHIN", "make it longer")
    return Limits(silence_ms, least, until_ms)


class _Planner:
    def __init__(self, rule: Rule, absence: Absence) -> None:
        self.rule = rule
        self.absence = absence
        self.measures = measures.read(absence, rule.file)
        self.reader = Reader(rule.file)

    def plan(self) -> Plan:
        absence, read = self.absence, self.measures
        roles = [self._role(EXPECTED, absence.expect, read.columns)]
        if absence.witness is not None:
            roles.append(self._role(WITNESS, absence.witness, read.arguments))
        if absence.unless is not None:
            roles.append(self._role(UNLESS, absence.unless, []))
        partition = self._partition(roles)
        expected = [
            Column(one.kind, f"e_{number}", one.nullable) for number, one in enumerate(roles[0].values)
        ]
        facts = self._facts(roles[1].values if absence.witness is not None else [])
        outputs, where = self._outputs(partition, self._measures(expected, facts))
        plan = Plan(partition, roles, expected, facts, outputs, where, {})
        plan.parameters = _parameters(plan)
        return plan

    # -- rows

    def _role(self, number: int, relation: Relation, wanted: list[Fact]) -> Role:
        """The rows of a relation as a query over the views, followed down to them."""
        query = rows_query(self._text(), self.absence, relation, '"').add(" SELECT * FROM (SELECT ")
        query.add("".join(f'"{key}" AS key_{place}, ' for place, key in enumerate(self.absence.partition)))
        query.add("event_time, seq")
        for place, fact in enumerate(wanted):
            query.add(", ").write(fact.tokens).add(f" AS v_{place}")
        query.add(f" FROM {ROWS}) AS wanted")
        try:
            statement = sqlglot.parse_one(str(query))
        except SqlglotError as error:
            reason = str(error).splitlines()[0]
            raise RuleError(
                self.rule.file, relation.line, f"the compiled engine: {reason}", "run it with --engine flink"
            ) from None
        if not isinstance(statement, exp.Select):
            raise RuleError(self.rule.file, relation.line, "no SELECT", "mend the WITH queries")
        found = branches(self.rule, statement)
        columns = row_columns(found)
        self._check_time(relation, columns)
        values = [columns[f"v_{place}"] for place in range(len(wanted))]
        for fact, column in zip(wanted, values, strict=True):
            self._check_value(fact, column)
        return Role(number, found, values)

    def _check_time(self, relation: Relation, columns: dict[str, Column]) -> None:
        if columns["event_time"].kind is not Kind.TIME:
            reason = f"event_time of {relation.name} is no event time"
            raise RuleError(self.rule.file, relation.line, reason, "pass the view's event_time on")
        if columns["seq"].kind is not Kind.BIGINT or columns["seq"].nullable:
            reason = f"seq of {relation.name} is no whole number, or may be NULL"
            raise RuleError(self.rule.file, relation.line, reason, "pass the view's seq on")

    def _check_value(self, fact: Fact, column: Column) -> None:
        if column.kind in (Kind.NULL, Kind.BOOLEAN, Kind.INTERVAL):
            line = fact.tokens[0].line
            reason = f"the compiled engine does not take {fact.argument} of type {column.kind.value}"
            raise RuleError(self.rule.file, line, reason, "measure a number, a text or a time")

    def _partition(self, roles: list[Role]) -> list[Column]:
        found = []
        for place, name in enumerate(self.absence.partition):
            kinds = [row_columns(role.branches)[f"key_{place}"] for role in roles]
            if any(one.nullable or one.kind not in (Kind.STRING, Kind.BIGINT) for one in kinds):
                reason = f"the compiled engine does not partition by {name}"
                fix = "partition by texts and whole numbers that are never NULL, or use --engine flink"
                raise RuleError(self.rule.file, self.absence.line, reason, fix)
            if len({one.kind for one in kinds}) > 1:
                reason = f"{name} has another type in each relation"
                raise RuleError(self.rule.file, self.absence.line, reason, "give it one type")
            found.append(Column(kinds[0].kind, name, False))
        return found

    # -- measures

    def _facts(self, arguments: list[Column]) -> list[tuple[str, int, Column]]:
        found: list[tuple[str, int, Column]] = []
        places = [fact.argument for fact in self.measures.arguments]
        for fact in self.measures.facts:
            if not fact.function:
                continue
            place = places.index(fact.argument)
            given = arguments[place]
            line = fact.tokens[0].line
            if fact.function in ("SUM", "AVG", "MIN", "MAX") and given.kind not in (Kind.DOUBLE, Kind.BIGINT):
                reason = f"{fact.function} of {fact.argument}, which is {given.kind.value}"
                fix = "take it of a DOUBLE or whole number; a constant needs an exponent: 0.5E0"
                raise RuleError(self.rule.file, line, reason, fix)
            kind = Kind.BIGINT if fact.function == "COUNT" else given.kind
            nullable = given.nullable and fact.function != "COUNT"
            found.append((fact.function, place, Column(kind, f"f_{len(found)}", nullable)))
        return found

    def _measures(self, expected: list[Column], facts: list[tuple[str, int, Column]]) -> dict[str, Node]:
        """Each measure as a tree over the silence's columns."""
        names: dict[Fact, Column] = dict(zip(self.measures.columns, expected, strict=True))
        over = [fact for fact in self.measures.facts if fact.function]
        names |= {fact: column for fact, (_, _, column) in zip(over, facts, strict=True)}
        by_name = {column.name: column for column in names.values()}

        def resolve(table: str, name: str, line: int) -> Node:
            given = parameter(self.rule, name)
            if given is not None:
                return given
            if table or name not in by_name:
                fix = f"say whose: {self.absence.expect.variable}.{name}"
                raise RuleError(self.rule.file, line, f"the column {name!r} of no relation", fix)
            return by_name[name]

        found: dict[str, Node] = {}
        for name, parts in self.measures.parts:
            words = [names[part].name if isinstance(part, Fact) else _spell(part) for part in parts]
            first = parts[0].tokens[0] if isinstance(parts[0], Fact) else parts[0]
            found[name] = self.reader.read(self.reader.parse(" ".join(words), first.line), resolve)
        return found

    def _outputs(
        self, partition: list[Column], given: dict[str, Node]
    ) -> tuple[dict[str, Node], Node | None]:
        """The outermost SELECT and the WHERE behind the bracket."""
        by_name: dict[str, Node] = {**{column.name: column for column in partition}, **given}

        def resolve(table: str, name: str, line: int) -> Node:
            if table or name not in by_name:
                known = parameter(self.rule, name)
                if known is not None:
                    return known
                fix = f"there are {', '.join(by_name)}"
                raise RuleError(self.rule.file, line, f"unknown column {name!r}", fix)
            return by_name[name]

        found: dict[str, Node] = {}
        for item in self.absence.items:
            named = len(item) > 2 and item[-2].upper == "AS"
            body = item[:-2] if named else item
            tree = self.reader.parse(str(_inline(body)), item[0].line)
            found[item[-1].name] = self.reader.read(tree, resolve)
        for name in OUTPUT_COLUMNS:
            if name not in found:
                raise RuleError(
                    self.rule.file, 1, f"no output column {name}", "select it; see the other rules"
                )
            if found[name].kind not in _OUTPUT_KINDS[name]:
                wanted = " or ".join(kind.value for kind in _OUTPUT_KINDS[name])
                reason = f"{name} is {found[name].kind.value}"
                raise RuleError(self.rule.file, self.absence.items[0][0].line, reason, f"it must be {wanted}")
        tail = self.absence.tail
        if not tail:
            return found, None
        if tail[0].upper != "WHERE" or len(tail) < 2:
            raise RuleError(
                self.rule.file, tail[0].line, f"{tail[0].text} behind ABSENCE", "only WHERE may follow"
            )
        where = self.reader.boolean(self.reader.parse(str(_inline(tail[1:])), tail[0].line), resolve)
        return found, where

    def _text(self) -> Text:
        return Text(_spell)


def _inline(tokens: list[Token]) -> Text:
    return Text(_spell).add(" ".join(map(_spell, tokens)))


def _spell(token: Token) -> str:
    """A token as sqlglot reads it: a parameter is a name, which the kernel is given when it runs."""
    if token.kind == "parameter":
        return PARAMETER + token.text[1:]
    return f'"{token.text[1:-1]}"' if token.kind == "quoted" else token.text


def _parameters(plan: Plan) -> dict[str, Kind]:
    trees = [*plan.outputs.values(), *([plan.where] if plan.where is not None else [])]
    for role in plan.roles:
        for branch in role.branches:
            trees += branch.columns.values()
            trees += [branch.where] if branch.where is not None else []
    return {node.name: node.kind for tree in trees for node in walk(tree) if isinstance(node, Parameter)}
