"""The candidates' file: read whole or refused, each pair once."""

from __future__ import annotations

from pathlib import Path

import pytest

from strategies.pairs import candidates
from tickloom.errors import CalibrationError
from tickloom.instruments import Registry

GOOD = """
[XNAS]
bar = "1m"
days = 5
groups = [["A", "B", "C"], ["C", "B"]]
pairs = ["B~A", "X~Y"]
"""


def test_groups_and_names_make_each_pair_once(tmp_path: Path) -> None:
    """A pair by name keeps its order of legs; the other way round it is no second test of the same."""
    path = tmp_path / "candidates.toml"
    path.write_text(GOOD)
    found = candidates.find("XNAS", path)
    assert found.pairs == (("B", "A"), ("X", "Y"), ("A", "C"), ("B", "C"))
    assert (found.bar, found.days, found.symbols) == ("1m", 5, ["A", "B", "C", "X", "Y"])
    assert candidates.venues(path) == ["XNAS"]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('bar = "1m"', 'bar = "5m"', "bar = '5m'"),
        ('bar = "1m"', "", "'bar'"),
        ("days = 5", "days = 0", "days = 0"),
        ("days = 5", "day = 5", "unknown key 'day'"),
        ('"X~Y"', '"X"', "X is no pair"),
        ('"X~Y"', '"X~X"', "X~X is no pair"),
        ("[XNAS]", "[XNYS]", r"has no \[XNAS\]; it has XNYS"),
        ("[XNAS]", "[XNAS", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, before: str, after: str, says: str) -> None:
    """With the entry and what to write."""
    path = tmp_path / "candidates.toml"
    path.write_text(GOOD.replace(before, after))
    with pytest.raises(CalibrationError, match=says):
        candidates.find("XNAS", path)


def test_shipped_candidates_are_instruments() -> None:
    """Every leg of every candidate is in the registry; and the frozen pairs are among them."""
    known = set(Registry.load().instruments)
    for venue in candidates.venues():
        assert {(venue, symbol) for symbol in candidates.find(venue).symbols} <= known
    assert {("ALFA", "BRVO"), ("ECHO", "FXTR")} <= set(candidates.find("XNAS").pairs)
