"""What a FIX session must not forget: the next MsgSeqNum in and out, and what was sent, for resends.

Two kinds behind one protocol. A number that left without being stored would be used twice after a crash,
which ends the session for good, so whoever owns the socket commits before it writes.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tickloom.errors import JournalError

SCHEMA_VERSION = 2
BUSY_TIMEOUT_MS = 10_000
READ_ROWS = 500
_SCHEMA = (
    # epoch names the numbering: a reset to 1 begins another
    # since_ns: when it began, ns; 0: it has not
    "CREATE TABLE sessions (name TEXT PRIMARY KEY, epoch TEXT NOT NULL, next_in INTEGER NOT NULL, "
    "next_out INTEGER NOT NULL, since_ns INTEGER NOT NULL, mark INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE messages (name TEXT NOT NULL, seq_num INTEGER NOT NULL, raw BLOB NOT NULL, "
    "PRIMARY KEY (name, seq_num)) WITHOUT ROWID",
)


class Store(Protocol):
    """next_in, next_out: MsgSeqNum expected, and to be used next. epoch: another one after each reset.

    since_ns: when this numbering was first used; 0: not yet. mark: a number of the application's, durable
    together with what it sent: how much of what it has to say has been said. A reset leaves it as it is.
    """

    epoch: str
    next_in: int
    next_out: int
    since_ns: int
    mark: int

    def put(self, seq_num: int, raw: bytes) -> None:
        """Keep what was sent under a number."""
        ...

    def sent(self, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        """What was sent under ``begin`` to ``end``, both included, in order; numbers may be missing."""
        ...

    def reset(self) -> None:
        """Begin again at 1 in both directions, with nothing sent."""
        ...

    def commit(self) -> None:
        """Everything up to now is on disk when this returns."""
        ...

    def rollback(self) -> None:
        """Back to the last commit."""
        ...


class MemoryStore:
    """A store that lasts as long as the process."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.next_in = self.next_out = 1
        self.since_ns = self.mark = 0
        self._sent: dict[int, bytes] = {}

    def put(self, seq_num: int, raw: bytes) -> None:
        self._sent[seq_num] = raw

    def sent(self, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        for seq_num in range(begin, min(end, self.next_out) + 1):
            if seq_num in self._sent:
                yield seq_num, self._sent[seq_num]

    def reset(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.next_in = self.next_out = 1
        self.since_ns = 0
        self._sent.clear()

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        """There is no way back in memory; what was not durable elsewhere is lost with it."""


class SqliteStore:
    """A store in a SQLite file (WAL, synchronous FULL) which several sessions may share, one name each.

    Parameters
    ----------
    synced : bool
        Whether a commit waits for the disk. Without, it outlives the process but not a loss of power.

    Raises
    ------
    JournalError
        The file cannot be opened or is of another version.
    """

    def __init__(self, path: Path, name: str, synced: bool = True) -> None:
        self.path, self.name = path, name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            self._prepare()
            row = self._db.execute(
                "SELECT epoch, next_in, next_out, since_ns, mark FROM sessions WHERE name = ?", (name,)
            ).fetchone()
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise JournalError(f"{path}: {error}; mend the disk, or move the file away") from error
        self._durable: tuple[str, int, int, int, int] = row
        self.epoch, self.next_in, self.next_out, self.since_ns, self.mark = self._durable
        self._open = False

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            for statement in _SCHEMA:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise JournalError(
                f"{self.path}: version {version}, this program has {SCHEMA_VERSION}; move it away"
            )
        self._db.execute(
            "INSERT OR IGNORE INTO sessions VALUES (?, ?, 1, 1, 0, 0)", (self.name, secrets.token_hex(8))
        )

    def _write(self, statement: str, *values: object) -> None:
        try:
            if not self._open:
                self._db.execute("BEGIN IMMEDIATE")
                self._open = True
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> JournalError:
        return JournalError(f"{self.path}: {error}; no message leaves without its number on disk")

    def put(self, seq_num: int, raw: bytes) -> None:
        self._write("INSERT OR REPLACE INTO messages VALUES (?, ?, ?)", self.name, seq_num, raw)

    def sent(self, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        while begin <= end:
            rows = self._db.execute(
                "SELECT seq_num, raw FROM messages WHERE name = ? AND seq_num BETWEEN ? AND ? "
                "ORDER BY seq_num LIMIT ?",
                (self.name, begin, end, READ_ROWS),
            ).fetchall()
            yield from rows
            if len(rows) < READ_ROWS:
                return
            begin = rows[-1][0] + 1

    def reset(self) -> None:
        self._write("DELETE FROM messages WHERE name = ?", self.name)
        self.epoch = secrets.token_hex(8)
        self.next_in = self.next_out = 1
        self.since_ns = 0

    def commit(self) -> None:
        """Make it durable; costs nothing where nothing changed.

        Raises
        ------
        JournalError
            It could not be written.
        """
        now = (self.epoch, self.next_in, self.next_out, self.since_ns, self.mark)
        if now != self._durable:
            self._write(
                "UPDATE sessions SET epoch = ?, next_in = ?, next_out = ?, since_ns = ?, mark = ? "
                "WHERE name = ?",
                *now,
                self.name,
            )
        if not self._open:
            return
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._open = False
        self._durable = now

    def rollback(self) -> None:
        """Back to the last commit; other sessions of the file can write again."""
        if self._open:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            self._open = False
        self.epoch, self.next_in, self.next_out, self.since_ns, self.mark = self._durable

    def close(self) -> None:
        """What was not committed is gone, as after a crash."""
        self._db.close()
