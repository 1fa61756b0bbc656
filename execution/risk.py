"""The pre-trade gate: an order intent and what is known in, a refusal or nothing out. Pure.

Each check is a function of its own with a reason code. A refusal says which check, the limit, the
value that was past it, and at which level the limit is set. All limits are inclusive: the value that
equals its limit passes, one unit more is refused. Quantities and prices are nanos; products are
Python integers, so no check rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from execution.limits import FirmLimits, InstrumentLimits, RuleLimits
from execution.market import MarketView
from execution.sizing import BPS, OrderIntent
from tickloom.clock import NS_PER_MS
from tickloom.instruments import Instrument
from tickloom.prices import NANOS, format_nanos


class Check(StrEnum):
    """Reason codes. They are metric labels and the first word of a refusal."""

    ORDER_ENTRY = "order_entry"
    KILL_SWITCH = "kill_switch"
    DUPLICATE = "duplicate"
    RULE = "rule"
    INSTRUMENT = "instrument"
    RESTRICTED = "restricted"
    SIGNAL_AGE = "signal_age"
    EVENT_AGE = "event_age"
    REPEAT = "repeat"
    MARKET_DATA = "market_data"
    TRUST = "trust"
    QUOTE_AGE = "quote_age"
    FEED_AGE = "feed_age"
    HALT = "halt"
    VENUE_SESSION = "venue_session"
    LOT = "lot"
    ORDER_QUANTITY = "order_quantity"
    ORDER_NOTIONAL = "order_notional"
    PRICE_COLLAR = "price_collar"
    POSITION = "position"
    POSITION_NOTIONAL = "position_notional"
    DAILY_LOSS = "daily_loss"
    PAIR_LEG = "pair_leg"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One check that was not passed. limit, value: as they are shown; scope: whose limit it is."""

    check: Check
    limit: str
    value: str
    scope: str

    @property
    def text(self) -> str:
        """The reason on the order's row."""
        return f"{self.check}: {self.value}, limit {self.limit} ({self.scope})"


@dataclass(frozen=True, slots=True)
class GateState:
    """All that a verdict depends on, for one intent.

    position: signed; open_buy, open_sell: what open orders of the instrument may still fill: nanos.
    pnl_firm, pnl_rule: of the day, units of 1e-18. last_repeat_ts_event: event time of the last order of
    the same rule, instrument and side; 0: none.
    """

    now_ns: int
    enabled: bool
    halted_because: str | None
    firm: FirmLimits
    rule: RuleLimits | None
    instrument_limits: InstrumentLimits
    instrument: Instrument | None
    view: MarketView | None
    venue_connected: bool
    known_order: bool
    ts_signal: int
    ts_event: int
    last_repeat_ts_event: int
    position: int
    open_buy: int
    open_sell: int
    pnl_firm: int
    pnl_rule: int


def gate(intent: OrderIntent, state: GateState) -> Refusal | None:
    """The first check that refuses, or None: the order may leave."""
    for check in _CHECKS:
        refusal = check(intent, state)
        if refusal is not None:
            return refusal
    return None


def pair_leg(other: OrderIntent, refusal: Refusal) -> Refusal:
    """Why a leg does not leave whose other leg was refused."""
    return Refusal(Check.PAIR_LEG, "both legs or none", f"{other.symbol} refused by {refusal.check}", "pair")


def worst_case(intent: OrderIntent, state: GateState) -> int:
    """Position in the direction of the intent if it and all open orders on its side fill, nanos."""
    if intent.side == "buy":
        return state.position + state.open_buy + intent.quantity
    return -state.position + state.open_sell + intent.quantity


def _switches(intent: OrderIntent, state: GateState) -> Refusal | None:
    if not state.enabled:
        return Refusal(Check.ORDER_ENTRY, "execution.enabled", "live order entry is off", "firm")
    if state.halted_because is not None:
        return Refusal(Check.KILL_SWITCH, "not halted", f"halted: {state.halted_because}", "firm")
    if state.known_order:
        return Refusal(Check.DUPLICATE, "once", f"order {intent.order_id} exists", "order")
    return None


def _rule(intent: OrderIntent, state: GateState) -> Refusal | None:
    if state.rule is None:
        return Refusal(Check.RULE, f"[rules.{intent.rule}]", "the limits file has no entry", intent.rule)
    if not state.rule.enabled:
        return Refusal(Check.RULE, "enabled = true", "the rule is switched off", intent.rule)
    return None


def _instrument(intent: OrderIntent, state: GateState) -> Refusal | None:
    name = f"{intent.venue} {intent.symbol}"
    if state.instrument is None:
        return Refusal(Check.INSTRUMENT, "strategies/instruments.toml", "unknown instrument", name)
    if state.instrument_limits.restricted:
        return Refusal(Check.RESTRICTED, "restricted = false", "restricted instrument", name)
    return None


