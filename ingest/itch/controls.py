"""CONTROL records of an ITCH capture: what influences decoding and was not on the wire. Pure."""

from __future__ import annotations

import json

from ingest.udp import gaps
from ingest.udp.gaps import Gap, gap_from

__all__ = ["awaits_snapshot", "gap_from", "gap_record"]


def gap_record(gap: Gap, snapshot: bool = False) -> bytes:
    """The CONTROL record that says: messages ``first`` to ``last`` were asked for and did not come. With
    ``snapshot``, books are lost until a snapshot makes them whole."""
    return gaps.gap_record(gap, **({"snapshot": True} if snapshot else {}))


def awaits_snapshot(payload: bytes) -> bool:
    """Whether a record that :func:`gap_from` understands says that a snapshot will follow."""
    return bool(json.loads(payload).get("snapshot"))
