"""A limits file in, the gate's table of limits out: one row a level, one column a check.

Besides, what checks need to know of a level or an instrument (windows, margins, lists) goes to its row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from execution.limits.file import Limits
from execution.limits.tables import LevelLimits
from execution.risk.arithmetic import RATIO_PER_BPS, UNLIMITED
from execution.risk.checks import SPECS, Level, Unit
from execution.risk.layout import (
    C_RESTRICTED,
    CHECKS,
    K_LOCATE,
    K_LOT,
    K_REPEAT,
    K_SELF_TRADE,
    K_SHORT_SALE,
    R_IDENTICAL_NS,
    R_RATIO_FROM,
    R_RESTRICTED,
    R_UNKNOWN,
    R_WINDOW_NS,
    S_ESTIMATED,
    S_MARGIN_BPS,
    S_SHORT_RESTRICTED,
    S_VOLUME_NS,
)
from execution.risk.market_table import Key
from tickloom.clock import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from execution.risk.book import RiskBook

Table = NDArray[np.int64]
_SCALES = {Unit.TIME: NS_PER_MS, Unit.RATIO: RATIO_PER_BPS}


def empty(rows: int) -> Table:
    """No limits, but those that are always there: switches, and whole lots. int64 (rows, CHECKS)."""
    table = np.full((rows, CHECKS), UNLIMITED, np.int64)
    for place, spec in enumerate(SPECS):
        if spec.unit is Unit.SWITCH:
            table[:, place] = 0
    table[:, K_LOT] = 0
    return table


def build(book: RiskBook, limits: Limits) -> Table:
    """The table of all levels of ``book``; parameters are written to its rows, lists to its cells."""
    table = empty(len(book.rows))
    book.rows[0, R_IDENTICAL_NS] = limits.firm.identical_window_ms * NS_PER_MS
    _level(book, table, 0, limits.firm, Level.FIRM)
    table[0, K_SELF_TRADE] = UNLIMITED if limits.firm.self_trade_allowed else 0
    book.cells[:, :, C_RESTRICTED] = 0
    _restrict(book, 0, limits.firm.restricted)
    for name, k in book.strategies.items():
        _rule(book, table, limits, name, k)
    for place, key in enumerate([*book.keys, ("", "")]):
        _instrument(book, table, limits, place, key)
    quantile = NormalDist().inv_cdf(limits.firm.var_confidence_bps / 10_000)
    book.sigma[book.count] = quantile * math.sqrt(limits.firm.var_horizon_days)
    return table


def _rule(book: RiskBook, table: Table, limits: Limits, name: str, k: int) -> None:
    rule, row = limits.rules.get(name), book.count + k
    book.rows[row, R_UNKNOWN] = 0 if rule is not None and rule.enabled else 1
    if rule is None:
        return
    _level(book, table, row, rule, Level.STRATEGY)
    table[row, K_SELF_TRADE] = UNLIMITED if rule.self_trade_allowed else 0
    if rule.repeat_ms_min:
        table[row, K_REPEAT] = -rule.repeat_ms_min * NS_PER_MS
    _restrict(book, k, rule.restricted)


def _instrument(book: RiskBook, table: Table, limits: Limits, place: int, key: Key) -> None:
    own, row, static = limits.instrument(*key), 1 + place, book.static[place]
    book.rows[row, R_UNKNOWN] = int(place in book.unknown)
    book.rows[row, R_RESTRICTED] = int(own.restricted)
    _level(book, table, row, own, Level.INSTRUMENT)
    table[row, K_LOCATE] = own.located if own.locate_required else UNLIMITED
    table[row, K_SHORT_SALE] = -1  # at least one unit above the bid
    static[S_MARGIN_BPS] = own.margin_bps
    static[S_SHORT_RESTRICTED] = int(own.short_sale_restricted)
    static[S_VOLUME_NS] = limits.firm.volume_window_s * NS_PER_S
    if not static[S_ESTIMATED]:
        book.sigma[place] = own.volatility_bps / 10_000


def _level(book: RiskBook, table: Table, row: int, own: LevelLimits, level: Level) -> None:
    book.rows[row, R_WINDOW_NS] = own.message_window_ms * NS_PER_MS
    book.rows[row, R_RATIO_FROM] = own.order_to_trade_from
    for place, spec in enumerate(SPECS):
        if level not in spec.levels or not spec.key.endswith(("_max", "_bps", "power")):
            continue
        limit = getattr(own, spec.key)
        if limit is not None:
            table[row, place] = limit * _SCALES.get(spec.unit, 1)


def _restrict(book: RiskBook, k: int, names: Iterable[str]) -> None:
    for name in names:
        venue, _, symbol = name.partition(".")
        book.cells[k, book.index[(venue, symbol)], C_RESTRICTED] = 1
