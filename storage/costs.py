"""Rows of cost analysis in, the tables ``order_costs`` and ``execution_costs`` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from questdb import TimestampNanos

from storage.applied import wait_applied
from storage.ilp import IlpSender
from tickloom.settings import QuestDbSettings

ORDERS, EXECUTIONS = "order_costs", "execution_costs"


@dataclass(frozen=True, slots=True)
class CostRow:
    """A row of one of the two tables.

    Attributes
    ----------
    symbols : mapping
        SYMBOL columns.
    columns : mapping
        The others; None is NULL.
    times : mapping
        Timestamps besides ts, ns; 0 is NULL.
    ts : int
        ns.
    """

    symbols: Mapping[str, str]
    columns: Mapping[str, float | str | bool | None]
    times: Mapping[str, int]
    ts: int


def write_costs(settings: QuestDbSettings, rows: Mapping[str, Sequence[CostRow]]) -> None:
    """Return when the rows of each table are visible; the same orders again take the place of the ones
    before.

    Raises
    ------
    ServiceError
        QuestDB is away.
    StorageError
        It refuses a row: the schema is not applied.
    """
    sender = IlpSender(settings)
    try:
        for table, own in rows.items():
            if own:
                sender.send(table, _filler(table, own), len(own), retry=False)
    finally:
        sender.close()
    wait_applied(settings, [table for table, own in rows.items() if own])


def _filler(table: str, rows: Sequence[CostRow]) -> Any:
    def fill(buffer: Any) -> None:
        for row in rows:
            times = {name: TimestampNanos(ts) for name, ts in row.times.items() if ts}
            columns = {name: value for name, value in row.columns.items() if value is not None}
            symbols = {name: value for name, value in row.symbols.items() if value}
            buffer.row(table, symbols=symbols, columns={**columns, **times}, at=TimestampNanos(row.ts))

    return fill
