"""What the linter says of Flink is true of this Flink: without it these rules run, and give nonsense.

All of them read the same tape in a few bounded jobs of one Flink in a process of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from streaming.tape import Tape
from tests.differential.reference import FlinkReference, Outcome
from tests.streaming.conftest import PROBE

pytestmark = pytest.mark.slow

ORDER = "ORDER BY event_time, seq"
DEFINE = "A AS A.price > 0, B AS B.price > A.price + :rise"
PAST = "AFTER MATCH SKIP PAST LAST ROW"
SECOND = "WITHIN INTERVAL '1' SECOND"


def probe(
    *,
    pattern: str = "(A B)",
    define: str = DEFINE,
    after: str = PAST,
    last: str = "B",
    strength: str = "B.price - A.price",
    tail: str = "",
) -> str:
    """The probe with other parts. ``last`` is the variable of the last row, ``strength`` a measure."""
    text = PROBE.replace("PATTERN (A B)", f"PATTERN {pattern}").replace(DEFINE, define)
    text = text.replace(PAST, after).replace("B.price - A.price AS rise", f"{strength} AS rise")
    if ":rise" not in define:
        text = re.sub(r"-- parameter.*\n", "", text)
    text = text.replace("A.seq AS first_seq", "COALESCE(A.seq, B.seq) AS first_seq")
    return text.replace("B.seq AS last_seq, B.price", f"{last}.seq AS last_seq, {last}.price") + tail


def _computed(column: str) -> str:
    """The probe over a column computed before the pattern; its strength is looked up in a second row of A."""
    text = probe(strength="LAST(A.x, 1)", define="A AS A.price = 10, B AS B.price = 11")
    kept = f"WITH kept AS (SELECT symbol, event_time, seq, price, {column} AS x FROM trades)\nSELECT symbol"
    text = text.replace("SELECT symbol", kept, 1).replace("FROM trades M", "FROM kept M")
    return text.replace("rise AS strength", "COALESCE(rise, -999E0) AS strength", 1)


# Five trades of 10, 11, 12, 13, 14 dollars and sizes 1 to 5, a second apart. TRUE is what the rule should do.
RUN_TO_THE_END = {
    "two rows": probe(),
    "optional last": probe(
        pattern="(A B?)", last="A", strength="COALESCE(B.price, -1)", define="A AS A.price > 0"
    ).replace("A.seq AS last_seq", "COALESCE(B.seq, A.seq) AS last_seq"),
    "subset": probe(strength="COALESCE(LAST(S.price), -1)").replace(
        "  DEFINE", "  SUBSET S = (A, B)\n  DEFINE"
    ),
    "within, a second": probe(pattern=f"(A B) {SECOND}"),
    "within, a little more": probe(pattern="(A B) WITHIN INTERVAL '1.001' SECOND"),
    "within, nothing": probe(pattern="(A B) WITHIN INTERVAL '0' SECOND"),
    "no after match": probe(after=""),
    "order without seq": probe(
        define="A AS A.price > 0, B AS B.price > A.price", strength="B.price - A.price"
    ).replace(ORDER, "ORDER BY event_time"),
    "row that is not there": _computed("COALESCE(size, 0E0)"),
    "row that is not there, nullable": _computed("CASE WHEN seq IS NOT NULL THEN COALESCE(size, 0E0) END"),
    "optional": probe(
        pattern="(A B? C)",
        last="C",
        strength="COALESCE(B.price, -1)",
        define="A AS A.price = 10, B AS TRUE, C AS TRUE",
    ),
    "greedy": probe(
        pattern="(A B{1,2} C)",
        last="C",
        strength="COUNT(B.price)",
        define="A AS A.price = 10, B AS B.price > 0, C AS C.price > 0",
    ),
    "greedy, exclusive": probe(
        pattern="(A B{1,2} C)",
        last="C",
        strength="COUNT(B.price)",
        define="A AS A.price = 10, B AS B.price < 13, C AS C.price > 0",
    ),
    "greedy takes everything": probe(
        pattern=f"(A B* C) {SECOND.replace('1', '9')}",
        last="C",
        strength="COUNT(B.price)",
        define="A AS A.price = 10",
    ),
    "reluctant takes what it must": probe(
        pattern=f"(A B*? C) {SECOND.replace('1', '9')}",
        last="C",
        strength="COUNT(B.price)",
        define="A AS A.price = 10, C AS C.price > 11",
    ),
    "unqualified": probe(define="A AS A.price > 0, B AS B.price > A.price", strength="price + size"),
    "table for a variable": probe(define="A AS A.price > 0, B AS trades.price > A.price + 0.5"),
    "later variable": probe(
        define="A AS B.price IS NULL, B AS B.price > A.price", strength="B.price - A.price"
    ),
    "whole average": probe(strength="AVG(B.seq - A0.seq)")
    .replace("(A B)", "(A0 A B{2})")
    .replace("AVG(B.seq - A0.seq)", "AVG(B.seq) - A0.seq"),
    "whole deviation": probe(pattern="(A B{4})", define="A AS A.price = 10", strength="STDDEV(B.seq)"),
    "real deviation": probe(
        pattern="(A B{4})", define="A AS A.price = 10", strength="STDDEV(CAST(B.seq % 100 AS DOUBLE))"
    ),
    "other case": probe(define="a AS A.price > 99, B AS B.price > 0"),
    "waiting": probe(
        pattern="(A B{0,3}? C) WITHIN INTERVAL '9' SECOND",
        last="C",
        define="A AS A.price < 12, C AS (A.price = 11 AND C.price = 12) OR C.price = 99",
        strength="COUNT(B.price)",
    ),
}
REFUSED = {
    "greedy last": (
        probe(pattern=f"(A B+) {SECOND}"),
        "Greedy quantifiers are not allowed as the last element",
    ),
    "alternatives": (probe(pattern="(A | B)"), ""),
    "reluctant optional": (
        probe(pattern="(A B?? C)", define="A AS A.price > 0", last="C"),
        "Reluctant optional variables are not supported",
    ),
    "no rows": (probe(pattern="(A B{0} C)", define="A AS A.price > 0", last="C"), "greater than or equal"),
    "upside down": (
        probe(pattern="(A B{3,2} C)", define="A AS A.price > 0", last="C"),
        "greater than or equal",
    ),
    "no lower bound": (probe(pattern="(A B{,2} C)", define="A AS A.price > 0", last="C"), "positive number"),
    "in among measures": (
        probe(strength="CASE WHEN B.side IN ('buy', 'sell') THEN 1 ELSE 0 END"),
        "subQuery",
    ),
    "not equal": (probe(define="A AS A.price != 0, B AS B.price > A.price"), ""),
    "defined twice": (probe(define="A AS A.price > 0, A AS A.size > 0"), "already been defined"),
    "physical offset": (probe(define="A AS A.price > 0, B AS B.price > PREV(B.price)"), ""),
    "classifier": (probe(strength="CLASSIFIER()"), ""),
    "within months": (probe(pattern="(A B) WITHIN INTERVAL '1' MONTH"), "millisecond resolution"),
    "optional behind greedy": (
        probe(
            pattern=f"(A B+ C? D) {SECOND}",
            define="A AS A.price > 0, B AS B.price > 0, C AS C.price > 0",
            last="D",
        ),
        "Optional pattern cannot be preceded by greedy pattern",
    ),
    "all rows": (probe().replace("ONE ROW PER MATCH", "ALL ROWS PER MATCH"), "All rows per match"),
}
FAILING = {
    "skip to the first variable": (probe(after="AFTER MATCH SKIP TO FIRST A"), "skip to first element"),
    "skip to what may be first": (
        probe(
            pattern="(A? B C)",
            define="A AS A.price = 99, B AS B.price > 0",
            last="C",
            strength="C.price",
            after="AFTER MATCH SKIP TO FIRST B",
        ),
        "skip to first element",
    ),
    "skip to what may be missing": (
        probe(
            pattern="(A B? C)",
            define="A AS A.price > 0, B AS B.price = 99",
            last="C",
            strength="C.price",
            after="AFTER MATCH SKIP TO LAST B",
        ),
        "No such element",
    ),
}


def _named(text: str, name: str) -> str:
    return text.replace("-- rule: probe", f"-- rule: {name}")


def _tape() -> Tape:
    tape = Tape()
    for number in range(5):
        tape.trade("T", number * 1_000, 10.0 + number, number + 1, "buy")
    return tape


@pytest.fixture(scope="module")
def reference() -> Iterator[FlinkReference]:
    """Flink in a process of its own."""
    with FlinkReference() as found:
        yield found


@pytest.fixture(scope="module")
def outcome(reference: FlinkReference) -> Outcome:
    """What Flink makes of the rules that it runs to the end, and of those that its planner refuses."""
    texts = {**RUN_TO_THE_END, **{name: text for name, (text, _) in REFUSED.items()}}
    named = {f"r{number}": _named(text, f"r{number}") for number, text in enumerate(texts.values())}
    found = reference.run(named, [(_tape().block(), 0)])
    names = dict(zip(named, texts, strict=True))
    assert not found.failed
    return Outcome(
        {names[key]: signals for key, signals in found.signals.items()},
        {names[key]: reason for key, reason in found.refused.items()},
    )


@pytest.fixture(scope="module")
def signals(outcome: Outcome) -> dict[str, list[tuple[float, int, int]]]:
    """Strength, first and last message of each rule's signals."""
    return {
        name: sorted((one.strength, one.first_seq % 100, one.last_seq % 100) for one in found)  # type: ignore[operator,misc]
        for name, found in outcome.signals.items()
    }


