"""The measures of an absence rule, taken apart: what they ask of the expected row and of the witnesses. Pure.

A measure is any expression over *facts*. A fact is a column of the expected row (``quotes.mid``) or a
function over the witnesses (``LAST(trades.price)``, ``SUM(trades.price * trades.size)``); both engines
compute the same facts, each in its way, and the expressions over them like any others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streaming.absence.text import Absence
from streaming.sqltext import Token
from tickloom.errors import RuleError

FUNCTIONS = ("FIRST", "LAST", "COUNT", "SUM", "AVG", "MIN", "MAX")
#: Aggregates that Flink has and an absence has not: over a plain column they would look at one row only.
_OTHERS = (
    *("STDDEV", "STDDEV_POP", "STDDEV_SAMP", "VARIANCE", "VAR_POP", "VAR_SAMP", "LISTAGG", "COLLECT"),
    *("FIRST_VALUE", "LAST_VALUE", "APPROX_COUNT_DISTINCT", "PERCENTILE", "ARRAY_AGG", "JSON_ARRAYAGG"),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """What a measure asks. function: "" for the expected row's own column, else of :data:`FUNCTIONS`.

    argument: a column, or an expression over the columns of a witness, without qualifiers; as one text
    it tells facts apart. tokens: the same, where it stands in the file.
    """

    function: str
    argument: str
    tokens: tuple[Token, ...] = field(compare=False)


@dataclass(slots=True)
class Measures:
    """parts: for each measure its name, and its tokens with the facts in their place."""

    parts: list[tuple[str, list[Token | Fact]]]

    @property
    def facts(self) -> list[Fact]:
        """Each one once, in the order of the text."""
        found = (part for _, parts in self.parts for part in parts if isinstance(part, Fact))
        return list(dict.fromkeys(found))

    @property
    def columns(self) -> list[Fact]:
        """Those of the expected row."""
        return [fact for fact in self.facts if not fact.function]

    @property
    def arguments(self) -> list[Fact]:
        """One for each argument over witnesses, whatever functions are taken of it."""
        found: dict[str, Fact] = {}
        for fact in self.facts:
            if fact.function:
                found.setdefault(fact.argument, fact)  # in the order of the text, so lines only rise
        return list(found.values())


def read(absence: Absence, path: str) -> Measures:
    """Take the measures apart.

    Raises
    ------
    RuleError
        A function that there is not, or one that mixes relations.
    """
    return Measures([(one.name, _Reader(absence, path).parts(one.tokens)) for one in absence.measures])


class _Reader:
    def __init__(self, absence: Absence, path: str) -> None:
        self._expected = absence.expect.variable
        self._witness = absence.witness.variable if absence.witness else ""
        self._path = path

    def parts(self, tokens: tuple[Token, ...]) -> list[Token | Fact]:
        found: list[Token | Fact] = []
        index = 0
        while index < len(tokens):
            token = tokens[index]
            called = index + 1 < len(tokens) and tokens[index + 1].text == "(" and token.kind == "word"
            if called and token.upper in (*FUNCTIONS, *_OTHERS):
                end = next(
                    i
                    for i in range(index + 2, len(tokens))
                    if tokens[i].text == ")" and tokens[i].depth == token.depth
                )
                found.append(self._call(token, tokens[index + 2 : end]))
                index = end + 1
            elif self._qualified(tokens, index):
                found.append(self._column(token, tokens[index + 2]))
                index += 3
            else:
                found.append(token)
                index += 1
        return found

    def _qualified(self, tokens: tuple[Token, ...], index: int) -> bool:
        """``name.column`` at ``index``."""
        return (
            index + 2 < len(tokens)
            and tokens[index].kind in ("word", "quoted")
            and tokens[index + 1].text == "."
            and tokens[index + 2].kind in ("word", "quoted")
        )

    def _column(self, qualifier: Token, column: Token) -> Fact:
        if qualifier.name == self._expected:
            return Fact("", column.name, (column,))
        if self._witness and qualifier.name == self._witness:
            return Fact("LAST", column.name, (column,))  # as a plain A.price in a pattern
        known = " and ".join(name for name in (self._expected, self._witness) if name)
        raise RuleError(
            self._path, qualifier.line, f"unknown relation {qualifier.text!r}", f"there is {known}"
        )

    def _call(self, name: Token, inner: tuple[Token, ...]) -> Fact:
        shown = f"{name.upper}({' '.join(token.text for token in inner)})"
        if name.upper in _OTHERS:
            raise RuleError(self._path, name.line, shown, f"there are {', '.join(FUNCTIONS)}")
        if (len(inner) == 1 and inner[0].text == "*") or not inner or inner[0].upper == "DISTINCT":
            raise RuleError(
                self._path, name.line, shown, f"name a column: COUNT({self._witness or 'trades'}.seq)"
            )
        kept: list[Token] = []
        index = 0
        while index < len(inner):
            token = inner[index]
            nested = index + 1 < len(inner) and inner[index + 1].text == "("
            if token.text == "," and token.depth == inner[0].depth:
                raise RuleError(self._path, name.line, f"{shown}: an offset", "FIRST and LAST have none here")
            if nested and token.upper in (*FUNCTIONS, *_OTHERS):
                raise RuleError(
                    self._path, token.line, f"{token.upper} inside {name.upper}", "take one of them"
                )
            if self._qualified(inner, index):
                if token.name == self._expected:
                    fix = f"there is one expected row: write {self._expected}.{inner[index + 2].text}"
                    raise RuleError(self._path, token.line, shown, fix)
                self._column(token, inner[index + 2])  # refuses what is no relation of the rule
                index += 2
                continue
            kept.append(token)
            index += 1
        if len(kept) == len(inner):
            raise RuleError(
                self._path,
                name.line,
                f"{shown} is over no relation",
                f"write {name.upper}({self._witness or 'trades'}.size)",
            )
        return Fact(name.upper, " ".join(token.text for token in kept), tuple(kept))
