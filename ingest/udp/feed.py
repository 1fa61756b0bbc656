"""What a feed says of itself to the session that captures it (:mod:`ingest.udp.session`): pure, no socket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import date
from typing import Protocol

from ingest.decoder import Decoder
from ingest.udp.counts import LineCounter
from ingest.udp.gaps import Gap
from tickloom.settings import LineSettings
from tickloom.settings.ingest import LINES_MAX

SIDE_LINE = LINES_MAX  # the first of the lines beside the feed's own
NEVER_NS = 2**64  # later than any datagram can say


class LineDecoder(Decoder, Protocol):
    """A decoder that holds what is early, and gives a hole up where the capture has a ``gap`` record.

    Attributes
    ----------
    missing : Gap, optional
        The first hole, in the numbers of its gap event; None where nothing is missing.
    horizon : int
        The number behind the highest that was heard of, in the same numbers.
    """

    @property
    def missing(self) -> Gap | None: ...

    @property
    def horizon(self) -> int: ...


class SideLines(ABC):
    """Lines beside the feed's own: listened to, and captured as SNAPSHOT records, while they are needed.

    Attributes
    ----------
    addresses : dict of int to str
        Line to address, as the settings have it; the first is ``SIDE_LINE`` or a later one.
    setting : str
        Which one has them.
    """

    def __init__(self, setting: str, first_line: int, addresses: Sequence[str]) -> None:
        self.setting = setting
        self.addresses = dict(enumerate(addresses, first_line))

    @abstractmethod
    def begin(self, decoder: LineDecoder) -> None:
        """A session begins, or goes on: this is its decoder."""

    @abstractmethod
    def wanted(self) -> bool:
        """Whether they are needed now. Before a session begins they are."""

    @abstractmethod
    def heard(self, raw: bytes) -> None:
        """One of them brought this, and the decoder has seen it."""


class LineFeed(ABC):
    """A feed on several lines, as its settings have it."""

    def __init__(self, settings: LineSettings, sides: Sequence[SideLines] = ()) -> None:
        self.settings = settings
        self.sides = tuple(sides)

    @property
    def set_day(self) -> date | None:
        """The day that the settings say all is of, if they say one."""
        text = self.settings.session_date
        return date.fromisoformat(text) if text else None

    @abstractmethod
    def session_of(self, raw: bytes) -> str | None:
        """Name of the capture session that a datagram begins, if none is under way; None where it is no
        packet of the feed."""

    @abstractmethod
    def sent_ns(self, raw: bytes) -> int:
        """When a datagram says that it was sent, ns since 1970. Of garbage, anything."""

    @abstractmethod
    def end_ns(self, session: str) -> int:
        """What is sent from then on is of a later session; ns since 1970."""

    @abstractmethod
    def resumes(self, session: str, now_ns: int) -> bool:
        """Whether a captured session is the one that is under way at ``now_ns`` (ns since 1970)."""

    @abstractmethod
    def decoder(self, session: str) -> LineDecoder:
        """A fresh one."""

    @abstractmethod
    def counter(self) -> LineCounter:
        """A fresh one."""
