"""Finished captures into QuestDB, by day and venue."""

import dagster as dg  # annotations are read at run time: no postponed ones here

from ingest.feeds import decoder_for
from ingest.pipeline import load_capture
from orchestration.counts import Counts, tally
from orchestration.defs.partitions import DAY_AND_VENUE, capture_sessions, day_and_venue
from storage import schema
from storage.writer import QuestDbSink
from tickloom.clock import SystemClock
from tickloom.settings import QuestDbSettings


@dg.asset(
    partitions_def=DAY_AND_VENUE,
    group_name="history",
    kinds={"questdb"},
    description="Ticks of a day and venue (trades, quotes, book deltas, statuses, gaps), from its captures. "
    "Rows are identified by venue, session and seq, so loading a day again changes nothing.",
)
def historical_ticks(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Decode every capture session of the partition and write it to QuestDB."""
    day, venue = day_and_venue(context)
    sessions = capture_sessions(day, venue)
    if not sessions:
        raise dg.Failure(
            f"no capture of {venue} on {day}. Record one with an ingester, or load a file with "
            "`tickloom ingest file`.",
            allow_retries=False,
        )
    settings = QuestDbSettings.load()
    schema.apply(settings)
    counts: Counts = Counts()
    clock = SystemClock()
    started_ns = clock.monotonic_ns()
    for path in sessions:
        context.log.info("loading %s %s", venue, path.name)
        sink = QuestDbSink(settings, rewrite=True)
        for block in load_capture(path, decoder_for(venue, path.name), [sink]):
            tally(block, counts)
        sink.close()
    seconds = (clock.monotonic_ns() - started_ns) / 1e9
    events = sum(counts.values())
    per_table: dict[str, int] = {}
    for (table, _), number in counts.items():
        per_table[table] = per_table.get(table, 0) + number
    return dg.MaterializeResult(
        metadata={
            "sessions": [path.name for path in sessions],
            "dagster/row_count": events,
            "events_per_s": round(events / max(seconds, 1e-9)),
            **{f"events_{table}": number for table, number in sorted(per_table.items())},
        }
    )
