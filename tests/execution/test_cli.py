"""``tickloom risk``: works with no server anywhere; a running agent is asked through a file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from execution.control import Inbox
from execution.journal import Journal
from execution.killswitch import KillSwitch
from execution.limits import load
from execution.operations import Operations
from execution.service import journal_path
from tests.execution.loopback import Loopback
from tests.execution.rig import LIMITS, make_signal
from tickloom.cli.risk import app
from tickloom.errors import ControlError, LimitsError
from tickloom.instruments import Registry


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


@pytest.fixture
def agent(data_dir: Path) -> Iterator[None]:
    """An agent that holds 65 ALFA, on a thread of its own, with the lock of its journal and its inbox."""
    ready, stop = threading.Event(), threading.Event()

    def run() -> None:
        directory = journal_path(data_dir).parent
        world = Loopback(directory)
        world.journal.lock()
        world.take([make_signal(1, "ALFA")])
        operations = Operations(world.engine, Inbox(directory), world.tick)
        ready.set()
        while not stop.wait(0.005):
            operations.turn()
        world.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(60)
    yield
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def answered(*command: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and the JSON that was printed."""
    done = CliRunner().invoke(app, [*command, "--json"])
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])  # before it the log of the agent


def test_a_running_agent_answers(data_dir: Path, agent: None) -> None:
    """Flatten, pause, resume, release, status and halt: the agent answers each, and says what it did."""
    assert answered("flatten", "--instrument", "XNAS ALFA", "--why", "x")[1]["outcome"] == "done"
    assert answered("pause", "--why", "x") == (
        0,
        {"number": 2, "outcome": "done", "text": "1 unwindings are paused; what is open stays open"},
    )
    found = answered("status")[1]
    assert found["agent"] == "running"
    assert [(one["stage"], one["paused"]) for one in found["unwindings"]] == [("flat", True)]
    assert answered("resume", "--unwindings", "--why", "x")[1]["text"] == "1 unwindings go on"
    code, refused = answered("release", "XNAS ALFA", "--why", "x")
    assert (code, refused["outcome"]) == (1, "refused")
    shown = CliRunner().invoke(app, ["status"]).stdout
    assert "agent: running, live order entry on" in shown
    assert "reduce only: XNAS ALFA, taken down by request: XNAS ALFA" in shown
    halted = answered("halt", "--why", "fire drill", "--who", "ann")[1]
    assert (halted["open_at_halt"], halted["left_open"]) == (0, 0)
    assert halted["acknowledged_ms"] < halted["cancelled_ms"] + 1


def test_without_an_agent_it_says_so(data_dir: Path) -> None:
    """What lets trading go on is refused; what takes risk away waits in the inbox; a halt holds anyway."""
    done = CliRunner().invoke(app, ["release", "firm", "--why", "x"])
    assert isinstance(done.exception, ControlError)
    assert "no agent is running" in str(done.exception)
    code, kept = answered("flatten", "--why", "x")
    assert (code, kept["outcome"]) == (1, "waiting")
    assert "taken when it is back" in kept["text"]
    assert "No agent is running" in CliRunner().invoke(app, ["halt", "--why", "x"]).stdout
    assert KillSwitch(data_dir / "execution").halted_because() is not None


@pytest.fixture
def limits_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "limits.toml"
    path.write_text(LIMITS)
    monkeypatch.setenv("TICKLOOM_EXECUTION_LIMITS_FILE", str(path))
    return path


def test_limits_are_shown_with_who_changed_them_and_why(data_dir: Path, limits_file: Path) -> None:
    """A number with decimals becomes text, a table with dots in its name is found, a key is taken out."""
    settings = [
        "firm.drawdown_max=2500.50",
        'instruments."XNAS.ALFA".restricted=true',
        "rules.test_rule.slippage_bps=7",
    ]
    options = [part for text in settings for part in ("--set", text)]
    done = CliRunner().invoke(app, ["limits", *options, "--why", "a quiet day", "--who", "ann"])
    assert done.exit_code == 0, done.exception
    found = load(limits_file, Registry.load())
    assert (found.revision, found.firm.drawdown_max) == (1, 2_500_500_000_000)
    assert found.instrument("XNAS", "ALFA").restricted
    assert found.rules["test_rule"].slippage_bps == 7
    gone = CliRunner().invoke(
        app, ["limits", "--unset", "firm.drawdown_max", "--why", "enough", "--who", "bob"]
    )
    assert gone.exit_code == 0, gone.exception
    assert load(limits_file, Registry.load()).firm.drawdown_max is None
    shown = CliRunner().invoke(app, ["limits"]).stdout
    assert "revision 1 by ann: a quiet day" in shown
    assert '[firm] drawdown_max: "2500.50" to None' in shown
    assert "attention" not in shown
    limits_file.write_text(limits_file.read_text() + "# by hand\n")
    assert "attention" in CliRunner().invoke(app, ["limits"]).stdout


def test_limits_want_a_reason_and_a_known_key(data_dir: Path, limits_file: Path) -> None:
    """Without either nothing is touched, and the message says what is missing."""
    for options, finding in (
        (["--set", "firm.drawdown_max=1"], "and why"),
        (["--set", "firm.draw_max=1", "--why", "x"], "did you mean"),
    ):
        done = CliRunner().invoke(app, ["limits", *options])
        assert isinstance(done.exception, LimitsError)
        assert finding in str(done.exception)
    assert limits_file.read_text() == LIMITS
