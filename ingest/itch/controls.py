"""CONTROL records of an ITCH capture: what influences decoding and was not on the wire. Pure."""

from __future__ import annotations

import json
from typing import Any

from ingest.itch.moldudp64 import Gap


def gap_record(gap: Gap, snapshot: bool = False) -> bytes:
    """The CONTROL record that says: messages ``first`` to ``last`` were asked for and did not come. With
    ``snapshot``, books are lost until a snapshot makes them whole."""
    more = {"snapshot": True} if snapshot else {}
    return json.dumps({"type": "gap", "first": gap.first, "last": gap.last, **more}).encode()


def gap_from(payload: bytes) -> Gap | None:
    """What :func:`gap_record` wrote; None where it is something else."""
    try:
        control: dict[str, Any] = json.loads(payload)
        return Gap(int(control["first"]), int(control["last"])) if control["type"] == "gap" else None
    except (ValueError, KeyError, TypeError):
        return None


def awaits_snapshot(payload: bytes) -> bool:
    """Whether a record that :func:`gap_from` understands says that a snapshot will follow."""
    return bool(json.loads(payload).get("snapshot"))
