"""Which connections to a venue are open, as the capture's control records tell, and what is lost with each.

A session follows its instruments over one connection or over several (:mod:`.feed`); each says when it opens
and closes, by its number, how many there are, and which instruments are its own. A record without those is of
an only connection, which has all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

# events of a CONTROL record
CONTROL_OPEN = "open"
CONTROL_CLOSE = "close"
CONTROL_END = "end"


class Control(msgspec.Struct, frozen=True):
    """What a CONTROL record says.

    event: ``open``, ``close`` or ``end``; connection: its number, from 0; of: how many there are; symbols:
    venue's names of its instruments, None: all; first: the first that its process opens, so whatever was open
    before is gone.
    """

    event: str
    connection: int = 0
    of: int = 1
    symbols: tuple[str, ...] | None = None
    first: bool = False


def control(event: str, **details: str | int | Sequence[str]) -> bytes:
    """Payload of a CONTROL record."""
    return msgspec.json.encode({"event": event, **details})


_DECODER = msgspec.json.Decoder(Control)


def read_control(payload: bytes) -> Control | None:
    """What a CONTROL record says; None where it is none."""
    try:
        return _DECODER.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return None


def control_event(payload: bytes) -> str | None:
    """Event of a CONTROL record; None where it is none."""
    found = read_control(payload)
    return None if found is None else found.event


@dataclass(slots=True)
class Turn:
    """What a control record means: a connection opened; for each one lost, its instruments; the session
    ended; or the counter of what is odd about the record."""

    opened: bool = False
    lost: list[list[int]] = field(default_factory=list)
    ended: bool = False
    odd: str = ""


class Links:
    """The connections of a session.

    Parameters
    ----------
    names : sequence of str
        The venue's names of its instruments; they are told by their positions.
    aliases : mapping, optional
        Other names of them, each with its position: the registry had them when a capture was made.
    """

    def __init__(self, names: Sequence[str], aliases: Mapping[str, int] | None = None) -> None:
        self._names = names
        self._index = {name: position for position, name in enumerate(names)} | dict(aliases or {})
        self._open: dict[int, list[int]] = {}
        self._ended: set[int] = set()
        self.followed: set[int] = set()  # instruments that an open connection has

    def take(self, payload: bytes) -> Turn:
        """Follow a control record."""
        said = read_control(payload)
        if said is None:
            return Turn(odd="malformed")
        turn = Turn()
        if said.event == CONTROL_OPEN:
            names = self._names if said.symbols is None else said.symbols
            mine = [self._index[name] for name in names if name in self._index]
            # its own, and any with its instruments: the ingester was killed, nobody wrote that they closed
            gone = [
                number
                for number, theirs in self._open.items()
                if number == said.connection or said.first or not set(mine).isdisjoint(theirs)
            ]
            turn.lost = [self._open.pop(number) for number in gone]
            self._open[said.connection] = mine
            self._ended.discard(said.connection)
            turn.opened = True
        elif said.event == CONTROL_CLOSE:
            if said.connection in self._open:
                turn.lost = [self._open.pop(said.connection)]
        elif said.event == CONTROL_END:
            self._open.pop(said.connection, None)
            self._ended.add(said.connection)
            turn.ended = len(self._ended) >= said.of
        else:
            turn.odd = "unknown_type"
        self.followed = {which for mine in self._open.values() for which in mine}
        return turn
