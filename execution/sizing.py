"""A signal in, order intents out. Pure: which legs, how many lots, at which limit price.

A signal on an instrument makes one order. A signal on a pair makes two: buying the spread
``leg_a - hedge_ratio * leg_b`` buys leg_a and sells hedge_ratio times as much of leg_b (a negative
ratio buys both). Leg A is as large as the rule's notional allows in whole lots; leg B follows from
leg A's quantity, to the nearest lot.

The limit price is marketable: the far side of the quote moved by the rule's ``slippage_bps``, then
rounded to the tick towards the mid, but never short of the far side itself.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from execution.limits import RuleLimits
from execution.market import MarketView
from execution.orders import client_order_id
from tickloom.events import Signal
from tickloom.instruments import Instrument, Registry
from tickloom.prices import NANOS, NO_PRICE

BPS = 10_000


class OrderIntent(msgspec.Struct, frozen=True, gc=False):
    """What we would like to send. quantity, limit_price: nanos; 0 where they cannot be told.

    ``unwinding``: it takes down a position, so it may leave also if its rule is switched off.
    ``destination``: where it goes if that is not the venue itself.
    """

    order_id: str
    signal_id: str
    leg: int
    rule: str
    venue: str
    symbol: str
    side: str
    quantity: int
    limit_price: int
    time_in_force: str
    unwinding: bool = False
    destination: str = ""


#: (venue, symbol) -> what is known of its market
MarketLookup = Callable[[str, str], MarketView | None]


def size(
    signal: Signal, registry: Registry, limits: RuleLimits | None, market: MarketLookup
) -> list[OrderIntent]:
    """Intents of a signal, in the order of their legs; at least one, so that a refusal has a row.

    Where instrument, limits or market are not known, quantity or price is 0: the gate says why not.
    """
    pair = registry.pairs.get((signal.venue, signal.symbol))
    if pair is None:
        intent = _leg(signal, 0, signal.symbol, signal.side, registry, limits, market)
        return [intent]
    first = _leg(signal, 0, pair.leg_a, signal.side, registry, limits, market)
    side = signal.side if pair.hedge_ratio < 0 else opposite(signal.side)
    wanted = first.quantity * abs(pair.hedge_ratio) // NANOS
    second = _leg(signal, 1, pair.leg_b, side, registry, limits, market, wanted)
    return [first, second]


def opposite(side: str) -> str:
    """The other side."""
    return "sell" if side == "buy" else "buy"


def _leg(
    signal: Signal,
    leg: int,
    symbol: str,
    side: str,
    registry: Registry,
    limits: RuleLimits | None,
    market: MarketLookup,
    wanted: int | None = None,
) -> OrderIntent:
    instrument = registry.instrument(signal.venue, symbol)
    view = market(signal.venue, symbol)
    quantity = limit_price = 0
    if instrument is not None and limits is not None and view is not None:
        limit_price = marketable_price(instrument, side, view, limits.slippage_bps)
        if wanted is not None:
            quantity = (2 * wanted + instrument.lot) // (2 * instrument.lot) * instrument.lot
        elif limit_price:
            quantity = limits.notional * NANOS // limit_price // instrument.lot * instrument.lot
    return OrderIntent(
        order_id=client_order_id(signal.signal_id, leg),
        signal_id=signal.signal_id,
        leg=leg,
        rule=signal.rule,
        venue=signal.venue,
        symbol=symbol,
        side=side,
        quantity=quantity,
        limit_price=limit_price,
        time_in_force=limits.time_in_force if limits else "ioc",
    )


def marketable_price(instrument: Instrument, side: str, view: MarketView, slippage_bps: int) -> int:
    """A limit that reaches the far side of the quote, on the tick, in nanos; 0 without a far side."""
    if side == "buy":
        if view.ask_price == NO_PRICE:
            return 0
        worst = view.ask_price * (BPS + slippage_bps) // BPS
        return max(worst // instrument.tick * instrument.tick, view.ask_price)
    if view.bid_price == NO_PRICE:
        return 0
    worst = -(-view.bid_price * (BPS - slippage_bps) // BPS)
    return min(-(-worst // instrument.tick) * instrument.tick, view.bid_price)
