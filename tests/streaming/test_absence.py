"""Absence rules on the compiled engine: by their definition, however events are batched."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import engines
from streaming.stored import history, parity, proof
from streaming.stored.proof import Identity
from streaming.tape import SESSION_DATE, START_NS, Tape
from tests.streaming.absence_definition import defined, said
from tests.streaming.absence_rule import EMPTY, KINDS, PLAIN, Amounts, Probe, make_probe, play, tape_of
from tickloom.clock import NS_PER_MS
from tickloom.errors import RuleError
from tickloom.events import EventBlock
from tickloom.settings import FlinkSettings, KafkaSettings

STEPS_MS = (0.0, 0.0, 0.3, 1.0, 2.0, 5.0, 9.0, 10.0, 21.0)
TAPES = st.lists(
    st.tuples(
        *(st.sampled_from(STEPS_MS), st.sampled_from("ABC"), st.sampled_from(KINDS)),
        *(st.integers(100, 900), st.integers(1, 9)),
    ),
    min_size=1,
    max_size=60,
).map(tape_of)
AMOUNTS = st.builds(
    lambda silence_ms, least, more_ms: Amounts(silence_ms, least, silence_ms + more_ms),
    *(st.sampled_from([1, 5, 10, 25]), st.integers(1, 4), st.sampled_from([1, 15, 60])),
)


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """``probe(header="", body=PLAIN, name="probe")``: the rule with more header lines, or another body."""
    return partial(make_probe, tmp_path_factory.mktemp("rules"))


@settings(deadline=None, max_examples=200)
@given(block=TAPES, amounts=AMOUNTS, cuts=st.lists(st.integers(0, 99), max_size=6), restart=st.booleans())
def test_what_the_definition_says(
    probe: Probe, block: EventBlock, amounts: Amounts, cuts: list[int], restart: bool
) -> None:
    """Every silence and no other, once, with its facts to the last bit; wherever the tape is cut, and if
    each batch is another process's."""
    found = play(probe(), block, amounts.overrides, cuts, restart)
    assert said(found) == defined(block, amounts)
    assert len({one.signal_id for one in found}) == len(found)


def quoted(*events: tuple[str, float]) -> EventBlock:
    """Quotes and trades of A at these milliseconds."""
    tape = Tape()
    for kind, at_ms in events:
        if kind == "quote":
            tape.quote("A", at_ms, 4.0, 6.0)
        else:
            tape.trade("A", at_ms, 3.0, 1, "buy")
    return tape.block()


def test_it_fires_with_the_watermark(probe: Probe) -> None:
    """Not before nothing more can come that would be in time, and then without a further event."""
    matcher = engines.make_matcher(probe())
    due_ns = START_NS + 10 * NS_PER_MS
    block = quoted(("quote", 0), ("trade", 1), ("trade", 9))
    assert matcher.push(block, due_ns) == []  # an event of this very time may still come
    (signal,) = matcher.push(EMPTY, due_ns + NS_PER_MS)
    assert (signal.ts_event, signal.ts_signal, signal.venue) == (due_ns, 0, "XNAS")
    assert matcher.push(EMPTY, due_ns + 100 * NS_PER_MS) == []
    assert matcher.finish() == []


def test_the_end_of_the_data_proves_nothing(probe: Probe) -> None:
    """A silence that is still running when the tape ends has not lasted; an event of anybody proves it."""
    tape = [("quote", 0.0), ("trade", 1.0), ("trade", 2.0)]
    assert play(probe(), quoted(*tape), {}, []) == []
    assert play(probe(), quoted(*tape, ("trade", 9.9)), {}, []) == []
    assert len(play(probe(), quoted(*tape, ("trade", 10.0)), {}, [])) == 1
    assert history.run_compiled([probe()], [quoted(*tape, ("trade", 9.9))]) == {"probe": []}
    other = quoted(*tape)
    other.symbols.index("B")
    later = Tape(symbols=other.symbols, messages=10)
    later.quote("B", 50, 1.0, 2.0)
    other.quotes = np.concatenate((other.quotes, later.block().quotes))
    assert [one.symbol for one in play(probe(), other, {}, [])] == ["A"]