def test_plans_that_differ_in_within_are_taken_for_one(reference: FlinkReference) -> None:
    """Two sets, of 0.5 and 2 s, over trades a second apart: one should be silent. Flink gives both the limit
    of the first unless it is told not to share parts of plans, as every job of ours is."""
    text = probe(pattern="(A B) WITHIN :span", define="A AS A.price > 0")
    parameter = "-- parameter: span interval 2s limit\n-- set: short span=500ms\n-- set: long\n\n"
    text = text.replace("\n\n", f"\n{parameter}", 1)
    batches = [(_tape().block(), 0)]
    shared = {"table.optimizer.reuse-sub-plan-enabled": "true"}
    assert reference.run({"probe": text}, batches, shared).signals["probe"] == []
    assert len(reference.run({"probe": text}, batches).signals["probe"]) == 2


Signals = dict[str, list[tuple[float, int, int]]]


def test_optional_last_variable_never_binds(signals: Signals) -> None:
    """PATTERN (A B?) over five trades should pair them up; each trade comes alone."""
    assert signals["optional last"] == [(-1.0, n, n) for n in range(1, 6)]


def test_subset_is_null(signals: Signals) -> None:
    """SUBSET S = (A, B) should give LAST(S.price); it gives NULL."""
    assert signals["subset"] == [(-1.0, 1, 2), (-1.0, 3, 4)]


