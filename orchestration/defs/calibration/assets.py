"""Which candidate pairs are cointegrated, by day and venue, and whether those that are traded still are."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import dagster as dg  # annotations are read at run time: no postponed ones here

from orchestration import results
from orchestration.defs.history.assets import historical_ticks
from orchestration.defs.partitions import DAY_AND_VENUE, day_and_venue
from storage import bars, calibrations, schema
from storage.reader import QuestDbReader
from strategies.pairs import calibration, candidates, frozen
from strategies.pairs.frozen import PairSet
from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.errors import CalibrationError
from tickloom.events import Calibration
from tickloom.settings import QuestDbSettings

#: A frozen hedge ratio may be off by this share before the pair is another one.
HEDGE_RATIO_DRIFT_MAX = 0.1


class CalibrationConfig(dg.Config):
    """What a run may do otherwise than candidates.toml says; 0 and "": as it says."""

    bar: str = ""
    days: int = 0


def _row(one: Calibration) -> dict[str, Any]:
    """An admitted pair on the asset's page."""
    return {
        "pair": one.symbol,
        "hedge ratio": f"{one.hedge_ratio:.6g}",
        "Johansen's": f"{one.johansen_hedge_ratio:.6g}",
        "mean": f"{one.mean:.6g}",
        "deviation": f"{one.deviation:.4g}",
        "half-life, s": f"{one.half_life_s:,.1f}",
        "p-value": f"{one.p_value:.2g}",
        "q-value": f"{one.q_value:.2g}",
        "bars": one.observations,
    }


def _refused(found: list[Calibration]) -> list[dict[str, Any]]:
    """How many were refused for what, without the numbers of each."""
    reasons = Counter(
        one.refused.partition(" (")[0] if one.p_value == one.p_value else "" for one in found if one.refused
    )
    untested = reasons.pop("", 0)
    rows = [{"because": reason, "pairs": count} for reason, count in reasons.most_common()]
    if untested:
        rows.append(
            {
                "because": "could not be tested: too few bars, or a leg that is no random walk",
                "pairs": untested,
            }
        )
    return rows


def _fallen(pair_set: PairSet, found: list[Calibration]) -> list[dict[str, Any]]:
    """Pairs that spreads are computed with, and that this calibration would not have so."""
    by_symbol = {one.symbol: one for one in found}
    rows = []
    for pair in pair_set.pairs:
        one = by_symbol.get(pair.symbol)
        if one is None:
            because = "is no candidate any more"
        elif not one.admitted:
            because = one.refused
        elif abs(one.hedge_ratio / pair.hedge_ratio - 1) > HEDGE_RATIO_DRIFT_MAX:
            because = f"hedge ratio {one.hedge_ratio:.4g}, frozen {pair.hedge_ratio:.4g}"
        else:
            continue
        rows.append({"pair": pair.symbol, "because": because})
    return rows


def _held(venue: str, found: list[Calibration]) -> dg.AssetCheckResult:
    """Whether the frozen pairs are still what they were when they were frozen."""
    if venue not in frozen.venues():
        return dg.AssetCheckResult(
            check_name="frozen_pairs_still_cointegrated",
            passed=True,
            description=f"no pairs of {venue} are frozen",
        )
    pair_set = frozen.find(venue)
    rows = _fallen(pair_set, found)
    return dg.AssetCheckResult(
        check_name="frozen_pairs_still_cointegrated",
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,  # a sample that says otherwise is a reason to look, not a defect
        description=results.sentence(rows) if rows else f"all {len(pair_set.pairs)} pairs of {venue} are",
        metadata={"calibration": pair_set.version, "fallen": results.table(rows)},
    )


@dg.asset(
    partitions_def=DAY_AND_VENUE,
    group_name="calibration",
    kinds={"questdb", "python"},
    deps=[historical_ticks],
    check_specs=[
        dg.AssetCheckSpec(
            "frozen_pairs_still_cointegrated",
            asset="pair_calibrations",
            description="Each frozen pair is admitted again, at about the same hedge ratio.",
        )
    ],
    description="Candidate pairs of a venue tested for cointegration (Engle-Granger) over bars up to the end "
    "of a day: hedge ratio, mean and deviation of the spread, half-life, and p-value, corrected for how many "
    "were tested. Nothing trades on it before `tickloom pairs freeze`.",
)
def pair_calibrations(context: dg.AssetExecutionContext, config: CalibrationConfig) -> dg.MaterializeResult:
    """Calibrate the venue's candidates over the days that end with the partition's."""
    day, venue = day_and_venue(context)
    settings = QuestDbSettings.load()
    schema.apply(settings)
    try:
        wanted = candidates.find(venue)
    except CalibrationError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    bar, days = config.bar or wanted.bar, config.days or wanted.days
    end_ns = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * NS_PER_S + NS_PER_DAY
    with QuestDbReader(settings) as reader:
        closes = bars.read_closes(reader, venue, bar, end_ns - days * NS_PER_DAY, end_ns, wanted.symbols)
    context.log.info("%d pairs of %s over %d bars of %s", len(wanted.pairs), venue, len(closes), bar)
    try:
        found = calibration.calibrate(closes, wanted.pairs, venue, candidates.BARS[bar])
    except CalibrationError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    calibrations.write_calibrations(settings, found)
    admitted = sorted((one for one in found if one.admitted), key=lambda one: one.p_value)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(found),
            "admitted": len(admitted),
            "tested": sum(one.p_value == one.p_value for one in found),
            "bars": len(closes),
            "bar": bar,
            "sample_from": dg.MetadataValue.timestamp(found[0].sample_from / NS_PER_S),
            "sample_to": dg.MetadataValue.timestamp(found[0].ts / NS_PER_S),
            "pairs": results.table([_row(one) for one in admitted]),
            "refused": results.table(_refused(found)),
        },
        check_results=[_held(venue, found)],
    )
