"""The exchange's own durable record: orders, executions and the reports it told, in SQLite.

An outcome is committed whole before anybody hears of it, and with it the messages that go into the
numbered streams of protocols which have them (OUCH over SoupBinTCP, drop copy). The record names itself
with a random session id; a client that asks for what is behind a number of another record starts again
at 0.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from execution.exchange.orders import Outcome, VenueOrder
from execution.exchange.requests import OrderType
from execution.venues import Report, ReportType
from execution.venues.simulated.protocol import encode
from tickloom.errors import JournalError
from tickloom.events import Execution, OrderState
from tickloom.records import replace

SCHEMA_VERSION = 2
_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # quantities and prices: int64 nanos; ts: the venue's time, ns; number: time priority
    "CREATE TABLE orders (order_id TEXT PRIMARY KEY, client TEXT NOT NULL, venue TEXT NOT NULL, "
    "symbol TEXT NOT NULL, side TEXT NOT NULL, quantity INTEGER NOT NULL, price INTEGER NOT NULL, "
    "time_in_force TEXT NOT NULL, state TEXT NOT NULL, filled_quantity INTEGER NOT NULL, "
    # user_ref: the protocol's number of the order; an order that keeps its place has the number of the
    # one that it replaced
    "number INTEGER NOT NULL, ts INTEGER NOT NULL, order_type TEXT NOT NULL, min_quantity INTEGER NOT NULL, "
    "post_only INTEGER NOT NULL, busted_quantity INTEGER NOT NULL, client_order_id TEXT NOT NULL, "
    "user_ref INTEGER NOT NULL, original_order_id TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE executions (venue TEXT NOT NULL, execution_id TEXT NOT NULL, order_id TEXT NOT NULL, "
    "symbol TEXT NOT NULL, side TEXT NOT NULL, price INTEGER NOT NULL, quantity INTEGER NOT NULL, "
    # a busted execution has quantity 0
    "ts INTEGER NOT NULL, PRIMARY KEY (venue, execution_id)) WITHOUT ROWID",
    "CREATE TABLE reports (client TEXT NOT NULL, report_seq INTEGER NOT NULL, line BLOB NOT NULL, "
    "PRIMARY KEY (client, report_seq)) WITHOUT ROWID",
    "CREATE TABLE streams (stream TEXT NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL, "
    "PRIMARY KEY (stream, seq)) WITHOUT ROWID",
)


class ExchangeRecord:
    """The record in one file.

    Raises
    ------
    JournalError
        The file cannot be opened or is of another version.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                raise JournalError(f"{path}: the exchange has no record yet; has it run with this data_dir?")
            mode = "ro" if read_only else "rwc"
            self._db = sqlite3.connect(f"file:{path}?mode={mode}", uri=True, isolation_level=None)
            self._db.execute("PRAGMA busy_timeout = 10000")
            if not read_only:
                self._prepare()
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise JournalError(
                    f"{path}: version {version}, this program has {SCHEMA_VERSION}; move it away"
                )
            self.session = str(self._db.execute("SELECT value FROM meta WHERE key = 'session'").fetchone()[0])
            self._last_seq: dict[str, int] = dict(
                self._db.execute("SELECT client, max(report_seq) FROM reports GROUP BY client")
            )
            self._stream_ends: dict[str, int] = dict(
                self._db.execute("SELECT stream, max(seq) FROM streams GROUP BY stream")
            )
        except sqlite3.Error as error:
            raise JournalError(f"{path}: {error}; mend the disk, or move the file away") from error

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if self._db.execute("PRAGMA user_version").fetchone()[0]:
            return
        self._db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            self._db.execute(statement)
        self._db.execute("INSERT INTO meta VALUES ('session', ?)", (secrets.token_hex(8),))
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def write(self, outcome: Outcome, streamed: Iterable[tuple[str, bytes]] = ()) -> list[tuple[str, Report]]:
        """Make an outcome durable; its reports with their numbers, to be told now, or at the end of the
        :meth:`transaction` that this is a part of.

        Parameters
        ----------
        streamed : iterable of (str, bytes)
            Stream and message: they get the next numbers of their streams.

        Raises
        ------
        JournalError
            It could not be written. The exchange must stop: nobody may hear of it.
        """
        numbered: list[tuple[str, Report]] = []
        messages = list(streamed)
        if not outcome.orders and not outcome.reports and not messages:
            return numbered
        with self.transaction():
            for order in outcome.orders.values():
                self._db.execute(f"INSERT OR REPLACE INTO orders VALUES ({', '.join('?' * 19)})", _row(order))
            for client, report in outcome.reports:
                seq = self._last_seq.get(client, 0) + 1
                self._last_seq[client] = seq
                told = replace(report, report_seq=seq)
                numbered.append((client, told))
                self._db.execute("INSERT INTO reports VALUES (?, ?, ?)", (client, seq, encode(told)))
                self._note_execution(report)
            for stream, payload in messages:
                seq = self._stream_ends[stream] = self._stream_ends.get(stream, 0) + 1
                self._db.execute("INSERT INTO streams VALUES (?, ?, ?)", (stream, seq, payload))
        return numbered

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is written in it is durable when it is left. Inside another one: a part of that.

        Raises
        ------
        JournalError
            As :meth:`write`.
        """
        if self._db.in_transaction:
            yield
            return
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
                f"{self.path}: {error}; the exchange stops rather than trade unrecorded"
            ) from error

    def _commit(self) -> None:
        self._db.execute("COMMIT")

    def _note_execution(self, report: Report) -> None:
        if report.report_type is ReportType.TRADE:
            self._db.execute(
                "INSERT INTO executions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(report.venue, report.execution_id, report.order_id, report.symbol, report.side),
                    *(report.last_price, report.last_quantity, report.ts),
                ),
            )
        elif report.report_type in (ReportType.TRADE_CANCELLED, ReportType.TRADE_CORRECTED):
            self._db.execute(
                "UPDATE executions SET quantity = ?, price = iif(? > 0, ?, price) "
                "WHERE venue = ? AND execution_id = ?",
                (
                    *(report.last_quantity, report.last_price, report.last_price),
                    *(report.venue, report.execution_id),
                ),
            )

    def agent(self, client: str) -> tuple[int, str]:
        """The highest fencing token that a client logged on with, and which agent did; (0, ""): none."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (f"agent:{client}",)).fetchone()
        epoch, _, agent = (row[0] if row else "0").partition(" ")
        return int(epoch), agent

    def set_agent(self, client: str, epoch: int, agent: str) -> None:
        """Whoever logs on with a lower one from now on is refused."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"agent:{client}", f"{epoch} {agent}"))

    def stream_end(self, stream: str) -> int:
        """The number of its last message; 0: it has none."""
        return self._stream_ends.get(stream, 0)

    def stream_after(self, stream: str, seq: int) -> list[bytes]:
        """Its messages with higher numbers, in order."""
        rows = self._db.execute(
            "SELECT payload FROM streams WHERE stream = ? AND seq > ? ORDER BY seq", (stream, seq)
        )
        return [bytes(payload) for (payload,) in rows]

    def reports_after(self, client: str, report_seq: int) -> Iterator[bytes]:
        """Encoded reports that a client has not made durable, marked as possible duplicates."""
        rows = self._db.execute(
            "SELECT line FROM reports WHERE client = ? AND report_seq > ? ORDER BY report_seq",
            (client, report_seq),
        )
        for (line,) in rows.fetchall():
            yield b'{"PossDupFlag":"Y",' + bytes(line)[1:]

    def orders(self, venue: str | None = None) -> list[VenueOrder]:
        """All orders, in time priority."""
        rows = self._db.execute(
            "SELECT client, order_id, venue, symbol, side, quantity, price, time_in_force, state, "
            "filled_quantity, number, ts, order_type, min_quantity, post_only, busted_quantity, "
            "client_order_id, user_ref, original_order_id "
            "FROM orders WHERE (? IS NULL OR venue = ?) ORDER BY number, ts",
            (venue, venue),
        )
        found = []
        for row in rows:
            values = list(row)
            values[8], values[12], values[14] = OrderState(values[8]), OrderType(values[12]), bool(values[14])
            found.append(VenueOrder(*values))
        return found

    def executions(self, venue: str | None = None) -> list[Execution]:
        """All fills that stand: corrected where they were, without those that were busted."""
        rows = self._db.execute(
            "SELECT execution_id, order_id, venue, symbol, side, price, quantity, ts, ts "
            "FROM executions WHERE (? IS NULL OR venue = ?) AND quantity > 0 ORDER BY ts, execution_id",
            (venue, venue),
        )
        return [Execution(*row) for row in rows]

    def execution_count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM executions").fetchone()[0])

    def close(self) -> None:
        self._db.close()


def _row(order: VenueOrder) -> tuple[Any, ...]:
    return (
        *(order.order_id, order.client, order.venue, order.symbol, order.side, order.quantity, order.price),
        *(order.time_in_force, order.state.value, order.filled_quantity, order.number, order.ts),
        *(order.order_type.value, order.min_quantity, int(order.post_only), order.busted_quantity),
        *(order.client_order_id, order.user_ref, order.original_order_id),
    )
