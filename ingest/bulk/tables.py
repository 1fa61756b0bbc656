"""Rows of a CSV or Parquet file in, trades or quotes out; what is no event goes to the rejects with its line.

``seq`` is the session's day and the line (CSV) or row (Parquet) of the file, so that an event tells where it
came from, and loading again, whole or after a kill, changes nothing.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from ingest.bulk import values
from ingest.bulk.mapping import Mapping, mapping_of
from ingest.bulk.source import Emit, Rejects, bytes_read, lines_of, session_of
from ingest.pcap import DAMAGE, open_plain, open_sound
from tickloom.clock import NS_PER_S
from tickloom.errors import DecodeError, SettingsError
from tickloom.events import QUOTE_DTYPE, SEQ_PER_DAY, TRADE_DTYPE, EventBlock, Records, SymbolTable, seq_base
from tickloom.instruments import Registry
from tickloom.prices import NO_PRICE
from tickloom.rows import picked

BLOCK_BYTES = 4 << 20  # of CSV at once: about 80,000 rows
BLOCK_ROWS = 65_536  # of Parquet at once
_NANOS = ("price", "size", "bid_price", "bid_size", "ask_price", "ask_size")


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How a table is read; the options of ``tickloom load`` of the same names."""

    kind: str = ""
    columns: str = ""
    symbol: str = ""
    time_unit: str = "auto"
    timezone: str = "UTC"
    session: str = ""
    day: date | None = None


