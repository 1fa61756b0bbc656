"""Executions, what the venue changed of them later, and how far each gateway's reports are booked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from execution.journal.outbox import OutboxTables
from tickloom.events import Execution
from tickloom.records import replace

BUST, CORRECTION = "bust", "correction"

_COLUMNS = (
    "rule, execution_id, order_id, venue, symbol, side, price, quantity, ts, ts_recv, destination, fee, "
    "liquidity"
)
_KEY = ("destination", "execution_id")
_INSERT = f"INSERT INTO executions ({_COLUMNS}) VALUES ({', '.join('?' * (_COLUMNS.count(',') + 1))})"


@dataclass(frozen=True, slots=True)
class ExecutionChange:
    """A bust (ExecType H) or a correction (G). quantity, price: what the execution is now, nanos; 0: gone.

    number: counts all changes from 1. ts: when it was booked, ns.
    """

    number: int
    ts: int
    destination: str
    execution_id: str
    kind: str
    quantity: int
    price: int
    text: str


class ExecutionTables(OutboxTables):
    """Tables ``executions``, ``execution_changes`` and ``venue_sessions``."""

    def add_execution(self, execution: Execution, rule: str) -> bool:
        """False if this destination's execution is in here already; then nothing changed."""
        if self.has_execution(execution.reported_by, execution.execution_id):
            return False
        self._absent.discard(("executions", execution.reported_by, execution.execution_id))
        self._write_later(
            _INSERT,
            (
                *(rule, execution.execution_id, execution.order_id, execution.venue, execution.symbol),
                *(execution.side, execution.price, execution.quantity, execution.ts, execution.ts_recv),
                *(execution.reported_by, execution.fee, execution.liquidity),
            ),
        )
        self.add_fact(execution)
        return True

    def look_up_executions(self, keys: Iterable[tuple[str, str]]) -> None:
        """Ask at once about several (destination, execution id), and what was changed of them, what is going
        to be asked one by one in this transaction."""
        keys = list(keys)
        self._look_up("executions", _KEY, keys)
        self._look_up("execution_changes", _KEY, keys)

    def has_execution(self, destination: str, execution_id: str) -> bool:
        if ("executions", destination, execution_id) in self._absent:
            return False
        self._write_now()
        found = self._one(
            "SELECT 1 FROM executions WHERE destination = ? AND execution_id = ?", destination, execution_id
        )
        return found is not None

    def execution(self, destination: str, execution_id: str) -> tuple[str, Execution] | None:
        """(rule, execution) as it stands now, with quantity 0 if it was busted; None: it is not in here."""
        if ("executions", destination, execution_id) in self._absent:
            return None
        self._write_now()
        row = self._one(
            f"SELECT {_COLUMNS} FROM executions WHERE destination = ? AND execution_id = ?",
            *(destination, execution_id),
        )
        if row is None:
            return None
        changes = self.execution_changes(destination, execution_id)
        return _standing(row, changes[-1] if changes else None)

    def executions(
        self, venue: str | None = None, destination: str | None = None
    ) -> list[tuple[str, Execution]]:
        """(rule, execution) of all that stand, in the order in which they were booked.

        Corrected ones are as they were corrected, busted ones are left out. ``venue``: whose instruments they
        are of; ``destination``: who reported them.
        """
        return [found for found in self._executions(venue, destination) if found[1].quantity]

    def executions_as_traded(self) -> list[tuple[str, Execution]]:
        """(rule, execution) of all, as they were first reported, busted ones too."""
        self._write_now()
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM executions ORDER BY number")
        return [_standing(row, None) for row in rows]

    def _executions(self, venue: str | None, destination: str | None) -> Iterator[tuple[str, Execution]]:
        self._write_now()
        last = {(change.destination, change.execution_id): change for change in self.execution_changes()}
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM executions WHERE (? IS NULL OR venue = ?) "
            "AND (? IS NULL OR destination = ?) ORDER BY number",
            (venue, venue, destination, destination),
        )
        for row in rows.fetchall():
            yield _standing(row, last.get((row[10], row[1])))

    def change_execution(
        self, ts: int, destination: str, execution_id: str, quantity: int, price: int, text: str
    ) -> None:
        """The venue took an execution back (quantity 0), or gave it another quantity and price: nanos."""
        kind = CORRECTION if quantity else BUST
        self._absent.discard(("execution_changes", destination, execution_id))
        self._db.execute(
            "INSERT INTO execution_changes (ts, destination, execution_id, kind, quantity, price, text) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (ts, destination, execution_id, kind, quantity, price, text),
        )
        found = self.execution(destination, execution_id)
        if found is not None:
            self.add_fact(found[1])

    def execution_changes(
        self, destination: str | None = None, execution_id: str | None = None
    ) -> list[ExecutionChange]:
        """All busts and corrections, or those of one execution, oldest first."""
        if ("execution_changes", destination, execution_id) in self._absent:
            return []
        rows = self._db.execute(
            "SELECT number, ts, destination, execution_id, kind, quantity, price, text "
            "FROM execution_changes WHERE (? IS NULL OR destination = ?) "
            "AND (? IS NULL OR execution_id = ?) ORDER BY number",
            (destination, destination, execution_id, execution_id),
        )
        return [ExecutionChange(*row) for row in rows]

    def last_report(self, gateway: str) -> tuple[str, int]:
        """The venue's record we know, and its last report that is in here; ("", 0) before the first."""
        self._write_now()
        row = self._one("SELECT session, last_report_seq FROM venue_sessions WHERE gateway = ?", gateway)
        return (str(row[0]), int(row[1])) if row else ("", 0)

    def set_last_report(self, gateway: str, session: str, report_seq: int) -> None:
        self._write_later(
            "INSERT INTO venue_sessions VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
            "SET session = excluded.session, last_report_seq = excluded.last_report_seq",
            (gateway, session, report_seq),
            key=gateway,
        )


def _standing(row: tuple[Any, ...], change: ExecutionChange | None) -> tuple[str, Execution]:
    found = Execution(*row[1:])
    if change is not None:
        found = replace(found, quantity=change.quantity, price=change.price or found.price)
    return row[0], found
