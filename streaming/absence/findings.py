"""An absence rule in, findings out: what is the same as for a pattern, and what an absence can get wrong."""

from __future__ import annotations

from collections.abc import Iterator

from streaming import rules
from streaming.absence import measures
from streaming.absence.text import Absence, amount, parse
from streaming.authoring import linter
from streaming.authoring.findings import Finding
from streaming.rules import Rule
from streaming.sqltext import Match, Query, Token
from streaming.tables import VIEWS
from tickloom.errors import RuleError


def lint(rule: Rule) -> list[Finding]:
    """All findings about an absence rule, in the order of their lines."""
    try:
        absence = parse(rule)
    except RuleError as error:
        return [Finding("error", error.line, error.reason, error.fix)]
    query = as_query(absence)
    found = [finding for check in linter.COMMON for finding in check(rule, query)]
    for check_absence in (_partition, _relations, _identity, _amounts, _until, _ties):
        found += check_absence(rule, absence)
    return sorted(found, key=lambda finding: (finding.line, finding.severity))


def views_read(rule: Rule) -> list[str]:
    """Names of the harness's views that the rule may read.

    Raises
    ------
    RuleError
        The text is not understood.
    """
    return linter.views_used(as_query(parse(rule)))


def as_query(absence: Absence) -> Query:
    """The parts that it shares with a pattern, as the linter's checks take them."""
    return Query(
        absence.tokens,
        absence.items,
        absence.line,
        [],
        Match(absence.line, {}, [], []),
        absence.tail,
    )


def _partition(rule: Rule, absence: Absence) -> Iterator[Finding]:
    if "symbol" not in absence.partition:
        yield Finding("error", absence.line, "PARTITION BY without symbol", "write PARTITION BY symbol")


def _relations(rule: Rule, absence: Absence) -> Iterator[Finding]:
    named = {
        token.name
        for token, after in zip(absence.prefix, absence.prefix[1:], strict=False)
        if token.depth == 0 and after.upper == "AS"
    }
    for relation in absence.relations:
        if relation.name not in VIEWS and relation.name not in named:
            known = ", ".join((*sorted(named), *VIEWS))
            yield Finding("error", relation.line, f"unknown relation {relation.name!r}", f"there are {known}")


def _identity(rule: Rule, absence: Absence) -> Iterator[Finding]:
    """One silence, one signal: what tells silences apart is the expected row that began it."""
    try:
        read = measures.read(absence, rule.file)
    except RuleError as error:
        yield Finding("error", error.line, error.reason, error.fix)
        return
    yield from _unqualified(absence, read)
    if not any(fact.argument == "seq" for fact in read.columns):
        name = absence.expect.variable
        yield Finding(
            "error",
            absence.measures[0].tokens[0].line,
            f"no measure is {name}.seq, so two silences may have one identity",
            f"write {name}.seq AS first_seq",
        )


def _unqualified(absence: Absence, read: measures.Measures) -> Iterator[Finding]:
    """Flink would take such a column from the row that fires, which may be one of its own."""
    own = {"event_time", "seq", "role", "behind", "at_ms", *absence.partition}
    for _, parts in read.parts:
        for part, after in zip(parts, [*parts[1:], None], strict=True):
            called = isinstance(after, Token) and after.text == "("
            if (
                isinstance(part, Token)
                and part.kind in ("word", "quoted")
                and part.name in own
                and not called
            ):
                fix = f"say whose: {absence.expect.variable}.{part.text}"
                yield Finding("error", part.line, f"the column {part.text} of no relation", fix)


def _amounts(rule: Rule, absence: Absence) -> Iterator[Finding]:
    for name in rule.sets:
        try:
            chosen = rules.values(rule, name)
            silence_ms = amount(rule, absence.within, chosen)
            amount(rule, absence.least, chosen)
            if absence.until is not None and amount(rule, absence.until, chosen) <= silence_ms:
                yield Finding(
                    "error",
                    absence.until.line,
                    "UNTIL is not longer than WITHIN: it could never fire",
                    "make it longer",
                )
        except RuleError as error:  # a parameter without a value is what linter.COMMON says
            if error.line == absence.least.line:
                yield Finding("error", error.line, error.reason, error.fix)


def _until(rule: Rule, absence: Absence) -> Iterator[Finding]:
    if absence.witness is not None and absence.until is None:
        yield Finding(
            "note",
            absence.witness.line,
            "WHILE without UNTIL: a silence that began before the close goes on the next morning",
            "add UNTIL :longest behind WHILE",
        )


def _ties(rule: Rule, absence: Absence) -> Iterator[Finding]:
    """Rows of one relation with the same time and seq have no order among themselves."""
    union = next((token for token in absence.prefix if token.upper == "UNION"), None)
    if union is not None and len(linter.views_used(as_query(absence))) > 1:
        yield Finding(
            "note",
            union.line,
            "one message can make a trade and a quote with one seq: within one relation they have no order",
            "read one of them only, or measure nothing that their order changes",
        )
