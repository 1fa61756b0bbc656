"""MoldUDP64 packets of a session's lines in, what each was worth out (:mod:`ingest.udp.counts`). Pure."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.capture_batch import CaptureBatch
from ingest.itch.moldudp64 import END_OF_SESSION, HEAD_BYTES, SESSION_BYTES, be16, be64
from ingest.udp.counts import RING, LineCounter, LineCounts
from ingest.udp.watch import LineWatch, Silence, line_name
from tickloom.events import SEQ_PER_DAY

__all__ = ["RING", "LineCounts", "LineWatch", "Lines", "Silence", "line_name"]


class Lines(LineCounter):
    """Counts a session's packets by line.

    Parameters
    ----------
    session : bytes
        The ten bytes that a packet must have to count.
    """

    def __init__(self, session: bytes) -> None:
        super().__init__()
        self._session = np.frombuffer(session.ljust(SESSION_BYTES), dtype=np.uint8)

    def heads(self, batch: CaptureBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First number, 0 where it is no packet of the session, and how many messages are whole."""
        starts, messages = np.zeros((2, len(batch)), dtype=np.int64)
        _heads(batch.data, batch.offsets, batch.kinds, self._session, starts, messages)
        return starts, messages


@njit(cache=True, nogil=True)
def _heads(data, offsets, kinds, session, starts, messages):  # type: ignore[no-untyped-def]
    for record in range(kinds.size):
        at, stop = offsets[record], offsets[record + 1]
        if kinds[record] != 0 or stop - at < HEAD_BYTES:
            continue
        ours = True
        for i in range(SESSION_BYTES):
            ours &= data[at + i] == session[i]
        sequence = be64(data, at + SESSION_BYTES)
        if not ours or sequence < 1 or sequence >= SEQ_PER_DAY:
            continue
        count = be16(data, at + SESSION_BYTES + 8)
        whole = np.int64(0)
        at += HEAD_BYTES
        while count != END_OF_SESSION and whole < count and at + 2 <= stop:
            at += 2 + be16(data, at)
            if at > stop:
                break
            whole += 1
        starts[record], messages[record] = sequence, whole
