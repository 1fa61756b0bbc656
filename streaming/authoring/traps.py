"""A pattern in, findings out: what Flink's MATCH_RECOGNIZE takes, or fails on late, inside the pattern. Pure.

The linter's checks of quantifiers, names and functions. Each trap was seen on Flink 2.3, and what Flink does
with it is shown in tests/streaming/authoring/test_traps.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from streaming import rules, sqltext
from streaming.authoring.findings import Finding, error, note
from streaming.rules import Rule
from streaming.sqltext import Element, Query, Token
from tickloom.errors import TickloomError

#: Rows of one variable without WITHIN: every key may hold so many, for as long as nothing comes.
ROWS_MAX = 1_000
#: Columns that differ in every row: a partition for each, and Flink keeps what it knows of every key.
_UNIQUE = ("seq", "ts_event", "ts_recv", "event_time", "venue_id")
#: Columns of the views that are whole numbers.
_WHOLE = ("seq", "ts_event", "ts_recv", "venue_id", "first_missing", "last_missing", "trade_count")
_TRUNCATING = ("AVG", "STDDEV", "STDDEV_POP", "STDDEV_SAMP", "VAR_POP", "VAR_SAMP", "VARIANCE")
#: What asks the machine's clock, or chance.
CLOCKS = (
    "CURRENT_TIMESTAMP",
    "CURRENT_TIME",
    "CURRENT_DATE",
    "CURRENT_ROW_TIMESTAMP",
    "LOCALTIMESTAMP",
    "LOCALTIME",
    "NOW",
    "PROCTIME",
    "UNIX_TIMESTAMP",
    "RAND",
    "RAND_INTEGER",
    "UUID",
    "CURRENT_WATERMARK",
    "MATCH_PROCTIME",
)
#: Words inside an expression that are no columns.
_WORDS = frozenset(
    """
    AND OR NOT IS NULL TRUE FALSE UNKNOWN BETWEEN SYMMETRIC ASYMMETRIC IN LIKE SIMILAR ESCAPE DISTINCT FROM AS
    CASE WHEN THEN ELSE END INTERVAL YEAR QUARTER MONTH WEEK DAY HOUR MINUTE SECOND MILLISECOND MICROSECOND TO
    EPOCH DATE TIME TIMESTAMP TIMESTAMP_LTZ AT ZONE LOCAL DOUBLE PRECISION FLOAT REAL BIGINT INT INTEGER
    SMALLINT TINYINT DECIMAL NUMERIC STRING VARCHAR CHAR BOOLEAN BYTES FOR
    """.split()  # noqa: SIM905
) | set(CLOCKS)


def counts(rule: Rule, query: Query) -> Iterator[Finding]:
    """Quantifiers that Flink has not, or honours in another way than the standard."""
    for pattern in _patterns(rule, query):
        for element in pattern:
            yield from _count(element)
        for element, following in pairwise(pattern):
            if _greedy(element) and following.count_min == 0:
                yield error(
                    following.line,
                    f"{_shown(following)}, which may match no row, behind the greedy {_shown(element)}: "
                    "Flink has no such pattern",
                    f"make {element.variable} reluctant: {element.variable}{element.quantifier}?",
                )
        yield from _never_ending(query, pattern)
    if "WITHIN" not in query.match.clauses:
        for element in query.match.pattern:
            if element.count_max is not None and element.count_max > ROWS_MAX:
                yield error(
                    element.line,
                    f"{_shown(element)} without WITHIN: a symbol may hold {element.count_max} rows for ever",
                    "add WITHIN :parameter (of type interval) behind the pattern",
                )


def _count(element: Element) -> Iterator[Finding]:
    low, high, shown = element.count_min, element.count_max, _shown(element)
    if element.quantifier.startswith("{,"):
        yield error(element.line, f"{shown}: Flink wants a lower bound", f"write {{0{element.quantifier[1:]}")
    elif high == 0 or (high is not None and high < low):
        yield error(element.line, f"{shown}: no rows between {low} and {high}", "mend the bounds")
    elif (low, high) == (0, 1) and element.reluctant:
        yield error(
            element.line,
            f"{shown}: Flink has no reluctant optional variable",
            f"write {element.variable}?, which is not greedy on Flink",
        )
    elif (low, high) == (0, 1):
        yield note(
            element.line,
            f"{shown} is not greedy on Flink: of a match with {element.variable} and one without it, the one "
            "that is complete first is given",
            "let the conditions exclude each other",
        )
    elif _greedy(element):
        yield note(
            element.line,
            f"{shown} is greedy and never gives a row back: what follows it takes no row that "
            f"{element.variable} would take",
            "let the conditions exclude each other, or make it reluctant",
        )


def _never_ending(query: Query, pattern: Sequence[Element]) -> Iterator[Finding]:
    """What follows a greedy variable takes no row that this one would take: here, none at all."""
    conditions = _conditions(query)
    for element in pattern[:-1]:
        tokens = conditions.get(element.variable)
        if _greedy(element) and (tokens is None or [token.upper for token in tokens] == ["TRUE"]):
            yield error(
                element.line,
                f"{_shown(element)} takes every row, and what follows a greedy variable never gets one that "
                "it would take: nothing would ever match",
                f"make it reluctant: {element.variable}{element.quantifier}?; or give it a condition",
            )


def spelling(rule: Rule, query: Query) -> Iterator[Finding]:
    """Flink tells variables apart by their case; one that is defined twice it refuses."""
    spelled = {token.name.upper(): token.text for token in _pattern_words(query)}
    defined: set[str] = set()
    for token, _ in _definitions(query):
        name = token.name.upper()
        if spelled.get(name, token.text) != token.text:
            yield error(
                token.line,
                f"{token.text} and {spelled[name]} are two variables to Flink",
                f"write {spelled[name]}",
            )
        if name in defined:
            yield error(token.line, f"a second DEFINE of {token.text}", "join the two by AND")
        defined.add(name)


def columns(rule: Rule, query: Query) -> Iterator[Finding]:
    """A column of no variable is the last row's of the match so far; one of a later variable is NULL."""
    variables = [element.variable for element in query.match.pattern]
    if not variables:
        return
    for variable, tokens in _definitions(query):
        own = variable.name.upper()
        later = variables[variables.index(own) + 1 :] if own in variables else []
        yield from _references(tokens, variables, own)
        for token, after in _pairs(tokens):
            if after is not None and after.text == "." and token.name.upper() in later:
                yield error(
                    token.line,
                    f"{token.text} comes later in the pattern: its columns are NULL while {own} is decided",
                    f"move the condition to {token.text}",
                )
    clause = query.match.clauses.get("MEASURES")
    for item in sqltext.split_commas(clause.tokens, 1) if clause is not None else []:
        body = item[:-2] if len(item) > 2 and item[-2].upper == "AS" else item
        yield from _references(body, variables, variables[-1])


