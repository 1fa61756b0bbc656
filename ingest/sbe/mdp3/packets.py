"""MDP 3.0 datagrams: packet head and message frames, both ways.

A packet is MsgSeqNum (u32) and SendingTime (u64, ns since 1970), then messages, each behind its MsgSize
(u16), which counts itself; then comes the SBE message header. All little-endian. Source: CME Group,
"MDP 3.0 - SBE Technical Headers".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.sbe.mdp3.templates import SNAPSHOT, SNAPSHOT_LONG, SNAPSHOT_ORDER_BOOK

HEAD = struct.Struct("<IQ")
SIZE = struct.Struct("<H")
HEAD_BYTES, SIZE_BYTES, MESSAGE_HEAD_BYTES = HEAD.size, SIZE.size, 8
FRAME_BYTES_MIN = SIZE_BYTES + MESSAGE_HEAD_BYTES
NEVER = 2**62  # a sequence number that no packet has
RECOVERY_TEMPLATES = frozenset((SNAPSHOT, SNAPSHOT_ORDER_BOOK, SNAPSHOT_LONG))


@dataclass(frozen=True, slots=True)
class Packet:
    """A datagram. frames: start and stop of each SBE message in it, header first; whole: they fill it."""

    sequence: int
    sending_time: int
    frames: tuple[tuple[int, int], ...]
    whole: bool


def parse(payload: bytes) -> Packet | None:
    """Head and frames (up to the first that does not fit) of a datagram; None where it has no head."""
    if len(payload) < HEAD_BYTES:
        return None
    sequence, sending_time = HEAD.unpack_from(payload)
    frames, at = [], HEAD_BYTES
    while at + FRAME_BYTES_MIN <= len(payload):
        size = SIZE.unpack_from(payload, at)[0]
        if size < FRAME_BYTES_MIN or at + size > len(payload):
            break
        frames.append((at + SIZE_BYTES, at + size))
        at += size
    return Packet(sequence, sending_time, tuple(frames), at == len(payload))


def pack(sequence: int, sending_time: int, messages: Iterable[bytes]) -> bytes:
    """A datagram of SBE messages that have their headers."""
    parts = [HEAD.pack(sequence, sending_time)]
    for message in messages:
        parts += [SIZE.pack(SIZE_BYTES + len(message)), message]
    return b"".join(parts)


def frames_of(
    data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Starts and stops of all SBE messages in a batch of datagrams, and how many datagrams end inside one.

    For :meth:`ingest.sbe.columns.ColumnDecoder.decode`.
    """
    room = int(data.size) // FRAME_BYTES_MIN
    starts, stops = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    found, cut = _frames(data, offsets, starts, stops)
    return starts[:found], stops[:found], int(cut)


@njit(cache=True, nogil=True)
def _frames(data, offsets, starts, stops):  # type: ignore[no-untyped-def]
    found = cut = 0
    for record in range(offsets.size - 1):
        at, stop = offsets[record] + HEAD_BYTES, offsets[record + 1]
        while at + FRAME_BYTES_MIN <= stop:
            size = le16(data, at)
            if size < FRAME_BYTES_MIN or at + size > stop:
                break
            starts[found], stops[found] = at + SIZE_BYTES, at + size
            found += 1
            at += size
        cut += at != stop
    return found, cut


@njit(cache=True, nogil=True, forceinline=True)
def le16(data, at):  # type: ignore[no-untyped-def]
    """Little-endian u16 as int64."""
    return np.int64(data[at]) | (np.int64(data[at + 1]) << 8)


@njit(cache=True, nogil=True, forceinline=True)
def le32(data, at):  # type: ignore[no-untyped-def]
    """Little-endian u32 as int64."""
    return le16(data, at) | (le16(data, at + 2) << 16)


@njit(cache=True, nogil=True, forceinline=True)
def le32s(data, at):  # type: ignore[no-untyped-def]
    """Little-endian i32 as int64."""
    return np.int64(np.int32(le32(data, at)))


@njit(cache=True, nogil=True, forceinline=True)
def le64(data, at):  # type: ignore[no-untyped-def]
    """Little-endian i64 (a u64 as two's complement)."""
    return le32(data, at) | (le32(data, at + 4) << 32)
