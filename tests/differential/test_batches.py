"""However a tape is cut into batches, the compiled matcher gives the same signals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming.compiled import CompiledRule, Matcher, compile_rule
from streaming.tape import START_NS
from tests.differential import compare, corpus, naive
from tests.differential.cases import RuleCase, TapeCase
from tests.differential.compare import difference, match_of
from tests.differential.naive import Match
from tests.differential.strategies import tapes
from tickloom.clock import NS_PER_MS
from tickloom.events import EventBlock

SEED = 27
PLACES = (2, 4, 5, 6, 8)  # of rules with two to five variables
_MANY = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@cache
def chosen() -> list[RuleCase]:
    """Rules that match something."""
    found = corpus.rules_of(SEED, corpus.group_of(SEED, 4), max(PLACES) + 1)
    return [found[place] for place in PLACES]


@pytest.fixture(scope="module", params=range(len(PLACES)))
def compiled(request: pytest.FixtureRequest) -> tuple[RuleCase, CompiledRule]:
    """A rule, as it was made and compiled."""
    case = chosen()[request.param]
    return case, compile_rule(case.rule())


@_MANY
@given(tape=tapes(), data=st.data())
def test_cut_changes_nothing(
    compiled: tuple[RuleCase, CompiledRule], tape: TapeCase, data: st.DataObject
) -> None:
    """Cut anywhere, with any watermarks that make nothing late, and moved to another matcher in between."""
    case, rule = compiled
    block = tape.block()
    whole = _all_at_once(rule, block)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(tape.events)), max_size=6), label="cuts"))
    moves = data.draw(st.lists(st.booleans(), min_size=len(cuts) + 1, max_size=len(cuts) + 1), label="moves")
    parts = _parts(block, cuts)
    matcher, found = Matcher(rule), []
    for place, (part, move) in enumerate(zip(parts, moves, strict=True)):
        if move:
            raw = matcher.snapshot()
            matcher = Matcher(rule)
            matcher.restore(raw)
        latest = _earliest_ns(parts[place + 1 :])
        back_ms = data.draw(st.sampled_from((0, 0, 1, 10_000)), label="watermark behind")
        found += map(match_of, matcher.push(part, latest - back_ms * NS_PER_MS))
    found += map(match_of, matcher.finish())
    assert not difference(found, whole), str(difference(found, whole))
    assert not difference(found, naive.run(case, block))
    assert matcher.late_rows == 0


@_MANY
@given(tape=tapes())
def test_row_by_row_changes_nothing(compiled: tuple[RuleCase, CompiledRule], tape: TapeCase) -> None:
    """A batch for every event, each with the watermark that the next ones allow."""
    _, rule = compiled
    block = tape.block()
    parts = _parts(block, list(range(1, len(tape.events))))
    matcher, found = Matcher(rule), []
    for place, part in enumerate(parts):
        found += map(match_of, matcher.push(part, _earliest_ns(parts[place + 1 :])))
    found += map(match_of, matcher.finish())
    assert not difference(found, _all_at_once(rule, block))


def _all_at_once(rule: CompiledRule, block: EventBlock) -> list[Match]:
    matcher = Matcher(rule)
    return [match_of(signal) for signal in (*matcher.push(block, 0), *matcher.finish())]


def _parts(block: EventBlock, cuts: Sequence[int]) -> list[EventBlock]:
    """Cut in front of the events of these numbers, in the order of seq; a part may be empty."""
    seqs = np.sort(np.concatenate([block.trades["seq"], block.quotes["seq"]]))
    ends = [0, *cuts, len(seqs)]
    return [
        block.select(
            {name: np.isin(records["seq"], seqs[low:high]) for name, records in block.kinds().items()}
        )
        for low, high in pairwise(ends)
    ]


def _earliest_ns(blocks: Sequence[EventBlock]) -> int:
    """The latest watermark that makes none of these late."""
    times = [
        int(records["ts_event"].min())
        for block in blocks
        for records in block.kinds().values()
        if len(records)
    ]
    return min(times, default=START_NS + 86_400_000 * NS_PER_MS)


def test_chosen_rules_are_of_different_kinds() -> None:
    """They skip and look at rows in different ways, and each has something to say."""
    group = corpus.group_of(SEED, 4)
    assert all(compare.by_naive(case, corpus.tapes_of(group)) for case in chosen())
    assert len({case.skip[0] for case in chosen()}) > 1
    assert {case.within_ms is None for case in chosen()} == {True, False}
    assert any(variable.count_max is None for case in chosen() for variable in case.variables)
