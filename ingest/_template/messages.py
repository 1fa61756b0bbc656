"""The wire as data: what stands where in a packet, and how a stream is cut into packets. Pure.

Source of a real feed's layouts: the venue's specification, with version and section.
"""

from __future__ import annotations

import struct

import numpy as np

from tickloom.errors import DecodeError

LENGTH_BYTES = 2
PACKET_BYTES_MAX = 128  # the longest has 41; a length beyond this is no length
PRICE_NANOS = 100_000  # prices are in units of 1e-4
SIZE_NANOS = 1_000_000_000  # sizes are whole
QUOTE, TRADE, HEARTBEAT, END = (ord(letter) for letter in "QTHE")
BUY, SELL = ord("B"), ord("S")

_HEAD = [("sequence", ">u8"), ("type", "u1"), ("ts", ">u8")]  # ts: ns since 1970
#: By type, the fields of a packet behind its length. A heartbeat and an end carry the next number.
LAYOUTS = {
    QUOTE: np.dtype(
        [
            *_HEAD,
            ("symbol", "S8"),
            ("bid_price", ">u4"),
            ("bid_size", ">u4"),
            ("ask_price", ">u4"),
            ("ask_size", ">u4"),
        ]
    ),
    TRADE: np.dtype(
        [*_HEAD, ("symbol", "S8"), ("price", ">u4"), ("size", ">u4"), ("side", "u1"), ("trade_id", ">u4")]
    ),
    HEARTBEAT: np.dtype(_HEAD),
    END: np.dtype(_HEAD),
}
#: By type, where each field begins.
OFFSETS = {
    kind: {name: int(place[1]) for name, place in (layout.fields or {}).items()}
    for kind, layout in LAYOUTS.items()
}
HEAD_BYTES = LAYOUTS[HEARTBEAT].itemsize
#: By type byte: bytes of a packet; 0 where there is no such type.
LENGTHS = np.zeros(256, dtype=np.int64)
for _type, _layout in LAYOUTS.items():
    LENGTHS[_type] = _layout.itemsize
_REQUEST = struct.Struct(">Q")


def pack(kind: int, **values: int | bytes) -> bytes:
    """A packet behind its length; what is not given is 0 or blank."""
    row = np.zeros(1, dtype=LAYOUTS[kind])
    row["type"] = kind
    for name, value in values.items():
        row[name] = value.ljust(8) if isinstance(value, bytes) else value
    raw = row.tobytes()
    return len(raw).to_bytes(LENGTH_BYTES, "big") + raw


def request(sequence: int) -> bytes:
    """What a client says when it has connected: the number of the first packet that it wants."""
    return _REQUEST.pack(sequence)


def requested(raw: bytes) -> int:
    """The number in a request."""
    return int(_REQUEST.unpack(raw)[0])


class Framer:
    """Bytes as they come off a socket, packets out; at most one that is incomplete waits."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Packets that are whole now, without their lengths.

        Raises
        ------
        DecodeError
            A length that cannot be, and no whole packet before it: where the next one begins is not known,
            so connect anew.
        """
        buffer, at = self._buffer + data, 0
        found: list[bytes] = []
        while at + LENGTH_BYTES <= len(buffer):
            size = int.from_bytes(buffer[at : at + LENGTH_BYTES], "big")
            if not HEAD_BYTES <= size <= PACKET_BYTES_MAX:
                if found:
                    break
                raise DecodeError(
                    "template", f"a packet of {size} bytes; the connection is of no more use", at
                )
            stop = at + LENGTH_BYTES + size
            if stop > len(buffer):
                break
            found.append(buffer[at + LENGTH_BYTES : stop])
            at = stop
        self._buffer = buffer[at:]
        return found
