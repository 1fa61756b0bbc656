"""The agent's state in, what an operator wants to see of it out: as data that is JSON, and is drawn by the
command line.

Amounts are decimal text, exact to nanos; times are ns since the epoch. ``live`` is of a running agent at
this moment; ``stored`` is what the journal knows while none runs, at the marks of then.
"""

from __future__ import annotations

import msgspec
import numpy as np

from execution.breach import Unwinding, detect
from execution.breach.unwinding import Key
from execution.engine import OrderEngine
from execution.journal import Journal
from execution.orders import OrderRecord
from execution.positions import Pnl, PositionBook, value_to_nanos
from execution.pretrade import RELEASED, STOPPED
from execution.risk import Check, Level
from execution.risk.arithmetic import UNLIMITED, split_sum
from execution.risk.book import RiskBook
from execution.risk.checks import PLACE, SPECS, Unit
from execution.risk.layout import (
    C_OPEN_BUY,
    C_OPEN_SELL,
    C_POSITION,
    R_BEST,
    R_DAY_START,
    R_GROSS,
    R_LONG,
    R_MARGIN,
    R_OPEN_ORDERS,
    R_PNL,
    R_SHORT,
    S_MARK,
)
from execution.risk.verdict import show
from tickloom.events import OrderState
from tickloom.prices import NANOS, format_nanos

LAST = 10  # actions and alerts


class PositionLine(msgspec.Struct):
    """rule: empty for the firm as a whole."""

    rule: str
    venue: str
    symbol: str
    quantity: str
    average_price: str
    mid: str
    realised: str
    unrealised: str
    fees: str


class PnlLine(msgspec.Struct):
    """Since ever, and ``day``: since the UTC day began, empty where no agent runs."""

    scope: str
    realised: str
    unrealised: str
    fees: str
    total: str
    day: str = ""


class VarLine(msgspec.Struct):
    """Value at risk and expected shortfall, currency; historical: None without stored returns."""

    scope: str
    var: float
    expected_shortfall: float
    historical_var: float | None = None


class UseLine(msgspec.Struct):
    """How much of a limit is used now, with all that is open at its worst."""

    check: str
    scope: str
    value: str
    limit: str
    percent: float


class UnwindingLine(msgspec.Struct):
    """left_percent: of what was held when it began, at the mids; 0: flat."""

    kind: str
    scope: str
    stage: str
    paused: bool
    stages: list[str]
    since: int
    left_percent: float
    text: str


class OrderLine(msgspec.Struct):
    """An order that may still be filled; left: the worst case."""

    order_id: str
    rule: str
    venue: str
    destination: str
    symbol: str
    side: str
    state: str
    quantity: str
    filled: str
    limit_price: str
    reason: str


class RiskStatus(msgspec.Struct):
    """What ``tickloom risk status --json`` prints."""

    ts: int
    agent: str
    halted: str | None
    limits: str
    order_entry: bool | None = None
    positions: list[PositionLine] = []
    pnl: list[PnlLine] = []
    var: list[VarLine] = []
    use: list[UseLine] = []
    stopped: list[tuple[str, str]] = []
    breaches: list[str] = []
    unwindings: list[UnwindingLine] = []
    orders: list[OrderLine] = []
    unknown_orders: int = 0
    actions: list[tuple[int, str, str, str]] = []
    alerts: list[tuple[int, str, str]] = []


def scope_text(level: Level, name: str) -> str:
    """``firm``, ``rule sweep`` or ``XNAS ALFA``."""
    return {Level.FIRM: "firm", Level.STRATEGY: f"rule {name}"}.get(level, name)


