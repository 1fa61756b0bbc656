"""A sample of ``make fuzz``: some thousand mutated frames into each decoder, and faults that it must find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.child import batch_frames
from tests.fuzz.faulty import Raises
from tests.fuzz.mutation import ODD_VALUES, JsonSpans
from tests.fuzz.real import VARIABLE
from tests.fuzz.registry import TARGETS
from tests.fuzz.run import read_frames

PROJECT = Path(__file__).parents[2]
FRAMES, SEED = 1_500, 6


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The fuzzer as ``make fuzz`` runs it: a process that forks must have no threads, and pytest's has."""
    command = [sys.executable, "-m", "tests.fuzz", "--json", *arguments]
    environment = {**os.environ, VARIABLE: "1"}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert found, done.stdout + done.stderr
    return {one["name"]: one for one in found}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    saved = tmp_path_factory.mktemp("fuzz")
    return outcomes(run("--frames", str(FRAMES), "--seed", str(SEED), "--saved", str(saved)))


@pytest.mark.timeout(1_200)  # the first one waits for all, and without a cache for the compiler
@pytest.mark.parametrize("name", TARGETS)
def test_mutated_frames_do_no_harm(sample: dict[str, dict[str, Any]], name: str) -> None:
    """An event or a typed error each time, every frame accounted for, memory bounded, no crash."""
    outcome = sample[name]
    assert not outcome["failure"], f"{outcome['failure']}\nmake fuzz ARGS='--replay {outcome['saved']}'"
    assert outcome["mutated"] >= FRAMES
    assert sum(outcome["counts"].values()) > 0


FAULTS = {
    "Crash": "SIGSEGV",
    "ReadsBehind": "SIGSEGV",
    "Raises": "ZeroDivisionError",
    "Forgets": "AssertionError",
    "Hangs": "SIGPROF",
    "Floods": "MemoryError",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    names = [argument for fault in FAULTS for argument in ("--decoder", f"tests.fuzz.faulty:{fault}")]
    saved = tmp_path_factory.mktemp("faults")
    done = run("--frames", "2000", "--seed", "1", "--batch-cpu-s", "0.3", "--saved", str(saved), *names)
    assert done.returncode == 1
    return outcomes(done)


@pytest.mark.parametrize(("fault", "said"), FAULTS.items())
def test_a_fault_is_found_and_its_frame_is_kept(
    found: dict[str, dict[str, Any]], fault: str, said: str
) -> None:
    """A decoder that fails at few frames only: the report names why, and the file holds one such frame."""
    outcome = found[f"tests.fuzz.faulty:{fault}"]
    assert said in outcome["failure"]
    name, frames = read_frames(Path(outcome["saved"]))
    assert name == outcome["name"]
    assert len(frames) == 1
    assert b"\xff" in frames[0]


def test_a_failure_can_be_repeated(found: dict[str, dict[str, Any]]) -> None:
    """The command that was printed ends in the same way."""
    again = run("--replay", found["tests.fuzz.faulty:Crash"]["saved"])
    assert again.returncode == 1
    assert "SIGSEGV" in again.stdout


def test_a_seed_gives_the_same_frames() -> None:
    """So a failure can be repeated from its seed and batch; another seed gives others."""
    first, second = Raises(), Raises()
    assert batch_frames(first, 1, 3) == batch_frames(second, 1, 3)
    assert batch_frames(first, 1, 3) != batch_frames(first, 2, 3)


def test_json_is_taken_apart() -> None:
    """Members with their commas, keys apart from values, nested ones too."""
    text = b'{"a":[1,{"b":"x,y"}],"c":null}'
    spans = JsonSpans(text)

    def cut(found: list[tuple[int, int]]) -> set[bytes]:
        return {text[start:stop] for start, stop in found}

    assert cut(spans.keys) == {b'"a"', b'"b"', b'"c"'}
    assert cut(spans.values) == {b"1", b'"x,y"', b'{"b":"x,y"}', b'[1,{"b":"x,y"}]', b"null", text}
    assert cut(spans.members) == {b'"a":[1,{"b":"x,y"}]', b'"b":"x,y"', b'"c":null'}
    shorter = {spans.without(member) for member in spans.members}
    assert shorter == {b'{"c":null}', b'{"a":[1,{}],"c":null}', b'{"a":[1,{"b":"x,y"}]}'}
    assert len(set(ODD_VALUES)) == len(ODD_VALUES)
