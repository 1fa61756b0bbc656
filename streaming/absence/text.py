"""An absence rule's text in, its parts out. Pure.

    [WITH ...]
    SELECT outputs
    FROM ABSENCE (
      PARTITION BY column, ...
      EXPECT relation [AS name] [WHERE condition] WITHIN interval
      [WHILE relation [AS name] [WHERE condition] [AT LEAST count] [UNTIL interval]]
      [UNLESS relation [AS name] [WHERE condition]]
      MEASURES expression AS name, ...
    )
    [WHERE condition]

An interval is a parameter of type interval or INTERVAL 'n' SECOND; a count a parameter of type int or a
whole number. What the clauses mean, docs/rules.md says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from streaming import sqltext
from streaming.parameters import interval_ms
from streaming.rules import Rule
from streaming.sqltext import Token
from tickloom.errors import RuleError

KEYWORD = "ABSENCE"
SHAPE = (
    "SELECT ... FROM ABSENCE (PARTITION BY symbol EXPECT quotes WITHIN :silence WHILE trades MEASURES ...)"
)
# In the order in which the grammar has them.
_CLAUSES = ("PARTITION BY", "EXPECT", "WITHIN", "WHILE", "AT LEAST", "UNTIL", "UNLESS", "MEASURES")
_NEEDED = ("PARTITION BY", "EXPECT", "WITHIN", "MEASURES")
_UNIT_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
_SECONDS = re.compile(r"'(\d+)(?:\.(\d{1,3}))?'")


@dataclass(frozen=True, slots=True)
class Relation:
    """A view, or a name of the WITH, and what its rows are called in MEASURES.

    condition: tokens behind WHERE; none where every row counts.
    """

    name: str
    variable: str
    line: int
    condition: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class Amount:
    """An interval (ms) or a count, as it is written: the name of a parameter, or the number."""

    line: int
    parameter: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Measure:
    """``expression AS name``."""

    name: str
    tokens: tuple[Token, ...]


@dataclass(slots=True)
class Absence:
    """The parts of an absence rule.

    Attributes
    ----------
    prefix : list of Token
        The WITH queries, the word WITH included; empty without them.
    items : list of list of Token
        Of the outermost SELECT.
    least : Amount
        Witnesses that it takes; 1 where the text does not say.
    tail : list of Token
        Behind the bracket of ABSENCE: nothing, or a WHERE.
    """

    tokens: list[Token]
    prefix: list[Token]
    items: list[list[Token]]
    line: int
    partition: tuple[str, ...]
    expect: Relation
    within: Amount
    witness: Relation | None
    least: Amount
    until: Amount | None
    unless: Relation | None
    measures: list[Measure]
    tail: list[Token] = field(default_factory=list)

    @property
    def relations(self) -> list[Relation]:
        """Those that there are, in the order of the text."""
        return [one for one in (self.expect, self.witness, self.unless) if one is not None]


def parse(rule: Rule) -> Absence:
    """The parts of an absence rule.

    Raises
    ------
    RuleError
        It is not one SELECT over one ABSENCE of that grammar.
    """
    path = rule.file
    tokens = sqltext.tokenize(rule.text, path)
    while tokens and tokens[-1].text == ";":
        tokens.pop()
    select, source, at, end = _frame(tokens, path)
    if [token.upper for token in tokens[source + 1 : at]]:
        raise RuleError(path, tokens[source].line, "ABSENCE is not alone behind FROM", f"write {SHAPE}")
    clauses = _clauses(tokens[at], tokens[at + 2 : end], path)
    expect = _relation(clauses["EXPECT"], path)
    witness = _relation(clauses["WHILE"], path) if "WHILE" in clauses else None
    for name in ("AT LEAST", "UNTIL"):
        if name in clauses and witness is None:
            raise RuleError(
                path, clauses[name][0].line, f"{name} without WHILE", "say what it counts: WHILE trades"
            )
    if witness is not None and witness.variable == expect.variable:
        raise RuleError(
            path,
            witness.line,
            f"EXPECT and WHILE are both called {expect.variable}",
            f"give one another name: WHILE {witness.name} AS other",
        )
    return Absence(
        tokens,
        tokens[:select],
        sqltext.split_commas(tokens[select + 1 : source], 0),
        tokens[at].line,
        _partition(clauses["PARTITION BY"], path),
        expect,
        _interval(rule, clauses["WITHIN"]),
        witness,
        _count(rule, clauses["AT LEAST"]) if "AT LEAST" in clauses else Amount(tokens[at].line, number=1),
        _interval(rule, clauses["UNTIL"]) if "UNTIL" in clauses else None,
        _relation(clauses["UNLESS"], path) if "UNLESS" in clauses else None,
        _measures(clauses["MEASURES"], path),
        tokens[end + 1 :],
    )


def _frame(tokens: list[Token], path: str) -> tuple[int, int, int, int]:
    """Where the outermost SELECT, its FROM, ABSENCE and the bracket that ends it are."""
    if not tokens or tokens[0].upper not in ("SELECT", "WITH"):
        raise RuleError(path, tokens[0].line if tokens else 1, "a rule is one SELECT", f"write {SHAPE}")
    other = next((token for token in tokens if token.upper == "MATCH_RECOGNIZE"), None)
    if other is not None:
        raise RuleError(
            path,
            other.line,
            "MATCH_RECOGNIZE in a rule of kind absence",
            "take `-- kind: absence` out of the header",
        )
    top = [index for index, token in enumerate(tokens) if token.depth == 0]
    refused = next((i for i in top if tokens[i].upper in (";", "UNION", "INTERSECT", "EXCEPT")), None)
    if refused is not None:
        raise RuleError(
            path, tokens[refused].line, f"{tokens[refused].text} between statements", "a rule is one SELECT"
        )
    select = next((i for i in top if tokens[i].upper == "SELECT"), None)
    source = next((i for i in top if select is not None and i > select and tokens[i].upper == "FROM"), None)
    found = [i for i, token in enumerate(tokens[:-1]) if token.upper == KEYWORD and tokens[i + 1].text == "("]
    if select is None or source is None or not found:
        raise RuleError(path, tokens[0].line, "no ABSENCE", f"write {SHAPE}")
    if len(found) > 1 or tokens[found[0]].depth != 0 or found[0] < source:
        raise RuleError(
            path, tokens[found[-1]].line, "ABSENCE belongs behind the outermost FROM, once", f"write {SHAPE}"
        )
    at = found[0]
    end = next(i for i in range(at + 2, len(tokens)) if tokens[i].depth == 0 and tokens[i].text == ")")
    return select, source, at, end


def _clauses(keyword: Token, inner: list[Token], path: str) -> dict[str, list[Token]]:
    """Clause to the tokens behind its keyword."""
    clauses: dict[str, list[Token]] = {}
    current: list[Token] | None = None
    index, place = 0, -1
    while index < len(inner):
        name = _clause_at(inner, index)
        if not name:
            if current is None:
                raise RuleError(
                    path, inner[index].line, f"{inner[index].text!r} opens ABSENCE", f"write {SHAPE}"
                )
            current.append(inner[index])
            index += 1
            continue
        if _CLAUSES.index(name) <= place:
            raise RuleError(
                path, inner[index].line, f"{name} out of its place", f"the order is {', '.join(_CLAUSES)}"
            )
        place = _CLAUSES.index(name)
        line = inner[index].line
        current = clauses[name] = []
        index += len(name.split())
        if index >= len(inner) or _clause_at(inner, index):
            raise RuleError(path, line, f"nothing behind {name}", f"write {SHAPE}")
    for name in _NEEDED:
        if name not in clauses:
            raise RuleError(path, keyword.line, f"ABSENCE without {name}", f"write {SHAPE}")
    return clauses


def _clause_at(tokens: list[Token], index: int) -> str:
    if tokens[index].depth != 1:
        return ""
    for name in _CLAUSES:
        words = name.split()
        if [token.upper for token in tokens[index : index + len(words)]] == words:
            return name
    return ""


def _partition(tokens: list[Token], path: str) -> tuple[str, ...]:
    parts = sqltext.split_commas(tokens, 1)
    for part in parts:
        if len(part) != 1 or part[0].kind not in ("word", "quoted"):
            raise RuleError(
                path, part[0].line, "PARTITION BY takes columns", "compute it in WITH, and name it there"
            )
    return tuple(part[0].name for part in parts)


def _relation(tokens: list[Token], path: str) -> Relation:
    """``name [AS variable] [WHERE condition]``."""
    first = tokens[0]
    where = next(
        (i for i, token in enumerate(tokens) if token.depth == 1 and token.upper == "WHERE"), len(tokens)
    )
    head = tokens[:where]
    named = len(head) == 3 and head[1].upper == "AS"
    if first.kind not in ("word", "quoted") or not (len(head) == 1 or named):
        raise RuleError(
            path,
            first.line,
            f"{' '.join(token.text for token in head)!r} is no relation",
            "write a view or a name of the WITH",
        )
    if where == len(tokens) - 1:
        raise RuleError(path, tokens[where].line, "nothing behind WHERE", "write a condition, or no WHERE")
    return Relation(first.name, head[-1].name, first.line, tuple(tokens[where + 1 :]))


def _interval(rule: Rule, tokens: list[Token]) -> Amount:
    first = tokens[0]
    if len(tokens) == 1 and first.kind == "parameter":
        return _parameter(rule, first, "interval")
    if len(tokens) == 3 and first.upper == "INTERVAL" and tokens[1].kind == "string":
        found, unit_ms = _SECONDS.fullmatch(tokens[1].text), _UNIT_MS.get(tokens[2].upper)
        if found and unit_ms:
            ms = int(found[1]) * unit_ms + int((found[2] or "").ljust(3, "0")) * unit_ms // 1_000
            if ms > 0:
                return Amount(first.line, number=ms)
    shown = " ".join(token.text for token in tokens)
    raise RuleError(
        rule.file,
        first.line,
        f"{shown!r} is no interval",
        "write a parameter of type interval, or INTERVAL '2' SECOND",
    )


def _count(rule: Rule, tokens: list[Token]) -> Amount:
    first = tokens[0]
    if len(tokens) == 1 and first.kind == "parameter":
        return _parameter(rule, first, "int")
    if len(tokens) == 1 and first.text.isdigit() and int(first.text) > 0:
        return Amount(first.line, number=int(first.text))
    shown = " ".join(token.text for token in tokens)
    raise RuleError(
        rule.file,
        first.line,
        f"AT LEAST {shown}",
        "write a whole number from 1 on, or a parameter of type int",
    )


def _parameter(rule: Rule, token: Token, kind: str) -> Amount:
    name = token.text[1:]
    parameter = rule.parameters.get(name)
    if parameter is None:
        raise RuleError(
            rule.file,
            token.line,
            f"unknown parameter :{name}",
            f"declare it: -- parameter: {name} {kind} DEFAULT TEXT",
        )
    if parameter.type != kind:
        raise RuleError(
            rule.file, token.line, f"parameter {name} is of type {parameter.type}", f"declare it as {kind}"
        )
    return Amount(token.line, parameter=name)


def _measures(tokens: list[Token], path: str) -> list[Measure]:
    found: list[Measure] = []
    for part in sqltext.split_commas(tokens, 1):
        if len(part) < 3 or part[-2].upper != "AS" or part[-1].kind not in ("word", "quoted"):
            raise RuleError(path, part[0].line, "a measure without a name", "write: expression AS name")
        if any(one.name == part[-1].name for one in found):
            raise RuleError(path, part[-1].line, f"measure {part[-1].text} twice", "give it another name")
        found.append(Measure(part[-1].name, tuple(part[:-2])))
    return found


def amount(rule: Rule, given: Amount, chosen: dict[str, str]) -> int:
    """Milliseconds of an interval, or a count, under the values of :func:`streaming.rules.values`.

    Raises
    ------
    RuleError
        A count below 1.
    """
    if not given.parameter:
        return given.number
    value = chosen[given.parameter]
    if rule.parameters[given.parameter].type == "interval":
        return interval_ms(value)
    if int(value) < 1:
        raise RuleError(rule.file, given.line, f"AT LEAST {value}", "1 or more; leave WHILE out for none")
    return int(value)
