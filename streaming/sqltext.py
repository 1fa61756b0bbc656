"""Rule text in, its tokens and clauses out: as much SQL as the linter and the renderer need. Pure.

MATCH_RECOGNIZE is cut into its clauses here because no SQL parser for Python reads Flink's dialect of
it (sqlglot stops at WITHIN). Whatever else the text says is for Flink's own parser to judge.
Reference: ISO/IEC 19075-5 (row pattern recognition), Flink 2.3 documentation, "Pattern Recognition".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tickloom.errors import RuleError

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--[^\n]*|/\*.*?\*/)
  | (?P<string>'(?:[^']|'')*')
  | (?P<quoted>`(?:[^`]|``)*`)
  | (?P<parameter>:[A-Za-z_]\w*)
  | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<symbol><>|<=|>=|\|\||\{-|-\}|=>|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Token:
    """One token. kind: word, quoted, string, number, parameter or symbol.

    line: 1-based. start, end: offsets in the text. depth: brackets around it; a bracket itself has the
    depth of what is outside it.
    """

    kind: str
    text: str
    line: int
    start: int
    end: int
    depth: int

    @property
    def upper(self) -> str:
        """Upper case of a word; of everything else the text itself, which no keyword equals."""
        return self.text.upper() if self.kind == "word" else self.text

    @property
    def name(self) -> str:
        """The identifier: lower case, without backticks."""
        return self.text.strip("`") if self.kind == "quoted" else self.text.lower()


def tokenize(text: str, path: str) -> list[Token]:
    """Tokens of ``text`` without blanks and comments.

    Raises
    ------
    RuleError
        Brackets do not match, or a text or comment has no end.
    """
    tokens: list[Token] = []
    opened: list[Token] = []
    line = 1
    for found in _TOKEN.finditer(text):
        kind, part = str(found.lastgroup), found.group()
        if kind not in ("space", "comment"):
            if part in ("'", "`"):
                raise RuleError(path, line, f"a {part} that is never closed", f"close it with another {part}")
            if kind == "symbol" and part in _CLOSING:
                if not opened or _OPENING.index(opened[-1].text) != _CLOSING.index(part):
                    raise RuleError(path, line, f"a {part} without its opening bracket", "remove it")
                opened.pop()
            token = Token(kind, part, line, found.start(), found.end(), len(opened))
            tokens.append(token)
            if kind == "symbol" and part in _OPENING:
                opened.append(token)
        line += part.count("\n")
    if opened:
        last = opened[-1]
        raise RuleError(path, last.line, f"a {last.text} that is never closed", "close it")
    return tokens


@dataclass(frozen=True, slots=True)
class Element:
    """A variable of the pattern. count_max: None where there is no limit. reluctant: a ``?`` follows."""

    variable: str
    line: int
    quantifier: str = ""
    count_min: int = 1
    count_max: int | None = 1
    reluctant: bool = False

    @property
    def variable_length(self) -> bool:
        return self.count_min != self.count_max


@dataclass(slots=True)
class Clause:
    """A clause of MATCH_RECOGNIZE: the line of its keyword, and the tokens behind the keyword."""

    line: int
    tokens: list[Token]


@dataclass(slots=True)
class Match:
    """A MATCH_RECOGNIZE. Clauses by their name: "PARTITION BY", "MEASURES", "AFTER MATCH", ..."""

    line: int
    clauses: dict[str, Clause]
    pattern: list[Element]
    pattern_faults: list[tuple[int, str]]  # line, what is there that is no plain variable


@dataclass(slots=True)
class Query:
    """The outermost SELECT of a rule, over one MATCH_RECOGNIZE."""

    tokens: list[Token]
    select_items: list[list[Token]]
    from_line: int
    source: list[Token]  # between FROM and MATCH_RECOGNIZE
    match: Match
    tail: list[Token] = field(default_factory=list)  # behind the closing bracket of MATCH_RECOGNIZE

    def output_name(self, item: list[Token]) -> str:
        """Name of an output column: its alias, or the column it passes on; "" where it has none."""
        last = item[-1]
        if last.kind not in ("word", "quoted"):
            return ""
        passed_on = len(item) == 1 or (len(item) == 3 and item[1].text == ".")
        return last.name if passed_on or item[-2].upper == "AS" else ""


# In the order in which the grammar has them; the words that open a clause at the clause's own depth.
_CLAUSES = (
    "PARTITION BY",
    "ORDER BY",
    "MEASURES",
    "ONE ROW PER MATCH",
    "ALL ROWS PER MATCH",
    "AFTER MATCH",
    "PATTERN",
    "WITHIN",
    "SUBSET",
    "DEFINE",
)


def parse(text: str, path: str) -> Query:
    """Find the outermost SELECT and the clauses of its MATCH_RECOGNIZE.

    Raises
    ------
    RuleError
        It is not one SELECT over one MATCH_RECOGNIZE.
    """
    tokens = tokenize(text, path)
    while tokens and tokens[-1].text == ";":
        tokens.pop()
    top = [index for index, token in enumerate(tokens) if token.depth == 0]
    _refuse_other_statements(tokens, top, path)
    select = next((i for i in top if tokens[i].upper == "SELECT"), None)
    if select is None:
        raise RuleError(path, 1, "there is no SELECT", "write one SELECT over the views, or WITH ... SELECT")
    start = next((i for i in top if i > select and tokens[i].upper == "FROM"), None)
    matches = [i for i, token in enumerate(tokens) if token.upper == "MATCH_RECOGNIZE"]
    if start is None or not matches:
        raise RuleError(
            path,
            tokens[select].line,
            "no MATCH_RECOGNIZE",
            "a rule is SELECT ... FROM view MATCH_RECOGNIZE (...)",
        )
    if len(matches) > 1:
        raise RuleError(
            path, tokens[matches[1]].line, "a second MATCH_RECOGNIZE", "make two rules of it, or one pattern"
        )
    at = matches[0]
    if tokens[at].depth != 0 or at < start:
        raise RuleError(
            path,
            tokens[at].line,
            "MATCH_RECOGNIZE inside a subquery",
            "let the outermost SELECT read from it; put what comes before it into WITH",
        )
    if at + 1 >= len(tokens) or tokens[at + 1].text != "(":
        raise RuleError(path, tokens[at].line, "MATCH_RECOGNIZE without (", "write MATCH_RECOGNIZE ( ... )")
    end = next(i for i in range(at + 2, len(tokens)) if tokens[i].depth == 0 and tokens[i].text == ")")
    return Query(
        tokens,
        split_commas(tokens[select + 1 : start], 0),
        tokens[start].line,
        tokens[start + 1 : at],
        _parse_match(tokens[at], tokens[at + 2 : end]),
        tokens[end + 1 :],
    )


def _refuse_other_statements(tokens: list[Token], top: list[int], path: str) -> None:
    first = tokens[0] if tokens else None
    if first is None or first.upper not in ("SELECT", "WITH"):
        line = first.line if first else 1
        raise RuleError(path, line, "a rule is one SELECT", "the harness adds INSERT INTO and the tables")
    for index in top:
        token = tokens[index]
        if token.text == ";":
            raise RuleError(path, token.line, "a second statement behind ;", "a rule is one SELECT")
        if token.upper in ("UNION", "INTERSECT", "EXCEPT"):
            raise RuleError(
                path,
                token.line,
                f"{token.upper} of the outermost SELECT",
                "put the UNION into WITH and match over it, or make two rules",
            )


def _parse_match(keyword: Token, inner: list[Token]) -> Match:
    clauses: dict[str, Clause] = {}
    current: Clause | None = None
    index = 0
    while index < len(inner):
        name = _clause_at(inner, index)
        if name and name not in clauses:
            current = clauses[name] = Clause(inner[index].line, [])
            index += len(name.split())
            continue
        if current is not None:
            current.tokens.append(inner[index])
        index += 1
    pattern, faults = _parse_pattern(clauses["PATTERN"].tokens) if "PATTERN" in clauses else ([], [])
    return Match(keyword.line, clauses, pattern, faults)


def _clause_at(tokens: list[Token], index: int) -> str:
    if tokens[index].depth != 1:
        return ""
    for name in _CLAUSES:
        words = name.split()
        if [token.upper for token in tokens[index : index + len(words)]] == words:
            return name
    return ""


def _parse_pattern(tokens: list[Token]) -> tuple[list[Element], list[tuple[int, str]]]:
    """Variables with their quantifiers between the brackets of PATTERN, and what Flink cannot do."""
    elements: list[Element] = []
    faults: list[tuple[int, str]] = []
    inner = tokens[1:-1]
    index = 0
    while index < len(inner):
        token = inner[index]
        index += 1
        if token.kind not in ("word", "quoted") or token.upper == "PERMUTE":
            faults.append((token.line, token.text))
            continue
        quantifier = ""
        if index < len(inner) and inner[index].text in ("*", "+", "?"):
            quantifier = inner[index].text
            index += 1
        elif index < len(inner) and inner[index].text == "{":
            while index < len(inner):
                quantifier += inner[index].text
                index += 1
                if quantifier.endswith("}"):
                    break
        reluctant = bool(quantifier) and index < len(inner) and inner[index].text == "?"
        index += reluctant
        elements.append(_element(token, quantifier, reluctant))
    return elements, faults


def _element(token: Token, quantifier: str, reluctant: bool) -> Element:
    variable = token.text.strip("`").upper()
    fixed: dict[str, tuple[int, int | None]] = {"": (1, 1), "*": (0, None), "+": (1, None), "?": (0, 1)}
    if quantifier in fixed:
        return Element(variable, token.line, quantifier, *fixed[quantifier], reluctant)
    low, comma, high = quantifier.strip("{}").partition(",")
    # a parameter as a bound is a number that is not known here; 1 and 2 stand for it
    count_min = int(low) if low.isdigit() else (0 if not low else 1)
    count_max = (
        count_min if not comma else (int(high) if high.isdigit() else (None if not high else count_min + 1))
    )
    return Element(variable, token.line, quantifier, count_min, count_max, reluctant)


def split_commas(tokens: list[Token], depth: int) -> list[list[Token]]:
    """Cut at the commas of ``depth``; empty parts are left out."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == "," and token.depth == depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]
