"""Texts in, scores by a list of words out: the model that is there without another. Pure.

A text is cut into sentences and words. Every entry of the lexicon that is found, the longest at each place,
has

    v = weight * degree * sign

- weight: the entry's, -3 to 3;
- degree: the product of the intensifiers among the two words before it and of one right behind it (``falls
  sharply``: 1.5, ``slightly lower``: 0.5); one intensifier counts for one entry;
- sign: -0.75 where an odd number of the three words before it negate (``not``, ``denies``), else 1. No more
  bad news is good news, but less so. Words that belong to an earlier entry do not count, and a sentence's end
  ends all.

Values of the title count once, those of the summary half: it says the same again, at length. The score is

    score = sum(v) / (1 + sum(|v|))

so it lies between -1 and 1, is 0 where good and bad balance, and comes closer to an end the more words agree:
one entry of weight 1, 2, 3 in a title gives 0.5, 0.667, 0.75. ``words`` is the number of entries found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ingest.news.model import Score, Text
from tickloom.errors import SettingsError
from tickloom.toml_file import read_tables

LEXICON_FILE = Path(__file__).resolve().parents[2] / "strategies" / "lexicon.toml"
WEIGHT_MAX = 3.0
DEGREE_MAX = 3.0
NEGATION = -0.75
NEGATION_WORDS = 3  # how far a negation reaches
DEGREE_WORDS = 2
SUMMARY_WEIGHT = 0.5
PHRASE_WORDS_MAX = 4

_TOKEN = re.compile(r"[a-z0-9]+(?:['’&-][a-z0-9]+)*%?|[.!?;:]+(?=\s|$)")
_ENDS = ".!?;:"


_LAYOUT: tuple[tuple[str, Any, str], ...] = (
    ("name", str, 'name = "..."'),
    ("version", str | int, 'version = "1"'),
    ("negators", list, 'negators = ["not", ...]'),
    ("weights", dict, "[weights], and a weight and its phrases on each line below"),
    ("degrees", dict, "[degrees], and a word and its factor on each line below"),
)


class LexiconModel:
    """Scores by weighted words and phrases.

    Parameters
    ----------
    entries : mapping
        Phrase of up to four words, in small letters with single blanks, to its weight.
    negators : sequence of str
    degrees : mapping
        Intensifier to its factor, 0 to 3.
    """

    def __init__(
        self, name: str, version: str, entries: Mapping[str, float], negators: Sequence[str],
        degrees: Mapping[str, float],
    ) -> None:  # fmt: skip
        self.name, self.version = name, version
        self._entries = {tuple(phrase.split()): weight for phrase, weight in entries.items()}
        self._negators, self._degrees = frozenset(negators), dict(degrees)
        self._longest: dict[str, int] = {}
        for phrase in self._entries:
            self._longest[phrase[0]] = max(self._longest.get(phrase[0], 0), len(phrase))

    @classmethod
    def load(cls, path: Path = LEXICON_FILE) -> LexiconModel:
        """Read a lexicon file.

        Raises
        ------
        SettingsError
            Naming the entry and what is wrong with it.
        """
        table = read_tables(path, "Mend news.lexicon_file.")
        for key, kind, written in _LAYOUT:
            if not isinstance(table.get(key), kind):
                raise SettingsError(f"{path}: {key} is missing, or is something else: write {written}")
        try:
            return cls(
                str(table["name"]),
                str(table["version"]),
                _entries(table["weights"]),
                _phrases(table["negators"], 1),
                _degrees(table["degrees"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SettingsError(f"{path}: {error}. Compare the entry with its neighbours.") from None

    def score(self, texts: Sequence[Text]) -> list[Score]:
        """A score for each text."""
        return [self._score(text) for text in texts]

    def _score(self, text: Text) -> Score:
        title = self.values(text.title)
        summary = [SUMMARY_WEIGHT * value for value in self.values(text.summary)]
        values = title + summary
        return Score(sum(values) / (1 + sum(map(abs, values))), len(values))

    def values(self, text: str) -> list[float]:
        """The value of each entry that is found, in their order."""
        found: list[float] = []
        for words in _sentences(text):
            at, free = 0, 0
            while at < len(words):
                length = self._match(words, at)
                if not length:
                    at += 1
                    continue
                weight = self._entries[tuple(words[at : at + length])]
                degree, sign = self._degree(words, free, at), self._sign(words, free, at)
                at += length
                if at < len(words) and words[at] in self._degrees:
                    degree *= self._degrees[words[at]]
                    at += 1
                free = at
                found.append(weight * degree * sign)
        return found

    def _match(self, words: list[str], at: int) -> int:
        """Words of the longest entry that begins there; 0 without one."""
        for length in range(self._longest.get(words[at], 0), 0, -1):
            if tuple(words[at : at + length]) in self._entries:
                return length
        return 0

    def _degree(self, words: list[str], free: int, at: int) -> float:
        degree = 1.0
        for word in words[max(free, at - DEGREE_WORDS) : at]:
            degree *= self._degrees.get(word, 1.0)
        return degree

    def _sign(self, words: list[str], free: int, at: int) -> float:
        before = words[max(free, at - NEGATION_WORDS) : at]
        negations = sum(word in self._negators or word.endswith("n't") for word in before)
        return NEGATION if negations % 2 else 1.0


def _sentences(text: str) -> Iterator[list[str]]:
    words: list[str] = []
    for token in _TOKEN.findall(text.lower().replace("’", "'")):
        if token[0] in _ENDS:
            yield words
            words = []
        else:
            words.append(token.removesuffix("'s"))
    yield words


def _entries(weights: Any) -> dict[str, float]:
    """``[weights]``: a weight as text to its phrases; a phrase has one weight."""
    found: dict[str, float] = {}
    for key, phrases in weights.items():
        weight = float(key)
        if not 0 < abs(weight) <= WEIGHT_MAX:
            raise ValueError(f"weight {key} is not from -{WEIGHT_MAX:g} to {WEIGHT_MAX:g}, and not 0")
        for phrase in _phrases(phrases, PHRASE_WORDS_MAX):
            if phrase in found:
                raise ValueError(f"{phrase!r} has the weights {found[phrase]:g} and {weight:g}")
            found[phrase] = weight
    return found


def _degrees(table: Any) -> dict[str, float]:
    found = {str(word): float(degree) for word, degree in table.items()}
    _phrases(list(found), 1)
    for word, degree in found.items():
        if not 0 < degree <= DEGREE_MAX:
            raise ValueError(f"degree {degree:g} of {word!r} is not from 0 to {DEGREE_MAX:g}")
    return found


def _phrases(given: Any, words_max: int) -> list[str]:
    """Phrases that can be found: tokens of the text are compared with their words."""
    if not isinstance(given, list) or not all(isinstance(phrase, str) for phrase in given):
        raise ValueError(f"{given!r} is no list of phrases")
    for phrase in given:
        tokens = _TOKEN.findall(phrase)
        if not tokens or " ".join(tokens) != phrase or len(tokens) > words_max:
            raise ValueError(f"{phrase!r}: write small letters, single blanks, {words_max} words at most")
    return list(given)
