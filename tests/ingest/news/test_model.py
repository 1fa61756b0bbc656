"""A model of somebody else: what it raises, returns or takes its time for costs scores, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from ingest.news.lexicon import LexiconModel
from ingest.news.model import Score, Scorer, Text, load_model
from tickloom.errors import SettingsError

TEXTS = [Text("a", ""), Text("b", "")]
TIMEOUT_MS = 50
PATIENCE_S = 20.0


class Model:
    """Gives what it is told to give."""

    name, version = "test", "7"

    def __init__(self, found: object = None) -> None:
        self.found = found
        self.gate = threading.Event()
        self.gate.set()

    def score(self, texts: Sequence[Text]) -> Sequence[Score]:
        self.gate.wait(PATIENCE_S)
        if isinstance(self.found, BaseException):
            raise self.found
        return [Score(0.5, 1) for _ in texts] if self.found is None else self.found  # type: ignore[return-value]


class Broken:
    """No model: it cannot even be made."""

    def __init__(self) -> None:
        raise RuntimeError("no licence")


@pytest.mark.parametrize(
    "found",
    [
        RuntimeError("boom"),
        SystemExit(1),
        [Score(0.1, 1)],
        [Score(float("nan"), 1), Score(0, 0)],
        [Score(1.5, 1), Score(0, 0)],
        [Score(0.5, -1), Score(0, 0)],
        ["good", "bad"],
        7,
    ],
    ids=["raises", "exits", "too few", "nan", "beyond 1", "words", "texts", "number"],
)
def test_bad_answer_is_no_score(found: object) -> None:
    """The batch is counted as failed, and the next one is scored by the same thread."""

    async def go() -> None:
        model = Model(found)
        scorer = Scorer(model, 60_000)
        assert await scorer.score(TEXTS) is None
        assert scorer.counters == {"model_failed": 2}
        model.found = None
        assert await scorer.score(TEXTS) == [Score(0.5, 1)] * 2
        scorer.close()

    asyncio.run(go())


def test_slow_model_is_left_alone_until_it_is_back() -> None:
    """The first batch is given up, the next ones do not wait for it, and later ones are scored again."""

    async def go() -> None:
        model = Model()
        model.gate.clear()
        scorer = Scorer(model, TIMEOUT_MS)
        assert await scorer.score(TEXTS) is None
        assert await scorer.score(TEXTS[:1]) is None
        assert scorer.counters == {"model_slow": 2, "model_busy": 1}
        model.gate.set()
        for _ in range(400):
            if await scorer.score(TEXTS) is not None:
                break
            await asyncio.sleep(PATIENCE_S / 400)
        assert scorer.counters["scored"] == 2
        scorer.close()

    asyncio.run(go())


def test_model_by_name() -> None:
    """``module:Class``; without a name the lexicon."""
    assert load_model("", LexiconModel.load).name == "lexicon"
    assert Scorer(load_model(f"{__name__}:Model", LexiconModel.load), 1).label == "test/7"


@pytest.mark.parametrize(
    "name",
    [
        "no.such.module:X",
        "ingest.news.model:Nothing",
        "ingest.news.model",
        "ingest.news.model:Text",
        "Broken",
    ],
)
def test_what_is_no_model_is_refused_at_the_start(name: str) -> None:
    """With its name and the reason, before anything is fetched."""
    with pytest.raises(SettingsError, match=r"news\.model"):
        load_model(f"{__name__}:Broken" if name == "Broken" else name, LexiconModel.load)
