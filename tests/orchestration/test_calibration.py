"""Pairs calibrated by a real Dagster run over bars that QuestDB made of stored trades."""

from __future__ import annotations

import math

import dagster as dg
import pytest

from orchestration.defs.calibration.assets import pair_calibrations
from storage import QuestDbReader, calibrations, schema, wait_applied
from strategies.pairs import candidates, frozen
from tests.strategies.pairs.market import AR_COEFFICIENT, DAY, OPEN_NS, SECONDS, write_market
from tickloom.clock import NS_PER_S
from tickloom.settings import QuestDbSettings

PARTITION = dg.MultiPartitionKey({"date": DAY.isoformat(), "venue": "XNAS"})


def test_only_what_is_cointegrated_is_admitted_and_kept(questdb: QuestDbSettings) -> None:
    """The one pair made to order is admitted with its numbers, on the page and in QuestDB, where the others
    are with their reasons; the check names the frozen pair that is no more, as a warning."""
    write_market(questdb)
    run = dg.materialize([pair_calibrations], partition_key=PARTITION)
    (made,) = run.asset_materializations_for_node("pair_calibrations")
    metadata = {name: value.value for name, value in made.metadata.items()}
    wanted = candidates.find("XNAS")
    assert (metadata["dagster/row_count"], metadata["admitted"]) == (len(wanted.pairs), 1)
    assert metadata["tested"] >= 5
    (row,) = made.metadata["pairs"].value.records  # type: ignore[union-attr]
    assert row.data["pair"] == "ALFA~BRVO"
    with QuestDbReader(questdb) as reader:
        wait_applied(questdb, [calibrations.TABLE])
        found = {one.symbol: one for one in calibrations.read_calibrations(reader, "XNAS")}
    assert len(found) == len(wanted.pairs)
    good = found["ALFA~BRVO"]
    assert good.admitted
    assert good.hedge_ratio == pytest.approx(1.2, abs=0.05)
    assert good.half_life_s == pytest.approx(math.log(0.5) / math.log(AR_COEFFICIENT), rel=0.4)
    assert (good.ts, good.sample_from) == (OPEN_NS + SECONDS * NS_PER_S, OPEN_NS)
    assert "not cointegrated" in found["ECHO~GOLF"].refused or "chance" in found["ECHO~GOLF"].refused
    assert found["HOTL~INDI"].refused == "no bars of HOTL and INDI"
    (check,) = run.get_asset_check_evaluations()
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "pair ECHO~FXTR" in (check.description or "")
    assert "ALFA~BRVO" not in (check.description or "")
    set_of_one = frozen.of_calibrations(list(found.values()), frozen.find("XNAS"))
    assert [pair.symbol for pair in set_of_one.pairs] == ["ALFA~BRVO"]
    assert set_of_one.stale_ms == frozen.find("XNAS").stale_ms


def test_without_bars_or_candidates_the_run_says_so(questdb: QuestDbSettings) -> None:
    """It fails with what to do, and writes nothing."""
    schema.apply(questdb)
    for day, venue, message in (
        ("2025-03-12", "XNAS", "no bars"),
        ("2025-03-10", "BINANCE", "no \\[BINANCE\\]"),
    ):
        key = dg.MultiPartitionKey({"date": day, "venue": venue})
        with pytest.raises(dg.Failure, match=message):
            dg.materialize([pair_calibrations], partition_key=key)
