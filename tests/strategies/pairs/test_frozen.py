"""Frozen calibrations: read whole or refused, with a version that no edit can leave behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strategies.pairs import frozen
from strategies.pairs.frozen import PairCalibration, PairSet
from tickloom.errors import CalibrationError
from tickloom.instruments import Registry

ALFA = PairCalibration("ALFA~BRVO", "ALFA", "BRVO", 1.2, 9.90, 0.20, {"p_value": 0.001, "bar": "1m"})
ECHO = PairCalibration("ECHO~FXTR", "ECHO", "FXTR", 1.05, 12.3325, 0.20)
SET = PairSet("XNAS", (ALFA, ECHO), 10_000, 60_000, datetime(2026, 11, 20, 21, tzinfo=UTC), "two pairs")


def test_a_file_comes_back_equal(tmp_path: Path) -> None:
    """Every number to the last bit, the evidence and the text included."""
    odd = replace(SET, pairs=(replace(ALFA, hedge_ratio=0.1 + 0.2, mean=-1e-17), ECHO))
    path = tmp_path / "XNAS.toml"
    path.write_text(frozen.dumps(odd))
    back = frozen.find("XNAS", tmp_path)
    assert (back, back.version, back.about) == (odd, odd.version, "two pairs")
    assert back.pairs[0].evidence == {"p_value": 0.001, "bar": "1m"}


@pytest.mark.parametrize(
    "other",
    [
        replace(SET, venue="XNYS"),
        replace(SET, stale_ms=10_001),
        replace(SET, rolling_half_life_ms=60_001),
        replace(SET, pairs=(ALFA,)),
        replace(SET, pairs=(replace(ALFA, hedge_ratio=1.2000000000000002), ECHO)),
        replace(SET, pairs=(replace(ALFA, mean=9.91), ECHO)),
        replace(SET, pairs=(replace(ALFA, deviation=0.21), ECHO)),
    ],
)
def test_what_changes_a_spread_changes_the_version(other: PairSet) -> None:
    """Any number that a spread depends on, to its last bit."""
    assert other.version != SET.version


def test_what_changes_no_spread_keeps_the_version() -> None:
    """Evidence, text, the day it is valid from, and the order of the pairs."""
    other = replace(
        SET,
        pairs=(ECHO, replace(ALFA, evidence={})),
        about="other words",
        valid_from=datetime(2026, 11, 21, tzinfo=UTC),
    )
    assert other.version == SET.version


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('venue = "XNAS"', 'venue = "XNYS"', "name the file XNYS.toml"),
        ("stale_ms = 10000", "stale_ms = 0", "stale_ms"),
        ("stale_ms = 10000", "stale = 10000", "unknown key 'stale'"),
        ("stale_ms = 10000\n", "", "'stale_ms' is missing"),
        ("2026-11-20T21:00:00Z", "2026-11-20T21:00:00", "a time with a zone"),
        ("deviation = 0.2", "deviation = 0.0", "above 0"),
        ("deviation = 0.2", 'deviation = "wide"', "wide"),
        ("hedge_ratio = 1.2", "hedge_ratio = nan", "finite"),
        ("mean = 9.9\n", "", "ALFA~BRVO has no mean"),
        ("mean = 9.9", "mean = 9.9\nmedian = 1", "unknown key 'median'"),
        ('leg_b = "FXTR"', 'leg_b = "BRVO"', "LEG_A~LEG_B"),
        ("[[pairs]]", "[pairs]", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_whole(tmp_path: Path, before: str, after: str, says: str) -> None:
    """With the entry, and what is wrong with it."""
    text = frozen.dumps(SET)
    assert before in text
    (tmp_path / "XNAS.toml").write_text(text.replace(before, after, 1))
    with pytest.raises(CalibrationError, match=says) as refused:
        frozen.find("XNAS", tmp_path)
    assert "XNAS.toml" in str(refused.value)


def test_a_pair_twice_is_refused() -> None:
    """Its spreads would have the same identity."""
    with pytest.raises(CalibrationError, match="twice"):
        replace(SET, pairs=(ALFA, ALFA))


def test_a_venue_without_calibrations_says_what_to_do(tmp_path: Path) -> None:
    """Calibrate and freeze."""
    with pytest.raises(CalibrationError, match="tickloom pairs freeze"):
        frozen.find("XNYS", tmp_path)


def test_shipped_sets_load_and_agree_with_the_registry() -> None:
    """The agent trades a pair's legs by the registry, its spread is computed by the set: one hedge ratio."""
    registry = Registry.load()
    assert frozen.venues()
    for venue in frozen.venues():
        assert frozen.disagreements(frozen.find(venue), registry) == []
    traded = {symbol for venue, symbol in registry.pairs if venue == "XNAS"}
    assert traded <= {pair.symbol for pair in frozen.find("XNAS").pairs}
    wrong = replace(SET, pairs=(replace(ALFA, hedge_ratio=1.3), ECHO))
    (sentence,) = frozen.disagreements(wrong, registry)
    assert "ALFA~BRVO" in sentence
    assert "1.3" in sentence
