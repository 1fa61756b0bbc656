"""Orders, fills, quotes and limits in; the arrays that the gate reads, always up to date, out.

Everything that changes the gate's state goes through here, on the agent's thread. An order holds what it
may still fill (``OrderRecord.leaves``, so an UNKNOWN one in full) from the moment it is reserved until its
record is terminal; telling the same record twice changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from execution.limits.file import Limits
from execution.limits.tables import INSTRUMENT_MESSAGES_MAX, MESSAGES_MAX
from execution.orders import OrderRecord
from execution.risk import exposure, limit_rows
from execution.risk.checks import Check, Level
from execution.risk.layout import (
    C_OPEN_BUY,
    C_OPEN_SELL,
    C_OWN_ASK,
    C_OWN_BID,
    C_POSITION,
    CELL_COLUMNS,
    IDENTICAL_COLUMNS,
    IDENTICAL_ORDERS,
    NO_ASK,
    R_BEST,
    R_DAY_START,
    R_ENTRY_OFF,
    R_HALTED,
    R_MESSAGES,
    R_OPEN_ORDERS,
    R_PNL,
    R_REDUCE_ONLY,
    R_RING,
    R_RING_COUNT,
    R_RING_SIZE,
    R_TRADES,
    R_UNKNOWN,
    ROW_COLUMNS,
    S_ESTIMATED,
    S_LOT,
    S_MARK,
    STATIC_COLUMNS,
)
from execution.risk.market_table import Key, MarketTable
from tickloom.errors import LimitsError
from tickloom.events import Execution
from tickloom.instruments import Registry

Floats = NDArray[np.float64]
_RING = MESSAGES_MAX + 240
_INSTRUMENT_RING = INSTRUMENT_MESSAGES_MAX + 24
_UNKNOWN_STRATEGY = 1
_STRATEGIES_SPARE = 16


@dataclass(frozen=True, slots=True)
class DayMark:
    """What a level's figures of the day are measured from: nanos. name: a rule, "VENUE SYMBOL", or ""."""

    level: Level
    name: str
    day_start: int
    best: int


@dataclass(slots=True)
class _Open:
    k: int
    i: int
    buys: bool
    leaves: int
    price: int
    rests: bool  # an IOC, a FOK or a market order never stands in the book: nothing can meet it there


