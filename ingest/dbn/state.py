"""What the DBN kernel and its decoder share: counters, outputs, instruments, orders. Data only, no logic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.dbn.records import LEVELS, UNDEF_PRICE
from ingest.levels import LevelArrays
from tickloom.events import DELTA_DTYPE, GAP_DTYPE, QUOTE_DTYPE, STATUS_DTYPE, TRADE_DTYPE
from tickloom.prices import NO_PRICE

ROWS_MAX = 1 << 16  # of an output, in one call
INSTRUMENTS_START = 256
ORDERS_START = 1 << 14
LEVELS_START = 1 << 12

#: Why the kernel came back.
DONE, FULL, OTHER_KIND, RARE, NEW, GROW_ORDERS, GROW_LEVELS = range(7)
#: ``shared``: records numbered so far, latest event time, the publisher (-1: none yet), the lateness; of what
#: the kernel came back for: instrument id, time; orders in the table.
NUMBERED, LATEST, PUBLISHER, AT_ID, AT_NS, ORDERS_USED, SHARED = range(7)
#: ``place``: capture record, byte in it (0: its first).
RECORD, AT = range(2)
#: Columns of an instrument. BOOK: see below; GENERATION: of its orders, those of an older one are gone; the
#: last four: its last quote.
(
    ID, SYMBOL, FROM_NS, TO_NS, BOOK, GENERATION, BID_PRICE, BID_SIZE, ASK_PRICE, ASK_SIZE, INSTRUMENT,
) = range(11)  # fmt: skip
#: States of a book.
UNKNOWN, BUILDING, SYNCED, LOST = range(4)
#: Columns of an order. TAG: (instrument + 1) << 32 | generation; 0: free.
ORDER_ID, TAG, SIDE, PRICE, SIZE, ORDER = range(6)
#: ``used``: rows written of each output.
TRADES, QUOTES, DELTAS, STATUSES, GAPS = range(5)

#: Names of ``counts``; docs are in :class:`ingest.dbn.decoder.DbnDecoder`.
COUNTERS = (
    "decoded",
    "malformed",
    "wrong_length",
    "foreign_publisher",
    "bad_timestamp",
    "no_event_time",
    "no_receive_time",
    "late",
    "undefined_price",
    "refused_price",
    "refused_size",
    "zero_size",
    "bad_field",
    "other_action",
    "fills",
    "unbooked",
    "aggregated",
    "unknown_order",
    "duplicate_order",
    "overfill",
    "maybe_bad_book",
    "crossed",
    "locked",
)
(
    C_DECODED,
    C_MALFORMED,
    C_LENGTH,
    C_FOREIGN,
    C_TIMESTAMP,
    C_NO_EVENT,
    C_NO_RECEIVE,
    C_LATE,
    C_UNDEFINED,
    C_PRICE,
    C_SIZE,
    C_ZERO,
    C_FIELD,
    C_ACTION,
    C_FILLS,
    C_UNBOOKED,
    C_AGGREGATED,
    C_UNKNOWN,
    C_DUPLICATE,
    C_OVERFILL,
    C_BAD_BOOK,
    C_CROSSED,
    C_LOCKED,
) = range(len(COUNTERS))


class Output(NamedTuple):
    """Rows that a call writes."""

    trades: NDArray[np.void]
    quotes: NDArray[np.void]
    deltas: NDArray[np.void]
    statuses: NDArray[np.void]
    gaps: NDArray[np.void]
    used: NDArray[np.int64]

    @classmethod
    def empty(cls, delta_rows: int = 4 * ROWS_MAX) -> Output:
        return cls(
            np.empty(ROWS_MAX, dtype=TRADE_DTYPE),
            np.empty(ROWS_MAX, dtype=QUOTE_DTYPE),
            np.empty(delta_rows, dtype=DELTA_DTYPE),
            np.zeros(ROWS_MAX, dtype=STATUS_DTYPE),
            np.empty(ROWS_MAX, dtype=GAP_DTYPE),
            np.zeros(5, dtype=np.int64),
        )

    def kinds(self) -> tuple[NDArray[np.void], ...]:
        return self[:5]


class State(NamedTuple):
    """What is kept between calls.

    Attributes
    ----------
    shared, counts, types : int64
        See above; types: records by their type.
    slots : int64, shape (4 * room, 2)
        Hash of instrument ids to rows: id and row, -1 where free.
    instruments : int64, shape (room, INSTRUMENT)
    tens : int64, shape (room, 2, LEVELS, 2)
        Price and size of the levels of the last MBP-10 record; UNDEF_PRICE where there is none.
    orders : int64, shape (entries, ORDER)
        Open hash of resting orders, at most half full.
    book : LevelArrays
        Levels of the full books, a book an instrument.
    """

    shared: NDArray[np.int64]
    counts: NDArray[np.int64]
    types: NDArray[np.int64]
    slots: NDArray[np.int64]
    instruments: NDArray[np.int64]
    tens: NDArray[np.int64]
    orders: NDArray[np.int64]
    book: LevelArrays

    @classmethod
    def fresh(cls) -> State:
        shared = np.zeros(SHARED, dtype=np.int64)
        shared[PUBLISHER] = -1
        room = INSTRUMENTS_START
        return cls(
            shared,
            np.zeros(len(COUNTERS), dtype=np.int64),
            np.zeros(256, dtype=np.int64),
            np.full((4 * room, 2), -1, dtype=np.int64),
            np.zeros((room, INSTRUMENT), dtype=np.int64),
            no_tens(room),
            np.zeros((ORDERS_START, ORDER), dtype=np.int64),
            LevelArrays(
                np.zeros((2 * room, 3), dtype=np.int64),
                np.zeros((LEVELS_START, 2), dtype=np.int64),
                np.zeros(1, dtype=np.int64),
            ),
        )

    def grown(self) -> State:
        """The same with twice the room for instruments; their hash is empty, and to be filled again."""
        room = len(self.instruments)
        sides = self.book.sides
        return self._replace(
            slots=np.full((8 * room, 2), -1, dtype=np.int64),
            instruments=np.concatenate([self.instruments, np.zeros_like(self.instruments)]),
            tens=np.concatenate([self.tens, no_tens(room)]),
            book=self.book._replace(sides=np.concatenate([sides, np.zeros_like(sides)])),
        )

    def with_more_levels(self) -> State:
        """The same with twice the pool of levels."""
        levels = self.book.levels
        return self._replace(book=self.book._replace(levels=np.concatenate([levels, np.zeros_like(levels)])))


def no_tens(room: int) -> NDArray[np.int64]:
    """Books of ten levels without any."""
    tens = np.zeros((room, 2, LEVELS, 2), dtype=np.int64)
    tens[..., 0] = UNDEF_PRICE
    return tens


def forget_quote(row: NDArray[np.int64]) -> None:
    """The next top of the book is news, whatever it is."""
    row[[BID_PRICE, BID_SIZE, ASK_PRICE, ASK_SIZE]] = NO_PRICE, -1, NO_PRICE, -1
