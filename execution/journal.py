"""Everything that happens to orders, durable before it has effect: SQLite, WAL, synchronous FULL.

An intent is committed before the order leaves; an execution is committed, with the venue's report
number and the order's new state, in one transaction, and is unique by (venue, execution id). So after
a crash at any instruction the journal tells what may have left, and the venue tells the rest. Facts for
QuestDB and Kafka are committed in the same transaction (the outbox) and leave from there.

One thread of one process writes orders (:meth:`Journal.lock` keeps a second agent out); the outbox's
threads open the file themselves and move only their cursors.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from execution.orders import TERMINAL, OrderRecord
from tickloom.errors import JournalError
from tickloom.events import Execution, Order, OrderState, Position, Signal
from tickloom.sinks import Fact

SCHEMA_FILE = Path(__file__).with_name("schema.sql")
SCHEMA_VERSION = 2
BUSY_TIMEOUT_MS = 10_000  # a sink moving its cursor holds the write lock for one fsync

_ORDER_COLUMNS = (
    "order_id, signal_id, leg, rule, venue, symbol, side, quantity, limit_price, time_in_force, state, "
    "ts_created, ts, filled_quantity, filled_value, venue_order_id, reason, revision"
)
_FACT_TYPES: dict[str, type[Fact]] = {
    "signal": Signal,
    "order": Order,
    "execution": Execution,
    "position": Position,
}
_KIND_OF: dict[type[Any], str] = {cls: kind for kind, cls in _FACT_TYPES.items()}


class Journal:
    """The order journal in one file.

    Parameters
    ----------
    path : Path
        Created with its directory where it is not there.
    read_only : bool
        For a look at a journal that an agent is writing.

    Raises
    ------
    JournalError
        The file cannot be opened, is no journal, or is of another version.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        self._lock_fd = -1
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                raise JournalError(f"{path}: there is no journal yet; has the agent run with this data_dir?")
            mode = "ro" if read_only else "rwc"
            self._db = sqlite3.connect(f"file:{path}?mode={mode}", uri=True, isolation_level=None)
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            if not read_only:
                self._prepare()
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise JournalError(
                f"{path}: {error}. No order leaves without its journal: mend the disk, or move the file away."
            ) from error
        if version != SCHEMA_VERSION:
            raise JournalError(
                f"{path}: journal version {version}, this program writes {SCHEMA_VERSION}; move it away"
            )

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self.transaction():
            if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
                lines = SCHEMA_FILE.read_text().splitlines()
                for statement in "\n".join(line for line in lines if not line.startswith("--")).split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def lock(self) -> None:
        """Be the only agent on this journal, until the process ends however it ends.

        Raises
        ------
        JournalError
            Another process is the agent.
        """
        fd = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise JournalError(
                f"{self.path}: another agent trades on this journal; stop it first (`tickloom status`)"
            ) from None
        self._lock_fd = fd

    def close(self) -> None:
        self._db.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or none, on disk when it is left.

        Raises
        ------
        JournalError
            It could not be written; nothing of it was.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._commit()
        except sqlite3.Error as error:
            raise JournalError(
                f"{self.path}: {error}; the agent stops rather than trade unrecorded"
            ) from error

    def _commit(self) -> None:
        self._db.execute("COMMIT")

    # --- signals -------------------------------------------------------------------------------

    def has_signal(self, signal_id: str) -> bool:
        return self._one("SELECT 1 FROM signals WHERE signal_id = ?", signal_id) is not None

    def add_signal(self, signal: Signal, verdict: str, reason: str, ts: int) -> None:
        payload = msgspec.json.encode(signal).decode()
        self._db.execute(
            "INSERT INTO signals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(signal.signal_id, ts, signal.ts_event, signal.rule, signal.venue, signal.symbol),
                *(signal.side, verdict, reason, payload),
            ),
        )
        self.add_fact(signal)

    def signal(self, signal_id: str) -> Signal | None:
        row = self._one("SELECT payload FROM signals WHERE signal_id = ?", signal_id)
        return msgspec.json.decode(row[0], type=Signal) if row else None

    def signals(self) -> list[tuple[str, str, str]]:
        """(signal_id, verdict, reason) of all, by id."""
        return self._db.execute("SELECT signal_id, verdict, reason FROM signals ORDER BY 1").fetchall()

    def next_offsets(self, topic: str) -> dict[int, int]:
        """Partition to the offset of the first message whose effect is not in here."""
        rows = self._db.execute("SELECT partition, next_offset FROM offsets WHERE topic = ?", (topic,))
        return dict(rows.fetchall())

    def set_next_offset(self, topic: str, partition: int, next_offset: int) -> None:
        self._db.execute(
            "INSERT INTO offsets VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
            (topic, partition, next_offset),
        )

    # --- orders --------------------------------------------------------------------------------

    def add_order(self, order: OrderRecord, sent: bool) -> None:
        """A new order. ``sent`` is true if it leaves as soon as this is committed."""
        self._db.execute(
            f"INSERT INTO orders ({_ORDER_COLUMNS}, sent) VALUES ({', '.join('?' * 19)})",
            (*_order_row(order), int(sent)),
        )
        self._note_revision(order)

    def set_verdict(self, order_id: str, ts: int, verdict: bytes) -> None:
        """Keep what the gate measured; of an order that is sent again, the last."""
        self._db.execute(
            "INSERT INTO verdicts VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET ts = excluded.ts, verdict = excluded.verdict",
            (order_id, ts, verdict.decode()),
        )

    def verdict(self, order_id: str) -> tuple[int, str] | None:
        """(when, JSON) of what the gate measured of an order."""
        row = self._one("SELECT ts, verdict FROM verdicts WHERE order_id = ?", order_id)
        return (int(row[0]), str(row[1])) if row else None

    def update_order(self, order: OrderRecord) -> None:
        """The next revision of a known order."""
        self._db.execute(
            "UPDATE orders SET state = ?, ts = ?, filled_quantity = ?, filled_value = ?, venue_order_id = ?, "
            "reason = ?, revision = ? WHERE order_id = ?",
            (
                *(order.state.value, order.ts, order.filled_quantity, str(order.filled_value)),
                *(order.venue_order_id, order.reason, order.revision, order.order_id),
            ),
        )
        self._note_revision(order)

    def set_venue_order_id(self, order: OrderRecord) -> None:
        """Note the venue's own number; that is no change of state."""
        self._db.execute(
            "UPDATE orders SET venue_order_id = ? WHERE order_id = ?", (order.venue_order_id, order.order_id)
        )

    def _note_revision(self, order: OrderRecord) -> None:
        self._db.execute(
            "INSERT INTO order_revisions VALUES (?, ?, ?, ?, ?, ?)",
            (
                order.order_id,
                order.revision,
                order.state.value,
                order.filled_quantity,
                order.reason,
                order.ts,
            ),
        )
        self.add_fact(order.fact())

    def order(self, order_id: str) -> OrderRecord | None:
        row = self._one(f"SELECT {_ORDER_COLUMNS} FROM orders WHERE order_id = ?", order_id)
        return _order(row) if row else None

    def orders(self, venue: str | None = None, sent_only: bool = False) -> list[OrderRecord]:
        """All orders, in the order of their creation."""
        where = " WHERE (? IS NULL OR venue = ?)" + (" AND sent" if sent_only else "")
        rows = self._db.execute(
            f"SELECT {_ORDER_COLUMNS} FROM orders{where} ORDER BY ts_created, signal_id, leg", (venue, venue)
        )
        return [_order(row) for row in rows]

    def open_orders(self) -> list[OrderRecord]:
        """Orders that may still be filled."""
        names = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
        rows = self._db.execute(
            f"SELECT {_ORDER_COLUMNS} FROM orders WHERE state NOT IN ({names}) "
            "ORDER BY ts_created, signal_id, leg"
        )
        return [_order(row) for row in rows]

    def revisions(self, order_id: str) -> list[OrderState]:
        """The states an order went through."""
        rows = self._db.execute(
            "SELECT state FROM order_revisions WHERE order_id = ? ORDER BY revision", (order_id,)
        )
        return [OrderState(row[0]) for row in rows]

    # --- executions ----------------------------------------------------------------------------

    def add_execution(self, execution: Execution, rule: str) -> bool:
        """False if this venue's execution is in here already; then nothing changed."""
        done = self._db.execute(
            "INSERT INTO executions "
            "(venue, execution_id, order_id, rule, symbol, side, price, quantity, ts, ts_recv) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                *(execution.venue, execution.execution_id, execution.order_id, rule, execution.symbol),
                *(execution.side, execution.price, execution.quantity, execution.ts, execution.ts_recv),
            ),
        )
        if done.rowcount:
            self.add_fact(execution)
        return bool(done.rowcount)

    def has_execution(self, venue: str, execution_id: str) -> bool:
        found = self._one(
            "SELECT 1 FROM executions WHERE venue = ? AND execution_id = ?", venue, execution_id
        )
        return found is not None

    def executions(self, venue: str | None = None) -> list[tuple[str, Execution]]:
        """(rule, execution) of all, in the order in which they were booked."""
        rows = self._db.execute(
            "SELECT rule, execution_id, order_id, venue, symbol, side, price, quantity, ts, ts_recv "
            "FROM executions WHERE (? IS NULL OR venue = ?) ORDER BY number",
            (venue, venue),
        )
        return [(row[0], Execution(*row[1:])) for row in rows]

    def last_report(self, gateway: str) -> tuple[str, int]:
        """The venue's record we know, and its last report that is in here; ("", 0) before the first."""
        row = self._one("SELECT session, last_report_seq FROM venue_sessions WHERE gateway = ?", gateway)
        return (str(row[0]), int(row[1])) if row else ("", 0)

    def set_last_report(self, gateway: str, session: str, report_seq: int) -> None:
        self._db.execute(
            "INSERT INTO venue_sessions VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
            "SET session = excluded.session, last_report_seq = excluded.last_report_seq",
            (gateway, session, report_seq),
        )

    # --- risk ----------------------------------------------------------------------------------

    def last_accepted(self) -> dict[tuple[str, str, str, str], int]:
        """(rule, venue, symbol, side) to the event time of the last such signal that became an order."""
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

    # --- outbox --------------------------------------------------------------------------------

    def add_fact(self, fact: Fact) -> None:
        payload = msgspec.json.encode(fact).decode()
        self._db.execute("INSERT INTO outbox (kind, payload) VALUES (?, ?)", (_KIND_OF[type(fact)], payload))

    def facts_after(self, last_id: int, count_max: int) -> list[tuple[int, Fact]]:
        """(id, fact) of the next facts behind ``last_id``."""
        rows = self._db.execute(
            "SELECT id, kind, payload FROM outbox WHERE id > ? ORDER BY id LIMIT ?", (last_id, count_max)
        )
        return [(row[0], msgspec.json.decode(row[2], type=_FACT_TYPES[row[1]])) for row in rows]

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
        done = min((self.outbox_cursor(sink) for sink in sinks), default=0)
        self._db.execute("DELETE FROM outbox WHERE id <= ?", (done,))

    def outbox_size(self) -> int:
        row = self._one("SELECT count(*) FROM outbox")
        return int(row[0]) if row else 0

    def _one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row


def _order_row(order: OrderRecord) -> tuple[Any, ...]:
    return (
        *(order.order_id, order.signal_id, order.leg, order.rule, order.venue, order.symbol, order.side),
        *(
            order.quantity,
            order.limit_price,
            order.time_in_force,
            order.state.value,
            order.ts_created,
            order.ts,
        ),
        *(order.filled_quantity, str(order.filled_value), order.venue_order_id, order.reason, order.revision),
    )


def _order(row: tuple[Any, ...]) -> OrderRecord:
    values = list(row)
    values[10] = OrderState(values[10])
    values[14] = int(values[14])
    return OrderRecord(*values)
