"""What is generated is in order for the linter and the compiled matcher; for Flink, see test_differential."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from streaming import rules
from streaming.authoring import linter
from streaming.compiled import compile_rule
from tests.differential import naive
from tests.differential.cases import RuleCase, TapeCase
from tests.differential.corpus import draw_one, group_of, rules_of
from tests.differential.strategies import rule_cases, tapes

_QUICK = settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@_QUICK
@given(rule_cases())
def test_generated_rules_pass_the_linter(case: RuleCase) -> None:
    """The linter has no error, and the compiled matcher takes the rule."""
    rule = case.rule()
    assert [finding for finding in linter.lint(rule) if finding.severity == "error"] == []
    compile_rule(rule)
    assert len(rules.render(rule)) == 1


@_QUICK
@given(rule_cases(), tapes())
def test_naive_engine_takes_everything(case: RuleCase, tape: TapeCase) -> None:
    """No signal lacks a side, a number or a seq, and a match ends no earlier than it begins."""
    for match in naive.run(case, tape.block()):
        assert None not in (match.side, match.strength, match.ref_price)
        assert match.first_seq is not None
        assert match.last_seq is not None


def test_the_same_seed_gives_the_same_cases() -> None:
    """A run can be repeated by its seed."""
    group = group_of(7, 3)
    assert group == group_of(7, 3)
    assert group != group_of(8, 3)
    assert rules_of(7, group, 4) == rules_of(7, group, 4)
    assert draw_one(rule_cases(), 1) != draw_one(rule_cases(), 2)


def test_most_rules_of_a_run_match_something() -> None:
    """Silence on both sides would be an agreement about little."""
    group = group_of(3, 4)
    silent = 0
    chosen = rules_of(3, group, 30)
    for case in chosen:
        silent += not any(naive.run(case, tape.block()) for tape in group.tapes)
    assert silent < len(chosen) / 2
