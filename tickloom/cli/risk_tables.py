"""A risk status in, tables on the terminal out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tickloom.cli.times import utc

if TYPE_CHECKING:
    from execution.status import RiskStatus

USE_SHOWN_PERCENT = 1.0  # below, a limit is not worth a line; --json has them all


def show_status(found: RiskStatus) -> None:
    """Print it."""
    console = Console()
    entry = {True: ", live order entry on", False: ", live order entry OFF", None: ""}[found.order_entry]
    _say(console, f"agent: {found.agent}{entry}{f'; limits {found.limits}' if found.limits else ''}")
    _say(console, f"kill switch: {'off' if found.halted is None else f'HALTED, {found.halted}'}")
    firm = [one for one in found.positions if not one.rule]
    _table(
        console,
        "Positions",
        ["venue", "symbol"],
        ["quantity", "average price", "mid", "realised", "unrealised", "fees"],
        [
            [one.venue, one.symbol, one.quantity, one.average_price, one.mid]
            + [_money(value) for value in (one.realised, one.unrealised, one.fees)]
            for one in firm
        ],
    )
    _table(
        console,
        "P&L (day: since the UTC day began)",
        ["of"],
        ["realised", "unrealised", "fees", "total", "day"],
        [
            [one.scope]
            + [_money(value) for value in (one.realised, one.unrealised, one.fees, one.total, one.day)]
            for one in found.pnl
        ],
    )
    _table(
        console,
        "Value at risk",
        ["of"],
        ["parametric", "shortfall", "historical"],
        [
            [
                *(one.scope, f"{one.var:,.2f}", f"{one.expected_shortfall:,.2f}"),
                "" if one.historical_var is None else f"{one.historical_var:,.2f}",
            ]
            for one in found.var
        ],
    )
    used = [one for one in found.use if one.percent >= USE_SHOWN_PERCENT]
    _table(
        console,
        "Limits in use",
        ["limit", "of"],
        ["value", "limit", "%"],
        [[one.check, one.scope, one.value, one.limit, f"{one.percent:.1f}"] for one in used],
    )
    for text in found.breaches:
        _say(console, f"breach: {text}")
    for scope, why in found.stopped:
        _say(console, f"reduce only: {scope}, {why}")
    _table(
        console,
        "Unwindings",
        ["breach", "of", "stage", "plan", "since"],
        ["% left"],
        [
            [
                *(one.kind, one.scope, one.stage + (" (paused)" if one.paused else "")),
                *(", ".join(one.stages), utc(one.since), f"{one.left_percent:.1f}"),
            ]
            for one in found.unwindings
        ],
    )
    _table(
        console,
        f"Open orders ({found.unknown_orders} of unknown fate)",
        ["order", "rule", "to", "symbol", "side", "state"],
        ["quantity", "filled", "limit"],
        [
            [
                *(one.order_id, one.rule, one.destination, one.symbol, one.side, one.state),
                *(one.quantity, one.filled, one.limit_price),
            ]
            for one in found.orders
        ],
        empty="no open orders",
    )
    for _, action, who, why in found.actions[-5:]:
        _say(console, f"{action} by {who}: {why}")
    for _, kind, text in found.alerts[-5:]:
        _say(console, f"alert ({kind}): {text}")


def _table(
    console: Console, title: str, left: list[str], right: list[str], rows: list[list[str]], empty: str = ""
) -> None:
    if not rows:
        if empty:
            _say(console, empty)
        return
    table = Table(*left, box=None, title=title, title_justify="left")
    for name in right:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table, highlight=False, markup=False)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False)


def _money(text: str) -> str:
    """Cents; the exact text is in the JSON."""
    return f"{float(text):,.2f}" if text else ""
