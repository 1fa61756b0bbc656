"""Rows of events and the checks before them: what the DBN kernel puts out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ingest.dbn import state as st
from ingest.dbn.records import UNDEF_PRICE
from tickloom.events import Condition, GapReason, Side, StatusCode
from tickloom.prices import NANOS, NO_PRICE

SIZE_MAX = 4_611_686_018  # whole units; in 1e-9 units it is below 2**62, and survives as a double
BUY, SELL, NONE = int(Side.BUY), int(Side.SELL), int(Side.NONE)
_LOST, _SYNCED = int(StatusCode.BOOK_LOST), int(StatusCode.BOOK_SYNCED)
_REGULAR, _MALFORMED = int(Condition.REGULAR), int(GapReason.MALFORMED)
_NO_PRICE = np.int64(NO_PRICE)
_A, _B = ord("A"), ord("B")


class Event(NamedTuple):
    """What all events of a record share. number: of the record in its file."""

    ts_event: np.int64
    ts_recv: np.int64
    seq: np.int64
    symbol: np.int64
    number: np.int64


@njit(cache=True, nogil=True, forceinline=True)
def aggressor(side):  # type: ignore[no-untyped-def]
    """Side of a trade: A hit the bid, B lifted the offer."""
    if side == _A:
        return SELL
    return BUY if side == _B else NONE


@njit(cache=True, nogil=True, forceinline=True)
def survives(price):  # type: ignore[no-untyped-def]
    """Whether a price is the same after a double has carried it (:mod:`tickloom.prices`)."""
    if -4_194_304 * NANOS <= price <= 4_194_304 * NANOS:
        return True
    back = np.rint(price / 1e9 * 1e9)
    return abs(back) < 9.2e18 and np.int64(back) == price


@njit(cache=True, nogil=True, forceinline=True)
def put_gap(out, event):  # type: ignore[no-untyped-def]
    """A record came that could not be understood, so what it said is missing."""
    row = out.gaps[out.used[st.GAPS]]
    out.used[st.GAPS] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = event.ts_event, event.ts_recv, event.seq, event.symbol
    row.first_missing = row.last_missing = event.number
    row.reason = _MALFORMED


@njit(cache=True, nogil=True, forceinline=True)
def put_book_status(out, event, synced):  # type: ignore[no-untyped-def]
    """BOOK_SYNCED or BOOK_LOST."""
    row = out.statuses[out.used[st.STATUSES]]
    out.used[st.STATUSES] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = event.ts_event, event.ts_recv, event.seq, event.symbol
    row.status = _SYNCED if synced else _LOST


@njit(cache=True, nogil=True, forceinline=True)
def put_trade(state, out, event, price, size, side):  # type: ignore[no-untyped-def]
    """A trade; a gap where it has no price that can be stored."""
    if price == UNDEF_PRICE or not survives(price):
        state.counts[st.C_UNDEFINED if price == UNDEF_PRICE else st.C_PRICE] += 1
        put_gap(out, event)
        return
    if size == 0:
        state.counts[st.C_ZERO] += 1
        return
    row = out.trades[out.used[st.TRADES]]
    out.used[st.TRADES] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = event.ts_event, event.ts_recv, event.seq, event.symbol
    row.price = price
    row.size = size * NANOS
    row.venue_id = 0
    row.side = aggressor(side)
    row.condition = _REGULAR


@njit(cache=True, nogil=True, forceinline=True)
def put_quote(state, out, event, which, bid, bid_size, ask, ask_size, sequence):  # type: ignore[no-untyped-def]
    """A quote, where it differs from the last one; a gap where a price cannot be stored."""
    if bid == UNDEF_PRICE or bid_size == 0:
        bid, bid_size = _NO_PRICE, np.int64(0)
    if ask == UNDEF_PRICE or ask_size == 0:
        ask, ask_size = _NO_PRICE, np.int64(0)
    last = state.instruments[which]
    if (
        bid == last[st.BID_PRICE]
        and bid_size == last[st.BID_SIZE]
        and ask == last[st.ASK_PRICE]
        and ask_size == last[st.ASK_SIZE]
    ):
        return
    if (bid_size > 0 and not survives(bid)) or (ask_size > 0 and not survives(ask)):
        state.counts[st.C_PRICE] += 1
        put_gap(out, event)
        return
    last[st.BID_PRICE], last[st.BID_SIZE], last[st.ASK_PRICE], last[st.ASK_SIZE] = (
        bid,
        bid_size,
        ask,
        ask_size,
    )
    if bid_size > 0 and ask_size > 0 and bid >= ask:
        state.counts[st.C_LOCKED if bid == ask else st.C_CROSSED] += 1
    row = out.quotes[out.used[st.QUOTES]]
    out.used[st.QUOTES] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = event.ts_event, event.ts_recv, event.seq, event.symbol
    row.bid_price = bid
    row.bid_size = bid_size * NANOS
    row.ask_price = ask
    row.ask_size = ask_size * NANOS
    row.venue_id = sequence


@njit(cache=True, nogil=True, forceinline=True)
def put_delta(out, event, side, price, total, venue_id):  # type: ignore[no-untyped-def]
    """A level's new total. side: 0 bid, 1 ask."""
    row = out.deltas[out.used[st.DELTAS]]
    out.used[st.DELTAS] += 1
    row.ts_event, row.ts_recv, row.seq, row.symbol = event.ts_event, event.ts_recv, event.seq, event.symbol
    row.price = price
    row.size = total * NANOS
    row.venue_id = venue_id
    row.side = SELL if side else BUY
