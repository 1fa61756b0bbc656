"""A sample of ``make differential``: random rules and tapes, the same signals from Flink and the matcher."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.differential import compare, corpus
from tests.differential.reference import FlinkReference

SEED = 20_240_808
RULES, TAPES = 8, 8


@pytest.mark.slow
def test_engines_agree() -> None:
    """64 cases of rule and tape, signal by signal; and Flink takes every rule that the linter passes."""
    group = corpus.group_of(SEED, TAPES)
    cases = {f"r{number}": case for number, case in enumerate(corpus.rules_of(SEED, group, RULES))}
    tapes = corpus.tapes_of(group)
    with FlinkReference() as flink, ThreadPoolExecutor(1) as thread:
        texts = {name: case.text(name) for name, case in cases.items()}
        answer = thread.submit(flink.run, texts, corpus.together(tapes))
        compiled = {name: compare.by_compiled(case, tapes) for name, case in cases.items()}
        outcome = answer.result()
    assert (outcome.refused, outcome.failed) == ({}, {})
    assert sum(map(len, compiled.values())) > 100
    for name, case in cases.items():
        different = compare.difference(compiled[name], outcome.signals[name])
        assert not different, f"{case.text()}\n{different}"


def test_difference_is_told_signal_by_signal() -> None:
    """What one engine has and the other has not, as often as it is so; a rounding error is none."""
    group = corpus.group_of(SEED, 1)
    case = next(
        one for one in corpus.rules_of(SEED, group, RULES) if compare.by_naive(one, corpus.tapes_of(group))
    )
    signals = compare.by_naive(case, corpus.tapes_of(group))
    assert not compare.difference(signals, signals)
    assert compare.difference(signals[1:], signals).missing == [signals[0]]
    assert compare.difference([*signals, signals[0]], signals).extra == [signals[0]]
