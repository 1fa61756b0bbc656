"""The value at risk backtested by a real Dagster run over a journal."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from execution.journal import Journal
from execution.service import journal_path
from orchestration.definitions import defs
from orchestration.defs.risk.assets import var_backtest
from orchestration.defs.schedules import backtest_yesterday
from tickloom.prices import NANOS

LAST = date(2026, 11, 20)
LAST_DAY = (LAST - date(1970, 1, 1)).days


def journal_of(data_dir: Path, losses: list[int], var: int = 100) -> None:
    """A journal whose last day is LAST, with so much lost on each day, and a VaR of ``var`` every evening."""
    journal = Journal(journal_path(data_dir))
    pnl = 0
    with journal.transaction():
        for number, loss in enumerate([0, *losses, 0]):
            day = LAST_DAY - len(losses) + number
            journal.set_risk_mark(day, 0, "", pnl * NANOS, 0, var * NANOS)
            journal.set_risk_mark(day, 1, "rule", 0, 0, 1)  # of a rule: not what is tested
            pnl -= loss
    journal.close()


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dg.AssetCheckEvaluation, dict[str, object]]:
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    done = dg.materialize([var_backtest], partition_key=LAST.isoformat())
    (made,) = done.asset_materializations_for_node("var_backtest")
    (check,) = done.get_asset_check_evaluations()
    return check, {name: value.value for name, value in made.metadata.items()}


def test_as_many_exceptions_as_promised_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days of 200 lost 101 with 100 at risk; a loss of 100 is none."""
    journal_of(tmp_path, [101 if number in (10, 150) else 100 for number in range(200)])
    check, metadata = run(tmp_path, monkeypatch)
    assert check.passed
    assert metadata["dagster/row_count"] == 200
    text = "2 of 200 days lost more than the 99% value at risk, 2.0 were to be expected"
    assert text in (check.description or "")


def test_too_many_exceptions_warn_with_their_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve in 200 are past what a sound model does by chance; the table has day and loss."""
    journal_of(tmp_path, [101] * 12 + [0] * 188)
    check, metadata = run(tmp_path, monkeypatch)
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert len(metadata["exceptions"].records) == 12  # type: ignore[attr-defined]


def test_only_the_last_year_is_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exceptions of more than 250 days ago are history."""
    journal_of(tmp_path, [101] * 12 + [0] * 250)
    check, metadata = run(tmp_path, monkeypatch)
    assert metadata["dagster/row_count"] == 250
    assert "0 of 250" in (check.description or "")


def test_without_a_journal_the_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that never ran has nothing to test."""
    with pytest.raises(dg.Failure, match="has the agent run"):
        run(tmp_path, monkeypatch)


def test_schedule_asks_for_the_day_before() -> None:
    """At one in the morning of the 22nd the days up to the 21st."""
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 11, 22, 1, tzinfo=UTC),
        repository_def=defs.get_repository_def(),
    )
    data = backtest_yesterday.evaluate_tick(context)
    assert data.run_requests is not None
    assert [request.partition_key for request in data.run_requests] == ["2026-11-21"]
