"""What risk figures are measured from, what somebody must look at, and what somebody did."""

from __future__ import annotations

from execution.journal.database import Database


class MarkTables(Database):
    """Tables ``marks``, ``day_starts``, ``risk_marks``, ``alerts`` and ``risk_actions``."""

    def last_accepted(self) -> dict[tuple[str, str, str, str], int]:
        """(rule, venue, symbol, side) to the event time of the last such signal that became an order."""
        self._write_now()
        rows = self._db.execute(
            "SELECT rule, venue, symbol, side, max(ts_event) FROM signals WHERE verdict = 'accepted' "
            "GROUP BY rule, venue, symbol, side"
        )
        return {tuple(row[:4]): row[4] for row in rows}

    def marks(self) -> dict[tuple[str, str], int]:
        """The last mid each position was marked at, nanos."""
        return {(row[0], row[1]): row[2] for row in self._db.execute("SELECT venue, symbol, mid FROM marks")}

    def set_mark(self, venue: str, symbol: str, mid: int, ts: int) -> None:
        self._db.execute(
            "INSERT INTO marks VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET mid = excluded.mid, ts = excluded.ts",
            (venue, symbol, mid, ts),
        )

    def day_start(self, day: str, scope: str) -> int | None:
        """P&L (1e-18) of a scope when the UTC day began, or None if that was not noted yet."""
        row = self._one("SELECT pnl FROM day_starts WHERE day = ? AND scope = ?", day, scope)
        return int(row[0]) if row else None

    def set_day_start(self, day: str, scope: str, pnl: int) -> None:
        self._db.execute(
            "INSERT INTO day_starts VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (day, scope, str(pnl))
        )

    def risk_marks(self, day: int) -> list[tuple[int, str, int, int]]:
        """(level, name, P&L when the day began, its best since) of a day, counted from 1970; nanos."""
        rows = self._db.execute("SELECT level, name, day_start, best FROM risk_marks WHERE day = ?", (day,))
        return rows.fetchall()

    def set_risk_mark(self, day: int, level: int, name: str, day_start: int, best: int, var: int) -> None:
        self._db.execute(
            "INSERT INTO risk_marks VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET best = max(best, excluded.best), var = excluded.var",
            (day, level, name, day_start, best, var),
        )

    def risk_days(self, level: int = 0, name: str = "") -> list[tuple[int, int, int]]:
        """(day, P&L when it began, value at risk as it was last that day) of a level, by day; nanos."""
        rows = self._db.execute(
            "SELECT day, day_start, var FROM risk_marks WHERE level = ? AND name = ? ORDER BY day",
            (level, name),
        )
        return rows.fetchall()

    def alert(self, ts: int, kind: str, text: str) -> None:
        self._db.execute("INSERT INTO alerts (ts, kind, text) VALUES (?, ?, ?)", (ts, kind, text))

    def alerts(self) -> list[tuple[int, str, str]]:
        """(ts, kind, text) of all, oldest first."""
        return self._db.execute("SELECT ts, kind, text FROM alerts ORDER BY id").fetchall()

    def risk_action(self, ts: int, action: str, who: str, why: str) -> None:
        self._db.execute(
            "INSERT INTO risk_actions (ts, action, who, why) VALUES (?, ?, ?, ?)", (ts, action, who, why)
        )

    def risk_actions(self) -> list[tuple[int, str, str, str]]:
        """(ts, action, who, why) of all, oldest first."""
        return self._db.execute("SELECT ts, action, who, why FROM risk_actions ORDER BY id").fetchall()
