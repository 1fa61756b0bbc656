"""A rule in, findings out: everything that Flink would run wrongly and in silence is refused here. Pure.

Each trap was seen on Flink 2.3; the functions below say what happens without the check. What is left,
unknown columns and types above all, Flink's own EXPLAIN decides (``streaming.live.jobs.explain``).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator

from streaming import derived, rules, sqltext
from streaming.authoring import nulls, traps
from streaming.authoring.findings import Finding, note
from streaming.authoring.findings import error as _error
from streaming.rules import ABSENCE, JOB, MATCH_TIME, OUTPUT_COLUMNS, Rule
from streaming.sqltext import Element, Query, Token
from tickloom.errors import RuleError

#: Views that have one row for an event, and so may hold two rows with the same time and seq.
EVENT_VIEWS = ("trades", "quotes", "statuses", "gaps", "news")


def lint(rule: Rule) -> list[Finding]:
    """All findings about ``rule``, in the order of their lines."""
    if rule.kind == JOB:
        from streaming import job

        return [_error(*finding) for finding in job.findings(rule)]
    if rule.kind == ABSENCE:
        from streaming.absence import lint as lint_absence

        return lint_absence(rule)
    try:
        query = sqltext.parse(rule.text, rule.file)
    except RuleError as error:
        return [Finding("error", error.line, error.reason, error.fix)]
    found = [finding for check in _CHECKS for finding in check(rule, query)]
    if not any(finding.severity == "error" for finding in found):
        found += nulls.missing_rows(rule, query)  # which plans the rule, so it must be in order
    return sorted(found, key=lambda finding: (finding.line, finding.severity))


def check(rule: Rule) -> list[Finding]:
    """Notes about ``rule``.

    Raises
    ------
    RuleError
        The first error that :func:`lint` finds.
    """
    findings = lint(rule)
    for finding in findings:
        if finding.severity == "error":
            raise RuleError(rule.file, finding.line, finding.reason, finding.fix)
    return findings


def views_used(query: Query) -> list[str]:
    """Names of the harness's views that the query may read."""
    from streaming.tables import VIEWS

    words = {token.name for token in query.tokens if token.kind in ("word", "quoted")}
    return [view for view in VIEWS if view in words]


def _outputs(rule: Rule, query: Query) -> Iterator[Finding]:
    """The sink's columns are fixed: a missing one would be found late, and a misnamed one by no one."""
    line = query.tokens[0].line
    names: list[str] = []
    for item in query.select_items:
        line = item[0].line
        if any(token.text == "*" and token.depth == 0 for token in item) and len(item) <= 3:
            yield _error(line, "SELECT *", f"name the columns: {', '.join(OUTPUT_COLUMNS)}")
            return
        name = query.output_name(item)
        if not name:
            yield _error(line, "an output column without a name", "write: expression AS name")
        elif name not in OUTPUT_COLUMNS:
            yield _error(line, f"output column {name!r}", f"a rule gives just {', '.join(OUTPUT_COLUMNS)}")
        elif name in names:
            yield _error(line, f"output column {name!r} twice", "keep one of them")
        elif name == "side":
            yield from _sides(item)
        names.append(name)
    missing = [name for name in OUTPUT_COLUMNS if name not in names]
    if missing:
        yield _error(line, f"no output column {', '.join(missing)}", "select it; see the other rules")


def _sides(item: list[Token]) -> Iterator[Finding]:
    """A signal of another side runs and is stored, and no order ever comes of it."""
    before = ["", *(token.upper for token in item[:-1])]
    for previous, token in zip(before, item, strict=True):
        given = token.text[1:-1]
        if token.kind == "string" and previous in ("", "THEN", "ELSE") and given not in ("buy", "sell"):
            yield _error(token.line, f"side {given!r}", "a side is 'buy' or 'sell', in small letters")


