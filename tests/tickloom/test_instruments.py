"""The registry: what ships loads, and a mistake in it names the entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickloom.errors import SettingsError
from tickloom.instruments import Registry

VENUE = '[venues.X]\nname="x"\nfeed="itch"\ntimezone="UTC"\ncurrency="USD"\n'
STOCK = '[[instruments]]\nvenue="X"\nsymbol="A"\nkind="equity"\ntick="0.01"\nlot="1"\nreference="5"\n'


def test_shipped_registry_loads() -> None:
    """At least twenty stocks and one pair ship, and ticks are exact."""
    registry = Registry.load()
    assert len(registry.of_venue("XNAS")) >= 20
    pair = registry.pairs["XNAS", "ALFA~BRVO"]
    assert (pair.leg_a, pair.leg_b, pair.hedge_ratio) == ("ALFA", "BRVO", 1_200_000_000)
    coin = registry.by_venue_symbol("BINANCE", "BTCUSDT")
    assert coin is not None
    assert (coin.symbol, coin.tick, coin.lot) == ("BTC-USDT", 10_000_000, 10_000)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (STOCK, "unknown venue X"),
        (VENUE + STOCK.replace("0.01", "a cent"), "a cent"),
        (VENUE + STOCK + 'tik = "1"\n', "tik"),
        (VENUE + '[[pairs]]\nvenue="X"\nsymbol="A~B"\nleg_a="A"\nleg_b="B"\nhedge_ratio="1"\n', "leg_a A"),
        ("[venues", "not TOML"),
        (VENUE.replace("feed", "fed"), r"\[venues\.X\] has no feed and has fed, which no venue has"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, names: str) -> None:
    """A registry that cannot be used says which entry, and why."""
    path = tmp_path / "instruments.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=names):
        Registry.load(path)
