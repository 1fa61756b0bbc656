"""A path in, the source that reads it out; and a source into sinks, counted."""

from __future__ import annotations

import codecs
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest.bulk.captured import CaptureSource, FeedFileSource
from ingest.bulk.lean import LeanSource, is_zip
from ingest.bulk.source import Rejects, Source
from ingest.bulk.tables import TableOptions, TableSource, is_parquet
from ingest.feeds import is_dbn
from ingest.pcap import DAMAGE, open_plain
from ingest.pipeline import TABLES, add_counts
from tickloom.clock import NS_PER_S, Clock, SystemClock
from tickloom.errors import DecodeError, FeedError, SettingsError
from tickloom.events import EventBlock
from tickloom.instruments import Registry
from tickloom.sinks import EventSink

SNIFF_BYTES = 4_096
_TEXT = frozenset(range(32, 127)) | {9, 10, 13}


@dataclass(frozen=True, slots=True)
class Options:
    """What a source may have to be told. rejects: folder of the rows that are none.

    table: of CSV and Parquet; its day and session are those of all formats that do not tell theirs.
    """

    rejects: Path
    venue: str = ""
    exchange: str = ""
    table: TableOptions = field(default_factory=TableOptions)


@dataclass(slots=True)
class Loaded:
    """What became of a source. counts: table to symbol to events. seconds: until all was durable."""

    counts: dict[str, dict[str, int]]
    seconds: float

    @property
    def events(self) -> int:
        return sum(sum(found.values()) for found in self.counts.values())

    def by_table(self) -> dict[str, int]:
        return {table: sum(found.values()) for table, found in self.counts.items()}


def open_source(path: Path, options: Options, registry: Registry | None = None) -> Source:
    """What reads ``path``: its contents say what it is, never its name.

    Raises
    ------
    SettingsError
        Something has to be said first: the venue, the day, which column is what.
    DecodeError, CaptureError
        It cannot be read.
    """
    registry = registry or Registry.load()
    if path.is_dir():
        return CaptureSource(path, registry)
    if not path.is_file():
        raise DecodeError("file", f"{path}: there is no such file")
    day, table = options.table.day, options.table
    if is_dbn(path):
        venue = options.venue or venue_of_dataset(path, registry)
        return FeedFileSource(path, venue, day, registry)
    if not options.venue:
        known = ", ".join(sorted(name for name, one in registry.venues.items() if one.feed != "news"))
        raise SettingsError(f"{path} does not tell its venue; say it with --venue, one of {known} or another")
    whose = zlib.crc32(str(path.resolve()).encode())  # files of other folders have the same name
    _check_csv(path)
    rejects = Rejects(options.rejects / f"{path.name}.{whose:08x}.rejects.csv")
    if is_zip(path):
        return LeanSource(path, options.venue, rejects, registry, options.exchange, table.session)
    if is_parquet(path) or table.kind or table.columns or _is_text(path):
        return TableSource(path, options.venue, table, rejects, registry)
    return FeedFileSource(path, options.venue, day, registry)


def load(
    source: Source,
    sinks: Sequence[EventSink],
    progress: Callable[[int], None] = lambda _: None,
    clock: Clock | None = None,
) -> Loaded:
    """Run a source into sinks; all is durable when it returns. A sink gets nothing twice.

    ``progress`` is told the number of events after each block.

    Raises
    ------
    FeedError, SettingsError
        The source cannot be read on. What came before is durable in the sinks.
    ServiceError, StorageError
        A sink's server is away, or refuses.
    """
    clock = clock or SystemClock()
    began_ns = clock.monotonic_ns()
    counts: dict[str, Counter[str]] = {table: Counter() for table in TABLES}
    events = 0

    def emit(block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        nonlocal events
        for sink in sinks:
            sink.write(block, watermark_ns, last_seq)
        add_counts(counts, block)
        events += len(block)
        progress(events)

    try:
        source.run(emit)
    except FeedError:
        _flush(sinks)
        raise
    _flush(sinks)
    seconds = (clock.monotonic_ns() - began_ns) / NS_PER_S
    ordered = {table: dict(sorted(found.items())) for table, found in counts.items()}
    return Loaded(ordered, seconds)


def _flush(sinks: Sequence[EventSink]) -> None:
    for sink in sinks:
        sink.flush()


def _is_text(path: Path) -> bool:
    """Whether a file, compressed or not, begins with lines of printable text."""
    begin = _begin(path)
    return b"," in begin and b"\n" in begin and _TEXT.issuperset(begin[: begin.rfind(b"\n")])


def _check_csv(path: Path) -> None:
    """What a spreadsheet calls CSV and is none is told here; else a feed's decoder would refuse its bytes.

    Raises
    ------
    DecodeError
        It is in UTF-16, or its columns are apart by semicolons or tabs.
    """
    begin = _begin(path)
    if begin[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DecodeError("csv", f"{path} is in UTF-16; save it as CSV with the character set UTF-8")
    header = begin.partition(b"\n")[0]
    lines = begin.rpartition(b"\n")[0]  # the last may be cut in a character
    if b"," in header or not lines or not _TEXT.issuperset(lines):
        return
    for separator, name in ((b";", "semicolons"), (b"\t", "tabs")):
        if header.count(separator) > 1:
            raise DecodeError("csv", f"{path} has {name} between its columns; save it with commas")


def _begin(path: Path) -> bytes:
    """The first bytes of a file, compressed or not, without UTF-8's byte order mark; none if damaged."""
    try:
        with open_plain(path) as file:
            return file.read(SNIFF_BYTES).removeprefix(codecs.BOM_UTF8)
    except DAMAGE:
        return b""


def venue_of_dataset(path: Path, registry: Registry) -> str:
    """The registry's venue of a Databento file.

    Raises
    ------
    SettingsError
        The registry has none of that name: it has to be said.
    """
    from ingest.dbn.files import dataset_of
    from ingest.dbn.metadata import dataset_venue

    dataset = dataset_of(path)
    venue = dataset_venue(dataset)
    if venue not in registry.venues:
        known = ", ".join(sorted(registry.venues))
        raise SettingsError(f"{path} is of dataset {dataset}; say with --venue which that is, one of {known}")
    return venue
