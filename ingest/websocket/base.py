"""What the decoders of all websocket venues have in common: names, time, the connection, lost books."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ingest.feeds import session_date
from ingest.websocket.book import LevelBooks
from ingest.websocket.links import Links
from ingest.websocket.output import CLOCK, Output
from tickloom.clock import NS_PER_DAY
from tickloom.errors import SequenceGap
from tickloom.events import GapReason, Side, StatusCode, SymbolTable, seq_base
from tickloom.instruments import Instrument

# state of an instrument, whatever else a venue keeps behind it
SYNCED, BOOK_ID = 0, 1

ODDITIES_MAX = 8  # a log line names so many; older ones go


class FeedState(Protocol):
    """What a session remembers between batches, in arrays that a compiled pass reads and writes.

    Attributes
    ----------
    instruments : int64, shape (instruments, at least 2)
        SYNCED: the book is trusted; BOOK_ID: of the last message of an unbroken chain, -1: none.
    feed : int64, shape (at least 2,)
        CLOCK: the latest venue time, ns; FIRST_CLOCK: the first one; 0: none yet.
    counts : int64, shape (counters,)
        Since they were collected last.
    """

    instruments: NDArray[np.int64]
    feed: NDArray[np.int64]
    counts: NDArray[np.int64]
    books: LevelBooks


StateT = TypeVar("StateT", bound=FeedState)


class VenueDecoder(Generic[StateT]):
    """The part of a decoder that is the same for every venue.

    Attributes
    ----------
    oddities : deque of str
        What the latest odd inputs were, for a log that takes them out; the counters say how often.
    """

    tells_books = True
    #: Names of what the compiled pass counts.
    pass_counters: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        venue: str,
        session: str,
        instruments: Sequence[Instrument],
        state: StateT,
        lateness_ns: int,
        aliases: Mapping[str, int],
    ) -> None:
        self.venue, self.session = venue, session
        self.counters: Counter[str] = Counter()
        self.watermark_ns = 0
        self.last_seq = 0
        self.ended = False
        self.oddities: deque[str] = deque(maxlen=ODDITIES_MAX)
        self._lateness_ns = lateness_ns
        self._seq_base = seq_base(session_date(session))
        self._names = [item.venue_symbol for item in instruments]
        self._index = {name: position for position, name in enumerate(self._names)} | dict(aliases)
        self.symbols = SymbolTable([item.symbol for item in instruments])
        self._symbol = np.array([self.symbols.index(item.symbol) for item in instruments], dtype=np.int32)
        self._state = state
        self._output = Output(venue, session, self.symbols)
        self._links = Links(self._names, aliases)

    @property
    def end_ns(self) -> int:
        """UTC midnight behind the last event: the market never closes, and a session may be of many days."""
        return (self.watermark_ns // NS_PER_DAY + 1) * NS_PER_DAY

    def best(self, venue_symbol: str) -> tuple[int, int, int, int]:
        """Best bid price, bid size, ask price, ask size of an instrument's book; nanos."""
        return self._state.books.best(self._index[venue_symbol])

    def book_levels(self, venue_symbol: str, side: Side) -> list[tuple[int, int]]:
        """Price and size of each level of a side, best first; nanos."""
        return self._state.books.levels(self._index[venue_symbol], side)

    def is_synced(self, venue_symbol: str) -> bool:
        """Whether the book of an instrument is trusted."""
        return bool(self._state.instruments[self._index[venue_symbol], SYNCED])

    # books

    def _find_book(self, which: int) -> None:
        """The book is whole."""
        self._state.instruments[which, SYNCED] = 1
        self.counters["books_synced"] += 1
        self._output.put_status(int(self._symbol[which]), StatusCode.BOOK_SYNCED)

    def _lose_book(self, which: int) -> None:
        """The chain of its messages begins anew, and so must the book."""
        state = self._state.instruments[which]
        if state[SYNCED]:
            self.counters["books_lost"] += 1
            self._output.put_status(int(self._symbol[which]), StatusCode.BOOK_LOST)
        state[SYNCED], state[BOOK_ID] = 0, -1

    def _break_chain(self, which: int, last_missing: int, first_id: int, final_id: int) -> None:
        """A message whose number does not follow: the gap, and the book is lost.

        last_missing: of the numbers before the message's own, where it goes on.
        """
        expected = int(self._state.instruments[which, BOOK_ID]) + 1
        if last_missing >= expected:
            self._gap(which, expected, last_missing, GapReason.SEQUENCE)
            says = str(SequenceGap(self.venue, expected, last_missing + 1))
        else:  # the numbers go back: nothing is missing, and nothing fits
            self._gap(which, first_id, first_id, GapReason.BOOK)
            says = f"update {final_id} does not follow {expected - 1}"
        self.oddities.append(f"{self._names[which]}: {says}")
        self._lose_book(which)

    def _wrong_book(self, which: int, named: int, counter: str, says: str) -> None:
        """A book that cannot be right is lost; the gap names the message that showed it."""
        self.counters[counter] += 1
        self.oddities.append(f"{self._names[which]}: {says} after message {named}; it is not trusted")
        self._gap(which, named, named, GapReason.BOOK)
        self._lose_book(which)

    def _gap(self, which: int, first: int, last: int, reason: GapReason) -> None:
        self.counters["gaps"] += 1
        if reason is GapReason.SEQUENCE:
            self.counters["gap_messages"] += last - first + 1
        self._output.put_gap(int(self._symbol[which]) if which >= 0 else 0, first, last, reason)

    # the connection

    def _control(self, payload: bytes) -> None:
        turn = self._links.take(payload)
        if turn.odd:
            self.counters[turn.odd] += 1
        for instruments in turn.lost:
            self._disconnected(instruments)
        self.counters["connections"] += turn.opened
        if turn.ended and not self.ended:
            self._output.put_status(0, StatusCode.SESSION_END)
            self.ended = True

    def _disconnected(self, instruments: list[int]) -> None:
        """How much is missing is not known (0, 0); every book of the connection is lost."""
        self.counters["disconnects"] += 1
        for which in instruments if len(instruments) < len(self._names) else [-1]:
            self._gap(which, 0, 0, GapReason.DISCONNECT)
        for which in instruments:
            self._lose_book(which)

    # counters and time

    def _count_kinds(self, kinds: Sequence[int], names: Mapping[int, str], read: Sequence[int]) -> None:
        """Messages of a batch by kind; ``read``: the kinds that are decoded."""
        for kind, name in names.items():
            if kinds[kind]:
                self.counters[name] += kinds[kind]
        self.counters["decoded"] += sum(kinds[kind] for kind in read)

    def _collect_counts(self) -> None:
        counts = self._state.counts.tolist()
        if any(counts):
            for name, count in zip(self.pass_counters, counts, strict=True):
                self.counters[name] += count
            self._state.counts[:] = 0

    def _move_watermark(self) -> None:
        clock = int(self._state.feed[CLOCK])
        if clock:
            self.watermark_ns = max(self.watermark_ns, clock - (0 if self.ended else self._lateness_ns))
