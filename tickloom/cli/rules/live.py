"""``tickloom rules submit | stop | status | quarantine``: rules as jobs of the Flink cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tickloom.cli.rules import Name, Names, Params, app, console, overrides_of
from tickloom.clock import NS_PER_S
from tickloom.errors import SettingsError


class Start(StrEnum):
    """Where in the topic a live rule begins."""

    earliest = "earliest"
    latest = "latest"
    stopped = "stopped"


class Engine(StrEnum):
    """What runs a rule."""

    flink = "flink"
    compiled = "compiled"


@app.command()
def submit(
    names: Names,
    param: Params = None,
    engine: Annotated[
        Engine | None, typer.Option(help="Default: compiled where parity is proven for the rule, else flink.")
    ] = None,
    start: Annotated[
        Start | None,
        typer.Option("--from", help="What the topic still holds, what comes, or where it stopped last."),
    ] = None,
    replace: Annotated[bool, typer.Option(help="Stop the rule's job first, and go on where it was.")] = False,
    savepoint: Annotated[str, typer.Option(help="Go on from the savepoint that `stop` gave.")] = "",
) -> None:
    """Run rules live, each as a Flink job of its own under its name."""
    from streaming import rules
    from streaming.live import jobs
    from tickloom.settings import FlinkSettings, KafkaSettings

    wanted = [rules.find(name) for name in names]
    if savepoint and len(wanted) > 1:
        raise SettingsError("a savepoint is of one rule: submit that one alone")
    flink = FlinkSettings.load()
    for job in jobs.submit(
        wanted,
        flink,
        KafkaSettings.load(),
        engine=None if engine is None else engine.value,
        start=None if start is None else start.value,
        overrides=overrides_of(param),
        replace=replace,
        savepoint=savepoint,
    ):
        if job.note:
            console.print(f"{job.rule}: {job.note}")
        url = f"{flink.rest_url}/#/job/running/{job.job_id}/overview"
        console.print(f"{job.rule} v{job.version} ({job.engine}) runs: {url}")


@app.command()
def stop(
    name: Name,
    savepoint: Annotated[bool, typer.Option(help="Keep its state, to go on from.")] = True,
) -> None:
    """Stop a live rule."""
    from streaming.live import jobs
    from tickloom.settings import FlinkSettings

    for path in jobs.stop(name, FlinkSettings.load(), savepoint=savepoint):
        console.print(f"its state is in {path}: `tickloom rules submit {name} --savepoint {path}` goes on")
    console.print(f"{name} is stopped")


@app.command()
def status() -> None:
    """The rules that run, and those that ended since the cluster was started."""
    from streaming.live.cluster import Cluster
    from tickloom.settings import FlinkSettings

    table = Table("rule", "version", "engine", "state", "since (UTC)", box=None)
    for column in ("checkpoints", "restores", "late rows", "quarantined"):
        table.add_column(column, justify="right")
    table.add_column("job")
    table.add_column("last failure")
    for job in Cluster(FlinkSettings.load()).rule_jobs(ended=True, details=True):
        since = datetime.fromtimestamp(job.started_ns / NS_PER_S, UTC).strftime("%m-%d %H:%M:%S")
        counts = (job.checkpoints, job.restores, job.late_rows, job.quarantined)
        figures = ["?" if count < 0 else f"{count:,}" for count in counts]
        table.add_row(job.rule, job.version, job.engine, job.state, since, *figures, job.job_id, job.failure)
    console.print(table)


@app.command()
def quarantine(
    out: Annotated[
        Path | None, typer.Option(help="Write the records' bytes into this directory, a file each.")
    ] = None,
) -> None:
    """Records that no rule could decode: where they were, and why they are no batches."""
    from streaming.live import quarantine
    from tickloom.settings import KafkaSettings

    table = Table("topic", "partition", "offset", "time (UTC)", "bytes", "error", box=None)
    for one in quarantine.read(KafkaSettings.load()):
        time = datetime.fromtimestamp(one.time_ns / NS_PER_S, UTC).strftime("%m-%d %H:%M:%S")
        place = (one.topic, f"{one.partition}", f"{one.offset:,}")
        table.add_row(*place, time, f"{len(one.raw):,}", one.error)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{one.topic}.{one.partition}.{one.offset}").write_bytes(one.raw)
    console.print(table)
