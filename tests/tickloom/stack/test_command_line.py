"""up, status, logs and down as a user runs them, with real servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.state import read_state, supervisor_pid

LIMIT_S = 240


class CommandLine:
    """Runs ``tickloom`` on free ports and a data directory of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.configuration = StackConfiguration.load(
            stack={"data_dir": data_dir, "start_timeout_s": 180.0}
        ).with_free_ports()
        self.data_dir = data_dir
        self.environment = {**os.environ, **self.configuration.environment()}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tickloom", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tickloom", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def pids(self) -> list[int]:
        return [entry["pid"] for entry in read_state(self.data_dir)["services"].values() if entry["pid"]]


@pytest.fixture
def tickloom(tmp_path: Path) -> Iterator[CommandLine]:
    command = CommandLine(tmp_path)
    yield command
    command("down")


def test_detached_stack_is_shown_and_stopped_by_other_commands(tickloom: CommandLine) -> None:
    """`up --detach` returns when all is healthy; status, logs and a second up find it; down ends it all;
    the one-shot `schema` has made the tables."""
    assert tickloom("status").returncode == 1
    up = tickloom("up", "--detach", "questdb", "kafka", "schema")
    assert up.returncode == 0, up.stdout + up.stderr
    assert tickloom.configuration.questdb.http_url in up.stdout
    pids = tickloom.pids()
    assert len(pids) == 2
    with psycopg.connect(tickloom.configuration.questdb.dsn) as connection:
        assert connection.execute("SELECT count() FROM trades").fetchone() == (0,)

    status = tickloom("status")
    assert status.returncode == 0
    assert status.stdout.count("healthy") == 2
    assert "schema is up to date" in tickloom("logs", "schema").stdout
    again = tickloom("up", "--detach")
    assert again.returncode == 1
    assert "runs already" in again.stderr

    assert tickloom("down").returncode == 0
    assert supervisor_pid(tickloom.data_dir) == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert "no stack runs" in tickloom("down").stdout


def test_ctrl_c_stops_an_attached_stack(tickloom: CommandLine) -> None:
    """Ctrl-C ends the services in order and the command with exit code 0."""
    up = tickloom.start("up", "questdb")
    assert up.stdout is not None
    for line in up.stdout:
        if line.startswith("Ctrl-C"):
            break
    pids = tickloom.pids()
    assert len(pids) == 1
    up.send_signal(signal.SIGINT)
    assert up.wait(LIMIT_S) == 0
    assert "stopped" in up.stdout.read()
    up.stdout.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_failure_to_start_is_told_with_the_log(tickloom: CommandLine, tmp_path: Path) -> None:
    """A service that cannot run ends `up` with exit code 1, its name and why; nothing stays behind."""
    (tmp_path / "questdb").write_text("a file where its directory should be")
    up = tickloom("up", "--detach", "questdb")
    assert up.returncode == 1
    assert "questdb failed" in up.stderr
    assert "Traceback" not in up.stderr
    assert supervisor_pid(tickloom.data_dir) == 0


@pytest.mark.parametrize("words", [("up", "quesdtb"), ("logs", "quesdtb")])
def test_unknown_service_is_refused_with_those_there_are(
    tickloom: CommandLine, words: tuple[str, ...]
) -> None:
    """A misspelt service name ends with exit code 1 and the list."""
    done = tickloom(*words)
    assert done.returncode == 1
    assert "questdb, kafka, flink-jobmanager" in done.stderr
