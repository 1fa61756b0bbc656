"""The pre-trade checks: code, unit, levels and key in the limits file of each. The order is the gate's.

Every check compares one whole number with one limit, and refuses where the number is above it. A check
may have a limit at several levels; each is checked, and a refusal names the level. (The places of the checks
are frozen into @njit kernels; see ``layout.py``.)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Level(IntEnum):
    """Whose limit it is. The order in which the levels of one check are looked at."""

    FIRM = 0
    STRATEGY = 1
    INSTRUMENT = 2


class Check(StrEnum):
    """Reason codes. They are metric labels and the first word of a refusal."""

    ORDER_ENTRY = "order_entry"
    KILL_SWITCH = "kill_switch"
    REDUCE_ONLY = "reduce_only"
    DUPLICATE = "duplicate"
    RULE = "rule"
    INSTRUMENT = "instrument"
    RESTRICTED = "restricted"
    SIGNAL_AGE = "signal_age"
    EVENT_AGE = "event_age"
    REPEAT = "repeat"
    MARKET_DATA = "market_data"
    TRUST = "trust"
    HALT = "halt"
    QUOTE_AGE = "quote_age"
    FEED_AGE = "feed_age"
    VENUE_SESSION = "venue_session"
    LOT = "lot"
    ORDER_QUANTITY = "order_quantity"
    ORDER_NOTIONAL = "order_notional"
    VOLUME_SHARE = "volume_share"
    PRICE_COLLAR = "price_collar"
    SELF_TRADE = "self_trade"
    LOCATE = "locate"
    SHORT_SALE = "short_sale"
    POSITION = "position"
    POSITION_NOTIONAL = "position_notional"
    GROSS_EXPOSURE = "gross_exposure"
    NET_EXPOSURE = "net_exposure"
    BUYING_POWER = "buying_power"
    OPEN_ORDERS = "open_orders"
    MESSAGE_RATE = "message_rate"
    ORDER_TO_TRADE = "order_to_trade"
    IDENTICAL = "identical"
    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    VAR = "var"
    PAIR_LEG = "pair_leg"  # not a check of its own: the other leg was refused


class Unit(StrEnum):
    """What the numbers of a check are."""

    SWITCH = "switch"  # 0 or 1
    QUANTITY = "quantity"  # nanos
    MONEY = "money"  # nanos of the quote currency
    TIME = "time"  # ns
    RATIO = "ratio"  # 1e-8
    COUNT = "count"
    PRICE = "price"  # nanos


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """``key``: in the limits file, empty for a switch. ``about``: the value, in a few words."""

    check: Check
    unit: Unit
    levels: tuple[Level, ...]
    key: str
    about: str


_F, _S, _I = Level.FIRM, Level.STRATEGY, Level.INSTRUMENT
_ALL = (_F, _S, _I)

#: Row k of the gate's record is check k of this table.
SPECS: tuple[CheckSpec, ...] = (
    CheckSpec(Check.ORDER_ENTRY, Unit.SWITCH, (_F,), "", "live order entry is off"),
    CheckSpec(Check.KILL_SWITCH, Unit.SWITCH, _ALL, "", "halted"),
    CheckSpec(Check.REDUCE_ONLY, Unit.SWITCH, _ALL, "", "the order would not reduce"),
    CheckSpec(Check.DUPLICATE, Unit.SWITCH, (_F,), "", "the client order id is known"),
    CheckSpec(Check.RULE, Unit.SWITCH, (_S,), "enabled", "the rule has no limits, or is off"),
    CheckSpec(Check.INSTRUMENT, Unit.SWITCH, (_I,), "", "the registry does not know it"),
    CheckSpec(Check.RESTRICTED, Unit.SWITCH, _ALL, "restricted", "restricted"),
    CheckSpec(Check.SIGNAL_AGE, Unit.TIME, _ALL, "signal_age_ms_max", "since the rule fired"),
    CheckSpec(Check.EVENT_AGE, Unit.TIME, _ALL, "event_age_ms_max", "event time since the match"),
    CheckSpec(Check.REPEAT, Unit.TIME, (_S,), "repeat_ms_min", "less the time since the last such order"),
    CheckSpec(Check.MARKET_DATA, Unit.SWITCH, (_I,), "", "no quote with two sides"),
    CheckSpec(Check.TRUST, Unit.SWITCH, (_I,), "", "the market data is not trusted"),
    CheckSpec(Check.HALT, Unit.SWITCH, (_I,), "", "trading is halted"),
    CheckSpec(Check.QUOTE_AGE, Unit.TIME, _ALL, "quote_age_ms_max", "since the last quote"),
    CheckSpec(Check.FEED_AGE, Unit.TIME, _ALL, "feed_age_ms_max", "since anything came of its shard"),
    CheckSpec(Check.VENUE_SESSION, Unit.SWITCH, (_I,), "", "no session with the venue"),
    CheckSpec(Check.LOT, Unit.QUANTITY, (_I,), "", "beyond whole lots"),
    CheckSpec(Check.ORDER_QUANTITY, Unit.QUANTITY, _ALL, "order_quantity_max", "quantity"),
    CheckSpec(Check.ORDER_NOTIONAL, Unit.MONEY, _ALL, "order_notional_max", "quantity at its price"),
    CheckSpec(Check.VOLUME_SHARE, Unit.RATIO, _ALL, "volume_share_bps_max", "of recent market volume"),
    CheckSpec(Check.PRICE_COLLAR, Unit.RATIO, _ALL, "collar_bps", "from the mid"),
    CheckSpec(Check.SELF_TRADE, Unit.SWITCH, (_F, _S), "self_trade_allowed", "would meet an own order"),
    CheckSpec(Check.LOCATE, Unit.QUANTITY, (_I,), "located", "short, worst case"),
    CheckSpec(
        Check.SHORT_SALE, Unit.PRICE, (_I,), "short_sale_restricted", "the national best bid less the price"
    ),
    CheckSpec(Check.POSITION, Unit.QUANTITY, _ALL, "position_max", "worst case position"),
    CheckSpec(
        Check.POSITION_NOTIONAL, Unit.MONEY, _ALL, "position_notional_max", "worst case position at the mid"
    ),
    CheckSpec(Check.GROSS_EXPOSURE, Unit.MONEY, (_F, _S), "gross_exposure_max", "worst case gross exposure"),
    CheckSpec(Check.NET_EXPOSURE, Unit.MONEY, (_F, _S), "net_exposure_max", "worst case net exposure"),
    CheckSpec(Check.BUYING_POWER, Unit.MONEY, (_F, _S), "buying_power", "margin and the day's loss"),
    CheckSpec(Check.OPEN_ORDERS, Unit.COUNT, _ALL, "open_orders_max", "open orders with this one"),
    CheckSpec(Check.MESSAGE_RATE, Unit.COUNT, _ALL, "messages_max", "messages in the window with this one"),
    CheckSpec(Check.ORDER_TO_TRADE, Unit.COUNT, _ALL, "order_to_trade_max", "messages to a trade, less one"),
    CheckSpec(
        Check.IDENTICAL, Unit.COUNT, (_S, _I), "identical_orders_max", "identical orders in the window"
    ),
    CheckSpec(Check.DAILY_LOSS, Unit.MONEY, _ALL, "daily_loss_max", "lost since the day began"),
    CheckSpec(Check.DRAWDOWN, Unit.MONEY, _ALL, "drawdown_max", "below the day's best"),
    CheckSpec(Check.VAR, Unit.MONEY, _ALL, "var_max", "value at risk after the trade"),
)

#: Place of each check in the gate's record.
PLACE: dict[Check, int] = {spec.check: place for place, spec in enumerate(SPECS)}
