"""The gate itself: intent and state in; each check's value and limit, and the verdict, out.

Nothing here changes the state. All checks are computed each time: that costs less than a microsecond,
takes the same time whatever the verdict is, and leaves a whole record. ``out`` is int64 (3, checks, levels):
values, limits, and 1 where a value past its limit does not count, because the order only reduces.
"""

from __future__ import annotations

import math

from numba import njit

from execution.risk.arithmetic import SATURATED, product_up, ratio_up, split_sum, value_up
from execution.risk.exposure import contribution, money, risk_nanos
from execution.risk.layout import (
    C_GROSS,
    C_LONG,
    C_MARGIN,
    C_OPEN_BUY,
    C_OPEN_SELL,
    C_OPEN_VAR,
    C_OWN_ASK,
    C_OWN_BID,
    C_POSITION,
    C_RESTRICTED,
    C_SHORT,
    CHECKS,
    D_PRICE,
    D_QUANTITY,
    D_SIGN,
    D_STRATEGY,
    D_TS,
    K_BUYING_POWER,
    K_DAILY_LOSS,
    K_DRAWDOWN,
    K_DUPLICATE,
    K_EVENT_AGE,
    K_FEED_AGE,
    K_GROSS_EXPOSURE,
    K_HALT,
    K_IDENTICAL,
    K_INSTRUMENT,
    K_KILL_SWITCH,
    K_LOCATE,
    K_LOT,
    K_MARKET_DATA,
    K_MESSAGE_RATE,
    K_NET_EXPOSURE,
    K_OPEN_ORDERS,
    K_ORDER_ENTRY,
    K_ORDER_NOTIONAL,
    K_ORDER_QUANTITY,
    K_ORDER_TO_TRADE,
    K_POSITION,
    K_POSITION_NOTIONAL,
    K_PRICE_COLLAR,
    K_QUOTE_AGE,
    K_REDUCE_ONLY,
    K_REPEAT,
    K_RESTRICTED,
    K_RULE,
    K_SELF_TRADE,
    K_SHORT_SALE,
    K_SIGNAL_AGE,
    K_TRUST,
    K_VAR,
    K_VENUE_SESSION,
    K_VOLUME_SHARE,
    M_ASK,
    M_BID,
    M_FEED_TS,
    M_HALTED,
    M_NATIONAL_BID,
    M_SEQ,
    M_SHORT_RESTRICTED,
    M_TS_RECV,
    M_UNTRUSTED,
    M_VENUE_TS_EVENT,
    NO_ASK,
    R_BEST,
    R_DAY_START,
    R_ENTRY_OFF,
    R_GROSS,
    R_HALTED,
    R_IDENTICAL_NS,
    R_LONG,
    R_MARGIN,
    R_MESSAGES,
    R_OPEN_ORDERS,
    R_OPEN_VAR,
    R_PNL,
    R_RATIO_FROM,
    R_REDUCE_ONLY,
    R_RESTRICTED,
    R_RING,
    R_RING_COUNT,
    R_RING_SIZE,
    R_SHORT,
    R_TRADES,
    R_UNKNOWN,
    R_WINDOW_NS,
    S_ESTIMATED,
    S_LOT,
    S_MARK,
    S_SHORT_RESTRICTED,
    S_VOLUME_NS,
    V_SIZE,
    V_START,
)

PASSED = -1
_FIRM, _STRATEGY, _INSTRUMENT = 0, 1, 2
_NO_PRICE = -(2**63)


