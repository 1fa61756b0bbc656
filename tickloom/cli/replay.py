"""``tickloom replay``: recorded websocket lines through a local server in the venue's own protocol."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer


def replay(
    directory: Annotated[Path, typer.Argument(help="Folder of MARKET_SYMBOL_YYYYMMDD.gz recordings.")],
    venue: Annotated[str, typer.Option(help="BINANCE (spot) or BINANCEF (USD-M futures).")] = "BINANCE",
    speed: Annotated[
        float, typer.Option(help="Market seconds a real second; 0: as fast as it is read.")
    ] = 1.0,
    websocket_port: Annotated[int, typer.Option(help="Default: synthetic.websocket_port.")] = 0,
    rest_port: Annotated[int, typer.Option(help="Default: synthetic.rest_port.")] = 0,
) -> None:
    """Play recorded Binance lines to whoever connects, REST snapshots included, until stopped."""
    from ingest.websocket.replay import RecordedLines
    from ingest.websocket.server import serve
    from tickloom.settings import SyntheticSettings
    from tickloom.telemetry import configure_logging

    log = configure_logging("replay")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    settings = SyntheticSettings.load()
    source = RecordedLines.of_directory(directory, venue)
    serve(
        source,
        stopping,
        websocket_port=websocket_port or settings.websocket_port,
        rest_port=rest_port or settings.rest_port,
        speed=speed,
        on_ready=lambda address: log.info(
            "replay.ready", venue=venue, instruments=source.symbols,
            websocket=address.websocket_url, rest=address.rest_url, speed=speed,
        ),
        on_end=lambda: log.info("replay.ended", venue=venue),
    )  # fmt: skip
