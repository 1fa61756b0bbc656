"""The command line. One module a group of commands; a stage is imported only when its command runs.

A :class:`TickloomError` is printed as one plain sentence and ends with exit code 1; a traceback is
for bugs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from tickloom import __version__
from tickloom.errors import TickloomError

app = typer.Typer(
    name="tickloom",
    help="Market data in, rules over it, risk-checked orders out, and a daily proof of it all.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

#: Command to its module and function; a group is a module with a Typer ``app``.
_COMMANDS: dict[str, tuple[str, str]] = {
    "setup": ("tickloom.cli.stack", "setup"),
    "doctor": ("tickloom.cli.stack", "doctor"),
    "up": ("tickloom.cli.stack", "up"),
    "down": ("tickloom.cli.stack", "down"),
    "status": ("tickloom.cli.stack", "status"),
    "logs": ("tickloom.cli.stack", "logs"),
    "demo": ("tickloom.cli.demo", "demo"),
    "replay": ("tickloom.cli.replay", "replay"),
    "load": ("tickloom.cli.load", "load"),
    "sql": ("tickloom.cli.storage", "sql"),
    "export": ("tickloom.cli.storage", "export"),
    "exchange": ("tickloom.cli.execution", "exchange"),
    "agent": ("tickloom.cli.execution", "agent"),
    "fault": ("tickloom.cli.fault", "fault"),
    "explain": ("tickloom.cli.explain", "explain"),
    "costs": ("tickloom.cli.costs", "costs"),
    "trust": ("tickloom.cli.trust", "trust"),
}
_GROUPS: dict[str, str] = {
    "ingest": "tickloom.cli.ingest",
    "capture": "tickloom.cli.capture",
    "schema": "tickloom.cli.storage",
    "rules": "tickloom.cli.rules",
    "pairs": "tickloom.cli.pairs",
    "risk": "tickloom.cli.risk",
    "synthetic": "tickloom.cli.synthetic",
}


def _mount(wanted: str | None) -> None:
    """Mount the wanted command alone, or all of them for the help page."""
    for name, (module, function) in _COMMANDS.items():
        if wanted in (None, name):
            command: Callable[..., Any] = getattr(importlib.import_module(module), function)
            app.command(name)(command)
    for name, module in _GROUPS.items():
        if wanted in (None, name):
            app.add_typer(importlib.import_module(module).app, name=name)


@app.callback()
def _root() -> None:
    """Keeps the app a group even when one command alone is mounted."""


def main() -> None:
    """Entry point: run one command, print a TickloomError as a sentence."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if sys.argv[1:] == ["--version"]:
        print(f"tickloom {__version__}")
        return
    known = set(_COMMANDS) | set(_GROUPS)
    _mount(words[0] if words and words[0] in known else None)
    try:
        app()
    except TickloomError as error:
        print(f"tickloom: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `tickloom ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