@njit(cache=True)
def check(  # type: ignore[no-untyped-def]
    rows, limits, cells, static, market, volumes, stamps, identical, sigma, risk, out,
    k, i, sign, quantity, price, now_ns, ts_signal, ts_event, ts_repeat, known, connected,
    unwinding,
):  # fmt: skip
    """The verdict: PASSED, or ``place * 3 + level`` of the first check past its limit.

    Parameters
    ----------
    rows, limits, cells, static, market, volumes, stamps, identical : int64 arrays
        The state; see ``layout`` and ``book``.
    sigma, risk : float64 arrays
        Value at risk; see ``exposure``.
    k, i : int64
        Strategy and instrument.
    sign, quantity, price : int64
        +1 buys, -1 sells; nanos; price 0 is a market order.
    now_ns, ts_signal, ts_event, ts_repeat : int64
        Wall clock, the signal's times, and the event time of the last such order (0: none).
    known, connected : int64
        1: the client order id is known; there is a session with the venue.
    unwinding : int64
        1: the order takes down a position; a rule that is switched off may reduce, and no more.
    """
    strategy = static.shape[0] + k
    levels = (0, strategy, 1 + i)
    for place in range(CHECKS):
        for level in range(3):
            out[0, place, level] = 0
            out[1, place, level] = limits[levels[level], place]
            out[2, place, level] = 0
    switches(rows, cells, market, out, levels, k, i, known, connected)
    ages(market, out, i, now_ns, ts_signal, ts_event, ts_repeat)
    touch = market[i, M_ASK] if sign > 0 else market[i, M_BID]
    paid = price if price > 0 else max(touch, 0)
    single(cells, static, market, volumes, out, k, i, sign, quantity, price, paid)
    short_sales(cells, static, market, out, i, sign, quantity, price)
    exposures(rows, cells, static, sigma, risk, out, levels, k, i, sign, quantity)
    out[2, K_RULE, _STRATEGY] = 1 if unwinding and out[0, K_POSITION, _STRATEGY] <= 0 else 0
    activity(rows, stamps, identical, out, levels, k, i, sign, quantity, price, now_ns)
    for place in range(CHECKS):
        for level in range(3):
            if out[0, place, level] > out[1, place, level] and not out[2, place, level]:
                return place * 3 + level
    return PASSED


@njit(cache=True)
def switches(rows, cells, market, out, levels, k, i, known, connected):  # type: ignore[no-untyped-def]
    """What is on or off."""
    out[0, K_ORDER_ENTRY, _FIRM] = rows[0, R_ENTRY_OFF]
    for level in range(3):
        out[0, K_KILL_SWITCH, level] = rows[levels[level], R_HALTED]
    out[0, K_DUPLICATE, _FIRM] = known
    out[0, K_RULE, _STRATEGY] = rows[levels[1], R_UNKNOWN]
    out[0, K_INSTRUMENT, _INSTRUMENT] = rows[levels[2], R_UNKNOWN]
    out[0, K_RESTRICTED, _FIRM] = cells[0, i, C_RESTRICTED]
    out[0, K_RESTRICTED, _STRATEGY] = cells[k, i, C_RESTRICTED]
    out[0, K_RESTRICTED, _INSTRUMENT] = rows[levels[2], R_RESTRICTED]
    bid, ask = market[i, M_BID], market[i, M_ASK]
    good = market[i, M_SEQ] and bid != _NO_PRICE and ask != _NO_PRICE and 0 < bid <= ask
    out[0, K_MARKET_DATA, _INSTRUMENT] = 0 if good else 1
    out[0, K_TRUST, _INSTRUMENT] = market[i, M_UNTRUSTED]
    out[0, K_HALT, _INSTRUMENT] = market[i, M_HALTED]
    out[0, K_VENUE_SESSION, _INSTRUMENT] = 0 if connected else 1


@njit(cache=True)
def ages(market, out, i, now_ns, ts_signal, ts_event, ts_repeat):  # type: ignore[no-untyped-def]
    """How old signal, match and market data are."""
    for level in range(3):
        out[0, K_SIGNAL_AGE, level] = now_ns - ts_signal
        out[0, K_EVENT_AGE, level] = market[i, M_VENUE_TS_EVENT] - ts_event
        out[0, K_QUOTE_AGE, level] = now_ns - market[i, M_TS_RECV]
        out[0, K_FEED_AGE, level] = now_ns - market[i, M_FEED_TS]
    out[0, K_REPEAT, _STRATEGY] = -abs(ts_event - ts_repeat) if ts_repeat else -SATURATED


