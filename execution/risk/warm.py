"""The gate's kernels compiled before they are needed: compiling takes half a minute, and signals grow old."""

from __future__ import annotations

import numpy as np

from execution.limits import Limits
from execution.orders import OrderRecord
from execution.risk.book import RiskBook
from execution.risk.gate import RiskGate
from execution.sizing import OrderIntent
from tickloom.clock import NS_PER_S
from tickloom.events import Execution, OrderState
from tickloom.instruments import Registry
from tickloom.prices import NANOS

_NOW = 1_700_000_000 * NS_PER_S


def warm_up(registry: Registry, limits: Limits) -> None:
    """Take a book of its own through a quote, an order, a fill, a day and a check; nothing of it is kept."""
    book = RiskBook(registry, limits)
    gate = RiskGate(book)
    venue, symbol = next(iter(registry.instruments))
    rule = next(iter(limits.rules), "warm")
    price, lot = 100 * NANOS, NANOS
    book.market.quote(venue, symbol, (price - 1, lot, price + 1, lot, _NOW, _NOW, 1), 0)
    book.market.trades(venue, symbol, np.array([_NOW]), np.array([lot]))
    book.market.touch(venue, 0, _NOW, _NOW, 0, False)
    book.set_order_entry(True)
    book.mark()
    identity = ("warm", "warm", 0, rule, venue, symbol)
    for side in ("buy", "sell"):
        intent = OrderIntent(*identity, side, lot, price, "day")
        gate.check(intent, _NOW, _NOW, _NOW)
        order = OrderRecord(*identity, side, lot, price, "day", OrderState.NEW, _NOW, _NOW)
        book.on_message(rule, venue, symbol, _NOW)
        book.on_order(order)
        book.on_sent(order, _NOW)
        book.on_order(OrderRecord(*identity, side, lot, price, "day", OrderState.CANCELLED, _NOW, _NOW))
        execution = Execution("warm", "warm", venue, symbol, side, price, lot, _NOW, _NOW)
        book.on_fill(rule, execution)
        book.on_fill(rule, execution, sign=-1)
    count = len(book.keys)
    book.set_risk(np.eye(count) * 1e-4, np.ones(count, np.bool_))
    book.refresh_risk()
    book.mark(again=True)
    book.new_day(book.day_marks())
    gate.check(OrderIntent(*identity, "buy", lot, price, "ioc"), _NOW, _NOW, _NOW)
