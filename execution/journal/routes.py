"""What the router decided for parent orders, with the books it saw."""

from __future__ import annotations

from dataclasses import dataclass

from execution.journal.database import Database


@dataclass(frozen=True, slots=True)
class Route:
    """One decision. number: counts a parent's decisions from 0. ts: ns. decision: JSON."""

    parent_id: str
    number: int
    ts: int
    decision: str


class RouteTables(Database):
    """Table ``routes``."""

    def add_route(self, parent_id: str, ts: int, decision: bytes) -> int:
        """Keep a decision, in the transaction that makes its orders; its number."""
        row = self._one("SELECT count(*) FROM routes WHERE parent_id = ?", parent_id)
        number = int(row[0]) if row else 0
        self._db.execute("INSERT INTO routes VALUES (?, ?, ?, ?)", (parent_id, number, ts, decision.decode()))
        return number

    def routes(self, parent_id: str) -> list[Route]:
        """All decisions for a parent, in their order."""
        rows = self._db.execute(
            "SELECT parent_id, number, ts, decision FROM routes WHERE parent_id = ? ORDER BY number",
            (parent_id,),
        )
        return [Route(*row) for row in rows]

    def parents(self) -> list[str]:
        """Ids of all orders that were routed, in the order of their first decisions."""
        rows = self._db.execute("SELECT parent_id FROM routes WHERE number = 0 ORDER BY ts, parent_id")
        return [row[0] for row in rows]
