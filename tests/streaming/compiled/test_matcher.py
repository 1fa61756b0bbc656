"""The compiled matcher's own business: event time, state, errors. tests/differential holds its matches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streaming import rules
from streaming.compiled import Matcher, compile_rule
from streaming.rules import Rule
from streaming.tape import START_NS, Tape
from tickloom.clock import NS_PER_MS
from tickloom.errors import RuleError
from tickloom.events import EventBlock, Signal, signal_id

RISE = """\
-- rule: rise
-- version: 1
-- venue: XNAS
-- about: a trade is dearer than the one before by more than `rise`
-- parameter: rise double 0.1 dollars
-- parameter: span interval 10s from one to the other

SELECT symbol, 'buy' AS side, rise AS strength, price AS ref_price, first_seq, last_seq
FROM trades MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq
  MEASURES A.seq AS first_seq, B.seq AS last_seq, B.price AS price, B.price - A.price AS rise
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B) WITHIN :span
  DEFINE A AS A.price > 0, B AS B.price > A.price + :rise
)
"""


def rule_of(text: str = RISE) -> Rule:
    """The rule of that text."""
    return rules.parse(text, Path("rise.sql"))


def trades(*prices: float, step_ms: float = 1_000) -> EventBlock:
    """Trades of one symbol at these prices."""
    tape = Tape()
    for number, price in enumerate(prices):
        tape.trade("T", number * step_ms, price, 1, "buy")
    return tape.block()


def seqs(signals: list[Signal]) -> list[tuple[int, int]]:
    """First and last message number of each signal."""
    return [(one.first_seq % 1_000, one.last_seq % 1_000) for one in signals]


def at(ms: float) -> int:
    """A watermark, ms behind the start of the tape."""
    return START_NS + round(ms * NS_PER_MS)


def test_signal_has_the_identity_of_every_engine() -> None:
    """Rule, version, symbol, first and last seq; the time is the last row's, in milliseconds."""
    matcher = Matcher(compile_rule(rule_of()))
    (found,) = matcher.push(trades(10.0, 10.25), at(10_000))
    assert found.signal_id == signal_id("rise", "1", "T", found.first_seq, found.last_seq)
    assert (found.side, found.strength, found.ref_price) == ("buy", 0.25, 10.25)
    assert found.ts_event == START_NS + 1_000 * NS_PER_MS
    assert found.ts_signal == 0


def test_parameters_change_values_and_identity_but_not_the_kernel() -> None:
    """An override is a number that the kernel is given, and a part of the version."""
    rule, block = rule_of(), trades(10.0, 10.25, 10.75)
    plain, strict = Matcher(compile_rule(rule)), Matcher(compile_rule(rule, {"rise": "0.4"}))
    assert seqs(plain.push(block, at(10_000))) == [(1, 2)]
    found = strict.push(block, at(10_000))
    assert seqs(found) == [(2, 3)]
    assert found[0].version.startswith("1+")
    assert plain._module is strict._module  # one kernel serves both


def test_rows_wait_for_the_watermark() -> None:
    """A row at the watermark may still get company: only what lies below it is certain."""
    matcher = Matcher(compile_rule(rule_of()))
    block = trades(10.0, 10.25)
    assert matcher.push(block, at(1_000)) == []
    assert seqs(matcher.push(trades(), at(1_001))) == [(1, 2)]


def test_rows_behind_the_watermark_are_late() -> None:
    """They are dropped and counted, as on Flink."""
    matcher = Matcher(compile_rule(rule_of()))
    matcher.push(trades(), at(500))
    found = matcher.push(trades(10.0, 10.25, 10.5), at(10_000))
    assert seqs(found) == [(2, 3)]
    assert matcher.late_rows == 1


def test_rows_out_of_order_are_sorted_by_time_and_seq() -> None:
    """Ties in a millisecond go by seq."""
    block = trades(10.0, 10.25, 10.5, step_ms=0)
    block.trades = block.trades[[2, 0, 1]]
    assert seqs(Matcher(compile_rule(rule_of())).push(block, at(10_000))) == [(1, 2)]


