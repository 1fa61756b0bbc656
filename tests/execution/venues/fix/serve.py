"""A venue with a FIX port as a process that can be killed: ``python -m tests...serve DIRECTORY PORT``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.execution.exchange.fix_world import FixVenue


async def _serve(directory: Path, port: int) -> None:
    venue = FixVenue(directory)
    venue.fix_port = port
    await venue.start()
    print(venue.fix_port, flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
