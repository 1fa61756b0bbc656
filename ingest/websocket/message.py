"""One message of a venue that streams its own snapshots, checked: what readers give and a row holds.

Each such venue has two readings of its wire: a typed one (``messages`` in its folder, msgspec), which decides
what is wrong with a message, and a table of templates (``layout``, run by :mod:`.template`), which reads the
usual shapes many times faster and leaves everything else to the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.websocket.numbers import ID_MAX, MS_MAX, WrongValueError, exact, is_beyond
from tickloom.clock import NS_PER_MS
from tickloom.events import Side
from tickloom.prices import NO_PRICE

# columns of a message
KIND, INSTRUMENT, FINAL_ID, PREVIOUS_ID, TS_EVENT, CHECKSUM, HAS_CHECKSUM, DEPTH = 0, 1, 2, 3, 4, 5, 6, 7
PRICE_DECIMALS, SIZE_DECIMALS = 8, 9  # of the last level, as its text had them
VALUE = 10  # 10 to 13: bid price and size, ask price and size of a ticker
ENTRY_LOW, ENTRY_HIGH = 14, 15
LEFT_OUT = 16  # levels that no number of ours holds
COLUMNS = 17

DEPTH_DIGITS_MAX = 18
TS_MAX = MS_MAX * NS_PER_MS


class Kind(IntEnum):
    """What a captured message is."""

    UNREAD = 0  # no template fits: it is left to the typed reader
    SNAPSHOT = 1
    UPDATE = 2
    TICKER = 3
    TRADES = 4
    IGNORED = 5  # known and not used: heartbeats, answers to requests and to pings
    UNKNOWN = 6  # a channel or an instrument that was not asked for
    MALFORMED = 7  # no JSON, or a message of ours with something missing or wrong in it
    REFUSED = 8  # a price or size that does not travel exactly
    DECLINED = 9  # the venue says no to a request
    ACCEPTED = 10  # the venue says yes to a book, and to what depth


@dataclass(frozen=True, slots=True)
class Entry:
    """A level (new total size) or a trade. price, size: nanos; side: of the level, or of the aggressor.

    ts: ns, 0 where an entry has no time of its own; trade_id: 0 where the venue has no numbers.
    """

    price: int
    size: int
    side: Side
    ts: int = 0
    trade_id: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One message, read and checked. What a kind does not have is -1 (ids) or 0.

    Attributes
    ----------
    instrument : int
        Index into the instruments of the session; -1 where it is unknown.
    final_id : int
        The venue's number of a book or ticker message; -1: it has none.
    previous_id : int
        The number that the update before must have had; -1: the venue does not say.
    ts_event : int
        ns; 0: no time of its own.
    checksum : int
        Of the book after the message, as an unsigned number; 0: none.
    depth : int
        Levels of a side that the venue keeps its subscribers informed of; 0: all.
    decimals : (int, int)
        Of price and size in the last level.
    values : tuple of int
        Ticker: bid price, bid size, ask price, ask size. Nanos.
    left_out : int
        Levels at prices that 64 bits of 1e-9 units do not hold. They are no part of the book: Kraken has had
        an offer at 9,999,999,997 francs a coin, and a book that is refused for it is of no use.
    about : Kind
        Of a malformed or refused message: what it would have been; UNREAD where that is not known.
    reason : str
        Why it is malformed, unknown, refused or declined.
    """

    kind: Kind
    instrument: int = -1
    final_id: int = -1
    previous_id: int = -1
    ts_event: int = 0
    checksum: int = 0
    depth: int = 0
    decimals: tuple[int, int] = (0, 0)
    values: tuple[int, ...] = ()
    entries: tuple[Entry, ...] = ()
    left_out: int = 0
    about: Kind = Kind.UNREAD
    reason: str = ""


class Reader(Protocol):
    """The typed reading of a venue's wire."""

    def read(self, payload: bytes) -> Message:
        """Never raises: what cannot be used says so in its kind."""
        ...


