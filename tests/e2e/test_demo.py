"""The main job as a user runs it: one command, real servers, real sockets, a report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
DEMO_TIMEOUT_S = 540


def run_demo(data_dir: Path, *arguments: str) -> dict[str, Any]:
    """Run the command on free ports; the report, once it has ended with exit code 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TICKLOOM_")}
    done = subprocess.run(
        [sys.executable, "-m", "tickloom", "demo", "--data-dir", str(data_dir), *arguments],
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEMO_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report: dict[str, Any] = json.loads((data_dir / "report.json").read_text())
    for text in ("Flink UI", "QuestDB console", "Dagster UI", "synthetic" if not arguments else ""):
        assert text in done.stdout
    return report


@pytest.mark.slow
@pytest.mark.timeout(DEMO_TIMEOUT_S + 60)
def test_synthetic_session_ends_reconciled(tmp_path: Path) -> None:
    """A minute of the synthetic session: counts agree in three places, every rule fires, orders are filled
    over FIX and OUCH, nothing is left open, what was breached is flat, and the reconciliation is clean."""
    report = run_demo(tmp_path / "demo", "--duration-s", "60", "--speed", "1")
    for venue in ("XNAS", "BINANCE"):
        counts = report["feeds"][venue]
        assert counts["captured"] == counts["kafka"] == counts["questdb"] > 10_000
        assert counts["gaps"] == 0
    assert all(report["signals"][rule] >= 1 for rule in ("pair_spread", "trade_burst", "quote_fade"))
    assert report["orders"]["filled"] >= 1
    assert set(report["orders"]) <= {"filled", "cancelled", "expired", "rejected"}
    protocols = {place["protocol"] for place in report["destinations"] if place["orders"]}
    assert protocols >= {"fix", "ouch"}
    assert sum(place["fills"] for place in report["destinations"]) == report["fills"] >= 1
    assert all(breach["seconds"] is not None for breach in report["breaches"])
    assert sum(row["orders"] for row in report["costs"]) >= 1
    assert report["reconciliation"]["ok"]
    assert report["reconciliation"]["differences"] == 0
    assert report["latency_ms"]["wire_to_signal"]["p50"] > 0
    assert report["pnl"]["total"] == pytest.approx(
        report["pnl"]["realised"] + report["pnl"]["unrealised"], abs=0.02
    )
    assert report["problems"] == []


@pytest.mark.slow
@pytest.mark.timeout(DEMO_TIMEOUT_S + 60)
def test_recorded_lines_are_stored_once(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    """Recorded Binance lines through real sockets: trades and best quotes in QuestDB are, per instrument,
    as many as the recordings hold, and the book agrees with bookTicker at every common update id."""
    folder = shared_data("binance_raw")
    expected = json.loads((folder / "EXPECTED.json").read_text())
    report = run_demo(tmp_path / "demo", "--capture", str(folder), "--speed", "40")
    names = {
        ("BINANCE", "BTC-USDT"): "spot_btcusdt",
        ("BINANCE", "ETH-USDT"): "spot_ethusdt",
        ("BINANCEF", "BTC-USDT-PERP"): "usdm_btcusdt",
        ("BINANCEF", "ETH-USDT-PERP"): "usdm_ethusdt",
    }
    for (venue, symbol), prefix in names.items():
        files = [counts for name, counts in expected["line_counts"].items() if name.startswith(prefix)]
        stored = report["instruments"][venue][symbol]
        assert stored["trades"] == sum(counts["trade"] for counts in files), symbol
        assert stored["quotes"] == sum(counts["bookTicker"] for counts in files), symbol
    books = expected["book"]
    compared = {
        "BINANCE": books["spot_btcusdt(08+09)"]["equal"] + books["spot_ethusdt(08+09)"]["equal"],
        "BINANCEF": books["usdm_btcusdt"]["equal"] + books["usdm_ethusdt"]["equal"],
    }
    for venue, equal in compared.items():
        assert report["decoder"][venue]["oracle_equal"] == equal
        assert report["decoder"][venue].get("oracle_different", 0) == 0
    assert report["reconciliation"]["ok"]