def _age(intent: OrderIntent, state: GateState) -> Refusal | None:
    rule = state.rule
    assert rule is not None
    age_ns = state.now_ns - state.ts_signal
    if age_ns > rule.signal_age_ms_max * NS_PER_MS:
        return Refusal(Check.SIGNAL_AGE, f"{rule.signal_age_ms_max} ms", _ms(age_ns), intent.rule)
    if state.view is not None:
        age_ns = state.view.venue_ts_event - state.ts_event
        if age_ns > rule.event_age_ms_max * NS_PER_MS:
            return Refusal(Check.EVENT_AGE, f"{rule.event_age_ms_max} ms", _ms(age_ns), intent.rule)
    if rule.repeat_ms_min and state.last_repeat_ts_event:
        apart_ns = abs(state.ts_event - state.last_repeat_ts_event)
        if apart_ns < rule.repeat_ms_min * NS_PER_MS:
            return Refusal(Check.REPEAT, f"{rule.repeat_ms_min} ms apart", _ms(apart_ns), intent.rule)
    return None


def _market(intent: OrderIntent, state: GateState) -> Refusal | None:
    view, limits, name = state.view, state.instrument_limits, f"{intent.venue} {intent.symbol}"
    if view is None or view.mid is None:
        seen = "no quote seen" if view is None else "one side missing, or crossed"
        return Refusal(Check.MARKET_DATA, "a quote with both sides", seen, name)
    if view.untrusted:
        return Refusal(Check.TRUST, "trusted market data", view.untrusted, name)
    if view.halted:
        return Refusal(Check.HALT, "trading", view.halted, name)
    age_ns = state.now_ns - view.ts_recv
    if age_ns > limits.quote_age_ms_max * NS_PER_MS:
        return Refusal(Check.QUOTE_AGE, f"{limits.quote_age_ms_max} ms", _ms(age_ns), name)
    age_ns = state.now_ns - view.feed_ts
    if age_ns > limits.feed_age_ms_max * NS_PER_MS:
        return Refusal(Check.FEED_AGE, f"{limits.feed_age_ms_max} ms", _ms(age_ns), name)
    if not state.venue_connected:
        return Refusal(Check.VENUE_SESSION, "logged on", "no session with the venue", intent.venue)
    return None


def _fat_finger(intent: OrderIntent, state: GateState) -> Refusal | None:
    limits, instrument, name = state.instrument_limits, state.instrument, f"{intent.venue} {intent.symbol}"
    assert instrument is not None
    assert state.view is not None
    if intent.quantity < instrument.lot or intent.quantity % instrument.lot:
        lots = f"whole lots of {format_nanos(instrument.lot)}, at least one"
        return Refusal(Check.LOT, lots, format_nanos(intent.quantity), name)
    if limits.order_quantity_max and intent.quantity > limits.order_quantity_max:
        shown = format_nanos(limits.order_quantity_max)
        return Refusal(Check.ORDER_QUANTITY, shown, format_nanos(intent.quantity), name)
    notional = intent.quantity * intent.limit_price
    if notional > limits.order_notional_max * NANOS:
        shown = format_nanos(limits.order_notional_max)
        return Refusal(Check.ORDER_NOTIONAL, shown, _money(notional), name)
    both = state.view.bid_price + state.view.ask_price  # twice the mid, so that no half nano is lost
    away = abs(2 * intent.limit_price - both)
    if away * BPS > limits.collar_bps * both:
        value = f"{format_nanos(intent.limit_price)} is {away * BPS / both:.4f} bps from the mid"
        return Refusal(Check.PRICE_COLLAR, f"{limits.collar_bps} bps", value, name)
    return None


def _position(intent: OrderIntent, state: GateState) -> Refusal | None:
    limits, name = state.instrument_limits, f"{intent.venue} {intent.symbol}"
    assert state.view is not None
    worst = worst_case(intent, state)
    if limits.position_max and worst > limits.position_max:
        value = f"worst case {format_nanos(worst)} {'long' if intent.side == 'buy' else 'short'}"
        return Refusal(Check.POSITION, format_nanos(limits.position_max), value, name)
    doubled = worst * (state.view.bid_price + state.view.ask_price)
    if doubled > 2 * limits.position_notional_max * NANOS:
        value = f"worst case {_money(doubled // 2)} {'long' if intent.side == 'buy' else 'short'}"
        return Refusal(Check.POSITION_NOTIONAL, format_nanos(limits.position_notional_max), value, name)
    return None


def _daily_loss(intent: OrderIntent, state: GateState) -> Refusal | None:
    assert state.rule is not None
    if -state.pnl_rule > state.rule.daily_loss_max * NANOS:
        shown = format_nanos(state.rule.daily_loss_max)
        return Refusal(Check.DAILY_LOSS, shown, f"lost {_money(-state.pnl_rule)} today", intent.rule)
    if -state.pnl_firm > state.firm.daily_loss_max * NANOS:
        shown = format_nanos(state.firm.daily_loss_max)
        return Refusal(Check.DAILY_LOSS, shown, f"lost {_money(-state.pnl_firm)} today", "firm")
    return None


#: In this order: what needs nothing first, what needs market data after that data was found good.
_CHECKS: tuple[Callable[[OrderIntent, GateState], Refusal | None], ...] = (
    _switches,
    _rule,
    _instrument,
    _age,
    _market,
    _fat_finger,
    _position,
    _daily_loss,
)


def _ms(ns: int) -> str:
    return f"{ns / NS_PER_MS:.6f}".rstrip("0").rstrip(".") + " ms"


def _money(value: int) -> str:
    """A product of two nanos, exactly."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole, fraction = divmod(value, NANOS * NANOS)
    text = f"{fraction:018d}".rstrip("0")
    return f"{sign}{whole}.{text}" if text else f"{sign}{whole}"
