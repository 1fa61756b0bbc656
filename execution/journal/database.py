"""The journal's file: opened, its tables made or brought up to date, locked, written in transactions."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tickloom.errors import JournalError

SCHEMA_FILE = Path(__file__).with_name("schema.sql")
#: From a version to the next; tables that an older journal lacks.
MIGRATIONS = {2: Path(__file__).with_name("migration_3.sql")}
SCHEMA_VERSION = 3
BUSY_TIMEOUT_MS = 10_000  # a sink moving its cursor holds the write lock for one fsync


class Database:
    """One SQLite file; see :class:`execution.journal.Journal`."""

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

    def _one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row
