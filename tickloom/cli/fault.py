"""``tickloom fault``: what a running simulated exchange is to do wrong, or to do by itself."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from tickloom.errors import SettingsError
from tickloom.settings import StackSettings
from tickloom.stack import opened


def fault(
    command: Annotated[str, typer.Argument(help="status, halt, resume, reject, lose_orders, lose_acks, ...")],
    arguments: Annotated[list[str] | None, typer.Argument(help="NAME=VALUE each.")] = None,
    exchange: Annotated[str, typer.Option(help="Name of an exchange of this data_dir.")] = "",
    port: Annotated[int, typer.Option(help="Else control_port of the exchange.")] = 0,
    host: Annotated[str, typer.Option(help="Where it listens.")] = "127.0.0.1",
) -> None:
    """Ask a running exchange for a fault, a halt, a bust: docs/exchange.md has the list."""
    from execution.exchange.control import arguments_of, ask

    if exchange:
        port = opened.read(StackSettings.load().data_dir, exchange).get("control", 0)
    if not port:
        raise SettingsError(
            "say which exchange: --exchange is its name, --port the control_port of its file of venues"
        )
    given = {}
    for text in arguments or []:
        name, separator, value = text.partition("=")
        if not separator:
            raise SettingsError(f"{text!r} is no argument; write NAME=VALUE")
        given[name] = value
    answer = asyncio.run(ask(host, port, arguments_of(command, given)))
    print(json.dumps(answer))
