"""The agent's facts in, rows in QuestDB out: signals, orders, executions, positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from questdb import TimestampNanos

from storage.ilp import IlpSender
from tickloom.events import Execution, Order, Position, Signal
from tickloom.prices import NANOS, NO_PRICE
from tickloom.settings import QuestDbSettings
from tickloom.sinks import Fact

Row = tuple[dict[str, str], dict[str, Any], int]
"""SYMBOL columns, the other columns, ts (ns)."""


class QuestDbFacts:
    """Writes what the agent records about itself. A FactSink of :mod:`tickloom.sinks`."""

    def __init__(self, settings: QuestDbSettings) -> None:
        self._sender = IlpSender(settings)

    def write_facts(self, facts: Sequence[Fact]) -> None:
        """Return when all are acknowledged; the same facts again change nothing.

        Raises
        ------
        ServiceError
            QuestDB is away; some of the facts may be stored already, so write them all again.
        StorageError
            QuestDB refuses one.
        """
        by_table = sorted(facts, key=_table)  # stable: facts of one table keep their order
        for table, group in groupby(by_table, key=_table):
            rows = [_row(fact) for fact in group]

            def fill(buffer: Any, rows: list[Row] = rows, table: str = table) -> None:
                for symbols, columns, ts_ns in rows:
                    buffer.row(table, symbols=symbols, columns=columns, at=TimestampNanos(ts_ns))

            self._sender.send(table, fill, len(rows), retry=False)

    def close(self) -> None:
        """Let go of the connection."""
        self._sender.close()


def _table(fact: Fact) -> str:
    match fact:
        case Signal():
            return "signals"
        case Order():
            return "orders"
        case Execution():
            return "executions"
        case Position():
            return "positions"


def _row(fact: Fact) -> Row:
    match fact:
        case Signal():
            return (
                {
                    "rule": fact.rule,
                    "version": fact.version,
                    "symbol": fact.symbol,
                    "side": fact.side,
                    "venue": fact.venue,
                },
                {
                    "signal_id": fact.signal_id,
                    "strength": fact.strength,
                    "ref_price": fact.ref_price,
                    "first_seq": fact.first_seq,
                    "last_seq": fact.last_seq,
                    "ts_signal": TimestampNanos(fact.ts_signal),
                },
                fact.ts_event,
            )
        case Order():
            return (
                {
                    "rule": fact.rule,
                    "venue": fact.venue,
                    "symbol": fact.symbol,
                    "side": fact.side,
                    "state": fact.state.value,
                    "destination": fact.destination or fact.venue,
                },
                {
                    "order_id": fact.order_id,
                    "signal_id": fact.signal_id,
                    "quantity": _double(fact.quantity),
                    "limit_price": _double(fact.limit_price),
                    "filled_quantity": _double(fact.filled_quantity),
                    "average_price": _double(fact.average_price),
                    "reason": fact.reason,
                    "revision": fact.revision,
                    "parent_id": fact.parent_id,
                },
                fact.ts,
            )
        case Execution():
            return (
                {
                    "venue": fact.venue,
                    "symbol": fact.symbol,
                    "side": fact.side,
                    "destination": fact.reported_by,
                    "liquidity": fact.liquidity,
                },
                {
                    "execution_id": fact.execution_id,
                    "order_id": fact.order_id,
                    "price": _double(fact.price),
                    "quantity": _double(fact.quantity),
                    "fee": _double(fact.fee),
                    "ts_recv": TimestampNanos(fact.ts_recv),
                },
                fact.ts,
            )
        case Position():
            return (
                {"venue": fact.venue, "symbol": fact.symbol},
                {
                    "quantity": _double(fact.quantity),
                    "average_price": _double(fact.average_price),
                    "realised_pnl": _double(fact.realised_pnl),
                    "unrealised_pnl": _double(fact.unrealised_pnl),
                    "mid": _double(fact.mid),
                },
                fact.ts,
            )


def _double(nanos: int) -> float:
    """Nanos as the nearest double; NULL where there is no price."""
    return math.nan if nanos == NO_PRICE else nanos / NANOS
