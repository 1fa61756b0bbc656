"""Decoders with a fault at frames that hold a byte 0xFF: what the fuzzer must find."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence

from numba import njit

from ingest.itch.wire import load64
from tests.fuzz.target import Arena, Target


class _Faulty(Target):
    batch_frames = 100
    name = "faulty"

    def seeds(self) -> list[list[bytes]]:
        return [[bytes(range(40))] * 400]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        for frame in frames:
            if b"\xff" in frame:
                self.fault(frame)
        return Counter(decoded=len(frames))

    def fault(self, frame: bytes) -> None:
        raise NotImplementedError


class Crash(_Faulty):
    def fault(self, frame: bytes) -> None:
        ctypes.string_at(0)


@njit  # type: ignore[misc]
def _last_word(data):  # type: ignore[no-untyped-def]
    return load64(data, data.size - 7)


class ReadsBehind(_Faulty):
    """One byte more than there is: nobody would notice without the page behind the array."""

    def __init__(self) -> None:
        super().__init__()
        self._arena = Arena(1 << 16)
        _last_word(self._arena.put(bytes(8))[:-1])

    def fault(self, frame: bytes) -> None:
        _last_word(self._arena.put(frame + bytes(8)))


class Raises(_Faulty):
    def fault(self, frame: bytes) -> None:
        raise ZeroDivisionError(frame)


class Forgets(_Faulty):
    def fault(self, frame: bytes) -> None:
        assert not frame, "a frame is not accounted for"


@njit  # type: ignore[misc]
def _endless(number):  # type: ignore[no-untyped-def]
    while number > 0:
        number = number * 3 % 1_000_003 + 1
    return number


class Hangs(_Faulty):
    """In compiled code, where no Python handler of a signal runs."""

    def __init__(self) -> None:
        super().__init__()
        _endless(-1)

    def fault(self, frame: bytes) -> None:
        _endless(1)


class Floods(_Faulty):
    def fault(self, frame: bytes) -> None:
        bytes(64 << 30)
