"""Order flow in, genuine ITCH 5.0 bytes out (Nasdaq TotalView-ITCH 5.0 specification, section 1).

The encoder is written from the specification and shares nothing with the decoder, so that each can
be tested with the other. A session's messages lie in one array with their offsets; the file format
is a 2-byte big-endian length before each message.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic.compiled import compiled
from ingest.synthetic.market import Session

#: Length of each message type that is made here, bytes.
LENGTHS = {
    "S": 12, "R": 39, "H": 25, "A": 36, "F": 40, "E": 31,
    "C": 36, "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40,
}  # fmt: skip

_LENGTH_OF = np.zeros(256, dtype=np.int64)
for _kind, _length in LENGTHS.items():
    _LENGTH_OF[ord(_kind)] = _length

_S, _R, _H, _A, _F, _E, _C, _X, _D, _U, _P, _Q = (ord(kind) for kind in "SRHAFECXDUPQ")
#: Directory fields behind the symbol: market category Q, financial status N, round lot 100 (4 bytes),
#: round lots only N, issue C (common stock) and subtype Z with a space, authenticity T (test), short
#: sale threshold N, IPO N, LULD tier 1, ETP N, leverage 0 (4 bytes), inverse N. Section 1.2.1.
_DIRECTORY = np.frombuffer(b"QN\x00\x00\x00\x64NCZ TNN1N\x00\x00\x00\x00N", dtype=np.uint8)
_MPIDS = np.frombuffer(b"TLMATLMBTLMC", dtype=np.uint8)  # market participants of no real market


@dataclass(frozen=True, slots=True)
class ItchStream:
    """ITCH 5.0 messages of a session.

    Attributes
    ----------
    data : uint8 array
        All messages, one behind the other.
    offsets : int64 array (messages + 1,)
        Message ``i`` (sequence number ``i + 1``) is ``data[offsets[i]:offsets[i + 1]]``.
    ts_ns : int64 array (messages,)
        Event times, ns since the epoch, UTC; never going back.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    ts_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ts_ns)

    def message(self, index: int) -> bytes:
        """Message ``index``, counted from 0."""
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def messages(self) -> Iterator[bytes]:
        """All messages in order."""
        raw, bounds = self.data.tobytes(), self.offsets.tolist()
        for begin, end in itertools.pairwise(bounds):
            yield raw[begin:end]

    def inserted(self, index: int, message: bytes) -> ItchStream:
        """The stream with ``message`` before message ``index`` (from 0): for tests of what is not known."""
        at, ts = self.offsets[index], self.ts_ns[min(index, len(self) - 1)]
        data = np.concatenate((self.data[:at], np.frombuffer(message, dtype=np.uint8), self.data[at:]))
        offsets = np.concatenate((self.offsets[: index + 1], self.offsets[index:] + len(message)))
        return ItchStream(data, offsets, np.insert(self.ts_ns, index, ts))

    def with_lengths(self) -> NDArray[np.uint8]:
        """The messages as a file holds them: each behind its 2-byte big-endian length."""
        return frame(self.data, self.offsets)

    def write(self, path: Path) -> int:
        """Write the file format; returns the number of bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        framed = self.with_lengths()
        framed.tofile(path)
        return len(framed)


def itch_stream(session: Session) -> ItchStream:
    """Encode a session."""
    flow = session.flow
    lengths = _LENGTH_OF[flow["kind"]]
    if not lengths.all():
        raise ValueError("the flow has a message type that this encoder does not know")
    offsets = np.zeros(len(flow) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    names = "".join(f"{item.symbol:<8}" for item in session.parameters.stocks).encode()
    symbols = np.frombuffer(names, dtype=np.uint8).reshape(-1, 8)
    data = np.zeros(int(offsets[-1]), dtype=np.uint8)
    _encode(flow, offsets, symbols, _DIRECTORY, _MPIDS, data)
    return ItchStream(data, offsets, session.parameters.midnight_ns + flow["ts"])


@compiled
def _put(data: Any, at: int, width: int, value: int) -> int:
    """Write ``value`` big-endian; returns the offset behind it."""
    for byte in range(width - 1, -1, -1):
        data[at + byte] = value & 0xFF
        value >>= 8
    return at + width


@compiled
def _copy(data: Any, at: int, source: Any) -> int:
    for index in range(source.shape[0]):
        data[at + index] = source[index]
    return at + int(source.shape[0])


@compiled
def _encode(flow: Any, offsets: Any, symbols: Any, directory: Any, mpids: Any, data: Any) -> None:
    for index in range(flow.shape[0]):
        row = flow[index]
        at = offsets[index]
        kind = row.kind
        data[at] = kind
        at = _put(data, at + 1, 2, row.stock + 1)  # stock locate; 0 for the market as a whole
        at = _put(data, at, 2, 0)  # tracking number
        at = _put(data, at, 6, row.ts)
        if kind == _S:
            data[at] = row.code
        elif kind == _R:
            _copy(data, _copy(data, at, symbols[row.stock]), directory)
        elif kind == _H:
            _state(data, _copy(data, at, symbols[row.stock]), row.code)
        elif kind == _Q:
            at = _put(data, at, 8, row.shares)
            at = _put(data, _copy(data, at, symbols[row.stock]), 4, row.price)
            data[_put(data, at, 8, row.match)] = row.code
        else:
            _order(data, at, row, symbols, mpids)


@compiled
def _state(data: Any, at: int, code: int) -> None:
    """Trading state, a reserved byte, and the reason: LUDP is a volatility pause."""
    data[at] = code
    data[at + 1] = 32
    reason = (76, 85, 68, 80) if code == 80 else (32, 32, 32, 32)
    for index in range(4):
        data[at + 2 + index] = reason[index]


@compiled
def _order(data: Any, at: int, row: Any, symbols: Any, mpids: Any) -> None:
    """Messages that begin with an order reference number. Sections 1.3 to 1.5."""
    kind = row.kind
    at = _put(data, at, 8, row.ref)
    if kind in (_A, _F, _P):
        data[at] = 66 if row.side == 0 else 83  # B or S
        at = _put(data, at + 1, 4, row.shares)
        at = _put(data, _copy(data, at, symbols[row.stock]), 4, row.price)
        if kind == _F:
            first = 4 * (row.ref % 3)
            _copy(data, at, mpids[first : first + 4])
        elif kind == _P:
            _put(data, at, 8, row.match)
    elif kind in (_E, _C):
        at = _put(data, _put(data, at, 4, row.shares), 8, row.match)
        if kind == _C:
            data[at] = row.code
            _put(data, at + 1, 4, row.price)
    elif kind == _X:
        _put(data, at, 4, row.shares)
    elif kind == _U:
        at = _put(data, _put(data, at, 8, row.new_ref), 4, row.shares)
        _put(data, at, 4, row.price)


@compiled
def frame(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Messages behind their 2-byte lengths, as uint8: of a file, and of a MoldUDP64 message block."""
    count = offsets.shape[0] - 1
    out = np.empty(offsets[count] - offsets[0] + 2 * count, dtype=np.uint8)
    at = 0
    for index in range(count):
        length = offsets[index + 1] - offsets[index]
        at = _put(out, at, 2, length)
        for byte in range(length):
            out[at + byte] = data[offsets[index] + byte]
        at += length
    return out
