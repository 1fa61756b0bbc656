"""SQL in, Arrow out; and stored events back as the blocks they were, in the order they had.

Results travel over HTTP: the PostgreSQL wire of QuestDB 9.3.4 cuts nanoseconds to microseconds.
As Parquet, which is the fastest by far (``benchmarks/storage_read.py``), unless there is a column
that its Parquet export cannot be trusted with: VARCHAR values of a plain SELECT come out as NULL
without a word, and some types as bare numbers. Those go as CSV, parsed into the types that QuestDB
declares.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Self

import httpx
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from storage.applied import wait_applied
from storage.columns import STORED
from storage.connection import Connection, Parameter, away, refused
from storage.replay import CHUNK_ROWS, replay
from tickloom.clock import NS_PER_DAY
from tickloom.errors import ServiceError, StorageError
from tickloom.events import EventBlock
from tickloom.settings import QuestDbSettings

BUSY_PAUSES_S = (0.01, 0.05, 0.2, 0.5, *([1.0] * 60))
TIMEOUT_S = 300.0  # until the first byte, and between two of them: a large sort is silent for long
CHUNK_BYTES = 1 << 20

logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each address, which is the whole statement

_ARROW_TYPES: dict[str, pa.DataType] = {
    "BOOLEAN": pa.bool_(),
    "BYTE": pa.int8(),
    "SHORT": pa.int16(),
    "INT": pa.int32(),
    "LONG": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "DATE": pa.timestamp("ms", "UTC"),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "TIMESTAMP_NS": pa.timestamp("ns", "UTC"),
}
#: Types that the Parquet export carries right; a result with any other goes as CSV.
_PARQUET_TYPES = frozenset(_ARROW_TYPES) | {"SYMBOL", "STRING", "ARRAY"}


class QuestDbReader:
    """Asks QuestDB. Opens its connections when they are needed; close it, or use ``with``.

    Every method raises ServiceError where QuestDB is away or refuses the password, and StorageError
    where it refuses the statement, with its message and the place in the statement.
    """

    def __init__(self, settings: QuestDbSettings | None = None) -> None:
        self._settings = settings or QuestDbSettings.load()
        self._connection = Connection(self._settings)
        self._pause = threading.Event()
        self._http = httpx.Client(
            base_url=self._settings.http_url,
            auth=(self._settings.user, self._settings.password()),
            timeout=TIMEOUT_S,
            trust_env=False,  # a proxy of the environment has no business between us and our database
            # QuestDB lets only as many connections export as it has cores, idle ones included
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both connections."""
        self._connection.close()
        self._http.close()

    def query(self, sql: str, params: Sequence[Parameter] = (), limit: int | None = None) -> pa.Table:
        """Result of any statement; one without rows (DDL) gives a table without columns.

        Parameters
        ----------
        params : sequence
            Values for ``%s`` in ``sql`` (write ``%%`` for a percent sign then).
        limit : int, optional
            At most so many rows; the rest is not transferred.

        Returns
        -------
        pyarrow.Table
            TIMESTAMP_NS as timestamp[ns, UTC], TIMESTAMP as timestamp[us, UTC], LONG as int64, DOUBLE
            as double, SYMBOL and VARCHAR as string; NULL as null. Types that Arrow does not have
            (UUID, IPv4, GEOHASH ...) as their text.
        """
        sql = bind(sql, params)
        columns = self._describe(sql)
        if not columns:
            return pa.table({})
        with tempfile.TemporaryDirectory(prefix="tickloom-") as directory:
            path = Path(directory) / "result"
            # a limit is only heard for CSV
            if limit is None and _as_parquet(columns) and self._save_parquet(sql, path):
                return pyarrow.parquet.read_table(path, memory_map=False).replace_schema_metadata(None)
            self._save(self._stream(sql, limit=limit), path)
            return _read_csv(path, columns)

    def export_parquet(self, sql: str, path: Path, params: Sequence[Parameter] = ()) -> int:
        """Write the result to a Parquet file, without holding it in memory where that can be; its rows."""
        sql = bind(sql, params)
        columns = self._describe(sql)
        if not (columns and _as_parquet(columns) and self._save_parquet(sql, path)):
            pyarrow.parquet.write_table(self.query(sql), path)
        rows: int = pyarrow.parquet.read_metadata(path).num_rows
        return rows

    def stream_csv(
        self, sql: str, params: Sequence[Parameter] = (), limit: int | None = None
    ) -> Iterator[bytes]:
        """The result as CSV with a header, in pieces: ISO 8601 times in UTC, NULL as nothing, text quoted."""
        sql = bind(sql, params)
        return self._stream(sql, limit=limit) if self._describe(sql) else iter(())

    def read_events(
        self,
        venue: str,
        from_ns: int,
        to_ns: int,
        kinds: Sequence[str] = ("trades", "quotes"),
        symbols: Sequence[str] | None = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> Iterator[EventBlock]:
        """Events of a venue with from_ns <= ts_event < to_ns, in blocks, in (ts_event, seq) order.

        Each kind is in that order inside a block, and no event of a block comes before one of an earlier
        block. Blocks hold one session each, and about ``chunk_rows`` rows of each kind; one SymbolTable
        serves them all. Prices are back in exact nanos.
        """
        for kind in kinds:
            if kind not in STORED:
                raise StorageError(f"no event table {kind!r}; there are {', '.join(STORED)}")

        def load(kind: str, since_ns: int, limit: int) -> pa.Table:
            chosen = ["session", *STORED[kind].selected]
            wanted = [_text(venue), str(since_ns), str(to_ns)]
            sql = "SELECT {} FROM {} WHERE venue = {} AND ts >= {} AND ts < {}".format(
                ", ".join(chosen), kind, *wanted
            )
            if symbols is not None:
                sql += f" AND symbol IN ({', '.join(_text(symbol) for symbol in symbols)})"
            return self._fast(f"{sql} LIMIT {limit}")

        if symbols is not None and not symbols:
            return iter(())
        return replay(load, venue, from_ns, to_ns, tuple(kinds), chunk_rows)

    def count_by_symbol(
        self, table: str, venue: str, session: str | None = None, day: date | None = None
    ) -> dict[str, int]:
        """Rows of a venue by symbol, of a session, of a UTC day of ``ts``, or of all time."""
        conditions, params = self._where(venue, session, day)
        sql = f"SELECT symbol, count() FROM {_identifier(table)} WHERE {conditions}"
        return {symbol or "": int(count) for symbol, count in self._connection.fetch(sql, params)}

    def time_range(
        self, table: str, venue: str, session: str | None = None, day: date | None = None
    ) -> tuple[int, int] | None:
        """Earliest and latest ``ts`` in ns, or None where there are no rows."""
        conditions, params = self._where(venue, session, day)
        sql = (
            f"SELECT min(ts)::timestamp_ns::long, max(ts)::timestamp_ns::long "
            f"FROM {_identifier(table)} WHERE {conditions}"
        )
        first, last = self._connection.fetch(sql, params)[0]
        return None if first is None else (int(first), int(last))

    def fetch(self, sql: str, params: Sequence[Parameter] = ()) -> list[tuple[Any, ...]]:
        """Rows of a small statement over the PostgreSQL wire. Ask times as ``ts::long``: it cuts them."""
        return self._connection.fetch(sql, params)

    @staticmethod
    def _where(venue: str, session: str | None, day: date | None) -> tuple[str, list[Parameter]]:
        conditions, params = ["venue = %s"], [venue]
        if session is not None:
            conditions.append("session = %s")
            params.append(session)
        if day is not None:
            from_ns = (day - date(1970, 1, 1)).days * NS_PER_DAY
            conditions.append(f"ts >= {from_ns} AND ts < {from_ns + NS_PER_DAY}")
        return " AND ".join(conditions), list(params)

    def _fast(self, sql: str) -> pa.Table:
        """Result of a SELECT that is known to have no column that Parquet loses."""
        with tempfile.NamedTemporaryFile(prefix="tickloom-") as file:
            self._save(self._stream(sql, parquet=True), Path(file.name))
            return pyarrow.parquet.read_table(file.name, memory_map=False)

    def _describe(self, sql: str) -> list[dict[str, Any]]:
        """Name and type of the result's columns; this runs what is no SELECT."""
        try:
            answer = self._http.get("/exec", params={"query": sql, "limit": "1"})
        except httpx.HTTPError as error:
            raise away(self._settings, error) from None
        self._check(sql, answer)
        columns: list[dict[str, Any]] = answer.json().get("columns", [])
        return columns

    def _stream(self, sql: str, *, parquet: bool = False, limit: int | None = None) -> Iterator[bytes]:
        params = {"query": sql}
        if parquet:
            params["fmt"] = "parquet"
        if limit is not None:
            params["limit"] = str(limit)
        try:
            for pause_s in BUSY_PAUSES_S:
                with self._http.stream("GET", "/exp", params=params) as answer:
                    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                        self._pause.wait(pause_s)
                        continue
                    if answer.status_code != httpx.codes.OK:
                        answer.read()
                        self._check(sql, answer)
                    yield from answer.iter_bytes(CHUNK_BYTES)
                    return
        except httpx.HTTPError as error:
            raise away(self._settings, error) from None
        raise ServiceError(
            f"QuestDB has been busy with as many exports as it allows for {sum(BUSY_PAUSES_S):.0f} s. Try "
            "again later, or start it with a larger QDB_HTTP_EXPORT_CONNECTION_LIMIT."
        )

    def _save_parquet(self, sql: str, path: Path) -> bool:
        """Whether it could be: QuestDB refuses Parquet of some expressions, such as a literal NULL."""
        try:
            self._save(self._stream(sql, parquet=True), path)
        except StorageError as error:
            if "ParquetWriter" in str(error):
                return False
            raise
        return True

    def _save(self, parts: Iterator[bytes], path: Path) -> None:
        with path.open("wb") as file:
            for part in parts:
                file.write(part)

    def _check(self, sql: str, answer: httpx.Response) -> None:
        if answer.status_code == httpx.codes.OK:
            return
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise away(self._settings, RuntimeError("401"))
        try:
            finding = answer.json()
            message, position = str(finding["error"]), int(finding.get("position", -1))
        except (ValueError, KeyError):
            raise away(
                self._settings, RuntimeError(f"HTTP {answer.status_code} {answer.text[:200]}")
            ) from None
        raise refused(sql, message, position)


def query(sql: str, params: Sequence[Parameter] = (), *, settings: QuestDbSettings | None = None) -> pa.Table:
    """:meth:`QuestDbReader.query` over a connection of its own."""
    with QuestDbReader(settings) as reader:
        return reader.query(sql, params)


def read_events(
    venue: str,
    from_ns: int,
    to_ns: int,
    kinds: Sequence[str] = ("trades", "quotes"),
    symbols: Sequence[str] | None = None,
    chunk_rows: int = CHUNK_ROWS,
    *,
    settings: QuestDbSettings | None = None,
) -> Iterator[EventBlock]:
    """:meth:`QuestDbReader.read_events` over a connection of its own."""
    with QuestDbReader(settings) as reader:
        yield from reader.read_events(venue, from_ns, to_ns, kinds, symbols, chunk_rows)


def count_by_symbol(
    settings: QuestDbSettings,
    table: str,
    venue: str,
    session: str | None = None,
    day: date | None = None,
) -> dict[str, int]:
    """:meth:`QuestDbReader.count_by_symbol` once everything acknowledged is visible."""
    wait_applied(settings, [table])
    with QuestDbReader(settings) as reader:
        return reader.count_by_symbol(table, venue, session, day)


def bind(sql: str, params: Sequence[Parameter]) -> str:
    """``sql`` with each ``%s`` replaced by a literal; untouched where there are no parameters.

    Raises
    ------
    StorageError
        Their number is not that of the placeholders.
    """
    if not params:
        return sql
    try:
        return sql % tuple(_literal(value) for value in params)
    except (TypeError, ValueError) as error:
        raise StorageError(f"{sql}: {error}; write %s for each of the {len(params)} parameters") from None


def _literal(value: Parameter) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _:
            return _text(value)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    if not name.replace("_", "").isalnum():
        raise StorageError(f"{name!r} is no table name")
    return name


def _as_parquet(columns: Sequence[dict[str, Any]]) -> bool:
    return all(column["type"] in _PARQUET_TYPES for column in columns)


def _read_csv(path: Path, columns: Sequence[dict[str, Any]]) -> pa.Table:
    types = {column["name"]: _ARROW_TYPES.get(column["type"], pa.string()) for column in columns}
    if path.stat().st_size == 0:
        return pa.schema(list(types.items())).empty_table()
    return pyarrow.csv.read_csv(
        path,
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,  # "" is the empty text, nothing at all is NULL
        ),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
    )
