"""Each trap of Flink's MATCH_RECOGNIZE is refused with its line before Flink sees it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streaming import rules
from streaming.authoring import linter
from streaming.rules import Rule
from tickloom.errors import RuleError

Probe = Callable[[str], Rule]

# what to replace in the probe, by what, the line and a part of the reason
TRAPS = {
    "subset": ("  DEFINE A", "  SUBSET S = (A, B)\n  DEFINE A", 15, "SUBSET"),
    "optional last": ("PATTERN (A B)", "PATTERN (A B?)", 14, "never binds"),
    "greedy last": ("PATTERN (A B)", "PATTERN (A B+) WITHIN INTERVAL '1' SECOND", 14, "ends the pattern"),
    "range last": ("PATTERN (A B)", "PATTERN (A B{1,3})", 14, "ends the pattern"),
    "skip to first variable": ("SKIP PAST LAST ROW", "SKIP TO FIRST A", 13, "first variable"),
    "skip to last of first variable": ("SKIP PAST LAST ROW", "SKIP TO LAST A", 13, "first variable"),
    "skip to what may be the first row": (
        "SKIP PAST LAST ROW\n  PATTERN (A B)",
        "SKIP TO B\n  PATTERN (A? B C)",
        13,
        "may be the first",
    ),
    "skip to what may be missing": (
        "SKIP PAST LAST ROW\n  PATTERN (A B)",
        "SKIP TO FIRST B\n  PATTERN (A B? C)",
        13,
        "may match no row",
    ),
    "skip to unknown variable": ("SKIP PAST LAST ROW", "SKIP TO LAST Z", 13, "SKIP TO LAST Z"),
    "no after match": ("  AFTER MATCH SKIP PAST LAST ROW\n", "", 8, "no AFTER MATCH"),
    "no order by": ("  ORDER BY event_time, seq\n", "", 8, "no ORDER BY"),
    "order by without seq": ("ORDER BY event_time, seq", "ORDER BY event_time", 10, "without seq"),
    "order by falling": ("ORDER BY event_time, seq", "ORDER BY event_time DESC, seq", 10, "rising"),
    "order by seq first": ("ORDER BY event_time, seq", "ORDER BY seq, event_time", 10, "event_time"),
    "no partition by": ("  PARTITION BY symbol\n", "", 8, "no PARTITION BY"),
    "partition by another column": ("PARTITION BY symbol", "PARTITION BY side", 9, "without symbol"),
    "all rows": ("ONE ROW PER MATCH", "ALL ROWS PER MATCH", 12, "ALL ROWS"),
    "alternatives": ("PATTERN (A B)", "PATTERN (A | B)", 14, "'|'"),
    "groups": ("PATTERN (A B)", "PATTERN ((A B)+ A)", 14, "'('"),
    "variable twice": ("PATTERN (A B)", "PATTERN (A B A)", 14, "twice"),
    "optional behind greedy": ("(A B)", "(A B{1,2} C? D)", 14, "behind the greedy B{1,2}"),
    "reluctant optional": ("(A B)", "(A B?? C)", 14, "B??"),
    "reluctant optional in braces": ("(A B)", "(A B{0,1}? C)", 14, "B{0,1}?"),
    "greedy without a condition": ("(A B)", "(A X{1,3} B)", 14, "nothing would ever match"),
    "no rows": ("(A B)", "(A B{0} C)", 14, "no rows"),
    "fewer than at least": ("(A B)", "(A B{3,2} C)", 14, "no rows"),
    "no lower bound": ("(A B)", "(A B{,2} C)", 14, "lower bound"),
    "a million rows": ("(A B)", "(A B{0,1000000}? C)", 14, "without WITHIN"),
    "within nothing": ("(A B)", "(A B) WITHIN INTERVAL '0.000' SECOND", 14, "no limit"),
    "within months": ("(A B)", "(A B) WITHIN INTERVAL '1' MONTH", 14, "MONTH"),
    "a key for every row": ("PARTITION BY symbol", "PARTITION BY symbol, seq", 9, "no key is forgotten"),
    "column of no variable in define": ("B.price > A", "price > A", 15, "price of no variable"),
    "column of no variable in measures": ("B.price AS", "LAST(`condition`) AS", 11, "of no variable"),
    "table for a variable": ("B.price > A", "trades.price > A", 15, "no variable of the pattern"),
    "later variable": ("A.price > 0", "A.price > B.price", 15, "comes later"),
    "other case": ("DEFINE A AS", "DEFINE a AS", 15, "two variables"),
    "defined twice": ("DEFINE A AS", "DEFINE A AS A.size > 0, A AS", 15, "second DEFINE"),
    "in among measures": (
        "B.price AS",
        "CASE WHEN B.side IN ('buy') THEN 1 END AS",
        11,
        "IN inside MEASURES",
    ),
    "not equal": ("A.price > 0", "A.price != 0", 15, "!="),
    "average of whole numbers": ("B.price AS", "AVG(B.seq - 1) AS", 11, "whole numbers"),
    "deviation of whole numbers": ("B.price AS", "STDDEV_POP(B.ts_event) AS", 11, "whole numbers"),
    "unlimited without within": ("PATTERN (A B)", "PATTERN (A A1* B)", 14, "without WITHIN"),
    "physical offset": ("B.price > A.price", "B.price > PREV(B.price)", 15, "PREV"),
    "classifier": ("B.price AS price", "CLASSIFIER() AS price", 11, "CLASSIFIER"),
    "defined but not in the pattern": ("DEFINE A AS", "DEFINE C AS", 15, "not in the pattern"),
    "wall clock": ("B.price > A.price", "CURRENT_TIMESTAMP > B.event_time", 15, "CURRENT_TIMESTAMP"),
    "harness's name": ("B.price AS price,", "B.price AS match_time,", 11, "match_time"),
    "output missing": (", first_seq, last_seq\nFROM", ", first_seq\nFROM", 7, "no output column last_seq"),
    "output unknown": ("rise AS strength", "rise AS power", 7, "'power'"),
    "output unnamed": ("rise AS strength", "rise + 1", 7, "without a name"),
    "select star": ("symbol, 'buy' AS side", "*, 'buy' AS side", 7, "SELECT *"),
    "parameter unknown": (":rise", ":fall", 15, "unknown parameter :fall"),
    "parameter unused": (":rise", "0.1", 5, "never used"),
    "no view": ("FROM trades", "FROM orders", 8, "none of the views"),
    "two topics": (
        "FROM trades",
        "FROM (SELECT * FROM trades UNION SELECT * FROM spreads)",
        8,
        "beside trades",
    ),
    "join": ("FROM trades", "FROM trades, quotes", 8, "join"),
    "limit": ("\n)\n", "\n) LIMIT 5\n", 16, "LIMIT"),
    "second match": (
        "\n)\n",
        "\n) WHERE 1 IN (SELECT 1 FROM trades MATCH_RECOGNIZE (PATTERN (A)))\n",
        16,
        "second",
    ),
    "union": ("\n)\n", "\n) UNION ALL SELECT 1\n", 16, "UNION"),
    "insert": ("SELECT symbol", "INSERT INTO signals SELECT symbol", 7, "one SELECT"),
    "second statement": ("\n)\n", "\n); SELECT 1\n", 16, "second statement"),
    "side": ("'buy' AS side", "'long' AS side", 7, "side 'long'"),
    "side of a case": (
        "'buy' AS side",
        "CASE WHEN 'no side' = 'x' THEN 'buy' ELSE 'SELL' END AS side",
        7,
        "side 'SELL'",
    ),
    "open bracket": ("\n)\n", "\n", 8, "never closed"),
    "open text": ("'buy'", "'buy", 7, "never closed"),
}


@pytest.mark.parametrize("name", TRAPS)
def test_trap_is_refused_with_its_line(name: str, probe: Probe, probe_text: str) -> None:
    """A trap is an error, at its line, with a fix."""
    old, new, line, reason = TRAPS[name]
    assert old in probe_text
    errors = [
        finding for finding in linter.lint(probe(probe_text.replace(old, new))) if finding.severity == "error"
    ]
    assert [(finding.line, finding.fix != "") for finding in errors if reason in finding.reason] == [
        (line, True)
    ]


def test_text_in_a_condition_is_no_side(probe: Probe, probe_text: str) -> None:
    """Only what the expression gives is looked at, not what it compares with."""
    text = probe_text.replace("'buy' AS side", "CASE WHEN 'up' = 'up' THEN 'buy' ELSE 'sell' END AS side")
    assert not [found for found in linter.lint(probe(text)) if "side" in found.reason]


def test_venue_that_nobody_captures_gets_a_note(probe: Probe, probe_text: str) -> None:
    """A misspelt venue plans and runs and is silent: said at its line, with the one that was meant."""
    rule = probe(probe_text.replace("venue: XNAS", "venue: XNSA"))
    (found,) = linter.check_registered(rule, {"XNAS", "BINANCE"})
    line = (found.line, rule.path.read_text().splitlines()[found.line - 1])
    assert (found.severity, *line) == ("note", found.line, "-- venue: XNSA")
    assert found.fix == "did you mean 'XNAS'?"
    assert not list(linter.check_registered(probe(probe_text), {"XNAS"}))


def test_rule_in_order_has_no_findings(probe: Probe, probe_text: str) -> None:
    """The linter has nothing to say about a plain rule."""
    assert linter.lint(probe(probe_text)) == []


def test_rows_frame_is_refused(probe: Probe, probe_text: str) -> None:
    """OVER ... ROWS would cut ties of a millisecond at random."""
    text = probe_text.replace(
        "SELECT symbol",
        "WITH sums AS (SELECT SUM(size) OVER (ORDER BY event_time ROWS BETWEEN 5 PRECEDING AND CURRENT ROW) "
        "FROM trades)\nSELECT symbol",
    )
    with pytest.raises(RuleError, match=r"probe.sql:7: OVER \.\.\. ROWS"):
        linter.check(probe(text))


def test_two_views_need_a_third_key(probe: Probe, probe_text: str) -> None:
    """One message can make a trade and a quote with the same time and seq; only a third key orders them."""
    union = (
        "WITH both_kinds AS (SELECT symbol, event_time, seq, price FROM trades UNION ALL "
        "SELECT symbol, event_time, seq, mid FROM quotes)\nSELECT symbol"
    )
    text = probe_text.replace("SELECT symbol", union).replace("FROM trades M", "FROM both_kinds M")
    with pytest.raises(RuleError, match="several views"):
        linter.check(probe(text))
    assert (
        linter.lint(probe(text.replace("ORDER BY event_time, seq", "ORDER BY event_time, seq, kind"))) == []
    )


def test_within_gets_a_note(probe: Probe, probe_text: str) -> None:
    """WITHIN is in order, but its reader is told that it is exclusive."""
    text = probe_text.replace("PATTERN (A B)", "PATTERN (A B) WITHIN INTERVAL '1' SECOND")
    assert [(f.severity, f.line) for f in linter.lint(probe(text))] == [("note", 14)]
    assert "exclusive" in linter.check(probe(text))[0].reason


def test_comments_and_texts_are_no_sql(probe: Probe, probe_text: str) -> None:
    """A keyword in a comment or in a text is no trap."""
    text = probe_text.replace(
        "'buy' AS side",
        "CASE 'PREV( UNION ; ' WHEN 'x' THEN 'buy' ELSE 'sell' END AS side "
        "-- SUBSET PREV(x)\n/* CURRENT_TIMESTAMP */",
    )
    assert linter.lint(probe(text)) == []


@pytest.mark.parametrize(
    ("column", "strength", "pattern", "refused"),
    [
        ("COALESCE(size, 0E0)", "FIRST(B.x, 3)", "(A B)", True),
        ("1E0", "LAST(A.x, 1)", "(A B)", True),
        ("CASE WHEN size > 1 THEN 1E0 ELSE 2E0 END", "A.x", "(A? B)", True),
        ("COALESCE(size, 0E0)", "B.x", "(A B)", False),
        ("COALESCE(size, 0E0)", "LAST(A.x, 1)", "(A{2} B)", False),
        ("COALESCE(size, 0E0)", "SUM(A.x)", "(A? B)", False),
        ("CASE WHEN size > 1 THEN 1E0 END", "LAST(A.x, 1)", "(A B)", False),
        ("CASE WHEN seq IS NOT NULL THEN COALESCE(size, 0E0) END", "LAST(A.x, 1)", "(A B)", False),
        ("size * 2", "LAST(A.x, 1)", "(A B)", False),
    ],
)
def test_row_that_may_not_be_there_needs_a_type_that_may_be_null(
    column: str, strength: str, pattern: str, refused: bool, probe: Probe, probe_text: str
) -> None:
    """Flink takes FIRST and LAST of a NOT NULL column for NOT NULL, and gives -1 for a missing row."""
    text = probe_text.replace(
        "SELECT symbol",
        f"WITH kept AS (SELECT symbol, event_time, seq, price, {column} AS x FROM trades)\nSELECT symbol",
        1,
    )
    text = text.replace("FROM trades M", "FROM kept M").replace("PATTERN (A B)", f"PATTERN {pattern}")
    text = text.replace("B.price - A.price AS rise", f"COALESCE({strength}, 0E0) AS rise")
    errors = [finding for finding in linter.lint(probe(text)) if finding.severity == "error"]
    assert [finding.line for finding in errors if "may not be there" in finding.reason] == [12] * refused


@pytest.mark.parametrize("name", rules.names())
def test_shipped_rules_pass(name: str) -> None:
    """No rule that is shipped has an error."""
    assert [finding for finding in linter.lint(rules.find(name)) if finding.severity == "error"] == []


def test_bounds_out_of_parameters_are_looked_at(probe: Probe, probe_text: str) -> None:
    """A number of rows that a parameter gives is checked with the value of each set."""
    text = probe_text.replace("(A B)", "(A X{1,:most} B)").replace("B AS B.price", "X AS TRUE, B AS B.price")
    header = "-- parameter: most int {} rows\n\n"
    exact = probe(text.replace("\n\n", "\n" + header.format(1), 1))
    assert [finding.severity for finding in linter.lint(exact)] == []
    ranged = probe(text.replace("\n\n", "\n" + header.format(3), 1))
    assert [finding.severity for finding in linter.lint(ranged)] == ["error", "note"]


def test_average_of_what_is_cast_passes(probe: Probe, probe_text: str) -> None:
    """A whole number that is made a DOUBLE keeps its fractions."""
    text = probe_text.replace("B.price AS price", "AVG(CAST(B.seq AS DOUBLE)) AS price")
    assert linter.lint(probe(text)) == []


@pytest.mark.parametrize("quantifier", ["?", "+", "{1,3}"])
def test_quantifier_unlike_the_standard_gets_a_note(quantifier: str, probe: Probe, probe_text: str) -> None:
    """``?`` is not greedy, and what is greedy gives nothing back: in order, if the reader knows."""
    text = probe_text.replace("(A B)", f"(A X{quantifier} B) WITHIN INTERVAL '1' SECOND")
    text = text.replace("B AS B.price", "X AS X.size > 5, B AS B.price")
    notes = [finding.reason for finding in linter.lint(probe(text)) if "greedy" in finding.reason]
    assert len(notes) == 1


@pytest.mark.parametrize(
    "expression",
    [
        "EXTRACT(HOUR FROM B.event_time) > 9",
        "B.event_time > A.event_time + INTERVAL '1' SECOND",
        "CAST(B.seq AS DOUBLE) IS NOT NULL",
        "B.side LIKE 'b%' ESCAPE '!'",
        "TIMESTAMPDIFF(SECOND, A.event_time, B.event_time) > 1",
    ],
)
def test_words_of_the_language_are_no_columns(expression: str, probe: Probe, probe_text: str) -> None:
    """Units, types and operators inside a condition are not taken for columns of no variable."""
    text = probe_text.replace("B AS B.price", f"B AS {expression} AND B.price")
    assert linter.lint(probe(text)) == []
