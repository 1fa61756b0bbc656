"""Tokens of a rule file in, text for a parser out, each word still on its line of the file. Pure.

So an error message of either parser, Flink's or sqlglot's, points to the line that the user wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streaming.absence.text import Absence, Relation
from streaming.sqltext import Token

ROWS = "absence_rows"
#: How one token is spelt for a parser: a parameter as a literal or a name, an identifier in its quotes.
Spell = Callable[[Token], str]


class Text:
    """Text under construction.

    Parameters
    ----------
    spell : callable
        What is written for a token of the file.
    """

    def __init__(self, spell: Spell) -> None:
        self._spell = spell
        self._parts: list[str] = []
        self._line = 1

    def add(self, text: str) -> Text:
        """Words of our own."""
        self._parts.append(text)
        self._line += text.count("\n")
        return self

    def at(self, line: int) -> Text:
        """Go on on that line, if it is not behind us."""
        return self.add("\n" * max(0, line - self._line))

    def write(self, tokens: Sequence[Token]) -> Text:
        """Words of the file."""
        before: Token | None = None
        for token in tokens:
            self.at(token.line)
            # names and operators that stood together stay together: quotes.mid, ABS(, <>
            apart = before is not None and (token.start > before.end or token.line > before.line)
            self.add(" " if apart else "").add(self._spell(token))
            before = token
        return self

    def __str__(self) -> str:
        return "".join(self._parts)


def rows_query(text: Text, absence: Absence, relation: Relation, quote: str) -> Text:
    """WITH queries of the file, and one more, :data:`ROWS`: the rows of a relation that its WHERE leaves.

    The expressions over them come behind, as in the file. quote: around an identifier.
    """
    if absence.prefix:
        text.write(absence.prefix).add(",")
    else:
        text.add("WITH")
    text.add(f" {ROWS} AS (").at(relation.line).add(f"SELECT * FROM {quote}{relation.name}{quote}")
    if relation.condition:
        text.add(" WHERE ").write(relation.condition)
    return text.add(")")
