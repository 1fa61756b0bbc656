"""From acknowledged to visible: waits for QuestDB to apply its write-ahead log and refresh its views."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from storage.connection import Connection
from tickloom.clock import NS_PER_S, Clock, SystemClock
from tickloom.errors import ServiceTimeout, StorageError
from tickloom.settings import QuestDbSettings

POLL_S = 0.02

_LOGS_SQL = "SELECT name, suspended, writerTxn, sequencerTxn, errorMessage FROM wal_tables()"
_VIEWS_SQL = """
SELECT view_name, view_status, refresh_base_table_txn, base_table_name, invalidation_reason
FROM materialized_views()
"""


def wait_applied(
    settings: QuestDbSettings,
    tables: Sequence[str],
    timeout_s: float = 60.0,
    clock: Clock | None = None,
) -> None:
    """Return when everything acknowledged so far is visible in ``tables`` (materialized views, too).

    QuestDB acknowledges a row when it is in the write-ahead log, and applies it a moment later: call
    this between ``flush`` and counting.

    Raises
    ------
    ServiceTimeout
        Not applied within ``timeout_s``.
    StorageError
        A table is not there or suspended (its log cannot be applied), or a view is invalid.
    """
    clock = clock or SystemClock()
    deadline_ns = clock.monotonic_ns() + int(timeout_s * NS_PER_S)
    pause = threading.Event()
    with Connection(settings) as connection:
        targets: dict[str, int] = {}
        while True:
            logs = {row[0]: row[1:] for row in connection.fetch(_LOGS_SQL)}
            views = {row[0]: row[1:] for row in connection.fetch(_VIEWS_SQL)}
            waiting = _waiting(tables, logs, views, targets)
            if not waiting:
                return
            if clock.monotonic_ns() >= deadline_ns:
                raise ServiceTimeout(
                    f"QuestDB has not applied the log of {', '.join(waiting)} within {timeout_s:.0f} s. Its "
                    "load is in `SELECT * FROM wal_tables()`; wait longer or see `tickloom logs questdb`."
                )
            pause.wait(POLL_S)


def _waiting(
    tables: Sequence[str],
    logs: dict[str, tuple[Any, ...]],
    views: dict[str, tuple[Any, ...]],
    targets: dict[str, int],
) -> list[str]:
    """Which of ``tables`` are behind their target; ``targets`` is filled at the first call."""
    waiting = []
    for table in tables:
        view = views.get(table)
        source = view[2] if view else table
        if source not in logs:
            raise StorageError(f"table {table} is not there. Run `tickloom schema apply` first.")
        suspended, applied, sequenced, message = logs[source]
        if suspended:
            raise StorageError(
                f"QuestDB has suspended table {source}: {message or 'no reason given'}. Mend that (is the "
                f"disk full?), then `tickloom sql 'ALTER TABLE {source} RESUME WAL'`."
            )
        target = targets.setdefault(table, sequenced)
        if view is None:
            done = applied >= target
        elif view[0] == "invalid":
            raise StorageError(
                f"view {table} is invalid: {view[3]}. Rebuild it: `tickloom sql 'REFRESH MATERIALIZED VIEW "
                f"{table} FULL'`."
            )
        else:
            done = target <= 0 or (view[1] or 0) >= target
        if not done:
            waiting.append(table)
    return waiting
