"""When what runs: the day that has just ended is reconciled at a quarter past midnight UTC, its pairs are
calibrated, and its rules' signals are proven half an hour later, when late rows are stored. Its captures are
packed at three."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg  # annotations are read at run time: no postponed ones here

from orchestration.defs.partitions import VENUES, capture_sessions
from strategies.pairs import candidates

historical_load = dg.define_asset_job(
    "historical_load",
    selection=dg.AssetSelection.groups("history"),
    description="Load finished captures of a day and venue into QuestDB. Running it twice changes nothing.",
)
daily_reconciliation = dg.define_asset_job(
    "daily_reconciliation",
    selection=dg.AssetSelection.groups("reconciliation"),
    description="Capture against Kafka and QuestDB; the agent's journal against the exchange's record.",
)
daily_parity = dg.define_asset_job(
    "daily_parity",
    selection=dg.AssetSelection.groups("parity"),
    description="Every rule's live signals of a day and venue against a replay by the other engine.",
)

daily_calibration = dg.define_asset_job(
    "daily_calibration",
    selection=dg.AssetSelection.groups("calibration"),
    description="Candidate pairs of a venue tested for cointegration over bars up to the end of a day.",
)

daily_risk = dg.define_asset_job(
    "daily_risk",
    selection=dg.AssetSelection.groups("risk"),
    description="The firm's value at risk of each evening against what was lost on the day after.",
)

daily_routing = dg.define_asset_job(
    "daily_routing",
    selection=dg.AssetSelection.groups("routing"),
    description="Routed executions of a day against the best that was displayed.",
)

daily_costs = dg.define_asset_job(
    "daily_costs",
    selection=dg.AssetSelection.groups("costs"),
    description="What each parent order of a day cost, by rule, destination and time of day.",
)

daily_archive = dg.define_asset_job(
    "daily_archive",
    selection=dg.AssetSelection.groups("archive"),
    description="Captures of a day and venue, verified and packed.",
)


def _yesterday(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run for each venue that has a capture of the day before."""
    day = (context.scheduled_execution_time - timedelta(days=1)).strftime("%Y-%m-%d")
    venues = [venue for venue in VENUES.get_partition_keys() if capture_sessions(day, venue)]
    if not venues:
        yield dg.SkipReason(f"no venue has a capture of {day}")
    for venue in venues:
        key = dg.MultiPartitionKey({"date": day, "venue": venue})
        yield dg.RunRequest(run_key=f"{day}|{venue}", partition_key=key)


@dg.schedule(job=daily_reconciliation, cron_schedule="15 0 * * *", execution_timezone="UTC")
def reconcile_yesterday(
    context: dg.ScheduleEvaluationContext,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The reconciliation of the day before."""
    yield from _yesterday(context)


@dg.schedule(job=daily_calibration, cron_schedule="30 0 * * *", execution_timezone="UTC")
def calibrate_yesterday(
    context: dg.ScheduleEvaluationContext,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Pairs of the venues that have candidates, over bars up to the end of the day before."""
    for one in _yesterday(context):
        venue = one.run_key.partition("|")[2] if isinstance(one, dg.RunRequest) and one.run_key else ""
        if isinstance(one, dg.SkipReason) or venue in candidates.venues():
            yield one


@dg.schedule(job=daily_parity, cron_schedule="45 0 * * *", execution_timezone="UTC")
def prove_yesterday(
    context: dg.ScheduleEvaluationContext,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The parity of the day before."""
    yield from _yesterday(context)


@dg.schedule(job=daily_costs, cron_schedule="20 0 * * *", execution_timezone="UTC")
def cost_yesterday(
    context: dg.ScheduleEvaluationContext,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Costs of the day before, of the venues whose market was captured."""
    yield from _yesterday(context)


@dg.schedule(job=daily_risk, cron_schedule="0 1 * * *", execution_timezone="UTC")
def backtest_yesterday(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The value at risk of the days up to the day before."""
    day = (context.scheduled_execution_time - timedelta(days=1)).strftime("%Y-%m-%d")
    return dg.RunRequest(run_key=day, partition_key=day)


@dg.schedule(job=daily_routing, cron_schedule="15 1 * * *", execution_timezone="UTC")
def regret_yesterday(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The routed executions of the day before."""
    day = (context.scheduled_execution_time - timedelta(days=1)).strftime("%Y-%m-%d")
    return dg.RunRequest(run_key=day, partition_key=day)


@dg.schedule(job=daily_archive, cron_schedule="0 3 * * *", execution_timezone="UTC")
def pack_yesterday(
    context: dg.ScheduleEvaluationContext,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The captures of the day before, when nothing else reads them."""
    yield from _yesterday(context)
