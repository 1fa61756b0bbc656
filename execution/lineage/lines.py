"""Rows of the journal in, lines of the lineage out. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from execution.lineage.model import (
    Change,
    CheckLine,
    Decision,
    FillLine,
    Made,
    OrderLine,
    PositionLine,
    SignalLine,
    VerdictLine,
)
from execution.lineage.records import Row
from execution.positions import Holding, value_to_nanos
from execution.risk.checks import SPECS, Unit
from execution.risk.verdict import show
from tickloom.events import Signal
from tickloom.prices import format_nanos

_UNITS = {spec.check.value: spec.unit for spec in SPECS}


def order_line(row: Row) -> OrderLine:
    """An order's row."""
    filled, value = int(row["filled_quantity"]), int(row["filled_value"])
    average = (2 * value + filled) // (2 * filled) if filled else 0
    return OrderLine(
        order_id=row["order_id"],
        parent_id=row["parent_id"],
        leg=row["leg"],
        rule=row["rule"],
        venue=row["venue"],
        destination=row["destination"] or row["venue"],
        symbol=row["symbol"],
        side=row["side"],
        quantity=format_nanos(row["quantity"]),
        limit_price=format_nanos(row["limit_price"]),
        order_type=row["order_type"],
        time_in_force=row["time_in_force"],
        state=row["state"],
        filled_quantity=format_nanos(filled),
        average_price=format_nanos(average),
        venue_order_id=row["venue_order_id"],
        original_order_id=row["original_order_id"],
        reason=row["reason"],
        sent=bool(row["sent"]),
        ts_created=row["ts_created"],
        ts=row["ts"],
    )


def history_of(rows: Sequence[Row]) -> list[Change]:
    """An order's states, oldest first."""
    return [
        Change(row["revision"], row["state"], format_nanos(row["filled_quantity"]), row["reason"], row["ts"])
        for row in rows
    ]


def decision_line(row: Row) -> Decision:
    """A router's decision as ``execution.parents`` journals it; what is none of that is all record."""
    try:
        found: Any = json.loads(row["decision"])
    except ValueError:
        found = row["decision"]
    if not isinstance(found, dict) or "record" not in found:
        return Decision(row["number"], row["ts"], "", False, [], [], found)
    return Decision(
        number=row["number"],
        ts=row["ts"],
        why=found.get("why", ""),
        done=bool(found.get("done")),
        made=[Made(one["order_id"], one["refused"]) for one in found.get("orders", [])],
        cancel=found.get("cancel", []),
        record=found["record"],
    )


def verdict_line(row: Row) -> VerdictLine:
    """What the gate measured, each value beside its limit."""
    found = json.loads(row["verdict"])
    checks = []
    for check, level, value, limit, passed in found["checks"]:
        unit = _UNITS.get(check, Unit.COUNT)
        shown = f"{show(unit, value)} of {show(unit, limit)}"
        checks.append(CheckLine(check, level, unit.value, value, limit, passed, shown))
    return VerdictLine(row["ts"], found["revision"], found["digest"], found["refused"], checks)


def signal_line(row: Row) -> SignalLine:
    """The signal as it came, and what became of it."""
    signal = msgspec.json.decode(row["payload"], type=Signal)
    return SignalLine(
        signal_id=signal.signal_id,
        rule=signal.rule,
        version=signal.version,
        venue=signal.venue,
        symbol=signal.symbol,
        side=signal.side,
        strength=signal.strength,
        ref_price=signal.ref_price,
        first_seq=signal.first_seq,
        last_seq=signal.last_seq,
        ts_event=signal.ts_event,
        ts_signal=signal.ts_signal,
        ts=row["ts"],
        verdict=row["verdict"],
        reason=row["reason"],
    )


def fill_line(row: Row) -> FillLine:
    """An execution as it stands now."""
    return FillLine(
        execution_id=row["execution_id"],
        order_id=row["order_id"],
        destination=row["destination"],
        price=format_nanos(row["price"]),
        quantity=format_nanos(row["quantity"]),
        fee=format_nanos(row["fee"]),
        liquidity=row["liquidity"],
        ts=row["ts"],
        ts_recv=row["ts_recv"],
        changed=row["changed"],
    )


def position_line(rows: Sequence[Row], own: Collection[tuple[str, str]]) -> PositionLine | None:
    """The firm's position before the first of some executions and after their last.

    Parameters
    ----------
    rows : sequence
        All executions of the instrument, as they were booked.
    own : collection of (destination, execution id)
    """
    places = [place for place, row in enumerate(rows) if (row["destination"], row["execution_id"]) in own]
    if not places:
        return None
    holding, before = Holding(), 0
    for place, row in enumerate(rows[: places[-1] + 1]):
        if place == places[0]:
            before = holding.quantity
        if row["quantity"]:
            holding.book(row["side"], row["quantity"], row["price"], row["fee"])
    return PositionLine(
        venue=rows[0]["venue"],
        symbol=rows[0]["symbol"],
        before=format_nanos(before),
        after=format_nanos(holding.quantity),
        average_price=format_nanos(holding.average_price),
        realised=format_nanos(value_to_nanos(holding.realised)),
    )
