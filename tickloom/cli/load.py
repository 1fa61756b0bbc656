"""``tickloom load``: files and captures straight into QuestDB and Parquet, by the decoders that run live."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickloom.clock import NS_PER_S, SystemClock
from tickloom.errors import FeedError, PriceRangeError, SettingsError
from tickloom.settings import QuestDbSettings, StackSettings
from tickloom.telemetry import configure_logging

if TYPE_CHECKING:
    from ingest.bulk.load import Loaded, Options
    from ingest.bulk.source import Source
    from storage.parquet_sink import ParquetSink

UPDATE_NS = NS_PER_S // 5  # between two updates of the bar
APPLIED_TIMEOUT_S = 600.0  # for QuestDB to show what it has acknowledged

Progress = Callable[[int], None]


def load(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Captures (folders), ITCH, pcap, DBN, Lean zips, CSV, Parquet; also gzip or zstd.",
        ),
    ],
    venue: Annotated[str, typer.Option(help="Whose data it is; captures and most DBN files say it.")] = "",
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="The trading day, where a file does not tell it."),
    ] = None,
    questdb: Annotated[bool, typer.Option(help="Into QuestDB.")] = True,
    parquet: Annotated[
        Path | None, typer.Option(help="Also into Parquet: FOLDER/VENUE/SESSION/trades.parquet ...")
    ] = None,
    kind: Annotated[str, typer.Option(help="Of rows in CSV and Parquet: trades or quotes.")] = "",
    columns: Annotated[str, typer.Option(help="Which column is what: time=ts,price=px,size=qty.")] = "",
    symbol: Annotated[str, typer.Option(help="Of all rows, if no column has it.")] = "",
    time_unit: Annotated[str, typer.Option(help="Of numbers as times: auto, s, ms, us or ns.")] = "auto",
    timezone: Annotated[str, typer.Option(help="Of times that do not say theirs.")] = "UTC",
    exchange: Annotated[str, typer.Option(help="Of Lean's trades: this exchange alone, by its letter.")] = "",
    session: Annotated[
        str, typer.Option(help="Name of the session, of one file of rows: YYYYMMDD.NAME.")
    ] = "",
    rejects: Annotated[
        Path | None, typer.Option(help="Folder for rows that are no events. Default: DATA_DIR/rejects.")
    ] = None,
) -> None:
    """Load files into QuestDB and Parquet, and print what became of them as JSON. Again, or after a kill: it
    goes on where QuestDB is, and nothing is there twice."""
    from ingest.bulk.load import Options
    from ingest.bulk.tables import TableOptions

    if not questdb and parquet is None:
        raise SettingsError("--no-questdb leaves nowhere to load to; name a folder with --parquet")
    _check_session(session, len(paths))
    configure_logging("load")
    table = TableOptions(kind, columns, symbol, time_unit, timezone, session, day.date() if day else None)
    options = Options(rejects or StackSettings.load().data_dir / "rejects", venue, exchange, table)
    database = QuestDbSettings.load() if questdb else None
    if database is not None:
        from storage import schema

        schema.apply(database)
    reports = [_one(path, options, database, parquet) for path in paths]
    total = {
        "files": reports,
        "events": sum(report.get("events", 0) for report in reports),
        "failed": sum("error" in report for report in reports),
    }
    print(json.dumps(total, indent=1))
    if total["failed"]:
        raise typer.Exit(1)


def _check_session(session: str, files: int) -> None:
    from ingest.capture import usable_session
    from ingest.feeds import session_date

    if not session:
        return
    session_date(session)
    if not usable_session(session):
        raise SettingsError(f"--session {session!r}: letters, digits, dot, dash and underscore alone")
    if files > 1:
        raise SettingsError("--session is for one file: rows of several would have the same numbers")


def _one(
    path: Path, options: Options, database: QuestDbSettings | None, folder: Path | None
) -> dict[str, Any]:
    """Load one file. What is wrong with it is in its report, and the others are loaded; a server that is
    away, or a full disk, ends the command."""
    from ingest.bulk.load import load as run
    from ingest.bulk.load import open_source
    from storage.parquet_sink import ParquetSink
    from storage.writer import QuestDbSink

    files = ParquetSink(folder) if folder is not None else None
    sinks: list[Any] = [files] if files is not None else []
    source: Source | None = None
    try:
        source = open_source(path, options)
        if database is not None:
            sinks.append(QuestDbSink(database))
            sinks[-1].resume_after(source.venue, source.session)  # says at once if it is away
        with _bar(source) as progress:
            loaded = run(source, sinks, progress)
        for sink in sinks:
            sink.close()
    except (FeedError, PriceRangeError, SettingsError) as error:
        _leave(sinks, files)
        print(f"tickloom: {error}", file=sys.stderr)
        return {"file": str(path), "error": str(error), **(source.report() if source else {})}
    except BaseException:
        _leave(sinks, files)
        raise
    report = _report(source, loaded, database, files)
    refused = report.get("rejected", {})
    if refused.get("rows") and not loaded.events:
        report["error"] = f"{source.name}: no row of it is an event; {refused['file']} says why of each"
        print(f"tickloom: {report['error']}", file=sys.stderr)
    return report


def _leave(sinks: Sequence[Any], files: ParquetSink | None) -> None:
    """Give up: no half of a Parquet file, and no thread of a sink."""
    if files is not None:
        files.abandon()
    for sink in sinks:
        if sink is not files:
            with contextlib.suppress(Exception):
                sink.close(timeout_s=0.0)


def _report(
    source: Source, loaded: Loaded, database: QuestDbSettings | None, files: ParquetSink | None
) -> dict[str, Any]:
    counts = loaded.by_table()
    report: dict[str, Any] = {
        "file": source.name,
        "venue": source.venue,
        "session": source.session,
        **source.report(),
        "events": loaded.events,
        "by_table": counts,
        "gaps": loaded.counts["gaps"],
        "seconds": round(loaded.seconds, 3),
        "events_per_s": round(loaded.events / max(loaded.seconds, 1e-9)),
    }
    if report.get("damage"):
        print(f"tickloom: {report['damage']}; what is whole before it was loaded", file=sys.stderr)
    if database is not None:
        report["in_questdb"] = _stored(database, source, [table for table, count in counts.items() if count])
    if files is not None:
        report["parquet"] = {"folder": str(files.path or files.folder), "rows": files.rows}
    return report


def _stored(settings: QuestDbSettings, source: Source, tables: list[str]) -> dict[str, int]:
    """Rows of the session that QuestDB shows, of which it has acknowledged all."""
    from storage.applied import wait_applied
    from storage.connection import Connection

    if not tables:
        return {}
    wait_applied(settings, tables, APPLIED_TIMEOUT_S)
    found = {}
    with Connection(settings) as connection:
        for table in tables:
            sql = f"SELECT count() FROM {table} WHERE venue = %s AND session = %s"
            found[table] = int(connection.fetch(sql, (source.venue, source.session))[0][0])
    return found


@contextlib.contextmanager
def _bar(source: Source) -> Iterator[Progress]:
    """A bar of bytes, events, events a second and the time left; nothing where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)
    shown = TextColumn("{task.fields[events]:,} events, {task.fields[rate]:,}/s")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), shown, TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    clock = SystemClock()
    began_ns = updated_ns = clock.monotonic_ns()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(Path(source.name).name, total=source.size_bytes or None, events=0, rate=0)

        def update(events: int) -> None:
            nonlocal updated_ns
            now_ns = clock.monotonic_ns()
            if now_ns - updated_ns < UPDATE_NS:
                return
            updated_ns = now_ns
            rate = int(events * NS_PER_S / max(1, now_ns - began_ns))
            bar.update(task, completed=source.position(), events=events, rate=rate)

        yield update
