"""``tickloom risk limits``: what is in force, who changed it and why, and changing it on the record."""

from __future__ import annotations

import getpass
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tickloom.clock import NS_PER_S, SystemClock
from tickloom.instruments import Registry
from tickloom.settings import ExecutionSettings

if TYPE_CHECKING:
    from execution.limits import Change

SHOWN_MAX = 10


def limits(
    put: Annotated[
        list[str] | None,
        typer.Option("--set", help="TABLE.KEY=VALUE, such as rules.sweep.daily_loss_max=2500"),
    ] = None,
    unset: Annotated[list[str] | None, typer.Option("--unset", help="TABLE.KEY: no limit any more.")] = None,
    why: Annotated[str, typer.Option("--why", help="The reason of a change; it is kept.")] = "",
    who: Annotated[str, typer.Option("--who", help="You, if not your login name.")] = "",
) -> None:
    """Show the limits in force and their last changes; or change some. A running agent takes them up."""
    from execution.limits import audit_path, audit_trail, change_limits, load, unrecorded

    path, registry = ExecutionSettings.load().limits_file, Registry.load()
    audit = audit_path(path)
    changes = [_change(text) for text in put or []] + [_removal(text) for text in unset or []]
    if changes:
        after = change_limits(path, audit, registry, changes, who or getpass.getuser(), why, SystemClock())
        print(
            f"revision {after.revision}, digest {after.digest}; a running agent takes it up within a second"
        )
        return
    found, console = load(path, registry), Console()
    console.print(f"{path}: revision {found.revision}, digest {found.digest}", highlight=False)
    for record in audit_trail(audit)[-SHOWN_MAX:]:
        when = datetime.fromtimestamp(record.ts // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
        console.print(
            f"{when} revision {record.revision} by {record.who}: {record.why}", highlight=False, markup=False
        )
        for table, key, before, now in record.changes:
            console.print(f"  [{table}] {key}: {before} to {now}", highlight=False, markup=False)
    finding = unrecorded(audit, found)
    if finding:
        console.print(f"attention: {finding}", highlight=False, markup=False)


def _change(text: str) -> Change:
    from execution.limits import Change

    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text!r} has no value; write TABLE.KEY=VALUE")
    table, _, key = name.strip().rpartition(".")
    return Change(table, key, _toml(value.strip()))


def _removal(text: str) -> Change:
    from execution.limits import Change

    table, _, key = text.strip().rpartition(".")
    return Change(table, key, None)


def _toml(value: str) -> str:
    """As TOML writes it: whoever types 2500.50, or a word, means text."""
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return f'"{value}"'
    return f'"{value}"' if isinstance(found, float) else value