def test_snapshot_goes_on_in_mid_pattern() -> None:
    """What was open goes on in a matcher that never saw its beginning; symbols too."""
    compiled = compile_rule(rule_of())
    first = Matcher(compiled)
    tape = Tape()
    tape.trade("S", 0, 5.0, 1, "buy")
    tape.trade("T", 0, 10.0, 1, "buy")
    assert first.push(tape.block(), at(100)) == []
    assert first.partial_matches == 2
    second = Matcher(compile_rule(rule_of()))
    second.restore(first.snapshot())
    rest = Tape(messages=2)
    rest.trade("T", 200, 11.0, 1, "buy")
    rest.trade("S", 200, 6.0, 1, "buy")
    found = second.push(rest.block(), at(1_000))
    assert sorted((one.symbol, *pair) for one, pair in zip(found, seqs(found), strict=True)) == [
        ("S", 1, 4),
        ("T", 2, 3),
    ]


def test_state_of_another_version_is_refused() -> None:
    """Its slots would be read as something else."""
    saved = Matcher(compile_rule(rule_of())).snapshot()
    for other in (rule_of(RISE.replace("version: 1", "version: 2")), rule_of(RISE.replace("> 0", "> 1"))):
        with pytest.raises(RuleError, match="another version, text or parameters"):
            Matcher(compile_rule(other)).restore(saved)
    with pytest.raises(RuleError, match="another version"):
        Matcher(compile_rule(rule_of(), {"rise": "0.2"})).restore(saved)


def test_a_signal_without_a_price_stops_the_rule() -> None:
    """As Flink's job fails: a signal that says nothing must not be traded on."""
    text = RISE.replace("B.price AS price", "NULLIF(B.price, 10.25E0) AS price")
    with pytest.raises(RuleError, match="has no ref_price"):
        Matcher(compile_rule(rule_of(text))).push(trades(10.0, 10.25), at(10_000))


def test_division_by_zero_names_the_rule() -> None:
    """The message says what to do."""
    text = RISE.replace("A.price > 0", "1 / (A.seq - A.seq) > 0")
    with pytest.raises(RuleError, match=r"rise\.sql.*divided by zero.*CASE"):
        Matcher(compile_rule(rule_of(text))).push(trades(10.0), at(10_000))


def test_many_partial_matches_of_one_key() -> None:
    """Buffers grow as far as they must: every trade of 5,000 opens a match that none ends."""
    text = RISE.replace("(A B)", "(A C*? B)").replace(
        "B.price > A.price + :rise", "B.price > A.price + :rise + 1e9"
    )
    matcher = Matcher(compile_rule(rule_of(text), {"span": "1h"}))
    assert matcher.push(trades(*np.full(5_000, 10.0), step_ms=1), at(10_000)) == []
    assert matcher.partial_matches == 5_000
    matcher.push(trades(), at(3_700_000))
    assert matcher.push(trades(10.0, step_ms=0), 0) == []  # late


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("A.price > 0", "price > 0", "say which variable"),
        ("A.price > 0", "Z.price > 0", "unknown variable 'Z'"),
        ("A.price > 0", "A.colour > 0", "unknown column 'colour'"),
        ("A.price > 0", "A.side > 'buy'", "order of texts"),
        ("A.price > 0", "A.seq * 0.5 > 3", "write the number with an exponent"),
        ("A.price > 0", "A.price + 1", "is no condition"),
        ("A.price > 0", "UPPER(A.side) = 'BUY'", "does not take UPPER"),
        ("A.price > 0", "STDDEV(A.seq) > 1", "cast it to DOUBLE"),
        ("FROM trades ", "FROM prices ", "the view prices"),
    ],
)  # fmt: skip
def test_what_it_does_not_take_is_refused_with_the_fix(before: str, after: str, reason: str) -> None:
    """Never a wrong result in silence: the line, the reason, and what to do."""
    with pytest.raises(RuleError, match=reason) as caught:
        compile_rule(rule_of(RISE.replace(before, after)))
    assert caught.value.line > 0
