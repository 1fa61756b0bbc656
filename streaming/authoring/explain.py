"""A bound rule in, what it will hold in memory and a picture of its pattern out. Pure.

The bounds are of one key of the pattern, for its longest match: contiguity lets a partial match live only
as long as every row of its key goes on with it, so all that are open began within the rows, or the time,
of the longest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import shorten

from streaming import rules, sqltext
from streaming.authoring import automaton, picture
from streaming.authoring.automaton import Arrow, Automaton
from streaming.parameters import interval_ms, interval_text
from streaming.rules import ABSENCE, JOB, Rule
from streaming.sqltext import Element, Query
from tickloom.errors import RuleError

EXAMPLE_ROWS_S = 1_000  # of one key, to make a bound in time a number
SUBTITLE_CHARS = 100


@dataclass(frozen=True, slots=True)
class Holding:
    """Something that a running rule keeps. bound: how much of it at most. grows: with what."""

    what: str
    bound: str
    grows: str


def holdings(rule: Rule) -> list[Holding]:
    """What a rule keeps in memory, and in its checkpoints.

    Raises
    ------
    RuleError
        The text is not understood.
    """
    if rule.kind == JOB:
        return [Holding("state of the job's functions", "what its code keeps", "see its file"), _waiting()]
    if rule.kind == ABSENCE:
        return _of_absence(rule)
    query = sqltext.parse(rule.text, rule.file)
    keys = _keys(query)
    return [
        Holding(keys, "each that was ever seen", "new ones; Flink never clears the state of a key"),
        *_of_pattern(rule, query),
        _waiting(),
        *_before_pattern(query),
        _compiled(rule),
    ]


def svg(rule: Rule) -> str:
    """The pattern as an automaton, with what governs it in a caption.

    Raises
    ------
    RuleError
        The text is not understood, or the rule is a job, which has no pattern.
    """
    if rule.kind == JOB:
        raise RuleError(rule.file, 0, "a PyFlink job has no pattern to draw", "leave --svg out")
    title, subtitle = (
        f"{rule.name} v{rule.version}",
        f"{rule.venue}: {shorten(rule.about.split('. ')[0], SUBTITLE_CHARS, placeholder=' ...')}",
    )
    if rule.kind == ABSENCE:
        drawn, caption = _absence(rule)
        return picture.svg(drawn, title, subtitle, caption)
    query = sqltext.parse(rule.text, rule.file)
    clauses = query.match.clauses
    source = automaton.source_of(query.source)
    caption = [
        f"FROM {source}, "
        + ", ".join(
            f"{name} {automaton.source_of(clauses[name].tokens)}"
            for name in ("PARTITION BY", "ORDER BY")
            if name in clauses
        )
    ]
    if "WITHIN" in clauses:
        caption.append(f"WITHIN {_within(rule, query)}, exclusive: from first row to last a match takes less")
    if "AFTER MATCH" in clauses:
        words = automaton.source_of(clauses["AFTER MATCH"].tokens)
        caption.append(f"AFTER MATCH {words}: {_skip(words.upper())}")
    caption.extend(_values(rule))
    return picture.svg(automaton.of_match(query.match), title, subtitle, caption)


def _keys(query: Query) -> str:
    clause = query.match.clauses.get("PARTITION BY")
    names = [token.text for token in clause.tokens if token.text != ","] if clause else []
    return f"keys ({', '.join(names)})" if names else "one key"


def _of_pattern(rule: Rule, query: Query) -> list[Holding]:
    pattern = query.match.pattern
    rows_max = _rows_max(pattern)
    span = _within(rule, query)
    varying = [element.variable for element in pattern if element.variable_length]
    first = pattern[0].variable if pattern else ""
    rarer = f"rows that {first} takes" if first in automaton.defined(query.match) else "every row"
    if rows_max is not None and rows_max == 1:
        return [Holding("partial matches of a key", "none: one row is a match", "nothing")]
    if rows_max is not None:
        bound = f"{rows_max - 1:,} rows: a match has {rows_max:,} at most"
        grows = f"nothing else{f'; WITHIN {span} ends them sooner' if span else ''}"
    elif span:
        bound, grows = f"the rows of a key within {span}{_example(rule, query)}", f"rows a second, and {span}"
    else:
        bound, grows = "no bound: add WITHIN", "time"
    ways = ""
    if len(varying) > 1:
        power = f" to the power of {len(varying) - 1}" if len(varying) > 2 else ""
        ways = f", times the ways in which {' and '.join(varying)} can share rows (their number{power})"
    return [
        Holding("rows that a key keeps", bound, grows),
        Holding("partial matches of a key", f"as many{ways}", f"{rarer}: each begins one"),
    ]


def _rows_max(pattern: list[Element]) -> int | None:
    """Rows of the longest match; None without a limit."""
    counts = [element.count_max for element in pattern]
    return sum(count for count in counts if count is not None) if None not in counts else None


def _within(rule: Rule, query: Query) -> str:
    """The interval as the text has it, and its value: ``:span = 1s``; "" where there is none."""
    clause = query.match.clauses.get("WITHIN")
    if clause is None:
        return ""
    text = automaton.source_of(clause.tokens)
    spans = _spans_ms(rule, query)
    return f"{text} = {' or '.join(map(interval_text, spans))}" if spans else text


def _spans_ms(rule: Rule, query: Query) -> list[int]:
    """Values of the parameter of WITHIN, of all sets; none where it is written out."""
    tokens = query.match.clauses["WITHIN"].tokens
    if len(tokens) != 1 or tokens[0].kind != "parameter" or tokens[0].text[1:] not in rule.parameters:
        return []
    return sorted({interval_ms(rules.values(rule, name)[tokens[0].text[1:]]) for name in rule.sets})


def _example(rule: Rule, query: Query) -> str:
    spans = _spans_ms(rule, query)
    if not spans:
        return ""
    rows = max(1, spans[-1] * EXAMPLE_ROWS_S // 1_000)
    return f" ({rows:,} at {EXAMPLE_ROWS_S:,} a second)"


def _waiting() -> Holding:
    return Holding("rows that wait for the watermark", "those behind it", "rows a second, and its delay")


def _before_pattern(query: Query) -> list[Holding]:
    """What queries in WITH, and views over views, keep."""
    words = {token.upper for token in query.tokens}
    found = []
    if "OVER" in words:
        bound = "an accumulator a key" if "UNBOUNDED" in words else "the rows of the frame"
        found.append(Holding("windows OVER rows", bound, "keys, and the frame where it has an end"))
    if "JOIN" in words:
        found.append(Holding("joins", "both sides", "time, unless the condition bounds it"))
    if {"GROUP", "DISTINCT"} & words:
        found.append(Holding("groups", "each that was ever seen", "new ones"))
    if "bars_1s" in {token.name for token in query.tokens}:
        found.append(Holding("bars_1s", "the open bar of each symbol", "symbols"))
    return found


def _compiled(rule: Rule) -> Holding:
    """What the compiled engine keeps for a partial match: values, not rows."""
    from streaming.compiled.columns import Texts
    from streaming.compiled.kernel import Writer
    from streaming.compiled.plan import compile_rule

    try:
        writer = Writer(compile_rule(rule).plan, Texts())
        writer.source()
    except RuleError as error:
        return Holding("compiled engine", f"does not take it: {error.reason}", error.fix)
    size = 8 * (writer.slots.ints + writer.slots.floats)
    return Holding("compiled engine", f"{size} bytes a partial match, and no rows", "partial matches")


def _skip(words: str) -> str:
    if words.endswith("PAST LAST ROW"):
        return "matches share no row"
    if words.endswith("NEXT ROW"):
        return "the next match may begin with the second row of this one"
    end = "first" if " FIRST " in words else "last"
    return f"the next match may begin with the {end} row of {words.split()[-1]}"


def _values(rule: Rule) -> list[str]:
    """Parameters and their values; not of many sets, which would be no caption."""
    if not rule.parameters:
        return []
    if len(rule.sets) > 1:
        return [f"{len(rule.sets)} sets of parameters"]
    (name,) = rule.sets
    return [", ".join(f":{key} = {text}" for key, text in shown_values(rule, name).items())]


def shown_values(rule: Rule, set_name: str) -> dict[str, str]:
    """Parameter to its value, as one would write it: ``1s``, and not the canonical ``1000ms``."""
    return {
        key: interval_text(interval_ms(text)) if rule.parameters[key].type == "interval" else text
        for key, text in rules.values(rule, set_name).items()
    }


def _of_absence(rule: Rule) -> list[Holding]:
    from streaming.absence.text import parse

    parts = parse(rule)
    keys = f"keys ({', '.join(parts.partition)})"
    return [
        Holding(keys, "each that was ever seen", "new ones"),
        Holding(
            "rows that a key keeps",
            f"the last of {parts.expect.variable}"
            + (f", and what is measured of {parts.witness.variable}" if parts.witness else ""),
            "nothing",
        ),
        _waiting(),
    ]


def _absence(rule: Rule) -> tuple[Automaton, list[str]]:
    """An absence as three states: nothing yet, waiting, silent for long enough."""
    from streaming.absence.text import Amount, Relation, parse

    parts = parse(rule)
    one_set = shown_values(rule, next(iter(rule.sets)))

    def shown(amount: Amount) -> str:
        return (
            f":{amount.parameter} = {one_set[amount.parameter]}" if amount.parameter else str(amount.number)
        )

    def condition(relation: Relation) -> str:
        return automaton.source_of(relation.condition) if relation.condition else ""

    name = parts.expect.variable
    due = f"no {name} for {shown(parts.within)}"
    arrows = [
        Arrow("take", 0, 1, name, "", (condition(parts.expect) or automaton.ANY_ROW,)),
        Arrow("loop", 1, 1, name, "each row begins again"),
    ]
    caption = [f"FROM {parts.expect.name}, PARTITION BY {', '.join(parts.partition)}"]
    if parts.witness is not None:
        due += f", while {shown(parts.least)} or more {parts.witness.variable} came"
        wanted = condition(parts.witness)
        where = f" WHERE {wanted}" if wanted else ""
        until = f", UNTIL {shown(parts.until)}" if parts.until else ""
        caption.append(f"WHILE {parts.witness.name}{where}{until}")
    if parts.unless is not None:
        wanted = condition(parts.unless)
        caption.append(
            f"UNLESS {parts.unless.name}{f' WHERE {wanted}' if wanted else ''}: that ends the wait"
        )
    arrows.append(Arrow("take", 1, 2, "absence", "", (due,)))
    return Automaton(3, arrows), [*caption, *_values(rule)]
