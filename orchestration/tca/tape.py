"""A day's quotes and trades of one instrument in, the market at any moment of it out. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestration.tca.terms import Touch
from tickloom.events import Condition, Records
from tickloom.prices import NO_PRICE


class Tape:
    """Quotes and trades of an instrument, each in order of (ts_event, seq).

    Parameters
    ----------
    quotes, trades : structured arrays
        QUOTE_DTYPE and TRADE_DTYPE. Trades that were taken back are reports, no trades.
    last_ns : int
        Event time of the venue's last event of the day: what is later is not known.
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
        self._trades = traded
        self._trade_ts: NDArray[np.int64] = np.ascontiguousarray(traded["ts_event"])

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
        rows = self._trades[start:stop]
        # whole numbers without a bound: a day's value in 1e-18 is beyond 64 bits
        value = sum(int(price) * int(size) for price, size in zip(rows["price"], rows["size"], strict=True))
        return int(rows["size"].sum()), value

    def vwap(self, from_ns: int, to_ns: int) -> tuple[int | None, int]:
        """(volume-weighted average price rounded to the nearest nano, volume) of an interval; None: nothing
        traded."""
        volume, value = self.traded(from_ns, to_ns)
        return ((2 * value + volume) // (2 * volume) if volume else None), volume

    @property
    def close(self) -> int | None:
        """The day's last price, the closing cross where there is one; nanos."""
        return int(self._trades["price"][-1]) if len(self._trades) else None
