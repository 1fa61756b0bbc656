"""Quotes, trades and orders for cost tests, written down by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestration.tca.tape import EventClock, Tape
from orchestration.tca.terms import Fill, Parent
from tickloom.events import QUOTE_DTYPE, TRADE_DTYPE, Condition, Records
from tickloom.prices import NANOS, NO_PRICE, parse_nanos

T0 = 1_757_946_600_000_000_000  # 2025-09-15T14:30:00Z, by the venue's clock
OWN = 5_000_000_000_000  # how far our clock is ahead: the session is replayed
S = 1_000_000_000


def nanos(text: str) -> int:
    return parse_nanos(text) if text else NO_PRICE


def quotes_of(rows: Sequence[tuple[float, str, str]], symbol: int = 1, delay_ns: int = 1_000_000) -> Records:
    """(seconds behind T0, bid, ask) each; received ``delay_ns`` later by our clock."""
    found = np.zeros(len(rows), dtype=QUOTE_DTYPE)
    for place, (second, bid, ask) in enumerate(rows):
        ts = T0 + round(second * S)
        size = 100 * NANOS
        found[place] = (
            ts, ts + OWN + delay_ns, 1 + place, symbol, nanos(bid), size, nanos(ask), size, 0,
        )  # fmt: skip
    return found


def trades_of(
    rows: Sequence[tuple[float, str, int]], condition: Condition = Condition.REGULAR, symbol: int = 1
) -> Records:
    """(seconds behind T0, price, size) each."""
    found = np.zeros(len(rows), dtype=TRADE_DTYPE)
    for place, (second, price, size) in enumerate(rows):
        ts = T0 + round(second * S)
        found[place] = (ts, ts + OWN, 1_000 + place, symbol, nanos(price), size * NANOS, 0, 1, condition)
    return found


def tape_of(
    quotes: Sequence[tuple[float, str, str]],
    trades: Sequence[tuple[float, str, int]] = (),
    last_s: float = 3_600,
) -> Tape:
    return Tape(quotes_of(quotes), trades_of(trades), T0 + round(last_s * S))


def clock_of(seconds: int) -> EventClock:
    """A venue that sends something every second, which is received at once."""
    events = T0 + np.arange(seconds, dtype=np.int64) * S
    return EventClock(events + OWN, events)


def fill_of(
    second: float,
    quantity: int,
    price: str,
    fee: str = "0",
    liquidity: str = "removed",
    destination: str = "XNAS",
    number: str = "",
) -> Fill:
    ts = T0 + round(second * S)
    identity = number or f"E{second}-{quantity}-{price}"
    return Fill(
        *(identity, "child", destination, nanos(price), quantity * NANOS, nanos(fee), liquidity, ts, ts + OWN)
    )


def parent_of(
    side: str,
    quantity: int,
    fills: Sequence[Fill],
    signal_s: float = 0,
    sent_s: float = 1,
    ended_s: float = 100,
    symbol: str = "ALFA",
) -> Parent:
    """Signal and sending in seconds behind T0; what is of our clock is put there."""
    return Parent(
        order_id="PARENT",
        signal_id="signal",
        rule="probe",
        venue="XNAS",
        symbol=symbol,
        side=side,
        quantity=quantity * NANOS,
        ts_signal=T0 + round(signal_s * S),
        ts_sent=T0 + OWN + round(sent_s * S),
        ts_ended=T0 + OWN + round(ended_s * S),
        state="cancelled",
        fills=tuple(fills),
    )
