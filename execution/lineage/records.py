"""The journal's rows for one question: read-only, and from a journal of any version since the first.

An order of last year is explained from last year's journal, which no agent will ever open again; so
columns and tables that came later are filled with what they would have held then, instead of being demanded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tickloom.errors import JournalError

BUSY_TIMEOUT_MS = 2_000
PREFIX_MIN = 6  # of an order id that is written short
SHOWN_MAX = 8

Row = Mapping[str, Any]

_ORDER_DEFAULTS: dict[str, Any] = {
    "parent_id": "",
    "destination": "",
    "order_type": "limit",
    "min_quantity": 0,
    "post_only": 0,
    "original_order_id": "",
}
_EXECUTION_DEFAULTS: dict[str, Any] = {"destination": "", "fee": 0, "liquidity": ""}


def journal_path(data_dir: Path) -> Path:
    """As ``execution.service.journal_path``, without what that module starts."""
    return data_dir / "execution" / "journal.db"


class Records:
    """A journal opened for reading. Close it, or use ``with``.

    Raises
    ------
    JournalError
        There is none, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise JournalError(f"{path}: there is no journal; has the agent run with this data_dir?")
        self.path = path
        try:
            self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            self._db.row_factory = sqlite3.Row
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            tables = self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{path}: {error}; is it an agent's journal?") from error
        self.tables = {str(row["name"]) for row in tables}
        if not {"orders", "executions", "signals"} <= self.tables:
            raise JournalError(f"{path} is no journal: it has no orders. Give the agent's data_dir.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def find(self, asked: str) -> str:
        """The client order id that ``asked`` means: it itself, its beginning, a venue's order id, or an
        execution id.

        Raises
        ------
        JournalError
            It means no order, or several.
        """
        questions = (
            "SELECT order_id FROM orders WHERE order_id = ?",
            "SELECT order_id FROM orders WHERE venue_order_id = ?",
            "SELECT DISTINCT order_id FROM executions WHERE execution_id = ?",
        )
        for sql in questions:
            found = [str(row["order_id"]) for row in self._rows(sql, asked)]
            if len(found) == 1:
                return found[0]
            if found:
                raise JournalError(f"{asked} is an id at several destinations; give one of {_listed(found)}")
        if len(asked) >= PREFIX_MIN:
            sql = "SELECT order_id FROM orders WHERE order_id >= ? AND order_id < ? ORDER BY 1"
            found = [str(row["order_id"]) for row in self._rows(sql, asked.upper(), asked.upper() + "\x7f")]
            if len(found) == 1:
                return found[0]
            if found:
                raise JournalError(f"{asked} begins several order ids: {_listed(found)}")
        raise JournalError(
            f"{self.path} has no order, venue order or execution {asked}; `tickloom risk status` lists open "
            "orders, and `tickloom sql` asks the table orders"
        )

    def order(self, order_id: str) -> Row:
        """One order's row. ``order_id`` is one of :meth:`find`."""
        return next(self._orders("order_id = ?", order_id))

    def children(self, parent_id: str) -> list[Row]:
        """Orders that name a parent, in the order of their creation."""
        if "parent_id" not in self._columns("orders"):
            return []
        return list(self._orders("parent_id = ?", parent_id))

    def of_signal(self, signal_id: str) -> list[Row]:
        """Orders of a signal that are nobody's children, in the order of their legs."""
        found = self._orders("signal_id = ?", signal_id)
        return sorted((row for row in found if not row["parent_id"]), key=lambda row: int(row["leg"]))

    def top_orders(self, venue: str, from_ns: int, to_ns: int) -> list[Row]:
        """Orders of a venue's instruments made in [from_ns, to_ns) that are nobody's children."""
        found = self._orders("venue = ? AND ts_created >= ? AND ts_created < ?", venue, from_ns, to_ns)
        return [row for row in found if not row["parent_id"]]

    def history(self, order_id: str) -> list[Row]:
        """An order's changes of state."""
        return self._rows("SELECT * FROM order_revisions WHERE order_id = ? ORDER BY revision", order_id)

    def verdict(self, order_id: str) -> Row | None:
        """(ts, verdict) of the gate over an order."""
        return self._first("verdicts", "SELECT * FROM verdicts WHERE order_id = ?", order_id)

    def signal(self, signal_id: str) -> Row | None:
        """A signal's row."""
        return self._first("signals", "SELECT * FROM signals WHERE signal_id = ?", signal_id)

    def routes(self, parent_id: str) -> list[Row]:
        """Decisions of the router over a parent; none where the journal keeps none."""
        if "routes" not in self.tables:
            return []
        return self._rows("SELECT * FROM routes WHERE parent_id = ? ORDER BY number", parent_id)

    def executions(self, order_ids: Sequence[str]) -> list[Row]:
        """Executions of orders, in the order in which they were booked; see :meth:`_executions`."""
        found: list[Row] = []
        for order_id in order_ids:
            found += self._executions("order_id = ?", order_id)
        return sorted(found, key=lambda row: int(row["number"]))

    def executions_of(self, venue: str, symbol: str) -> list[Row]:
        """All executions of an instrument, in the order in which they were booked."""
        return list(self._executions("venue = ? AND symbol = ?", venue, symbol))

    def actions(self, from_ns: int, to_ns: int) -> list[Row]:
        """Risk actions in [from_ns, to_ns]."""
        sql = "SELECT ts, action, who, why FROM risk_actions WHERE ts >= ? AND ts <= ? ORDER BY id"
        return self._rows(sql, from_ns, to_ns)

    def _orders(self, where: str, *values: Any) -> Iterator[Row]:
        sql = f"SELECT * FROM orders WHERE {where} ORDER BY ts_created, signal_id, leg"
        return ({**_ORDER_DEFAULTS, **dict(row)} for row in self._rows(sql, *values))

    def _executions(self, where: str, *values: Any) -> Iterator[Row]:
        """Rows as they stand now: a bust has quantity 0, a correction what it was corrected to."""
        sql = f"SELECT * FROM executions WHERE {where} ORDER BY number"
        for row in self._rows(sql, *values):
            full = {**_EXECUTION_DEFAULTS, **row}
            full["destination"] = full["destination"] or full["venue"]
            last = self._changes.get((full["destination"], full["execution_id"]))
            full["changed"] = last["kind"] if last else ""
            if last:
                full["quantity"], full["price"] = last["quantity"], last["price"] or full["price"]
            yield full

    @cached_property
    def _changes(self) -> dict[tuple[str, str], Row]:
        """The last bust or correction of each execution that has one."""
        if "execution_changes" not in self.tables:
            return {}
        rows = self._rows("SELECT * FROM execution_changes ORDER BY number")
        return {(row["destination"], row["execution_id"]): row for row in rows}

    def _columns(self, table: str) -> set[str]:
        return {str(row["name"]) for row in self._rows(f"PRAGMA table_info({table})")}

    def _first(self, table: str, sql: str, *values: Any) -> Row | None:
        found = self._rows(sql, *values) if table in self.tables else []
        return found[0] if found else None

    def _rows(self, sql: str, *values: Any) -> list[Row]:
        try:
            return [dict(row) for row in self._db.execute(sql, values)]
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}; is the disk in order?") from error


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - SHOWN_MAX} more" if len(ids) > SHOWN_MAX else ""
    return f"{', '.join(ids[:SHOWN_MAX])}{more}"
