"""What the router's executions of a day cost beside the best that was displayed."""

from datetime import date
from typing import Any

import dagster as dg  # annotations are read at run time: no postponed ones here

from execution import destinations
from execution.destinations import Connectivity
from execution.journal import Journal
from execution.service import journal_path
from orchestration import results
from orchestration.defs.partitions import SESSION_DAYS
from orchestration.defs.routing import regret
from orchestration.defs.routing.fills import RoutedFill, routed_fills
from orchestration.defs.routing.quotes import count_quotes, load_quotes
from storage import routing, schema
from storage.reader import QuestDbReader
from tickloom.clock import NS_PER_DAY
from tickloom.errors import DestinationsError, JournalError
from tickloom.settings import (
    ExchangeSettings,
    ExecutionSettings,
    KafkaSettings,
    QuestDbSettings,
    StackSettings,
)

FOLDER = "routing"


@dg.asset(
    partitions_def=SESSION_DAYS,
    group_name="routing",
    kinds={"kafka", "questdb"},
    description="Quotes of a day of the destinations' own books, from Kafka, where QuestDB has none of that "
    "day: of venues whose market data no ingester stores. Loading a day again changes nothing.",
)
def destination_quotes(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Bring to QuestDB what the regret report looks up."""
    day = context.partition_key
    settings = QuestDbSettings.load()
    try:
        places = _connectivity().destinations
    except DestinationsError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    schema.apply(settings)
    routed = {one.market for one in places.by_name.values() if len(places.of(one.market)) > 1}
    books = sorted({one.book for name in routed for one in regret.lit(places, name)})
    loaded = {}
    for book in books:
        if count_quotes(settings, book, day):
            continue
        loaded[book] = load_quotes(KafkaSettings.load(), settings, book, day)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": sum(loaded.values()), "books": books, "loaded": loaded}
    )


class RegretConfig(dg.Config):
    """What a run may do otherwise. regret_bps_max: of the day's money, by which routing may have cost more
    than the best that was displayed."""

    regret_bps_max: float = 1.0


def _connectivity() -> Connectivity:
    settings = ExecutionSettings.load()
    if settings.destinations_file is None:
        return destinations.plain(settings.venues, ExchangeSettings.load())
    return destinations.load(settings.destinations_file, settings.venues)


def _fills(day: str) -> tuple[list[RoutedFill], Connectivity, int]:
    """The day's, the destinations, and when the day begins, ns."""
    from_ns = (date.fromisoformat(day) - date(1970, 1, 1)).days * NS_PER_DAY
    connectivity = _connectivity()
    journal = Journal(journal_path(StackSettings.load().data_dir), read_only=True)
    try:
        fills = routed_fills(journal, connectivity.destinations, from_ns, from_ns + NS_PER_DAY)
    finally:
        journal.close()
    return fills, connectivity, from_ns


def _rows(fills: list[RoutedFill], connectivity: Connectivity, from_ns: int) -> list[dict[str, Any]]:
    """Written to QuestDB, too."""
    settings, places = QuestDbSettings.load(), connectivity.destinations
    schema.apply(settings)
    routing.write_moments(settings, regret.moments(fills, places))
    to_ns = from_ns + NS_PER_DAY
    earliest = min((one.decision_ts for one in fills if one.decision >= 0), default=from_ns)
    with QuestDbReader(settings) as reader:
        found = regret.rows(
            *(fills, places),
            routing.read_touches(reader, "decision", min(earliest, from_ns), to_ns),
            routing.read_touches(reader, "arrival", from_ns, to_ns),
            routing.read_mids(reader, from_ns, to_ns),
        )
    routing.write_regrets(settings, found)
    return found


def _check(found: list[dict[str, Any]], bound: float) -> dg.AssetCheckResult:
    mean = regret.weighted_mean(found, "regret_bps")
    blind = sum(row["regret"] is None for row in found)
    if not found:
        text = "no order was routed"
    elif mean is None:
        text = f"none of {len(found)} executions has a decision and a stored book to compare with"
    else:
        text = (
            f"{len(found)} executions cost {mean:.3f} bps more than the best that was displayed, up to "
            f"{bound:g} are allowed; {blind} have no decision or no stored book"
        )
    return dg.AssetCheckResult(
        check_name="regret_within_bound",
        passed=not found or (mean is not None and mean <= bound and not blind),
        severity=dg.AssetCheckSeverity.WARN,  # a reason to look at fees and latencies; no data is wrong
        description=text,
        metadata={"regret_bps": mean if mean is not None else "none", "without_a_book": blind},
    )


@dg.asset(
    partitions_def=SESSION_DAYS,
    group_name="routing",
    kinds={"questdb", "sqlite"},
    deps=[destination_quotes],
    check_specs=[
        dg.AssetCheckSpec(
            "regret_within_bound",
            asset="routing_regret",
            description="Routed executions cost no more than a bound above the best that was displayed.",
        )
    ],
    description="Each execution of a routed order against what all lit destinations displayed when the "
    "router decided and when it traded (ASOF JOIN), and what the mid did afterwards (HORIZON JOIN): regret "
    "in basis points and money by destination. Executions from the agent's journal, books from QuestDB.",
)
def routing_regret(context: dg.AssetExecutionContext, config: RegretConfig) -> dg.MaterializeResult:
    """Reckon the regret of a day's executions."""
    day = context.partition_key
    try:
        fills, connectivity, from_ns = _fills(day)
    except (JournalError, DestinationsError) as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    found = _rows(fills, connectivity, from_ns) if fills else []
    table = regret.by_destination(found)
    file = results.keep(
        FOLDER, f"{day}.regret.json", {"day": day, "destinations": table, "executions": found}
    )
    mean = regret.weighted_mean(found, "regret_bps")
    saved = regret.weighted_mean(found, "saved_bps")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(found),
            "regret": round(sum(row["regret"] or 0.0 for row in found), 4),
            "regret_bps": round(mean, 3) if mean is not None else "none",
            "saved_beside_primary_bps": round(saved, 3) if saved is not None else "none",
            "by_destination": results.table(table),
            "file": dg.MetadataValue.path(file),
        },
        check_results=[_check(found, config.regret_bps_max)],
    )
