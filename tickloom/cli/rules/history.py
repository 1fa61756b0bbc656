"""``tickloom rules run``: a rule over stored history."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import structs
from rich.table import Table

from tickloom.cli.rules import Name, Params, app, console, overrides_of
from tickloom.cli.times import time_ns, utc
from tickloom.clock import NS_PER_S, SystemClock
from tickloom.errors import SettingsError

QUESTDB = "questdb"
KINDS = ("trades", "quotes", "statuses", "gaps")


class Format(StrEnum):
    """How signals are written."""

    table = "table"
    csv = "csv"
    parquet = "parquet"


class EngineName(StrEnum):
    """What runs a rule."""

    flink = "flink"
    compiled = "compiled"


Source = Annotated[
    str,
    typer.Option(
        help="questdb, a Parquet file, a folder of trades.parquet, quotes.parquet ..., or of such folders."
    ),
]


@app.command()
def run(
    name: Name,
    begin: Annotated[
        str | None, typer.Option("--from", help="ISO time, UTC if it has no zone. Default: the file's first.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The same, exclusive. Default: all of the file.")
    ] = None,
    engine: Annotated[
        EngineName | None,
        typer.Option(help="compiled needs no server. Default: flink, until `rules parity` has proven it."),
    ] = None,
    source: Source = QUESTDB,
    param: Params = None,
    form: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
    out: Annotated[Path | None, typer.Option(help="File to write; needed for parquet.")] = None,
) -> None:
    """Run a rule over stored history: the same signals, with the same ids, as live."""
    from streaming import engines, rules
    from streaming.authoring import linter
    from streaming.compiled import warm
    from streaming.live import jobs
    from streaming.stored import history
    from tickloom.cli.rules.progress import TimeProgress, figures
    from tickloom.settings import FlinkSettings, KafkaSettings

    if form is Format.parquet and out is None:
        raise SettingsError("parquet is no text: give --out FILE")
    check_out(out)
    rule = rules.bind(rules.find(name), overrides_of(param))
    linter.check(rule)
    chosen = engine.value if engine else jobs.default_engine(rule)
    if chosen == "compiled":
        warm.warm_up(rule)  # seconds at most, once a machine: no part of the ticks' rate
    clock = SystemClock()
    with opened(source) as reader:
        from_ns, to_ns = _range(reader, begin, end)
        stages = (
            [f"{rule.name}: matching"] if chosen == "compiled" else ["to Kafka", f"{rule.name}: matching"]
        )
        with TimeProgress(stages, from_ns, min(to_ns, clock.now_ns())) as progress:
            began_ns = clock.monotonic_ns()
            blocks = history.Metered(
                rule_events(reader, rule, from_ns, to_ns),
                lambda at_ns: progress.reached(at_ns, blocks.events),
            )
            found = history.run_on(
                chosen,
                rule,
                blocks,
                FlinkSettings.load(),
                KafkaSettings.load(),
                on_time=lambda at_ns: progress.reached(at_ns, 0),
            )
            seconds = (clock.monotonic_ns() - began_ns) / NS_PER_S
    write_signals([structs.asdict(signal) for signal in found], form, out)
    print(
        f"{len(found):,} signals of {rule.name} v{rule.version} on {chosen}: "
        f"{figures(blocks.events, seconds)}",
        file=sys.stderr,
    )
    if not blocks.events:
        print(
            f"nothing of {rule.venue} is stored there from {utc(from_ns)} to {utc(to_ns)} UTC; "
            "see the venue in the rule's header, --from and --to",
            file=sys.stderr,
        )
    elif engine is None and chosen == "flink" and engines.is_compiled(rule):
        print(
            f"`tickloom rules parity {rule.name} --date D` proves the compiled engine, the faster one, for "
            "this rule; --engine compiled takes it unproven",
            file=sys.stderr,
        )


def check_out(out: Path | None) -> None:
    """Before a run of minutes, not behind it: what it finds can be written there.

    Raises
    ------
    SettingsError
        It cannot.
    """
    if out is None:
        return
    if out.is_dir():
        raise SettingsError(f"--out {out} is a folder; name a file in it")
    if not out.parent.is_dir():
        raise SettingsError(f"--out {out}: there is no folder {out.parent}; make it, or name another one")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise SettingsError(f"--out {out} may not be written; name another file")


@contextmanager
def opened(source: str) -> Iterator[Any]:
    """What has ``read_events``: QuestDB, or Parquet files."""
    from storage.parquet import ParquetReader
    from storage.reader import QuestDbReader

    if source == QUESTDB:
        with QuestDbReader() as reader:
            yield reader
    else:
        yield ParquetReader(Path(source))


def rule_events(reader: Any, rule: Any, from_ns: int, to_ns: int) -> Iterable[Any]:
    """Stored events of a rule's venue, with its news where the rule reads them.

    Raises
    ------
    SettingsError
        It reads news, and the events are in Parquet files, which have none.
    """
    from storage.news import with_news
    from storage.reader import QuestDbReader
    from streaming.live import jobs

    blocks: Iterable[Any] = reader.read_events(rule.venue, from_ns, to_ns, KINDS)
    if not jobs.reads_news(rule):
        return blocks
    if not isinstance(reader, QuestDbReader):
        raise SettingsError(
            f"rule {rule.name} reads news, which Parquet files do not have; run it over QuestDB"
        )
    return with_news(blocks, reader, rule.venue, from_ns, to_ns)


def _range(reader: Any, begin: str | None, end: str | None) -> tuple[int, int]:
    """The wanted time, ns; of files, what is not said is what they hold."""
    from storage.parquet import ParquetReader

    first = last = None
    if isinstance(reader, ParquetReader):
        held = reader.time_range()
        first, last = (held[0], held[1] + 1) if held else (0, 1)
    from_ns = time_ns(begin) if begin else first
    to_ns = time_ns(end) if end else last
    if from_ns is None or to_ns is None:
        raise SettingsError("QuestDB holds more than a run wants: give --from and --to")
    if to_ns <= from_ns:
        raise SettingsError(f"--to {end or to_ns} is not behind --from {begin or from_ns}")
    return from_ns, to_ns


def write_signals(rows: list[dict[str, Any]], form: Format, out: Path | None) -> None:
    """Signals to the terminal or to a file."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    if form is Format.table and out is None:
        table = Table("time (UTC)", "symbol", "side", box=None)
        for column in ("strength", "ref_price", "first_seq", "last_seq"):
            table.add_column(column, justify="right")
        table.add_column("signal_id")
        for row in rows:
            table.add_row(
                *(time_text(row["ts_event"]), row["symbol"], row["side"]),
                *(f"{row['strength']:.4g}", f"{row['ref_price']:,.4f}"),
                *(str(row["first_seq"]), str(row["last_seq"]), row["signal_id"][:16]),
            )
        console.print(table)
        return
    arrow = pa.Table.from_pylist(rows, schema=_schema())
    if form is Format.parquet:
        parquet.write_table(arrow, out)
    else:
        csv.write_csv(arrow, sys.stdout.buffer if out is None else out)
    if out is not None:
        print(f"{out}: {len(rows):,} signals", file=sys.stderr)


def _schema() -> Any:
    """Of signals as a file: also where there are none, a reader finds the columns."""
    import pyarrow as pa

    kinds = {"strength": pa.float64(), "ref_price": pa.float64()}
    kinds |= dict.fromkeys(("first_seq", "last_seq", "ts_event", "ts_signal"), pa.int64())
    names = (
        *("signal_id", "rule", "version", "symbol", "side", "strength", "ref_price"),
        *("first_seq", "last_seq", "venue", "ts_event", "ts_signal"),
    )
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


def time_text(ts_ns: int) -> str:
    """ISO 8601 in UTC with milliseconds, without its zone."""
    time = datetime.fromtimestamp(ts_ns / NS_PER_S, UTC).isoformat(timespec="milliseconds")
    return time.removesuffix("+00:00")
