"""What the demo found out, as one JSON document and one page of plain figures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tickloom.cli.demo import trading
from tickloom.settings import QuestDbSettings, StackSettings


@dataclass(slots=True)
class Report:
    """The figures of one demo run. Money in the venue's quote currency, latencies in ms of real time."""

    input: str
    feeds: dict[str, dict[str, int]] = field(default_factory=dict)
    instruments: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    decoder: dict[str, dict[str, int]] = field(default_factory=dict)
    spreads: dict[str, int] = field(default_factory=dict)
    signals: dict[str, int] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=dict)  # parents count once, their parts not
    refused: dict[str, int] = field(default_factory=dict)
    fills: int = 0
    destinations: list[dict[str, Any]] = field(default_factory=list)
    breaches: list[dict[str, Any]] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)
    positions: list[dict[str, Any]] = field(default_factory=list)
    pnl: dict[str, float] = field(default_factory=dict)
    reconciliation: dict[str, Any] = field(default_factory=dict)
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the JSON document."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def latency(values_ns: list[int]) -> dict[str, float]:
    """p50, p99 and maximum of some durations, in ms; empty where there are none."""
    if not values_ns:
        return {}
    values_ms = np.array(values_ns, dtype=np.float64) / 1e6
    return {
        "p50": round(float(np.percentile(values_ms, 50)), 3),
        "p99": round(float(np.percentile(values_ms, 99)), 3),
        "max": round(float(values_ms.max()), 3),
    }


WIRE_TO_SIGNAL = """
SELECT s.signal_id, min(cast(s.ts_signal AS long)) AS signalled, min(cast(e.ts_recv AS long)) AS received
FROM signals s
JOIN (SELECT venue, seq, ts_recv FROM quotes UNION ALL SELECT venue, seq, ts_recv FROM trades) e
ON s.last_seq = e.seq AND s.venue = e.venue
GROUP BY s.signal_id
"""
SIGNAL_TO_ORDER = """
SELECT cast(o.ts AS long) AS ordered, cast(s.ts_signal AS long) AS signalled
FROM orders o JOIN signals s ON o.signal_id = s.signal_id WHERE o.revision = 0
"""


def collect_trading(report: Report) -> None:
    """Signals, orders, fills, positions, P&L and latencies, all asked from QuestDB."""
    from storage import reader

    settings = QuestDbSettings.load()

    def rows(sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = reader.query(sql, settings=settings).to_pylist()
        return found

    report.spreads = {
        row["symbol"]: row["n"] for row in rows("SELECT symbol, count() n FROM spreads ORDER BY symbol")
    }
    report.signals = {
        row["rule"]: row["n"] for row in rows("SELECT rule, count() n FROM signals ORDER BY rule")
    }
    last: dict[str, dict[str, Any]] = {}
    for row in rows(
        "SELECT order_id, state, reason, revision FROM orders WHERE parent_id = '' OR parent_id IS NULL"
    ):
        if row["order_id"] not in last or row["revision"] > last[row["order_id"]]["revision"]:
            last[row["order_id"]] = row
    for row in last.values():
        report.orders[row["state"]] = report.orders.get(row["state"], 0) + 1
        if row["state"] == "rejected":
            check = (row["reason"] or "").split(":")[0]
            report.refused[check] = report.refused.get(check, 0) + 1
    report.fills = rows("SELECT count() n FROM executions")[0]["n"]
    sql = (
        "SELECT venue, symbol, quantity, average_price, mid, realised_pnl, unrealised_pnl "
        "FROM positions LATEST ON ts PARTITION BY venue, symbol"
    )
    report.positions = sorted(rows(sql), key=lambda row: (row["venue"], row["symbol"]))
    realised = sum(row["realised_pnl"] or 0.0 for row in report.positions)
    unrealised = sum(row["unrealised_pnl"] or 0.0 for row in report.positions)
    report.pnl = {
        "realised": round(realised, 2),
        "unrealised": round(unrealised, 2),
        "total": round(realised + unrealised, 2),
    }
    data_dir = StackSettings.load().data_dir
    report.destinations = [asdict(one) for one in trading.destinations(data_dir)]
    report.breaches = [asdict(one) for one in trading.breaches(data_dir)]
    report.costs = trading.costs()
    report.latency_ms = {
        "wire_to_signal": latency([row["signalled"] - row["received"] for row in rows(WIRE_TO_SIGNAL)]),
        "signal_to_order": latency([row["ordered"] - row["signalled"] for row in rows(SIGNAL_TO_ORDER)]),
    }


def collect_reconciliation(report: Report, folder: Path) -> None:
    """Events a venue and all differences, from what the reconciliation's runs wrote."""
    differences: list[dict[str, Any]] = []
    runs = 0
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text())
        runs += 1
        differences += [{"venue": found["venue"], **row} for row in found["differences"]]
        if "captured" in found:
            report.feeds[found["venue"]] = {
                name: found[name] for name in ("captured", "kafka", "questdb", "gaps")
            }
            report.instruments[found["venue"]] = found["instruments"]
            report.decoder[found["venue"]] = found["decoder"]
            if found["kafka_repeated_batches"]:
                differences.append({"venue": found["venue"], "repeated": found["kafka_repeated_batches"]})
    report.reconciliation = {
        "ok": runs > 0 and not differences,
        "differences": len(differences),
        "details": differences,
    }


