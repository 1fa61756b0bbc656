"""Two sessions and the wire between them, without sockets: bytes can be lost, and either side can crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from execution.fix.build import field_bytes
from execution.fix.codec import Framer, Message
from execution.fix.configuration import Delivered, Ended, Event, LoggedOn, Rejected, SessionConfiguration
from execution.fix.session import Session
from execution.fix.store import MemoryStore, SqliteStore, Store
from tickloom.clock import NS_PER_S
from tickloom.records import replace

CLIENT = SessionConfiguration(
    sender="US", target="THEM", initiator=True, app_types=frozenset({"8", "9", "j"}), heartbeat_s=10
)
VENUE = replace(CLIENT, sender="THEM", target="US", initiator=False, app_types=frozenset({"D", "F", "H"}))
START_NS = 1_795_132_800_000_000_000


def order(name: str) -> bytes:
    fields = [
        (11, name),
        (38, "100"),
        (40, "2"),
        (44, "10"),
        (54, "1"),
        (55, "ALFA"),
        (60, "20261120-00:00:00"),
    ]
    return field_bytes([(tag, value.encode()) for tag, value in fields])


class Side:
    """One end: its session, and what came out of it. ``path``: a store on disk, which survives a crash."""

    def __init__(
        self,
        configuration: SessionConfiguration,
        path: Path | None = None,
        may_resend: Callable[[Message], bool] = lambda message: True,
    ) -> None:
        self.configuration, self.path, self.may_resend = configuration, path, may_resend
        self.delivered: list[str] = []
        self.events: list[Event] = []
        self.open()

    def open(self) -> None:
        """Begin with what the store has: also after a crash."""
        name = self.configuration.name
        self.store: Store = SqliteStore(self.path, name) if self.path else MemoryStore()
        self.session = Session(self.configuration, self.store, self.may_resend)

    def act(self, events: Iterator[Event]) -> None:
        """Note what the session tells, to the end."""
        for event in events:
            self.events.append(event)
            if isinstance(event, Delivered):
                self.delivered.append(event.message.text(11))

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, Ended)]

    def logons(self) -> list[str]:
        return [event.epoch for event in self.events if isinstance(event, LoggedOn)]

    def rejections(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Rejected)]


class Pair:
    """Client and venue."""

    def __init__(self, client: Side | None = None, venue: Side | None = None) -> None:
        self.client, self.venue = client or Side(CLIENT), venue or Side(VENUE)
        self.now_ns = START_NS
        self.wire: list[bytes] = []

    def connect(self) -> None:
        """A new connection, up to the quiet after the logons."""
        self.venue.session.on_connected(self.now_ns)
        self.client.session.on_connected(self.now_ns)
        self.pump()

    def cut(self) -> None:
        """The connection is lost, with whatever is in it."""
        self.client.session.on_disconnected()
        self.venue.session.on_disconnected()

    def pump(self, lose: Callable[[bytes], bool] = lambda raw: False) -> None:
        """Carry bytes until nobody has any more; ``lose`` picks messages that get lost on the way."""
        busy = True
        while busy:
            busy = False
            for sender, receiver in ((self.client, self.venue), (self.venue, self.client)):
                sender.store.commit()
                kept = [raw for raw in messages(sender.session.take()) if not lose(raw)]
                self.wire += kept
                busy = busy or bool(kept)
                receiver.act(receiver.session.receive(b"".join(kept), self.now_ns))

    def wait(self, seconds: float, deaf: bool = False) -> None:
        """Let time pass in steps of a quarter second; ``deaf``: nothing gets through."""
        for _ in range(round(seconds * 4)):
            self.now_ns += NS_PER_S // 4
            for side in (self.client, self.venue):
                side.act(side.session.on_timer(self.now_ns))
            if deaf:
                self.wire += messages(self.client.session.take() + self.venue.session.take())
            else:
                self.pump()


def messages(data: bytes) -> list[bytes]:
    return [frame for frame in Framer().feed(data) if isinstance(frame, bytes)]


def types(wire: list[bytes]) -> str:
    """MsgTypes of what was on the wire, in order."""
    return "".join(raw.split(b"\x0135=", 1)[1].split(b"\x01", 1)[0].decode() for raw in wire)
