"""``tickloom rules compile``: machine code of rules ahead of their first use."""

from __future__ import annotations

from typing import Annotated

import typer

from tickloom.cli.rules import app, console
from tickloom.errors import RuleError


@app.command("compile")
def compile_rules(
    names: Annotated[list[str] | None, typer.Argument(help="Names of rules; all without.")] = None,
) -> None:
    """Compile rules for the compiled engine now, and keep the machine code: set-up calls this."""
    from streaming import rules
    from streaming.compiled import warm

    wanted = names or rules.names()
    for name in wanted:
        rule = rules.find(name)
        if rule.kind == rules.JOB:
            continue
        with console.status(f"compiling {name}"):
            try:
                warm.warm_up(rule)
            except RuleError as error:
                if names:
                    raise
                console.print(f"{name}: not compiled: {error}")
                continue
        console.print(f"{name} is compiled")
