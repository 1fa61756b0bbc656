"""``tickloom risk``: works on the journal alone, with no server anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from execution.journal import Journal
from execution.killswitch import KillSwitch
from execution.service import journal_path
from tests.execution.loopback import Loopback
from tests.execution.rig import make_signal
from tickloom.cli.execution import app


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "150")
    return tmp_path


def test_halt_and_resume_are_kept_with_who_and_why(data_dir: Path) -> None:
    """Halting works before any agent ran; both steps are in the journal afterwards."""
    switch = KillSwitch(data_dir / "execution")
    assert CliRunner().invoke(app, ["halt", "--why", "fire drill", "--who", "ann"]).exit_code == 0
    assert switch.halted_because() == "fire drill (ann)"
    assert CliRunner().invoke(app, ["resume", "--why", "all well", "--who", "bob"]).exit_code == 0
    assert switch.halted_because() is None
    journal = Journal(journal_path(data_dir), read_only=True)
    assert [action[1:] for action in journal.risk_actions()] == [
        ("halt", "ann", "fire drill"),
        ("resume", "bob", "all well"),
    ]
    journal.close()


def test_halt_wants_a_reason(data_dir: Path) -> None:
    """Nobody halts without saying why."""
    assert CliRunner().invoke(app, ["halt"]).exit_code == 2
    assert KillSwitch(data_dir / "execution").halted_because() is None


@pytest.mark.parametrize("text", ["", "no JSON", "{}"])
def test_any_file_halts(data_dir: Path, text: str) -> None:
    """``touch HALT`` is enough."""
    (data_dir / "HALT").write_text(text)
    assert "exists" in (KillSwitch(data_dir).halted_because() or "")


def test_status_shows_positions_and_halt(data_dir: Path) -> None:
    """65 ALFA at 152.41, and that trading is halted, by whom and why."""
    world = Loopback(journal_path(data_dir).parent)
    world.take([make_signal(1, "ALFA")])
    world.close()
    KillSwitch(data_dir / "execution").halt("ann", "fire drill")
    shown = CliRunner().invoke(app, ["status"])
    assert shown.exit_code == 0, shown.exception
    assert "HALTED, fire drill (ann)" in shown.stdout
    row = next(line.split() for line in shown.stdout.splitlines() if "ALFA" in line)
    assert row[:4] == ["XNAS", "ALFA", "65", "152.41"]
    assert "no open orders" in shown.stdout
