"""The bytes of an ITCH 5.0 file in, best quotes as columns out: the full order book over history.

The book is the live kernel's (:mod:`ingest.itch.engine`). What differs is what goes in and comes out: framed
bytes in place of packets, and a row of columns at each change of a best in place of events. Messages are
taken thirty at a time, in three passes, each some way behind the one before: the page of each one's order is
asked for, the page is found and the order asked for, the message is applied. So the waits for memory run
beside each other instead of one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.itch import engine
from ingest.itch import state as st
from ingest.itch.book import BookArrays, Books
from ingest.itch.columns import BATCH_BYTES, framed_batches
from ingest.itch.framing import ROWS, Framed, frame
from ingest.itch.kernel import TIMESTAMP_MAX
from ingest.itch.levels import best_price, far_from_core, fetch_levels, levels_full
from ingest.itch.messages import LAYOUTS, LENGTH_BYTES
from ingest.itch.orders import fetch_home, fetch_order, orders_full
from ingest.itch.wire import load16, load48, load64
from tickloom.unowned import unowned

AHEAD = 32  # messages whose orders are asked for at once
_MASK = 4 * AHEAD - 1  # of a place in the rings
_u = np.uint64  # of an index: spares a look whether it is negative
_LEFT_OUT = len(LAYOUTS)  # row of a message that is not of its type's length, or of no type
_A, _F, _E, _C, _X, _D, _U, _R, _P = (int(ROWS[ord(letter)]) for letter in "AFECXDURP")
_LOCATE, _TIME = LAYOUTS["S"].offsets["stock_locate"], LAYOUTS["S"].offsets["timestamp"]
_SIDE, _STOCK = LAYOUTS["A"].offsets["side"], LAYOUTS["A"].offsets["stock"]
_BUY, _SELL = ord("B"), ord("S")
#: By row: 1 where it names an order that rests, and where its stock's name is (0: nowhere).
_NAMES_ORDER = np.array([int(letter in "ECXDU") for letter in LAYOUTS] + [0])
_STOCK_AT = np.array([layout.offsets.get("stock", 0) for layout in LAYOUTS.values()] + [0])
#: ``place``: message of the batch, quotes written.
_MESSAGE, _QUOTES = range(2)


class _Ahead(NamedTuple):
    """Rings of the messages that are looked at ahead, int64 (4 * AHEAD).

    wanted: those whose order is to be found, each AHEAD messages' from the place of their first on; entries:
    of their orders' pages, see :func:`ingest.itch.orders.entry_now`.
    """

    wanted: NDArray[np.int64]
    entries: NDArray[np.int64]


class _Out(NamedTuple):
    number: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    stock_locate: NDArray[np.uint16]
    bid_price: NDArray[np.uint32]
    bid_size: NDArray[np.int64]
    ask_price: NDArray[np.uint32]
    ask_size: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Quotes:
    """Best quotes after each message that changed the best price or size of a side.

    Attributes
    ----------
    columns : Mapping[str, NDArray]
        ``number`` (int64: of the message, from 1), ``timestamp`` (int64: ns since the venue's midnight),
        ``stock_locate`` (uint16), ``bid_price``, ``ask_price`` (uint32: units of 1e-4), ``bid_size``,
        ``ask_size`` (int64: shares; 0 where a side is empty, and its price then 0).
    messages, consumed : int
        As in :class:`ingest.itch.columns.Columns`.
    """

    columns: Mapping[str, NDArray[Any]]
    messages: int
    consumed: int

    def __len__(self) -> int:
        return len(self.columns["number"])


class QuoteRunner:
    """The books of a session, batch after batch.

    Attributes
    ----------
    books : Books
        The order books as of the last message.
    """

    def __init__(self) -> None:
        self.books = Books()
        self._state = st.State.fresh()
        self._framing: Counter[str] = Counter()
        self._ahead = _Ahead(*np.zeros((2, _MASK + 1), dtype=np.int64))

    @property
    def counters(self) -> Counter[str]:
        """What :class:`~ingest.itch.decoder.ItchDecoder` counts of messages and content, and framing faults
        as :class:`~ingest.itch.columns.Columns` has them."""
        counts = {name: int(n) for name, n in zip(st.COUNTERS, self._state.counts, strict=True) if n}
        return Counter(counts) + self._framing

    @property
    def symbols(self) -> NDArray[np.bytes_]:
        """Name by stock locate, shape (65,536,), S8; empty where the session has not named it."""
        names = np.char.rstrip(self._state.stocks.astype(">u8").view("S8"))
        return names.astype("S8")

    def run(self, data: NDArray[np.uint8] | bytes, first_number: int = 1) -> Quotes:
        """Apply messages that each stand behind a length.

        Parameters
        ----------
        data, first_number
            As in :func:`ingest.itch.columns.decode_columns`.
        """
        return self.apply(frame(data), first_number)

    def apply(self, framed: Framed, first_number: int) -> Quotes:
        """Apply what has been framed."""
        self._framing += framed.faults
        count = len(framed.rows)
        out = _Out(
            np.empty(count, dtype=np.int64),
            np.empty(count, dtype=np.int64),
            np.empty(count, dtype=np.uint16),
            np.empty(count, dtype=np.uint32),
            np.empty(count, dtype=np.int64),
            np.empty(count, dtype=np.uint32),
            np.empty(count, dtype=np.int64),
        )
        place = np.zeros(2, dtype=np.int64)
        while (
            code := _run(
                self._state,
                self.books.arrays,
                out,
                framed.data,
                framed.rows,
                framed.starts,
                self._ahead,
                place,
                first_number,
            )
        ) != st.DONE:
            if code == st.GROW_ORDERS:
                self.books.grow_orders()
            else:
                self.books.grow_levels()
        written = int(place[_QUOTES])
        columns = {name: column[:written] for name, column in out._asdict().items()}
        return Quotes(columns, count, framed.consumed)


def read_quotes(path: Path, runner: QuoteRunner, batch_bytes: int = BATCH_BYTES) -> Iterator[Quotes]:
    """Best quotes of a file, plain or gzipped, a batch at a time.

    Raises
    ------
    DecodeError
        As :func:`ingest.itch.columns.read_columns`.
    """
    for framed, number in framed_batches(path, batch_bytes):
        yield runner.apply(framed, number)


@njit(cache=True, nogil=True, forceinline=True)
def _quote(state, book, out, place, side, number, timestamp, locate):  # type: ignore[no-untyped-def]
    bid, bid_total = best_price(book, side & ~1)
    ask, ask_total = best_price(book, side | 1)
    if bid_total > 0 and ask_total > 0 and bid >= ask:
        state.counts[st.C_LOCKED if bid == ask else st.C_CROSSED] += 1
    row = _u(place[_QUOTES])
    place[_QUOTES] += 1
    out.number[row] = number
    out.timestamp[row] = timestamp
    out.stock_locate[row] = locate
    out.bid_price[row] = bid
    out.bid_size[row] = bid_total
    out.ask_price[row] = ask
    out.ask_size[row] = ask_total


@njit(cache=True, nogil=True, forceinline=True)
def _message(state, book, out, place, data, at, row, number, entry):  # type: ignore[no-untyped-def]
    """Apply one message; DONE, or what must grow before it can be applied."""
    counts = state.counts
    timestamp = load48(data, at + _TIME)
    if timestamp >= TIMESTAMP_MAX:
        counts[st.C_TIMESTAMP] += 1
        return st.DONE
    if levels_full(book):
        return st.GROW_LEVELS
    locate = load16(data, at + _LOCATE)
    if timestamp < state.shared[st.LATEST]:
        counts[st.C_BACKWARDS] += 1
    else:
        state.shared[st.LATEST] = timestamp
    counts[st.C_DECODED] += 1
    if row in (_A, _F):
        if data[_u(at + _SIDE)] not in (_BUY, _SELL):
            counts[st.C_FIELD] += 1
            return st.DONE
        if engine.learn(state, locate, data, at + _STOCK, False) == engine.CONTRADICTED:
            return st.DONE
        step = engine.add(state, book, locate, data, at)
    elif row in (_E, _C, _X, _D):
        step = engine.reduce(state, book, locate, data, at, data[_u(at)], entry)
    elif row == _U:
        step = engine.replace(state, book, locate, data, at, entry)
    else:
        if _STOCK_AT[row]:
            engine.learn(state, locate, data, at + _STOCK_AT[row], row == _R)
        return st.DONE
    if step.levels > 0 and engine.settle(book, step).best_changed:
        _quote(state, book, out, place, step.side, number, timestamp, locate)
    return st.DONE


@njit(cache=True, nogil=True, forceinline=True)
def _fetch_pages(book, data, rows, starts, first, ahead):  # type: ignore[no-untyped-def]
    """Ask for the pages of the orders that the next messages say to rest; how many messages have one."""
    count = 0
    for number in range(first, min(first + AHEAD, rows.size)):
        ahead.wanted[_u((first + count) & _MASK)] = number
        count += _NAMES_ORDER[_u(rows[_u(number)])]  # a branch here would be taken at random
    for place in range(first, first + count):
        number = ahead.wanted[_u(place & _MASK)]
        reference = load64(data, np.int64(starts[_u(number)]) + LENGTH_BYTES + engine.REFERENCE)
        ahead.entries[_u(number & _MASK)] = fetch_home(book, reference)
    return count


@njit(cache=True, nogil=True, forceinline=True)
def _fetch_orders(book, data, starts, first, count, ahead):  # type: ignore[no-untyped-def]
    """Find the pages that were asked for before, and ask for the orders."""
    for place in range(first, first + count):
        number = ahead.wanted[_u(place & _MASK)]
        reference = load64(data, np.int64(starts[_u(number)]) + LENGTH_BYTES + engine.REFERENCE)
        slot = _u(number & _MASK)
        ahead.entries[slot] = fetch_order(book, ahead.entries[slot], reference)


@njit(cache=True, nogil=True, forceinline=True)
def _fetch_levels(book, data, rows, starts, first):  # type: ignore[no-untyped-def]
    """Ask for the best levels of the books that the next messages are about."""
    for number in range(first, min(first + AHEAD, rows.size)):
        if rows[_u(number)] != _LEFT_OUT:
            fetch_levels(book, load16(data, np.int64(starts[_u(number)]) + LENGTH_BYTES + _LOCATE))


@njit(cache=True, nogil=True)
def _run(state, book, out, data, rows, starts, ahead, place, first_number):  # type: ignore[no-untyped-def]
    """Go on at ``place`` until the batch is through (DONE) or an array of the books must grow."""
    state = st.State(
        unowned(state.session),
        unowned(state.shared),
        unowned(state.counts),
        unowned(state.types),
        unowned(state.stocks),
    )
    book = BookArrays(
        unowned(book.pages),
        unowned(book.orders),
        unowned(book.sides),
        unowned(book.keys),
        unowned(book.totals),
        unowned(book.fill),
    )
    out = _Out(
        unowned(out.number),
        unowned(out.timestamp),
        unowned(out.stock_locate),
        unowned(out.bid_price),
        unowned(out.bid_size),
        unowned(out.ask_price),
        unowned(out.ask_size),
    )
    ahead = _Ahead(unowned(ahead.wanted), unowned(ahead.entries))
    data, rows, starts, place = unowned(data), unowned(rows), unowned(starts), unowned(place)
    done = place[_MESSAGE]
    soon = _fetch_pages(book, data, rows, starts, done, ahead)
    later = _fetch_pages(book, data, rows, starts, done + AHEAD, ahead)
    _fetch_orders(book, data, starts, done, soon, ahead)
    while done < rows.size:
        if orders_full(book, AHEAD):
            place[_MESSAGE] = done
            return st.GROW_ORDERS
        soon = later
        later = _fetch_pages(book, data, rows, starts, done + 2 * AHEAD, ahead)
        _fetch_orders(book, data, starts, done + AHEAD, soon, ahead)
        if far_from_core(book):
            _fetch_levels(book, data, rows, starts, done)
        for number in range(done, min(done + AHEAD, rows.size)):
            row = rows[_u(number)]
            if row == _LEFT_OUT:
                continue
            at, entry = np.int64(starts[_u(number)]) + LENGTH_BYTES, ahead.entries[_u(number & _MASK)]
            code = _message(state, book, out, place, data, at, row, first_number + number, entry)
            if code != st.DONE:
                place[_MESSAGE] = number
                return code
        done += AHEAD
    return st.DONE
