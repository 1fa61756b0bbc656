"""Captured records in, events out: what every feed's decoder offers to the pipeline."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from ingest.capture import CaptureBatch
from tickloom.events import EventBlock


class Decoder(Protocol):
    """Turns a capture into events. It has state, and no other input than the capture.

    So the same capture gives the same events, however it is cut into batches: a restart replays the
    capture through a fresh decoder and goes on behind what was published.

    Attributes
    ----------
    venue, session : str
    watermark_ns : int
        No later event has a ``ts_event`` below it; never goes back. 0 before the first event.
    end_ns : int
        Where the day of the session ends: no event of a later session is older. (One that began anew on a day
        that has ended would be late.)
    last_seq : int
        The highest seq that was decoded, event or not.
    counters : Counter[str]
        ``decoded`` messages, ``duplicate``, ``malformed``, ``unknown_type``, ``gap_messages``,
        ``crossed``, ... : every way in which input can be odd has a name of its own.
    ended : bool
        The venue said that the session is over.
    tells_books : bool, optional
        It says of every book when it is whole (BOOK_SYNCED) and when not (BOOK_LOST); absent: it does not.
    builds_books : bool, optional
        Its quotes are of books that it builds of orders or levels, so a message that is missing may leave
        them wrong for long (:mod:`ingest.proof`). Absent: a quote is what the venue says, and is right by
        itself. May be known only when something was decoded.
    holes : list of ingest.trust.Hole, optional
        Of the batch that was decoded last: messages that are missing and may still come, or have come.
    """

    venue: str
    session: str

    @property
    def end_ns(self) -> int: ...

    @property
    def watermark_ns(self) -> int: ...

    @property
    def last_seq(self) -> int: ...

    @property
    def counters(self) -> Counter[str]: ...

    @property
    def ended(self) -> bool: ...

    def decode(self, batch: CaptureBatch) -> EventBlock:
        """Events of the next records, each kind in seq order. Never raises on bad input: it counts."""
        ...
