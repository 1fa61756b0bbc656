"""``tickloom rules submit | stop | status``: rules as jobs of the Flink cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
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
        overrides=overrides_of(param),
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