def test_late_rows_are_dropped_and_counted(probe: Probe) -> None:
    """A quote behind the watermark does not end a silence, as it would not on Flink."""
    matcher = engines.make_matcher(probe())
    matcher.push(quoted(("quote", 0), ("trade", 1), ("trade", 2)), START_NS + 8 * NS_PER_MS)
    assert matcher.push(quoted(("quote", 7.9)), START_NS + 9 * NS_PER_MS) == []
    assert len(matcher.push(EMPTY, START_NS + 20 * NS_PER_MS)) == 1
    assert matcher.late_rows == 1


def test_state_of_other_parameters_is_not_taken(probe: Probe) -> None:
    """A snapshot says whose it is."""
    raw = engines.make_matcher(probe()).snapshot()
    with pytest.raises(RuleError, match="of another version, text or parameters"):
        engines.make_matcher(probe(), {"prints": "3"}).restore(raw)


def test_many_silences_at_once(probe: Probe) -> None:
    """More than the kernel writes in one go, of more symbols than it has room for at first."""
    tape = Tape()
    for number in range(5_000):
        tape.quote(f"S{number}", 0, 4.0, 6.0)
    for number in range(5_000):
        tape.trade(f"S{number}", 1, 3.0, 1, "buy")
    tape.quote("LATER", 50, 4.0, 6.0)
    found = play(probe(), tape.block(), {"prints": "1"}, [])
    assert len({one.symbol for one in found}) == len(found) == 5_000


ALONE = """
SELECT symbol, side, size AS strength, price AS ref_price, first_seq, first_seq AS last_seq
FROM ABSENCE (
  PARTITION BY symbol, side
  EXPECT trades WITHIN :silence
  MEASURES trades.seq AS first_seq, trades.size AS size, trades.price AS price
)
WHERE price < :prints
"""


@pytest.mark.parametrize("cuts", [[], [0, 1, 2, 3]])
def test_no_witness_two_keys_two_sets(probe: Probe, cuts: list[int]) -> None:
    """Without WHILE it fires when it is due; a key may have two columns; each set has its own state."""
    rule = probe("-- set: short silence=5ms\n-- set: long silence=20ms prints=9\n", ALONE)
    tape = Tape()
    bought = tape.trade("A", 0, 1.5, 7, "buy")
    sold = tape.trade("A", 1, 1.25, 8, "sell")
    tape.trade("A", 15, 3.0, 9, "buy")  # too dear for one set, and for the other one in time
    tape.trade("B", 30, 1.0, 9, "none")
    found = play(rule, tape.block(), {}, cuts)
    start = START_NS // NS_PER_MS
    assert sorted((s.side, s.first_seq, s.last_seq, s.ts_event // NS_PER_MS - start) for s in found) == [
        ("buy", bought, bought, 5),
        ("sell", sold, sold, 6),
        ("sell", sold, sold, 21),
    ]


def test_a_signal_without_a_price_is_an_error(probe: Probe) -> None:
    """As on Flink: the rule is wrong, and says which output and when."""
    rule = probe(body=PLAIN.replace("COALESCE(mid, -1) + price", "mid + price"))
    tape = Tape()
    tape.quote("A", 0, 4.0, math.nan)
    for at_ms in (1, 2, 50):
        tape.trade("A", at_ms, 3.0, 1, "buy")
    with pytest.raises(RuleError, match=r"a signal of A at \d+ ms has no ref_price"):
        play(rule, tape.block(), {}, [])


def test_parity_of_a_day(probe: Probe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was raised live is identical to the replay; without a quote that was there live, the replay finds
    a silence that live had none."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    tape = Tape()
    for symbol in "AB":
        tape.quote(symbol, 0, 4.0, 6.0)
        for at_ms in (1, 2, 3):
            tape.trade(symbol, at_ms, 3.0, 1, "buy")
    tape.quote("B", 4, 4.0, 6.0)
    tape.quote("A", 50, 4.0, 6.0)
    stored = tape.block()
    live = history.run_compiled([probe()], [stored])["probe"]
    assert [one.symbol for one in live] == ["A"]

    def prove() -> parity.Report:
        identity = Identity({}, live, "flink")
        flink, kafka = FlinkSettings.load(), KafkaSettings.load()
        return proof.prove(probe(), SESSION_DATE, lambda *_: [stored], flink, kafka, live=identity)

    assert (prove().agrees, prove().identical) == (True, 1)
    stored.quotes = np.delete(stored.quotes, 2)  # the quote that ended B's silence
    (difference,) = prove().differences
    assert (difference.outcome, difference.symbol) == (parity.Outcome.MISSING, "B")