@dataclass(slots=True)
class Scanned:
    """A batch of messages as numbers.

    Attributes
    ----------
    rows : int64, shape (messages, COLUMNS)
        One row a record of the capture; kind UNREAD where the record is none of the wire.
    price, size, ts, trade_id : int64
    side : int8
        Entries of all messages; a row's are ENTRY_LOW to, not including, ENTRY_HIGH.
    entries : int
        How many there are.
    """

    rows: NDArray[np.int64]
    price: NDArray[np.int64]
    size: NDArray[np.int64]
    side: NDArray[np.int8]
    ts: NDArray[np.int64]
    trade_id: NDArray[np.int64]
    entries: int = 0

    @classmethod
    def room_for(cls, messages: int, entries: int) -> Scanned:
        """Columns for so many."""
        return cls(
            np.zeros((messages, COLUMNS), dtype=np.int64),
            np.empty(entries, dtype=np.int64),
            np.empty(entries, dtype=np.int64),
            np.empty(entries, dtype=np.int8),
            np.empty(entries, dtype=np.int64),
            np.empty(entries, dtype=np.int64),
        )

    def put(self, row: int, message: Message) -> None:
        """Write what a reader made of a message into its row, behind the entries so far."""
        cells = self.rows[row]
        cells[:] = 0
        checksum = message.checksum & 0xFFFFFFFF
        cells[:VALUE] = (
            message.kind,
            message.instrument,
            message.final_id,
            message.previous_id,
            message.ts_event,
            checksum,
            checksum != 0,
            message.depth,
            *message.decimals,
        )
        cells[VALUE : VALUE + len(message.values)] = message.values
        cells[ENTRY_LOW] = self.entries
        for entry in message.entries:
            at = self.entries
            self.price[at], self.size[at], self.side[at] = entry.price, entry.size, entry.side
            self.ts[at], self.trade_id[at] = entry.ts, entry.trade_id
            self.entries += 1
        cells[ENTRY_HIGH] = self.entries
        cells[LEFT_OUT] = message.left_out


_SIDES = {
    "buy": Side.BUY,
    "sell": Side.SELL,
    "Buy": Side.BUY,
    "Sell": Side.SELL,
    "b": Side.BUY,
    "s": Side.SELL,
}


def side_of(text: str) -> Side:
    """Side in any of the venues' spellings.

    Raises
    ------
    WrongValueError
        Neither.
    """
    try:
        return _SIDES[text]
    except KeyError:
        raise WrongValueError(f"side {text!r}") from None


def levels(found: Iterable[tuple[str, str, Side, int]]) -> tuple[tuple[Entry, ...], int]:
    """Levels of a book from price, size (0: it is gone), side and ts; and how many were left out.

    Raises
    ------
    ValueError, PriceRangeError
        No decimal, a price that is not positive, or a number that does not travel exactly.
    """
    entries, left_out = [], 0
    for price, size, side, ts in found:
        if is_beyond(price):
            exact(size)
            left_out += 1
            continue
        entries.append(Entry(exact(price), exact(size), side, ts))
        if entries[-1].price <= 0:
            raise WrongValueError(f"a level of {size} at {price}")
    return tuple(entries), left_out


def trade(price: str, size: str, side: Side, ts: int, trade_id: int = 0) -> Entry:
    """A trade.

    Raises
    ------
    ValueError, PriceRangeError
        No decimal, one that is not positive, or a number that does not travel exactly.
    """
    found = Entry(exact(price), exact(size), side, ts, trade_id)
    if found.price <= 0 or found.size <= 0:
        raise WrongValueError(f"a trade of {size} at {price}")
    return found


def top(bid: str, bid_size: str, ask: str, ask_size: str) -> tuple[int, int, int, int]:
    """Values of a ticker; an empty side (zeros, or no text) is NO_PRICE and 0."""
    found: list[int] = []
    for price_text, size_text in ((bid, bid_size), (ask, ask_size)):
        price = exact(price_text) if price_text else 0
        size = exact(size_text) if size_text else 0
        found += (price, size) if price else (int(NO_PRICE), 0)
    return found[0], found[1], found[2], found[3]


def decimals(text: str) -> int:
    """How many digits stand behind the point."""
    return len(text.partition(".")[2])


def checked_id(value: int) -> int:
    """An id within what the columns hold.

    Raises
    ------
    WrongValueError
        It is not.
    """
    if not 0 <= value <= ID_MAX:
        raise WrongValueError(f"id {value} is out of range")
    return value


def checked_ts(value: int) -> int:
    """A time, ns, within what a venue can mean.

    Raises
    ------
    WrongValueError
        It is not.
    """
    if not NS_PER_MS <= value <= TS_MAX:
        raise WrongValueError(f"time {value} ns is out of range")
    return value