def live(engine: OrderEngine) -> RiskStatus:
    """Of a running agent, now."""
    book = engine.risk
    book.mark()
    now_ns = engine.clock.now_ns()
    found = _common(engine.journal, now_ns, engine.kill_switch.halted_because(), list(engine.open.values()))
    found.agent, found.order_entry = "running", engine.enabled
    found.limits = f"revision {engine.limits.revision}, digest {engine.limits.digest}"
    portfolio = engine.portfolio
    mids = {key: int(book.static[place, S_MARK]) // 2 for key, place in book.index.items()}
    for rule, positions in [("", portfolio.firm), *sorted(portfolio.by_rule.items())]:
        found.positions += _positions(rule, positions, mids)
        level = Level.STRATEGY if rule else Level.FIRM
        pnl = _pnl(scope_text(level, rule), portfolio.figures(rule or None))
        pnl.day = format_nanos(book.day_pnl(level, rule))
        found.pnl.append(pnl)
    for one in engine.pretrade.levels:
        found.var.append(
            VarLine(
                scope=scope_text(Level.STRATEGY if one.name else Level.FIRM, one.name),
                var=round(one.parametric.var, 2),
                expected_shortfall=round(one.parametric.expected_shortfall, 2),
                historical_var=round(one.historical.var, 2) if one.historical else None,
            )
        )
    for level, name in _levels(book):
        found.use += _use(book, level, name, engine)
        if book.stopped(level, name):
            found.stopped.append(
                (scope_text(level, name), book.why.get((Check.REDUCE_ONLY, level, name), ""))
            )
    found.breaches = [one.text for one in detect(book, engine.pretrade.levels, now_ns)]
    held = _held(book)
    found.unwindings = [_unwinding(one, held, mids) for one in engine.unwinder.desk.active.values()]
    return found


def stored(journal: Journal, now_ns: int, halted: str | None) -> RiskStatus:
    """What the journal says while no agent runs."""
    found = _common(journal, now_ns, halted, journal.open_orders())
    firm, by_rule, marks = PositionBook(), dict[str, PositionBook](), journal.marks()
    for rule, execution in journal.executions():
        firm.book(execution, execution.fee)
        by_rule.setdefault(rule, PositionBook()).book(execution, execution.fee)
    for rule, positions in [("", firm), *sorted(by_rule.items())]:
        found.positions += _positions(rule, positions, marks)
        scope = scope_text(Level.STRATEGY if rule else Level.FIRM, rule)
        found.pnl.append(_pnl(scope, positions.figures(marks)))
    stopped: dict[tuple[int, str], str] = {}
    for _, action, _, why in journal.risk_actions():
        if action in (STOPPED, RELEASED):
            level, name, reason = why.split("|", 2)
            stopped.pop((int(level), name), None)
            if action == STOPPED:
                stopped[(int(level), name)] = reason
    found.stopped = [(scope_text(Level(level), name), why) for (level, name), why in stopped.items()]
    return found


def _common(journal: Journal, now_ns: int, halted: str | None, orders: list[OrderRecord]) -> RiskStatus:
    return RiskStatus(
        ts=now_ns,
        agent="not running",
        halted=halted,
        limits="",
        orders=[_order(one) for one in orders],
        unknown_orders=sum(one.state is OrderState.UNKNOWN for one in orders),
        actions=journal.risk_actions()[-LAST:],
        alerts=journal.alerts()[-LAST:],
    )


def _levels(book: RiskBook) -> list[tuple[Level, str]]:
    found = [(Level.FIRM, "")]
    found += [(Level.STRATEGY, name) for name in book.strategies if name]
    return found + [(Level.INSTRUMENT, " ".join(key)) for key in book.keys]


def _held(book: RiskBook) -> dict[Key, int]:
    return {
        (rule, *key): int(book.cells[k, place, C_POSITION])
        for rule, k in book.strategies.items()
        for key, place in book.index.items()
        if book.cells[k, place, C_POSITION]
    }


def _positions(rule: str, book: PositionBook, mids: dict[tuple[str, str], int]) -> list[PositionLine]:
    found = []
    for (venue, symbol), holding in sorted(book.holdings.items()):
        mid = mids.get((venue, symbol)) or holding.average_price
        pnl = book.pnl_of((venue, symbol), mid)
        found.append(
            PositionLine(
                rule,
                venue,
                symbol,
                *(format_nanos(value) for value in (holding.quantity, holding.average_price, mid)),
                *(_money(value) for value in (pnl.realised, pnl.unrealised, pnl.fees)),
            )
        )
    return found


def _pnl(scope: str, pnl: Pnl) -> PnlLine:
    return PnlLine(scope, *(_money(one) for one in (pnl.realised, pnl.unrealised, pnl.fees, pnl.total)))


def _money(value: int) -> str:
    return format_nanos(value_to_nanos(value))


def _use(book: RiskBook, level: Level, name: str, engine: OrderEngine) -> list[UseLine]:
    """Of every limit of a level that something counts towards."""
    place = book.row(level, name)
    row, limits = book.rows[place], book.limits[place]
    k = 0 if level is not Level.STRATEGY else book.strategies[name]
    cells = book.cells[k, : len(book.keys)]
    marks = book.static[: len(book.keys), S_MARK]
    if level is Level.INSTRUMENT:
        cells, marks = cells[place - 1 : place], marks[place - 1 : place]
    worst = np.maximum(
        cells[:, C_POSITION] + cells[:, C_OPEN_BUY], cells[:, C_OPEN_SELL] - cells[:, C_POSITION]
    )
    loss = int(row[R_DAY_START] - row[R_PNL])
    values = {
        Check.POSITION: int(worst.max(initial=0)),
        # exact: two numbers of 63 bits are multiplied as Python's own
        Check.POSITION_NOTIONAL: max(
            (int(quantity) * int(mark) // (2 * NANOS) for quantity, mark in zip(worst, marks, strict=True)),
            default=0,
        ),
        Check.OPEN_ORDERS: int(row[R_OPEN_ORDERS]),
        Check.DAILY_LOSS: max(loss, 0),
        Check.DRAWDOWN: max(int(row[R_BEST]) + loss, 0),
    }
    if level is not Level.INSTRUMENT:
        longest, shortest = (int(split_sum(row[one], row[one + 1])) for one in (R_LONG, R_SHORT))
        values[Check.GROSS_EXPOSURE] = int(split_sum(row[R_GROSS], row[R_GROSS + 1]))
        values[Check.NET_EXPOSURE] = max(longest, -shortest)
        values[Check.BUYING_POWER] = int(split_sum(row[R_MARGIN], row[R_MARGIN + 1])) + max(loss, 0)
        for one in engine.pretrade.levels:
            if one.name == name:
                values[Check.VAR] = round(one.parametric.var * NANOS)
    found = []
    for check, value in values.items():
        limit = int(limits[PLACE[check]])
        if limit == UNLIMITED or not (value or level is Level.FIRM):
            continue
        unit = _UNITS[check]
        percent = round(100 * value / limit, 2) if limit else (0.0 if not value else float("inf"))
        found.append(
            UseLine(check, scope_text(level, name), show(unit, value), show(unit, limit), min(percent, 1e6))
        )
    return found


def _unwinding(one: Unwinding, held: dict[Key, int], mids: dict[tuple[str, str], int]) -> UnwindingLine:
    scope = one.breach.scope
    began = sum(abs(quantity) * mids.get(key[1:], 0) for key, quantity in one.start.items())
    left = sum(abs(held.get(key, 0)) * mids.get(key[1:], 0) for key in one.start)
    return UnwindingLine(
        kind=scope[0],
        scope=scope_text(*scope[1:]),
        stage=one.stage.name.lower(),
        paused=one.paused,
        stages=list(one.plan.stages),
        since=one.since_ns,
        left_percent=round(100 * left / began, 2) if began else 0.0,
        text=one.breach.text,
    )


def _order(order: OrderRecord) -> OrderLine:
    return OrderLine(
        order_id=order.order_id,
        rule=order.rule,
        venue=order.venue,
        destination=order.sent_to,
        symbol=order.symbol,
        side=order.side,
        state=order.state.value,
        quantity=format_nanos(order.quantity),
        filled=format_nanos(order.filled_quantity),
        limit_price=format_nanos(order.limit_price),
        reason=order.reason,
    )


_UNITS: dict[Check, Unit] = {spec.check: spec.unit for spec in SPECS}
