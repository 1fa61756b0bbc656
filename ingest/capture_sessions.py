"""Captured sessions as a whole: what there is, whether it is sound, packing it, and letting old ones go."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np

from ingest.capture import LOCK_NAME, CaptureReader, CaptureWriter, RecordKind, lock_session, segments
from ingest.capture_format import PACKED_SUFFIX
from ingest.capture_packed import Packed, pack_segment
from ingest.decoder import Decoder
from ingest.feeds import session_date
from ingest.trusted import TrustedDecoder
from tickloom.errors import CaptureError, SettingsError

#: Called with the bytes of segments done and of all.
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Sound:
    """What reading a session gave.

    Attributes
    ----------
    records : int
    kinds : Counter[str]
        ``data``, ``control``, ``snapshot``.
    payload_bytes : int
    first_ns, last_ns : int
        Receive times, the earliest and the latest; 0 where there is no record.
    steps_back, step_back_ns_max : int
        How often a record was received before the one ahead of it, and by how much at most: the clock was
        set.
    torn_bytes : int
        Behind the last whole record of the last segment: it is being written, or its writer was killed.
    """

    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    payload_bytes: int = 0
    first_ns: int = 0
    last_ns: int = 0
    steps_back: int = 0
    step_back_ns_max: int = 0
    torn_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """A session as `tickloom capture list` shows it. size_bytes: on disk; packed: of how many segments."""

    venue: str
    session: str
    segments: int
    packed: int
    size_bytes: int
    written: bool  # an ingester holds it


def captured(data_dir: Path, venue: str = "") -> Iterator[Listed]:
    """All captured sessions, of one venue or of all, in the order of venue and session."""
    root = data_dir / "capture"
    for folder in sorted(root.glob(f"{venue or '*'}/*")):
        files = segments(folder) if folder.is_dir() else []
        if files:
            packed = sum(file.suffix == PACKED_SUFFIX for file in files)
            size = sum(file.stat().st_size for file in files)
            yield Listed(folder.parent.name, folder.name, len(files), packed, size, is_written(folder))


def is_written(path: Path) -> bool:
    """Whether an ingester has the session open."""
    if not (path / LOCK_NAME).exists():
        return False
    try:
        os.close(lock_session(path))
    except CaptureError:
        return True
    return False


def verify(path: Path, progress: Progress | None = None) -> Sound:
    """Read a session from its first record to its last, checksums included.

    Raises
    ------
    CaptureError
        A record is damaged, or a segment is missing: which, and at which byte.
    """
    files = segments(path)
    if not files:
        raise CaptureError(f"{path} has no capture; see `tickloom capture list`")
    sizes, sound, before_ns = [file.stat().st_size for file in files], Sound(), 0
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            times = batch.ts_recv
            if not sound.records:
                sound.first_ns = sound.last_ns = before_ns = int(times[0])
            sound.records += len(batch)
            sound.payload_bytes += int(batch.offsets[-1])
            for kind in RecordKind:
                sound.kinds[kind.name.lower()] += int((batch.kinds == kind).sum())
            sound.first_ns = min(sound.first_ns, int(times.min()))
            sound.last_ns = max(sound.last_ns, int(times.max()))
            steps_ns = np.diff(times, prepend=before_ns)
            sound.steps_back += int((steps_ns < 0).sum())
            sound.step_back_ns_max = max(sound.step_back_ns_max, -int(steps_ns.min()))
            before_ns = int(times[-1])
            if progress is not None:
                opened, unread = reader.place
                progress(sum(sizes[:opened]) - unread, sum(sizes))
        opened, sound.torn_bytes = reader.place
    if opened < len(files):
        raise CaptureError(
            f"{path}: segment {opened + 1:06d} is missing and later ones are there; restore it from a copy"
        )
    return sound


def digest(path: Path, decoder: Decoder) -> dict[str, str]:
    """SHA-256 of the events that a session gives, by kind: equal for every replay of the same capture."""
    sums: dict[str, hashlib._Hash] = {}
    names: list[str] = []
    trusted = TrustedDecoder(decoder)
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            block = trusted.decode(batch)
            names = block.symbols.names
            for kind, records in (*block.kinds().items(), ("trust", block.trust)):
                sums.setdefault(kind, hashlib.sha256()).update(records.tobytes())
    found = {kind: each.hexdigest() for kind, each in sums.items()}
    return {**found, "symbols": hashlib.sha256("\n".join(names).encode()).hexdigest()}


def pack(path: Path) -> Iterator[Packed]:
    """Pack the plain segments of a session one by one; of one that is being written, all but the last.

    Raises
    ------
    CaptureError
        A record is damaged, or the disk refuses.
    """
    plain = [file for file in segments(path) if file.suffix != PACKED_SUFFIX]
    if not segments(path):
        raise CaptureError(f"{path} has no capture; see `tickloom capture list`")
    if is_written(path):
        yield from map(pack_segment, plain[:-1])
        return
    if plain:
        CaptureWriter(path).close()  # cuts a torn tail off, as an ingester would
    lock = lock_session(path)  # an ingester that starts meanwhile would append to what is about to go
    try:
        yield from map(pack_segment, plain)
    finally:
        os.close(lock)


def expired(data_dir: Path, keep_days: int, today: date, venue: str = "") -> list[Listed]:
    """Sessions of days more than ``keep_days`` ago that nobody writes.

    Raises
    ------
    SettingsError
        ``keep_days`` is negative.
    """
    if keep_days < 0:
        raise SettingsError(f"{keep_days} days: give how many days of captures are kept, 0 or more")
    found = []
    for one in captured(data_dir, venue):
        with contextlib.suppress(SettingsError):  # a folder that is not named after a day is not ours
            if (today - session_date(one.session)).days > keep_days and not one.written:
                found.append(one)
    return found


def remove(path: Path) -> None:
    """Remove a session's capture for good.

    Raises
    ------
    CaptureError
        An ingester holds it.
    """
    lock = lock_session(path)
    try:
        shutil.rmtree(path)
    finally:
        os.close(lock)
