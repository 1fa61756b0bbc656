"""The journal's file: opened, its tables made or brought up to date, locked, written in transactions."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tickloom.errors import FencedError, JournalError

SCHEMA_FILE = Path(__file__).with_name("schema.sql")
#: From a version to the next; tables that an older journal lacks.
MIGRATIONS = {2: Path(__file__).with_name("migration_3.sql")}
SCHEMA_VERSION = 3
BUSY_TIMEOUT_MS = 10_000  # a sink moving its cursor holds the write lock for a moment
#: A checkpoint of the default 1,000 pages kept the agent's loop from everything for up to 180 ms, each 200
#: signals. The outbox's threads do it (:meth:`execution.journal.Journal.serve_outbox`); beyond this the agent
#: does what is left itself, and the WAL begins anew.
AGENT_CHECKPOINT_PAGES = 10_000
LOCK_TRIES_S = 1.0
LOCK_RETRY_S = 0.02


class Database:
    """One SQLite file; see :class:`execution.journal.Journal`."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        self._lock_fd = -1
        self._depth, self._torn = 0, False
        self._later: dict[str, dict[Any, tuple[Any, ...]]] = {}
        self._absent: set[tuple[str, ...]] = set()
        self.epoch = 0  # of the agent that this is; 0: it is none
        self.agent = ""  # tells it from one of the same epoch on a copy of the journal
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
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._run(SCHEMA_FILE)
                version = SCHEMA_VERSION
            while version in MIGRATIONS:
                self._run(MIGRATIONS[version])
                version += 1
            if version == SCHEMA_VERSION:  # else it is refused, as it is
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _run(self, file: Path) -> None:
        """Not executescript, which would commit on its own."""
        lines = file.read_text().splitlines()
        for statement in "\n".join(line for line in lines if not line.startswith("--")).split(";"):
            self._db.execute(statement)

    def lock(self, wait: bool = False) -> int:
        """Be the only agent on this journal, until the process ends however it ends; the epoch.

        The epoch, a fencing token, is in the journal and rises with each agent. An agent whose epoch is not
        the last one any more commits nothing, so that nothing of it can leave: that holds where the lock does
        not, because its file was replaced.

        Parameters
        ----------
        wait : bool
            For the agent that is there to end, for ever: a standby.

        Raises
        ------
        JournalError
            Another process is the agent.
        """
        path = self.path.with_suffix(".lock")
        deadline = time.monotonic() + LOCK_TRIES_S
        while self._lock_fd < 0:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if _same_file(fd, path):  # else it was replaced while we waited for it
                    self._lock_fd = fd
                    break
            except BlockingIOError:
                # a look at whether an agent runs holds it for a moment too
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise JournalError(
                        f"{self.path}: another agent trades on this journal; stop it first "
                        "(`tickloom status`), or start this one with --standby"
                    ) from None
                time.sleep(LOCK_RETRY_S)
            os.close(fd)
        with self.transaction():
            row = self._one("SELECT value FROM meta WHERE key = 'epoch'")
            epoch = (int(row[0]) if row else 0) + 1
            self._set_meta("epoch", str(epoch))
        self._db.execute(f"PRAGMA wal_autocheckpoint = {AGENT_CHECKPOINT_PAGES}")
        self.epoch, self.agent = epoch, secrets.token_hex(4)
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"pid {os.getpid()}, epoch {epoch}\n".encode(), 0)
        return epoch

    def check_lock(self) -> None:
        """To be asked before anything is sent; a few microseconds.

        Raises
        ------
        FencedError
            The file of our lock was taken away: whoever did that wants another agent to trade.
        """
        if self._lock_fd >= 0 and not _same_file(self._lock_fd, self.path.with_suffix(".lock")):
            raise FencedError(
                f"{self.path.with_suffix('.lock')} was replaced: another agent may trade on this journal, "
                f"so this one (epoch {self.epoch}) sends nothing more"
            )

    def set_fenced(self, why: str) -> None:
        """Note that a venue knows a later agent; empty: a person has looked. Inside a transaction."""
        self._set_meta("fenced", why)

    def fenced(self) -> str:
        """What :meth:`set_fenced` noted."""
        row = self._one("SELECT value FROM meta WHERE key = 'fenced'")
        return str(row[0]) if row else ""

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
        )

    def close(self) -> None:
        self._db.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or none, on disk when it is left. Inside another one: a part of that.

        Raises
        ------
        JournalError
            It could not be written; nothing of it was.
        FencedError
            A later agent has begun on this journal; nothing was written.
        """
        if self._depth:
            self._depth += 1
            try:
                yield
            except BaseException:
                self._torn = True
                raise
            finally:
                self._depth -= 1
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._depth, self._torn = 1, False
            try:
                self._check_epoch()
                yield
                if self._torn:
                    raise JournalError(f"{self.path}: a part of a transaction failed, so none of it is kept")
                self._write_now()
            except BaseException:
                self._later = {}
                self._db.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0
                self._absent.clear()
            self._commit()
        except sqlite3.Error as error:
            raise JournalError(
                f"{self.path}: {error}; the agent stops rather than trade unrecorded"
            ) from error

    def _check_epoch(self) -> None:
        """With the write lock held: nobody can begin between this and the commit."""
        if not self.epoch:
            return
        row = self._one("SELECT value FROM meta WHERE key = 'epoch'")
        if row is None or int(row[0]) != self.epoch:
            raise FencedError(
                f"{self.path}: agent {row[0] if row else 'unknown'} has taken over from this one, number "
                f"{self.epoch}; this one ends"
            )

    def _write_later(self, statement: str, row: tuple[Any, ...], key: str = "") -> None:
        """Run a statement with the others of its text, at the end of the transaction; outside of one, now.

        One call for many rows: each call by itself lets go of the interpreter, and costs as much as a row. Of
        rows with the same ``key`` only the last is written. What reads such a table calls :meth:`_write_now`.
        """
        if not self._depth:
            self._db.execute(statement, row)
            return
        rows = self._later.setdefault(statement, {})
        rows[key or len(rows)] = row

    def _look_up(self, table: str, columns: tuple[str, ...], keys: Iterable[tuple[str, ...]]) -> None:
        """Note which of ``keys`` are not in a table: one statement for what is asked in this transaction.

        That holds until the transaction ends, since nobody else can write in it. What adds such a row takes
        it from :attr:`_absent`. Outside of a transaction nothing is noted.
        """
        wanted = dict.fromkeys(keys)
        if not self._depth or not wanted:
            return
        self._write_now()
        asked = list(wanted)
        # texts for 1, 2, 4 .. keys only, so that the statements stay prepared
        asked += asked[:1] * ((1 << (len(asked) - 1).bit_length()) - len(asked))
        rows = self._db.execute(
            _look_up_text(table, columns, len(asked)), [value for key in asked for value in key]
        )
        self._absent.update((table, *key) for key in wanted.keys() - {tuple(row) for row in rows})

    def _write_now(self) -> None:
        """Write what waits for the end of the transaction."""
        if self._later:
            later, self._later = self._later, {}
            for statement, rows in later.items():
                self._db.executemany(statement, rows.values())

    def _commit(self) -> None:
        self._db.execute("COMMIT")

    def _one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row


@cache
def _look_up_text(table: str, columns: tuple[str, ...], count: int) -> str:
    """Keys that are in a table. A join, not IN: that one scans the index where keys have two columns."""
    names = [f"key{number}" for number in range(len(columns))]
    values = ", ".join([f"({', '.join('?' * len(columns))})"] * count)
    on = " AND ".join(f"{column} = {name}" for column, name in zip(columns, names, strict=True))
    wanted = f"WITH wanted ({', '.join(names)}) AS (VALUES {values})"
    return f"{wanted} SELECT {', '.join(names)} FROM wanted CROSS JOIN {table} ON {on}"


def _same_file(fd: int, path: Path) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (found.st_ino, found.st_dev) == (mine.st_ino, mine.st_dev)
