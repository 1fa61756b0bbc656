"""``tickloom demo``: the main job from a socket to a reconciled position, by itself, in a few minutes.

``sources`` says what is played, ``run`` goes through the phases, ``report`` collects and shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    keep: Annotated[bool, typer.Option(help="Leave everything running at the end, to look around.")] = False,
    capture: Annotated[
        Path | None, typer.Option(help="Play recorded Binance lines from this folder instead.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="Market seconds a real second. Default: 1; recorded lines: 10.")
    ] = None,
    duration_s: Annotated[
        float | None, typer.Option(help="Length of the synthetic session, market seconds.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Where all of it is kept; emptied first.")] = Path(
        "var/demo"
    ),
) -> None:
    """Start the stack, play a session through real sockets, trade on it, reconcile it, and report."""
    from tickloom.cli.demo.run import Demo
    from tickloom.cli.demo.sources import Recorded, Source, Synthetic

    source: Source
    if capture is not None:
        source = Recorded(capture, speed or 10.0)
    else:
        source = Synthetic(speed, duration_s)
    good = Demo(source, data_dir, keep=keep).run()
    raise typer.Exit(0 if good else 1)
