"""QuickFIX's acceptance cases, read and played against an acceptor of ours on a real socket.

A case is lines: ``iCONNECT``, ``I`` a message to send, ``E`` one to expect, ``eDISCONNECT`` (and
``iDISCONNECT``, which we do); with ``1,`` behind the letter where there are several connections. A sent
message gets BodyLength and CheckSum where it has none, and the time for ``<TIME>`` (``<TIME+10>``: in ten
seconds). Of an expected one the order and the values of all fields count, but for CheckSum and times,
of which only the form does.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from execution.fix import tags
from execution.fix.build import field_bytes
from execution.fix.codec import Message
from execution.fix.configuration import Rejected, SessionConfiguration
from execution.fix.connection import Acceptor, Connection
from execution.fix.session import Session
from execution.fix.store import MemoryStore
from tickloom.clock import SystemClock

ANSWER_S = 45.0  # longer than any case waits for a heartbeat or for the end of a silent session
CASES_AT_ONCE = 6
WAITING = ("4a_", "6_")
_LINE = re.compile(rb"([IEie])(?:(\d),)?(.*)", re.DOTALL)
_TIME = re.compile(rb"<TIME([+-]\d+)?>")
_TIME_FORM = re.compile(rb"\d{8}-\d\d:\d\d:\d\d(\.\d{3})?")
_FORMS = {b"10": re.compile(rb"\d{3}"), **dict.fromkeys((b"42", b"52", b"60", b"122"), _TIME_FORM)}


class Echo:
    """The application of the cases: sends orders and security definitions back, their fields sorted.

    A PossResend of an order it has seen is dropped.
    """

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def on_logged_on(self, connection: Connection, epoch: str) -> None:
        pass

    def on_rejected(self, connection: Connection, rejected: Rejected) -> None:
        pass

    def on_lost(self, connection: Connection, reason: str) -> None:
        self._seen.clear()

    def on_message(self, connection: Connection, message: Message) -> None:
        resent = message.flag(tags.POSS_RESEND)
        if message.msg_type == b"D":
            identity = message[tags.CL_ORD_ID]
            if resent and identity in self._seen:
                return
            self._seen.add(identity)
        dictionary = connection.session.codec.dictionary
        own = dictionary.header.members | dictionary.trailer.members
        body = field_bytes(sorted(pair for pair in message.fields() if pair[0] not in own))
        header = [(tags.POSS_RESEND, b"Y")] if resent else []
        connection.session.send(message.msg_type, body, SystemClock().now_ns(), header)


class CaseFailed(Exception):
    """Where a case went another way."""


def make_acceptor() -> Acceptor:
    """The acceptor as the cases want it: numbers begin at 1 at each logon."""
    configuration = SessionConfiguration(
        sender="ISLD",
        target="TW44",
        initiator=False,
        app_types=frozenset({"D", "d"}),
        reset_on_logon=True,
    )
    return Acceptor([Connection(Session(configuration, MemoryStore()), Echo(), SystemClock())])


def complete(body: bytes) -> bytes:
    """A line's message with times, BodyLength and CheckSum where they are missing."""

    def moment(match: re.Match[bytes]) -> bytes:
        at = datetime.now(UTC) + timedelta(seconds=int(match[1] or 0))
        return at.strftime("%Y%m%d-%H:%M:%S").encode()

    body = _TIME.sub(moment, body)
    begin, _, rest = body.partition(b"\x01")
    if not begin.startswith(b"8="):
        return body
    rest, checksum = re.fullmatch(rb"(.*?\x01)(10=[^\x01]*\x01)?", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    if not rest.startswith(b"9="):
        rest = b"9=%d\x01%b" % (len(rest), rest)
    message = begin + b"\x01" + rest
    return message + (checksum or b"10=%03d\x01" % (sum(message) % 256))


def differences(expected: bytes, received: bytes) -> str:
    """What of a message is not as a case wants it; empty if nothing."""
    wanted = [field.partition(b"=")[::2] for field in expected.rstrip(b"\x01").split(b"\x01")]
    got = [field.partition(b"=")[::2] for field in received.rstrip(b"\x01").split(b"\x01")]
    if [tag for tag, _ in wanted] != [tag for tag, _ in got]:
        return "other fields, or in another order"
    for (tag, want), (_, value) in zip(wanted, got, strict=True):
        form = _FORMS.get(tag)
        if not form.fullmatch(value) if form else want != value:
            return f"field {tag.decode()} is {value!r}, not {want!r}"
    return ""


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """The next message, by BodyLength."""
    head = await reader.readuntil(b"\x019=")
    length = await reader.readuntil(b"\x01")
    body = await reader.readexactly(int(length[:-1]))
    return head + length + body + await reader.readuntil(b"\x01")


class Player:
    """One case being played."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.at = 0
        self._ends: dict[bytes, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def line(self, line: bytes) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            raise CaseFailed(f"no line of a case: {line!r}")
        kind, name, body = match[1], match[2] or b"1", match[3]
        if kind == b"i" and body == b"CONNECT":
            self._ends[name] = await asyncio.open_connection("127.0.0.1", self._port)
            return
        reader, writer = self._ends[name]
        if kind == b"i":
            writer.close()
        elif kind == b"I":
            writer.write(complete(body))
            await writer.drain()
        elif kind == b"e":
            rest = await reader.read(1)
            if rest:
                raise CaseFailed(f"not disconnected; received {rest + await reader.read(400)!r}")
        else:
            received = await read_message(reader)
            different = differences(complete(body), received)
            if different:
                raise CaseFailed(f"{different}: {received!r}")

    def close(self) -> None:
        for _, writer in self._ends.values():
            writer.transport.abort()


async def play(path: Path) -> str:
    """Play one case; why it failed, or empty."""
    acceptor = make_acceptor()
    player = Player(await acceptor.start("127.0.0.1", 0))
    try:
        for player.at, line in enumerate(path.read_bytes().splitlines(), 1):
            if line and not line.startswith(b"#"):
                async with asyncio.timeout(ANSWER_S):
                    await player.line(line)
    except CaseFailed as error:
        return f"line {player.at}: {error}"
    except (TimeoutError, OSError, EOFError) as error:
        return f"line {player.at}: {type(error).__name__} {error}"
    finally:
        player.close()
        with contextlib.suppress(OSError):
            await acceptor.close()
    return ""


async def play_all(paths: list[Path]) -> dict[str, str]:
    """All cases, an acceptor each, a few at a time so that none is slowed past its heartbeats.

    Those that wait for heartbeats, half a minute at the longest, run beside them.
    """
    slots = asyncio.Semaphore(CASES_AT_ONCE)

    async def one(path: Path) -> str:
        if path.stem.startswith(WAITING):
            return await play(path)
        async with slots:
            return await play(path)

    outcomes = await asyncio.gather(*(one(path) for path in paths))
    return {path.stem: outcome for path, outcome in zip(paths, outcomes, strict=True)}
