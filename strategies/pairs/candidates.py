"""``candidates.toml`` in, the pairs of a venue that a calibration looks at out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from tickloom.errors import CalibrationError
from tickloom.toml_file import read_tables

CANDIDATES_FILE = Path(__file__).with_name("candidates.toml")
BARS = {"1s": 1.0, "1m": 60.0}  # name to seconds: QuestDB's materialized views bars_1s, bars_1m
CANDIDATES_MAX = 20_000  # all pairs of 200 stocks: ten minutes of tests over a week of minutes
_KEYS = ("bar", "days", "groups", "pairs")


@dataclass(frozen=True, slots=True)
class Candidates:
    """What to calibrate of a venue.

    Attributes
    ----------
    bar : str
        ``1s`` or ``1m``.
    days : int
        UTC days of the sample.
    pairs : tuple of (leg_a, leg_b)
        Each once, in the order of the file.
    """

    venue: str
    bar: str
    days: int
    pairs: tuple[tuple[str, str], ...]

    @property
    def symbols(self) -> list[str]:
        """All legs."""
        return sorted({leg for pair in self.pairs for leg in pair})


def venues(path: Path = CANDIDATES_FILE) -> list[str]:
    """Venues that have candidates.

    Raises
    ------
    CalibrationError
        The file cannot be read.
    """
    return list(_tables(path))


def find(venue: str, path: Path = CANDIDATES_FILE) -> Candidates:
    """The candidates of a venue.

    Raises
    ------
    CalibrationError
        The file is refused, or has no such venue.
    """
    tables = _tables(path)
    if venue not in tables:
        raise CalibrationError(f"{path} has no [{venue}]; it has {', '.join(tables) or 'none'}. Add it.")
    try:
        return _candidates(venue, tables[venue])
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(f"{path}: [{venue}]: {error}; compare it with its neighbours") from None


def _tables(path: Path) -> dict[str, Any]:
    return read_tables(path, "It says which pairs to look at; restore it.", CalibrationError)


def _candidates(venue: str, table: dict[str, Any]) -> Candidates:
    for key in table:
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}, known are {', '.join(_KEYS)}")
    bar, days = table["bar"], table["days"]
    if bar not in BARS:
        raise ValueError(f"bar = {bar!r}, write one of {', '.join(BARS)}")
    if not isinstance(days, int) or not 1 <= days <= 366:
        raise ValueError(f"days = {days!r}, write 1 to 366")
    named = [tuple(name.split("~")) for name in table.get("pairs", [])]
    found = [*named, *(pair for group in table.get("groups", []) for pair in combinations(group, 2))]
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for pair in found:
        if len(pair) != 2 or len(set(pair)) != 2 or not all(pair):
            raise ValueError(f"{'~'.join(pair)} is no pair, write LEG_A~LEG_B")
        pairs.setdefault(frozenset(pair), (pair[0], pair[1]))  # the other way round is the same pair
    if not 1 <= len(pairs) <= CANDIDATES_MAX:
        raise ValueError(f"{len(pairs)} pairs, 1 to {CANDIDATES_MAX:,} can be looked at")
    return Candidates(venue, bar, days, tuple(pairs.values()))
