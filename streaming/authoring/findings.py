"""What a check of a rule says: the linter's, and whatever else looks at a rule before it runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a rule. An error refuses it; a note is worth knowing."""

    severity: Literal["error", "note"]
    line: int
    reason: str
    fix: str


def error(line: int, reason: str, fix: str) -> Finding:
    """What refuses a rule."""
    return Finding("error", line, reason, fix)


def note(line: int, reason: str, fix: str) -> Finding:
    """What is worth knowing."""
    return Finding("note", line, reason, fix)
