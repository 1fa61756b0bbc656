"""A day's quotes and trades of one instrument in, the market at any moment of it out. Pure."""

from __future__ import annotations

from itertools import accumulate
from operator import mul

import numpy as np
from numpy.typing import NDArray

from orchestration.tca.terms import Touch
from tickloom.events import Condition, Records
from tickloom.prices import NO_PRICE


class EventClock:
    """The venue's time by ours: what event time a venue's data had reached when.

    Parameters
    ----------
    received, events : int64 arrays
        Receive times (ns, our clock) with the latest event time of what was received by then; in any order.
    """

    def __init__(self, received: NDArray[np.int64], events: NDArray[np.int64]) -> None:
        order = np.argsort(received, kind="stable")
        self._received = received[order]
        self._events = np.maximum.accumulate(events[order]) if len(order) else events

    def at(self, ts_recv: int) -> int:
        """Event time, ns; 0 before anything was received."""
        place = int(np.searchsorted(self._received, ts_recv, side="right")) - 1
        return int(self._events[place]) if place >= 0 else 0


class Tape:
    """Quotes and trades of an instrument, each in order of (ts_event, seq).

    Parameters
    ----------
    quotes, trades : structured arrays
        QUOTE_DTYPE and TRADE_DTYPE. Trades that were taken back are reports, no trades.
    last_ns : int
        Event time of the venue's last event of the day: what is later is not known.

    Attributes
    ----------
    close : int or None
        The day's last price, the closing cross where there is one; nanos.
    """

    def __init__(self, quotes: Records, trades: Records, last_ns: int) -> None:
        self._quotes = quotes
        self.last_ns = last_ns
        self._quote_ts: NDArray[np.int64] = np.ascontiguousarray(quotes["ts_event"])
        # a quote may be received before one that is older: known by then is the newest of all that came
        order = np.argsort(quotes["ts_recv"], kind="stable")
        self._recv: NDArray[np.int64] = quotes["ts_recv"][order]
        self._newest = np.maximum.accumulate(order) if len(order) else order
        traded = trades[(trades["condition"] != Condition.BROKEN) & (trades["size"] > 0)]
        self._trade_ts: NDArray[np.int64] = np.ascontiguousarray(traded["ts_event"])
        self.close = int(traded["price"][-1]) if len(traded) else None
        # sums up to each trade, so that an interval costs two look-ups; Python's whole numbers, because a
        # day's value in 1e-18 is beyond 64 bits
        prices, sizes = traded["price"].tolist(), traded["size"].tolist()
        self._volumes = list(accumulate(sizes, initial=0))
        self._values = list(accumulate(map(mul, prices, sizes), initial=0))

    def at(self, ts: int) -> Touch | None:
        """The quote that stood at an event time; None before the first, behind the day's last event, or
        where a side was missing or the book crossed."""
        if ts > self.last_ns:
            return None
        return self._touch(int(np.searchsorted(self._quote_ts, ts, side="right")) - 1)

    def received_by(self, ts_recv: int) -> Touch | None:
        """The newest quote that had been received at a time of our clock."""
        place = int(np.searchsorted(self._recv, ts_recv, side="right")) - 1
        return self._touch(int(self._newest[place])) if place >= 0 else None

    def _touch(self, place: int) -> Touch | None:
        if place < 0:
            return None
        quote = self._quotes[place]
        bid, ask = int(quote["bid_price"]), int(quote["ask_price"])
        if NO_PRICE in (bid, ask) or bid > ask:
            return None
        return Touch(bid, ask, int(quote["ts_event"]))

    def traded(self, from_ns: int, to_ns: int) -> tuple[int, int]:
        """(volume in nanos, value in units of 1e-18) of the trades in [from_ns, to_ns]."""
        start, stop = np.searchsorted(self._trade_ts, [from_ns, to_ns + 1])
        return self._volumes[stop] - self._volumes[start], self._values[stop] - self._values[start]

    def vwap(self, from_ns: int, to_ns: int) -> tuple[int | None, int]:
        """(volume-weighted average price rounded to the nearest nano, volume) of an interval; None: nothing
        traded."""
        volume, value = self.traded(from_ns, to_ns)
        return ((2 * value + volume) // (2 * volume) if volume else None), volume
