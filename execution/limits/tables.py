"""What a limits file may say, table by table: the keys, their types and their ranges.

Amounts are decimal text (``"25000"``) and become int64 nanos exactly; TOML floats are refused, because
a limit must be the number that was written. Every limit is the largest value that still passes; a key that
is not there is no limit at that level.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tickloom.errors import PriceRangeError
from tickloom.prices import NANOS, format_nanos, parse_nanos

#: 4 billion: twice as much, at twice the mid, still is below what 64 bits hold; see ``risk/arithmetic.py``.
AMOUNT_MAX = 4_000_000_000 * NANOS
MESSAGES_MAX = 10_000  # in a window; the gate remembers the times of so many
INSTRUMENT_MESSAGES_MAX = 1_000
VOLUME_WINDOW_S_MAX = 300


def _amount(value: Any) -> int:
    """Decimal text or a whole number as nanos."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError('write amounts as text, such as "2500.50"')
    try:
        found = parse_nanos(value) if isinstance(value, str) else value * NANOS
    except PriceRangeError as error:
        raise ValueError(str(error)) from None
    if found > AMOUNT_MAX:
        raise ValueError(f"more than {format_nanos(AMOUNT_MAX)}; leave the key out for no limit")
    return found


Amount = Annotated[int, BeforeValidator(_amount), Field(ge=0)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Milliseconds = Annotated[int, Field(ge=1, le=10**12)]
Bps = Annotated[int, Field(ge=0, le=1_000_000)]


class Table(BaseModel):
    """Closed and frozen: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LevelLimits(Table):
    """What may be limited at every level: over the firm, a rule, or an instrument.

    Quantities and money are nanos. collar_bps: of the price from the mid. volume_share_bps_max: of what is
    ordered and open on that side, of the market's volume in the window. messages_max: in any
    message_window_ms. order_to_trade_max: messages of the day by trades of the day, less one, once there
    were more than order_to_trade_from messages. docs/risk.md has the formulas.
    """

    signal_age_ms_max: Milliseconds | None = None
    event_age_ms_max: Milliseconds | None = None
    quote_age_ms_max: Milliseconds | None = None
    feed_age_ms_max: Milliseconds | None = None
    order_quantity_max: Amount | None = None
    order_notional_max: Amount | None = None
    volume_share_bps_max: Bps | None = None
    collar_bps: Annotated[int, Field(ge=0, le=10_000)] | None = None
    position_max: Amount | None = None
    position_notional_max: Amount | None = None
    open_orders_max: Count | None = None
    messages_max: Annotated[int, Field(ge=0, le=MESSAGES_MAX)] | None = None
    message_window_ms: Milliseconds = 1_000
    order_to_trade_max: Count | None = None
    order_to_trade_from: Count = 100
    daily_loss_max: Amount | None = None
    drawdown_max: Amount | None = None
    var_max: Amount | None = None


class BookLimits(LevelLimits):
    """What is limited over several instruments: of the firm, or a rule."""

    gross_exposure_max: Amount | None = None
    net_exposure_max: Amount | None = None
    buying_power: Amount | None = None
    self_trade_allowed: bool = False
    restricted: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, values: Any) -> Any:
        """TOML has lists, strict tables want tuples."""
        if isinstance(values, dict) and isinstance(values.get("restricted"), list):
            return {**values, "restricted": tuple(values["restricted"])}
        return values


class FirmLimits(BookLimits):
    """Over everything.

    daily_loss_max: nanos of the quote currency, realised and unrealised since the UTC day began.
    identical_window_ms: in which orders of the same instrument, side, quantity and price are counted.
    var_confidence_bps, var_horizon_days: 9900 and 1 are the 99 % value at risk of a day.
    """

    daily_loss_max: Amount
    identical_window_ms: Milliseconds = 1_000
    volume_window_s: Annotated[int, Field(ge=5, le=VOLUME_WINDOW_S_MAX)] = VOLUME_WINDOW_S_MAX
    var_confidence_bps: Annotated[int, Field(ge=5_001, le=9_999)] = 9_900
    var_horizon_days: Annotated[int, Field(ge=1, le=250)] = 1


class RuleLimits(BookLimits):
    """Of one rule's signals: how they are sized, how old they may be, and what it may hold.

    notional: of one signal's (first) leg, nanos. signal_age_ms_max: wall clock since the rule fired.
    event_age_ms_max: event time of the venue since the match. repeat_ms_min: event time between two
    orders of the same rule, instrument and side (0: no such check). cancel_after_ms: a resting order
    is cancelled after that long (0: never).
    """

    enabled: bool = True
    notional: Amount
    time_in_force: Literal["ioc", "day"] = "ioc"
    slippage_bps: int = Field(10, ge=0, le=1_000)
    signal_age_ms_max: Milliseconds
    event_age_ms_max: Milliseconds
    daily_loss_max: Amount
    repeat_ms_min: int = Field(0, ge=0)
    cancel_after_ms: int = Field(0, ge=0)
    identical_orders_max: Count | None = None


class InstrumentLimits(LevelLimits):
    """Of one instrument. The ``default`` table is complete; others override some of its keys.

    quote_age_ms_max: wall clock since the last quote of the instrument was received. feed_age_ms_max:
    since anything, a heartbeat included, came of its shard. margin_bps: of the exposure, held against
    buying power. locate_required, located: what may be sold short (SEC Regulation SHO, rule 203(b)(1)).
    short_sale_restricted: rule 201 is in force, whatever the feed says. volatility_bps: of a daily
    return, where too few returns are stored to estimate it.
    """

    restricted: bool = False
    position_notional_max: Amount
    order_notional_max: Amount
    collar_bps: Annotated[int, Field(ge=0, le=10_000)]
    quote_age_ms_max: Milliseconds
    feed_age_ms_max: Milliseconds
    messages_max: Annotated[int, Field(ge=0, le=INSTRUMENT_MESSAGES_MAX)] | None = None
    identical_orders_max: Count | None = None
    margin_bps: Annotated[int, Field(ge=0, le=10_000)] = 10_000
    locate_required: bool = False
    located: Amount = 0
    short_sale_restricted: bool = False
    volatility_bps: Annotated[int, Field(ge=1, le=100_000)] = 300


class BreachPlan(Table):
    """What a breach does, stage by stage; see docs/risk.md.

    stages: in this order, each of them at most once. participation_bps: of the market's volume since the
    last slice, at most that much of the unwinding. hedge_ratio_bps: how much of a leg's excess is hedged.
    leg_risk_max: by how much, in money, the legs of a pair may be out of balance while they are taken down.
    """

    stages: tuple[Literal["stop_new", "cancel_open", "hedge", "reduce", "flat"], ...]
    reduce_to_bps: Annotated[int, Field(ge=0, le=10_000)] = 0
    participation_bps: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    leg_risk_max: Amount = AMOUNT_MAX
    stage_timeout_ms: Milliseconds = 30_000

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, values: Any) -> Any:
        """TOML has lists, strict tables want tuples."""
        if isinstance(values, dict) and isinstance(values.get("stages"), list):
            return {**values, "stages": tuple(values["stages"])}
        return values

    @model_validator(mode="after")
    def _in_order(self) -> BreachPlan:
        """A plan only goes forward."""
        order = ("stop_new", "cancel_open", "hedge", "reduce", "flat")
        places = [order.index(stage) for stage in self.stages]
        if not places or places != sorted(set(places)):
            raise ValueError(f"stages are some of {', '.join(order)}, in that order")
        if self.stages[0] != "stop_new":
            raise ValueError("the first stage is stop_new: what still opens positions is not unwound")
        return self
