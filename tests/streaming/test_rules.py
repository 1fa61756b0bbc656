"""Rule files: the header, its sets and parameters, and the SELECTs that come out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from streaming import rules
from streaming.parameters import Parameter
from streaming.rules import Rule
from tickloom.errors import RuleError, SettingsError

Probe = Callable[[str], Rule]


def test_header_is_read(probe: Probe, probe_text: str) -> None:
    """Keys, parameters with type, default and text, and lines that go on."""
    rule = probe(probe_text.replace("`rise`", "`rise`\n--   and that is all"))
    assert (rule.name, rule.version, rule.venue) == ("probe", "1", "XNAS")
    assert rule.about == "a trade is dearer than the one before by more than `rise` and that is all"
    assert rule.parameters == {"rise": Parameter("rise", "double", "0.1", "dollars", 6)}
    assert rule.sets == {"": {}}
    assert rule.job_name == "rule: probe v1"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-- version: 1\n", "", "no 'version'"),
        ("-- about: a trade", "-- abuot: a trade", "did you mean 'about'"),
        ("-- rule: probe", "-- rule: other", "write 'probe'"),
        ("-- version: 1", "-- version: 1 beta", "version '1 beta'"),
        ("-- version: 1", "-- version: 1\n-- version: 2", "a second 'version'"),
        ("rise double 0.1 dollars", "rise double", "not complete"),
        ("rise double 0.1", "rise money 0.1", "unknown type 'money'"),
        ("rise double 0.1", "rise double much", "is not a double"),
        ("rise double 0.1", "rise int 0.1", "is not an int"),
        ("rise double 0.1", "rise interval 10", "500ms"),
        ("dollars\n", "dollars\n-- parameter: rise int 3 again\n", "a second parameter 'rise'"),
        ("dollars\n", "dollars\n-- set: one fall=3\n", "set one: 'fall=3'"),
        ("dollars\n", "dollars\n-- set: one rise=3\n-- set: one rise=4\n", "a second set"),
    ],
)
def test_bad_header_is_refused(old: str, new: str, message: str, probe: Probe, probe_text: str) -> None:
    """A header that cannot be meant is refused with its file and line."""
    assert old in probe_text
    with pytest.raises(RuleError, match=message) as caught:
        probe(probe_text.replace(old, new))
    assert caught.value.line > 0
    assert caught.value.path.endswith("probe.sql")


def test_rendering_keeps_lines(probe: Probe, probe_text: str) -> None:
    """Parameters become literals, the match's time is added, and line numbers stay the file's."""
    (select,) = rules.render(probe(probe_text))
    lines = select.split("\n")
    assert lines[:6] == [""] * 6
    assert lines[6].endswith("first_seq, last_seq, match_time")
    assert lines[10].endswith("B.price - A.price AS rise, B.event_time AS match_time")
    assert lines[14].endswith("B.price > A.price + 0.1E0")


def test_override_beats_set_beats_default(probe: Probe, probe_text: str) -> None:
    """A set's value replaces the default, an override replaces both, for one set or for all."""
    rule = probe(probe_text.replace("dollars\n", "dollars\n-- set: wide rise=0.5\n-- set: plain\n"))
    assert rules.values(rule, "wide") == {"rise": "0.5"}
    assert rules.values(rule, "plain") == {"rise": "0.1"}
    assert rules.values(rule, "wide", {"rise": "2"}) == {"rise": "2"}
    assert rules.values(rule, "wide", {"plain.rise": "2"}) == {"rise": "0.5"}
    assert rules.values(rule, "plain", {"plain.rise": "2", "rise": "3"}) == {"rise": "2"}
    assert ["0.5E0" in one for one in rules.render(rule)] == [True, False]
    with pytest.raises(SettingsError, match="did you mean 'rise'"):
        rules.values(rule, "wide", {"rize": "2"})


def test_parameter_needs_a_value(probe: Probe, probe_text: str) -> None:
    """Without a default, a set or an override there is nothing to render."""
    with pytest.raises(RuleError, match="has no value"):
        rules.render(probe(probe_text.replace("double 0.1", "double -")))


@pytest.mark.parametrize(
    ("kind", "value", "literal"),
    [
        ("double", "0.20", "0.2E0"),
        ("double", "1e-07", "1e-07"),
        ("double", "-3", "-3.0E0"),
        ("int", "4", "4"),
        ("string", "O'Neil", "'O''Neil'"),
        ("interval", "250ms", "INTERVAL '0 00:00:00.250' DAY TO SECOND(3)"),
        ("interval", "90s", "INTERVAL '0 00:01:30.000' DAY TO SECOND(3)"),
        ("interval", "36h", "INTERVAL '1 12:00:00.000' DAY TO SECOND(3)"),
    ],
)
def test_literals(kind: str, value: str, literal: str) -> None:
    """A value is written as a literal of its SQL type, and cannot break out of it."""
    assert Parameter("p", kind, None, "", 1).literal(value, "rule.sql") == literal


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("double", "nan"),
        ("double", "1e999"),
        ("double", "1; DROP"),
        ("int", "3.0"),
        ("int", "9223372036854775808"),
        ("interval", "0s"),
        ("interval", "-5s"),
        ("interval", "2400h"),
        ("string", "two\nlines"),
    ],
)
def test_bad_values(kind: str, value: str) -> None:
    """What is no value of the type never reaches the SQL."""
    with pytest.raises(RuleError):
        Parameter("p", kind, None, "", 1).literal(value, "rule.sql")


