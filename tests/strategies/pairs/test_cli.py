"""``tickloom pairs``: from stored bars to a frozen set, as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from storage import wait_applied
from storage.calibrations import TABLE
from strategies.pairs import frozen
from streaming import rules
from tests.strategies.pairs.market import write_market
from tickloom.cli.pairs import app
from tickloom.errors import CalibrationError, SettingsError
from tickloom.settings import QuestDbSettings

runner = CliRunner()
SAMPLE = ("XNAS", "--from", "2025-03-10T13:30", "--to", "2025-03-10T13:45")


def run(*arguments: str) -> str:
    done = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_list_shows_versions_and_what_is_traded() -> None:
    """The shipped set, with the version that the rule names; nothing is left to do."""
    output = run("list")
    pair_set = frozen.find("XNAS")
    assert f"XNAS calibration {pair_set.version}, 2 pairs" in output
    assert "ALFA~BRVO 1.2 9.9 0.2 yes" in output
    assert "trades on calibration" not in output  # no rule names another version
    assert rules.find("pair_spread").parameters["calibration"].default == str(pair_set.version)


def test_calibrate_and_freeze(
    questdb: QuestDbSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is admitted is shown with its numbers, what is not with the reason; frozen, it is a set of another
    version, and what must follow is said."""
    write_market(questdb)
    output = run("calibrate", *SAMPLE)
    assert "132 pairs of XNAS over bars of 1 s, 2025-03-10 13:30:00 to 2025-03-10 13:45:00 UTC" in output
    assert "1 admitted, 131 refused" in output
    assert "not cointegrated (p" in output
    assert "--all shows them" in output
    assert "no bars of HOTL and INDI" in run("calibrate", *SAMPLE, "--dry-run", "--all")

    wait_applied(questdb, [TABLE])
    monkeypatch.setattr(frozen, "PAIRS_DIR", tmp_path)
    (tmp_path / "XNAS.toml").write_text((Path(frozen.__file__).parent / "XNAS.toml").read_text())
    output = run("freeze", "XNAS", "--at", "2025-03-10T13:45:00", "--stale-ms", "5000")
    pair_set = frozen.find("XNAS")
    assert [pair.symbol for pair in pair_set.pairs] == ["ALFA~BRVO"]
    assert (pair_set.stale_ms, pair_set.rolling_half_life_ms) == (5_000, 60_000)
    assert pair_set.valid_from.isoformat() == "2025-03-10T13:45:00+00:00"
    assert pair_set.pairs[0].evidence["observations"] == 900
    assert f"1 pairs, calibration {pair_set.version}" in output
    assert "ECHO~FXTR: no longer there" in output
    assert "ALFA~BRVO: hedge_ratio 1.2 -> 1.2" in output or "ALFA~BRVO: hedge_ratio 1.2 -> 1.1" in output
    assert "the agent trades another ratio: ALFA~BRVO" in output
    assert f"--param calibration={pair_set.version}" in output


def test_mistakes_are_told(questdb: QuestDbSettings) -> None:
    """A time that is none, bars that there are not, a time without bars."""
    for arguments, error, message in (
        (("calibrate", "XNAS", "--from", "yesterday"), CalibrationError, "no time"),
        (("calibrate", "XNAS", "--bar", "1h"), SettingsError, "1s, 1m"),
        (("calibrate", "XNAS", "--from", "1999-01-01", "--to", "1999-01-02"), CalibrationError, "no bars"),
        (("freeze", "XNAS", "--at", "1999-01-01"), Exception, "no calibration of XNAS"),
    ):
        with pytest.raises(error, match=message):
            runner.invoke(app, list(arguments), catch_exceptions=False)
