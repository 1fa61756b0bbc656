"""What orders, fills and quotes do to the gate's state: kernels that keep every sum up to date, exactly.

A cell's contribution to its level's sums is computed from the cell alone, taken off and added again
whenever the cell changes, so that no sum is ever computed over all instruments. Contributions are whole
nanos, rounded up (P&L: down), so a sum is never more favourable than the truth, and is off by less than a
nano an instrument. Value at risk is a statistic and the only float here; it too is rounded up to nanos.
"""

from __future__ import annotations

import math

from numba import njit

from execution.risk.arithmetic import (
    NANOS,
    SATURATED,
    add_split,
    product,
    share_up,
    value_up,
)
from execution.risk.layout import (
    C_ACTIVE,
    C_CASH,
    C_CASH_REST,
    C_GROSS,
    C_LONG,
    C_MARGIN,
    C_OPEN_BUY,
    C_OPEN_SELL,
    C_OPEN_VAR,
    C_PNL,
    C_POSITION,
    C_SHORT,
    M_ASK,
    M_BID,
    M_SEQ,
    R_BEST,
    R_DAY_START,
    R_GROSS,
    R_LONG,
    R_MARGIN,
    R_OPEN_VAR,
    R_PNL,
    R_SHORT,
    S_ESTIMATED,
    S_MARGIN_BPS,
    S_MARK,
    S_MARKED_SEQ,
)

_NO_PRICE = -(2**63)


@njit(cache=True)
def risk_nanos(amount):  # type: ignore[no-untyped-def]  # float64 of currency -> int64 nanos
    """A float amount as nanos, rounded up; what is no number or too large is past every limit."""
    if not amount < 4.0e9:
        return SATURATED
    return math.ceil(amount * 1e9)


@njit(cache=True)
def money(quantity, both):  # type: ignore[no-untyped-def]  # int64, int64 -> float64
    """Quantity at a doubled mid as a float of currency, for value at risk only."""
    return quantity * 1e-9 * (both * 0.5e-9)


@njit(cache=True)
def open_var(position, buys, sells, both, estimated, deviation):  # type: ignore[no-untyped-def]
    """Value at risk, nanos, that no subset of the open orders' fills can exceed.

    A standard deviation is a norm, so that of a sum is at most the sum of them, whatever the correlations:
    each instrument's open orders are added at their own. An instrument without an estimate is added
    as a whole, position included. ``deviation``: of a return over the horizon, times the quantile.
    """
    if estimated:
        worst = max(buys, sells)
    else:
        worst = max(abs(position + buys), abs(position - sells))
    return risk_nanos(money(worst, both) * deviation)


@njit(cache=True)
def contribution(position, buys, sells, static, i, deviation):  # type: ignore[no-untyped-def]
    """What a cell adds to its level: (gross, long, short, margin, open VaR), nanos."""
    both = static[i, S_MARK]
    longest = value_up(position + buys, both)
    shortest = -value_up(sells - position, both)
    gross = max(value_up(abs(position + buys), both), value_up(abs(position - sells), both))
    margin = share_up(gross, static[i, S_MARGIN_BPS])
    more = open_var(position, buys, sells, both, static[i, S_ESTIMATED], deviation)
    return gross, longest, shortest, margin, more


@njit(cache=True)
def floor_product(a, b):  # type: ignore[no-untyped-def]  # int64 signed, int64 >= 0 -> (int64, int64)
    """As :func:`product`, of a signed ``a``; whole is rounded down, the rest is never negative."""
    if a >= 0:
        return product(a, b)
    whole, rest = product(-a, b)
    return (-whole - 1, NANOS - rest) if rest else (-whole, rest)


