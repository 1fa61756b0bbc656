"""SIGKILL of the sending side in the middle of its work, again and again."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

from execution.fix.codec import Message
from execution.fix.connection import Acceptor, Connection
from execution.fix.session import Session
from execution.fix.store import SqliteStore
from tests.execution.fix.pair import CLIENT, VENUE
from tests.execution.fix.test_connection import Listener, until
from tickloom.clock import SystemClock

PROJECT = Path(__file__).parents[3]
KILLS = 5
SEED = 20261121


class Numbered(Listener):
    """Notes the MsgSeqNum beside each order's name."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []

    def on_message(self, connection: Connection, message: Message) -> None:
        super().on_message(connection, message)
        self.numbers.append(message.seq_num)


def test_a_number_is_never_used_twice(tmp_path: Path) -> None:
    """Whatever moment it dies at: every order that was given a number arrives, once, in order, under it."""
    rng = random.Random(SEED)
    listener = Numbered()

    async def run() -> None:
        venue = Connection(
            Session(VENUE, SqliteStore(tmp_path / "venue.db", VENUE.name)), listener, SystemClock()
        )
        acceptor = Acceptor([venue])
        port = await acceptor.start("127.0.0.1", 0)
        command = [sys.executable, "-m", "tests.execution.fix.sender", str(port), str(tmp_path / "client.db")]
        for _ in range(KILLS):
            before = len(listener.got)
            process = subprocess.Popen(command, cwd=PROJECT)
            try:
                await until(lambda before=before: len(listener.got) > before)  # type: ignore[misc]
                await asyncio.sleep(rng.random() * 0.2)
            finally:
                process.kill()
                process.wait()
            await until(lambda: not venue.taken)
        quiet = Connection(
            Session(CLIENT, SqliteStore(tmp_path / "client.db", CLIENT.name)), Listener(), SystemClock()
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        task = asyncio.create_task(quiet.run(reader, writer))
        await until(lambda: quiet.session.logged_on)
        last = max(number for number, _ in quiet.session.store.sent(1, 2**62))
        await until(lambda: bool(listener.numbers) and listener.numbers[-1] == last)
        stored = [number for number, _ in quiet.session.store.sent(1, 2**62)]
        assert listener.numbers == stored
        assert listener.got == [f"O{number}" for number in stored]
        assert len(stored) > KILLS
        assert not any("too low" in reason for reason in listener.lost)
        quiet.log_out()
        await task
        await acceptor.close()

    asyncio.run(run())
