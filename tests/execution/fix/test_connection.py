"""Acceptor and initiator over sockets: kept up, recovered, cut where they must be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from execution.fix.codec import Message
from execution.fix.configuration import Rejected, SessionConfiguration
from execution.fix.connection import BACKOFF_S_MIN, Acceptor, Connection, Initiator
from execution.fix.session import Session
from execution.fix.store import MemoryStore, SqliteStore
from tests.execution.fix.pair import CLIENT, VENUE, order
from tickloom.clock import SystemClock
from tickloom.errors import FieldError

WAIT_S = 20.0  # on a busy machine


class Listener:
    """An application that notes what it is told."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.epochs: list[str] = []
        self.lost: list[str] = []
        self.fail = False

    def on_logged_on(self, connection: Connection, epoch: str) -> None:
        self.epochs.append(epoch)

    def on_message(self, connection: Connection, message: Message) -> None:
        if self.fail:
            raise OSError("disk full")
        if message.msg_type == b"j":
            self.got.append(f"business reject {message.text(380)}")
            return
        if message.text(11) == "BAD":
            raise FieldError(1, "is missing")
        self.got.append(message.text(11))

    def on_rejected(self, connection: Connection, rejected: Rejected) -> None:
        self.got.append(f"rejected {rejected.ref_seq_num}")

    def on_lost(self, connection: Connection, reason: str) -> None:
        self.lost.append(reason)


def connection(configuration: SessionConfiguration, path: Path | None = None) -> tuple[Connection, Listener]:
    store = SqliteStore(path, configuration.name) if path else MemoryStore()
    listener = Listener()
    return Connection(Session(configuration, store), listener, SystemClock()), listener


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.01)


def test_messages_missed_while_the_venue_was_away(tmp_path: Path) -> None:
    """The venue's process goes and comes back on the same store; what was sent meanwhile arrives, once."""

    async def run() -> None:
        client, mine = connection(CLIENT, tmp_path / "client.db")
        venue, theirs = connection(VENUE, tmp_path / "venue.db")
        acceptor = Acceptor([venue])
        port = await acceptor.start("127.0.0.1", 0)
        initiator = Initiator(client, "127.0.0.1", port)
        await initiator.start()
        await until(lambda: client.session.logged_on)
        client.send(b"D", order("A"))
        await until(lambda: theirs.got == ["A"])
        await acceptor.close()
        await until(lambda: len(mine.lost) == 1)
        client.send(b"D", order("B"))
        venue, theirs = connection(VENUE, tmp_path / "venue.db")
        acceptor = Acceptor([venue])
        await acceptor.start("127.0.0.1", port)
        await until(lambda: theirs.got == ["B"])
        assert len(set(mine.epochs)) == 1
        await initiator.close()
        await until(lambda: bool(theirs.lost))
        assert theirs.lost == ["logged out by the counterparty"]
        await acceptor.close()

    asyncio.run(run())


def test_what_an_application_could_not_record_comes_again(tmp_path: Path) -> None:
    """An exception ends the connection and is kept; the next process gets the message again."""

    async def run() -> None:
        client, _ = connection(CLIENT)
        venue, theirs = connection(VENUE, tmp_path / "venue.db")
        theirs.fail = True
        acceptor = Acceptor([venue])
        port = await acceptor.start("127.0.0.1", 0)
        initiator = Initiator(client, "127.0.0.1", port)
        await initiator.start()
        await until(lambda: client.session.logged_on)
        client.send(b"D", order("A"))
        await until(lambda: venue.failure is not None)
        assert isinstance(venue.failure, OSError)
        assert theirs.got == []
        await acceptor.close()
        venue, theirs = connection(VENUE, tmp_path / "venue.db")
        acceptor = Acceptor([venue])
        await acceptor.start("127.0.0.1", port)
        await until(lambda: bool(theirs.got))
        await initiator.close()
        await acceptor.close()
        assert theirs.got == ["A"]

    asyncio.run(run())


def test_an_application_that_cannot_record_the_loss() -> None:
    """What on_lost raises is kept too: an initiator does not go on as if nothing had been."""

    async def run() -> None:
        client, mine = connection(CLIENT)
        venue, theirs = connection(VENUE)
        acceptor = Acceptor([venue])
        port = await acceptor.start("127.0.0.1", 0)
        initiator = Initiator(client, "127.0.0.1", port)
        await initiator.start()
        await until(lambda: client.session.logged_on)
        mine.lost = None  # type: ignore[assignment]
        await acceptor.close()
        await until(lambda: client.failure is not None)
        assert isinstance(client.failure, AttributeError)
        acceptor = Acceptor([venue])
        await acceptor.start("127.0.0.1", port)
        await asyncio.sleep(3 * BACKOFF_S_MIN)  # it would be back by then
        assert len(theirs.epochs) == 1
        assert not client.session.logged_on
        await initiator.close()
        await acceptor.close()

    asyncio.run(run())


def test_a_message_that_cannot_be_used_is_answered() -> None:
    """FieldError of an application is a BusinessMessageReject, and the session goes on."""

    async def run() -> None:
        client, mine = connection(CLIENT)
        venue, theirs = connection(VENUE)
        acceptor = Acceptor([venue])
        initiator = Initiator(client, "127.0.0.1", await acceptor.start("127.0.0.1", 0))
        await initiator.start()
        await until(lambda: client.session.logged_on)
        client.send(b"D", order("BAD"))
        client.send(b"D", order("GOOD"))
        await until(lambda: bool(theirs.got and mine.got))
        assert theirs.got == ["GOOD"]
        assert mine.got == ["business reject 5"]
        assert (mine.lost, theirs.lost) == ([], [])
        await initiator.close()
        await acceptor.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n\r\n" + b"x" * 40, b"8=FIX.4.4\x019=5\x0135=0\x0110=161\x01", b""]
)
def test_a_stranger_is_cut(first: bytes) -> None:
    """What does not log on to a session of ours is cut without an answer, and the next is served."""

    async def run() -> None:
        venue, _ = connection(VENUE)
        acceptor = Acceptor([venue])
        port = await acceptor.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        if not first:
            writer.write_eof()
        async with asyncio.timeout(WAIT_S):
            assert await reader.read() == b""
        writer.close()
        client, _ = connection(CLIENT)
        initiator = Initiator(client, "127.0.0.1", port)
        await initiator.start()
        await until(lambda: client.session.logged_on)
        await initiator.close()
        await acceptor.close()

    asyncio.run(run())
