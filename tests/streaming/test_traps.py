"""What the linter says of Flink is true of this Flink: without it these rules run, and give nonsense."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streaming import history, linter
from streaming.rules import Rule
from streaming.tape import Tape
from tickloom.settings import FlinkSettings, KafkaSettings

pytestmark = pytest.mark.slow


@pytest.fixture
def run_unchecked(
    flink: FlinkSettings,
    kafka: KafkaSettings,
    probe: Callable[[str], Rule],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], list[tuple[float, int, int]]]:
    """``run(text)``: strength, first and last message of a rule's signals over five rising trades, without
    the linter. The trades are a second apart."""

    def run(text: str) -> list[tuple[float, int, int]]:
        tape = Tape()
        for number in range(5):
            tape.trade("T", number * 1_000, 10.0 + number, 1, "buy")
        found = history.run([probe(text)], [tape.block()], flink, kafka)["probe"]
        return [(one.strength, one.first_seq % 100, one.last_seq % 100) for one in found]

    monkeypatch.setattr(linter, "check", lambda rule: [])
    return run


def test_optional_last_variable_never_binds(
    run_unchecked: Callable[[str], list[tuple[float, int, int]]], probe_text: str
) -> None:
    """PATTERN (A B?) over rising trades should pair them up; each trade comes alone."""
    text = probe_text.replace("(A B)", "(A B?)").replace(
        "B.seq AS last_seq", "COALESCE(B.seq, A.seq) AS last_seq"
    )
    text = text.replace("B.price AS price, B.price - A.price", "A.price AS price, COALESCE(B.price, -1)")
    assert run_unchecked(text) == [(-1.0, n, n) for n in range(1, 6)]


def test_subset_is_null(
    run_unchecked: Callable[[str], list[tuple[float, int, int]]], probe_text: str
) -> None:
    """SUBSET S = (A, B) should give LAST(S.price); it gives NULL."""
    text = probe_text.replace("  DEFINE", "  SUBSET S = (A, B)\n  DEFINE")
    text = text.replace("B.price - A.price AS rise", "COALESCE(LAST(S.price), -1) AS rise")
    assert run_unchecked(text) == [(-1.0, 1, 2), (-1.0, 3, 4)]


def test_within_is_exclusive(
    run_unchecked: Callable[[str], list[tuple[float, int, int]]], probe_text: str
) -> None:
    """Trades a second apart are not WITHIN a second, but within 1.001 s."""
    text = probe_text.replace("(A B)", "(A B) WITHIN INTERVAL '1' SECOND")
    assert run_unchecked(text) == []
    assert run_unchecked(text.replace("'1' SECOND", "'1.001' SECOND")) == [(1.0, 1, 2), (1.0, 3, 4)]


def test_absent_after_match_skips_to_next_row(
    run_unchecked: Callable[[str], list[tuple[float, int, int]]], probe_text: str
) -> None:
    """The standard's default is to skip past the last row; Flink's matches overlap."""
    text = probe_text.replace("  AFTER MATCH SKIP PAST LAST ROW\n", "")
    assert run_unchecked(text) == [(1.0, n, n + 1) for n in range(1, 5)]
