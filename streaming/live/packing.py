"""Records that leave a Python operator in one row: how they are packed, and a sequence that is so already.

``java/Unpack.java`` takes them apart: key and value of each record in turn, each behind its length as a
big-endian int.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import overload

Output = tuple[bytes, bytes]
_LENGTH = struct.Struct(">i")
LENGTH_BYTES = _LENGTH.size
_length = _LENGTH.pack


class Packed(Sequence[Output]):
    """Records as (key, value), packed from the start: a program that gives them so saves a row each.

    Parameters
    ----------
    raw : bytes
        As :func:`packed` gives it.
    count : int
        How many records there are in it.
    """

    def __init__(self, raw: bytes, count: int) -> None:
        self.raw = raw
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Output]:
        at = 0
        while at < len(self.raw):
            key, at = self._part(at)
            value, at = self._part(at)
            yield key, value

    @overload
    def __getitem__(self, index: int) -> Output: ...
    @overload
    def __getitem__(self, index: slice) -> list[Output]: ...
    def __getitem__(self, index: int | slice) -> Output | list[Output]:
        return list(self)[index]

    def _part(self, at: int) -> tuple[bytes, int]:
        begin = at + LENGTH_BYTES
        end = begin + int(_LENGTH.unpack_from(self.raw, at)[0])
        return self.raw[begin:end], end


def packed(records: Sequence[Output]) -> bytes:
    """Records in the form that leaves Python."""
    if isinstance(records, Packed):
        return records.raw
    return b"".join(_length(len(part)) + part for record in records for part in record)
