"""``tickloom rules run``: a rule over stored history."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tickloom.cli.rules import Name, Params, app, console, overrides_of
from tickloom.clock import NS_PER_S
from tickloom.errors import SettingsError


class Format(StrEnum):
    """How signals are written."""

    table = "table"
    csv = "csv"
    parquet = "parquet"


@app.command()
def run(
    name: Name,
    begin: Annotated[str, typer.Option("--from", help="ISO time, UTC if it has no zone.")],
    end: Annotated[str, typer.Option("--to", help="ISO time, UTC if it has no zone; exclusive.")],
    param: Params = None,
    form: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
    out: Annotated[Path | None, typer.Option(help="File to write; needed for parquet.")] = None,
) -> None:
    """Run a rule over stored history: the same signals, with the same ids, as live."""
    from storage.reader import QuestDbReader
    from streaming import history, linter, rules
    from tickloom.settings import FlinkSettings, KafkaSettings

    if form is Format.parquet and out is None:
        raise SettingsError("parquet is no text: give --out FILE")
    rule = rules.find(name)
    linter.check(rule)
    from_ns, to_ns = _time_ns(begin), _time_ns(end)
    if to_ns <= from_ns:
        raise SettingsError(f"--to {end} is not behind --from {begin}")
    with QuestDbReader() as reader, console.status(f"{rule.name} over {begin} to {end}"):
        blocks = reader.read_events(rule.venue, from_ns, to_ns, ("trades", "quotes", "statuses", "gaps"))
        found = history.run(
            [rule], blocks, FlinkSettings.load(), KafkaSettings.load(), overrides=overrides_of(param)
        )[rule.name]
    _write([asdict(signal) for signal in found], form, out)
    print(f"{len(found):,} signals of {rule.name} v{rule.version}", file=sys.stderr)


def _write(rows: list[dict[str, Any]], form: Format, out: Path | None) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    if form is Format.table and out is None:
        table = Table("time (UTC)", "symbol", "side", box=None)
        for column in ("strength", "ref_price", "first_seq", "last_seq"):
            table.add_column(column, justify="right")
        table.add_column("signal_id")
        for row in rows:
            time = datetime.fromtimestamp(row["ts_event"] / NS_PER_S, UTC).isoformat(timespec="milliseconds")
            table.add_row(
                *(time.removesuffix("+00:00"), row["symbol"], row["side"]),
                *(f"{row['strength']:.4g}", f"{row['ref_price']:,.4f}"),
                *(str(row["first_seq"]), str(row["last_seq"]), row["signal_id"][:16]),
            )
        console.print(table)
        return
    arrow = pa.Table.from_pylist(rows)
    if form is Format.parquet:
        parquet.write_table(arrow, out)
    else:
        csv.write_csv(arrow, sys.stdout.buffer if out is None else out)
    if out is not None:
        print(f"{out}: {len(rows):,} signals", file=sys.stderr)


def _time_ns(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no time such as 2026-11-20T14:30:00") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1_000_000) * 1_000
