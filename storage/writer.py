"""Event blocks in, durable rows in QuestDB out, each once.

``write`` checks a block and queues it; one thread turns what is queued into frames, a request a
table, and keeps each until QuestDB acknowledges it. Rows of a message are never split over two requests,
and a request is committed whole, so the highest seq in a table is the point to go on from.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import structlog
from prometheus_client import Counter, Gauge, Histogram

from storage.columns import WRITTEN, Layout, check, to_frame
from storage.connection import AccessRefused, Connection
from storage.ilp import BACKOFF_S_FIRST, BACKOFF_S_MAX, IlpSender
from tickloom.clock import NS_PER_DAY, NS_PER_MS, NS_PER_S, Clock, SystemClock
from tickloom.errors import ServiceError, StorageError, TickloomError
from tickloom.events import EventBlock, Records, SymbolTable
from tickloom.rows import joined
from tickloom.settings import QuestDbSettings

FLUSH_MS = 200
FLUSH_ROWS_MAX = 100_000  # about 20 MB a request; fewer rows cost the server up to a fifth more each
BESIDE_ROWS_MIN = 2_000  # of all tables but the largest: from so many on they have a connection of their own
PENDING_FLUSHES_MAX = 4  # so many times FLUSH_ROWS_MAX wait in memory; beyond it, write() blocks
CLOSE_TIMEOUT_S = 15.0  # below the stack's stop_timeout_s: say what is not stored before being killed

_TTL_UNIT_NS = {
    "HOUR": 3_600 * NS_PER_S,
    "DAY": NS_PER_DAY,
    "WEEK": 7 * NS_PER_DAY,
    "MONTH": 28 * NS_PER_DAY,
    "YEAR": 365 * NS_PER_DAY,
}

ROWS = Counter("tickloom_questdb_rows", "Rows that QuestDB acknowledged.", ["table"])
PENDING = Gauge("tickloom_questdb_pending_rows", "Rows taken and not acknowledged.")
FLUSH_SECONDS = Histogram("tickloom_questdb_flush_seconds", "Time of a round of requests, retries included.")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Batch:
    """Records of one table and session that wait to be sent."""

    venue: str
    session: str
    symbols: SymbolTable
    records: Records


@dataclass(slots=True)
class _Session:
    """What is known of a (venue, session): where each table goes on, and the last seq taken."""

    resume: dict[str, int]
    taken: dict[str, int] = field(default_factory=dict)


class QuestDbSink:
    """Makes market events durable in QuestDB, each once. An EventSink of :mod:`tickloom.sinks`.

    Events with a seq that a table already had when its session was first seen here are dropped. One
    thread calls it.

    Parameters
    ----------
    flush_ms : int
        How long a row waits for company.
    flush_rows_max : int
        Rows in memory at which they are sent at once; four times as many at most are held, then
        ``write`` blocks.
    rewrite : bool
        Write every event whatever the tables have: a historical load, which DEDUP makes idempotent.

    Raises
    ------
    StorageError
        From any method, once: QuestDB refused rows, the schema is not applied, or a block is out of order.
    """

    name = "questdb"

    def __init__(
        self,
        settings: QuestDbSettings,
        flush_ms: int = FLUSH_MS,
        flush_rows_max: int = FLUSH_ROWS_MAX,
        *,
        rewrite: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._rewrite = rewrite
        self._flush_ns = flush_ms * NS_PER_MS
        self._flush_rows_max = flush_rows_max
        self._rows_max = flush_rows_max * PENDING_FLUSHES_MAX
        self._clock = clock or SystemClock()
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._ts_min: dict[str, int] = {}
        self._stop = threading.Event()
        self._connection = Connection(settings)
        self._sender, self._beside = IlpSender(settings, self._stop), IlpSender(settings, self._stop)
        self._changed = threading.Condition()
        # below: shared with the sending thread, under _changed
        self._pending: dict[str, list[_Batch]] = {}
        self._pending_rows = 0
        self._pending_since_ns = 0
        self._sending_rows = 0
        self._flush_now = False
        self._closing = False
        self._failure: TickloomError | None = None
        self._thread = threading.Thread(target=self._run, name="questdb-sink", daemon=True)
        self._thread.start()

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        """Table to the highest seq of the session in it; tables without any are absent.

        Rows that are acknowledged but not yet visible make it lower, never higher: those events are
        written again, which changes nothing.

        Raises
        ------
        ServiceError
            QuestDB is away; ask again.
        StorageError
            The schema is not applied.
        """
        self._raise_failure()
        known = self._sessions.get((venue, session)) or self._open_session(venue, session)
        return dict(known.resume)

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        """Check and queue a block; blocks while the queue is full, which it is while QuestDB is away."""
        self._raise_failure()
        if not len(block):
            return
        session = self._session(block.venue, block.session)
        for table, records in (*block.kinds().items(), ("trust", block.trust)):
            if not len(records):
                continue
            check(
                WRITTEN[table],
                records,
                len(block.symbols),
                session.taken.get(table, -1),
                self._ts_min[table],
            )
            session.taken[table] = int(records["seq"][-1])
            new = records[np.searchsorted(records["seq"], session.resume.get(table, -1), side="right") :]
            if len(new):
                self._queue(table, _Batch(block.venue, block.session, block.symbols, new))

    def flush(self) -> None:
        """Return when QuestDB has acknowledged everything taken, however long that takes."""
        self._drain(None)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Flush and let go of the connections. Calling it again does nothing.

        Raises
        ------
        ServiceError
            QuestDB did not acknowledge everything within ``timeout_s``; the rest is not stored.
        """
        if self._closing:
            return
        try:
            self._drain(timeout_s)
        finally:
            self._stop.set()
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            self._thread.join(timeout_s)
            self._connection.close()

    @property
    def pending_rows(self) -> int:
        """Rows taken and not acknowledged yet."""
        return self._pending_rows + self._sending_rows

    def _drain(self, timeout_s: float | None) -> None:
        deadline_ns = None if timeout_s is None else self._clock.monotonic_ns() + int(timeout_s * NS_PER_S)
        with self._changed:
            self._flush_now = True
            self._changed.notify_all()
            while self._pending_rows + self._sending_rows and self._failure is None:
                if deadline_ns is not None and self._clock.monotonic_ns() >= deadline_ns:
                    rows = self._pending_rows + self._sending_rows
                    raise ServiceError(
                        f"{rows} rows are not in QuestDB: it is away. Start it (`tickloom up`); the next run "
                        "writes them from the capture."
                    )
                self._changed.wait(0.1)
        self._raise_failure()

    def _queue(self, table: str, batch: _Batch) -> None:
        count = len(batch.records)
        with self._changed:
            while self._failure is None and not self._closing:
                held = self._pending_rows + self._sending_rows
                if not held or held + count <= self._rows_max:  # a block that is larger still goes alone
                    break
                self._flush_now = True
                self._changed.notify_all()
                self._changed.wait(0.1)
            if self._closing:
                raise StorageError("the QuestDB sink is closed; make another one")
            if self._failure is not None:
                raise self._failure
            if not self._pending_rows:
                self._pending_since_ns = self._clock.monotonic_ns()
            self._pending.setdefault(table, []).append(batch)
            self._pending_rows += count
            PENDING.set(self._pending_rows + self._sending_rows)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due():
                    if self._closing:
                        self._disconnect()
                        return
                    self._changed.wait(self._wait_s())
                pending, self._pending = self._pending, {}
                self._sending_rows, self._pending_rows = self._pending_rows, 0
                self._flush_now = False
            failure: TickloomError | None = None
            try:
                with FLUSH_SECONDS.time():
                    self._send(pending)
            except TickloomError as error:
                failure = error
            except Exception as error:
                log.exception("the QuestDB sink failed")
                failure = StorageError(f"the QuestDB sink failed: {error!r}. This is a bug; see the log.")
            with self._changed:
                self._sending_rows = 0
                PENDING.set(self._pending_rows)
                self._failure = failure
                self._changed.notify_all()
                if failure is not None:
                    self._disconnect()
                    return

    def _due(self) -> bool:
        if not self._pending_rows:
            self._flush_now = False
            return False
        return (
            self._flush_now
            or self._pending_rows >= self._flush_rows_max
            or self._clock.monotonic_ns() - self._pending_since_ns >= self._flush_ns
        )

    def _wait_s(self) -> float | None:
        if not self._pending_rows:
            return None
        waited_ns = self._clock.monotonic_ns() - self._pending_since_ns
        return max(self._flush_ns - waited_ns, NS_PER_MS) / NS_PER_S

    def _disconnect(self) -> None:
        self._sender.close()
        self._beside.close()

    def _send(self, pending: dict[str, list[_Batch]]) -> None:
        """Send all tables, one after the other; where they are full, the largest beside the others.

        QuestDB takes a connection's requests on one core. Of one table only one request is under way.
        """
        rows = {table: sum(len(batch.records) for batch in batches) for table, batches in pending.items()}
        largest = max(rows, key=rows.__getitem__)
        if sum(rows.values()) - rows[largest] < BESIDE_ROWS_MIN:
            self._send_tables(self._sender, pending)
            return
        failures: list[Exception] = []

        def send_others() -> None:
            try:
                self._send_tables(self._beside, pending)
            except Exception as error:
                failures.append(error)

        most = {largest: pending.pop(largest)}
        others = threading.Thread(target=send_others, name="questdb-sink-beside", daemon=True)
        others.start()
        try:
            self._send_tables(self._sender, most)
        finally:
            others.join()
        if failures:
            raise failures[0]

    def _send_tables(self, sender: IlpSender, pending: dict[str, list[_Batch]]) -> None:
        for table, batches in pending.items():
            self._send_table(sender, WRITTEN[table], batches)

    def _send_table(self, sender: IlpSender, layout: Layout, batches: Sequence[_Batch]) -> None:
        for batch in _merge(batches):
            for records in _cut(batch.records, self._flush_rows_max):
                frame = to_frame(layout, records, batch.venue, batch.session, batch.symbols)

                def fill(buffer: Any, frame: Any = frame) -> None:
                    buffer.dataframe(frame, table_name=layout.table, symbols=layout.symbol_columns, at="ts")

                sender.send(layout.table, fill, len(records))
                ROWS.labels(layout.table).inc(len(records))

    def _session(self, venue: str, session: str) -> _Session:
        """The session; waits while QuestDB is away."""
        backoff_s = BACKOFF_S_FIRST
        while True:
            known = self._sessions.get((venue, session))
            if known is not None:
                return known
            try:
                self._open_session(venue, session)
            except AccessRefused:
                raise
            except ServiceError as error:
                log.warning("questdb is away; trying again", next_try_s=round(backoff_s, 1), error=str(error))
                if self._stop.wait(backoff_s):
                    raise
                backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    def _open_session(self, venue: str, session: str) -> _Session:
        if not self._ts_min:
            self._ts_min = self._read_ttl()
        resume = {} if self._rewrite else self._read_resume(venue, session)
        opened = self._sessions[(venue, session)] = _Session(resume)
        return opened

    def _read_ttl(self) -> dict[str, int]:
        """Table to the earliest ts that its TTL is sure to keep; refuses tables that do not deduplicate."""
        rows = self._connection.fetch("SELECT table_name, dedup, ttlValue, ttlUnit FROM tables()")
        found = {name: (dedup, ttl, unit) for name, dedup, ttl, unit in rows}
        earliest = {}
        for table in WRITTEN:
            if not found.get(table, (False, 0, ""))[0]:
                raise StorageError(
                    f"table {table} is not there with its DEDUP keys. Run `tickloom schema apply` first."
                )
            _, ttl, unit = found[table]
            age_ns = ttl * _TTL_UNIT_NS.get(unit, 0)
            earliest[table] = max(0, self._clock.now_ns() - age_ns) if age_ns else 0
        return earliest

    def _read_resume(self, venue: str, session: str) -> dict[str, int]:
        resume = {}
        for table in WRITTEN:
            sql = f"SELECT max(seq) FROM {table} WHERE venue = %s AND session = %s"
            (last,) = self._connection.fetch(sql, (venue, session))[0]
            if last is not None:
                resume[table] = int(last)
        return resume

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def _merge(batches: Sequence[_Batch]) -> Iterator[_Batch]:
    """Neighbours of the same session and symbol table as one."""
    start = 0
    for at in range(1, len(batches) + 1):
        first = batches[start]
        if at < len(batches):
            other = batches[at]
            same = (first.venue, first.session) == (other.venue, other.session)
            if same and first.symbols is other.symbols:
                continue
        parts = [batch.records for batch in batches[start:at]]
        yield _Batch(first.venue, first.session, first.symbols, joined(parts, first.records.dtype))
        start = at


def _cut(records: Records, rows_max: int) -> Iterator[Records]:
    """Pieces of about ``rows_max``, never between two rows of one seq."""
    seqs = records["seq"]
    start = 0
    while start < len(records):
        end = start + rows_max
        if end < len(records):
            end = int(np.searchsorted(seqs, seqs[end - 1], side="right"))
        yield records[start:end]
        start = end
