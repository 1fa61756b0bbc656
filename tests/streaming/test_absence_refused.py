"""Absence rules that are refused, or noted, before anything runs."""

from __future__ import annotations

from functools import partial

import pytest

from streaming import engines
from streaming.authoring import linter
from tests.streaming.absence_rule import PLAIN, UNKNOWN, Probe, make_probe
from tickloom.errors import RuleError


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """``probe(header="", body=PLAIN, name="probe")``: the rule with more header lines, or another body."""
    return partial(make_probe, tmp_path_factory.mktemp("rules"))


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("FROM ABSENCE (", "FROM quotes MATCH_RECOGNIZE (", 13, "MATCH_RECOGNIZE in a rule of kind absence"),
        ("FROM ABSENCE (", "FROM PRESENCE (", 10, "no ABSENCE"),
        ("FROM ABSENCE (", "FROM trades, ABSENCE (", 13, "not alone behind FROM"),
        ("PARTITION BY symbol\n", "\n", 13, "ABSENCE without PARTITION BY"),
        ("PARTITION BY symbol\n", "PARTITION BY 1\n", 14, "PARTITION BY takes columns"),
        ("EXPECT quotes WITHIN :silence", "EXPECT quotes", 13, "ABSENCE without WITHIN"),
        ("EXPECT quotes WITHIN :silence", "EXPECT WITHIN :silence", 15, "nothing behind EXPECT"),
        ("EXPECT quotes", "EXPECT quotes, trades", 15, "is no relation"),
        ("EXPECT quotes", "EXPECT quote", 15, "unknown relation 'quote'"),
        ("WITHIN :silence", "WITHIN 2", 15, "'2' is no interval"),
        ("WITHIN :silence", "WITHIN :prints", 15, "prints is of type int"),
        ("WITHIN :silence", "WITHIN INTERVAL '0' SECOND", 15, "is no interval"),
        ("WITHIN :silence", "WITHIN :quiet", 15, "unknown parameter :quiet"),
        ("WHILE trades WHERE", "WHILE trades AS quotes WHERE", 16, "both called quotes"),
        ("AT LEAST :prints", "AT LEAST 0", 16, "AT LEAST 0"),
        ("UNTIL :longest", "UNTIL INTERVAL '0.010' SECOND", 16, "UNTIL is not longer than WITHIN"),
        (
            "AT LEAST :prints UNTIL :longest",
            "UNTIL :longest AT LEAST :prints",
            16,
            "AT LEAST out of its place",
        ),
        ("WHILE trades WHERE `condition` = 'regular' AT", "AT", 16, "AT LEAST without WHILE"),
        ("WHERE status = 'halted'", "WHERE", 17, "nothing behind WHERE"),
        ("quotes.seq AS first_seq", "quotes.seq", 18, "a measure without a name"),
        ("quotes.mid AS mid", "quotes.mid AS first_seq", 18, "measure first_seq twice"),
        ("quotes.seq AS first_seq", "trades.venue_id AS first_seq", 18, "no measure is quotes.seq"),
        ("quotes.mid AS mid", "bars.mid AS mid", 18, "unknown relation 'bars'"),
        ("quotes.mid AS mid", "LAST(quotes.mid) AS mid", 18, "there is one expected row"),
        ("LAST(trades.seq) AS last_seq", "seq AS last_seq", 18, "the column seq of no relation"),
        ("MIN(trades.price)", "STDDEV(trades.price)", 19, "there are FIRST, LAST, COUNT"),
        ("COUNT(trades.seq)", "COUNT(*)", 20, "name a column"),
        ("FIRST(trades.price)", "FIRST(trades.price, 1)", 20, "an offset"),
        ("FIRST(trades.price)", "FIRST(MIN(trades.price))", 20, "MIN inside FIRST"),
        ("PARTITION BY symbol\n", "PARTITION BY side\n", 13, "PARTITION BY without symbol"),
        (
            "first_seq, last_seq\nFROM",
            "first_seq, last_seq, CURRENT_TIMESTAMP AS ts\nFROM",
            12,
            "output column",
        ),
    ],
)
def test_what_is_refused(probe: Probe, old: str, new: str, line: int, message: str) -> None:
    """With the line, the reason and the fix."""
    assert old in PLAIN
    rule = probe(body=PLAIN.replace(old, new, 1))
    errors = [one for one in linter.lint(rule) if one.severity == "error"]
    assert any(message in f"{one.reason}. Fix: {one.fix}" and one.line == line for one in errors), errors
    with pytest.raises(RuleError):
        linter.check(rule)


@pytest.mark.parametrize(("old", "new", "line"), UNKNOWN)
def test_line_of_what_the_compiled_engine_refuses(probe: Probe, old: str, new: str, line: int) -> None:
    """An unknown column, in a condition, the SELECT or a measure."""
    with pytest.raises(RuleError, match="unknown column") as caught:
        engines.make_matcher(probe(body=PLAIN.replace(old, new)))
    assert caught.value.line == line


def test_what_is_noted(probe: Probe) -> None:
    """A silence without an end is worth knowing; the rule as it is has nothing to be said about."""
    assert linter.lint(probe()) == []
    (note,) = [
        one for one in linter.lint(probe(body=PLAIN.replace(" UNTIL :longest", ""))) if "UNTIL" in one.fix
    ]
    assert (note.severity, note.line) == ("note", 16)
