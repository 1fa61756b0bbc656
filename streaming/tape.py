"""A few events written by hand, as the block that an ingester would make of them: for tests of rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from tickloom.clock import NS_PER_MS
from tickloom.events import (
    CONDITION_TEXTS,
    GAP_DTYPE,
    GAP_TEXTS,
    NEWS_DTYPE,
    QUOTE_DTYPE,
    SIDE_TEXTS,
    STATUS_DTYPE,
    STATUS_TEXTS,
    TRADE_DTYPE,
    EventBlock,
    SymbolTable,
    make_seq,
)
from tickloom.prices import nanos_of

SESSION_DATE = date(2024, 8, 8)
START_NS = 1_723_123_800_000_000_000  # 2024-08-08 13:30 UTC, when New York opens


@dataclass(slots=True)
class Tape:
    """Events in the order in which they are written; each is one source message.

    Times are milliseconds behind :data:`START_NS`; prices and sizes are plain numbers or decimal text.
    """

    venue: str = "XNAS"
    symbols: SymbolTable = field(default_factory=SymbolTable)
    messages: int = 0
    _trades: list[tuple[Any, ...]] = field(default_factory=list)
    _quotes: list[tuple[Any, ...]] = field(default_factory=list)
    _statuses: list[tuple[Any, ...]] = field(default_factory=list)
    _gaps: list[tuple[Any, ...]] = field(default_factory=list)
    _news: list[tuple[Any, ...]] = field(default_factory=list)

    def trade(
        self,
        symbol: str,
        at_ms: float,
        price: float | str,
        size: float | str,
        side: str,
        condition: str = "regular",
    ) -> int:
        """Add a trade; returns its seq. side: of the aggressor."""
        head = self._head(symbol, at_ms)
        code = CONDITION_TEXTS.index(condition)
        self._trades.append((*head, nanos_of(price), nanos_of(size), 0, SIDE_TEXTS.index(side), code))
        return int(head[2])

    def quote(
        self,
        symbol: str,
        at_ms: float,
        bid: float | str,
        ask: float | str,
        bid_size: float | str = 500,
        ask_size: float | str = 500,
    ) -> int:
        """Add a best bid and ask; returns its seq. NaN: no price on that side."""
        head = self._head(symbol, at_ms)
        self._quotes.append((*head, nanos_of(bid), nanos_of(bid_size), nanos_of(ask), nanos_of(ask_size), 0))
        return int(head[2])

    def status(self, symbol: str, at_ms: float, status: str, reason: str = "") -> int:
        """Add a trading state; returns its seq. An empty symbol: the venue's own. reason: 8 bytes at most."""
        head = self._head(symbol, at_ms)
        self._statuses.append((*head, STATUS_TEXTS.index(status), reason.encode()))
        return int(head[2])

    def gap(
        self, symbol: str, at_ms: float, first_missing: int, last_missing: int, reason: str = "sequence"
    ) -> int:
        """Add a hole in the feed; returns its seq."""
        head = self._head(symbol, at_ms)
        self._gaps.append((*head, first_missing, last_missing, GAP_TEXTS.index(reason)))
        return int(head[2])

    def news(
        self,
        symbol: str,
        at_ms: float,
        score: float,
        words: int = 1,
        headline: str = "",
        source: str = "",
        age_ms: float = 0,
    ) -> int:
        """Add a story about an instrument of the venue; returns its seq. score: NaN where it has none.
        age_ms: how long before it was published, as its source says."""
        head = self._head(symbol, at_ms)
        story = f"{head[2]:032x}".encode()
        texts = (self.venue.encode(), source.encode(), story, headline.encode(), b"", b"tape/1")
        published = head[0] - round(age_ms * NS_PER_MS)
        self._news.append((*head, *texts, published, words, score))
        return int(head[2])

    def block(self) -> EventBlock:
        """Everything so far."""
        trades = np.array(self._trades, dtype=TRADE_DTYPE)
        quotes = np.array(self._quotes, dtype=QUOTE_DTYPE)
        statuses = np.array(self._statuses, dtype=STATUS_DTYPE)
        gaps = np.array(self._gaps, dtype=GAP_DTYPE)
        session = SESSION_DATE.strftime("%Y%m%d")
        return EventBlock(
            self.venue,
            session,
            self.symbols,
            trades=trades,
            quotes=quotes,
            statuses=statuses,
            gaps=gaps,
            news=np.array(self._news, dtype=NEWS_DTYPE),
        )

    def _head(self, symbol: str, at_ms: float) -> tuple[int, int, int, int]:
        self.messages += 1
        ts_event = START_NS + round(at_ms * NS_PER_MS)
        return ts_event, ts_event, make_seq(SESSION_DATE, self.messages), self.symbols.index(symbol)