def test_within_is_exclusive(signals: Signals) -> None:
    """Trades a second apart are not WITHIN a second, but within 1.001 s."""
    assert signals["within, a second"] == []
    assert signals["within, a little more"] == [(1.0, 1, 2), (1.0, 3, 4)]


def test_within_nothing_is_no_limit(signals: Signals) -> None:
    """WITHIN INTERVAL '0' SECOND should match nothing; it is as if it were not there."""
    assert signals["within, nothing"] == signals["two rows"] == [(1.0, 1, 2), (1.0, 3, 4)]


def test_absent_after_match_skips_to_next_row(signals: Signals) -> None:
    """The standard's default is to skip past the last row; Flink's matches overlap."""
    assert signals["no after match"] == [(1.0, n, n + 1) for n in range(1, 5)]


def test_optional_variable_is_not_greedy(signals: Signals) -> None:
    """A B? C, where every row may be B, should take one; the match without it is complete first."""
    assert signals["optional"] == [(-1.0, 1, 2)]


def test_missing_row_of_a_column_that_is_not_null_is_minus_one(signals: Signals) -> None:
    """LAST(A.x, 1) of a match with one A is NULL; Flink gives -1, unless x may be NULL by its type."""
    assert signals["row that is not there"] == [(-1.0, 1, 2)]
    assert signals["row that is not there, nullable"] == [(-999.0, 1, 2)]


def test_greedy_variable_gives_nothing_back(signals: Signals) -> None:
    """A B{1,2} C should match rows 1 to 4 although row 4 might be a B too; Flink wants a C that is no B."""
    assert signals["greedy"] == []
    assert signals["greedy, exclusive"] == [(2.0, 1, 4)]


def test_greedy_variable_that_takes_every_row_ends_no_match(signals: Signals) -> None:
    """A B* C with any row as B should match all five trades; it matches nothing. B*? does."""
    assert signals["greedy takes everything"] == []
    assert signals["reluctant takes what it must"] == [(1.0, 1, 3)]


def test_column_of_no_variable_is_the_last_rows(signals: Signals) -> None:
    """price and size, of no variable, and trades.price are those of the last row of the match so far."""
    assert signals["unqualified"] == [(13.0, 1, 2), (17.0, 3, 4)]
    assert signals["table for a variable"] != signals["two rows"]


def test_later_variable_is_null(signals: Signals) -> None:
    """While A is decided B has no row, so that a condition on it can only be about NULL."""
    assert signals["later variable"] == [(1.0, 1, 2), (1.0, 3, 4)]


def test_variable_in_other_case_is_another_variable(signals: Signals) -> None:
    """DEFINE a AS ... price above 99 should let nothing through; A is not a, and takes any row."""
    assert signals["other case"] == [(1.0, 1, 2), (1.0, 3, 4)]


def test_statistics_of_whole_numbers_are_cut_off(signals: Signals) -> None:
    """The average of messages 3, 4 is 3.5, the deviation of 2 to 5 is 1.29; Flink drops the fractions."""
    assert signals["whole average"] == [(2.0, 2, 4)]
    assert signals["whole deviation"][0][0] == int(signals["whole deviation"][0][0])
    ((deviation, _, _),) = signals["real deviation"]
    assert deviation == pytest.approx((5 / 3) ** 0.5)


def test_match_that_had_to_wait_has_the_time_of_its_last_row(outcome: Outcome) -> None:
    """The match from 11 to 12 waits for the one from 10, which never ends: MATCH_ROWTIME() is the end of
    time, the signal's time is not."""
    (found,) = outcome.signals["waiting"]
    assert found.ts_event == int(_tape().block().trades["ts_event"][2])


@pytest.mark.parametrize("name", REFUSED)
def test_planner_refuses(name: str, outcome: Outcome) -> None:
    """What the linter says that Flink lacks, Flink lacks."""
    assert name in outcome.refused
    assert REFUSED[name][1] in outcome.refused[name]


@pytest.mark.parametrize("name", FAILING)
def test_job_fails(name: str, reference: FlinkReference) -> None:
    """What passes Flink's planner, and fails while the job runs."""
    text, reason = FAILING[name]
    found = reference.run({"probe": text}, [(_tape().block(), 0)])
    assert reason in found.failed["probe"]
