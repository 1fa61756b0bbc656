"""A rule's text in, its parts out: the SELECT without its pattern for sqlglot, the pattern's clauses.

A parameter becomes a name that the kernel reads at run time, so one kernel serves every value of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streaming import sqltext
from streaming.rules import Rule
from streaming.sqltext import Clause, Match, Token
from tickloom.errors import RuleError

PARAMETER = "parameter_"


@dataclass(slots=True)
class Parts:
    """statement: the whole SELECT with the pattern left out. text: what the tokens' offsets point into."""

    text: str
    statement: exp.Select
    match: Match

    def cut(self, tokens: list[Token]) -> str:
        """The text that ``tokens`` span."""
        return self.text[tokens[0].start : tokens[-1].end] if tokens else ""


def split(rule: Rule, values: Mapping[str, str]) -> Parts:
    """Cut a rule into its parts.

    Parameters
    ----------
    values : mapping
        Parameters as written; only those inside PATTERN matter here, where a number must be known.

    Raises
    ------
    RuleError
        It is not understood.
    """
    text = _with_names(rule, values)
    query = sqltext.parse(text, rule.file)
    tokens = query.tokens
    start = next(i for i, token in enumerate(tokens) if token.upper == "MATCH_RECOGNIZE")
    end = next(i for i in range(start + 2, len(tokens)) if tokens[i].depth == 0 and tokens[i].text == ")")
    low, high = tokens[start].start, tokens[end].end
    hole = "".join("\n" if char == "\n" else " " for char in text[low:high])
    try:
        statement = sqlglot.parse_one(text[:low] + hole + text[high:])
    except SqlglotError as error:
        line = next((int(one.get("line", 0)) for one in error.errors), 0) if hasattr(error, "errors") else 0
        reason = str(error).splitlines()[0]
        raise RuleError(
            rule.file, line, f"the compiled engine: {reason}", "run it with --engine flink"
        ) from None
    if not isinstance(statement, exp.Select):
        raise RuleError(
            rule.file, 1, "a rule is one SELECT", "write SELECT ... FROM view MATCH_RECOGNIZE (...)"
        )
    return Parts(text, statement, query.match)


def _with_names(rule: Rule, values: Mapping[str, str]) -> str:
    tokens = sqltext.tokenize(rule.text, rule.file)
    edits: list[tuple[int, int, str]] = []
    pattern = _pattern_span(tokens)
    for token in tokens:
        if token.kind == "parameter":
            name = token.text[1:]
            if name not in rule.parameters:
                raise RuleError(
                    rule.file, token.line, f"unknown parameter :{name}", "declare it in the header"
                )
            inside = pattern[0] <= token.start < pattern[1]
            edits.append((token.start, token.end, values[name] if inside else PARAMETER + name))
        elif token.kind == "quoted":
            edits.append((token.start, token.end, '"' + token.text[1:-1] + '"'))
    text = rule.text
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text.rstrip().rstrip(";")


def _pattern_span(tokens: list[Token]) -> tuple[int, int]:
    """From the bracket behind PATTERN to the one that closes it."""
    for index, token in enumerate(tokens[:-1]):
        if token.upper == "PATTERN" and tokens[index + 1].text == "(":
            depth = tokens[index + 1].depth
            end = next(one for one in tokens[index + 2 :] if one.text == ")" and one.depth == depth)
            return tokens[index + 1].start, end.end
    return 0, 0


def items(clause: Clause | None) -> list[list[Token]]:
    """The parts between the commas of a clause."""
    return sqltext.split_commas(clause.tokens, 1) if clause is not None else []
