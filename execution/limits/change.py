"""Changing limits while the agent runs: on the record, checked whole before, and never half written.

A change names its keys, who asks for it and why. The new text keeps the comments of the old one, has the next
revision, and is parsed before anything is touched. Then, in this order: the audit record is appended and
synced, the new file is written beside the old one and synced, and renamed over it. After a crash
in between the file is the old one, whole, and the last audit record says what was not done.

The audit trail is a file of JSON lines. Each holds the SHA-256 of the line before, so that a line that was
changed or taken out later shows.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from execution.limits.file import Limits, parse
from tickloom.clock import Clock
from tickloom.errors import LimitsError
from tickloom.instruments import Registry

_HEADER = re.compile(r"^\s*\[(?P<name>[^\[\]]+)\]\s*(#.*)?$")
_ENTRY = re.compile(
    r"""^(?P<key>[A-Za-z_]+)\s*=\s*(?P<value>"[^"]*"|\[[^\]]*\]|[^#]*?)(?P<rest>\s*(#.*)?)$"""
)


@dataclass(frozen=True, slots=True)
class Change:
    """One key of one table.

    table: ``firm``, ``rules.sweep``, ``instruments."XNAS.ALFA"``, or "" for the file.
    value: as TOML writes it (``"25000"`` with its quotes, ``7``, ``true``); None takes the key out.
    """

    table: str
    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A change that was made. changes: (table, key, before, after), None where there was or is none."""

    ts: int
    who: str
    why: str
    revision: int
    digest_before: str
    digest: str
    changes: tuple[tuple[str, str, str | None, str | None], ...]
    chain: str


def change_limits(
    path: Path, audit: Path, registry: Registry, changes: Sequence[Change], who: str, why: str, clock: Clock
) -> Limits:
    """Change a limits file; the limits that are in it now.

    Raises
    ------
    LimitsError
        No name, no reason, no change, or one that makes the file malformed: nothing was touched.
    """
    if not who.strip() or not why.strip():
        raise LimitsError("a change of limits says who asks for it and why; nothing was changed")
    if not changes:
        raise LimitsError("no key was named; nothing was changed")
    with _exclusive(audit):
        raw = path.read_bytes()
        before = parse(raw, str(path), registry)
        text, noted = raw.decode(), []
        for change in changes:
            if change.value is not None:
                _value(change)  # refused before it is anywhere in a file
            text, old = _edit(text, change)
            noted.append((change.table, change.key, old, change.value))
        revision = before.revision + 1
        text, _ = _edit(text, Change("", "revision", str(revision)))
        after = parse(text.encode(), f"{path}, changed", registry)
        _expect(raw.decode(), text, [*changes, Change("", "revision", str(revision))])
        record = AuditRecord(
            clock.now_ns(), who, why, revision, before.digest, after.digest, tuple(noted), _chain(audit)
        )
        _append(audit, record)
        _replace(path, text.encode())
    return after


def audit_trail(audit: Path) -> list[AuditRecord]:
    """All changes, oldest first.

    Raises
    ------
    LimitsError
        A line is no record, or does not follow from the one before: the trail was tampered with.
    """
    found: list[AuditRecord] = []
    chain = ""
    for number, line in enumerate(_lines(audit), 1):
        try:
            values = json.loads(line)
            record = AuditRecord(**{**values, "changes": tuple(tuple(one) for one in values["changes"])})
        except (ValueError, TypeError, KeyError) as error:
            raise LimitsError(
                f"{audit}:{number} is no audit record: {error}. Restore it from a copy"
            ) from None
        if record.chain != chain:
            raise LimitsError(
                f"{audit}:{number} does not follow from the line before; restore it from a copy"
            )
        found.append(record)
        chain = hashlib.sha256(line).hexdigest()
    return found


def unrecorded(audit: Path, limits: Limits) -> str:
    """Why these limits are not what the trail says; empty if they are, or nothing was ever changed."""
    trail = audit_trail(audit)
    if not trail or trail[-1].digest == limits.digest:
        return ""
    return (
        f"the limits file (digest {limits.digest}) is not that of its last recorded change "
        f"({trail[-1].digest} by {trail[-1].who}): it was edited past the record, or the change was cut short"
    )


@contextmanager
def _exclusive(audit: Path) -> Iterator[None]:
    """One change at a time."""
    audit.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(audit.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _edit(text: str, change: Change) -> tuple[str, str | None]:
    """The text with one key changed, and what it was before."""
    lines = text.splitlines()
    first, end = _table_lines(lines, change.table)
    if first < 0:
        if change.value is None:
            raise LimitsError(f"[{change.table}] has no {change.key} to take out; nothing was changed")
        return text.rstrip("\n") + f"\n\n[{change.table}]\n{change.key} = {change.value}\n", None
    last = first
    for number in range(first, end):
        found = _ENTRY.match(lines[number])
        if found is None:
            continue
        last = number + 1
        if found["key"] == change.key:
            old = found["value"].strip()
            lines[number : number + 1] = (
                [] if change.value is None else [f"{change.key} = {change.value}{found['rest']}"]
            )
            return "\n".join(lines) + "\n", old
    if change.value is None:
        raise LimitsError(f"[{change.table}] has no {change.key} to take out; nothing was changed")
    lines.insert(last, f"{change.key} = {change.value}")
    return "\n".join(lines) + "\n", None


def _table_lines(lines: list[str], table: str) -> tuple[int, int]:
    """The lines of a table, without its header; (-1, -1) if there is none. "" is what precedes them."""
    first = 0 if table == "" else -1
    for number, line in enumerate(lines):
        header = _HEADER.match(line)
        if header is None:
            continue
        if first >= 0:
            return first, number
        if header["name"].strip() == table:
            first = number + 1
    return (first, len(lines)) if first >= 0 else (-1, -1)


def _expect(before: str, after: str, changes: Sequence[Change]) -> None:
    """The edited text says exactly what was asked for, by the TOML parser's account."""
    wanted = tomllib.loads(before)
    for change in changes:
        place: dict[str, Any] = wanted
        for name in _names(change.table):
            place = place.setdefault(name, {})
        if change.value is None:
            place.pop(change.key, None)
        else:
            place[change.key] = _value(change)
    if tomllib.loads(after) != wanted:
        raise LimitsError("the file is laid out in a way that cannot be edited safely; change it by hand")


