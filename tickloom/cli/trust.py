"""``tickloom trust``: whose data can be trusted, now or at a time."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tickloom.cli.times import time_ns, utc
from tickloom.settings import QuestDbSettings

PIPE_COLUMNS = 140


def trust(
    venue: Annotated[str | None, typer.Argument(help="Of one venue; else of all.")] = None,
    at: Annotated[str | None, typer.Option(help="At this time (UTC) instead of now.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is trusted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, all of it.")] = False,
) -> None:
    """Instruments that are stale or broken: since when and why. Exit code 1 where there are some."""
    from storage import QuestDbReader
    from storage.trust import read_trust
    from tickloom.events import TrustState

    with QuestDbReader(QuestDbSettings.load()) as reader:
        found = read_trust(reader, venue, time_ns(at) if at else None)
    wrong = [one for one in found if one.state is not TrustState.TRUSTED]
    if as_json:
        rows = [
            {
                **{name: getattr(one, name) for name in ("venue", "symbol", "since")},
                "state": one.state.name.lower(),
                "reason": one.reason.name.lower(),
                **{name: getattr(one, name) for name in ("first_missing", "last_missing", "at_seq")},
            }
            for one in found
        ]
        print(json.dumps(rows, indent=2))
        raise typer.Exit(1 if wrong else 0)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)  # 80 would cut the ranges
    table = Table("venue", "instrument", "state", "since (UTC)", "reason", "missing", box=None)
    for one in found if everything else wrong:
        missing = f"{one.first_missing} to {one.last_missing}" if one.last_missing else ""
        names = (one.venue, one.symbol or "(line)", one.state.name.lower())
        table.add_row(*names, utc(one.since), one.reason.name.lower(), missing)
    if table.row_count:
        console.print(table)
    instruments = [one for one in found if one.symbol]
    counts = ", ".join(
        f"{sum(one.state is state for one in instruments)} {state.name.lower()}" for state in TrustState
    )
    console.print(f"instruments: {counts}")
    raise typer.Exit(1 if wrong else 0)
