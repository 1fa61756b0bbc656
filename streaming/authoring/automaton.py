"""A pattern in, the states and arrows of its automaton out: what ``picture`` draws. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from streaming import sqltext
from streaming.sqltext import Element, Match, Token

ANY_ROW = "any row"


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from one state to the next, or to itself.

    kind: take (a row, behind it another state), loop (a row, the state stays), skip (no row).
    note: how many rows, in words. condition: its parts, which AND joins; none where another arrow of the
    variable has them.
    """

    kind: Literal["take", "loop", "skip"]
    source: int
    target: int
    variable: str = ""
    note: str = ""
    condition: tuple[str, ...] = ()
    reluctant: bool = False


@dataclass(slots=True)
class Automaton:
    """States 0 to ``states`` - 1; the last one is the match."""

    states: int
    arrows: list[Arrow] = field(default_factory=list)


def of_match(match: Match) -> Automaton:
    """The automaton of a MATCH_RECOGNIZE."""
    conditions = defined(match)
    arrows: list[Arrow] = []
    state, looped = 0, False
    for element in match.pattern:
        condition = conditions.get(element.variable, (ANY_ROW,))
        loop = element.count_max is None or element.count_max > 1
        note = _rows(element)
        if loop and element.count_min == 0:
            if looped:  # two loops of one state would take rows in any order
                arrows.append(Arrow("skip", state, state + 1))
                state += 1
            arrows.append(Arrow("loop", state, state, element.variable, note, condition, element.reluctant))
            looped = True
            continue
        arrows.append(Arrow("take", state, state + 1, element.variable, "" if loop else note, condition))
        if element.count_min == 0:
            arrows.append(Arrow("skip", state, state + 1, reluctant=element.reluctant))
        state, looped = state + 1, loop
        if loop:
            arrows.append(Arrow("loop", state, state, element.variable, note, reluctant=element.reluctant))
    return Automaton(state + 1, arrows)


def defined(match: Match) -> dict[str, tuple[str, ...]]:
    """Variable to its condition, as the text has it, cut at each AND; no variable that takes any row."""
    clause = match.clauses.get("DEFINE")
    found: dict[str, tuple[str, ...]] = {}
    for part in sqltext.split_commas(clause.tokens, 1) if clause else []:
        condition = part[2:]  # behind the variable and AS
        if [token.upper for token in condition] not in ([], ["TRUE"]):
            found[part[0].name.upper()] = tuple(source_of(one) for one in _conjuncts(condition))
    return found


def _conjuncts(tokens: Sequence[Token]) -> list[list[Token]]:
    """A condition cut before each AND outside of brackets; one with an OR, or a BETWEEN, stays whole."""
    depth = min(token.depth for token in tokens)
    outside = {token.upper for token in tokens if token.depth == depth}
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.depth == depth and token.upper == "AND" and not outside & {"OR", "BETWEEN", "CASE"}:
            parts.append([])
        parts[-1].append(token)
    return [part for part in parts if part]


def source_of(tokens: Sequence[Token]) -> str:
    """The text of tokens on one line: blanks and comments are one blank, and none inside brackets."""
    parts = [tokens[0].text] if tokens else []
    for before, token in pairwise(tokens):
        apart = token.start > before.end and before.text != "(" and token.text != ")"
        parts.append((" " if apart else "") + token.text)
    return "".join(parts)


def _rows(element: Element) -> str:
    """How many rows a variable takes, in words."""
    low, high = element.count_min, element.count_max
    if low == high:
        return "" if low == 1 else f"{low} rows in all"
    if high is None:
        text = {0: "any number of rows", 1: "1 row or more"}.get(low, f"{low} rows or more")
    elif high == 1:
        return "a row or none"  # Flink's ? is neither greedy nor reluctant
    else:
        text = f"at most {high} rows" if low == 0 else f"{low} to {high} rows"
    return f"{text}, as few as will do" if element.reluctant else f"{text}, as many as come"
