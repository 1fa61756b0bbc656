"""Set-up: a step that fails says which, why and what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TOOLS = ("bash", "dirname", "mktemp", "rm", "cat", "grep", "head", "tail", "sed", "env", "sleep")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with nothing in it but the script and a lock that cannot be satisfied."""
    root = tmp_path / "project"
    (root / "deploy").mkdir(parents=True)
    shutil.copy(PROJECT / "deploy" / "setup.sh", root / "deploy")
    (root / "requirements.lock").write_text(f"no-such-thing==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    return root


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with what the script needs and no Python."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (directory / tool).symlink_to(found)
    return directory


def run(project: Path, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["deploy/setup.sh", ".venv"],
        cwd=project,
        env={"HOME": os.environ.get("HOME", "/"), "PATH": str(path), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_missing_python_is_told_with_how_to_get_one(project: Path, tools: Path) -> None:
    """Without any Python, and with one of a wrong version, set-up ends with what to install."""
    for candidate in ("", "#!/bin/bash\nexit 1\n"):
        if candidate:
            (tools / "python3").write_text(candidate)
            (tools / "python3").chmod(0o755)
        done = run(project, tools)
        assert done.returncode == 1
        assert "set-up failed at: finding Python" in done.stderr
        assert "apt-get install python3.11" in done.stderr
        assert not (project / ".venv").exists()


def test_failing_step_is_named_with_its_output_and_remedy(project: Path, tools: Path) -> None:
    """A package that cannot be had ends set-up at that step: pip's own words, and what to check."""
    done = run(project, tools, TICKLOOM_PYTHON=sys.executable, PIP_NO_INDEX="1")
    assert done.returncode == 1
    assert "virtual environment (Python 3.1" in done.stdout
    assert "No matching distribution found for no-such-thing==1.0" in done.stdout
    assert "set-up failed at: Python packages from requirements.lock" in done.stderr
    assert "what to do: check the network" in done.stderr


def test_lock_is_hashed_and_names_no_address() -> None:
    """Every package in requirements.lock has hashes, and no line says where it comes from."""
    lock = (PROJECT / "requirements.lock").read_text()
    pinned = [line for line in lock.splitlines() if "==" in line and not line.lstrip().startswith("#")]
    assert len(pinned) > 100
    assert all(line.rstrip().endswith("\\") for line in pinned)
    assert lock.count("--hash=sha256:") >= len(pinned)
    assert "://" not in lock