@njit(cache=True)
def single(cells, static, market, volumes, out, k, i, sign, quantity, price, paid):  # type: ignore[no-untyped-def]
    """The order by itself: lots, quantity, notional, share of volume, collar, and its own orders."""
    lot = max(static[i, S_LOT], 1)
    out[0, K_LOT, _INSTRUMENT] = quantity % lot if quantity > 0 else 1
    worst = paid if sign > 0 else max(paid, market[i, M_BID])  # a sell may be done at a better price
    volume = 0
    for bucket in range(volumes.shape[1]):
        if volumes[i, bucket, V_START] > market[i, M_VENUE_TS_EVENT] - static[i, S_VOLUME_NS]:
            volume += volumes[i, bucket, V_SIZE]
    both = market[i, M_BID] + market[i, M_ASK] if out[0, K_MARKET_DATA, _INSTRUMENT] == 0 else 0
    notional, away = product_up(quantity, worst), ratio_up(abs(2 * paid - both), both)
    side = C_OPEN_BUY if sign > 0 else C_OPEN_SELL
    firm_share = ratio_up(quantity + cells[0, i, side], volume)
    for level in range(3):
        out[0, K_ORDER_QUANTITY, level] = quantity
        out[0, K_ORDER_NOTIONAL, level] = notional
        out[0, K_PRICE_COLLAR, level] = away
        out[0, K_VOLUME_SHARE, level] = firm_share
    out[0, K_VOLUME_SHARE, _STRATEGY] = ratio_up(quantity + cells[k, i, side], volume)
    for level in range(2):
        cell = cells[0 if level == 0 else k, i]
        if sign > 0:
            meets = cell[C_OWN_ASK] != NO_ASK and (price == 0 or cell[C_OWN_ASK] <= price)
        else:
            meets = cell[C_OWN_BID] != 0 and (price == 0 or cell[C_OWN_BID] >= price)
        out[0, K_SELF_TRADE, level] = 1 if meets else 0


@njit(cache=True)
def short_sales(cells, static, market, out, i, sign, quantity, price):  # type: ignore[no-untyped-def]
    """Regulation SHO: located shares (rule 203(b)(1)), and above the national best bid (rule 201)."""
    cell = cells[0, i]
    short = max(quantity + cell[C_OPEN_SELL] - cell[C_POSITION], 0) if sign < 0 else 0
    out[0, K_LOCATE, _INSTRUMENT] = short
    restricted = static[i, S_SHORT_RESTRICTED] or market[i, M_SHORT_RESTRICTED]
    above = -SATURATED
    if short and restricted:
        above = max(market[i, M_NATIONAL_BID], market[i, M_BID], 0) - price
    out[0, K_SHORT_SALE, _INSTRUMENT] = above


@njit(cache=True)
def exposures(rows, cells, static, sigma, risk, out, levels, k, i, sign, quantity):  # type: ignore[no-untyped-def]
    """Position, exposure, buying power, loss and value at risk, with everything open filled and this too."""
    both, deviation = static[i, S_MARK], sigma[i] * sigma[static.shape[0]]
    buys, sells = (quantity, 0) if sign > 0 else (0, quantity)
    for level in range(3):
        cell, row = cells[k if level == _STRATEGY else 0, i], rows[levels[level]]
        open_side = cell[C_OPEN_BUY] if sign > 0 else cell[C_OPEN_SELL]
        worst = sign * cell[C_POSITION] + open_side + quantity
        reducing = worst <= 0
        out[0, K_REDUCE_ONLY, level] = 0 if reducing else row[R_REDUCE_ONLY]
        out[0, K_POSITION, level] = worst
        out[0, K_POSITION_NOTIONAL, level] = value_up(worst, both)
        loss = row[R_DAY_START] - row[R_PNL]
        out[0, K_DAILY_LOSS, level] = loss
        out[0, K_DRAWDOWN, level] = row[R_BEST] + loss
        out[2, K_DAILY_LOSS, level] = out[2, K_DRAWDOWN, level] = reducing
        gross, longest, shortest, margin, more = contribution(
            cell[C_POSITION], cell[C_OPEN_BUY] + buys, cell[C_OPEN_SELL] + sells, static, i, deviation
        )
        if level == _INSTRUMENT:
            before = max(abs(cell[C_POSITION] + cell[C_OPEN_BUY]), abs(cell[C_POSITION] - cell[C_OPEN_SELL]))
            after = max(
                abs(cell[C_POSITION] + cell[C_OPEN_BUY] + buys),
                abs(cell[C_POSITION] - cell[C_OPEN_SELL] - sells),
            )
            out[0, K_VAR, level] = risk_nanos(money(after, both) * deviation)
            out[2, K_VAR, level] = after <= before
            continue
        total = split_sum(row[R_GROSS], row[R_GROSS + 1])
        out[0, K_GROSS_EXPOSURE, level] = min(total - cell[C_GROSS] + gross, SATURATED)
        out[2, K_GROSS_EXPOSURE, level] = gross <= cell[C_GROSS]
        if sign > 0:
            net = split_sum(row[R_LONG], row[R_LONG + 1]) - cell[C_LONG] + longest
        else:
            net = cell[C_SHORT] - split_sum(row[R_SHORT], row[R_SHORT + 1]) - shortest
        out[0, K_NET_EXPOSURE, level] = net
        needed = split_sum(row[R_MARGIN], row[R_MARGIN + 1]) - cell[C_MARGIN] + margin
        out[0, K_BUYING_POWER, level] = needed + max(loss, 0)
        out[2, K_BUYING_POWER, level] = margin <= cell[C_MARGIN]
        others = split_sum(row[R_OPEN_VAR], row[R_OPEN_VAR + 1])
        value_at_risk(
            risk,
            static,
            sigma,
            out,
            level,
            k,
            i,
            sign * money(quantity, both),
            others,
            more - cell[C_OPEN_VAR],
        )


