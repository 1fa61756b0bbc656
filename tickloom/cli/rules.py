"""``tickloom rules``: look at rules, check them, run them live on Flink or over stored history."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tickloom.clock import NS_PER_S
from tickloom.errors import SettingsError

app = typer.Typer(
    help="Rules: SQL files with MATCH_RECOGNIZE, live on Flink and over history.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
WIDTH_PIPED = 160  # columns where the output is no terminal

console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_PIPED)

Names = Annotated[list[str], typer.Argument(help="Names of rules, or paths of rule files.")]
Name = Annotated[str, typer.Argument(help="Name of a rule, or path of a rule file.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", help="key=value, or SET.key=value for one set only.")
]


class Start(StrEnum):
    """Where in the topic a live rule begins."""

    earliest = "earliest"
    latest = "latest"


class Format(StrEnum):
    """How signals are written."""

    table = "table"
    csv = "csv"
    parquet = "parquet"


@app.command("list")
def list_rules() -> None:
    """The rules there are, and when each fires."""
    from streaming import rules

    table = Table("rule", "version", "venue", "fires when", box=None)
    for name in rules.names():
        rule = rules.find(name)
        table.add_row(rule.name, rule.version, rule.venue, rule.about.split(". ")[0])
    console.print(table)


@app.command()
def check(name: Name, param: Params = None) -> None:
    """Lint a rule, then have Flink plan it; says the line, the reason and the fix."""
    from streaming import jobs, linter, rules
    from tickloom.settings import FlinkSettings, KafkaSettings

    rule = rules.find(name)
    for finding in linter.lint(rule):
        print(f"{rule.file}:{finding.line}: {finding.severity}: {finding.reason}. Fix: {finding.fix}")
    linter.check(rule)
    jobs.explain(rule, FlinkSettings.load(), KafkaSettings.load(), _overrides(param))
    console.print(f"{rule.name} v{rule.version}: the linter and Flink accept it")


@app.command()
def explain(name: Name, param: Params = None) -> None:
    """What a rule reads and with which parameters, and Flink's plan of it."""
    from streaming import jobs, rules
    from tickloom.settings import FlinkSettings, KafkaSettings

    rule = rules.find(name)
    overrides = _overrides(param)
    console.print(f"[bold]{rule.name} v{rule.version}[/] on {rule.venue}\n{rule.about}\n")
    table = Table("set", *rule.parameters, box=None)
    for set_name in rule.sets:
        table.add_row(set_name or "-", *rules.values(rule, set_name, overrides).values())
    console.print(table)
    print(jobs.explain(rule, FlinkSettings.load(), KafkaSettings.load(), overrides))


@app.command()
def submit(
    names: Names,
    param: Params = None,
    start: Annotated[Start, typer.Option("--from", help="What the topic still holds, or what comes.")] = (
        Start.latest
    ),
    replace: Annotated[bool, typer.Option(help="Stop a running job of the same rule first.")] = False,
    savepoint: Annotated[str, typer.Option(help="Go on from the savepoint that `stop` gave.")] = "",
) -> None:
    """Run rules live, each as a Flink job of its own under its name."""
    from streaming import jobs, rules
    from tickloom.settings import FlinkSettings, KafkaSettings

    wanted = [rules.find(name) for name in names]
    if savepoint and len(wanted) > 1:
        raise SettingsError("a savepoint is of one rule: submit that one alone")
    flink = FlinkSettings.load()
    for job in jobs.submit(
        wanted,
        flink,
        KafkaSettings.load(),
        start=start.value,
        overrides=_overrides(param),
        replace=replace,
        savepoint=savepoint,
    ):
        console.print(f"{job.rule} v{job.version} runs: {flink.rest_url}/#/job/running/{job.job_id}/overview")


@app.command()
def stop(
    name: Name,
    savepoint: Annotated[bool, typer.Option(help="Keep its state, to go on from.")] = True,
) -> None:
    """Stop a live rule."""
    from streaming import jobs
    from tickloom.settings import FlinkSettings

    for path in jobs.stop(name, FlinkSettings.load(), savepoint=savepoint):
        console.print(f"its state is in {path}: `tickloom rules submit {name} --savepoint {path}` goes on")
    console.print(f"{name} is stopped")


@app.command()
def status() -> None:
    """The rules that run, and those that ended since the cluster was started."""
    from streaming.cluster import Cluster
    from tickloom.settings import FlinkSettings

    table = Table("rule", "version", "state", "since (UTC)", box=None)
    for column in ("checkpoints", "restores", "late rows"):
        table.add_column(column, justify="right")
    table.add_column("job")
    table.add_column("last failure")
    for job in Cluster(FlinkSettings.load()).rule_jobs(ended=True, details=True):
        since = datetime.fromtimestamp(job.started_ns / NS_PER_S, UTC).strftime("%m-%d %H:%M:%S")
        late = "?" if job.late_rows < 0 else f"{job.late_rows:,}"
        figures = (f"{job.checkpoints:,}", f"{job.restores:,}", late)
        table.add_row(job.rule, job.version, job.state, since, *figures, job.job_id, job.failure)
    console.print(table)


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
            [rule], blocks, FlinkSettings.load(), KafkaSettings.load(), overrides=_overrides(param)
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


def _overrides(given: list[str] | None) -> dict[str, str]:
    overrides = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--param {text}: write key=value")
        overrides[key] = value
    return overrides


def _time_ns(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no time such as 2026-11-20T14:30:00") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1_000_000) * 1_000
