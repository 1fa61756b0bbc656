"""A venue with an OUCH port as a process that can be killed: ``python -m tests...serve DIRECTORY PORT``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.execution.venues.ouch.world import Venue


async def _serve(directory: Path, port: int) -> None:
    venue = Venue(directory)
    venue.port = port
    await venue.start()
    print(venue.port, flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
