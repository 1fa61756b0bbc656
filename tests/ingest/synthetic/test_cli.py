"""``tickloom synthetic``: what it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ingest.itch.messages import LAYOUTS
from ingest.websocket.replay import RecordedLines
from tickloom.cli.synthetic import app
from tickloom.errors import SettingsError
from tickloom.stack.ports import free_ports


def test_write_makes_files_that_the_readers_read(tmp_path: Path) -> None:
    """An ITCH file whose lengths are right, recordings of both coins, and a truth that counts them."""
    where = ["--itch", str(tmp_path / "s.itch"), "--coins", str(tmp_path / "coins")]
    what = ["--stats", str(tmp_path / "s.json"), "--duration-s", "2", "--session-date", "2024-08-08"]
    done = CliRunner().invoke(app, ["write", *where, *what])
    assert done.exit_code == 0, done.output
    assert "synthetic" in done.output
    truth = json.loads((tmp_path / "s.json").read_text())
    raw, at, counts = (tmp_path / "s.itch").read_bytes(), 0, dict.fromkeys(truth["messages"], 0)
    while at < len(raw):
        kind = chr(raw[at + 2])
        assert int.from_bytes(raw[at : at + 2], "big") == LAYOUTS[kind].length
        counts[kind] += 1
        at += 2 + LAYOUTS[kind].length
    assert counts == truth["messages"]
    lines = list(RecordedLines.of_directory(tmp_path / "coins", "BINANCE").lines())
    coins = truth["coins"].values()
    assert len(lines) == sum(coin["depth"] + coin["book_ticker"] + coin["trade"] + 1 for coin in coins)


@pytest.mark.parametrize("wrong", [["--session-date", "08.08.2024"], ["--duration-s", "-1"]])
def test_wrong_options_are_refused(wrong: list[str]) -> None:
    """A date that is none and a negative length end in one sentence, not in a traceback."""
    done = CliRunner().invoke(app, ["write", *wrong])
    assert isinstance(done.exception, SettingsError)
    assert "Mend" in str(done.exception)


def test_play_ends_on_sigterm() -> None:
    """A player that nobody listens to plays on and ends with exit code 0 on SIGTERM."""
    ports = free_ports(4)
    names = ("ITCH_PORT", "ITCH_REREQUEST_PORT", "SYNTHETIC_WEBSOCKET_PORT", "SYNTHETIC_REST_PORT")
    environment = {f"TICKLOOM_{name}": str(port) for name, port in zip(names, ports, strict=True)}
    playing = subprocess.Popen(
        [sys.executable, "-m", "tickloom", "synthetic", "play", "--duration-s", "60", "--no-coins"],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert playing.stderr is not None
    said = ""
    while "have begun" not in said:
        line = playing.stderr.readline()
        assert line, said
        said += line
    playing.send_signal(signal.SIGTERM)
    rest = playing.communicate(timeout=60)[1]
    assert playing.returncode == 0, said + rest
