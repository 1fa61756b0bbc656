"""Executions and the books of their moments in, regrets out. Pure.

The best that was there for the executions of one decision is what the same quantity would have cost at the
touches of all lit destinations at that moment, taker fees included, cheapest first. Executions and touches
are paired in the order of their costs, so that each execution has its part. What the touches do not hold is
compared with nothing: depth behind them is not stored by venue.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from execution.destinations import Destination, Destinations
from orchestration.defs.routing.fills import RoutedFill
from storage.routing import HORIZONS_S, Moment, Touch
from tickloom.prices import NANOS

BPS = 10_000.0

Touches = dict[tuple[str, str], Touch]


@dataclass(frozen=True, slots=True)
class Quoted:
    """What could be taken at a destination. cost: all-in currency a unit, a sale's below 0; size: units."""

    destination: str
    cost: float
    size: float


def lit(destinations: Destinations, market: str) -> list[Destination]:
    """Those whose displayed book is their own."""
    return [one for one in destinations.of(market) if not one.dark]


def moments(fills: Iterable[RoutedFill], destinations: Destinations) -> list[Moment]:
    """The books that are to be looked up: of every destination when a decision was made and when an execution
    traded, and of the primary for markouts."""
    found: dict[Moment, None] = {}
    for one in fills:
        execution = one.execution
        for destination in lit(destinations, execution.venue):
            if one.decision >= 0:
                found[Moment(one.decision_ts, "decision", one.group, execution.symbol, destination.book)] = (
                    None
                )
            found[Moment(execution.ts, "arrival", arrival_of(one), execution.symbol, destination.book)] = None
        found[Moment(execution.ts, "execution", key_of(one), execution.symbol, execution.venue)] = None
    return list(found)


def key_of(one: RoutedFill) -> str:
    """Of the execution; ids are unique by who reported them."""
    return f"{one.execution.reported_by}/{one.execution.execution_id}"


def arrival_of(one: RoutedFill) -> str:
    """Of what one decision traded at one moment."""
    return f"{one.group}@{one.execution.ts}"


def quoted(touches: Touches, moment: str, side: str, destinations: Sequence[Destination]) -> list[Quoted]:
    """What was displayed at a moment, the cheapest first. No quote, or an empty side: nothing was."""
    found = []
    for one in destinations:
        touch = touches.get((moment, one.book))
        if touch is None:
            continue
        price = touch.ask_price if side == "buy" else touch.bid_price
        size = touch.ask_size if side == "buy" else touch.bid_size
        if price is None or not size:
            continue
        cost = (price if side == "buy" else -price) + one.taker_fee / NANOS
        found.append(Quoted(one.name, cost, size))
    return sorted(found, key=lambda quote: (quote.cost, quote.destination))


def regrets(fills: Sequence[RoutedFill], quotes: Sequence[Quoted]) -> list[float | None]:
    """Currency by which each execution cost more than its part of the best, in the order given; None: nothing
    was displayed."""
    if not quotes:
        return [None] * len(fills)
    found: list[float | None] = [0.0] * len(fills)
    left = [quote.size for quote in quotes]
    at = 0
    for place in sorted(range(len(fills)), key=lambda number: (fills[number].cost, number)):
        one, wanted, regret = fills[place], fills[place].quantity, 0.0
        while wanted > 0 and at < len(quotes):
            size = min(wanted, left[at])
            regret += size * (one.cost - quotes[at].cost)
            wanted -= size
            left[at] -= size
            if left[at] <= 0:
                at += 1
        found[place] = regret
    return found


def rows(
    fills: Sequence[RoutedFill],
    destinations: Destinations,
    at_decision: Touches,
    at_arrival: Touches,
    mids: dict[tuple[str, int], float],
) -> list[dict[str, Any]]:
    """A row of ``routing_regret`` for each execution."""
    decided = _by_group(fills, destinations, at_decision, lambda one: one.group)
    arrived = _by_group(fills, destinations, at_arrival, arrival_of)
    found = []
    for number, one in enumerate(fills):
        execution, notional = one.execution, one.price * one.quantity
        regret, saved = decided[number] if one.decision >= 0 else (None, None)
        row: dict[str, Any] = {
            "ts": execution.ts,
            "execution_id": execution.execution_id,
            "order_id": execution.order_id,
            "parent_id": one.parent_id,
            "decision": one.decision,
            "decision_ts": one.decision_ts,
            "destination": execution.reported_by,
            "venue": execution.venue,
            "symbol": execution.symbol,
            "rule": one.rule,
            "side": execution.side,
            "style": one.style,
            "price": one.price,
            "quantity": one.quantity,
            "fee": one.fee,
            "regret": regret,
            "arrival_regret": arrived[number][0],
            "saved": saved,
        }
        for name in ("regret", "arrival_regret", "saved"):
            row[f"{name}_bps"] = None if row[name] is None else row[name] / notional * BPS
        for seconds in HORIZONS_S[1:]:
            mid = mids.get((key_of(one), seconds))
            moved = None if mid is None else one.sign * (mid - one.price) / one.price * BPS
            row[f"markout_{seconds}s_bps"] = moved
        found.append(row)
    return found


def _by_group(
    fills: Sequence[RoutedFill],
    destinations: Destinations,
    touches: Touches,
    group_of: Callable[[RoutedFill], str],
) -> list[tuple[float | None, float | None]]:
    """(regret, saved beside the primary's touch) of each, currency."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(fills):
        groups[group_of(one)].append(number)
    found: list[tuple[float | None, float | None]] = [(None, None)] * len(fills)
    for name, numbers in groups.items():
        first = fills[numbers[0]].execution
        quotes = quoted(touches, name, first.side, lit(destinations, first.venue))
        primary = next((quote.cost for quote in quotes if quote.destination == first.venue), None)
        group = [fills[number] for number in numbers]
        for number, one, regret in zip(numbers, group, regrets(group, quotes), strict=True):
            saved = None if primary is None else (primary - one.cost) * one.quantity
            found[number] = (regret, saved)
    return found


def by_destination(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each destination and style came to: sums, and means weighted by money."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in found:
        groups[(row["destination"], row["style"])].append(row)
    table = []
    for (destination, style), members in sorted(groups.items()):
        notional = sum(row["price"] * row["quantity"] for row in members)
        table.append(
            {
                "destination": destination,
                "style": style,
                "executions": len(members),
                "notional": f"{notional:,.2f}",
                "fees": f"{sum(row['fee'] for row in members):,.4f}",
                "regret": f"{sum(row['regret'] or 0.0 for row in members):,.4f}",
                "regret, bps": weighted(members, "regret_bps"),
                "on arrival, bps": weighted(members, "arrival_regret_bps"),
                "saved beside the primary, bps": weighted(members, "saved_bps"),
                **{f"markout {at} s, bps": weighted(members, f"markout_{at}s_bps") for at in HORIZONS_S[1:]},
            }
        )
    return table


def weighted(found: Sequence[dict[str, Any]], name: str) -> str:
    """The mean of a column by money, of the rows that have it, as text."""
    mean = weighted_mean(found, name)
    return "" if mean is None else f"{mean:.3f}"


def weighted_mean(found: Sequence[dict[str, Any]], name: str) -> float | None:
    """As a number; None: no row has it."""
    known = [row for row in found if row[name] is not None]
    money = sum(row["price"] * row["quantity"] for row in known)
    if not money:
        return None
    return float(sum(row[name] * row["price"] * row["quantity"] for row in known) / money)
