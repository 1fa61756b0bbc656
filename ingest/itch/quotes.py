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
from ingest.itch.columns import BATCH_BYTES, FRAME_BYTES, ROWS, Framed, frame, framed_batches
from ingest.itch.kernel import TIMESTAMP_MAX
from ingest.itch.levels import best_price, levels_full
from ingest.itch.messages import LAYOUTS, LENGTH_BYTES
from ingest.itch.orders import fetch_home, fetch_order, orders_full
from ingest.itch.wire import load16, load48, load64
from tickloom.unowned import unowned

AHEAD = 32  # messages whose orders are asked for at once
_u = np.uint64  # of an index: spares a look whether it is negative
_LEFT_OUT = len(LAYOUTS)  # row of a message that is not of its type's length, or of no type
_A, _F, _E, _C, _X, _D, _U, _R, _P = (int(ROWS[ord(letter)]) for letter in "AFECXDURP")
_LOCATE, _TIME = LAYOUTS["S"].offsets["stock_locate"], LAYOUTS["S"].offsets["timestamp"]
_SIDE, _STOCK = LAYOUTS["A"].offsets["side"], LAYOUTS["A"].offsets["stock"]
_REFERENCE_BYTES = 8
_BUY, _SELL = ord("B"), ord("S")
#: By row: whether it names an order, and where its stock's name is (0: nowhere).
_HAS_ORDER = np.array([letter in "AFECXDU" for letter in LAYOUTS] + [False])
_STOCK_AT = np.array([layout.offsets.get("stock", 0) for layout in LAYOUTS.values()] + [0])
#: ``place``: message of the batch, its byte, quotes written.
_MESSAGE, _AT, _QUOTES = range(3)


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
        self._ahead = np.empty(2 * 4 * AHEAD, dtype=np.int64)

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
        data = framed.data
        if len(data) < _REFERENCE_BYTES:  # what is asked for ahead is read before it is known to be there
            data = np.resize(data, _REFERENCE_BYTES)
        out = _Out(
            np.empty(count, dtype=np.int64),
            np.empty(count, dtype=np.int64),
            np.empty(count, dtype=np.uint16),
            np.empty(count, dtype=np.uint32),
            np.empty(count, dtype=np.int64),
            np.empty(count, dtype=np.uint32),
            np.empty(count, dtype=np.int64),
        )
        place = np.zeros(3, dtype=np.int64)
        while (
            code := _run(
                self._state,
                self.books.arrays,
                out,
                data,
                framed.rows,
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
        if data[at + _SIDE] not in (_BUY, _SELL):
            counts[st.C_FIELD] += 1
            return st.DONE
        if engine.learn(state, locate, data, at + _STOCK, False) == engine.CONTRADICTED:
            return st.DONE
        step = engine.add(state, book, locate, data, at, entry)
    elif row in (_E, _C, _X, _D):
        step = engine.reduce(state, book, locate, data, at, data[at], entry)
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
def _fetch_pages(book, data, rows, first, ahead, at):  # type: ignore[no-untyped-def]
    """Note where the next messages begin and ask for the pages of their orders; the byte behind them."""
    named = np.int64(0)
    for number in range(first, min(first + AHEAD, rows.size)):
        row = rows[_u(number)]
        # A message of no order asks for the page of the one before: no branch that is taken at random.
        named = at + LENGTH_BYTES + engine.REFERENCE if _HAS_ORDER[row] else named
        slot = number & (4 * AHEAD - 1)
        ahead[_u(2 * slot)] = at
        ahead[_u(2 * slot + 1)] = fetch_home(book, load64(data, named))
        at += FRAME_BYTES[row] if row != _LEFT_OUT else LENGTH_BYTES + load16(data, at)
    return at


@njit(cache=True, nogil=True, forceinline=True)
def _fetch_orders(book, data, rows, first, ahead):  # type: ignore[no-untyped-def]
    """Find the pages that were asked for before, and ask for the orders."""
    named = np.int64(0)
    for number in range(first, min(first + AHEAD, rows.size)):
        slot = number & (4 * AHEAD - 1)
        at = ahead[_u(2 * slot)]
        named = at + LENGTH_BYTES + engine.REFERENCE if _HAS_ORDER[rows[_u(number)]] else named
        ahead[_u(2 * slot + 1)] = fetch_order(book, ahead[_u(2 * slot + 1)], load64(data, named))


@njit(cache=True, nogil=True)
def _run(state, book, out, data, rows, ahead, place, first_number):  # type: ignore[no-untyped-def]
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
    data, rows, ahead, place = unowned(data), unowned(rows), unowned(ahead), unowned(place)
    done, at = place[_MESSAGE], place[_AT]
    at = _fetch_pages(book, data, rows, done, ahead, at)
    at = _fetch_pages(book, data, rows, done + AHEAD, ahead, at)
    _fetch_orders(book, data, rows, done, ahead)
    while done < rows.size:
        if orders_full(book, AHEAD):
            place[_MESSAGE], place[_AT] = done, ahead[2 * (done & (4 * AHEAD - 1))]
            return st.GROW_ORDERS
        at = _fetch_pages(book, data, rows, done + 2 * AHEAD, ahead, at)
        _fetch_orders(book, data, rows, done + AHEAD, ahead)
        for number in range(done, min(done + AHEAD, rows.size)):
            row = rows[_u(number)]
            if row == _LEFT_OUT:
                continue
            slot = number & (4 * AHEAD - 1)
            start, entry = ahead[_u(2 * slot)], ahead[_u(2 * slot + 1)]
            message = start + LENGTH_BYTES
            code = _message(state, book, out, place, data, message, row, first_number + number, entry)
            if code != st.DONE:
                place[_MESSAGE], place[_AT] = number, start
                return code
        done += AHEAD
    return st.DONE