def check_registered(rule: Rule, venues: Collection[str]) -> Iterator[Finding]:
    """A rule over a venue that nobody captures is silent for ever; over history it may be meant."""
    if rule.venue not in venues:
        close = difflib.get_close_matches(rule.venue, venues, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(venues))}"
        yield note(
            rule.header_lines.get("venue", 0),
            f"venue {rule.venue!r} is not in strategies/instruments.toml: live, nothing of it will come",
            fix,
        )


def _parameters(rule: Rule, query: Query) -> Iterator[Finding]:
    """An unknown parameter has no value; an unused one is a knob that turns nothing."""
    used = {token.text[1:]: token.line for token in reversed(query.tokens) if token.kind == "parameter"}
    for name, line in used.items():
        if name not in rule.parameters:
            yield _error(
                line, f"unknown parameter :{name}", "declare it: -- parameter: NAME TYPE DEFAULT TEXT"
            )
    for name, parameter in rule.parameters.items():
        if name not in used:
            yield _error(parameter.line, f"parameter {name!r} is never used", "remove it, or use it")
    if not any(name not in rule.parameters for name in used):
        for set_name in rule.sets:
            try:
                rules.values(rule, set_name)
            except RuleError as error:
                yield _error(error.line, error.reason, error.fix)


def _views(rule: Rule, query: Query) -> Iterator[Finding]:
    from streaming.tables import VIEWS

    if not views_used(query):
        yield _error(query.from_line, "the rule reads none of the views", f"they are {', '.join(VIEWS)}")


def _one_topic(rule: Rule, query: Query) -> Iterator[Finding]:
    """A computed view has a topic of its own, and a job reads one; or a relation only has its name."""
    views = views_used(query)
    computed = next((view for view in views if view in derived.TOPICS), None)
    if computed is None or len(views) == 1:
        return
    line = next(token.line for token in query.tokens if token.name == computed)
    yield _error(
        line,
        f"{computed} is read beside {', '.join(view for view in views if view != computed)}",
        f"read {computed} alone; if that is a relation of your own, call it something else",
    )


def _source(rule: Rule, query: Query) -> Iterator[Finding]:
    """The harness adds a column to the outermost SELECT: it must have one source for it."""
    if any(token.depth == 0 and (token.text == "," or token.upper == "JOIN") for token in query.source):
        yield _error(query.from_line, "MATCH_RECOGNIZE over a join", "put the join or UNION ALL into WITH")
    for token in query.tail:
        if token.depth == 0 and token.upper in ("GROUP", "ORDER", "LIMIT", "JOIN", "DISTINCT"):
            yield _error(
                token.line, f"{token.upper} behind the match", "a signal is a match: only WHERE may follow"
            )


def _determinism(rule: Rule, query: Query) -> Iterator[Finding]:
    """What asks the machine's clock gives other signals over history than it gave live."""
    for token in query.tokens:
        if token.upper in traps.CLOCKS and token.kind == "word":
            yield _error(token.line, f"{token.upper} is not the same live and over history", "use event_time")
        if token.name == MATCH_TIME and token.kind in ("word", "quoted"):
            yield _error(token.line, f"the name {MATCH_TIME} is the harness's", "take another name")
    for index, token in enumerate(query.tokens[:-1]):
        if token.upper == "ROWS" and query.tokens[index + 1].upper in ("BETWEEN", "UNBOUNDED", "CURRENT"):
            yield _error(
                token.line,
                "OVER ... ROWS: rows of a millisecond come in no order, so the frame is not always the same",
                "use RANGE: it takes all rows of a millisecond together",
            )


def _partition(rule: Rule, query: Query) -> Iterator[Finding]:
    """Without a key a match mixes symbols, and runs on one core."""
    clause = query.match.clauses.get("PARTITION BY")
    if clause is None:
        yield _error(query.match.line, "no PARTITION BY", "write PARTITION BY symbol")
    elif "symbol" not in {token.name for token in clause.tokens}:
        yield _error(clause.line, "PARTITION BY without symbol", "write PARTITION BY symbol")


