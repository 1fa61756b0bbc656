"""Records of a capture, one by one and in columns: what readers give and decoders take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ingest.capture_format import RecordKind


@dataclass(frozen=True, slots=True)
class CaptureRecord:
    """One record. number: from 1, in the order of arrival. ts_recv: ns, our clock. line: of a feed that
    comes on several, from 0."""

    number: int
    kind: RecordKind
    ts_recv: int
    payload: bytes
    line: int = 0


@dataclass(slots=True)
class CaptureBatch:
    """Consecutive records in columns.

    data: uint8, all payloads one behind the other; offsets: int64, n + 1 bounds of them; kinds:
    uint8; ts_recv: int64 ns; first_number: of the first record; lines: uint8.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    ts_recv: NDArray[np.int64]
    first_number: int
    lines: NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        records: Sequence[tuple[int, int, bytes]],
        first_number: int = 1,
        lines: Sequence[int] | None = None,
    ) -> CaptureBatch:
        """A batch of ``(kind, ts_recv, payload)`` that did not come from a file."""
        kinds, times, payloads = zip(*records, strict=True) if records else ((), (), ())
        return cls(
            # writable, as what a reader gives: kernels are compiled for one kind of array, not two
            np.frombuffer(bytearray(b"".join(payloads)), dtype=np.uint8),
            np.array([0, *accumulate(map(len, payloads))], dtype=np.int64),
            np.array(kinds, dtype=np.uint8),
            np.array(times, dtype=np.int64),
            first_number,
            np.zeros(len(records), dtype=np.uint8) if lines is None else np.array(lines, dtype=np.uint8),
        )

    def __len__(self) -> int:
        return int(self.kinds.size)

    def payload(self, index: int) -> bytes:
        """Payload of the record at ``index`` (from 0)."""
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def __iter__(self) -> Iterator[CaptureRecord]:
        for index in range(len(self)):
            yield CaptureRecord(
                self.first_number + index,
                RecordKind(int(self.kinds[index])),
                int(self.ts_recv[index]),
                self.payload(index),
                int(self.lines[index]),
            )

    def slice(self, start: int, stop: int) -> CaptureBatch:
        """Records ``start`` up to, not including, ``stop``."""
        low, high = self.offsets[start], self.offsets[stop]
        return CaptureBatch(
            self.data[low:high],
            self.offsets[start : stop + 1] - low,
            self.kinds[start:stop],
            self.ts_recv[start:stop],
            self.first_number + start,
            self.lines[start:stop],
        )
