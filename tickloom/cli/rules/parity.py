"""``tickloom rules parity``: a day's live signals against a replay by the other engine."""

from __future__ import annotations

import json
import sys
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tickloom.cli.rules import Name, Params, app, console, overrides_of
from tickloom.cli.rules.history import QUESTDB, EngineName, Source, check_out, opened, rule_events, time_text
from tickloom.cli.times import day_of

if TYPE_CHECKING:
    from streaming.stored.parity import Report

ROWS_SHOWN_MAX = 50


class Reference(StrEnum):
    """What a replay is held against."""

    live = "live"
    flink = "flink"
    compiled = "compiled"


class ReportFormat(StrEnum):
    """How a report is written."""

    table = "table"
    json = "json"


@app.command()
def parity(
    name: Name,
    day: Annotated[str, typer.Option("--date", help="UTC day of the events, YYYY-MM-DD.")],
    against: Annotated[
        Reference, typer.Option(help="What was raised live, or a run of that engine over the stored day.")
    ] = Reference.live,
    engine: Annotated[
        EngineName | None, typer.Option(help="Engine of the replay. Default: the other one.")
    ] = None,
    source: Source = QUESTDB,
    param: Params = None,
    form: Annotated[ReportFormat, typer.Option("--format", "-f")] = ReportFormat.table,
    out: Annotated[Path | None, typer.Option(help="File to write the report to as JSON, too.")] = None,
) -> None:
    """Replay a stored day and compare it signal by signal; exit code 0 only when all are identical."""
    from streaming import rules

    check_out(out)
    rule = rules.find(name)
    reports = _reports(rule, day_of(day), against, engine, source, param)
    text = json.dumps([report.as_dict() for report in reports], indent=1)
    if out is not None:
        out.write_text(text + "\n")
    if form is ReportFormat.json:
        print(text)
    else:
        for report in reports:
            show(report)
    if not all(report.agrees for report in reports):
        raise typer.Exit(1)


def _reports(
    rule: Any, day: date, against: Reference, engine: EngineName | None, source: str, param: list[str] | None
) -> list[Report]:
    """One for each set of parameters with which the rule ran."""
    from storage.reader import QuestDbReader
    from storage.signals import read_signals
    from streaming.live import runs
    from streaming.stored import proof
    from streaming.stored.proof import Identity
    from tickloom.cli.rules.progress import TimeProgress
    from tickloom.settings import FlinkSettings, KafkaSettings

    overrides = overrides_of(param)
    begin, end = proof.day_ns(day)
    ran = runs.known(rule.name)
    found: list[Identity | None] = [None]
    if against is Reference.live:
        with QuestDbReader() as reader:
            signals = read_signals(reader, rule.venue, begin, end, rule.name)
        if param:
            known = next((run.engine for run in reversed(ran) if run.overrides == overrides), None)
            found = [Identity(overrides, signals, known)]
        else:
            found = [*proof.identities(rule, signals, ran)]
    reports = []
    for live in found:
        with opened(source) as reader, TimeProgress([rule.name] * 4, begin, end) as progress:
            report = proof.prove(
                rule,
                day,
                lambda from_ns, to_ns: rule_events(reader, rule, from_ns, to_ns),
                FlinkSettings.load(),
                KafkaSettings.load(),
                live=live,
                against=None if against is Reference.live else EngineName(against).value,
                engine=engine.value if engine else None,
                overrides=overrides,
                runs=ran,
                on_time=lambda at_ns: progress.reached(at_ns, 0),
            )
        reports.append(report)
    return reports


def show(report: Report) -> None:
    """A report as tables."""
    counts = ", ".join(f"{number:,} {outcome}" for outcome, number in report.outcomes.items())
    live = f" ({report.live_engine or 'engine not known'})" if report.reference == "live" else ""
    console.print(
        f"[bold]{report.rule} v{report.version}[/] on {report.venue}, {report.date}: "
        f"{report.reference}{live} against {report.replay} over {report.events:,} events\n{counts}"
    )
    if report.reference == "live" and report.raised_none:
        console.print(
            "nothing was raised live that day: did the rule run (`tickloom rules status`)? --against flink "
            "compares the engines over the stored day instead"
        )
    if report.agrees:
        return
    causes = ", ".join(f"{number:,} {cause}" for cause, number in report.causes.items())
    console.print(f"causes: {causes}")
    table = Table("time (UTC)", "symbol", "outcome", "cause", box=None)
    for column in (report.reference, report.replay):
        table.add_column(f"{column}: rows", justify="right")
    table.add_column("evidence", overflow="fold")
    for one in report.differences[:ROWS_SHOWN_MAX]:
        rows = [
            f"{signal.first_seq}..{signal.last_seq}" if signal else "-"
            for signal in (one.reference, one.replay)
        ]
        table.add_row(time_text(one.ts_event), one.symbol, one.outcome, one.cause, *rows, one.evidence)
    console.print(table)
    left = len(report.differences) - ROWS_SHOWN_MAX
    if left > 0:
        print(f"{left:,} more; --format json or --out FILE has them all", file=sys.stderr)
