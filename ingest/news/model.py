"""Texts of stories in, scores out: what a model of news is, and a thread that a bad one cannot leave.

A model is named in the settings, ``news.model = "module:Class"``; the class is called without arguments.
Without a name it is the lexicon (:mod:`.lexicon`). What a model raises, how long it takes, and what it
returns that is no score costs the stories their scores, never the stories.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from tickloom.errors import SettingsError

STORIES_MAX = 50  # of a batch

log = structlog.get_logger("news")


@dataclass(frozen=True, slots=True)
class Text:
    """What a model gets of a story: plain text, no markup."""

    title: str
    summary: str


@dataclass(frozen=True, slots=True)
class Score:
    """score: -1 (bad for its instrument) to 1 (good). words: how many words, or the like, say so."""

    score: float
    words: int


class NewsModel(Protocol):
    """Scores stories.

    Attributes
    ----------
    name, version : str
        Go into each event. Another version wherever a score may be another.
    """

    name: str
    version: str

    def score(self, texts: Sequence[Text]) -> Sequence[Score]:
        """A score for each text, in their order. Called in a thread, one batch at a time."""
        ...


def load_model(named: str, default: Callable[[], NewsModel]) -> NewsModel:
    """The model that the settings name, or ``default()``.

    Raises
    ------
    SettingsError
        There is no such class, it cannot be made, or is no model.
    """
    if not named:
        return default()
    module, _, attribute = named.partition(":")
    try:
        model: Any = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # whatever its module does when it is imported
        raise SettingsError(
            f"news.model = {named!r}: {type(error).__name__}: {error}; write module:Class"
        ) from error
    missing = [name for name in ("name", "version", "score") if not hasattr(model, name)]
    if missing:
        raise SettingsError(f"news.model = {named!r} has no {', '.join(missing)}; see ingest/news/model.py")
    return model  # type: ignore[no-any-return]


class Scorer:
    """Runs a model in a thread of its own, and gives up on a batch after ``timeout_ms``.

    A thread cannot be ended from outside: while the model is still at a batch that was given up, the next
    ones have no score at once, and when it comes back they have.

    Attributes
    ----------
    counters : Counter
        ``scored`` stories, and those that were left ``model_failed``, ``model_slow``, ``model_busy``.
    """

    def __init__(self, model: NewsModel, timeout_ms: int) -> None:
        self.label = f"{model.name}/{model.version}"
        self.counters: Counter[str] = Counter()
        self._model, self._timeout_s = model, timeout_ms / 1_000
        self._queue: queue.SimpleQueue[tuple[Sequence[Text], Future[list[Score]]] | None] = (
            queue.SimpleQueue()
        )
        self._given_up: Future[list[Score]] | None = None
        self._turn = asyncio.Lock()
        threading.Thread(target=self._run, name="news-model", daemon=True).start()

    async def score(self, texts: Sequence[Text]) -> list[Score] | None:
        """A score for each text, at most :data:`STORIES_MAX` of them; None where the model gave none."""
        async with self._turn:
            if self._given_up is not None and not self._given_up.done():
                self.counters["model_busy"] += len(texts)
                return None
            future: Future[list[Score]] = Future()
            self._queue.put((texts, future))
            done, _ = await asyncio.wait({asyncio.wrap_future(future)}, timeout=self._timeout_s)
            if not done:
                self._given_up = future
                self.counters["model_slow"] += len(texts)
                log.warning("model.slow", model=self.label, stories=len(texts), timeout_s=self._timeout_s)
                return None
            error = next(iter(done)).exception()
            if error is not None:
                self.counters["model_failed"] += len(texts)
                log.warning("model.failed", model=self.label, stories=len(texts), error=repr(error))
                return None
            self.counters["scored"] += len(texts)
            return future.result()

    def close(self) -> None:
        """Let the thread end with what it is at."""
        self._queue.put(None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            texts, future = work
            try:
                future.set_result(_checked(self._model.score(texts), len(texts)))
            except BaseException as error:  # it is somebody else's code, and the thread must live
                future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))


def _checked(found: Sequence[Score], count: int) -> list[Score]:
    scores = [Score(float(one.score), int(one.words)) for one in found]
    if len(scores) != count:
        raise ValueError(f"{len(scores)} scores of {count} stories")
    for one in scores:
        if not (math.isfinite(one.score) and -1 <= one.score <= 1 and 0 <= one.words < 2**31):
            raise ValueError(f"{one} is no score from -1 to 1 with a number of words")
    return scores
