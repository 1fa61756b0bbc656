"""Numbered ``.sql`` files in, tables in QuestDB out: each file applied once and never changed after.

``schema_migrations`` records number, name and checksum of what was applied. The checksum is of the
statements, not of comments and spacing, so that a comment can be improved. A later change of a table
is a new file. Every statement is idempotent (IF NOT EXISTS), so two processes that apply at the
same time, or one that is killed between a file and its record, do no harm.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from storage.applied import wait_applied
from storage.connection import Connection
from tickloom.errors import StorageError
from tickloom.settings import QuestDbSettings

SCHEMA_DIR = Path(__file__).with_name("schema")

_ALTERED = re.compile(r"ALTER TABLE (\w+)", re.IGNORECASE)
_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

# without WAL, so that a record can be read as soon as it is written
_MIGRATIONS_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    ts TIMESTAMP, number INT, name STRING, checksum STRING
) TIMESTAMP(ts) PARTITION BY YEAR BYPASS WAL
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the schema: its number, name, statements and the checksum of these."""

    number: int
    name: str
    statements: tuple[str, ...]
    checksum: str


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """A file and whether it is ``applied``, ``pending``, ``changed`` or ``unknown`` (applied, no file)."""

    number: int
    name: str
    state: str


def load(directory: Path = SCHEMA_DIR) -> list[Migration]:
    """The files, in order of their numbers.

    Raises
    ------
    StorageError
        A file is not named ``NNNN_name.sql``, is empty, or two have the same number.
    """
    found: dict[int, Migration] = {}
    for path in sorted(directory.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise StorageError(f"{path}: rename it to NNNN_name.sql, such as 0012_depth.sql")
        statements = _statements(path.read_text())
        if not statements:
            raise StorageError(f"{path}: no statement in it; write one or remove the file")
        number = int(match[1])
        if number in found:
            raise StorageError(f"{path}: number {number} is {found[number].name}'s; take the next free one")
        digest = hashlib.sha256(";\n".join(statements).encode()).hexdigest()
        found[number] = Migration(number, path.stem, statements, digest)
    return [found[number] for number in sorted(found)]


def apply(settings: QuestDbSettings, directory: Path = SCHEMA_DIR) -> list[str]:
    """Apply what is pending, in order, and return the names of the files that were.

    Raises
    ------
    StorageError
        A file was changed after it was applied (nothing is applied then), or QuestDB refuses one.
    ServiceError
        QuestDB is away.
    """
    migrations = load(directory)
    applied: list[str] = []
    altered: set[str] = set()
    with Connection(settings) as connection:
        connection.fetch(_MIGRATIONS_TABLE)
        recorded = _recorded(connection)
        for migration in migrations:
            _check_unchanged(migration, recorded, directory)
        for migration in migrations:
            if migration.number in recorded:
                continue
            for statement in migration.statements:
                connection.fetch(statement)
            connection.fetch(
                "INSERT INTO schema_migrations (ts, number, name, checksum) "
                "VALUES (systimestamp(), %s, %s, %s)",
                (migration.number, migration.name, migration.checksum),
            )
            applied.append(migration.name)
            altered |= set(_ALTERED.findall(" ".join(migration.statements)))
    if altered:  # a new column is in the log first, and in the table a moment later
        wait_applied(settings, sorted(altered))
    return applied


def status(settings: QuestDbSettings, directory: Path = SCHEMA_DIR) -> list[MigrationStatus]:
    """State of each file, and of what the database has without a file."""
    migrations = {migration.number: migration for migration in load(directory)}
    with Connection(settings) as connection:
        exists = connection.fetch("SELECT count() FROM tables() WHERE table_name = 'schema_migrations'")
        recorded = _recorded(connection) if exists[0][0] else {}
    states = []
    for number in sorted(migrations.keys() | recorded.keys()):
        migration = migrations.get(number)
        if migration is None:
            states.append(MigrationStatus(number, recorded[number][0], "unknown"))
        elif number not in recorded:
            states.append(MigrationStatus(number, migration.name, "pending"))
        else:
            same = recorded[number][1] == migration.checksum
            states.append(MigrationStatus(number, migration.name, "applied" if same else "changed"))
    return states


def _recorded(connection: Connection) -> dict[int, tuple[str, str]]:
    """Number to (name, checksum) of what was applied; the first record of a number counts."""
    rows = connection.fetch("SELECT number, name, checksum FROM schema_migrations ORDER BY ts DESC")
    return {int(number): (name, checksum) for number, name, checksum in rows}


def _check_unchanged(migration: Migration, recorded: dict[int, tuple[str, str]], directory: Path) -> None:
    before = recorded.get(migration.number)
    if before is not None and before[1] != migration.checksum:
        raise StorageError(
            f"{directory / migration.name}.sql was changed after it was applied (as {before[0]}). It cannot "
            "change a table that exists: restore the file, and put the change into a new one with the next "
            "free number, as ALTER TABLE or a new table."
        )


def _statements(text: str) -> tuple[str, ...]:
    """Statements of a file without comments, singly spaced. No literal may contain ``;`` or ``--``."""
    code = re.sub(r"--[^\n]*", "", text)
    parts = (" ".join(part.split()) for part in code.split(";"))
    return tuple(part for part in parts if part)
