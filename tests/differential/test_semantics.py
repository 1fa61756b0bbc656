"""Both engines give what other people have published for a pattern and a few rows."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from streaming.tape import Tape
from tests.differential import compare
from tests.differential.naive import Match
from tests.differential.reference import FlinkReference, Outcome
from tests.differential.semantics import FLINK, TRINO, Semantic

CASES = {
    **{f"flink: {name}": one for name, one in FLINK.items()},
    **{f"trino: {name}": one for name, one in TRINO.items()},
}
NAMES = {name: f"s{number}" for number, name in enumerate(CASES)}


@pytest.fixture(scope="module")
def tape() -> tuple[Tape, dict[str, list[int]]]:
    """The rows of all cases, each with a symbol of its own; and their seqs."""
    found = Tape()
    return found, {name: one.tape(found, NAMES[name]) for name, one in CASES.items()}


Seqs = tuple[Tape, dict[str, list[int]]]


@pytest.fixture(scope="module")
def on_flink(tape: Seqs) -> Outcome:
    """All cases in one job."""
    with FlinkReference() as flink:
        return flink.run(
            {NAMES[name]: one.text(NAMES[name]) for name, one in CASES.items()}, [(tape[0].block(), 0)]
        )


@pytest.fixture(scope="module")
def on_compiled(tape: Seqs) -> Iterator[dict[str, list[Match]]]:
    """All cases on the compiled matcher, whose kernels run as the Python that they are: compiling sixty of
    them takes minutes, and the random rules of test_differential.py run compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_DISABLE_JIT", "1")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            texts = [one.text(NAMES[name]) for name, one in CASES.items()]
            signals = pool.map(compare.by_compiled_text, texts, [tape[0].block()] * len(texts))
            yield dict(zip(CASES, signals, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_compiled(name: str, on_compiled: dict[str, list[Match]], tape: Seqs) -> None:
    """The compiled matcher gives the published signals."""
    assert _told(name, on_compiled[name], tape[1][name]) == _expected(CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_flink(name: str, on_flink: Outcome, tape: Seqs) -> None:
    """This Flink gives the published signals."""
    assert NAMES[name] in on_flink.signals, (on_flink.refused, on_flink.failed)
    assert _told(name, on_flink.signals[NAMES[name]], tape[1][name]) == _expected(CASES[name])


def _told(name: str, signals: list[Match], seqs: list[int]) -> list[tuple[int, int, float]]:
    """The case's own signals: rows instead of seqs."""
    return sorted(
        (seqs.index(one.first_seq) + 1, seqs.index(one.last_seq) + 1, pytest.approx(one.strength))  # type: ignore[arg-type]
        for one in signals
        if one.symbol == NAMES[name]
    )


def _expected(case: Semantic) -> list[tuple[int, int, float]]:
    return sorted(case.expected)
