"""Parquet files in, event blocks out in (ts_event, seq) order; and blocks out to such files.

A folder has one file a kind (``trades.parquet``, ``quotes.parquet`` ...), with the columns of the table
of that name and rows in the order of ``ts``: what ``tickloom sql "SELECT * FROM trades WHERE ..." --out
trades.parquet`` writes; or it has such folders, a session each (:mod:`storage.parquet_sessions`). Files are
read from front to end in batches, row groups outside of the wanted time not at all, so memory is bounded;
what they claim is checked on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from storage.columns import LAYOUTS, TS_MAX, Kind, Layout, format_ts, to_frame
from storage.parquet_sessions import JoinedTape, common_names, session_folders
from storage.replay import CHUNK_ROWS, replay
from tickloom.errors import StorageError
from tickloom.events import EventBlock

SUFFIX = ".parquet"
BATCH_ROWS = 65_536
_TIMES = ("ts", "ts_recv")
_TIMESTAMP = pa.timestamp("ns", "UTC")
_NO_ROWS = (0, 0)
_NEVER_NULL = ("ts", "ts_recv", "venue", "seq")


class ParquetReader:
    """Reads events as :class:`storage.reader.QuestDbReader` does, from a file or a folder of files.

    Raises
    ------
    StorageError
        There is no such file, it is no Parquet, or its columns are not those of a table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, list[_File]] = {}
        if not path.is_dir():
            single = _File(path, None)
            self._files[single.layout.table] = [single]
            return
        names = [f"{kind}{SUFFIX}" for kind in LAYOUTS]
        folders = session_folders(path, names)
        if not folders:
            raise StorageError(
                f"{path} has none of {', '.join(names)}, nor folders that have; is it the right one?"
            )
        for kind, name in zip(LAYOUTS, names, strict=True):
            found = [_File(file, kind) for folder in folders if (file := folder / name).exists()]
            if found:
                self._files[kind] = found
        if len(folders) > 1:
            self._name_together()

    def _name_together(self) -> None:
        """Sessions that overlap are played under one name: else each row of one would end the other's."""
        spans: dict[Path, tuple[int, int]] = {}
        for file in self._every_file():
            if span := file.time_range():
                before = spans.get(file.path.parent, span)
                spans[file.path.parent] = min(before[0], span[0]), max(before[1], span[1])
        named = common_names(spans)
        for file in self._every_file():
            file.session = named.get(file.path.parent, "")

    def _every_file(self) -> list[_File]:
        return [file for files in self._files.values() for file in files]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Tables that there are files of."""
        return tuple(self._files)

    def time_range(self) -> tuple[int, int] | None:
        """Earliest and latest ``ts`` of all files, ns; None where they are empty."""
        found = [span for file in self._every_file() if (span := file.time_range())]
        return (min(begin for begin, _ in found), max(end for _, end in found)) if found else None

    def read_events(
        self,
        venue: str,
        from_ns: int,
        to_ns: int,
        kinds: Sequence[str] = ("trades", "quotes"),
        chunk_rows: int = CHUNK_ROWS,
    ) -> Iterator[EventBlock]:
        """Events of a venue with from_ns <= ts_event < to_ns; see QuestDbReader.read_events.

        A kind without a file has no events.

        Raises
        ------
        StorageError
            A file is out of order, has a time or price that cannot be, or only other venues.
        """
        tapes = {
            kind: JoinedTape(
                [
                    ((file.time_range() or _NO_ROWS)[0], _Tape(file, venue, from_ns, to_ns))
                    for file in self._files[kind]
                ]
            )
            for kind in kinds
            if kind in self._files
        }

        def load(kind: str, since_ns: int, limit: int) -> pa.Table:
            return tapes[kind].load(since_ns, limit)

        yield from replay(load, venue, from_ns, to_ns, tuple(tapes), chunk_rows)
        others = sorted({name for tape in tapes.values() for name in tape.other_venues})
        if others and not any(tape.rows for tape in tapes.values()):
            raise StorageError(f"{self.path} has events of {', '.join(others)}, and none of {venue}")


class _File:
    """A file whose schema has been checked. kind: None where its columns say it.

    session: a name that takes the place of the rows' own; empty: none does.
    """

    def __init__(self, path: Path, kind: str | None) -> None:
        self.path, self.session = path, ""
        try:
            with pa.parquet.ParquetFile(path) as file:  # closed again: there may be years of them
                self.metadata, self.schema = file.metadata, file.schema_arrow
        except FileNotFoundError:
            raise StorageError(f"{path}: there is no such file") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise StorageError(f"{path} cannot be read as Parquet: {error}") from None
        self.layout = LAYOUTS[kind or _kind_of(path, set(self.schema.names))]
        self._check_columns()

    def _check_columns(self) -> None:
        wanted = columns_of(self.layout)
        unknown = [name for name in self.schema.names if name not in wanted]
        missing = [name for name in wanted if name not in self.schema.names]
        if unknown or missing:
            said = " and ".join(
                text
                for text in (
                    f"has the unknown columns {', '.join(unknown)}" if unknown else "",
                    f"lacks {', '.join(missing)}" if missing else "",
                )
                if text
            )
            raise StorageError(
                f"{self.path} {said}. A file of {self.layout.table} has just the columns of that table: "
                f"{', '.join(wanted)}."
            )
        for name in wanted:
            found = self.schema.field(name).type
            if not _fits(self.layout, name, found):
                raise StorageError(f"{self.path}: column {name} is {found}, not {_wanted(self.layout, name)}")

    def time_range(self) -> tuple[int, int] | None:
        """First and last ts, of a file in order."""
        groups = [group for group in self._groups() if self.metadata.row_group(group).num_rows]
        if not groups:
            return None
        first, last = (self._span(group) or self._read_span(group) for group in (groups[0], groups[-1]))
        return first[0], last[1]

    def batches(self, from_ns: int, to_ns: int) -> Iterator[pa.RecordBatch]:
        """Rows of the row groups that may have some with from_ns <= ts < to_ns."""
        groups = [
            group
            for group in self._groups()
            if (span := self._span(group)) is None or (span[1] >= from_ns and span[0] < to_ns)
        ]
        if groups:
            with pa.parquet.ParquetFile(self.path, metadata=self.metadata) as file:
                yield from file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns_of(self.layout))

    def _groups(self) -> range:
        return range(self.metadata.num_row_groups)

    def _span(self, group: int) -> tuple[int, int] | None:
        """First and last ts of a row group as its statistics have them; QuestDB's own files have none."""
        metadata = self.metadata.row_group(group)
        column = self.schema.names.index("ts")
        statistics = metadata.column(column).statistics
        if statistics is None or not statistics.has_min_max:
            return None
        unit = self.schema.field("ts").type.unit
        return _ns(statistics.min_raw, unit), _ns(statistics.max_raw, unit)

    def _read_span(self, group: int) -> tuple[int, int]:
        """First and last ts of a row group that has rows."""
        with pa.parquet.ParquetFile(self.path, metadata=self.metadata) as file:
            ts = _times(file.read_row_group(group, ["ts"]).cast(pa.schema([("ts", _TIMESTAMP)])))
        return int(ts[0]), int(ts[-1])