def _references(tokens: Sequence[Token], variables: Sequence[str], own: str) -> Iterator[Finding]:
    texts = ["", *(token.text for token in tokens), "", ""]
    for index, token in enumerate(tokens, start=1):
        before, after = texts[index - 1], texts[index + 1]
        if token.kind not in ("word", "quoted") or before == "." or after == "(":
            continue
        if after == ".":
            if token.name.upper() not in variables:
                yield error(
                    token.line,
                    f"{token.text} is no variable of the pattern: Flink takes the match's last row for it",
                    f"say which variable's: {own}.{texts[index + 2]}",
                )
        elif token.kind == "quoted" or token.upper not in _WORDS:
            yield error(
                token.line,
                f"the column {token.text} of no variable: Flink takes the last row of the match so far",
                f"say which variable's: {own}.{token.text}",
            )


def operators(rule: Rule, query: Query) -> Iterator[Finding]:
    """What Flink's parser or planner stumbles over, and whole numbers that are cut off in silence."""
    for token, after in _pairs(query.tokens):
        if token.text == "!" and after is not None and after.text == "=":
            yield error(token.line, "!=, which Flink does not have", "write <>")
    measures = query.match.clauses.get("MEASURES")
    for token in measures.tokens if measures is not None else []:
        if token.upper == "IN" and token.kind == "word":
            yield error(
                token.line,
                "IN inside MEASURES: Flink's planner fails on it",
                "write = with OR; or compute it in DEFINE or in the SELECT",
            )
    for clause in (measures, query.match.clauses.get("DEFINE")):
        yield from _truncated(clause.tokens if clause is not None else [])


