"""The book and its limits in, breaches by what is held already out. Pure.

A limit that refuses an order is no breach: nothing happened. A breach is a limit that the *present* state is
past, by a fill, a price, or a silence, so that somebody has to act. The limits are those of the gate; at
the limit there is no breach, one unit past it there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from execution.risk.arithmetic import UNLIMITED
from execution.risk.checks import Level
from execution.risk.layout import (
    C_OPEN_BUY,
    C_OPEN_SELL,
    C_POSITION,
    K_DAILY_LOSS,
    K_DRAWDOWN,
    K_FEED_AGE,
    K_POSITION,
    K_VAR,
    M_FEED_TS,
    R_BEST,
    R_DAY_START,
    R_PNL,
)
from tickloom.prices import NANOS, format_nanos

if TYPE_CHECKING:
    from execution.risk.book import RiskBook
    from execution.valuation.engine import LevelRisk


class BreachKind(StrEnum):
    """The names of the tables ``[breach.KIND]`` in the limits file."""

    LOSS = "loss"
    DRAWDOWN = "drawdown"
    VAR = "var"
    POSITION = "position"
    DEAD_FEED = "dead_feed"
    LOST_VENUE = "lost_venue"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Breach:
    """name: a rule, "VENUE SYMBOL", or "" for the firm. value, limit: nanos, or ns of a dead feed."""

    kind: BreachKind
    level: Level
    name: str
    value: int
    limit: int

    @property
    def scope(self) -> tuple[BreachKind, Level, str]:
        """What makes it the same breach as one before."""
        return (self.kind, self.level, self.name)

    @property
    def text(self) -> str:
        """``loss of firm: 500.01, limit 500``."""
        where = self.name or "firm"
        if self.kind is BreachKind.OPERATOR:
            return f"taken down by request: {where}"
        if self.kind is BreachKind.LOST_VENUE:
            return f"no session with the venue of {where}"
        return f"{self.kind} of {where}: {format_nanos(self.value)}, limit {format_nanos(self.limit)}"


def detect(
    book: RiskBook, levels: Iterable[LevelRisk], now_ns: int, lost_venues: Iterable[str] = ()
) -> list[Breach]:
    """All that is breached now.

    Parameters
    ----------
    levels : iterable of LevelRisk
        Value at risk as it was last computed.
    lost_venues : iterable of str
        Venues without a session for longer than they may be.
    """
    rows = [(Level.FIRM, "")]
    rows += [(Level.STRATEGY, name) for name in book.strategies if name]
    rows += [(Level.INSTRUMENT, " ".join(key)) for key in book.keys]
    found = [breach for level, name in rows for breach in _of_row(book, level, name)]
    for one in levels:
        level = Level.STRATEGY if one.name else Level.FIRM
        limit = int(book.limits[book.row(level, one.name), K_VAR])
        value = round(one.parametric.var * NANOS)
        if value > limit:
            found.append(Breach(BreachKind.VAR, level, one.name, value, limit))
    return found + list(_silent(book, now_ns)) + list(_lost(book, set(lost_venues)))


def _of_row(book: RiskBook, level: Level, name: str) -> Iterator[Breach]:
    place = book.row(level, name)
    row, limits = book.rows[place], book.limits[place]
    loss = int(row[R_DAY_START] - row[R_PNL])
    for kind, check, value in (
        (BreachKind.LOSS, K_DAILY_LOSS, loss),
        (BreachKind.DRAWDOWN, K_DRAWDOWN, int(row[R_BEST]) + loss),
    ):
        if value > limits[check]:
            yield Breach(kind, level, name, value, int(limits[check]))
    if limits[K_POSITION] == UNLIMITED:
        return
    k = book.strategies[name] if level is Level.STRATEGY else 0
    cells = book.cells[k, :, C_POSITION]
    if level is Level.INSTRUMENT:
        cells = cells[place - 1 : place]
    largest = int(abs(cells).max(initial=0))
    if largest > limits[K_POSITION]:
        yield Breach(BreachKind.POSITION, level, name, largest, int(limits[K_POSITION]))


def _exposed(book: RiskBook, place: int) -> bool:
    return bool(book.cells[0, place, [C_POSITION, C_OPEN_BUY, C_OPEN_SELL]].any())


def _silent(book: RiskBook, now_ns: int) -> Iterator[Breach]:
    for place, key in enumerate(book.keys):
        limit = int(book.limits[1 + place, K_FEED_AGE])
        age_ns = now_ns - int(book.market.rows[place, M_FEED_TS])
        if age_ns > limit and _exposed(book, place):
            yield Breach(BreachKind.DEAD_FEED, Level.INSTRUMENT, " ".join(key), age_ns, limit)


def _lost(book: RiskBook, venues: set[str]) -> Iterator[Breach]:
    for place, key in enumerate(book.keys):
        if key[0] in venues and _exposed(book, place):
            yield Breach(BreachKind.LOST_VENUE, Level.INSTRUMENT, " ".join(key), 0, 0)