@njit(cache=True)
def value_at_risk(risk, static, sigma, out, level, k, i, change, others, more):  # type: ignore[no-untyped-def]
    """Of the positions and this order, and of what is open at its worst."""
    count = static.shape[0]
    row, scale = risk[k if level == _STRATEGY else 0], sigma[count]
    before, moved = row[count], row[count]
    if static[i, S_ESTIMATED]:
        moved += 2.0 * change * row[i] + change * change * sigma[i] * sigma[i]
        more = 0  # the order is in the variance, not beside it
    now = risk_nanos(math.sqrt(max(before, 0.0)) * scale) + others
    after = risk_nanos(math.sqrt(max(moved, 0.0)) * scale) + others + more
    out[0, K_VAR, level] = SATURATED if after >= SATURATED or after < 0 else after
    out[2, K_VAR, level] = after <= now


@njit(cache=True)
def activity(rows, stamps, identical, out, levels, k, i, sign, quantity, price, now_ns):  # type: ignore[no-untyped-def]
    """How much is open, how fast it goes, how much of it trades, and what was sent just so before."""
    for level in range(3):
        row = rows[levels[level]]
        out[0, K_OPEN_ORDERS, level] = row[R_OPEN_ORDERS] + 1
        out[0, K_MESSAGE_RATE, level] = recent(row, stamps, now_ns) + 1
        messages, trades = row[R_MESSAGES] + 1, max(row[R_TRADES], 1)
        if messages > row[R_RATIO_FROM]:
            out[0, K_ORDER_TO_TRADE, level] = (messages + trades - 1) // trades - 1
    same = own = 1
    for place in range(identical.shape[1]):
        one = identical[i, place]
        alike = one[D_SIGN] == sign and one[D_QUANTITY] == quantity and one[D_PRICE] == price
        if alike and now_ns - one[D_TS] < rows[0, R_IDENTICAL_NS]:
            same += 1
            if one[D_STRATEGY] == k:
                own += 1
    out[0, K_IDENTICAL, _STRATEGY], out[0, K_IDENTICAL, _INSTRUMENT] = own, same


@njit(cache=True)
def recent(row, stamps, now_ns):  # type: ignore[no-untyped-def]  # int64 (columns,), int64 (n,), int64 -> int64
    """Messages younger than the window, by bisection: a level's times never go back."""
    size, count = row[R_RING_SIZE], row[R_RING_COUNT]
    low, high = max(count - size, 0), count
    since = now_ns - row[R_WINDOW_NS]
    while low < high:
        middle = (low + high) // 2
        if stamps[row[R_RING] + middle % size] > since:
            high = middle
        else:
            low = middle + 1
    return count - low
