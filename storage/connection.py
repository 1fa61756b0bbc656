"""Where every statement to QuestDB passes: connections opened, and its errors told as ours.

Two doors. The PostgreSQL wire takes statements with parameters and answers small things; it cuts
nanoseconds to microseconds (QuestDB 9.3.4), so times are asked from it as LONG. HTTP carries what
is large or has nanoseconds (:mod:`storage.reader`) and all that is written (:mod:`storage.writer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import psycopg

from tickloom.errors import ServiceError, StorageError
from tickloom.settings import QuestDbSettings

CONNECT_TIMEOUT_S = 5

Parameter = str | int | float | bool | None


class AccessRefused(ServiceError):
    """QuestDB does not accept the user or the password: waiting will not help."""


class Connection:
    """A PostgreSQL-wire connection that opens when it is first needed and again after it broke."""

    def __init__(self, settings: QuestDbSettings) -> None:
        self._settings = settings
        self._raw: psycopg.Connection[tuple[Any, ...]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; the next statement opens another."""
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def fetch(self, sql: str, params: Sequence[Parameter] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows (none for DDL). Parameters are written ``%s``.

        Raises
        ------
        ServiceError
            QuestDB is away or does not know the user.
        StorageError
            QuestDB refused the statement; its message and the position are in the text.
        """
        try:
            cursor = self._open().execute(sql, params or None)
            return cursor.fetchall() if cursor.description else []
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.close()
            raise away(self._settings, error) from None
        except psycopg.Error as error:
            if self._raw is not None and self._raw.broken:
                self.close()
                raise away(self._settings, error) from None
            position = error.diag.statement_position
            text = error.diag.message_primary or str(error)
            raise refused(sql, text, int(position) - 1 if position else -1) from None

    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._raw is None or self._raw.closed:
            self._raw = psycopg.connect(
                self._settings.dsn,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_S,
                prepare_threshold=None,  # a plan cached by the server outlives a changed table
            )
        return self._raw


def away(settings: QuestDbSettings, error: Exception) -> ServiceError:
    """Why there is no answer, and what to do."""
    text = " ".join(str(error).split())
    if "password" in text.lower() or "401" in text:
        return AccessRefused(
            f"QuestDB at {settings.host}:{settings.pg_port} does not accept user {settings.user!r} with the "
            "password given. Set questdb.user and questdb.password_file (or TICKLOOM_QUESTDB_USER and "
            "TICKLOOM_QUESTDB_PASSWORD_FILE) to what the server was started with."
        )
    return ServiceError(
        f"QuestDB does not answer at {settings.host} (PostgreSQL wire {settings.pg_port}, HTTP "
        f"{settings.http_port}): {text or type(error).__name__}. Start it with `tickloom up`, or see "
        "`tickloom status` and `tickloom logs questdb`."
    )


def refused(sql: str, message: str, position: int) -> StorageError:
    """QuestDB's message with the place in the statement that it is about.

    Parameters
    ----------
    position : int
        0-based offset in ``sql``; -1 where there is none.
    """
    reason = message.splitlines()[0] if message else "no reason given"
    fix = "Correct the statement."
    if "does not exist" in reason:
        fix = "`tickloom schema apply` makes Tickloom's tables; SHOW TABLES lists what there is."
    elif "Invalid column" in reason:
        fix = "SHOW COLUMNS FROM the table lists its columns."
    if not 0 <= position <= len(sql):
        return StorageError(f"QuestDB: {reason}. {fix}")
    start = sql.rfind("\n", 0, position) + 1
    end = sql.find("\n", position)
    line = sql[start : end if end >= 0 else len(sql)]
    number = sql.count("\n", 0, position) + 1
    column = position - start
    return StorageError(
        f"QuestDB: {reason} (line {number}, column {column + 1}). {fix}\n    {line}\n    {' ' * column}^"
    )
