"""What ``rules explain`` says: the automaton is the pattern's, the picture holds it, the bounds are true."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import rules, sqltext
from streaming.authoring import automaton, explain, picture
from streaming.authoring.automaton import Arrow, Automaton
from streaming.compiled import Matcher, compile_rule
from streaming.rules import JOB, Rule
from streaming.tape import START_NS, Tape
from tickloom.clock import NS_PER_MS
from tickloom.errors import RuleError

Probe = Callable[[str], Rule]
SVG = "{http://www.w3.org/2000/svg}"


def automaton_of(pattern: str, define: str = "A AS A.x > 1") -> Automaton:
    text = f"SELECT 1 FROM t MATCH_RECOGNIZE (PATTERN ({pattern}) DEFINE {define})"
    return automaton.of_match(sqltext.parse(text, "rule.sql").match)


def edges(drawn: Automaton) -> list[tuple[str, int, int, str]]:
    return [(arrow.kind, arrow.source, arrow.target, arrow.variable) for arrow in drawn.arrows]


@pytest.mark.parametrize(
    ("pattern", "states", "expected"),
    [
        ("A B", 3, [("take", 0, 1, "A"), ("take", 1, 2, "B")]),
        ("A B* C", 3, [("take", 0, 1, "A"), ("loop", 1, 1, "B"), ("take", 1, 2, "C")]),
        ("A B+ C", 4, [("take", 0, 1, "A"), ("take", 1, 2, "B"), ("loop", 2, 2, "B"), ("take", 2, 3, "C")]),
        ("A B? C", 4, [("take", 0, 1, "A"), ("take", 1, 2, "B"), ("skip", 1, 2, ""), ("take", 2, 3, "C")]),
        ("A{3}", 2, [("take", 0, 1, "A"), ("loop", 1, 1, "A")]),
        # two loops of one state would take rows of both in any order
        (
            "A+ B* C",
            4,
            [
                ("take", 0, 1, "A"),
                ("loop", 1, 1, "A"),
                ("skip", 1, 2, ""),
                ("loop", 2, 2, "B"),
                ("take", 2, 3, "C"),
            ],
        ),
    ],
)
def test_automaton_is_the_patterns(
    pattern: str, states: int, expected: list[tuple[str, int, int, str]]
) -> None:
    """States and arrows of each quantifier; the last state is the match."""
    drawn = automaton_of(pattern)
    assert (drawn.states, edges(drawn)) == (states, expected)


def test_arrows_say_how_many_rows_and_which() -> None:
    """Counts and greed in words; the condition as it is written, a part for each AND; TRUE is any row."""
    define = "A AS A.x > 1 -- why\n AND ( A.y < 2 OR A.z = 'AND' ), B AS TRUE, C AS C.x BETWEEN 1 AND 2"
    drawn = automaton_of("A B{2,5}? C* D", define)
    notes = {arrow.variable: (arrow.note, arrow.reluctant) for arrow in drawn.arrows if arrow.note}
    assert notes == {
        "B": ("2 to 5 rows, as few as will do", True),
        "C": ("any number of rows, as many as come", False),
    }
    conditions = {arrow.variable: arrow.condition for arrow in drawn.arrows if arrow.condition}
    assert conditions == {
        "A": ("A.x > 1", "AND (A.y < 2 OR A.z = 'AND')"),
        "B": ("any row",),
        "C": ("C.x BETWEEN 1 AND 2",),
        "D": ("any row",),
    }


quantified = st.sampled_from(["", "*", "+", "?", "{3}", "{2,}", "{0,4}?", "*?", "??", "{1,2}"])


@settings(deadline=None)
@given(
    st.lists(quantified, min_size=1, max_size=7),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.text("abc <>&\"'", max_size=60),
)
def test_picture_holds_every_label(quantifiers: list[str], parts: list[int], title: str) -> None:
    """Whatever the pattern: well-formed, every variable in it, and no text or state beyond its edges."""
    names = [f"V{number}" * (number + 1) for number in range(len(quantifiers))]
    pattern = " ".join(f"{name}{one}" for name, one in zip(names, quantifiers, strict=True))
    condition = " AND ".join(f"{names[0]}.some_column <= {'9' * n} * 'a&b'" for n in parts)
    drawn = automaton_of(pattern, f"{names[0]} AS {condition}")
    root = ET.fromstring(picture.svg(drawn, title, "subtitle", ["a caption <of> it"]))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    texts = root.findall(f"{SVG}text")
    assert {*names, "match", title, "a caption <of> it"} <= {text.text or "" for text in texts}
    for text in texts:
        half = len(text.text or "") * float(text.attrib["font-size"]) * 0.3
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        left = x - half if text.attrib["text-anchor"] == "middle" else x
        assert 0 <= left <= left + 2 * half <= width, text.text
        assert 0 < y < height
    circles = [float(one.attrib["cx"]) for one in root.findall(f"{SVG}circle")]
    assert circles == sorted(circles)
    assert len(circles) == drawn.states + 1  # the match has two


def test_long_conditions_are_cut() -> None:
    """A condition longer than the picture has room for ends with dots; the file has all of it."""
    arrow = Arrow("take", 0, 1, "A", "", tuple(f"AND A.x <> {n}" for n in range(40)))
    drawn = picture.svg(Automaton(2, [arrow]), "t")
    assert drawn.count("A.x") == picture.CONDITION_LINES_MAX - 1
    assert ">...<" in drawn


RISES = "DEFINE A AS A.price > 0, B AS B.price > A.price + :rise"


@pytest.mark.parametrize(
    ("pattern", "most"),
    [("(A B)", 1), ("(A C{3} B)", 4), ("(A C{2,4} B)", 5), ("(A C* B) WITHIN INTERVAL '1' SECOND", 20)],
)
def test_bounds_are_true_and_reached(pattern: str, most: int, probe: Probe, probe_text: str) -> None:
    """As many partial matches as are announced are open at some time, and never more: on flat prices, of
    which every trade may begin a match and none ends one."""
    rule = probe(probe_text.replace("(A B)", pattern))
    said = {one.what: one.bound for one in explain.holdings(rule)}
    kept = said["rows that a key keeps"]
    assert kept.startswith(f"{most} rows" if "WITHIN" not in pattern else "the rows of a key within")
    assert said["partial matches of a key"] == "as many"
    tape = Tape()
    for at in range(60):
        tape.trade("T", at * 50, 10.0, 1, "buy")  # 20 a second
    block, matcher = tape.block(), Matcher(compile_rule(rule))
    opened = []
    for number in range(60):
        one = block.select({"trades": block.trades["seq"] == block.trades["seq"][number]})
        matcher.push(one, START_NS + (number + 1) * 50 * NS_PER_MS)
        opened.append(matcher.partial_matches)
    assert max(opened) == most


@pytest.mark.parametrize(
    ("old", "new", "what", "bound", "grows"),
    [
        ("(A B)", "(A)", "partial matches of a key", "none: one row is a match", "nothing"),
        (
            "(A B)",
            "(A C* B) WITHIN :rise",
            "rows that a key keeps",
            "the rows of a key within :rise = 90s (90,000 at 1,000 a second)",
            "rows a second, and :rise = 90s",
        ),
        (
            "(A B)",
            "(A C* D+ B) WITHIN :rise",
            "partial matches of a key",
            "as many, times the ways in which C and D can share rows (their number)",
            "rows that A takes: each begins one",
        ),
        (
            "PARTITION BY symbol",
            "PARTITION BY symbol, side",
            "keys (symbol, side)",
            "each that was ever seen",
            "new ones; Flink never clears the state of a key",
        ),
        ("A.price > 0", "TRUE", "partial matches of a key", "as many", "every row: each begins one"),
    ],
)
def test_what_grows_with_what(
    old: str, new: str, what: str, bound: str, grows: str, probe: Probe, probe_text: str
) -> None:
    """Bounds in words, with the parameter's value where WITHIN is one."""
    text = probe_text.replace(old, new)
    if ":rise" in new:
        text = text.replace("double 0.1", "interval 90s").replace("+ :rise", "")
    found = {one.what: (one.bound, one.grows) for one in explain.holdings(probe(text))}
    assert found[what] == (bound, grows)


def test_what_the_compiled_engine_does_not_take_is_said(probe: Probe, probe_text: str) -> None:
    """Its refusal is part of the explanation, and no error of it."""
    rule = probe(probe_text.replace("B.price > A.price", "UPPER('a') = 'A' AND B.price > A.price"))
    (said,) = [one for one in explain.holdings(rule) if one.what == "compiled engine"]
    assert said.bound.startswith("does not take it: the compiled engine does not take")


@pytest.mark.parametrize("name", rules.names())
def test_every_shipped_rule_is_explained(name: str) -> None:
    """Each has bounds and a picture; a job, which has no pattern, says so."""
    rule = rules.bind(rules.find(name))
    assert len(explain.holdings(rule)) > 1
    if rule.kind == JOB:
        with pytest.raises(RuleError, match="no pattern to draw"):
            explain.svg(rule)
    else:
        assert ET.fromstring(explain.svg(rule)).find(f"{SVG}title") is not None
