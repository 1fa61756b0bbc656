"""Files of Databento in, capture records out: history takes the same way as live.

The capture begins with the metadata (SNAPSHOT); then come pieces of whole records (DATA), as they are in the
file, and a last CONTROL record, which says that the file ended.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

import numpy as np

from ingest.capture import RecordKind, session_path
from ingest.capture_target import OpenWriter, RecordWriter, new_capture
from ingest.dbn import records as r
from ingest.dbn.decoder import end_record
from ingest.dbn.kernel import TIME_MAX, whole_records
from ingest.dbn.metadata import Head, metadata_bytes
from ingest.feeds import DBN_SESSION, Loaded
from ingest.pcap import open_plain, read_until_damage
from tickloom.clock import NS_PER_S
from tickloom.errors import DecodeError
from tickloom.instruments import Registry

READ_BYTES = 1 << 22
PAYLOAD_BYTES = 1 << 16  # of a capture record
_CUTS_MAX = READ_BYTES // PAYLOAD_BYTES + 2


def load_file(
    source: Path,
    data_dir: Path,
    venue: str,
    day: date | None = None,
    registry: Registry | None = None,
    segment_mb: int = 256,
    open_writer: OpenWriter = new_capture,
) -> Loaded:
    """Turn a DBN file, plain, zstd or gzip, into a capture.

    The session is ``YYYYMMDD.DBN.<SCHEMA>.<id>``: the day (UTC) on which the first record was received, and
    the CRC-32 of metadata and first record, so that another query is another session. A file that is cut off
    gives what is whole of it, and says so (``Loaded.damage``).

    Raises
    ------
    DecodeError
        No DBN, none of a version that is read here, no record, or ``day`` is another one.
    CaptureError
        That file has been captured already: a second copy would only be duplicates.
    """
    try:
        with open_plain(source) as file:
            return _load(source, file, data_dir, venue, day, lambda path: open_writer(path, segment_mb))
    except FileNotFoundError:
        raise DecodeError("DBN", f"{source}: there is no such file") from None


def dataset_of(source: Path) -> str:
    """Dataset of a DBN file, such as ``GLBX.MDP3``.

    Raises
    ------
    DecodeError
        No DBN, or none of a version that is read here.
    """
    with open_plain(source) as file:
        return Head(_Reader(source, file).metadata()).dataset


def _load(
    source: Path,
    file: IO[bytes],
    data_dir: Path,
    venue: str,
    day: date | None,
    open_writer: Callable[[Path], RecordWriter],
) -> Loaded:
    reader = _Reader(source, file)
    raw = reader.metadata()
    head = Head(raw)
    reader.fill()
    pieces, _, _ = reader.pieces()
    if not pieces:
        raise DecodeError("DBN", f"{source}: no whole record behind the metadata{reader.why()}")
    first = _ts_recv(pieces[0])
    found = datetime.fromtimestamp(first / NS_PER_S, UTC).date()
    if day is not None and day != found:
        raise DecodeError("DBN", f"{source} begins on {found} (UTC), not on {day}; give that date")
    mark = zlib.crc32(pieces[0][: pieces[0][0] * r.WORD_BYTES], zlib.crc32(raw))
    session = f"{found:%Y%m%d}.{DBN_SESSION}{head.schema.upper()}.{mark:08x}"
    path = session_path(data_dir, venue, session)
    records = packets = 0
    with open_writer(path) as writer:
        writer.append(RecordKind.SNAPSHOT, first, raw)
        while True:
            pieces, count, sound = reader.pieces()
            if pieces:
                writer.append_many(RecordKind.DATA, [_ts_recv(piece) for piece in pieces], pieces)
                first = _ts_recv(pieces[-1])
            records, packets = records + count, packets + len(pieces)
            reader.drop(sum(map(len, pieces)))
            if not sound:
                reader.damage = "a record's length cannot be"
            if reader.damage or not reader.fill():
                break
        writer.append(RecordKind.CONTROL, first, end_record())
    return Loaded(path, session, records, packets, 0, reader.why(records))


class _Reader:
    """Bytes of a file, as far as it can be read, in pieces of whole records."""

    def __init__(self, source: Path, file: IO[bytes]) -> None:
        self.damage = ""
        self._source, self._file = source, file
        self._data = b""
        self._cuts = np.zeros(_CUTS_MAX, dtype=np.int64)

    def metadata(self) -> bytes:
        prefix = self._read(r.PREFIX_BYTES)
        raw = prefix + self._read(metadata_bytes(prefix) - len(prefix))
        if len(raw) < metadata_bytes(prefix):
            raise DecodeError("DBN", f"{self._source} ends inside its metadata{self.why()}")
        return raw

    def fill(self) -> bool:
        """Read on; False at the end, where what is left is no whole record."""
        more = self._read(READ_BYTES - len(self._data))
        self._data += more
        if not more and self._data and not self.damage:
            self.damage = "it ends inside a record"
        return bool(more)

    def pieces(self) -> tuple[list[bytes], int, bool]:
        """Pieces of what is there, the records in them, and whether each length could be."""
        data = np.frombuffer(self._data, dtype=np.uint8)
        count, records, sound = whole_records(data, PAYLOAD_BYTES, self._cuts)
        bounds = [0, *self._cuts[:count].tolist()]
        pieces = [self._data[begin:end] for begin, end in itertools.pairwise(bounds)]
        return pieces, int(records), bool(sound)

    def drop(self, size: int) -> None:
        self._data = self._data[size:]

    def why(self, records: int | None = None) -> str:
        """What is wrong with the file, as the end of a sentence; empty where nothing is."""
        if not self.damage:
            return ""
        behind = "" if records is None else f" behind record {records:,}"
        return f"{self._source}{behind}: {self.damage}" if records is not None else f" ({self.damage})"

    def _read(self, size: int) -> bytes:
        """Up to ``size`` bytes; less at the end, or where the file is damaged."""
        if self.damage:
            return b""
        found, error = read_until_damage(self._file, size)
        if error is not None:
            self.damage = f"it cannot be read on: {error}"
        return found


def _ts_recv(piece: bytes) -> int:
    """When the first record of a piece was received, ns; its event time where that is not told."""
    at = int(r.TIME_AT[piece[1]])
    for place in (at, 8):
        ts = int.from_bytes(piece[place : place + 8], "little")
        if 0 < ts < TIME_MAX:
            return ts
    return 0
