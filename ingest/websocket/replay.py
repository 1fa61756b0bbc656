"""Recorded or generated websocket lines in, the venue's side of a session out: what to send, and its books.

A line is what the venue sent and when it was received. Sources give lines in order of receive time; REST
snapshots are lines too. :class:`Playback` decides what a client gets, with no socket; :mod:`.server` sends.

A client that drops without a clean close may have lost what was on its way. So a playback holds while nobody
is connected and goes back ``REWIND_LINES`` on a reconnect. That is more than can be on its way: the server
lets at most ``UNREAD_LINES_MAX`` lines go without a sign that the client has read them, and a client holds
what it has read and not kept in a queue that is far shorter than the rest. Nothing is lost, then, however
often the client is killed, and the client drops what it had by the venue's ids. The real venue does not
rewind; a client of it fills such a hole from REST history, or says that there is one.
"""

from __future__ import annotations

import gzip
import heapq
import re
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from ingest.capture import CaptureBatch, RecordKind
from ingest.websocket.binance.decoder import BinanceDecoder
from ingest.websocket.binance.messages import Market, market_of, snapshot_payload
from ingest.websocket.links import CONTROL_OPEN, control
from tickloom.clock import NS_PER_S
from tickloom.errors import DecodeError, SettingsError
from tickloom.events import Side
from tickloom.instruments import Registry
from tickloom.prices import format_nanos

UNREAD_LINES_MAX = 4_096  # sent, and the client has not said that it read them
REWIND_LINES = 8_192  # twice that: what the client read last may not be in its capture yet
_UNDECODED_MAX = 4_096  # lines that the venue's own books are behind


@dataclass(frozen=True, slots=True)
class VenueLine:
    """One message of the venue, or the answer to a REST request.

    recv_ns: when it was received, ns; payload: JSON as it came; snapshot_of: the venue's name of the
    instrument whose order book this is, empty for a websocket message.
    """

    recv_ns: int
    payload: bytes
    snapshot_of: str = ""


class LineSource(Protocol):
    """A session to play: of one venue, any number of instruments.

    Attributes
    ----------
    venue : str
        As the registry of instruments has it.
    """

    venue: str

    def lines(self) -> Iterator[VenueLine]:
        """From the first on, ``recv_ns`` never falling, one snapshot of each instrument among the first.

        A stream's name begins ``{"stream":"`` at the first byte of a payload.
        """
        ...


_FILE = re.compile(r"(spot|usdm)_([a-z0-9]+)_(\d{8})\.gz")
_VENUES: dict[str, Market] = {"BINANCE": "spot", "BINANCEF": "usdm"}


class RecordedLines:
    """Recorded files ``<market>_<symbol>_<YYYYMMDD>.gz`` of ``<receive ns> <json>`` lines.

    Files of one instrument are one session, in the order of their days; instruments are merged by
    receive time.

    Parameters
    ----------
    paths : sequence of Path
        Files, all of one market.

    Raises
    ------
    SettingsError
        A file is named otherwise, of another market, or there is none.
    """

    def __init__(self, paths: Sequence[Path], venue: str) -> None:
        self.venue = venue
        self._files: dict[str, list[Path]] = {}
        for path in sorted(paths, key=lambda item: item.name[-11:]):
            named = _FILE.fullmatch(path.name)
            if named is None:
                raise SettingsError(
                    f"{path}: name a recording MARKET_SYMBOL_YYYYMMDD.gz, such as spot_btcusdt_20240808.gz"
                )
            if named[1] != _VENUES.get(venue):
                raise SettingsError(f"{path}: a recording of {named[1]} cannot be played as {venue}")
            self._files.setdefault(named[2].upper(), []).append(path)
        if not self._files:
            raise SettingsError(f"no recording to play as {venue}; give at least one file")

    @classmethod
    def of_directory(cls, directory: Path, venue: str) -> RecordedLines:
        """All recordings of a venue's market in ``directory``."""
        market = _VENUES.get(venue, venue)
        paths = sorted(directory.glob(f"{market}_*.gz"))
        if not paths:
            raise SettingsError(f"{directory} has no {market}_SYMBOL_YYYYMMDD.gz to play as {venue}")
        return cls(paths, venue)

    @property
    def symbols(self) -> list[str]:
        """The venue's names of the instruments."""
        return sorted(self._files)

    def lines(self) -> Iterator[VenueLine]:
        streams = [self._of_symbol(symbol, paths) for symbol, paths in sorted(self._files.items())]
        return heapq.merge(*streams, key=lambda line: line.recv_ns)

    @staticmethod
    def _of_symbol(symbol: str, paths: list[Path]) -> Iterator[VenueLine]:
        for path in paths:
            number = 1
            try:
                with gzip.open(path) as lines:
                    for line in lines:
                        yield parse_line(line, symbol)
                        number += 1
            except (OSError, EOFError, zlib.error, ValueError) as error:
                raise DecodeError(
                    path.name, f"line {number} cannot be read ({error}); get the file anew"
                ) from error


def parse_line(line: bytes, symbol: str) -> VenueLine:
    """``<receive ns> <json>``; an object without ``stream`` is the REST order book of ``symbol``.

    Raises
    ------
    ValueError
        No receive time.
    """
    time, _, payload = line.rstrip(b"\r\n").partition(b" ")
    return VenueLine(int(time), payload, "" if payload.startswith(b'{"stream"') else symbol)


