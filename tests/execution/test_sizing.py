"""From signals to intents, against arithmetic on paper."""

from __future__ import annotations

import pytest

from execution.limits import RuleLimits
from execution.market import MarketView
from execution.orders import client_order_id
from execution.sizing import marketable_price, size
from tickloom.events import Signal
from tickloom.instruments import Instrument, Pair, Registry, Venue
from tickloom.prices import NANOS, NO_PRICE

CENT = NANOS // 100
RULE = RuleLimits.model_construct(notional=10_000 * NANOS, slippage_bps=10, time_in_force="ioc")
ALFA = Instrument("XNAS", "ALFA", "ALFA", "equity", CENT, NANOS, 0)
BRVO = Instrument("XNAS", "BRVO", "BRVO", "equity", CENT, NANOS, 0)
COIN = Instrument("XNAS", "COIN", "COIN", "coin", CENT, NANOS // 1_000, 0)


def registry(hedge_ratio: int = 1_200_000_000) -> Registry:
    venue = Venue("XNAS", "", "itch", "UTC", "USD")
    pair = Pair("XNAS", "ALFA~BRVO", "ALFA", "BRVO", hedge_ratio)
    return Registry({"XNAS": venue}, [ALFA, BRVO, COIN], [pair])


def view(bid: int, ask: int) -> MarketView:
    return MarketView(bid, NANOS, ask, NANOS, 0, 0, 1, 0, 0, "", "")


MARKET = {
    "ALFA": view(152_39 * CENT, 152_41 * CENT),
    "BRVO": view(118_74 * CENT, 118_76 * CENT),
    "COIN": view(61_699 * NANOS, 61_701 * NANOS),
}


def signal(symbol: str, side: str = "buy") -> Signal:
    return Signal("sig", "rule", "1", symbol, side, 1.0, 1.0, 1, 2, "XNAS", 0, 0)


def sized(
    symbol: str, side: str = "buy", hedge_ratio: int = 1_200_000_000
) -> list[tuple[str, str, int, int]]:
    intents = size(signal(symbol, side), registry(hedge_ratio), RULE, lambda _, name: MARKET.get(name))
    assert [intent.order_id for intent in intents] == [
        client_order_id("sig", leg) for leg in range(len(intents))
    ]
    return [(intent.symbol, intent.side, intent.quantity, intent.limit_price) for intent in intents]


def test_one_instrument() -> None:
    """152.41 and 10 bps are 152.56 on the tick; 10,000 buy 65 shares at that."""
    assert sized("ALFA") == [("ALFA", "buy", 65 * NANOS, 152_56 * CENT)]


def test_selling() -> None:
    """152.39 less 10 bps is 152.2376..., so 152.24 towards the mid; 10,000 are 65 shares."""
    assert sized("ALFA", "sell") == [("ALFA", "sell", 65 * NANOS, 152_24 * CENT)]


def test_small_lots() -> None:
    """A coin in lots of 0.001: 10,000 at 61,762.70 buy 0.161."""
    assert sized("COIN") == [("COIN", "buy", 161 * NANOS // 1_000, 6_176_270 * CENT)]


def test_pair_buys_one_leg_and_sells_the_other() -> None:
    """65 of ALFA against 1.2 times as many BRVO, 78, sold at 118.74 less 10 bps, 118.63 on the tick."""
    assert sized("ALFA~BRVO") == [
        ("ALFA", "buy", 65 * NANOS, 152_56 * CENT),
        ("BRVO", "sell", 78 * NANOS, 118_63 * CENT),
    ]
    assert [leg[1] for leg in sized("ALFA~BRVO", "sell")] == ["sell", "buy"]


def test_negative_hedge_ratio_trades_both_legs_alike() -> None:
    """With a ratio of -0.5 buying the spread buys both: 65 and 32.5, to the nearest lot 33."""
    legs = sized("ALFA~BRVO", hedge_ratio=-500_000_000)
    assert [(leg[1], leg[2]) for leg in legs] == [("buy", 65 * NANOS), ("buy", 33 * NANOS)]


def test_unknown_things_give_an_empty_intent() -> None:
    """An unknown symbol, and one without a quote, still make a row that can be refused."""
    assert sized("NONE") == [("NONE", "buy", 0, 0)]


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_limit_never_falls_short_of_the_touch(side: str) -> None:
    """Without slippage the limit is the touch itself, off the tick or not; without a touch it is 0."""
    odd = view(100 * NANOS + 1, 100 * NANOS + 3)
    assert marketable_price(ALFA, side, odd, 0) == (odd.ask_price if side == "buy" else odd.bid_price)
    assert marketable_price(ALFA, side, view(NO_PRICE, NO_PRICE), 0) == 0
