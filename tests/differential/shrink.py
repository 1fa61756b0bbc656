"""A case on which engines differ in, a smaller one on which they still do out.

Everything is tried that makes the case smaller and leaves it in order: events out, parts of the rule out,
conditions replaced by what they are made of. The caller says which cases still differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from streaming.authoring import linter
from tests.differential.cases import RuleCase, TapeCase, Variable
from tests.differential.expressions import BOOLEAN, DOUBLE, Call, Expression, Literal
from tests.differential.strategies import Group
from tickloom.errors import TickloomError

ATTEMPTS_MAX = 120  # a job of Flink and a compilation each: some minutes


@dataclass(frozen=True, slots=True)
class Case:
    """A rule on a group of tapes."""

    rule: RuleCase
    group: Group

    def size(self) -> tuple[int, int]:
        """Events, and length of the text."""
        return sum(len(tape.events) for tape in self.group.tapes), len(self.rule.text())


def shrink(case: Case, differs: Callable[[Case], bool], attempts_max: int = ATTEMPTS_MAX) -> Case:
    """The smallest case that was found. ``differs`` may be slow: it is asked so often at most."""
    attempts = 0
    improved = True
    while improved and attempts < attempts_max:
        improved = False
        for smaller in _smaller(case):
            if smaller.size() >= case.size() or not _in_order(smaller.rule):
                continue
            attempts += 1
            if differs(smaller):
                case, improved = smaller, True
                break
            if attempts >= attempts_max:
                break
    return case


def _in_order(rule: RuleCase) -> bool:
    try:
        return all(finding.severity != "error" for finding in linter.lint(rule.rule()))
    except TickloomError:
        return False


def _smaller(case: Case) -> Iterator[Case]:
    group = case.group
    if len(group.watermarks_ms) > 1:
        yield replace(case, group=Group(group.tapes, (0,)))
    if len(group.tapes) > 1:
        for index in range(len(group.tapes)):  # symbols go by the tape's place: it stays, empty
            if group.tapes[index].events:
                yield replace(case, group=_with_tape(group, index, TapeCase(())))
    for index, tape in enumerate(group.tapes):
        for events in _fewer(tape.events):
            yield replace(case, group=_with_tape(group, index, TapeCase(events)))
    for rule in _simpler(case.rule):
        yield replace(case, rule=_without_unused(rule))


def _with_tape(group: Group, index: int, tape: TapeCase) -> Group:
    return replace(group, tapes=(*group.tapes[:index], tape, *group.tapes[index + 1 :]))


def _fewer(events: tuple[object, ...]) -> Iterator[tuple]:  # type: ignore[type-arg]
    """Without a half, a quarter, ... one of them."""
    size = len(events) // 2
    while size:
        for start in range(0, len(events), size):
            yield events[:start] + events[start + size :]
        size //= 2


def _simpler(rule: RuleCase) -> Iterator[RuleCase]:
    if rule.where is not None:
        yield replace(rule, where=None)
    if rule.within_ms is not None:
        yield replace(rule, within_ms=None)
    if rule.filter is not None:
        yield replace(rule, filter=None)
    if rule.branches:
        yield replace(rule, branches=(), order=("seq",), filter=None)
        for index, branch in enumerate(rule.branches):
            if branch.where is not None:
                branches = list(rule.branches)
                branches[index] = replace(branch, where=None)
                yield replace(rule, branches=tuple(branches))
    if rule.partition != ("symbol",):
        yield replace(rule, partition=("symbol",))
    if rule.skip[0] not in ("past", "next"):
        yield replace(rule, skip=("next", ""))
    for index, variable in enumerate(rule.variables):
        for simpler in _simpler_variable(variable):
            yield replace(rule, variables=(*rule.variables[:index], simpler, *rule.variables[index + 1 :]))
    for index, (name, tree) in enumerate(rule.measures):
        if name in ("m0", "m1"):
            for other in (Literal(DOUBLE, 1.0, "1.0E0"), *_parts(tree, DOUBLE)):
                measures = (*rule.measures[:index], (name, other), *rule.measures[index + 1 :])
                yield replace(rule, measures=measures)


def _simpler_variable(variable: Variable) -> Iterator[Variable]:
    if variable.quantifier:
        yield replace(variable, count_min=1, count_max=1, reluctant=False, quantifier="")
    if variable.condition is not None:
        yield replace(variable, condition=Literal(BOOLEAN, True, "TRUE"))
        for part in _parts(variable.condition, BOOLEAN):
            yield replace(variable, condition=part)


def _parts(tree: Expression, kind: str) -> Iterator[Expression]:
    """Smaller trees of the same type: what the tree is made of, and itself with a part made smaller."""
    if not isinstance(tree, Call):
        return
    for index, argument in enumerate(tree.arguments):
        if argument.kind == kind:
            yield argument
        for smaller in _parts(argument, argument.kind):
            yield replace(tree, arguments=(*tree.arguments[:index], smaller, *tree.arguments[index + 1 :]))


def _without_unused(rule: RuleCase) -> RuleCase:
    body = rule.text().partition("\n\n")[2]
    return replace(rule, parameters=tuple(one for one in rule.parameters if f":{one[0]}" in body))