def _value(change: Change) -> Any:
    try:
        found = tomllib.loads(f"value = {change.value}")
    except tomllib.TOMLDecodeError as error:
        raise LimitsError(
            f"{change.key} = {change.value} is not TOML: {error}; nothing was changed"
        ) from None
    if len(found) != 1 or "\n" in str(change.value):
        raise LimitsError(f"{change.key} = {change.value!r} is more than a value; nothing was changed")
    return found["value"]


def _names(table: str) -> list[str]:
    return [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^."]+)', table)]


def _lines(audit: Path) -> list[bytes]:
    """Whole lines: what a crash left of a last one was never a change."""
    return audit.read_bytes().split(b"\n")[:-1] if audit.exists() else []


def _chain(audit: Path) -> str:
    audit_trail(audit)  # a broken trail is not continued
    lines = _lines(audit)
    return hashlib.sha256(lines[-1]).hexdigest() if lines else ""


def _append(audit: Path, record: AuditRecord) -> None:
    whole = sum(len(line) + 1 for line in _lines(audit))
    fd = os.open(audit, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.ftruncate(fd, whole)
        os.write(fd, json.dumps(asdict(record)).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    _sync_folder(audit.parent)


def _replace(path: Path, raw: bytes) -> None:
    draft = path.with_name(path.name + ".draft")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(fd, raw)
        os.fsync(fd)
    finally:
        os.close(fd)
    draft.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