def recorded_venues(directory: Path) -> list[str]:
    """Venues that a directory has recordings of."""
    return [venue for venue, market in _VENUES.items() if any(directory.glob(f"{market}_*.gz"))]


class Playback:
    """A session being played to one client at a time.

    Parameters
    ----------
    source : LineSource
    rewind_lines : int
        How far a reconnect goes back.

    Attributes
    ----------
    high : int
        Lines played at least once.
    finished : bool
        The source has no more, and the client was given all.
    """

    def __init__(
        self, source: LineSource, *, registry: Registry | None = None, rewind_lines: int = REWIND_LINES
    ) -> None:
        self.high = 0
        self._source = source.lines()
        self._ring: deque[VenueLine] = deque(maxlen=rewind_lines)
        self._cursor = 0
        self._exhausted = False
        registry = registry or Registry.load()
        instruments = registry.of_venue(source.venue)
        self.market = market_of(instruments)
        self._symbols = {item.venue_symbol for item in instruments}
        self._books = BinanceDecoder(source.venue, "20000101", registry=registry)
        self._undecoded: list[tuple[int, int, bytes]] = [(RecordKind.CONTROL, 0, control(CONTROL_OPEN))]
        self._recorded: dict[str, tuple[int, bytes]] = {}
        self._began_at = 0
        self._answered: set[str] = set()

    @property
    def finished(self) -> bool:
        return self._exhausted and self._cursor == self.high

    def knows(self, symbol: str) -> bool:
        """Whether the venue has such an instrument."""
        return symbol in self._symbols

    def connect(self) -> None:
        """A client has connected: go back as far as kept."""
        self._cursor = self.high - len(self._ring)
        self._began_at = self._cursor
        self._answered.clear()

    def next(self) -> VenueLine | None:
        """The next line for the client, None at the end of the session."""
        if self._cursor < self.high:
            line = self._ring[self._cursor - self.high]
            self._cursor += 1
            return line
        following = next(self._source, None)
        if following is None:
            self._exhausted = True
            return None
        if following.snapshot_of:
            self._recorded.setdefault(following.snapshot_of, (self.high, following.payload))
        self._ring.append(following)
        self.high += 1
        self._cursor += 1
        self._keep_book(following)
        return following

    def snapshot(self, symbol: str) -> bytes | None:
        """The REST order book of an instrument as of now; None where there is none (yet).

        A client that was there from before the recorded answer gets that one, once, byte for byte, so that
        what it makes of the recording can be compared with figures of others. Everybody else gets the book
        that the lines played so far make.
        """
        recorded = self._recorded.get(symbol)
        if recorded is None:
            return None
        at, payload = recorded
        if symbol not in self._answered and self._began_at <= at:
            self._answered.add(symbol)
            return payload
        self._catch_up()
        if not self._books.is_synced(symbol):
            return None
        return msgspec.json.encode(
            {
                "lastUpdateId": self._books.last_update_id(symbol),
                "bids": self._levels(symbol, Side.BUY),
                "asks": self._levels(symbol, Side.SELL),
            }
        )

    def best(self, symbol: str) -> tuple[int, int, int, int]:
        """Best bid price and size, ask price and size of the venue's own book, nanos."""
        self._catch_up()
        return self._books.best(symbol)

    def _levels(self, symbol: str, side: Side) -> list[tuple[str, str]]:
        return [
            (format_nanos(price), format_nanos(size)) for price, size in self._books.book_levels(symbol, side)
        ]

    def _keep_book(self, line: VenueLine) -> None:
        if line.snapshot_of:
            payload = snapshot_payload(line.snapshot_of, line.payload)
            self._undecoded.append((RecordKind.SNAPSHOT, line.recv_ns, payload))
        elif b"@depth" in line.payload[:64]:
            self._undecoded.append((RecordKind.DATA, line.recv_ns, line.payload))
        if len(self._undecoded) >= _UNDECODED_MAX:
            self._catch_up()

    def _catch_up(self) -> None:
        if self._undecoded:
            self._books.decode(CaptureBatch.of(self._undecoded))
            self._undecoded = []


class Pace:
    """When a line is due: at ``speed`` times real time, from the moment the first client came.

    Time stands still while nobody is connected. Speed 0 means: at once.
    """

    def __init__(self, speed: float) -> None:
        if speed < 0:
            raise SettingsError(f"speed {speed}: it is market seconds a real second; 0 plays without pacing")
        self._speed = speed
        self._first_ns: int | None = None
        self._base_ns = 0
        self._latest_ns = 0

    def resume(self, now_ns: int) -> None:
        """Somebody is connected from ``now_ns`` (monotonic) on."""
        if self._first_ns is not None and self._speed:
            self._base_ns = now_ns - int((self._latest_ns - self._first_ns) / self._speed)
        else:
            self._base_ns = now_ns

    def wait_s(self, recv_ns: int, now_ns: int) -> float:
        """Seconds until a line is due; 0 where it is."""
        if self._first_ns is None:
            self._first_ns = self._latest_ns = recv_ns
        self._latest_ns = max(self._latest_ns, recv_ns)
        if not self._speed:
            return 0.0
        due_ns = self._base_ns + int((recv_ns - self._first_ns) / self._speed)
        return max(0.0, (due_ns - now_ns) / NS_PER_S)
