"""A decoder fuzzed in a child: what came of it, and of a failure the few frames that show it."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.child import (
    Limits,
    batch_frames,
    child_main,
    fails,
    limit_address_space,
    quiet,
    shrunk,
)
from tests.fuzz.registry import target_class

_LENGTH = struct.Struct("<I")
PROGRESS_S = 5.0


@dataclass
class Outcome:
    """What fuzzing a decoder gave. failure: empty where nothing was found.

    frames: given to the decoder; mutated: of them; counts: what the decoder made of them.
    """

    name: str
    frames: int = 0
    mutated: int = 0
    cpu_s: float = 0.0
    growth_mb: float = 0.0
    slowest_ms: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    batch: int = -1
    failure: str = ""
    saved: Path | None = None

    def take(self, said: dict[str, Any]) -> None:
        """Take over what the child has said."""
        self.batch = said.get("batch", self.batch)
        self.failure = said.get("failure", self.failure)
        if "mutated" in said:
            self.frames, self.mutated = said["given"], said["mutated"]
            self.cpu_s, self.counts = said["cpu_s"], said["counts"]
            self.growth_mb, self.slowest_ms = said["growth_mb"], said["slowest_ms"]

    def summary(self) -> str:
        return (
            f"{self.name:15s} {self.mutated:>10,} mutated of {self.frames:>10,} frames, "
            f"{self.cpu_s:.1f} s CPU, max. {self.slowest_ms:.3f} ms a frame, memory +{self.growth_mb:.0f} MB"
        )


def fuzz(
    name: str,
    seed: int,
    frames: int,
    limits: Limits | None = None,
    directory: Path | None = None,
    progress: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Decode ``frames`` mutated frames in a child.

    Parameters
    ----------
    directory : Path, optional
        Where the frames of a failure are put.
    progress : callable, optional
        Told every few seconds.
    """
    limits = limits or Limits()
    outcome = Outcome(name)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        child_main(name, seed, frames, writing, limits)
    os.close(writing)
    told_s = time.monotonic()
    with os.fdopen(reading) as lines:
        for line in lines:
            outcome.take(json.loads(line))
            if progress and time.monotonic() - told_s > PROGRESS_S:
                told_s = time.monotonic()
                progress(outcome)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        said = "it used too much CPU time in one batch" if number == signal.SIGPROF else "the decoder crashed"
        outcome.failure = f"ended by {number.name}: {said}"
    elif status and not outcome.failure:
        outcome.failure = f"the child ended with status {status}"
    if outcome.failure and outcome.batch >= 0 and directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        outcome.saved = directory / f"{name.rpartition(':')[2]}-{seed}-{outcome.batch}.frames"
        _in_child(lambda: _save(name, seed, outcome.batch, outcome.saved, limits))
    return outcome


def replay(path: Path, limits: Limits | None = None) -> str:
    """Decode the frames of a file that a failure left; why they fail, empty where they do not."""
    name, frames = read_frames(path)
    report = path.with_suffix(".report")
    report.unlink(missing_ok=True)

    def attempt() -> None:
        quiet()
        if fails(target_class(name)(), frames, limits or Limits(), report):
            os._exit(1)

    status = _in_child(attempt)
    return report.read_text() if report.exists() else f"status {status}" if status else ""


def write_frames(path: Path, name: str, frames: list[bytes]) -> None:
    parts = [name.encode(), *frames]
    path.write_bytes(b"".join(_LENGTH.pack(len(part)) + part for part in parts))


def read_frames(path: Path) -> tuple[str, list[bytes]]:
    """Decoder and frames of a failure."""
    raw, at, parts = path.read_bytes(), 0, []
    while at < len(raw):
        (size,) = _LENGTH.unpack_from(raw, at)
        parts.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return parts[0].decode(), parts[1:]


def _save(name: str, seed: int, batch: int, path: Path | None, limits: Limits) -> None:
    """Make the frames of a batch again and keep the few that matter, and what they do."""
    assert path is not None
    quiet()
    target = target_class(name)()
    limit_address_space()
    frames, _ = batch_frames(target, seed, batch)
    write_frames(path, name, frames)
    if fails(target, frames, limits):
        frames = shrunk(target, frames, limits)
        write_frames(path, name, frames)
        fails(target, frames, limits, path.with_suffix(".report"))


def _in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]