class _Tape:
    """One file's rows of a venue, from front to end: a Load of :mod:`storage.replay`."""

    def __init__(self, file: _File, venue: str, from_ns: int, to_ns: int) -> None:
        self.rows = 0
        self.other_venues: set[str] = set()
        self._file, self._venue, self._to_ns = file, venue, to_ns
        self._from_ns = from_ns
        self._batches = file.batches(from_ns, to_ns)
        self._ended = False
        self._last_ns = 0
        self._kept: list[pa.Table] = []
        self._kept_rows = 0

    def load(self, since_ns: int, limit: int) -> pa.Table:
        """The first ``limit`` rows with ts >= since_ns; since_ns never goes back."""
        kept = self._joined()
        begin = int(np.searchsorted(_times(kept), since_ns)) if kept.num_rows else 0
        self._kept = [kept.slice(begin)]
        self._kept_rows = kept.num_rows - begin
        while self._kept_rows < limit and not self._ended:
            batch = next(self._batches, None)
            if batch is None:
                self._ended = True
            else:
                self._take(pa.Table.from_batches([batch]), since_ns)
        return self._joined().slice(0, limit)

    def _take(self, table: pa.Table, since_ns: int) -> None:
        """Check rows and keep those that are wanted."""
        layout, path = self._file.layout, self._file.path
        table = table.cast(schema_of(layout))
        for name in _NEVER_NULL:
            if table[name].null_count:
                raise StorageError(f"{path}: column {name} has a NULL; an event has one of each")
        ts = _times(table)
        if not len(ts):
            return
        backwards = np.flatnonzero(np.diff(ts, prepend=self._last_ns) < 0)
        if len(backwards):
            at = int(ts[backwards[0]])
            raise StorageError(
                f"{path} is not in the order of ts: {format_ts(at)} comes behind a later row. Write it with "
                "ORDER BY ts, seq."
            )
        if int(ts[0]) < 0 or int(ts[-1]) >= TS_MAX:
            raise StorageError(f"{path}: ts {format_ts(int(ts[-1]))} is outside of 1970 to 2100")
        self._last_ns = int(ts[-1])
        _check_prices(layout, path, table)
        self._ended = self._ended or self._last_ns >= self._to_ns
        begin, end = np.searchsorted(ts, (max(since_ns, self._from_ns), self._to_ns))
        table = table.slice(int(begin), int(end - begin))
        own = pc.equal(table["venue"], self._venue)
        if not pc.all(own).as_py() and table.num_rows:
            self.other_venues |= set(pc.unique(table["venue"]).to_pylist()) - {self._venue}
            table = table.filter(own)
        if self._file.session:
            name = pa.repeat(self._file.session, table.num_rows)
            table = table.set_column(table.schema.get_field_index("session"), "session", name)
        self.rows += table.num_rows
        self._kept.append(table)
        self._kept_rows += table.num_rows

    def _joined(self) -> pa.Table:
        if not self._kept:
            return schema_of(self._file.layout).empty_table()
        return pa.concat_tables(self._kept)