class RiskBook:
    """The gate's state. Not thread-safe, but for ``market``, which the feed's thread fills.

    Parameters
    ----------
    also : iterable of (venue, symbol)
        Instruments that are held and that the registry does not know any more.
    """

    def __init__(self, registry: Registry, limits: Limits, also: Iterable[Key] = ()) -> None:
        known = list(registry.instruments)
        self.keys: list[Key] = [
            *known,
            *(key for key in dict.fromkeys(also) if key not in registry.instruments),
        ]
        self.unknown = set(range(len(known), len(self.keys) + 1))
        self.market = MarketTable(self.keys)
        self.index = self.market.index
        count = self.count = len(self.keys) + 1  # the last one stands for what is not known
        strategies = 1 + _UNKNOWN_STRATEGY + len(limits.rules) + _STRATEGIES_SPARE
        self.rows = np.zeros((1 + count + strategies, ROW_COLUMNS), np.int64)
        self.cells = np.zeros((strategies, count, CELL_COLUMNS), np.int64)
        self.cells[:, :, C_OWN_ASK] = NO_ASK
        self.static = np.zeros((count, STATIC_COLUMNS), np.int64)
        self.identical = np.zeros((count, IDENTICAL_ORDERS, IDENTICAL_COLUMNS), np.int64)
        self.sigma: Floats = np.zeros(count + 1)
        self.covariance: Floats = np.zeros((count, count))
        self.risk: Floats = np.zeros((strategies, count + 1))
        self.strategies: dict[str, int] = {"": _UNKNOWN_STRATEGY}
        self.why: dict[tuple[Check, Level, str], str] = {}
        self._orders: dict[str, _Open] = {}
        self._by_cell: dict[tuple[int, int], dict[str, _Open]] = {}
        self._identical_count = np.zeros(count, np.int64)
        self._marked_version = -1
        self._rings()
        for place, key in enumerate(known):
            self.static[place, S_LOT] = registry.instruments[key].lot
        self._apply(limits)

    def _rings(self) -> None:
        sizes = np.full(len(self.rows), _RING, np.int64)
        sizes[1 : 1 + self.count] = _INSTRUMENT_RING
        self.rows[:, R_RING_SIZE] = sizes
        self.rows[:, R_RING] = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        self.stamps = np.zeros(int(sizes.sum()), np.int64)

    # --- limits --------------------------------------------------------------------------------

    def apply_limits(self, limits: Limits) -> None:
        """Put other limits in force, all at once.

        Raises
        ------
        LimitsError
            They are older than those in force: revisions only grow.
        """
        if limits.revision < self.limits_file.revision or (
            limits.revision == self.limits_file.revision and limits.digest != self.limits_file.digest
        ):
            raise LimitsError(
                f"limits revision {limits.revision} ({limits.digest}) does not follow revision "
                f"{self.limits_file.revision} ({self.limits_file.digest}), which stays in force; change "
                f"limits with `tickloom risk limits`, or write a higher revision"
            )
        self._apply(limits)

    def _apply(self, limits: Limits) -> None:
        self.limits_file = limits
        for name in limits.rules:
            self.strategy(name)
        self.limits = limit_rows.build(self, limits)
        self._gather()
        self.mark(again=True)

    def _gather(self) -> None:
        """``arrays``: what the gate's kernel reads, in its order. Called when one of them is another."""
        self.arrays = (
            *(self.rows, self.limits, self.cells, self.static, self.market.rows, self.market.volumes),
            *(self.stamps, self.identical, self.sigma, self.risk),
        )
        # for an order that is a part of another: that one was looked at for identical ones
        self.part_arrays = tuple(
            np.zeros_like(array) if array is self.identical else array for array in self.arrays
        )

    # --- switches ------------------------------------------------------------------------------

    def row(self, level: Level, name: str = "") -> int:
        """Where a level's row is. name: a rule, "VENUE SYMBOL", or "" for the firm."""
        if level is Level.FIRM:
            return 0
        if level is Level.STRATEGY:
            return self.count + self.strategy(name)
        venue, _, symbol = name.partition(" ")
        return 1 + self.index.get((venue, symbol), self.count - 1)

    def set_order_entry(self, enabled: bool) -> None:
        """Live order entry on or off."""
        self.rows[0, R_ENTRY_OFF] = int(not enabled)

    def halt(self, why: str | None, level: Level = Level.FIRM, name: str = "") -> None:
        """The kill switch of a level; ``why`` None releases it."""
        self.rows[self.row(level, name), R_HALTED] = int(why is not None)
        self.why[(Check.KILL_SWITCH, level, name)] = why or ""

    def reduce_only(self, why: str | None, level: Level = Level.FIRM, name: str = "") -> None:
        """Refuse what would not reduce a position of that level; ``why`` None releases it."""
        self.rows[self.row(level, name), R_REDUCE_ONLY] = int(why is not None)
        self.why[(Check.REDUCE_ONLY, level, name)] = why or ""

    def stopped(self, level: Level, name: str = "") -> bool:
        """Whether a level is on reduce-only."""
        return bool(self.rows[self.row(level, name), R_REDUCE_ONLY])

    def strategy(self, name: str) -> int:
        """The number of a rule, which gets one if it is new."""
        found = self.strategies.get(name)
        if found is None:
            found = len(self.strategies) + 1
            if found >= len(self.cells):
                self._grow()
            self.strategies[name] = found
            self.rows[self.count + found, R_UNKNOWN] = 1
        return found

    def _grow(self) -> None:
        """Room for as many strategies again; what stands in the arrays keeps its place."""
        more = len(self.cells)
        rows = np.zeros((more, ROW_COLUMNS), np.int64)
        rows[:, R_RING_SIZE] = _RING
        rows[:, R_RING] = len(self.stamps) + np.arange(more) * _RING
        self.rows = np.concatenate((self.rows, rows))
        self.stamps = np.concatenate((self.stamps, np.zeros(more * _RING, np.int64)))
        cells = np.zeros((more, self.count, CELL_COLUMNS), np.int64)
        cells[:, :, C_OWN_ASK] = NO_ASK
        self.cells = np.concatenate((self.cells, cells))
        self.risk = np.concatenate((self.risk, np.zeros((more, self.count + 1))))
        if hasattr(self, "limits"):
            self.limits = np.concatenate((self.limits, limit_rows.empty(more)))
            self._gather()

    # --- quotes --------------------------------------------------------------------------------

    def mark(self, again: bool = False) -> None:
        """Mark what was quoted since the last time; costs nothing where nothing was."""
        version = self.market.version
        if version == self._marked_version and not again:
            return
        self._marked_version = version
        exposure.mark_all(self.rows, self.cells, self.static, self.market.rows, self.sigma, again)

    def set_mark(self, venue: str, symbol: str, mid: int) -> None:
        """A mid (nanos) from before a restart, until there is a quote."""
        place = self.index.get((venue, symbol))
        if place is not None:
            self.static[place, S_MARK] = 2 * mid
            self.mark(again=True)

    # --- orders and fills ----------------------------------------------------------------------

    def on_order(self, order: OrderRecord) -> None:
        """Hold what ``order`` may still fill, and no more."""
        held = self._orders.get(order.order_id)
        leaves = order.leaves
        if held is None:
            if leaves:
                self._open(order, leaves)
            return
        if leaves != held.leaves:
            self._hold(held, leaves - held.leaves)
        if not leaves:
            del self._orders[order.order_id]
            self._count_open(held, -1)
        if not leaves or order.limit_price != held.price:
            held.price = order.limit_price
            for k in (0, held.k):
                if not leaves:
                    self._by_cell[(k, held.i)].pop(order.order_id, None)
                self._own_touch(k, held.i)

    def _open(self, order: OrderRecord, leaves: int) -> None:
        k, i = self.strategy(order.rule), self.index.get((order.venue, order.symbol), self.count - 1)
        held = self._orders[order.order_id] = _Open(
            k, i, order.side == "buy", 0, order.limit_price, _rests(order)
        )
        self._hold(held, leaves)
        self._count_open(held, 1)
        for cell in (0, k):
            self._by_cell.setdefault((cell, i), {})[order.order_id] = held
            self._own_touch(cell, i)

    def _hold(self, held: _Open, change: int) -> None:
        held.leaves += change
        buys, sells = (change, 0) if held.buys else (0, change)
        for k in (0, held.k):
            exposure.set_open(self.rows, self.cells, self.static, self.sigma, k, held.i, buys, sells)

    def _count_open(self, held: _Open, change: int) -> None:
        for place in (0, 1 + held.i, self.count + held.k):  # an index by a list takes ten times as long
            self.rows[place, R_OPEN_ORDERS] += change

    def _own_touch(self, k: int, i: int) -> None:
        bid, ask = 0, NO_ASK
        for one in self._by_cell[(k, i)].values():
            if not one.rests:
                continue
            if one.buys:
                bid = max(bid, one.price)
            else:
                ask = min(ask, one.price)
        self.cells[k, i, C_OWN_BID], self.cells[k, i, C_OWN_ASK] = bid, ask

    def on_message(self, rule: str, venue: str, symbol: str, now_ns: int) -> None:
        """Count one message to a venue: a new order, a cancel, a replace."""
        i = self.index.get((venue, symbol), self.count - 1)
        for place in (0, 1 + i, self.count + self.strategy(rule)):
            row = self.rows[place]
            at, size, count = int(row[R_RING]), int(row[R_RING_SIZE]), int(row[R_RING_COUNT])
            last = int(self.stamps[at + (count - 1) % size]) if count else now_ns
            self.stamps[at + count % size] = max(now_ns, last)  # a wall clock may step back, the ring not
            row[R_RING_COUNT] += 1
            row[R_MESSAGES] += 1

    def on_sent(self, order: OrderRecord, now_ns: int) -> None:
        """Count a new order as a message, and remember it for the check of identical ones."""
        self.on_message(order.rule, order.venue, order.symbol, now_ns)
        self.on_accepted(order, now_ns)

    def on_accepted(self, order: OrderRecord, now_ns: int) -> None:
        """Remember an order for the check of identical ones; its messages are those of its parts."""
        i = self.index.get((order.venue, order.symbol), self.count - 1)
        place = int(self._identical_count[i]) % IDENTICAL_ORDERS
        sign = 1 if order.side == "buy" else -1
        price, k = order.limit_price, self.strategy(order.rule)
        self.identical[i, place] = (now_ns, sign, order.quantity, price, k)
        self._identical_count[i] += 1

    def on_fill(self, rule: str, execution: Execution, fee: int = 0, sign: int = 1) -> None:
        """Take a fill, or with ``sign`` -1 take a busted one back. fee: nanos, negative for a rebate."""
        i = self.index.get((execution.venue, execution.symbol), self.count - 1)
        k, side = self.strategy(rule), 1 if execution.side == "buy" else -1
        for cell in (0, k):
            exposure.book_fill(
                *(self.rows, self.cells, self.static, self.sigma, cell, i),
                *(sign * side, execution.quantity, execution.price, sign * fee),
            )
            value = sign * side * execution.quantity * 1e-9 * (self.static[i, S_MARK] * 0.5e-9)
            exposure.move_variance(self.risk, self.covariance, cell, i, value)
        for place in (0, 1 + i, self.count + k):
            self.rows[place, R_TRADES] += sign

    # --- the day -------------------------------------------------------------------------------

    def day_marks(self) -> list[DayMark]:
        """Of the firm and of all that traded, for the journal."""
        found = [DayMark(Level.FIRM, "", int(self.rows[0, R_DAY_START]), int(self.rows[0, R_BEST]))]
        names = [(Level.STRATEGY, name) for name in self.strategies if name]
        names += [(Level.INSTRUMENT, " ".join(key)) for key in self.keys]
        for level, name in names:
            row = self.rows[self.row(level, name)]
            if row[R_PNL] or row[R_DAY_START] or row[R_BEST]:
                found.append(DayMark(level, name, int(row[R_DAY_START]), int(row[R_BEST])))
        return found

    def new_day(self, marks: Iterable[DayMark] = ()) -> None:
        """A UTC day begins, or is gone on with after a restart: then ``marks`` are what was kept of it.

        What has no mark on a day that has one for the firm had earned nothing when it began.
        """
        marks = list(marks)
        self.rows[:, R_DAY_START] = 0 if marks else self.rows[:, R_PNL]
        for column in (R_BEST, R_MESSAGES, R_TRADES):
            self.rows[:, column] = 0
        for mark in marks:
            row = self.rows[self.row(mark.level, mark.name)]
            row[R_DAY_START] = mark.day_start
            row[R_BEST] = max(mark.best, int(row[R_PNL]) - mark.day_start, 0)

    # --- value at risk -------------------------------------------------------------------------

    def set_risk(self, covariance: Floats, estimated: NDArray[np.bool_]) -> None:
        """Covariance of daily returns, (n, n) in the order of ``keys``, and which instruments are in it."""
        size = len(self.keys)
        self.covariance = np.zeros((self.count, self.count))
        both = np.outer(estimated, estimated)
        self.covariance[:size, :size] = np.where(both, covariance, 0.0)
        self.static[:size, S_ESTIMATED] = estimated
        for place, key in enumerate(self.keys):
            own = self.limits_file.instrument(*key).volatility_bps / 10_000
            self.sigma[place] = math.sqrt(covariance[place, place]) if estimated[place] else own
        self.mark(again=True)
        self.refresh_risk()

    def refresh_risk(self) -> None:
        """Variances of firm and strategies at the current marks: O(n^2), so not for every order."""
        values = self.cells[:, :, C_POSITION] * 1e-9 * (self.static[:, S_MARK] * 0.5e-9)
        marginal = values @ self.covariance
        self.risk[:, : self.count] = marginal
        self.risk[:, self.count] = np.einsum("ij,ij->i", marginal, values)

    def position(self, venue: str, symbol: str, rule: str = "") -> tuple[int, int, int]:
        """(signed position, open to buy, open to sell) of the firm, or of a rule: nanos."""
        k = self.strategies.get(rule, _UNKNOWN_STRATEGY) if rule else 0
        cell = self.cells[k, self.index.get((venue, symbol), self.count - 1)]
        return int(cell[C_POSITION]), int(cell[C_OPEN_BUY]), int(cell[C_OPEN_SELL])

    def day_pnl(self, level: Level = Level.FIRM, name: str = "") -> int:
        """P&L of the UTC day at the last marks, nanos, rounded down for each instrument."""
        row = self.rows[self.row(level, name)]
        return int(row[R_PNL] - row[R_DAY_START])


def _rests(order: OrderRecord) -> bool:
    return order.limit_price > 0 and order.time_in_force not in ("ioc", "fok")