IDENTITY = """\
-- parameter: rise double 0.1 dollars
-- parameter: count int 3 trades
-- parameter: span interval 1s of the pattern
-- parameter: text string mild any
-- parameter: free double - without a default
-- set: one free=1
-- set: two free=2
"""


@pytest.fixture
def of_all_types(probe: Probe, probe_text: str) -> Rule:
    """A rule with a parameter of each type, and two sets."""
    return probe(probe_text.replace("-- parameter: rise double 0.1 dollars\n", IDENTITY))


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"rise": "0.1"},
        {"rise": 0.1, "count": 3},
        {"rise": "1e-1", "count": "03", "span": "1000ms", "text": "mild"},
        {"one.free": "1.0", "two.free": 2},
        {"one.rise": "0.10"},
    ],
)
def test_version_stays_where_no_value_changes(overrides: rules.Overrides, of_all_types: Rule) -> None:
    """An override with the value that the file gives, however it is written, is the same rule."""
    assert rules.version_of(of_all_types, overrides) == "1"


def test_version_tells_parameters_apart(of_all_types: Rule) -> None:
    """Ways to write the same values give one version; other values, or another set's, another one."""
    same = [
        {"rise": "3"},
        {"rise": "3.0"},
        {"rise": 3},
        {"rise": "30e-1", "count": "3"},
        {"one.rise": 3, "two.rise": "3"},
    ]
    (version,) = {rules.version_of(of_all_types, one) for one in same}
    assert re.fullmatch(r"1\+[0-9a-f]{8}", version)
    others = [
        {"one.rise": "3"},
        {"two.rise": "3"},
        {"count": "4"},
        {"span": "2s"},
        {"text": "3.0"},
        {"free": "3"},
        {"rise": "3.0000000001"},
    ]
    versions = {rules.version_of(of_all_types, one) for one in others}
    assert len(versions) == len(others)
    assert version not in versions


def test_version_of_other_parameters_is_known(of_all_types: Rule) -> None:
    """The hash is of documented text, so that anyone can compute it; it must never change."""
    changed = '[["one", "rise", "3.0"], ["two", "rise", "3.0"]]'
    expected = f"1+{hashlib.sha256(changed.encode()).hexdigest()[:8]}"
    assert rules.version_of(of_all_types, {"rise": "3"}) == expected


def test_bound_rule_needs_its_overrides_no_more(of_all_types: Rule) -> None:
    """A bound rule has the version and the SQL of the rule with its overrides; twice is as once."""
    overrides = {"rise": "3", "two.span": "5s"}
    bound = rules.bind(of_all_types, overrides)
    assert bound.version == rules.version_of(of_all_types, overrides) != of_all_types.version
    assert bound.job_name == f"rule: probe v{bound.version}"
    assert rules.render(bound) == rules.render(of_all_types, overrides)
    assert rules.bind(bound, overrides) == bound == rules.bind(bound)
    assert rules.bind(of_all_types).version == of_all_types.version


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"rise": "much"}, "rise = 'much' is not a double; write a number such as 0.25"),
        ({"one.count": "2.5"}, "count = '2.5' is not an int; write a whole number"),
        ({"span": "10"}, "span = '10' is not an interval; write a number with ms"),
        ({"three.rise": "1"}, "no parameter 'three.rise'; did you mean"),
    ],
)
def test_bad_override_is_explained(overrides: rules.Overrides, message: str, of_all_types: Rule) -> None:
    """The message names the parameter, what was given, and what may be."""
    with pytest.raises(SettingsError, match=message):
        rules.version_of(of_all_types, overrides)


def test_text_of_other_character_sets(probe: Probe, probe_text: str) -> None:
    """A byte order mark is none of the rule; bytes that are no UTF-8 are refused with their line."""
    path = probe(probe_text).path
    plain = rules.load(path)
    path.write_bytes(b"\xef\xbb\xbf" + probe_text.encode())
    assert rules.load(path) == plain
    path.write_bytes(probe_text.replace("venue:", "venue\xe9:").encode("latin-1"))
    with pytest.raises(RuleError, match=r"not UTF-8\. Fix: save it") as refused:
        rules.load(path)
    assert "venue" in probe_text.splitlines()[refused.value.line - 1]
    with pytest.raises(RuleError, match="Is a directory"):
        rules.load(path.parent)


def test_unknown_rule_names_the_nearest() -> None:
    """A misspelt rule is answered with the one that was meant."""
    with pytest.raises(RuleError, match="did you mean 'pair_spread'"):
        rules.find("pair_spred")


def test_shipped_rules_are_found() -> None:
    """The three rules are there, and a path is as good as a name."""
    assert {"pair_spread", "quote_fade", "trade_burst"} <= set(rules.names())
    assert rules.find(str(Path(rules.RULES_DIR) / "trade_burst.sql")).name == "trade_burst"
