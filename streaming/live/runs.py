"""What ran live, and when: a file of JSON lines that a signal's version is looked up in.

A signal says its rule's version, which has a hash of the parameters given at submit, but neither these
nor the engine that raised it. Both are needed to replay it, so each submission leaves a line here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from streaming.live.origin import Engine
from tickloom.errors import SettingsError
from tickloom.settings import StackSettings


@dataclass(frozen=True, slots=True)
class Run:
    """A rule that ran live.

    Attributes
    ----------
    version : str
        With its overrides.
    complete : bool
        Whether it saw what was on the topic before, or went on with a state: not only what came from then on.
    from_ns, to_ns : int
        Wall clock, UTC; to_ns is 0 while nothing says that it was stopped.
    """

    rule: str
    version: str
    engine: Engine
    job_id: str
    from_ns: int
    overrides: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    to_ns: int = 0


def submitted(run: Run) -> None:
    """Write down that a rule now runs."""
    _append({"event": "submitted", **asdict(run)})


def stopped(job_id: str, at_ns: int) -> None:
    """Write down that a job was stopped on purpose."""
    _append({"event": "stopped", "job_id": job_id, "at_ns": at_ns})


def known(rule: str | None = None, data_dir: Path | None = None) -> list[Run]:
    """Rules that ran, in the order in which they were submitted; of one rule, or all.

    ``data_dir``: where it is not that of the settings.

    Raises
    ------
    SettingsError
        The file cannot be read.
    """
    path, found = _file(data_dir), dict[str, dict[str, Any]]()
    try:
        lines = path.read_text().splitlines() if path.exists() else []
        for raw in lines:
            line = json.loads(raw)
            if line.pop("event") == "submitted":
                found[line["job_id"]] = line
            elif line["job_id"] in found:
                found[line["job_id"]]["to_ns"] = line["at_ns"]
        return [Run(**line) for line in found.values() if rule in (None, line["rule"])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path} cannot be read ({error}); move it away to begin a new one") from None


def _file(data_dir: Path | None = None) -> Path:
    return (data_dir or StackSettings.load().data_dir) / "rules" / "runs.jsonl"


def _append(line: dict[str, Any]) -> None:
    path = _file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:  # one write, below the size of a page: lines of two processes do not mix
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}. Set stack.data_dir to where it may be written."
        ) from None