def show(report: Report, console: Console) -> None:
    """The page: plain figures, right-aligned, with their units."""
    console.rule("Tickloom demo")
    console.print(f"Input: {report.input}\n")
    feeds = Table("venue", box=None, title="Events", title_justify="left")
    for name in ("captured", "in Kafka", "in QuestDB", "gaps"):
        feeds.add_column(name, justify="right")
    for venue, counts in report.feeds.items():
        feeds.add_row(venue, *(f"{counts[name]:,}" for name in ("captured", "kafka", "questdb", "gaps")))
    console.print(feeds)
    console.print()
    for venue, counters in report.decoder.items():
        if "oracle_equal" in counters:
            equal, different = counters["oracle_equal"], counters.get("oracle_different", 0)
            console.print(
                f"{venue}: the book agrees with the best quote of the same update id {equal:,} times, "
                f"and differs {different:,} times",
                highlight=False,
            )
            table = Table("instrument", box=None)
            table.add_column("trades", justify="right")
            table.add_column("quotes", justify="right")
            for name, numbers in report.instruments[venue].items():
                table.add_row(name, f"{numbers.get('trades', 0):,}", f"{numbers.get('quotes', 0):,}")
            console.print(table)
            console.print()
    for title, figures in (
        ("Spreads", report.spreads),
        ("Signals", report.signals),
        ("Orders", report.orders),
        ("Refused", report.refused),
    ):
        if figures:
            text = ", ".join(f"{name} {number:,}" for name, number in sorted(figures.items()))
            console.print(f"{title + ':':<12}{text}", highlight=False)
    console.print(f"{'Fills:':<12}{report.fills:,}\n", highlight=False)
    if report.destinations:
        trading.show_destinations(report.destinations, console)
    if any(row["orders"] for row in report.costs):
        trading.show_costs(report.costs, console)
    trading.show_breaches(report.breaches, console)
    if report.positions:
        console.print(_positions(report.positions))
        money = ", ".join(f"{name} {value:,.2f}" for name, value in report.pnl.items())
        console.print(f"{'P&L:':<12}{money}\n", highlight=False)
    names = {"wire_to_signal": "datagram received to signal", "signal_to_order": "signal to order sent"}
    if any(report.latency_ms.values()):
        table = Table(
            "", "p50", "p99", "max", box=None, title="Latency, ms of real time", title_justify="left"
        )
        for name, figures_ms in report.latency_ms.items():
            if figures_ms:
                table.add_row(names[name], *(f"{figures_ms[key]:,.1f}" for key in ("p50", "p99", "max")))
        console.print(table)
        console.print()
    good = report.reconciliation["ok"]
    text = "clean: no difference" if good else f"{report.reconciliation['differences']} differences"
    console.print(f"Reconciliation: [{'green' if good else 'red'}]{text}[/]")
    for row in report.reconciliation["details"][:10]:
        console.print("  " + ", ".join(f"{key} {value}" for key, value in row.items()), highlight=False)
    for problem in report.problems:
        console.print(f"[red]Problem:[/] {problem}", highlight=False)


def _positions(rows: list[dict[str, Any]]) -> Table:
    table = Table("venue", "instrument", box=None, title="Positions", title_justify="left")
    for name in ("quantity", "average price", "mid", "realised", "unrealised"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["venue"],
            row["symbol"],
            f"{row['quantity']:,.8g}",
            *(_money(row[name]) for name in ("average_price", "mid", "realised_pnl", "unrealised_pnl")),
        )
    return table


def _money(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:,.2f}"