def _truncated(tokens: Sequence[Token]) -> Iterator[Finding]:
    for index, token in enumerate(tokens[:-1]):
        if token.upper not in _TRUNCATING or tokens[index + 1].text != "(":
            continue
        depth = tokens[index + 1].depth
        argument = []
        for one in tokens[index + 2 :]:
            if one.depth == depth:
                break
            argument.append(one)
        words = [
            one.name
            for one, after in _pairs(argument)
            if one.kind in ("word", "quoted") and (after is None or after.text != ".")
        ]
        numbers = [one.text for one in argument if one.kind == "number"]
        if words and all(word in _WHOLE for word in words) and all(text.isdigit() for text in numbers):
            text = " ".join(one.text for one in argument).replace(" . ", ".")
            yield error(
                token.line,
                f"{token.upper} of whole numbers: Flink cuts the result off to a whole number",
                f"write {token.upper}(CAST({text} AS DOUBLE))",
            )


def state(rule: Rule, query: Query) -> Iterator[Finding]:
    """Keys without number, and a time limit that is none."""
    clause = query.match.clauses.get("PARTITION BY")
    for token in clause.tokens if clause is not None else []:
        if token.name in _UNIQUE:
            yield error(
                token.line,
                f"PARTITION BY {token.name}: every row has a key of its own, and no key is forgotten",
                "partition by symbol, and by what has few values",
            )
    within = query.match.clauses.get("WITHIN")
    for token in within.tokens if within is not None else []:
        if token.kind == "string" and not any(sign in "123456789" for sign in token.text):
            yield error(token.line, f"WITHIN {token.text}: to Flink it means no limit", "give it a length")
        if token.upper in ("MONTH", "YEAR"):
            yield error(token.line, f"WITHIN in {token.upper}: its length differs", "give days or less")


# -- parts of the query


def _patterns(rule: Rule, query: Query) -> list[list[Element]]:
    """The pattern with the numbers of each set in place of parameters; equal ones once."""
    found: list[list[Element]] = []
    for set_name in rule.sets:
        try:
            values = rules.values(rule, set_name)
        except TickloomError:
            values = {}
        pattern = [_numbered(element, values) for element in query.match.pattern]
        if pattern not in found:
            found.append(pattern)
    return found


def _numbered(element: Element, values: dict[str, str]) -> Element:
    quantifier = element.quantifier
    for name in sorted(values, key=len, reverse=True):
        quantifier = quantifier.replace(f":{name}", values[name])
    if quantifier == element.quantifier:
        return element
    low, comma, high = quantifier.strip("{}").partition(",")
    if not low.isdigit() or not (high.isdigit() or not high):
        return element
    count_max = int(low) if not comma else (int(high) if high else None)
    return replace(element, quantifier=quantifier, count_min=int(low), count_max=count_max)


def _greedy(element: Element) -> bool:
    """Greedy to Flink: exact counts and ``?`` are not."""
    bounds = (element.count_min, element.count_max)
    return not element.reluctant and bounds != (0, 1) and bounds[0] != bounds[1]


def _shown(element: Element) -> str:
    return f"{element.variable}{element.quantifier}{'?' if element.reluctant else ''}"


def _pattern_words(query: Query) -> list[Token]:
    clause = query.match.clauses.get("PATTERN")
    return [token for token in clause.tokens if token.kind in ("word", "quoted")] if clause else []


def _definitions(query: Query) -> list[tuple[Token, list[Token]]]:
    """Variable and condition of each DEFINE."""
    clause = query.match.clauses.get("DEFINE")
    parts = sqltext.split_commas(clause.tokens, 1) if clause is not None else []
    return [(part[0], part[2:]) for part in parts]


def _conditions(query: Query) -> dict[str, list[Token]]:
    return {token.name.upper(): tokens for token, tokens in _definitions(query)}


def _pairs(tokens: Sequence[Token]) -> Iterator[tuple[Token, Token | None]]:
    """Each token with the one behind it."""
    return zip(tokens, [*tokens[1:], None], strict=True)