def _order(rule: Rule, query: Query) -> Iterator[Finding]:
    """Event time has milliseconds: within one, rows are in the order of arrival unless seq decides."""
    clause = query.match.clauses.get("ORDER BY")
    if clause is None:
        yield _error(query.match.line, "no ORDER BY", "write ORDER BY event_time, seq")
        return
    keys = [part[0].name for part in sqltext.split_commas(clause.tokens, 1)]
    if keys[:1] != ["event_time"] or any(token.upper == "DESC" for token in clause.tokens):
        yield _error(
            clause.line, "ORDER BY does not begin with event_time, rising", "write ORDER BY event_time, seq"
        )
    elif "seq" not in keys:
        yield _error(
            clause.line,
            "ORDER BY without seq: ties within a millisecond have no order",
            "write ORDER BY event_time, seq",
        )
    elif sum(view in EVENT_VIEWS for view in views_used(query)) > 1 and keys[-1] == "seq":
        yield _error(
            clause.line,
            "several views, but ORDER BY ends with seq: a message can make a trade and a quote with one seq",
            "give each part of the UNION ALL a number and order by it last: event_time, seq, kind",
        )


def _rows(rule: Rule, query: Query) -> Iterator[Finding]:
    clause = query.match.clauses.get("ALL ROWS PER MATCH")
    if clause is not None:
        yield _error(clause.line, "ALL ROWS PER MATCH, which Flink does not have", "write ONE ROW PER MATCH")
    if "MEASURES" not in query.match.clauses:
        yield _error(query.match.line, "no MEASURES", "write MEASURES with at least first_seq and last_seq")
    subset = query.match.clauses.get("SUBSET")
    if subset is not None:
        yield _error(subset.line, "SUBSET: Flink accepts it and gives NULLs", "name each variable by itself")


def _after_match(rule: Rule, query: Query) -> Iterator[Finding]:
    """Flink's default differs from the standard's, and a skip to the first row never ends."""
    clause = query.match.clauses.get("AFTER MATCH")
    if clause is None:
        yield _error(
            query.match.line,
            "no AFTER MATCH: Flink would skip to the next row, where the standard skips past the last",
            "write AFTER MATCH SKIP PAST LAST ROW",
        )
        return
    words = [token.upper for token in clause.tokens]
    if words in (["SKIP", "PAST", "LAST", "ROW"], ["SKIP", "TO", "NEXT", "ROW"]):
        return
    target = words[-1] if words else ""
    pattern = query.match.pattern
    element = next((one for one in pattern if one.variable == target), None)
    if words[:2] != ["SKIP", "TO"] or element is None:
        yield _error(
            clause.line,
            f"AFTER MATCH {' '.join(words)}",
            "SKIP PAST LAST ROW, or SKIP TO NEXT ROW or a variable",
        )
    elif element.count_min == 0:
        yield _error(
            clause.line,
            f"skip to {target}, which may match no row: Flink then fails at run time",
            "skip to a variable that always has a row, or PAST LAST ROW",
        )
    elif not _rows_before(pattern, element, first="FIRST" in words[:-1]):
        what = "the first variable" if element is pattern[0] else "whose row may be the first of the match"
        yield _error(
            clause.line,
            f"skip to {target}, {what}: the next match would be the same one, and Flink fails",
            "skip to a later variable, or PAST LAST ROW",
        )


def _rows_before(pattern: list[Element], target: Element, first: bool) -> int:
    """Rows that every match has before the one skipped to: the first, or the last, of the target's."""
    earlier = pattern[: next(index for index, one in enumerate(pattern) if one is target)]
    return sum(one.count_min for one in earlier) + (0 if first else target.count_min - 1)


