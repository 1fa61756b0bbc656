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

import numpy as np
from numpy.typing import NDArray

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
    M_HALTED,
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
    suspects = _past(book)
    found = [
        breach
        for level, name in (_levels(book) if suspects.any() else [])
        if suspects[book.row(level, name)]
        for breach in _of_row(book, level, name)
    ]
    for one in levels:
        level = Level.STRATEGY if one.name else Level.FIRM
        limit = int(book.limits[book.row(level, one.name), K_VAR])
        value = round(one.parametric.var * NANOS)
        if value > limit:
            found.append(Breach(BreachKind.VAR, level, one.name, value, limit))
    return found + list(_silent(book, now_ns)) + list(_lost(book, set(lost_venues)))


def _levels(book: RiskBook) -> list[tuple[Level, str]]:
    found = [(Level.FIRM, "")]
    found += [(Level.STRATEGY, name) for name in book.strategies if name]
    return found + [(Level.INSTRUMENT, " ".join(key)) for key in book.keys]


def _past(book: RiskBook) -> NDArray[np.bool_]:
    """Which rows are past any limit: all of them at once, since this is asked ten times a second."""
    held = np.abs(book.cells[:, :, C_POSITION])
    largest = np.zeros(len(book.rows), np.int64)
    largest[0] = held[0].max()
    largest[1 : 1 + book.count] = held[0]
    largest[1 + book.count : book.count + len(held)] = held[1:].max(axis=1)
    loss = book.rows[:, R_DAY_START] - book.rows[:, R_PNL]
    found: NDArray[np.bool_] = loss > book.limits[:, K_DAILY_LOSS]
    found |= loss + book.rows[:, R_BEST] > book.limits[:, K_DRAWDOWN]
    found |= largest > book.limits[:, K_POSITION]
    return found


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


def _exposed(book: RiskBook) -> NDArray[np.bool_]:
    """By instrument: something is held or open."""
    found: NDArray[np.bool_] = book.cells[0, : len(book.keys)][:, [C_POSITION, C_OPEN_BUY, C_OPEN_SELL]].any(
        axis=1
    )
    return found


def _silent(book: RiskBook, now_ns: int) -> Iterator[Breach]:
    size = len(book.keys)
    ages, limits = now_ns - book.market.rows[:size, M_FEED_TS], book.limits[1 : 1 + size, K_FEED_AGE]
    open_now = book.market.rows[:size, M_HALTED] == 0  # a closed venue is silent by right
    for place in np.flatnonzero((ages > limits) & _exposed(book) & open_now):
        name = " ".join(book.keys[place])
        yield Breach(BreachKind.DEAD_FEED, Level.INSTRUMENT, name, int(ages[place]), int(limits[place]))


def _lost(book: RiskBook, venues: set[str]) -> Iterator[Breach]:
    for place in np.flatnonzero(_exposed(book)) if venues else ():
        if book.keys[place][0] in venues:
            yield Breach(BreachKind.LOST_VENUE, Level.INSTRUMENT, " ".join(book.keys[place]), 0, 0)
