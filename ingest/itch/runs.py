"""Records of a session in, where the venue began it anew out: runs of one session name. Pure.

A MoldUDP64 session has each number once (specification 1.00), and a venue that restarts takes another one.
A venue that does not begins at 1 again under the same name: all that it sends would be taken for copies of
what was there, and dropped. So the first messages are remembered, and the same number with another content
is a new run, which gets a capture of its own: ``20261121.NAME.r2``.
"""

from __future__ import annotations

import re

from numba import njit

from ingest.capture_batch import CaptureBatch
from ingest.capture_format import RecordKind
from ingest.itch.moldudp64 import HEAD_BYTES, SESSION_BYTES, be64, messages, parse

HEAD_MESSAGES = 64  # remembered; a run of whose first 64 no line brings one is not noticed
_RUN = re.compile(r"(.+)\.r(\d+)")
_DATA = int(RecordKind.DATA)


def mold_name(session: str) -> str:
    """The MoldUDP64 session of a capture's session, ``DAY.NAME`` or ``DAY.NAME.r2``."""
    text = session.partition(".")[2]
    found = _RUN.fullmatch(text)
    return found[1] if found else text


def next_run(session: str) -> str:
    """Name of the capture's session for the next run of a session."""
    found = _RUN.fullmatch(session)
    return f"{found[1]}.r{int(found[2]) + 1}" if found else f"{session}.r2"


class Heads:
    """The first messages of a run.

    Parameters
    ----------
    session : bytes
        The ten bytes that its packets have.
    """

    def __init__(self, session: bytes) -> None:
        self._session = session
        self._known: dict[int, bytes] = {}

    def look(self, batch: CaptureBatch) -> int:
        """Index of the first record that is of another run; how many there are where none is.

        What is before it is remembered: each record is to be shown once, in the order of the capture.
        """
        index = -1
        while (index := int(_next_head(batch.data, batch.offsets, batch.kinds, index + 1))) < len(batch):
            raw = batch.payload(index)
            packet = parse(raw)
            if packet is None or packet.session != self._session:
                continue
            for number, message in enumerate(messages(raw), packet.sequence):
                if number <= HEAD_MESSAGES and self._known.setdefault(number, message) != message:
                    return index
        return len(batch)


@njit(cache=True, nogil=True)
def _next_head(data, offsets, kinds, record):  # type: ignore[no-untyped-def]
    """Index of the next record, from ``record`` on, that begins with one of the first messages."""
    while record < kinds.size:
        at = offsets[record]
        if kinds[record] == _DATA and offsets[record + 1] - at >= HEAD_BYTES:
            number = be64(data, at + SESSION_BYTES)
            if 1 <= number <= HEAD_MESSAGES:
                break
        record += 1
    return record