def _pattern(rule: Rule, query: Query) -> Iterator[Finding]:
    """Quantifiers that Flink takes and then does not honour, and what it lacks."""
    if "PATTERN" not in query.match.clauses:
        yield _error(query.match.line, "no PATTERN", "write PATTERN (A B)")
        return
    for line, text in query.match.pattern_faults:
        yield _error(
            line,
            f"{text!r} in the pattern: Flink has no alternatives, groups or anchors",
            "write A B+ C; or two rules",
        )
    pattern = query.match.pattern
    if pattern and pattern[-1].variable_length:
        last = pattern[-1]
        shown = f"{last.variable}{last.quantifier}"
        if last.quantifier == "?":
            reason = f"{shown} ends the pattern: Flink takes it and it never binds"
        else:
            reason = f"{shown} ends the pattern: how long it waits for one more row is not defined"
        yield _error(last.line, reason, "end with a variable that matches one row, and so decides")
    names = [element.variable for element in pattern]
    for element in pattern:
        if names.count(element.variable) > 1 and element is pattern[names.index(element.variable)]:
            yield _error(
                element.line, f"variable {element.variable} twice in the pattern", "name the second otherwise"
            )


def _within(rule: Rule, query: Query) -> Iterator[Finding]:
    """A pattern without an end in time keeps its rows for ever."""
    clause = query.match.clauses.get("WITHIN")
    unlimited = next((one for one in query.match.pattern if one.count_max is None), None)
    if clause is not None:
        yield note(
            clause.line,
            "WITHIN is exclusive: a match as long as the interval is none",
            "add 1 ms where it should count",
        )
    elif unlimited is not None:
        yield _error(
            unlimited.line,
            f"{unlimited.variable}{unlimited.quantifier} without WITHIN: a partial match may live for ever",
            "add WITHIN :parameter (of type interval) behind the pattern",
        )


def _define(rule: Rule, query: Query) -> Iterator[Finding]:
    clause = query.match.clauses.get("DEFINE")
    if clause is None:
        yield _error(query.match.line, "no DEFINE: every row matches every variable", "write DEFINE A AS ...")
        return
    variables = {element.variable for element in query.match.pattern}
    defined = [part[0] for part in sqltext.split_commas(clause.tokens, 1)]
    for token in defined:
        if token.name.upper() not in variables:
            yield _error(token.line, f"DEFINE of {token.text}, which is not in the pattern", "mend the name")
    names = {token.name.upper() for token in defined}
    for element in query.match.pattern:
        if element.variable not in names:
            yield note(
                element.line,
                f"{element.variable} has no DEFINE, so any row matches it",
                "if meant, fine",
            )


def _functions(rule: Rule, query: Query) -> Iterator[Finding]:
    lacking = {
        "PREV": "LAST(A.price, 1) is the row before, of the rows that matched A",
        "NEXT": "add a variable for the next row to the pattern",
        "CLASSIFIER": "tell variables apart by a measure of each",
        "MATCH_NUMBER": "identity comes from first_seq and last_seq",
        "FINAL": "measures are final as they are",
        "RUNNING": "conditions are running as they are",
    }
    following: list[Token | None] = [*query.tokens[1:], None]
    for token, after in zip(query.tokens, following, strict=True):
        called = after is not None and (after.text == "(" or token.upper in ("FINAL", "RUNNING"))
        if token.kind == "word" and token.upper in lacking and called and token.depth >= 1:
            yield _error(token.line, f"{token.upper}, which Flink does not have", lacking[token.upper])


Check = Callable[[Rule, Query], Iterator[Finding]]
#: What is the same for every kind of rule.
COMMON: tuple[Check, ...] = (_outputs, _parameters, _views, _one_topic, _source, _determinism)
_CHECKS: tuple[Check, ...] = (
    *COMMON,
    _partition,
    _order,
    _rows,
    _after_match,
    _pattern,
    _within,
    _define,
    _functions,
    traps.counts,
    traps.spelling,
    traps.columns,
    traps.operators,
    traps.state,
)
