"""ITCH messages in, MoldUDP64 datagrams out (MoldUDP64 protocol specification 1.00), and their faults.

Pure: the sockets are in :mod:`ingest.synthetic.moldudp64_sender`. A datagram is session (10 bytes),
sequence number of its first message (8), message count (2), then per message a 2-byte length and the
message; all numbers big-endian. A count of 0 is a heartbeat, 0xFFFF the end of the session; both carry
the next sequence number. A request is the same 20 bytes, sent to the re-request server.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic.compiled import compiled
from ingest.synthetic.itch_stream import ItchStream

HEADER = struct.Struct(">10sQH")
DATAGRAM_BYTES_MAX = 1_400  # below the usual MTU of 1,500 with IP and UDP headers
HEARTBEAT = 0
END_OF_SESSION = 0xFFFF
SESSION_NAME = "TLSYN00001"


def session_bytes(name: str) -> bytes:
    """A session name as it is sent: ten bytes, left-justified."""
    raw = name.encode("ascii")
    if not 1 <= len(raw) <= 10:
        raise ValueError(f"MoldUDP64 session {name!r} is not 1 to 10 characters long")
    return raw.ljust(10)


@dataclass(frozen=True, slots=True)
class Packing:
    """Which messages go into which datagram.

    Attributes
    ----------
    first : int64 array (datagrams + 1,)
        Datagram ``d`` holds messages ``first[d]`` up to, not including, ``first[d + 1]`` (from 0).
    due_ns : int64 array (datagrams,)
        Event time of its last message, when it is complete: ns since the epoch.
    """

    first: NDArray[np.int64]
    due_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.due_ns)


def pack(stream: ItchStream, slice_ns: int, bytes_max: int = DATAGRAM_BYTES_MAX) -> Packing:
    """Put messages together while they are of one time slice and fit.

    Parameters
    ----------
    slice_ns : int
        Width of a slice of event time; larger ones make fewer, fuller datagrams.
    bytes_max : int
        Of the datagram as a whole.
    """
    first = _pack(stream.offsets, stream.ts_ns, max(1, slice_ns), bytes_max)
    return Packing(first, stream.ts_ns[first[1:] - 1])


@compiled
def _pack(
    offsets: NDArray[np.int64], ts_ns: NDArray[np.int64], slice_ns: int, bytes_max: int
) -> NDArray[np.int64]:
    count = ts_ns.shape[0]
    first = np.empty(count + 1, dtype=np.int64)
    datagrams, size = 0, bytes_max + 1
    for index in range(count):
        length = offsets[index + 1] - offsets[index] + 2
        late = index > 0 and ts_ns[index] // slice_ns != ts_ns[index - 1] // slice_ns
        if late or size + length > bytes_max:
            first[datagrams] = index
            datagrams += 1
            size = 20
        size += length
    first[datagrams] = count
    return first[: datagrams + 1].copy()


class Datagrams:
    """Builds any datagram of a session from its message stream, which is the re-request history too."""

    def __init__(self, stream: ItchStream, session: str = SESSION_NAME) -> None:
        self.stream = stream
        self.session = session_bytes(session)
        self._framed = memoryview(stream.with_lengths().data)
        # offset of each message's length in the framed bytes: two more bytes a message
        self._bounds = (stream.offsets + 2 * np.arange(len(stream) + 1)).tolist()

    def __len__(self) -> int:
        return len(self.stream)

    def build(self, first: int, end: int) -> bytes:
        """The datagram of messages ``first`` up to, not including, ``end`` (from 0)."""
        header = HEADER.pack(self.session, first + 1, end - first)
        return header + self._framed[self._bounds[first] : self._bounds[end]]

    def fit(self, first: int, end: int, bytes_max: int = DATAGRAM_BYTES_MAX) -> int:
        """How far from ``first``, at most to ``end``, the messages fit into one datagram."""
        limit = self._bounds[first] + bytes_max - HEADER.size
        last = first + 1
        while last < end and self._bounds[last + 1] <= limit:
            last += 1
        return last

    def heartbeat(self, next_message: int) -> bytes:
        """Nothing to send; ``next_message`` (from 0) is what comes next."""
        return HEADER.pack(self.session, next_message + 1, HEARTBEAT)

    def end_of_session(self) -> bytes:
        """Nothing more will come."""
        return HEADER.pack(self.session, len(self.stream) + 1, END_OF_SESSION)


@dataclass(frozen=True, slots=True)
class Faults:
    """Which datagrams (counted from 0, as packed) meet with what on their way. For tests.

    drop: never sent. duplicate: sent twice. reorder: sent behind its successor. corrupt: the first
    message's length points beyond the datagram. garbage: a datagram of random bytes goes out before it.
    truncate: cut in the middle of its last message. A datagram in several sets meets the first of drop,
    corrupt, truncate, and any of the others besides. What the re-request server sends is always right.
    """

    drop: frozenset[int] = frozenset()
    duplicate: frozenset[int] = frozenset()
    reorder: frozenset[int] = frozenset()
    corrupt: frozenset[int] = frozenset()
    garbage: frozenset[int] = frozenset()
    truncate: frozenset[int] = frozenset()
    seed: int = 0

    @classmethod
    def seeded(
        cls,
        seed: int,
        datagrams: int,
        *,
        drop: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        corrupt: float = 0.0,
        garbage: float = 0.0,
        truncate: float = 0.0,
    ) -> Faults:
        """Draw the sets: each rate is a datagram's chance to meet that fault."""
        rng = np.random.default_rng([seed, 3])
        rates = (drop, duplicate, reorder, corrupt, garbage, truncate)
        drawn = [frozenset(np.flatnonzero(rng.random(datagrams) < rate).tolist()) for rate in rates]
        return cls(drawn[0], drawn[1], drawn[2], drawn[3], drawn[4], drawn[5], seed=seed)

    def __bool__(self) -> bool:
        return bool(
            self.drop or self.duplicate or self.reorder or self.corrupt or self.garbage or self.truncate
        )

    def apply(self, index: int, datagram: bytes) -> list[bytes]:
        """What goes on the wire in the place of datagram ``index``; reordering is the sender's."""
        out = []
        if index in self.garbage:
            rng = np.random.default_rng([self.seed, 4, index])
            out.append(rng.bytes(int(rng.integers(1, 200))))
        if index in self.drop:
            return out
        if index in self.corrupt:
            datagram = datagram[: HEADER.size] + b"\xff\xff" + datagram[HEADER.size + 2 :]
        elif index in self.truncate:
            datagram = datagram[:-5]
        out.append(datagram)
        if index in self.duplicate:
            out.append(datagram)
        return out
