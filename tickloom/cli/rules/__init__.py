"""``tickloom rules``: write rules, check them, run them live and over stored history.

One module for each thing that is done with a rule: :mod:`author`, :mod:`live`, :mod:`history`. Here is
what they share.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from tickloom.errors import SettingsError

WIDTH_PIPED = 160  # columns where the output is no terminal

console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_PIPED)

Names = Annotated[list[str], typer.Argument(help="Names of rules, or paths of rule files.")]
Name = Annotated[str, typer.Argument(help="Name of a rule, or path of a rule file.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", help="key=value, or SET.key=value for one set only.")
]

app = typer.Typer(
    help="Rules: SQL files with MATCH_RECOGNIZE, live on Flink and over history.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def overrides_of(given: list[str] | None) -> dict[str, str]:
    """``--param`` options as a mapping."""
    overrides = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--param {text}: write key=value")
        if key in overrides:
            raise SettingsError(f"--param {text}: {key} is given a second time; keep one of the two")
        overrides[key] = value
    return overrides


from tickloom.cli.rules import author, history, live, parity, warm  # noqa: E402, F401  their commands
