"""An initiator in a process of its own, to be killed: sends orders named by their MsgSeqNum, without pause.

python -m tests.execution.fix.sender PORT STORE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from execution.fix.connection import Connection, Initiator
from execution.fix.session import Session
from execution.fix.store import SqliteStore
from tests.execution.fix.pair import CLIENT, order
from tests.execution.fix.test_connection import Listener
from tickloom.clock import SystemClock


async def run(port: int, path: Path) -> None:
    store = SqliteStore(path, CLIENT.name)
    connection = Connection(Session(CLIENT, store), Listener(), SystemClock())
    await Initiator(connection, "127.0.0.1", port).start()
    while True:
        await asyncio.sleep(0)
        if connection.session.logged_on:
            connection.send(b"D", order(f"O{store.next_out}"))


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), Path(sys.argv[2])))
