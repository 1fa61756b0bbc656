"""Plans of breaches, kept so that a successor goes on with them where they are."""

from __future__ import annotations

from execution.journal.database import Database


class UnwindingTables(Database):
    """Table ``unwindings``."""

    def unwindings(self) -> list[tuple[str, int, str, str]]:
        """(kind, level, name, state as JSON) of the plans that are under way, or done and not released."""
        return self._db.execute("SELECT kind, level, name, state FROM unwindings ORDER BY ts").fetchall()

    def set_unwinding(self, kind: str, level: int, name: str, ts: int, state: str) -> None:
        """What a successor goes on with; ``ts`` of the first time stays."""
        self._db.execute(
            "INSERT INTO unwindings VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state",
            (kind, level, name, ts, state),
        )

    def drop_unwinding(self, kind: str, level: int, name: str) -> None:
        self._db.execute(
            "DELETE FROM unwindings WHERE kind = ? AND level = ? AND name = ?", (kind, level, name)
        )

    def filled_of_signals(self, prefix: str) -> dict[tuple[str, str, str], int]:
        """What orders of signals whose ids begin so have filled, by (rule, venue, symbol): nanos."""
        self._write_now()
        rows = self._db.execute(
            "SELECT e.rule, e.venue, e.symbol, sum(e.quantity) FROM executions e "
            "JOIN orders o ON o.order_id = e.order_id WHERE substr(o.signal_id, 1, ?) = ? "
            "GROUP BY e.rule, e.venue, e.symbol",
            (len(prefix), prefix),
        )
        return {(row[0], row[1], row[2]): int(row[3]) for row in rows}
