"""Ranges of numbers that never came, and the CONTROL record of a capture that gives one up. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages, or packets, ``first`` to ``last`` (inclusive) never came."""

    first: int
    last: int


def gap_record(gap: Gap, **more: bool) -> bytes:
    """The CONTROL record that says: nobody has ``first`` to ``last``, go on behind them."""
    return json.dumps({"type": "gap", "first": gap.first, "last": gap.last, **more}).encode()


def gap_from(payload: bytes) -> Gap | None:
    """What :func:`gap_record` wrote; None where it is something else."""
    try:
        control: dict[str, Any] = json.loads(payload)
        return Gap(int(control["first"]), int(control["last"])) if control["type"] == "gap" else None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