@njit(cache=True)
def cell_pnl(cell, both):  # type: ignore[no-untyped-def]  # int64 (columns,), int64 -> int64
    """Cash and position at the mid, nanos, rounded down."""
    whole, rest = floor_product(cell[C_POSITION], both)  # all doubled, as the mid is
    rest += 2 * cell[C_CASH_REST]
    return (whole + 2 * cell[C_CASH] + rest // NANOS) >> 1


@njit(cache=True)
def note_pnl(row, change):  # type: ignore[no-untyped-def]  # int64 (columns,), int64
    """P&L of a level moved; so may have the day's best."""
    row[R_PNL] += change
    row[R_BEST] = max(row[R_BEST], row[R_PNL] - row[R_DAY_START])


@njit(cache=True)
def mark_cell(rows, cells, static, sigma, k, i):  # type: ignore[no-untyped-def]
    """Compute a cell's contributions anew and carry the differences to its level.

    rows, cells, static: see ``layout``; sigma float64 (instruments + 1,): deviation of a daily return
    each, and last the factor from it to a value at risk; k: 0 or a strategy; i: an instrument.
    """
    count = static.shape[0]
    cell, row = cells[k, i], rows[0 if k == 0 else count + k]
    for high, place in ((R_GROSS, C_GROSS), (R_LONG, C_LONG), (R_SHORT, C_SHORT), (R_MARGIN, C_MARGIN)):
        add_split(row, high, cell[place], -1)
    add_split(row, R_OPEN_VAR, cell[C_OPEN_VAR], -1)
    cell[C_GROSS], cell[C_LONG], cell[C_SHORT], cell[C_MARGIN], cell[C_OPEN_VAR] = contribution(
        cell[C_POSITION], cell[C_OPEN_BUY], cell[C_OPEN_SELL], static, i, sigma[i] * sigma[count]
    )
    for high, place in ((R_GROSS, C_GROSS), (R_LONG, C_LONG), (R_SHORT, C_SHORT), (R_MARGIN, C_MARGIN)):
        add_split(row, high, cell[place], 1)
    add_split(row, R_OPEN_VAR, cell[C_OPEN_VAR], 1)
    pnl = cell_pnl(cell, static[i, S_MARK])
    change = pnl - cell[C_PNL]
    cell[C_PNL] = pnl
    note_pnl(row, change)
    if k == 0:
        note_pnl(rows[1 + i], change)


@njit(cache=True)
def mark_all(rows, cells, static, market, sigma, again):  # type: ignore[no-untyped-def]
    """Mark every instrument whose quote is newer than its mark; all of them with ``again``.

    A quote with one side missing, or crossed, leaves the last good mark.
    """
    for i in range(static.shape[0]):
        if market[i, M_SEQ] == static[i, S_MARKED_SEQ] and not again:
            continue
        static[i, S_MARKED_SEQ] = market[i, M_SEQ]
        bid, ask = market[i, M_BID], market[i, M_ASK]
        if bid != _NO_PRICE and ask != _NO_PRICE and 0 < bid <= ask:
            static[i, S_MARK] = bid + ask
        for k in range(cells.shape[0]):
            if cells[k, i, C_ACTIVE]:
                mark_cell(rows, cells, static, sigma, k, i)


@njit(cache=True)
def set_open(rows, cells, static, sigma, k, i, buys, sells):  # type: ignore[no-untyped-def]
    """Change what is open in a cell by ``buys`` and ``sells`` (signed nanos)."""
    cells[k, i, C_ACTIVE] = 1
    cells[k, i, C_OPEN_BUY] += buys
    cells[k, i, C_OPEN_SELL] += sells
    mark_cell(rows, cells, static, sigma, k, i)


@njit(cache=True)
def book_fill(rows, cells, static, sigma, k, i, sign, quantity, price, fee):  # type: ignore[no-untyped-def]
    """Take a fill into a cell. sign: +1 bought, -1 sold; fee: nanos, negative for a rebate."""
    cell = cells[k, i]
    cell[C_ACTIVE] = 1
    if static[i, S_MARK] == 0:
        static[i, S_MARK] = 2 * price  # nothing quoted yet: what was paid is the best mark there is
    cell[C_POSITION] += sign * quantity
    whole, rest = floor_product(-sign * quantity, price)
    rest += cell[C_CASH_REST]
    cell[C_CASH] += whole + rest // NANOS - fee
    cell[C_CASH_REST] = rest % NANOS
    mark_cell(rows, cells, static, sigma, k, i)


@njit(cache=True)
def move_variance(risk, covariance, k, i, change):  # type: ignore[no-untyped-def]
    """A position's value moved by ``change`` (float of currency): variance and marginals follow, O(n)."""
    count = covariance.shape[0]
    risk[k, count] += 2.0 * change * risk[k, i] + change * change * covariance[i, i]
    for j in range(count):
        risk[k, j] += change * covariance[i, j]
