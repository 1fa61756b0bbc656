"""What Dagster is told there is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from orchestration.definitions import defs
from orchestration.defs.schedules import (
    calibrate_yesterday,
    cost_yesterday,
    pack_yesterday,
    prove_yesterday,
    reconcile_yesterday,
)


def test_asset_graph_is_as_published() -> None:
    """The assets, their groups and checks are those of the README; a change here is one for users."""
    graph = defs.resolve_asset_graph()
    found = {}
    for key in graph.get_all_asset_keys():
        checks = sorted(check.name for check in graph.get_check_keys_for_assets({key}))
        found[key.to_user_string()] = (graph.get(key).group_name, checks)
    assert found == {
        "historical_ticks": ("history", []),
        "packed_captures": ("archive", ["captures_sound"]),
        "tick_counts": ("reconciliation", ["capture_kafka_questdb_agree"]),
        "order_records": ("reconciliation", ["agent_and_exchange_agree"]),
        "rule_parity": ("parity", ["signals_identical"]),
        "pair_calibrations": ("calibration", ["frozen_pairs_still_cointegrated"]),
        "var_backtest": ("risk", ["var_holds"]),
        "destination_quotes": ("routing", []),
        "routing_regret": ("routing", ["regret_within_bound"]),
        "order_costs": ("costs", ["every_order_costed"]),
    }


def test_each_asset_is_in_one_job_and_each_daily_job_has_a_schedule() -> None:
    """Jobs, schedules and assets fit together; what is loaded on demand alone has no schedule."""
    dg.Definitions.validate_loadable(defs)
    repository = defs.get_repository_def()
    jobs = {name: repository.get_job(name) for name in repository.job_names if not name.startswith("__")}
    made = [key.to_user_string() for job in jobs.values() for key in job.asset_layer.selected_asset_keys]
    assert sorted(made) == sorted(key.to_user_string() for key in repository.asset_graph.get_all_asset_keys())
    assert {schedule.name: schedule.job_name for schedule in repository.schedule_defs} == {
        "reconcile_yesterday": "daily_reconciliation",
        "prove_yesterday": "daily_parity",
        "calibrate_yesterday": "daily_calibration",
        "backtest_yesterday": "daily_risk",
        "regret_yesterday": "daily_routing",
        "cost_yesterday": "daily_costs",
        "pack_yesterday": "daily_archive",
    }
    assert set(jobs) == {schedule.job_name for schedule in repository.schedule_defs} | {"historical_load"}


@pytest.mark.parametrize(
    "schedule", [reconcile_yesterday, prove_yesterday, calibrate_yesterday, cost_yesterday, pack_yesterday]
)
def test_schedule_asks_for_the_day_before(
    schedule: dg.ScheduleDefinition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the night to the 22nd each venue with a capture of the 21st gets one run, others none."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    (tmp_path / "capture" / "XNAS" / "20261121.A").mkdir(parents=True)
    (tmp_path / "capture" / "BINANCE" / "20261120").mkdir(parents=True)
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 11, 22, 0, 15, tzinfo=UTC),
        repository_def=defs.get_repository_def(),
    )
    data = schedule.evaluate_tick(context)
    assert data.run_requests is not None
    assert [str(request.partition_key) for request in data.run_requests] == ["2026-11-21|XNAS"]


def test_schedule_says_why_it_skips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any capture of the day there is no run, and the reason names the day."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 11, 22, 0, 15, tzinfo=UTC),
        repository_def=defs.get_repository_def(),
    )
    data = reconcile_yesterday.evaluate_tick(context)
    assert not data.run_requests
    assert "2026-11-21" in (data.skip_message or "")
