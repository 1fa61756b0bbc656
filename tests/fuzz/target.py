"""What the fuzzer knows of a decoder: frames to begin with, how to decode, what must hold of the result."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.capture import CaptureBatch
from tests.fuzz.mutation import JsonSpans, Mutation, mutate, mutate_json, pick, shuffle_frames
from tickloom.codec import TickBatch, encode
from tickloom.events import EventBlock
from tickloom.prices import check_nanos

PAGE = mmap.PAGESIZE
ARENA_BYTES = 64 << 20
#: Share of a tape's frames that are mutated: a decoder whose every frame is damaged gets nowhere.
RATES = (0.2, 0.5, 1.0)
EVENTS_ENCODED_MAX = 5_000  # of a block: statuses and gaps are packed by plain Python


class Target:
    """A decoder under test. One object lives in one child process.

    Attributes
    ----------
    name : str
    batch_frames : int
        Frames that one fresh decoder gets.
    as_json : bool
        Frames are JSON, and are mutated as that.
    alone : bool
        Frames have nothing to do with one another: all are mutated, none is swapped with its neighbour.
    """

    name = ""
    batch_frames = 2_000
    as_json = False
    alone = False
    mutations: tuple[Mutation, ...] = ()  # of the feed's own kind; three in ten are of these

    def __init__(self) -> None:
        self.tapes = [tape for tape in self.seeds() if tape]
        self._spans: dict[bytes, JsonSpans] = {}

    def seeds(self) -> list[list[bytes]]:
        """Tapes of genuine frames in their order, made here; real captures too, where they are."""
        raise NotImplementedError

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        """Decode frames with a fresh decoder; what came of them.

        Raises
        ------
        AssertionError
            A promise of the decoder's is broken. Any other exception is a fault, too.
        """
        raise NotImplementedError

    def repaired(self, rng: random.Random, frame: bytes) -> bytes:
        """The frame with its checksums and lengths made right, so that what is behind them is reached."""
        return frame

    def mutated(self, rng: random.Random) -> tuple[list[bytes], int]:
        """Frames of a batch, and how many of them were mutated."""
        tape = self.tapes[int(rng.random() * len(self.tapes))]
        if self.alone:
            frames = [pick(rng, tape) for _ in range(self.batch_frames)]
        else:
            start = int(rng.random() * max(1, len(tape) - self.batch_frames)) if rng.random() < 0.5 else 0
            frames = tape[start : start + self.batch_frames]
        rate = 1.0 if self.alone else rng.choice(RATES)
        count = 0
        for at, frame in enumerate(frames):
            if rate == 1.0 or rng.random() < rate:
                frames[at] = self._mutated(rng, frame, pick(rng, tape))
                count += 1
        if not self.alone:
            shuffle_frames(rng, frames)
        return frames, count

    def _mutated(self, rng: random.Random, frame: bytes, other: bytes) -> bytes:
        if self.mutations and rng.random() < 0.3:
            found = rng.choice(self.mutations)(rng, frame, other)
        elif self.as_json:
            found = mutate_json(rng, self._spans_of(frame), self._spans_of(other))
        else:
            found = mutate(rng, frame, other)
        return self.repaired(rng, found)

    def _spans_of(self, frame: bytes) -> JsonSpans:
        spans = self._spans.get(frame)
        if spans is None:
            spans = self._spans[frame] = JsonSpans(frame)
        return spans


class Arena:
    """Memory whose last byte lies before a page that nobody may touch.

    A kernel that reads one byte behind its array ends the process, where it would otherwise read on in
    silence: Numba checks no bounds, and wide loads are not checked even where it is told to.
    """

    def __init__(self, size: int = ARENA_BYTES) -> None:
        self._memory = mmap.mmap(-1, size + PAGE)
        self._size = size
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        if libc.mprotect(start + size, PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")

    def put(self, raw: bytes) -> NDArray[np.uint8]:
        """The bytes in memory that ends with them; what was put before is overwritten."""
        if len(raw) > self._size:
            raise ValueError(f"{len(raw)} bytes are more than the arena has")
        found = np.frombuffer(self._memory, dtype=np.uint8, count=len(raw), offset=self._size - len(raw))
        found[:] = np.frombuffer(raw, dtype=np.uint8)
        return found

    def batch(self, records: Sequence[tuple[int, int, bytes]], first_number: int = 1) -> CaptureBatch:
        """As :meth:`CaptureBatch.of`, guarded."""
        batch = CaptureBatch.of(records, first_number)
        batch.data = self.put(batch.data.tobytes())
        return batch


def cut(records: Sequence[tuple[int, int, bytes]]) -> list[tuple[int, int]]:
    """Bounds of the batches in which records are decoded: always the same ones for so many records."""
    rng = random.Random(len(records))
    bounds = sorted({0, len(records), *(rng.randrange(len(records) + 1) for _ in range(rng.randrange(6)))})
    return list(itertools.pairwise(bounds))


def check_block(block: EventBlock) -> int:
    """Whatever came in, this holds of what comes out: order, range, and that it can be published.

    Returns how many events there are.
    """
    total = 0
    for table, rows in block.kinds().items():
        if not len(rows):
            continue
        total += len(rows)
        if table != "gaps":
            assert np.all(np.diff(rows["seq"]) >= 0), f"{table} are not in the order of seq"
        assert 0 <= rows["symbol"].min() <= rows["symbol"].max() < len(block.symbols), f"symbol of {table}"
        for field in ("price", "size", "bid_price", "bid_size", "ask_price", "ask_size"):
            if field in (rows.dtype.names or ()):
                check_nanos(rows[field])
    if 0 < total <= EVENTS_ENCODED_MAX:
        encode(TickBatch(0, 0, 0, 0, block))
    return total
