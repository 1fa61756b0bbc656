"""What the demo's orders did: where they were filled, what they cost, and how a breach was taken down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tickloom.clock import NS_PER_S, SystemClock
from tickloom.instruments import Registry
from tickloom.prices import NANOS
from tickloom.settings import ExchangeSettings, ExecutionSettings

RULE = "pair_spread"
LIMITS_FILE = "limits.toml"
#: So little that spread and fees of the first pairs are past them, or a turn of what they gained is.
LOWERED = {"daily_loss_max": '"10"', "drawdown_max": '"15"'}
PARTS = ("delay", "market", "spread", "opportunity", "fees")
WHY = "low on purpose: the demo shows how a breach is taken down"
_STEP = re.compile(r"(?P<scope>\w+ of .+), (?P<number>\d+): (?P<stage>\w+), (?P<text>.*)")
COSTS = """
SELECT signal_id ~ '^unwind' AS unwinding, count() AS orders, sum(notional) AS notional,
  sum(delay) AS delay, sum(market) AS market, sum(spread) AS spread, sum(opportunity) AS opportunity,
  sum(fees) AS fees, sum(shortfall) AS shortfall
FROM order_costs ORDER BY unwinding
"""


@dataclass(slots=True)
class DestinationFigures:
    """Of one destination. notional, fees: the venue's currency; fees below 0 are rebates."""

    name: str
    protocol: str
    orders: int = 0
    filled: int = 0
    fills: int = 0
    shares: float = 0.0
    notional: float = 0.0
    fees: float = 0.0


@dataclass(slots=True)
class BreachFigures:
    """One plan. steps: (seconds since it was declared, stage, what was done)."""

    scope: str
    declared: str
    slices: int = 0
    seconds: float | None = None  # until the plan was done
    steps: list[tuple[float, str, str]] = field(default_factory=list)


def lowered_limits(directory: Path) -> Path:
    """The limits of the settings in a file of the demo's own, a rule's loss limits lowered on the record.

    Raises
    ------
    LimitsError
        The file is malformed.
    """
    from execution.limits import Change, audit_path, change_limits

    path = directory / LIMITS_FILE
    path.write_bytes(ExecutionSettings.load().limits_file.read_bytes())
    changes = [Change(f"rules.{RULE}", key, value) for key, value in LOWERED.items()]
    change_limits(path, audit_path(path), Registry.load(), changes, "demo", WHY, SystemClock())
    return path


def destinations(data_dir: Path) -> list[DestinationFigures]:
    """Orders and executions by where they went, from the journal."""
    from execution.destinations import in_force
    from execution.journal import Journal
    from execution.service import journal_path

    ways = in_force(ExecutionSettings.load(), ExchangeSettings.load())
    found = {
        one.name: DestinationFigures(one.name, ways.gateways[one.gateway].kind)
        for one in ways.destinations.by_name.values()
    }
    journal = Journal(journal_path(data_dir), read_only=True)
    try:
        parents = set(journal.parents())
        for order in journal.orders(sent_only=True):
            if order.order_id not in parents and (place := found.get(order.sent_to)):
                place.orders += 1
                place.filled += order.filled_quantity > 0
        for _, execution in journal.executions():
            if place := found.get(execution.reported_by):
                place.fills += 1
                place.shares += execution.quantity / NANOS
                place.notional += execution.quantity * execution.price / NANOS**2
                place.fees += execution.fee / NANOS
    finally:
        journal.close()
    return [place for place in found.values() if place.orders]


def breaches(data_dir: Path) -> list[BreachFigures]:
    """Every plan that was run, step by step, from the journal."""
    from execution.journal import Journal
    from execution.service import journal_path

    journal = Journal(journal_path(data_dir), read_only=True)
    try:
        actions = journal.risk_actions()
    finally:
        journal.close()
    found: dict[str, BreachFigures] = {}
    began: dict[str, int] = {}
    for ts, action, _, text in actions:
        match = _STEP.fullmatch(text)
        if match is None or not action.startswith("unwinding_"):
            continue
        scope, stage, what = match["scope"], match["stage"], match["text"]
        if action == "unwinding_declared":
            found[scope], began[scope] = BreachFigures(scope, what), ts
        plan = found.get(scope)
        if plan is None:
            continue
        seconds = round((ts - began[scope]) / NS_PER_S, 2)
        plan.slices += action == "unwinding_slice"
        if stage == "done":
            plan.seconds = seconds
        plan.steps.append((seconds, stage, what))
    return list(found.values())


def costs() -> list[dict[str, Any]]:
    """What parent orders cost, those of rules apart from those that took positions down, from QuestDB."""
    from storage import reader
    from tickloom.settings import QuestDbSettings

    rows: list[dict[str, Any]] = reader.query(COSTS, settings=QuestDbSettings.load()).to_pylist()
    return [
        {key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}
        for row in rows
    ]


def show_destinations(rows: list[dict[str, Any]], console: Console) -> None:
    """A table."""
    table = Table("destination", "protocol", box=None, title="Where orders went", title_justify="left")
    for name in ("orders", "with fills", "fills", "shares", "notional", "fees"):
        table.add_column(name, justify="right")
    for row in rows:
        figures = (f"{row[name]:,}" for name in ("orders", "filled", "fills"))
        amounts = (f"{row['shares']:,.8g}", f"{row['notional']:,.2f}", f"{row['fees']:,.2f}")
        table.add_row(row["name"], row["protocol"], *figures, *amounts)
    console.print(table)
    console.print()


def show_breaches(rows: list[dict[str, Any]], console: Console) -> None:
    """Each plan: its stages, and how long it took."""
    for row in rows:
        console.print(f"[bold]Breach[/]      {row['declared']}", highlight=False)
        for seconds, stage, what in row["steps"]:
            console.print(f"  {seconds:>8.2f} s  {stage.replace('_', ' '):<12} {what}", highlight=False)
        took = f"flat after {row['seconds']:.2f} s" if row["seconds"] is not None else "not over yet"
        console.print(f"  {took}, {row['slices']} slices\n", highlight=False)


def show_costs(rows: list[dict[str, Any]], console: Console) -> None:
    """What the orders cost: the whole in currency, its parts in basis points of what was wanted."""
    title = "Costs against the mid at the signal, parts in basis points"
    table = Table("orders of", box=None, title=title, title_justify="left", padding=(0, 1, 0, 0))
    for name in ("orders", "notional", "shortfall", "bps", *PARTS):
        table.add_column(name, justify="right")
    for row in rows:
        of = row["notional"] or float("inf")
        parts = (f"{10_000 * (row[name] or 0.0) / of:,.2f}" for name in ("shortfall", *PARTS))
        whole = (f"{row['orders']:,}", f"{row['notional'] or 0.0:,.0f}", f"{row['shortfall'] or 0.0:,.2f}")
        table.add_row("the breach" if row["unwinding"] else "rules", *whole, *parts)
    console.print(table)
    console.print()
