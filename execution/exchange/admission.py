"""Whether an order may enter, or replace another: the venue's rules, each with its sentence. Pure."""

from __future__ import annotations

from execution.exchange.market import Markets
from execution.exchange.orders import VenueOrder
from execution.exchange.profile import DARK
from execution.exchange.requests import DAY, OrderType, ReplaceOrder
from tickloom.instruments import Instrument
from tickloom.prices import format_nanos


def refuse(markets: Markets, order: VenueOrder) -> str:
    """Why a new order is rejected; empty: it is not."""
    instrument = markets.instrument(order.venue, order.symbol)
    if instrument is None:
        return f"unknown symbol {order.venue} {order.symbol}"
    limited = order.order_type is OrderType.LIMIT or order.price != 0
    text = _amounts(instrument, order.quantity, order.price if limited else instrument.tick)
    if text:
        return text
    dark = markets.profile(order.venue).kind == DARK
    if order.order_type is OrderType.MIDPOINT and not dark:
        return f"{order.venue} is lit: it has no midpoint orders"
    if dark and (order.post_only or order.order_type is OrderType.MARKET):
        return f"{order.venue} is dark: it takes midpoint and limit orders only"
    if order.min_quantity and not dark:
        return f"{order.venue} is lit: it has no minimum quantity"
    if order.post_only and order.time_in_force != DAY:
        return "post only does not go with an order that must trade at once"
    return markets.stopped(order.venue, order.symbol)


def refuse_replacement(markets: Markets, old: VenueOrder, request: ReplaceOrder, known: bool) -> str:
    """Why an order is not replaced; empty: it is. known: the new id has been used."""
    if not old.leaves:
        return f"too late to replace: {old.state}"
    if known:
        return "duplicate ClOrdID: nothing was replaced"
    if (request.venue, request.symbol, request.side) != (old.venue, old.symbol, old.side):
        return "venue, symbol and side of an order cannot be replaced"
    instrument = markets.instrument(old.venue, old.symbol)
    if instrument is None:
        return f"unknown symbol {old.venue} {old.symbol}"
    pegged = old.order_type is OrderType.MIDPOINT and request.price == 0
    text = _amounts(instrument, request.quantity, instrument.tick if pegged else request.price)
    return text or markets.stopped(old.venue, old.symbol)


def _amounts(instrument: Instrument, quantity: int, price: int) -> str:
    if quantity <= 0 or quantity % instrument.lot:
        return f"quantity {format_nanos(quantity)} is not in lots of {format_nanos(instrument.lot)}"
    if price <= 0 or price % instrument.tick:
        return f"price {format_nanos(price)} is not on the tick {format_nanos(instrument.tick)}"
    return ""
