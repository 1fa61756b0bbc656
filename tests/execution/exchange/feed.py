"""Writes a feed for the exchange's core: prices in cents, sizes in shares; seq and time count up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from execution.exchange.matching import MatchingEngine, Outcome
from execution.venues import ReportType
from tickloom.events import (
    DELTA_DTYPE,
    QUOTE_DTYPE,
    STATUS_DTYPE,
    TRADE_DTYPE,
    Condition,
    EventBlock,
    OrderState,
    Side,
    StatusCode,
    SymbolTable,
)
from tickloom.instruments import Registry
from tickloom.prices import NANOS

CENT = NANOS // 100
REGISTRY = Registry.load()


class Market:
    """The feed of XNAS, of one stock."""

    def __init__(self, engine: MatchingEngine) -> None:
        self.engine, self.seq, self.session = engine, 0, "20261121.A"

    def _block(self, **kinds: object) -> Outcome:
        symbols = SymbolTable(["ALFA"])
        return self.engine.apply(EventBlock("XNAS", self.session, symbols, **kinds), 0)  # type: ignore[arg-type]

    def _head(self, symbol: int = 1, seq: int | None = None) -> tuple[int, int, int, int]:
        if seq is None:
            self.seq += 1
            seq = self.seq
        return (seq * 1_000, seq * 1_000, seq, symbol)

    def level(self, side: Side, cents: int, shares: int, seq: int | None = None) -> Outcome:
        """A level's new size; ``seq``: of the message that a trade has been told of."""
        row = (*self._head(seq=seq), cents * CENT, shares * NANOS, 0, side)
        return self._block(deltas=np.array([row], dtype=DELTA_DTYPE))

    def quote(self, bid: int, bid_size: int, ask: int, ask_size: int) -> Outcome:
        row = (*self._head(), bid * CENT, bid_size * NANOS, ask * CENT, ask_size * NANOS, 0)
        return self._block(quotes=np.array([row], dtype=QUOTE_DTYPE))

    def trade(
        self,
        cents: int,
        shares: int,
        condition: Condition = Condition.REGULAR,
        aggressor: Side = Side.BUY,
        seq: int | None = None,
    ) -> Outcome:
        row = (*self._head(seq=seq), cents * CENT, shares * NANOS, 0, aggressor, condition)
        return self._block(trades=np.array([row], dtype=TRADE_DTYPE))

    def trades(self, cents: int, sizes: Sequence[int], aggressor: Side) -> Outcome:
        """Several trades of one price in one block."""
        rows = [
            (*self._head(), cents * CENT, shares * NANOS, 0, aggressor, Condition.REGULAR) for shares in sizes
        ]
        return self._block(trades=np.array(rows, dtype=TRADE_DTYPE))

    def status(self, code: StatusCode, symbol: int = 1) -> Outcome:
        return self._block(statuses=np.array([(*self._head(symbol), code, b"")], dtype=STATUS_DTYPE))


def told(outcome: Outcome) -> list[tuple[ReportType, OrderState, int, int]]:
    """(type, state, last shares, last cents) of each report."""
    return [
        (report.report_type, report.state, report.last_quantity // NANOS, report.last_price // CENT)
        for _, report in outcome.reports
    ]


def fills(outcome: Outcome) -> list[tuple[str, int, int]]:
    """(order, shares, cents) of each execution."""
    return [
        (report.order_id, report.last_quantity // NANOS, report.last_price // CENT)
        for _, report in outcome.reports
        if report.report_type is ReportType.TRADE
    ]