def write_events(blocks: Iterable[EventBlock], folder: Path, kinds: Sequence[str]) -> dict[str, int]:
    """Write events to a folder, one file a kind; returns the rows of each.

    Parameters
    ----------
    blocks : iterable of EventBlock
        In order of time, as the readers give them.

    Raises
    ------
    StorageError
        A file cannot be written.
    """
    rows = dict.fromkeys(kinds, 0)
    writers: dict[str, Any] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            schema = schema_of(LAYOUTS[kind])
            writers[kind] = pa.parquet.ParquetWriter(folder / f"{kind}{SUFFIX}", schema)
        for block in blocks:
            for kind in kinds:
                records = block.kinds()[kind]
                if len(records):
                    layout = LAYOUTS[kind]
                    frame = to_frame(layout, records, block.venue, block.session, block.symbols)
                    writers[kind].write_table(table_of(layout, frame))
                    rows[kind] += len(records)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from None
    finally:
        for writer in writers.values():
            writer.close()
    return rows


def columns_of(layout: Layout) -> list[str]:
    """Columns of a table, in its order."""
    return ["ts", "ts_recv", "venue", "session", "symbol", "seq", *(one.name for one in layout.columns)]


def table_of(layout: Layout, frame: pd.DataFrame) -> pa.Table:
    """A frame as Arrow; a price that is not there is NULL, as in QuestDB's own files."""
    arrays = []
    schema = schema_of(layout)
    for field in schema:
        column = frame[field.name]
        if pa.types.is_timestamp(field.type):
            arrays.append(pa.array(column.to_numpy().view(np.int64)).cast(field.type))
        else:
            arrays.append(pa.Array.from_pandas(column).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _kind_of(path: Path, names: set[str]) -> str:
    """The table whose columns those are; by the name of the file where no table's fit."""
    for kind, layout in LAYOUTS.items():
        if set(columns_of(layout)) == names:
            return kind
    if path.stem in LAYOUTS:
        return path.stem
    raise StorageError(
        f"{path} has the columns of no table ({', '.join(sorted(names))}). A file of trades has "
        f"{', '.join(columns_of(LAYOUTS['trades']))}; the other tables are in storage/schema."
    )


def schema_of(layout: Layout) -> pa.Schema:
    """Names and types of a table's columns in a file."""
    return pa.schema([(name, _wanted(layout, name)) for name in columns_of(layout)])


def _wanted(layout: Layout, name: str) -> pa.DataType:
    if name in _TIMES:
        return _TIMESTAMP
    kinds = {column.name: column.kind for column in layout.columns}
    if name == "seq" or kinds.get(name) is Kind.LONG:
        return pa.int64()
    if kinds.get(name) in (Kind.PRICE, Kind.PRICE_OR_NONE):
        return pa.float64()
    return pa.string()


def _fits(layout: Layout, name: str, found: pa.DataType) -> bool:
    """Whether a column's type can be read as the wanted one without a change of meaning."""
    types = pa.types
    if types.is_dictionary(found):
        found = found.value_type
    wanted = _wanted(layout, name)
    if types.is_timestamp(wanted):
        return bool(types.is_timestamp(found) and found.tz in (None, "UTC", "+00:00", "Etc/UTC"))
    if types.is_floating(wanted):
        return bool(types.is_floating(found) or types.is_integer(found))
    if types.is_integer(wanted):
        return bool(types.is_integer(found))
    return bool(types.is_string(found) or types.is_large_string(found))


def _check_prices(layout: Layout, path: Path, table: pa.Table) -> None:
    for column in layout.columns:
        if column.kind is Kind.PRICE:
            values = table[column.name]
            if values.null_count or pc.any(pc.is_nan(values)).as_py():
                raise StorageError(
                    f"{path}: column {column.name} has a NULL; an event without it is no event"
                )


def _times(table: pa.Table) -> Any:
    return table["ts"].cast(pa.int64()).to_numpy()


def _ns(value: int, unit: str) -> int:
    return int(value) * {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
