"""Bytes of a capture segment in, columns of whole, verified records out: the kernel under ``capture``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.capture_format import LINES_MAX

HEAD_BYTES = 20  # of a record: CRC-32, length (u32), ts_recv (i64), kind (u8), line (u8), 2 zero bytes
RECORD_BYTES_MAX = 64 * 1024 * 1024  # a REST snapshot is below 1 MB; a length above this is damage
SCAN_END, SCAN_BAD = 0, 1


@dataclass(slots=True)
class Scan:
    """What a stretch of bytes holds.

    count, consumed: whole records, and the bytes that they take; claimed: bytes that the record
    behind them says it takes.
    """

    count: int
    consumed: int
    outcome: int
    claimed: int
    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    ts_recv: NDArray[np.int64]
    lines: NDArray[np.uint8]


def _crc_tables() -> NDArray[np.uint32]:
    """CRC-32 (IEEE 802.3, reflected 0xEDB88320) tables for eight bytes at a time."""
    tables = np.zeros((8, 256), dtype=np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        tables[0, byte] = value
    for row in range(1, 8):
        below = tables[row - 1]
        tables[row] = (below >> np.uint32(8)) ^ tables[0][below & np.uint32(0xFF)]
    return tables


_CRC = _crc_tables()


def scan_records(raw: NDArray[np.uint8]) -> Scan:
    """Verify and compact the records at the start of ``raw``."""
    most = raw.size // HEAD_BYTES
    data = np.empty(raw.size, dtype=np.uint8)
    offsets = np.empty(most + 1, dtype=np.int64)
    kinds = np.empty(most, dtype=np.uint8)
    ts_recv = np.empty(most, dtype=np.int64)
    lines = np.empty(most, dtype=np.uint8)
    count, consumed, outcome, claimed = _scan(raw, _CRC, data, offsets, kinds, ts_recv, lines)
    return Scan(
        count,
        consumed,
        outcome,
        claimed,
        data[: offsets[count]],
        offsets[: count + 1],
        kinds[:count],
        ts_recv[:count],
        lines[:count],
    )


@njit(cache=True, nogil=True, inline="always")
def _u32(raw, pos):  # type: ignore[no-untyped-def]
    return (
        np.uint32(raw[pos])
        | (np.uint32(raw[pos + 1]) << np.uint32(8))
        | (np.uint32(raw[pos + 2]) << np.uint32(16))
        | (np.uint32(raw[pos + 3]) << np.uint32(24))
    )


@njit(cache=True, nogil=True)
def _crc32(raw, start, stop, tables):  # type: ignore[no-untyped-def]
    code = np.uint32(0xFFFFFFFF)
    mask = np.uint32(0xFF)
    pos = start
    while pos + 8 <= stop:
        low = code ^ _u32(raw, pos)
        high = _u32(raw, pos + 4)
        code = (
            tables[7, low & mask]
            ^ tables[6, (low >> np.uint32(8)) & mask]
            ^ tables[5, (low >> np.uint32(16)) & mask]
            ^ tables[4, low >> np.uint32(24)]
            ^ tables[3, high & mask]
            ^ tables[2, (high >> np.uint32(8)) & mask]
            ^ tables[1, (high >> np.uint32(16)) & mask]
            ^ tables[0, high >> np.uint32(24)]
        )
        pos += 8
    while pos < stop:
        code = tables[0, (code ^ np.uint32(raw[pos])) & mask] ^ (code >> np.uint32(8))
        pos += 1
    return code ^ np.uint32(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def _scan(raw, tables, data, offsets, kinds, ts_recv, lines):  # type: ignore[no-untyped-def]
    pos = np.int64(0)
    out = np.int64(0)
    count = 0
    offsets[0] = 0
    while True:
        if pos + HEAD_BYTES > raw.size:
            return count, pos, SCAN_END, HEAD_BYTES
        length = np.int64(_u32(raw, pos + 4))
        whole = HEAD_BYTES + length
        if length > RECORD_BYTES_MAX:
            return count, pos, SCAN_BAD, whole
        if pos + whole > raw.size:
            return count, pos, SCAN_END, whole
        if _crc32(raw, pos + 4, pos + whole, tables) != _u32(raw, pos):
            return count, pos, SCAN_BAD, whole
        low = np.uint64(_u32(raw, pos + 8))
        ts_recv[count] = np.int64(low | (np.uint64(_u32(raw, pos + 12)) << np.uint64(32)))
        kinds[count] = raw[pos + 16]
        lines[count] = raw[pos + 17]
        data[out : out + length] = raw[pos + HEAD_BYTES : pos + whole]
        out += length
        pos += whole
        count += 1
        offsets[count] = out


@njit(cache=True, nogil=True)
def find_record(raw, start, tables):  # type: ignore[no-untyped-def]
    """Where the first whole record at or behind ``start`` begins; -1 where there is none."""
    for pos in range(start, raw.size - HEAD_BYTES + 1):
        if raw[pos + 16] > 2 or raw[pos + 17] >= LINES_MAX or raw[pos + 18] or raw[pos + 19]:
            continue
        length = np.int64(_u32(raw, pos + 4))
        if length > RECORD_BYTES_MAX or pos + HEAD_BYTES + length > raw.size:
            continue
        if _crc32(raw, pos + 4, pos + HEAD_BYTES + length, tables) == _u32(raw, pos):
            return pos
    return -1


def record_behind(raw: NDArray[np.uint8]) -> int:
    """Where a whole record stands behind the first byte of ``raw``; -1: nowhere, so it is a torn tail."""
    return int(find_record(raw, 1, _CRC))
