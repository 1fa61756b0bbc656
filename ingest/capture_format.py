"""What a capture looks like on disk: names, heads and kinds of record, without what reads or writes it.

A segment is a head (magic, number of its first record) and records: CRC-32, length, receive time, kind,
line, payload, little-endian. See :mod:`ingest.capture`.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from pathlib import Path

SUFFIX = ".tlcap"
PACKED_SUFFIX = ".tlcapz"  # see ingest.capture_packed
MAGIC = b"TLCAP1\r\n"
PACKED_MAGIC = b"TLCAPZ1\n"
SEGMENT_HEAD = struct.Struct("<8sq")
RECORD_HEAD = struct.Struct("<IqBB2x")  # behind the CRC: length, ts_recv, kind, line
LINES_MAX = 16  # of one feed
ANSWERS = LINES_MAX - 1  # the line of what was asked for and came to us alone
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class RecordKind(IntEnum):
    """What a record holds."""

    DATA = 0  # bytes off the wire
    CONTROL = 1  # JSON about the connection: opened, closed, a gap given up
    SNAPSHOT = 2  # the answer to a REST request
    CLOCK = 3  # of us: time has come to ts_recv; with a payload, the limits of silence (ingest.trusted)


def session_path(data_dir: Path, venue: str, session: str) -> Path:
    """Directory of a session's capture."""
    return data_dir / "capture" / venue / session


def usable_session(text: str) -> bool:
    """Whether a session's name may be a directory's name: letters, digits, dot, dash, underscore."""
    return _SESSION.fullmatch(text) is not None


def segments(path: Path) -> list[Path]:
    """Segments of a capture in order; of one that stands there plain and packed, the plain one."""
    found = {file.stem: file for suffix in (PACKED_SUFFIX, SUFFIX) for file in path.glob(f"*{suffix}")}
    return [found[stem] for stem in sorted(found)]
