"""What the supervisor knows of one service: its state, its process, when to look at it again."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tickloom.settings import StackSettings
from tickloom.stack.process import GuardedProcess
from tickloom.stack.service import Service
from tickloom.stack.state import ServiceStatus, State


@dataclass(slots=True, eq=False)
class Runner:
    """One service in the hands of the supervising thread. Times are monotonic, in ns."""

    service: Service
    log_file: Path
    state: State = State.STOPPED
    wanted: bool = False  # what was asked for: to run, or not
    process: GuardedProcess | None = None
    launch: Future[GuardedProcess] | None = None
    probe: Future[str] | None = None
    attempt: int = 0
    crashes: int = 0  # in a row
    was_healthy: bool = False
    detail: str = ""
    probe_at_ns: int = 0
    retry_at_ns: int = 0
    kill_at_ns: int = 0
    healthy_ns: int = 0
    dependents: list[Runner] = field(default_factory=list)

    def status(self) -> ServiceStatus:
        """What is shown of it."""
        return ServiceStatus(
            name=self.service.name,
            state=self.state,
            pid=self.process.pid if self.process else 0,
            restarts=max(0, self.attempt - 1),
            detail=self.detail,
            address=self.service.address,
            ports=self.service.ports,
            log_file=self.log_file,
        )

    def entry(self) -> dict[str, Any]:
        """Its part of the state file."""
        status = self.status()
        return {
            "state": status.state,
            "pid": status.pid,
            "marker": self.process.marker if self.process else "",
            "restarts": status.restarts,
            "detail": status.detail,
            "address": status.address,
            "ports": dict(status.ports),
            "log": str(status.log_file),
        }


def backoff_ms(crashes: int, settings: StackSettings) -> int:
    """How long to wait after the ``crashes``-th crash in a row: doubling, up to the cap."""
    return min(settings.restart_backoff_ms << min(crashes - 1, 16), settings.restart_backoff_ms_max)
