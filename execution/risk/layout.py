"""Where each number of the gate's state stands: columns of int64 arrays that kernels read.

``rows[r]`` is a level: 0 the firm, 1 to n the instruments (the last one stands for all unknown ones), and
then the strategies (the first one stands for all unknown ones). ``cells[k, i]`` is what the firm (k = 0) or
strategy k holds and has open in instrument i. ``market[i]`` is what is known of its market. Money and
quantities are nanos, times ns, sums of money two columns (see :func:`execution.risk.arithmetic.add_split`).

Numba freezes these constants into machine code. The words @njit here and in ``checks.py`` make
:mod:`tickloom.compile_cache` count both files, so that no kernel runs with yesterday's columns.
"""

from __future__ import annotations

from execution.risk.checks import PLACE, Check

# --- rows: a level -----------------------------------------------------------------------------
(
    R_ENTRY_OFF,
    R_HALTED,
    R_REDUCE_ONLY,
    R_UNKNOWN,  # no entry in the limits file, or in the registry
    R_RESTRICTED,
    R_OPEN_ORDERS,
    R_MESSAGES,  # of the day
    R_TRADES,  # of the day
    R_PNL,  # since ever
    R_DAY_START,  # P&L since ever when the day began
    R_BEST,  # the day's high-water mark of the day's P&L, never below 0
    R_GROSS,
    _R_GROSS_LOW,
    R_LONG,
    _R_LONG_LOW,
    R_SHORT,
    _R_SHORT_LOW,
    R_MARGIN,
    _R_MARGIN_LOW,
    R_OPEN_VAR,
    _R_OPEN_VAR_LOW,
    R_RING,  # where its message times begin in ``stamps``
    R_RING_SIZE,
    R_RING_COUNT,  # messages ever
    # parameters, from the limits file
    R_WINDOW_NS,
    R_IDENTICAL_NS,
    R_RATIO_FROM,  # messages of the day up to which the order-to-trade ratio is not looked at
    ROW_COLUMNS,
) = range(28)

# --- cells: a level's holding of an instrument ---------------------------------------------------
(
    C_POSITION,  # signed
    C_OPEN_BUY,
    C_OPEN_SELL,
    C_CASH,  # whole nanos, rounded down
    C_CASH_REST,  # 1e-18
    C_PNL,
    C_GROSS,
    C_LONG,  # position and all that is open to buy, at the mid
    C_SHORT,  # position less all that is open to sell, at the mid
    C_MARGIN,
    C_OPEN_VAR,  # what open orders may add to the value at risk
    C_OWN_BID,  # highest own resting buy price; 0: none
    C_OWN_ASK,  # lowest own resting sell price; NO_ASK: none
    C_RESTRICTED,
    C_ACTIVE,  # 1 as soon as anything was ever in it
    CELL_COLUMNS,
) = range(16)
NO_ASK = 2**63 - 1

# --- market: an instrument -----------------------------------------------------------------------
(
    M_BID,
    M_BID_SIZE,
    M_ASK,
    M_ASK_SIZE,
    M_TS_EVENT,
    M_TS_RECV,
    M_SEQ,
    M_FEED_TS,
    M_VENUE_TS_EVENT,
    M_UNTRUSTED,
    M_HALTED,
    M_SHORT_RESTRICTED,  # the venue says so
    M_NATIONAL_BID,  # highest bid of the symbol over all venues
    M_VENUE,
    M_SHARD,
    M_LOST,
    M_HALT,
    M_DISTRUSTED,  # the ingester says that it is stale or broken
    MARKET_COLUMNS,
) = range(19)

# --- static: an instrument, from registry and limits file ----------------------------------------
(
    S_LOT,
    S_MARGIN_BPS,
    S_SHORT_RESTRICTED,  # the limits file says so
    S_ESTIMATED,  # 1: it is in the covariance matrix
    S_MARK,  # bid + ask of the last good quote
    S_MARKED_SEQ,  # the quote that was marked
    S_VOLUME_NS,  # how far back market volume is recent
    STATIC_COLUMNS,
) = range(8)

# --- volumes: an instrument's market volume, by bucket of event time -----------------------------
V_START, V_SIZE, VOLUME_COLUMNS = range(3)  # when the bucket began; nanos
VOLUME_BUCKET_NS = 5_000_000_000
VOLUME_BUCKETS = 64  # 320 s: the longest window a limits file may ask for, and the bucket under way

# --- the identical-order ring of an instrument -----------------------------------------------------
D_TS, D_SIGN, D_QUANTITY, D_PRICE, D_STRATEGY, IDENTICAL_COLUMNS = range(6)
IDENTICAL_ORDERS = 32  # of an instrument; within the window only these are compared

# --- checks ------------------------------------------------------------------------------------
K_ORDER_ENTRY = PLACE[Check.ORDER_ENTRY]
K_KILL_SWITCH = PLACE[Check.KILL_SWITCH]
K_REDUCE_ONLY = PLACE[Check.REDUCE_ONLY]
K_DUPLICATE = PLACE[Check.DUPLICATE]
K_RULE = PLACE[Check.RULE]
K_INSTRUMENT = PLACE[Check.INSTRUMENT]
K_RESTRICTED = PLACE[Check.RESTRICTED]
K_SIGNAL_AGE = PLACE[Check.SIGNAL_AGE]
K_EVENT_AGE = PLACE[Check.EVENT_AGE]
K_REPEAT = PLACE[Check.REPEAT]
K_MARKET_DATA = PLACE[Check.MARKET_DATA]
K_TRUST = PLACE[Check.TRUST]
K_HALT = PLACE[Check.HALT]
K_QUOTE_AGE = PLACE[Check.QUOTE_AGE]
K_FEED_AGE = PLACE[Check.FEED_AGE]
K_VENUE_SESSION = PLACE[Check.VENUE_SESSION]
K_LOT = PLACE[Check.LOT]
K_ORDER_QUANTITY = PLACE[Check.ORDER_QUANTITY]
K_ORDER_NOTIONAL = PLACE[Check.ORDER_NOTIONAL]
K_VOLUME_SHARE = PLACE[Check.VOLUME_SHARE]
K_PRICE_COLLAR = PLACE[Check.PRICE_COLLAR]
K_SELF_TRADE = PLACE[Check.SELF_TRADE]
K_LOCATE = PLACE[Check.LOCATE]
K_SHORT_SALE = PLACE[Check.SHORT_SALE]
K_POSITION = PLACE[Check.POSITION]
K_POSITION_NOTIONAL = PLACE[Check.POSITION_NOTIONAL]
K_GROSS_EXPOSURE = PLACE[Check.GROSS_EXPOSURE]
K_NET_EXPOSURE = PLACE[Check.NET_EXPOSURE]
K_BUYING_POWER = PLACE[Check.BUYING_POWER]
K_OPEN_ORDERS = PLACE[Check.OPEN_ORDERS]
K_MESSAGE_RATE = PLACE[Check.MESSAGE_RATE]
K_ORDER_TO_TRADE = PLACE[Check.ORDER_TO_TRADE]
K_IDENTICAL = PLACE[Check.IDENTICAL]
K_DAILY_LOSS = PLACE[Check.DAILY_LOSS]
K_DRAWDOWN = PLACE[Check.DRAWDOWN]
K_VAR = PLACE[Check.VAR]
CHECKS = len(PLACE)
