"""Facts on their way to QuestDB and Kafka, and how far each of the two has them."""

from __future__ import annotations

from typing import Any

import msgspec

from execution.journal.database import Database
from tickloom.events import Execution, Order, Position, Signal
from tickloom.sinks import Fact

_FACT_TYPES: dict[str, type[Fact]] = {
    "signal": Signal,
    "order": Order,
    "execution": Execution,
    "position": Position,
}
_KIND_OF: dict[type[Any], str] = {cls: kind for kind, cls in _FACT_TYPES.items()}

CHECKPOINT_PAGES = 1_000
_INSERT = "INSERT INTO outbox (kind, payload) VALUES (?, ?)"


class OutboxTables(Database):
    """Tables ``outbox`` and ``outbox_cursors``."""

    def add_fact(self, fact: Fact) -> None:
        payload = msgspec.json.encode(fact).decode()
        self._write_later(_INSERT, (_KIND_OF[type(fact)], payload))

    def facts_after(self, last_id: int, count_max: int) -> list[tuple[int, Fact]]:
        """(id, fact) of the next facts behind ``last_id``."""
        self._write_now()
        rows = self._db.execute(
            "SELECT id, kind, payload FROM outbox WHERE id > ? ORDER BY id LIMIT ?", (last_id, count_max)
        )
        return [(row[0], msgspec.json.decode(row[2], type=_FACT_TYPES[row[1]])) for row in rows]

    def serve_outbox(self) -> None:
        """Be a connection that only moves cursors: they need no fsync, since facts may be written again.

        While they move, it brings the journal's pages from the WAL to the file, in its own thread.
        """
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")

    def outbox_cursor(self, sink: str) -> int:
        row = self._one("SELECT last_id FROM outbox_cursors WHERE sink = ?", sink)
        return int(row[0]) if row else 0

    def set_outbox_cursor(self, sink: str, last_id: int) -> None:
        self._db.execute(
            "INSERT INTO outbox_cursors VALUES (?, ?) ON CONFLICT DO UPDATE SET last_id = excluded.last_id",
            (sink, last_id),
        )

    def prune_outbox(self, sinks: tuple[str, ...]) -> None:
        """Drop the facts that all of ``sinks`` have."""
        self._write_now()
        done = min((self.outbox_cursor(sink) for sink in sinks), default=0)
        self._db.execute("DELETE FROM outbox WHERE id <= ?", (done,))

    def outbox_size(self) -> int:
        self._write_now()
        row = self._one("SELECT count(*) FROM outbox")
        return int(row[0]) if row else 0
