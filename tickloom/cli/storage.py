"""``tickloom sql`` asks QuestDB; ``tickloom schema`` makes its tables."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickloom.errors import StorageError

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(
    help="The tables in QuestDB: made by numbered .sql files, each applied once.", no_args_is_help=True
)

WIDTH_MAX = 100_000
TABLE_ROWS = 100  # on a screen; --limit asks for others


class Format(StrEnum):
    """How ``tickloom sql`` answers."""

    TABLE = "table"
    CSV = "csv"
    PARQUET = "parquet"


def sql(
    query: Annotated[str, typer.Argument(help="A statement; - reads it from standard input.")],
    format_: Annotated[Format, typer.Option("--format", "-f", help="table, csv or parquet.")] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(help="File to write to; needed for parquet.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"At most so many rows; 0: all. Default: all, {TABLE_ROWS} as a table."),
    ] = None,
) -> None:
    """Run a SQL statement in QuestDB and show, or save, its result. Times are UTC, to the nanosecond."""
    from storage.reader import QuestDbReader

    if query == "-":
        query = sys.stdin.read()
    if out is not None and format_ is Format.TABLE:
        format_ = _format_of(out)
    if out is None and format_ is Format.PARQUET:
        raise StorageError("Parquet is not for a screen: name a file with --out FILE.parquet")
    rows = None if limit == 0 else limit
    with QuestDbReader() as reader:
        if format_ is Format.TABLE:
            _print_table(reader, query, TABLE_ROWS if limit is None else rows)
        elif format_ is Format.CSV:
            _write_csv(reader, query, out, rows)
        else:
            assert out is not None
            _write_parquet(reader, query, out, rows)


def export(
    venue: Annotated[str, typer.Argument(help="Venue, such as XNAS.")],
    folder: Annotated[Path, typer.Argument(help="Folder for trades.parquet, quotes.parquet ...")],
    begin: Annotated[str, typer.Option("--from", help="ISO time, UTC if it has no zone.")],
    end: Annotated[str, typer.Option("--to", help="The same, exclusive.")],
) -> None:
    """Write a venue's stored events to Parquet files, which `tickloom rules run --source` reads."""
    from storage.parquet import write_events
    from storage.reader import QuestDbReader
    from tickloom.cli.times import time_ns

    kinds = ("trades", "quotes", "statuses", "gaps")
    with QuestDbReader() as reader:
        blocks = reader.read_events(venue, time_ns(begin), time_ns(end), kinds)
        rows = write_events(blocks, folder, kinds)
    print(f"{folder}: {', '.join(f'{number:,} {kind}' for kind, number in rows.items())}", file=sys.stderr)


@app.command("apply")
def schema_apply() -> None:
    """Apply the schema files that are not applied yet. Applying again changes nothing."""
    from storage import schema
    from tickloom.settings import QuestDbSettings

    applied = schema.apply(QuestDbSettings.load())
    for name in applied:
        print(f"applied {name}")
    print(f"{len(applied)} applied, the schema is up to date")


@app.command("status")
def schema_status() -> None:
    """Show which schema files are applied, pending, or changed since; exit code 1 if any is not applied."""
    from storage import schema
    from tickloom.settings import QuestDbSettings

    states = schema.status(QuestDbSettings.load())
    for item in states:
        print(f"{item.state:8} {item.name}")
    if any(item.state != "applied" for item in states):
        raise typer.Exit(1)


def _format_of(out: Path) -> Format:
    try:
        return Format(out.suffix.lstrip("."))
    except ValueError:
        raise StorageError(f"--out {out}: say --format csv or --format parquet, or end the name so") from None


def _write_csv(reader: Any, query: str, out: Path | None, limit: int | None) -> None:
    if out is None:
        for part in reader.stream_csv(query, limit=limit):
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        return
    with _writable(out).open("wb") as file:
        for part in reader.stream_csv(query, limit=limit):
            file.write(part)
    print(f"{out}: {out.stat().st_size:,} bytes", file=sys.stderr)


def _write_parquet(reader: Any, query: str, out: Path, limit: int | None) -> None:
    import pyarrow.parquet

    _writable(out)
    if limit is None:
        rows = reader.export_parquet(query, out)
    else:
        result = reader.query(query, limit=limit)
        pyarrow.parquet.write_table(result, out)
        rows = result.num_rows
    print(f"{out}: {rows:,} rows", file=sys.stderr)


def _writable(out: Path) -> Path:
    if not out.parent.is_dir():
        raise StorageError(f"--out {out}: the folder {out.parent} does not exist; make it first")
    return out


def _print_table(reader: Any, query: str, limit: int | None) -> None:
    result = reader.query(query, limit=None if limit is None else limit + 1)
    if not result.num_columns:
        print("OK")
        return
    more = limit is not None and result.num_rows > limit
    shown = result.slice(0, limit) if more else result
    _render(shown)
    if more:
        print(f"the first {limit} rows; --limit 0 shows all, --format csv streams them", file=sys.stderr)
    else:
        print(f"{shown.num_rows} row{'' if shown.num_rows == 1 else 's'}", file=sys.stderr)


def _render(result: pa.Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for field in result.schema:
        table.add_column(
            Text(field.name), justify="right" if _is_number(field.type) else "left", no_wrap=True
        )
    columns = [_texts(column) for column in result.columns]
    for row in zip(*columns, strict=True):
        table.add_row(*(Text(value) for value in row))
    # as wide as it is: a terminal folds long lines, but no digit of a price is ever cut away
    Console(width=WIDTH_MAX, file=sys.stdout).print(table, crop=False)


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Values as text: times in ISO 8601 with all the digits of their unit, numbers whole, NULL as nothing."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        times = column.cast(pa.timestamp(column.type.unit)).to_numpy()
        return ["" if np.isnat(time) else f"{time}Z" for time in times]
    if pa.types.is_floating(column.type):
        return ["" if value is None else _number(value) for value in column.to_pylist()]
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _number(value: float) -> str:
    """The shortest decimal that is this double, without an exponent where it can be read without."""
    import numpy as np

    if value == 0 or 1e-9 <= abs(value) < 1e16:
        return np.format_float_positional(value, trim="0")
    return repr(value)
