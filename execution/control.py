"""What operators ask of a running agent: an inbox in a file of its own, beside the kill switch.

``tickloom risk`` writes a command with who and why; the agent looks a hundred times a second, carries it out,
journals its effect, and writes the answer beside it. Neither Kafka nor QuestDB has a part in it, and the
journal's own file is not waited for, however busy it is. A command that was given while no agent ran is
taken at the next start if it takes risk away and is not older than :data:`STALE_AFTER_NS` says; what
adds risk, or only asks, is refused by then.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from tickloom.clock import NS_PER_S
from tickloom.errors import ControlError

FILE_NAME = "control.db"
VERSION = 1
BUSY_TIMEOUT_MS = 5_000
KEPT_MAX = 1_000  # commands; what they did is in the journal for ever
_SCHEMA = (
    # ts, taken_ts, answered_ts: ns since the epoch, 0: not yet. arguments, detail: JSON objects
    "CREATE TABLE commands (number INTEGER PRIMARY KEY AUTOINCREMENT, ts INTEGER NOT NULL, "
    "ask TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, arguments TEXT NOT NULL, "
    "outcome TEXT NOT NULL DEFAULT 'waiting', taken_ts INTEGER NOT NULL DEFAULT 0, "
    "answered_ts INTEGER NOT NULL DEFAULT 0, text TEXT NOT NULL DEFAULT '', "
    "detail TEXT NOT NULL DEFAULT '{}')",
    "CREATE INDEX commands_open ON commands (number) WHERE answered_ts = 0",
)


class Ask(StrEnum):
    """What may be asked."""

    HALT = "halt"  # the file HALT is there already: say what became of it
    FLATTEN = "flatten"
    PAUSE = "pause"
    CONTINUE = "continue"  # unwindings that were paused
    RELEASE = "release"
    STATUS = "status"


class Outcome(StrEnum):
    """What became of a command."""

    WAITING = "waiting"
    TAKEN = "taken"  # it is in force; the answer follows
    DONE = "done"
    REFUSED = "refused"
    STALE = "stale"
    WITHDRAWN = "withdrawn"


#: How old a command may be when an agent first sees it. A pause holds until somebody ends it. Positions may
#: be other ones after an hour. What lets trading go on is meant for what the asker sees at that moment.
STALE_AFTER_NS: dict[Ask, int] = {
    Ask.HALT: 60 * NS_PER_S,  # of the answer only: the file halts as long as it is there
    Ask.FLATTEN: 3_600 * NS_PER_S,
    Ask.PAUSE: 2**62,
    Ask.CONTINUE: 60 * NS_PER_S,
    Ask.RELEASE: 60 * NS_PER_S,
    Ask.STATUS: 10 * NS_PER_S,
}
#: What is left in the inbox for the next start where no agent runs.
KEPT_FOR_NEXT_START = (Ask.FLATTEN, Ask.PAUSE)


@dataclass(frozen=True, slots=True)
class Command:
    """One command and what became of it. Times: ns since the epoch, 0: not yet."""

    number: int
    ts: int
    ask: Ask
    who: str
    why: str
    arguments: dict[str, str]
    outcome: Outcome = Outcome.WAITING
    taken_ts: int = 0
    answered_ts: int = 0
    text: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


class Inbox:
    """The inbox in ``directory``; operators and the agent each open it.

    Raises
    ------
    ControlError
        The file cannot be opened or is of another version.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, isolation_level=None)
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                version = self._version()
                if not version:
                    for statement in _SCHEMA:
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {VERSION}")
                    version = VERSION
        except (sqlite3.Error, OSError) as error:
            raise ControlError(
                f"{self.path}: {error}; move the file away (the kill switch works without it)"
            ) from error
        if version != VERSION:
            raise ControlError(f"{self.path}: version {version}, this program has {VERSION}; move it away")
        self._seen = -1

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise ControlError(f"{self.path}: {error}; the command was not given") from error

    # --- the operator's side -------------------------------------------------------------------

    def ask(self, ask: Ask, who: str, why: str, arguments: dict[str, str], ts: int) -> int:
        """Give a command; its number."""
        with self._transaction():
            done = self._db.execute(
                "INSERT INTO commands (ts, ask, who, why, arguments) VALUES (?, ?, ?, ?, ?)",
                (ts, ask, who, why, msgspec.json.encode(arguments).decode()),
            )
            number = done.lastrowid or 0
            self._db.execute("DELETE FROM commands WHERE number <= ? AND answered_ts", (number - KEPT_MAX,))
        return number

    def read(self, number: int) -> Command:
        """A command and what became of it.

        Raises
        ------
        ControlError
            There is none of that number (any more).
        """
        for one in self._commands("number = ?", number):
            return one
        raise ControlError(f"{self.path}: there is no command {number}")

    def withdraw(self, number: int, ts: int) -> bool:
        """Take a command back, if no agent has taken it by now."""
        with self._transaction():
            done = self._db.execute(
                "UPDATE commands SET outcome = ?, answered_ts = ? WHERE number = ? AND outcome = ?",
                (Outcome.WITHDRAWN, ts, number, Outcome.WAITING),
            )
        return bool(done.rowcount)

    # --- the agent's side ----------------------------------------------------------------------

    def changed(self) -> bool:
        """Whether anybody else wrote to it since the last time; costs microseconds."""
        try:
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise ControlError(f"{self.path}: {error}; move the file away") from error
        seen, self._seen = self._seen, version
        return version != seen

    def waiting(self) -> list[Command]:
        """Commands without an answer, oldest first."""
        return list(self._commands("answered_ts = 0"))

    def take(self, number: int, ts: int, text: str) -> None:
        """It is in force from now on; the answer follows."""
        with self._transaction():
            self._db.execute(
                "UPDATE commands SET outcome = ?, taken_ts = ?, text = ? WHERE number = ?",
                (Outcome.TAKEN, ts, text, number),
            )

    def answer(
        self, number: int, outcome: Outcome, ts: int, text: str, detail: dict[str, Any] | None = None
    ) -> None:
        """What became of it."""
        with self._transaction():
            self._db.execute(
                "UPDATE commands SET outcome = ?, answered_ts = ?, text = ?, detail = ?, "
                "taken_ts = iif(taken_ts, taken_ts, ?) WHERE number = ?",
                (outcome, ts, text, msgspec.json.encode(detail or {}).decode(), ts, number),
            )

    def _commands(self, where: str, *values: int) -> Iterator[Command]:
        try:
            rows = self._db.execute(
                "SELECT number, ts, ask, who, why, arguments, outcome, taken_ts, answered_ts, text, detail "
                f"FROM commands WHERE {where} ORDER BY number",
                values,
            ).fetchall()
        except sqlite3.Error as error:
            raise ControlError(f"{self.path}: {error}; move the file away") from error
        for row in rows:
            fields: list[Any] = list(row)
            fields[2], fields[6] = Ask(row[2]), Outcome(row[6])
            fields[5], fields[10] = msgspec.json.decode(row[5]), msgspec.json.decode(row[10])
            yield Command(*fields)


def agent_runs(journal: Path) -> bool:
    """Whether a process is the agent of this journal now: whether it holds its lock.

    For a moment the lock is held here; an agent that starts in it tries again (:meth:`Journal.lock`).
    """
    try:
        fd = os.open(journal.with_suffix(".lock"), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        with suppress(OSError):
            os.close(fd)
    return False