class TableSource:
    """A file of rows. See :class:`ingest.bulk.source.Source`.

    Raises
    ------
    SettingsError
        The columns are not clear, or a column that was named is not there.
    DecodeError
        The file cannot be read.
    """

    def __init__(
        self, path: Path, venue: str, options: TableOptions, rejects: Rejects, registry: Registry
    ) -> None:
        self.name, self.venue, self.session = str(path), venue, options.session
        self.size_bytes = path.stat().st_size
        self.rows = 0
        self._path, self._options, self._rejects, self._registry = path, options, rejects, registry
        self._times = values.Times(options.time_unit, options.timezone)
        self._symbols = SymbolTable()
        self._base = 0
        self._latest_ns = 0
        self._parquet = is_parquet(path)
        self._mapping: Mapping | None = None
        self._invalid: list[int] = []  # lines that have another number of values than the header
        self._at = 0

    def run(self, emit: Emit) -> None:
        """Hand all events on. Raises DecodeError where the file is damaged, behind what came before."""
        try:
            for first, chunk in self._parquet_chunks() if self._parquet else self._csv_chunks():
                block = self._block(first, chunk)
                if len(block):
                    emit(block, self._latest_ns, self._base + int(self._numbers(first, chunk.num_rows)[-1]))
        finally:
            self._rejects.close()

    def position(self) -> int:
        return self._at if self._parquet else bytes_read(self._path)

    def report(self) -> dict[str, Any]:
        kind = self._mapping.kind if self._mapping else ""
        return {
            "format": "parquet" if self._parquet else "csv",
            "kind": kind,
            "rows": self.rows + len(self._invalid),
            "rejected": self._rejects.report(),
        }

    def _names(self, names: list[str]) -> list[str]:
        """Columns to read; the mapping is made of all there are."""
        options = self._options
        if len(set(names)) < len(names):
            raise SettingsError(
                f"{self.name} has two columns of one name among {', '.join(names)}; rename one"
            )
        self._mapping = mapping_of(names, options.kind, options.columns, options.symbol, self.name)
        return sorted(set(self._mapping.columns.values()))

    def _csv_chunks(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Number of the first row behind the header, and rows as text."""
        with open_sound(self._path) as file:
            header = file.readline().removeprefix(codecs.BOM_UTF8)  # as Arrow does with the file itself
        try:
            # In memory of Arrow's own: a thread of its reads ahead, and if the last to let go of Python's is
            # that thread, while the process ends over what is wrong here, it takes the process down.
            own = pa.BufferOutputStream()
            own.write(header)
            names = pyarrow.csv.read_csv(pa.BufferReader(own.getvalue())).column_names
            wanted = self._names(list(names))
            reader = pyarrow.csv.open_csv(
                open_plain(self._path),
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(
                    invalid_row_handler=self._invalid_row, ignore_empty_lines=False
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, pa.string()),
                    include_columns=wanted,
                    strings_can_be_null=False,
                ),
            )
            row = 0
            for chunk in reader:
                yield row, chunk
                row += chunk.num_rows
        except (pa.ArrowInvalid, *DAMAGE) as error:
            raise DecodeError("csv", f"{self.name}: {error}") from None

    def _invalid_row(self, row: Any) -> str:
        self._invalid.append(int(row.number))
        detail = f"{row.actual_columns} values; the header has {row.expected_columns}"
        self._rejects.add(int(row.number), "another number of values", detail, row.text or "")
        return "skip"

    def _parquet_chunks(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        try:
            file = pyarrow.parquet.ParquetFile(self._path)
            wanted = self._names(file.schema_arrow.names)
            row = 0
            for chunk in file.iter_batches(BLOCK_ROWS, columns=wanted):
                yield row, chunk
                row += chunk.num_rows
                self._at = int(self.size_bytes * row / max(1, file.metadata.num_rows))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise DecodeError("parquet", f"{self.name} cannot be read as Parquet: {error}") from None

    def _numbers(self, first: int, count: int) -> NDArray[np.int64]:
        """Line (CSV) or row (Parquet) of each row, from 1."""
        if self._parquet:
            return np.arange(first + 1, first + count + 1, dtype=np.int64)
        return lines_of(np.arange(first + 2, first + count + 2, dtype=np.int64), self._invalid)

    def _block(self, first: int, chunk: pa.RecordBatch) -> EventBlock:
        assert self._mapping is not None
        columns = {field: chunk.column(name) for field, name in self._mapping.columns.items()}
        columns = {
            field: column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            for field, column in columns.items()
        }
        count = chunk.num_rows
        self.rows += count
        numbers = self._numbers(first, count)
        if count and int(numbers[-1]) >= SEQ_PER_DAY:
            raise DecodeError("file", f"{self.name} has more than {SEQ_PER_DAY - 1:,} lines; split it")
        records, bad = self._records(columns, count)
        good = np.ones(count, dtype=bool)
        for row, (field, reason) in sorted(bad.items()):
            good[row] = False
            text = ", ".join(f"{name}={column[row].as_py()}" for name, column in columns.items())
            value = columns[field][row].as_py() if field in columns else ""
            what = f"{field} {_short(reason)}"
            self._rejects.add(int(numbers[row]), what, f"{value!r} {reason}", text)
        records["seq"] = numbers
        return self._begun(picked(records, good))

    def _records(
        self, columns: dict[str, pa.Array], count: int
    ) -> tuple[Records, dict[int, tuple[str, str]]]:
        """Rows as records, and the field and reason of those that are none."""
        assert self._mapping is not None
        bad: dict[int, tuple[str, str]] = {}
        quotes = self._mapping.kind == "quotes"
        records = np.zeros(count, dtype=QUOTE_DTYPE if quotes else TRADE_DTYPE)

        def put(name: str, field: str, found: NDArray[Any], wrong: values.Bad) -> None:
            records[name] = found
            for row, reason in wrong.items():
                bad.setdefault(row, (field, reason))

        put("ts_event", "time", *self._times.read(columns["time"]))
        records["ts_recv"] = records["ts_event"]
        if "time_received" in columns:
            put("ts_recv", "time_received", *self._times.read(columns["time_received"]))
        for field in _NANOS:
            if field in columns:
                put(field, field, *values.nanos(columns[field], optional=quotes))
        if "side" in columns:
            put("side", "side", *values.sides(columns["side"]))
        if "id" in columns:
            put("venue_id", "id", *values.whole_numbers(columns["id"]))
        put("symbol", "symbol", *self._names_of(columns.get("symbol"), count))
        for row, (field, reason) in _senseless(records, quotes).items():
            bad.setdefault(row, (field, reason))
        return records, bad

    def _names_of(self, column: pa.Array | None, count: int) -> tuple[NDArray[np.int32], values.Bad]:
        """Indices of canonical symbols."""
        if column is None:
            assert self._mapping is not None
            return np.full(count, self._index(self._mapping.symbol), dtype=np.int32), {}
        encoded = column.cast(pa.string()).fill_null("").dictionary_encode()
        indices = encoded.indices.to_numpy()
        table = [self._index(text.strip()) if text.strip() else 0 for text in encoded.dictionary.to_pylist()]
        found = np.array(table or [0], dtype=np.int32)[indices] if count else np.zeros(0, dtype=np.int32)
        return found, dict.fromkeys(np.flatnonzero(found == 0).tolist(), "is empty")

    def _index(self, name: str) -> int:
        known = self._registry.by_venue_symbol(self.venue, name)
        return self._symbols.index(known.symbol if known else name)

    def _begun(self, records: Records) -> EventBlock:
        """A block; the first one settles session and day."""
        block = EventBlock(self.venue, self.session, self._symbols)
        if not len(records):
            return block
        if not self._base:
            first = datetime.fromtimestamp(int(records["ts_event"][0]) / NS_PER_S, UTC).date()
            day = self._options.day or first
            stem = self._path.name.split(".")[0]
            kind = "PARQUET" if self._parquet else "CSV"
            self.session = self.session or session_of(f"{day:%Y%m%d}", kind, stem)
            self._base = seq_base(day)
            block = EventBlock(self.venue, self.session, self._symbols)
        records["seq"] += self._base
        self._latest_ns = max(self._latest_ns, int(records["ts_event"].max()))
        if records.dtype == TRADE_DTYPE:
            block.trades = records
        else:
            block.quotes = records
        return block


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet does."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _senseless(records: Records, quotes: bool) -> dict[int, tuple[str, str]]:
    """Rows whose values are sound and make no event; empty sides of quotes are made so."""
    if not quotes:
        return dict.fromkeys(np.flatnonzero(records["size"] <= 0).tolist(), ("size", "is not above 0"))
    for side in ("bid", "ask"):
        price, size = records[f"{side}_price"], records[f"{side}_size"]
        none = (price == NO_PRICE) | (size == NO_PRICE) | (size == 0)
        price[none], size[none] = NO_PRICE, 0
    wrong = (records["bid_size"] < 0) | (records["ask_size"] < 0)
    return dict.fromkeys(np.flatnonzero(wrong).tolist(), ("size", "is below 0"))


def _short(reason: str) -> str:
    """A reason without the value in it, for counting."""
    for known in ("more than nine decimals", "too large", "does not survive as a double"):
        if known in reason:
            return f"has {known}" if known.startswith("more") else f"is {known}" if known[0] == "t" else known
    return reason
