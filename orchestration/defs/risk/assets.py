"""The firm's value at risk of each evening against what was lost on the day after."""

from datetime import date, timedelta

import dagster as dg  # annotations are read at run time: no postponed ones here

from execution import limits
from execution.journal import Journal
from execution.service import journal_path
from execution.valuation import Backtest, Day, backtest
from orchestration import results
from orchestration.defs.partitions import SESSION_DAYS
from tickloom.errors import JournalError, LimitsError
from tickloom.instruments import Registry
from tickloom.prices import NANOS
from tickloom.settings import ExecutionSettings, StackSettings

FOLDER = "risk"
DAYS = 250  # of trading, the year that Kupiec's tables and the Basel traffic light look at
EPOCH = date(1970, 1, 1)


def _days(day: str) -> list[Day]:
    """What the journal has of the firm up to the end of ``day``, the newest :data:`DAYS` of it."""
    last = (date.fromisoformat(day) - EPOCH).days
    journal = Journal(journal_path(StackSettings.load().data_dir), read_only=True)
    try:
        found = [Day(*row) for row in journal.risk_days() if row[0] <= last + 1]
    finally:
        journal.close()
    return found[-DAYS - 2 :]


def _row(exception: tuple[int, int, int]) -> dict[str, str]:
    day, loss, var = exception
    return {
        "day": (EPOCH + timedelta(days=day)).isoformat(),
        "lost": f"{loss / NANOS:,.2f}",
        "value at risk": f"{var / NANOS:,.2f}",
    }


def _check(found: Backtest, confidence: float) -> dg.AssetCheckResult:
    test = found.kupiec
    if test is None:
        text = "no day with a forecast the evening before: nothing to test yet"
        return dg.AssetCheckResult(check_name="var_holds", passed=True, description=text)
    text = (
        f"{test.exceptions} of {test.observations} days lost more than the {confidence:.0%} value at risk, "
        f"{test.expected:.1f} were to be expected: p-value {test.p_value:.3g}"
    )
    return dg.AssetCheckResult(
        check_name="var_holds",
        passed=not test.rejected,
        severity=dg.AssetCheckSeverity.WARN,  # a reason to look at the model; no data is wrong
        description=text,
        metadata={"statistic": test.statistic, "p_value": test.p_value, "expected": test.expected},
    )


@dg.asset(
    partitions_def=SESSION_DAYS,
    group_name="risk",
    kinds={"sqlite"},
    check_specs=[
        dg.AssetCheckSpec(
            "var_holds",
            asset="var_backtest",
            description="As many days past the value at risk as it promises (Kupiec's test, 5 %).",
        )
    ],
    description="The firm's value at risk of each evening, from the agent's journal, against the loss of the "
    "day after: the days on which more was lost, and Kupiec's test of their number.",
)
def var_backtest(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Test the forecasts of the days that end with the partition's."""
    try:
        in_force = limits.load(ExecutionSettings.load().limits_file, Registry.load())
        found_days = _days(context.partition_key)
    except (JournalError, LimitsError) as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    confidence = in_force.firm.var_confidence_bps / 10_000
    found = backtest(found_days, confidence)
    rows = [_row(one) for one in found.exceptions]
    content = {
        "day": context.partition_key,
        "observations": found.observations,
        "exceptions": rows,
        "p_value": found.kupiec.p_value if found.kupiec else None,
    }
    file = results.keep(FOLDER, f"{context.partition_key}.var.json", content)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": found.observations,
            "exceptions": results.table(rows),
            "file": dg.MetadataValue.path(file),
        },
        check_results=[_check(found, confidence)],
    )
