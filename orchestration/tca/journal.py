"""The agent's journal in, parent orders with their fills out: what cost analysis is about."""

from __future__ import annotations

import json
from collections.abc import Iterator

from execution.lineage.records import Records, Row
from execution.orders import TERMINAL
from orchestration.tca.terms import Fill, Parent
from tickloom.events import OrderState

_ENDED = frozenset(state.value for state in TERMINAL)


def parents(records: Records, venue: str, from_ns: int, to_ns: int) -> Iterator[Parent]:
    """Orders of a venue's instruments that were decided in [from_ns, to_ns) (our clock), each with all that
    was filled for it. An order without children is its own parent, and one that took another's place is part
    of the first. What the gate refused was never an order, and is left out.
    """
    rows = {row["order_id"]: row for row in records.top_orders(venue, from_ns, to_ns)}
    chains: dict[str, list[Row]] = {}
    for order_id, row in rows.items():
        first, seen = row, {order_id}
        while first["original_order_id"] in rows and first["original_order_id"] not in seen:
            first = rows[first["original_order_id"]]
            seen.add(first["order_id"])
        chains.setdefault(first["order_id"], []).append(row)
    for first_id, chain in chains.items():
        children = [child for row in chain for child in records.children(row["order_id"])]
        if not children and not any(row["sent"] for row in chain):
            continue
        carriers = [row["order_id"] for row in (*chain, *children)]
        yield _parent(records, rows[first_id], chain, carriers)


def _parent(records: Records, first: Row, chain: list[Row], carriers: list[str]) -> Parent:
    # the newest that was not refused carries on, and its quantity has what was filled before (OrderQty, FIX
    # tag 38)
    standing = [row for row in chain if row["state"] != OrderState.REJECTED] or chain
    last = max(standing, key=lambda row: int(row["ts_created"]))
    fills = [_fill(row) for row in records.executions(carriers) if row["quantity"]]
    return Parent(
        order_id=first["order_id"],
        signal_id=first["signal_id"],
        rule=first["rule"],
        venue=first["venue"],
        symbol=first["symbol"],
        side=first["side"],
        quantity=int(last["quantity"]),
        ts_signal=_event_time(records, first["signal_id"]),
        ts_sent=int(first["ts_created"]),
        ts_ended=int(last["ts"]) if last["state"] in _ENDED else 0,
        state=last["state"],
        fills=tuple(fills),
    )


def _event_time(records: Records, signal_id: str) -> int:
    signal = records.signal(signal_id)
    return int(json.loads(signal["payload"])["ts_event"]) if signal else 0


def _fill(row: Row) -> Fill:
    return Fill(
        execution_id=row["execution_id"],
        order_id=row["order_id"],
        destination=row["destination"],
        price=int(row["price"]),
        quantity=int(row["quantity"]),
        fee=int(row["fee"]),
        liquidity=row["liquidity"],
        ts=int(row["ts"]),
        ts_recv=int(row["ts_recv"]),
    )
