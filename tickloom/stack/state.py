"""What a supervisor tells the world: the states of its services, its lock, its state file."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from tickloom.errors import ServiceError


class State(StrEnum):
    """Where a service is in its life."""

    STOPPED = "stopped"
    WAITING = "waiting"  # for what it depends on
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"  # runs, was healthy, and does not answer now
    BACKOFF = "backoff"  # ended by itself, will be launched again
    STOPPING = "stopping"
    ENDED = "ended"  # by itself and with exit code 0, as a service without restart is meant to
    FAILED = "failed"  # will not be launched again


SETTLED = (State.HEALTHY, State.ENDED)
RUNNING = (State.STARTING, State.HEALTHY, State.UNHEALTHY, State.STOPPING)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What ``status`` shows of one service."""

    name: str
    state: State
    pid: int  # 0 where there is no process
    restarts: int
    detail: str
    address: str
    ports: Mapping[str, int]
    log_file: Path


def lock(data_dir: Path) -> IO[str] | None:
    """Take the data directory for one supervisor: an open file to keep, or None if another has it.

    Raises
    ------
    ServiceError
        The directory cannot be written.
    """
    path = data_dir / "run" / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise ServiceError(
            f"{path}: {error.strerror}. Set TICKLOOM_STACK_DATA_DIR to a directory that can be written."
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def read_state(data_dir: Path) -> dict[str, Any]:
    """What the supervisor of ``data_dir`` wrote last; empty if there was none."""
    try:
        state: dict[str, Any] = json.loads((data_dir / "run" / "stack.json").read_text())
    except (OSError, ValueError):
        return {}
    return state


def write_state(data_dir: Path, state: Mapping[str, Any]) -> None:
    """Replace the state file in one step. A full disk must not end the supervision: it is left old."""
    path = data_dir / "run" / "stack.json"
    scratch = path.with_suffix(".new")
    try:
        scratch.write_text(json.dumps(state, indent=1))
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)


def supervisor_pid(data_dir: Path) -> int:
    """Pid of the supervisor that runs on ``data_dir`` now; 0 if none does."""
    if not (data_dir / "run" / "lock").exists():
        return 0
    if (file := lock(data_dir)) is not None:
        file.close()
        return 0
    return int(read_state(data_dir).get("supervisor", 0))
