"""What was captured against what is stored; what the agent believes against what the exchange did."""

from collections import Counter
from typing import Any

import dagster as dg  # annotations are read at run time: no postponed ones here

from execution import destinations, reconcile
from ingest.feeds import decoder_for
from ingest.pipeline import load_capture
from orchestration import results
from orchestration.counts import Counts, count_kafka, differences, tally
from orchestration.defs.partitions import DAY_AND_VENUE, capture_sessions, day_and_venue
from storage import reader
from tickloom.settings import (
    ExchangeSettings,
    ExecutionSettings,
    KafkaSettings,
    QuestDbSettings,
    StackSettings,
)

FOLDER = "reconciliation"
TABLES = ("trades", "quotes", "book_deltas", "statuses", "gaps")


def _by_instrument(counts: Counts) -> dict[str, dict[str, int]]:
    """Trades and quotes of each instrument."""
    found: dict[str, dict[str, int]] = {}
    for (table, symbol), number in sorted(counts.items()):
        if symbol and table in ("trades", "quotes"):
            found.setdefault(symbol, {})[table] = number
    return found


@dg.asset(
    partitions_def=DAY_AND_VENUE,
    group_name="reconciliation",
    kinds={"kafka", "questdb"},
    check_specs=[
        dg.AssetCheckSpec(
            "capture_kafka_questdb_agree",
            asset="tick_counts",
            description="Each symbol has as many events of each kind in the capture as in Kafka and QuestDB.",
        )
    ],
    description="Events per table and symbol of a day and venue in the capture, in Kafka and in QuestDB.",
)
def tick_counts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Count the three places and hold them against each other."""
    day, venue = day_and_venue(context)
    places: dict[str, Counts] = {"capture": Counts(), "kafka": Counts(), "questdb": Counts()}
    repeated = 0
    seen: Counter[str] = Counter()
    sessions = capture_sessions(day, venue)
    for path in sessions:
        decoder = decoder_for(venue, path.name)
        for block in load_capture(path, decoder, []):
            tally(block, places["capture"])
        seen.update(decoder.counters)
        kafka = count_kafka(KafkaSettings.load(), venue, path.name)
        places["kafka"].update(kafka.events)
        repeated += kafka.repeated
        for table in TABLES:
            rows = reader.count_by_symbol(QuestDbSettings.load(), table, venue, path.name)
            for symbol, number in rows.items():
                places["questdb"][table, symbol] += number
    rows_apart = differences(places)
    totals = {name: sum(counts.values()) for name, counts in places.items()}
    result: dict[str, Any] = {
        "day": day,
        "venue": venue,
        "sessions": [path.name for path in sessions],
        "captured": totals["capture"],
        "kafka": totals["kafka"],
        "questdb": totals["questdb"],
        "gaps": sum(number for (table, _), number in places["capture"].items() if table == "gaps"),
        "kafka_repeated_batches": repeated,
        "instruments": _by_instrument(places["questdb"]),
        "decoder": dict(sorted(seen.items())),
        "differences": rows_apart,
    }
    file = results.keep(FOLDER, f"{day}.{venue}.ticks.json", result)
    return dg.MaterializeResult(
        metadata={**totals, "sessions": result["sessions"], "file": dg.MetadataValue.path(file)},
        check_results=[
            dg.AssetCheckResult(
                check_name="capture_kafka_questdb_agree",
                passed=not rows_apart and repeated == 0 and bool(sessions),
                description=results.sentence(rows_apart)
                if sessions
                else f"no capture of {venue} on {day}: nothing to hold the others against",
                metadata={"differences": results.table(rows_apart), "kafka_repeated_batches": repeated},
            )
        ],
    )


@dg.asset(
    partitions_def=DAY_AND_VENUE,
    group_name="reconciliation",
    kinds={"sqlite"},
    check_specs=[
        dg.AssetCheckSpec(
            "agent_and_exchange_agree",
            asset="order_records",
            description="Orders, executions and positions in the agent's journal are those of the exchange.",
        )
    ],
    description="Orders, executions and positions of a venue: the agent's journal and the exchange's record.",
)
def order_records(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Compare the records of the venue's orders; all are cumulative, so the day only names the run."""
    day, venue = day_and_venue(context)
    data_dir = StackSettings.load().data_dir
    connectivity = destinations.in_force(ExecutionSettings.load(), ExchangeSettings.load())
    found = reconcile.compare_market(data_dir, venue, connectivity)
    rows = [difference.as_row() for difference in found.differences]
    counts = {"orders": found.orders, "executions": found.executions, "positions": found.positions}
    content = {"day": day, "venue": venue, **counts, "differences": rows}
    file = results.keep(FOLDER, f"{day}.{venue}.orders.json", content)
    return dg.MaterializeResult(
        metadata={**counts, "file": dg.MetadataValue.path(file)},
        check_results=[
            dg.AssetCheckResult(
                check_name="agent_and_exchange_agree",
                passed=not rows,
                description=results.sentence(rows),
                metadata={"differences": results.table(rows)},
            )
        ],
    )
