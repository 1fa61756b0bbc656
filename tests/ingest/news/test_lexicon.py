"""The score's arithmetic, on paper, and the lexicon that is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.news.lexicon import LexiconModel
from ingest.news.model import Score, Text
from tickloom.errors import SettingsError

MODEL = LexiconModel(
    "test",
    "1",
    {"good": 1, "great": 2, "bad": -1, "fraud": -3, "profit": 1, "profit warning": -3, "well-run": 2},
    ["not", "denies", "no"],
    {"very": 1.5, "slightly": 0.5},
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A good day", [1.0]),
        ("Profit warning after profit", [-3.0, 1.0]),
        ("not good", [-0.75]),
        ("not a very good", [-0.75 * 1.5]),
        ("not one two three good", [1.0]),
        ("no, not good", [1.0]),
        ("isn't good", [-0.75]),
        ("Not so. Good", [1.0]),
        ("very very good", [2.25]),
        ("good slightly bad", [0.5, -1.0]),
        ("denies fraud, good", [2.25, 1.0]),
        ("A well-run firm's GREAT day", [2.0, 2.0]),
        ("goodness, badly", []),
        ("", []),
    ],
)
def test_values(text: str, values: list[float]) -> None:
    """Weight, times intensifiers next to it, times -0.75 behind a negation; each word serves one entry."""
    assert MODEL.values(text) == values


def test_score() -> None:
    """sum / (1 + sum of sizes), the summary's values half: paper arithmetic."""
    found = MODEL.score(
        [
            Text("Good", ""),
            Text("Fraud", ""),
            Text("Good and bad", ""),
            Text("Great", "Bad"),
            Text("Nothing", "at all"),
        ]
    )
    assert found == [Score(1 / 2, 1), Score(-3 / 4, 1), Score(0, 2), Score(1.5 / 3.5, 2), Score(0, 0)]


_LETTERS = ("good", "great", "bad", "fraud", "not", "very", "slightly", "profit", "warning", ".", "of")
_WORDS = st.lists(st.sampled_from(_LETTERS))


@given(_WORDS, _WORDS)
def test_score_lies_between_its_bounds(title: list[str], summary: list[str]) -> None:
    """Whatever the words, and never more of them than there are."""
    (one,) = MODEL.score([Text(" ".join(title), " ".join(summary))])
    assert -1 < one.score < 1
    assert 0 <= one.words <= len(title) + len(summary)


@pytest.mark.parametrize(
    ("title", "sign"),
    [
        ("Alfa Industries issues profit warning, shares plunge", -1),
        ("Alfa beats estimates and raises guidance", 1),
        ("Bravo files for bankruptcy after accounting fraud", -1),
        ("FDA approves Bravo's drug", 1),
        ("Alfa denies fraud", 1),
        ("Bravo shares fall sharply on weak demand", -1),
        ("Board meets on Tuesday", 0),
    ],
)
def test_shipped_lexicon(title: str, sign: int) -> None:
    """Headlines whose direction nobody doubts; one without direction has score 0 and no words."""
    (one,) = LexiconModel.load().score([Text(title, "")])
    assert (one.score > 0) - (one.score < 0) == sign
    assert abs(one.score) >= 0.6 or (sign == 0 and one.words == 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name = ", "not TOML"),
        ('name = "a"', "version"),
        ('name="a"\nversion="1"\nnegators=[]\n[degrees]\n[weights]\n"9"=["x"]', "weight 9"),
        (
            'name="a"\nversion="1"\nnegators=[]\n[degrees]\n[weights]\n"1"=["x"]\n"2"=["x"]',
            "'x' has the weights",
        ),
        ('name="a"\nversion="1"\nnegators=[]\n[degrees]\n[weights]\n"1"=["Big"]', "'Big'"),
        ('name="a"\nversion="1"\nnegators=["not so"]\n[degrees]\n[weights]\n', "'not so'"),
        ('name="a"\nversion="1"\nnegators=[]\n[degrees]\nvery=9\n[weights]\n', "degree 9"),
        (
            'name="a"\nversion="1"\nnegators=[]\nweights=3\n[degrees]\n',
            r"weights is missing.*\[weights\]",
        ),
        (
            'name="a"\nversion=1\nnegators=[]\ndegrees=["x"]\n[weights]\n',
            "degrees is missing",
        ),
        ('name="a"\nversion="1"\nnegators=[3]\n[degrees]\n[weights]\n', "no list of phrases"),
        ('name="a"\nversion="1"\nnegators=[]\n[degrees]\n[weights]\n"1"="good"', "no list of phrases"),
        ("# \udcff", "not UTF-8"),
    ],
)
def test_wrong_lexicon_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """With the entry that is wrong: a phrase that could never be found is a mistake of its writer."""
    path = tmp_path / "lexicon.toml"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(SettingsError, match=why):
        LexiconModel.load(path)
