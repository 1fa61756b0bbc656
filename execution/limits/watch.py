"""The limits file looked at again and again; other limits out when it has changed, and is whole."""

from __future__ import annotations

from pathlib import Path

from execution.limits.change import audit_trail, unrecorded
from execution.limits.file import Limits, load
from tickloom.errors import LimitsError
from tickloom.instruments import Registry


def audit_path(path: Path) -> Path:
    """Where the changes of a limits file are recorded: beside it."""
    return path.with_suffix(".audit.jsonl")


class LimitsWatch:
    """Changes of one limits file.

    A file that is malformed, older than what is in force, or edited past the record is an alert, once,
    and what is in force stays.
    """

    def __init__(self, path: Path, registry: Registry, in_force: Limits) -> None:
        self.path, self._registry = path, registry
        self._digest = in_force.digest
        self._stamp = self._stat()

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def poll(self) -> tuple[Limits, str, str] | None:
        """(limits, who, why) if there are other ones since the last call.

        Raises
        ------
        LimitsError
            There are, and they are not to be used; raised once for each content.
        """
        stamp = self._stat()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        limits = load(self.path, self._registry)
        if limits.digest == self._digest:
            return None
        audit = audit_path(self.path)
        finding = unrecorded(audit, limits)
        trail = audit_trail(audit)
        if not trail or finding:
            raise LimitsError(
                (finding or f"{self.path} was edited by hand, and nothing is on the record")
                + ". What was in force stays; change limits with `tickloom risk limits`, or restart the agent"
            )
        self._digest = limits.digest
        return limits, trail[-1].who, trail[-1].why
