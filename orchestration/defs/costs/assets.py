"""Costs of a day's parent orders, stored and as a page; and whether every order could be costed."""

from pathlib import Path

import dagster as dg  # annotations are read at run time: no postponed ones here
from pydantic import Field

from execution.lineage.records import Records, journal_path
from orchestration import results
from orchestration.defs.history.assets import historical_ticks
from orchestration.defs.partitions import DAY_AND_VENUE, day_and_venue
from orchestration.tca import groups, models, report, rows
from orchestration.tca.day import costs_of_day
from orchestration.tca.groups import FillGroup, OrderGroup
from orchestration.tca.shortfall import paper_less_real
from orchestration.tca.terms import COMPONENTS, DayCosts
from storage import QuestDbReader, schema
from storage.costs import write_costs
from tickloom.errors import JournalError, SettingsError
from tickloom.instruments import Registry
from tickloom.settings import ExchangeSettings, QuestDbSettings, StackSettings

FOLDER = "costs"


class CostsConfig(dg.Config):
    """exchange_files: of simulated exchanges, whose declared impact is what measured impact is compared
    with."""

    exchange_files: list[str] = Field(default_factory=list)


def _order_row(one: OrderGroup) -> dict[str, str]:
    row = {"rule": one.name, "orders": str(one.orders), "notional": f"{one.notional:,.0f}"}
    row["shortfall"], row["bps"] = f"{one.shortfall:,.2f}", f"{one.bps(one.shortfall):.2f}"
    return row | {part: f"{one.bps(one.components[part]):.2f}" for part in COMPONENTS}


def _fill_row(one: FillGroup) -> dict[str, str]:
    row = {"destination": one.name, "executions": str(one.executions), "traded": f"{one.notional:,.0f}"}
    figures = {"effective": one.effective_bps, "quoted": one.quoted_bps, "realised": one.realised_bps}
    figures |= {f"after {horizon} s": value for horizon, value in one.markouts_bps.items()}
    return row | {name: "" if value is None else f"{value:.2f}" for name, value in figures.items()}


def _check(costs: DayCosts) -> dg.AssetCheckResult:
    """Whether each order has costs, and each total is what the paper portfolio made over the real one."""
    wrong = [
        {"order": one.parent.order_id, "symbol": one.parent.symbol, "why": "components do not add up"}
        for one in costs.orders
        if one.shortfall.total != paper_less_real(one.parent, one.decision.mid, one.end.mid)
    ]
    skipped = [{"order": one.order_id, "symbol": one.symbol, "why": one.why} for one in costs.skipped]
    return dg.AssetCheckResult(
        check_name="every_order_costed",
        passed=not wrong and not skipped,
        severity=dg.AssetCheckSeverity.ERROR if wrong else dg.AssetCheckSeverity.WARN,
        description=results.sentence(wrong + skipped),
        metadata={"orders": results.table(wrong + skipped)},
    )


def _page(costs: DayCosts, timezone: str) -> Path:
    path: Path = StackSettings.load().data_dir / FOLDER / f"{costs.day}.{costs.venue}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.render(costs, timezone))
    return path


@dg.asset(
    partitions_def=DAY_AND_VENUE,
    deps=[historical_ticks],
    group_name="costs",
    kinds={"questdb"},
    check_specs=[
        dg.AssetCheckSpec(
            "every_order_costed",
            asset="order_costs",
            description="The market of each order is known, and its costs add up to the unit.",
        )
    ],
    description="Implementation shortfall, spreads, markouts and impact of every parent order of a day: in "
    "the tables order_costs and execution_costs, and as an HTML report.",
)
def order_costs(context: dg.AssetExecutionContext, config: CostsConfig) -> dg.MaterializeResult:
    """Cost the day's orders. Doing it again changes nothing."""
    day, venue = day_and_venue(context)
    registry, questdb = Registry.load(), QuestDbSettings.load()
    try:
        schema.apply(questdb)
        with (
            Records(journal_path(StackSettings.load().data_dir)) as records,
            QuestDbReader(questdb) as reader,
        ):
            files = [Path(name) for name in config.exchange_files] or ExchangeSettings.load().instances
            chosen = models.load(reader, registry, venue, day, files)
            costs = costs_of_day(records, reader, registry, venue, day, chosen)
    except (JournalError, SettingsError) as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    write_costs(questdb, rows.rows_of(costs))
    everything = groups.order_group("all", costs.orders)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(costs.orders),
            "shortfall": everything.shortfall,
            "shortfall_bps": everything.bps(everything.shortfall),
            "by_rule": results.table([_order_row(one) for one in groups.by_rule(costs.orders)]),
            "by_destination": results.table([_fill_row(one) for one in groups.by_destination(costs.orders)]),
            "report": dg.MetadataValue.path(str(_page(costs, registry.venues[venue].timezone))),
        },
        check_results=[_check(costs)],
    )
