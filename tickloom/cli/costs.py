"""``tickloom costs``: what a day's orders cost, on the terminal and as a page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from tickloom.errors import SettingsError
from tickloom.settings import ExchangeSettings, QuestDbSettings, StackSettings

if TYPE_CHECKING:
    from orchestration.tca.terms import DayCosts

PIPE_COLUMNS = 140


def costs(
    date: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Day of the venue (UTC).")],
    venue: Annotated[
        str, typer.Option(help="Whose instruments, as in strategies/instruments.toml.")
    ] = "XNAS",
    html: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
    store: Annotated[bool, typer.Option(help="Also write the tables order_costs, execution_costs.")] = False,
    exchange_file: Annotated[
        list[Path] | None,
        typer.Option(
            help="A simulated exchange's venues, whose impact is the model; else exchange.instances."
        ),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="If not stack.data_dir.")] = None,
) -> None:
    """Implementation shortfall of a day's parent orders, by rule and destination."""
    from execution.lineage.records import Records, journal_path
    from orchestration.tca import models, report, rows
    from orchestration.tca.day import costs_of_day
    from storage import QuestDbReader, schema
    from storage.costs import write_costs
    from tickloom.instruments import Registry

    registry = Registry.load()
    known = registry.venues.get(venue)
    if known is None:
        raise SettingsError(f"no venue {venue}; known are {', '.join(sorted(registry.venues))}")
    questdb, day = QuestDbSettings.load(), date.strftime("%Y-%m-%d")
    root = data_dir or StackSettings.load().data_dir
    with Records(journal_path(root)) as records, QuestDbReader(questdb) as reader:
        chosen = models.load(reader, registry, venue, day, exchange_file or ExchangeSettings.load().instances)
        found = costs_of_day(records, reader, registry, venue, day, chosen)
    if store:
        schema.apply(questdb)
        write_costs(questdb, rows.rows_of(found))
    _show(found)
    if html is not None:
        html.write_text(report.render(found, known.timezone))
        print(f"report: {html}")


def _show(found: DayCosts) -> None:
    from orchestration.tca import groups
    from orchestration.tca.terms import COMPONENTS

    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)  # 80 would cut the figures
    if not found.orders:
        console.print(f"{found.venue}, {found.day}: no order with costs")
    else:
        table = Table(title=f"Shortfall of {found.venue}, {found.day}, bps of the notional", box=None)
        table.add_column("rule")
        for name in ("orders", f"notional {found.currency}", f"cost {found.currency}", "bps", *COMPONENTS):
            table.add_column(name, justify="right")
        for one in [*groups.by_rule(found.orders), groups.order_group("all", found.orders)]:
            table.add_row(
                *(one.name, f"{one.orders:,}", f"{one.notional:,.0f}", f"{one.shortfall:,.2f}"),
                f"{one.bps(one.shortfall):.2f}",
                *(f"{one.bps(one.components[part]):.2f}" for part in COMPONENTS),
            )
        console.print(table)
        table = Table(title="Executions, bps of what was traded", box=None)
        table.add_column("destination")
        for name in ("executions", "effective", "quoted", "captured", "after 1 s", "10 s", "1 min", "5 min"):
            table.add_column(name, justify="right")
        for fills in groups.by_destination(found.orders):
            spreads = (fills.effective_bps, fills.quoted_bps)
            table.add_row(
                *(fills.name, f"{fills.executions:,}", *(_bps(value) for value in spreads)),
                "" if fills.capture is None else f"{fills.capture:.0%}",
                *(_bps(value) for value in fills.markouts_bps.values()),
            )
        console.print(table)
    for one_skipped in found.skipped:
        console.print(f"without costs: {one_skipped.order_id} {one_skipped.symbol}: {one_skipped.why}")


def _bps(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
